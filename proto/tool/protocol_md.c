/* SPDX-License-Identifier: MIT */
/* Prints PROTOCOL.md from the tables: interfaces and their rows, documents, events, records, enumerations. A
 * host tool, never installed. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/iface.h"

#define SEEN_MAX 256

/* Records and enumerations in the order of their first mention, each to be printed once. */
static const struct schema *records[SEEN_MAX];
static const struct enum_names *enums[SEEN_MAX];
static size_t nrecords, nenums;

static const char intro[] =
    "<!-- Printed from the tables in proto/ by `make protocol`. Do not edit. -->\n"
    "# The messages of CellOS\n"
    "\n"
    "This page is normative; the check of the build holds it against the code.\n"
    "\n"
    "* One message is one datagram of a `SOCK_SEQPACKET` Unix socket: one msgpack array `[id, seq, "
    "fields…]`\n"
    "  with exactly the fields of the id's record, in order, and nothing behind it. File descriptors come "
    "in\n"
    "  one `SCM_RIGHTS` control message; their number is exactly the row's.\n"
    "* Only nil, bool, integers, str, bin and array, each in its smallest encoding; no map, no float, no\n"
    "  extension type. str is UTF-8 without NUL. nil stands for an absent optional field (marked `?`), and\n"
    "  only for that.\n"
    "* The first message both ways is HELLO; a difference in interface, version or role ends the line. "
    "Version\n"
    "  and role are those of this table: there is no negotiation.\n"
    "* Requests and notes have even ids, a reply has its request's id + 1 and its request's seq. Every\n"
    "  request is answered exactly once, by that reply or by ERROR.\n"
    "* A row is allowed only from its side, from its roles and in its states. Whatever else arrives, and\n"
    "  whatever breaks a bound, cuts the line; `once`: so does a second one.\n"
    "* Documents do not fit a message: they travel as a memfd with all four seals, and the message carries "
    "the\n"
    "  SHA-256 of their bytes, which are one msgpack array by the same rules.\n";

static void see_record(const struct schema *s)
{
    for (size_t i = 0; i < nrecords; i++)
        if (records[i] == s)
            return;
    if (nrecords < SEEN_MAX)
        records[nrecords++] = s;
}

static void see_enum(const struct enum_names *e)
{
    for (size_t i = 0; i < nenums; i++)
        if (enums[i] == e)
            return;
    if (nenums < SEEN_MAX)
        enums[nenums++] = e;
}

static void print_max(uint64_t max)
{
    if (max == UINT64_MAX)
        printf("2⁶⁴−1");
    else
        printf("%" PRIu64, max);
}

static void print_type(const struct field *f)
{
    switch (f->kind) {
    case FIELD_UINT:
        printf("uint, 0…");
        print_max(f->max);
        break;
    case FIELD_INT:
        printf("int, −%" PRIu64 "…%" PRIu64, f->max, f->max);
        break;
    case FIELD_BOOL:
        printf("bool");
        break;
    case FIELD_ENUM:
        printf("enum `%s`", f->names->name);
        see_enum(f->names);
        break;
    case FIELD_STR:
    case FIELD_BIN:
        printf("%s, ≤ %" PRIu64 " bytes", f->kind == FIELD_STR ? "str" : "bin", f->max);
        break;
    case FIELD_STRS:
        printf("array of ≤ %" PRIu64 " str, ≤ %" PRIu64 " bytes each", f->max, f->entry_max);
        break;
    case FIELD_OBJ:
        printf("record `%s`", f->sub->name);
        see_record(f->sub);
        break;
    case FIELD_LIST:
        printf("array of ≤ %" PRIu64 " records `%s`", f->max, f->sub->name);
        see_record(f->sub);
        break;
    }
}

static void print_fields(const struct schema *s)
{
    if (s->n == 0) {
        printf("\nNo fields.\n");
        return;
    }
    printf("\n| field | type |\n|---|---|\n");
    for (size_t i = 0; i < s->n; i++) {
        printf("| `%s`%s | ", s->fields[i].name, s->fields[i].optional ? "?" : "");
        print_type(&s->fields[i]);
        printf(" |\n");
    }
}

/* The texts of the bits that are set, with commas. */
static void print_bits(uint32_t bits, const char *const *texts, size_t n)
{
    const char *comma = "";
    for (size_t i = 0; i < n; i++) {
        if (bits & 1u << i) {
            printf("%s%s", comma, texts[i]);
            comma = ", ";
        }
    }
}

/* roles: bit 1 << enum role_name */
static void print_roles(uint32_t roles)
{
    print_bits(roles >> 1, enum_role_name.names, enum_role_name.n);
}

/* ---- interfaces ---- */

static const char *fds_of(const char *name)
{
#define FDS_(c, what) {#c, what},
    static const struct {
        const char *name, *what;
    } all[] = {MESSAGE_FDS(FDS_)};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].what;
    return NULL;
}

