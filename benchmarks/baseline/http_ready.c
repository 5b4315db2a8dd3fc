/* The least a server can do: one epoll loop that answers every request with the bytes of a file.
 *   http_ready PORT FILE */
#include "load.h"

int main(int argc, char **argv) {
    begin();
    if (argc != 3) die("usage: http_ready PORT FILE");
    static char answer[1 << 20], request[1 << 16];
    FILE *file = fopen(argv[2], "rb");
    size_t length = file ? fread(answer, 1, sizeof answer, file) : 0;
    if (!length) die("%s: nothing to answer with", argv[2]);

    struct sockaddr_in address = address_of("127.0.0.1", argv[1]);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, poll_fd = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) die("bind: %s", strerror(errno));
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(poll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
                }
                continue;
            }
            ssize_t got = recv(fd, request, sizeof request, 0);
            if (got <= 0) close(fd);
            else if (got >= 4 && !memcmp(request + got - 4, "\r\n\r\n", 4)) send(fd, answer, length, 0);
        }
    }
}
