/* SPDX-License-Identifier: MIT */
#include "common/evidence/envelope.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/encoding.h"
#include "common/base/num.h"
#include "common/evidence/json_check.h"
#include "common/evidence/keyring.h"

/* Everything that comes before the quoted values, in order; the parser and the writer share it. */
#define ENVELOPE_HEAD         "{\"specversion\":\"1.0\",\"id\":\""
#define ENVELOPE_SOURCE       "\",\"source\":\""
#define ENVELOPE_TYPE         "\",\"type\":\""
#define ENVELOPE_SUBJECT_KEY  "\",\"subject\":\""
#define ENVELOPE_TIME         "\",\"time\":\""
#define ENVELOPE_SEQUENCE     "\",\"datacontenttype\":\"application/json\",\"sequence\":\""
#define ENVELOPE_CELLSEQUENCE "\",\"cellsequence\":\""
#define ENVELOPE_RUNID        "\",\"runid\":\""
#define ENVELOPE_DATA         "\",\"data\":"
#define ENVELOPE_DSSE         ",\"dssematerial\":\""
#define ENVELOPE_TAIL         "\"}"
#define ENVELOPE_DSSE_MAX     2048 /* base64 of the DSSE envelope: constant length in practice, about 1.1 KiB */

static const char *const envelope_errors[_ENVELOPE_E_MAX] = {
    [ENVELOPE_OK] = "ok",
    [ENVELOPE_E_FORM] = "the line is not an event in the form of this log",
    [ENVELOPE_E_DATA] = "data is not one compact JSON object",
    [ENVELOPE_E_KEY] = "signed under another key",
    [ENVELOPE_E_SIGNATURE] = "the signature does not verify",
    [ENVELOPE_E_DIGEST] = "the signed digests are not those of this event",
    [ENVELOPE_E_TIME] = "its time is outside the validity of the key that signed it",
    [ENVELOPE_E_REVOKED] = "the key that signed it was revoked by then",
    [ENVELOPE_E_UNSIGNED] = "it has no signature of its own",
    [ENVELOPE_E_ELSEWHERE] = "it was not written behind the lines before it",
};

const char *envelope_error_text(int error)
{
    return error >= 0 && error < _ENVELOPE_E_MAX ? envelope_errors[error] : "internal error";
}

