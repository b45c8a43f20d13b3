/* SPDX-License-Identifier: MIT */
/* A cell's DNS events as claims: what is in the records, and how long lists are cut (decisions 40). The
 * claims end here. */
#include "tests/unit/test_proxyd_dns_rig.h"

#include "common/evidence/digest.h"
#include "proto/codec.h"
#include "proxyd/dns_events.h"

static struct {
    enum event_type type;
    bool denied;
    int result; /* of claims_allow_held */
    struct buf body;
    struct arena arena;
    union {
        struct ev_dns_query query;
        struct ev_dns_answer answer;
        struct ev_dns_authority authority;
    } rec;
} got;

/* As signerd sees it: encoded and decoded. */
static void take(enum event_type type, const void *rec)
{
    const struct schema *schema = event_row(type)->data;

    got.type = type;
    buf_done(&got.body);
    arena_done(&got.arena);
    buf_init(&got.body, LIMIT_CLAIM_BODY);
    arena_init(&got.arena, LIMIT_ARENA);
    assert_int_equal(codec_encode(schema, rec, &got.body), 0);
    assert_int_equal(codec_decode_all(schema, buf_str(&got.body), &got.arena, &got.rec), 0);
}

int claims_allow_held(struct claims *e, enum event_type type, const void *rec, claims_ack ack, void *data)
{
    (void)e;
    (void)ack;
    (void)data;
    take(type, rec);
    return got.result;
}

void claims_deny(struct claims *e, enum event_type type, const void *rec)
{
    (void)e;
    take(type, rec);
    got.denied = true;
}

static uint64_t lost;

void claims_lost(struct claims *e, enum gap_cause cause, uint64_t n)
{
    (void)e;
    assert_int_equal(cause, GAP_DNS);
    lost += n;
}

static int acked; /* 1: not at all */

static void on_ack(void *data, int result)
{
    (void)data;
    acked = result;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&got.body);
    arena_done(&got.arena);
    memset(&got, 0, sizeof(got));
    acked = 1;
    return 0;
}

static void a_query_says_who_asked(void **state)
{
    struct dns_query_info info = {.name = "www.example.com",
                                  .type = "A",
                                  .allow = true,
                                  .reason = DNS_ALLOWLIST_MATCH,
                                  .resolver_id = "up"};

    (void)state;
    got.result = CLAIMS_GOES;
    dns_events_claims.query(NULL, &info, on_ack, NULL);
    assert_int_equal(got.type, EVENT_DNS_QUERY);
    assert_int_equal(acked, 0);
    assert_true(str_is(got.rec.query.origin, "cell") && got.rec.query.cached.set && !got.rec.query.cached.v);
    assert_null(got.rec.query.answers.v);
    info.own = true;
    got.result = -EDQUOT;
    dns_events_claims.query(NULL, &info, on_ack, NULL);
    assert_int_equal(acked, -EDQUOT);
    assert_true(str_is(got.rec.query.origin, "dial"));
    info.own = false;
    info.refresh = true;
    acked = 1;
    got.result = CLAIMS_WAITS;
    dns_events_claims.query(NULL, &info, on_ack, NULL);
    assert_int_equal(acked, 1);
    assert_true(str_is(got.rec.query.origin, "refresh"));
}

static void flags_are_absent_unless_they_are_up(void **state)
{
    struct dns_answer_info info = {
        .name = "www.example.com", .type = "A", .reason = DNS_ALLOWLIST_MATCH, .resolver_id = "up"};

    (void)state;
    dns_events_claims.answer(NULL, &info, on_ack, NULL);
    assert_false(got.rec.answer.ech_removed.set || got.rec.answer.hints_removed.set ||
                 got.rec.answer.stale.set || got.rec.answer.synthetic.set || got.rec.answer.dnssec_status ||
                 got.rec.answer.answers_truncated.set || got.rec.answer.removed_truncated.set);
    info.ech_removed = info.hints_removed = info.stale = info.synthetic = true;
    info.dnssec = DNSSEC_SECURE;
    dns_events_claims.answer(NULL, &info, NULL, NULL);
    assert_true(got.denied);
    assert_true(got.rec.answer.ech_removed.v && got.rec.answer.hints_removed.v && got.rec.answer.stale.v &&
                got.rec.answer.synthetic.v);
    assert_int_equal(got.rec.answer.dnssec_status, DNSSEC_SECURE);
}

/* Bytes in JSON, written out by hand. */
static size_t quoted(struct str s)
{
    size_t n = 2;

    for (size_t i = 0; i < s.len; i++)
        n += s.p[i] == '\\' || s.p[i] == '"' ? 2 : 1;
    return n;
}

static size_t json_size(const struct ev_dns_answer *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->answers.n; i++)
        n += strlen("{\"name\":,\"type\":,\"ttl\":4294967295,\"data\":},") + quoted(a->answers.v[i].name) +
             quoted(a->answers.v[i].type) + quoted(a->answers.v[i].data);
    for (size_t i = 0; i < a->removed.n; i++)
        n += strlen("{\"type\":,\"data\":,\"reasonCode\":,\"why\":},") + quoted(a->removed.v[i].type) +
             quoted(a->removed.v[i].data) + quoted(a->removed.v[i].why) +
             quoted(str_of(enum_text(&enum_dns_reason_code, (uint32_t)a->removed.v[i].reason_code)));
    return n;
}

