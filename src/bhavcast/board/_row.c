/* What every tick costs on a gateway: taking over the fields of a change, and writing those newer than a revision as JSON.

   The same as Row.put and encode.delta in Python, for machines with a C compiler; tests hold them against each other. Prices
   are written from their integers, so no floating-point number is made on the way. What is not usual (an escape in a text, a
   number of sixteen digits, a year of five) is left to the Python of it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum kind { PRICE, HUNDREDTHS, COUNT, TEXT, TIME, SECOND }; /* as in encode.py */
enum { MOST_TEXT = 64, MOST_FIELD = 96, MOST = 8192 };

static const int64_t TOO_LONG = 1000000000000000;      /* from here on floats are written with an exponent */
static const int64_t TOO_LATE = 253402300800 - 19800; /* seconds: the year 10000 in India */

static char *put_digits(char *at, uint64_t number, int least)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (count < least)
        digits[count++] = '0';
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

static char *put_whole(char *at, int64_t number)
{
    if (number < 0)
        *at++ = '-';
    return put_digits(at, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 1);
}

/* Write an integer in units of 10^-scale as the shortest decimal, with one digit behind the point at least. */
static char *put_decimal(char *at, int64_t number, int scale)
{
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number, unit = 1;
    for (int i = 0; i < scale; i++)
        unit *= 10;
    if (number < 0)
        *at++ = '-';
    at = put_digits(at, size / unit, 1);
    *at++ = '.';
    if (scale == 0) {
        *at++ = '0';
        return at;
    }
    at = put_digits(at, size % unit, scale);
    for (int i = 1; i < scale && at[-1] == '0'; i++)
        at--;
    return at;
}

/* Write seconds since the Unix epoch as 2026-11-23T12:08:51, in India (H. Hinnant, "chrono-compatible low-level date
   algorithms", days_from_civil reversed). */
static char *put_time(char *at, int64_t seconds)
{
    seconds += 19800;
    int64_t days = seconds / 86400 + 719468, era = days / 146097, of_era = days % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month += month < 10 ? 3 : -9;
    year += era * 400 + (month <= 2);
    int64_t parts[] = {month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60};
    at = put_digits(at, (uint64_t)year, 4);
    for (int i = 0; i < 5; i++) {
        *at++ = "--T::"[i];
        at = put_digits(at, (uint64_t)parts[i], 2);
    }
    return at;
}

/* Write a text that needs no escape; return NULL for any other. */
static char *put_text(char *at, PyObject *text)
{
    if (!PyUnicode_IS_COMPACT_ASCII(text) || PyUnicode_GET_LENGTH(text) > MOST_TEXT)
        return NULL;
    const char *from = PyUnicode_DATA(text);
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    *at++ = '"';
    for (Py_ssize_t i = 0; i < length; i++) {
        if (from[i] < ' ' || from[i] == '"' || from[i] == '\\' || from[i] == 127)
            return NULL;
        *at++ = from[i];
    }
    *at++ = '"';
    return at;
}

static char *put_value(char *at, PyObject *value, int kind, int scale)
{
    if (value == Py_None) {
        memcpy(at, "null", 4);
        return at + 4;
    }
    if (kind == TEXT)
        return PyUnicode_Check(value) ? put_text(at, value) : NULL;
    int overflow;
    if (!PyLong_CheckExact(value))
        return NULL;
    int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow)
        return NULL;
    switch (kind) {
    case PRICE:
    case HUNDREDTHS:
        return number <= -TOO_LONG || number >= TOO_LONG ? NULL : put_decimal(at, number, kind == PRICE ? scale : 2);
    case COUNT:
        return put_whole(at, number);
    case TIME:
    case SECOND:
        if (number < 0 || number / 1000 >= TOO_LATE)
            return NULL;
        *at++ = '"';
        at = put_time(at, number / 1000);
        if (kind == TIME) {
            *at++ = '.';
            at = put_digits(at, (uint64_t)(number % 1000), 3);
        }
        memcpy(at, "+05:30\"", 7);
        return at + 7;
    default:
        return NULL;
    }
}

/* Borrow the eight-byte numbers of an array. */
static int get_revs(PyObject *array, Py_buffer *revs)
{
    if (PyObject_GetBuffer(array, revs, PyBUF_WRITABLE | PyBUF_FORMAT) < 0)
        return -1;
    if (revs->itemsize == 8 && revs->format != NULL && strcmp(revs->format, "q") == 0)
        return 0;
    PyBuffer_Release(revs);
    PyErr_SetString(PyExc_TypeError, "expected an array of eight-byte integers");
    return -1;
}

