/* The least a stream server can do: frames built once per flush, one send() per client that gets one.
 *   ws_send PORT CLIENTS FLUSHES_PER_SECOND FRAMES_PER_FLUSH BYTES [SCRIPS TICKS_PER_SECOND PER_CLIENT]
 * Every client is told `sync` when it subscribes; once all have, each flush serves the next FRAMES_PER_FLUSH of them. The
 * frame's volume is its time of sending (CLOCK_MONOTONIC, µs). A socket that is full loses the frame.
 * With SCRIPS it keeps a market too: ticks change scrips, a flush writes each changed row once, and every client's frame is
 * joined from the changed ones of its PER_CLIENT scrips. */
#include "load.h"
#include <sys/timerfd.h>

enum { ROOM = 1 << 19, MOST = 1 << 16 };
static char frame[ROOM + 10];
static int clients[MOST], known[MOST * 4], count, listener, poll_fd;

static const char WELCOME[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"; /* of the key that the load sends */

static size_t put_frame(char *out, const char *payload, size_t length) {
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

enum { SCRIPS = 1 << 15, ROW = 512, SUBSCRIBED = 512 };
static struct { long price, trades; int size; char row[ROW]; } market[SCRIPS];
static int scrips, per_client, *wants;
static uint64_t random_state = 88172645463325252ULL;

static uint64_t next_random(void) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return random_state;
}

static void open_market(int clients) {
    wants = malloc(sizeof *wants * clients * per_client);
    for (int i = 0; i < clients * per_client; i++) wants[i] = next_random() % scrips;
}

static void trade(int ticks) {
    static long rev = 1795410000000000;
    for (int i = 0; i < scrips; i++) market[i].size = 0;
    for (int i = 0; i < ticks; i++) {
        int scrip = next_random() % scrips;
        market[scrip].price = 150000 + next_random() % 10000, market[scrip].trades++, market[scrip].size = 1;
    }
    long now = now_ns() / 1000;
    for (int i = 0; i < scrips; i++)
        if (market[i].size)
            market[i].size = snprintf(
                market[i].row, ROW,
                ",{\"symbol\":\"%d\",\"current_price\":%ld.%02ld,\"change\":%ld.%02ld,\"percent_change\":%ld.%02ld,\"volume\":%ld,"
                "\"value\":%ld.0,\"trades\":%ld,\"last_quantity\":10,\"last_trade_time\":\"2026-11-23T12:08:51+05:30\","
                "\"timestamp\":\"2026-11-23T12:08:51.143+05:30\",\"rev\":%ld}",
                500000 + i, market[i].price / 100, market[i].price % 100, (market[i].price - 150000) / 100,
                market[i].price % 100, (market[i].price - 150000) / 1500, market[i].price % 100, now,
                market[i].price * 2000, market[i].trades, ++rev);
}

static size_t join(int client) {
    static char text[SUBSCRIBED * ROW];
    int head = snprintf(text, ROW, "{\"t\":\"u\",\"pos\":\"20261123T0345Z-9f1c03ab77de5a20:123470\",\"q\":["), at = head - 1;
    char first = text[at];
    for (int *want = wants + client * per_client, *end = want + per_client; want < end; want++) {
        memcpy(text + at, market[*want].row, market[*want].size);
        at += market[*want].size;
    }
    if (at == head - 1) return 0;
    text[head - 1] = first; /* over the first row's comma */
    memcpy(text + at, "]}", 2);
    return put_frame(frame, text, at + 2);
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
        if (send(fd, sync, length, 0) > 0) known[fd] = 2, clients[count++] = fd;
    }
}

int main(int argc, char **argv) {
    begin();
    if (argc != 6 && argc != 9) die("usage: ws_send PORT CLIENTS FLUSHES_PER_SECOND FRAMES_PER_FLUSH BYTES [SCRIPS TICKS PER_CLIENT]");
    int wanted = atoi(argv[2]), per_flush = atoi(argv[4]), bytes = atoi(argv[5]), next = 0, one = 1;
    long period = (long)(1e9 / atof(argv[3]));
    int ticks = argc == 9 ? (int)(atof(argv[7]) / atof(argv[3])) : 0;
    if (argc == 9) scrips = atoi(argv[6]), per_client = atoi(argv[8]), open_market(wanted);
    if (wanted > MOST || bytes > ROOM - 64 || scrips > SCRIPS || per_client > SUBSCRIBED) die("too many clients, bytes or scrips");
    struct sockaddr_in address = address_of("127.0.0.1", argv[1]);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll_fd = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) die("bind: %s", strerror(errno));
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = {{period / 1000000000, period % 1000000000}, {period / 1000000000, period % 1000000000}};
    timerfd_settime(timer, 0, &every, NULL);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN, .data.fd = timer});

    struct epoll_event events[512];
    for (;;) {
        int n = epoll_wait(poll_fd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            uint64_t due;
            if (fd == timer) {
                if (read(timer, &due, sizeof due) != sizeof due || count < wanted) continue;
                size_t length = scrips ? 0 : build(bytes);
                if (scrips) trade(ticks);
                for (int sent = 0; sent < per_flush; sent++) {
                    if (scrips) length = join(next);
                    if (length) send(clients[next], frame, length, MSG_NOSIGNAL);
                    next = (next + 1) % count;
                }
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
