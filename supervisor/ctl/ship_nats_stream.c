/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/ship_nats_stream.h"

#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

#include "common/base/num.h"

#define DUPLICATES_NS (120ll * 1000 * 1000 * 1000)
#define ANSWER_MAX    (1 << 20)

/* The first name of STREAM.NAMES for a subject, "" for none. 0 or -EIO. */
static int stream_of(struct jetstream *js, const char *subject, char dst[static SHIP_STREAM_MAX + 1],
                     char why[static JETSTREAM_WHY_MAX])
{
    char request[SHIP_SUBJECT_MAX + 32];
    natsMsg *m = NULL;
    json_t *j = NULL;
    const char *name;
    natsStatus s;

    (void)snprintf(request, sizeof(request), "{\"subject\":\"%s\"}", subject);
    s = natsConnection_RequestString(&m, js->nc, "$JS.API.STREAM.NAMES", request, JETSTREAM_REQUEST_MS);
    if (s != NATS_OK) {
        (void)jetstream_error(s, s == NATS_NO_RESPONDERS ? JSNotEnabledErr : 0, "looking for the stream",
                              why);
        return -EIO;
    }
    if (natsMsg_GetDataLength(m) <= ANSWER_MAX)
        j = json_loadb(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), 0, NULL);
    natsMsg_Destroy(m);
    name = json_string_value(json_array_get(json_object_get(j, "streams"), 0));
    (void)snprintf(dst, SHIP_STREAM_MAX + 1, "%s", name ? name : "");
    if (json_object_get(j, "error"))
        (void)snprintf(why, JETSTREAM_WHY_MAX, "JetStream says: %.300s",
                       json_string_value(json_object_get(json_object_get(j, "error"), "description")));
    int r = j && !json_object_get(j, "error") ? 0 : -EIO;
    json_decref(j);
    return r;
}

static int create(struct jetstream *js, const char *name, char why[static JETSTREAM_WHY_MAX])
{
    const char *subjects[] = {SHIP_SUBJECT_EVENTS ".>", SHIP_SUBJECT_NOTES ".>"};
    jsStreamConfig c;
    jsErrCode code = 0;
    natsStatus s = jsStreamConfig_Init(&c);

    c.Name = name;
    c.Description = "CellOS events and checkpoints";
    c.Subjects = subjects;
    c.SubjectsLen = 2;
    c.Storage = js_FileStorage;
    c.Retention = js_LimitsPolicy;
    c.Discard = js_DiscardNew; /* full: the ship waits, nothing that is in there goes */
    c.Duplicates = DUPLICATES_NS;
    c.DenyDelete = true;
    if (s == NATS_OK)
        s = js_AddStream(NULL, js->js, &c, NULL, &code);
    if (s == NATS_OK)
        return 0;
    (void)jetstream_error(s, code, "making the stream", why);
    return -EIO;
}

static int none(const struct ship_args *a, char why[static JETSTREAM_WHY_MAX])
{
    (void)snprintf(why, JETSTREAM_WHY_MAX,
                   "no stream takes " SHIP_SUBJECT_EVENTS
                   ".%s.>: `cellctl ship --create-stream CELLOS ...` makes one, "
                   "or: nats stream add CELLOS --subjects '" SHIP_SUBJECT_EVENTS ".>," SHIP_SUBJECT_NOTES
                   ".>' --storage file --retention limits --discard new --defaults",
                   a->tenant);
    return -EINVAL;
}

int ship_stream_find(struct jetstream *js, const struct ship_args *a, struct ship_stream *ret,
                     char why[static JETSTREAM_WHY_MAX])
{
    char events[SHIP_SUBJECT_MAX], notes[SHIP_SUBJECT_MAX], other[SHIP_STREAM_MAX + 1] = "";
    struct ship_stream s = {.name = ""};
    int r;

    (void)snprintf(events, sizeof(events), SHIP_SUBJECT_EVENTS ".%s.>", a->tenant);
    (void)snprintf(notes, sizeof(notes), SHIP_SUBJECT_NOTES ".%s", a->tenant);
    r = stream_of(js, events, s.name, why);
    if (r == 0 && !s.name[0] && a->create_stream) {
        r = create(js, a->create_stream, why);
        if (r == 0)
            r = stream_of(js, events, s.name, why);
    }
    if (r == 0 && !a->no_checkpoints)
        r = stream_of(js, notes, other, why);
    if (r < 0)
        return r;
    if (!s.name[0])
        return none(a, why);
    if (a->stream && strcmp(a->stream, s.name) != 0) {
        (void)snprintf(why, JETSTREAM_WHY_MAX, "stream %.100s takes %.100s here, not %.100s", s.name, events,
                       a->stream);
        return -EINVAL;
    }
    if (!a->no_checkpoints && strcmp(other, s.name) != 0) {
        (void)snprintf(
            why, JETSTREAM_WHY_MAX,
            "stream %.100s does not take %.100s: add it to its subjects, or ship with --no-checkpoints",
            s.name, notes);
        return -EINVAL;
    }
    *ret = s;
    return 0;
}

