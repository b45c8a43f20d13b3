/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/work_streams.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/ctl/work_lease.h"

#define SECOND_NS  INT64_C(1000000000)
#define REQUEST_MS 5000

static int fail(natsStatus s, jsErrCode e, const char *what, char why[static JETSTREAM_WHY_MAX])
{
    (void)jetstream_error(s, e, what, why);
    return -EIO;
}

bool work_subject_ok(const char *s)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strlen(s);
    if (n == 0 || n > WORK_SUBJECT_MAX || s[0] == '.' || s[n - 1] == '.' || strstr(s, ".."))
        return false;
    for (; *s; s++)
        if (!memchr(good, *s, sizeof(good) - 1))
            return false;
    return true;
}

/* ---- streams ---- */

static int create(struct jetstream *js, jsStreamConfig *cfg, char why[static JETSTREAM_WHY_MAX])
{
    char what[96];
    jsStreamInfo *si = NULL;
    jsErrCode e = 0;
    natsStatus s = js_GetStreamInfo(&si, js->js, cfg->Name, NULL, &e);
    if (s == NATS_NOT_FOUND)
        s = js_AddStream(&si, js->js, cfg, NULL, &e);
    jsStreamInfo_Destroy(si);
    snprintf(what, sizeof(what), "making the stream %s", cfg->Name);
    return s == NATS_OK ? 0 : fail(s, e, what, why);
}

int work_streams_create(struct jetstream *js, const struct work_names *n, char why[static JETSTREAM_WHY_MAX])
{
    char queue[64], name[WORK_NAME_ROOM], results[WORK_SUBJECT_MAX + 3];
    const char *subject = queue;
    jsStreamConfig cfg;
    snprintf(queue, sizeof(queue), "cellos.work.%s", n->stream);
    if (jsStreamConfig_Init(&cfg) != NATS_OK)
        return -EIO;
    cfg.Name = n->stream;
    cfg.Subjects = &subject;
    cfg.SubjectsLen = 1;
    cfg.Retention = js_WorkQueuePolicy;
    cfg.Storage = js_FileStorage;
    int r = create(js, &cfg, why);
    if (r == 0 && n->results[0]) {
        snprintf(name, sizeof(name), "%s_RESULTS", n->stream);
        snprintf(results, sizeof(results), "%s.>", n->results);
        subject = results;
        cfg.Name = name;
        cfg.Retention = js_LimitsPolicy;
        cfg.MaxAge = WORK_RESULTS_DAYS * 24 * 3600 * SECOND_NS;
        r = create(js, &cfg, why);
    }
    if (r == 0) {
        subject = n->dead;
        cfg.Name = WORK_DEAD_STREAM;
        cfg.Retention = js_LimitsPolicy;
        cfg.MaxAge = 0;
        r = work_streams_keep(js, n->dead, name) ? 0 : create(js, &cfg, why);
    }
    return r;
}

int work_streams_subject(struct jetstream *js, const char *stream, char dst[static WORK_SUBJECT_MAX + 1],
                         char why[static JETSTREAM_WHY_MAX])
{
    jsStreamInfo *si = NULL;
    jsErrCode e = 0;
    natsStatus s = js_GetStreamInfo(&si, js->js, stream, NULL, &e);
    if (s != NATS_OK) {
        char what[96];
        snprintf(what, sizeof(what), "looking at the stream %s", stream);
        return fail(s, e, what, why);
    }
    const jsStreamConfig *cfg = si->Config;
    bool one = cfg && cfg->SubjectsLen == 1 && work_subject_ok(cfg->Subjects[0]);
    if (one)
        snprintf(dst, WORK_SUBJECT_MAX + 1, "%s", cfg->Subjects[0]);
    else
        snprintf(why, JETSTREAM_WHY_MAX,
                 "the stream %s takes more than one subject: say which with --subject", stream);
    jsStreamInfo_Destroy(si);
    return one ? 0 : -ENOENT;
}