/* Attribute values need no JSON escaping because these bytes are all they may hold. */
static bool envelope_attr_ok(struct str s, size_t max)
{
    if (!s.p || s.len == 0 || s.len > max)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

int envelope_check(const struct envelope *e)
{
    bool cell = e->subject.p != NULL;
    uint64_t when;

    if (!uuid_v7_valid(e->id) || !envelope_attr_ok(e->source, ENVELOPE_ATTR_MAX) ||
        !envelope_attr_ok(e->type, ENVELOPE_ATTR_MAX) || clock_parse_rfc3339(e->time, &when) < 0)
        return -EINVAL;
    if (cell != (e->runid.p != NULL) || cell != (e->cellsequence > 0))
        return -EINVAL;
    if (cell && (!envelope_attr_ok(e->subject, ENVELOPE_ATTR_MAX) || !uuid_v7_valid(e->runid)))
        return -EINVAL;
    return 0;
}

/* The 20 digits of a sequence, or the absent string for 0 cellsequence. */
static struct str envelope_digits(uint64_t v, char dst[static ENVELOPE_SEQUENCE_LEN + 1])
{
    for (size_t i = ENVELOPE_SEQUENCE_LEN; i-- > 0; v /= 10)
        dst[i] = (char)('0' + v % 10);
    dst[ENVELOPE_SEQUENCE_LEN] = '\0';
    return (struct str){dst, ENVELOPE_SEQUENCE_LEN};
}

int envelope_material(const struct envelope *e, struct buf *b)
{
    char sequence[ENVELOPE_SEQUENCE_LEN + 1], cellsequence[ENVELOPE_SEQUENCE_LEN + 1];
    struct dsse_event d = {
        .id = e->id,
        .source = e->source,
        .specversion = STR_LIT("1.0"),
        .type = e->type,
        .datacontenttype = STR_LIT("application/json"),
        .subject = e->subject,
        .time = e->time,
        .data = e->data,
    };
    struct str values[] = {
        envelope_digits(e->sequence, sequence),
        e->cellsequence ? envelope_digits(e->cellsequence, cellsequence) : STR_NONE,
        e->runid,
    };
    struct dsse_material m = {
        .names = {STR_LIT("sequence"), STR_LIT("cellsequence"), STR_LIT("runid")},
        .nnames = ARRAY_LEN(values),
    };

    dsse_core_digest(&d, m.core);
    dsse_ext_digest(values, ARRAY_LEN(values), m.ext);
    return dsse_material_render(&m, b);
}

/* Inline, as envelope_take(): the keys are literals whose lengths the compiler knows. */
static inline __attribute__((always_inline)) void envelope_put(struct buf *b, const char *key,
                                                               struct str value)
{
    buf_put(b, key, strlen(key));
    buf_put_str(b, value);
}

/* Everything up to and with data. */
static void envelope_put_event(const struct envelope *e, struct buf *b)
{
    char digits[ENVELOPE_SEQUENCE_LEN + 1];

    envelope_put(b, ENVELOPE_HEAD, e->id);
    envelope_put(b, ENVELOPE_SOURCE, e->source);
    envelope_put(b, ENVELOPE_TYPE, e->type);
    if (e->subject.p)
        envelope_put(b, ENVELOPE_SUBJECT_KEY, e->subject);
    envelope_put(b, ENVELOPE_TIME, e->time);
    envelope_put(b, ENVELOPE_SEQUENCE, envelope_digits(e->sequence, digits));
    if (e->subject.p) {
        envelope_put(b, ENVELOPE_CELLSEQUENCE, envelope_digits(e->cellsequence, digits));
        envelope_put(b, ENVELOPE_RUNID, e->runid);
    }
    envelope_put(b, ENVELOPE_DATA, e->data);
}

int envelope_render_bare(const struct envelope *e, struct buf *b)
{
    size_t start = b->len;

    if (envelope_check(e) < 0)
        return -EINVAL;
    if (e->data.len > ENVELOPE_DATA_MAX)
        return -EMSGSIZE;
    envelope_put_event(e, b);
    buf_putc(b, '}');
    if (b->err)
        return b->err;
    return b->len - start > ENVELOPE_LINE_MAX - ENVELOPE_SEAL_MAX ? -EMSGSIZE : 0;
}

int envelope_seal(struct str bare, struct str material, struct str keyid,
                  const uint8_t sig[static ED25519_SIG_LEN], struct buf *b)
{
    _cleanup_(buf_done) struct buf dsse = {.data = NULL};
    size_t start = b->len;

    buf_init(&dsse, ENVELOPE_DSSE_MAX);
    if (bare.len == 0)
        return -EINVAL;
    dsse_envelope_render(material, keyid, sig, ED25519_SIG_LEN, &dsse);
    if (dsse.err)
        return dsse.err;
    buf_put(b, bare.p, bare.len - 1);
    buf_puts(b, ENVELOPE_DSSE);
    encoding_base64_put(b, dsse.data, dsse.len);
    buf_puts(b, ENVELOPE_TAIL);
    if (b->err)
        return b->err;
    return b->len - start > ENVELOPE_LINE_MAX ? -EMSGSIZE : 0;
}

int envelope_render(const struct envelope *e, struct str material, struct str keyid,
                    const uint8_t sig[static ED25519_SIG_LEN], struct buf *b)
{
    _cleanup_(buf_done) struct buf bare = {.data = NULL};
    int r;

    buf_init(&bare, ENVELOPE_LINE_MAX);
    r = envelope_render_bare(e, &bare);
    return r < 0 ? r : envelope_seal(buf_str(&bare), material, keyid, sig, b);
}

/* key, then everything up to the next quote into *ret. */
static inline __attribute__((always_inline)) bool envelope_take(struct str *s, const char *key,
                                                                struct str *ret)
{
    size_t n = strlen(key);
    const char *end;

    if (s->len < n || memcmp(s->p, key, n) != 0)
        return false;
    end = s->len > n ? memchr(s->p + n, '"', s->len - n) : NULL;
    if (!end)
        return false;
    *ret = (struct str){s->p + n, (size_t)(end - (s->p + n))};
    *s = (struct str){end, s->len - (size_t)(end - s->p)};
    return true;
}

static bool envelope_take_sequence(struct str *s, const char *key, uint64_t *ret)
{
    struct str digits;
    size_t zeros = 0;

    if (!envelope_take(s, key, &digits) || digits.len != ENVELOPE_SEQUENCE_LEN)
        return false;
    while (zeros < ENVELOPE_SEQUENCE_LEN - 1 && digits.p[zeros] == '0')
        zeros++;
    return num_parse_u64((struct str){digits.p + zeros, digits.len - zeros}, 0, UINT64_MAX, ret) == 0;
}

static bool envelope_take_attributes(struct str *s, struct envelope *e)
{
    if (!envelope_take(s, ENVELOPE_HEAD, &e->id) || !envelope_take(s, ENVELOPE_SOURCE, &e->source) ||
        !envelope_take(s, ENVELOPE_TYPE, &e->type))
        return false;
    if (!envelope_take(s, ENVELOPE_SUBJECT_KEY, &e->subject))
        e->subject = STR_NONE;
    if (!envelope_take(s, ENVELOPE_TIME, &e->time) ||
        !envelope_take_sequence(s, ENVELOPE_SEQUENCE, &e->sequence))
        return false;
    if (e->subject.p)
        return envelope_take_sequence(s, ENVELOPE_CELLSEQUENCE, &e->cellsequence) &&
               envelope_take(s, ENVELOPE_RUNID, &e->runid);
    return true;
}

/* data, and dssematerial if there is one. That comes last and holds no quote: it is found from the end,
 * whatever data contains. data is an object: a bare line ends in two braces, a sealed one in quote and brace.
 */
static bool envelope_take_end(struct str s, struct envelope_line *l)
{
    const size_t tail = sizeof(ENVELOPE_TAIL) - 1, key = sizeof(ENVELOPE_DSSE) - 1;
    const char *quote;

    if (s.len < tail || s.p[s.len - 1] != '}')
        return false;
    if (s.p[s.len - 2] == '}') {
        l->dssematerial = STR_NONE;
        l->e.data = (struct str){s.p, s.len - 1};
        return true;
    }
    if (s.p[s.len - 2] != '"')
        return false;
    s.len -= tail;
    quote = s.len ? memrchr(s.p, '"', s.len) : NULL;
    if (!quote)
        return false;
    l->dssematerial = (struct str){quote + 1, s.len - (size_t)(quote + 1 - s.p)};
    s.len -= l->dssematerial.len;
    if (s.len < key || memcmp(s.p + s.len - key, ENVELOPE_DSSE, key) != 0)
        return false;
    l->e.data = (struct str){s.p, s.len - key};
    return true;
}

int envelope_parse(struct str line, struct envelope_line *ret)
{
    struct envelope_line l = {.e = {.subject = STR_NONE}};
    struct str s = line;
    const size_t tail = sizeof(ENVELOPE_TAIL) - 1, data = sizeof(ENVELOPE_DATA) - 1;

    if (line.len > ENVELOPE_LINE_MAX || !envelope_take_attributes(&s, &l.e))
        return ENVELOPE_E_FORM;
    if (s.len < data + tail || memcmp(s.p, ENVELOPE_DATA, data) != 0)
        return ENVELOPE_E_FORM;
    s = (struct str){s.p + data, s.len - data};
    if (!envelope_take_end(s, &l) || envelope_check(&l.e) < 0 || l.dssematerial.len > ENVELOPE_DSSE_MAX)
        return ENVELOPE_E_FORM;
    if (l.e.data.len > ENVELOPE_DATA_MAX || !json_check_object(l.e.data))
        return ENVELOPE_E_DATA;
    *ret = l;
    return ENVELOPE_OK;
}

void envelope_keyid(const uint8_t public[static ED25519_PUBLIC_LEN], char *dst)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t d[DIGEST_LEN];

    digest_sha256(public, ED25519_PUBLIC_LEN, d);
    memcpy(dst, "sha256:", 7);
    for (size_t i = 0; i < DIGEST_LEN; i++) {
        dst[7 + 2 * i] = hex[d[i] >> 4];
        dst[8 + 2 * i] = hex[d[i] & 15];
    }
    dst[ENVELOPE_KEYID_LEN] = '\0';
}

