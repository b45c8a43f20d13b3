/* SPDX-License-Identifier: MIT */
/* The suite's side of mode routed: its table, the proof that it lives, and what dead suites left. */
#include "netd/routed/routed.h"

#include <errno.h>
#include <fcntl.h>
#include <libnftnl/common.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "common/base/log.h"
#include "netd/netlink.h"
#include "netd/routed/routed_batch.h"

#define TABLE_PREFIX RULESET_TABLE "_r"
#define ALIVE_SUFFIX "_alive"

/* ---- before the confinement ---- */
static bool switched_on(const char *path)
{
    char c = '0';
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, &c, 1) == 1 && c != '0';
}

int routed_configure(const char *pool, struct routed *ret)
{
    const char *why = "";
    struct routed r = {.alive = -EBADF};
    if (pool_parse(str_of(pool), &r.pool, &why) < 0) {
        log_error("--routed %s: %s", pool, why);
        return -EINVAL;
    }
    r.forwards4 = switched_on("/proc/sys/net/ipv4/ip_forward");
    r.forwards6 = switched_on("/proc/sys/net/ipv6/conf/all/forwarding");
    *ret = r;
    return 0;
}

/* ---- what is there ---- */

/* A transaction may be long, and root's limit for sockets short. */
int routed_nft_open(void)
{
    const int bytes = 2 * (int)ROUTED_BATCH_MAX;
    _cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
        return -errno;
    return fd < 0 ? fd : TAKE_FD(fd);
}

struct tables {
    char names[2 * ROUTED_RESIDUE_MAX][ROUTED_TABLE_MAX];
    size_t n;
};

static int take_table(const struct nlmsghdr *h, void *self)
{
    struct tables *t = self;
    struct nftnl_table *table = nftnl_table_alloc();
    if (table == NULL)
        return -ENOMEM;
    const char *name =
        nftnl_table_nlmsg_parse(h, table) == 0 ? nftnl_table_get_str(table, NFTNL_TABLE_NAME) : NULL;
    if (name != NULL && strncmp(name, TABLE_PREFIX, sizeof(TABLE_PREFIX) - 1) == 0 &&
        strlen(name) < ROUTED_TABLE_MAX && t->n < ARRAY_LEN(t->names))
        snprintf(t->names[t->n++], ROUTED_TABLE_MAX, "%s", name);
    nftnl_table_free(table);
    return 0;
}

static int list_tables(struct tables *ret)
{
    _Alignas(struct nlmsghdr) char buf[64];
    _cleanup_close_ int nft = routed_nft_open();
    ret->n = 0;
    if (nft < 0)
        return nft;
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETTABLE, NFPROTO_INET, NLM_F_DUMP, 1);
    return netlink_dump(nft, h, take_table, ret);
}

static bool listed(const struct tables *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->names[i], name) == 0)
            return true;
    return false;
}

/* suite: eight hexadecimal digits. */
static bool is_alive(const struct tables *t, const char *suite)
{
    char name[ROUTED_TABLE_MAX];
    snprintf(name, sizeof(name), TABLE_PREFIX "%.8s" ALIVE_SUFFIX, suite);
    return listed(t, name);
}

/* ---- removal ---- */
static void note(struct routed *r, const char *kind, const char *name)
{
    log_info("removed the %s %s, which a dead suite had left", kind, name);
    if (r->nresidue >= ROUTED_RESIDUE_MAX)
        return;
    struct routed_residue *to = &r->residue[r->nresidue++];
    to->kind = kind;
    snprintf(to->name, sizeof(to->name), "%s", name);
}

static int remove_table(const char *name)
{
    struct routed_batch b;
    _cleanup_close_ int nft = routed_nft_open();
    if (nft < 0)
        return nft;
    routed_batch_begin(&b, name);
    routed_batch_del_table(&b, name);
    int e = routed_batch_commit(&b, nft);
    routed_batch_done(&b);
    return e;
}

struct links {
    char names[256][ROUTED_LINK_MAX];
    size_t n;
};

static void take_link(void *self, const char *name)
{
    struct links *l = self;
    if (l->n < ARRAY_LEN(l->names))
        snprintf(l->names[l->n++], ROUTED_LINK_MAX, "%s", name);
}

