/* SPDX-License-Identifier: MIT */
/* cellctl: the operator's tool. It needs no right of its own; what it starts (run) confines itself. It reads
 * specs, keys and logs that others wrote: all of these are foreign, and shown escaped only. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "supervisor/ctl/ctl.h"

/* A pipe whose reader has enough: no error that anybody wants to hear of. */
static bool nobody_reads(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write, not the end of a run */
    int status = ctl_dispatch(argc, argv);
    /* An error of an earlier write stays with the stream, also where this last one is of nothing. */
    int why = fflush(stdout) != 0 ? errno : 0;
    if (why == 0 && !ferror(stdout))
        return status;
    if (!nobody_reads())
        (void)ctl_fail(CTL_FAILED, NULL, "not all could be written to standard output%s%s", why ? ": " : "",
                       why ? strerrordesc_np(why) : "");
    return status == CTL_OK ? CTL_FAILED : status;
}
