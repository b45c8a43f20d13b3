/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "supervisor/secrets/names.h"

/* Names are ASCII by rule; never by locale. */
static char key_char(char c)
{
    static const char small[] = "abcdefghijklmnopqrstuvwxyz", big[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *at = c ? strchr(small, c) : NULL;
    if (at)
        return big[at - small];
    if (c == '-')
        return '_';
    return c;
}

const char *secret_broker_variable(const char *prefix, struct str name, char dst[SECRET_VARIABLE_MAX])
{
    size_t n = strlen(prefix);
    assert(n < sizeof(SECRET_FILE_PREFIX) && name.len <= LIMIT_SECRET_NAME);
    memcpy(dst, prefix, n);
    for (size_t i = 0; i < name.len; i++)
        dst[n++] = key_char(name.p[i]);
    dst[n] = '\0';
    return dst;
}

const char *secret_workload_variable(struct str name, char dst[LIMIT_SECRET_NAME + 1])
{
    assert(name.len <= LIMIT_SECRET_NAME);
    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] == '-')
            dst[i] = '_';
        else
            dst[i] = name.p[i];
    dst[name.len] = '\0';
    return dst;
}

bool secret_names_collide(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (key_char(a.p[i]) != key_char(b.p[i]))
            return false;
    return true;
}

bool secret_name_reserved(struct str name)
{
    char variable[SECRET_VARIABLE_MAX], key[SECRET_VARIABLE_MAX];
    if (name.len > LIMIT_SECRET_NAME)
        return false;
    (void)secret_workload_variable(name, variable);
    (void)secret_broker_variable("", name, key);
    return strcmp(variable, "PATH") == 0 || strncmp(variable, "CELLOS_", 7) == 0 ||
           strncmp(key, "FILE_", 5) == 0;
}
