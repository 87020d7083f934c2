/* What S3 does; each function is called with the lock held. */
#include "nulls3.h"

enum { PAGE = 1000 }; /* the most that S3 lists at once */

static void describe(struct text *headers, const struct object *object, bool with_checksum) {
    add(headers, "ETag: \"%s\"\r\n", object->etag);
    if (*object->sse) add(headers, "x-amz-server-side-encryption: %s\r\n", object->sse);
    if (with_checksum && *object->checksum.name)
        add(headers, "%s: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n", object->checksum.name,
            object->checksum.value);
}

static void answer_error(struct reply *reply, int status, const char *code) {
    reply->status = status;
    add(&reply->body, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code);
}

static void put_object(struct request *request, struct reply *reply) {
    struct object *object = find_or_make(request->name);
    set_hex(object->etag, request->md5);
    strcpy(object->sse, request->sse);
    object->size = object->part_size = request->length;
    object->modified = time(NULL);
    object->checksum = request->checksum;
    describe(&reply->headers, object, true);
}

static void create_multipart_upload(struct request *request, struct reply *reply) {
    const struct upload *upload = make_upload(request->sse);
    add(&reply->body, "<InitiateMultipartUploadResult><UploadId>%d</UploadId><Key>", upload->id);
    add_key(&reply->body, request->key, false);
    add_string(&reply->body, "</Key></InitiateMultipartUploadResult>");
}

static void upload_part(struct request *request, struct reply *reply) {
    struct upload *upload = find_upload(query_number(request, "uploadId", 0));
    long number = query_number(request, "partNumber", 0);
    if (!upload || number < 1 || number > MAX_PARTS) {
        answer_error(reply, 404, "NoSuchUpload");
        return;
    }
    struct part *part = &upload->parts[number - 1];
    *part = (struct part){.size = request->length, .sent = true, .checksum = request->checksum};
    memcpy(part->md5, request->md5, sizeof part->md5);
    if (number > upload->last) upload->last = number;
    char etag[33];
    set_hex(etag, request->md5);
    add(&reply->headers, "ETag: \"%s\"\r\n", etag);
    if (*part->checksum.name)
        add(&reply->headers, "%s: %s\r\n", part->checksum.name, part->checksum.value);
}

static void complete_multipart_upload(struct request *request, struct reply *reply) {
    const struct upload *upload = find_upload(query_number(request, "uploadId", 0));
    if (!upload) {
        answer_error(reply, 404, "NoSuchUpload");
        return;
    }
    struct object *object = find_or_make(request->name);
    strcpy(object->sse, upload->sse);
    object->modified = time(NULL);
    object->checksum = (struct checksum){0};
    join_parts(object, upload);
    if (*request->checksum.name) object->checksum = request->checksum;
    drop_upload(upload->id);
    struct text *body = &reply->body;
    add(body, "<CompleteMultipartUploadResult><ETag>\"%s\"</ETag><Key>", object->etag);
    add_key(body, request->key, false);
    add_string(body, "</Key>");
    if (!strcmp(object->checksum.name, "x-amz-checksum-crc64nvme"))
        add(body,
            "<ChecksumCRC64NVME>%s</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>",
            object->checksum.value);
    add_string(body, "</CompleteMultipartUploadResult>");
}

static void abort_multipart_upload(struct request *request, struct reply *reply) {
    drop_upload(query_number(request, "uploadId", 0));
    reply->status = 204;
}

static void look_at_object(struct request *request, struct reply *reply) {
    const struct object *object = find(request->name);
    if (!object) {
        answer_error(reply, 404, "NoSuchKey");
        return;
    }
    char date[64];
    struct tm parts;
    strftime(date, sizeof date, "%a, %d %b %Y %T GMT", gmtime_r(&object->modified, &parts));
    add(&reply->headers, "Last-Modified: %s\r\n", date);
    describe(&reply->headers, object, request->wants_checksum);
    bool one_part = query_number(request, "partNumber", 0) == 1;
    reply->length = one_part ? object->part_size : object->size;
}

static void look_at_bucket(struct request *request, struct reply *reply) {
    (void)request;
    add_string(&reply->headers, "x-amz-bucket-region: us-east-1\r\n");
}

static void add_object(struct text *body, const struct object *object, const char *key, bool url) {
    char date[64];
    struct tm parts;
    strftime(date, sizeof date, "%FT%T.000Z", gmtime_r(&object->modified, &parts));
    add_string(body, "<Contents><Key>");
    add_key(body, key, url);
    add(body, "</Key><LastModified>%s</LastModified><ETag>\"%s\"</ETag><Size>%zu</Size></Contents>",
        date, object->etag, object->size);
}

/* Add everything below a common prefix as that prefix; return the first object after it. */
static struct object *add_prefix(struct text *body, const char *name, size_t size, size_t bucket,
                                 bool url) {
    char after[PARAMETER];
    snprintf(after, sizeof after, "%.*s", (int)size, name);
    add_string(body, "<CommonPrefixes><Prefix>");
    add_key(body, after + bucket, url);
    add_string(body, "</Prefix></CommonPrefixes>");
    after[size - 1]++;
    return seek(after, NULL);
}

