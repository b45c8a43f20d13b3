/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "supervisor/ctl/run_document.h"
#include "supervisor/spec/spec.h"

int run_document_init(struct run_document *d)
{
    *d = (struct run_document){0};
    json_t **const lists[] = {&d->secrets,   &d->egress,     &d->names, &d->resolvers, &d->answers,
                              &d->read_only, &d->read_write, &d->given, &d->argv};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        *lists[i] = json_array();
        if (!*lists[i])
            return -ENOMEM;
    }
    return 0;
}

void run_document_done(struct run_document *d)
{
    json_t *const owned[] = {d->secrets,    d->egress, d->names,  d->resolvers, d->answers, d->read_only,
                             d->read_write, d->given,  d->limits, d->argv,      d->quota};
    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        json_decref(owned[i]);
    free(d->cwd);
    *d = (struct run_document){0};
}

/* Steals v; a missing v (out of memory) spoils the object. */
static bool set(json_t *o, const char *key, json_t *v)
{
    return v && json_object_set_new(o, key, v) == 0;
}

static bool set_list(json_t *o, const char *key, json_t *list)
{
    return json_array_size(list) == 0 || json_object_set(o, key, list) == 0;
}

static json_t *dns_authority(const struct run_document *d)
{
    json_t *o = json_object();
    if (o && set_list(o, "resolvers", d->resolvers) &&
        json_object_set(o, "hostnameAllowlist", d->names) == 0 &&
        (json_array_size(d->answers) == 0 ||
         set(o, "rebindingPolicy", json_pack("{s:O}", "responseIpAllowlist", d->answers))))
        return o;
    json_decref(o);
    return NULL;
}

/* --dnssec stands for all resolvers, whichever comes first. */
static int put_dnssec(const struct run_document *d, char *why, size_t cap)
{
    size_t i;
    json_t *r;
    if (d->dnssec && json_array_size(d->resolvers) == 0) {
        (void)snprintf(why, cap, "--dnssec needs a resolver to be named: --dns");
        return 1;
    }
    json_array_foreach(d->resolvers, i, r)
    {
        if (d->dnssec && !set(r, "dnssec", json_pack("{s:b, s:b}", "validate", true, "failClosed", true)))
            return -ENOMEM;
    }
    return 0;
}

static json_t *authority(const struct run_document *d)
{
    json_t *o = json_object(), *fs = json_object();
    bool dns = json_array_size(d->resolvers) || json_array_size(d->answers);
    bool good = o && fs && json_object_set(o, "secretRefs", d->secrets) == 0 &&
                set_list(o, "egressRules", d->egress) &&
                (!d->quota || json_object_set(o, "egressQuota", d->quota) == 0) &&
                (!dns || set(o, "dnsAuthority", dns_authority(d))) &&
                set_list(fs, "readOnly", d->read_only) && set_list(fs, "readWrite", d->read_write) &&
                (json_object_size(fs) == 0 || json_object_set(o, "filesystem", fs) == 0);
    json_decref(fs);
    if (good)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *run_object(const struct run_document *d)
{
    json_t *o = json_object();
    if (o && json_object_set(o, "argv", d->argv) == 0 &&
        (!d->cwd || set(o, "workingDirectory", json_string(d->cwd))) &&
        (!d->timeout_ms || set(o, "timeoutMs", json_integer((json_int_t)d->timeout_ms))) &&
        (!d->limits || json_object_set(o, "limits", d->limits) == 0))
        return o;
    json_decref(o);
    return NULL;
}

/* Relative names among the arguments ("--ro ca.pem -- curl --cacert ca.pem ...") mean the same inside the
 * cell only if it starts where the caller is. The cell shows there what was brought in, and nothing else. */
static int default_cwd(struct run_document *d, char *why, size_t cap)
{
    if (d->cwd || !d->relative_path)
        return 0;
    d->cwd = realpath(".", NULL);
    if (!d->cwd && errno == ENOMEM)
        return -ENOMEM;
    if (!d->cwd) {
        (void)snprintf(why, cap, "the current directory is not usable (%s): give absolute paths",
                       strerrordesc_np(errno));
        return 1;
    }
    return 0;
}

int run_document_finish(struct run_document *d, const char *id, char **ret, char *why, size_t cap)
{
    int r = run_document_check_paths(d, why, cap);
    if (r == 0)
        r = default_cwd(d, why, cap);
    if (r == 0)
        r = put_dnssec(d, why, cap);
    if (r != 0)
        return r;
    json_t *name = json_string(id);
    if (!name) {
        (void)snprintf(why, cap, "--name must be UTF-8 text");
        return 1;
    }
    json_t *a = authority(d), *run = run_object(d);
    if (!a || !run) { /* the only text in there that can be refused here is the working directory */
        json_decref(name);
        json_decref(a);
        json_decref(run);
        (void)snprintf(why, cap, "the working directory must be UTF-8 text");
        return a ? 1 : -ENOMEM;
    }
    json_t *root = json_pack("{s:s, s:s, s:{s:o, s:o, s:{s:I}, s:o}}", "apiVersion", SPEC_API_VERSION, "kind",
                             SPEC_KIND, "spec", "id", name, "authority", a, "lifetime", "ttlSeconds",
                             (json_int_t)d->ttl_s, "run", run);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    if (!text)
        return -ENOMEM;
    int n = asprintf(ret, "%s\n", text);
    free(text);
    if (n < 0)
        *ret = NULL;
    return n < 0 ? -ENOMEM : 0;
}