int ship_stream_look(struct jetstream *js, struct ship_stream *s, char why[static JETSTREAM_WHY_MAX])
{
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus st = js_GetStreamInfo(&info, js->js, s->name, NULL, &code);

    if (st != NATS_OK) {
        (void)jetstream_error(st, code, "looking at the stream", why);
        return -EIO;
    }
    s->created = (uint64_t)info->Created;
    s->first = info->State.FirstSeq;
    s->last = info->State.LastSeq;
    s->work_queue = info->Config && info->Config->Retention == js_WorkQueuePolicy;
    jsStreamInfo_Destroy(info);
    return 0;
}

/* One message: true when it was ours and changed anything. */
static bool look_at(struct ship *ship, natsMsg *m)
{
    struct ship_claim c = {.subject = natsMsg_GetSubject(m)};
    const char *number = NULL;

    if (natsMsgHeader_Get(m, SHIP_HEADER_ORIGIN, &c.origin) != NATS_OK ||
        natsMsgHeader_Get(m, "Nats-Msg-Id", &c.id) != NATS_OK)
        return false;
    if (natsMsgHeader_Get(m, SHIP_HEADER_SEQUENCE, &number) != NATS_OK) {
        c.checkpoint = true;
        if (natsMsgHeader_Get(m, SHIP_HEADER_SIZE, &number) != NATS_OK)
            return false;
    }
    return num_parse_u64(str_of(number), 0, UINT64_MAX, &c.index) == 0 && ship_found(ship, &c);
}

static natsStatus subscribe(struct jetstream *js, const struct ship_stream *s, uint64_t from,
                            natsSubscription **ret)
{
    jsSubOptions o;
    natsStatus st = jsSubOptions_Init(&o);

    o.Stream = s->name;
    o.Ordered = true;
    o.Config.DeliverPolicy = js_DeliverByStartSequence;
    o.Config.OptStartSeq = from;
    o.Config.HeadersOnly = true;
    return st == NATS_OK ? js_SubscribeSync(ret, js->js, "cellos.>", NULL, &o, NULL) : st;
}

/* The sequence of a delivered message and how many are still to come. */
static natsStatus place(natsMsg *m, uint64_t *ret_sequence, uint64_t *ret_pending)
{
    jsMsgMetaData *meta = NULL;
    natsStatus st = natsMsg_GetMetaData(&meta, m);

    if (st == NATS_OK) {
        *ret_sequence = meta->Sequence.Stream;
        *ret_pending = meta->NumPending;
    }
    jsMsgMetaData_Destroy(meta);
    return st;
}

static natsStatus read_all(struct ship *ship, natsSubscription *sub, uint64_t last, bool *ret_changed)
{
    uint64_t sequence = 0, pending = 1;
    natsStatus st = NATS_OK;

    while (st == NATS_OK && pending > 0 && sequence < last) {
        natsMsg *m = NULL;

        if (ship_stopping(ship, NULL))
            return NATS_ILLEGAL_STATE;
        st = natsSubscription_NextMsg(&m, sub, SHIP_SCAN_WAIT_MS);
        if (st == NATS_OK)
            st = place(m, &sequence, &pending);
        if (st == NATS_OK && look_at(ship, m))
            *ret_changed = true;
        natsMsg_Destroy(m);
    }
    return st;
}

/* How many messages the consumer still has to deliver at its start: none is an answer too. */
static natsStatus anything(natsSubscription *sub, bool *ret)
{
    jsConsumerInfo *info = NULL;
    natsStatus st = natsSubscription_GetConsumerInfo(&info, sub, NULL, NULL);

    if (st == NATS_OK)
        *ret = info->NumPending > 0 || info->Delivered.Consumer > 0;
    jsConsumerInfo_Destroy(info);
    return st;
}

/* The same where no consumer may be made: message by message. */
static natsStatus get_all(struct ship *ship, struct jetstream *js, const struct ship_stream *s, uint64_t from,
                          bool *ret_changed)
{
    for (uint64_t i = from > s->first ? from : s->first; i <= s->last; i++) {
        natsMsg *m = NULL;
        natsStatus st;

        if (ship_stopping(ship, NULL))
            return NATS_ILLEGAL_STATE;
        st = js_GetMsg(&m, js->js, s->name, i, NULL, NULL);
        if (st != NATS_OK && st != NATS_NOT_FOUND)
            return st;
        if (st == NATS_OK && look_at(ship, m))
            *ret_changed = true;
        natsMsg_Destroy(m);
    }
    return NATS_OK;
}

int ship_stream_scan(struct ship *ship, struct jetstream *js, const struct ship_stream *s, uint64_t from,
                     bool *ret_changed, char why[static JETSTREAM_WHY_MAX])
{
    natsSubscription *sub = NULL;
    bool some = false;
    natsStatus st;

    if (from > s->last || s->first > s->last)
        return 0;
    if (s->work_queue) {
        st = get_all(ship, js, s, from, ret_changed);
    } else {
        st = subscribe(js, s, from, &sub);
        if (st == NATS_OK)
            st = anything(sub, &some);
        if (st == NATS_OK && some)
            st = read_all(ship, sub, s->last, ret_changed);
        (void)natsSubscription_Unsubscribe(sub);
        natsSubscription_Destroy(sub);
    }
    ship_found_all(ship);
    if (st == NATS_OK)
        return 0;
    if (st == NATS_ILLEGAL_STATE) {
        (void)snprintf(why, JETSTREAM_WHY_MAX, "stopped");
        return -ECANCELED;
    }
    (void)jetstream_error(st, 0, "reading the end of the stream", why);
    return -EIO;
}
