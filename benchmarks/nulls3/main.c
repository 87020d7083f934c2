/* A null S3 server: it speaks S3 and keeps everything but the bytes, so that the
   client is what takes the time.

   usage: nulls3 [--port N] [--rtt MS] [--certificate FILE --key FILE]
   It prints its port, and ends when its stdin does. With a certificate it speaks TLS.

   - ETags are real: MD5 of the decoded body, and of the parts' MD5s for multipart uploads.
   - Signatures and checksums are not verified. The checksum that a client states, in a header or
     in an aws-chunked trailer, is returned in later responses. Of a multipart upload the
     CRC64NVME of the whole is put together from those of the parts.
   - CompleteMultipartUpload takes all parts that were sent, whatever its body lists.
   - --rtt adds the round trips for which a client on a network waits: one for a new connection
     (TCP's handshake), one more for TLS 1.3 and two for TLS 1.2 (see tls.c), one before
     "100 Continue" and one before each answer. Bandwidth and windows are not simulated.
   - GET /-/counts answers the number of requests by operation, POST /-/reset sets them to zero, and
     POST /-/fill?prefix=BUCKET/FOLDER/&count=N makes N empty objects. None of these is
     delayed, apart from the handshake of TLS.
*/
#include "nulls3.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static long rtt_ms;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the store */

void wait_round_trip(void) {
    if (rtt_ms > 0) nanosleep(&(struct timespec){rtt_ms / 1000, rtt_ms % 1000 * 1000000}, NULL);
}

/* Serve one request; return whether the connection goes on. */
static bool serve(struct connection *with, EVP_MD_CTX *md5, bool is_new) {
    struct request request = {0};
    struct reply reply = {.status = 200};
    if (!read_head(with, &request)) return false;
    bool is_control = !strncmp(request.name, "-/", 2);
    if (is_new && !is_control) wait_round_trip();
    if (request.expects) {
        wait_round_trip();
        if (!transmit(with, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return false;
    }
    bool goes_on = read_body(with, &request, md5);
    if (goes_on) {
        if (request.body.data) add_bytes(&request.body, "", 1);
        if (!is_control) wait_round_trip();
        pthread_mutex_lock(&lock);
        (is_control ? control : answer)(&request, &reply);
        pthread_mutex_unlock(&lock);
        goes_on = transmit_reply(with, &request, &reply) && !request.closes;
    }
    free(request.body.data), free(reply.headers.data), free(reply.body.data);
    return goes_on;
}

static void *converse(void *argument) {
    struct connection *with = argument;
    EVP_MD_CTX *md5 = EVP_MD_CTX_new();
    bool is_new = !uses_tls(); /* with TLS, the handshake has waited for TCP's */
    if (shake_hands(with))
        for (; serve(with, md5, is_new); is_new = false) continue;
    EVP_MD_CTX_free(md5);
    end_tls(with);
    close(with->socket);
    free(with);
    return NULL;
}

static void *end_with_stdin(void *argument) {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
    exit(0);
    return argument;
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        perror("nulls3");
        exit(1);
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **arguments) {
    const char *certificate = NULL, *key = NULL;
    int port = 0;
    for (int i = 1; i + 1 < count; i += 2) {
        if (!strcmp(arguments[i], "--port")) port = atoi(arguments[i + 1]);
        if (!strcmp(arguments[i], "--rtt")) rtt_ms = atol(arguments[i + 1]);
        if (!strcmp(arguments[i], "--certificate")) certificate = arguments[i + 1];
        if (!strcmp(arguments[i], "--key")) key = arguments[i + 1];
    }
    if (certificate && key) use_tls(certificate, key);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets that the client has closed */
    int listener = listen_on(port);
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 1 << 18);
    pthread_create(&thread, &detached, end_with_stdin, NULL);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) continue;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *with = need(malloc(sizeof *with));
        with->socket = client;
        with->tls = NULL, with->chunks = NULL;
        with->begin = with->end = 0;
        if (pthread_create(&thread, &detached, converse, with)) {
            close(client);
            free(with);
        }
    }
}
