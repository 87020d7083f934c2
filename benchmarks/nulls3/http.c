/* Requests come in, replies go out. */
#include "nulls3.h"

#include <sys/socket.h>

static ssize_t receive_from_chunks(struct connection *from, char *bytes, size_t size);

static ssize_t receive_some(struct connection *from, char *bytes, size_t size) {
    if (from->chunks) return receive_from_chunks(from, bytes, size);
    if (from->tls) return SSL_read(from->tls, bytes, (int)size);
    return recv(from->socket, bytes, size, 0);
}

static ssize_t transmit_some(struct connection *to, const char *bytes, size_t size) {
    if (to->tls) return SSL_write(to->tls, bytes, (int)(size < BUFFER ? size : BUFFER));
    return send(to->socket, bytes, size, MSG_NOSIGNAL);
}

static bool receive(struct connection *from) {
    if (from->begin == from->end) from->begin = from->end = 0;
    if (from->end == BUFFER) {
        if (!from->begin) return false;
        memmove(from->buffer, from->buffer + from->begin, from->end - from->begin);
        from->end -= from->begin, from->begin = 0;
    }
    ssize_t size = receive_some(from, from->buffer + from->end, BUFFER - from->end);
    if (size > 0) from->end += (size_t)size;
    return size > 0;
}

bool transmit(struct connection *to, const char *bytes, size_t size) {
    while (size) {
        ssize_t sent = transmit_some(to, bytes, size);
        if (sent <= 0) return false;
        bytes += sent, size -= (size_t)sent;
    }
    return true;
}

/* Return the next line, which stays valid until more is read. */
static char *read_line(struct connection *from) {
    for (;;) {
        char *line = from->buffer + from->begin;
        char *end = memmem(line, from->end - from->begin, "\r\n", 2);
        if (end) {
            *end = 0;
            from->begin = (size_t)(end + 2 - from->buffer);
            return line;
        }
        if (!receive(from)) return NULL;
    }
}

/* Receive what is in the chunks of `Transfer-Encoding: chunked`; return 0 after the last one. */
static ssize_t receive_from_chunks(struct connection *from, char *bytes, size_t size) {
    struct connection *outer = from->chunks;
    if (!from->chunk_left) {
        char *line = read_line(outer);
        if (line && !*line) line = read_line(outer); /* the end of the chunk before */
        if (!line) return -1;
        from->chunk_left = strtoul(line, NULL, 16);
        if (!from->chunk_left) return read_line(outer) ? 0 : -1;
    }
    if (outer->begin == outer->end && !receive(outer)) return -1;
    size_t here = outer->end - outer->begin;
    if (here > from->chunk_left) here = from->chunk_left;
    if (here > size) here = size;
    memcpy(bytes, outer->buffer + outer->begin, here);
    outer->begin += here, from->chunk_left -= here;
    return (ssize_t)here;
}

static bool read_bytes(struct connection *from, size_t size, EVP_MD_CTX *md5, struct text *kept) {
    while (size) {
        if (from->begin == from->end && !receive(from)) return false;
        size_t here = from->end - from->begin < size ? from->end - from->begin : size;
        if (kept)
            add_bytes(kept, from->buffer + from->begin, here);
        else
            EVP_DigestUpdate(md5, from->buffer + from->begin, here);
        from->begin += here, size -= here;
    }
    return true;
}

/* Split "name: value"; return the value. */
static char *split_header(char *line) {
    char *value = strchr(line, ':');
    if (!value) return line + strlen(line);
    *value++ = 0;
    return value + strspn(value, " ");
}

static void read_header(struct request *request, char *line) {
    const char *value = split_header(line);
    if (!strcasecmp(line, "content-length"))
        request->length = strtoul(value, NULL, 10);
    else if (!strcasecmp(line, "transfer-encoding"))
        request->chunked = !strcasecmp(value, "chunked");
    else if (!strcasecmp(line, "x-amz-content-sha256"))
        request->aws_chunked |= !strncmp(value, "STREAMING-", 10);
    else if (!strcasecmp(line, "content-encoding"))
        request->aws_chunked |= strstr(value, "aws-chunked") != NULL;
    else if (!strcasecmp(line, "expect"))
        request->expects = true;
    else if (!strcasecmp(line, "connection"))
        request->closes = !strcasecmp(value, "close");
    else if (!strcasecmp(line, "x-amz-checksum-mode"))
        request->wants_checksum = !strcasecmp(value, "ENABLED");
    else if (!strcasecmp(line, "x-amz-server-side-encryption"))
        snprintf(request->sse, sizeof request->sse, "%s", value);
    else
        state_checksum(&request->checksum, line, value);
}

