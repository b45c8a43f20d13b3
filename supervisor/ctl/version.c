/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "proto/iface.h"
#include "supervisor/ctl/ctl.h"

static int run(int argc, char **argv)
{
    if (argc > 1)
        return ctl_fail(CTL_USAGE, "version", "takes no arguments, but got \"%s\"", argv[1]);
    (void)printf("cellctl %s\n", CELLOS_VERSION);
    for (size_t i = 0; iface_all[i]; i++)
        (void)printf("%s protocol %u\n", iface_all[i]->name, iface_all[i]->version);
    return CTL_OK;
}

const struct ctl_verb ctl_verb_version = {
    .name = "version",
    .summary = "the version, and that of each interface between the daemons",
    .help =
        "usage: cellctl version\n\n"
        "Prints the version of this build and the protocol version of each interface. Daemons of another\n"
        "protocol version refuse to talk to each other.\n",
    .run = run,
};
