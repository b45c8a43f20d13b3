/* SPDX-License-Identifier: MIT */
/* An HTTP endpoint as destination: CloudEvents HTTP protocol binding 1.0, structured mode (one event a
 * request) or batched. One request at a time, so order is kept; the answer is awaited, so nothing is lost.
 * HTTP has no memory of its own: after a lost answer the same events are sent again, and a receiver knows
 * them by their id. */
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#include <jansson.h>

#include "common/base/io.h"
#include "supervisor/ctl/backoff.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/curl_lib.h"
#include "supervisor/ctl/ship.h"

#define TYPE_ONE        "application/cloudevents+json; charset=utf-8"
#define TYPE_BATCH      "application/cloudevents-batch+json; charset=utf-8"
#define TYPE_CHECKPOINT "dev.cellos.log.v1.checkpoint"
#define ANSWER_MAX      200 /* bytes of the answer's body that are shown */

struct ship_http {
    struct ship_dest dest;
    struct ship *ship;
    const struct curl_lib *c;
    CURL *curl;
    char error[CURL_ERROR_SIZE];
    char answer[ANSWER_MAX + 1];
    size_t answered;
    size_t limit;   /* events of the next request */
    unsigned tries; /* of the first event, after answers that speak against it */
    char tried[SHIP_ID_MAX + 1];
};

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct ship_http *h = arg;
    size_t room = ANSWER_MAX - h->answered, take = n < room ? n : room;

    memcpy(h->answer + h->answered, p, take);
    h->answered += take;
    h->answer[h->answered] = '\0';
    return size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct ship_http *h = arg;
    bool late;

    (void)a, (void)b, (void)c, (void)d;
    return ship_stopping(h->ship, &late) && late;
}

/* A checkpoint is no event; it is wrapped into one, unchanged as text. */
static int put_checkpoint(struct buf *b, const struct ship_item *i)
{
    json_t *j =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s%}", "specversion", "1.0", "id", i->id, "source", i->origin,
                  "type", TYPE_CHECKPOINT, "datacontenttype", "text/plain", "data", i->data, i->len);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

    if (text)
        buf_puts(b, text);
    free(text);
    json_decref(j);
    return text ? 0 : -EBADMSG;
}

static int put_body(struct buf *b, const struct ship_item *items, size_t n, bool batch)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        if (batch)
            buf_putc(b, i == 0 ? '[' : ',');
        if (items[i].checkpoint)
            r = put_checkpoint(b, &items[i]);
        else
            buf_put(b, items[i].data, items[i].len);
    }
    if (batch)
        buf_putc(b, ']');
    return r < 0 ? r : b->err;
}

static int add(const struct ship_http *h, struct curl_slist **headers, const char *line)
{
    struct curl_slist *more = h->c->slist_append(*headers, line);

    if (!more)
        return -ENOMEM;
    *headers = more;
    return 0;
}

/* "Authorization: Bearer ..." from the file, read each time: a token that was renewed counts. */
static int add_token(const struct ship_http *h, const char *path, struct curl_slist **headers)
{
    uint8_t room[SHIP_TOKEN_MAX];
    struct buf b = {.data = room, .cap = sizeof(room), .max = sizeof(room) - 1};
    char line[SHIP_TOKEN_MAX + 32];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_read_to_end(fd, &b);

    while (r == 0 && b.len > 0 && room[b.len - 1] <= ' ')
        b.len--;
    for (size_t i = 0; i < b.len; i++)
        if (room[i] <= ' ' || room[i] >= 0x7f)
            r = -EBADMSG;
    if (r == 0 && b.len == 0)
        r = -EBADMSG;
    if (r == 0) {
        (void)snprintf(line, sizeof(line), "Authorization: Bearer %.*s", (int)b.len, room);
        r = add(h, headers, line);
    }
    sodium_memzero(room, sizeof(room));
    sodium_memzero(line, sizeof(line));
    return r;
}

static int make_headers(struct ship_http *h, const struct ship_item *items, size_t n, bool batch,
                        struct curl_slist **ret)
{
    char key[2 * SHIP_ID_MAX + 32];
    int r = add(h, ret, batch ? "Content-Type: " TYPE_BATCH : "Content-Type: " TYPE_ONE);

    if (n == 1)
        (void)snprintf(key, sizeof(key), "Idempotency-Key: \"%s\"", items[0].id);
    else
        (void)snprintf(key, sizeof(key), "Idempotency-Key: \"%s/%s\"", items[0].id, items[n - 1].id);
    if (r == 0)
        r = add(h, ret, key);
    if (r == 0)
        r = add(h, ret, "Expect:");
    if (r == 0 && h->ship->args.token_file)
        r = add_token(h, h->ship->args.token_file, ret);
    return r;
}

