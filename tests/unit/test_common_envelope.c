/* SPDX-License-Identifier: MIT */
/* One event, one spelling: against a line made by an independent script. */
#include "tests/unit/evidence_fixture.h"

#include "common/base/clock.h"
#include "common/evidence/json_check.h"
#include "common/evidence/keyring.h"
#include "common/evidence/merkle.h"

static struct fixture fixture;
static uint8_t secret[ED25519_SECRET_LEN], public[ED25519_PUBLIC_LEN];
static struct keyring ring;

static struct envelope sample(void)
{
    return (struct envelope){
        .id = STR_LIT("0198c0de-0000-7000-8000-000000000002"),
        .source = STR_LIT("/cellos/proxyd/host-1"),
        .type = STR_LIT("dev.cellos.events.cell.observability.v1.dns_query"),
        .subject = STR_LIT("urn:cellos:cell:web-1"),
        .time = STR_LIT("2026-11-23T05:10:00Z"),
        .runid = STR_LIT("0198c0de-0000-7000-8000-000000000001"),
        .data = STR_LIT(
            "{\"cellId\":\"web-1\",\"specId\":\"web-1\",\"runId\":\"0198c0de-0000-7000-8000-000000000001\","
            "\"queryName\":\"example.test\",\"queryType\":\"A\",\"action\":\"allow\","
            "\"reasonCode\":\"dns_allowlist_match\"}"),
        .sequence = 7,
        .cellsequence = 3,
    };
}

static int seal(const struct envelope *e, struct buf *line)
{
    _cleanup_(buf_done) struct buf material = {.data = NULL}, pae = {.data = NULL};
    char keyid[ENVELOPE_KEYID_LEN + 1];
    uint8_t sig[ED25519_SIG_LEN];

    buf_init(&material, 4096);
    buf_init(&pae, 4096);
    assert_int_equal(envelope_material(e, &material), 0);
    dsse_pae(buf_str(&material), &pae);
    ed25519_sign(secret, pae.data, pae.len, sig);
    envelope_keyid(public, keyid);
    return envelope_render(e, buf_str(&material), str_of(keyid), sig, line);
}

static int check(struct str line)
{
    struct envelope_line l;
    int r = envelope_parse(line, &l);

    return r == ENVELOPE_OK ? envelope_verify(line, &l, &ring) : r;
}

static void test_independent_line(void **state)
{
    _cleanup_(buf_done) struct buf want = {.data = NULL}, got = {.data = NULL}, material = {.data = NULL},
                                   text = {.data = NULL};
    struct envelope e = sample();
    struct envelope_line l;
    uint8_t leaf[DIGEST_LEN], want_leaf[DIGEST_LEN];

    (void)state;
    buf_init(&want, 65536);
    buf_init(&got, 65536);
    buf_init(&material, 4096);
    buf_init(&text, 4096);
    assert_int_equal(envelope_material(&e, &material), 0);
    assert_true(str_eq(buf_str(&material), fixture_get(&fixture, "material", &text)));
    assert_int_equal(seal(&e, &got), 0);
    assert_true(str_eq(buf_str(&got), fixture_get(&fixture, "line", &want)));
    assert_int_equal(check(buf_str(&want)), ENVELOPE_OK);
    merkle_leaf(want.data, want.len, leaf);
    fixture_hex(&fixture, "leaf", want_leaf, DIGEST_LEN);
    assert_memory_equal(leaf, want_leaf, DIGEST_LEN);
    assert_int_equal(envelope_parse(buf_str(&want), &l), ENVELOPE_OK);
    assert_int_equal(l.e.sequence, 7);
    assert_int_equal(l.e.cellsequence, 3);
    assert_true(str_eq(l.e.data, e.data));
    assert_true(str_eq(l.e.subject, e.subject));
}

static void test_every_flipped_bit_is_seen(void **state)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL};

    (void)state;
    buf_init(&line, 65536);
    (void)fixture_get(&fixture, "line", &line);
    for (size_t i = 0; i < line.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            line.data[i] ^= (uint8_t)(1u << bit);
            if (check(buf_str(&line)) == ENVELOPE_OK)
                fail_msg("bit %u of byte %zu is not covered", bit, i);
            line.data[i] ^= (uint8_t)(1u << bit);
        }
    for (size_t n = 0; n < line.len; n++)
        assert_int_not_equal(check((struct str){(const char *)line.data, n}), ENVELOPE_OK);
}

