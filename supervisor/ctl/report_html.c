/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/report_html.h"

#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/encoding.h"
#include "common/evidence/tile_reader.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/report_out.h"
#include "supervisor/ctl/report_page.h"
#include "supervisor/ctl/report_rows.h"

static void put_str(FILE *f, struct str s)
{
    (void)fwrite(s.p, 1, s.len, f);
}

/* ---- head ---- */

/* 'sha256-...' of the script or style as it stands between its tags. */
static void put_hash(FILE *f, struct str s)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    uint8_t d[DIGEST_LEN];
    buf_init(&b, 64);
    digest_sha256(s.p, s.len, d);
    encoding_base64_put(&b, d, sizeof(d));
    (void)fprintf(f, "'sha256-%.*s'", (int)b.len, b.data ? (const char *)b.data : "");
}

/* Nothing is loaded, nothing is sent; the only script and style are these. */
static void put_head(FILE *f, const struct report *r)
{
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src ",
                f);
    put_hash(f, report_page_js());
    (void)fputs("; style-src ", f);
    put_hash(f, report_page_css());
    (void)fputs("; img-src data:; base-uri 'none'; form-action 'none'\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"referrer\" content=\"no-referrer\">\n<link rel=\"icon\" href=\"data:,\">\n"
                "<title>CellOS run report: ",
                f);
    report_put_text(f, r->cell);
    (void)fputs("</title>\n<style>", f);
    put_str(f, report_page_css());
    (void)fputs("</style>\n</head>\n", f);
}

/* ---- for readers without a script ---- */

static void put_facts(FILE *f, const json_t *facts)
{
    size_t i;
    const json_t *pair;
    (void)fputs("<table id=\"printed-facts\">\n", f);
    json_array_foreach(facts, i, pair)
    {
        (void)fputs("<tr><th>", f);
        report_put_text(f, json_string_value(json_array_get(pair, 0)));
        (void)fputs("</th><td>", f);
        report_put_text(f, json_string_value(json_array_get(pair, 1)));
        (void)fputs("</td></tr>\n", f);
    }
    (void)fputs("</table>\n", f);
}

static bool is_embedded(const struct report *r, const json_t *row, size_t *at)
{
    uint64_t sequence = strtoull(why_text(row, "sequence"), NULL, 10);
    while (*at < r->n && r->events[*at].sequence < sequence)
        (*at)++;
    return *at < r->n && r->events[*at].sequence == sequence;
}

static void put_rows(FILE *f, const struct report *r)
{
    size_t i, at = 0, printed = 0;
    const json_t *row;
    (void)fprintf(f, "<table id=\"printed-rows\" class=\"wide\" data-max=\"%u\">\n<thead><tr>",
                  REPORT_ROWS_PRINTED);
    for (i = 0; i < REPORT_COLUMNS; i++)
        (void)fprintf(f, "<th>%s</th>", report_columns[i]);
    (void)fputs("</tr></thead>\n<tbody>\n", f);
    json_array_foreach(r->rows, i, row)
    {
        if (printed == REPORT_ROWS_PRINTED || !is_embedded(r, row, &at))
            continue;
        printed++;
        (void)fprintf(f, "<tr class=\"%s\" data-sequence=\"%s\">",
                      strcmp(why_text(row, "action"), "deny") == 0 ? "deny" : "", why_text(row, "sequence"));
        for (size_t k = 0; k < REPORT_COLUMNS; k++) {
            (void)fputs("<td>", f);
            report_put_text(f, why_text(row, report_columns[k]));
            (void)fputs("</td>", f);
        }
        (void)fputs("</tr>\n", f);
    }
    (void)fputs("</tbody></table>\n", f);
}

static int put_printed(FILE *f, const struct report *r)
{
    json_t *facts = report_facts(r->run, r->cell, r->first);
    if (!facts)
        return -ENOMEM;
    (void)fputs(
        "<noscript id=\"printed\">\n<h1>CellOS run report</h1>\n<p>Without JavaScript this page shows "
        "the summary and the decisions as cellctl wrote them, and cannot check them: use <code>cellctl "
        "verify</code>, or allow its script, which needs no network.</p>\n",
        f);
    put_facts(f, facts);
    (void)fputs("<h2>Egress decisions</h2>\n", f);
    put_rows(f, r);
    (void)fputs("</noscript>\n", f);
    json_decref(facts);
    return 0;
}

/* ---- what the script reads ---- */

static json_t *counts_json(const struct report *r)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < r->ncounts; i++)
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:I, s:I}", "type", r->counts[i].type, "action",
                                              r->counts[i].action, "count", (json_int_t)r->counts[i].count,
                                              "embedded", (json_int_t)r->counts[i].embedded));
    return list;
}

static void verdict_text(const struct report *r, char *dst, size_t cap)
{
    if (r->verdict.verdict == LOG_GOOD)
        (void)snprintf(dst, cap, "the log verified (%s)",
                       r->key_from == KEY_GIVEN   ? "under the key that was given"
                       : r->key_from == KEY_STATE ? "under the key of this user's state"
                                                  : "under the key it declares itself");
    else
        (void)snprintf(dst, cap, "THE LOG DID NOT VERIFY: %s", r->verdict.why);
}

