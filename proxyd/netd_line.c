/* SPDX-License-Identifier: MIT */
#include "proxyd/netd_line.h"

#include <errno.h>

#include "common/base/log.h"

struct netd_line {
    struct endpoint *line;
    struct endpoint_ops ops;
};

struct netd_pin {
    dns_ack_cb done;
    void *data;
};

static void on_gone(void *self, struct endpoint *e, int err)
{
    struct netd_line *l = self;

    if (err < 0)
        log_errno(err, "netd's line broke: routed cells get no new addresses");
    else
        log_debug("netd closed its line: routed cells get no new addresses");
    l->line = endpoint_free(e);
}

int netd_line_new(struct ev_loop *loop, int sock, struct netd_line **ret)
{
    struct netd_line *l = calloc(1, sizeof(*l));

    if (!l) {
        close(sock);
        return -ENOMEM;
    }
    l->ops.gone = on_gone;
    const struct endpoint_config cfg = {&iface_pin, FROM_CLIENT, ROLE_PROXYD, ROLE_NETD, &l->ops, l};
    int r = endpoint_new(loop, sock, &cfg, &l->line);
    if (r < 0) {
        free(l);
        return r;
    }
    *ret = l;
    return 0;
}

struct netd_line *netd_line_free(struct netd_line *l)
{
    if (!l)
        return NULL;
    endpoint_free(l->line);
    free(l);
    return NULL;
}

static void on_pinned(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    struct netd_pin *p = data;
    struct netd_pin pin = *p;

    (void)rec;
    (void)fds;
    (void)nfds;
    free(p);
    if (error)
        log_debug("netd does not pin: %.*s", (int)error->text.len, error->text.p);
    pin.done(pin.data, !error                            ? 0
                       : error->fail == FAIL_TIMEOUT     ? -ETIMEDOUT
                       : error->fail == FAIL_UNAVAILABLE ? -EPIPE
                       : error->fail == FAIL_QUOTA       ? -EDQUOT
                                                         : -EHOSTUNREACH);
}

static int call(struct netd_line_cell *c, const struct pin_pin_req *req, dns_ack_cb done, void *data)
{
    struct netd_pin *p;

    if (!c->line || !c->line->line)
        return -EPIPE;
    p = malloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    *p = (struct netd_pin){done, data};
    int r = endpoint_call(c->line->line, MSG_PIN_PIN_REQ, req, NULL, 0, NETD_LINE_MS, on_pinned, p);
    if (r < 0)
        free(p);
    return r;
}

void netd_line_pin(void *self, const struct name *name, const struct addr *addrs, size_t n, uint32_t ttl_s,
                   dns_ack_cb done, void *data)
{
    char texts[LIMIT_PIN_ADDRS][ADDR_TEXT_MAX];
    struct str rows[LIMIT_PIN_ADDRS];

    for (size_t i = 0; i < n && i < LIMIT_PIN_ADDRS; i++)
        rows[i] = str_of(addr_format(&addrs[i], texts[i]));
    struct netd_line_cell *c = self;
    const struct pin_pin_req req = {
        .run_id = str_of(c->run_id),
        .name = name_str(name),
        .ttl_s = ttl_s,
        .addresses = {rows, n},
    };
    int r = n > LIMIT_PIN_ADDRS ? -EINVAL : call(c, &req, done, data);
    if (r < 0)
        done(data, r);
}
