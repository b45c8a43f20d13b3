/* SPDX-License-Identifier: MIT */
/* What cellctl events and report make of an event's data: the first byte picks the type, the rest is the
 * data. */
#include <stdio.h>

#include "proto/events.h"
#include "supervisor/ctl/events_format.h"
#include "supervisor/ctl/events_text.h"
#include "supervisor/ctl/report_out.h"
#include "supervisor/ctl/report_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static FILE *nowhere(void)
{
    static FILE *f;
    if (!f)
        f = fopen("/dev/null", "w");
    return f;
}

static void rows(struct str suffix, const json_t *d)
{
    json_t *first = json_pack("{s:O, s:O}", "lifecycle.v1.destroyed", d, "command.v1.completed", d);
    json_t *row = report_row(suffix, d, STR_LIT("2026-11-29T17:20:21Z"), 1);
    json_t *facts = report_facts("run", "cell", first);
    for (size_t i = 0; row && i < REPORT_COLUMNS; i++)
        report_put_text(nowhere(), json_string_value(json_object_get(row, report_columns[i])));
    if (row && report_put_json(nowhere(), row) < 0)
        abort();
    json_decref(row);
    json_decref(facts);
    json_decref(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct events_format f = {.width = 80};
    struct buf out;
    char type[128];
    if (size < 1 || size > ENVELOPE_DATA_MAX || !nowhere())
        return 0;
    const char *suffix = event_row(1 + data[0] % (_EVENT_TYPE_MAX - 1))->suffix;
    struct str raw = {(const char *)data + 1, size - 1};
    (void)snprintf(type, sizeof(type), EVENT_TYPE_PREFIX "%s", suffix);
    struct envelope e = {.id = STR_LIT("01a22852-7143-7001-8000-000000000001"),
                         .source = STR_LIT("/cellos/proxyd/host"),
                         .type = str_of(type),
                         .subject = STR_LIT("urn:cellos:cell:web-1"),
                         .time = STR_LIT("2026-11-29T17:20:21Z"),
                         .runid = STR_LIT("01a22852-7143-7d70-bb86-1d7ce09d8607"),
                         .data = raw};
    json_t *d = json_loadb(raw.p, raw.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(d)) {
        json_decref(d);
        d = NULL;
    }
    buf_init(&out, 16u * EVENTS_LINE_MAX);
    if (events_format_see(&f, &e, d) == 0) {
        events_format_line(&f, &e, d, &out);
        (void)events_format_end(&f, &e, d, &out);
    }
    for (size_t i = 0; i < out.len; i++) /* nothing of it steers a terminal */
        if ((out.data[i] < 0x20 && out.data[i] != '\n') || out.data[i] == 0x7f)
            abort();
    report_put_quoted(nowhere(), raw);
    if (d)
        rows(str_of(suffix), d);
    events_format_done(&f);
    buf_done(&out);
    json_decref(d);
    return 0;
}
