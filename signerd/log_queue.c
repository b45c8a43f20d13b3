/* SPDX-License-Identifier: MIT */
#include "signerd/log_internal.h"

void claim_queue_init(struct claim_queue *q)
{
    *q = (struct claim_queue){.head = NULL};
    q->tail = &q->head;
}

void claim_queue_push(struct claim_queue *q, struct claim *c)
{
    c->next = NULL;
    *q->tail = c;
    q->tail = &c->next;
    q->n++;
    q->bytes += c->len;
}

struct claim *claim_queue_pop(struct claim_queue *q)
{
    struct claim *c = q->head;

    if (!c)
        return NULL;
    q->head = c->next;
    if (!q->head)
        q->tail = &q->head;
    q->n--;
    q->bytes -= c->len;
    return c;
}
