/* SPDX-License-Identifier: MIT */
/* A cell's flows as its events tell them: what is said, what is left out, and that the numbers add up. */
#include "netd/flowlog.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <seccomp.h>

#include "common/base/encoding.h"
#include "netd/evidence.h"
#include "tests/unit/netd_suite.h"

#define ATTACH      MSG_NETD_CELL_ATTACH_REQ
#define ATTACH_NONE MSG_NETD_CELL_ATTACH_NONE_REQ
#define DETACH      MSG_NETD_CELL_DETACH_REQ

static char run_id[UUID_TEXT_LEN + 1];

static struct netd_suite_reply attached; /* keeps the sockets that the rules hand flows to */

static struct netd_suite *start_mode(struct netd_cell *c, uint32_t attach)
{
    static struct netd_suite s;
    uuid_v7(run_id);
    netd_suite_start(&s, false);
    *c = netd_cell_new();
    attached = netd_suite_call(&s, attach, run_id, (const int[]){c->userns, c->netns});
    assert_string_equal(attached.text, "");
    assert_int_equal(strlen(attached.digest), LIMIT_DIGEST);
    return &s;
}

static struct netd_suite *start(struct netd_cell *c)
{
    return start_mode(c, ATTACH);
}

static void finish(struct netd_suite *s, struct netd_cell *c)
{
    struct netd_suite_reply r = netd_suite_call(s, DETACH, run_id, NULL);
    assert_string_equal(r.text, "");
    assert_int_equal(r.claims_before, s->nclaims); /* the last word */
    netd_suite_close(&attached);
    netd_cell_done(c);
}

struct sum {
    uint64_t events, packets, bytes, ended;
};

static struct sum sum_of(const struct netd_suite *s, const char *rule)
{
    struct sum n = {0};
    for (size_t i = 0; i < s->nclaims; i++) {
        const struct netd_suite_claim *c = &s->claims[i];
        if (c->type != EVENT_FLOW || netd_suite_is_row(c) || strcmp(c->text, rule) != 0)
            continue;
        if (c->flow.ended.set) {
            n.ended++;
            continue;
        }
        n.events++;
        n.packets += c->flow.packets;
        n.bytes += c->flow.bytes;
    }
    return n;
}

static uint64_t total_of(const struct netd_suite *s, const char *rule)
{
    uint64_t packets = 0;
    for (size_t i = 0; i < s->nclaims; i++) /* the last one counts */
        if (netd_suite_is_row(&s->claims[i]) && strcmp(s->claims[i].text, rule) == 0)
            packets = s->claims[i].flow.packets;
    return packets;
}

static uint64_t lost(const struct netd_suite *s, const char *cause, size_t *ret_gaps)
{
    uint64_t n = 0;
    *ret_gaps = 0;
    for (size_t i = 0; i < s->nclaims; i++) {
        if (s->claims[i].type != EVENT_GAP)
            continue;
        if (strcmp(s->claims[i].text, cause) != 0)
            continue;
        n += s->claims[i].lost;
        (*ret_gaps)++;
    }
    return n;
}

static int send_many(const char *ip, int first, int n, bool same)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(ip)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < n; i++) {
        a.sin_port = htons((uint16_t)(1000 + first + (same ? 0 : i)));
        (void)!sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof(a));
    }
    close(fd);
    return fd < 0;
}

static int cell_repeats(void)
{
    return send_many("224.0.0.1", 0, 50, true);
}

/* One at once, the rest at the end of the second, or of the cell. */
static void test_repeats_are_one_more_event(void **state)
{
    (void)state;
    size_t gaps;
    struct netd_cell c;
    struct netd_suite *s = start(&c);
    netd_cell_run(&c, cell_repeats);
    finish(s, &c);
    struct sum n = sum_of(s, "multicast");
    assert_in_range(n.events, 2, 6); /* two a second */
    assert_int_equal(n.packets, 50);
    assert_int_equal(n.bytes, 50 * 29);
    assert_int_equal(lost(s, "flow_rate_limit", &gaps), 0);
    netd_suite_stop(s);
}

static int cell_drops(void)
{
    return send_many("224.0.0.1", 0, 2000, false);
}

