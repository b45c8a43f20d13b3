/* SPDX-License-Identifier: MIT */
/* The daemon as its two peers see it. */
#include "netd/dispatch.h"

#include <arpa/inet.h>

#include "tests/unit/netd_suite.h"

#define ATTACH   MSG_NETD_CELL_ATTACH_REQ
#define COUNTERS MSG_NETD_CELL_COUNTERS_REQ
#define DETACH   MSG_NETD_CELL_DETACH_REQ
#define ROWS     10 /* of mode intercept */

static char run_id[UUID_TEXT_LEN + 1];

static bool confined; /* netd runs as the daemon does, in a process of its own */

static struct netd_suite *start(void)
{
    static struct netd_suite s;
    uuid_v7(run_id);
    netd_suite_start(&s, confined);
    return &s;
}

static int cell_traffic(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = inet_addr("224.0.0.1")};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    IN_CELL(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EPERM);
    a.sin_addr.s_addr = inet_addr("8.8.8.8");
    IN_CELL(sendto(fd, "xyz", 3, 0, (struct sockaddr *)&a, sizeof(a)) == 3);
    return 0;
}

static const struct netd_suite_claim *flow(const struct netd_suite *s, size_t from, const char *rule)
{
    for (size_t i = from; i < s->nclaims; i++)
        if (netd_suite_is_row(&s->claims[i]) && strcmp(s->claims[i].text, rule) == 0)
            return &s->claims[i];
    fail_msg("no event for %s", rule);
    return NULL;
}

static size_t rows(const struct netd_suite *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->nclaims; i++)
        n += netd_suite_is_row(&s->claims[i]);
    return n;
}

/* The one event of a single flow or packet of this rule. */
static const struct netd_suite_claim *one(const struct netd_suite *s, const char *rule, bool ended)
{
    const struct netd_suite_claim *found = NULL;
    for (size_t i = 0; i < s->nclaims; i++) {
        const struct netd_suite_claim *c = &s->claims[i];
        if (c->type != EVENT_FLOW || netd_suite_is_row(c) || strcmp(c->text, rule) != 0 ||
            c->flow.ended.set != ended)
            continue;
        assert_null(found);
        found = c;
    }
    assert_non_null(found);
    return found;
}

static void assert_enforced(const struct netd_suite_claim *c, bool applied)
{
    assert_int_equal(c->type, EVENT_ENFORCEMENT);
    assert_int_equal(c->enforcement.mode, NET_MODE_INTERCEPT);
    assert_int_equal(c->enforcement.applied, applied);
    assert_int_equal(c->enforcement.rules, ruleset_of(NET_MODE_INTERCEPT)->nrules);
    assert_int_equal(c->enforcement.families.n, 2);
    assert_int_equal(c->text[0] != '\0', !applied);
}

