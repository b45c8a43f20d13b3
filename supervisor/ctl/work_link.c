/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/work_link.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/num.h"

#define GRACE_US 2000000u /* for the answer to a question, beyond what the server was told to wait */

/* One subscription of a slot. libnats's threads read it until on_inbox_done(). */
struct link_inbox {
    struct link *l;
    unsigned slot;
    uint64_t serial; /* no two of a process have the same */
    natsSubscription *sub;
    char subject[64];
};

struct link_event {
    struct link_event *next;
    uint64_t serial; /* of the inbox it came to; 0: a reply */
    unsigned slot;
    natsMsg *msg;
};

/* ---- on libnats's threads ---- */

static void put_event(struct link *l, const struct link_inbox *inbox, natsMsg *msg)
{
    struct link_event *e = malloc(sizeof(*e));
    if (!e) {
        natsMsg_Destroy(msg); /* as if it had been lost on its way */
        return;
    }
    *e = (struct link_event){NULL, inbox ? inbox->serial : 0, inbox ? inbox->slot : 0, msg};
    pthread_mutex_lock(&l->lock);
    *l->last = e;
    l->last = &e->next;
    pthread_mutex_unlock(&l->lock);
    ev_async_send(l->loop, &l->wake);
}

static void on_job(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    (void)nc;
    (void)sub;
    struct link_inbox *inbox = closure;
    put_event(inbox->l, inbox, msg);
}

static void on_inbox_done(void *closure)
{
    free(closure);
}

static void on_reply(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    (void)nc;
    (void)sub;
    put_event(closure, NULL, msg);
}

/* ---- in the loop ---- */

static void drop_inbox(struct link_slot *s)
{
    natsSubscription *sub = s->inbox ? s->inbox->sub : NULL;
    s->inbox = NULL; /* is freed by on_inbox_done */
    s->asked_us = 0;
    if (sub)
        natsSubscription_Destroy(sub);
}

static struct str body_of(natsMsg *msg)
{
    const char *p = natsMsg_GetData(msg);
    int n = natsMsg_GetDataLength(msg);
    return p && n > 0 ? (struct str){p, (size_t)n} : (struct str){"", 0};
}

/* "404 No Messages", "408 Request Timeout": come back. Anything else is a reason. */
static void take_status(struct link *l, unsigned slot, natsMsg *msg, const char *status)
{
    const char *text = NULL;
    char why[128];
    if (strcmp(status, "404") == 0 || strcmp(status, "408") == 0) {
        l->ops->none(l->self, slot, NULL);
        return;
    }
    if (strcmp(status, "503") == 0)
        text = "the consumer is not there";
    else if (natsMsgHeader_Get(msg, "Description", &text) != NATS_OK)
        text = status;
    l->ops->none(l->self, slot, str_escape(why, sizeof(why), text, strlen(text)));
}

static void take_job(struct link *l, struct link_event *e)
{
    struct link_slot *s = &l->slots[e->slot];
    const char *status = NULL;
    if (!s->inbox || s->inbox->serial != e->serial || s->asked_us == 0)
        return; /* the question was given up */
    uint64_t asked_us = s->asked_us;
    bool empty = natsMsg_GetDataLength(e->msg) == 0;
    if (empty && natsMsgHeader_Get(e->msg, "Status", &status) == NATS_OK && status) {
        if (strcmp(status, "100") == 0)
            return; /* a heartbeat */
        s->asked_us = 0;
        take_status(l, e->slot, e->msg, status);
        return;
    }
    s->asked_us = 0;
    l->ops->job(l->self, e->slot, asked_us, TAKE_PTR(e->msg));
}

static void take_reply(struct link *l, natsMsg *msg)
{
    const char *subject = natsMsg_GetSubject(msg), *dot = subject ? strrchr(subject, '.') : NULL;
    uint64_t id;
    if (!dot || num_parse_u64(str_of(dot + 1), 1, UINT64_MAX, &id) < 0)
        return;
    l->ops->reply(l->self, id, natsMsg_IsNoResponders(msg) ? LINK_NOBODY : LINK_OK, body_of(msg));
}

static void on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
    (void)loop;
    (void)revents;
    struct link *l = w->data;
    pthread_mutex_lock(&l->lock);
    struct link_event *e = l->first, *next;
    l->first = NULL;
    l->last = &l->first;
    pthread_mutex_unlock(&l->lock);
    for (; e; e = next) {
        next = e->next;
        if (e->serial > 0)
            take_job(l, e);
        else
            take_reply(l, e->msg);
        natsMsg_Destroy(e->msg);
        free(e);
    }
}

/* ---- questions ---- */

static natsStatus new_inbox_name(char *dst, size_t cap)
{
    natsInbox *inbox = NULL;
    natsStatus s = natsInbox_Create(&inbox);
    if (s != NATS_OK)
        return s;
    snprintf(dst, cap, "%s", inbox);
    natsInbox_Destroy(inbox);
    return NATS_OK;
}