static void digest_is_of_all(struct str digest, const struct dns_answer_text *a, size_t n)
{
    char text[LIMIT_DIGEST + 1] = "sha256:";
    uint8_t sha[DIGEST_LEN];
    struct buf b;

    buf_init(&b, 1 << 20);
    mp_write_array(&b, n);
    for (size_t i = 0; i < n; i++) {
        struct ev_dns_record r = {str_of(a[i].name), str_of(a[i].type), a[i].ttl, str_of(a[i].data)};
        assert_int_equal(codec_encode(&schema_ev_dns_record, &r, &b), 0);
    }
    digest_sha256(b.data, b.len, sha);
    buf_done(&b);
    for (size_t i = 0; i < DIGEST_LEN; i++)
        (void)snprintf(text + 7 + 2 * i, 3, "%02x", sha[i]);
    assert_true(str_is(digest, text));
}

static void long_lists_are_cut_at_whole_entries(void **state)
{
    static struct dns_answer_text all[DNS_ANSWERS_MAX];
    char name[DNS_NAME_TEXT_MAX], data[DNS_NAME_TEXT_MAX];
    struct dns_answer_info info = {
        .name = "www.example.com", .type = "ANY", .reason = DNS_ALLOWLIST_MATCH, .resolver_id = "up"};

    (void)state;
    memset(name, 'n', sizeof(name));
    memset(data, '\\', sizeof(data)); /* two bytes each in JSON */
    name[LIMIT_HOSTNAME] = data[LIMIT_HOSTNAME] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] =
            (struct dns_answer_text){name, "TYPE65280", data, UINT32_MAX, DNS_REBIND_REJECTED, "private"};
    info.answers = info.removed = all;
    info.nanswers = info.nremoved = ARRAY_LEN(all);
    dns_events_claims.answer(NULL, &info, on_ack, NULL);
    assert_in_range(got.rec.answer.answers.n, 20, ARRAY_LEN(all) - 1);
    assert_in_range(got.rec.answer.removed.n, 20, ARRAY_LEN(all) - 1);
    assert_in_range(json_size(&got.rec.answer), 30000, LIMIT_EVENT_DATA - 4096);
    assert_true(got.rec.answer.answers_truncated.v && got.rec.answer.removed_truncated.v);
    assert_int_equal(got.rec.answer.answers_count.v, ARRAY_LEN(all));
    assert_int_equal(got.rec.answer.removed_count.v, ARRAY_LEN(all));
    digest_is_of_all(got.rec.answer.answers_digest, all, ARRAY_LEN(all));
    assert_int_equal(got.rec.answer.removed_digest.len, LIMIT_DIGEST);
    /* the same of a cached query */
    struct dns_query_info query = {.name = "www.example.com",
                                   .type = "ANY",
                                   .allow = true,
                                   .cached = true,
                                   .reason = DNS_ALLOWLIST_MATCH,
                                   .answers = all,
                                   .nanswers = ARRAY_LEN(all)};
    dns_events_claims.query(NULL, &query, on_ack, NULL);
    assert_true(got.rec.query.answers_truncated.v);
    assert_int_equal(got.rec.query.answers_count.v, ARRAY_LEN(all));
    digest_is_of_all(got.rec.query.answers_digest, all, ARRAY_LEN(all));
    /* and the next one is not cut */
    query.nanswers = 2;
    dns_events_claims.query(NULL, &query, on_ack, NULL);
    assert_int_equal(got.rec.query.answers.n, 2);
    assert_false(got.rec.query.answers_truncated.set || got.rec.query.answers_count.set);
    assert_null(got.rec.query.answers_digest.p);
}

static void authority_events_are_told_apart(void **state)
{
    static const enum event_type types[] = {EVENT_DNS_DRIFT, EVENT_DNS_REBIND_THRESHOLD,
                                            EVENT_DNS_REBIND_REJECTED, EVENT_DNS_DNSSEC_FAILED};
    static const char *const addresses[] = {"93.184.216.34", "2606:2800:220:1::1"};
    char why[400];
    struct dns_authority_info info = {
        .resolver_id = "up", .name = "www.example.com", .type = "A", .addresses = addresses, .naddresses = 2};

    (void)state;
    memset(why, 'w', sizeof(why));
    why[sizeof(why) - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        info.event = (enum dns_authority_event)i;
        info.counted = i == DNS_AUTHORITY_REBIND_THRESHOLD;
        info.novel = 3;
        info.max_novel = 2;
        info.why = i == DNS_AUTHORITY_DNSSEC_FAILED ? why : NULL;
        dns_events_claims.authority(NULL, &info);
        assert_int_equal(got.type, types[i]);
        assert_true(got.denied);
        assert_true(str_is(got.rec.authority.hostname, "www.example.com"));
        assert_int_equal(got.rec.authority.addresses.n, 2);
        assert_int_equal(got.rec.authority.novel_addresses.set, info.counted);
        assert_int_equal(got.rec.authority.why.len, info.why ? 256 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_query_says_who_asked, teardown, teardown),
        cmocka_unit_test_setup_teardown(flags_are_absent_unless_they_are_up, teardown, teardown),
        cmocka_unit_test_setup_teardown(long_lists_are_cut_at_whole_entries, teardown, teardown),
        cmocka_unit_test_setup_teardown(authority_events_are_told_apart, teardown, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
