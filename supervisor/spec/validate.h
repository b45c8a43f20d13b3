/* SPDX-License-Identifier: MIT */
/* The rules of vocabulary 1-3, one function an object. Each reads the value at `at` into its typed form and
 * adds every violation it finds; where it complained, the typed form is incomplete and must not be used. */
#pragma once

#include "supervisor/spec/doc.h"
#include "supervisor/spec/spec.h"

struct validate {
    struct doc doc;                 /* first: functions of doc.h take &v->doc */
    const struct spec_operator *op; /* may be NULL */
    struct spec *spec;
};

/* validate.c: the document; also the members of spec that have no file of their own */
void validate_document(struct validate *v, const struct doc_at *at);

/* validate_authority.c */
void validate_authority(struct validate *v, const struct doc_at *at);
void validate_egress_rule(struct validate *v, const struct doc_at *at, struct spec_egress *ret);
/* dns_max: the greatest maxDnsPerSecond that this document may name. */
void validate_quota(struct doc *d, const struct doc_at *at, uint64_t dns_max, struct spec_quota *ret);

/* validate_dns.c: spec.authority.dnsAuthority */
void validate_dns_authority(struct validate *v, const struct doc_at *at);

/* validate_resolver.c: dnsAuthority.resolvers */
void validate_resolvers(struct validate *v, const struct doc_at *at, struct spec_dns *dns);

/* validate_url.c: an https URL of a DNS server: "https://HOST[:PORT]/PATH" (RFC 8484 section 4.1). A template
 * "{?dns}" at the end is taken off. The family of *ret_addr is AF_UNSPEC when HOST is a name. */
bool validate_doh_url(struct validate *v, const struct doc_at *at, struct str *ret_url,
                      struct endpoint_addr *ret_addr);

/* validate_filesystem.c: spec.authority.filesystem */
void validate_filesystem(struct validate *v, const struct doc_at *at);

/* validate_run.c */
void validate_run(struct validate *v, const struct doc_at *at);

/* validate_meta.c */
void validate_export(struct validate *v, const struct doc_at *at);
void validate_placement(struct validate *v, const struct doc_at *at);
void validate_correlation(struct validate *v, const struct doc_at *at);

/* validate_id.c: [A-Za-z0-9] and then up to max - 1 of that or of extra */
bool validate_id(struct validate *v, const struct doc_at *at, size_t max, const char *extra, struct str *ret);

/* validate_host.c: names and addresses as rules name them (vocabulary 2.1). pattern allows "*.name". */
bool validate_name(struct validate *v, const struct doc_at *at, struct str text, bool pattern,
                   struct str *ret);
bool validate_host(struct validate *v, const struct doc_at *at, struct spec_host *ret);
bool validate_prefix(struct validate *v, const struct doc_at *at, struct str text, struct addr_prefix *ret);

/* validate_path.c: absolute, no empty, "." or ".." component, no "/" at the end, at most LIMIT_PATH bytes */
bool validate_path(struct validate *v, const struct doc_at *at, struct str *ret);
/* A path of the host that is shown in the cell: also not "/", not below /proc, /sys or /dev, not a directory
 * of the suite. */
bool validate_mount_path(struct validate *v, const struct doc_at *at, struct str *ret);

/* unsupported.c: refuses what is specified but not built (decisions 35). root is the whole document. */
void validate_unsupported(struct validate *v, const struct doc_at *root);
