/* SPDX-License-Identifier: MIT */
/* Numbers of the DNS registries as text. */
#include <stdio.h>
#include <strings.h>

#include "common/base/num.h"
#include "proxyd/dns/dns.h"

struct type_row {
    uint16_t type;
    const char *name;
};

/* IANA "Domain Name System (DNS) Parameters", resource record types: the ones an ordinary client asks for. */
static const struct type_row types[] = {
    {1, "A"},        {2, "NS"},          {5, "CNAME"},       {6, "SOA"},    {12, "PTR"},    {13, "HINFO"},
    {15, "MX"},      {16, "TXT"},        {17, "RP"},         {18, "AFSDB"}, {24, "SIG"},    {25, "KEY"},
    {28, "AAAA"},    {29, "LOC"},        {33, "SRV"},        {35, "NAPTR"}, {36, "KX"},     {37, "CERT"},
    {39, "DNAME"},   {41, "OPT"},        {43, "DS"},         {44, "SSHFP"}, {46, "RRSIG"},  {47, "NSEC"},
    {48, "DNSKEY"},  {50, "NSEC3"},      {51, "NSEC3PARAM"}, {52, "TLSA"},  {53, "SMIMEA"}, {59, "CDS"},
    {60, "CDNSKEY"}, {61, "OPENPGPKEY"}, {62, "CSYNC"},      {64, "SVCB"},  {65, "HTTPS"},  {99, "SPF"},
    {249, "TKEY"},   {250, "TSIG"},      {251, "IXFR"},      {252, "AXFR"}, {255, "ANY"},   {256, "URI"},
    {257, "CAA"},
};

static bool equal_fold(struct str s, const char *upper)
{
    return strlen(upper) == s.len && strncasecmp(s.p, upper, s.len) == 0;
}

int dns_type_parse(struct str s, uint16_t *ret)
{
    uint64_t n;

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (s.len > 0 && equal_fold(s, types[i].name)) {
            *ret = types[i].type;
            return 0;
        }
    }
    if (s.len < 5 || !equal_fold((struct str){s.p, 4}, "TYPE") ||
        num_parse_u64((struct str){s.p + 4, s.len - 4}, 0, UINT16_MAX, &n) < 0)
        return -EINVAL;
    *ret = (uint16_t)n;
    return 0;
}

const char *dns_type_text(uint16_t type, char dst[DNS_TYPE_TEXT_MAX])
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i].type == type)
            return types[i].name;
    (void)snprintf(dst, DNS_TYPE_TEXT_MAX, "TYPE%u", type);
    return dst;
}

const char *dns_rcode_text(uint8_t rcode, char dst[DNS_RCODE_TEXT_MAX])
{
    static const char *const names[] = {"NOERROR",  "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
                                        "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE"};

    if (rcode < ARRAY_LEN(names))
        return names[rcode];
    (void)snprintf(dst, DNS_RCODE_TEXT_MAX, "RCODE%u", rcode);
    return dst;
}
