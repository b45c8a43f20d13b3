/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/pins.h"

#include <sys/queue.h>

#include "proxyd/dns/wire.h"

#define BUCKETS 512u

struct pin {
    TAILQ_ENTRY(pin) by_use;
    LIST_ENTRY(pin) by_hash;
    uint64_t until_us;
    struct addr addr;
    uint8_t len;
    char name[]; /* len bytes, no NUL */
};

struct dns_pins {
    size_t n;
    uint64_t lost;
    TAILQ_HEAD(pin_head, pin) by_use; /* last = renewed longest ago */
    LIST_HEAD(pin_bucket, pin) buckets[BUCKETS];
};

static struct dns_pins *pins_new(void)
{
    struct dns_pins *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    TAILQ_INIT(&p->by_use);
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_INIT(&p->buckets[i]);
    return p;
}

static void pin_remove(struct dns_pins *p, struct pin *pin)
{
    TAILQ_REMOVE(&p->by_use, pin, by_use);
    LIST_REMOVE(pin, by_hash);
    p->n--;
    free(pin);
}

struct dns_pins *dns_pins_free(struct dns_pins *p)
{
    if (p)
        while (!TAILQ_EMPTY(&p->by_use))
            pin_remove(p, TAILQ_FIRST(&p->by_use));
    free(p);
    return NULL;
}

static size_t bucket_of(const struct addr *addr)
{
    return dns_hash(addr->bytes, addr->family == AF_INET ? 4 : 16) % BUCKETS;
}

static bool pin_is(const struct pin *pin, const struct addr *addr, const struct name *name)
{
    return addr_eq(&pin->addr, addr) && pin->len == name->len && memcmp(pin->name, name->text, pin->len) == 0;
}

static struct pin *pin_new(struct dns_pins *p, const struct name *name, const struct addr *addr)
{
    struct pin *pin = malloc(sizeof(*pin) + name->len);

    if (!pin)
        return NULL;
    pin->addr = *addr;
    pin->len = name->len;
    pin->until_us = 0;
    memcpy(pin->name, name->text, name->len);
    if (p->n == LIMIT_PINS) {
        pin_remove(p, TAILQ_LAST(&p->by_use, pin_head));
        p->lost++;
    }
    p->n++;
    return pin;
}

int dns_pins_put(struct dns_pins **ps, const struct name *name, const struct addr *addr, uint64_t until_us)
{
    struct dns_pins *p = *ps ? *ps : pins_new();
    struct pin *pin;

    if (!p)
        return -ENOMEM;
    *ps = p;
    struct pin_bucket *bucket = &p->buckets[bucket_of(addr)];
    LIST_FOREACH(pin, bucket, by_hash)
    if (pin_is(pin, addr, name))
        break;
    if (pin) {
        TAILQ_REMOVE(&p->by_use, pin, by_use);
        LIST_REMOVE(pin, by_hash);
    } else if (!(pin = pin_new(p, name, addr))) {
        return -ENOMEM;
    }
    /* to the front of both, so that a look-up meets the latest name first */
    TAILQ_INSERT_HEAD(&p->by_use, pin, by_use);
    LIST_INSERT_HEAD(bucket, pin, by_hash);
    if (until_us > pin->until_us)
        pin->until_us = until_us;
    return 0;
}

static void pin_name(const struct pin *pin, struct name *ret)
{
    ret->len = pin->len;
    memcpy(ret->text, pin->name, pin->len);
    ret->text[pin->len] = '\0';
}

bool dns_pins_find(const struct dns_pins *p, const struct addr *addr, uint64_t now_us,
                   bool (*fits)(void *self, const struct name *name), void *self, struct name *ret)
{
    struct name name;

    if (!p)
        return false;
    for (const struct pin *pin = LIST_FIRST(&p->buckets[bucket_of(addr)]); pin;
         pin = LIST_NEXT(pin, by_hash)) {
        if (!addr_eq(&pin->addr, addr) || now_us >= pin->until_us)
            continue;
        pin_name(pin, &name);
        if (!fits(self, &name))
            continue;
        *ret = name;
        return true;
    }
    return false;
}

void dns_pins_sift(struct dns_pins *p, bool (*keep)(void *self, const struct name *name), void *self)
{
    struct pin *pin, *next;
    struct name name;

    for (pin = p ? TAILQ_FIRST(&p->by_use) : NULL; pin; pin = next) {
        next = TAILQ_NEXT(pin, by_use);
        pin_name(pin, &name);
        if (!keep(self, &name))
            pin_remove(p, pin);
    }
}

uint64_t dns_pins_lost(const struct dns_pins *p)
{
    return p ? p->lost : 0;
}
