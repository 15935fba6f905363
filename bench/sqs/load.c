/* How fast the server is: `load PORT QUEUE CONNECTIONS` receives and deletes in tens until the queue is empty, with no
 * more work than that, and prints messages and seconds. The queue must be open already.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FIELD "\"ReceiptHandle\":\""
#define ROOM (1 << 18)

typedef struct {
    int fd, has_handles, is_done, count;
    char handles[16384];
    size_t length;
} Line;

static char answer[ROOM + 1];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void ask(int fd, const char *action, const char *body, size_t length) {
    static char whole[32768];
    int head = snprintf(whole, sizeof whole,
                        "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-target: "
                        "AmazonSQS.%s\r\nx-amz-date: 20261124T060000Z\r\ncontent-length: %zu\r\nauthorization: "
                        "AWS4-HMAC-SHA256 Credential=bench/20261124/us-east-1/sqs/aws4_request, SignedHeaders=content-type;"
                        "host;x-amz-date;x-amz-target, Signature=%064d\r\n\r\n",
                        action, length, 0);
    memcpy(whole + head, body, length);
    if (write(fd, whole, head + length) != (ssize_t)(head + length)) fail("load: write");
}

static size_t hear(int fd) { /* reads a whole answer; where its body begins */
    size_t length = 0, whole = 0, start = 0;
    while (!whole || length < whole) {
        ssize_t got = read(fd, answer + length, ROOM - length);
        if (got <= 0) fail("load: read");
        answer[length += got] = 0;
        char *end = whole ? NULL : strstr(answer, "\r\n\r\n");
        if (end) {
            start = end + 4 - answer;
            whole = start + strtoul(strcasestr(answer, "content-length:") + 15, NULL, 10);
        }
    }
    return start;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int lines = atoi(argv[3]), left = lines;
    long long messages = 0;
    char receive[512];
    Line *all = calloc(lines, sizeof *all);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int at = 0; at < lines; at++) {
        int on = 1;
        all[at].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(all[at].fd, (struct sockaddr *)&address, sizeof address)) fail("load: connect");
        setsockopt(all[at].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    int length = snprintf(receive, sizeof receive,
                          "{\"QueueUrl\":\"http://127.0.0.1/000000000000/%s\",\"MaxNumberOfMessages\":10,\"WaitTimeSeconds\":0,"
                          "\"VisibilityTimeout\":60,\"MessageSystemAttributeNames\":[\"SentTimestamp\",\"ApproximateReceiveCount\"]}",
                          argv[2]);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    while (left) {
        for (int at = 0; at < lines; at++) {
            Line *line = &all[at];
            if (line->is_done) continue;
            if (line->has_handles) ask(line->fd, "DeleteMessageBatch", line->handles, line->length);
            else ask(line->fd, "ReceiveMessage", receive, length);
        }
        for (int at = 0; at < lines; at++) {
            Line *line = &all[at];
            if (line->is_done) continue;
            size_t start = hear(line->fd);
            if (line->has_handles) {
                messages += line->count;
                line->has_handles = 0;
                continue;
            }
            line->count = 0;
            line->length = snprintf(line->handles, sizeof line->handles,
                                    "{\"QueueUrl\":\"http://127.0.0.1/000000000000/%s\",\"Entries\":[", argv[2]);
            for (char *found = answer + start; (found = strstr(found, FIELD)); line->count++) {
                found += sizeof FIELD - 1;
                line->length += snprintf(line->handles + line->length, sizeof line->handles - line->length,
                                         "%s{\"Id\":\"%d\",\"ReceiptHandle\":\"%.*s\"}", line->count ? "," : "", line->count,
                                         (int)strcspn(found, "\""), found);
            }
            line->length += snprintf(line->handles + line->length, sizeof line->handles - line->length, "]}");
            if (line->count) line->has_handles = 1;
            else line->is_done = 1, left--;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%lld %.6f\n", messages, to.tv_sec - from.tv_sec + (to.tv_nsec - from.tv_nsec) / 1e9);
    return 0;
}
