/* SPDX-License-Identifier: MIT */
/* A version of a keyset from and to its one spelling. */
#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/encoding.h"
#include "common/base/num.h"
#include "common/evidence/keyset.h"

#define SIG_TEXT_LEN 88 /* base64 of 64 bytes */

static const char *const keyset_states[_KEYSET_STATE_MAX] = {
    [KEYSET_ACTIVE] = "active",
    [KEYSET_STANDBY] = "standby",
    [KEYSET_RETIRED] = "retired",
    [KEYSET_REVOKED] = "revoked",
};

const char *keyset_state_text(enum keyset_state s)
{
    return s > 0 && s < _KEYSET_STATE_MAX ? keyset_states[s] : "unknown";
}

bool keyset_reason_ok(struct str s)
{
    if (s.len == 0 || s.len > KEYSET_REASON_MAX || !str_utf8_valid(s.p, s.len))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < ' ' || c == '"' || c == '\\' || c == 0x7f)
            return false;
        if (c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0) /* C1; valid UTF-8, so there is a next byte */
            return false;
    }
    return true;
}

/* ---- writing ---- */

static int keyset_put_time(struct buf *b, const char *before, uint64_t when)
{
    char text[CLOCK_RFC3339_LEN + 1];
    int r = clock_format_rfc3339(when, text);

    if (r < 0)
        return r;
    buf_printf(b, "%s\"%s\"", before, text);
    return 0;
}

static int keyset_put_key(struct buf *b, const struct keyset_key *k)
{
    int r;

    buf_printf(b, "{\"keyid\":\"%s\",\"vkey\":\"", k->k.keyid);
    vkey_render(&k->k.vkey, b);
    r = keyset_put_time(b, "\",\"notBefore\":", k->k.not_before_s);
    if (r == 0 && k->k.not_after_s)
        r = keyset_put_time(b, ",\"notAfter\":", k->k.not_after_s);
    buf_printf(b, ",\"state\":\"%s\"", keyset_state_text(k->state));
    if (r == 0 && k->k.revoked_s)
        r = keyset_put_time(b, ",\"revokedAt\":", k->k.revoked_s);
    if (k->k.revoked_s && k->reason[0])
        buf_printf(b, ",\"revokedReason\":\"%s\"", k->reason);
    buf_putc(b, '}');
    return r;
}

int keyset_render_body(const struct keyset *k, struct buf *b)
{
    int r;

    buf_printf(b, "{\"keyset\":\"" KEYSET_NAME "\",\"version\":%" PRIu64 ",", k->version);
    if (k->version > 1) {
        buf_puts(b, "\"previous\":\"sha256:");
        encoding_hex_put(b, k->previous, DIGEST_LEN);
        buf_puts(b, "\",");
    }
    r = keyset_put_time(b, "\"created\":", k->created_s);
    buf_puts(b, ",\"keys\":[");
    for (size_t i = 0; r == 0 && i < k->n; i++) {
        if (i > 0)
            buf_putc(b, ',');
        r = keyset_put_key(b, &k->key[i]);
    }
    buf_putc(b, ']');
    return r < 0 ? r : b->err;
}

int keyset_render(const struct keyset *k, struct buf *b)
{
    int r = keyset_render_body(k, b);

    buf_puts(b, ",\"signatures\":[");
    for (size_t i = 0; i < k->nsigs; i++) {
        buf_printf(b, "%s{\"keyid\":\"%s\",\"sig\":\"", i ? "," : "", k->sig[i].keyid);
        encoding_base64_put(b, k->sig[i].sig, ED25519_SIG_LEN);
        buf_puts(b, "\"}");
    }
    buf_puts(b, "]}");
    return r < 0 ? r : b->err;
}

int keyset_signed(const struct keyset *k, struct buf *b)
{
    buf_puts(b, KEYSET_SIGN_PREFIX);
    return keyset_render_body(k, b);
}

/* ---- reading ---- */

static bool keyset_take(struct str *s, const char *text)
{
    size_t n = strlen(text);

    if (s->len < n || memcmp(s->p, text, n) != 0)
        return false;
    *s = (struct str){s->p + n, s->len - n};
    return true;
}

