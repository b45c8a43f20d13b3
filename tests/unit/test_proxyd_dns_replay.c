/* SPDX-License-Identifier: MIT */
/* Plays tests/replay/<behaviour>.rpl: a cell (or two) between a client and a resolver on loopback, with a
 * clock that the file sets. The format: tests/replay/README. */
#include "tests/unit/test_proxyd_dns_stage.h"

#include <glob.h>

#define FILES_MIN 30 /* fewer: the folder was not found */
#define WORDS_MAX 32

/* ---- steps ---- */

static void want(bool ok, const char *what, const char *got, const char *wanted)
{
    if (!ok)
        FAIL("%s is \"%s\", not \"%s\"", what, got, wanted);
}

static uint16_t type_of(const char *text)
{
    uint16_t type = 0;

    if (!text || dns_type_parse(str_of(text), &type) < 0)
        FAIL("no type: %s", text ? text : "(missing)");
    return type;
}

static uint8_t rcode_of(const char *text)
{
    char dst[DNS_RCODE_TEXT_MAX];

    for (uint8_t i = 0; i < 16; i++)
        if (text && strcmp(dns_rcode_text(i, dst), text) == 0)
            return i;
    FAIL("no rcode: %s", text ? text : "(missing)");
    return 0;
}

static uint32_t number_of(const char *text)
{
    if (!text)
        FAIL("a number is missing");
    return (uint32_t)strtoul(text, NULL, 10);
}

static void policy_names(struct player *p, char **w)
{
    for (p->policy.nnames = 0; *w; w++)
        p->names[p->policy.nnames++] = host_of(*w);
}

static void do_policy(char **w)
{
    struct player *p = on.now;
    struct dns_policy *to = &p->policy;

    if (strcmp(w[0], "names") == 0)
        policy_names(p, w + 1);
    else if (strcmp(w[0], "types") == 0)
        for (to->nqtypes = 0, w++; *w; w++)
            p->types[to->nqtypes++] = type_of(*w);
    else if (strcmp(w[0], "resolver") == 0)
        (void)snprintf(p->resolvers[0].id, sizeof(p->resolvers[0].id), "%s", w[1]);
    else if (strcmp(w[0], "min-ttl") == 0)
        to->min_ttl_s = number_of(w[1]);
    else if (strcmp(w[0], "max-stale") == 0)
        to->max_stale_s = number_of(w[1]);
    else if (strcmp(w[0], "refresh") == 0)
        to->refresh = true;
    else if (strcmp(w[0], "novel") == 0) {
        to->novel_limited = true;
        to->max_novel = number_of(w[1]);
    } else if (strcmp(w[0], "reject") == 0)
        to->reject_rebind = true;
    else if (strcmp(w[0], "synthetic") == 0)
        to->synthetic = true;
    else if (strcmp(w[0], "routed") == 0)
        to->routed = true;
    else if (strcmp(w[0], "answers") == 0) {
        p->rules[to->nanswer_rules].host = host_of(w[1]);
        assert_int_equal(addr_prefix_parse(str_of(w[2]), &p->rules[to->nanswer_rules++].prefix), 0);
    } else if (strcmp(w[0], "metadata") == 0)
        assert_int_equal(addr_prefix_parse(str_of(w[1]), &p->metadata[to->nmetadata++]), 0);
    else
        FAIL("no such policy: %s", w[0]);
    if (p->cell)
        assert_int_equal(dns_cell_policy_set(p->cell, to), 0);
}

static struct zone *do_upstream(char **w)
{
    struct zone *z = zone_of(w[0], type_of(w[1]));

    if (!z) {
        assert_true(on.nzones < ZONES_MAX);
        z = &on.zones[on.nzones++];
    }
    for (size_t i = 0; i < z->n; i++)
        free(z->records[i]);
    memset(z, 0, sizeof(*z));
    (void)snprintf(z->name, sizeof(z->name), "%s", w[0]);
    z->type = type_of(w[1]);
    z->silent = w[2] && strcmp(w[2], "silent") == 0;
    if (!z->silent)
        z->rcode = rcode_of(w[2]);
    z->late = w[2] && w[3] && strcmp(w[3], "late") == 0;
    z->truncated = w[2] && w[3] && strcmp(w[3], "truncated") == 0;
    return z;
}

