/* What the parts of the server share. */
#pragma once

#define _GNU_SOURCE
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { BUFFER = 1 << 18, NAME = 4096, PARAMETER = 2 * NAME, LEVELS = 20, MAX_PARTS = 10000 };

struct text {
    char *data;
    size_t size, capacity;
};

struct checksum {
    char name[32]; /* of its header; empty where none was stated */
    char value[96];
};

struct object {
    char etag[48], sse[64];
    size_t size, part_size;
    time_t modified;
    struct checksum checksum;
    struct object *next[LEVELS];
    char name[]; /* "bucket/key" */
};

struct part {
    unsigned char md5[16];
    size_t size;
    bool sent;
    struct checksum checksum;
};

struct upload {
    int id;
    char sse[64];
    long last; /* number of the last part */
    struct part *parts;
    struct upload *next;
};

struct connection {
    int socket;
    SSL *tls; /* NULL where the connection is plain */
    struct connection *chunks; /* where the bytes come from, in chunks of HTTP; else NULL */
    size_t chunk_left;
    size_t begin, end;
    char buffer[BUFFER + 1];
};

struct request {
    char method[8], name[PARAMETER], query[PARAMETER], sse[64];
    const char *key; /* within the name */
    size_t length;   /* of the body as sent, then as decoded */
    bool chunked, aws_chunked, expects, closes, wants_checksum;
    struct checksum checksum;
    unsigned char md5[16];
    struct text body; /* of a POST */
};

struct reply {
    int status;
    struct text headers, body;
    size_t length; /* of an object that a HEAD tells of */
};

/* text.c */
void *need(void *memory);
void add_bytes(struct text *text, const char *bytes, size_t size);
void add(struct text *text, const char *format, ...);
void add_string(struct text *text, const char *string);
void add_key(struct text *text, const char *key, bool as_url);
void decode_url(char *string, bool plus_is_space);
void decode_xml(char *string);

/* store.c */
void state_checksum(struct checksum *checksum, const char *name, const char *value);
struct object *seek(const char *name, struct object **before);
struct object *find(const char *name);
struct object *find_or_make(const char *name);
void drop(const char *name);
struct upload *make_upload(const char *sse);
struct upload *find_upload(long id);
void join_parts(struct object *object, const struct upload *upload);
void drop_upload(long id);
void set_hex(char *out, const unsigned char *digest);

/* http.c */
bool transmit(struct connection *to, const char *bytes, size_t size);
bool read_head(struct connection *from, struct request *request);
bool read_body(struct connection *from, struct request *request, EVP_MD_CTX *md5);
bool transmit_reply(struct connection *to, const struct request *request,
                    const struct reply *reply);
bool query_value(const struct request *request, const char *name, char *value);
long query_number(const struct request *request, const char *name, long otherwise);

/* tls.c */
void use_tls(const char *certificate, const char *key);
bool uses_tls(void);
bool shake_hands(struct connection *with);
void end_tls(struct connection *with);

/* main.c */
void wait_round_trip(void);

/* operations.c */
void answer(struct request *request, struct reply *reply);
void control(struct request *request, struct reply *reply);
