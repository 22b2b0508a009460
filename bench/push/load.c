/* Many WebSocket clients in one epoll loop, which check the order of what they are sent.

   load HOST PORT PROTOCOL TARGETS, where PROTOCOL is raw, jobcast, socketio or nats and TARGETS a
   file with a path and, after a space, a token in each line; client i takes line i. Told by lines
   on stdin, it answers each with one line:

   connect N F  until there are N clients, F of them under way at a time: "connected S T M":
                seconds until the last handshake and until the last can hear, and how many were
                given a snapshot instead of a resume
   wait N       until each has had the events 1 to N: "ok L D N", lost, doubled and delivered so far
   latency      "latency COUNT P50 P99 MAX" in microseconds since the last time
   start N      clients hold the events up to N already: "ok"
   cut          resets all connections: "ok"

   An event's text ends in #NNNNNNNNNNNN@TTTTTTTTTTTTTTTTTTTT: its number in its session, from 1,
   and CLOCK_MONOTONIC in ns when it was published. "stuck HAVE WANT" after 60 s without one. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include "load.h"

enum { SLOTS = 4000000, PATIENCE_S = 60 };
static const char *host, *port;
static char **paths, **tokens;
static int targets, poller;
static struct client *clients;
static long wanted, flight, started, shaken, ready, waiting, total, target, stuck_at;
static long lost, doubled, snapshots, delivered;
static double began, shaken_at;
static uint32_t histogram[SLOTS];
static uint64_t read_at;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static double seconds(void) { return now_ns() / 1e9; }

static void fail(const char *what, const struct client *c) {
    printf("failed: %s, client %ld\n", what, (long)(c - clients));
    exit(1);
}

/* ------------------------------------------------------------------ what was published */

void event(struct client *c, const uint8_t *data, size_t size) {
    /* The stamp is before the closing brackets. */
    size_t near = size < 48 ? size : 48;
    const uint8_t *stamp = memrchr(data + size - near, '#', near);
    if (!stamp || data + size - stamp < 34 || stamp[13] != '@') return;
    uint64_t number = 0, at = 0;
    for (int i = 1; i < 13; i++) number = number * 10 + (stamp[i] - '0');
    for (int i = 14; i < 34; i++) at = at * 10 + (stamp[i] - '0');
    delivered++;
    if (number <= c->had) { doubled++; return; }
    lost += number - c->had - 1;
    total += number - c->had;
    c->had = number;
    uint64_t us = read_at > at ? (read_at - at) / 1000 : 0;
    histogram[us < SLOTS ? us : SLOTS - 1]++;
}

void send_frame(struct client *c, int opcode, const char *data, size_t size) {
    char out[512] = { (char)(0x80 | opcode) };
    size_t head = size < 126 ? 6 : 8;  /* masked with zeros, which changes nothing */
    out[1] = (char)(0x80 | (size < 126 ? size : 126));
    if (head == 8) { out[2] = (char)(size >> 8); out[3] = (char)size; }
    memset(out + head - 4, 0, 4);
    memcpy(out + head, data, size);
    if (write(c->fd, out, head + size) != (ssize_t)(head + size)) fail("cannot write", c);
}

void can_hear(struct client *c) {
    if (c->state == OPEN) return;
    c->state = OPEN;
    ready++;
}

void was_snapshot(struct client *c) { (void)c; snapshots++; }

void closed(struct client *c, const char *why) { fail(why, c); }

/* ------------------------------------------------------------------ connections */

static void start(struct client *c) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
    inet_pton(AF_INET, host, &to.sin_addr);
    int one = 1, i = (c - clients) % targets;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&to, sizeof to)) fail("cannot connect", c);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char request[4096], query[64] = "", bearer[2048] = "";
    if (protocol == JOBCAST) {
        /* The nonce that the publisher gives to this number. */
        unsigned long nonce = c->had ? c->had * 2654435761ul % 1000000000ul : 0;
        snprintf(query, sizeof query, "?after=%lu-%lu", (unsigned long)c->had, nonce);
    }
    if (*tokens[i]) snprintf(bearer, sizeof bearer, "Authorization: Bearer %s\r\n", tokens[i]);
    int size = snprintf(request, sizeof request,
        "GET %s%s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        paths[i], query, host, port, bearer);
    if (write(c->fd, request, size) != size) fail("cannot ask", c);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->state = SHAKING;
    struct epoll_event want = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &want);
}

static void cut(void) {
    struct linger now = { 1, 0 };
    for (long i = 0; i < started; i++) {
        struct client *c = &clients[i];
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(c->fd);
        free(c->rest);
        free(c->stream);
        *c = (struct client){ .had = c->had };
    }
    started = shaken = ready = total = 0;
}

