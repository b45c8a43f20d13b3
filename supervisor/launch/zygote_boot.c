/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/zygote_boot.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/num.h"
#include "supervisor/launch/zygote.h"

void zygote_boot_write(const struct zygote_boot *b, struct zygote_args *ret)
{
    const uint64_t numbers[] = {(uint64_t)b->parent, b->plan.uid,      b->plan.gid,
                                b->plan.uid_base,    b->plan.gid_base, b->plan.count};
    size_t n = 0;

    snprintf(ret->text[n++], sizeof(ret->text[0]), "cellos-zygote");
    snprintf(ret->text[n++], sizeof(ret->text[0]), ZYGOTE_ARG);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        snprintf(ret->text[n++], sizeof(ret->text[0]), "%" PRIu64, numbers[i]);
    for (size_t i = 0; i < b->nforbidden; i++)
        snprintf(ret->text[n++], sizeof(ret->text[0]), "%" PRIu64 ":%" PRIu64, (uint64_t)b->forbidden[i].dev,
                 (uint64_t)b->forbidden[i].ino);
    for (size_t i = 0; i < n; i++)
        ret->argv[i] = ret->text[i];
    ret->argv[n] = NULL;
}

static int zygote_boot_file(const char *text, struct file_id *ret)
{
    const char *colon = strchr(text, ':');
    uint64_t dev, ino;

    if (!colon || num_parse_u64((struct str){text, (size_t)(colon - text)}, 0, UINT64_MAX, &dev) < 0 ||
        num_parse_u64(str_of(colon + 1), 0, UINT64_MAX, &ino) < 0)
        return -EINVAL;
    *ret = (struct file_id){(dev_t)dev, (ino_t)ino};
    return 0;
}

int zygote_boot_read(int argc, char **argv, struct zygote_boot *ret)
{
    struct zygote_boot b = {.plan.slot_fd = -EBADF};
    uint64_t n[6];

    if (argc < 2 + (int)ARRAY_LEN(n) || argc > 2 + (int)ARRAY_LEN(n) + (int)BINDS_FORBIDDEN_MAX)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(n); i++)
        if (num_parse_u64(str_of(argv[2 + i]), 0, i == 0 ? INT32_MAX : UINT32_MAX, &n[i]) < 0)
            return -EINVAL;
    b.parent = (pid_t)n[0];
    b.plan = (struct userns_plan){(uid_t)n[1],    (gid_t)n[2],    (uint32_t)n[3],
                                  (uint32_t)n[4], (uint32_t)n[5], n[5] > 0 ? ZYGOTE_FD_SLOT : -EBADF};
    for (int i = 2 + (int)ARRAY_LEN(n); i < argc; i++)
        if (zygote_boot_file(argv[i], &b.forbidden[b.nforbidden++]) < 0)
            return -EINVAL;
    *ret = b;
    return 0;
}
