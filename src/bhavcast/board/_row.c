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

static PyObject *write_delta(PyObject *symbol, long divisor, PyObject *values, const Py_buffer *revs, long long rev, long long since,
                             PyObject *columns)
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
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(columns); i++) {
        PyObject *column = PyTuple_GET_ITEM(columns, i), *key;
        if (!PyTuple_CheckExact(column) || PyTuple_GET_SIZE(column) != 3 || !PyBytes_CheckExact(key = PyTuple_GET_ITEM(column, 1))) {
            PyErr_SetString(PyExc_TypeError, "expected columns of a number, a key and a kind");
            return NULL;
        }
        long number = PyLong_AsLong(PyTuple_GET_ITEM(column, 0)), kind = PyLong_AsLong(PyTuple_GET_ITEM(column, 2));
        if (PyErr_Occurred())
            return NULL;
        if (number < 0 || number >= PyList_GET_SIZE(values) || number >= revs->len / 8) {
            PyErr_SetString(PyExc_IndexError, "a column without a field");
            return NULL;
        }
        if (((const int64_t *)revs->buf)[number] <= since)
            continue;
        Py_ssize_t length = PyBytes_GET_SIZE(key);
        if (at + length > end)
            Py_RETURN_NONE;
        memcpy(at, PyBytes_AS_STRING(key), (size_t)length);
        at = put_value(at + length, PyList_GET_ITEM(values, number), (int)kind, scale);
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
    Py_buffer revs;
    if (PyErr_Occurred() || get_revs(args[3], &revs) < 0)
        return NULL;
    PyObject *written = write_delta(args[0], divisor, args[2], &revs, rev, since, args[6]);
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

/* A change and the row it goes to; all are references of our own. */
struct pair {
    PyObject *row, *held, *revs, *rev, *changed;
};

static void let_go(struct pair *pairs, Py_ssize_t count)
{
    for (struct pair *each = pairs; each < pairs + count; each++) {
        Py_XDECREF(each->row);
        Py_XDECREF(each->held);
        Py_XDECREF(each->revs);
        Py_XDECREF(each->rev);
        Py_XDECREF(each->changed);
    }
}

static int find_row(struct pair *pair, PyObject *rows, PyObject *change)
{
    PyObject *symbol = PyObject_GetAttr(change, name_symbol);
    if (symbol == NULL)
        return -1;
    pair->row = PyDict_GetItemWithError(rows, symbol);
    if (pair->row == NULL && !PyErr_Occurred())
        PyErr_SetObject(PyExc_KeyError, symbol);
    Py_XINCREF(pair->row);
    Py_DECREF(symbol);
    if (pair->row == NULL)
        return -1;
    prefetch(pair->row);
    prefetch((const char *)pair->row + 64);
    pair->rev = PyObject_GetAttr(change, name_rev);
    pair->changed = pair->rev == NULL ? NULL : PyObject_GetAttr(change, name_values);
    return pair->changed == NULL ? -1 : 0;
}

/* Get values and revisions of all rows, and have what they hold fetched. */
static int look_into(struct pair *pairs, Py_ssize_t count)
{
    for (struct pair *each = pairs; each < pairs + count; each++) {
        each->held = PyObject_GetAttr(each->row, name_values);
        each->revs = each->held == NULL ? NULL : PyObject_GetAttr(each->row, name_revs);
        if (each->revs == NULL || !PyList_Check(each->held)) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "expected rows with a list of values");
            return -1;
        }
        prefetch(each->held);
        prefetch(each->revs);
    }
    for (struct pair *each = pairs; each < pairs + count; each++)
        for (Py_ssize_t at = 0; at < PyList_GET_SIZE(each->held); at += 8)
            prefetch(((PyListObject *)each->held)->ob_item + at);
    return 0;
}

/* Each row lies somewhere else, and what it points to elsewhere again. So all rows of some changes are gone through step by
   step, and at each step what the next one needs is fetched for all: measured, taking over costs half of what it did. */
