/* An SQS that costs next to nothing: what the benchmark measures is its clients. awsJson 1.0, one thread, epoll.
 *
 *   server --queue NAME --messages N --body FILE [--attributes FILE --attributes-md5 HEX] [--groups G]
 *          [--rate MESSAGES_PER_S] [--delay-s S]
 *
 * Prints its port and serves until its stdin ends. The queue NAME holds N generated messages; every other queue holds
 * what is sent to it. "@@@@@@@@@@@@@@@@" in the body becomes the message's number or, with --rate, the monotonic time
 * in nanoseconds at which it was sent. With --groups the messages belong to FIFO groups, in turn; a group with a
 * message in flight is held back.
 *
 * Nothing of NAME is given out before GET /open?pid=N: until then receives wait as long polls do, so a client's start
 * is no part of any figure. At that moment, and when the last message is deleted, the CPU time of N and everything
 * that N started is read. GET /stats tells both, and the requests counted in between by action. GET /stored gives the
 * message sent last, as a template. Signatures are not checked; leases don't bring messages back, but deleting or
 * extending after a lease's end is counted as late.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MARK "@@@@@@@@@@@@@@@@"
#define HANDLE_LENGTH 252
#define QUEUES_MAX 64
#define ACTIONS_MAX 32
#define LOST "{\"__type\":\"com.amazonaws.sqs#"

typedef struct Connection Connection;

typedef struct {
    char *bytes;
    size_t length, room;
} Text;

typedef struct { /* of a queue that was sent to; `body` and `attributes` are JSON as they came */
    char *body, *attributes, *group, md5[33];
    double visible_at, lease_until;
    long long sent_ms;
    int receives, is_deleted;
} Stored;

typedef struct {
    Connection *connection;
    unsigned generation;
    int max, wants_attributes, system;
    double until, lease_s;
} Waiter;

typedef struct {
    char name[96];
    Stored *messages;
    int count, room, head;
    Waiter *waiters;
    int waiting, waiters_room;
    long receives;
    double first_receive_at, last_receive_at;
} Queue;

struct Connection {
    int fd;
    unsigned generation;
    Text in, out;
    size_t sent;
};

typedef struct {
    Connection *connection;
    unsigned generation;
    double at;
    char *bytes;
    size_t length;
} Later;

