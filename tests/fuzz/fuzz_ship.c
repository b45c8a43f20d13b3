/* SPDX-License-Identifier: MIT */
/* What cellctl ship reads from others: an answer of JetStream, a line of a log, the fields of a state file.
 */
#include <assert.h>

#include "supervisor/ctl/ship_ack.h"
#include "supervisor/ctl/ship_file.h"
#include "supervisor/ctl/ship_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void line(struct str s)
{
    struct ship_item i = {.checkpoint = false};
    char subject[SHIP_SUBJECT_MAX], name[SHIP_STATE_NAME_MAX + 1];

    if (!ship_item_event(s, &i))
        return;
    ship_item_subject(&i, SHIP_TENANT, subject);
    /* One subject without wildcards: what NATS would take apart or match otherwise never comes out. */
    assert(strlen(subject) + 1 < SHIP_SUBJECT_MAX && !strpbrk(subject, "*> \t\r\n") &&
           !strstr(subject, ".."));
    ship_dead_name(i.index, i.id, name);
    assert(strlen(name) <= SHIP_STATE_NAME_MAX && !strchr(name, '/') && name[0] != '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size}, value;
    struct ship_ack ack;
    uint64_t number;

    if (digest_init() < 0)
        abort();
    ship_ack_read(s.p, s.len, &ack);
    assert(!ack.stored || (ack.sequence > 0 && ack.code == 0));
    line(s);
    while (ship_file_field(&s, "next", &value) || ship_file_number(&s, "noted", &number) ||
           ship_file_field(&s, "origin", &value) || ship_file_head(&s, "cellos-ship-cursor 1\n"))
        ;
    return 0;
}
