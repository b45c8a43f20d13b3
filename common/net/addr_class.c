/* SPDX-License-Identifier: MIT */
/* Classes of addresses, from the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its
 * updates). What a registry row calls globally reachable stays ADDR_GLOBAL. */
#include "common/net/addr.h"

struct class_row {
    uint8_t bytes[16];
    uint8_t bits;
    uint8_t class;
};

/* The first match decides: narrower rows stand before the wider ones they make an exception to. */
static const struct class_row v4_rows[] = {
    {{168, 63, 129, 16}, 32, ADDR_METADATA},
    {{169, 254, 169, 254}, 32, ADDR_METADATA},
    {{100, 100, 100, 200}, 32, ADDR_METADATA},
    {{0}, 8, ADDR_UNSPECIFIED},         /* RFC 791: this network */
    {{10}, 8, ADDR_PRIVATE},            /* RFC 1918 */
    {{100, 64}, 10, ADDR_PRIVATE},      /* RFC 6598: shared address space */
    {{127}, 8, ADDR_LOOPBACK},          /* RFC 1122 */
    {{169, 254}, 16, ADDR_LINK_LOCAL},  /* RFC 3927 */
    {{172, 16}, 12, ADDR_PRIVATE},      /* RFC 1918 */
    {{192, 0, 0, 9}, 32, ADDR_GLOBAL},  /* RFC 7723: PCP anycast */
    {{192, 0, 0, 10}, 32, ADDR_GLOBAL}, /* RFC 8155: TURN anycast */
    {{192, 0, 0}, 24, ADDR_RESERVED},   /* RFC 6890: IETF protocol assignments */
    {{192, 0, 2}, 24, ADDR_RESERVED},   /* RFC 5737: documentation */
    {{192, 88, 99}, 24, ADDR_RESERVED}, /* RFC 7526: deprecated 6to4 relays */
    {{192, 168}, 16, ADDR_PRIVATE},     /* RFC 1918 */
    {{198, 18}, 15, ADDR_RESERVED},     /* RFC 2544: benchmarking */
    {{198, 51, 100}, 24, ADDR_RESERVED},
    {{203, 0, 113}, 24, ADDR_RESERVED},
    {{224}, 4, ADDR_MULTICAST},
    {{240}, 4, ADDR_RESERVED}, /* RFC 1112, and the limited broadcast */
    {{0}, 0, ADDR_GLOBAL},
};

