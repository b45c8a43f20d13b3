/* SPDX-License-Identifier: MIT */
#include "proxyd/dns_events.h"

#include <stdio.h>

#include "common/evidence/digest.h"
#include "proto/codec.h"

/* Shares of LIMIT_EVENT_DATA in JSON bytes; the rest holds the short fields (decisions 40). */
#define ANSWERS_BYTES 24000u
#define REMOVED_BYTES 16000u
#define RECORD_FIXED  52u /* {"name":"","type":"","ttl":4294967295,"data":""}, */
#define REMOVED_FIXED 84u /* {"type":"","data":"","reasonCode":"dns_upstream_failure","why":""}, and room */
#define WHY_MAX       256u
_Static_assert(ANSWERS_BYTES + REMOVED_BYTES + 4096 < LIMIT_EVENT_DATA, "fits");

/* How a cut list shows: the three fields beside it. */
struct cut {
    struct opt_bool truncated;
    struct opt_uint count;
    struct str digest;
    char text[LIMIT_DIGEST + 1];
};

/* The records of one event. proxyd has one thread, and a record is encoded before its claim returns; on the
 * stack they would be cleared for every event (the compiler's hardening). */
static struct {
    struct ev_dns_record answers[DNS_ANSWERS_MAX];
    struct ev_dns_removed removed[DNS_ANSWERS_MAX];
    struct cut answers_cut, removed_cut;
} turn;

/* Bytes of a text in JSON: it is printable ASCII (RFC 1035 section 5.1 escapes), so only these two grow. */
static size_t json_len(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += *s == '"' || *s == '\\' ? 2 : 1;
    return n;
}

/* Count and digest of the complete list, SHA-256 over its encoding. Out of memory: no digest. */
static void cut_at(const struct schema *schema, const void *v, size_t n, size_t shown, struct cut *ret)
{
    _cleanup_(buf_done) struct buf b = {0};
    uint8_t sha[DIGEST_LEN];

    *ret = (struct cut){.digest = STR_NONE};
    if (shown == n)
        return;
    ret->truncated = OPT_BOOL(true);
    ret->count = OPT_UINT(n);
    buf_init(&b, DNS_ANSWERS_MAX * 1024u);
    mp_write_array(&b, n);
    for (size_t i = 0; i < n; i++)
        if (codec_encode(schema, (const char *)v + i * schema->size, &b) < 0)
            return;
    digest_sha256(b.data, b.len, sha);
    memcpy(ret->text, "sha256:", 8);
    for (size_t i = 0; i < DIGEST_LEN; i++)
        (void)snprintf(ret->text + 7 + 2 * i, 3, "%02x", sha[i]);
    ret->digest = str_of(ret->text);
}

static size_t records_of(const struct dns_answer_text *a, size_t n)
{
    size_t used = 0, shown = 0;

    n = n < DNS_ANSWERS_MAX ? n : DNS_ANSWERS_MAX;
    for (size_t i = 0; i < n; i++) {
        turn.answers[i] =
            (struct ev_dns_record){str_of(a[i].name), str_of(a[i].type), a[i].ttl, str_of(a[i].data)};
        used += RECORD_FIXED + json_len(a[i].name) + json_len(a[i].type) + json_len(a[i].data);
        shown += used <= ANSWERS_BYTES;
    }
    cut_at(&schema_ev_dns_record, turn.answers, n, shown, &turn.answers_cut);
    return shown;
}

static size_t removed_of(const struct dns_answer_text *a, size_t n)
{
    size_t used = 0, shown = 0;

    n = n < DNS_ANSWERS_MAX ? n : DNS_ANSWERS_MAX;
    for (size_t i = 0; i < n; i++) {
        turn.removed[i] =
            (struct ev_dns_removed){str_of(a[i].type), str_of(a[i].data), a[i].reason, str_of(a[i].why)};
        used += REMOVED_FIXED + json_len(a[i].type) + json_len(a[i].data) + json_len(a[i].why);
        shown += used <= REMOVED_BYTES;
    }
    cut_at(&schema_ev_dns_removed, turn.removed, n, shown, &turn.removed_cut);
    return shown;
}

static void claim(struct claims *c, enum event_type type, const void *rec, dns_ack_cb ack, void *data)
{
    if (!ack) {
        claims_deny(c, type, rec);
        return;
    }
    int r = claims_allow_held(c, type, rec, ack, data);
    if (r != CLAIMS_WAITS)
        ack(data, r == CLAIMS_GOES ? 0 : r);
}