static void do_ask(char **w)
{
    struct dns_question q = question_of(w[0], type_of(w[1]));
    bool subnet = w[2] && strcmp(w[2], "client-subnet") == 0;
    struct buf b;

    cell_start();
    buf_init(&b, 1024);
    put_header(&b, ++on.id, DNS_FLAG_RD, 0, 0, subnet ? 1 : 0);
    put_question(&b, &q);
    if (subnet)
        buf_put(&b, "\0\0\x29\x10\0\0\0\0\0\0\x0b\0\x08\0\x07\0\x01\x18\0\xc0\0\x02", 22);
    assert_int_equal(send(on.now->client, b.data, b.len, 0), b.len);
    buf_done(&b);
}

static void svcb_show(const uint8_t *base, const struct dns_rr *rr, char *dst, size_t size)
{
    struct dns_reader r = dns_reader_of(base + rr->rdata, rr->rdlen);
    char text[ADDR_TEXT_MAX], name[DNS_NAME_TEXT_MAX];
    struct dns_wire_name target;
    uint16_t prio, key, len;
    const uint8_t *v;

    assert_true(cursor_be16(&r.at, &prio) == 0 && dns_name_read(&r, &target) == 0);
    size_t n = (size_t)snprintf(dst, size, "%u_%s", prio, dns_name_text(&target, name));
    while (cursor_be16(&r.at, &key) == 0) {
        assert_true(cursor_be16(&r.at, &len) == 0 && cursor_bytes(&r.at, len, &v) == 0);
        if (key < ARRAY_LEN(svcb_keys))
            n += (size_t)snprintf(dst + n, size - n, "_%s", svcb_keys[key]);
        else
            n += (size_t)snprintf(dst + n, size - n, "_key%u", key);
        size_t step = key == 4 ? 4 : key == 6 ? 16 : 0;
        for (size_t i = 0; step && i < len; i += step) {
            struct addr a = {.family = key == 4 ? AF_INET : AF_INET6};
            memcpy(a.bytes, v + i, step);
            n += (size_t)snprintf(dst + n, size - n, "%c%s", i ? '+' : '=', addr_format(&a, text));
        }
    }
}

static void record_show(const uint8_t *base, const struct dns_rr *rr, char *dst, size_t size)
{
    struct dns_reader r = {base, cursor_of(base + rr->rdata, rr->rdlen)};
    struct addr a = {.family = rr->type == DNS_TYPE_A ? AF_INET : AF_INET6};
    char text[DNS_NAME_TEXT_MAX];
    struct dns_wire_name w;

    if (rr->type == DNS_TYPE_HTTPS || rr->type == DNS_TYPE_SVCB) {
        svcb_show(base, rr, dst, size);
    } else if (rr->type == DNS_TYPE_A || rr->type == DNS_TYPE_AAAA) {
        memcpy(a.bytes, base + rr->rdata, rr->rdlen);
        (void)snprintf(dst, size, "%s", addr_format(&a, text));
    } else if (dns_name_read(&r, &w) == 0) {
        (void)snprintf(dst, size, "%s", dns_name_text(&w, text));
    } else {
        (void)snprintf(dst, size, "%u-bytes", rr->rdlen);
    }
}

static bool reply_comes(struct player *p, uint8_t *msg, size_t *n, unsigned ms)
{
    uint64_t end = clock_boottime_us() + ms * 1000ull;

    while (clock_boottime_us() < end) {
        ssize_t got = recv(p->client, msg, 65535, MSG_DONTWAIT);
        if (got > 0) {
            *n = (size_t)got;
            return true;
        }
        ev_run(on.loop, EVRUN_ONCE);
    }
    return false;
}