static int print_row(const struct msg_row *r)
{
    static const char *const states[] = {"hello", "ready", "barrier", "running", "ended"};
    static const char *const flags[] = {"once", "request", "note", "reply"};
    printf("| %" PRIu32 " | %s | ", r->id, r->name);
    print_roles(r->roles);
    printf(" (%s) | ", r->from == FROM_CLIENT ? "client" : "server");
    print_bits(r->states, states, ARRAY_LEN(states));
    printf(" | ");
    print_bits(r->flags, flags, ARRAY_LEN(flags));
    printf(" | %" PRIu32 " | %" PRIu32 " | `%s` |\n", r->nfds, r->max_len, r->rec->name);
    see_record(r->rec);
    if (r->nfds == 0 || fds_of(r->name))
        return 0;
    fprintf(stderr, "%s has fds, but no row in MESSAGE_FDS\n", r->name);
    return -1;
}

static int print_iface(const struct iface *i)
{
    int r = 0;
    printf("\n### %s, version %" PRIu32 "\n\nClient to server: %s.\n", i->name, i->version, i->what);
    printf("\n| id | message | sent by | states | kind | fds | max. bytes | record |\n"
           "|---|---|---|---|---|---|---|---|\n");
    for (size_t k = 0; k < i->n; k++)
        r |= print_row(&i->rows[k]);
    for (size_t k = 0; k < i->n; k++)
        if (i->rows[k].nfds > 0 && fds_of(i->rows[k].name))
            printf("\nFds of %s, in order: %s.\n", i->rows[k].name, fds_of(i->rows[k].name));
    return r;
}

static int print_interfaces(void)
{
    int r = 0;
    printf("\n## Interfaces\n\nOn every line: HELLO (id 0, seq 0, both ways, state hello, once, ≤ %" PRIu32
           " bytes, record `hello`) and ERROR (id 1, the answer of a server to a request, ≤ %" PRIu32
           " bytes, record `error`).\n",
           iface_row(iface_all[0], MSG_HELLO)->max_len, iface_row(iface_all[0], MSG_ERROR)->max_len);
    see_record(&schema_hello);
    see_record(&schema_error);
    for (size_t k = 0; iface_all[k]; k++)
        r |= print_iface(iface_all[k]);
    return r;
}

/* ---- documents, events, records, enumerations ---- */

static void print_documents(void)
{
    printf("\n## Documents\n\n"
           "| document | from, to | max. bytes | record |\n|---|---|---|---|\n"
           "| policy | supervisor, proxyd | %u | `policy` |\n"
           "| launch | supervisor, zygote | %u | `launch` |\n"
           "| spec | cellctl, supervisor | %u | none: the JSON document as it was written |\n",
           LIMIT_POLICY_DOC, LIMIT_LAUNCH_DOC, LIMIT_SPEC);
    see_record(&schema_policy);
    see_record(&schema_launch);
}

static void print_events(void)
{
    static const char *const states[] = {"opened", "started", "ended", "log"};
    printf("\n## Events\n\nThe body of a `signer_claim` is the record of its type. The CloudEvents type is\n"
           "`" EVENT_TYPE_PREFIX "` and the name here; signerd adds `cellId`, `specId`, `runId` and, where\n"
           "known, `policyDigest` and `correlationId` to every data object. States are those of the cell;\n"
           "`log`: no cell, the log itself speaks.\n"
           "\n| type | name | claimed by | states | record |\n|---|---|---|---|---|\n");
    for (uint64_t t = 1; event_row(t); t++) {
        const struct event_row *r = event_row(t);
        printf("| %" PRIu64 " | `%s` | ", t, r->suffix);
        print_roles(r->roles);
        printf(" | ");
        print_bits(r->states, states, ARRAY_LEN(states));
        printf(" | `%s` |\n", r->data->name);
        see_record(r->data);
    }
}

static void print_records(void)
{
    printf("\n## Records\n");
    for (size_t i = 0; i < nrecords; i++) { /* grows while it is walked: records within records */
        printf("\n### %s\n", records[i]->name);
        print_fields(records[i]);
    }
}

static void print_enums(void)
{
    printf("\n## Enumerations\n\nOn the wire a value is its number; in JSON its word.\n\n| enum | values |\n"
           "|---|---|\n");
    for (size_t i = 0; i < nenums; i++) {
        printf("| `%s` | ", enums[i]->name);
        for (uint32_t v = 1; v <= enums[i]->n; v++)
            printf("%s%" PRIu32 " `%s`", v > 1 ? ", " : "", v, enum_text(enums[i], v));
        printf(" |\n");
    }
}

int main(void)
{
    fputs(intro, stdout);
    int r = print_interfaces();
    print_documents();
    print_events();
    print_records();
    print_enums();
    if (nrecords == SEEN_MAX || nenums == SEEN_MAX || fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "protocol_md: not complete\n");
        return 1;
    }
    return r < 0 ? 1 : 0;
}
