/* The limit: an echo server that does what the kernel makes everybody do, and nothing else.
 *
 * One thread, one epoll instance, level-triggered; an echo is one recv, one send and a share of one
 * epoll_wait. No engine on the same kernel can spend less, so what an engine takes beyond this is
 * its own. It is honest where it must be: nothing is lost when a send falls short (the rest is
 * kept, and reading waits for it), nor after a client's half-close; but it has no limits, no
 * deadlines and no log.
 *
 * It is told nothing, listens on a loopback port of the kernel's choice, prints the line
 * "listening echo 127.0.0.1:PORT" and ends with status 0 on SIGTERM or SIGINT.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 65536, BATCH = 256, BACKLOG = 4096, MOST_FILES = 1 << 20 };

/* What a connection still has to send; only while the kernel's buffer is full. */
struct rest {
    size_t start, size;
    char bytes[];
};

static volatile sig_atomic_t stopping;
static struct rest **rests; /* by descriptor */
static int epoll_fd;

static void stop(int number) { (void)number; stopping = 1; }

static void die(const char *what) { perror(what); exit(1); }

static void watch(int operation, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) die("epoll_ctl");
}

static void end(int fd) {
    free(rests[fd]);
    rests[fd] = NULL;
    close(fd); /* which takes it out of the epoll instance, too */
}

/* Send, and keep what finds no room; reading stops until it is gone. */
static void reply(int fd, const char *bytes, size_t size) {
    ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
    if (sent == (ssize_t)size) return;
    if (sent < 0) {
        if (errno != EAGAIN) { end(fd); return; }
        sent = 0;
    }
    struct rest *rest = malloc(sizeof *rest + size - sent);
    if (!rest) { end(fd); return; }
    rest->start = 0;
    rest->size = size - sent;
    memcpy(rest->bytes, bytes + sent, rest->size);
    rests[fd] = rest;
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void on_writable(int fd) {
    struct rest *rest = rests[fd];
    ssize_t sent = send(fd, rest->bytes + rest->start, rest->size - rest->start, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) end(fd);
        return;
    }
    rest->start += sent;
    if (rest->start < rest->size) return;
    free(rest);
    rests[fd] = NULL;
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void on_readable(int fd) {
    static char buffer[CHUNK];
    ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size > 0) reply(fd, buffer, size);
    else if (size == 0 || errno != EAGAIN) end(fd);
}

static void on_listener(int listener, size_t most) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) return; /* whoever waits is told again: the listener is level-triggered */
        if ((size_t)fd >= most) close(fd);
        else watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

int main(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) die("getrlimit");
    files.rlim_cur = files.rlim_max < MOST_FILES ? files.rlim_max : MOST_FILES;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) die("setrlimit");
    rests = calloc(files.rlim_cur, sizeof *rests);
    if (!rests) die("calloc");

    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (listener < 0) die("socket");
    if (setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0) die("TCP_NODELAY");
    if (bind(listener, (struct sockaddr *)&address, length) < 0) die("bind");
    if (listen(listener, BACKLOG) < 0) die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) die("getsockname");
    if ((epoll_fd = epoll_create1(0)) < 0) die("epoll_create1");
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    printf("listening echo 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);

    while (!stopping) {
        struct epoll_event events[BATCH];
        int count = epoll_wait(epoll_fd, events, BATCH, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) on_listener(listener, files.rlim_cur);
            else if (rests[fd]) on_writable(fd);
            else on_readable(fd);
        }
    }
    return 0;
}