static void on_query(void *self, const struct dns_query_info *i, dns_ack_cb ack, void *data)
{
    struct ev_dns_query rec = {
        .query_name = str_of(i->name),
        .query_type = str_of(i->type),
        .action = i->allow ? ACTION_ALLOW : ACTION_DENY,
        .reason_code = i->reason,
        .resolver_id = str_of(i->resolver_id),
        .origin = i->own       ? STR_LIT("dial")
                  : i->refresh ? STR_LIT("refresh")
                               : STR_LIT("cell"),
    };

    if (i->allow)
        rec.cached = OPT_BOOL(i->cached);
    if (i->cached) {
        rec.answers.n = records_of(i->answers, i->nanswers);
        rec.answers.v = turn.answers;
        rec.answers_truncated = turn.answers_cut.truncated;
        rec.answers_count = turn.answers_cut.count;
        rec.answers_digest = turn.answers_cut.digest;
    }
    claim(self, EVENT_DNS_QUERY, &rec, ack, data);
}

/* A flag that is not up is absent. */
static struct opt_bool flag(bool up)
{
    return up ? OPT_BOOL(true) : (struct opt_bool){.set = false};
}

static void answer_lists(const struct dns_answer_info *i, struct ev_dns_answer *rec)
{
    rec->answers.n = records_of(i->answers, i->nanswers);
    rec->answers.v = turn.answers;
    rec->answers_truncated = turn.answers_cut.truncated;
    rec->answers_count = turn.answers_cut.count;
    rec->answers_digest = turn.answers_cut.digest;
    if (i->nremoved == 0)
        return;
    rec->removed.n = removed_of(i->removed, i->nremoved);
    rec->removed.v = turn.removed;
    rec->removed_truncated = turn.removed_cut.truncated;
    rec->removed_count = turn.removed_cut.count;
    rec->removed_digest = turn.removed_cut.digest;
}

static void on_answer(void *self, const struct dns_answer_info *i, dns_ack_cb ack, void *data)
{
    char rcode[DNS_RCODE_TEXT_MAX];
    struct ev_dns_answer rec = {
        .query_name = str_of(i->name),
        .query_type = str_of(i->type),
        .response_rcode = str_of(dns_rcode_text(i->rcode, rcode)),
        .reason_code = i->reason,
        .ech_removed = flag(i->ech_removed),
        .hints_removed = flag(i->hints_removed),
        .stale = flag(i->stale),
        .synthetic = flag(i->synthetic),
        .dnssec_status = i->dnssec,
        .resolver_id = str_of(i->resolver_id),
        .latency_micros = i->latency_us,
    };

    answer_lists(i, &rec);
    claim(self, EVENT_DNS_ANSWER, &rec, ack, data);
}

static void on_gap(void *self, const struct dns_gap_info *i)
{
    claims_lost(self, GAP_DNS, i->lost);
}

static void on_authority(void *self, const struct dns_authority_info *i)
{
    static const enum event_type types[_DNS_AUTHORITY_EVENT_MAX] = {
        [DNS_AUTHORITY_DRIFT] = EVENT_DNS_DRIFT,
        [DNS_AUTHORITY_REBIND_THRESHOLD] = EVENT_DNS_REBIND_THRESHOLD,
        [DNS_AUTHORITY_REBIND_REJECTED] = EVENT_DNS_REBIND_REJECTED,
        [DNS_AUTHORITY_DNSSEC_FAILED] = EVENT_DNS_DNSSEC_FAILED,
    };
    struct str addresses[DNS_ANSWERS_MAX];
    size_t n = i->naddresses < DNS_ANSWERS_MAX ? i->naddresses : DNS_ANSWERS_MAX;
    struct ev_dns_authority rec = {
        .resolver_id = str_of(i->resolver_id),
        .hostname = str_of(i->name),
        .query_type = str_of(i->type),
        .previous_digest = str_of(i->previous),
        .current_digest = str_of(i->current),
        .dnssec_status = i->dnssec,
        .why = str_of(i->why),
    };

    for (size_t k = 0; k < n; k++)
        addresses[k] = str_of(i->addresses[k]);
    if (n > 0) {
        rec.addresses.v = addresses;
        rec.addresses.n = n;
    }
    if (i->counted) {
        rec.novel_addresses = OPT_UINT(i->novel);
        rec.max_novel = OPT_UINT(i->max_novel);
    }
    if (rec.why.len > WHY_MAX)
        rec.why.len = WHY_MAX;
    claims_deny(self, types[i->event], &rec);
}

const struct dns_events dns_events_claims = {on_query, on_answer, on_gap, on_authority};
