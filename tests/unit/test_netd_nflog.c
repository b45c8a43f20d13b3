/* SPDX-License-Identifier: MIT */
/* The kernel's account of a cell, on real namespaces: what is in it, what gets lost and is known to be, and
 * that nobody else can write to it. */
#include "netd/nflog.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <poll.h>

#include "netd/netlink.h"
#include "tests/unit/netd_attached.h"

#define RECORDS_MAX 4096

static struct nflog_record got[RECORDS_MAX];
static size_t ngot;

static void keep(void *self, const struct nflog_record *r)
{
    (void)self;
    assert_true(ngot < RECORDS_MAX);
    got[ngot++] = *r;
}

/* Everything that waits; how often the kernel said that it had to leave something out. */
static unsigned read_all(const struct attached *a)
{
    unsigned overruns = 0;
    int r;
    ngot = 0;
    while ((r = nflog_read(a->r.flow_sock, a->rs, keep, NULL)) != -EAGAIN) {
        assert_true(r > 0 || r == -ENOBUFS);
        overruns += r == -ENOBUFS;
    }
    return overruns;
}

static int send_udp(const char *ip, uint16_t port, int times)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(ip)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(4000)};
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
        return 1;
    for (int i = 0; i < times; i++)
        (void)!sendto(fd, "xyz", 3, 0, (struct sockaddr *)&a, sizeof(a));
    close(fd);
    return 0;
}

static int cell_one_of_each(void)
{
    return send_udp("224.0.0.251", 5353, 2) + send_udp("203.0.113.9", 443, 2) + send_udp("9.9.9.9", 53, 1);
}

static void assert_record(const struct attached *a, const struct nflog_record *r, const char *row,
                          const char *destination, uint64_t bytes)
{
    char text[ADDR_ENDPOINT_MAX];
    assert_int_not_equal(r->row, RULESET_UNCOUNTED);
    assert_string_equal(a->rs->rows[r->row].name, row);
    assert_true(r->has_tuple);
    assert_int_equal(r->tuple.protocol, IPPROTO_UDP);
    assert_string_equal(packet_end(&r->tuple, &r->tuple.source, text) == NULL ? "" : strrchr(text, ':'),
                        ":4000");
    assert_string_equal(packet_end(&r->tuple, &r->tuple.destination, text), destination);
    assert_int_equal(r->bytes, bytes);
}

/* Each dropped packet, and of what is let go on the first packet of each flow; numbered without a gap. */
static void test_drops_and_new_flows(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    netd_cell_run(&a.cell, cell_one_of_each);
    assert_int_equal(read_all(&a), 0);
    assert_int_equal(ngot, 4);
    for (size_t i = 0; i < ngot; i++) {
        assert_int_equal(got[i].kind, NFLOG_PACKET);
        assert_int_equal(got[i].seq, i);
        assert_int_equal(got[i].packets, 1);
    }
    assert_record(&a, &got[0], "multicast", "224.0.0.251:5353", 31);
    assert_record(&a, &got[1], "multicast", "224.0.0.251:5353", 31);
    assert_record(&a, &got[2], "intercept", "203.0.113.9:443", 31);
    assert_record(&a, &got[3], "dns", "9.9.9.9:53", 31);
    detach(&a);
}

/* Flows that are open are read with their totals, only those that a rule let go on. */
static void test_open_flows(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT), b;
    netd_cell_run(&a.cell, cell_one_of_each);
    b = a;
    run_task(&b, &(struct worker_task){.job = WORKER_COUNT,
                                       .rules = a.rs,
                                       .with_flows = true,
                                       .userns = a.cell.userns,
                                       .netns = -EBADF,
                                       .counter_sock = a.r.counter_sock,
                                       .seq = ++seq});
    assert_int_equal(b.r.err, 0);
    assert_int_equal(b.r.nflows, 2);
    assert_int_equal(b.r.flows_open, 2);
    bool swapped = b.r.flows[0].bytes == 31;
    assert_record(&a, &b.r.flows[swapped], "intercept", "203.0.113.9:443", 62);
    assert_record(&a, &b.r.flows[!swapped], "dns", "9.9.9.9:53", 31);
    assert_int_equal(b.r.flows[swapped].packets, 2);
    for (size_t i = 0; i < a.rs->nrows; i++) {
        const char *name = a.rs->rows[i].name;
        assert_int_equal(b.r.counts[i].logged, strcmp(name, "multicast") == 0   ? 2
                                               : strcmp(name, "intercept") == 0 ? 1
                                               : strcmp(name, "dns") == 0       ? 1
                                                                                : 0);
    }
    detach(&a);
}

static int cell_deletes_its_flows(void)
{
    _Alignas(struct nlmsghdr) uint8_t buf[64];
    uint32_t refused = 0;
    int fd = netlink_open(NETLINK_NETFILTER);
    struct nlmsghdr *h = nflog_put_dump(buf, 5);
    h->nlmsg_type = (uint16_t)(h->nlmsg_type + 1); /* IPCTNL_MSG_CT_DELETE follows GET */
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    return netlink_batch(fd, h, h->nlmsg_len, 5, 5, 1, &refused) == 0 ? 0 : 1;
}

