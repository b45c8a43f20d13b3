/* SPDX-License-Identifier: MIT */
/* A checked cell spec (vocabulary 1-3) in typed form. Every value in it is within its rule; what this version
 * does not build has been refused (unsupported.c), so nothing declared is ever ignored. */
#pragma once

#include "common/net/addr.h"
#include "common/net/name.h"
#include "proto/codec.h"
#include "proto/events.h"
#include "proto/words.h"

#define SPEC_API_VERSION "cellos.io/v1"
#define SPEC_KIND        "ExecutionCell"

#define SPEC_GRACE_DEFAULT_S 5u
#define SPEC_CPU_PERIOD_US   100000u /* cgroup v2 cpu.max default period */
#define SPEC_CPU_MIN_US      1000u   /* the kernel's least quota and period */
#define SPEC_CPU_MAX_US      1000000u
#define SPEC_MEMORY_MIN      (1u << 20)
#define SPEC_PIDS_MAX        4194304u /* PID_MAX_LIMIT */
#define SPEC_JUSTIFICATION   1024u
#define SPEC_TIMEOUT_MAX_MS  (LIMIT_TTL_S * 1000ull)
#define SPEC_ARENA           (16u << 20)
#define SPEC_TMPFS_MIN       (64u << 10)

#define SECCOMP_PROFILE_BASELINE "baseline"

enum spec_host_kind { SPEC_HOST_NAME, SPEC_HOST_ADDR };

/* What a rule names: a host name or "*.name", or an address or prefix. */
struct spec_host {
    enum spec_host_kind kind;
    struct str text;           /* canonical; the text of events and denials */
    struct addr_prefix prefix; /* SPEC_HOST_ADDR; a single address has all its bits */
};

struct spec_egress {
    struct spec_host host;
    uint16_t port_lo, port_hi;
    uint32_t protocol; /* enum egress_protocol; EGRESS_ANY when the spec has none */
    struct str justification;
};

struct spec_resolver {
    struct str id;
    uint32_t protocol;             /* enum resolver_protocol; never doq */
    struct endpoint_addr endpoint; /* family AF_UNSPEC: doh, and url names its host */
    struct str url;                /* doh only: without the template "{?dns}" */
    struct str tls_server_name;    /* dot and doh; absent: the host of url, or the endpoint's address */
    bool dnssec_validate, dnssec_fail_closed;
    struct str trust_anchors_path; /* absent: the built-in root anchors */
    struct str trust_anchors;      /* that file's text, once spec_attach has found it */
};

/* responseIpAllowlist: for this name answers inside the prefix are good although they are not public. */
struct spec_answer {
    struct str name; /* canonical name or "*.name" */
    struct addr_prefix prefix;
};

/* refreshPolicy and rebindingPolicy, where the spec has them. */
struct spec_refresh {
    struct opt_uint min_ttl_s, max_stale_s;
    uint32_t strategy; /* enum refresh_strategy */
};

struct spec_rebinding {
    struct opt_uint max_novel;
    bool reject;
};

struct spec_dns {
    struct spec_resolver *resolvers; /* none: the host's */
    size_t nresolvers;
    struct strs names;       /* canonical, "*.name" possible; may be empty: then nothing is resolved */
    struct strs query_types; /* never empty: spec_query_types_default where the spec lists none */
    const struct spec_answer *answers;
    size_t nanswers;
    const struct spec_refresh *refresh;     /* NULL = absent */
    const struct spec_rebinding *rebinding; /* NULL = absent, or responseIpAllowlist alone */
    uint32_t answer_mode;                   /* enum answer_mode; ANSWER_REAL when the spec has none */
};

/* Names whose certificate a CDN serves under another name than the one that was resolved. */
struct spec_cdn {
    struct str provider_id;
    struct strs patterns; /* canonical names or "*.name"; at least one */
};

/* What may be used of what egressRules allow. Bytes count both directions. */
struct spec_quota {
    struct opt_uint max_connections, max_bytes, max_bytes_per_second;
    struct opt_uint max_dns_per_second; /* only an operator can raise it above LIMIT_DNS_PER_SECOND */
};

struct spec_filesystem {
    struct strs read_only;
    struct strs read_write;
    uint64_t tmpfs_max_bytes; /* LIMIT_TMPFS when the spec has none */
};

struct spec_limits {
    struct opt_uint memory_max_bytes;
    struct opt_uint cpu_quota_us;
    uint64_t cpu_period_us;
    struct opt_uint pids_max;
    uint64_t grace_s; /* SPEC_GRACE_DEFAULT_S when the spec has none */
};

struct spec_run {
    struct strs argv;  /* at least one, argv[0] not empty */
    struct str cwd;    /* absolute and normal; absent = "/" */
    uint32_t delivery; /* enum delivery */
    struct opt_uint timeout_ms;
    struct spec_limits limits;
    uint32_t backend;   /* enum backend */
    struct str seccomp; /* SECCOMP_PROFILE_BASELINE */
};

struct spec {
    struct arena arena; /* owns everything below */
    struct str id;
    uint64_t ttl_s;
    struct strs secrets;
    const struct spec_egress *egress;
    size_t negress;
    struct spec_quota quota;
    const struct spec_dns *dns; /* NULL = absent */
    const struct spec_cdn *cdn;
    size_t ncdn;
    struct spec_filesystem fs;
    const struct spec_run *run; /* NULL = absent: the cell is made and destroyed */
    const struct ev_placement *placement;
    const struct ev_correlation *correlation;
};

/* What the operator says about every spec. */
struct spec_operator {
    const char *const *paths; /* no cell may be given these: the suite's own directories (absolute, normal) */
    size_t npaths;
    struct strs metadata; /* addresses of the class "metadata" that rules may name all the same */
};

/* Frees everything; NULL-safe; returns NULL. */
struct spec *spec_free(struct spec *s);
void spec_freep(struct spec **s);

#define SPEC_PREFIX_TEXT_MAX (ADDR_TEXT_MAX + 4)

/* "192.0.2.0/24"; a single address without its bits. Returns dst. */
const char *spec_prefix_format(const struct addr_prefix *p, char dst[SPEC_PREFIX_TEXT_MAX]);

/* A, AAAA, CNAME, HTTPS (vocabulary 2.2). */
extern const struct strs spec_query_types_default;

/* True for a type name that allowedQueryTypes may list: upper case, a real data type of the IANA registry. */
bool spec_query_type_known(struct str name);
