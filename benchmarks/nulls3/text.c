/* Texts that grow, and the ways in which texts are written. */
#include "nulls3.h"

void *need(void *memory) {
    if (!memory) abort();
    return memory;
}

void add_bytes(struct text *text, const char *bytes, size_t size) {
    if (text->size + size > text->capacity) {
        text->capacity = 2 * (text->size + size);
        text->data = need(realloc(text->data, text->capacity));
    }
    memcpy(text->data + text->size, bytes, size);
    text->size += size;
}

void add(struct text *text, const char *format, ...) {
    char *line;
    va_list values;
    va_start(values, format);
    int size = vasprintf(&line, format, values);
    va_end(values);
    if (size < 0) abort();
    add_bytes(text, line, (size_t)size);
    free(line);
}

void add_string(struct text *text, const char *string) {
    add_bytes(text, string, strlen(string));
}

static bool is_plain(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-_.~/", c));
}

/* Add a key as XML, or as S3 writes it for encoding-type=url. */
void add_key(struct text *text, const char *key, bool as_url) {
    for (; *key; key++) {
        if (is_plain((unsigned char)*key))
            add_bytes(text, key, 1);
        else if (as_url)
            add(text, "%%%02X", (unsigned char)*key);
        else if (strchr("&<>\"\r\n", *key))
            add(text, "&#%d;", *key);
        else
            add_bytes(text, key, 1);
    }
}

void decode_url(char *string, bool plus_is_space) {
    char *out = string;
    for (; *string; string++) {
        if (*string == '%' && string[1] && string[2]) {
            *out++ = (char)strtol((char[]){string[1], string[2], 0}, NULL, 16);
            string += 2;
        } else {
            *out++ = *string == '+' && plus_is_space ? ' ' : *string;
        }
    }
    *out = 0;
}

void decode_xml(char *string) {
    static const char *const entities[] = {"&amp;", "&", "&lt;", "<", "&gt;", ">", "&quot;", "\""};
    for (char *at = string; (at = strchr(at, '&')); at++)
        for (int i = 0; i < 8; i += 2) {
            size_t size = strlen(entities[i]);
            if (strncmp(at, entities[i], size)) continue;
            *at = *entities[i + 1];
            memmove(at + 1, at + size, strlen(at + size) + 1);
            break;
        }
}