static void list_objects(struct request *request, struct reply *reply) {
    char bucket[PARAMETER], prefix[PARAMETER], after[2 * PARAMETER], value[PARAMETER],
        delimiter[PARAMETER];
    size_t size = (size_t)sprintf(bucket, "%.*s/", (int)strcspn(request->name, "/"), request->name);
    query_value(request, "prefix", value);
    size_t prefix_size = (size_t)snprintf(prefix, sizeof prefix, "%s%s", bucket, value);
    query_value(request, "delimiter", delimiter);
    bool url = query_value(request, "encoding-type", value);
    bool follows = query_value(request, "continuation-token", value);
    if (!follows) query_value(request, "start-after", value);
    snprintf(after, sizeof after, "%s%s", bucket, value);
    struct object *at = seek(strcmp(after, prefix) > 0 ? after : prefix, NULL);
    if (at && !follows && !strcmp(at->name, after)) at = at->next[0];
    long limit = query_number(request, "max-keys", PAGE), count = 0;
    if (limit < 0 || limit > PAGE) limit = PAGE;
    struct text *body = &reply->body;
    add_string(body, "<ListBucketResult>");
    for (; at && count < limit && !strncmp(at->name, prefix, prefix_size); count++) {
        char *cut = *delimiter ? strstr(at->name + prefix_size, delimiter) : NULL;
        if (cut) {
            size_t end = (size_t)(cut - at->name) + strlen(delimiter);
            at = add_prefix(body, at->name, end, size, url);
        } else {
            add_object(body, at, at->name + size, url);
            at = at->next[0];
        }
    }
    bool more = at && !strncmp(at->name, prefix, prefix_size);
    if (more) {
        add_string(body, "<NextContinuationToken>");
        add_key(body, at->name + size, false);
        add_string(body, "</NextContinuationToken>");
    }
    if (url) add_string(body, "<EncodingType>url</EncodingType>");
    add(body, "<KeyCount>%ld</KeyCount><IsTruncated>%s</IsTruncated></ListBucketResult>", count,
        more ? "true" : "false");
}

static void delete_object(struct request *request, struct reply *reply) {
    drop(request->name);
    reply->status = 204;
}

static void delete_objects(struct request *request, struct reply *reply) {
    char name[PARAMETER], *at = request->body.data, *end;
    add_string(&reply->body, "<DeleteResult>");
    while (at && (at = strstr(at, "<Key>")) && (end = strstr(at, "</Key>"))) {
        *end = 0;
        decode_xml(at + 5);
        snprintf(name, sizeof name, "%.*s/%s", (int)strcspn(request->name, "/"), request->name,
                 at + 5);
        drop(name);
        at = end + 1;
    }
    add_string(&reply->body, "</DeleteResult>");
}

static void succeed(struct request *request, struct reply *reply) {
    (void)request, (void)reply;
}

static void refuse(struct request *request, struct reply *reply) {
    (void)request;
    answer_error(reply, 501, "NotImplemented");
}

static struct operation {
    const char *method;
    bool on_object;
    const char *parameter; /* that its query has */
    const char *name;
    void (*answer)(struct request *, struct reply *);
    unsigned long count;
} operations[] = {
    /* the first that fits is meant */
    {"PUT", true, "uploadId", "UploadPart", upload_part, 0},
    {"PUT", true, NULL, "PutObject", put_object, 0},
    {"PUT", false, NULL, "CreateBucket", succeed, 0},
    {"HEAD", true, NULL, "HeadObject", look_at_object, 0},
    {"HEAD", false, NULL, "HeadBucket", look_at_bucket, 0},
    {"GET", true, NULL, "GetObject", refuse, 0},
    {"GET", false, NULL, "ListObjectsV2", list_objects, 0},
    {"POST", true, "uploads", "CreateMultipartUpload", create_multipart_upload, 0},
    {"POST", true, "uploadId", "CompleteMultipartUpload", complete_multipart_upload, 0},
    {"POST", false, "delete", "DeleteObjects", delete_objects, 0},
    {"DELETE", true, "uploadId", "AbortMultipartUpload", abort_multipart_upload, 0},
    {"DELETE", true, NULL, "DeleteObject", delete_object, 0},
    {NULL, false, NULL, "other", refuse, 0},
};

static bool fits(const struct operation *operation, const struct request *request) {
    char value[PARAMETER];
    return !operation->method ||
           (!strcmp(request->method, operation->method) &&
            operation->on_object == (*request->key != 0) &&
            (!operation->parameter || query_value(request, operation->parameter, value)));
}

void answer(struct request *request, struct reply *reply) {
    struct operation *operation = operations;
    while (!fits(operation, request)) operation++;
    operation->count++;
    operation->answer(request, reply);
}

static void fill(struct request *request) {
    char prefix[PARAMETER];
    query_value(request, "prefix", prefix);
    EVP_Digest("", 0, request->md5, NULL, EVP_md5(), NULL);
    for (long i = 0, count = query_number(request, "count", 0); i < count; i++) {
        struct reply reply = {0};
        snprintf(request->name, sizeof request->name, "%.4000s%06ld", prefix, i);
        put_object(request, &reply);
        free(reply.headers.data);
    }
}

/* What the benchmark asks of the server itself. */
void control(struct request *request, struct reply *reply) {
    const struct operation *end = operations + sizeof operations / sizeof *operations;
    if (!strcmp(request->key, "fill")) fill(request);
    for (struct operation *operation = operations; operation < end; operation++) {
        const char *before = operation == operations ? "{" : ", ";
        add(&reply->body, "%s\"%s\": %lu", before, operation->name, operation->count);
        if (!strcmp(request->key, "reset")) operation->count = 0;
    }
    add_string(&reply->body, "}");
}
