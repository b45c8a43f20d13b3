/* SPDX-License-Identifier: MIT */
#include "common/evidence/json_check.h"

/* A reader that moves over one value at a time. Every function leaves p at the first byte it did not accept.
 */
struct json_scan {
    const char *p;
    const char *end;
};

static bool json_scan_char(struct json_scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* Four digits of an escape that stands for one whole character: no surrogate, no NUL. */
static bool json_scan_hex4(struct json_scan *s)
{
    if (s->end - s->p < 4 || memcmp(s->p, "0000", 4) == 0)
        return false;
    if ((s->p[0] == 'd' || s->p[0] == 'D') && s->p[1] >= '8')
        return false;
    for (int i = 0; i < 4; i++, s->p++)
        if (!((*s->p >= '0' && *s->p <= '9') || (*s->p >= 'a' && *s->p <= 'f') ||
              (*s->p >= 'A' && *s->p <= 'F')))
            return false;
    return true;
}

/* What signerd always escapes (signerd/event.c): C1 controls (c2 80 to 9f), the ends of lines U+2028 and
 * U+2029 and what turns the direction of writing around (U+061C is d8 9c). p is behind the first byte; the
 * text is valid UTF-8.
 */
static bool json_is_hidden(unsigned char first, const char *p, const char *end)
{
    unsigned char a = p < end ? (unsigned char)p[0] : 0, b = p + 1 < end ? (unsigned char)p[1] : 0;

    if (first == 0xc2)
        return a <= 0x9f;
    if (first == 0xd8)
        return a == 0x9c;
    return (a == 0x80 && (b == 0x8e || b == 0x8f || (b >= 0xa8 && b <= 0xae))) ||
           (a == 0x81 && b >= 0xa6 && b <= 0xa9);
}

static bool json_scan_string(struct json_scan *s)
{
    if (!json_scan_char(s, '"'))
        return false;
    while (s->p < s->end) {
        char c = *s->p++;

        if (c == '"')
            return true;
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        if (((unsigned char)c == 0xc2 || (unsigned char)c == 0xd8 || (unsigned char)c == 0xe2) &&
            json_is_hidden((unsigned char)c, s->p, s->end))
            return false;
        if (c != '\\')
            continue;
        if (s->p == s->end)
            return false;
        c = *s->p++;
        if (c == 'u' ? !json_scan_hex4(s) : !strchr("\"\\/bfnrt", c) || c == '\0')
            return false;
    }
    return false;
}

static bool json_scan_number(struct json_scan *s)
{
    const char *start;

    (void)json_scan_char(s, '-');
    start = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > start && (*start != '0' || s->p == start + 1);
}

static bool json_scan_word(struct json_scan *s, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return false;
    s->p += n;
    return true;
}

static bool json_scan_scalar(struct json_scan *s)
{
    if (s->p == s->end)
        return false;
    switch (*s->p) {
    case '"':
        return json_scan_string(s);
    case 't':
        return json_scan_word(s, "true");
    case 'f':
        return json_scan_word(s, "false");
    case 'n':
        return json_scan_word(s, "null");
    default:
        return json_scan_number(s);
    }
}

/* One value, iteratively: the open brackets are remembered in stack. */
static bool json_scan_value(struct json_scan *s)
{
    char stack[JSON_CHECK_DEPTH];
    unsigned depth = 0;

    for (;;) {
        bool opened = false;

        if (s->p < s->end && (*s->p == '{' || *s->p == '[')) {
            if (depth == JSON_CHECK_DEPTH)
                return false;
            stack[depth++] = *s->p++;
            opened = true;
        } else if (!json_scan_scalar(s)) {
            return false;
        }
        /* After a value: close as many brackets as end here, or go on behind a comma. */
        for (; depth > 0; opened = false) {
            char close = stack[depth - 1] == '{' ? '}' : ']';

            if (json_scan_char(s, close)) {
                depth--;
                continue;
            }
            if (!opened && !json_scan_char(s, ','))
                return false;
            if (stack[depth - 1] == '{' && (!json_scan_string(s) || !json_scan_char(s, ':')))
                return false;
            break;
        }
        if (depth == 0)
            return true;
    }
}

bool json_check_object(struct str s)
{
    struct json_scan scan = {s.p, s.p + s.len};

    return s.len >= 2 && s.p[0] == '{' && str_utf8_valid(s.p, s.len) && json_scan_value(&scan) &&
           scan.p == scan.end;
}

int json_check_member(struct str object, const char *name, struct str *ret)
{
    struct json_scan s = {object.p, object.p + object.len};

    if (!json_scan_char(&s, '{'))
        return -ENOENT;
    while (s.p < s.end && *s.p == '"') {
        struct str key, value;

        key.p = s.p + 1;
        if (!json_scan_string(&s))
            return -ENOENT;
        key.len = (size_t)(s.p - 1 - key.p);
        if (!json_scan_char(&s, ':'))
            return -ENOENT;
        value.p = s.p;
        if (!json_scan_value(&s))
            return -ENOENT;
        value.len = (size_t)(s.p - value.p);
        if (str_is(key, name)) {
            *ret = value;
            return 0;
        }
        if (!json_scan_char(&s, ','))
            return -ENOENT;
    }
    return -ENOENT;
}