static const struct class_row v6_rows[] = {
    {{0xFD, 0, 0x0E, 0xC2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}, 128, ADDR_METADATA},
    {{0}, 128, ADDR_UNSPECIFIED},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, ADDR_LOOPBACK},
    {{0xFC}, 7, ADDR_PRIVATE},           /* RFC 4193 */
    {{0xFE, 0x80}, 10, ADDR_LINK_LOCAL}, /* RFC 4291 */
    {{0xFE, 0xC0}, 10, ADDR_LINK_LOCAL}, /* RFC 3879: deprecated site-local */
    {{0xFF}, 8, ADDR_MULTICAST},
    {{0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, ADDR_GLOBAL}, /* RFC 7723 */
    {{0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, 128, ADDR_GLOBAL}, /* RFC 8155 */
    {{0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}, 128, ADDR_GLOBAL}, /* RFC 9665 */
    {{0x20, 1, 0, 3}, 32, ADDR_GLOBAL},                                      /* RFC 7450: AMT */
    {{0x20, 1, 0, 4, 0x01, 0x12}, 48, ADDR_GLOBAL},                          /* RFC 7535: AS112 */
    {{0x20, 1, 0, 0x20}, 28, ADDR_GLOBAL},                                   /* RFC 7343: ORCHIDv2 */
    {{0x20, 1, 0, 0x30}, 28, ADDR_GLOBAL},                                   /* RFC 9374: drone identifiers */
    {{0x20, 1}, 23, ADDR_RESERVED},             /* RFC 2928: the rest of the IETF assignments */
    {{0x20, 1, 0x0D, 0xB8}, 32, ADDR_RESERVED}, /* RFC 3849: documentation */
    {{0x3F, 0xFF}, 20, ADDR_RESERVED},          /* RFC 9637: documentation */
    {{0x20}, 3, ADDR_GLOBAL},                   /* RFC 4291: the only block of global unicast */
    {{0}, 0, ADDR_RESERVED}, /* also 64:ff9b:1::/48, 100::/64, 100:0:0:1::/64, 5f00::/16 of the registry */
};

static enum addr_class class_by_rows(const struct addr *a, const struct class_row *rows)
{
    for (;; rows++) { /* the last row matches everything */
        struct addr_prefix p = {.addr.family = a->family, .bits = rows->bits};
        memcpy(p.addr.bytes, rows->bytes, sizeof(rows->bytes));
        if (addr_prefix_contains(&p, a))
            return rows->class;
    }
}

static enum addr_class class_v4(const uint8_t b[4])
{
    struct addr a = {.family = AF_INET};
    memcpy(a.bytes, b, 4);
    return class_by_rows(&a, v4_rows);
}

static bool begins(const struct addr *a, const uint8_t *prefix, size_t bytes)
{
    return memcmp(a->bytes, prefix, bytes) == 0;
}

/* Forms that carry an IPv4 address but are not to be reached as such: they keep a class of their own, yet a
 * metadata address inside stays out of every spec's reach. 64:ff9b:1::/48 (RFC 8215) embeds by one of four
 * lengths of prefix (RFC 6052 section 2.2), ::/96 is the deprecated IPv4-compatible form, ::ffff:0:0:0/96 the
 * IPv4-translated one. */
static bool hides_metadata(const struct addr *a)
{
    static const uint8_t local_nat64[6] = {0, 0x64, 0xFF, 0x9B, 0, 1};
    static const uint8_t compatible[12] = {0};
    static const uint8_t translated[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0};
    static const uint8_t places[][4] = {{12, 13, 14, 15}, {6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}};
    size_t n = begins(a, local_nat64, 6) ? 4 : begins(a, compatible, 12) || begins(a, translated, 12) ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t v4[4];
        for (size_t k = 0; k < 4; k++)
            v4[k] = a->bytes[places[i][k]];
        if (class_v4(v4) == ADDR_METADATA)
            return true;
    }
    return false;
}

/* A Teredo address (RFC 4380 section 4) leads to its server or to its client, whose address is stored
 * inverted: the worse of the two counts, and of two bad ones a metadata address. */
static enum addr_class class_teredo(const uint8_t b[16])
{
    uint8_t client[4];
    for (unsigned i = 0; i < 4; i++)
        client[i] = (uint8_t)~b[12 + i];
    enum addr_class server = class_v4(b + 4), other = class_v4(client);
    return other == ADDR_METADATA || server == ADDR_GLOBAL ? other : server;
}

enum addr_class addr_classify(const struct addr *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    static const uint8_t nat64[12] = {0, 0x64, 0xFF, 0x9B};
    static const uint8_t sixtofour[2] = {0x20, 0x02};
    static const uint8_t teredo[4] = {0x20, 0x01, 0, 0};
    if (a->family == AF_INET)
        return class_v4(a->bytes);
    if (a->family != AF_INET6)
        return ADDR_UNSPECIFIED;
    /* Each wrapping holds an IPv4 address, which cannot wrap again: one step is always enough. */
    if (begins(a, mapped, sizeof(mapped)) || begins(a, nat64, sizeof(nat64)))
        return class_v4(a->bytes + 12);
    if (begins(a, sixtofour, sizeof(sixtofour)))
        return class_v4(a->bytes + 2);
    if (begins(a, teredo, sizeof(teredo)))
        return class_teredo(a->bytes);
    return hides_metadata(a) ? ADDR_METADATA : class_by_rows(a, v6_rows);
}

const char *addr_class_name(enum addr_class c)
{
    static const char *const names[] = {
        [ADDR_GLOBAL] = "global",       [ADDR_UNSPECIFIED] = "unspecified", [ADDR_LOOPBACK] = "loopback",
        [ADDR_PRIVATE] = "private",     [ADDR_LINK_LOCAL] = "link-local",   [ADDR_METADATA] = "metadata",
        [ADDR_MULTICAST] = "multicast", [ADDR_RESERVED] = "reserved",
    };
    return (size_t)c < ARRAY_LEN(names) ? names[c] : "unknown";
}
