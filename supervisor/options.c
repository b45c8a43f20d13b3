/* SPDX-License-Identifier: MIT */
#include "supervisor/options.h"

#include "common/base/log.h"
#include "proto/words.h"

int options_parse(int argc, char **argv, struct options *ret)
{
    struct options o = {.evidence = EVIDENCE_STRICT};
    for (int i = 1; i < argc; i += 2) { /* every option has a value */
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--evidence") == 0 && value) {
            o.evidence = enum_value(&enum_evidence, str_of(value));
            if (o.evidence == 0)
                return log_errno(-EINVAL, "--evidence needs \"strict\" or \"async\"");
        } else if (strcmp(argv[i], "--private-path") == 0 && value && o.nprivate < OPTIONS_PRIVATE_MAX) {
            o.private_paths[o.nprivate++] = value;
        } else {
            return log_errno(-EINVAL, "unknown or incomplete option %s: see --help", argv[i]);
        }
    }
    *ret = o;
    return 0;
}
