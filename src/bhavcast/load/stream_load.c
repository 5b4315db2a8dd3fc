/* WebSocket load: opens clients, subscribes each to symbols of its own choice, reads frames, and takes latency from the
 * stamp that a benchmark's feed puts into each row (CLOCK_MONOTONIC in microseconds, as the row's volume).
 *   stream_load port=5000 clients=5000 per_client=50 seconds=10 symbols=FILE sub='{"t":"sub","id":1,"symbols":[%],"hz":10}'
 * `%` in sub becomes the quoted symbols. `first` is sent before it; `synced` and `update` are how those frames begin.
 * Rows are counted and stamps read in every `sample`-th update, the rest is only counted. `deaf` further clients subscribe
 * the whole market (`deaf_sub`) and never read. With a `nap` it looks at the wire only every so many milliseconds: a reader
 * that waits has to be woken by whoever sends, which costs the sender more the faster the reader is. */
#include "load.h"

enum { ROOM = 1 << 20, OPENING = 64, MOST = 1 << 17 };
typedef enum { CONNECTING, OPEN, SYNCED, GONE } State;
typedef struct {
    int fd;
    State state;
    int deaf;
    size_t have; /* bytes of an incomplete frame, kept in `rest` */
    char *rest;
} Client;

static struct sockaddr_in address;
static char *symbols[MOST], shared[ROOM], scratch[ROOM];
static int symbol_count, per_client, sample, poll_fd, synced, gone, opening;
static const char *path, *headers, *first, *sub, *deaf_sub, *synced_begins, *update_begins, *stamp_key;
static uint64_t frames, bytes, others, rows, sampled, closes[5000], random_state = 88172645463325252ULL;
static int64_t arrived;

static uint64_t next_random(void) { /* xorshift64: the same choice in every run */
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return random_state;
}

static void write_frame(Client *c, int opcode, const char *payload, size_t length) {
    /* Masked, as a client's frames must be; a key of zeros leaves the payload as it is. */
    size_t head = length < 126 ? 2 : 4;
    scratch[0] = (char)(0x80 | opcode);
    scratch[1] = (char)(0x80 | (length < 126 ? length : 126));
    if (head == 4) scratch[2] = (char)(length >> 8), scratch[3] = (char)length;
    memset(scratch + head, 0, 4);
    memmove(scratch + head + 4, payload, length);
    if (send(c->fd, scratch, head + 4 + length, 0) < 0 && errno != EPIPE && errno != ECONNRESET)
        die("send: %s", strerror(errno));
}

static void subscribe(Client *c) {
    static char text[1 << 16], chosen[MOST];
    if (*first) write_frame(c, 1, first, strlen(first));
    const char *mark = strchr(sub, '%');
    if (!mark) die("expected %% in sub");
    size_t at = mark - sub;
    memcpy(text, sub, at);
    memset(chosen, 0, symbol_count);
    for (int i = 0; i < per_client; i++) {
        int pick;
        do pick = next_random() % symbol_count;
        while (chosen[pick]);
        chosen[pick] = 1;
        at += snprintf(text + at, sizeof text - at, "%s\"%s\"", i ? "," : "", symbols[pick]);
        if (at >= sizeof text - 256) die("too many symbols for one message");
    }
    at += snprintf(text + at, sizeof text - at, "%s", mark + 1);
    write_frame(c, 1, text, at);
}

static void leave(Client *c, int code) {
    if (c->state == GONE) return;
    if (c->state != SYNCED) opening--;
    c->state = GONE;
    gone++;
    closes[code > 0 && code < 5000 ? code : 0]++;
    close(c->fd);
}

static int begins(const char *payload, size_t length, const char *with) {
    size_t wanted = strlen(with);
    return length >= wanted && !memcmp(payload, with, wanted);
}

static void read_stamps(const char *at, size_t length) {
    const char *end = at + length;
    size_t key = strlen(stamp_key);
    while ((at = memmem(at, end - at, stamp_key, key))) {
        at += key;
        int64_t stamp = 0;
        while (at < end && *at >= '0' && *at <= '9') stamp = stamp * 10 + (*at++ - '0');
        int64_t late = arrived / 1000 - stamp;
        rows++;
        if (late >= 0 && late < 60000000) record(late);
    }
}

static void read_frame(Client *c, int opcode, const char *payload, size_t length) {
    if (opcode == 9) write_frame(c, 10, payload, length);
    else if (opcode == 8) leave(c, length >= 2 ? (uint8_t)payload[0] << 8 | (uint8_t)payload[1] : 1005);
    else if (begins(payload, length, update_begins)) {
        bytes += length;
        if (frames++ % sample == 0) sampled++, read_stamps(payload, length);
    } else if (c->state == OPEN && begins(payload, length, synced_begins)) {
        c->state = SYNCED;
        synced++, opening--;
    } else others++;
}

static size_t read_handshake(Client *c, char *data, size_t have) {
    char *end = memmem(data, have, "\r\n\r\n", 4);
    if (!end) return 0;
    if (have < 12 || memcmp(data + 9, "101", 3)) die("the handshake was refused: %.*s", (int)(end - data), data);
    c->state = OPEN;
    if (c->deaf) {
        write_frame(c, 1, deaf_sub, strlen(deaf_sub));
        epoll_ctl(poll_fd, EPOLL_CTL_DEL, c->fd, NULL);
        c->state = SYNCED;
        synced++, opening--;
        return have;
    }
    subscribe(c);
    return end + 4 - data;
}

