/* SPDX-License-Identifier: MIT */
/* A stream of NATS JetStream as destination.
 *
 * Why nothing is doubled and nothing overtakes, whatever breaks: the first message of a window says which
 * sequence the stream must end with for it to be stored (Nats-Expected-Last-Sequence), every other one which
 * message must be the newest (Nats-Expected-Last-Msg-Id: the one before it). So the server stores a prefix of
 * the window or nothing, also when bytes of an older connection arrive late. The server's duplicate window,
 * which ends after minutes, is only the second net. After every connect and every lost race the stream's end
 * is compared with the position that was saved with the cursors: what lies behind it is read (headers only),
 * and what of it is ours moves the cursors.
 *
 * Others may publish into the same stream. After SHIP_RACES_MAX lost races in a row the first message of a
 * window goes without a condition (its id alone protects it, as long as the server remembers ids), so that
 * every window progresses. */
#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/num.h"
#include "supervisor/ctl/ship.h"
#include "supervisor/ctl/ship_ack.h"
#include "supervisor/ctl/ship_nats_stream.h"

#define SHIP_RACES_MAX 3
#define ACK_POLL_MS    100

enum slot_state { SLOT_FREE, SLOT_SENT, SLOT_STORED, SLOT_REFUSED };

struct slot {
    enum slot_state state;
    struct ship_ack ack;
};

#define CODE_NOBODY 503 /* no stream takes the subject */

struct ship_nats {
    struct ship_dest dest;
    struct ship *ship;
    struct jetstream *js;
    natsSubscription *acks;
    char inbox[64];
    uint64_t
        window; /* number of the present one, so that late answers to an older one are not taken for ours */
    struct ship_stream stream;
    struct ship_position saved; /* as on disk */
    uint64_t last;              /* sequence of the stream after our last look or message */
    unsigned races;
    struct slot slot[SHIP_WINDOW_MAX];
};

static void disconnect(struct ship_nats *n)
{
    natsSubscription_Destroy(n->acks);
    n->acks = NULL;
    n->js = jetstream_free(n->js);
}

static void result(struct ship_result *r, enum ship_verdict v, const char *why)
{
    r->verdict = v;
    (void)snprintf(r->why, sizeof(r->why), "%s", why);
}

/* What lies behind our position, and the stream's end. False with a result. */
static bool resolve(struct ship_nats *n, struct ship_result *ret)
{
    char why[JETSTREAM_WHY_MAX];
    bool changed = false, same;
    uint64_t from;
    int r = ship_stream_look(n->js, &n->stream, why);

    if (r == 0) {
        same = strcmp(n->saved.stream, n->stream.name) == 0 && n->saved.created == n->stream.created &&
               n->saved.sequence <= n->stream.last;
        from = same ? n->saved.sequence + 1 : 1;
        r = ship_stream_scan(n->ship, n->js, &n->stream, from, &changed, why);
    }
    if (r < 0) {
        disconnect(n);
        result(ret, r == -EINVAL ? SHIP_STOP : SHIP_WAIT, why);
        return false;
    }
    n->last = n->stream.last;
    if (changed)
        result(ret, SHIP_AGAIN, "part of it was there already");
    return !changed;
}

static bool connected(struct ship_nats *n, struct ship_result *ret)
{
    struct jetstream_options o = n->ship->args.nats;
    char why[JETSTREAM_WHY_MAX], subject[sizeof(n->inbox) + 8];
    int r;

    if (n->js && natsConnection_Status(n->js->nc) == NATS_CONN_STATUS_CONNECTED)
        return true;
    disconnect(n);
    n->races = 0;
    o.urls = n->ship->args.to;
    r = jetstream_connect(&o, &n->js, why);
    if (r < 0) {
        result(ret, r == -EINVAL ? SHIP_STOP : SHIP_WAIT, why);
        return false;
    }
    (void)snprintf(subject, sizeof(subject), "%s.*.*", n->inbox);
    if (natsConnection_SubscribeSync(&n->acks, n->js->nc, subject) != NATS_OK ||
        natsSubscription_SetPendingLimits(n->acks, -1, -1) != NATS_OK) {
        disconnect(n);
        result(ret, SHIP_WAIT, "subscribing to the server's answers failed");
        return false;
    }
    r = ship_stream_find(n->js, &n->ship->args, &n->stream, why);
    if (r < 0) {
        disconnect(n);
        result(ret, r == -EINVAL ? SHIP_STOP : SHIP_WAIT, why);
        return false;
    }
    return resolve(n, ret);
}

