/* SPDX-License-Identifier: MIT */
/* h2c connections from end to end: every stream judged, bodies and windows, limits, ends in every order. The
 * client and the servers are nghttp2 sessions of the test's own. */
#include "tests/unit/proxyd_http_rig.h"

#include "proxyd/http/h2_state.h"

#define STREAMS 512

/* One end that speaks HTTP/2: the client, or one of the servers. */
struct peer {
    nghttp2_session *ng;
    int fd;
    bool is_server, ended;
    bool hold; /* a server that does not answer by itself */
    struct {
        char head[2048]; /* "name: value\n..." of what was received, trailers too */
        size_t body;
        bool fin, closed;
        uint32_t error;
    } s[STREAMS];
    char raw[4096];
    size_t left; /* of the body that this side sends, any stream */
};

static struct peer client, servers[4];

static ssize_t on_send_body(nghttp2_session *ng, int32_t id, uint8_t *dst, size_t n, uint32_t *flags,
                            nghttp2_data_source *source, void *user)
{
    struct peer *p = user;
    (void)ng;
    (void)id;
    (void)source;
    size_t some = p->left < n ? p->left : n;
    memset(dst, 'x', some);
    p->left -= some;
    if (p->left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)some;
}

#define NV(n, v)                                                                                             \
    {                                                                                                        \
        (uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE                           \
    }

static void answer(struct peer *p, int32_t id, const char *status, size_t body)
{
    const nghttp2_nv nv[] = {NV(":status", status), NV("server", "test")};
    const nghttp2_data_provider data = {.read_callback = on_send_body};
    p->left = body;
    assert_int_equal(nghttp2_submit_response(p->ng, id, nv, 2, body ? &data : NULL), 0);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t nn,
                     const uint8_t *value, size_t vn, uint8_t flags, void *user)
{
    struct peer *p = user;
    (void)ng;
    (void)flags;
    assert_in_range(f->hd.stream_id, 1, STREAMS - 1);
    char *to = p->s[f->hd.stream_id].head;
    size_t at = strlen(to);
    snprintf(to + at, sizeof(p->s[0].head) - at, "%.*s: %.*s\n", (int)nn, name, (int)vn, value);
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *user)
{
    struct peer *p = user;
    (void)ng;
    bool last = (f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) &&
                (f->hd.flags & NGHTTP2_FLAG_END_STREAM);
    if (!last)
        return 0;
    p->s[f->hd.stream_id].fin = true;
    if (p->is_server && !p->hold)
        answer(p, f->hd.stream_id, "200", 5);
    return 0;
}

static int on_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    struct peer *peer = user;
    (void)ng;
    (void)flags;
    size_t at = peer->s[id].body;
    if (at < sizeof(peer->raw) - 1 && !peer->is_server)
        snprintf(peer->raw, sizeof(peer->raw), "%.*s", (int)n, p);
    peer->s[id].body += n;
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t error, void *user)
{
    struct peer *p = user;
    (void)ng;
    p->s[id].closed = true;
    p->s[id].error = error;
    return 0;
}

static void peer_start(struct peer *p, int fd, bool is_server)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    memset(p, 0, sizeof(*p));
    p->fd = fd;
    p->is_server = is_server;
    assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    int r = is_server ? nghttp2_session_server_new2(&p->ng, cb, p, option)
                      : nghttp2_session_client_new2(&p->ng, cb, p, option);
    assert_int_equal(r, 0);
    assert_int_equal(nghttp2_submit_settings(p->ng, NGHTTP2_FLAG_NONE, NULL, 0), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
}

