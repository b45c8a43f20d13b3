/* SPDX-License-Identifier: MIT */
/* Scope-bound ownership: the only six cleanup macros of the project.
 * A variable marked _cleanup_*_ is released when it goes out of scope; TAKE_* hands it on. */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_freep(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_closep(const int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

void cleanup_sodium_freep(void *p); /* sodium_free(): wipes; NULL is fine */

#define _cleanup_(fn)    __attribute__((cleanup(fn)))
#define _cleanup_free_   _cleanup_(cleanup_freep)
#define _cleanup_close_  _cleanup_(cleanup_closep) /* the fd starts at -EBADF */
#define _cleanup_sodium_ _cleanup_(cleanup_sodium_freep)

#define TAKE_PTR(p)                                                                                          \
    ({                                                                                                       \
        __typeof__(p) *take_p_ = &(p);                                                                       \
        __typeof__(p) take_v_ = *take_p_;                                                                    \
        *take_p_ = NULL;                                                                                     \
        take_v_;                                                                                             \
    })

#define TAKE_FD(fd)                                                                                          \
    ({                                                                                                       \
        int *take_fd_ = &(fd);                                                                               \
        int take_v_ = *take_fd_;                                                                             \
        *take_fd_ = -EBADF;                                                                                  \
        take_v_;                                                                                             \
    })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MUST_CHECK   __attribute__((warn_unused_result))
