/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/ship_curl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "common/base/cleanup.h"

static struct ship_curl curl;

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
#define SYMBOL(member)                                                                                       \
    {                                                                                                        \
        "curl_" #member, offsetof(struct ship_curl, member)                                                  \
    }
    SYMBOL(global_init),   SYMBOL(easy_init),    SYMBOL(easy_cleanup),
    SYMBOL(easy_setopt),   SYMBOL(easy_getinfo), SYMBOL(easy_perform),
    SYMBOL(easy_strerror), SYMBOL(slist_append), SYMBOL(slist_free_all),
#undef SYMBOL
};

const struct ship_curl *ship_curl_load(const char **ret_why)
{
    void *library = dlopen(SHIP_CURL_LIBRARY, RTLD_NOW | RTLD_LOCAL);

    for (size_t i = 0; library && i < ARRAY_LEN(symbols); i++) {
        void *p = dlsym(library, symbols[i].name);

        if (!p)
            library = NULL;
        memcpy((char *)&curl + symbols[i].offset, &p,
               sizeof(p)); /* POSIX: a function's address fits a void * */
    }
    *ret_why = library ? NULL : dlerror();
    return library ? &curl : NULL;
}