static size_t read_one(Client *c, char *data, size_t have) {
    if (c->state == CONNECTING) return read_handshake(c, data, have);
    uint8_t *head = (uint8_t *)data;
    size_t start = 2, length = have < 2 ? 0 : head[1] & 127;
    if (have < 2 || (length == 126 && have < 4) || (length == 127 && have < 10)) return 0;
    if (length == 126) start = 4, length = head[2] << 8 | head[3];
    else if (length == 127) start = 10, length = (size_t)head[6] << 24 | head[7] << 16 | head[8] << 8 | head[9];
    if (start + length > ROOM) die("a frame of %zu bytes is too long", length);
    if (have < start + length) return 0;
    read_frame(c, head[0] & 15, data + start, length);
    return start + length;
}

static void receive(Client *c) {
    memcpy(shared, c->rest, c->have);
    ssize_t got = recv(c->fd, shared + c->have, ROOM - c->have, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        leave(c, 1006);
        return;
    }
    arrived = now_ns();
    size_t have = c->have + got, at = 0, used;
    while (at < have && c->state != GONE && (used = read_one(c, shared + at, have - at))) at += used;
    c->have = have - at;
    if (c->have) {
        c->rest = realloc(c->rest, c->have);
        memcpy(c->rest, shared + at, c->have);
    } else free(c->rest), c->rest = NULL;
}

static void open_client(Client *c) {
    char text[2048];
    c->fd = connect_to(&address);
    if (c->deaf) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
    int length = snprintf(text, sizeof text,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                          path, ntohs(address.sin_port), headers);
    if (send(c->fd, text, length, 0) != length) die("send: %s", strerror(errno));
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
    opening++;
}

static void read_symbols(const char *name) {
    FILE *file = fopen(name, "r");
    char line[64];
    if (!file) die("%s: %s", name, strerror(errno));
    while (symbol_count < MOST && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line) symbols[symbol_count++] = strdup(line);
    }
    fclose(file);
    if (symbol_count < per_client) die("%d symbols are too few for %d per client", symbol_count, per_client);
}

int main(int argc, char **argv) {
    begin();
    int count = atoi(option(argc, argv, "clients", NULL));
    double seconds = atof(option(argc, argv, "seconds", "10")), patience = atof(option(argc, argv, "patience", "120"));
    per_client = atoi(option(argc, argv, "per_client", "50"));
    sample = atoi(option(argc, argv, "sample", "1"));
    const struct timespec nap = {0, atol(option(argc, argv, "nap", "0")) * 1000000};
    int deaf = atoi(option(argc, argv, "deaf", "0"));
    deaf_sub = option(argc, argv, "deaf_sub", "{\"t\":\"sub\",\"id\":1,\"symbols\":\"*\",\"hz\":0}");
    path = option(argc, argv, "path", "/ws");
    headers = option(argc, argv, "headers", "");
    first = option(argc, argv, "first", "");
    sub = option(argc, argv, "sub", "{\"t\":\"sub\",\"id\":1,\"symbols\":[%],\"hz\":10}");
    synced_begins = option(argc, argv, "synced", "{\"t\":\"sync\"");
    update_begins = option(argc, argv, "update", "{\"t\":\"u\"");
    stamp_key = option(argc, argv, "stamp", "\"volume\":");
    address = address_of(option(argc, argv, "host", "127.0.0.1"), option(argc, argv, "port", NULL));
    read_symbols(option(argc, argv, "symbols", NULL));
    poll_fd = epoll_create1(0);
    fcntl(0, F_SETFL, O_NONBLOCK);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &(struct epoll_event){.events = EPOLLIN});

    Client *clients = calloc(count + deaf, sizeof *clients);
    for (int i = 0; i < deaf; i++) clients[count + i].deaf = 1;
    count += deaf;
    int made = 0, ready = 0;
    int64_t started = 0, cpu = 0, opened = now_ns(), end = opened + (int64_t)(patience * 1e9);
    double setup = 0;
    struct epoll_event events[512];
    while (now_ns() < end) {
        while (made < count && opening < OPENING) open_client(&clients[made++]);
        if (!ready && made == count && synced + gone == count) {
            ready = 1, setup = (now_ns() - opened) / 1e9, end = INT64_MAX;
            puts("ready");
        }
        if (nap.tv_nsec) nanosleep(&nap, NULL);
        int n = epoll_wait(poll_fd, events, 512, nap.tv_nsec ? 0 : 100);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) receive(events[i].data.ptr);
            else if (told() && !started) {
                frames = bytes = others = rows = sampled = histogram_count = histogram_max = 0;
                memset(histogram, 0, sizeof histogram);
                started = now_ns(), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
                end = started + (int64_t)(seconds * 1e9);
            }
        }
    }
    if (!started) die("only %d of %d clients were served within %.0f s (%d were closed)", synced, count, patience, gone);
    double elapsed = (now_ns() - started) / 1e9;
    printf("{\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"setup_seconds\":%.3f,\"clients\":%d,\"gone\":%d,\"frames\":%lu,"
           "\"bytes\":%lu,\"others\":%lu,\"sampled\":%lu,\"rows\":%lu,\"stamps\":%lu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
           "\"max_ms\":%.3f,\"closes\":{",
           elapsed, (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9, setup, synced - deaf, gone, frames, bytes, others,
           sampled, rows, histogram_count, percentile(0.50) / 1e3, percentile(0.99) / 1e3, histogram_max / 1e3);
    const char *comma = "";
    for (int code = 0; code < 5000; code++)
        if (closes[code]) printf("%s\"%d\":%lu", comma, code, closes[code]), comma = ",";
    puts("}}");
    return 0;
}
