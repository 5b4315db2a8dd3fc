/* The lines of a sheet, side by side in memory, and the index that finds them by symbol. */

#ifndef BHAVCAST_LINES_H
#define BHAVCAST_LINES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_json.h"

enum { MOST_FIELDS = 64, MOST_SYMBOL = 36 };

/* A value, and when it last changed (0: never had one). What it is stands in the line. */
struct cell {
    int64_t rev;
    union {
        int64_t number;
        PyObject *object; /* ours: a text, levels, whatever is no number of eight bytes */
    } is;
};

/* A row's head; its cells follow. A field is in one of the two sets, or has no value. A symbol that is not usual is left out. */
struct line {
    int64_t rev;
    uint64_t numbers, objects;
    int16_t scale;
    uint8_t length;
    char symbol[MOST_SYMBOL + 1];
    struct cell cells[];
};

struct sheet {
    PyObject_HEAD
    Py_ssize_t fields, count, room;
    char *lines;
    uint32_t *index; /* by symbol: the number of a line, and one; 0 where there is none */
    Py_ssize_t places;
};

static size_t line_size(Py_ssize_t fields)
{
    return sizeof(struct line) + (size_t)fields * sizeof(struct cell);
}

static struct line *line_at(const struct sheet *sheet, Py_ssize_t slot)
{
    return (struct line *)(void *)(sheet->lines + (size_t)slot * line_size(sheet->fields));
}

static uint64_t bit(Py_ssize_t field)
{
    return (uint64_t)1 << field;
}

/* Hash a symbol (FNV-1a). */
static uint32_t hash_of(const char *text, Py_ssize_t length)
{
    uint32_t hash = 2166136261u;
    for (Py_ssize_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)text[i]) * 16777619u;
    return hash;
}

static void enter(struct sheet *sheet, Py_ssize_t slot)
{
    const struct line *line = line_at(sheet, slot);
    size_t mask = (size_t)sheet->places - 1, at = hash_of(line->symbol, line->length) & mask;
    while (sheet->index[at] != 0)
        at = (at + 1) & mask;
    sheet->index[at] = (uint32_t)slot + 1;
}

/* Make room for twice as many lines; a place of the index in two stays free. Return -1 without memory, then all is as it was. */
static int make_room(struct sheet *sheet)
{
    Py_ssize_t room = sheet->room == 0 ? 64 : sheet->room * 2, places = room * 2;
    char *lines = room > INT32_MAX ? NULL : PyMem_Realloc(sheet->lines, (size_t)room * line_size(sheet->fields));
    if (lines != NULL)
        sheet->lines = lines;
    uint32_t *index = lines == NULL ? NULL : PyMem_Calloc((size_t)places, sizeof *index);
    if (index == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    PyMem_Free(sheet->index);
    sheet->index = index;
    sheet->places = places;
    sheet->room = room;
    for (Py_ssize_t slot = 0; slot < sheet->count; slot++)
        if (line_at(sheet, slot)->length > 0)
            enter(sheet, slot);
    return 0;
}

/* Add a line without values; return its number, -1 on an error. */
static Py_ssize_t add_line(struct sheet *sheet, PyObject *symbol, int16_t scale)
{
    if (sheet->count == sheet->room && make_room(sheet) < 0)
        return -1;
    struct line *line = line_at(sheet, sheet->count);
    memset(line, 0, line_size(sheet->fields));
    line->scale = scale;
    char written[MOST_TEXT + 2]; /* with quotes */
    char *end = put_text(written, symbol);
    Py_ssize_t length = end == NULL ? 0 : end - written - 2;
    if (length > 0 && length <= MOST_SYMBOL) {
        memcpy(line->symbol, written + 1, (size_t)length);
        line->length = (uint8_t)length;
        enter(sheet, sheet->count);
    }
    return sheet->count++;
}

/* Put a number into a cell, or an object (then ours no more), or neither. Return the object that was there before, for the
   caller to let go of when all is in order again. */
static PyObject *set_cell(struct line *line, Py_ssize_t field, const int64_t *number, PyObject *object)
{
    struct cell *cell = &line->cells[field];
    PyObject *before = line->objects & bit(field) ? cell->is.object : NULL;
    line->numbers &= ~bit(field);
    line->objects &= ~bit(field);
    if (number != NULL) {
        cell->is.number = *number;
        line->numbers |= bit(field);
    } else if (object != NULL) {
        cell->is.object = object;
        line->objects |= bit(field);
    }
    return before;
}

/* Put what an object says into a cell. */
static void set_object(struct line *line, Py_ssize_t field, PyObject *value)
{
    int overflow = 1;
    int64_t number = PyLong_CheckExact(value) ? PyLong_AsLongLongAndOverflow(value, &overflow) : 0;
    PyObject *object = overflow != 0 && value != Py_None ? Py_NewRef(value) : NULL;
    Py_XDECREF(set_cell(line, field, overflow == 0 ? &number : NULL, object));
}

static PyObject *get_object(const struct line *line, Py_ssize_t field)
{
    if (line->numbers & bit(field))
        return PyLong_FromLongLong(line->cells[field].is.number);
    return Py_NewRef(line->objects & bit(field) ? line->cells[field].is.object : Py_None);
}

static void prefetch(const void *at)
{
#ifdef __GNUC__
    __builtin_prefetch(at);
#else
    (void)at;
#endif
}

static void fetch_lines(const void *from, size_t size)
{
    for (size_t at = 0; at < size; at += 64)
        prefetch((const char *)from + at);
}

#endif