/* The two variable texts of a DSSE envelope in our one spelling. */
struct envelope_dsse {
    struct str payload;
    struct str keyid;
    struct str sig;
};

static bool envelope_dsse_parse(struct str s, struct envelope_dsse *ret)
{
    struct envelope_dsse d;

    if (!envelope_take(&s, "{\"payload\":\"", &d.payload) ||
        !envelope_take(&s, "\",\"payloadType\":\"" DSSE_PAYLOAD_TYPE "\",\"signatures\":[{\"keyid\":\"",
                       &d.keyid) ||
        !envelope_take(&s, "\",\"sig\":\"", &d.sig) || !str_is(s, "\"}]}"))
        return false;
    *ret = d;
    return true;
}

static int envelope_judge_time(const struct keyring_key *key, const struct envelope *e)
{
    uint64_t when;

    if (clock_parse_rfc3339(e->time, &when) < 0)
        return ENVELOPE_E_FORM;
    switch (keyring_judge(key, when)) {
    case KEYRING_OK:
        return ENVELOPE_OK;
    case KEYRING_REVOKED:
        return ENVELOPE_E_REVOKED;
    default:
        return ENVELOPE_E_TIME;
    }
}

/* dssematerial decoded, once. */
struct envelope_seal_parts {
    struct buf dsse, payload, sig;
    struct envelope_dsse d; /* borrowed from dsse */
};