static void replace(struct buf *line, const char *from, const char *to)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    const char *p = strstr(buf_cstr(line), from);

    assert_non_null(p);
    buf_init(&b, 65536);
    buf_put(&b, line->data, (size_t)(p - (const char *)line->data));
    buf_puts(&b, to);
    buf_puts(&b, p + strlen(from));
    buf_clear(line);
    buf_put_str(line, buf_str(&b));
}

/* The same event spelled otherwise: a CloudEvents verifier would take all of these, this log has one form. */
static void test_other_spellings(void **state)
{
    static const char *const spellings[][2] = {
        {"{\"specversion\"", "{ \"specversion\""},
        {"\"time\":\"2026-11-23T05:10:00Z\"", "\"time\":\"2026-11-23T05:10:00.0Z\""},
        {"\"time\":\"2026-11-23T05:10:00Z\"", "\"time\":\"2026-11-23T06:10:00+01:00\""},
        {"\"data\":{", "\"data\": {"},
        {"\"queryType\":\"A\"", "\"queryType\":\"\\u0041\""},
        {"\"queryType\":\"A\"", "\"queryType\": \"A\""},
        {"\"sequence\":\"00000000000000000007\"", "\"sequence\":\"7\""},
        {"\"dssematerial\"", "\"extra\":\"x\",\"dssematerial\""},
        {"\"}", "\"}\n"},
        {"\"}", "\"} "},
    };
    _cleanup_(buf_done) struct buf line = {.data = NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
        buf_init(&line, 65536);
        (void)fixture_get(&fixture, "line", &line);
        if (i >= 8) { /* at the end */
            line.len -= 2;
            buf_puts(&line, spellings[i][1]);
        } else {
            replace(&line, spellings[i][0], spellings[i][1]);
        }
        if (check(buf_str(&line)) == ENVELOPE_OK)
            fail_msg("accepted: %s", spellings[i][1]);
        buf_done(&line);
    }
}

static void test_another_key(void **state)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL};
    uint8_t seed[32] = {9}, other[32], unused[64];
    struct envelope_line l;
    struct keyring foreign;
    struct vkey k;

    (void)state;
    buf_init(&line, 65536);
    (void)fixture_get(&fixture, "line", &line);
    ed25519_from_seed(seed, other, unused);
    assert_int_equal(envelope_parse(buf_str(&line), &l), ENVELOPE_OK);
    vkey_from_public(other, &k);
    keyring_one(&foreign, &k);
    assert_int_equal(envelope_verify(buf_str(&line), &l, &foreign), ENVELOPE_E_KEY);
}

/* The key is the line's own; at which times it counts, to the second. */
static void test_the_keys_time(void **state)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL};
    struct envelope e = sample();
    struct keyring_key *k = &ring.key[0];
    uint64_t when;

    (void)state;
    buf_init(&line, 65536);
    assert_int_equal(seal(&e, &line), 0);
    assert_int_equal(clock_parse_rfc3339(e.time, &when), 0);
    k->not_before_s = k->not_after_s = when;
    k->revoked_s = when + 1;
    assert_int_equal(check(buf_str(&line)), ENVELOPE_OK);
    k->revoked_s = when;
    assert_int_equal(check(buf_str(&line)), ENVELOPE_E_REVOKED);
    k->revoked_s = 0;
    k->not_before_s = when + 1;
    k->not_after_s = 0;
    assert_int_equal(check(buf_str(&line)), ENVELOPE_E_TIME);
    k->not_before_s = 0;
    k->not_after_s = when - 1;
    assert_int_equal(check(buf_str(&line)), ENVELOPE_E_TIME);
    k->not_after_s = 0;
}

/* Signed by the right key, but over the digests of another event. */
static void test_signed_digests_of_another(void **state)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL};
    struct envelope a = sample();

    (void)state;
    buf_init(&line, 65536);
    assert_int_equal(seal(&a, &line), 0);
    replace(&line, "host-1", "host-2");
    assert_int_equal(check(buf_str(&line)), ENVELOPE_E_DIGEST);
}

static void test_log_events(void **state)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL};
    struct envelope e = sample();

    (void)state;
    buf_init(&line, 65536);
    e.subject = e.runid = STR_NONE;
    assert_int_equal(seal(&e, &line), -EINVAL); /* all or none */
    e.cellsequence = 0;
    assert_int_equal(seal(&e, &line), 0);
    assert_int_equal(check(buf_str(&line)), ENVELOPE_OK);
    assert_null(strstr(buf_cstr(&line), "runid\":"));
}

