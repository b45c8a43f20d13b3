/* SPDX-License-Identifier: MIT */
/* What is sent, and under which name. */
#include <stdio.h>

#include "common/evidence/log_check.h"
#include "supervisor/ctl/jetstream.h"
#include "supervisor/ctl/ship_log.h"

void ship_item_done(struct ship_item *i)
{
    free(i->data);
    *i = (struct ship_item){.data = NULL};
}

/* One or several tokens with single dots between them; none of what NATS reads as a wildcard or as white
 * space. */
static bool type_ok(struct str type)
{
    bool token = false;

    if (type.len > SHIP_TYPE_MAX)
        return false;
    for (size_t i = 0; i < type.len; i++) {
        const char c = type.p[i];

        if (c == '.' && !token)
            return false;
        if (c != '.' && (c <= ' ' || c >= 0x7f || c == '*' || c == '>'))
            return false;
        token = c != '.';
    }
    return token;
}

bool ship_item_event(struct str line, struct ship_item *ret)
{
    const size_t prefix = sizeof(LOG_TYPE_PREFIX) - 1;
    struct envelope_line l;
    struct str type;

    if (envelope_parse(line, &l) != ENVELOPE_OK || l.e.id.len > ENVELOPE_ID_MAX)
        return false;
    type = l.e.type;
    if (type.len > prefix && memcmp(type.p, LOG_TYPE_PREFIX, prefix) == 0)
        type = (struct str){type.p + prefix, type.len - prefix};
    if (!type_ok(type))
        return false;
    memcpy(ret->id, l.e.id.p, l.e.id.len);
    ret->id[l.e.id.len] = '\0';
    memcpy(ret->type, type.p, type.len);
    ret->type[type.len] = '\0';
    ret->index = l.e.sequence;
    ret->bare = !l.dssematerial.p;
    return true;
}

bool ship_tenant_ok(const char *s)
{
    return jetstream_token_ok(s, SHIP_TENANT_MAX);
}

void ship_item_subject(const struct ship_item *i, const char *tenant, char dst[static SHIP_SUBJECT_MAX])
{
    if (i->checkpoint)
        (void)snprintf(dst, SHIP_SUBJECT_MAX, SHIP_SUBJECT_NOTES ".%s", tenant);
    else
        (void)snprintf(dst, SHIP_SUBJECT_MAX, SHIP_SUBJECT_EVENTS ".%s.%s", tenant, i->type);
}
