/* SPDX-License-Identifier: MIT */
/* Paths that the caller names are followed with the caller's rights. A link below a --rw directory was
 * perhaps made by an earlier cell, to have the next one shown what it points to. */
#include <limits.h>
#include <stdio.h>

#include "supervisor/ctl/run_document.h"

static bool within(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* The --rw directory that the text passes through without ending in it; NULL when there is none. */
static const char *left_by_link(const json_t *read_write, const char *text, const char *real)
{
    for (size_t n = 0; n < strlen(text); n += strcspn(text + n, "/")) {
        char front[PATH_MAX], at[PATH_MAX];
        size_t i;
        json_t *dir;
        n += strspn(text + n, "/");
        if ((size_t)snprintf(front, sizeof(front), "%.*s", (int)n, text) >= sizeof(front) ||
            !realpath(n == 0 ? "." : front, at))
            return NULL; /* it was there a moment ago; what is there at the start is judged again then */
        json_array_foreach(read_write, i,
                           dir) if (within(at, json_string_value(dir)) &&
                                    !within(real, json_string_value(dir))) return json_string_value(dir);
    }
    return NULL;
}

int run_document_check_paths(const struct run_document *d, char *why, size_t cap)
{
    size_t i;
    json_t *pair;
    json_array_foreach(d->given, i, pair)
    {
        const char *text = json_string_value(json_array_get(pair, 0));
        const char *dir = left_by_link(d->read_write, text, json_string_value(json_array_get(pair, 1)));
        if (!dir)
            continue;
        (void)snprintf(
            why, cap,
            "\"%s\" leads out of --rw %s by a symbolic link, which a cell may have made: name what "
            "it leads to instead",
            text, dir);
        return 1;
    }
    return 0;
}