/* What a shape shows: a field, what goes before its value, and how that is written. */
struct column {
    Py_ssize_t number;
    const char *key;
    Py_ssize_t length;
    int kind;
};

enum { MOST_COLUMNS = 128 };

/* Read columns; return how many, -1 on an error. */
static Py_ssize_t read_columns(PyObject *columns, struct column *read)
{
    Py_ssize_t count = PyTuple_GET_SIZE(columns);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *column = PyTuple_GET_ITEM(columns, i), *key;
        if (i == MOST_COLUMNS || !PyTuple_CheckExact(column) || PyTuple_GET_SIZE(column) != 3 ||
            !PyBytes_CheckExact(key = PyTuple_GET_ITEM(column, 1))) {
            PyErr_Format(PyExc_TypeError, "expected at most %d columns of a number, a key and a kind", MOST_COLUMNS);
            return -1;
        }
        read[i] = (struct column){PyLong_AsSsize_t(PyTuple_GET_ITEM(column, 0)), PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
                                  (int)PyLong_AsLong(PyTuple_GET_ITEM(column, 2))};
        if (PyErr_Occurred())
            return -1;
    }
    return count;
}

static PyObject *write_delta(PyObject *symbol, long divisor, PyObject *values, const Py_buffer *revs, long long rev, long long since,
                             const struct column *columns, Py_ssize_t count)
{
    int scale = divisor == 100 ? 2 : divisor == 10000 ? 4 : -1;
    if (scale < 0)
        Py_RETURN_NONE;
    char out[MOST], *at = out, *end = out + MOST - MOST_FIELD - MOST_TEXT;
    memcpy(at, "{\"symbol\":", 10);
    at = put_text(at + 10, symbol);
    if (at == NULL)
        Py_RETURN_NONE;
    char *start = at;
    for (const struct column *column = columns; column < columns + count; column++) {
        if (column->number < 0 || column->number >= PyList_GET_SIZE(values) || column->number >= revs->len / 8) {
            PyErr_SetString(PyExc_IndexError, "a column without a field");
            return NULL;
        }
        if (((const int64_t *)revs->buf)[column->number] <= since)
            continue;
        if (at + column->length > end)
            Py_RETURN_NONE;
        memcpy(at, column->key, (size_t)column->length);
        at = put_value(at + column->length, PyList_GET_ITEM(values, column->number), column->kind, scale);
        if (at == NULL)
            Py_RETURN_NONE;
    }
    if (at == start)
        return PyBytes_FromStringAndSize(NULL, 0);
    memcpy(at, ",\"rev\":", 7);
    at = put_whole(at + 7, rev);
    *at++ = '}';
    return PyBytes_FromStringAndSize(out, at - out);
}

PyDoc_STRVAR(delta_doc,
"delta(symbol, divisor, values, revs, rev, since, columns, /)\n--\n\n"
"Return the fields newer than `since` as a JSON object, b\"\" if there are none, None if Python has to write them.\n"
"`columns` are (number, b',\"name\":', kind).");

static PyObject *delta(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 7 || !PyUnicode_Check(args[0]) || !PyList_Check(args[2]) || !PyTuple_Check(args[6])) {
        PyErr_SetString(PyExc_TypeError, "expected symbol, divisor, values, revs, rev, since, columns");
        return NULL;
    }
    long divisor = PyLong_AsLong(args[1]);
    long long rev = PyLong_AsLongLong(args[4]), since = PyLong_AsLongLong(args[5]);
    struct column columns[MOST_COLUMNS];
    Py_ssize_t shown = PyErr_Occurred() ? -1 : read_columns(args[6], columns);
    Py_buffer revs;
    if (shown < 0 || get_revs(args[3], &revs) < 0)
        return NULL;
    PyObject *written = write_delta(args[0], divisor, args[2], &revs, rev, since, columns, shown);
    PyBuffer_Release(&revs);
    return written;
}

