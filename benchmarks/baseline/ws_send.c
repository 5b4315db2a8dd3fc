/* The least a stream server can do: frames built once per flush, one send() per client that gets one.
 *   ws_send PORT CLIENTS FLUSHES_PER_SECOND FRAMES_PER_FLUSH BYTES
 * Every client is told `sync` when it subscribes; once all have, each flush serves the next FRAMES_PER_FLUSH of them. The
 * frame's volume is its time of sending (CLOCK_MONOTONIC, µs). A socket that is full loses the frame. */
#include "load.h"
#include <sys/timerfd.h>

enum { ROOM = 1 << 16, MOST = 1 << 16 };
static char frame[ROOM + 4];
static int clients[MOST], known[MOST * 4], count, listener, poll_fd;

static const char WELCOME[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"; /* of the key that the load sends */

static size_t put_frame(char *out, const char *payload, size_t length) {
    size_t head = length < 126 ? 2 : 4;
    memmove(out + head, payload, length);
    out[0] = (char)0x81, out[1] = (char)(length < 126 ? length : 126);
    if (head == 4) out[2] = (char)(length >> 8), out[3] = (char)length;
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
    if (argc != 6) die("usage: ws_send PORT CLIENTS FLUSHES_PER_SECOND FRAMES_PER_FLUSH BYTES");
    int wanted = atoi(argv[2]), per_flush = atoi(argv[4]), bytes = atoi(argv[5]), next = 0, one = 1;
    long period = (long)(1e9 / atof(argv[3]));
    if (wanted > MOST || bytes > ROOM - 64) die("too many clients or bytes");
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
                size_t length = build(bytes);
                for (int sent = 0; sent < per_flush; sent++) {
                    send(clients[next], frame, length, MSG_NOSIGNAL);
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
