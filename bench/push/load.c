/* Many WebSocket clients in one epoll loop, which only count events.

   load HOST PORT PATH TOKEN CLIENTS; then a line "N" on stdin waits until each client has had N
   events in all, and answers "ok". A frame counts when its payload starts with {"id" (an event
   that has a cursor). Ends at the end of stdin, or after a minute without a byte. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD, SKIP };
struct client { int fd, state; uint8_t head[32]; int have; uint64_t skip; long events; };

static char buffer[1 << 18];
static long total;

static int need(const struct client *c) {
    if (c->have < 2) return 2;
    int wide = c->head[1] == 126 ? 2 : c->head[1] == 127 ? 8 : 0;
    if (c->have < 2 + wide) return 2 + wide;
    uint64_t length = c->head[1];
    if (wide) { length = 0; for (int i = 0; i < wide; i++) length = length << 8 | c->head[2 + i]; }
    return 2 + wide + (length < 5 ? (int)length : 5);
}

static void take(struct client *c, const char *data, ssize_t size) {
    for (ssize_t at = 0; at < size;) {
        if (c->state == SKIP) {
            uint64_t left = size - at, step = c->skip < left ? c->skip : left;
            at += step; c->skip -= step;
            if (!c->skip) { c->state = HEAD; c->have = 0; }
            continue;
        }
        c->head[c->have++] = data[at++];
        if (c->have < need(c)) continue;
        int wide = c->head[1] == 126 ? 2 : c->head[1] == 127 ? 8 : 0;
        uint64_t length = c->head[1];
        if (wide) { length = 0; for (int i = 0; i < wide; i++) length = length << 8 | c->head[2 + i]; }
        if (length >= 5 && !memcmp(c->head + 2 + wide, "{\"id\"", 5)) { c->events++; total++; }
        c->skip = length - (length < 5 ? length : 5);
        if (c->skip) c->state = SKIP; else c->have = 0;
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    int count = atoi(argv[5]), poll = epoll_create1(0);
    struct client *clients = calloc(count, sizeof *clients);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    for (int i = 0; i < count; i++) {
        struct client *c = &clients[i];
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->fd, (void *)&to, sizeof to)) { perror("connect"); return 1; }
        int size = snprintf(buffer, sizeof buffer,
            "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Authorization: Bearer %s\r\n\r\n", argv[3], argv[1], argv[2], argv[4]);
        if (write(c->fd, buffer, size) != size) return 1;
        /* The head a byte at a time, so that no frame is swallowed with it. */
        char last[5] = "";
        while (strcmp(last, "\r\n\r\n")) {
            memmove(last, last + 1, 3);
            if (read(c->fd, last + 3, 1) != 1) { fprintf(stderr, "refused\n"); return 1; }
        }
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
        epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event);
    }
    puts("ready"); fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        long until = atol(line) * count;
        while (total < until) {
            struct epoll_event events[512];
            int found = epoll_wait(poll, events, 512, 60000);
            if (found <= 0) { fprintf(stderr, "%ld of %ld events\n", total, until); return 1; }
            for (int i = 0; i < found; i++) {
                struct client *c = events[i].data.ptr;
                ssize_t size = read(c->fd, buffer, sizeof buffer);
                if (size <= 0) { fprintf(stderr, "closed\n"); return 1; }
                take(c, buffer, size);
            }
        }
        puts("ok"); fflush(stdout);
    }
    for (int i = 0; i < count; i++)
        if (clients[i].events * count != total) { fprintf(stderr, "uneven\n"); return 1; }
    return 0;
}
