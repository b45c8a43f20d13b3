/* SPDX-License-Identifier: MIT */
/* Reads the values of tests/unit/data/evidence_fixture.json (made by the script beside it) and of the shared
 * test vectors: strings by name, in the order they stand in the file. Not a JSON parser: these files are
 * known. */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/encoding.h"
#include "common/base/io.h"

#define FIXTURE_FILE    "tests/unit/data/evidence_fixture.json"
#define FIXTURE_VECTORS "../shared/vectors/"

struct fixture {
    struct buf text;
    const char *at; /* the next search begins here */
};

/* False when there is no such file. */
static inline bool fixture_open(struct fixture *f, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    buf_init(&f->text, 4u << 20);
    assert_int_equal(io_read_to_end(fd, &f->text), 0);
    close(fd);
    f->at = buf_cstr(&f->text);
    return true;
}

static inline void fixture_done(struct fixture *f)
{
    buf_done(&f->text);
}

static inline void fixture_rewind(struct fixture *f)
{
    f->at = (const char *)f->text.data;
}

static inline void fixture_unescape(const char *p, struct buf *b)
{
    for (; *p != '"'; p++) {
        unsigned code;

        if (*p != '\\') {
            buf_putc(b, (uint8_t)*p);
            continue;
        }
        switch (*++p) {
        case 'n':
            buf_putc(b, '\n');
            break;
        case 'u':
            assert_int_equal(sscanf(p + 1, "%4x", &code), 1);
            assert_true(code >= 0x800 && code < 0xd800);
            buf_putc(b, (uint8_t)(0xe0 | code >> 12));
            buf_putc(b, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
            buf_putc(b, (uint8_t)(0x80 | (code & 0x3f)));
            p += 4;
            break;
        default:
            buf_putc(b, (uint8_t)*p);
        }
    }
}

/* The next string member with this name, into b (replaced). False when there is none left. */
static inline bool fixture_next(struct fixture *f, const char *name, struct buf *b)
{
    char key[96];
    const char *p;

    (void)snprintf(key, sizeof(key), "\"%s\": \"", name);
    p = strstr(f->at, key);
    if (!p)
        return false;
    p += strlen(key);
    buf_clear(b);
    fixture_unescape(p, b);
    f->at = p;
    return true;
}

/* The same from the start of the file; it must be there. */
static inline struct str fixture_get(struct fixture *f, const char *name, struct buf *b)
{
    fixture_rewind(f);
    assert_true(fixture_next(f, name, b));
    return buf_str(b);
}

static inline void fixture_hex(struct fixture *f, const char *name, uint8_t *ret, size_t n)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    buf_init(&b, 65536);
    assert_int_equal(encoding_hex_get(fixture_get(f, name, &b), ret, n), 0);
}
