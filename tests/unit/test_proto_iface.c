/* SPDX-License-Identifier: MIT */
/* Frames: over every row of every interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/proto_records.h"

struct fixture {
    struct rng g;
    struct arena a, out;
    struct buf b;
};

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof(*x));
    if (!x)
        return -1;
    x->g.s = 99;
    arena_init(&x->a, 64u << 20);
    arena_init(&x->out, 64u << 20);
    buf_init(&x->b, 4u << 20);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    arena_done(&x->a);
    arena_done(&x->out);
    buf_done(&x->b);
    free(x);
    return 0;
}

static void again(struct fixture *x)
{
    arena_done(&x->a);
    arena_done(&x->out);
    buf_clear(&x->b);
}

/* Who sends the row, and in which state, so that it is allowed. */
struct sender {
    uint32_t from, role, state;
};

static uint32_t first_bit(uint32_t v)
{
    return v & (0 - v);
}

static uint32_t bit_index(uint32_t v)
{
    return (uint32_t)__builtin_ctz(v);
}

static struct sender sender_of(const struct msg_row *r)
{
    return (struct sender){r->from, bit_index(r->roles), first_bit(r->states)};
}

static int decode(struct fixture *x, const struct iface *i, struct sender s, size_t nfds, struct msg *m)
{
    return iface_decode(i, s.from, s.role, s.state, x->b.data, x->b.len, nfds, &x->out, m);
}

#define EACH_ROW(i, r)                                                                                       \
    for (size_t k_ = 0; iface_all[k_]; k_++)                                                                 \
        for (const struct iface *i = iface_all[k_]; i; i = NULL)                                             \
            for (const struct msg_row *r = i->rows; r < i->rows + i->n; r++)

/* A frame of a random record that fits the row. */
static const void *frame(struct fixture *x, const struct msg_row *r, uint64_t seq)
{
    again(x);
    const void *rec = record_random(&x->g, &x->a, r->rec, record_small);
    assert_int_equal(iface_encode(r, seq, rec, &x->b), 0);
    return rec;
}

static void test_round_trip(void **state)
{
    struct fixture *x = *state;
    size_t rows = 0;
    EACH_ROW(i, r)
    {
        for (int round = 0; round < 20; round++) {
            struct msg m;
            uint64_t seq = rng_wide(&x->g);
            const char *rec = frame(x, r, seq);
            assert_int_equal(decode(x, i, sender_of(r), r->nfds, &m), 0);
            assert_ptr_equal(m.row, r);
            assert_true(m.seq == seq);
            assert_true(record_same(r->rec, rec, m.rec));
        }
        rows++;
    }
    assert_true(rows > 30);
}

/* ids are unique, replies follow requests, the other side answers. */
static void test_tables(void **state)
{
    (void)state;
    EACH_ROW(i, r)
    {
        uint32_t kind = r->flags & (MSG_CALL | MSG_NOTE | MSG_REPLY);
        assert_true(kind == MSG_CALL || kind == MSG_NOTE || kind == MSG_REPLY);
        assert_true(r->id > MSG_ERROR);
        assert_ptr_equal(iface_row(i, r->id), r); /* the first with this id */
        assert_true(r->from == FROM_CLIENT || r->from == FROM_SERVER);
        assert_true(r->roles != 0 && !(r->roles & 1) && r->states != 0 && !(r->states & LINE_HELLO));
        assert_in_range(r->max_len, 1, LIMIT_FRAME);
        assert_int_equal(r->id % 2, kind == MSG_REPLY);
        if (kind == MSG_CALL) {
            const struct msg_row *reply = iface_row(i, r->id + 1);
            assert_non_null(reply);
            assert_true(reply->flags & MSG_REPLY);
            assert_int_equal(reply->from, FROM_SERVER);
            assert_int_equal(r->from, FROM_CLIENT);
        }
    }
    for (size_t k = 0; iface_all[k]; k++) {
        assert_null(iface_row(iface_all[k], 9999));
        assert_null(iface_row(iface_all[k], UINT64_MAX));
        assert_string_equal(iface_row(iface_all[k], MSG_HELLO)->name, "HELLO");
        assert_string_equal(iface_row(iface_all[k], MSG_ERROR)->name, "ERROR");
    }
}

/* No encoding of the record is longer. */
static size_t longest(const struct schema *s)
{
    size_t n = 5;
    for (size_t i = 0; i < s->n; i++) {
        const struct field *f = &s->fields[i];
        if (f->kind == FIELD_STR || f->kind == FIELD_BIN)
            n += 5 + f->max;
        else if (f->kind == FIELD_STRS)
            n += 5 + f->max * (5 + f->entry_max);
        else if (f->kind == FIELD_OBJ)
            n += longest(f->sub);
        else if (f->kind == FIELD_LIST)
            n += 5 + f->max * longest(f->sub);
        else
            n += 9;
    }
    return n;
}

/* No sender can fail over a row's max_len with a record that keeps its own bounds: only the list of
 * violations is cut by its sender, and claims are gathered up to LIMIT_CLAIMS_GATHER bytes. */
