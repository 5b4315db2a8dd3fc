/* The least that a server which hears every tick has to do: take over what each message of the feeder changes (four bytes of
 * length, then MessagePack, see benchmarks/feeder.py), and write each changed row once per flush as ours does, the fields newer
 * than the last one. Numbers alone are kept: a tick of the feeder has nothing else. Nothing is checked but bounds. */
#include <stddef.h>
#include <sys/un.h>

enum { LENGTH = 4, SCRIPS = 1 << 15, SLOTS = SCRIPS * 4, FIELDS = 64, NAME = 32, LONGEST = 2048, HEARD = 1 << 20 };
static const int64_t NONE = INT64_MIN;

typedef struct {
    char symbol[NAME];
    int64_t rev, values[FIELDS], revs[FIELDS];
} Row;

static Row rows[SCRIPS];
static struct { const char *text; size_t size; } written[SCRIPS]; /* what a flush says of a row */
static int row_count, slots[SLOTS], changed[SCRIPS], changed_count;
static int64_t rev, flushed;
static char epoch[64];

/* -- MessagePack ------------------------------------------------------------------------------------------------------ */

typedef enum { NIL, NUMBER, TEXT, ARRAY, MAP } TokenKind; /* true and false are numbers here */
typedef struct {
    TokenKind kind;
    int64_t number; /* of a text its length, of an array or a map how many there are in it */
    const char *text;
} Token;

static const uint8_t *at, *end; /* in the message that is read */

static uint64_t big(int bytes) {
    uint64_t number = 0;
    if (end - at < bytes) die("a message ended early");
    while (bytes--) number = number << 8 | *at++;
    return number;
}

static Token text_of(int64_t length) {
    if (end - at < length) die("a message ended early");
    at += length;
    return (Token){TEXT, length, (const char *)at - length};
}

static Token next(void) {
    int first = big(1);
    if (first <= 0x7f || first >= 0xe0) return (Token){.kind = NUMBER, .number = (int8_t)first};
    if (first <= 0x8f) return (Token){.kind = MAP, .number = first & 15};
    if (first <= 0x9f) return (Token){.kind = ARRAY, .number = first & 15};
    if (first <= 0xbf) return text_of(first & 31);
    switch (first) {
    case 0xc0: return (Token){.kind = NIL, .number = NONE};
    case 0xc2: case 0xc3: return (Token){.kind = NUMBER, .number = first & 1};
    case 0xcc: case 0xcd: case 0xce: case 0xcf: return (Token){.kind = NUMBER, .number = big(1 << (first - 0xcc))};
    case 0xd0: return (Token){.kind = NUMBER, .number = (int8_t)big(1)};
    case 0xd1: return (Token){.kind = NUMBER, .number = (int16_t)big(2)};
    case 0xd2: return (Token){.kind = NUMBER, .number = (int32_t)big(4)};
    case 0xd3: return (Token){.kind = NUMBER, .number = (int64_t)big(8)};
    case 0xd9: case 0xda: case 0xdb: return text_of(big(1 << (first - 0xd9)));
    case 0xdc: case 0xdd: return (Token){.kind = ARRAY, .number = big(2 << (first - 0xdc))};
    case 0xde: case 0xdf: return (Token){.kind = MAP, .number = big(2 << (first - 0xde))};
    default: die("a message has a byte 0x%02x", first);
    }
    return (Token){0};
}

/* Read a value; of a list or a map no more than that it is one. */
static Token next_value(void) {
    Token token = next();
    int64_t left = token.kind == MAP ? 2 * token.number : token.kind == ARRAY ? token.number : 0;
    while (left--) next_value();
    return token;
}

static int is(Token token, const char *text) {
    return (size_t)token.number == strlen(text) && !memcmp(token.text, text, token.number);
}

/* -- rows ------------------------------------------------------------------------------------------------------------- */

