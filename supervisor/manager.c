/* SPDX-License-Identifier: MIT */
#include "supervisor/manager.h"

#include "common/base/log.h"
#include "supervisor/cell.h"
#include "supervisor/client.h"
#include "supervisor/control.h"

void manager_add_cell(struct manager *m, struct cell *c)
{
    c->next = m->cells;
    m->cells = c;
    m->ncells++;
}

static void end_when_empty(struct manager *m)
{
    if (m->ending && m->ncells == 0)
        ev_break(m->loop, EVBREAK_ALL);
}

void manager_remove_cell(struct manager *m, struct cell *c)
{
    for (struct cell **at = &m->cells; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            m->ncells--;
            cell_free(c);
            break;
        }
    }
    end_when_empty(m);
}

struct cell *manager_find(const struct manager *m, struct str run_id)
{
    for (struct cell *c = m->cells; c; c = c->next)
        if (str_is(run_id, c->run_id))
            return c;
    return NULL;
}

static void abort_all(struct manager *m, const char *reason)
{
    for (struct cell *c = m->cells; c; c = c->next)
        cell_abort(c, "%s", reason);
}

void manager_end(struct manager *m, const char *reason)
{
    m->ending = true;
    abort_all(m, reason);
    end_when_empty(m);
}

/* ---- siblings: in an embedded suite none is started again, so the death of one ends every cell (decisions
 * 31) ---- */

static void on_netd_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    struct manager *m = self;
    if (err < 0)
        log_failed(LOG_ERR, err, "the line to netd broke");
    m->netd = endpoint_free(m->netd);
    m->exit_status = 1;
    manager_end(m, "netd died");
}

static void on_proxyd_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    struct manager *m = self;
    if (err < 0)
        log_failed(LOG_ERR, err, "the line to proxyd broke");
    m->proxyd = endpoint_free(m->proxyd);
    m->exit_status = 1;
    manager_end(m, "proxyd died");
}

static void on_zygote_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    struct manager *m = self;
    if (err < 0)
        log_failed(LOG_ERR, err, "the line to zygote broke");
    m->zygote = endpoint_free(m->zygote);
    m->exit_status = 1;
    manager_end(m, "the zygote died: run `cellctl doctor`");
}

static void on_signer_gone(void *self, int err)
{
    struct manager *m = self;
    m->exit_status = 1;
    if (err == -ENOSPC ||
        err == -EIO) { /* the line lives: the end events still fit into what signerd kept back */
        manager_end(m, err == -ENOSPC ? "the disk under the log is full" : "the log cannot be written");
        return;
    }
    if (err < 0)
        log_failed(LOG_ERR, err, "the line to signerd broke");
    m->signer = signer_client_free(m->signer);
    manager_end(m, "signerd died");
}

/* A reaped cell init: its pidfd said so already; this is for the log. */
static int on_reaped(void *self, struct endpoint *e, struct endpoint_msg *msg)
{
    (void)self;
    (void)e;
    const struct zygote_reaped *r = msg->rec;
    log_debug("cell init of run %.*s reaped, status 0x%llx", (int)r->run_id.len, r->run_id.p,
              (unsigned long long)r->status);
    return 0;
}

static int open_line(struct manager *m, int sock, const struct iface *iface, uint32_t peer,
                     const struct endpoint_ops *ops, struct endpoint **ret)
{
    struct endpoint_config cfg = {iface, FROM_CLIENT, ROLE_SUPERVISOR, peer, ops, m};
    int r = endpoint_new(m->loop, sock, &cfg, ret);
    return r < 0 ? log_failed(LOG_ERR, r, "opening the line to %s", enum_text(&enum_role_name, peer)) : 0;
}

int manager_start(struct manager *m, const struct manager_fds *fds)
{
    static const struct endpoint_ops netd_ops = {.gone = on_netd_gone};
    static const struct endpoint_ops proxyd_ops = {.gone = on_proxyd_gone};
    static const struct endpoint_handler zygote_handlers[] = {{MSG_ZYGOTE_REAPED, on_reaped}};
    static const struct endpoint_ops zygote_ops = {zygote_handlers, ARRAY_LEN(zygote_handlers), NULL,
                                                   on_zygote_gone};
    int r = signer_client_new(m->loop, fds->signerd, ROLE_SUPERVISOR, on_signer_gone, m, &m->signer);
    if (r >= 0)
        r = open_line(m, fds->netd, &iface_netd, ROLE_NETD, &netd_ops, &m->netd);
    if (r >= 0)
        r = open_line(m, fds->proxyd, &iface_proxy, ROLE_PROXYD, &proxyd_ops, &m->proxyd);
    if (r >= 0)
        r = open_line(m, fds->zygote, &iface_zygote, ROLE_ZYGOTE, &zygote_ops, &m->zygote);
    if (r >= 0)
        r = control_open(m, fds->control);
    if (r >= 0)
        clients_listen(m, fds->operators);
    return r;
}

void manager_done(struct manager *m)
{
    clients_end(m);
    m->control = endpoint_free(m->control);
    m->netd = endpoint_free(m->netd);
    m->proxyd = endpoint_free(m->proxyd);
    m->zygote = endpoint_free(m->zygote);
    m->signer = signer_client_free(m->signer);
}