static int take_some(PyObject *rows, PyObject *changes, Py_ssize_t from, Py_ssize_t count, PyObject *changed)
{
    struct pair pairs[AT_ONCE];
    memset(pairs, 0, sizeof pairs);
    int done = 0;
    for (Py_ssize_t i = 0; done == 0 && i < count; i++)
        done = find_row(&pairs[i], rows, PyList_GET_ITEM(changes, from + i));
    if (done == 0)
        done = look_into(pairs, count);
    for (Py_ssize_t i = 0; done == 0 && i < count; i++) {
        PyObject *key, *value;
        Py_ssize_t position = 0;
        while (PyDict_Check(pairs[i].changed) && PyDict_Next(pairs[i].changed, &position, &key, &value)) {
            Py_ssize_t number = PyLong_CheckExact(key) ? PyLong_AsSsize_t(key) : -1;
            if (number >= 0 && number < PyList_GET_SIZE(pairs[i].held))
                prefetch(PyList_GET_ITEM(pairs[i].held, number));
        }
        PyErr_Clear();
    }
    for (Py_ssize_t i = 0; done == 0 && i < count; i++) {
        struct pair *pair = &pairs[i];
        if (put_values(pair->held, pair->revs, pair->rev, pair->changed) < 0 ||
            PyObject_SetAttr(pair->row, name_rev, pair->rev) < 0 || PyList_Append(changed, pair->row) < 0)
            done = -1;
    }
    let_go(pairs, count);
    return done;
}

PyDoc_STRVAR(take_doc,
"take(rows, changes, /)\n--\n\n"
"Put each change into its row, by symbol; return the rows.");

static PyObject *take(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 || !PyDict_Check(args[0]) || !PyList_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "expected rows by symbol, and a list of changes");
        return NULL;
    }
    PyObject *changed = PyList_New(0);
    for (Py_ssize_t from = 0, some; changed != NULL && (some = at_once(args[1], from)) > 0; from += some)
        if (take_some(args[0], args[1], from, some, changed) < 0)
            Py_CLEAR(changed);
    return changed;
}

/* Write the deltas of some rows into a list; what Python has to write is None there. */
static int write_some(PyObject *rows, Py_ssize_t from, Py_ssize_t count, long long since, PyObject *columns, PyObject *written)
{
    struct pair pairs[AT_ONCE];
    memset(pairs, 0, sizeof pairs);
    for (Py_ssize_t i = 0; i < count; i++) {
        pairs[i].row = Py_NewRef(PyList_GET_ITEM(rows, from + i));
        prefetch(pairs[i].row);
        prefetch((const char *)pairs[i].row + 64);
    }
    int done = look_into(pairs, count);
    for (Py_ssize_t i = 0; done == 0 && i < count; i++)
        for (Py_ssize_t at = 0; at < PyList_GET_SIZE(pairs[i].held); at++)
            if (PyList_GET_ITEM(pairs[i].held, at) != Py_None)
                prefetch(PyList_GET_ITEM(pairs[i].held, at));
    for (Py_ssize_t i = 0; done == 0 && i < count; i++) {
        PyObject *symbol = PyObject_GetAttr(pairs[i].row, name_symbol), *divisor = PyObject_GetAttr(pairs[i].row, name_divisor);
        PyObject *rev = PyObject_GetAttr(pairs[i].row, name_rev), *delta = NULL;
        Py_buffer revs;
        if (symbol != NULL && divisor != NULL && rev != NULL && PyUnicode_Check(symbol)) {
            long unit = PyLong_AsLong(divisor);
            long long last = PyLong_AsLongLong(rev);
            if (!PyErr_Occurred() && get_revs(pairs[i].revs, &revs) == 0) {
                delta = write_delta(symbol, unit, pairs[i].held, &revs, last, since, columns);
                PyBuffer_Release(&revs);
            }
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
    let_go(pairs, count);
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
    if (PyErr_Occurred())
        return NULL;
    PyObject *written = PyList_New(0);
    for (Py_ssize_t from = 0, some; written != NULL && (some = at_once(args[0], from)) > 0; from += some)
        if (write_some(args[0], from, some, since, args[2], written) < 0)
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
