/* The sheet: where the values of a board's rows stand, each with the revision at which it last changed.

   The same as sheet.py, for machines with a C compiler; tests hold them against each other. A row is one piece of memory, and
   all rows lie side by side: with objects everywhere most of a tick's time was waiting for memory. What every tick costs on a
   gateway goes straight to it: taking over a message as the bus carries it, and writing what is newer than a revision as JSON.
   Prices are written from their integers, so no floating-point number is made on the way. What is not usual (an escape in a
   text, a number of sixteen digits, a year of five) is left to the Python of it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "_json.h"
#include "_lines.h"
#include "_take.h"

enum { MOST_FIELD = 96, MOST = 8192 };

/* -- the sheet ---------------------------------------------------------------------------------------------------------- */

static PyObject *sheet_new(PyTypeObject *type, PyObject *args, PyObject *names)
{
    static char *known[] = {"fields", NULL};
    Py_ssize_t fields;
    if (!PyArg_ParseTupleAndKeywords(args, names, "n:Sheet", known, &fields))
        return NULL;
    if (fields < 1 || fields > MOST_FIELDS) {
        PyErr_Format(PyExc_ValueError, "expected 1 to %d fields, got %zd", MOST_FIELDS, fields);
        return NULL;
    }
    struct sheet *sheet = (struct sheet *)type->tp_alloc(type, 0);
    if (sheet != NULL)
        sheet->fields = fields;
    return (PyObject *)sheet;
}

static void sheet_dealloc(PyObject *self)
{
    struct sheet *sheet = (struct sheet *)self;
    for (Py_ssize_t slot = 0; slot < sheet->count; slot++)
        for (Py_ssize_t field = 0; field < sheet->fields; field++)
            if (line_at(sheet, slot)->objects & bit(field))
                Py_DECREF(line_at(sheet, slot)->cells[field].is.object);
    PyMem_Free(sheet->lines);
    PyMem_Free(sheet->index);
    Py_TYPE(self)->tp_free(self);
}

static Py_ssize_t sheet_length(PyObject *self)
{
    return ((struct sheet *)self)->count;
}

PyDoc_STRVAR(take_doc,
"take(changes, /)\n--\n\n"
"Put each of some encoded changes into its row, by symbol; return the rows' slots. None if Python has to do it, or to refuse\n"
"it: then nothing was taken over.");

static PyObject *sheet_take(PyObject *self, PyObject *changes)
{
    struct sheet *sheet = (struct sheet *)self;
    Py_buffer encoded;
    if (PyObject_GetBuffer(changes, &encoded, PyBUF_SIMPLE) < 0)
        return NULL;
    struct message message = {NULL, NULL, 0, 0, 0, 0};
    struct reader in = {encoded.buf, (const unsigned char *)encoded.buf + encoded.len};
    int usual = read_message(in, sheet, &message);
    if (usual == 1)
        usual = find_lines(sheet, &message);
    PyObject *slots = usual == 1 ? put_changes(sheet, &message) : NULL;
    PyMem_Free(message.changes);
    PyMem_Free(message.values);
    PyBuffer_Release(&encoded);
    if (usual == 0)
        Py_RETURN_NONE;
    return slots;
}

static PyMethodDef sheet_methods[] = {
    {"take", sheet_take, METH_O, take_doc},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods sheet_as_sequence = {.sq_length = sheet_length};

static PyTypeObject sheet_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "bhavcast.board._sheet.Sheet",
    .tp_doc = PyDoc_STR("Sheet(fields)\n--\n\nWhere the values of a board's rows stand; its length is how many rows there are."),
    .tp_basicsize = sizeof(struct sheet),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = sheet_new,
    .tp_dealloc = sheet_dealloc,
    .tp_as_sequence = &sheet_as_sequence,
    .tp_methods = sheet_methods,
};

/* -- a row's cells ------------------------------------------------------------------------------------------------------- */

