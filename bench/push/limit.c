/* The limit: an epoll loop that writes the same bytes as the others, and knows nothing else.

   Prints its port. What one read from stdin brings, a line for each event, is framed once and
   goes to each client in one write. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 16000 };
static int clients[MOST], count;
static char lines[1 << 16], out[1 << 17];

static void broadcast(size_t size) {
    size_t made = 0;
    for (char *line = lines, *end; (end = memchr(line, '\n', lines + size - line)); line = end + 1) {
        size_t length = end - line;
        out[made++] = (char)0x81;
        if (length < 126) out[made++] = (char)length;
        else {
            out[made++] = 126;
            out[made++] = (char)(length >> 8);
            out[made++] = (char)length;
        }
        memcpy(out + made, line, length);
        made += length;
    }
    for (int i = 0; i < count; i++)
        if (clients[i] && send(clients[i], out, made, MSG_NOSIGNAL) != (ssize_t)made) clients[i] = 0;
}

int main(void) {
    /* The answer to the one key that the load client sends. */
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    int listener = socket(AF_INET, SOCK_STREAM, 0), poller = epoll_create1(0), one = 1;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    if (bind(listener, (void *)&at, size) || listen(listener, 1024)) return 1;
    getsockname(listener, (void *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    struct epoll_event want = { .events = EPOLLIN, .data.fd = listener };
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &want);
    want.data.fd = 0;
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &want);
    size_t have = 0;
    for (;;) {
        struct epoll_event found[256];
        int events = epoll_wait(poller, found, 256, -1);
        for (int i = 0; i < events; i++) {
            int fd = found[i].data.fd;
            if (fd == listener) {
                want.data.fd = accept(listener, NULL, NULL);
                if (want.data.fd < 0) return 1;
                setsockopt(want.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                epoll_ctl(poller, EPOLL_CTL_ADD, want.data.fd, &want);
            } else if (fd == 0) {
                ssize_t got = read(0, lines + have, sizeof lines - have);
                if (got <= 0) return 0;
                have += got;
                char *last = memrchr(lines, '\n', have);
                if (!last) continue;
                size_t whole = last + 1 - lines;
                broadcast(whole);
                memmove(lines, lines + whole, have -= whole);
            } else {
                char request[4096];
                if (read(fd, request, sizeof request) <= 0) {
                    close(fd);
                    for (int j = 0; j < count; j++) if (clients[j] == fd) clients[j] = 0;
                } else if (!memcmp(request, "GET ", 4)) {
                    if (write(fd, answer, sizeof answer - 1) < 0 || count == MOST) return 1;
                    clients[count++] = fd;
                }
            }
        }
    }
}
