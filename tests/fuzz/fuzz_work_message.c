/* SPDX-License-Identifier: MIT */
/* What a JetStream server sends to `cellctl work`: the first byte chooses which of its texts the rest is. */
#include <stdlib.h>

#include "supervisor/ctl/work_message.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ack(struct str s)
{
    struct work_ack a = {0};
    int r = work_message_ack(s, &a);
    CHECK(r == 0 || r == -EBADMSG);
    CHECK(r == 0 ? a.delivered > 0 && a.sequence > 0 : a.delivered == 0 && a.sequence == 0);
}

static void check_stored(struct str s)
{
    char why[WORK_ANSWER_WHY] = "";
    int r = work_message_stored(s, why);
    CHECK(r == 0 || r == -EBADMSG || r == -EREMOTEIO);
    CHECK((r == -EREMOTEIO || !why[0]) && strlen(why) < sizeof(why));
    for (const char *p = why; *p; p++)
        CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static void check_job(struct str s)
{
    char token[WORK_TOKEN_LEN + 1], text[WORK_JOB_MAX + 1];
    if (!work_message_job_ok(s))
        return;
    CHECK(s.len <= WORK_JOB_MAX);
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    CHECK(strlen(text) == s.len);
    work_message_token(text, token);
    CHECK(strspn(token, "0123456789abcdef") == WORK_TOKEN_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct str) = {check_ack, check_stored, check_job};
    if (size > 0)
        checks[data[0] % ARRAY_LEN(checks)]((struct str){(const char *)data + 1, size - 1});
    return 0;
}
