/* Frames of RFC 6455 and the little of Socket.IO's and NATS's protocols that a client needs. */

#ifndef LOAD_H
#define LOAD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 16000 };
enum { RAW, JOBCAST, SOCKETIO, NATS };
enum { NONE, SHAKING, GREETING, OPEN };

/* `had` is the number of its last event; `rest` an unfinished frame, `stream` an unfinished
   message of a protocol that minds no frames. */
struct client {
    int fd, state;
    uint64_t had;
    uint8_t *rest, *stream;
    size_t kept, streamed;
};

static int protocol;

void event(struct client *c, const uint8_t *data, size_t size);
void send_frame(struct client *c, int opcode, const char *data, size_t size);
void can_hear(struct client *c);
void was_snapshot(struct client *c);
void closed(struct client *c, const char *why);

static int starts(const uint8_t *data, size_t size, const char *word) {
    size_t length = strlen(word);
    return size >= length && !memcmp(data, word, length);
}

/* How much of a NATS stream was taken: a line, and with MSG as many bytes as it says. */
static size_t nats_messages(struct client *c, const uint8_t *data, size_t size) {
    size_t at = 0;
    while (at < size) {
        const uint8_t *line = data + at, *end = memchr(line, '\n', size - at);
        if (!end) break;
        size_t length = end + 1 - line, body = 0;
        if (starts(line, length, "MSG ")) {
            const uint8_t *last = memrchr(line, ' ', length);
            body = strtoul((const char *)last + 1, NULL, 10);
            if (size - at < length + body + 2) break;
            event(c, line + length, body);
            body += 2;
        } else if (starts(line, length, "INFO ")) {
            static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n"
                                        "SUB bench 1\r\nPING\r\n";
            send_frame(c, 2, hello, sizeof hello - 1);
        } else if (starts(line, length, "PONG")) {
            can_hear(c);
        } else if (starts(line, length, "PING")) {
            send_frame(c, 2, "PONG\r\n", 6);
        } else {
            closed(c, "an error of NATS");
        }
        at += length + body;
    }
    return at;
}

static void nats(struct client *c, const uint8_t *data, size_t size) {
    uint8_t *joined = NULL;
    if (c->streamed) {
        joined = realloc(c->stream, c->streamed + size);
        memcpy(joined + c->streamed, data, size);
        data = joined;
        size += c->streamed;
        c->stream = NULL;
        c->streamed = 0;
    }
    size_t used = nats_messages(c, data, size);
    if (used < size) {
        c->streamed = size - used;
        c->stream = malloc(c->streamed);
        memcpy(c->stream, data + used, c->streamed);
    }
    free(joined);
}

static void message(struct client *c, const uint8_t *data, size_t size) {
    if (protocol == NATS) {
        nats(c, data, size);
    } else if (protocol == SOCKETIO && c->state == GREETING && starts(data, size, "0{")) {
        send_frame(c, 1, "40", 2);
    } else if (protocol == SOCKETIO && c->state == GREETING && starts(data, size, "40")) {
        can_hear(c);
    } else if (protocol == SOCKETIO && size == 1 && *data == '2') {
        send_frame(c, 1, "3", 1);
    } else if (protocol == JOBCAST && starts(data, size, "{\"type\":\"hello\"")) {
        if (memmem(data, size < 400 ? size : 400, "\"resumed\":false", 15)) was_snapshot(c);
        can_hear(c);
    } else {
        event(c, data, size);
    }
}

/* Takes whole frames; returns how many bytes they had. */
static size_t frames(struct client *c, const uint8_t *data, size_t size) {
    size_t at = 0;
    while (size - at >= 2) {
        const uint8_t *frame = data + at;
        size_t length = frame[1], head = 2;
        if (length == 126) {
            if (size - at < 4) break;
            length = frame[2] << 8 | frame[3];
            head = 4;
        } else if (length == 127) {
            if (size - at < 10) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | frame[i];
            head = 10;
        }
        if (size - at < head + length) break;
        int opcode = frame[0] & 15;
        if (opcode == 8) {
            static char why[160];
            snprintf(why, sizeof why, "closed with %d %.*s",
                     length < 2 ? 0 : frame[head] << 8 | frame[head + 1],
                     length < 2 ? 0 : (int)length - 2, (const char *)frame + head + 2);
            closed(c, why);
        } else if (opcode == 9) {
            send_frame(c, 10, (const char *)frame + head, length);
        } else if (opcode < 3) {
            message(c, frame + head, length);
        }
        at += head + length;
    }
    return at;
}

#endif
