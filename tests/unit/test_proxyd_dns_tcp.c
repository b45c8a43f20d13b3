/* SPDX-License-Identifier: MIT */
/* DNS over TCP from the cell: framing, pipelines, and clients that do not behave. */
#include "tests/unit/test_proxyd_dns_rig.h"

#define QUERY_LEN 35 /* www.example.com with its length prefix */

static void put_framed(struct buf *b, uint16_t id, const char *name)
{
    size_t at = b->len;

    buf_put_be16(b, 0);
    put_query(b, id, name, DNS_TYPE_A);
    b->data[at] = (uint8_t)((b->len - at - 2) >> 8);
    b->data[at + 1] = (uint8_t)(b->len - at - 2);
}

/* Reads exactly n bytes within ms into rig->reply; fewer when the connection ends. Returns how many;
 * *ret_end: it ended. */
static size_t read_all(struct rig *rig, int fd, size_t n, unsigned ms, bool *ret_end)
{
    uint64_t end = clock_boottime_us() + (uint64_t)ms * 1000;
    size_t have = 0;

    *ret_end = false;
    while (have < n && clock_boottime_us() < end) {
        ssize_t got = recv(fd, rig->reply + have, n - have, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            *ret_end = true;
            break;
        }
        if (got > 0)
            have += (size_t)got;
        else
            ev_run(rig->loop, EVRUN_ONCE);
    }
    return have;
}

static void a_pipeline_is_answered_in_full(void **state)
{
    struct rig *rig = *state;
    bool seen[40] = {false}, end;
    struct buf b;

    rig->script = script_address;
    rig->mode = ACK_LATER;
    buf_init(&b, 4096);
    for (uint16_t i = 0; i < 40; i++)
        put_framed(&b, i, "www.example.com");
    rig->client = client_open(rig, "::1", SOCK_STREAM);
    assert_int_equal(send(rig->client, b.data, b.len, 0), b.len);
    const size_t each = QUERY_LEN + 16;
    assert_int_equal(read_all(rig, rig->client, 40 * each, 5000, &end), 40 * each);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(rig->reply[i * each + 1], each - 2);
        unsigned id = rig->reply[i * each + 3];
        assert_in_range(id, 0, 39);
        assert_false(seen[id]);
        seen[id] = true;
    }
    /* the client is done: so are we */
    shutdown(rig->client, SHUT_WR);
    assert_int_equal(read_all(rig, rig->client, 1, 1000, &end), 0);
    assert_true(end);
    buf_done(&b);
}

static void the_pipeline_is_bounded(void **state)
{
    struct rig *rig = *state;
    struct buf b;

    rig->mode = ACK_HOLD;
    buf_init(&b, 4096);
    for (uint16_t i = 0; i < 40; i++)
        put_framed(&b, i, "www.example.com");
    rig->client = client_open(rig, "127.0.0.1", SOCK_STREAM);
    assert_int_equal(send(rig->client, b.data, b.len, 0), b.len);
    rig_run(rig, 100);
    assert_int_equal(rig->nacks, DNS_TCP_PIPELINE_MAX);
    /* closed by the client in the middle: nobody waits, nothing breaks */
    close(rig->client);
    rig->client = -EBADF;
    rig_run(rig, 50);
    rig_ack_all(rig, -EIO);
    rig_run(rig, 50);
    buf_done(&b);
}

static void bytes_may_come_one_by_one_and_half_closed(void **state)
{
    struct rig *rig = *state;
    struct buf b;
    bool end;

    rig->script = script_address;
    buf_init(&b, 512);
    put_framed(&b, 7, "www.example.com");
    rig->client = client_open(rig, "127.0.0.1", SOCK_STREAM);
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(send(rig->client, b.data + i, 1, 0), 1);
        rig_run(rig, 2);
    }
    shutdown(rig->client, SHUT_WR);
    assert_int_equal(read_all(rig, rig->client, 1000, 3000, &end), QUERY_LEN + 16);
    assert_true(end);
    assert_int_equal(rig->reply[3], 7);
    buf_done(&b);
}

static void half_closed_before_the_answer(void **state)
{
    struct rig *rig = *state;
    struct buf b;
    bool end;

    rig->script = script_address;
    rig->mode = ACK_HOLD;
    buf_init(&b, 512);
    put_framed(&b, 7, "www.example.com");
    rig->client = client_open(rig, "127.0.0.1", SOCK_STREAM);
    assert_int_equal(send(rig->client, b.data, b.len, 0), b.len);
    shutdown(rig->client, SHUT_WR);
    rig_run(rig, 50);
    rig->mode = ACK_AT_ONCE;
    rig_ack_all(rig, 0);
    assert_int_equal(read_all(rig, rig->client, 1000, 3000, &end), QUERY_LEN + 16);
    assert_true(end);
    buf_done(&b);
}

