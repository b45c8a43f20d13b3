/* SPDX-License-Identifier: MIT */
/* The CloudEvents verifiability extension. Of the published vectors only some follow from the document's own
 * procedure: the core digest of case 5 and the ext digests of 6a, 6b and 7; the core digests of 1 to 4, 6 and
 * 7 do not (1 and 2 even use an older payload). Case 8 says what must be discarded; 8f (a value of an
 * unsupported type) cannot be written in our form, where every signed attribute is a String. */
#include "tests/unit/evidence_fixture.h"

#include "common/evidence/dsse.h"
#include "common/evidence/json_check.h"

#define B64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* The material inside the dssematerial of a case of the vectors file. */
static bool vector_material(struct fixture *f, const char *number, struct buf *ret)
{
    _cleanup_(buf_done) struct buf b64 = {.data = NULL}, dsse = {.data = NULL};
    struct str payload;
    char key[32];

    (void)snprintf(key, sizeof(key), "\"case\": \"%s\"", number);
    buf_init(&b64, 8192);
    buf_init(&dsse, 8192);
    fixture_rewind(f);
    f->at = strstr(f->at, key);
    assert_non_null(f->at);
    assert_true(fixture_next(f, "dssematerial", &b64));
    assert_int_equal(encoding_base64_get(buf_str(&b64), &dsse), 0);
    assert_int_equal(json_check_member(buf_str(&dsse), "payload", &payload), 0);
    buf_clear(ret);
    return encoding_base64_get((struct str){payload.p + 1, payload.len - 2}, ret) == 0;
}

static bool vectors_open(struct fixture *f)
{
    if (fixture_open(f, FIXTURE_VECTORS "cloudevents-verifiability.json"))
        return true;
    print_message("SKIP: %scloudevents-verifiability.json is not here\n", FIXTURE_VECTORS);
    return false;
}

static void test_published_core_of_binary_data(void **state)
{
    struct dsse_event e = {.id = STR_LIT("1"),
                           .source = STR_LIT("example/uri"),
                           .specversion = STR_LIT("1.0"),
                           .type = STR_LIT("example.type.binary"),
                           .datacontenttype = STR_LIT("application/octet-stream"),
                           .data = STR_LIT("\xf0\x9f\xa4\xa1")};
    _cleanup_(buf_done) struct buf text = {.data = NULL}, again = {.data = NULL};
    struct dsse_material m;
    uint8_t core[DIGEST_LEN];
    struct fixture f;

    (void)state;
    if (!vectors_open(&f))
        skip();
    buf_init(&text, 1024);
    buf_init(&again, 1024);
    assert_true(vector_material(&f, "5", &text));
    assert_int_equal(dsse_material_parse(buf_str(&text), &m), 0);
    assert_int_equal(m.nnames, 0);
    dsse_core_digest(&e, core);
    assert_memory_equal(core, m.core, DIGEST_LEN);
    assert_int_equal(dsse_material_render(&m, &again), 0);
    assert_true(str_eq(buf_str(&again), buf_str(&text)));
    fixture_done(&f);
}

static void test_published_ext(void **state)
{
    const struct str values[] = {STR_LIT("value1"), STR_LIT("value2")};
    static const struct {
        const char *number;
        size_t n;
    } cases[] = {{"6a", 1}, {"6b", 1}, {"7", 2}};
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct fixture f;

    (void)state;
    if (!vectors_open(&f))
        skip();
    buf_init(&text, 1024);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dsse_material m;
        uint8_t ext[DIGEST_LEN];

        assert_true(vector_material(&f, cases[i].number, &text));
        while (text.data[text.len - 1] ==
               '=') /* 6a and 6b have a stray padding character behind the object */
            text.len--;
        assert_int_equal(dsse_material_parse(buf_str(&text), &m), 0);
        assert_int_equal(m.nnames, cases[i].n);
        assert_true(str_is(m.names[0], "exta"));
        dsse_ext_digest(values, cases[i].n, ext);
        assert_memory_equal(ext, m.ext, DIGEST_LEN);
    }
    fixture_done(&f);
}