/* The kernel says so when a flow ends, with what went through it. */
static void test_ends(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    netd_cell_run(&a.cell, cell_one_of_each);
    (void)read_all(&a);
    _Static_assert(IPCTNL_MSG_CT_DELETE == IPCTNL_MSG_CT_GET + 1, "one follows the other");
    netd_cell_run(&a.cell, cell_deletes_its_flows);
    struct pollfd p = {.fd = a.r.flow_sock, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    (void)read_all(&a);
    assert_int_equal(ngot, 2);
    bool swapped = got[0].bytes == 31;
    assert_int_equal(got[0].kind, NFLOG_ENDED);
    assert_record(&a, &got[swapped], "intercept", "203.0.113.9:443", 62);
    assert_record(&a, &got[!swapped], "dns", "9.9.9.9:53", 31);
    detach(&a);
}

static int cell_flood(void)
{
    return send_udp("224.0.0.251", 5353, 3000);
}

/* More than the socket holds: the numbering tells exactly how many are missing. */
static void test_what_was_lost_is_known(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    netd_cell_run(&a.cell, cell_flood);
    assert_true(read_all(&a) > 0);
    assert_in_range(ngot, 50, 2999);
    size_t before = ngot;
    uint32_t last = got[ngot - 1].seq;
    assert_int_equal(last, ngot - 1);
    netd_cell_run(&a.cell, cell_one_of_each);
    (void)read_all(&a);
    assert_int_equal(ngot, 4);
    assert_int_equal(got[0].seq, 3000);
    assert_packets(&a, "multicast", 3000 + 2);
    assert_true(before < 3000);
    detach(&a);
}

static uint32_t target; /* the flow socket's netlink address */

/* Even root over the namespace, which a workload is not, writes as itself and not as the kernel. */
static int cell_forges(void)
{
    _Alignas(struct nlmsghdr) uint8_t buf[512];
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    const struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = target};
    h->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET;
    (void)mnl_nlmsg_put_extra_header(h, sizeof(struct nfgenmsg));
    mnl_attr_put_strz(h, NFULA_PREFIX, "dns");
    int fd = netlink_open(NETLINK_NETFILTER);
    return sendto(fd, h, h->nlmsg_len, 0, (const struct sockaddr *)&to, sizeof(to)) == (ssize_t)h->nlmsg_len
               ? 0
               : 1;
}

static void test_forged_messages_are_thrown_away(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    struct sockaddr_nl self = {0};
    socklen_t len = sizeof(self);
    assert_int_equal(getsockname(a.r.flow_sock, (struct sockaddr *)&self, &len), 0);
    target = self.nl_pid;
    netd_cell_run(&a.cell, cell_forges);
    struct pollfd p = {.fd = a.r.flow_sock, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1); /* it did arrive */
    (void)read_all(&a);
    assert_int_equal(ngot, 0);
    detach(&a);
}

/* ---- bytes ---- */
static size_t put_packet(uint8_t *buf, const char *prefix, const void *payload, size_t n)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET;
    (void)mnl_nlmsg_put_extra_header(h, sizeof(struct nfgenmsg));
    mnl_attr_put_strz(h, NFULA_PREFIX, prefix);
    mnl_attr_put_u32(h, NFULA_SEQ, htonl(7));
    mnl_attr_put(h, NFULA_PAYLOAD, n, payload);
    return h->nlmsg_len;
}

static void test_unreadable_packets_are_still_counted(void **state)
{
    (void)state;
    _Alignas(struct nlmsghdr) uint8_t buf[512];
    const struct ruleset *rs = ruleset_of(NET_MODE_INTERCEPT);
    size_t n = put_packet(buf, "nobody", "\x45", 1);
    ngot = 0;
    nflog_parse(buf, n, rs, keep, NULL);
    assert_int_equal(ngot, 1);
    assert_int_equal(got[0].row, RULESET_UNCOUNTED);
    assert_int_equal(got[0].seq, 7);
    assert_false(got[0].has_tuple);
    n = put_packet(buf, "dns", "", 0);
    for (size_t cut = 0; cut <= n; cut++) { /* a message that does not fit its datagram is none */
        ngot = 0;
        nflog_parse(buf, cut, rs, keep, NULL);
        assert_int_equal(ngot, cut == n);
    }
    assert_int_equal(ruleset_row_by_name(rs, STR_LIT("dns")), got[0].row);
}

/* A length that is negative as an int ended the reader behind its datagram once. */
static void test_huge_message_length(void **state)
{
    (void)state;
    _Alignas(struct nlmsghdr) uint8_t buf[512];
    const struct ruleset *rs = ruleset_of(NET_MODE_INTERCEPT);
    size_t n = put_packet(buf, "dns", "", 0);
    struct nlmsghdr second = {.nlmsg_len = 0x80000000u,
                              .nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET};
    static const uint32_t lengths[] = {0, 3, 0x7fffffff, 0x80000000, 0xfffffffd, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        second.nlmsg_len = lengths[i];
        memcpy(buf + n, &second, sizeof(second));
        ngot = 0;
        nflog_parse(buf, n + sizeof(second), rs, keep, NULL);
        assert_int_equal(ngot, 1);
    }
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drops_and_new_flows),
        cmocka_unit_test(test_open_flows),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_what_was_lost_is_known),
        cmocka_unit_test(test_forged_messages_are_thrown_away),
        cmocka_unit_test(test_unreadable_packets_are_still_counted),
        cmocka_unit_test(test_huge_message_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return attached_main(group);
}
