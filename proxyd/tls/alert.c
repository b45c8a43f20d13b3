/* SPDX-License-Identifier: MIT */
#include "proxyd/tls/alert.h"

#include <string.h>

void alert_record(enum alert_code code, uint8_t ret[ALERT_LEN])
{
    /* alert(21), version 3.3 as every plain record since TLS 1.2, two bytes: fatal(2), the code */
    const uint8_t record[ALERT_LEN] = {21, 3, 3, 0, 2, 2, (uint8_t)code};

    memcpy(ret, record, ALERT_LEN);
}