/* Where a symbol's row is noted: its number and 1, or 0 if there is none yet. */
static int *slot_of(const char *symbol, size_t length) {
    uint64_t hash = 14695981039346656037ULL; /* FNV-1a */
    if (length >= NAME) die("too long a symbol");
    for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)symbol[i]) * 1099511628211ULL;
    int *slot = slots + (hash ^ hash >> 32) % SLOTS;
    while (*slot && (memcmp(rows[*slot - 1].symbol, symbol, length) || rows[*slot - 1].symbol[length]))
        slot = slot + 1 < slots + SLOTS ? slot + 1 : slots;
    return slot;
}

static int row_of(const char *symbol, size_t length) {
    int *slot = slot_of(symbol, length);
    if (!*slot) die("nobody told of %.*s", (int)length, symbol);
    return *slot - 1;
}

static void take_change(void) { /* [symbol, rev, {number: value}] */
    next();
    Token symbol = next(), since = next(), values = next();
    int number = row_of(symbol.text, symbol.number);
    Row *row = rows + number;
    if (row->rev <= flushed) changed[changed_count++] = number;
    row->rev = since.number;
    while (values.number--) {
        Token field = next(), value = next_value();
        if (field.number >= FIELDS || value.kind > NUMBER) continue;
        row->values[field.number] = value.number, row->revs[field.number] = since.number;
    }
}

static void take_image(void) { /* [symbol, rev, values, revs] */
    next();
    Token symbol = next();
    if (row_count == SCRIPS) die("too many scrips");
    *slot_of(symbol.text, symbol.number) = row_count + 1;
    Row *row = rows + row_count++;
    memcpy(row->symbol, symbol.text, symbol.number);
    row->rev = next().number;
    for (int64_t i = 0, count = next().number; i < count; i++) {
        Token value = next_value();
        if (i < FIELDS) row->values[i] = value.kind == NUMBER ? value.number : NONE;
    }
    for (int64_t i = 0, count = next().number; i < count; i++) {
        int64_t since = next().number;
        if (i < FIELDS) row->revs[i] = since;
    }
}

/* Read a message or the snapshot. */
static void take(const uint8_t *message, size_t length) {
    at = message, end = message + length;
    for (int64_t left = next().number; left > 0; left--) {
        Token key = next();
        if (is(key, "changes")) for (int64_t count = next().number; count > 0; count--) take_change();
        else if (is(key, "to_rev") || is(key, "rev")) rev = next().number;
        else if (is(key, "rows")) for (int64_t count = next().number; count > 0; count--) take_image();
        else if (is(key, "epoch")) {
            Token value = next();
            snprintf(epoch, sizeof epoch, "%.*s", (int)value.number, value.text);
        } else next_value();
    }
}

/* -- the bus ---------------------------------------------------------------------------------------------------------- */

/* Begin to follow the feeder; return the socket that tells of messages. */
static int follow(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t head[LENGTH], *snapshot;
    int bus = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(bus, (struct sockaddr *)&address, sizeof address)) die("connect: %s", strerror(errno));
    if (recv(bus, head, LENGTH, MSG_WAITALL) != LENGTH) die("the feeder is gone");
    at = head, end = head + LENGTH;
    size_t length = big(LENGTH);
    snapshot = malloc(length);
    for (size_t have = 0; have < length;) {
        ssize_t got = recv(bus, snapshot + have, length - have, 0);
        if (got <= 0) die("the feeder is gone");
        have += got;
    }
    take(snapshot, length);
    free(snapshot);
    flushed = rev;
    fcntl(bus, F_SETFL, O_NONBLOCK);
    return bus;
}

/* Take over every whole message that has come. */
static void hear_bus(int bus) {
    static uint8_t heard[HEARD];
    static size_t have;
    ssize_t got = recv(bus, heard + have, HEARD - have, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) exit(0);
    have += got;
    size_t from = 0;
    while (have - from >= LENGTH) {
        at = heard + from, end = at + LENGTH;
        size_t length = big(LENGTH);
        if (length > HEARD - LENGTH) die("a message of %zu bytes is too long", length);
        if (have - from - LENGTH < length) break;
        take(heard + from + LENGTH, length);
        from += LENGTH + length;
    }
    have -= from;
    memmove(heard, heard + from, have);
}

