/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/work_message.h"

#include <jansson.h>

#include <openssl/sha.h>

#include "common/base/num.h"

#define TOKENS_MAX (WORK_ACK_TOKENS_V2 + 1)

static size_t split(struct str s, struct str *tokens, size_t max)
{
    size_t n = 0;
    while (n < max) {
        const char *dot = memchr(s.p, '.', s.len);
        size_t len = dot ? (size_t)(dot - s.p) : s.len;
        tokens[n++] = (struct str){s.p, len};
        if (!dot)
            return n;
        s = (struct str){dot + 1, s.len - len - 1};
    }
    return max + 1;
}

int work_message_ack(struct str reply, struct work_ack *ret)
{
    struct str t[TOKENS_MAX];
    struct work_ack a;
    if (!reply.p || reply.len > WORK_ACK_MAX)
        return -EBADMSG;
    size_t n = split(reply, t, TOKENS_MAX);
    if (n != WORK_ACK_TOKENS && (n < WORK_ACK_TOKENS_V2 || n > TOKENS_MAX))
        return -EBADMSG;
    size_t first = n == WORK_ACK_TOKENS ? 4 : 6; /* the count of deliveries */
    if (!str_is(t[0], "$JS") || !str_is(t[1], "ACK") ||
        num_parse_u64(t[first], 1, UINT64_MAX, &a.delivered) < 0 ||
        num_parse_u64(t[first + 1], 1, UINT64_MAX, &a.sequence) < 0)
        return -EBADMSG;
    *ret = a;
    return 0;
}

static void document_unref(json_t **j)
{
    json_decref(*j);
}

int work_message_stored(struct str body, char why[static WORK_ANSWER_WHY])
{
    if (!body.p || body.len == 0 || body.len > WORK_ANSWER_MAX)
        return -EBADMSG;
    _cleanup_(document_unref) json_t *root = json_loadb(body.p, body.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *text = json_string_value(json_object_get(error, "description"));
    if (error) {
        text = text ? text : "no reason given";
        str_escape(why, WORK_ANSWER_WHY, text, strlen(text));
        return -EREMOTEIO;
    }
    return json_is_string(json_object_get(root, "stream")) && json_is_integer(json_object_get(root, "seq"))
               ? 0
               : -EBADMSG;
}

bool work_message_job_ok(struct str id)
{
    if (!id.p || id.len == 0 || id.len > WORK_JOB_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.p[i] <= ' ' || id.p[i] >= 0x7f)
            return false;
    return true;
}

static void hex(const uint8_t *p, size_t n, char *dst)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *dst++ = digits[p[i] >> 4];
        *dst++ = digits[p[i] & 15];
    }
    *dst = '\0';
}

void work_message_digest(struct str bytes, char dst[static LIMIT_DIGEST + 1])
{
    static const char prefix[] = "sha256:";
    uint8_t sha256[32];
    SHA256((const uint8_t *)bytes.p, bytes.len, sha256);
    memcpy(dst, prefix, sizeof(prefix) - 1);
    hex(sha256, sizeof(sha256), dst + sizeof(prefix) - 1);
}

void work_message_token(const char *job, char dst[static WORK_TOKEN_LEN + 1])
{
    uint8_t sha256[32];
    SHA256((const uint8_t *)job, strlen(job), sha256);
    hex(sha256, WORK_TOKEN_LEN / 2, dst);
}