static Queue queues[QUEUES_MAX];
static int queue_count, main_at, port, poll_fd, timer_fd;
static long long total, made, given, deleted, received, late, released, connections, empties, unknown, stored_live;
static double *lease_until;
static unsigned char *is_gone, *times;
static long long *sent_ns, *again;
static long long again_count;
static int *group_flight, group_cursor, groups;
static long long *group_next;
static double rate, delay_s, opened_at, first_at, last_at, tenth_at, ninety_at;
static int is_open, watched, is_finished;
static char *body, *body_json, body_md5[33], *attributes_json, *attributes_md5 = "";
static size_t body_length, body_json_length;
static char *mark, *mark_json;
static char filler[HANDLE_LENGTH + 1];
static struct { char name[48]; long count, at_last; } actions[ACTIONS_MAX];
static int action_count;
static Text reply, cpu_open, cpu_last;
static Later *laters;
static size_t later_head, later_tail, later_room;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static long long monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void *need(void *memory) {
    if (!memory) {
        fputs("server: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void add(Text *text, const char *bytes, size_t length) {
    if (text->length + length + 1 > text->room) {
        text->room = (text->length + length + 1) * 2;
        text->bytes = need(realloc(text->bytes, text->room));
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = 0;
}

#define ADD(text, literal) add(text, literal, sizeof(literal) - 1)

static void say(Text *text, const char *format, ...) {
    char line[512];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    add(text, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

/* -- MD5 (RFC 1321) */

static const uint32_t md5_k[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af,
    0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa,
    0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
    0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97,
    0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
    0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
static const unsigned char md5_r[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};

static void md5_block(uint32_t state[4], const unsigned char *block) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], word[16];
    memcpy(word, block, 64);
    for (int i = 0; i < 64; i++) {
        uint32_t f;
        int g;
        if (i < 16) f = (b & c) | (~b & d), g = i;
        else if (i < 32) f = (d & b) | (~d & c), g = (5 * i + 1) & 15;
        else if (i < 48) f = b ^ c ^ d, g = (3 * i + 5) & 15;
        else f = c ^ (b | ~d), g = (7 * i) & 15;
        uint32_t sum = a + f + md5_k[i] + word[g];
        int turn = md5_r[(i >> 4) * 4 + (i & 3)];
        a = d, d = c, c = b, b += (sum << turn) | (sum >> (32 - turn));
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

static void md5_hex(const char *data, size_t length, char *hex) {
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    unsigned char tail[128] = {0};
    size_t whole = length / 64 * 64, rest = length - whole, end = rest < 56 ? 64 : 128;
    for (size_t at = 0; at < whole; at += 64) md5_block(state, (const unsigned char *)data + at);
    memcpy(tail, data + whole, rest);
    tail[rest] = 0x80;
    uint64_t bits = (uint64_t)length * 8;
    memcpy(tail + end - 8, &bits, 8);
    for (size_t at = 0; at < end; at += 64) md5_block(state, tail + at);
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        unsigned char byte = ((unsigned char *)state)[i];
        *hex++ = digits[byte >> 4], *hex++ = digits[byte & 15];
    }
    *hex = 0;
}

/* -- JSON, as far as requests need it: a pointer to a value, and where it ends */

static const char *blank(const char *at) {
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r') at++;
    return at;
}

static const char *past(const char *at) {
    int depth = 0;
    do {
        at = blank(at);
        if (*at == '"') {
            for (at++; *at && *at != '"'; at++)
                if (*at == '\\' && at[1]) at++;
            if (*at) at++;
        } else if (*at == '{' || *at == '[') depth++, at++;
        else if (*at == '}' || *at == ']') depth--, at++;
        else if (!*at) return at;
        else if (*at == ',' || *at == ':') at++;
        else
            while (*at && !strchr(",:]}\" \n\t\r", *at)) at++;
    } while (depth > 0);
    return at;
}

/* The value of a member of an object, or NULL. */
static const char *member(const char *object, const char *name) {
    size_t length = strlen(name);
    const char *at = blank(object);
    if (*at != '{') return NULL;
    at = blank(at + 1);
    while (*at == '"') {
        const char *key = at + 1, *end = past(at), *given = blank(blank(end) + 1);
        if ((size_t)(end - key - 1) == length && !memcmp(key, name, length)) return given;
        at = blank(past(given));
        if (*at == ',') at = blank(at + 1);
    }
    return NULL;
}

static double number(const char *object, const char *name, double otherwise) {
    const char *at = member(object, name);
    return at ? atof(*at == '"' ? at + 1 : at) : otherwise;
}

static int has(const char *list, const char *word) { /* whether a list of strings names `word`, or All */
    if (!list) return 0;
    const char *end = past(list);
    const char *found = memmem(list, end - list, word, strlen(word));
    return found || memmem(list, end - list, "\"All\"", 5) || memmem(list, end - list, "\".*\"", 4);
}

static char *copied(const char *json) {
    return json ? need(strndup(json, past(json) - json)) : NULL;
}

static size_t unescaped(const char *json, char *into) { /* a JSON string as UTF-8 */
    char *start = into;
    for (const char *at = json + 1; *at && *at != '"'; at++) {
        if (*at != '\\') {
            *into++ = *at;
            continue;
        }
        at++;
        static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
        const char *plain = strchr(from, *at);
        if (plain && *at) *into++ = to[plain - from];
        else if (*at != 'u') *into++ = *at;
        else {
            unsigned code = 0, low = 0;
            sscanf(at + 1, "%4x", &code);
            at += 4;
            if (code >= 0xD800 && code < 0xDC00 && sscanf(at + 1, "\\u%4x", &low) == 1)
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), at += 6;
            if (code < 0x80) *into++ = code;
            else if (code < 0x800) *into++ = 0xC0 | code >> 6, *into++ = 0x80 | (code & 63);
            else if (code < 0x10000)
                *into++ = 0xE0 | code >> 12, *into++ = 0x80 | (code >> 6 & 63), *into++ = 0x80 | (code & 63);
            else {
                *into++ = 0xF0 | code >> 18, *into++ = 0x80 | (code >> 12 & 63);
                *into++ = 0x80 | (code >> 6 & 63), *into++ = 0x80 | (code & 63);
            }
        }
    }
    *into = 0;
    return into - start;
}

/* -- CPU time of a tree of processes */

static void add_cpu(Text *text, int pid) {
    struct timespec used;
    if (clock_gettime((clockid_t)((~(unsigned)pid << 3) | 2), &used)) return; /* clock_getcpuclockid, without its look-up */
    say(text, "%s\"%d\":%ld.%09ld", text->length > 1 ? "," : "", pid, (long)used.tv_sec, used.tv_nsec);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) return;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        for (int child; fscanf(file, "%d", &child) == 1;) add_cpu(text, child);
        fclose(file);
    }
    closedir(tasks);
}

static void read_cpu(Text *text) {
    text->length = 0;
    ADD(text, "{");
    if (watched > 0) add_cpu(text, watched);
    ADD(text, "}");
}

/* -- out */

static void watch(Connection *one, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = one};
    epoll_ctl(poll_fd, operation, one->fd, &event);
}

static void hang_up(Connection *one) {
    close(one->fd);
    one->fd = -1;
    one->generation++;
    one->in.length = one->out.length = one->sent = 0;
}

static void put(Connection *one, const char *bytes, size_t length) {
    ssize_t sent = 0;
    if (one->out.length == one->sent) {
        sent = write(one->fd, bytes, length);
        if (sent < 0) sent = 0;
        one->out.length = one->sent = 0;
    }
    if ((size_t)sent < length) {
        add(&one->out, bytes + sent, length - sent);
        watch(one, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
}

static void send_reply(Connection *one, int status, const char *error, int is_control) {
    static Text whole;
    whole.length = 0;
    say(&whole,
        "HTTP/1.1 %d %s\r\nx-amzn-RequestId: 3f1c1a5e-7a2b-5f0e-9c4d-0123456789ab\r\n"
        "Date: Tue, 24 Nov 2026 06:00:00 GMT\r\nContent-Type: application/x-amz-json-1.0\r\n",
        status, status == 200 ? "OK" : "Bad Request");
    if (error) say(&whole, "x-amzn-query-error: %s;Sender\r\n", error);
    say(&whole, "Content-Length: %zu\r\n\r\n", reply.length);
    add(&whole, reply.bytes ? reply.bytes : "", reply.length);
    if (delay_s <= 0 || is_control) {
        put(one, whole.bytes, whole.length);
        return;
    }
    if (later_tail == later_room) {
        memmove(laters, laters + later_head, (later_tail - later_head) * sizeof *laters);
        later_tail -= later_head, later_head = 0;
        if (later_tail * 2 >= later_room) {
            later_room = later_room ? later_room * 2 : 1024;
            laters = need(realloc(laters, later_room * sizeof *laters));
        }
    }
    char *bytes = need(malloc(whole.length));
    memcpy(bytes, whole.bytes, whole.length);
    laters[later_tail++] = (Later){one, one->generation, now() + delay_s, bytes, whole.length};
}

static void send_due(double at) {
    while (later_head < later_tail && laters[later_head].at <= at) {
        Later *later = &laters[later_head++];
        if (later->generation == later->connection->generation) put(later->connection, later->bytes, later->length);
        free(later->bytes);
    }
}

/* -- queues */

static Queue *queue_named(const char *name, size_t length) {
    for (int at = 0; at < queue_count; at++)
        if (strlen(queues[at].name) == length && !memcmp(queues[at].name, name, length)) return &queues[at];
    if (queue_count == QUEUES_MAX || length >= sizeof queues[0].name) return &queues[QUEUES_MAX - 1];
    Queue *queue = &queues[queue_count++];
    memcpy(queue->name, name, length);
    return queue;
}

static Queue *queue_of(const char *request) { /* by QueueUrl, else by QueueName */
    const char *at = member(request, "QueueUrl");
    if (!at) at = member(request, "QueueName");
    if (!at || *at != '"') return NULL;
    const char *end = past(at) - 1, *start = end;
    while (start > at + 1 && start[-1] != '/') start--;
    return queue_named(start, end - start);
}

static void add_handle(Text *text, int queue, long long index, int receive) {
    char head[24];
    int length = snprintf(head, sizeof head, "AQEB%02x%010llx%04x", queue, index, receive & 0xFFFF);
    add(text, head, length);
    add(text, filler, HANDLE_LENGTH - length);
}

static int read_handle(const char *json, int *queue, long long *index, int *receive) {
    char digits[17];
    if (!json || strncmp(json, "\"AQEB", 5) || strlen(json) < 22) return 0;
    unsigned long long raw;
    memcpy(digits, json + 5, 16), digits[16] = 0;
    raw = strtoull(digits, NULL, 16);
    *queue = raw >> 56, *index = raw >> 16 & 0xFFFFFFFFFF, *receive = raw & 0xFFFF;
    return *queue < queue_count;
}

static void add_id(Text *text, int queue, long long index) {
    uint64_t mixed = (uint64_t)(index + 1) * 0x9E3779B97F4A7C15ull;
    say(text, "%08x-%04x-4%03x-8%03x-%02x%010llx", (unsigned)(mixed >> 32), (unsigned)(mixed >> 16 & 0xFFFF),
        (unsigned)(mixed >> 4 & 0xFFF), (unsigned)(mixed >> 52), queue, index);
}

static void add_system(Text *text, int system, long long sent_ms, int receives, const char *group, long long index) {
    if (!system) return;
    const char *comma = "";
    ADD(text, ",\"Attributes\":{");
    if (system & 1) say(text, "%s\"SentTimestamp\":\"%lld\"", comma, sent_ms), comma = ",";
    if (system & 2) say(text, "%s\"ApproximateReceiveCount\":\"%d\"", comma, receives), comma = ",";
    if (system & 4) say(text, "%s\"SenderId\":\"AIDAIENQZJOLO23YVJ4VO\"", comma), comma = ",";
    if (system & 8) say(text, "%s\"ApproximateFirstReceiveTimestamp\":\"%lld\"", comma, sent_ms + 1), comma = ",";
    if (group && system & 16) say(text, "%s\"MessageGroupId\":%.200s", comma, group), comma = ",";
    if (group && system & 32) say(text, "%s\"SequenceNumber\":\"%020lld\"", comma, index), comma = ",";
    ADD(text, "}");
}

static void add_made(Text *text, const Waiter *for_whom, long long index) {
    char stamp[24], md5[33], group[24], *use_md5 = body_md5;
    int receives = ++times[index];
    if (!sent_ns[index]) sent_ns[index] = monotonic_ns();
    if (mark) {
        snprintf(stamp, sizeof stamp, "%016lld", rate > 0 ? sent_ns[index] : index);
        memcpy(mark, stamp, 16);
        memcpy(mark_json, stamp, 16);
        md5_hex(body, body_length, md5);
        use_md5 = md5;
    }
    ADD(text, "{\"MessageId\":\"");
    add_id(text, main_at, index);
    ADD(text, "\",\"ReceiptHandle\":\"");
    add_handle(text, main_at, index, receives);
    ADD(text, "\",\"MD5OfBody\":\"");
    add(text, use_md5, 32);
    ADD(text, "\",\"Body\":");
    add(text, body_json, body_json_length);
    if (groups) snprintf(group, sizeof group, "\"group-%04lld\"", index % groups);
    add_system(text, for_whom->system, wall_ms(), receives, groups ? group : NULL, index);
    if (for_whom->wants_attributes && attributes_json) {
        ADD(text, ",\"MessageAttributes\":");
        add(text, attributes_json, strlen(attributes_json));
        if (*attributes_md5) say(text, ",\"MD5OfMessageAttributes\":\"%.32s\"", attributes_md5);
    }
    ADD(text, "}");
    lease_until[index] = now() + for_whom->lease_s;
    received++;
}

static int give_grouped(Text *text, const Waiter *whom) {
    int count = 0;
    for (int tried = 0; tried < groups && count < whom->max; tried++, group_cursor = (group_cursor + 1) % groups) {
        int group = group_cursor;
        if (group_flight[group]) continue;
        while (count < whom->max && group_next[group] < made) {
            if (count++) ADD(text, ",");
            add_made(text, whom, group_next[group]);
            group_next[group] += groups, given++, group_flight[group]++;
        }
    }
    return count;
}

static int give_made(Text *text, const Waiter *whom) {
    int count = 0;
    if (!is_open) return 0;
    if (groups) return give_grouped(text, whom);
    while (count < whom->max && (again_count || given < made)) {
        long long index = again_count ? again[--again_count] : given++;
        if (is_gone[index]) continue;
        if (count++) ADD(text, ",");
        add_made(text, whom, index);
    }
    return count;
}

static int give_stored(Text *text, Queue *queue, const Waiter *whom, double at) {
    int count = 0;
    while (queue->head < queue->count && queue->messages[queue->head].is_deleted) queue->head++;
    for (int index = queue->head; index < queue->count && count < whom->max; index++) {
        Stored *one = &queue->messages[index];
        if (one->is_deleted || one->visible_at > at) continue;
        if (count++) ADD(text, ",");
        one->receives++;
        one->visible_at = one->lease_until = at + whom->lease_s;
        ADD(text, "{\"MessageId\":\"");
        add_id(text, queue - queues, index);
        ADD(text, "\",\"ReceiptHandle\":\"");
        add_handle(text, queue - queues, index, one->receives);
        say(text, "\",\"MD5OfBody\":\"%s\",\"Body\":", one->md5);
        add(text, one->body, strlen(one->body));
        add_system(text, whom->system, one->sent_ms, one->receives, one->group, index);
        if (one->attributes && whom->wants_attributes) {
            ADD(text, ",\"MessageAttributes\":");
            add(text, one->attributes, strlen(one->attributes));
        }
        ADD(text, "}");
    }
    return count;
}

static int give(Queue *queue, const Waiter *whom, double at) { /* renders a receive's answer; how many it brings */
    reply.length = 0;
    ADD(&reply, "{\"Messages\":[");
    int count = queue == &queues[main_at] ? give_made(&reply, whom) : 0;
    if (!count) count = give_stored(&reply, queue, whom, at);
    ADD(&reply, "]}");
    if (count && is_open && first_at == 0) first_at = at;
    return count;
}

static void answer_waiters(double at) { /* those that something came for, and those whose time is over */
    for (int number = 0; number < queue_count; number++) {
        Queue *queue = &queues[number];
        int kept = 0, is_dry = 0;
        for (int index = 0; index < queue->waiting; index++) {
            Waiter waiter = queue->waiters[index];
            if (waiter.generation != waiter.connection->generation) continue;
            int count = is_dry ? 0 : give(queue, &waiter, at);
            if (count) send_reply(waiter.connection, 200, NULL, 0);
            else if (waiter.until <= at) {
                reply.length = 0, empties += is_open;
                ADD(&reply, "{}");
                send_reply(waiter.connection, 200, NULL, 0);
            } else queue->waiters[kept++] = waiter;
            is_dry = !count;
        }
        queue->waiting = kept;
    }
}

static void finish(double at) {
    if (tenth_at == 0 && deleted * 10 >= total && is_open) tenth_at = at;
    if (ninety_at == 0 && deleted * 10 >= total * 9 && is_open) ninety_at = at;
    if (is_finished || !is_open || deleted < total || stored_live > 0 || total == 0) return;
    is_finished = 1;
    last_at = at;
    read_cpu(&cpu_last);
    for (int index = 0; index < action_count; index++) actions[index].at_last = actions[index].count;
}

/* -- actions */

static void receive(Connection *one, const char *request, Queue *queue, double at) {
    const char *system = member(request, "MessageSystemAttributeNames"), *old = member(request, "AttributeNames");
    const char *names = member(request, "MessageAttributeNames");
    static const char *words[] = {"SentTimestamp", "ApproximateReceiveCount", "SenderId", "ApproximateFirstReceiveTimestamp",
                                  "MessageGroupId", "SequenceNumber"};
    Waiter waiter = {.connection = one, .generation = one->generation};
    waiter.max = (int)number(request, "MaxNumberOfMessages", 1);
    waiter.lease_s = number(request, "VisibilityTimeout", 30);
    waiter.wants_attributes = names && names[1] != ']';
    waiter.until = at + number(request, "WaitTimeSeconds", 0);
    for (int bit = 0; bit < 6; bit++)
        if (has(system, words[bit]) || has(old, words[bit])) waiter.system |= 1 << bit;
    if (is_open) {
        if (queue->receives++ == 0) queue->first_receive_at = at;
        queue->last_receive_at = at;
    }
    if (give(queue, &waiter, at)) {
        send_reply(one, 200, NULL, 0);
    } else if (waiter.until <= at) {
        reply.length = 0, empties += is_open;
        ADD(&reply, "{}");
        send_reply(one, 200, NULL, 0);
    } else {
        if (queue->waiting == queue->waiters_room) {
            queue->waiters_room = queue->waiters_room * 2 + 64;
            queue->waiters = need(realloc(queue->waiters, queue->waiters_room * sizeof *queue->waiters));
        }
        queue->waiters[queue->waiting++] = waiter;
    }
}

static void delete_one(const char *handle, double at) {
    int number, receives;
    long long index;
    if (!read_handle(handle, &number, &index, &receives)) return;
    if (number == main_at && index < total) {
        if (is_gone[index]) return;
        is_gone[index] = 1, deleted++;
        late += at > lease_until[index];
        if (groups) group_flight[index % groups]--;
    } else if (index < queues[number].count && !queues[number].messages[index].is_deleted) {
        Stored *one = &queues[number].messages[index];
        one->is_deleted = 1, stored_live--;
        late += at > one->lease_until;
        free(one->body), free(one->attributes), free(one->group);
    }
}

static void change_one(const char *handle, double seconds, double at) {
    int number, receives;
    long long index;
    if (!read_handle(handle, &number, &index, &receives)) return;
    released += seconds <= 0;
    if (number == main_at && index < total) {
        late += at > lease_until[index];
        lease_until[index] = at + seconds;
        if (seconds <= 0 && !is_gone[index] && !groups) again[again_count++] = index;
    } else if (index < queues[number].count) {
        Stored *one = &queues[number].messages[index];
        one->visible_at = one->lease_until = at + seconds;
    }
}

static void send_one(const char *entry, Queue *queue, double at) { /* leaves its checksum in `reply` */
    const char *given_body = member(entry, "MessageBody");
    if (!given_body || *given_body != '"') return;
    if (queue->count == queue->room) {
        queue->room = queue->room * 2 + 64;
        queue->messages = need(realloc(queue->messages, queue->room * sizeof *queue->messages));
    }
    Stored *one = &queue->messages[queue->count];
    memset(one, 0, sizeof *one);
    one->body = copied(given_body);
    one->attributes = copied(member(entry, "MessageAttributes"));
    one->group = copied(member(entry, "MessageGroupId"));
    char *plain = need(malloc(strlen(one->body) + 1));
    md5_hex(plain, unescaped(one->body, plain), one->md5);
    free(plain);
    one->visible_at = at + number(entry, "DelaySeconds", 0);
    one->lease_until = 1e18;
    one->sent_ms = wall_ms();
    stored_live += is_open;
    ADD(&reply, "\"MessageId\":\"");
    add_id(&reply, queue - queues, queue->count++);
    say(&reply, "\",\"MD5OfMessageBody\":\"%s\"", one->md5);
}

static void batch(const char *action, const char *request, Queue *queue, double at) {
    reply.length = 0;
    ADD(&reply, "{\"Successful\":[");
    const char *entry = member(request, "Entries");
    int count = 0;
    for (entry = entry ? blank(entry + 1) : ""; *entry == '{'; entry = blank(entry)) {
        const char *id = member(entry, "Id");
        if (count++) ADD(&reply, ",");
        ADD(&reply, "{\"Id\":");
        add(&reply, id ? id : "\"\"", id ? (size_t)(past(id) - id) : 2);
        if (*action == 'D') delete_one(member(entry, "ReceiptHandle"), at);
        else if (*action == 'C') change_one(member(entry, "ReceiptHandle"), number(entry, "VisibilityTimeout", 30), at);
        else {
            ADD(&reply, ",");
            send_one(entry, queue, at);
        }
        ADD(&reply, "}");
        entry = blank(past(entry));
        if (*entry == ',') entry++;
    }
    ADD(&reply, "],\"Failed\":[]}");
}

static void add_url(Text *text, const char *name) {
    say(text, "\"http://127.0.0.1:%d/000000000000/%s\"", port, name);
}

static void add_attributes(Text *text, const Queue *queue) {
    int is_main = queue == &queues[main_at];
    long long left = is_main ? (is_open ? made - given : 0) : queue->count - queue->head;
    say(text, "{\"Attributes\":{\"QueueArn\":\"arn:aws:sqs:us-east-1:000000000000:%s\",\"ApproximateNumberOfMessages\":\"%lld\",",
        queue->name, left);
    say(text, "\"ApproximateNumberOfMessagesNotVisible\":\"0\",\"ApproximateNumberOfMessagesDelayed\":\"0\",");
    say(text, "\"VisibilityTimeout\":\"60\",\"DelaySeconds\":\"0\",\"ReceiveMessageWaitTimeSeconds\":\"20\",");
    say(text, "\"MaximumMessageSize\":\"1048576\",\"MessageRetentionPeriod\":\"1209600\",\"SqsManagedSseEnabled\":\"true\"");
    const char *dot = strrchr(queue->name, '.');
    if (dot && !strcmp(dot, ".fifo")) ADD(text, ",\"FifoQueue\":\"true\",\"ContentBasedDeduplication\":\"false\"");
    const char *cut = strstr(queue->name, "-requests-q");
    if (!cut) cut = strstr(queue->name, "-rejects-q");
    if (cut)
        say(text, ",\"RedrivePolicy\":\"{\\\"deadLetterTargetArn\\\":\\\"arn:aws:sqs:us-east-1:000000000000:%.*s-dead-q%s\\\","
                  "\\\"maxReceiveCount\\\":1000}\"",
            (int)(cut - queue->name), queue->name, dot && !strcmp(dot, ".fifo") ? dot : "");
    ADD(text, "}}");
}

static void count_action(const char *action) {
    int index = 0;
    while (index < action_count && strcmp(actions[index].name, action)) index++;
    if (index == action_count && action_count < ACTIONS_MAX)
        snprintf(actions[action_count++].name, sizeof actions[0].name, "%s", action);
    if (index < action_count) actions[index].count++;
}

static void act(Connection *one, const char *action, const char *request) {
    double at = now();
    if (is_open) count_action(action);
    Queue *queue = queue_of(request);
    const char *error = NULL;
    if (!queue && strcmp(action, "ListQueues") && strcmp(action, "ListMessageMoveTasks")) error = "MissingParameter";
    else if (!strcmp(action, "ReceiveMessage")) {
        receive(one, request, queue, at);
        return;
    } else if (!strcmp(action, "DeleteMessageBatch") || !strcmp(action, "ChangeMessageVisibilityBatch") ||
               !strcmp(action, "SendMessageBatch")) {
        batch(action, request, queue, at);
    } else {
        reply.length = 0;
        ADD(&reply, "{");
        if (!strcmp(action, "DeleteMessage")) delete_one(member(request, "ReceiptHandle"), at);
        else if (!strcmp(action, "ChangeMessageVisibility"))
            change_one(member(request, "ReceiptHandle"), number(request, "VisibilityTimeout", 30), at);
        else if (!strcmp(action, "SendMessage")) send_one(request, queue, at);
        else if (!strcmp(action, "GetQueueUrl") || !strcmp(action, "CreateQueue")) {
            ADD(&reply, "\"QueueUrl\":");
            add_url(&reply, queue->name);
        } else if (!strcmp(action, "GetQueueAttributes")) reply.length = 0, add_attributes(&reply, queue), reply.length--;
        else if (!strcmp(action, "ListQueues")) {
            ADD(&reply, "\"QueueUrls\":[");
            for (int index = 0; index < queue_count; index++) {
                if (index) ADD(&reply, ",");
                add_url(&reply, queues[index].name);
            }
            ADD(&reply, "]");
        } else if (!strcmp(action, "ListQueueTags")) ADD(&reply, "\"Tags\":{}");
        else if (strcmp(action, "SetQueueAttributes") && strcmp(action, "TagQueue") && strcmp(action, "PurgeQueue") &&
                 strcmp(action, "ListMessageMoveTasks"))
            error = "InvalidAction";
        ADD(&reply, "}");
    }
    if (error) {
        unknown++;
        reply.length = 0;
        say(&reply, LOST "%s\",\"message\":\"%.40s: the benchmark's server doesn't know it\"}", error, action);
    }
    send_reply(one, error ? 400 : 200, error, 0);
    finish(at);
    if (*action == 'S' || *action == 'C' || (groups && *action == 'D')) answer_waiters(at);
}

/* -- control */

static void tell_stats(void) {
    reply.length = 0;
    say(&reply, "{\"opened_at\":%.9f,\"first_at\":%.9f,\"last_at\":%.9f,\"now\":%.9f,\"is_finished\":%s,", opened_at,
        first_at, last_at, now(), is_finished ? "true" : "false");
    say(&reply, "\"steady_s\":%.9f,", ninety_at - tenth_at);
    say(&reply, "\"received\":%lld,\"deleted\":%lld,\"late\":%lld,\"released\":%lld,\"connections\":%lld,", received,
        deleted, late, released, connections);
    say(&reply, "\"empty\":%lld,\"unknown\":%lld,\"requests\":{", empties, unknown);
    for (int index = 0; index < action_count; index++)
        say(&reply, "%s\"%s\":%ld", index ? "," : "", actions[index].name,
            is_finished ? actions[index].at_last : actions[index].count);
    ADD(&reply, "},\"queues\":{");
    for (int index = 0; index < queue_count; index++)
        say(&reply, "%s\"%s\":{\"receives\":%ld,\"first_at\":%.9f,\"last_at\":%.9f,\"waiting\":%d}", index ? "," : "",
            queues[index].name, queues[index].receives, queues[index].first_receive_at, queues[index].last_receive_at,
            queues[index].waiting);
    ADD(&reply, "},\"cpu_open\":");
    add(&reply, cpu_open.length ? cpu_open.bytes : "{}", cpu_open.length ? cpu_open.length : 2);
    ADD(&reply, ",\"cpu_last\":");
    if (!is_finished) read_cpu(&cpu_last);
    add(&reply, cpu_last.bytes, cpu_last.length);
    ADD(&reply, "}");
}

static void arm(double at) {
    struct itimerspec when = {{0, 0}, {(time_t)at, (long)((at - (time_t)at) * 1e9)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void open_gate(int pid) {
    watched = pid;
    is_open = 1;
    made = rate > 0 ? 0 : total;
    read_cpu(&cpu_open);
    opened_at = now();
    stored_live = 0;
    for (int index = 0; index < queue_count; index++) /* polls that wait already are part of what is counted */
        for (int waiter = 0; waiter < queues[index].waiting; waiter++) {
            count_action("ReceiveMessage");
            queues[index].receives++;
            queues[index].first_receive_at = queues[index].last_receive_at = opened_at;
        }
    answer_waiters(opened_at);
    if (rate > 0) arm(opened_at + 1 / rate);
}

static void control(Connection *one, const char *path) {
    if (!strncmp(path, "/open?pid=", 10)) {
        open_gate(atoi(path + 10));
        reply.length = 0;
        ADD(&reply, "{}");
    } else if (!strncmp(path, "/stored", 7)) {
        reply.length = 0;
        ADD(&reply, "{");
        for (int index = 0; index < queue_count; index++)
            if (queues[index].count) {
                Stored *last = &queues[index].messages[queues[index].count - 1];
                reply.length = 0;
                say(&reply, "{\"Queue\":\"%s\",\"Body\":", queues[index].name);
                add(&reply, last->body, strlen(last->body));
                ADD(&reply, ",\"MessageAttributes\":");
                add(&reply, last->attributes ? last->attributes : "{}", last->attributes ? strlen(last->attributes) : 2);
            }
        ADD(&reply, "}");
    } else tell_stats();
    send_reply(one, 200, NULL, 1);
}

/* -- in */

static void serve(Connection *one) { /* every whole request in the buffer */
    for (size_t used = 0;;) {
        char *start = one->in.bytes + used, *end;
        size_t left = one->in.length - used, size = 0;
        if (!left || !(end = memmem(start, left, "\r\n\r\n", 4))) {
            memmove(one->in.bytes, start, left);
            one->in.length = left;
            return;
        }
        char action[48] = "";
        for (char *line = memchr(start, '\n', end - start); line && line < end; line = memchr(line + 1, '\n', end - line)) {
            if (!strncasecmp(line + 1, "content-length:", 15)) size = strtoul(line + 16, NULL, 10);
            else if (!strncasecmp(line + 1, "x-amz-target:", 13)) {
                char *dot = memchr(line, '.', end + 1 - line);
                if (dot) sscanf(dot + 1, "%47[A-Za-z]", action);
            }
        }
        size_t whole = end + 4 - start + size;
        if (left < whole) {
            memmove(one->in.bytes, start, left);
            one->in.length = left;
            return;
        }
        char kept = start[whole];
        start[whole] = 0;
        unsigned generation = one->generation;
        if (!strncmp(start, "GET ", 4)) control(one, start + 4);
        else act(one, action, end + 4);
        if (generation != one->generation) return;
        start[whole] = kept;
        used += whole;
    }
}

static void take(Connection *one, uint32_t events) {
    if (events & EPOLLOUT) {
        ssize_t sent = write(one->fd, one->out.bytes + one->sent, one->out.length - one->sent);
        if (sent > 0) one->sent += sent;
        if (one->sent == one->out.length) {
            one->out.length = one->sent = 0;
            watch(one, EPOLLIN, EPOLL_CTL_MOD);
        }
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    Text *in = &one->in;
    if (in->room - in->length < 65536 + 1) {
        in->room = in->room * 2 + 65536 * 2;
        in->bytes = need(realloc(in->bytes, in->room));
    }
    ssize_t got = read(one->fd, in->bytes + in->length, in->room - in->length - 1);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) hang_up(one);
        return;
    }
    in->length += got;
    in->bytes[in->length] = 0;
    serve(one);
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *one = need(calloc(1, sizeof *one)); /* never freed: an answer may still be under way to it */
        one->fd = fd;
        connections++;
        watch(one, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static double next_wake(void) {
    double at = later_head < later_tail ? laters[later_head].at : 1e18;
    for (int number = 0; number < queue_count; number++) {
        Queue *queue = &queues[number];
        for (int index = 0; index < queue->waiting; index++)
            if (queue->waiters[index].until < at) at = queue->waiters[index].until;
        if (queue->waiting)
            for (int index = queue->head; index < queue->count; index++) /* a delay that ends wakes a poll */
                if (!queue->messages[index].is_deleted && queue->messages[index].visible_at < at)
                    at = queue->messages[index].visible_at;
    }
    if (is_open && rate > 0 && made < total && opened_at + (made + 1) / rate < at) at = opened_at + (made + 1) / rate;
    return at;
}

static char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    char *text = need(malloc(1 << 20));
    *length = fread(text, 1, (1 << 20) - 1, file);
    text[*length] = 0;
    fclose(file);
    return text;
}

static void prepare(void) {
    Text json = {0};
    ADD(&json, "\"");
    for (size_t at = 0; at < body_length; at++) {
        unsigned char byte = body[at];
        if (byte == '"' || byte == '\\') say(&json, "\\%c", byte);
        else if (byte < 0x20) say(&json, "\\u%04x", byte);
        else add(&json, body + at, 1);
    }
    ADD(&json, "\"");
    body_json = json.bytes, body_json_length = json.length;
    md5_hex(body, body_length, body_md5);
    mark = strstr(body, MARK), mark_json = strstr(body_json, MARK);
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned seed = 7;
    for (int at = 0; at < HANDLE_LENGTH; at++) filler[at] = digits[(seed = seed * 1103515245 + 12345) >> 16 & 63];
    lease_until = need(calloc(total + 1, sizeof *lease_until));
    is_gone = need(calloc(total + 1, 1)), times = need(calloc(total + 1, 1));
    sent_ns = need(calloc(total + 1, sizeof *sent_ns)), again = need(calloc(total * 4 + 64, sizeof *again));
    if (groups) {
        group_flight = need(calloc(groups, sizeof *group_flight)), group_next = need(calloc(groups, sizeof *group_next));
        for (int group = 0; group < groups; group++) group_next[group] = group;
    }
}

int main(int count, char **words) {
    const char *name = "requests";
    size_t ignored;
    for (int at = 1; at + 1 < count; at += 2) {
        const char *word = words[at], *given_text = words[at + 1];
        if (!strcmp(word, "--queue")) name = given_text;
        else if (!strcmp(word, "--messages")) total = atoll(given_text);
        else if (!strcmp(word, "--body")) body = read_file(given_text, &body_length);
        else if (!strcmp(word, "--attributes")) attributes_json = read_file(given_text, &ignored);
        else if (!strcmp(word, "--attributes-md5")) attributes_md5 = words[at + 1];
        else if (!strcmp(word, "--groups")) groups = atoi(given_text);
        else if (!strcmp(word, "--rate")) rate = atof(given_text);
        else if (!strcmp(word, "--delay-s")) delay_s = atof(given_text);
        else {
            fprintf(stderr, "server: %s is no option; they are at the top of server.c\n", word);
            return 2;
        }
    }
    if (!body) body = need(strdup("")), body_length = 0;
    prepare();
    main_at = (int)(queue_named(name, strlen(name)) - queues);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror("server: listen");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    port = ntohs(address.sin_port);
    printf("%d\n", port);
    fflush(stdout);
    poll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    static Connection at_listener, at_stdin, at_timer;
    at_listener.fd = listener, at_stdin.fd = 0, at_timer.fd = timer_fd;
    watch(&at_listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(&at_stdin, EPOLLIN, EPOLL_CTL_ADD);
    watch(&at_timer, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[256];
        double wake = next_wake();
        if (wake < 1e17) arm(wake > 1e-9 ? wake : 1e-9);
        int ready = epoll_wait(poll_fd, events, 256, -1);
        for (int index = 0; index < ready; index++) {
            Connection *one = events[index].data.ptr;
            char scrap[64];
            if (one == &at_listener) accept_all(listener);
            else if (one == &at_timer) {
                if (read(timer_fd, scrap, 8) < 0) continue;
            } else if (one == &at_stdin) {
                if (read(0, scrap, sizeof scrap) <= 0) return 0;
            } else take(one, events[index].events);
        }
        double at = now();
        while (is_open && rate > 0 && made < total && opened_at + (made + 1) / rate <= at) sent_ns[made++] = monotonic_ns();
        send_due(at);
        if (wake <= at) answer_waiters(at);
    }
}
