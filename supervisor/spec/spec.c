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

static const struct str default_types[] = {STR_LIT("A"), STR_LIT("AAAA"), STR_LIT("CNAME"), STR_LIT("HTTPS")};

const struct strs spec_query_types_default = {default_types, ARRAY_LEN(default_types)};

/* IANA "Resource Record (RR) TYPEs". Transfers, ANY and the meta types are not here: a stub resolver never
 * needs them. */
static const char *const known_types[] = {
    "A",    "NS",     "CNAME", "SOA",     "PTR",        "MX",    "TXT",   "AAAA",   "LOC",
    "SRV",  "NAPTR",  "DNAME", "DS",      "SSHFP",      "RRSIG", "NSEC",  "DNSKEY", "NSEC3",
    "TLSA", "SMIMEA", "CDS",   "CDNSKEY", "OPENPGPKEY", "SVCB",  "HTTPS", "URI",    "CAA",
};

bool spec_query_type_known(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(known_types); i++)
        if (str_is(name, known_types[i]))
            return true;
    return false;
}