/* Set the fields of `changed`, by number, and note the revision at which they changed. Return -1 on error. */
static int put_values(PyObject *values, PyObject *array, PyObject *revision, PyObject *changed)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    Py_buffer revs;
    if (!PyList_Check(values) || !PyDict_Check(changed)) {
        PyErr_SetString(PyExc_TypeError, "expected values, revs, rev, changed");
        return -1;
    }
    long long rev = PyLong_AsLongLong(revision);
    if ((rev == -1 && PyErr_Occurred()) || get_revs(array, &revs) < 0)
        return -1;
    int done = 0;
    while (done == 0 && PyDict_Next(changed, &position, &key, &value)) {
        Py_ssize_t number = PyLong_AsSsize_t(key);
        if (number < 0 || number >= PyList_GET_SIZE(values) || number >= revs.len / 8) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_IndexError, "no field has the number %zd", number);
            done = -1;
        } else {
            PyList_SetItem(values, number, Py_NewRef(value));
            ((int64_t *)revs.buf)[number] = rev;
        }
    }
    PyBuffer_Release(&revs);
    return done;
}

PyDoc_STRVAR(put_doc,
"put(values, revs, rev, changed, /)\n--\n\n"
"Set the fields of `changed`, by number, and note the revision at which they changed.");

static PyObject *put(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "expected values, revs, rev, changed");
        return NULL;
    }
    if (put_values(args[0], args[1], args[2], args[3]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *name_symbol, *name_rev, *name_revs, *name_values, *name_divisor;

enum { AT_ONCE = 64 };

/* How many of a list are done at once from an index on; none at its end. */
static Py_ssize_t at_once(PyObject *list, Py_ssize_t from)
{
    Py_ssize_t left = PyList_GET_SIZE(list) - from;
    return left < AT_ONCE ? left : AT_ONCE;
}

static void prefetch(const void *at)
{
#ifdef __GNUC__
    __builtin_prefetch(at);
#else
    (void)at;
#endif
}

/* A row, and what it holds; all are references of our own, the revisions a buffer. */
struct row {
    PyObject *row, *held;
    Py_buffer revs;
};

static void let_go(struct row *rows, Py_ssize_t count)
{
    for (struct row *each = rows; each < rows + count; each++) {
        Py_XDECREF(each->row);
        Py_XDECREF(each->held);
        if (each->revs.obj != NULL)
            PyBuffer_Release(&each->revs);
    }
}

static void fetch_lines(const void *from, Py_ssize_t size)
{
    for (Py_ssize_t at = 0; at < size; at += 64)
        prefetch((const char *)from + at);
}

/* Get values and revisions of all rows, which must have so many of them at least, and have what they hold fetched. */
static int look_into(struct row *rows, Py_ssize_t count, Py_ssize_t fields)
{
    for (struct row *each = rows; each < rows + count; each++) {
        PyObject *revs = PyObject_GetAttr(each->row, name_revs);
        each->held = revs == NULL ? NULL : PyObject_GetAttr(each->row, name_values);
        int got = each->held == NULL ? -1 : get_revs(revs, &each->revs);
        Py_XDECREF(revs); /* the buffer keeps it */
        if (got < 0)
            return -1;
        if (!PyList_Check(each->held)) {
            PyErr_SetString(PyExc_TypeError, "expected rows with a list of values");
            return -1;
        }
        prefetch(each->held);
        fetch_lines(each->revs.buf, each->revs.len);
    }
    for (struct row *each = rows; each < rows + count; each++) {
        if (PyList_GET_SIZE(each->held) < fields || each->revs.len / 8 < fields) {
            PyErr_SetString(PyExc_IndexError, "a row without some of the fields");
            return -1;
        }
        fetch_lines(((PyListObject *)each->held)->ob_item, PyList_GET_SIZE(each->held) * (Py_ssize_t)sizeof(PyObject *));
    }
    return 0;
}

/* -- changes as the bus carries them: MessagePack, [[symbol, rev, {number: value}], ...] --------------------------------- */

struct reader {
    const unsigned char *at, *end;
};

/* ODD: the end, and whatever a change does not have, or not in this form; that is for Python to read, or to refuse. */
enum token_kind { ODD, NIL, NUMBER, ASCII, ARRAY, MAP };

struct token {
    enum token_kind kind;
    int64_t number; /* of a text its length, of an array or a map how many there are in it */
    const char *text;
};

static const struct token NO_TOKEN = {ODD, 0, NULL};

static bool read_big(struct reader *in, int bytes, uint64_t *number)
{
    if (in->end - in->at < bytes)
        return false;
    for (*number = 0; bytes > 0; bytes--)
        *number = *number << 8 | *in->at++;
    return true;
}

static struct token read_sized(struct reader *in, enum token_kind kind, int bytes)
{
    uint64_t size;
    if (!read_big(in, bytes, &size))
        return NO_TOKEN;
    return (struct token){kind, (int64_t)size, NULL};
}

static struct token read_number(struct reader *in, int bytes, bool is_signed)
{
    uint64_t number;
    if (!read_big(in, bytes, &number) || (!is_signed && number > INT64_MAX))
        return NO_TOKEN;
    if (is_signed) {
        uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
        return (struct token){NUMBER, (int64_t)((number ^ sign) - sign), NULL};
    }
    return (struct token){NUMBER, (int64_t)number, NULL};
}

static struct token read_head(struct reader *in)
{
    if (in->at == in->end)
        return NO_TOKEN;
    unsigned char first = *in->at++;
    if (first <= 0x7f || first >= 0xe0)
        return (struct token){NUMBER, (int8_t)first, NULL};
    if (first <= 0x9f)
        return (struct token){first <= 0x8f ? MAP : ARRAY, first & 0x0f, NULL};
    if (first <= 0xbf)
        return (struct token){ASCII, first & 0x1f, NULL};
    switch (first) {
    case 0xc0:
        return (struct token){NIL, 0, NULL};
    case 0xcc: case 0xcd: case 0xce: case 0xcf:
        return read_number(in, 1 << (first - 0xcc), false);
    case 0xd0: case 0xd1: case 0xd2: case 0xd3:
        return read_number(in, 1 << (first - 0xd0), true);
    case 0xd9: case 0xda: case 0xdb:
        return read_sized(in, ASCII, 1 << (first - 0xd9));
    case 0xdc: case 0xdd:
        return read_sized(in, ARRAY, 2 << (first - 0xdc));
    case 0xde: case 0xdf:
        return read_sized(in, MAP, 2 << (first - 0xde));
    default:
        return NO_TOKEN;
    }
}

/* Read a token; of a text also the text. */
static struct token read_token(struct reader *in)
{
    struct token token = read_head(in);
    if (token.kind != ASCII)
        return token;
    if (token.number > in->end - in->at)
        return NO_TOKEN;
    token.text = (const char *)in->at;
    for (const unsigned char *end = in->at + token.number; in->at < end; in->at++)
        if (*in->at > 127)
            return NO_TOKEN;
    return token;
}

/* Read what a field can have: nothing, a number, a text, or levels of three numbers. Those are a text here, with its head. */
static struct token read_value(struct reader *in)
{
    const unsigned char *begin = in->at;
    struct token token = read_token(in);
    if (token.kind == MAP)
        return NO_TOKEN;
    if (token.kind != ARRAY)
        return token;
    for (int64_t left = token.number; left > 0; left--) {
        struct token level = read_head(in);
        if (level.kind != ARRAY || level.number != 3)
            return NO_TOKEN;
        for (int i = 0; i < 3; i++)
            if (read_head(in).kind != NUMBER)
                return NO_TOKEN;
    }
    return (struct token){ARRAY, in->at - begin, (const char *)begin};
}

/* A value that was read, and its field. */
struct told {
    Py_ssize_t field;
    struct token value;
};

/* A change that was read: its row (borrowed from a list that is kept), and which of the values are its own. */
struct change {
    PyObject *row;
    int64_t rev;
    Py_ssize_t first, count;
};

/* All that a message says. */
struct message {
    struct change *changes;
    struct told *values;
    Py_ssize_t change_count, value_count, change_room, value_room;
};

/* Return a list of so many with room for one more; NULL without memory, then it stands as it was. */
static void *with_room(void *items, Py_ssize_t count, Py_ssize_t *room, size_t size)
{
    if (count < *room)
        return items;
    Py_ssize_t more = *room == 0 ? 256 : *room * 2;
    void *moved = PyMem_Realloc(items, (size_t)more * size);
    if (moved == NULL)
        PyErr_NoMemory();
    else
        *room = more;
    return moved;
}

/* Find the row of a text; NULL without an error where there is none. */
static PyObject *find_row(PyObject *rows, struct token symbol)
{
    PyObject *name = PyUnicode_DecodeASCII(symbol.text, symbol.number, NULL);
    PyObject *row = name == NULL ? NULL : PyDict_GetItemWithError(rows, name);
    Py_XDECREF(name);
    return row;
}

/* As are the functions that return an int here: 1 if every change is as it should be, 0 if Python has to say, -1 on an error. */
static int read_change(struct reader *in, PyObject *rows, Py_ssize_t fields, PyObject *found, struct message *message)
{
    struct token change = read_token(in), symbol = read_token(in), rev = read_token(in), values = read_token(in);
    if (change.kind != ARRAY || change.number != 3 || symbol.kind != ASCII || rev.kind != NUMBER || rev.number < 0 ||
        values.kind != MAP)
        return 0;
    PyObject *row = find_row(rows, symbol);
    if (row == NULL)
        return PyErr_Occurred() ? -1 : 0;
    prefetch(row);
    prefetch((const char *)row + 64);
    struct change *changes = with_room(message->changes, message->change_count, &message->change_room, sizeof *changes);
    if (changes == NULL)
        return -1;
    message->changes = changes;
    if (PyList_Append(found, row) < 0)
        return -1;
    changes[message->change_count++] = (struct change){row, rev.number, message->value_count, values.number};
    for (int64_t left = values.number; left > 0; left--) {
        struct token number = read_head(in), value = read_value(in);
        if (number.kind != NUMBER || number.number < 0 || number.number >= fields || value.kind == ODD)
            return 0;
        struct told *told = with_room(message->values, message->value_count, &message->value_room, sizeof *told);
        if (told == NULL)
            return -1;
        message->values = told;
        told[message->value_count++] = (struct told){number.number, value};
    }
    return 1;
}

static int read_message(struct reader in, PyObject *rows, Py_ssize_t fields, PyObject *found, struct message *message)
{
    struct token all = read_token(&in);
    int usual = all.kind == ARRAY;
    for (int64_t left = all.number; usual == 1 && left > 0; left--)
        usual = read_change(&in, rows, fields, found, message);
    return usual == 1 ? in.at == in.end : usual;
}

/* Make the object of a value. Levels stay as they came: they are twenty objects, of a side that few look at. */
static PyObject *make_value(struct token value)
{
    switch (value.kind) {
    case NUMBER:
        return PyLong_FromLongLong(value.number);
    case ASCII:
        return PyUnicode_DecodeASCII(value.text, value.number, NULL);
    case ARRAY:
        return PyBytes_FromStringAndSize(value.text, value.number);
    default:
        return Py_NewRef(Py_None);
    }
}

static int put_change(const struct change *change, const struct told *told, const struct row *row)
{
    PyObject *revision = PyLong_FromLongLong(change->rev);
    int done = revision == NULL ? -1 : PyObject_SetAttr(row->row, name_rev, revision);
    Py_XDECREF(revision);
    for (const struct told *end = told + change->count; done == 0 && told < end; told++) {
        PyObject *value = make_value(told->value);
        if (value == NULL)
            done = -1;
        else {
            PyList_SetItem(row->held, told->field, value);
            ((int64_t *)row->revs.buf)[told->field] = change->rev;
        }
    }
    return done;
}

/* Each row lies somewhere else, and what it points to elsewhere again. So some rows are gone through step by step, and at
   each step what the next one needs is fetched for all: measured, taking over costs half of what it did. */
static int take_some(const struct message *message, Py_ssize_t from, Py_ssize_t count, Py_ssize_t fields)
{
    const struct change *changes = message->changes + from;
    struct row rows[AT_ONCE];
    memset(rows, 0, sizeof rows);
    for (Py_ssize_t i = 0; i < count; i++)
        rows[i].row = Py_NewRef(changes[i].row);
    int done = look_into(rows, count, fields);
    for (Py_ssize_t i = 0; done == 0 && i < count; i++)
        for (Py_ssize_t j = 0; j < changes[i].count; j++)
            prefetch(PyList_GET_ITEM(rows[i].held, message->values[changes[i].first + j].field));
    for (Py_ssize_t i = 0; done == 0 && i < count; i++)
        done = put_change(&changes[i], message->values + changes[i].first, &rows[i]);
    let_go(rows, count);
    return done;
}

PyDoc_STRVAR(take_doc,
"take(rows, changes, fields, /)\n--\n\n"
"Put each of some encoded changes into its row, by symbol; return the rows. None if Python has to do it, or to refuse it:\n"
"then nothing was taken over. `fields` is how many there are.");

static PyObject *take(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Py_ssize_t fields = count == 3 ? PyLong_AsSsize_t(args[2]) : -1;
    Py_buffer encoded;
    if (fields < 0 || !PyDict_Check(args[0])) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "expected rows by symbol, encoded changes, and a number of fields");
        return NULL;
    }
    if (PyObject_GetBuffer(args[1], &encoded, PyBUF_SIMPLE) < 0)
        return NULL;
    struct message message = {NULL, NULL, 0, 0, 0, 0};
    PyObject *found = PyList_New(0);
    int usual = -1;
    if (found != NULL) {
        struct reader in = {encoded.buf, (const unsigned char *)encoded.buf + encoded.len};
        usual = read_message(in, args[0], fields, found, &message);
    }
    for (Py_ssize_t from = 0, some; usual == 1 && (some = at_once(found, from)) > 0; from += some)
        if (take_some(&message, from, some, fields) < 0)
            usual = -1;
    PyMem_Free(message.changes);
    PyMem_Free(message.values);
    PyBuffer_Release(&encoded);
    if (usual == 1)
        return found;
    Py_XDECREF(found);
    if (usual == 0)
        Py_RETURN_NONE;
    return NULL;
}