static void test_bad_attributes(void **state)
{
    struct envelope e;

    (void)state;
#define BAD(member, value)                                                                                   \
    e = sample();                                                                                            \
    e.member = value;                                                                                        \
    assert_int_equal(envelope_check(&e), -EINVAL)
    BAD(id, STR_LIT("0198c0de-0000-4000-8000-000000000002"));
    BAD(source, STR_LIT("/cellos/\"/x"));
    BAD(source, STR_LIT(""));
    BAD(type, STR_LIT("a\\b"));
    BAD(type, STR_LIT("a b"));
    BAD(subject, STR_LIT("urn:\xc3\xa4"));
    BAD(time, STR_LIT("2026-02-30T00:00:00Z"));
    BAD(runid, STR_NONE);
    BAD(cellsequence, 0);
#undef BAD
    e = sample();
    assert_int_equal(envelope_check(&e), 0);
}

static void test_limits(void **state)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL}, data = {.data = NULL};
    struct envelope e = sample();

    (void)state;
    buf_init(&line, 1u << 20);
    buf_init(&data, 1u << 20);
    buf_puts(&data, "{\"x\":\"");
    while (data.len < ENVELOPE_DATA_MAX - 2)
        buf_putc(&data, 'a');
    buf_puts(&data, "\"}");
    e.data = buf_str(&data);
    assert_int_equal(seal(&e, &line), 0);
    assert_true(line.len < ENVELOPE_LINE_MAX);
    assert_int_equal(check(buf_str(&line)), ENVELOPE_OK);
    data.len -= 2;
    buf_puts(&data, "a\"}");
    e.data = buf_str(&data);
    assert_int_equal(seal(&e, &line), -EMSGSIZE);
}

static void test_json(void **state)
{
    static const char *const good[] = {
        "{\"a\":\"\xc2\xa0\xc3\x9f\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x82\xac\xe3\x80\xae\"}",
        "{}",
        "{\"a\":1}",
        "{\"a\":-1,\"b\":[],\"c\":{},\"d\":[1,2,{\"e\":[null,true,false]}]}",
        "{\"\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00ff\"}",
        "{\"\xc3\xa4\":0}",
        "{\"a\":\"}\"}",
    };
    static const char *const bad[] = {
        "",
        "{",
        "}",
        "[]",
        "1",
        "\"a\"",
        "{}{}",
        "{} ",
        " {}",
        "{ }",
        "{\"a\" :1}",
        "{\"a\":1,}",
        "{\"a\":,}",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":1.0}",
        "{\"a\":1e3}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":tru}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 ,2]}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\x7f\"}",
        "{\"a\":\"\xc2\x80\"}",
        "{\"a\":\"\xc2\x9f\"}",
        "{\"a\":\"\xe2\x80\xa8\"}",
        "{\"a\":\"\xe2\x80\xae\"}",
        "{\"\xe2\x81\xa6\":1}",
        "{\"a\":[}",
        "{\"a\":{]}",
        "{\"a\"}",
        "{\"a\":1",
        "{\"a\":\"",
    };
    char deep[200] = "";
    struct str value;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!json_check_object(str_of(good[i])))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (json_check_object(str_of(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    for (unsigned n = 1; n <= JSON_CHECK_DEPTH + 1; n++) {
        deep[0] = '\0';
        for (unsigned i = 0; i + 1 < n; i++)
            strcat(deep, "{\"a\":");
        strcat(deep, "{}");
        for (unsigned i = 0; i + 1 < n; i++)
            strcat(deep, "}");
        assert_int_equal(json_check_object(str_of(deep)), n <= JSON_CHECK_DEPTH);
    }
    assert_int_equal(json_check_member(str_of("{\"a\":{\"b\":1},\"b\":\"x,\\\"y\"}"), "b", &value), 0);
    assert_true(str_is(value, "\"x,\\\"y\""));
    assert_int_equal(json_check_member(str_of("{\"a\":{\"b\":1}}"), "b", &value), -ENOENT);
    assert_int_equal(json_check_member(str_of("{}"), "b", &value), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_independent_line), cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_other_spellings),  cmocka_unit_test(test_another_key),
        cmocka_unit_test(test_the_keys_time),    cmocka_unit_test(test_signed_digests_of_another),
        cmocka_unit_test(test_log_events),       cmocka_unit_test(test_bad_attributes),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_json),
    };
    uint8_t seed[32];

    if (digest_init() < 0 || ed25519_init() < 0 || !fixture_open(&fixture, FIXTURE_FILE)) {
        fprintf(stderr, "%s is missing\n", FIXTURE_FILE);
        return 1;
    }
    fixture_hex(&fixture, "seed", seed, sizeof(seed));
    ed25519_from_seed(seed, public, secret);
    struct vkey k;
    vkey_from_public(public, &k);
    keyring_one(&ring, &k);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_done(&fixture);
    return r;
}
