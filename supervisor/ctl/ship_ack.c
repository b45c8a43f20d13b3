/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/ship_ack.h"

#include <limits.h>
#include <stdio.h>

#include <jansson.h>

void ship_ack_read(const char *data, size_t len, struct ship_ack *ret)
{
    json_t *j = len <= SHIP_ACK_MAX ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t *error = json_object_get(j, "error");
    json_int_t sequence = json_integer_value(json_object_get(j, "seq"));
    json_int_t code = json_integer_value(json_object_get(error, "err_code"));
    const char *text = json_string_value(json_object_get(error, "description"));

    *ret = (struct ship_ack){.stored = !error && sequence > 0};
    if (ret->stored) {
        ret->sequence = (uint64_t)sequence;
    } else {
        ret->code = code > 0 && code <= INT_MAX ? (int)code : 0;
        (void)snprintf(ret->text, sizeof(ret->text), "%s", text ? text : "its answer is none of JetStream");
    }
    json_decref(j);
}