static void denials_come_back_and_malformed_ones_do_not(void **state)
{
    struct rig *rig = *state;
    struct buf b;
    bool end;

    buf_init(&b, 512);
    buf_put(&b, "\x00\x03xyz", 5);
    put_framed(&b, 7, "evil.test");
    rig->client = client_open(rig, "127.0.0.1", SOCK_STREAM);
    assert_int_equal(send(rig->client, b.data, b.len, 0), b.len);
    assert_int_equal(read_all(rig, rig->client, 1000, 200, &end), 2 + 12 + 11 + 4);
    assert_false(end);
    assert_int_equal(rig->reply[5] & 0xf, DNS_REFUSED);
    assert_int_equal(rig->nevents, 2);
    assert_int_equal(rig->events[0].reason, DNS_MALFORMED_QUERY);
    assert_int_equal(rig->events[1].reason, DNS_ALLOWLIST_MISS);
    buf_done(&b);
}

static void a_length_without_sense_ends_the_connection(void **state)
{
    struct rig *rig = *state;
    bool end;

    for (int i = 0; i < 2; i++) {
        rig->client = client_open(rig, "127.0.0.1", SOCK_STREAM);
        assert_int_equal(send(rig->client, i ? "\xff\xff" : "\0\0", 2, 0), 2);
        assert_int_equal(read_all(rig, rig->client, 1, 1000, &end), 0);
        assert_true(end);
        close(rig->client);
    }
    rig->client = -EBADF;
    assert_int_equal(rig->nevents, 2);
    assert_int_equal(rig->events[1].reason, DNS_MALFORMED_QUERY);
}

static void connections_are_bounded(void **state)
{
    struct rig *rig = *state;
    int fds[LIMIT_DNS_TCP_CONNS + 5];
    struct dns_counters c;
    unsigned closed = 0;
    bool end;

    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = client_open(rig, "127.0.0.1", SOCK_STREAM);
    rig_run(rig, 100);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        read_all(rig, fds[i], 1, 1, &end);
        closed += end;
        close(fds[i]);
    }
    assert_int_equal(closed, 5);
    dns_cell_counters(rig->cell, &c);
    assert_int_equal(c.limited, 5);
    rig_run(rig, 100);
    /* all gone: there is room again */
    rig->client = client_open(rig, "127.0.0.1", SOCK_STREAM);
    rig_run(rig, 20);
    read_all(rig, rig->client, 1, 20, &end);
    assert_false(end);
}

/* Two at once, and the cell is served meanwhile. */
static void silent_and_trickling_clients_are_cut(void **state)
{
    struct rig *rig = *state;
    int silent = client_open(rig, "127.0.0.1", SOCK_STREAM);
    int trickle = client_open(rig, "127.0.0.1", SOCK_STREAM);
    uint64_t start = clock_boottime_us();
    unsigned sent = 0;
    bool end;

    rig->script = script_address;
    assert_int_equal(send(trickle, "\x00\x20", 2, MSG_NOSIGNAL), 2);
    while (clock_boottime_us() - start < (DNS_TCP_IDLE_MS + 1500) * UINT64_C(1000)) {
        if (send(trickle, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
            sent++;
        ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
        rig_run(rig, 1000);
    }
    assert_in_range(sent, 5, 31);
    read_all(rig, silent, 1, 100, &end);
    assert_true(end);
    read_all(rig, trickle, 1, 100, &end);
    assert_true(end);
    close(silent);
    close(trickle);
}

/* What one client does not read is bounded, then it is cut, however much it goes on asking. */
static void a_client_that_never_reads_is_cut(void **state)
{
    static const char label[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct rig *rig = *state;
    uint64_t start = clock_boottime_us();
    const int small = 4096;
    struct dns_counters c;
    char name[256];
    struct buf b;
    bool cut = false;

    (void)snprintf(name, sizeof(name), "%s.%s.%s.%s", label, label, label, label);
    rig->client = client_open(rig, "127.0.0.1", SOCK_STREAM);
    setsockopt(rig->client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    buf_init(&b, 4096);
    for (uint16_t i = 0; i < 10; i++)
        put_framed(&b, i, name);
    while (!cut && clock_boottime_us() - start < 8000000) {
        ssize_t n = send(rig->client, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        cut = n < 0 && errno != EAGAIN;
        rig_run(rig, 5);
    }
    assert_true(cut);
    dns_cell_counters(rig->cell, &c);
    /* some 260 bytes each: ours, and what the kernel holds for both ends */
    assert_in_range(c.denied * 260, DNS_TCP_OUT_MAX, 4 * DNS_TCP_OUT_MAX);
    buf_done(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_pipeline_is_answered_in_full),
        T(the_pipeline_is_bounded),
        T(bytes_may_come_one_by_one_and_half_closed),
        T(half_closed_before_the_answer),
        T(denials_come_back_and_malformed_ones_do_not),
        T(a_length_without_sense_ends_the_connection),
        T(connections_are_bounded),
        T(silent_and_trickling_clients_are_cut),
        T(a_client_that_never_reads_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
