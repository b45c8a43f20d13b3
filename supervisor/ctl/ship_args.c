/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>

#include "common/base/encoding.h"
#include "common/base/num.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/ship.h"

#define GIVE_UP_MAX_S (30u * 24 * 3600)

static const char **text_flag(struct ship_args *a, const char *flag)
{
    const struct {
        const char *flag;
        const char **value;
    } table[] = {
        {"--to", &a->to},
        {"--tenant", &a->tenant},
        {"--id", &a->id},
        {"--state", &a->state},
        {"--stream", &a->stream},
        {"--create-stream", &a->create_stream},
        {"--token-file", &a->token_file},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strcmp(flag, table[i].flag) == 0)
            return table[i].value;
    return jetstream_flag(&a->nats, flag);
}

static bool *bool_flag(struct ship_args *a, const char *flag)
{
    const struct {
        const char *flag;
        bool *value;
    } table[] = {
        {"--once", &a->once},
        {"--status", &a->status},
        {"--retry-dead", &a->retry_dead},
        {"--skip-pruned", &a->skip_pruned},
        {"--no-checkpoints", &a->no_checkpoints},
        {"-v", &a->verbose},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strcmp(flag, table[i].flag) == 0)
            return table[i].value;
    return NULL;
}

static int number_flag(struct ship_args *a, const char *flag, const char *text)
{
    bool batch = strcmp(flag, "--batch") == 0;
    uint64_t max = batch ? SHIP_BATCH_MAX : GIVE_UP_MAX_S;

    if (num_parse_u64(str_of(text), batch, max, batch ? &a->batch : &a->give_up_s) < 0)
        return ctl_fail(CTL_USAGE, "ship", "%s: %d to %" PRIu64 ", not \"%s\"", flag, batch, max, text);
    return CTL_OK;
}

static bool is_local(const char *url)
{
    const char *host = strstr(url, "://") + 3;
    const char *const local[] = {"127.0.0.1", "localhost", "[::1]"};

    for (size_t i = 0; i < ARRAY_LEN(local); i++) {
        size_t n = strlen(local[i]);

        if (strncmp(host, local[i], n) == 0 && (host[n] == '\0' || host[n] == ':' || host[n] == '/'))
            return true;
    }
    return false;
}

static int check_http(const struct ship_args *a)
{
    const char *host = strstr(a->to, "://") + 3;
    size_t authority = strcspn(host, "/?#");

    for (const char *p = a->to; *p; p++)
        if (*p <= ' ' || *p >= 0x7f)
            return ctl_fail(CTL_USAGE, "ship", "--to %s is no URL", a->to);
    if (authority == 0)
        return ctl_fail(CTL_USAGE, "ship", "--to %s names no host", a->to);
    if (memchr(host, '@', authority))
        return ctl_fail(
            CTL_USAGE, "ship",
            "a URL with a password in it would be seen by everybody on this machine: use --token-file");
    if (a->token_file && strncmp(a->to, "https://", 8) != 0 && !is_local(a->to))
        return ctl_fail(CTL_USAGE, "ship",
                        "--token-file with http:// would show the token on the way: use https://");
    if (a->stream || a->create_stream || a->nats.creds || a->nats.user_file)
        return ctl_fail(CTL_USAGE, "ship",
                        "--stream, --create-stream, --creds and --user-file are for nats://");
    if (!a->nats.cert != !a->nats.key)
        return ctl_fail(CTL_USAGE, "ship", "--cert-file and --key-file go together");
    return CTL_OK;
}

static int check_nats(struct ship_args *a)
{
    char why[JETSTREAM_WHY_MAX];

    a->nats.urls = a->to;
    a->nats.name = "cellctl ship";
    if (jetstream_check(&a->nats, why) < 0)
        return ctl_fail(CTL_USAGE, "ship", "%s", why);
    if (a->batch || a->token_file)
        return ctl_fail(CTL_USAGE, "ship", "--batch and --token-file are for http:// and https://");
    if (a->stream && !jetstream_token_ok(a->stream, SHIP_STREAM_MAX))
        return ctl_fail(CTL_USAGE, "ship", "--stream %s: A-Z a-z 0-9 _ and - only", a->stream);
    if (a->create_stream && !jetstream_token_ok(a->create_stream, SHIP_STREAM_MAX))
        return ctl_fail(CTL_USAGE, "ship", "--create-stream %s: A-Z a-z 0-9 _ and - only", a->create_stream);
    return CTL_OK;
}