static void take(struct client *c) {
    static uint8_t buffer[4 << 20];
    if (c->kept > sizeof buffer - (256 << 10)) fail("a frame is too long", c);
    memcpy(buffer, c->rest, c->kept);
    ssize_t got = read(c->fd, buffer + c->kept, 256 << 10);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail("the server closed it", c);
    read_at = now_ns();
    size_t size = c->kept + got, used = 0;
    if (c->state == SHAKING) {
        uint8_t *end = memmem(buffer, size, "\r\n\r\n", 4);
        if (end) {
            if (memcmp(buffer, "HTTP/1.1 101", 12)) fail("refused", c);
            used = end + 4 - buffer;
            c->state = GREETING;
            shaken++;
            if (shaken == wanted) shaken_at = seconds();
            if (protocol == RAW) can_hear(c);
        }
    }
    if (c->state != SHAKING) used += frames(c, buffer + used, size - used);
    c->kept = size - used;
    if (c->kept) {
        c->rest = realloc(c->rest, c->kept);
        memcpy(c->rest, buffer + used, c->kept);
    } else if (c->rest) { free(c->rest); c->rest = NULL; }
}

/* ------------------------------------------------------------------ what it is told */

static void latency(void) {
    uint64_t count = 0, seen = 0;
    long p50 = 0, p99 = 0, most = 0;
    for (long i = 0; i < SLOTS; i++) count += histogram[i];
    for (long i = 0; i < SLOTS; i++) if (histogram[i]) {
        if (seen * 2 < count) p50 = i;
        if (seen * 100 < count * 99) p99 = i;
        seen += histogram[i];
        most = i;
    }
    memset(histogram, 0, sizeof histogram);
    printf("latency %lu %ld %ld %ld\n", (unsigned long)count, p50, p99, most);
}

static void obey(const char *line) {
    if (sscanf(line, "connect %ld %ld", &wanted, &flight) == 2) {
        began = seconds();
        snapshots = 0;
    } else if (sscanf(line, "wait %ld", &target) == 1) {
        waiting = 1;
        stuck_at = (long)seconds() + PATIENCE_S;
    } else if (!strncmp(line, "latency", 7)) {
        latency();
    } else if (!strncmp(line, "cut", 3)) {
        cut();
        wanted = 0;
        puts("ok");
    } else if (!strncmp(line, "start ", 6)) {
        total = 0;
        for (long i = 0; i < MOST; i++) clients[i].had = atol(line + 6);
        for (long i = 0; i < started; i++) total += clients[i].had;
        puts("ok");
    } else exit(2);
    fflush(stdout);
}

static void check(void) {
    while (started < wanted && started - ready < flight) {
        total += clients[started].had;
        start(&clients[started++]);
    }
    if (wanted && ready == wanted && began) {
        printf("connected %f %f %ld\n", shaken_at - began, seconds() - began, snapshots);
        began = 0;
    } else if (waiting && ready == wanted && total >= target * started) {
        printf("ok %ld %ld %ld\n", lost, doubled, delivered);
        waiting = 0;
    } else if (waiting && (long)seconds() > stuck_at) {
        printf("stuck %ld %ld %ld\n", total, target * started, delivered);
        waiting = 0;
    } else return;
    fflush(stdout);
}

static void read_targets(const char *name) {
    char line[4096];
    FILE *file = fopen(name, "r");
    if (!file) exit(2);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        paths = realloc(paths, (targets + 1) * sizeof *paths);
        tokens = realloc(tokens, (targets + 1) * sizeof *tokens);
        char *space = strchr(line, ' ');
        if (space) *space = 0;
        paths[targets] = strdup(line);
        tokens[targets++] = strdup(space ? space + 1 : "");
    }
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    host = argv[1];
    port = argv[2];
    protocol = !strcmp(argv[3], "jobcast") ? JOBCAST : !strcmp(argv[3], "socketio") ? SOCKETIO
             : !strcmp(argv[3], "nats") ? NATS : RAW;
    read_targets(argv[4]);
    clients = calloc(MOST, sizeof *clients);
    poller = epoll_create1(0);
    fcntl(0, F_SETFL, O_NONBLOCK);
    struct epoll_event want = { .events = EPOLLIN, .data.ptr = NULL };
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &want);
    char told[4096];
    size_t have = 0;
    for (;;) {
        struct epoll_event found[512];
        int count = epoll_wait(poller, found, 512, 1000);
        long before = total;
        for (int i = 0; i < count; i++) {
            if (found[i].data.ptr) {
                struct client *c = found[i].data.ptr;
                if (c->state != NONE) take(c);
                continue;
            }
            ssize_t size = read(0, told + have, sizeof told - have - 1);
            if (size <= 0) return 0;
            told[have += size] = 0;
            for (char *end; (end = strchr(told, '\n'));) {
                *end = 0;
                obey(told);
                have -= end + 1 - told;
                memmove(told, end + 1, have + 1);
            }
        }
        if (total != before) stuck_at = (long)seconds() + PATIENCE_S;
        check();
    }
}