struct cells {
    PyObject_HEAD
    struct sheet *sheet;
    Py_ssize_t slot;
};

static PyTypeObject cells_type;

/* Find the line of a row; NULL with an error if it never got one. */
static struct line *line_of(PyObject *self)
{
    const struct cells *cells = (struct cells *)self;
    if (cells->sheet != NULL)
        return line_at(cells->sheet, cells->slot);
    PyErr_SetString(PyExc_TypeError, "a row that is on no sheet");
    return NULL;
}

static int cells_init(PyObject *self, PyObject *args, PyObject *names)
{
    static char *known[] = {"sheet", "symbol", "scale", NULL};
    struct cells *cells = (struct cells *)self;
    struct sheet *sheet;
    PyObject *symbol;
    short scale;
    if (!PyArg_ParseTupleAndKeywords(args, names, "O!Uh:Cells", known, &sheet_type, &sheet, &symbol, &scale))
        return -1;
    if (cells->sheet != NULL) {
        PyErr_SetString(PyExc_TypeError, "a row has one place on one sheet");
        return -1;
    }
    Py_ssize_t slot = add_line(sheet, symbol, scale);
    if (slot < 0)
        return -1;
    cells->slot = slot;
    cells->sheet = (struct sheet *)Py_NewRef(sheet);
    return 0;
}

static void cells_dealloc(PyObject *self)
{
    Py_XDECREF(((struct cells *)self)->sheet);
    Py_TYPE(self)->tp_free(self);
}

static Py_ssize_t cells_length(PyObject *self)
{
    const struct cells *cells = (struct cells *)self;
    return cells->sheet == NULL ? 0 : cells->sheet->fields;
}

static bool is_field(PyObject *self, Py_ssize_t field)
{
    if (field >= 0 && field < cells_length(self))
        return true;
    PyErr_Format(PyExc_IndexError, "no field has the number %zd", field);
    return false;
}

static PyObject *cells_item(PyObject *self, Py_ssize_t field)
{
    return is_field(self, field) ? get_object(line_of(self), field) : NULL;
}

static int cells_set_item(PyObject *self, Py_ssize_t field, PyObject *value)
{
    if (!is_field(self, field))
        return -1;
    set_object(line_of(self), field, value == NULL ? Py_None : value);
    return 0;
}

static PyObject *get_slot(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromSsize_t(((struct cells *)self)->slot);
}

static PyObject *get_rev(PyObject *self, void *closure)
{
    (void)closure;
    const struct line *line = line_of(self);
    return line == NULL ? NULL : PyLong_FromLongLong(line->rev);
}

/* Read a whole number. Nothing else will do: it could run Python's code here, and rows or values be others after that. */
static bool read_whole(PyObject *value, int64_t *number)
{
    if (value == NULL || !PyLong_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "expected a whole number");
        return false;
    }
    *number = PyLong_AsLongLong(value);
    return *number != -1 || !PyErr_Occurred();
}

static int set_rev(PyObject *self, PyObject *value, void *closure)
{
    (void)closure;
    int64_t rev;
    if (!read_whole(value, &rev) || line_of(self) == NULL)
        return -1;
    line_of(self)->rev = rev;
    return 0;
}

static PyObject *get_scale(PyObject *self, void *closure)
{
    (void)closure;
    const struct line *line = line_of(self);
    return line == NULL ? NULL : PyLong_FromLong(line->scale);
}

static int set_scale(PyObject *self, PyObject *value, void *closure)
{
    (void)closure;
    int64_t scale;
    if (!read_whole(value, &scale) || line_of(self) == NULL)
        return -1;
    if (scale < 0 || scale > 18) {
        PyErr_SetString(PyExc_ValueError, "expected a scale of 0 to 18");
        return -1;
    }
    line_of(self)->scale = (int16_t)scale;
    return 0;
}