static void test_records_fit_rows(void **state)
{
    (void)state;
    EACH_ROW(i, r)
    {
        size_t n = 20 + longest(r->rec);
        if (n > r->max_len && r->rec != &schema_control_rejected && r->rec != &schema_signer_claims_req)
            fail_msg("%s: a record of %zu bytes does not fit into %u", r->name, n, r->max_len);
    }
}

static void test_direction_role_state_fds(void **state)
{
    struct fixture *x = *state;
    struct msg m;
    EACH_ROW(i, r)
    {
        struct sender good = sender_of(r), s;
        frame(x, r, 1);
        s = good;
        s.from = good.from == FROM_CLIENT ? FROM_SERVER : FROM_CLIENT;
        assert_int_equal(decode(x, i, s, r->nfds, &m), -EPROTO);
        for (uint32_t role = 0; role <= enum_role_name.n; role++) {
            s = good;
            s.role = role;
            assert_int_equal(decode(x, i, s, r->nfds, &m), r->roles & 1u << role ? 0 : -EPROTO);
        }
        for (uint32_t st = LINE_HELLO; st <= LINE_ENDED; st <<= 1) {
            s = good;
            s.state = st;
            assert_int_equal(decode(x, i, s, r->nfds, &m), r->states & st ? 0 : -EPROTO);
        }
        for (size_t nfds = 0; nfds < 10; nfds++)
            assert_int_equal(decode(x, i, good, nfds, &m), nfds == r->nfds ? 0 : -EPROTO);
        assert_int_equal(decode(x, i, good, FRAME_FDS_MAX, &m), -EPROTO);
    }
}

static void test_trailing_truncated_unknown(void **state)
{
    struct fixture *x = *state;
    struct msg m;
    EACH_ROW(i, r)
    {
        struct sender s = sender_of(r);
        frame(x, r, 1);
        size_t n = x->b.len;
        buf_putc(&x->b, 0xc0);
        assert_int_equal(decode(x, i, s, r->nfds, &m), -EBADMSG);
        for (x->b.len = 0; x->b.len < n; x->b.len++)
            assert_int_equal(decode(x, i, s, r->nfds, &m), -EBADMSG);

        struct msg_row other = *r; /* ids that no row has */
        for (uint32_t id = 2; id < 70000; id = id < 40 ? id + 1 : id * 3) {
            if (iface_row(i, id))
                continue;
            other.id = id;
            other.max_len = LIMIT_FRAME;
            again(x);
            const void *rec = record_random(&x->g, &x->a, r->rec, record_small);
            assert_int_equal(iface_encode(&other, 1, rec, &x->b), 0);
            assert_int_equal(decode(x, i, s, r->nfds, &m), -EBADMSG);
        }
    }
}

static void test_head(void **state)
{
    static const struct str bad[] = {
        STR_LIT("\xc0"),         /* no array */
        STR_LIT("\x90"),         /* nothing in it */
        STR_LIT("\x91\x06"),     /* no seq */
        STR_LIT("\x92\xff\x01"), /* a negative id */
        STR_LIT("\x92\xa0\x01"), /* a text as id */
        STR_LIT("\x92\x06\xff"), /* a negative seq */
        STR_LIT("\x92\x06\xc0"), /* no seq */
        STR_LIT("\x93\x06\x01\xc0"),
        STR_LIT("\xdc\x00\x02\x06\x01"), /* not the smallest head */
        STR_LIT("\x92\xcc\x06\x01"),
        STR_LIT("\x82\x06\x01\x01\x01"), /* a map */
    };
    struct fixture *x = *state;
    struct msg m;
    struct sender s = {FROM_CLIENT, ROLE_SUPERVISOR, LINE_READY};
    buf_put_str(&x->b, STR_LIT("\x92\x06\x01")); /* SIGNER_HEAD_REQ */
    assert_int_equal(decode(x, &iface_signer, s, 0, &m), 0);
    for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
        again(x);
        buf_put_str(&x->b, bad[k]);
        assert_int_equal(decode(x, &iface_signer, s, 0, &m), -EBADMSG);
    }
}

/* One byte over max_len, with a record that is within its own bounds. */
static void test_too_long(void **state)
{
    struct fixture *x = *state;
    struct msg m;
    size_t tried = 0;
    EACH_ROW(i, r)
    {
        struct sender s = sender_of(r);
        struct msg_row looser = *r;
        frame(x, r, UINT64_MAX);
        struct msg_row tight = *r; /* on the sender's side */
        tight.max_len = (uint32_t)x->b.len - 1;
        const void *rec = NULL;
        assert_int_equal(decode(x, i, s, r->nfds, &m), 0);
        rec = m.rec;
        struct buf b;
        buf_init(&b, LIMIT_FRAME);
        assert_int_equal(iface_encode(&tight, UINT64_MAX, rec, &b), -EMSGSIZE);
        tight.max_len++;
        buf_clear(&b);
        assert_int_equal(iface_encode(&tight, UINT64_MAX, rec, &b), 0);
        buf_done(&b);
        if (r->rec != &schema_control_rejected)
            continue;
        struct ev_violation v[LIMIT_VIOLATIONS]; /* on the receiver's side */
        static char text[512];
        memset(text, 'm', sizeof(text));
        for (size_t k = 0; k < ARRAY_LEN(v); k++)
            v[k] = (struct ev_violation){{text, 256}, {text, 64}, {text, 512}};
        struct control_rejected big = {{v, ARRAY_LEN(v)}};
        again(x);
        looser.max_len = UINT32_MAX;
        assert_int_equal(iface_encode(r, 1, &big, &x->b), -EMSGSIZE);
        again(x);
        assert_int_equal(iface_encode(&looser, 1, &big, &x->b), 0);
        assert_true(x->b.len > LIMIT_FRAME);
        assert_int_equal(decode(x, i, s, r->nfds, &m), -EBADMSG);
        tried++;
    }
    assert_int_equal(tried, 1);
}