/* ---- the consumer ---- */

static int check_consumer(const jsConsumerConfig *c, const struct work_names *n, uint64_t lease_s,
                          uint64_t *ret_lease_us, char why[static JETSTREAM_WHY_MAX])
{
    uint64_t lease_us = c->AckWait > 0 ? (uint64_t)c->AckWait / 1000 : 0;
    if (c->AckPolicy != js_AckExplicit || (c->DeliverSubject && c->DeliverSubject[0]))
        snprintf(why, JETSTREAM_WHY_MAX,
                 "the consumer %s of %s is not one that is pulled from and answered one by one: name another "
                 "with --consumer",
                 n->consumer, n->stream);
    else if (lease_us < LEASE_MIN_S * UINT64_C(1000000) || lease_us > LEASE_MAX_S * UINT64_C(1000000))
        snprintf(why, JETSTREAM_WHY_MAX,
                 "the lease of the consumer %s (its AckWait) must be %u to %u seconds", n->consumer,
                 LEASE_MIN_S, LEASE_MAX_S);
    else if (lease_s > 0 && lease_us != lease_s * 1000000)
        snprintf(why, JETSTREAM_WHY_MAX,
                 "the consumer %s has a lease of %" PRIu64 " seconds, which all hosts share: leave out "
                 "--lease, or delete the consumer first",
                 n->consumer, lease_us / 1000000);
    else {
        *ret_lease_us = lease_us;
        return 0;
    }
    return -EEXIST;
}

int work_streams_consumer(struct jetstream *js, const struct work_names *n, uint64_t lease_s,
                          uint64_t max_pending, uint64_t *ret_lease_us, char why[static JETSTREAM_WHY_MAX])
{
    char what[128];
    jsConsumerConfig cfg;
    jsConsumerInfo *ci = NULL;
    jsErrCode e = 0;
    natsStatus s = js_GetConsumerInfo(&ci, js->js, n->stream, n->consumer, NULL, &e);
    if (s == NATS_NOT_FOUND && e != JSStreamNotFoundErr && jsConsumerConfig_Init(&cfg) == NATS_OK) {
        cfg.Durable = n->consumer;
        cfg.AckPolicy = js_AckExplicit;
        cfg.AckWait = (int64_t)(lease_s > 0 ? lease_s : LEASE_DEFAULT_S) * SECOND_NS;
        cfg.MaxAckPending = (int64_t)max_pending;
        cfg.MaxWaiting = WORK_WAITING_MAX;
        s = js_AddConsumer(&ci, js->js, n->stream, &cfg, NULL, &e);
    }
    snprintf(what, sizeof(what), "the consumer %s of the stream %s", n->consumer, n->stream);
    if (s != NATS_OK || !ci || !ci->Config) {
        jsConsumerInfo_Destroy(ci);
        return fail(s, e, what, why);
    }
    int r = check_consumer(ci->Config, n, lease_s, ret_lease_us, why);
    jsConsumerInfo_Destroy(ci);
    return r;
}

bool work_streams_keep(struct jetstream *js, const char *subject, char name[static WORK_NAME_ROOM])
{
    char text[WORK_SUBJECT_MAX + 64];
    natsMsg *reply = NULL;
    snprintf(text, sizeof(text), "{\"subject\":\"%s\"}", subject);
    natsStatus s = natsConnection_RequestString(&reply, js->nc, "$JS.API.STREAM.NAMES", text, REQUEST_MS);
    if (s != NATS_OK)
        return false;
    json_t *root = json_loadb(natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply),
                              JSON_REJECT_DUPLICATES, NULL);
    const char *first = json_string_value(json_array_get(json_object_get(root, "streams"), 0));
    snprintf(name, WORK_NAME_ROOM, "%s", first ? first : "");
    json_decref(root);
    natsMsg_Destroy(reply);
    return name[0] != '\0';
}
