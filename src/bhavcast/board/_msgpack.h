/* MessagePack, as far as the changes of a message need it. */

#ifndef BHAVCAST_MSGPACK_H
#define BHAVCAST_MSGPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

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

#endif
