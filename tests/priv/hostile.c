/* SPDX-License-Identifier: MIT */
#include "tests/priv/hostile.h"

#include <stdio.h>

#include "tests/priv/record.h"

#define SEQ_NEVER_USED (1ull << 40)

static void say(struct hostile *h, const char *text, const char *name)
{
    snprintf(h->what, sizeof(h->what), "%s%s%s", text, name ? " " : "", name ? name : "");
}

static void put_row(struct hostile *h, const struct msg_row *row, uint64_t seq)
{
    struct arena a;

    arena_init(&a, LIMIT_ARENA);
    void *rec = record_least(row->rec, &a);
    if (!rec || iface_encode(row, seq, rec, &h->bytes) < 0) {
        fprintf(stderr, "no least record for %s\n", row->name);
        exit(2);
    }
    arena_done(&a);
    h->nfds = row->nfds;
    say(h, "", row->name);
}

static void put_hello(struct hostile *h, const char *interface, uint32_t version, uint32_t role)
{
    h->instead = true;
    mp_write_array(&h->bytes, 5);
    mp_write_uint(&h->bytes, MSG_HELLO);
    mp_write_uint(&h->bytes, 0);
    mp_write_str(&h->bytes, str_of(interface));
    mp_write_uint(&h->bytes, version);
    mp_write_uint(&h->bytes, role);
}

/* The nth row that fits. */
typedef bool (*row_test)(const struct hostile_line *l, const struct msg_row *row);

static const struct msg_row *nth_row(const struct hostile_line *l, row_test fits, size_t nth)
{
    for (size_t i = 0; i < l->iface->n; i++)
        if (fits(l, &l->iface->rows[i]) && nth-- == 0)
            return &l->iface->rows[i];
    return NULL;
}

/* What this peer may send once the hellos are through. */
static bool is_mine(const struct hostile_line *l, const struct msg_row *row)
{
    return row->from & l->side && row->roles & 1u << l->role && row->states & LINE_READY;
}

static bool is_for_the_other_side(const struct hostile_line *l, const struct msg_row *row)
{
    return !(row->from & l->side);
}

static bool is_for_another_role(const struct hostile_line *l, const struct msg_row *row)
{
    return row->from & l->side && !(row->roles & 1u << l->role);
}

static bool is_for_another_state(const struct hostile_line *l, const struct msg_row *row)
{
    return row->from & l->side && row->roles & 1u << l->role && !(row->states & LINE_READY);
}

static bool is_my_reply(const struct hostile_line *l, const struct msg_row *row)
{
    return is_mine(l, row) && row->flags & MSG_REPLY;
}

static bool is_mine_and_short(const struct hostile_line *l, const struct msg_row *row)
{
    return is_mine(l, row) && row->max_len < LIMIT_FRAME;
}

static bool is_mine_with_fds(const struct hostile_line *l, const struct msg_row *row)
{
    return is_mine(l, row) && row->nfds > 0;
}

/* ---- ids, hello, states ---- */

static bool make_unknown_id(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    static const uint64_t ids[] = {98, 99, 255, 65536, UINT32_MAX, UINT64_MAX};

    (void)l;
    if (nth >= ARRAY_LEN(ids))
        return false;
    mp_write_array(&h->bytes, 2);
    mp_write_uint(&h->bytes, ids[nth]);
    mp_write_uint(&h->bytes, 1);
    snprintf(h->what, sizeof(h->what), "id %llu", (unsigned long long)ids[nth]);
    return true;
}

static bool make_repeated_hello(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    put_hello(h, l->iface->name, l->iface->version, l->role);
    h->instead = false;
    say(h, "a second hello", NULL);
    return nth == 0;
}

static bool make_wrong_version(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    const uint32_t versions[] = {0, l->iface->version + 1, UINT32_MAX};

    if (nth >= ARRAY_LEN(versions))
        return false;
    put_hello(h, l->iface->name, versions[nth], l->role);
    snprintf(h->what, sizeof(h->what), "version %u", versions[nth]);
    return true;
}

/* Every other interface, nonsense instead of the right one, and no name at all. */
static bool make_wrong_interface(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    const char *name = "";

    for (size_t i = 0; i < nth; i++)
        if (!iface_all[i])
            return false;
    if (iface_all[nth])
        name = iface_all[nth] == l->iface ? "nonsense" : iface_all[nth]->name;
    put_hello(h, name, l->iface->version, l->role);
    say(h, "interface", name);
    return true;
}

static bool make_wrong_role(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    uint32_t role = (uint32_t)nth == l->role ? ROLE_INIT + 1 : (uint32_t)nth; /* 0 is no role either */

    if (role > ROLE_INIT + 1)
        return false;
    put_hello(h, l->iface->name, l->iface->version, role);
    say(h, "as", enum_text(&enum_role_name, role));
    return true;
}

