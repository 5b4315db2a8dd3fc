/* A slice of a flush: for each client its rows are joined into one WebSocket frame, and that is given to the kernel.

   What hub/burst.py does in Python, for machines with a C compiler; tests hold the two against each other. A frame lives in one
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
    TOGETHER = 16,
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

/* Names of attributes, made once. */
static PyObject *str_behind, *str_everything, *str_packed, *str_sent_at, *str_sink, *str_wire;

/* One client, taken out of the set. */
struct client {
    PyObject *outbox, *packed;
    long wire;
};

static void drop(struct client *clients, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_CLEAR(clients[i].outbox);
        Py_CLEAR(clients[i].packed);
    }
}

/* What a frame for a client needs: its slots and its wire. Return 1, 0 if it is behind, -1 on error. */
static int look_up(struct client *client, PyObject *whole)
{
    PyObject *behind = PyObject_GetAttr(client->outbox, str_behind);
    if (behind == NULL)
        return -1;
    Py_DECREF(behind); /* the outbox keeps it, and None is always there */
    if (behind != Py_None)
        return 0;
    PyObject *everything = PyObject_GetAttr(client->outbox, str_everything);
    int follows = everything == NULL ? -1 : PyObject_IsTrue(everything);
    Py_XDECREF(everything);
    if (follows < 0)
        return -1;
    client->packed = follows ? Py_NewRef(whole) : PyObject_GetAttr(client->outbox, str_packed);
    if (client->packed == NULL)
        return -1;
    if (!PyBytes_CheckExact(client->packed)) {
        PyErr_SetString(PyExc_TypeError, "expected slots packed as bytes");
        return -1;
    }
    prefetch(PyBytes_AS_STRING(client->packed), PyBytes_GET_SIZE(client->packed) < 4 * LINE ? PyBytes_GET_SIZE(client->packed) : 4 * LINE);
    PyObject *sink = PyObject_GetAttr(client->outbox, str_sink);
    if (sink == NULL)
        return -1;
    PyObject *wire = PyObject_GetAttr(sink, str_wire);
    Py_DECREF(sink);
    if (wire == NULL)
        return -1;
    client->wire = PyLong_AsLong(wire);
    Py_DECREF(wire);
    return client->wire == -1 && PyErr_Occurred() ? -1 : 1;
}

/* Give the kernel a frame; return what it did not take, None if it took all, NULL on error. */
static PyObject *give(long wire, const char *frame, size_t size)
{
    ssize_t sent;
    do
        sent = send((int)wire, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        sent = 0; /* full, or broken: whoever gets the rest will see */
    if ((size_t)sent == size)
        return Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize(frame + sent, (Py_ssize_t)(size - (size_t)sent));
}

static int append(PyObject *list, PyObject *outbox, PyObject *rest)
{
    PyObject *pair = PyTuple_Pack(2, outbox, rest);
    int failed = pair == NULL ? -1 : PyList_Append(list, pair);
    Py_XDECREF(pair);
    return failed;
}

PyDoc_STRVAR(send_doc,
"send(unreached, flush, now, budget, cost, own_cost, /)\n--\n\n"
"Take clients out of the set and send each its rows in one frame, until `budget` bytes are spent; besides its rows a client costs\n"
"`cost`, and `own_cost` if it is behind. Return the number of frames, a list of those who are behind, and a list of (client, rest)\n"
"of those whose kernel did not take all (what is left) or who have no wire (None).");

static PyObject *send_burst(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *unreached, *flush, *now;
    Py_ssize_t budget, cost, own_cost, frames = 0;
    if (!PyArg_ParseTuple(args, "O!O!Onnn", &PySet_Type, &unreached, &PyTuple_Type, &flush, &now, &budget, &cost, &own_cost))
        return NULL;
    PyObject *rows, *whole, *pos, *before, *after;
    int binary;
    if (!PyArg_ParseTuple(flush, "O!SUSSp", &PyList_Type, &rows, &whole, &pos, &before, &after, &binary))
        return NULL;
    struct client clients[TOGETHER] = {{NULL, NULL, -1}};
    PyObject *left = PyList_New(0), *unsent = PyList_New(0), *result = NULL;
    if (left == NULL || unsent == NULL)
        goto done;
    while (budget > 0 && PySet_GET_SIZE(unreached) > 0) {
        /* Some together: while they are looked up, their slots are already on their way to the cache. */
        Py_ssize_t count = 0;
        while (count < TOGETHER && budget > 0 && PySet_GET_SIZE(unreached) > 0) {
            struct client *client = &clients[count];
            client->outbox = PySet_Pop(unreached);
            if (client->outbox == NULL)
                goto done;
            count++;
            int fit = look_up(client, whole);
            if (fit < 0)
                goto done;
            budget -= fit ? cost : own_cost;
            if (!fit) {
                if (PyList_Append(left, client->outbox) < 0)
                    goto done;
                drop(client, 1);
                count--;
            }
        }
        for (Py_ssize_t i = 0; i < count; i++) {
            struct client *client = &clients[i];
            if (client->wire < 0) {
                if (append(unsent, client->outbox, Py_None) < 0)
                    goto done;
                continue;
            }
            Py_ssize_t length = join(rows, client->packed, before, after, binary ? 0 : 1);
            if (length < 0)
                goto done;
            if (length == 0)
                continue;
            char *start = put_header(buffer + ROOM, (size_t)length, binary);
            size_t size = (size_t)(buffer + ROOM + length - start);
            PyObject *rest = give(client->wire, start, size);
            if (rest == NULL)
                goto done;
            int failed = rest == Py_None ? 0 : append(unsent, client->outbox, rest);
            Py_DECREF(rest);
            if (failed < 0 || PyObject_SetAttr(client->outbox, str_sent_at, now) < 0)
                goto done;
            frames++;
            budget -= length;
        }
        drop(clients, count);
    }
    result = Py_BuildValue("nOO", frames, left, unsent);
done:
    drop(clients, TOGETHER);
    Py_XDECREF(left);
    Py_XDECREF(unsent);
    return result;
}

static PyMethodDef methods[] = {{"send", send_burst, METH_VARARGS, send_doc}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_burst", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__burst(void)
{
    str_behind = PyUnicode_InternFromString("behind");
    str_everything = PyUnicode_InternFromString("everything");
    str_packed = PyUnicode_InternFromString("packed");
    str_sent_at = PyUnicode_InternFromString("sent_at");
    str_sink = PyUnicode_InternFromString("sink");
    str_wire = PyUnicode_InternFromString("wire");
    if (!str_behind || !str_everything || !str_packed || !str_sent_at || !str_sink || !str_wire)
        return NULL;
    return PyModuleDef_Init(&definition);
}