/* Cases 8a to 8e, and spellings of one object that are not ours. */
static void test_discarded(void **state)
{
    static const char *const bad[] = {
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[\"exta\",\"exta\"]}", /* 8a */
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[\"exta\",\"id\"]}",   /* 8b */
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[\"time\"]}",
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[\"dssematerial\"]}", /* 8c */
        "{\"core\":\"" B64 "\",\"signedextattrs\":[\"exta\"]}",                             /* 8d */
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\"}",                                       /* 8e */
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[]}",
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[\"Exta\"]}",
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[\"exta\"",
        "{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[\"exta\",]}",
        "{\"core\":\"" B64 "\" }",
        "{\"core\":\"" B64 "\"}\n",
        "{\"core\":\"AAAA\"}",
        "{\"core\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\"}", /* unused bits set */
        "{\"ext\":\"" B64 "\",\"core\":\"" B64 "\",\"signedextattrs\":[\"exta\"]}",
        "{}",
        "",
    };
    struct dsse_material m;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (dsse_material_parse(str_of(bad[i]), &m) != -EBADMSG)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(
        dsse_material_parse(
            str_of("{\"core\":\"" B64 "\",\"ext\":\"" B64 "\",\"signedextattrs\":[\"exta\"]}"), &m),
        0);
    assert_int_equal(dsse_material_parse(str_of("{\"core\":\"" B64 "\"}"), &m), 0);
}

static void test_signer_refuses_names(void **state)
{
    struct dsse_material m = {.names = {STR_LIT("exta"), STR_LIT("exta")}, .nnames = 2};
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct str many[DSSE_NAMES_MAX + 1];

    (void)state;
    buf_init(&b, 1024);
    assert_int_equal(dsse_material_render(&m, &b), -EINVAL);
    m.names[1] = STR_LIT("subject");
    assert_int_equal(dsse_material_render(&m, &b), -EINVAL);
    m.names[1] = STR_LIT("extb");
    assert_int_equal(dsse_material_render(&m, &b), 0);
    assert_int_equal(dsse_names_check(NULL, 0), -EINVAL);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = STR_LIT("x");
    assert_int_equal(dsse_names_check(many, ARRAY_LEN(many)), -EINVAL);
    assert_int_equal(dsse_names_check(&STR_LIT("abcdefghijklmnopqrstu"), 1), -EINVAL); /* 21 */
    assert_int_equal(dsse_names_check(&STR_LIT("abcdefghijklmnopqrst"), 1), 0);
}

/* An absent attribute counts as the empty byte sequence (Canonical Value Serialization). */
static void test_absent_is_empty(void **state)
{
    const struct str absent[] = {STR_LIT("1"), STR_NONE}, empty[] = {STR_LIT("1"), STR_LIT("")};
    uint8_t a[DIGEST_LEN], b[DIGEST_LEN];

    (void)state;
    dsse_ext_digest(absent, 2, a);
    dsse_ext_digest(empty, 2, b);
    assert_memory_equal(a, b, DIGEST_LEN);
    dsse_ext_digest(absent, 1, b);
    assert_memory_not_equal(a, b, DIGEST_LEN);
}

/* DSSE protocol 1.0.2: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body */
static void test_pae(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    (void)state;
    buf_init(&b, 1024);
    dsse_pae(STR_LIT("{}"), &b);
    assert_true(str_is(buf_str(&b), "DSSEv1 46 https://cloudevents.io/verifiability/dsse/v0.1 2 {}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_core_of_binary_data),
        cmocka_unit_test(test_published_ext),
        cmocka_unit_test(test_discarded),
        cmocka_unit_test(test_signer_refuses_names),
        cmocka_unit_test(test_absent_is_empty),
        cmocka_unit_test(test_pae),
    };

    return digest_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
