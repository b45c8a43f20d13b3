/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/run_operator.h"

#include <jansson.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>

#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/document.h"
#include "supervisor/spec/load.h"

#define REPORT_MAX (64u << 10)

/* ---- the proxy's URL ---- */

static int wrong(char *why, size_t cap, const char *text)
{
    (void)snprintf(why, cap, "%s", text);
    return 1;
}

static int resolve(const char *host, const char *port, char endpoint[ADDR_ENDPOINT_MAX], char *why,
                   size_t cap)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    struct endpoint_addr e;
    int r = getaddrinfo(host, port, &hints, &found);
    if (r != 0) {
        (void)snprintf(why, cap, "the host cannot be resolved: %s", gai_strerror(r));
        return 1;
    }
    r = addr_from_sockaddr(found->ai_addr, found->ai_addrlen, &e);
    freeaddrinfo(found);
    if (r < 0 || e.port == 0)
        return wrong(why, cap, "must have a port from 1 to 65535");
    (void)addr_endpoint_format(&e, endpoint);
    return 0;
}

int run_operator_proxy(const char *text, uint32_t *ret_kind, char endpoint[ADDR_ENDPOINT_MAX], char *why,
                       size_t cap)
{
    static const struct {
        const char *scheme;
        uint32_t kind;
    } schemes[] = {{"http://", UPSTREAM_PROXY_CONNECT}, {"socks5://", UPSTREAM_PROXY_SOCKS5}};
    char host[LIMIT_HOSTNAME + 3];
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i].scheme);
        if (strncmp(text, schemes[i].scheme, n) != 0)
            continue;
        const char *rest = text + n, *end = rest + strlen(rest), *colon = strrchr(rest, ':');
        if (end > rest && end[-1] == '/')
            return wrong(why, cap, "must not have anything behind the port");
        bool v6 = colon && rest[0] == '[' && colon > rest + 1 && colon[-1] == ']';
        if (!colon || colon == rest || (size_t)(colon - rest) >= sizeof(host) ||
            memchr(rest, '@', (size_t)(colon - rest)))
            return wrong(why, cap, "must be http://HOST:PORT or socks5://HOST:PORT");
        (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - rest) - 2 * v6, rest + v6);
        *ret_kind = schemes[i].kind;
        return resolve(host, colon + 1, endpoint, why, cap);
    }
    return wrong(why, cap, "must be http://HOST:PORT or socks5://HOST:PORT");
}

/* ---- the document and what the flags put over it ---- */

static int complain(const struct run_flags *f, const char *file, const struct violations *found)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, REPORT_MAX);
    violations_print(found, &b);
    (void)ctl_fail(0, f->verb, "the operator's configuration (%s) is wrong:", file);
    (void)fwrite(b.data, 1, b.len, stderr);
    return -EINVAL;
}

/* An empty buffer when there is no file and none was asked for. */
static int read_file(const struct run_flags *f, struct buf *doc)
{
    const char *path = f->config ? f->config : RUN_OPERATOR_FILE;
    int r = document_read(path, doc);
    if (r == -ENOENT && !f->config)
        return 0;
    if (r < 0)
        (void)ctl_fail(0, f->verb, "cannot read the operator's configuration %s: %s", path,
                       strerrordesc_np(-r));
    else if (doc->len == 0)
        buf_puts(doc, " "); /* a file without a document is not the same as no file */
    return r;
}

static bool set(json_t *o, const char *key, json_t *v)
{
    return v && json_object_set_new(o, key, v) == 0;
}

static int put_flags(json_t *root, const struct run_flags *f)
{
    json_t *spec = json_object_get(root, "spec"), *net = json_object_get(spec, "network");
    char ca[PATH_MAX];
    if (!net && !set(spec, "network", net = json_object()))
        return -ENOMEM;
    if (f->network && !set(net, "mode", json_string(enum_text(&enum_net_mode, f->network))))
        return -ENOMEM;
    if (f->proxy_kind && !set(net, "upstreamProxy",
                              json_pack("{s:s, s:s}", "kind", enum_text(&enum_upstream_proxy, f->proxy_kind),
                                        "endpoint", f->proxy_endpoint)))
        return -ENOMEM;
    if (f->ca_file && !realpath(f->ca_file, ca)) {
        int err = errno;
        (void)ctl_fail(0, f->verb, "--ca-file %s: %s", f->ca_file, strerrordesc_np(err));
        return -err;
    }
    return !f->ca_file || set(net, "caFile", json_string(ca)) ? 0 : -ENOMEM;
}

static bool has_flags(const struct run_flags *f)
{
    return f->network || f->proxy_kind || f->ca_file;
}

static int check(const struct run_flags *f, const char *file, struct str text, struct run_operator *o)
{
    _cleanup_(violations_done) struct violations found = {0};
    int r = operator_parse(text, &o->config, &found);
    return r == OPERATOR_INVALID ? complain(f, file, &found) : r;
}

/* The file must be right by itself, and again with what the flags put over it. */
static int merge(const struct run_flags *f, const char *file, struct str doc, struct run_operator *o)
{
    static const struct str empty =
        STR_LIT("{\"apiVersion\":\"" SPEC_API_VERSION "\",\"kind\":\"" OPERATOR_KIND "\",\"spec\":{}}");
    _cleanup_(violations_done) struct violations found = {0};
    _cleanup_(document_unref) json_t *root = NULL;
    int r = document_load(doc.len ? doc : empty, &root, &found);
    if (r == DOCUMENT_INVALID)
        return complain(f, file, &found);
    if (r == DOCUMENT_OK && doc.len)
        r = check(f, file, doc, o);
    if (r == 0 && has_flags(f))
        r = put_flags(root, f);
    if (r < 0)
        return r;
    o->config = operator_free(o->config);
    o->json = json_dumps(root, JSON_COMPACT);
    return o->json ? check(f, has_flags(f) ? "with the flags" : file, str_of(o->json), o) : -ENOMEM;
}

static int may_route(const struct run_flags *f, const struct run_operator *o)
{
    if (o->config->network.mode != NET_MODE_ROUTED || geteuid() == 0)
        return 0;
    (void)ctl_fail(0, f->verb, "the network mode \"routed\" needs root: it makes interfaces on the host");
    return -EPERM;
}

int run_operator_load(const struct run_flags *f, struct run_operator *ret)
{
    _cleanup_(buf_done) struct buf doc = {0};
    buf_init(&doc, LIMIT_SPEC + 65536);
    int r = read_file(f, &doc);
    if (r < 0)
        return r;
    if (doc.len > 0 || has_flags(f))
        r = merge(f, f->config ? f->config : RUN_OPERATOR_FILE, buf_str(&doc), ret);
    else
        r = operator_default(&ret->config);
    if (r == 0)
        r = may_route(f, ret);
    if (r == 0 && f->evidence)
        ret->config->network.evidence = f->evidence;
    if (r == 0 && f->seal)
        ret->config->log.seal = f->seal;
    if (r == 0 && f->redact.n > 0)
        ret->config->log.redact = f->redact;
    return r;
}

void run_operator_done(struct run_operator *o)
{
    o->config = operator_free(o->config);
    free(o->json);
    o->json = NULL;
}
