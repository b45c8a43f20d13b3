/* SPDX-License-Identifier: MIT */
/* "Did you mean": the nearest known word by edit distance (Levenshtein), on short words only. */
#include "supervisor/spec/doc.h"

#define NEAREST_MAX 40 /* longer words are never compared: the cost stays bounded */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

static size_t distance(const char *a, size_t an, const char *b, size_t bn)
{
    size_t row[NEAREST_MAX + 1];
    for (size_t j = 0; j <= bn; j++)
        row[j] = j;
    for (size_t i = 1; i <= an; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= bn; j++) {
            size_t above = row[j];
            size_t change = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            row[j] = min3(above + 1, row[j - 1] + 1, change);
            diagonal = above;
        }
    }
    return row[bn];
}

const char *doc_nearest(const char *s, const char *const *words, size_t n)
{
    size_t len = strlen(s), best = 3;
    const char *found = NULL;
    if (len > NEAREST_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t wlen = strlen(words[i]);
        if (wlen > NEAREST_MAX)
            continue;
        size_t cost = distance(s, len, words[i], wlen);
        if (cost < best && cost * 2 < wlen) {
            best = cost;
            found = words[i];
        }
    }
    return found;
}
