/* What both load generators share: time, a histogram of bounded error, options, and the contract with their parent:
 *   print "ready"; wait for a line on stdin; measure; print one line of JSON; end. End of stdin ends the process too. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static inline int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static inline void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(3);
}

/* Arguments are key=value, in any order. */
static inline const char *option(int argc, char **argv, const char *key, const char *otherwise) {
    size_t length = strlen(key);
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], key, length) && argv[i][length] == '=') return argv[i] + length + 1;
    if (!otherwise) die("expected %s=…", key);
    return otherwise;
}

/* 64 buckets per power of two: a value is reported at most 1.6 % too high. */
enum { SUB = 128, POWERS = 40 };
static uint64_t histogram[POWERS * SUB], histogram_count, histogram_max;

static inline void record(uint64_t value) {
    int power = value < SUB ? 0 : 63 - __builtin_clzll(value) - 6;
    uint64_t bucket = (uint64_t)power * (SUB / 2) + (value >> power);
    if (bucket >= POWERS * SUB) bucket = POWERS * SUB - 1;
    histogram[bucket]++;
    histogram_count++;
    if (value > histogram_max) histogram_max = value;
}

static inline double percentile(double part) {
    uint64_t wanted = (uint64_t)(part * histogram_count), seen = 0;
    for (uint64_t bucket = 0; bucket < POWERS * SUB; bucket++) {
        seen += histogram[bucket];
        if (seen > wanted) {
            uint64_t power = bucket < SUB ? 0 : bucket / (SUB / 2) - 1;
            uint64_t upper = (bucket - power * (SUB / 2) + 1) << power;
            return (double)(upper > histogram_max ? histogram_max : upper);
        }
    }
    return (double)histogram_max;
}

static inline struct sockaddr_in address_of(const char *host, const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("expected an IPv4 address, got %s", host);
    return address;
}

static inline int connect_to(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0) die("socket: %s (is the limit of open files too low?)", strerror(errno));
    if (connect(fd, (const struct sockaddr *)address, sizeof *address)) die("connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static inline void begin(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Whether the parent said a word; the end of stdin ends us. */
static inline int told(void) {
    char word[64];
    ssize_t got = read(0, word, sizeof word);
    if (got == 0) exit(0);
    return got > 0;
}