static void envelope_seal_done(struct envelope_seal_parts *p)
{
    buf_done(&p->dsse);
    buf_done(&p->payload);
    buf_done(&p->sig);
}

static int envelope_seal_parse(struct str dssematerial, struct envelope_seal_parts *p)
{
    int r;

    buf_init(&p->dsse, ENVELOPE_DSSE_MAX);
    buf_init(&p->payload, DSSE_MATERIAL_MAX);
    buf_init(&p->sig, ED25519_SIG_LEN);
    r = encoding_base64_get(dssematerial, &p->dsse);
    if (r == 0)
        r = envelope_dsse_parse(buf_str(&p->dsse), &p->d) ? 0 : -EBADMSG;
    if (r == 0)
        r = encoding_base64_get(p->d.payload, &p->payload);
    if (r == 0)
        r = encoding_base64_get(p->d.sig, &p->sig);
    if (r == -ENOMEM)
        return r;
    return r == 0 && p->sig.len == ED25519_SIG_LEN ? ENVELOPE_OK : ENVELOPE_E_FORM;
}

static int envelope_verify_dsse(const struct envelope_seal_parts *p, const struct envelope *e,
                                const struct keyring *ring)
{
    _cleanup_(buf_done) struct buf want = {.data = NULL}, pae = {.data = NULL};
    const struct keyring_key *key;
    struct dsse_material material;

    buf_init(&want, DSSE_MATERIAL_MAX);
    buf_init(&pae, 2 * DSSE_MATERIAL_MAX);
    if (dsse_material_parse(buf_str(&p->payload), &material) < 0)
        return ENVELOPE_E_FORM;
    key = keyring_find(ring, p->d.keyid);
    if (!key)
        return ENVELOPE_E_KEY;
    (void)buf_reserve(&want, p->payload.len); /* one piece of memory each; what fails is seen below */
    (void)buf_reserve(&pae, p->payload.len + sizeof(DSSE_PAYLOAD_TYPE) + 64);
    dsse_pae(buf_str(&p->payload), &pae);
    if (pae.err || envelope_material(e, &want) < 0)
        return -ENOMEM;
    if (!ed25519_verify(key->vkey.public, pae.data, pae.len, p->sig.data, p->sig.len))
        return ENVELOPE_E_SIGNATURE;
    return str_eq(buf_str(&p->payload), buf_str(&want)) ? envelope_judge_time(key, e) : ENVELOPE_E_DIGEST;
}

