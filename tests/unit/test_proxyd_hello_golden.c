/* SPDX-License-Identifier: MIT */
/* The golden ClientHellos (tests/unit/data/hello, written by make.py there), and some thousand mutations of
 * them read by us and by OpenSSL: where OpenSSL sees a name, we see the same one or deny. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/io.h"
#include "proxyd/tls/client_hello.h"

#define HELLOS    "tests/unit/data/hello/"
#define MUTATIONS 400 /* of each hello */

static const struct golden {
    const char *file, *name;
    bool ech;
    size_t behind; /* bytes that are not the hello's any more */
} goldens[] = {
    {"curl", "curl.example.test", false, 0},
    {"openssl", "openssl.example.test", false, 0},
    {"gnutls", "gnutls.example.test", false, 0},
    {"gnutls_tls12", "gnutls.example.test", false, 0},
    {"go", "go.example.test", false, 0},
    {"tiny_records", "go.example.test", false, 0}, /* seven bytes a record */
    {"chromium", "chromium.example.test", true, 0},
    {"chromium_kyber", "kyber.example.test", true, 0}, /* more than one segment */
    {"chromium_padded", "padded.example.test", true, 0},
    {"firefox", "firefox.example.test", false, 0},
    {"early_data", "early.example.test", false, 6 + 205}, /* CCS and 0-RTT data behind it */
};

static void hello_load(const char *name, struct buf *b)
{
    char path[128];
    snprintf(path, sizeof(path), HELLOS "%s", name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    buf_init(b, 1 << 16);
    assert_int_equal(io_read_to_end(fd, b), 0);
    assert_true(b->len > 100);
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        struct client_hello_reader r = {0};
        struct client_hello h = {0};
        hello_load(goldens[i].file, &b);
        size_t whole = b.len - goldens[i].behind;
        for (size_t n = 0; n < whole; n++)
            if (client_hello_read(&r, b.data, n, &h) != CLIENT_HELLO_MORE)
                fail_msg("%s is decided after %zu of %zu bytes", goldens[i].file, n, whole);
        assert_int_equal(client_hello_read(&r, b.data, b.len, &h), CLIENT_HELLO_DONE);
        assert_string_equal(h.server_name.text, goldens[i].name);
        assert_int_equal(h.has_ech, goldens[i].ech);
    }
}

/* ---- beside OpenSSL ---- */

/* What OpenSSL's server makes of these bytes. */
struct seen {
    bool parsed; /* the extensions were good */
    char name[512];
};

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    struct seen *s = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    s->parsed = true;
    snprintf(s->name, sizeof(s->name), "%s", name ? name : "");
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* enough */
}

static void openssl_read(SSL_CTX *ctx, const struct buf *b, struct seen *ret)
{
    *ret = (struct seen){0};
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, ret);
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new_mem_buf(b->data, (int)b->len), *out = BIO_new(BIO_s_mem());
    assert_true(ssl && in && out);
    SSL_set_bio(ssl, in, out);
    (void)SSL_accept(ssl); /* it fails, always: the client says nothing more */
    SSL_free(ssl);
}

static uint32_t next(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

/* One or two small things go wrong. */
static void mutate(const struct buf *in, uint32_t *x, struct buf *out)
{
    buf_init(out, 1 << 16);
    buf_put(out, in->data, in->len);
    for (uint32_t times = 1 + next(x) % 2; times > 0; times--) {
        uint8_t *p = out->data + next(x) % out->len;
        size_t run = 1 + next(x) % 4, left = (size_t)(out->data + out->len - p);
        switch (next(x) % 4) {
        case 0:
            *p = (uint8_t)next(x);
            break;
        case 1:
            *p ^= (uint8_t)(1u << next(x) % 8);
            break;
        case 2: /* another small number: lengths and types */
            *p = (uint8_t)(*p + 1 - 2 * (next(x) & 1));
            break;
        default: /* bytes move down, others take their place */
            if (run < left)
                memmove(p, p + run, left - run);
        }
    }
}

/* Changes that keep the lengths right: the bytes of the name itself. */
static void rename_host(const struct buf *in, const char *name, uint32_t *x, struct buf *out)
{
    static const char bytes[] = "aZ0-._*:\0 \x80/";
    buf_init(out, 1 << 16);
    buf_put(out, in->data, in->len);
    uint8_t *at = memmem(out->data, out->len, name, strlen(name));
    if (at)
        at[next(x) % strlen(name)] = (uint8_t)bytes[next(x) % (sizeof(bytes) - 1)];
}

/* 1: both know the name. */
static unsigned compare(SSL_CTX *ctx, const struct buf *b, const char *file, unsigned round)
{
    struct client_hello_reader r = {0};
    struct client_hello h = {0};
    struct seen theirs;
    struct name name;
    enum client_hello_outcome o = client_hello_read(&r, b->data, b->len, &h);
    openssl_read(ctx, b, &theirs);
    if (o != CLIENT_HELLO_DONE || !theirs.parsed)
        return 0;
    if (name_parse(str_of(theirs.name), NAME_HOST, &name) != NAME_OK ||
        !str_eq(name_str(&name), name_str(&h.server_name)))
        fail_msg("%s, mutation %u: OpenSSL sees \"%s\", we see \"%s\"", file, round, theirs.name,
                 h.server_name.text);
    return 1;
}

static void test_beside_openssl(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    uint32_t x = 2463534242u;
    unsigned agreed = 0;

    (void)state;
    assert_non_null(ctx);
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        hello_load(goldens[i].file, &b);
        assert_int_equal(compare(ctx, &b, goldens[i].file, 0), 1);
        for (unsigned k = 1; k <= MUTATIONS; k++) {
            _cleanup_(buf_done) struct buf m = {0};
            if (k % 4 == 0)
                rename_host(&b, goldens[i].name, &x, &m);
            else
                mutate(&b, &x, &m);
            agreed += compare(ctx, &m, goldens[i].file, k);
        }
    }
    assert_true(agreed > 500); /* else nothing was compared */
    SSL_CTX_free(ctx);
}

/* And the other way round: a hello without a name, to them, is one without a name, or none, to us. */
static void test_no_name(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        _cleanup_(buf_done) struct buf b = {0};
        struct client_hello_reader r = {0};
        struct client_hello h = {0};
        struct seen theirs;
        hello_load(goldens[i].file, &b);
        uint8_t *at = memmem(b.data, b.len, goldens[i].name, strlen(goldens[i].name));
        if (!at) /* spread over records */
            continue;
        at[-9] = 0x7a; /* the extension's type: server_name is another one now */
        at[-8] = 0x7a;
        openssl_read(ctx, &b, &theirs);
        assert_true(theirs.parsed);
        assert_string_equal(theirs.name, "");
        assert_int_equal(client_hello_read(&r, b.data, b.len, &h), CLIENT_HELLO_NO_NAME);
    }
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_beside_openssl),
        cmocka_unit_test(test_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