/* The row's own limit is checked before anything is read. */
static void test_too_long_for_row(void **state)
{
    struct fixture *x = *state;
    struct msg m;
    struct hello h = {STR_LIT("signer"), 1, ROLE_SUPERVISOR};
    const struct msg_row *row = iface_row(&iface_signer, MSG_HELLO);
    assert_int_equal(iface_encode(row, 0, &h, &x->b), 0);
    struct sender s = {FROM_CLIENT, ROLE_SUPERVISOR, LINE_HELLO};
    assert_int_equal(decode(x, &iface_signer, s, 0, &m), 0);
    char pad[64];
    memset(pad, 0xc0, sizeof(pad));
    buf_put(&x->b, pad, sizeof(pad));
    assert_int_equal(decode(x, &iface_signer, s, 0, &m), -EBADMSG);
}

static void test_hello_and_error(void **state)
{
    struct fixture *x = *state;
    struct msg m;
    struct hello h = {STR_LIT("netd"), 1, ROLE_NETD};
    struct error e = {FAIL_QUOTA, STR_LIT("enough")};
    for (size_t k = 0; iface_all[k]; k++) {
        const struct iface *i = iface_all[k];
        for (uint32_t from = FROM_CLIENT; from <= FROM_SERVER; from++) {
            again(x); /* HELLO: both ways, before everything else only */
            assert_int_equal(iface_encode(iface_row(i, MSG_HELLO), 0, &h, &x->b), 0);
            assert_int_equal(decode(x, i, (struct sender){from, ROLE_NETD, LINE_HELLO}, 0, &m), 0);
            assert_int_equal(decode(x, i, (struct sender){from, ROLE_NETD, LINE_READY}, 0, &m), -EPROTO);
            assert_int_equal(decode(x, i, (struct sender){from, ROLE_NETD, LINE_HELLO}, 1, &m), -EPROTO);
            again(x); /* ERROR: from the server only, never before HELLO */
            assert_int_equal(iface_encode(iface_row(i, MSG_ERROR), 5, &e, &x->b), 0);
            assert_int_equal(decode(x, i, (struct sender){from, ROLE_NETD, LINE_READY}, 0, &m),
                             from == FROM_SERVER ? 0 : -EPROTO);
            assert_int_equal(decode(x, i, (struct sender){from, ROLE_NETD, LINE_HELLO}, 0, &m), -EPROTO);
        }
    }
}

static void test_once(void **state)
{
    (void)state;
    EACH_ROW(i, r)
    {
        uint64_t seen = 0;
        assert_int_equal(iface_once(i, r, &seen), 0);
        assert_int_equal(iface_once(i, r, &seen), r->flags & MSG_ONCE ? -EPROTO : 0);
        for (const struct msg_row *o = i->rows; o < i->rows + i->n; o++)
            if (o != r)
                assert_int_equal(iface_once(i, o, &seen), 0); /* each row for itself */
    }
}

static void test_error_text(void **state)
{
    char room[LIMIT_ERROR_TEXT], big[2 * LIMIT_ERROR_TEXT];
    struct str t = STR_LIT("as it is: \xc3\xa9");
    (void)state;
    assert_ptr_equal(iface_error_text(room, t).p, t.p);
    t = iface_error_text(room, STR_LIT("bad \xff text"));
    assert_true(str_is(t, "bad \\xff text"));
    memset(big, 'x', sizeof(big));
    t = iface_error_text(room, (struct str){big, sizeof(big)});
    assert_in_range(t.len, LIMIT_ERROR_TEXT - 8, LIMIT_ERROR_TEXT);
    assert_memory_equal(t.p + t.len - 3, "...", 3);
    for (size_t i = 0; i + 1 < sizeof(big); i += 2) /* cut inside a character */
        memcpy(big + i, "\xc3\xa9", 2);
    for (size_t n = LIMIT_ERROR_TEXT - 2; n < LIMIT_ERROR_TEXT + 6; n++) {
        t = iface_error_text(room, (struct str){big, n});
        assert_true(t.len <= LIMIT_ERROR_TEXT && str_utf8_valid(t.p, t.len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_fit_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_direction_role_state_fds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trailing_truncated_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long_for_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hello_and_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_text, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
