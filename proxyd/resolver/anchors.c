/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/anchors.h"

#include <strings.h>

/* The root's key signing keys of 2017 (tag 20326) and 2024 (tag 38696):
 * https://data.iana.org/root-anchors/root-anchors.xml */
static const char *const root_anchors[] = {
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

/* owner [ttl] [class] DS|DNSKEY rdata, and the owner ends in a dot: nothing is relative here. */
static bool record_ok(const char *line)
{
    const char *word = line + strcspn(line, " ");

    if (line[0] == '$' || word == line || word[-1] != '.')
        return false;
    for (unsigned i = 0; i < 3 && *word; i++) {
        word += strspn(word, " ");
        size_t n = strcspn(word, " ");
        if ((n == 2 && strncasecmp(word, "DS", n) == 0) || (n == 6 && strncasecmp(word, "DNSKEY", n) == 0))
            return word[n] == ' ';
        word += n;
    }
    return false;
}

struct lines {
    struct str text;
    size_t at;
    char line[DNS_ANCHOR_LINE_MAX];
};

/* The next record's text with single blanks. Its length (0: the end), or -EINVAL. */
static ssize_t line_next(struct lines *l)
{
    size_t n = 0, depth = 0;
    bool blank = false;

    for (; l->at < l->text.len; l->at++) {
        char c = l->text.p[l->at];
        if (c == ';') { /* up to the end of the line, which is looked at as such */
            while (l->at + 1 < l->text.len && l->text.p[l->at + 1] != '\n')
                l->at++;
        } else if (c == '(') {
            depth++;
        } else if (c == ')') {
            if (depth-- == 0)
                return -EINVAL;
        } else if (c == '\n' && depth == 0 && n > 0) {
            break;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            blank = n > 0;
        } else if (c > ' ' && c < 0x7f && c != '"' && n + 2 < sizeof(l->line)) {
            if (blank)
                l->line[n++] = ' ';
            l->line[n++] = c;
            blank = false;
        } else {
            return -EINVAL;
        }
    }
    l->line[n] = '\0';
    return depth == 0 ? (ssize_t)n : -EINVAL;
}

int dns_anchors_each(struct str text, int (*fn)(void *data, const char *record), void *data)
{
    struct lines l = {.text = text};
    ssize_t len;
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(root_anchors) && text.len == 0 && r == 0; i++)
        r = fn(data, root_anchors[i]);
    if (text.len == 0)
        return r;
    unsigned n = 0;
    for (; (len = line_next(&l)) > 0; n++) {
        if (n == DNS_ANCHORS_MAX || !record_ok(l.line))
            return -EINVAL;
        r = fn(data, l.line);
        if (r < 0)
            return r;
    }
    return len < 0 || n == 0 ? -EINVAL : 0;
}

static int count(void *data, const char *record)
{
    (void)record;
    ++*(unsigned *)data;
    return 0;
}

int dns_anchors_check(struct str text)
{
    unsigned n = 0;
    int r = dns_anchors_each(text, count, &n);

    return r < 0 ? r : n > 0 ? 0 : -EINVAL;
}
