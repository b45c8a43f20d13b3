/* SPDX-License-Identifier: MIT */
#include "supervisor/options.h"

#include "common/base/log.h"
#include "proto/words.h"

/* cellctl has checked it and told its operator; here every violation is a reason not to start. */
static int parse_config(const char *text, struct options *o)
{
    _cleanup_(violations_done) struct violations found = {0};
    int r = operator_parse(str_of(text), &o->config, &found);
    if (r == OPERATOR_INVALID && found.n > 0)
        log_error("--operator-config: %s: %s", found.v[0].path, found.v[0].message);
    if (r == OPERATOR_INVALID)
        return -EINVAL;
    return r < 0 ? log_errno(r, "--operator-config") : 0;
}

static int parse_one(const char *name, const char *value, uint32_t *evidence, struct options *o)
{
    if (strcmp(name, "--evidence") == 0 && value) {
        *evidence = enum_value(&enum_evidence, str_of(value));
        return *evidence ? 0 : log_errno(-EINVAL, "--evidence needs \"strict\" or \"async\"");
    }
    if (strcmp(name, "--operator-config") == 0 && value && !o->config)
        return parse_config(value, o);
    if (strcmp(name, "--private-path") == 0 && value && o->nprivate < OPTIONS_PRIVATE_MAX) {
        o->private_paths[o->nprivate++] = value;
        return 0;
    }
    return log_errno(-EINVAL, "unknown or incomplete option %s: see --help", name);
}

int options_parse(int argc, char **argv, struct options *ret)
{
    _cleanup_(options_done) struct options o = {0};
    uint32_t evidence = 0;
    for (int i = 1; i < argc; i += 2) { /* every option has a value */
        int r = parse_one(argv[i], i + 1 < argc ? argv[i + 1] : NULL, &evidence, &o);
        if (r < 0)
            return r;
    }
    if (!o.config && operator_default(&o.config) < 0)
        return log_errno(-ENOMEM, "the operator's configuration");
    if (evidence)
        o.config->network.evidence = evidence;
    *ret = o;
    o.config = NULL;
    return 0;
}

void options_done(struct options *o)
{
    o->config = operator_free(o->config);
}