static PyObject *get_revs(PyObject *self, void *closure)
{
    (void)closure;
    PyObject *revs = PyList_New(cells_length(self));
    for (Py_ssize_t field = 0; revs != NULL && field < PyList_GET_SIZE(revs); field++) {
        PyObject *rev = PyLong_FromLongLong(line_of(self)->cells[field].rev);
        if (rev == NULL) {
            Py_DECREF(revs);
            return NULL;
        }
        PyList_SET_ITEM(revs, field, rev);
    }
    return revs;
}

PyDoc_STRVAR(changed_doc,
"changed(number, /)\n--\n\n"
"Return the revision at which a field last changed; 0 if it never had a value.");

static PyObject *cells_changed(PyObject *self, PyObject *number)
{
    Py_ssize_t field = PyLong_AsSsize_t(number);
    if (PyErr_Occurred() || !is_field(self, field))
        return NULL;
    return PyLong_FromLongLong(line_of(self)->cells[field].rev);
}

/* Tell whether a field holds a value: 1 or 0, -1 on an error. */
static int holds(const struct line *line, Py_ssize_t field, PyObject *value)
{
    if (line->numbers & bit(field) && PyLong_CheckExact(value)) {
        int overflow;
        int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow == 0 && number == line->cells[field].is.number;
    }
    PyObject *held = get_object(line, field);
    int same = held == NULL ? -1 : PyObject_RichCompareBool(held, value, Py_EQ);
    Py_XDECREF(held);
    return same;
}

PyDoc_STRVAR(differing_doc,
"differing(values, /)\n--\n\n"
"Return those of some values, by number, that are not the row's.");

static PyObject *cells_differing(PyObject *self, PyObject *values)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (!PyDict_Check(values)) {
        PyErr_SetString(PyExc_TypeError, "expected values by number");
        return NULL;
    }
    PyObject *differing = PyDict_New();
    while (differing != NULL && PyDict_Next(values, &position, &key, &value)) {
        Py_INCREF(key); /* a comparison may run Python's code, and that take them out of the dict */
        Py_INCREF(value);
        Py_ssize_t field = PyLong_AsSsize_t(key);
        int same = PyErr_Occurred() || !is_field(self, field) ? -1 : holds(line_of(self), field, value);
        if (same < 0 || (same == 0 && PyDict_SetItem(differing, key, value) < 0))
            Py_CLEAR(differing);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    return differing;
}

PyDoc_STRVAR(put_doc,
"put(rev, values, /)\n--\n\n"
"Take over values, by number, as of a revision.");

static PyObject *cells_put(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (count != 2 || !PyDict_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "expected a revision and values by number");
        return NULL;
    }
    int64_t rev;
    if (!read_whole(args[0], &rev) || line_of(self) == NULL)
        return NULL;
    while (PyDict_Next(args[1], &position, &key, &value)) {
        Py_ssize_t field = PyLong_AsSsize_t(key);
        if (PyErr_Occurred() || !is_field(self, field))
            return NULL;
        line_of(self)->cells[field].rev = rev;
        set_object(line_of(self), field, value);
    }
    line_of(self)->rev = rev;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(load_doc,
"load(rev, values, revs, /)\n--\n\n"
"Become what is given. Fields beyond those given stay as they are.");

static PyObject *cells_load(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyList_Check(args[1]) || !PyList_Check(args[2]) ||
        PyList_GET_SIZE(args[1]) != PyList_GET_SIZE(args[2]) || PyList_GET_SIZE(args[1]) > cells_length(self)) {
        PyErr_SetString(PyExc_TypeError, "expected a revision, and as many values as revisions of them");
        return NULL;
    }
    int64_t rev;
    if (!read_whole(args[0], &rev) || line_of(self) == NULL)
        return NULL;
    for (Py_ssize_t field = 0; field < PyList_GET_SIZE(args[1]) && field < PyList_GET_SIZE(args[2]); field++) {
        int64_t changed;
        if (!read_whole(PyList_GET_ITEM(args[2], field), &changed))
            return NULL;
        line_of(self)->cells[field].rev = changed;
        set_object(line_of(self), field, PyList_GET_ITEM(args[1], field));
    }
    line_of(self)->rev = rev;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stamp_doc,
