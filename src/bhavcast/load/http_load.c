/* HTTP/1.1 load over keep-alive connections: each has one request under way at any time, or with `rate` requests are made at
 * so many a second, by the connection that has been free for longest (none is idle for so long that the server ends it);
 * their time counts from when they were due.
 *   http_load host=127.0.0.1 port=5000 connections=64 seconds=5 request=$'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
 * Answers need a Content-Length (or status 204 or 304). */
#include "load.h"
#include <sys/timerfd.h>

enum { ROOM = 1 << 18 };
typedef struct {
    int fd;
    size_t have, need; /* bytes held; bytes of the whole answer, 0 while its head is incomplete */
    int status, waiting; /* waiting: in `idle` */
    int64_t asked;
    char *buffer;
} Connection;

static struct sockaddr_in address;
static const char *request;
static size_t request_length;
static int poll_fd, timer_fd = -1, count, free_first, free_count;
static Connection **idle; /* with a rate: connections without a request, a ring */
static int64_t due, period;
static uint64_t requests, failures, reconnects, bytes;

static void ask(Connection *c, int64_t from) {
    c->have = c->need = c->waiting = 0;
    c->asked = from;
    if (send(c->fd, request, request_length, 0) != (ssize_t)request_length) die("send: %s", strerror(errno));
}

static void ask_what_is_due(void) {
    for (int64_t now = now_ns(); free_count && due <= now; due += period) {
        Connection *c = idle[free_first];
        free_first = (free_first + 1) % count, free_count--;
        ask(c, due);
    }
}

static void next(Connection *c) {
    if (!period) {
        ask(c, now_ns());
        return;
    }
    if (!c->waiting) c->waiting = 1, idle[(free_first + free_count++) % count] = c;
    ask_what_is_due();
}

static void open_connection(Connection *c) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->fd = connect_to(&address);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event);
    next(c);
}

static void read_head(Connection *c) {
    c->buffer[c->have] = 0;
    char *end = memmem(c->buffer, c->have, "\r\n\r\n", 4);
    if (!end) return;
    c->status = atoi(c->buffer + 9);
    size_t head = end + 4 - c->buffer, body = 0;
    *end = 0;
    char *length = strcasestr(c->buffer, "\r\ncontent-length:");
    *end = '\r';
    if (length) body = strtoul(length + 17, NULL, 10);
    else if (c->status != 304 && c->status != 204) die("the answer has no Content-Length");
    c->need = head + body;
    if (c->need >= ROOM) die("an answer of %zu bytes is too long", c->need);
}

static void receive(Connection *c) {
    ssize_t got = recv(c->fd, c->buffer + c->have, ROOM - 1 - c->have, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { /* a server may end a connection after so many requests */
        close(c->fd);
        reconnects++;
        open_connection(c);
        return;
    }
    c->have += got;
    bytes += got;
    if (!c->need) read_head(c);
    if (!c->need || c->have < c->need) return;
    int64_t now = now_ns();
    requests++;
    if (c->status >= 400) failures++;
    record((now - c->asked) / 1000);
    next(c);
}

int main(int argc, char **argv) {
    begin();
    count = atoi(option(argc, argv, "connections", "64"));
    double seconds = atof(option(argc, argv, "seconds", "5")), rate = atof(option(argc, argv, "rate", "0"));
    address = address_of(option(argc, argv, "host", "127.0.0.1"), option(argc, argv, "port", NULL));
    request = option(argc, argv, "request", NULL);
    request_length = strlen(request);
    poll_fd = epoll_create1(0);
    fcntl(0, F_SETFL, O_NONBLOCK);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &(struct epoll_event){.events = EPOLLIN});

    Connection *connections = calloc(count, sizeof *connections);
    idle = calloc(count, sizeof *idle);
    if (rate > 0) {
        period = (int64_t)(1e9 / rate), due = now_ns() + period;
        struct timespec every = {period / 1000000000, period % 1000000000};
        timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        timerfd_settime(timer_fd, 0, &(struct itimerspec){every, every}, NULL);
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &timer_fd});
    }
    for (int i = 0; i < count; i++) {
        connections[i].buffer = malloc(ROOM);
        open_connection(&connections[i]);
    }
    puts("ready");
    int64_t started = 0, cpu = 0, end = INT64_MAX;
    struct epoll_event events[256];
    while (now_ns() < end) {
        int n = epoll_wait(poll_fd, events, 256, 100);
        for (int i = 0; i < n; i++) {
            uint64_t ticks;
            if (events[i].data.ptr == &timer_fd) {
                if (read(timer_fd, &ticks, sizeof ticks) > 0) ask_what_is_due();
            } else if (events[i].data.ptr) receive(events[i].data.ptr);
            else if (told() && !started) {
                requests = failures = reconnects = bytes = histogram_count = histogram_max = 0;
                memset(histogram, 0, sizeof histogram);
                started = now_ns(), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
                end = started + (int64_t)(seconds * 1e9);
            }
        }
    }
    double elapsed = (now_ns() - started) / 1e9;
    printf("{\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"requests\":%lu,\"failures\":%lu,\"reconnects\":%lu,\"bytes\":%lu,"
           "\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f}\n",
           elapsed, (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9, requests, failures, reconnects, bytes,
           percentile(0.50) / 1e3, percentile(0.99) / 1e3, histogram_max / 1e3);
    return 0;
}
