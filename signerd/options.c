/* SPDX-License-Identifier: MIT */
#include "signerd/options.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/num.h"
#include "common/base/uuid.h"
#include "proto/limits.h"

const char signerd_options_help[] =
    "  --origin-suffix RUNID   the log is of one run: its origin is the key's name, a slash and this id\n"
    "  --key SOURCE            the signing key: pkcs11:... (RFC 7512) or credential:NAME; without it the\n"
    "                          credential cellos.signing.key, keys/signing.uri or keys/signing.key\n"
    "  --seal event|batch      event (default): every line carries its signature; batch: the checkpoint "
    "signs\n"
    "                          the lines, their own signatures follow in idle time\n"
    "  --segment-bytes N       a segment is closed when it is so long (64 MiB)\n"
    "  --segment-age SECONDS   or when its first line is so old (a day)\n"
    "  --retain-bytes N, --retain-age SECONDS   closed segments beyond that are pruned; 0: everything is "
    "kept\n"
    "  --redact NAMES|defaults events are sealed without the values of these fields; defaults: "
    "argv,path,reason\n"
    "  --quota-rate N          events a second that proxyd may claim for one cell (250000)\n"
    "  --quota-events N, --quota-bytes N   in all, proxyd and netd each, for one cell (10^9, 1 TiB)\n";
_Static_assert(LIMIT_QUOTA_PROXYD_RATE == 250000, "a sentence above names it");

static int options_suffix(struct signerd_options *o, const char *value)
{
    o->origin_suffix = value;
    return uuid_v7_valid(str_of(value)) ? 0 : -EINVAL;
}

static int options_key(struct signerd_options *o, const char *value)
{
    o->key = value;
    return 0;
}

static int options_seal(struct signerd_options *o, const char *value)
{
    o->seal = enum_value(&enum_seal_mode, str_of(value));
    return o->seal ? 0 : -EINVAL;
}

static int options_segment_bytes(struct signerd_options *o, const char *value)
{
    return num_parse_u64(str_of(value), LIMIT_SEGMENT_MIN, LIMIT_SEGMENT_MAX, &o->segment_bytes);
}

static int options_segment_age(struct signerd_options *o, const char *value)
{
    return num_parse_u64(str_of(value), 1, LIMIT_RETAIN_AGE_S, &o->segment_age_s);
}

static int options_retain_bytes(struct signerd_options *o, const char *value)
{
    return num_parse_u64(str_of(value), 0, LIMIT_RETAIN_BYTES, &o->retain_bytes);
}

static int options_retain_age(struct signerd_options *o, const char *value)
{
    return num_parse_u64(str_of(value), 0, LIMIT_RETAIN_AGE_S, &o->retain_age_s);
}

static int options_redact(struct signerd_options *o, const char *value)
{
    char why[REDACT_WHY_MAX];

    return redact_parse(&o->redact, str_of(value), why) == REDACT_OK ? 0 : log_errno(-EINVAL, "%s", why);
}

static int options_quota_rate(struct signerd_options *o, const char *value)
{
    return num_parse_u64(str_of(value), 1, LIMIT_QUOTA_RATE_MAX, &o->quota.rate);
}

static int options_quota_events(struct signerd_options *o, const char *value)
{
    return num_parse_u64(str_of(value), 1, LIMIT_QUOTA_EVENTS, &o->quota.events);
}

static int options_quota_bytes(struct signerd_options *o, const char *value)
{
    return num_parse_u64(str_of(value), 1, LIMIT_QUOTA_BYTES, &o->quota.bytes);
}

static const struct {
    const char *name;
    int (*take)(struct signerd_options *o, const char *value);
} options_table[] = {
    {"--key", options_key},
    {"--origin-suffix", options_suffix},
    {"--seal", options_seal},
    {"--segment-bytes", options_segment_bytes},
    {"--segment-age", options_segment_age},
    {"--retain-bytes", options_retain_bytes},
    {"--retain-age", options_retain_age},
    {"--redact", options_redact},
    {"--quota-rate", options_quota_rate},
    {"--quota-events", options_quota_events},
    {"--quota-bytes", options_quota_bytes},
};

static int options_take(struct signerd_options *o, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(options_table); i++)
        if (strcmp(options_table[i].name, name) == 0) {
            if (value && options_table[i].take(o, value) == 0)
                return 0;
            return log_errno(-EINVAL, "%s %s: see --help", name,
                             value ? "does not take this value" : "needs a value");
        }
    return log_errno(-EINVAL, "unknown option %s: see --help", name);
}

int signerd_options_parse(int argc, char **argv, struct signerd_options *ret)
{
    struct signerd_options o = {
        .seal = SEAL_EVENT, .segment_bytes = LIMIT_SEGMENT, .segment_age_s = LIMIT_SEGMENT_AGE_S};

    for (int i = 1; i < argc; i += 2) { /* every option has a value */
        int r = options_take(&o, argv[i], i + 1 < argc ? argv[i + 1] : NULL);

        if (r < 0)
            return r;
    }
    *ret = o;
    return 0;
}