/* Links of suites that wanted() names; told where a dead one left them. */
static int remove_links(struct routed *r, const struct tables *living)
{
    _cleanup_free_ struct links *l = calloc(1, sizeof(*l));
    _cleanup_close_ int route = netlink_open(NETLINK_ROUTE);
    int e = l == NULL ? -ENOMEM : route;
    if (e >= 0)
        e = routed_link_list(route, take_link, l);
    for (size_t i = 0; e >= 0 && i < l->n; i++) {
        bool own = strncmp(l->names[i], r->links, strlen(r->links)) == 0;
        if (living == NULL ? !own : is_alive(living, l->names[i] + sizeof(ROUTED_LINK_PREFIX) - 1))
            continue;
        _cleanup_close_ int one = netlink_open(NETLINK_ROUTE);
        e = one < 0 ? one : routed_link_remove(one, l->names[i]);
        if (e == 0 && living != NULL)
            note(r, "veth", l->names[i]);
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): clang 14 does not know the cleanup attribute */
    return e;
}

/* Links before rules: a link of a dead suite never stands without them. */
static int reconcile(struct routed *r)
{
    _cleanup_free_ struct tables *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    int e = list_tables(t);
    if (e == 0)
        e = remove_links(r, t);
    for (size_t i = 0; e == 0 && i < t->n; i++) {
        const char *suite = t->names[i] + sizeof(TABLE_PREFIX) - 1;
        if (strlen(suite) != 8 || is_alive(t, suite))
            continue;
        e = remove_table(t->names[i]);
        if (e == 0)
            note(r, "nft", t->names[i]);
        else if (e == -ENOENT) /* another suite has just done it */
            e = 0;
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): clang 14 does not know the cleanup attribute */
    return e;
}

/* ---- start and stop ---- */
static int make_alive(struct routed *r)
{
    char name[ROUTED_TABLE_MAX];
    struct routed_batch b;
    _cleanup_close_ int nft = routed_nft_open();
    if (nft < 0)
        return nft;
    snprintf(name, sizeof(name), TABLE_PREFIX "%.8s" ALIVE_SUFFIX, r->suite);
    routed_batch_begin(&b, name);
    routed_batch_add_table(&b, name, true);
    int e = routed_batch_commit(&b, nft);
    routed_batch_done(&b);
    if (e == 0)
        r->alive = TAKE_FD(nft);
    return e;
}

static int make_table(const struct routed *r)
{
    struct routed_batch b;
    _cleanup_close_ int nft = routed_nft_open();
    if (nft < 0)
        return nft;
    routed_batch_begin(&b, r->table);
    routed_batch_add_table(&b, r->table, false);
    routed_rules_suite(&b, r);
    int e = routed_batch_commit(&b, nft);
    routed_batch_done(&b);
    return e;
}

int routed_start(struct routed *r)
{
    uint32_t id;
    if (getrandom(&id, sizeof(id), 0) != sizeof(id))
        return log_errno(-errno, "cannot name the suite's table");
    snprintf(r->suite, sizeof(r->suite), "%08x", id);
    snprintf(r->table, sizeof(r->table), TABLE_PREFIX "%s", r->suite);
    snprintf(r->links, sizeof(r->links), ROUTED_LINK_PREFIX "%s-", r->suite);
    r->last_slot = id % r->pool.slots; /* suites that share a pool rarely meet */
    r->marks = id & 0xffff0000u;
    int e = make_alive(r);
    if (e < 0)
        return log_errno(e,
                         "cannot make a table that lives as long as netd (Linux 5.12 or later, nf_tables)");
    e = reconcile(r);
    if (e < 0)
        log_errno(e, "cannot remove what dead suites left on the host");
    e = make_table(r);
    if (e < 0)
        return log_errno(e, "cannot make the rules of routed cells");
    return 0;
}

void routed_stop(struct routed *r)
{
    int e = remove_links(r, NULL);
    if (e >= 0)
        e = remove_table(r->table);
    if (e < 0)
        log_errno(e, "cannot remove the rules of routed cells");
    cleanup_closep(&r->alive);
    r->alive = -EBADF;
}