/* The condition under which the server stores it: the one before it is the newest message with an id; of the
 * first one: nobody was faster since we looked. A sequence would not do for the others: where somebody else
 * publishes too, it may fit a later one of the window after the first was refused. */
static natsStatus set_condition(struct ship_nats *n, natsMsg *m, const struct ship_item *items, size_t i)
{
    char number[24];

    if (i > 0)
        return natsMsgHeader_Set(m, "Nats-Expected-Last-Msg-Id", items[i - 1].id);
    if (n->races >= SHIP_RACES_MAX)
        return NATS_OK;
    (void)snprintf(number, sizeof(number), "%" PRIu64, n->last);
    return natsMsgHeader_Set(m, "Nats-Expected-Last-Sequence", number);
}

static natsStatus set_headers(struct ship_nats *n, natsMsg *m, const struct ship_item *items, size_t i)
{
    const struct ship_item *item = &items[i];
    char number[24];
    natsStatus s = natsMsgHeader_Set(m, "Nats-Msg-Id", item->id);

    (void)snprintf(number, sizeof(number), "%" PRIu64, item->index);
    if (s == NATS_OK)
        s = natsMsgHeader_Set(m, "Nats-Expected-Stream", n->stream.name);
    if (s == NATS_OK)
        s = set_condition(n, m, items, i);
    if (s == NATS_OK)
        s = natsMsgHeader_Set(m, "Content-Type",
                              item->checkpoint ? "text/plain; charset=utf-8"
                                               : "application/cloudevents+json");
    if (s == NATS_OK)
        s = natsMsgHeader_Set(m, SHIP_HEADER_ORIGIN, item->origin);
    return s == NATS_OK
               ? natsMsgHeader_Set(m, item->checkpoint ? SHIP_HEADER_SIZE : SHIP_HEADER_SEQUENCE, number)
               : s;
}

static natsStatus publish(struct ship_nats *n, const struct ship_item *items, size_t i)
{
    char subject[SHIP_SUBJECT_MAX], reply[sizeof(n->inbox) + 48];
    natsMsg *m = NULL;
    natsStatus s;

    ship_item_subject(&items[i], n->ship->args.tenant, subject);
    (void)snprintf(reply, sizeof(reply), "%s.%" PRIu64 ".%zu", n->inbox, n->window, i);
    s = natsMsg_Create(&m, subject, reply, items[i].data, (int)items[i].len);
    if (s == NATS_OK)
        s = set_headers(n, m, items, i);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(n->js->nc, m);
    natsMsg_Destroy(m);
    return s;
}

/* The slot of an answer, NULL for one of an older window. */
static struct slot *slot_of(struct ship_nats *n, const char *subject, size_t sent)
{
    uint64_t window = 0, i = 0;
    const char *dot = strrchr(subject, '.');
    size_t prefix = strlen(n->inbox) + 1;

    if (!dot || (size_t)(dot - subject) <= prefix ||
        num_parse_u64((struct str){subject + prefix, (size_t)(dot - subject) - prefix}, 0, UINT64_MAX,
                      &window) < 0 ||
        num_parse_u64(str_of(dot + 1), 0, SHIP_WINDOW_MAX - 1, &i) < 0 || window != n->window || i >= sent)
        return NULL;
    return n->slot[i].state == SLOT_SENT ? &n->slot[i] : NULL;
}

static bool take_answer(struct ship_nats *n, natsMsg *m, size_t sent)
{
    struct slot *slot = slot_of(n, natsMsg_GetSubject(m), sent);

    if (!slot)
        return false;
    if (natsMsg_IsNoResponders(m))
        slot->ack = (struct ship_ack){.code = CODE_NOBODY, .text = "no stream takes it"};
    else
        ship_ack_read(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), &slot->ack);
    slot->state = slot->ack.stored ? SLOT_STORED : SLOT_REFUSED;
    return true;
}

/* Until all are answered. False when the connection is lost or silent, or time is up. */
static bool await(struct ship_nats *n, size_t sent)
{
    uint64_t heard = clock_boottime_us();
    size_t open = sent;
    bool late;

    while (open > 0) {
        natsMsg *m = NULL;
        natsStatus s = natsSubscription_NextMsg(&m, n->acks, ACK_POLL_MS);

        if (s == NATS_OK) {
            if (take_answer(n, m, sent)) {
                open--;
                heard = clock_boottime_us();
            }
            natsMsg_Destroy(m);
            continue;
        }
        if (s != NATS_TIMEOUT || clock_boottime_us() - heard > SHIP_ACK_MS * 1000ull ||
            (ship_stopping(n->ship, &late) && late))
            return false;
    }
    return true;
}

