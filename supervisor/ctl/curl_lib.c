/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/curl_lib.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "common/base/cleanup.h"

static struct curl_lib curl;

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
#define SYMBOL(member)                                                                                       \
    {                                                                                                        \
        "curl_" #member, offsetof(struct curl_lib, member)                                                   \
    }
    SYMBOL(global_init),   SYMBOL(easy_init),    SYMBOL(easy_cleanup),
    SYMBOL(easy_setopt),   SYMBOL(easy_getinfo), SYMBOL(easy_perform),
    SYMBOL(easy_strerror), SYMBOL(slist_append), SYMBOL(slist_free_all),
#undef SYMBOL
};

const struct curl_lib *curl_lib_load(const char **ret_why)
{
    void *library = dlopen(CURL_LIB_NAME, RTLD_NOW | RTLD_LOCAL);

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