static void test_whole_life(void **state)
{
    (void)state;
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new();
    struct netd_suite_reply r = netd_suite_attach(s, run_id, &c);
    assert_string_equal(r.text, "");
    assert_int_equal(r.nfds, NETD_CELL_SOCKETS);
    assert_int_equal(strlen(r.digest), LIMIT_DIGEST);
    assert_int_equal(r.claims_before, 1); /* evidence before effect */
    assert_enforced(&s->claims[0], true);
    uint64_t cookie = 0;
    assert_int_equal(sockets_netns_cookie(r.fds[0], &cookie), 0);
    for (enum sockets_index i = 0; i < _SOCKETS_MAX; i++)
        assert_true(sockets_is(r.fds[i], i, cookie));

    netd_cell_run(&c, cell_traffic);
    netd_suite_close(&r);
    netd_cell_done(&c); /* the cell is gone: its counters are not */

    r = netd_suite_call(s, COUNTERS, run_id, NULL);
    assert_string_equal(r.text, "");
    assert_int_equal(rows(s), ROWS);
    assert_int_equal(r.counters.packets_accepted, 1);
    assert_int_equal(r.counters.packets_dropped, 1);
    const struct netd_suite_claim *f = flow(s, 1, "multicast");
    assert_int_equal(f->flow.action, ACTION_DENY);
    assert_int_equal(f->flow.reason_code, FLOW_DEFAULT_DROP);
    assert_int_equal(f->flow.packets, 1);
    assert_int_equal(f->flow.bytes, 29);
    f = flow(s, 1, "intercept");
    assert_int_equal(f->flow.action, ACTION_ALLOW);
    assert_int_equal(f->flow.reason_code, FLOW_PROXY_ACCEPT);
    assert_int_equal(f->flow.packets, 1);
    assert_int_equal(flow(s, 1, "dns")->flow.packets, 0); /* zero counts too */

    r = netd_suite_call(s, DETACH, run_id, NULL);
    assert_string_equal(r.text, "");
    assert_int_equal(rows(s), ROWS); /* nothing has changed since */
    assert_int_equal(r.claims_before, s->nclaims);
    f = one(s, "multicast", false);
    assert_int_equal(f->flow.action, ACTION_DENY);
    assert_string_equal(f->protocol, "udp");
    assert_string_equal(f->destination, "224.0.0.1:9");
    assert_int_equal(f->flow.bytes, 29);
    f = one(s, "intercept", false);
    assert_int_equal(f->flow.action, ACTION_ALLOW);
    assert_string_equal(f->destination, "8.8.8.8:9");
    assert_int_equal(strncmp(f->source, "10.88.0.2:", 10), 0);
    char source[sizeof(f->source)];
    memcpy(source, f->source, sizeof(source));
    f = one(s, "intercept", true); /* it was open when the cell ended */
    assert_string_equal(f->source, source);
    assert_int_equal(f->flow.packets, 1);
    assert_int_equal(f->flow.bytes, 31);
    assert_int_equal(s->nclaims, 1 + ROWS + 3);
    r = netd_suite_call(s, DETACH, run_id, NULL);
    assert_int_equal(r.fail, FAIL_UNKNOWN);
    netd_suite_stop(s);
}

static void test_detach_reports_too(void **state)
{
    (void)state;
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new();
    struct netd_suite_reply r = netd_suite_attach(s, run_id, &c);
    netd_suite_close(&r);
    r = netd_suite_call(s, COUNTERS, run_id, NULL);
    assert_int_equal(r.fail, 0);
    netd_cell_run(&c, cell_traffic); /* after the last counters */
    r = netd_suite_call(s, DETACH, run_id, NULL);
    assert_int_equal(r.fail, 0);
    assert_true(rows(s) > ROWS);
    assert_true(rows(s) < 2 * ROWS); /* only what changed */
    assert_int_equal(flow(s, 1 + ROWS, "multicast")->flow.packets, 1);
    assert_int_equal(r.claims_before, s->nclaims);
    netd_cell_done(&c);
    netd_suite_stop(s);
}

static void assert_refused(struct netd_suite *s, int userns, int netns, const char *why)
{
    size_t before = s->nclaims;
    struct netd_suite_reply r = netd_suite_call(s, ATTACH, run_id, (const int[]){userns, netns});
    assert_int_equal(r.fail, FAIL_BAD_FD);
    assert_non_null(strstr(r.text, why));
    assert_int_equal(s->nclaims, before + 1);
    assert_enforced(&s->claims[before], false);
    assert_non_null(strstr(s->claims[before].text, why));
    assert_int_equal(netd_suite_call(s, DETACH, run_id, NULL).fail, FAIL_UNKNOWN);
}