static void result(struct ship_result *r, enum ship_verdict v, uint32_t wait_ms, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void result(struct ship_result *r, enum ship_verdict v, uint32_t wait_ms, const char *fmt, ...)
{
    va_list ap;

    r->verdict = v;
    r->wait_ms = wait_ms;
    va_start(ap, fmt);
    (void)vsnprintf(r->why, sizeof(r->why), fmt, ap);
    va_end(ap);
}

/* The answer speaks against what was sent: a batch is sent again in smaller parts until it is one event, and
 * that one several times before it is given up. */
static void against(struct ship_http *h, const struct ship_item *items, size_t n, long code,
                    struct ship_result *ret)
{
    if (n > 1) {
        h->limit = code == 413 ? n / 2 : 1;
        result(ret, SHIP_AGAIN, 0, "answer %ld to %zu events", code, n);
        return;
    }
    if (strcmp(h->tried, items[0].id) != 0)
        h->tries = 0;
    memcpy(h->tried, items[0].id, sizeof(h->tried));
    h->tries++;
    result(ret, h->tries < SHIP_HTTP_TRIES ? SHIP_WAIT : SHIP_DEAD, 0, "answer %ld%s%s", code,
           h->answer[0] ? ": " : "", h->answer);
}

static void judge(struct ship_http *h, const struct ship_item *items, size_t n, long code,
                  struct ship_result *ret)
{
    curl_off_t after = 0;
    uint32_t wait_ms = 0;

    if (h->c->easy_getinfo(h->curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
        wait_ms = after > BACKOFF_MAX_MS / 1000 ? BACKOFF_MAX_MS : (uint32_t)after * 1000;
    switch (code) {
    case 400:
    case 406:
    case 413:
    case 414:
    case 415:
    case 422:
    case 431:
        against(h, items, n, code, ret);
        return;
    case 401:
    case 403:
        result(ret, SHIP_WAIT, wait_ms, "%s refuses us (answer %ld)%s%s: --token-file", h->ship->args.to,
               code, h->answer[0] ? ": " : "", h->answer);
        return;
    default:
        result(ret, SHIP_WAIT, wait_ms, "answer %ld%s%s", code, h->answer[0] ? ": " : "", h->answer);
    }
}

static CURLcode post(struct ship_http *h, const struct buf *body, struct curl_slist *headers, long *ret_code)
{
    CURLcode c = h->c->easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);

    h->answered = 0;
    h->answer[0] = h->error[0] = '\0';
    if (c == CURLE_OK)
        c = h->c->easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
    if (c == CURLE_OK)
        c = h->c->easy_setopt(h->curl, CURLOPT_POSTFIELDS, body->data);
    if (c == CURLE_OK)
        c = h->c->easy_perform(h->curl);
    return c == CURLE_OK ? h->c->easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, ret_code) : c;
}

static void http_deliver(struct ship_dest *d, const struct ship_item *items, size_t count,
                         struct ship_result *ret)
{
    struct ship_http *h = (struct ship_http *)d;
    _cleanup_(buf_done) struct buf body = {.data = NULL};
    struct curl_slist *headers = NULL;
    bool batch = h->ship->args.batch > 0;
    size_t n = count < h->limit ? count : h->limit;
    long code = 0;
    CURLcode c = CURLE_OK;
    int r;

    buf_init(&body, SHIP_WINDOW_BYTES_MAX + CHECKPOINT_NOTE_MAX * 6 + SHIP_BATCH_MAX * 8);
    r = put_body(&body, items, n, batch);
    if (r == 0)
        r = make_headers(h, items, n, batch, &headers);
    if (r == 0)
        c = post(h, &body, headers, &code);
    h->c->slist_free_all(headers);
    if (r < 0) {
        result(ret, SHIP_STOP, 0, "cannot make the request: %s", strerror(-r));
    } else if (c != CURLE_OK) {
        result(ret, SHIP_WAIT, 0, "%.200s: %.250s", h->ship->args.to,
               h->error[0] ? h->error : h->c->easy_strerror(c));
    } else if (code >= 200 && code < 300) {
        ret->done = n;
        ret->verdict = n == count ? SHIP_ALL : SHIP_AGAIN;
        h->limit = 2 * h->limit < h->ship->args.batch ? 2 * h->limit
                   : h->ship->args.batch              ? h->ship->args.batch
                                                      : 1;
    } else {
        judge(h, items, n, code, ret);
    }
}

static struct ship_dest *http_free(struct ship_dest *d)
{
    struct ship_http *h = (struct ship_http *)d;

    h->c->easy_cleanup(h->curl);
    free(h);
    return NULL;
}

static CURLcode set_options(struct ship_http *h)
{
    const struct ship_args *a = &h->ship->args;
    CURLcode c = CURLE_OK;

#define SET(option, value) (c = c != CURLE_OK ? c : h->c->easy_setopt(h->curl, option, value))
    SET(CURLOPT_URL, a->to);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)SHIP_HTTP_CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)SHIP_HTTP_TOTAL_MS);
    SET(CURLOPT_USERAGENT, "cellctl/" CELLOS_VERSION);
    SET(CURLOPT_ERRORBUFFER, h->error);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, h);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, h);
    SET(CURLOPT_NOPROGRESS, 0L);
    if (a->token_file && strncmp(a->to, "http://", 7) == 0)
        SET(CURLOPT_PROXY,
            ""); /* without TLS a token goes to this machine only, whatever the environment says */
    if (a->nats.ca)
        SET(CURLOPT_CAINFO, a->nats.ca);
    if (a->nats.cert) {
        SET(CURLOPT_SSLCERT, a->nats.cert);
        SET(CURLOPT_SSLKEY, a->nats.key);
    }
#undef SET
    return c;
}

int ship_http_new(struct ship *s, struct ship_dest **ret)
{
    static const struct ship_dest_ops ops = {.deliver = http_deliver, .free = http_free};
    struct ship_http *h = calloc(1, sizeof(*h));
    const char *why;

    if (!h)
        return -ENOMEM;
    h->dest.ops = &ops;
    h->ship = s;
    h->limit = s->args.batch ? s->args.batch : 1;
    h->c = curl_lib_load(&why);
    if (!h->c) {
        free(h);
        (void)ctl_fail(CTL_FAILED, "ship", "HTTP needs libcurl (Debian: libcurl4): %s", why);
        return -ENOENT;
    }
    h->curl = h->c->global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? h->c->easy_init() : NULL;
    if (!h->curl || set_options(h) != CURLE_OK) {
        http_free(&h->dest);
        return -EINVAL;
    }
    *ret = &h->dest;
    return 0;
}