/* Nothing is read while the cell sends: the socket overflows, and what it refused is known all the same. */
static void test_dropped_flood(void **state)
{
    (void)state;
    size_t gaps;
    struct netd_cell c;
    struct netd_suite *s = start(&c);
    netd_cell_run(&c, cell_drops);
    finish(s, &c);
    struct sum n = sum_of(s, "multicast");
    assert_in_range(n.events, 1, 4 * LIMIT_FLOWS_PER_SEC); /* one second's, on a machine that is not busy */
    assert_int_equal(n.packets + lost(s, "flow_rate_limit", &gaps), 2000);
    assert_in_range(gaps, 1, 4);
    assert_int_equal(total_of(s, "multicast"), 2000);
    netd_suite_stop(s);
}

static int cell_flows(void)
{
    return send_many("203.0.113.9", 0, 1500, false);
}

/* More new flows than the rules log, and more open ones than the end lists. */
static void test_many_flows(void **state)
{
    (void)state;
    size_t gaps;
    struct netd_cell c;
    struct netd_suite *s = start(&c);
    netd_cell_run(&c, cell_flows);
    finish(s, &c);
    struct sum n = sum_of(s, "intercept");
    assert_in_range(n.events, 1, 4 * LIMIT_FLOWS_PER_SEC); /* one second's, on a machine that is not busy */
    assert_int_equal(n.packets + lost(s, "flow_rate_limit", &gaps), 1500);
    assert_in_range(gaps, 1, 4);
    assert_int_equal(n.ended, WORKER_FLOWS_MAX);
    assert_int_equal(n.ended + lost(s, "flow_end_rate_limit", &gaps), 1500);
    assert_int_equal(gaps, 1);
    netd_suite_stop(s);
}

static bool has_gap(const struct netd_suite *s)
{
    size_t gaps;
    return lost(s, "flow_rate_limit", &gaps) > 0;
}

/* A cell that goes on: its gap is told after the second, with what the rules left out, and not again. */
static void test_gap_while_it_runs(void **state)
{
    (void)state;
    size_t gaps;
    struct netd_cell c;
    struct netd_suite *s = start(&c);
    netd_cell_run(&c, cell_flows);
    for (int i = 0; i < 100 && !has_gap(s); i++)
        netd_suite_run(s, NULL);
    struct sum n = sum_of(s, "intercept");
    assert_int_equal(n.packets + lost(s, "flow_rate_limit", &gaps), 1500);
    uint64_t before = lost(s, "flow_rate_limit", &gaps);
    netd_cell_run(&c, cell_repeats);
    finish(s, &c);
    assert_int_equal(lost(s, "flow_rate_limit", &gaps), before);
    assert_int_equal(sum_of(s, "multicast").packets, 50);
    netd_suite_stop(s);
}

/* Claims that nobody acknowledges are bounded, and the detach waits for them. */
static void test_unacknowledged_claims_are_bounded(void **state)
{
    (void)state;
    size_t gaps;
    struct netd_suite_reply r;
    struct netd_cell c;
    struct netd_suite *s = start(&c);
    s->hold = true;
    for (int i = 0; i < 8; i++) { /* more than a second's worth, and less than LIMIT_ACK_MS */
        netd_cell_run(&c, cell_drops);
        netd_suite_run(s, NULL);
    }
    assert_in_range(s->nclaims - s->answered, 1, FLOWLOG_IN_FLIGHT + 40); /* and gaps, one a second */
    netd_suite_send(s, DETACH, run_id, NULL, &r);
    netd_suite_run(s, NULL);
    assert_false(r.here);
    assert_true(s->nclaims - s->answered <= LIMIT_CLAIM_CREDITS);
    netd_suite_release(s);
    netd_suite_run(s, &r.here);
    assert_string_equal(r.text, "");
    assert_int_equal(r.claims_before, s->nclaims);
    /* a claim that was not acknowledged in time is in a gap as well */
    assert_true(sum_of(s, "multicast").packets + lost(s, "flow_rate_limit", &gaps) >= 8 * 2000);
    netd_suite_close(&attached);
    netd_cell_done(&c);
    netd_suite_stop(s);
}

static int cell_none(void)
{
    return send_many("203.0.113.9", 0, 1, true) + send_many("224.0.0.1", 0, 1, true);
}