static void test_hostile_fds(void **state)
{
    (void)state;
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new(), d = netd_cell_new();
    _cleanup_close_ int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    assert_refused(s, c.userns, net, "own namespace");
    assert_refused(s, c.netns, c.userns, "in this order");
    assert_refused(s, d.userns, c.netns, "not owned");
    assert_refused(s, c.userns, file, "not a namespace");
    assert_refused(s, file, c.netns, "not a namespace");
    struct netd_suite_reply r = netd_suite_attach(s, run_id, &c); /* the good pair still works */
    assert_int_equal(r.fail, 0);
    netd_suite_close(&r);
    uuid_v7(run_id);
    assert_refused(s, c.userns, c.netns, "open the flow log"); /* a second cell in the same namespace */
    netd_cell_done(&c);
    netd_cell_done(&d);
    netd_suite_stop(s);
}

static void test_ids(void **state)
{
    (void)state;
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new();
    struct netd_suite_reply r = netd_suite_attach(s, run_id, &c);
    netd_suite_close(&r);
    assert_int_equal(netd_suite_attach(s, run_id, &c).fail, FAIL_EXISTS);
    assert_int_equal(netd_suite_attach(s, "no-uuid", &c).fail, FAIL_INVALID);
    assert_int_equal(netd_suite_call(s, COUNTERS, "no-uuid", NULL).fail, FAIL_UNKNOWN);
    assert_int_equal(netd_suite_call(s, DETACH, "", NULL).fail, FAIL_UNKNOWN);
    assert_int_equal(s->nclaims, 1);
    netd_cell_done(&c);
    netd_suite_stop(s);
}

static void test_no_sockets_without_evidence(void **state)
{
    (void)state;
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new();
    struct netd_suite_reply r;
    s->hold = true;
    netd_suite_send(s, ATTACH, run_id, (const int[]){c.userns, c.netns}, &r);
    netd_suite_run(s, NULL);
    assert_int_equal(s->nclaims, 1);
    assert_false(r.here);
    s->refuse = FAIL_AUTHORITY;
    netd_suite_release(s);
    netd_suite_run(s, &r.here);
    assert_int_equal(r.fail, FAIL_AUTHORITY);
    assert_int_equal(r.nfds, 0);
    assert_int_equal(netd_suite_call(s, COUNTERS, run_id, NULL).fail, FAIL_UNKNOWN);
    netd_cell_done(&c);
    netd_suite_stop(s);
}

static void test_signerd_away(void **state)
{
    (void)state;
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new(), d = netd_cell_new();
    struct netd_suite_reply r = netd_suite_attach(s, run_id, &c);
    netd_suite_close(&r);
    s->signerd = endpoint_free(s->signerd);
    netd_suite_run(s, NULL);
    r = netd_suite_call(s, COUNTERS, run_id, NULL);
    assert_int_equal(r.fail, FAIL_UNAVAILABLE);
    r = netd_suite_call(s, DETACH, run_id, NULL); /* says so, and lets go all the same */
    assert_int_equal(r.fail, FAIL_UNAVAILABLE);
    assert_int_equal(netd_suite_call(s, DETACH, run_id, NULL).fail, FAIL_UNKNOWN);
    assert_int_equal(netd_suite_attach(s, run_id, &d).fail, FAIL_UNAVAILABLE);
    netd_cell_done(&c);
    netd_cell_done(&d);
    netd_suite_stop(s);
}

static int cell_deletes_the_table(void)
{
    execlp("nft", "nft", "delete", "table", "inet", RULESET_TABLE, (char *)NULL);
    return 1;
}

/* Root over the namespace (the owner of U1) took the rules away: the counts are lost, and that is said. */
static void test_lost_counters_are_claimed(void **state)
{
    (void)state;
    if (access("/usr/sbin/nft", X_OK) != 0)
        skip();
    setenv("PATH", "/usr/sbin:/usr/bin", 1);
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new();
    struct netd_suite_reply r = netd_suite_attach(s, run_id, &c);
    netd_suite_close(&r);
    netd_cell_run(&c, cell_deletes_the_table);
    r = netd_suite_call(s, DETACH, run_id, NULL);
    assert_int_equal(r.fail, FAIL_INTERNAL);
    assert_non_null(strstr(r.text, "rules that are in force"));
    assert_int_equal(s->nclaims, 2);
    assert_int_equal(s->claims[1].type, EVENT_GAP);
    assert_string_equal(s->claims[1].text, "flow counters unreadable");
    assert_int_equal(netd_suite_call(s, DETACH, run_id, NULL).fail, FAIL_UNKNOWN);
    netd_cell_done(&c);
    netd_suite_stop(s);
}