/* text, then everything up to the next quote into *ret, and that quote. */
static bool keyset_take_string(struct str *s, const char *text, struct str *ret)
{
    struct str rest = *s;
    const char *quote;

    if (!keyset_take(&rest, text) || rest.len == 0)
        return false;
    quote = memchr(rest.p, '"', rest.len);
    if (!quote)
        return false;
    *ret = (struct str){rest.p, (size_t)(quote - rest.p)};
    *s = (struct str){quote + 1, rest.len - ret->len - 1};
    return true;
}

static bool keyset_take_time(struct str *s, const char *text, uint64_t *ret)
{
    struct str when;

    return keyset_take_string(s, text, &when) && clock_parse_rfc3339(when, ret) == 0;
}

static bool keyset_take_digest(struct str *s, const char *text, uint8_t ret[static DIGEST_LEN])
{
    struct str hex;

    return keyset_take_string(s, text, &hex) && encoding_hex_get(hex, ret, DIGEST_LEN) == 0;
}

static bool keyset_take_state(struct str *s, enum keyset_state *ret)
{
    struct str text;

    if (!keyset_take_string(s, ",\"state\":\"", &text))
        return false;
    for (unsigned i = KEYSET_ACTIVE; i < _KEYSET_STATE_MAX; i++)
        if (str_is(text, keyset_states[i])) {
            *ret = (enum keyset_state)i;
            return true;
        }
    return false;
}

/* An optional time: absent is 0, and 0 itself is not written this way. */
static bool keyset_take_end(struct str *s, const char *text, uint64_t *ret)
{
    struct str probe = *s;

    *ret = 0;
    return !keyset_take(&probe, text) || (keyset_take_time(s, text, ret) && *ret > 0);
}

static bool keyset_take_revoked(struct str *s, struct keyset_key *k)
{
    struct str reason;

    if (!keyset_take_end(s, ",\"revokedAt\":\"", &k->k.revoked_s) ||
        (k->state == KEYSET_REVOKED) != (k->k.revoked_s > 0))
        return false;
    if (k->k.revoked_s == 0 || !keyset_take_string(s, ",\"revokedReason\":\"", &reason))
        return true;
    if (!keyset_reason_ok(reason))
        return false;
    memcpy(k->reason, reason.p, reason.len);
    return true;
}

/* A keyset_error. */
static int keyset_take_key(struct str *s, struct keyset_key *ret)
{
    struct keyset_key k = {.state = KEYSET_ACTIVE};
    struct str keyid, vkey;

    if (!keyset_take_string(s, "{\"keyid\":\"", &keyid) || !keyset_take_string(s, ",\"vkey\":\"", &vkey) ||
        !keyset_take_time(s, ",\"notBefore\":\"", &k.k.not_before_s) ||
        !keyset_take_end(s, ",\"notAfter\":\"", &k.k.not_after_s) || !keyset_take_state(s, &k.state) ||
        !keyset_take_revoked(s, &k) || !keyset_take(s, "}") || vkey_parse(vkey, &k.k.vkey) < 0)
        return KEYSET_E_FORM;
    envelope_keyid(k.k.vkey.public, k.k.keyid);
    if (!str_is(keyid, k.k.keyid) || memchr(k.k.vkey.name, '"', strlen(k.k.vkey.name)) ||
        memchr(k.k.vkey.name, '\\', strlen(k.k.vkey.name)))
        return KEYSET_E_KEYS;
    *ret = k;
    return KEYSET_OK;
}

static int keyset_take_keys(struct str *s, struct keyset *k)
{
    size_t active = 0;

    if (!keyset_take(s, ",\"keys\":["))
        return KEYSET_E_FORM;
    do {
        int r = k->n < KEYRING_MAX ? keyset_take_key(s, &k->key[k->n]) : KEYSET_E_FORM;

        if (r != KEYSET_OK)
            return r;
        active += k->key[k->n].state == KEYSET_ACTIVE;
        for (size_t i = 0; i < k->n; i++)
            if (strcmp(k->key[i].k.keyid, k->key[k->n].k.keyid) == 0)
                return KEYSET_E_KEYS;
        k->n++;
    } while (keyset_take(s, ","));
    if (!keyset_take(s, "]"))
        return KEYSET_E_FORM;
    return active == 1 ? KEYSET_OK : KEYSET_E_KEYS;
}

