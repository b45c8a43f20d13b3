/* SPDX-License-Identifier: MIT */
/* HTTP/1 connections from end to end: every request judged, in order; framing; ends in every order. */
#include "tests/unit/proxyd_http_rig.h"

#define GET(path, host)    "GET " path " HTTP/1.1\r\nHost: " host "\r\n\r\n"
#define OK(body_len, body) "HTTP/1.1 200 OK\r\nContent-Length: " body_len "\r\n\r\n" body

static int server(size_t i)
{
    RIG_UNTIL(rig.nservers > i);
    return rig.servers[i];
}

static void says(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Exactly this, and nothing more for the moment. */
static void hears(int fd, const char *text)
{
    static char got[262144];
    size_t n = 0, want = strlen(text);
    uint64_t end = clock_boottime_us() + 5000000;
    while (n < want && clock_boottime_us() < end) {
        ssize_t r = recv(fd, got + n, sizeof(got) - 1 - n, MSG_DONTWAIT);
        if (r == 0)
            break;
        n += r > 0 ? (size_t)r : 0;
        rig_turn();
    }
    got[n] = 0;
    assert_string_equal(got, text);
    rig_calm();
    assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT | MSG_PEEK) > 0, 0);
}

static void hears_end(int fd)
{
    char c;
    ssize_t r = -1;
    RIG_UNTIL((r = recv(fd, &c, 1, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
    assert_int_equal(r, 0);
}

/* Unix sockets know no reset: both show as the end, or as an error when something was unread. */
static void hears_break(int fd)
{
    char c[4096];
    ssize_t r = 1;
    RIG_UNTIL((r = recv(fd, c, sizeof(c), MSG_DONTWAIT)) == 0 || (r < 0 && errno == ECONNRESET));
}

/* The head of an answer of ours and its line. */
static void hears_denial(int fd, const char *status, const char *reason, bool closes)
{
    char got[4096] = "", want[64];
    size_t n = 0;
    RIG_UNTIL(
        (n += (size_t)(recv(fd, got + n, sizeof(got) - 1 - n, MSG_DONTWAIT) > 0 ? strlen(got + n) : 0)) > 0 &&
        strstr(got, "\r\n\r\n"));
    snprintf(want, sizeof(want), "HTTP/1.1 %s\r\n", status);
    assert_ptr_equal(strstr(got, want), got);
    assert_ptr_equal(strstr(strstr(got, "\r\n\r\n"), reason), strstr(got, "\r\n\r\n") + 4);
    assert_int_equal(strstr(got, "Connection: close") != NULL, closes);
}

static void test_keep_alive(void **state)
{
    (void)state;
    rig_start(GET("/1", "a.example"));
    hears(server(0), GET("/1", "a.example"));
    says(server(0), OK("3", "one"));
    hears(rig.client, OK("3", "one"));
    says(rig.client, GET("/2", "a.example"));
    hears(server(0), GET("/2", "a.example"));
    says(server(0), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n");
    hears(rig.client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n");
    says(rig.client, "GET /3 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    hears(server(0), "GET /3 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    says(server(0), OK("0", ""));
    hears(rig.client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    hears_end(rig.client);
    close(rig.client);
    rig.client = -EBADF;
    RIG_UNTIL(rig.ended);
    assert_string_equal(rig.log, "open a.example;again a.example;again a.example;");
    rig_stop();
}

/* What came in one packet is judged one by one, and answered in order. */
static void test_pipelined(void **state)
{
    (void)state;
    rig_start(GET("/1", "a.example") GET("/2", "evil.test") GET("/3", "a.example") GET("/4", "b.example"));
    hears(server(0), GET("/1", "a.example"));
    assert_string_equal(rig.log, "open a.example;");
    says(server(0), OK("1", "1"));
    hears(server(0), GET("/3", "a.example"));
    assert_string_equal(rig.log,
                        "open a.example;deny l7_http_host_allowlist_miss evil.test;again a.example;");
    says(server(0), OK("1", "3"));
    hears(server(1), GET("/4", "b.example"));
    hears_end(server(0));
    says(server(1), OK("1", "4"));
    char got[4096] = "";
    size_t n = 0;
    RIG_UNTIL((n += (size_t)(recv(rig.client, got + n, sizeof(got) - 1 - n, 0) > 0 ? strlen(got + n) : 0)) >
                  0 &&
              got[n - 1] == '4');
    const char *first = strstr(got, OK("1", "1")), *second = strstr(got, "HTTP/1.1 403 Forbidden\r\n");
    const char *third = strstr(got, OK("1", "3")), *fourth = strstr(got, OK("1", "4"));
    assert_true(first == got && second > first && third > second && fourth > third);
    assert_null(strstr(got, "Connection: close"));
    rig_stop();
}

static void test_denied_with_body(void **state)
{
    (void)state;
    rig_start("POST / HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 5\r\n\r\n12");
    hears_denial(rig.client, "403 Forbidden",
                 "l7_http_host_allowlist_miss: http to evil.test port 80: ", false);
    says(rig.client, "345" GET("/", "a.example"));
    hears(server(0), GET("/", "a.example"));
    rig_stop();
    /* chunked as well */
    rig_start(
        "POST / HTTP/1.1\r\nHost: evil.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" GET(
            "/", "a.example"));
    hears(server(0), GET("/", "a.example"));
    rig_stop();
    /* a body that is too long to read away, and one that may never come */
    static const char *const closing[] = {
        "POST / HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 262145\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: evil.test\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(closing); i++) {
        rig_start(closing[i]);
        hears_denial(rig.client, "403 Forbidden", "l7_http_host_allowlist_miss", true);
        hears_end(rig.client);
        rig_stop();
    }
    rig_start("HEAD / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    char got[1024] = "";
    RIG_UNTIL(recv(rig.client, got, sizeof(got) - 1, MSG_DONTWAIT) > 0);
    assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
    rig_stop();
}

/* Nothing of a request goes anywhere before its evidence is there. */
static void test_evidence_first(void **state)
{
    (void)state;
    rig_start(GET("/1", "a.example"));
    says(server(0), OK("0", ""));
    hears(server(0), GET("/1", "a.example"));
    hears(rig.client, OK("0", ""));
    rig.hold = true;
    says(rig.client, "POST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody");
    rig_calm();
    hears(server(0), "");
    rig_release();
    hears(server(0), "POST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody");
    says(server(0), OK("0", ""));
    hears(rig.client, OK("0", ""));
    rig.refuse = L7_QUOTA; /* the event could not be recorded */
    says(rig.client, GET("/3", "a.example"));
    hears_denial(rig.client, "503 Service Unavailable", "l7_quota", false);
    hears_end(server(0));
    rig_stop();
}

static void test_bodies(void **state)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3;x=y\r\nabc\r\n";
    (void)state;
    rig_start(post);
    hears(server(0), post);
    says(rig.client, "0\r\nX-Sum: 1\r\n\r\n" GET("/2", "a.example"));
    hears(server(0), "0\r\nX-Sum: 1\r\n\r\n"); /* the second one waits for the first one's answer */
    says(server(0), "HTTP/1.1 204 No Content\r\n\r\n");
    hears(server(0), GET("/2", "a.example"));
    says(server(0), "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n");
    hears(rig.client,
          "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n");
    says(rig.client, "HEAD /3 HTTP/1.1\r\nHost: a.example\r\n\r\n");
    hears(server(0), "HEAD /3 HTTP/1.1\r\nHost: a.example\r\n\r\n");
    says(server(0), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    hears(rig.client, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    says(rig.client, GET("/4", "a.example"));
    hears(server(0), GET("/4", "a.example"));
    says(server(0), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the");
    hears(rig.client, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the");
    says(server(0), " end");
    close(rig.servers[0]);
    rig.servers[0] = -EBADF;
    hears(rig.client, " end");
    hears_end(rig.client);
    assert_string_equal(rig.log, "open a.example;again a.example;again a.example;again a.example;");
    rig_stop();
}

static void test_expect(void **state)
{
    static const char head[] =
        "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    (void)state;
    rig_start(head);
    hears(server(0), head);
    says(server(0), "HTTP/1.1 100 Continue\r\n\r\n");
    hears(rig.client, "HTTP/1.1 100 Continue\r\n\r\n");
    says(rig.client, "body");
    hears(server(0), "body");
    says(server(0), OK("0", ""));
    hears(rig.client, OK("0", ""));
    /* a final answer at once: nobody knows whether the body comes */
    says(rig.client, head);
    hears(server(0), head);
    says(server(0), "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n");
    hears(rig.client, "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    hears_end(rig.client);
    rig_stop();
}

/* The answer comes while the body is still on its way: the rest of it is no request. */
static void test_early_answer(void **state)
{
    (void)state;
    rig_start("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 40\r\n\r\nGET / HTTP/1.1\r\n");
    hears(server(0), "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 40\r\n\r\nGET / HTTP/1.1\r\n");
    says(server(0), OK("2", "ok"));
    hears(rig.client, OK("2", "ok"));
    says(rig.client, "Host: evil.test\r\n.....\r\n" GET("/2", "a.example"));
    hears(server(0), "Host: evil.test\r\n.....\r\n" GET("/2", "a.example"));
    assert_string_equal(rig.log, "open a.example;again a.example;");
    rig_stop();
}

static void test_websocket(void **state)
{
    static const char ask[] = "GET /ws HTTP/1.1\r\nHost: a.example\r\nSec-WebSocket-Key: x\r\n";
    static const char up[] = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    char text[512];
    (void)state;
    snprintf(text, sizeof(text), "%sConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\nearly", ask);
    rig_start(text);
    snprintf(text, sizeof(text), "%s%s", ask, up);
    hears(server(0), text); /* what came early waits for the 101 */
    says(server(0),
         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello");
    snprintf(text, sizeof(text), "HTTP/1.1 101 Switching Protocols\r\n%shello", up);
    hears(rig.client, text);
    hears(server(0), "early");
    says(rig.client, "\x01\x02 any bytes");
    hears(server(0), "\x01\x02 any bytes");
    shutdown(rig.client, SHUT_WR);
    hears_end(server(0));
    says(server(0), "still");
    hears(rig.client, "still");
    close(rig.servers[0]);
    rig.servers[0] = -EBADF;
    hears_end(rig.client);
    RIG_UNTIL(rig.ended);
    rig_stop();
    /* refused by the server: what came early is the next request */
    snprintf(text, sizeof(text), "%s%s%s", ask, up, GET("/2", "evil.test"));
    rig_start(text);
    says(server(0), "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
    RIG_UNTIL(strstr(rig.log, "deny l7_http_host_allowlist_miss evil.test"));
    rig_stop();
}

/* Upgrades to what would not be judged are no upgrades. */
static void test_other_upgrades(void **state)
{
    static const char *const tokens[] = {"h2c", "HTTP/2.0", "TLS/1.2", "h2c, websocket", "websocket, h2c",
                                         "tcp"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "
                 "%s\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
                 tokens[i]);
        rig_start(text);
        hears(server(0), GET("/", "a.example"));
        says(server(0), "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
        hears_denial(rig.client, "502 Bad Gateway", "l7_upstream_unreachable", true);
        hears_end(rig.client);
        rig_stop();
    }
}

/* A head whose framing, or whose name, can be read in two ways ends the connection, first or later. */
static void test_conflict_later(void **state)
{
    static const struct {
        const char *request, *log;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", "deny l7_name_conflict ;"},
        {"GET / HTTP/1.1\r\nHost: a.example:81\r\n\r\n", "deny l7_name_conflict a.example;"},
        {"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "deny l7_name_conflict ;"},
        {"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
         "deny l7_name_conflict a.example;"},
        {"GET / HTTP/1.1\r\n\r\n", "deny l7_http_host_missing ;"},
        {"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n",
         "deny l7_unknown_protocol b.example;"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "deny l7_unknown_protocol ;"},
        {"\x16\x03\x01\x02", "deny l7_unknown_protocol ;"},
        {"GET /unfinished HTTP/1.1\r\nHost: a.", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char want[256];
        rig_start(GET("/1", "a.example"));
        says(server(0), OK("0", ""));
        hears(rig.client, OK("0", ""));
        rig.log[0] = 0;
        says(rig.client, rows[i].request);
        if (!rows[i].log)
            shutdown(rig.client, SHUT_WR);
        snprintf(want, sizeof(want), "%s", rows[i].log ? rows[i].log : "deny l7_unknown_protocol ;");
        RIG_UNTIL(rig.log[0]);
        assert_int_equal(strncmp(rig.log, want, strlen(want)), 0);
        hears_break(rig.client);
        hears(server(0), GET("/1", "a.example"));
        rig_stop();
    }
}

/* ---- ends ---- */

static void test_server_ends(void **state)
{
    static const struct {
        const char *bytes, *heard;
    } rows[] = {
        {"", ""}, /* no answer: no answer */
        {"HTTP/1.1 200 OK\r\nContent-Le", ""},
        {OK("5", "abc"), OK("5", "abc")},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rig_start(GET("/", "a.example"));
        says(server(0), rows[i].bytes);
        rig_calm();
        close(rig.servers[0]);
        rig.servers[0] = -EBADF;
        hears(rig.client, rows[i].heard);
        hears_break(rig.client);
        close(rig.client);
        rig.client = -EBADF;
        RIG_UNTIL(rig.ended);
        rig_stop();
    }
    /* between two requests: the client's connection ends too, as it would without a proxy */
    rig_start(GET("/", "a.example"));
    says(server(0), OK("0", ""));
    hears(rig.client, OK("0", ""));
    close(rig.servers[0]);
    rig.servers[0] = -EBADF;
    hears_end(rig.client);
    rig_stop();
}

static void test_broken_answers(void **state)
{
    static const char *const rows[] = {
        "SSH-2.0-x\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rig_start(GET("/", "a.example"));
        says(server(0), rows[i]);
        hears_denial(rig.client, "502 Bad Gateway", "l7_upstream_unreachable", true);
        hears_end(rig.client);
        rig_stop();
    }
}

/* More than the response: those bytes answer nothing, and the connection is not used again. */
static void test_answer_too_long(void **state)
{
    (void)state;
    rig_start(GET("/1", "a.example") GET("/2", "a.example"));
    says(server(0), OK("1", "1") OK("4", "evil"));
    hears(server(1), GET("/2", "a.example"));
    says(server(1), OK("1", "2"));
    hears(rig.client, OK("1", "1") OK("1", "2"));
    assert_string_equal(rig.log, "open a.example;open a.example;");
    rig_stop();
}

static void test_client_ends(void **state)
{
    (void)state;
    /* in the middle of a body: the server must not take it for a whole one */
    rig_start("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\n\r\nabc");
    hears(server(0), "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\n\r\nabc");
    close(rig.client);
    rig.client = -EBADF;
    RIG_UNTIL(rig.ended);
    hears_break(server(0));
    rig_stop();
    /* after the request: half-close is passed on, the answer still comes */
    rig_start(GET("/", "a.example"));
    hears(server(0), GET("/", "a.example"));
    shutdown(rig.client, SHUT_WR);
    hears_end(server(0));
    says(server(0), OK("2", "ok"));
    hears(rig.client, OK("2", "ok"));
    hears_end(rig.client);
    RIG_UNTIL(rig.ended);
    rig_stop();
    /* while the decision is open, and idle */
    rig_start(GET("/", "a.example"));
    rig.hold = true;
    rig_calm();
    close(rig.client);
    rig.client = -EBADF;
    rig_calm();
    rig_stop();
}

/* The cell closes at any point: nothing is left open (the sanitizer and rig_stop look). */
static void test_free_anywhere(void **state)
{
    static const char request[] = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody";
    (void)state;
    for (size_t n = 0; n < sizeof(request) - 1; n++) {
        rig_start_bytes(request, n + 1);
        rig.hold = n % 2;
        rig_calm();
        rig_stop();
    }
    rig_start(request);
    says(server(0), "HTTP/1.1 200 OK\r\n\r\nx");
    rig_calm();
    rig_stop();
    rig_start("GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n");
    rig_calm(); /* farewell */
    rig_stop();
}

/* A client that does not read holds a bounded number of bytes here. */
static void test_back_pressure(void **state)
{
    static char block[65536];
    size_t sent = 0;
    (void)state;
    rig_start(GET("/", "a.example"));
    says(server(0), "HTTP/1.1 200 OK\r\n\r\n");
    for (int quiet = 0; quiet < 20;) {
        ssize_t n = send(server(0), block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        quiet = n > 0 ? 0 : quiet + 1;
        sent += n > 0 ? (size_t)n : 0;
        rig_turn();
        assert_true(sent < (4u << 20));
    }
    close(rig.servers[0]);
    rig.servers[0] = -EBADF;
    size_t got = 0;
    ssize_t n = -1;
    RIG_UNTIL((n = recv(rig.client, block, sizeof(block), MSG_DONTWAIT)) == 0 ||
              ((got += n > 0 ? (size_t)n : 0), false));
    assert_int_equal(got, sent + strlen("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
    rig_stop();
}

static void test_quota(void **state)
{
    (void)state;
    rig_start(GET("/", "a.example"));
    hears(server(0), GET("/", "a.example"));
    rig.no_quota = true;
    says(server(0), OK("0", ""));
    RIG_UNTIL(rig.ended);
    assert_string_equal(rig.log, "open a.example;deny l7_quota a.example;");
    rig_stop();
}

/* Another policy: what it does not allow any more is cut, with its event; an idle connection just goes. */
static void test_policy_changed(void **state)
{
    (void)state;
    rig_start(GET("/1", "a.example"));
    hears(server(0), GET("/1", "a.example"));
    rig.outlawed = "b.example";
    assert_int_equal(http_session_policy_changed(rig.session), 0);
    rig.outlawed = "a.example";
    assert_int_equal(http_session_policy_changed(rig.session), 1);
    assert_true(rig.ended);
    hears_break(server(0));
    hears_break(rig.client);
    assert_string_equal(rig.log, "open a.example;deny l7_http_host_allowlist_miss a.example;");
    rig_stop();
    rig_start(GET("/1", "a.example"));
    says(server(0), OK("0", ""));
    hears(rig.client, OK("0", ""));
    hears(server(0), GET("/1", "a.example"));
    rig.outlawed = "b.example";
    assert_int_equal(http_session_policy_changed(rig.session), 0);
    hears_end(server(0));
    says(rig.client, GET("/2", "a.example"));
    hears(server(1), GET("/2", "a.example"));
    rig_stop();
}

/* The server ends while its answers are not read yet: they are still delivered. */
static void test_idle_server_ends_behind_answers(void **state)
{
    static char big[1 << 20];
    (void)state;
    rig_start(GET("/1", "a.example"));
    hears(server(0), GET("/1", "a.example"));
    says(server(0), "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n");
    for (size_t at = 0; at < sizeof(big);) {
        ssize_t n = send(server(0), big + at, sizeof(big) - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        at += n > 0 ? (size_t)n : 0;
        if (n <= 0 && recv(rig.client, rig.scratch, 1000, MSG_DONTWAIT) < 0)
            rig_turn();
        rig_turn();
    }
    close(rig.servers[0]);
    rig.servers[0] = -EBADF;
    rig_calm();
    ssize_t n = -1;
    RIG_UNTIL((n = recv(rig.client, big, sizeof(big), MSG_DONTWAIT)) == 0);
    close(rig.client);
    rig.client = -EBADF;
    RIG_UNTIL(rig.ended);
    rig_stop();
}

/* One byte at a time means the same. */
static void test_byte_by_byte(void **state)
{
    static const char all[] = "POST /1 HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "3\r\nabc\r\n0\r\n\r\n" GET("/2", "b.example");
    (void)state;
    rig_start_bytes(all, 1);
    for (size_t i = 1; i < sizeof(all) - 1; i++) {
        assert_int_equal(send(rig.client, all + i, 1, 0), 1);
        rig_turn();
    }
    static const char answer[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    for (size_t i = 0; i < sizeof(answer) - 1; i++) {
        assert_int_equal(send(server(0), answer + i, 1, 0), 1);
        rig_turn();
    }
    hears(rig.client, answer);
    hears(server(1), GET("/2", "b.example"));
    assert_string_equal(rig.log, "open a.example;open b.example;");
    rig_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_denied_with_body),
        cmocka_unit_test(test_evidence_first),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_websocket),
        cmocka_unit_test(test_other_upgrades),
        cmocka_unit_test(test_conflict_later),
        cmocka_unit_test(test_server_ends),
        cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_answer_too_long),
        cmocka_unit_test(test_client_ends),
        cmocka_unit_test(test_free_anywhere),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_policy_changed),
        cmocka_unit_test(test_idle_server_ends_behind_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