/* Write the deltas of some rows into a list; what Python has to write is None there. */
static int write_some(PyObject *list, Py_ssize_t from, Py_ssize_t count, long long since, const struct column *columns,
                      Py_ssize_t shown, PyObject *written)
{
    struct row rows[AT_ONCE];
    memset(rows, 0, sizeof rows);
    for (Py_ssize_t i = 0; i < count; i++) {
        rows[i].row = Py_NewRef(PyList_GET_ITEM(list, from + i));
        prefetch(rows[i].row);
        prefetch((const char *)rows[i].row + 64);
    }
    int done = look_into(rows, count, 0);
    for (Py_ssize_t i = 0; done == 0 && i < count; i++)
        for (Py_ssize_t at = 0; at < PyList_GET_SIZE(rows[i].held) && at < rows[i].revs.len / 8; at++)
            if (((const int64_t *)rows[i].revs.buf)[at] > since)
                prefetch(PyList_GET_ITEM(rows[i].held, at));
    for (Py_ssize_t i = 0; done == 0 && i < count; i++) {
        PyObject *symbol = PyObject_GetAttr(rows[i].row, name_symbol), *divisor = PyObject_GetAttr(rows[i].row, name_divisor);
        PyObject *rev = PyObject_GetAttr(rows[i].row, name_rev), *delta = NULL;
        if (symbol != NULL && divisor != NULL && rev != NULL && PyUnicode_Check(symbol)) {
            long unit = PyLong_AsLong(divisor);
            long long last = PyLong_AsLongLong(rev);
            if (!PyErr_Occurred())
                delta = write_delta(symbol, unit, rows[i].held, &rows[i].revs, last, since, columns, shown);
        }
        Py_XDECREF(symbol);
        Py_XDECREF(divisor);
        Py_XDECREF(rev);
        if (delta == NULL || PyList_Append(written, delta) < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "expected rows of the board");
            done = -1;
        }
        Py_XDECREF(delta);
    }
    let_go(rows, count);
    return done;
}

