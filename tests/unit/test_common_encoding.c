/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/encoding.h"

/* RFC 4648 section 10 */
static const struct {
    const char *plain, *base64;
} rfc[] = {{"", ""},
           {"f", "Zg=="},
           {"fo", "Zm8="},
           {"foo", "Zm9v"},
           {"foob", "Zm9vYg=="},
           {"fooba", "Zm9vYmE="},
           {"foobar", "Zm9vYmFy"}};

static void base64_vectors(void **st)
{
    (void)st;
    for (size_t i = 0; i < ARRAY_LEN(rfc); i++) {
        struct buf b;
        buf_init(&b, strlen(rfc[i].base64));
        encoding_base64_put(&b, rfc[i].plain, strlen(rfc[i].plain));
        assert_int_equal(b.err, 0);
        assert_true(str_is(buf_str(&b), rfc[i].base64));
        buf_done(&b);
        buf_init(&b, strlen(rfc[i].plain));
        assert_int_equal(encoding_base64_get(str_of(rfc[i].base64), &b), 0);
        assert_true(str_is(buf_str(&b), rfc[i].plain));
        buf_done(&b);
    }
}

static void base64_round_trip(void **st)
{
    (void)st;
    uint8_t in[200];
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 151 + 7);
    for (size_t n = 0; n <= sizeof(in); n++) {
        struct buf text, back;
        buf_init(&text, 1000);
        buf_init(&back, 1000);
        encoding_base64_put(&text, in, n);
        assert_int_equal(text.len, (n + 2) / 3 * 4);
        buf_putc(&back, '!'); /* appends */
        assert_int_equal(encoding_base64_get(buf_str(&text), &back), 0);
        assert_int_equal(back.len, n + 1);
        assert_memory_equal(back.data + 1, in, n);
        buf_done(&text);
        buf_done(&back);
    }
}

static void base64_strict(void **st)
{
    (void)st;
    static const char *const bad[] = {
        "Zg",    "Zg=",          "Z",        "Z===",
        "====",  "=Zg=",         "Zg==Zg==", "Zm8=Zm9v", /* padding */
        "Zh==",  "Zm9=",         "Zm8=\n",   " Zm9",
        "Zm 9",  "Zm9v\n\n\n\n", /* unused bits, blanks */
        "Zm-_",  "Zm9%",         "Zm9v====", "\xc3\xa9\xc3\xa9",
        "Zg=\n", "Zg=a",         "Zm9vZg",
    };
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (encoding_base64_get(str_of(bad[i]), &b) != -EBADMSG)
            fail_msg("accepted %s", bad[i]);
        assert_int_equal(b.len, 0);
    }
    assert_int_equal(encoding_base64_get((struct str){"Zm9\0", 4}, &b), -EBADMSG);
    assert_int_equal(b.err, 0);
    buf_done(&b);
    buf_init(&b, 2);
    assert_int_equal(encoding_base64_get(STR_LIT("Zm9v"), &b), -ENOBUFS);
    assert_int_equal(encoding_base64_get(STR_LIT(""), &b), -ENOBUFS); /* sticky */
    buf_done(&b);
}

/* Every byte in every place of a group: accepted if and only if it is a digit, and then with the right value.
 */
static void base64_every_byte(void **st)
{
    (void)st;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned place = 0; place < 4; place++) {
        for (unsigned c = 0; c < 256; c++) {
            char text[] = "AAAAAAAA";
            text[place] = (char)c;
            const char *d = c ? strchr(digits, (int)c) : NULL;
            struct buf b;
            buf_init(&b, 6);
            int r = encoding_base64_get((struct str){text, 8}, &b);
            if (r != (d ? 0 : -EBADMSG))
                fail_msg("byte %u in place %u: %d", c, place, r);
            if (d) {
                assert_int_equal(b.len, 6);
                uint32_t v = (uint32_t)b.data[0] << 16 | (uint32_t)b.data[1] << 8 | b.data[2];
                assert_int_equal(v, (uint32_t)(d - digits) << (18 - 6 * place));
            }
            buf_done(&b);
        }
    }
}

static void hex(void **st)
{
    (void)st;
    uint8_t in[100], out[100];
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 37);
    struct buf b;
    buf_init(&b, 200);
    encoding_hex_put(&b, in, sizeof(in));
    assert_int_equal(b.err, 0);
    assert_int_equal(b.len, 200);
    assert_memory_equal(b.data, "00254a6f94b9de", 14);
    assert_int_equal(encoding_hex_get(buf_str(&b), out, sizeof(out)), 0);
    assert_memory_equal(in, out, sizeof(in));
    buf_done(&b);
}

static void hex_strict(void **st)
{
    (void)st;
    static const char *const bad[] = {"",     "0",    "00",   "000",  "00000", "000000",
                                      "00G0", "00 0", "00A0", "0x00", "000g"};
    uint8_t out[2] = {9, 9};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(encoding_hex_get(str_of(bad[i]), out, 2), -EBADMSG);
    assert_int_equal(out[0], 9);
    assert_int_equal(out[1], 9);
    assert_int_equal(encoding_hex_get(STR_LIT("ffa0"), out, 2), 0);
    assert_int_equal(out[0], 0xFF);
    assert_int_equal(out[1], 0xA0);
    assert_int_equal(encoding_hex_get(STR_LIT(""), out, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_round_trip),
        cmocka_unit_test(base64_strict),
        cmocka_unit_test(base64_every_byte),
        cmocka_unit_test(hex),
        cmocka_unit_test(hex_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