/* get RCODE [ttl=n] [data ...] */
static void do_get(char **w)
{
    static uint8_t msg[65536];
    char all[2048] = "", wanted[2048] = "", one[512], dst[DNS_RCODE_TEXT_MAX];
    struct dns_reader r;
    struct dns_header h;
    struct dns_question q;
    struct dns_rr rr;
    uint32_t ttl = 0;
    size_t n = 0;

    if (!reply_comes(on.now, msg, &n, WAIT_MS))
        FAIL("no reply");
    r = dns_reader_of(msg, n);
    assert_true(dns_header_read(&r.at, &h) == 0 && dns_question_read(&r, &q) == 0);
    want(DNS_RCODE(h.flags) == rcode_of(w[0]), "rcode", dns_rcode_text(DNS_RCODE(h.flags), dst), w[0]);
    for (unsigned i = 0; i < h.ancount; i++) {
        assert_int_equal(dns_rr_read(&r, &rr), 0);
        record_show(msg, &rr, one, sizeof(one));
        add_word(all, sizeof(all), one);
        ttl = rr.ttl > ttl ? rr.ttl : ttl;
    }
    for (w++; *w; w++) {
        if (strncmp(*w, "ttl=", 4) != 0) {
            add_word(wanted, sizeof(wanted), *w);
        } else {
            (void)snprintf(one, sizeof(one), "ttl=%u", ttl);
            want(strcmp(one, *w) == 0, "ttl", one, *w);
        }
    }
    want(strcmp(all, wanted) == 0, "answer", all, wanted);
}

static void do_none(void)
{
    static uint8_t msg[65536];
    size_t n;

    if (reply_comes(on.now, msg, &n, SILENCE_MS))
        FAIL("a reply, though none should come");
}

static const char *yes(bool b)
{
    return b ? "yes" : "no";
}

/* The value of one key of an event; flags that the file does not name must be down. */
static const char *event_value(const struct event *e, const char *key, char dst[64])
{
    const struct {
        const char *key, *value;
    } texts[] = {
        {"name", e->name},
        {"type", e->type},
        {"action", e->allow ? "allow" : "deny"},
        {"reason", enum_text(&enum_dns_reason_code, e->reason)},
        {"origin", e->origin},
        {"cached", yes(e->cached)},
        {"answers", e->data},
        {"removed", e->removed},
        {"why", e->why},
        {"stale", yes(e->stale)},
        {"synthetic", yes(e->synthetic)},
        {"ech", yes(e->ech)},
        {"hints", yes(e->hints)},
        {"resolver", e->resolver},
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i].key, key) == 0)
            return texts[i].value;
    if (strcmp(key, "rcode") == 0)
        return dns_rcode_text(e->rcode, dst);
    (void)snprintf(dst, 64, strcmp(key, "novel") == 0 ? "%u" : "%c",
                   strcmp(key, "novel") == 0 ? e->novel : (unsigned)e->cell);
    return dst;
}

static void do_event(char **w)
{
    bool stale = false, synthetic = false, ech = false, hints = false;
    uint64_t end = clock_boottime_us() + WAIT_MS * 1000ull;
    char dst[64];

    while (on.seen == on.nevents && clock_boottime_us() < end)
        ev_run(on.loop, EVRUN_ONCE);
    if (on.seen == on.nevents)
        FAIL("no event");
    const struct event *e = &on.events[on.seen++];
    want(strcmp(e->kind, w[0]) == 0, "event", e->kind, w[0]);
    for (w++; *w; w++) {
        char *v = strchr(*w, '=');
        if (!v)
            FAIL("key=value expected: %s", *w);
        *v++ = '\0';
        for (char *u = v; *u && strcmp(*w, "reason") != 0; u++)
            if (*u == '_')
                *u = ' ';
        const char *got = event_value(e, *w, dst);
        want(strcmp(got, v) == 0, *w, got, v);
        stale |= strcmp(*w, "stale") == 0;
        synthetic |= strcmp(*w, "synthetic") == 0;
        ech |= strcmp(*w, "ech") == 0;
        hints |= strcmp(*w, "hints") == 0;
    }
    if (e->stale > stale || e->synthetic > synthetic || e->ech > ech || e->hints > hints)
        FAIL("an event with stale %d, synthetic %d, ech %d, hints %d", e->stale, e->synthetic, e->ech,
             e->hints);
}

static void do_asked(char **w)
{
    char got[16];

    turn(20); /* what is sent without need would show by now */
    (void)snprintf(got, sizeof(got), "%u", on.asked);
    want(strcmp(got, w[0]) == 0, "questions upstream", got, w[0]);
}