/* The line once more from its parts. Parsing already fixes the spelling; comparing the bytes keeps that true
 * even if the parser were ever more lenient than the writer. Of base64 there is one spelling only
 * (encoding.h), so the DSSE envelope is compared decoded. */
static int envelope_verify_bytes(struct str line, const struct envelope_line *l,
                                 const struct envelope_seal_parts *p)
{
    _cleanup_(buf_done) struct buf again = {.data = NULL}, dsse = {.data = NULL};
    const size_t key = sizeof(ENVELOPE_DSSE) - 1, tail = sizeof(ENVELOPE_TAIL) - 1;
    size_t event;

    buf_init(&again, ENVELOPE_LINE_MAX + 1);
    buf_init(&dsse, ENVELOPE_DSSE_MAX);
    (void)buf_reserve(&again, line.len); /* one piece of memory each; what fails is seen below */
    (void)buf_reserve(&dsse, p->dsse.len);
    envelope_put_event(&l->e, &again);
    buf_put(&again, ENVELOPE_DSSE, key);
    event = again.len;
    dsse_envelope_render(buf_str(&p->payload), p->d.keyid, p->sig.data, p->sig.len, &dsse);
    if (again.err == -ENOMEM || dsse.err == -ENOMEM)
        return -ENOMEM;
    return !again.err && !dsse.err && line.len == event + l->dssematerial.len + tail &&
                   memcmp(again.data, line.p, event) == 0 &&
                   memcmp(line.p + line.len - tail, ENVELOPE_TAIL, tail) == 0 &&
                   str_eq(buf_str(&dsse), buf_str(&p->dsse))
               ? ENVELOPE_OK
               : ENVELOPE_E_FORM;
}

int envelope_verify(struct str line, const struct envelope_line *parsed, const struct keyring *ring)
{
    _cleanup_(envelope_seal_done) struct envelope_seal_parts p = {.d = {.payload = STR_NONE}};
    int r;

    if (!parsed->dssematerial.p)
        return ENVELOPE_E_UNSIGNED;
    r = envelope_seal_parse(parsed->dssematerial, &p);
    if (r != ENVELOPE_OK)
        return r;
    r = envelope_verify_bytes(line, parsed, &p);
    return r == ENVELOPE_OK ? envelope_verify_dsse(&p, &parsed->e, ring) : r;
}

int envelope_verify_bare(struct str line, const struct envelope_line *parsed)
{
    _cleanup_(buf_done) struct buf again = {.data = NULL};
    int r;

    buf_init(&again, ENVELOPE_LINE_MAX + 1);
    r = envelope_render_bare(&parsed->e, &again);
    if (r == -ENOMEM)
        return r;
    return r == 0 && str_eq(buf_str(&again), line) ? ENVELOPE_OK : ENVELOPE_E_FORM;
}

int envelope_verify_signature(const struct envelope *e, const struct keyring_key *key,
                              const uint8_t sig[static ED25519_SIG_LEN])
{
    _cleanup_(buf_done) struct buf material = {.data = NULL}, pae = {.data = NULL};

    buf_init(&material, DSSE_MATERIAL_MAX);
    buf_init(&pae, 2 * DSSE_MATERIAL_MAX);
    if (envelope_material(e, &material) < 0)
        return -ENOMEM;
    dsse_pae(buf_str(&material), &pae);
    if (pae.err)
        return pae.err;
    if (!ed25519_verify(key->vkey.public, pae.data, pae.len, sig, ED25519_SIG_LEN))
        return ENVELOPE_E_SIGNATURE;
    return envelope_judge_time(key, e);
}