/* What the first refusal means. */
static void judge(struct ship_nats *n, const struct slot *slot, struct ship_result *ret)
{
    char why[SHIP_WHY_MAX];

    (void)snprintf(why, sizeof(why), "stream %s refuses: %s", n->stream.name, slot->ack.text);
    switch (slot->ack.code) {
    case JSStreamWrongLastSequenceErr: /* somebody else was faster */
    case JSStreamWrongLastMsgIDErr:
        n->races += n->races < SHIP_RACES_MAX;
        if (resolve(n, ret))
            result(ret, SHIP_AGAIN, why);
        return;
    case JSStreamMessageExceedsMaximumErr:
        result(ret, SHIP_DEAD, why);
        return;
    case CODE_NOBODY:
    case JSStreamNotMatchErr:
    case JSStreamNotFoundErr: /* looked for again with the next connection */
        disconnect(n);
        break;
    default:
        break;
    }
    result(ret, SHIP_WAIT, why);
}

static size_t send_window(struct ship_nats *n, const struct ship_item *items, size_t count, natsStatus *ret)
{
    size_t i;

    n->window++;
    *ret = NATS_OK;
    for (i = 0; i < count; i++) {
        *ret = publish(n, items, i);
        if (*ret != NATS_OK)
            break;
        n->slot[i] = (struct slot){.state = SLOT_SENT};
    }
    return i;
}

static void nats_deliver(struct ship_dest *d, const struct ship_item *items, size_t count,
                         struct ship_result *ret)
{
    struct ship_nats *n = (struct ship_nats *)d;
    natsStatus s;
    size_t sent;
    bool whole;

    if (!connected(n, ret))
        return;
    sent = send_window(n, items, count, &s);
    whole = await(n, sent);
    for (; ret->done < sent && n->slot[ret->done].state == SLOT_STORED; ret->done++)
        if (n->slot[ret->done].ack.sequence > n->last) /* not so when it was there already */
            n->last = n->slot[ret->done].ack.sequence;
    if (ret->done == count) {
        n->races -= n->races > 0 && n->races < SHIP_RACES_MAX;
        ret->verdict = SHIP_ALL;
    } else if (whole && ret->done < sent) {
        judge(n, &n->slot[ret->done], ret);
    } else if (whole && s == NATS_MAX_PAYLOAD) {
        result(ret, SHIP_DEAD, "it is larger than the server takes (max_payload or max_msg_size)");
    } else {
        char why[JETSTREAM_WHY_MAX];

        result(ret, SHIP_WAIT,
               jetstream_error(s == NATS_OK ? NATS_CONNECTION_DISCONNECTED : s, 0, "publishing", why));
        disconnect(n);
    }
}

/* Everything up to n->last is in the cursors now, or is somebody else's. */
static int nats_saved(struct ship_dest *d)
{
    struct ship_nats *n = (struct ship_nats *)d;
    struct ship_position p = {.created = n->stream.created, .sequence = n->last};

    if (!n->stream.name[0])
        return 0;
    memcpy(p.stream, n->stream.name, sizeof(p.stream));
    if (strcmp(p.stream, n->saved.stream) == 0 && p.created == n->saved.created &&
        p.sequence == n->saved.sequence)
        return 0;
    n->saved = p;
    return ship_position_save(&n->ship->state, &p);
}

static struct ship_dest *nats_free(struct ship_dest *d)
{
    struct ship_nats *n = (struct ship_nats *)d;

    disconnect(n);
    free(n);
    return NULL;
}

int ship_nats_new(struct ship *s, struct ship_dest **ret)
{
    static const struct ship_dest_ops ops = {
        .deliver = nats_deliver, .saved = nats_saved, .free = nats_free, .lazy = true};
    struct ship_nats *n = calloc(1, sizeof(*n));
    natsInbox *inbox = NULL;
    int r;

    if (!n)
        return -ENOMEM;
    n->dest.ops = &ops;
    n->ship = s;
    r = ship_position_load(&s->state, &n->saved);
    if (r == 0 && natsInbox_Create(&inbox) != NATS_OK)
        r = -ENOMEM;
    if (r < 0) {
        free(n);
        return r;
    }
    (void)snprintf(n->inbox, sizeof(n->inbox), "%s", inbox);
    natsInbox_Destroy(inbox);
    *ret = &n->dest;
    return 0;
}
