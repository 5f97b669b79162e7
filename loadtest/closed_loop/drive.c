/* A client that asks an echo server for as much as it gives, where redis-benchmark cannot.
 *
 *     drive HOST PORT bulk  CONNECTIONS OPERATIONS BYTES
 *     drive HOST PORT churn CONNECTIONS OPERATIONS BYTES
 *
 * bulk: each connection sends BYTES and takes them back at the same time, and again. A client that
 * sends all before it reads (redis-benchmark does) stands still for ever once BYTES are more than
 * the kernel buffers on the way, because an honest echo server stops reading then, too.
 * churn: so many at a time connect, send BYTES, take them back and close.
 *
 * Every byte that comes back is compared. It prints "open" when the connections of bulk are open,
 * waits a moment for whoever wants to look at the server then, and at the end "done OPERATIONS
 * SECONDS". Anything that goes wrong ends it with status 1 and a line that says what.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 262144, BATCH = 256, STRIDE = 1021, PAUSE_MS = 500 };

/* One connection; what it sends begins at an offset of its own, so that mixed-up ones differ. */
struct link {
    int fd;
    unsigned events;
    size_t offset, sent, received;
};

static struct sockaddr_in server;
static int epoll_fd, churn;
static long left, done;
static size_t size;
static unsigned char *pattern;

static void fail(const char *what) { fprintf(stderr, "drive: %s\n", what); exit(1); }

static void die(const char *what) { perror(what); exit(1); }

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void watch(struct link *link, int operation, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = link};
    if (link->events == events && operation == EPOLL_CTL_MOD) return;
    link->events = events;
    if (epoll_ctl(epoll_fd, operation, link->fd, &event) < 0) die("epoll_ctl");
}

static void open_link(struct link *link) {
    int yes = 1, type = SOCK_STREAM | (churn ? SOCK_NONBLOCK : 0);
    link->sent = link->received = 0;
    if ((link->fd = socket(AF_INET, type, 0)) < 0) die("socket");
    if (setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0) die("TCP_NODELAY");
    if (connect(link->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        die("connect");
}

/* Begin the next operation of this connection; 0 if there is none left. */
static int begin(struct link *link) {
    if (left == 0) return 0;
    left--;
    if (churn) {
        open_link(link);
        watch(link, EPOLL_CTL_ADD, EPOLLOUT);
    } else {
        link->sent = link->received = 0;
        watch(link, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    return 1;
}

static void on_writable(struct link *link) {
    ssize_t count = send(link->fd, pattern + link->offset + link->sent, size - link->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
        if (errno != EAGAIN) die("send");
        return;
    }
    link->sent += count;
    watch(link, EPOLL_CTL_MOD, EPOLLIN | (link->sent < size ? EPOLLOUT : 0));
}

static void on_readable(struct link *link) {
    static unsigned char buffer[CHUNK];
    ssize_t count = recv(link->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count < 0) {
        if (errno != EAGAIN) die("recv");
        return;
    }
    if (count == 0) fail("the server closed a connection in the middle of an answer");
    if (link->received + count > link->sent) fail("more came back than was sent");
    if (memcmp(buffer, pattern + link->offset + link->received, count))
        fail("what came back differs from what was sent");
    link->received += count;
    if (link->received < size) return;
    done++;
    if (churn) close(link->fd);
    if (!begin(link) && !churn) watch(link, EPOLL_CTL_MOD, EPOLLIN);
}

static long number(const char *text, long least, long most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < least || value > most) fail("usage: HOST PORT bulk|churn N N BYTES");
    return value;
}

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: HOST PORT bulk|churn CONNECTIONS OPERATIONS BYTES");
    server.sin_family = AF_INET;
    server.sin_port = htons(number(argv[2], 1, 65535));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) fail("HOST is no IPv4 address");
    churn = !strcmp(argv[3], "churn");
    long connections = number(argv[4], 1, 100000), operations = number(argv[5], 1, 1L << 40);
    size = number(argv[6], 1, 1L << 30);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) die("getrlimit");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) die("setrlimit");

    size_t length = size + STRIDE * connections;
    struct link *links = calloc(connections, sizeof *links);
    if (!links || !(pattern = malloc(length))) die("malloc");
    unsigned long state = 88172645463325252UL;
    for (size_t i = 0; i < length; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        pattern[i] = state >> 32;
    }
    if ((epoll_fd = epoll_create1(0)) < 0) die("epoll_create1");
    for (long i = 0; i < connections; i++) {
        links[i].offset = STRIDE * i;
        if (churn) continue;
        open_link(&links[i]);
        watch(&links[i], EPOLL_CTL_ADD, EPOLLIN);
    }
    printf("open\n");
    fflush(stdout);
    if (!churn) usleep(PAUSE_MS * 1000);

    left = operations;
    double started = now();
    for (long i = 0; i < connections && begin(&links[i]); i++) continue;
    while (done < operations) {
        struct epoll_event events[BATCH];
        int count = epoll_wait(epoll_fd, events, BATCH, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct link *link = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) on_writable(link);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(link);
        }
    }
    printf("done %ld %.6f\n", done, now() - started);
    return 0;
}