static void peer_step(struct peer *p)
{
    uint8_t got[65536];
    const uint8_t *out;
    ssize_t n;
    if (!p->ng || p->ended)
        return;
    while ((n = nghttp2_session_mem_send(p->ng, &out)) > 0)
        for (ssize_t at = 0; at < n;) {
            ssize_t k = send(p->fd, out + at, (size_t)(n - at), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (k < 0 && errno != EAGAIN) {
                p->ended = true;
                return;
            }
            at += k > 0 ? k : 0;
            if (k < 0)
                rig_turn();
        }
    n = recv(p->fd, got, sizeof(got), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        p->ended = true;
    else if (n > 0)
        (void)!nghttp2_session_mem_recv(p->ng, got, (size_t)n);
}

static void step(void)
{
    for (size_t i = 0; i < rig.nservers && i < ARRAY_LEN(servers); i++)
        if (!servers[i].ng && rig.servers[i] >= 0) {
            bool hold = servers[i].hold;
            peer_start(&servers[i], rig.servers[i], true);
            servers[i].hold = hold;
        }
    peer_step(&client);
    for (size_t i = 0; i < ARRAY_LEN(servers); i++)
        peer_step(&servers[i]);
    rig_turn();
}

#define H2_UNTIL(cond)                                                                                       \
    do {                                                                                                     \
        uint64_t end_ = clock_boottime_us() + 10000000;                                                      \
        bool met_ = false;                                                                                   \
        while (!(met_ = (cond)) && clock_boottime_us() < end_)                                               \
            step();                                                                                          \
        if (!met_)                                                                                           \
            fail_msg("not in time: " #cond);                                                                 \
    } while (0)

static void calm(void)
{
    for (int i = 0; i < 10; i++)
        step();
}

static void begin(void)
{
    memset(servers, 0, sizeof(servers));
    rig_start(H2_PREFACE);
    peer_start(&client, rig.client, false);
    const uint8_t *out;
    assert_true(nghttp2_session_mem_send(client.ng, &out) >= 24); /* the preface has been said */
}

static void end(void)
{
    nghttp2_session_del(client.ng);
    for (size_t i = 0; i < ARRAY_LEN(servers); i++)
        nghttp2_session_del(servers[i].ng);
    rig_stop();
}

static int32_t ask_raw(const nghttp2_nv *nv, size_t n, size_t body)
{
    const nghttp2_data_provider data = {.read_callback = on_send_body};
    client.left = body;
    int32_t id = nghttp2_submit_request(client.ng, NULL, nv, n, body ? &data : NULL, NULL);
    assert_true(id > 0);
    return id;
}

static int32_t ask(const char *authority, size_t body)
{
    const nghttp2_nv nv[] = {NV(":method", body ? "POST" : "GET"), NV(":scheme", "http"),
                             NV(":authority", authority), NV(":path", "/x")};
    return ask_raw(nv, ARRAY_LEN(nv), body);
}

static void expect_status(int32_t id, const char *status, uint32_t error)
{
    char want[64];
    H2_UNTIL(client.s[id].closed);
    snprintf(want, sizeof(want), ":status: %s\n", status);
    assert_non_null(strstr(client.s[id].head, want));
    assert_int_equal(client.s[id].error, error);
}

/* ---- */

static void test_streams(void **state)
{
    (void)state;
    begin();
    int32_t one = ask("a.example", 0), two = ask("evil.test", 0), three = ask("a.example", 0),
            four = ask("b.example", 0);
    expect_status(one, "200", 0);
    expect_status(two, "403", 0);
    expect_status(three, "200", 0);
    expect_status(four, "200", 0);
    assert_int_equal(client.s[one].body, 5);
    assert_int_equal(rig.nservers, 2);
    /* the second one for a.example waited for the first one's connection */
    assert_string_equal(rig.log,
                        "open a.example;deny l7_h2_authority_allowlist_miss evil.test;open b.example;"
                        "again a.example;");
    assert_non_null(strstr(servers[0].s[1].head, ":authority: a.example\n"));
    end();
}

static void test_denial_words(void **state)
{
    (void)state;
    begin();
    int32_t id = ask("evil.test", 0);
    expect_status(id, "403", 0);
    assert_non_null(strstr(client.raw, "l7_h2_authority_allowlist_miss: h2c to evil.test port 80: "));
    assert_non_null(strstr(client.raw, "--allow evil.test:80/h2c\n"));
    id = ask("evil.test", 100000); /* it need not send all of that */
    expect_status(id, "403", 0);
    id = ask("a.example", 0);
    expect_status(id, "200", 0);
    end();
}

/* Shapes that have no or two readings. */
static void test_shapes(void **state)
{
#define BASE NV(":method", "GET"), NV(":scheme", "http"), NV(":path", "/")
#define AUTH NV(":authority", "a.example")
    static const struct {
        const char *log, *status;
        nghttp2_nv nv[8];
    } rows[] = {
        {"deny l7_h2_authority_missing ;", "403", {BASE}},
        {"deny l7_h2_authority_missing ;", "403", {BASE, NV(":authority", "")}},
        {"deny l7_h2_authority_missing ;", "403", {BASE, AUTH, NV("host", "")}},
        {"deny l7_name_conflict ;", "403", {BASE, AUTH, NV("host", "b.example")}},
        {"deny l7_name_conflict ;", "403", {BASE, AUTH, NV("host", "a.example:81")}},
        {"deny l7_name_conflict ;", "403", {BASE, AUTH, NV("host", "user@a.example")}},
        {"deny l7_name_conflict ;", "403", {BASE, AUTH, NV("host", "a.example"), NV("host", "a.example")}},
        {"deny l7_name_conflict ;", "403", {BASE, AUTH, NV(":authority", "a.example")}},
        {"deny l7_name_conflict a.example;", "403", {BASE, NV(":authority", "a.example:81")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, NV(":authority", "user@a.example")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, NV(":authority", "a.example/")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, NV(":authority", "b\xc3\xbc.example")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, NV(":authority", " a.example")}},
        {"deny l7_h2_unparseable_headers ;", "403", {NV(":method", "GET"), NV(":scheme", "http"), AUTH}},
        {"deny l7_h2_unparseable_headers ;", "403", {NV(":method", "GET"), NV(":path", "/"), AUTH}},
        {"deny l7_h2_unparseable_headers ;", "403", {NV(":scheme", "http"), NV(":path", "/"), AUTH}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, NV(":path", "/2"), AUTH}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV(":other", "x")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, NV("x", "y"), AUTH}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("x", "a\r\nhost: b.example")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("x y", "z")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("connection", "close")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("transfer-encoding", "chunked")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("transfer_encoding", "chunked")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("upgrade", "websocket")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("te", "gzip")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("content-length", "3")}},
        {"deny l7_h2_unparseable_headers ;", "403", {BASE, AUTH, NV("content-length", "-1")}},
        {"deny l7_h2_unparseable_headers ;",
         "403",
         {NV(":method", "GET"), NV(":scheme", "https"), NV(":path", "/"), AUTH}},
        {"deny l7_h2_unparseable_headers ;",
         "403",
         {NV(":method", "GET /"), NV(":scheme", "http"), NV(":path", "/"), AUTH}},
        {"deny l7_h2_unparseable_headers ;",
         "403",
         {NV(":method", "GET"), NV(":scheme", "http"), NV(":path", "a"), AUTH}},
        {"deny l7_h2_unparseable_headers ;",
         "403",
         {NV(":method", "GET"), NV(":scheme", "http"), NV(":path", "/a b"), AUTH}},
        {"deny l7_h2_unparseable_headers ;",
         "403",
         {NV(":method", "GET"), NV(":scheme", "http"), NV(":path", "http://b.example/"), AUTH}},
        {"deny l7_unknown_protocol b.example;",
         "403",
         {NV(":method", "CONNECT"), NV(":authority", "b.example:443")}},
        {"deny l7_unknown_protocol a.example;", "403", {BASE, AUTH, NV(":protocol", "websocket")}},
        {"open a.example;", "200", {BASE, AUTH, NV("host", "A.example:80"), NV("te", "trailers")}},
        {"open a.example;", "200", {BASE, NV("host", "a.example")}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = 0;
        while (n < 8 && rows[i].nv[n].name)
            n++;
        begin();
        int32_t id = ask_raw(rows[i].nv, n, 0);
        H2_UNTIL(client.s[id].closed);
        if (strcmp(rig.log, rows[i].log) != 0)
            fail_msg("row %zu: %s instead of %s", i, rig.log, rows[i].log);
        expect_status(id, rows[i].status, 0);
        if (rig.nservers > 0) {
            assert_non_null(strstr(servers[0].s[1].head, ":authority: "));
            assert_null(strstr(servers[0].s[1].head, "host: "));
        }
        end();
    }
}

static void test_bodies(void **state)
{
    (void)state;
    begin();
    int32_t up = ask("a.example", 3000000);
    expect_status(up, "200", 0);
    assert_int_equal(servers[0].s[1].body, 3000000);
    servers[0].hold = true;
    int32_t down = ask("a.example", 0);
    H2_UNTIL(servers[0].s[3].fin);
    answer(&servers[0], 3, "200", 5000000);
    expect_status(down, "200", 0);
    assert_int_equal(client.s[down].body, 5000000);
    end();
}

/* A server that does not read stops the client, not the memory of this process. */
static void test_flow_control(void **state)
{
    (void)state;
    begin();
    rig.hold = true;
    int32_t id = ask("a.example", 3000000);
    calm();
    calm();
    assert_in_range(3000000 - client.left, 1, H2_STREAM_WINDOW);
    int32_t other = ask("evil.test", 0); /* others are not stopped */
    H2_UNTIL(client.s[other].closed);
    rig_release();
    client.left = 1000; /* both share one source */
    expect_status(id, "200", 0);
    end();
}

static void test_trailers(void **state)
{
    static const nghttp2_nv good[] = {NV("x-sum", "1")}, bad[] = {NV("host", "b.example")};
    static const nghttp2_nv head[] = {NV(":method", "POST"), NV(":scheme", "http"),
                                      NV(":authority", "a.example"), NV(":path", "/")};
    (void)state;
    begin();
    int32_t id = nghttp2_submit_headers(client.ng, NGHTTP2_FLAG_NONE, -1, NULL, head, 4, NULL);
    H2_UNTIL(rig.nservers == 1 && servers[0].s[1].head[0]);
    assert_int_equal(nghttp2_submit_headers(client.ng, NGHTTP2_FLAG_END_STREAM, id, NULL, good, 1, NULL), 0);
    expect_status(id, "200", 0);
    assert_non_null(strstr(servers[0].s[1].head, "x-sum: 1\n"));
    id = nghttp2_submit_headers(client.ng, NGHTTP2_FLAG_NONE, -1, NULL, head, 4, NULL);
    H2_UNTIL(servers[0].s[3].head[0]);
    assert_int_equal(nghttp2_submit_headers(client.ng, NGHTTP2_FLAG_END_STREAM, id, NULL, bad, 1, NULL), 0);
    H2_UNTIL(client.s[id].closed && servers[0].s[3].closed);
    assert_int_equal(client.s[id].error, NGHTTP2_PROTOCOL_ERROR);
    assert_null(strstr(servers[0].s[3].head, "b.example"));
    end();
}

static void test_resets(void **state)
{
    (void)state;
    begin();
    servers[0].hold = true;
    int32_t id = ask("a.example", 0);
    H2_UNTIL(servers[0].s[1].fin);
    assert_int_equal(nghttp2_submit_rst_stream(client.ng, 0, id, NGHTTP2_CANCEL), 0);
    H2_UNTIL(servers[0].s[1].closed);
    assert_int_equal(servers[0].s[1].error, NGHTTP2_CANCEL);
    id = ask("a.example", 0);
    H2_UNTIL(servers[0].s[3].fin);
    assert_int_equal(nghttp2_submit_rst_stream(servers[0].ng, 0, 3, NGHTTP2_REFUSED_STREAM), 0);
    H2_UNTIL(client.s[id].closed);
    assert_int_equal(client.s[id].error, NGHTTP2_REFUSED_STREAM);
    /* half of a body, then a reset */
    id = ask("a.example", 0);
    H2_UNTIL(servers[0].s[5].fin);
    answer(&servers[0], 5, "200", 10000000);
    H2_UNTIL(client.s[id].body > 100000);
    assert_int_equal(nghttp2_submit_rst_stream(servers[0].ng, 0, 5, NGHTTP2_INTERNAL_ERROR), 0);
    H2_UNTIL(client.s[id].closed);
    assert_int_equal(client.s[id].error, NGHTTP2_INTERNAL_ERROR);
    end();
}

/* The opener is taken back while others wait for its connection; then the whole connection goes. */
static void test_reset_while_deciding(void **state)
{
    (void)state;
    begin();
    rig.hold = true;
    int32_t one = ask("a.example", 0), two = ask("a.example", 0), three = ask("a.example", 0);
    H2_UNTIL(rig.log[0]);
    calm();
    assert_int_equal(nghttp2_submit_rst_stream(client.ng, 0, one, NGHTTP2_CANCEL), 0);
    calm();
    assert_string_equal(rig.log, "open a.example;open a.example;");
    rig_release();
    expect_status(two, "200", 0);
    expect_status(three, "200", 0);
    rig.hold = true;
    ask("b.example", 0);
    ask("b.example", 0);
    calm();
    close(rig.client);
    rig.client = -EBADF;
    client.ended = true;
    H2_UNTIL(rig.ended);
    assert_null(rig.pending);
    end();
}

static void test_server_fails(void **state)
{
    (void)state;
    /* refused: all that wait for it */
    begin();
    rig.refuse = L7_UPSTREAM_UNREACHABLE;
    int32_t one = ask("a.example", 0), two = ask("a.example", 0);
    expect_status(one, "502", 0);
    expect_status(two, "502", 0);
    assert_string_equal(rig.log, "open a.example;deny l7_upstream_unreachable a.example;"
                                 "deny l7_upstream_unreachable a.example;");
    end();
    /* speaks something else */
    begin();
    one = ask("a.example", 0);
    RIG_UNTIL((peer_step(&client), rig.nservers == 1));
    static const char http1[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    servers[0].ng = NULL;
    assert_true(send(rig.servers[0], http1, sizeof(http1) - 1, 0) > 0);
    RIG_UNTIL((peer_step(&client), client.s[one].closed));
    assert_non_null(strstr(client.s[one].head, ":status: 502\n"));
    end();
    /* closes in the middle, and while idle */
    begin();
    servers[0].hold = true;
    one = ask("a.example", 0);
    H2_UNTIL(servers[0].s[1].fin);
    answer(&servers[0], 1, "200", 10000000);
    H2_UNTIL(client.s[one].body > 100000);
    close(rig.servers[0]);
    rig.servers[0] = -EBADF;
    servers[0].ended = true;
    H2_UNTIL(client.s[one].closed);
    assert_int_equal(client.s[one].error, NGHTTP2_INTERNAL_ERROR);
    two = ask("a.example", 0);
    expect_status(two, "200", 0);
    assert_int_equal(rig.nservers, 2);
    end();
}

static void test_goaway(void **state)
{
    (void)state;
    begin();
    int32_t one = ask("a.example", 0);
    expect_status(one, "200", 0);
    assert_int_equal(nghttp2_submit_goaway(servers[0].ng, 0, 1, NGHTTP2_NO_ERROR, NULL, 0), 0);
    calm();
    int32_t two = ask("a.example", 0);
    expect_status(two, "200", 0);
    assert_int_equal(rig.nservers, 2);
    assert_int_equal(nghttp2_submit_goaway(client.ng, 0, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
    H2_UNTIL(client.ended);
    end();
}

/* Streams opened and taken back at once (CVE-2023-44487), PING and SETTINGS without end. */
static void test_floods(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 250 && !client.ended; i++) {
        int32_t id = ask("evil.test", 0);
        step();
        if (nghttp2_session_find_stream(client.ng, id))
            (void)nghttp2_submit_rst_stream(client.ng, 0, id, NGHTTP2_CANCEL);
    }
    rig.hold = true;
    for (int i = 0; i < 400 && !client.ended && client.s[509].head[0] == 0; i++) {
        int32_t id = nghttp2_session_get_next_stream_id(client.ng) < STREAMS ? ask("a.example", 0) : 0;
        step();
        if (id > 0)
            (void)nghttp2_submit_rst_stream(client.ng, 0, id, NGHTTP2_CANCEL);
    }
    end();
    begin();
    for (int i = 0; i < 5000 && !client.ended; i++) {
        assert_int_equal(nghttp2_submit_ping(client.ng, 0, NULL), 0);
        if (i % 50 == 0)
            step();
    }
    H2_UNTIL(client.ended);
    end();
    static const uint8_t settings[] = {0, 0, 0, NGHTTP2_SETTINGS, 0, 0, 0, 0, 0};
    begin();
    calm();
    for (int i = 0; i < 5000 && !client.ended; i++) {
        (void)!send(rig.client, settings, sizeof(settings), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (i % 50 == 0)
            step();
    }
    H2_UNTIL(client.ended);
    end();
}

static void test_resets_flood(void **state)
{
    (void)state;
    begin();
    rig.hold = true;
    for (int i = 0; i < 250 && !client.ended; i++) {
        int32_t id = ask("a.example", 0);
        peer_step(&client);
        (void)nghttp2_submit_rst_stream(client.ng, 0, id, NGHTTP2_CANCEL);
        step();
    }
    H2_UNTIL(client.ended);
    assert_null(rig.pending);
    assert_non_null(strstr(rig.log, "deny l7_quota ;"));
    end();
}

/* Too many fields, too long ones: refused, and the connection goes on. */
static void test_header_limits(void **state)
{
    static char big[17000];
    nghttp2_nv nv[300];
    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    const nghttp2_nv base[] = {NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "a.example"),
                               NV(":path", "/"), NV("x", big)};
    begin();
    int32_t id = ask_raw(base, 5, 0);
    expect_status(id, "403", 0);
    memcpy(nv, base, sizeof(base));
    for (size_t i = 4; i < ARRAY_LEN(nv); i++)
        nv[i] = (nghttp2_nv)NV("x", "y");
    id = ask_raw(nv, ARRAY_LEN(nv), 0);
    expect_status(id, "403", 0);
    id = ask("a.example", 0);
    expect_status(id, "200", 0);
    assert_string_equal(rig.log,
                        "deny l7_h2_unparseable_headers ;deny l7_h2_unparseable_headers ;open a.example;");
    end();
}

/* An HTTP/1 request that asks for h2c, to a host that only a rule for h2c allows. */
static void test_upgrade(void **state)
{
    static const char request[] =
        "GET /up HTTP/1.1\r\nHost: h2only.example\r\nX-Mine: 1\r\nConnection: Upgrade, "
        "HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    static const char answered[] =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    static const uint8_t settings[] = {0, 3, 0, 0, 0, 100, 0, 4, 0, 160, 0, 0, 0, 2, 0, 0, 0, 0};
    char got[sizeof(answered)] = "";
    (void)state;
    memset(servers, 0, sizeof(servers));
    rig_start(request);
    RIG_UNTIL(recv(rig.client, got, sizeof(answered) - 1, MSG_DONTWAIT) == sizeof(answered) - 1);
    assert_string_equal(got, answered);
    peer_start(&client, rig.client, false);
    assert_int_equal(nghttp2_session_upgrade2(client.ng, settings, sizeof(settings), 0, NULL), 0);
    expect_status(1, "200", 0);
    assert_string_equal(rig.log, "open h2only.example;");
    assert_string_equal(servers[0].s[1].head,
                        ":method: GET\n:scheme: http\n:authority: h2only.example\n:path: /up\nx-mine: 1\n");
    int32_t id = ask("h2only.example", 0);
    expect_status(id, "200", 0);
    end();
    /* broken settings */
    rig_start("GET / HTTP/1.1\r\nHost: h2only.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "
              "h2c\r\nHTTP2-Settings: AA!\r\n\r\n");
    RIG_UNTIL(rig.ended);
    rig_stop();
}

static void test_not_h2(void **state)
{
    (void)state;
    begin();
    assert_true(send(rig.client, "GET / HTTP/1.1\r\n\r\n", 18, 0) == 18);
    RIG_UNTIL(rig.ended || recv(rig.client, client.raw, 100, MSG_DONTWAIT) == 0);
    end();
}

static void test_quota(void **state)
{
    (void)state;
    begin();
    rig.no_quota = true;
    ask("a.example", 0);
    H2_UNTIL(rig.ended);
    assert_string_equal(rig.log, "deny l7_quota ;");
    end();
}

/* Another policy: the streams that it does not allow any more are cut, the others go on. */
static void test_policy_changed(void **state)
{
    (void)state;
    begin();
    servers[0].hold = servers[1].hold = true;
    int32_t a = ask("a.example", 0), b = ask("b.example", 0);
    H2_UNTIL(servers[0].s[1].fin && servers[1].s[1].fin);
    rig.outlawed = "a.example";
    assert_int_equal(http_session_policy_changed(rig.session), 1);
    H2_UNTIL(client.s[a].closed && (servers[0].s[1].closed || servers[1].s[1].closed));
    assert_int_equal(client.s[a].error, NGHTTP2_CANCEL);
    int32_t again = ask("a.example", 0);
    expect_status(again, "403", 0);
    assert_false(client.s[b].closed);
    answer(&servers[servers[0].s[1].closed ? 1 : 0], 1, "200", 5);
    expect_status(b, "200", 0);
    end();
}

/* The cell closes while streams are in every state. */
static void test_free_anywhere(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        begin();
        servers[1].hold = true;
        rig.hold = turns % 3 == 0;
        ask("a.example", 0);
        ask("b.example", 70000);
        ask("evil.test", 0);
        ask("a.example", 0);
        for (int i = 0; i < turns; i++)
            step();
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),        cmocka_unit_test(test_denial_words),
        cmocka_unit_test(test_shapes),         cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_flow_control),   cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_resets),         cmocka_unit_test(test_reset_while_deciding),
        cmocka_unit_test(test_server_fails),   cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_floods),         cmocka_unit_test(test_resets_flood),
        cmocka_unit_test(test_header_limits),  cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_not_h2),         cmocka_unit_test(test_quota),
        cmocka_unit_test(test_policy_changed), cmocka_unit_test(test_free_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
