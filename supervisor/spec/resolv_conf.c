/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/resolv_conf.h"

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct str next_line(struct str *rest)
{
    const char *nl = memchr(rest->p, '\n', rest->len);
    struct str line = {rest->p, nl ? (size_t)(nl - rest->p) : rest->len};
    size_t used = line.len + (nl != NULL);
    *rest = (struct str){rest->p + used, rest->len - used};
    return line;
}

static struct str next_word(struct str *line)
{
    while (line->len > 0 && blank(*line->p)) {
        line->p++;
        line->len--;
    }
    struct str word = {line->p, 0};
    while (word.len < line->len && !blank(line->p[word.len]))
        word.len++;
    line->p += word.len;
    line->len -= word.len;
    return word;
}

size_t resolv_conf_parse(struct str text, struct endpoint_addr dst[RESOLV_CONF_NAMESERVERS])
{
    size_t n = 0;
    if (text.len > RESOLV_CONF_MAX)
        text.len = RESOLV_CONF_MAX;
    while (text.len > 0 && n < RESOLV_CONF_NAMESERVERS) {
        struct str line = next_line(&text);
        struct addr a;
        if (!str_is(next_word(&line), "nameserver") || addr_parse(next_word(&line), &a) < 0)
            continue;
        dst[n++] = (struct endpoint_addr){a, 53};
    }
    return n;
}
