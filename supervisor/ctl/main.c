/* SPDX-License-Identifier: MIT */
/* cellctl: the operator's tool. It needs no right of its own; what it starts (run) confines itself. It reads
 * specs, keys and logs that others wrote: all of these are foreign, and shown escaped only. */
#include <signal.h>
#include <stdio.h>

#include "supervisor/ctl/ctl.h"

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write, not the end of a run */
    int status = ctl_dispatch(argc, argv);
    if (fflush(stdout) != 0 && status == CTL_OK)
        status = CTL_FAILED;
    return status;
}
