/* Changes as the bus carries them, put into their lines: MessagePack, [[symbol, rev, {number: value}], ...].

   A message is read as a whole before a byte of it is taken over. */

#ifndef BHAVCAST_TAKE_H
#define BHAVCAST_TAKE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "_lines.h"
#include "_msgpack.h"

/* A value that was read, and its field. */
struct told {
    Py_ssize_t field;
    struct token value;
};

/* A change that was read, and which of the values are its own. */
struct change {
    struct token symbol;
    uint32_t hash;
    Py_ssize_t slot;
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

/* As are the functions that return an int here: 1 if every change is as it should be, 0 if Python has to say, -1 on an error. */
static int read_change(struct reader *in, const struct sheet *sheet, struct message *message)
{
    struct token change = read_token(in), symbol = read_token(in), rev = read_token(in), values = read_token(in);
    if (change.kind != ARRAY || change.number != 3 || symbol.kind != ASCII || rev.kind != NUMBER || rev.number < 0 ||
        values.kind != MAP || sheet->places == 0)
        return 0;
    uint32_t hash = hash_of(symbol.text, symbol.number);
    prefetch(&sheet->index[hash & (size_t)(sheet->places - 1)]);
    struct change *changes = with_room(message->changes, message->change_count, &message->change_room, sizeof *changes);
    if (changes == NULL)
        return -1;
    message->changes = changes;
    changes[message->change_count++] = (struct change){symbol, hash, -1, rev.number, message->value_count, values.number};
    for (int64_t left = values.number; left > 0; left--) {
        struct token number = read_head(in), value = read_value(in);
        if (number.kind != NUMBER || number.number < 0 || number.number >= sheet->fields || value.kind == ODD)
            return 0;
        struct told *told = with_room(message->values, message->value_count, &message->value_room, sizeof *told);
        if (told == NULL)
            return -1;
        message->values = told;
        told[message->value_count++] = (struct told){(Py_ssize_t)number.number, value};
    }
    return 1;
}

static int read_message(struct reader in, const struct sheet *sheet, struct message *message)
{
    struct token all = read_token(&in);
    int usual = all.kind == ARRAY;
    for (int64_t left = all.number; usual == 1 && left > 0; left--)
        usual = read_change(&in, sheet, message);
    return usual == 1 ? in.at == in.end : usual;
}

/* Find the line of each change, and have what it needs of it fetched: none of that lies in a cache, and waiting for all of it
   at once costs a part of waiting for one after the other. */
static int find_lines(const struct sheet *sheet, struct message *message)
{
    size_t mask = (size_t)sheet->places - 1;
    const struct change *end = message->changes + message->change_count;
    for (const struct change *each = message->changes; each < end; each++)
        if (sheet->index[each->hash & mask] != 0) /* most likely it is this one */
            prefetch(line_at(sheet, sheet->index[each->hash & mask] - 1));
    for (struct change *each = message->changes; each < end; each++) {
        size_t at = each->hash & mask;
        const struct line *line = NULL;
        for (; sheet->index[at] != 0; at = (at + 1) & mask) {
            line = line_at(sheet, sheet->index[at] - 1);
            if (line->length == each->symbol.number && memcmp(line->symbol, each->symbol.text, line->length) == 0)
                break;
        }
        if (sheet->index[at] == 0)
            return 0;
        each->slot = sheet->index[at] - 1;
        for (Py_ssize_t i = each->first; i < each->first + each->count; i++)
            prefetch(&line->cells[message->values[i].field]);
    }
    return 1;
}

/* Put a value into its cell. Levels stay as they came: they are twenty objects, of a side that few look at. */
static int put_told(struct line *line, const struct told *told, int64_t rev)
{
    const struct token *value = &told->value;
    PyObject *object = NULL;
    if (value->kind == ASCII)
        object = PyUnicode_DecodeASCII(value->text, (Py_ssize_t)value->number, NULL);
    else if (value->kind == ARRAY)
        object = PyBytes_FromStringAndSize(value->text, (Py_ssize_t)value->number);
    if (object == NULL && PyErr_Occurred())
        return -1;
    line->cells[told->field].rev = rev;
    Py_XDECREF(set_cell(line, told->field, value->kind == NUMBER ? &value->number : NULL, object));
    return 0;
}

/* Put all changes into their lines; return the lines' numbers. */
static PyObject *put_changes(const struct sheet *sheet, const struct message *message)
{
    PyObject *slots = PyList_New(message->change_count);
    for (Py_ssize_t i = 0; slots != NULL && i < message->change_count; i++) {
        const struct change *change = &message->changes[i];
        PyObject *slot = PyLong_FromSsize_t(change->slot);
        if (slot == NULL) {
            Py_DECREF(slots);
            return NULL;
        }
        PyList_SET_ITEM(slots, i, slot);
        line_at(sheet, change->slot)->rev = change->rev;
        for (const struct told *told = message->values + change->first, *end = told + change->count; told < end; told++)
            if (put_told(line_at(sheet, change->slot), told, change->rev) < 0) {
                Py_DECREF(slots);
                return NULL;
            }
    }
    return slots;
}

#endif
