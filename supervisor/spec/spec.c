/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/spec.h"

struct spec *spec_free(struct spec *s)
{
    if (s)
        arena_done(&s->arena);
    free(s);
    return NULL;
}

void spec_freep(struct spec **s)
{
    *s = spec_free(*s);
}

/* IANA "Resource Record (RR) TYPEs". Transfers, ANY and the meta types are not here: a stub resolver never needs them. */
static const struct {
    const char *name;
    uint16_t type;
} dns_types[] = {
    {"A", 1},      {"NS", 2},      {"CNAME", 5},  {"SOA", 6},     {"PTR", 12},    {"MX", 15},
    {"TXT", 16},   {"AAAA", 28},   {"LOC", 29},   {"SRV", 33},    {"NAPTR", 35},  {"DNAME", 39},
    {"DS", 43},    {"SSHFP", 44},  {"RRSIG", 46}, {"NSEC", 47},   {"DNSKEY", 48}, {"NSEC3", 50},
    {"TLSA", 52},  {"SMIMEA", 53}, {"CDS", 59},   {"CDNSKEY", 60}, {"OPENPGPKEY", 61}, {"SVCB", 64},
    {"HTTPS", 65}, {"URI", 256},   {"CAA", 257},
};

uint16_t spec_dns_type(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(dns_types); i++)
        if (str_is(name, dns_types[i].name))
            return dns_types[i].type;
    return 0;
}

const char *spec_dns_type_name(uint16_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(dns_types); i++)
        if (dns_types[i].type == type)
            return dns_types[i].name;
    return NULL;
}