static natsStatus make_inbox(struct link *l, unsigned slot)
{
    struct link_inbox *inbox = calloc(1, sizeof(*inbox));
    if (!inbox)
        return NATS_NO_MEMORY;
    *inbox = (struct link_inbox){.l = l, .slot = slot, .serial = ++l->last_id};
    natsStatus s = new_inbox_name(inbox->subject, sizeof(inbox->subject));
    if (s == NATS_OK)
        s = natsConnection_Subscribe(&inbox->sub, l->js->nc, inbox->subject, on_job, inbox);
    if (s == NATS_OK)
        s = natsSubscription_SetOnCompleteCB(inbox->sub, on_inbox_done, inbox);
    if (s != NATS_OK && !inbox->sub)
        free(inbox);
    else if (s != NATS_OK)
        natsSubscription_Destroy(inbox->sub); /* inbox stays: its callback may still run */
    else
        l->slots[slot].inbox = inbox;
    return s;
}

bool link_is_up(const struct link *l)
{
    return natsConnection_Status(l->js->nc) == NATS_CONN_STATUS_CONNECTED;
}

int link_ask(struct link *l, unsigned slot, unsigned wait_ms)
{
    struct link_slot *s = &l->slots[slot];
    char text[96];
    if (!link_is_up(l))
        return -ENOTCONN;
    natsStatus st = s->inbox ? NATS_OK : make_inbox(l, slot);
    if (st != NATS_OK)
        return -EIO;
    s->asked_us = clock_boottime_us();
    s->give_up_us = s->asked_us + wait_ms * UINT64_C(1000) + GRACE_US;
    int n =
        snprintf(text, sizeof(text), "{\"batch\":1,\"expires\":%" PRIu64 "}", wait_ms * UINT64_C(1000000));
    st = natsConnection_PublishRequest(l->js->nc, l->next, s->inbox->subject, text, n);
    if (st == NATS_OK)
        return 0;
    s->asked_us = 0;
    return -EIO;
}

void link_tick(struct link *l, uint64_t now_us)
{
    for (unsigned i = 0; i < l->nslots; i++)
        if (l->slots[i].asked_us > 0 && now_us >= l->slots[i].give_up_us)
            drop_inbox(&l->slots[i]);
}

void link_stop_asking(struct link *l)
{
    for (unsigned i = 0; i < l->nslots; i++)
        drop_inbox(&l->slots[i]);
}

/* ---- requests ---- */

uint64_t link_publish(struct link *l, const char *subject, const char *msg_id, struct str body)
{
    char reply[sizeof(l->replies) + 24];
    natsMsg *msg = NULL;
    if (!link_is_up(l)) /* libnats would keep it until then, and who knows what holds by that time */
        return 0;
    uint64_t id = ++l->last_id;
    snprintf(reply, sizeof(reply), "%s.%" PRIu64, l->replies, id);
    natsStatus s = natsMsg_Create(&msg, subject, reply, body.p, (int)body.len);
    if (s == NATS_OK && msg_id)
        s = natsMsgHeader_Set(msg, "Nats-Msg-Id", msg_id);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(l->js->nc, msg);
    natsMsg_Destroy(msg);
    return s == NATS_OK ? id : 0;
}

uint64_t link_request(struct link *l, const char *subject, const char *text)
{
    return link_publish(l, subject, NULL, str_of(text));
}

/* ---- begin and end ---- */

int link_open(struct ev_loop *loop, struct jetstream *js, const char *stream, const char *consumer,
              unsigned nslots, const struct link_ops *ops, void *self, struct link *ret,
              char why[static JETSTREAM_WHY_MAX])
{
    char subject[sizeof(ret->replies) + 2];
    *ret = (struct link){.loop = loop, .js = js, .ops = ops, .self = self, .nslots = nslots};
    ret->last = &ret->first;
    snprintf(ret->next, sizeof(ret->next), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer);
    natsStatus s = pthread_mutex_init(&ret->lock, NULL) == 0 ? NATS_OK : NATS_NO_MEMORY;
    if (s == NATS_OK)
        s = new_inbox_name(ret->replies, sizeof(ret->replies));
    ev_async_init(&ret->wake, on_wake);
    ret->wake.data = ret;
    ev_async_start(loop, &ret->wake);
    snprintf(subject, sizeof(subject), "%s.*", ret->replies);
    if (s == NATS_OK)
        s = natsConnection_Subscribe(&ret->reply_sub, js->nc, subject, on_reply, ret);
    if (s == NATS_OK)
        return 0;
    ev_async_stop(loop, &ret->wake);
    (void)jetstream_error(s, 0, "subscribing", why);
    return -EIO;
}

void link_close(struct link *l)
{
    link_stop_asking(l);
    if (l->reply_sub)
        natsSubscription_Destroy(l->reply_sub);
    l->reply_sub = NULL;
    ev_async_stop(l->loop, &l->wake);
}