static int check(struct ship_args *a)
{
    if (!a->to)
        return ctl_fail(CTL_USAGE, "ship", "--to is missing: nats://HOST[:PORT] or https://HOST/PATH");
    if (!ship_tenant_ok(a->tenant))
        return ctl_fail(CTL_USAGE, "ship",
                        "--tenant %s: 1 to %d of A-Z a-z 0-9 _ and -, since it is one token of the subject",
                        a->tenant, SHIP_TENANT_MAX);
    if (a->id && !jetstream_token_ok(a->id, SHIP_DESTINATION_MAX))
        return ctl_fail(CTL_USAGE, "ship", "--id %s: 1 to %d of A-Z a-z 0-9 _ and -", a->id,
                        SHIP_DESTINATION_MAX);
    a->http = strncmp(a->to, "http://", 7) == 0 || strncmp(a->to, "https://", 8) == 0;
    if (!a->http && strncmp(a->to, "nats://", 7) != 0 && strncmp(a->to, "tls://", 6) != 0)
        return ctl_fail(CTL_USAGE, "ship", "--to %s: nats://, tls://, http:// or https://", a->to);
    if (a->once && a->give_up_s == UINT64_MAX)
        a->give_up_s = SHIP_GIVE_UP_S;
    else if (a->give_up_s == UINT64_MAX)
        a->give_up_s = 0;
    return a->http ? check_http(a) : check_nats(a);
}

static int parse_one(struct ship_args *a, int argc, char **argv, int *i)
{
    const char *flag = argv[*i], **text = text_flag(a, flag);
    bool *on = bool_flag(a, flag);
    bool number = strcmp(flag, "--batch") == 0 || strcmp(flag, "--give-up") == 0;

    if (on) {
        *on = true;
        return CTL_OK;
    }
    if (text || number) {
        if (++*i == argc)
            return ctl_fail(CTL_USAGE, "ship", "%s needs a value", flag);
        if (number)
            return number_flag(a, flag, argv[*i]);
        *text = argv[*i];
        return CTL_OK;
    }
    if (flag[0] == '-')
        return ctl_fail(CTL_USAGE, "ship", "unknown flag %s: see `cellctl ship --help`", flag);
    if (a->dir)
        return ctl_fail(CTL_USAGE, "ship", "one directory only, %s is a second one", flag);
    a->dir = flag;
    return CTL_OK;
}

int ship_args_parse(int argc, char **argv, struct ship_args *ret)
{
    struct ship_args a = {.tenant = SHIP_TENANT, .give_up_s = UINT64_MAX};
    int r = CTL_OK;

    for (int i = 1; r == CTL_OK && i < argc; i++)
        r = parse_one(&a, argc, argv, &i);
    if (r == CTL_OK)
        r = check(&a);
    if (r == CTL_OK)
        *ret = a;
    return r;
}

void ship_args_id(const struct ship_args *a, char dst[static SHIP_DESTINATION_MAX + 1])
{
    _cleanup_(buf_done) struct buf text = {.data = NULL}, hex = {.data = NULL};
    uint8_t digest[DIGEST_LEN];

    if (a->id) {
        (void)snprintf(dst, SHIP_DESTINATION_MAX + 1, "%s", a->id);
        return;
    }
    buf_init(&text, 65536);
    buf_init(&hex, 2 * DIGEST_LEN);
    buf_printf(&text, "%s\n%s\n%s", a->to, a->tenant, a->stream ? a->stream : "");
    digest_sha256(text.data, text.len, digest);
    encoding_hex_put(&hex, digest, 8);
    (void)snprintf(dst, SHIP_DESTINATION_MAX + 1, "%s-%s", a->http ? "http" : "nats", buf_cstr(&hex));
}
