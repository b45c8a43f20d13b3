/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/fault.h"

#include <stdarg.h>
#include <stdio.h>

int fault_set(struct fault *f, int err, const char *fmt, ...)
{
    char raw[LIMIT_ERROR_TEXT];
    size_t room = sizeof(raw);
    int n;
    va_list ap;

    if (!f)
        return err;
    va_start(ap, fmt);
    n = vsnprintf(raw, room, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    if ((size_t)n < room)
        snprintf(raw + n, room - (size_t)n, ": %s",
                 strerrordesc_np(-err) ? strerrordesc_np(-err) : "unknown error");
    str_escape(f->text, sizeof(f->text), raw, strlen(raw));
    return err;
}
