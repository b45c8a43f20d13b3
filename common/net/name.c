/* SPDX-License-Identifier: MIT */
#include "common/net/name.h"

#include "common/base/cleanup.h"
#include "common/net/addr.h"

#define NAME_LABEL_MAX 63u

/* A byte in its canonical form, or a name_error (positive) negated. */
static int canonical_byte(uint8_t c, enum name_kind kind)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 'a';
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || (c == '_' && kind == NAME_DNS))
        return c;
    return c >= 0x80 ? -NAME_E_NOT_ASCII : c == '*' ? -NAME_E_WILDCARD : -NAME_E_CHARACTER;
}

static bool label_ok(const char *p, size_t len)
{
    return len > 0 && len <= NAME_LABEL_MAX && p[0] != '-' && p[len - 1] != '-';
}

/* inet_aton(3) and with it many a resolver reads "1.2.3.4", "127.1", "0x7f.1" and "2130706433" as addresses.
 * No public name ends in such a label (RFC 3696 section 2), so one that does is an address in disguise. */
static bool label_numeric(const char *p, size_t len)
{
    if (len >= 2 && p[0] == '0' && p[1] == 'x') {
        for (size_t i = 2; i < len; i++)
            if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
                return false;
        return true;
    }
    for (size_t i = 0; i < len; i++)
        if (p[i] < '0' || p[i] > '9')
            return false;
    return true;
}

static bool ipv6_literal(struct str s)
{
    if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
        s = (struct str){s.p + 1, s.len - 2};
    struct addr a;
    return memchr(s.p, ':', s.len) && addr_parse(s, &a) == 0;
}

/* The labels of s (no trailing dot, not empty, at most NAME_MAX_LEN bytes) to dst. */
static int labels_parse(struct str s, enum name_kind kind, char *dst, unsigned *ret_count)
{
    size_t start = 0;
    unsigned count = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && s.p[i] != '.') {
            int c = canonical_byte((uint8_t)s.p[i], kind);
            if (c < 0)
                return -c;
            dst[i] = (char)c;
            continue;
        }
        if (!label_ok(dst + start, i - start))
            return NAME_E_LABEL;
        if (i == s.len && kind != NAME_DNS && label_numeric(dst + start, i - start))
            return NAME_E_ADDRESS;
        dst[i] = i < s.len ? '.' : 0;
        start = i + 1;
        count++;
    }
    *ret_count = count;
    return NAME_OK;
}

int name_parse(struct str s, enum name_kind kind, struct name *ret)
{
    if (s.len > 0 && ipv6_literal(s))
        return NAME_E_ADDRESS;
    if (s.len > 0 && s.p[s.len - 1] == '.')
        s.len--;
    if (s.len == 0)
        return NAME_E_EMPTY;
    if (s.len > NAME_MAX_LEN)
        return NAME_E_TOO_LONG;
    struct name n = {.len = (uint8_t)s.len};
    size_t skip = 0;
    if (kind == NAME_PATTERN && s.p[0] == '*') {
        if (s.len < 3 || s.p[1] != '.')
            return NAME_E_WILDCARD;
        n.text[0] = '*';
        n.text[1] = '.';
        skip = 2;
    }
    unsigned labels = 0;
    int e = labels_parse((struct str){s.p + skip, s.len - skip}, kind, n.text + skip, &labels);
    if (e != NAME_OK)
        return e;
    if (skip > 0 && labels < 2)
        return NAME_E_WILDCARD;
    *ret = n;
    return NAME_OK;
}

const char *name_error_text(int error)
{
    static const char *const texts[] = {
        [NAME_OK] = "is a valid name",
        [NAME_E_EMPTY] = "must not be empty",
        [NAME_E_TOO_LONG] = "must be at most 253 bytes long",
        [NAME_E_LABEL] = "must have labels of 1 to 63 bytes that neither begin nor end with a hyphen",
        [NAME_E_CHARACTER] = "must consist of letters, digits, hyphens and dots",
        [NAME_E_NOT_ASCII] = "must be ASCII: write the name's A-label form (xn--...)",
        [NAME_E_WILDCARD] =
            "may have \"*\" only as its whole first label, before a name of at least two labels",
        [NAME_E_ADDRESS] = "must be a name: this is an IP address, or would be taken for one",
    };
    _Static_assert(ARRAY_LEN(texts) == _NAME_E_MAX, "one text for each error");
    return error >= 0 && error < _NAME_E_MAX ? texts[error] : "is not a valid name";
}

bool name_matches(const struct name *pattern, const struct name *name)
{
    if (pattern->text[0] != '*')
        return str_eq(name_str(pattern), name_str(name));
    /* The suffix begins with its dot, so "x" + ".rest" is the shortest match and a label is never cut in two.
     */
    size_t suffix = pattern->len - 1u;
    return name->len > suffix && memcmp(name->text + name->len - suffix, pattern->text + 1, suffix) == 0;
}
