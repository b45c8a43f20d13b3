/* SPDX-License-Identifier: MIT */
/* What a client is told that is denied: a status and one line that names the rule. */
#pragma once

#include "common/base/buf.h"
#include "proxyd/judge.h"

/* 403, or 502 and 503 where not the policy is the cause. */
unsigned http_answer_status(const struct judgement *j);

/* One line for the person behind the client, with its LF: what was denied, why, and what would allow it. Its
 * length. */
#define HTTP_WORDS_MAX 1024u
size_t http_answer_words(const struct judgement *j, const struct endpoint_addr *original,
                         char dst[HTTP_WORDS_MAX]);

/* An HTTP/1.1 response to b. close: the connection ends behind it; is_head: without the body. */
void http_answer_put(const struct judgement *j, const struct endpoint_addr *original, bool close,
                     bool is_head, struct buf *b);
