/* The least a stream server can do: frames built once per flush, one send() per client that gets one.
 *   ws_send PORT CLIENTS FLUSHES_PER_SECOND FRAMES_PER_FLUSH BYTES
 *   ws_send PORT CLIENTS FLUSHES_PER_SECOND feeder=SOCKET fields=NAME=HOW,…
 * Every client is told `sync` when it subscribes; once all have, each flush serves the next FRAMES_PER_FLUSH of them. The
 * frame's volume is its time of sending (CLOCK_MONOTONIC, µs). A socket that is full loses the frame.
 * With a feeder it follows its bus instead, as our gateway does: a flush writes each changed row once, and every client's frame
 * is joined from the changed ones of the scrips that it subscribed. */
#include "load.h"
#include "board.h"
#include <sys/timerfd.h>

enum { ROOM = 1 << 19, MOST = 1 << 16 };
static char frame[ROOM + 10];
static int clients[MOST], known[MOST * 4], count, listener, poll_fd;

static const char WELCOME[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"; /* of the key that the load sends */

static size_t put_frame(char *out, const char *payload, size_t length) {
    if (length > ROOM) die("a frame of %zu bytes", length);
    size_t head = length < 126 ? 2 : length < 65536 ? 4 : 10;
    memmove(out + head, payload, length);
    out[0] = (char)0x81, out[1] = (char)(head == 2 ? length : head == 4 ? 126 : 127);
    for (size_t i = 2; i < head; i++) out[i] = (char)((uint64_t)length >> 8 * (head - 1 - i));
    return head + length;
}

static size_t build(size_t bytes) {
    static char text[ROOM];
    int at = snprintf(text, sizeof text, "{\"t\":\"u\",\"pos\":\"20261123T0345Z-9f1c03ab77de5a20:123470\",\"q\":[{\"symbol\":\"500325\","
                      "\"volume\":%lld,\"pad\":\"", (long long)(now_ns() / 1000));
    while ((size_t)at + 4 < bytes) text[at++] = 'x';
    at += snprintf(text + at, sizeof text - at, "\"}]}");
    return put_frame(frame, text, at);
}

enum { SUBSCRIBED = 512 };
static struct { int count, rows[SUBSCRIBED]; } wants[MOST]; /* of each client, as it stands in `clients` */
static int bus = -1;

/* Read what a client asked for: a frame masked with zeros, as our load sends them. */
static void subscribe(int client, const char *sub, const char *sub_end) {
    static const char KEY[] = "\"symbols\":[";
    const char *symbol = memmem(sub, sub_end - sub, KEY, sizeof KEY - 1);
    if (!symbol) die("expected symbols");
    for (symbol += sizeof KEY - 1; symbol < sub_end && *symbol == '"';) {
        const char *quote = memchr(symbol + 1, '"', sub_end - symbol - 1);
        if (!quote || wants[client].count == SUBSCRIBED) die("expected at most %d symbols, in one piece", SUBSCRIBED);
        wants[client].rows[wants[client].count++] = row_of(symbol + 1, quote - symbol - 1);
        symbol = quote + (quote + 1 < sub_end && quote[1] == ',' ? 2 : 1);
    }
}

static size_t join(int client) {
    static char text[SUBSCRIBED * LONGEST];
    int head = snprintf(text, LONGEST, "{\"t\":\"u\",\"pos\":\"%s:%lld\",\"q\":[", epoch, (long long)rev);
    char *out = text + head - 1, first = *out; /* the first row's comma comes over it */
    for (int *want = wants[client].rows, *last = want + wants[client].count; want < last; want++)
        out = (char *)memcpy(out, written[*want].text, written[*want].size) + written[*want].size;
    if (out == text + head - 1) return 0;
    text[head - 1] = first;
    memcpy(out, "]}", 2);
    return put_frame(frame, text, out + 2 - text);
}

static void hear(int fd) {
    static char heard[ROOM];
    ssize_t got = recv(fd, heard, sizeof heard, 0);
    if (got <= 0) {
        close(fd);
        return;
    }
    if (known[fd] == 0) {
        if (send(fd, WELCOME, sizeof WELCOME - 1, 0) > 0) known[fd] = 1;
    } else if (known[fd] == 1) {
        char sync[64];
        size_t length = put_frame(sync, "{\"t\":\"sync\"}", 12);
        if (bus >= 0) subscribe(count, heard, heard + got);
        if (send(fd, sync, length, 0) > 0) known[fd] = 2, clients[count++] = fd;
    }
}

int main(int argc, char **argv) {
    begin();
    if (argc != 6) die("usage: ws_send PORT CLIENTS FLUSHES_PER_SECOND FRAMES_PER_FLUSH|feeder=SOCKET BYTES|fields=NAME=HOW,…");
    const char *path = option(argc, argv, "feeder", "");
    int wanted = atoi(argv[2]), per_flush = *path ? wanted : atoi(argv[4]), bytes = atoi(argv[5]), turn = 0, one = 1;
    long period = (long)(1e9 / atof(argv[3]));
    if (wanted > MOST || bytes > ROOM - 64) die("too many clients or bytes");
    if (*path) bus = follow(path), show(option(argc, argv, "fields", NULL));
    struct sockaddr_in address = address_of("127.0.0.1", argv[1]);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll_fd = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) die("bind: %s", strerror(errno));
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = {{period / 1000000000, period % 1000000000}, {period / 1000000000, period % 1000000000}};
    timerfd_settime(timer, 0, &every, NULL);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN, .data.fd = timer});
    if (bus >= 0) epoll_ctl(poll_fd, EPOLL_CTL_ADD, bus, &(struct epoll_event){.events = EPOLLIN, .data.fd = bus});

    struct epoll_event events[512];
    for (;;) {
        int n = epoll_wait(poll_fd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            uint64_t due;
            if (fd == timer) {
                if (read(timer, &due, sizeof due) != sizeof due) continue;
                size_t length = 0;
                if (bus >= 0) write_rows();
                else length = build(bytes);
                for (int sent = 0; count == wanted && sent < per_flush; sent++) {
                    if (bus >= 0) length = join(turn);
                    if (length) send(clients[turn], frame, length, MSG_NOSIGNAL);
                    turn = (turn + 1) % count;
                }
                if (bus >= 0) end_flush();
            } else if (fd == bus) {
                hear_bus(bus);
            } else if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    known[fd] = 0;
                    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
                }
            } else hear(fd);
        }
    }
}