static bool keyset_id_ok(struct str s)
{
    const size_t algorithm = sizeof("sha256:") - 1;
    uint8_t digest[DIGEST_LEN];

    return s.len == ENVELOPE_KEYID_LEN && memcmp(s.p, "sha256:", algorithm) == 0 &&
           encoding_hex_get((struct str){s.p + algorithm, s.len - algorithm}, digest, DIGEST_LEN) == 0;
}

static bool keyset_take_sig(struct str *s, struct keyset_sig *ret)
{
    _cleanup_(buf_done) struct buf sig = {.data = NULL};
    struct str keyid, text;

    buf_init(&sig, ED25519_SIG_LEN);
    if (!keyset_take_string(s, "{\"keyid\":\"", &keyid) || !keyset_take_string(s, ",\"sig\":\"", &text) ||
        !keyset_take(s, "}") || !keyset_id_ok(keyid) || text.len != SIG_TEXT_LEN ||
        encoding_base64_get(text, &sig) < 0 || sig.len != ED25519_SIG_LEN)
        return false;
    memcpy(ret->keyid, keyid.p, keyid.len);
    ret->keyid[keyid.len] = '\0';
    memcpy(ret->sig, sig.data, ED25519_SIG_LEN);
    return true;
}

static bool keyset_take_sigs(struct str *s, struct keyset *k)
{
    if (!keyset_take(s, ",\"signatures\":["))
        return false;
    do {
        if (k->nsigs == KEYSET_SIGS_MAX || !keyset_take_sig(s, &k->sig[k->nsigs]))
            return false;
        for (size_t i = 0; i < k->nsigs; i++)
            if (strcmp(k->sig[i].keyid, k->sig[k->nsigs].keyid) == 0)
                return false;
        k->nsigs++;
    } while (keyset_take(s, ","));
    return keyset_take(s, "]}") && s->len == 0;
}

/* {"keyset":...,"version":N, */
static bool keyset_take_version(struct str *s, uint64_t *ret)
{
    const char *comma;
    struct str digits;

    if (!keyset_take(s, "{\"keyset\":\"" KEYSET_NAME "\",\"version\":") || s->len == 0)
        return false;
    comma = memchr(s->p, ',', s->len);
    if (!comma)
        return false;
    digits = (struct str){s->p, (size_t)(comma - s->p)};
    *s = (struct str){comma + 1, s->len - digits.len - 1};
    return num_parse_u64(digits, 1, UINT32_MAX, ret) == 0;
}

/* Into k, which is all zeros. */
static int keyset_parse_into(struct str line, struct keyset *k)
{
    struct str s = line;
    int r;

    if (line.len > KEYSET_LINE_MAX || !keyset_take_version(&s, &k->version))
        return KEYSET_E_FORM;
    if (k->version > 1 &&
        (!keyset_take_digest(&s, "\"previous\":\"sha256:", k->previous) || !keyset_take(&s, ",")))
        return KEYSET_E_FORM;
    if (!keyset_take_time(&s, "\"created\":\"", &k->created_s))
        return KEYSET_E_FORM;
    r = keyset_take_keys(&s, k);
    if (r != KEYSET_OK)
        return r;
    if (!keyset_take_sigs(&s, k))
        return KEYSET_E_FORM;
    digest_sha256(line.p, line.len, k->digest);
    return KEYSET_OK;
}

int keyset_parse(struct str line, struct keyset *ret)
{
    struct keyset *k = calloc(1, sizeof(*k));
    int r = k ? keyset_parse_into(line, k) : -ENOMEM;

    if (r == KEYSET_OK)
        *ret = *k;
    free(k);
    return r;
}