/* -- JSON ------------------------------------------------------------------------------------------------------------- */

static struct { char key[NAME], how; size_t length; } shown[FIELDS]; /* of a field its `,"name":`; nothing if it is not written */
static int field_count;

/* Fields as NAME=HOW, in the order of their numbers. HOW: d two decimals, w whole, t time, s time to the second, - not at all. */
static void show(const char *fields) {
    for (; field_count < FIELDS && *fields; field_count++) {
        int length = strcspn(fields, "=");
        if (length + 4 >= NAME || !fields[length]) die("expected NAME=HOW, got %s", fields);
        if (fields[length + 1] != '-')
            shown[field_count].length = snprintf(shown[field_count].key, NAME, ",\"%.*s\":", length, fields);
        shown[field_count].how = fields[length + 1];
        fields += length + 2;
        if (*fields == ',') fields++;
    }
}

static char *put_whole(char *out, int64_t number) {
    char digits[20];
    int count = 0;
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    if (number < 0) *out++ = '-';
    do digits[count++] = (char)('0' + size % 10);
    while (size /= 10);
    while (count) *out++ = digits[--count];
    return out;
}

static char *put_decimal(char *out, int64_t hundredths) {
    if (hundredths < 0) *out++ = '-', hundredths = -hundredths;
    out = put_whole(out, hundredths / 100);
    *out++ = '.', *out++ = (char)('0' + hundredths / 10 % 10);
    if (hundredths % 10) *out++ = (char)('0' + hundredths % 10);
    return out;
}

static char *put_time(char *out, int64_t ms, int to_the_second) {
    static char text[sizeof "2026-11-23T12:08:51"];
    static time_t told = -1;
    time_t second = ms / 1000 + 19800; /* in India */
    if (second != told) strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime(&second)), told = second;
    *out++ = '"';
    out = (char *)memcpy(out, text, sizeof text - 1) + sizeof text - 1;
    if (!to_the_second) {
        *out++ = '.';
        for (int unit = 100; unit; unit /= 10) *out++ = (char)('0' + ms % 1000 / unit % 10);
    }
    return (char *)memcpy(out, "+05:30\"", 7) + 7;
}

static char *put_value(char *out, int64_t value, char how) {
    if (value == NONE) return (char *)memcpy(out, "null", 4) + 4;
    return how == 'd' ? put_decimal(out, value) : how == 'w' ? put_whole(out, value) : put_time(out, value, how == 's');
}

static char *put_text(char *out, const char *text) {
    size_t length = strlen(text);
    return (char *)memcpy(out, text, length) + length;
}

static char *put_row(char *out, const Row *row) {
    out = put_text(put_text(put_text(out, ",{\"symbol\":\""), row->symbol), "\"");
    for (int number = 0; number < field_count; number++) {
        if (row->revs[number] <= flushed || !shown[number].length) continue;
        out = (char *)memcpy(out, shown[number].key, shown[number].length) + shown[number].length;
        out = put_value(out, row->values[number], shown[number].how);
    }
    out = put_whole(put_text(out, ",\"rev\":"), row->rev);
    *out++ = '}';
    return out;
}

/* Write every row that changed since the last flush, with a comma before it; the others say nothing. */
static void write_rows(void) {
    static char text[(size_t)(SCRIPS + 1) * LONGEST], *out;
    out = text;
    for (int *each = changed; each < changed + changed_count; each++) {
        written[*each].text = out;
        out = put_row(out, rows + *each);
        written[*each].size = out - written[*each].text;
        if (written[*each].size > LONGEST) die("a row of %zu bytes", (size_t)written[*each].size);
    }
}

static void end_flush(void) {
    for (int *each = changed; each < changed + changed_count; each++) written[*each].size = 0;
    changed_count = 0, flushed = rev;
}