static void do_ack(char **w)
{
    uint64_t end = clock_boottime_us() + WAIT_MS * 1000ull;

    while (on.nacks == 0 && clock_boottime_us() < end)
        ev_run(on.loop, EVRUN_ONCE);
    size_t n = on.nacks;
    if (n == 0)
        FAIL("nothing waits for an acknowledgement");
    on.nacks = 0;
    for (size_t i = 0; i < n; i++)
        on.acks[i].ack(on.acks[i].data, w[0] && strcmp(w[0], "failed") == 0 ? -EIO : 0);
}

static bool any_name(void *self, const struct name *name)
{
    (void)self;
    (void)name;
    return true;
}

/* pin ADDRESS NAME|none [synthetic] */
static void do_pin(char **w)
{
    bool synthetic = false, wanted = w[2] && strcmp(w[2], "synthetic") == 0;
    struct name name = {.len = 0};
    struct addr a;

    assert_int_equal(addr_parse(str_of(w[0]), &a), 0);
    bool found = dns_pin_find(on.now->cell, &a, any_name, NULL, &name, &synthetic);
    want(strcmp(found ? name.text : "none", w[1]) == 0, "pin", found ? name.text : "none", w[1]);
    if (found && synthetic != wanted)
        FAIL("synthetic: %d", synthetic);
}

/* pinned NAME,ADDRESS,... [failed]: the pin function was called, and is answered */
static void do_pinned(char **w)
{
    uint64_t end = clock_boottime_us() + WAIT_MS * 1000ull;

    while (!on.pin_done && clock_boottime_us() < end)
        ev_run(on.loop, EVRUN_ONCE);
    want(on.pin_done && strcmp(on.pinned, w[0]) == 0, "pinned", on.pin_done ? on.pinned : "nothing", w[0]);
    dns_ack_cb done = on.pin_done;
    on.pin_done = NULL;
    done(on.pin_data, w[1] && strcmp(w[1], "failed") == 0 ? -EIO : 0);
}

static void on_resolved(void *data, int result, enum dns_reason_code reason, const struct addr *addrs,
                        size_t n)
{
    char text[ADDR_TEXT_MAX];

    (void)data;
    (void)reason;
    on.resolved = true;
    on.resolve_result = result;
    for (size_t i = 0; i < n; i++)
        add_word(on.resolve_addrs, sizeof(on.resolve_addrs), addr_format(&addrs[i], text));
}

/* dial NAME ADDRESS,...|failed */
static void do_dial(char **w)
{
    struct name name = host_of(w[0]);
    struct dns_resolve *r;
    uint64_t end = clock_boottime_us() + WAIT_MS * 1000ull;

    cell_start();
    on.resolved = false;
    on.resolve_addrs[0] = '\0';
    assert_int_equal(dns_resolve(on.now->cell, &name, on_resolved, NULL, &r), 0);
    while (!on.resolved && clock_boottime_us() < end)
        ev_run(on.loop, EVRUN_ONCE);
    if (!on.resolved)
        FAIL("no end of the resolve");
    const char *got = on.resolve_result < 0 ? "failed" : on.resolve_addrs;
    want(strcmp(got, w[1]) == 0, "dial", got, w[1]);
}

/* The cells' own timers are the loop's, which knows nothing of this clock: what would be due is called. */
static void do_pass(char **w)
{
    skipped_us += number_of(w[0]) * 1000000ull;
    for (size_t i = 0; i < 2; i++)
        if (on.players[i].cell && ev_is_active(&on.players[i].cell->refresh_timer))
            ev_feed_event(on.loop, &on.players[i].cell->refresh_timer, EV_TIMER);
    turn(5);
}

static void do_apex(char **w)
{
    struct dns_apex all[LIMIT_APEXES];
    size_t n = dns_cell_apexes(on.now->cell, all);
    char got[300] = "none";

    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].apex.text, w[0]) == 0)
            (void)snprintf(got, sizeof(got), "queries=%llu,names=%llu%s", (unsigned long long)all[i].queries,
                           (unsigned long long)all[i].distinct_names, all[i].suspicious ? ",suspicious" : "");
    want(strcmp(got, w[1]) == 0, "apex", got, w[1]);
}

