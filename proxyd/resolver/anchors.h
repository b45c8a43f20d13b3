/* SPDX-License-Identifier: MIT */
/* Trust anchors: DS and DNSKEY records as zone file text (RFC 1035 section 5.1: comments, parentheses over
 * several lines; no directives, names fully qualified), or the root's own. */
#pragma once

#include "proxyd/dns/dns.h"

#define DNS_ANCHORS_MAX     64u   /* records of one text */
#define DNS_ANCHOR_LINE_MAX 8192u /* bytes of one record */

/* Each record on one line, NUL-terminated, without comments and parentheses. fn says 0 to go on. 0, fn's
 * error, or -EINVAL: a directive, another type, too long, too many, none at all. Empty text: the root's
 * anchors. */
int dns_anchors_each(struct str text, int (*fn)(void *data, const char *record), void *data) MUST_CHECK;

/* Does the text read? 0 or -EINVAL. Whether the keys themselves are sound shows when they are used. */
int dns_anchors_check(struct str text) MUST_CHECK;