bool read_head(struct connection *from, struct request *request) {
    char target[PARAMETER], *line = read_line(from);
    if (!line || sscanf(line, "%7s %8191s", request->method, target) != 2) return false;
    while ((line = read_line(from)) && *line) read_header(request, line);
    char *path = target + strspn(target, "/"), *query = strchr(path, '?');
    if (query) {
        *query++ = 0;
        strcpy(request->query, query);
    }
    decode_url(path, false);
    strcpy(request->name, path);
    char *slash = strchr(request->name, '/');
    request->key = slash ? slash + 1 : "";
    return line != NULL;
}

/* Read a body in chunks of AWS, each with its size before it, and the trailers after the last. */
static bool read_chunks(struct connection *from, struct request *request, EVP_MD_CTX *md5) {
    char *line;
    request->length = 0;
    while ((line = read_line(from))) {
        size_t size = strtoul(line, NULL, 16);
        if (!size) break;
        if (!read_bytes(from, size, md5, NULL) || !read_line(from)) return false;
        request->length += size;
    }
    while (line && (line = read_line(from)) && *line)
        state_checksum(&request->checksum, line, split_header(line));
    return line != NULL;
}

static bool read_any_body(struct connection *from, struct request *request, EVP_MD_CTX *md5) {
    struct text *kept = strcmp(request->method, "POST") ? NULL : &request->body;
    return request->aws_chunked ? read_chunks(from, request, md5)
                                : read_bytes(from, request->length, md5, kept);
}

/* Read a body in chunks of HTTP. In each, as boto3 sends them over TLS, are chunks of AWS. */
static bool read_http_chunks(struct connection *from, struct request *request, EVP_MD_CTX *md5) {
    struct connection *body = need(malloc(sizeof *body));
    body->chunks = from;
    body->begin = body->end = body->chunk_left = 0;
    bool success = request->aws_chunked && read_any_body(body, request, md5);
    success = success && receive_from_chunks(body, body->buffer, 1) == 0;
    free(body);
    return success;
}

bool read_body(struct connection *from, struct request *request, EVP_MD_CTX *md5) {
    EVP_DigestInit_ex(md5, EVP_md5(), NULL);
    if (!(request->chunked ? read_http_chunks : read_any_body)(from, request, md5)) return false;
    EVP_DigestFinal_ex(md5, request->md5, NULL);
    return true;
}

bool transmit_reply(struct connection *to, const struct request *request,
                    const struct reply *reply) {
    struct text all = {0};
    bool is_head = !strcmp(request->method, "HEAD");
    size_t length = reply->length ? reply->length : reply->body.size;
    add(&all, "HTTP/1.1 %d %s\r\nServer: null\r\nx-amz-request-id: 1\r\n", reply->status,
        reply->status < 300 ? "OK" : "Error");
    add_bytes(&all, reply->headers.data, reply->headers.size);
    if (reply->body.size) add_string(&all, "Content-Type: application/xml\r\n");
    if (reply->status != 204) add(&all, "Content-Length: %zu\r\n", length);
    add_string(&all, "\r\n");
    if (!is_head) add_bytes(&all, reply->body.data, reply->body.size);
    bool sent = transmit(to, all.data, all.size);
    free(all.data);
    return sent;
}

/* Copy the value of a parameter of the query; return whether there is one. */
bool query_value(const struct request *request, const char *name, char *value) {
    size_t size = strlen(name);
    *value = 0;
    for (const char *at = request->query; at; at = strchr(at, '&')) {
        at += *at == '&';
        if (strncmp(at, name, size) || (at[size] && !strchr("=&", at[size]))) continue;
        if (at[size] == '=') {
            size_t length = strcspn(at + size + 1, "&");
            memcpy(value, at + size + 1, length);
            value[length] = 0;
            decode_url(value, true);
        }
        return true;
    }
    return false;
}

long query_number(const struct request *request, const char *name, long otherwise) {
    char value[PARAMETER];
    return query_value(request, name, value) ? atol(value) : otherwise;
}