static void do_cell(char **w)
{
    on.now = &on.players[w[0] && w[0][0] == 'b'];
}

static void step(char **w)
{
    if (strcmp(w[0], "ask") == 0)
        do_ask(w + 1);
    else if (strcmp(w[0], "get") == 0)
        do_get(w + 1);
    else if (strcmp(w[0], "none") == 0)
        do_none();
    else if (strcmp(w[0], "event") == 0)
        do_event(w + 1);
    else if (strcmp(w[0], "asked") == 0)
        do_asked(w + 1);
    else if (strcmp(w[0], "ack") == 0)
        do_ack(w + 1);
    else if (strcmp(w[0], "pin") == 0)
        do_pin(w + 1);
    else if (strcmp(w[0], "pinned") == 0)
        do_pinned(w + 1);
    else if (strcmp(w[0], "dial") == 0)
        do_dial(w + 1);
    else if (strcmp(w[0], "pass") == 0)
        do_pass(w + 1);
    else if (strcmp(w[0], "apex") == 0)
        do_apex(w + 1);
    else if (strcmp(w[0], "cell") == 0)
        do_cell(w + 1);
    else if (strcmp(w[0], "policy") == 0)
        do_policy(w + 1);
    else if (strcmp(w[0], "deliver") == 0)
        do_deliver();
    else if (strcmp(w[0], "hold") == 0)
        on.hold = true;
    else if (strcmp(w[0], "go") == 0)
        on.hold = on.fail = false;
    else if (strcmp(w[0], "no-subnet") == 0)
        want(!on.client_subnet, "client subnet upstream", "there", "absent");
    else
        FAIL("no such step: %s", w[0]);
}

static void play_line(char *line, struct zone **zone)
{
    char *words[WORDS_MAX + 1] = {NULL}, *save;
    size_t n = 0;

    line[strcspn(line, "#\n")] = '\0';
    bool inside = line[0] == ' ';
    char *text = line + strspn(line, " ");
    if (*text == '\0')
        return;
    if (inside && *zone) { /* a record of the answer above */
        bool authority = strncmp(text, "authority ", 10) == 0;
        assert_true((*zone)->n < RECORDS_MAX);
        (*zone)->nauthority += authority;
        (*zone)->records[(*zone)->n++] = strdup(authority ? text + 10 : text);
        return;
    }
    for (char *w = strtok_r(text, " ", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    *zone = NULL;
    if (strcmp(words[0], "upstream") == 0)
        *zone = do_upstream(words + 1);
    else
        step(words);
}

static void play(void **state)
{
    FILE *f = fopen(*state, "re");
    struct zone *zone = NULL;
    char line[4096];

    assert_non_null(f);
    stage_open(*state);
    for (on.line = 1; fgets(line, sizeof(line), f); on.line++)
        play_line(line, &zone);
    (void)fclose(f);
    turn(10);
    if (on.seen < on.nevents)
        FAIL("an event that the file does not expect: %s %s %s answers=%s", on.events[on.seen].kind,
             on.events[on.seen].name, on.events[on.seen].type, on.events[on.seen].data);
    stage_close();
}

int main(int argc, char **argv)
{
    glob_t files;
    int r = glob(argc > 1 ? argv[1] : "tests/replay/*.rpl", 0, NULL, &files);

    if (r != 0 || (argc == 1 && files.gl_pathc < FILES_MIN)) {
        print_error("tests/replay: not all files were found\n");
        return EXIT_FAILURE;
    }
    struct CMUnitTest *tests = calloc(files.gl_pathc, sizeof(*tests));
    for (size_t i = 0; tests && i < files.gl_pathc; i++)
        tests[i] = (struct CMUnitTest){
            .name = files.gl_pathv[i], .test_func = play, .initial_state = files.gl_pathv[i]};
    r = tests ? _cmocka_run_group_tests("replay", tests, files.gl_pathc, NULL, NULL) : 1;
    free(tests);
    globfree(&files);
    return r;
}