static int put_meta(FILE *f, const struct report *r)
{
    char now[CLOCK_RFC3339_LEN + 1] = "", verdict[LOG_CHECK_WHY_MAX + 64];
    if (clock_format_rfc3339(clock_realtime_ms() / 1000, now) < 0)
        return -ERANGE;
    verdict_text(r, verdict, sizeof(verdict));
    json_t *meta = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s%, s:s%, s:I, s:b, s:b, s:I, s:I, s:s, s:o}", "format",
        "cellos-report/1", "cellctl", CELLOS_VERSION, "written", now, "runId", r->run, "cellId", r->cell,
        "origin", r->head->checkpoint.origin, "vkeys", report_vkeys(r), "keyset",
        r->head->keyset.data ? (const char *)r->head->keyset.data : "", r->head->keyset.len, "checkpoint",
        (const char *)r->head->note.data, r->head->note.len, "logSize", (json_int_t)r->head->checkpoint.size,
        "whole", r->whole, "cut", r->cut, "total", (json_int_t)r->total, "embedded", (json_int_t)r->n,
        "verdict", verdict, "counts", counts_json(r));
    (void)fputs("<script type=\"application/json\" id=\"report-meta\">", f);
    int e = meta ? report_put_json(f, meta) : -ENOMEM;
    (void)fputs("</script>\n", f);
    json_decref(meta);
    return e;
}

static int put_advice(FILE *f, const struct report *r)
{
    json_t *why = why_json(&r->why);
    (void)fputs("<script type=\"application/json\" id=\"report-advice\">", f);
    int e = why ? report_put_json(f, why) : -ENOMEM;
    (void)fputs("</script>\n", f);
    json_decref(why);
    return e;
}

/* ---- proofs ---- */

#define CACHE_WAYS 4

/* Proofs of neighbours share nearly all their hashes, and making one out of a tile costs up to 255 digests.
 */
struct proof_cache {
    struct proof_source tree;
    struct {
        bool full;
        uint64_t index;
        uint8_t hash[DIGEST_LEN];
    } slot[MERKLE_LEVELS][CACHE_WAYS];
    unsigned next[MERKLE_LEVELS];
};

static int cached_hash(void *arg, unsigned level, uint64_t index, uint8_t ret[static DIGEST_LEN])
{
    struct proof_cache *c = arg;
    if (level >= MERKLE_LEVELS)
        return -ERANGE;
    for (unsigned i = 0; i < CACHE_WAYS; i++)
        if (c->slot[level][i].full && c->slot[level][i].index == index) {
            memcpy(ret, c->slot[level][i].hash, DIGEST_LEN);
            return 0;
        }
    int e = c->tree.hash(c->tree.arg, level, index, ret);
    if (e < 0)
        return e;
    unsigned way = c->next[level]++ % CACHE_WAYS;
    c->slot[level][way].full = true;
    c->slot[level][way].index = index;
    memcpy(c->slot[level][way].hash, ret, DIGEST_LEN);
    return 0;
}

static int put_event(FILE *f, const struct report *r, const struct proof_source *tree,
                     const struct report_event *ev)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct proof p;
    int e = proof_inclusion(tree, ev->sequence, r->head->checkpoint.size, &p);
    if (e < 0)
        return e;
    buf_init(&b, 4u * PROOF_HASHES_MAX * DIGEST_LEN);
    encoding_base64_put(&b, p.hash, p.n * DIGEST_LEN);
    if (b.err)
        return b.err;
    (void)fputs("{\"line\":\"", f);
    report_put_quoted(f, (struct str){ev->line, ev->len});
    (void)fprintf(f, "\",\"proof\":\"%.*s\"%s}\n", (int)b.len, b.data ? (const char *)b.data : "",
                  ev->bare ? ",\"bare\":true" : "");
    return 0;
}

/* One JSON object a line: a line that is broken spoils only itself. */
static int put_events(FILE *f, const struct report *r)
{
    _cleanup_(tile_reader_freep) struct tile_reader *tiles = NULL;
    int e = tile_reader_open(r->head->fd, r->head->checkpoint.size, TILE_READER_TILES, &tiles);
    if (e < 0)
        return e;
    struct proof_cache *cache = calloc(1, sizeof(*cache));
    if (!cache)
        return -ENOMEM;
    cache->tree = tile_reader_source(tiles);
    struct proof_source tree = {cached_hash, cache};
    (void)fputs("<script type=\"application/x-ndjson\" id=\"report-events\">\n", f);
    for (size_t i = 0; e == 0 && i < r->n; i++)
        e = put_event(f, r, &tree, &r->events[i]);
    free(cache);
    (void)fputs("</script>\n", f);
    return e;
}

int report_html(FILE *f, const struct report *r)
{
    put_head(f, r);
    (void)fputs("<body>\n", f);
    put_str(f, report_page_html());
    int e = put_printed(f, r);
    if (e == 0)
        e = put_meta(f, r);
    if (e == 0)
        e = put_advice(f, r);
    if (e == 0)
        e = put_events(f, r);
    (void)fputs("<script>", f);
    put_str(f, report_page_js());
    (void)fputs("</script>\n</body>\n</html>\n", f);
    return e;
}