"stamp(rev, /)\n--\n\n"
"Make this the revision of the row, and of every field that has one.");

static PyObject *cells_stamp(PyObject *self, PyObject *value)
{
    int64_t rev;
    if (!read_whole(value, &rev) || line_of(self) == NULL)
        return NULL;
    struct line *line = line_of(self);
    line->rev = rev;
    for (Py_ssize_t field = 0; field < cells_length(self); field++)
        if (line->cells[field].rev != 0)
            line->cells[field].rev = rev;
    Py_RETURN_NONE;
}

/* What a shape shows: a field, what goes before its value, and how that is written. */
struct column {
    Py_ssize_t field;
    const char *key;
    Py_ssize_t length;
    int kind;
};

/* Read columns; return how many, -1 on an error. */
static Py_ssize_t read_columns(PyObject *columns, struct column *read)
{
    if (!PyTuple_Check(columns)) {
        PyErr_SetString(PyExc_TypeError, "expected a tuple of columns");
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(columns);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *column = PyTuple_GET_ITEM(columns, i), *key;
        if (i == MOST_FIELDS || !PyTuple_CheckExact(column) || PyTuple_GET_SIZE(column) != 3 ||
            !PyBytes_CheckExact(key = PyTuple_GET_ITEM(column, 1))) {
            PyErr_Format(PyExc_TypeError, "expected at most %d columns of a number, a key and a kind", MOST_FIELDS);
            return -1;
        }
        read[i] = (struct column){PyLong_AsSsize_t(PyTuple_GET_ITEM(column, 0)), PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
                                  (int)PyLong_AsLong(PyTuple_GET_ITEM(column, 2))};
        if (PyErr_Occurred())
            return -1;
    }
    return count;
}

/* Write the value of a field; NULL where Python has to. */
static char *put_cell(char *at, const struct line *line, const struct column *column)
{
    const struct cell *cell = &line->cells[column->field];
    if (line->numbers & bit(column->field))
        return put_number(at, cell->is.number, column->kind, line->scale);
    if (line->objects & bit(column->field))
        return column->kind == TEXT && PyUnicode_Check(cell->is.object) ? put_text(at, cell->is.object) : NULL;
    memcpy(at, "null", 4);
    return at + 4;
}

static PyObject *write_delta(const struct line *line, Py_ssize_t fields, int64_t since, const struct column *columns,
                             Py_ssize_t count)
{
    if ((line->scale != 2 && line->scale != 4) || line->length == 0)
        Py_RETURN_NONE;
    char out[MOST], *at = out, *end = out + MOST - MOST_FIELD - MOST_TEXT;
    memcpy(at, "{\"symbol\":\"", 11);
    memcpy(at + 11, line->symbol, line->length);
    at += 11 + line->length;
    *at++ = '"';
    char *start = at;
    for (const struct column *column = columns; column < columns + count; column++) {
        if (column->field < 0 || column->field >= fields) {
            PyErr_SetString(PyExc_IndexError, "a column without a field");
            return NULL;
        }
        if (line->cells[column->field].rev <= since)
            continue;
        if (at + column->length > end)
            Py_RETURN_NONE;
        memcpy(at, column->key, (size_t)column->length);
        at = put_cell(at + column->length, line, column);
        if (at == NULL)
            Py_RETURN_NONE;
    }
    if (at == start)
        return PyBytes_FromStringAndSize(NULL, 0);
    memcpy(at, ",\"rev\":", 7);
    at = put_whole(at + 7, line->rev);
    *at++ = '}';
    return PyBytes_FromStringAndSize(out, at - out);
}