PyDoc_STRVAR(deltas_doc,
"deltas(rows, since, columns, /)\n--\n\n"
"Return `delta` of each row.");

static PyObject *deltas(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 3 || !PyList_Check(args[0]) || !PyTuple_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "expected a list of rows, since, columns");
        return NULL;
    }
    long long since = PyLong_AsLongLong(args[1]);
    struct column columns[MOST_COLUMNS];
    Py_ssize_t shown = PyErr_Occurred() ? -1 : read_columns(args[2], columns);
    if (shown < 0)
        return NULL;
    PyObject *written = PyList_New(0);
    for (Py_ssize_t from = 0, some; written != NULL && (some = at_once(args[0], from)) > 0; from += some)
        if (write_some(args[0], from, some, since, columns, shown, written) < 0)
            Py_CLEAR(written);
    return written;
}

static PyMethodDef methods[] = {
    {"delta", (PyCFunction)(void (*)(void))delta, METH_FASTCALL, delta_doc},
    {"deltas", (PyCFunction)(void (*)(void))deltas, METH_FASTCALL, deltas_doc},
    {"put", (PyCFunction)(void (*)(void))put, METH_FASTCALL, put_doc},
    {"take", (PyCFunction)(void (*)(void))take, METH_FASTCALL, take_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_row", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__row(void)
{
    name_symbol = PyUnicode_InternFromString("symbol");
    name_rev = PyUnicode_InternFromString("rev");
    name_revs = PyUnicode_InternFromString("revs");
    name_values = PyUnicode_InternFromString("values");
    name_divisor = PyUnicode_InternFromString("divisor");
    if (name_divisor == NULL || name_symbol == NULL || name_rev == NULL || name_revs == NULL || name_values == NULL)
        return NULL;
    return PyModuleDef_Init(&definition);
}
