/* One burst of a flush, sent: for each client its rows are joined into one WebSocket frame, and that is given to the kernel.

   What burst.py does in Python, for machines with a C compiler; tests hold the two against each other. A frame lives in one
   buffer that stays in the processor's cache from the joining to the copy into the kernel: measured, that and no Python per
   row is two fifths of what a client of a flush costs (docs/adr/0026-burst-in-c.md).

   The GIL is held: nothing here waits, and the rows must not change meanwhile. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL /* macOS: Python ignores SIGPIPE anyway */
#define MSG_NOSIGNAL 0
#endif

enum {
    ROOM = 10, /* the longest header of a frame that is not masked (RFC 6455, section 5.2) */
    AT_ONCE = 128,
    LINE = 64,
};

static char *buffer = NULL;
static size_t capacity = 0;

static int reserve(size_t size)
{
    if (size <= capacity)
        return 0;
    char *larger = realloc(buffer, size * 2);
    if (larger == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    buffer = larger;
    capacity = size * 2;
    return 0;
}

static void prefetch(const char *from, Py_ssize_t length)
{
#ifdef __GNUC__
    for (Py_ssize_t at = 0; at < length; at += LINE)
        __builtin_prefetch(from + at);
#else
    (void)from, (void)length;
#endif
}

/* Write the header so that it ends where the message begins; return where it begins. */
static char *put_header(char *message, size_t length, int binary)
{
    char *start;
    if (length < 126) {
        start = message - 2;
        start[1] = (char)length;
    } else if (length < 65536) {
        start = message - 4;
        start[1] = 126;
        start[2] = (char)(length >> 8);
        start[3] = (char)length;
    } else {
        start = message - 10;
        start[1] = 127;
        for (int i = 0; i < 8; i++)
            start[2 + i] = (char)((uint64_t)length >> (56 - 8 * i));
    }
    start[0] = (char)(binary ? 0x82 : 0x81);
    return start;
}

/* Join the rows of one client behind what stands before them, without the first one's comma. Return the message's length, 0 if
   it has no row, -1 on error. */
static Py_ssize_t join(PyObject *rows, PyObject *slots, PyObject *before, PyObject *after, Py_ssize_t comma)
{
    const int32_t *slot = (const int32_t *)PyBytes_AS_STRING(slots);
    Py_ssize_t count = PyBytes_GET_SIZE(slots) / (Py_ssize_t)sizeof(int32_t), known = PyList_GET_SIZE(rows);
    size_t start = ROOM + (size_t)PyBytes_GET_SIZE(before), end = start;
    if (reserve(end) < 0)
        return -1;
    for (Py_ssize_t from = 0; from < count; from += AT_ONCE) {
        /* Which rows, first: while they are listed their memory is already on its way to the cache. */
        PyObject *chosen[AT_ONCE];
        Py_ssize_t most = count - from < AT_ONCE ? count - from : AT_ONCE, found = 0;
        for (Py_ssize_t i = from; i < from + most; i++) {
            if (slot[i] < 0 || slot[i] >= known) {
                PyErr_Format(PyExc_IndexError, "slot %d of %zd", (int)slot[i], known);
                return -1;
            }
            PyObject *row = PyList_GET_ITEM(rows, slot[i]);
            if (!PyBytes_CheckExact(row)) {
                PyErr_Format(PyExc_TypeError, "row %d is not bytes", (int)slot[i]);
                return -1;
            }
            if (PyBytes_GET_SIZE(row) == 0)
                continue;
            prefetch(PyBytes_AS_STRING(row), PyBytes_GET_SIZE(row));
            chosen[found++] = row;
        }
        for (Py_ssize_t i = 0; i < found; i++) {
            size_t skip = end == start ? (size_t)comma : 0, length = (size_t)PyBytes_GET_SIZE(chosen[i]) - skip;
            if (reserve(end + length) < 0)
                return -1;
            memcpy(buffer + end, PyBytes_AS_STRING(chosen[i]) + skip, length);
            end += length;
        }
    }
    if (end == start)
        return 0;
    size_t tail = (size_t)PyBytes_GET_SIZE(after);
    if (reserve(end + tail) < 0)
        return -1;
    memcpy(buffer + ROOM, PyBytes_AS_STRING(before), start - ROOM);
    memcpy(buffer + end, PyBytes_AS_STRING(after), tail);
    return (Py_ssize_t)(end + tail - ROOM);
}

PyDoc_STRVAR(send_doc,
"send(wires, rows, before, after, binary, /)\n--\n\n"
"Send each wire a frame with its rows. `wires` is a list of (descriptor, slots), slots packed as int32; `rows` a list of bytes,\n"
"each with a comma before it unless `binary`.\n"
"Return a list of (index, rest): of wires for which there was no row (None), of those without a descriptor (nothing: below 0),\n"
"and of those whose kernel did not take all (what is left).");

static PyObject *send_burst(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *wires, *rows, *before, *after;
    int binary;
    if (!PyArg_ParseTuple(args, "O!O!SSp", &PyList_Type, &wires, &PyList_Type, &rows, &before, &after, &binary))
        return NULL;
    PyObject *exceptions = PyList_New(0);
    if (exceptions == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(wires); i++) {
        PyObject *wire = PyList_GET_ITEM(wires, i);
        if (!PyTuple_CheckExact(wire) || PyTuple_GET_SIZE(wire) != 2 || !PyBytes_CheckExact(PyTuple_GET_ITEM(wire, 1))) {
            PyErr_SetString(PyExc_TypeError, "expected pairs of a descriptor and packed slots");
            goto failed;
        }
        long descriptor = PyLong_AsLong(PyTuple_GET_ITEM(wire, 0));
        if (descriptor == -1 && PyErr_Occurred())
            goto failed;
        if (i + 1 < PyList_GET_SIZE(wires)) {
            PyObject *next = PyList_GET_ITEM(wires, i + 1);
            if (PyTuple_CheckExact(next) && PyTuple_GET_SIZE(next) == 2 && PyBytes_CheckExact(PyTuple_GET_ITEM(next, 1)))
                prefetch(PyBytes_AS_STRING(PyTuple_GET_ITEM(next, 1)), 4 * LINE);
        }
        Py_ssize_t length = descriptor < 0 ? 0 : join(rows, PyTuple_GET_ITEM(wire, 1), before, after, binary ? 0 : 1);
        if (length < 0)
            goto failed;
        PyObject *rest;
        if (descriptor < 0) {
            rest = PyBytes_FromStringAndSize(NULL, 0);
        } else if (length == 0) {
            rest = Py_NewRef(Py_None);
        } else {
            char *start = put_header(buffer + ROOM, (size_t)length, binary);
            size_t size = (size_t)(buffer + ROOM + length - start);
            ssize_t sent;
            do
                sent = send((int)descriptor, start, size, MSG_DONTWAIT | MSG_NOSIGNAL);
            while (sent < 0 && errno == EINTR);
            if (sent < 0)
                sent = 0; /* full, or broken: whoever gets the rest will see */
            if ((size_t)sent == size)
                continue;
            rest = PyBytes_FromStringAndSize(start + sent, (Py_ssize_t)(size - (size_t)sent));
        }
        PyObject *exception = rest == NULL ? NULL : Py_BuildValue("nN", i, rest);
        if (exception == NULL || PyList_Append(exceptions, exception) < 0) {
            Py_XDECREF(exception);
            goto failed;
        }
        Py_DECREF(exception);
    }
    return exceptions;
failed:
    Py_DECREF(exceptions);
    return NULL;
}

static PyMethodDef methods[] = {{"send", send_burst, METH_VARARGS, send_doc}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_burst", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__burst(void)
{
    return PyModuleDef_Init(&definition);
}