static bool make_row(const struct msg_row *row, uint64_t seq, struct hostile *h)
{
    if (row)
        put_row(h, row, seq);
    return row;
}

static bool make_before_hello(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    h->instead = true;
    return make_row(nth_row(l, is_mine, nth), 1, h);
}

static bool make_wrong_side(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    return make_row(nth_row(l, is_for_the_other_side, nth), 1, h);
}

static bool make_role_without_right(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    return make_row(nth_row(l, is_for_another_role, nth), 1, h);
}

static bool make_out_of_state(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    return make_row(nth_row(l, is_for_another_state, nth), 1, h);
}

static bool make_unasked_reply(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    return make_row(nth_row(l, is_my_reply, nth), SEQ_NEVER_USED, h);
}

/* ---- sizes and fds ---- */

static void fill(struct hostile *h, size_t n)
{
    while (h->bytes.len < n)
        buf_putc(&h->bytes, 'a');
}

static bool make_oversized(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    const struct msg_row *row = nth == 0 ? NULL : nth_row(l, is_mine_and_short, nth - 1);

    if (nth > 0 && !row)
        return false;
    if (row)
        put_row(h, row, 1);
    fill(h, row ? row->max_len + 1 : FRAME_MAX + 1);
    if (!row)
        say(h, "more than a frame", NULL);
    return true;
}

static bool make_too_many_fds(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    const struct msg_row *row = nth_row(l, is_mine, nth / 2);

    if (!row)
        return false;
    put_row(h, row, 1);
    h->nfds = nth % 2 ? FRAME_FDS_MAX : row->nfds + 1;
    return true;
}

static bool make_too_few_fds(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    bool made = make_row(nth_row(l, is_mine_with_fds, nth), 1, h);

    if (made)
        h->nfds--;
    return made;
}

static bool make_fds_with_hello(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    put_hello(h, l->iface->name, l->iface->version, l->role);
    h->nfds = nth == 0 ? 1 : FRAME_FDS_MAX;
    say(h, "hello with fds", NULL);
    return nth < 2;
}

static bool make_truncated(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    const struct msg_row *row = nth_row(l, is_mine, nth / 3);

    if (!row)
        return false;
    put_row(h, row, 1);
    h->bytes.len = nth % 3 == 0 ? h->bytes.len - 1 : nth % 3 == 1 ? h->bytes.len / 2 : 1;
    return h->bytes.len > 0;
}

static bool make_trailing(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    const struct msg_row *row = nth_row(l, is_mine, nth);

    if (!row)
        return false;
    put_row(h, row, 1);
    mp_write_nil(&h->bytes);
    return true;
}

/* ---- bytes that are no frame ---- */

#define GARBAGE(text, bytes)                                                                                 \
    {                                                                                                        \
        text,                                                                                                \
        {                                                                                                    \
            bytes, sizeof(bytes) - 1                                                                         \
        }                                                                                                    \
    }
static const struct {
    const char *what;
    struct str bytes;
} garbage[] = {
    GARBAGE("a map", "\x82\x00\x01\x02\x03"),
    GARBAGE("a reserved byte", "\xc1"),
    GARBAGE("a float for the id", "\x92\xca\x40\x00\x00\x00\x01"),
    GARBAGE("a negative id", "\x92\xff\x01"),
    GARBAGE("a bool for the id", "\x92\xc3\x01"),
    GARBAGE("an ext", "\x92\xd4\x01\x00\x01"),
    GARBAGE("a longer encoding of 2", "\x92\xcc\x02\x01"),
    GARBAGE("a longer array head", "\xdc\x00\x02\x02\x01"),
    GARBAGE("four thousand million elements", "\xdd\xff\xff\xff\xff\x02\x01"),
    GARBAGE("text", "GET / HTTP/1.1\r\n\r\n"),
    GARBAGE("nothing but an array head", "\x92"),
    GARBAGE("an empty array", "\x90"),
    GARBAGE("zeros", "\0\0\0\0\0\0\0\0"),
};

static bool make_garbage(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    (void)l;
    if (nth > ARRAY_LEN(garbage))
        return false;
    if (nth == ARRAY_LEN(garbage)) { /* sixty thousand arrays inside each other */
        say(h, "deep", NULL);
        for (size_t i = 0; i < 60000; i++)
            buf_putc(&h->bytes, 0x91);
        return true;
    }
    buf_put_str(&h->bytes, garbage[nth].bytes);
    say(h, garbage[nth].what, NULL);
    return true;
}

/* ---- one field at a time ---- */