static void test_mode_none(void **state)
{
    (void)state;
    size_t gaps;
    struct netd_cell c;
    struct netd_suite *s = start_mode(&c, ATTACH_NONE);
    assert_int_equal(s->nclaims, 1);
    assert_int_equal(s->claims[0].type, EVENT_ENFORCEMENT);
    assert_int_equal(s->claims[0].enforcement.mode, NET_MODE_NONE);
    assert_true(s->claims[0].enforcement.applied);
    assert_int_equal(s->claims[0].enforcement.rules, ruleset_of(NET_MODE_NONE)->nrules);
    netd_cell_run(&c, cell_none);
    finish(s, &c);
    assert_int_equal(sum_of(s, "udp").packets, 1);
    assert_int_equal(sum_of(s, "multicast").packets, 1);
    assert_int_equal(total_of(s, "udp"), 1);
    assert_int_equal(lost(s, "flow_rate_limit", &gaps), 0);
    assert_int_equal(s->nclaims, 1 + ruleset_of(NET_MODE_NONE)->nrows + 2);
    netd_suite_stop(s);
}

static void test_residue(void **state)
{
    (void)state;
    struct netd_cell c;
    struct netd_suite *s = start(&c);
    assert_int_equal(evidence_residue(s->netd, run_id, "veth", "cellos-0001"), 0);
    netd_suite_run(s, NULL);
    assert_int_equal(s->claims[s->nclaims - 1].type, EVENT_RESIDUE_REMOVED);
    assert_string_equal(s->claims[s->nclaims - 1].text, "cellos-0001");
    finish(s, &c);
    netd_suite_stop(s);
}

/* As on a kernel without the module: what asks for the ends of flows is refused. netd's child inherits that.
 */
static void without_flow_log(void)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    if (f == NULL ||
        seccomp_rule_add(f, SCMP_ACT_ERRNO(EOPNOTSUPP), SCMP_SYS(setsockopt), 2,
                         SCMP_A1(SCMP_CMP_EQ, SOL_NETLINK, 0),
                         SCMP_A2(SCMP_CMP_EQ, NETLINK_ADD_MEMBERSHIP, 0)) < 0 ||
        seccomp_load(f) < 0)
        _exit(97);
    seccomp_release(f);
}

static void no_flow_log(void)
{
    size_t gaps;
    struct netd_cell c;
    struct netd_suite *s = start(&c);
    struct buf text;
    uint8_t sum[DIGEST_LEN];
    assert_int_equal(s->nclaims, 2); /* said before the cell runs */
    assert_true(s->claims[0].enforcement.applied);
    assert_int_equal(s->claims[0].enforcement.rules,
                     ruleset_count_rules(ruleset_get(NET_MODE_INTERCEPT, false)));
    assert_int_equal(lost(s, "no_flow_log", &gaps), 0);
    assert_int_equal(gaps, 1);
    assert_int_equal(ruleset_digest(ruleset_get(NET_MODE_INTERCEPT, false), sum), 0);
    buf_init(&text, LIMIT_DIGEST + 1);
    encoding_hex_put(&text, sum, sizeof(sum));
    assert_non_null(strstr(s->netd->self.digests[NET_MODE_INTERCEPT][0], buf_cstr(&text)));
    buf_done(&text);
    netd_cell_run(&c, cell_repeats);
    finish(s, &c);
    assert_int_equal(sum_of(s, "multicast").events, 0);
    assert_int_equal(total_of(s, "multicast"), 50); /* the counters are whole */
    netd_suite_stop(s);
}

static void test_a_kernel_without_a_flow_log(void **state)
{
    (void)state;
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        without_flow_log();
        no_flow_log(); /* a failed assertion ends this process by a signal or its own exit */
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeats_are_one_more_event),
        cmocka_unit_test(test_dropped_flood),
        cmocka_unit_test(test_many_flows),
        cmocka_unit_test(test_gap_while_it_runs),
        cmocka_unit_test(test_unacknowledged_claims_are_bounded),
        cmocka_unit_test(test_mode_none),
        cmocka_unit_test(test_residue),
        cmocka_unit_test(test_a_kernel_without_a_flow_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return netd_cell_main(group);
}
