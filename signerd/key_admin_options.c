/* SPDX-License-Identifier: MIT */
#include "common/base/log.h"
#include "common/base/num.h"
#include "signerd/key_admin_internal.h"

#define KEY_ADMIN_SPAN_MAX (UINT64_C(100) * 366 * 86400)

static int admin_number(const char *value, uint64_t max, uint64_t *ret)
{
    return num_parse_u64(str_of(value), 1, max, ret);
}

static int admin_take(struct key_admin_options *o, const char *name, const char *value)
{
    if (strcmp(name, "--valid-for") == 0)
        return admin_number(value, KEY_ADMIN_SPAN_MAX, &o->valid_for_s);
    if (strcmp(name, "--grace") == 0)
        return admin_number(value, KEY_ADMIN_SPAN_MAX, &o->grace_s);
    if (strcmp(name, "--at") == 0)
        return admin_number(value, UINT32_MAX * UINT64_C(8), &o->at_s);
    if (strcmp(name, "--id") == 0)
        o->id = value;
    else if (strcmp(name, "--reason") == 0)
        o->reason = value;
    else if (strcmp(name, "--key") == 0)
        o->key = value;
    else if (strcmp(name, "--new-key") == 0)
        o->new_key = value;
    else
        return -EINVAL;
    return 0;
}

int key_admin_parse(int argc, char **argv, struct key_admin_options *ret)
{
    struct key_admin_options o = {.verb = argc > 2 ? argv[2] : NULL};

    if (!o.verb ||
        (strcmp(o.verb, "new") != 0 && strcmp(o.verb, "rotate") != 0 && strcmp(o.verb, "revoke") != 0))
        return log_errno(-EINVAL, "--keys needs new, rotate or revoke");
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--standby") == 0) {
            o.standby = true;
            continue;
        }
        if (i + 1 == argc || admin_take(&o, argv[i], argv[i + 1]) < 0)
            return log_errno(-EINVAL, "%s is no option of --keys, or has no such value", argv[i]);
        i++;
    }
    if (strcmp(o.verb, "revoke") == 0 && !o.id)
        return log_errno(-EINVAL, "--keys revoke needs --id");
    if (o.reason && !keyset_reason_ok(str_of(o.reason)))
        return log_errno(
            -EINVAL,
            "a reason is at most %d bytes of text without quotes, backslashes and control characters",
            KEYSET_REASON_MAX);
    *ret = o;
    return 0;
}
