/* SPDX-License-Identifier: MIT */
/* An egress rule as an operator types it: HOST[:PORT[-PORT]][/PROTO]. The one grammar of --allow, of `cellctl
 * policy --add` and --remove, and of the rule texts in events. */
#pragma once

#include <jansson.h>

#include "common/net/allow.h"

#define RULE_WORDS_PORT    443u /* when the text has none */
#define RULE_WORDS_WHY_MAX 160u

enum { RULE_WORDS_OK = 0, RULE_WORDS_BAD = 1 };

/* The rule in typed form. "/any" is how events write a rule without protocol. RULE_WORDS_OK; RULE_WORDS_BAD
 * with one clause in why and *ret untouched. */
int rule_words_parse(struct str text, struct allow_rule *ret, char why[RULE_WORDS_WHY_MAX]) MUST_CHECK;

/* The same as an entry of a document's egressRules, host and protocol as they were typed ("any": none); the
 * caller releases *ret. Also -ENOMEM. */
int rule_words_json(struct str text, json_t **ret, char why[RULE_WORDS_WHY_MAX]) MUST_CHECK;