static void put_wrong_string(struct hostile *h, const struct field *f, size_t how)
{
    static const struct str wrong[] = {STR_LIT("a\0b"), STR_LIT("\xff\xfe"), STR_LIT("\xed\xa0\x80")};

    if (how < ARRAY_LEN(wrong) && f->kind == FIELD_STR) {
        mp_write_str(&h->bytes, wrong[how]);
        return;
    }
    size_t n = f->max + 1 < LIMIT_FRAME ? f->max + 1 : LIMIT_FRAME;
    buf_puts(&h->bytes, "\xdb"); /* str 32: not the smallest for a short one, which is wrong as well */
    buf_put_be32(&h->bytes, (uint32_t)n);
    fill(h, h->bytes.len + n);
}

/* 0: another kind; 1: absent; 2...: out of bounds in the field's own way. */
static bool put_wrong_field(struct hostile *h, const struct field *f, size_t how)
{
    if (how == 0) {
        mp_write_array(&h->bytes, 1);
        mp_write_array(&h->bytes, 1);
        mp_write_bool(&h->bytes, true);
        return true;
    }
    if (how == 1 && !f->optional) {
        mp_write_nil(&h->bytes);
        return true;
    }
    switch (f->kind) {
    case FIELD_UINT:
        mp_write_uint(&h->bytes, f->max + 1);
        return how == 2 && f->max < UINT64_MAX;
    case FIELD_ENUM:
        mp_write_uint(&h->bytes, how == 2 ? 0 : f->names->n + 1);
        return how < 4;
    case FIELD_STR:
    case FIELD_BIN:
        put_wrong_string(h, f, how - 2);
        return how < 6;
    default:
        return false;
    }
}

static bool put_row_with_wrong_field(struct hostile *h, const struct msg_row *row, size_t wrong, size_t how)
{
    struct arena a;
    bool made = true;

    arena_init(&a, LIMIT_ARENA);
    void *rec = record_least(row->rec, &a);
    buf_clear(&h->bytes);
    mp_write_array(&h->bytes, 2 + row->rec->n);
    mp_write_uint(&h->bytes, row->id);
    mp_write_uint(&h->bytes, 1);
    for (size_t i = 0; rec && made && i < row->rec->n; i++) {
        const struct schema one = {row->rec->name, row->rec->size, row->rec->fields + i, 1};
        if (i == wrong)
            made = put_wrong_field(h, one.fields, how);
        else
            made = codec_encode_fields(&one, rec, &h->bytes) == 0;
    }
    arena_done(&a);
    h->nfds = row->nfds;
    snprintf(h->what, sizeof(h->what), "%s.%s, wrong way %zu", row->name, row->rec->fields[wrong].name, how);
    return rec && made;
}

static bool make_bad_field(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    const struct msg_row *row;

    for (size_t r = 0; (row = nth_row(l, is_mine, r)); r++)
        for (size_t f = 0; f < row->rec->n; f++)
            for (size_t how = 0; how < 6; how++)
                if (put_row_with_wrong_field(h, row, f, how) && nth-- == 0)
                    return true;
    return false;
}

/* ---- all ---- */

static const struct {
    const char *name;
    bool (*make)(size_t nth, const struct hostile_line *l, struct hostile *h);
} kinds[] = {
    {"unknown_id", make_unknown_id},
    {"repeated_hello", make_repeated_hello},
    {"wrong_version", make_wrong_version},
    {"wrong_interface", make_wrong_interface},
    {"wrong_role", make_wrong_role},
    {"before_hello", make_before_hello},
    {"wrong_side", make_wrong_side},
    {"role_without_right", make_role_without_right},
    {"out_of_state", make_out_of_state},
    {"unasked_reply", make_unasked_reply},
    {"oversized", make_oversized},
    {"too_many_fds", make_too_many_fds},
    {"too_few_fds", make_too_few_fds},
    {"fds_with_hello", make_fds_with_hello},
    {"truncated", make_truncated},
    {"trailing", make_trailing},
    {"garbage", make_garbage},
    {"bad_field", make_bad_field},
};

size_t hostile_kinds(void)
{
    return ARRAY_LEN(kinds);
}

const char *hostile_kind_name(size_t kind)
{
    return kinds[kind].name;
}

bool hostile_good(size_t nth, const struct hostile_line *l, struct hostile *h)
{
    buf_clear(&h->bytes);
    h->nfds = 0;
    if (nth > 0) {
        h->instead = false;
        return make_row(nth_row(l, is_mine, nth - 1), nth, h);
    }
    put_hello(h, l->iface->name, l->iface->version, l->role);
    say(h, "hello", NULL);
    return true;
}

bool hostile_make(size_t kind, size_t nth, const struct hostile_line *l, struct hostile *h)
{
    buf_clear(&h->bytes);
    h->nfds = 0;
    h->instead = false;
    h->what[0] = '\0';
    return kinds[kind].make(nth, l, h);
}
