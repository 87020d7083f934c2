/* What is kept: objects in byte order, and multipart uploads on their way. */
#include "nulls3.h"

/* Checksums as clients state them. */

void state_checksum(struct checksum *checksum, const char *name, const char *value) {
    static const char *const names[] = {"crc64nvme", "crc32", "crc32c", "sha1", "sha256"};
    if (strncasecmp(name, "x-amz-checksum-", 15)) return;
    for (int i = 0; i < 5; i++)
        if (!strcasecmp(name + 15, names[i])) {
            snprintf(checksum->name, sizeof checksum->name, "x-amz-checksum-%s", names[i]);
            snprintf(checksum->value, sizeof checksum->value, "%s", value);
        }
}

/* Multiply two polynomials modulo that of CRC64NVME; the highest bit is x to the power of 0. */
static uint64_t multiply(uint64_t a, uint64_t b) {
    uint64_t product = 0;
    for (uint64_t bit = 1ull << 63; bit; bit >>= 1) {
        if (a & bit) product ^= b;
        b = b & 1 ? b >> 1 ^ 0x9a6c9329ac4bc9b5ull : b >> 1;
    }
    return product;
}

/* Return the CRC of something followed by `size` bytes whose own CRC is `next`. */
static uint64_t combine(uint64_t crc, uint64_t next, uint64_t size) {
    uint64_t square = 1ull << 55; /* x to the power of 8: one byte */
    for (; size; size >>= 1, square = multiply(square, square))
        if (size & 1) crc = multiply(crc, square);
    return crc ^ next;
}

static uint64_t crc_of(const struct checksum *checksum) {
    unsigned char bytes[sizeof checksum->value] = {0};
    uint64_t crc = 0;
    EVP_DecodeBlock(bytes, (const unsigned char *)checksum->value, (int)strlen(checksum->value));
    for (int i = 0; i < 8; i++) crc = crc << 8 | bytes[i];
    return crc;
}

static void set_crc(struct checksum *checksum, uint64_t crc) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(crc >> (56 - 8 * i));
    strcpy(checksum->name, "x-amz-checksum-crc64nvme");
    EVP_EncodeBlock((unsigned char *)checksum->value, bytes, 8);
}

/* Objects, in a skip list: in byte order at all times, whatever their number. */

static struct object head; /* precedes every object */

/* Return the first object that is not before `name`; `before` are the last ones that are. */
struct object *seek(const char *name, struct object **before) {
    struct object *at = &head;
    for (int level = LEVELS - 1; level >= 0; level--) {
        while (at->next[level] && strcmp(at->next[level]->name, name) < 0) at = at->next[level];
        if (before) before[level] = at;
    }
    return at->next[0];
}

struct object *find(const char *name) {
    struct object *object = seek(name, NULL);
    return object && !strcmp(object->name, name) ? object : NULL;
}

struct object *find_or_make(const char *name) {
    static uint32_t random = 1;
    struct object *before[LEVELS], *object = seek(name, before);
    if (object && !strcmp(object->name, name)) return object;
    object = need(calloc(1, sizeof *object + strlen(name) + 1));
    strcpy(object->name, name);
    random ^= random << 13, random ^= random >> 17, random ^= random << 5;
    for (int level = 0; level < LEVELS; level++) {
        object->next[level] = before[level]->next[level];
        before[level]->next[level] = object;
        if (random >> (level + 4) & 1) break;
    }
    return object;
}

void drop(const char *name) {
    struct object *before[LEVELS], *object = seek(name, before);
    if (!object || strcmp(object->name, name)) return;
    for (int level = 0; level < LEVELS && before[level]->next[level] == object; level++)
        before[level]->next[level] = object->next[level];
    free(object);
}

/* Multipart uploads on their way. */

static struct upload *uploads;

struct upload *make_upload(const char *sse) {
    static int last;
    struct upload *upload = need(calloc(1, sizeof *upload));
    upload->parts = need(calloc(MAX_PARTS, sizeof *upload->parts));
    upload->id = ++last;
    strcpy(upload->sse, sse);
    upload->next = uploads;
    return uploads = upload;
}

struct upload *find_upload(long id) {
    struct upload *upload = uploads;
    while (upload && upload->id != id) upload = upload->next;
    return upload;
}

void drop_upload(long id) {
    struct upload **at = &uploads, *upload;
    while (*at && (*at)->id != id) at = &(*at)->next;
    if (!(upload = *at)) return;
    *at = upload->next;
    free(upload->parts);
    free(upload);
}

void set_hex(char *out, const unsigned char *digest) {
    for (int i = 0; i < 16; i++) sprintf(out + 2 * i, "%02x", digest[i]);
}

/* Make an object of the parts that were sent. */
void join_parts(struct object *object, const struct upload *upload) {
    EVP_MD_CTX *md5 = EVP_MD_CTX_new();
    unsigned char digest[16];
    uint64_t crc = 0;
    int count = 0, with_crc = 0;
    EVP_DigestInit_ex(md5, EVP_md5(), NULL);
    object->size = 0;
    for (const struct part *part = upload->parts; part < upload->parts + upload->last; part++) {
        if (!part->sent) continue;
        if (!count++) object->part_size = part->size;
        EVP_DigestUpdate(md5, part->md5, sizeof part->md5);
        object->size += part->size;
        if (strcmp(part->checksum.name, "x-amz-checksum-crc64nvme")) continue;
        crc = combine(crc, crc_of(&part->checksum), part->size);
        with_crc++;
    }
    EVP_DigestFinal_ex(md5, digest, NULL);
    EVP_MD_CTX_free(md5);
    set_hex(object->etag, digest);
    sprintf(object->etag + 32, "-%d", count);
    if (count && with_crc == count) set_crc(&object->checksum, crc);
}