static void test_requests_out_of_state(void **state)
{
    (void)state;
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new();
    struct netd_suite_reply a, n, d, d2;
    s->hold = true;
    netd_suite_send(s, ATTACH, run_id, (const int[]){c.userns, c.netns}, &a);
    netd_suite_send(s, COUNTERS, run_id, NULL, &n);
    netd_suite_run(s, &n.here);
    assert_int_equal(n.fail, FAIL_STATE);
    netd_suite_release(s);
    netd_suite_run(s, &a.here);
    assert_int_equal(a.fail, 0);
    netd_suite_close(&a);

    s->hold = true;
    netd_suite_send(s, COUNTERS, run_id, NULL, &n); /* its events hang */
    netd_suite_run(s, NULL);
    assert_false(n.here);
    assert_int_equal(s->nclaims, 1 + ROWS);
    netd_suite_send(s, DETACH, run_id, NULL, &d);
    netd_suite_send(s, DETACH, run_id, NULL, &d2);
    netd_suite_run(s, &d2.here);
    assert_int_equal(n.fail, FAIL_STATE);
    assert_int_equal(d2.fail, FAIL_STATE);
    assert_false(d.here);
    netd_suite_release(s);
    netd_suite_run(s, &d.here);
    assert_int_equal(d.fail, 0);
    assert_int_equal(d.claims_before, s->nclaims);
    netd_cell_done(&c);
    netd_suite_stop(s);
}

static void test_detach_overtakes_attach(void **state)
{
    (void)state;
    struct netd_suite *s = start();
    struct netd_cell c = netd_cell_new();
    struct netd_suite_reply a, d;
    netd_suite_send(s, ATTACH, run_id, (const int[]){c.userns, c.netns}, &a); /* the child is at work */
    netd_suite_send(s, DETACH, run_id, NULL, &d);
    netd_suite_run(s, &d.here);
    assert_true(a.here);
    assert_int_equal(a.fail, FAIL_STATE);
    assert_int_equal(d.fail, 0);
    assert_int_equal(s->claims[0].type, EVENT_ENFORCEMENT);
    assert_int_equal(d.claims_before, s->nclaims);
    netd_cell_done(&c);

    c = netd_cell_new();
    s->hold = true;
    size_t before = s->nclaims;
    netd_suite_send(s, ATTACH, run_id, (const int[]){c.userns, c.netns}, &a); /* the claim is under way */
    netd_suite_run(s, NULL);
    assert_int_equal(s->nclaims, before + 1);
    netd_suite_send(s, DETACH, run_id, NULL, &d);
    netd_suite_run(s, NULL);
    assert_false(d.here);
    netd_suite_release(s);
    netd_suite_run(s, &d.here);
    assert_int_equal(a.fail, FAIL_STATE);
    assert_int_equal(d.fail, 0);
    assert_int_equal(s->nclaims, before + 1 + ROWS);
    netd_cell_done(&c);
    netd_suite_stop(s);
}

static void test_many_cells(void **state)
{
    (void)state;
    enum { N = 20 };
    struct netd_suite *s = start();
    struct netd_cell c[N];
    struct netd_suite_reply r[N];
    char ids[N][UUID_TEXT_LEN + 1];
    for (int i = 0; i < N; i++) {
        c[i] = netd_cell_new();
        uuid_v7(ids[i]);
        netd_suite_send(s, ATTACH, ids[i], (const int[]){c[i].userns, c[i].netns}, &r[i]);
    }
    for (int i = 0; i < N; i++) {
        netd_suite_run(s, &r[i].here);
        assert_string_equal(r[i].text, "");
        netd_suite_close(&r[i]);
        netd_cell_done(&c[i]);
        netd_suite_send(s, DETACH, ids[i], NULL, &r[i]);
    }
    for (int i = 0; i < N; i++) {
        netd_suite_run(s, &r[i].here);
        assert_string_equal(r[i].text, "");
    }
    assert_int_equal(s->nclaims, N * (1 + ROWS));
    netd_suite_stop(s);
}

