/* SPDX-License-Identifier: MIT */
/* "Did you mean": the nearest known word by edit distance, on short words only. */
#include "common/base/nearest.h"

#include <string.h>

#define NEAREST_MAX 40 /* longer words are never compared: the cost stays bounded */

static char lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment: insert, delete, change, or swap two neighbours, one each. */
static size_t distance(const char *a, size_t an, const char *b, size_t bn)
{
    size_t rows[3][NEAREST_MAX + 1];
    size_t *two_up = rows[0], *up = rows[1], *row = rows[2];
    for (size_t j = 0; j <= bn; j++)
        up[j] = two_up[j] = j;
    for (size_t i = 1; i <= an; i++) {
        row[0] = i;
        for (size_t j = 1; j <= bn; j++) {
            char x = lower(a[i - 1]), y = lower(b[j - 1]);
            row[j] = min3(up[j] + 1, row[j - 1] + 1, up[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]) && two_up[j - 2] + 1 < row[j])
                row[j] = two_up[j - 2] + 1;
        }
        size_t *free_row = two_up;
        two_up = up;
        up = row;
        row = free_row;
    }
    return up[bn];
}

const char *nearest_word(const char *s, const char *const *words, size_t n)
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
