/* SPDX-License-Identifier: MIT */
/* One description for every record of the suite: message bodies, documents (policy, launch) and event data.
 * A record is an X-macro list of fields; from it come the C struct, the wire form (a msgpack array, one
 * element a field, in order) and PROTOCOL.md. Usage (X is passed through to F as its first argument):
 *
 *   #define FOO_FIELDS(F, X) \
 *       F(X, STR,  REQ, cell_id, "cellId", _, LIMIT_CELL_ID) \
 *       F(X, UINT, OPT, ttl,     "ttl",    _, LIMIT_TTL_S)
 *   SCHEMA_DECLARE(foo, FOO_FIELDS)        in a header: struct foo, extern schema_foo
 *   SCHEMA_DEFINE(foo, FOO_FIELDS)         in one .c file
 *
 * Columns: kind, REQ|OPT, C member, name (JSON and docs), sub, max.
 *   kind   C member (REQ / OPT)                    sub             max
 *   UINT   uint64_t / struct opt_uint              _               greatest value
 *   INT    int64_t / struct opt_int                _               greatest magnitude
 *   BOOL   bool / struct opt_bool                  _               1
 *   ENUM   uint32_t (1.., OPT: 0 = absent)         enum list name  _ENUM (checked against the list)
 *   STR    struct str (OPT: p == NULL = absent)    _               bytes
 *   BIN    struct str                              _               bytes
 *   STRS   struct strs (OPT: v == NULL = absent)   bytes an entry  entries
 *   OBJ    const struct sub * (OPT: NULL = absent) record name     0
 *          (UNK instead of OPT: the same, but an event says "unknown" where it is absent)
 *   LIST   {const struct sub *v; size_t n;}        record name     entries
 */
#pragma once

#include "common/base/str.h"

struct opt_uint {
    bool set;
    uint64_t v;
};
struct opt_int {
    bool set;
    int64_t v;
};
struct opt_bool {
    bool set;
    bool v;
};
struct strs {
    const struct str *v;
    size_t n;
};
/* The layout every LIST member shares. */
struct schema_list {
    const void *v;
    size_t n;
};

#define OPT_UINT(x) ((struct opt_uint){true, (x)})
#define OPT_INT(x)  ((struct opt_int){true, (x)})
#define OPT_BOOL(x) ((struct opt_bool){true, (x)})

enum field_kind {
    FIELD_UINT,
    FIELD_INT,
    FIELD_BOOL,
    FIELD_ENUM,
    FIELD_STR,
    FIELD_BIN,
    FIELD_STRS,
    FIELD_OBJ,
    FIELD_LIST,
};

/* Value i+1 has the text names[i]; 0 is never on the wire. */
struct enum_names {
    const char *name;
    const char *const *names;
    uint32_t n;
};

struct schema;

struct field {
    const char *name;
    enum field_kind kind;
    bool optional;
    bool unknown; /* absent, an event shows "unknown" */
    size_t offset;
    uint64_t max;
    uint64_t entry_max; /* STRS: bytes of one entry */
    const struct schema *sub;
    const struct enum_names *names;
};

struct schema {
    const char *name;
    size_t size;
    const struct field *fields;
    size_t n;
};

/* The text of an enum value, or "?" when out of range. */
const char *enum_text(const struct enum_names *e, uint32_t v);
/* The value with this text, or 0. */
uint32_t enum_value(const struct enum_names *e, struct str s);

/* ---- enums: #define COLOR_ENUM(X) X(COLOR_RED, "red") X(COLOR_BLUE, "blue") ---- */
#define ENUM_MEMBER_(c, text) c,
#define ENUM_TEXT_(c, text)   text,
#define ENUM_DECLARE(name, LIST)                                                                             \
    enum name { name##_absent = 0, LIST(ENUM_MEMBER_) _##name##_max };                                       \
    extern const struct enum_names enum_##name;
#define ENUM_DEFINE(id, LIST)                                                                                \
    static const char *const enum_text_##id[] = {LIST(ENUM_TEXT_)};                                          \
    const struct enum_names enum_##id = {#id, enum_text_##id, sizeof(enum_text_##id) / sizeof(char *)};

/* ---- C members ---- */
#define SM_UINT_REQ(c, sub) uint64_t c;
#define SM_UINT_OPT(c, sub) struct opt_uint c;
#define SM_INT_REQ(c, sub)  int64_t c;
#define SM_INT_OPT(c, sub)  struct opt_int c;
#define SM_BOOL_REQ(c, sub) bool c;
#define SM_BOOL_OPT(c, sub) struct opt_bool c;
#define SM_ENUM_REQ(c, sub) uint32_t c;
#define SM_ENUM_OPT(c, sub) uint32_t c;
#define SM_STR_REQ(c, sub)  struct str c;
#define SM_STR_OPT(c, sub)  struct str c;
#define SM_BIN_REQ(c, sub)  struct str c;
#define SM_BIN_OPT(c, sub)  struct str c;
#define SM_STRS_REQ(c, sub) struct strs c;
#define SM_STRS_OPT(c, sub) struct strs c;
#define SM_OBJ_REQ(c, sub)  const struct sub *c;
#define SM_OBJ_OPT(c, sub)  const struct sub *c;
#define SM_OBJ_UNK(c, sub)  const struct sub *c;
#define SM_LIST_REQ(c, sub)                                                                                  \
    struct {                                                                                                 \
        const struct sub *v;                                                                                 \
        size_t n;                                                                                            \
    } c;
#define SM_LIST_OPT(c, sub)                           SM_LIST_REQ(c, sub)
#define SM_(X, kind, presence, c, json, subname, max) SM_##kind##_##presence(c, subname)

/* ---- descriptors ---- */
#define SD_OPTIONAL_REQ false
#define SD_OPTIONAL_OPT true
#define SD_OPTIONAL_UNK true
#define SD_UNKNOWN_REQ  false
#define SD_UNKNOWN_OPT  false
#define SD_UNKNOWN_UNK  true
#define SD_UINT(s)
#define SD_INT(s)
#define SD_BOOL(s)
#define SD_STR(s)
#define SD_BIN(s)
#define SD_ENUM(s) .names = &enum_##s,
#define SD_STRS(s) .entry_max = (s),
#define SD_OBJ(s)  .sub = &schema_##s,
#define SD_LIST(s) .sub = &schema_##s,
#define SD_(X, k, presence, c, json, subname, m)                                                             \
    {.name = json,                                                                                           \
     .kind = FIELD_##k,                                                                                      \
     .optional = SD_OPTIONAL_##presence,                                                                     \
     .unknown = SD_UNKNOWN_##presence,                                                                       \
     .offset = offsetof(struct X, c),                                                                        \
     .max = (m),                                                                                             \
     SD_##k(subname)},

#define SCHEMA_DECLARE(id, FIELDS)                                                                           \
    struct id {                                                                                              \
        FIELDS(SM_, id)                                                                                      \
    };                                                                                                       \
    extern const struct schema schema_##id;
#define SCHEMA_DEFINE(id, FIELDS)                                                                            \
    static const struct field fields_##id[] = {FIELDS(SD_, id)};                                             \
    const struct schema schema_##id = {#id, sizeof(struct id), fields_##id,                                  \
                                       sizeof(fields_##id) / sizeof(struct field)};