static PyMethodDef cells_methods[] = {
    {"changed", cells_changed, METH_O, changed_doc},
    {"differing", cells_differing, METH_O, differing_doc},
    {"put", (PyCFunction)(void (*)(void))cells_put, METH_FASTCALL, put_doc},
    {"load", (PyCFunction)(void (*)(void))cells_load, METH_FASTCALL, load_doc},
    {"stamp", cells_stamp, METH_O, stamp_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef cells_attributes[] = {
    {"slot", get_slot, NULL, PyDoc_STR("the row's number on the sheet"), NULL},
    {"rev", get_rev, set_rev, PyDoc_STR("the revision at which the row last changed"), NULL},
    {"revs", get_revs, NULL, PyDoc_STR("the revision of each field, a list"), NULL},
    {"scale", get_scale, set_scale, PyDoc_STR("the decimals of a price"), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PySequenceMethods cells_as_sequence = {
    .sq_length = cells_length,
    .sq_item = cells_item,
    .sq_ass_item = cells_set_item,
};

static PyTypeObject cells_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "bhavcast.board._sheet.Cells",
    .tp_doc = PyDoc_STR("Cells(sheet, symbol, scale)\n--\n\nThe values of one row of a sheet, by field number."),
    .tp_basicsize = sizeof(struct cells),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
    .tp_init = cells_init,
    .tp_dealloc = cells_dealloc,
    .tp_as_sequence = &cells_as_sequence,
    .tp_methods = cells_methods,
    .tp_getset = cells_attributes,
};

enum { AT_ONCE = 64 };

PyDoc_STRVAR(deltas_doc,
"deltas(rows, since, columns, /)\n--\n\n"
"Return of each row the fields newer than `since` as a JSON object, b\"\" if there are none, None if Python has to write them.\n"
"`columns` are (number, b',\"name\":', kind).");

static PyObject *deltas(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 3 || !PyList_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "expected a list of rows, since, columns");
        return NULL;
    }
    long long since = PyLong_AsLongLong(args[1]);
    struct column columns[MOST_FIELDS];
    Py_ssize_t shown = PyErr_Occurred() ? -1 : read_columns(args[2], columns), rows = PyList_GET_SIZE(args[0]);
    PyObject *written = shown < 0 ? NULL : PyList_New(rows);
    for (Py_ssize_t i = 0; written != NULL && i < rows; i++) {
        if (i % AT_ONCE == 0) /* the next lines are on their way while these are written */
            for (Py_ssize_t ahead = i; ahead < rows && ahead < i + AT_ONCE; ahead++)
                prefetch(PyList_GET_ITEM(args[0], ahead));
        if (i % AT_ONCE == 0)
            for (Py_ssize_t ahead = i; ahead < rows && ahead < i + AT_ONCE; ahead++) {
                PyObject *row = PyList_GET_ITEM(args[0], ahead);
                const struct line *line = PyObject_TypeCheck(row, &cells_type) ? line_of(row) : NULL;
                if (line == NULL) {
                    if (!PyErr_Occurred())
                        PyErr_SetString(PyExc_TypeError, "expected rows of a sheet");
                    Py_DECREF(written);
                    return NULL;
                }
                fetch_lines(line, line_size(cells_length(row)));
            }
        PyObject *row = PyList_GET_ITEM(args[0], i);
        PyObject *delta = write_delta(line_of(row), cells_length(row), since, columns, shown);
        if (delta == NULL)
            Py_CLEAR(written);
        else
            PyList_SET_ITEM(written, i, delta);
    }
    return written;
}

static PyMethodDef methods[] = {
    {"deltas", (PyCFunction)(void (*)(void))deltas, METH_FASTCALL, deltas_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_sheet", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__sheet(void)
{
    PyObject *module = PyType_Ready(&sheet_type) < 0 || PyType_Ready(&cells_type) < 0 ? NULL : PyModule_Create(&definition);
    if (module != NULL && (PyModule_AddObjectRef(module, "Sheet", (PyObject *)&sheet_type) < 0 ||
                           PyModule_AddObjectRef(module, "Cells", (PyObject *)&cells_type) < 0))
        Py_CLEAR(module);
    return module;
}