/* What no honest supervisor sends ends the line, and netd with it. */
static void assert_cut(const void *p, size_t n, const int *fds, size_t nfds)
{
    static const uint8_t hello[] = "\x95\x00\x00\xa4netd\x01\x01"; /* [0, 0, "netd", 1, supervisor] */
    struct frame *f = calloc(1, sizeof(*f));
    int sup[2], sig[2], status = 0, r;
    assert_non_null(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sup), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sig), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        netd_suite_daemon(sup[1], sig[1]);
    close(sup[1]);
    close(sig[1]);
    assert_int_equal(frame_send(sup[0], hello, sizeof(hello) - 1, NULL, 0), 0);
    assert_int_equal(frame_send(sup[0], p, n, fds, nfds), 0);
    while ((r = frame_recv(sup[0], f)) == FRAME_GOT || r == -EAGAIN)
        usleep(1000);
    assert_true(r == FRAME_EOF || r == -ECONNRESET);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    close(sup[0]);
    close(sig[0]);
    free(f);
}

static size_t encode(uint32_t id, const void *rec, uint8_t dst[512])
{
    struct buf b;
    buf_init(&b, 512);
    assert_int_equal(iface_encode(iface_row(&iface_netd, id), 1, rec, &b), 0);
    size_t n = b.len;
    memcpy(dst, b.data, n);
    buf_done(&b);
    return n;
}

static void test_broken_frames_end_the_line(void **state)
{
    (void)state;
    uint8_t attach[513], detach[513];
    const struct netd_cell_attach_req q = {str_of("018f0000-0000-7000-8000-000000000000"), STR_LIT("cell")};
    const struct netd_cell_ref ref = {q.run_id};
    struct netd_cell c = netd_cell_new();
    const int fds[] = {c.userns, c.netns, c.netns};
    size_t na = encode(ATTACH, &q, attach), nd = encode(DETACH, &ref, detach);
    assert_cut("garbage", 7, NULL, 0);
    assert_cut(attach, na, NULL, 0);
    assert_cut(attach, na, fds, 1);
    assert_cut(attach, na, fds, 3);
    assert_cut(attach, na - 1, fds, 2);
    assert_cut(attach, na + 1, fds, 2);
    assert_cut(detach, nd, fds, 1);
    assert_cut("\x95\x00\x00\xa4netd\x01\x01", 11, NULL, 0); /* a second hello */
    assert_cut("\x92\x07\x01", 3, NULL, 0);                  /* netd's own reply */
    assert_cut("\x92\x08\x01", 3, NULL, 0);                  /* no such message */
    netd_cell_done(&c);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_life),
        cmocka_unit_test(test_detach_reports_too),
        cmocka_unit_test(test_hostile_fds),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_no_sockets_without_evidence),
        cmocka_unit_test(test_signerd_away),
        cmocka_unit_test(test_lost_counters_are_claimed),
        cmocka_unit_test(test_requests_out_of_state),
        cmocka_unit_test(test_detach_overtakes_attach),
        cmocka_unit_test(test_many_cells),
        cmocka_unit_test(test_broken_frames_end_the_line),
    };
    confined = false;
    int failed = cmocka_run_group_tests_name("in this process", tests, NULL, NULL);
    confined = true;
    return failed + cmocka_run_group_tests_name("confined", tests, NULL, NULL);
}

int main(void)
{
    return netd_cell_main(group);
}
