/* SPDX-License-Identifier: MIT */
/* What no workload may do, whatever its spec says. A denied call is not killed: cell init answers it and it
 * becomes evidence (observability.v1.syscall_denied). */
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "supervisor/launch/cell_filter.h"

#define EQUAL(arg, v)      SCMP_CMP((arg), SCMP_CMP_EQ, (v), 0)
#define LOW32(arg, v)      SCMP_CMP((arg), SCMP_CMP_MASKED_EQ, 0xffffffffU, (scmp_datum_t)(v))
#define BITS(arg, mask, v) SCMP_CMP((arg), SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask), (scmp_datum_t)(v))
#define ROW1(call, why, a)                                                                                   \
    {                                                                                                        \
        why, SCMP_ACT_NOTIFY, SCMP_SYS(call), 1,                                                             \
        {                                                                                                    \
            a                                                                                                \
        }                                                                                                    \
    }
#define ROW2(call, why, a, b)                                                                                \
    {                                                                                                        \
        why, SCMP_ACT_NOTIFY, SCMP_SYS(call), 2,                                                             \
        {                                                                                                    \
            a, b                                                                                             \
        }                                                                                                    \
    }

#define IOPRIO_WHO_PROCESS_ 1 /* linux/ioprio.h, which Debian 12's headers do not install */
#define IOPRIO_WHO_PGRP_    2
#define IOPRIO_WHO_USER_    3

#define NO_FAMILY(n) ROW1(socket, "an address family that no network policy confines", EQUAL(0, (n)))
/* The type's low four bits must be SOCK_STREAM (1) or SOCK_DGRAM (2); the others are flags. A row can say
 * only one thing of an argument, so the fourteen wrong values are four rows. */
#define NO_TYPES(family)                                                                                     \
    ROW2(socket, "no type 0", EQUAL(0, family), BITS(1, 0xf, 0)),                                            \
        ROW2(socket, "raw and other types with both low bits", EQUAL(0, family), BITS(1, 3, 3)),             \
        ROW2(socket, "types 4 to 7, 12 to 15", EQUAL(0, family), BITS(1, 4, 4)),                             \
        ROW2(socket, "types 8 to 15: SOCK_PACKET", EQUAL(0, family), BITS(1, 8, 8))

#define WHY_PID1                                                                                             \
    "PID 1 shares the workload's uid when the caller has only one, and must not be slowed or starved"

static const struct filter_row core_rows[] = {
    /* socket(2): UNIX 1, INET 2, INET6 10, NETLINK 16 stay. The kernel reads 32 bits of the family, these
     * rows compare 64: a family with high bits set is above 16 and so denied. */
    NO_FAMILY(0),
    NO_FAMILY(3),
    NO_FAMILY(4),
    NO_FAMILY(5),
    NO_FAMILY(6),
    NO_FAMILY(7),
    NO_FAMILY(8),
    NO_FAMILY(9),
    NO_FAMILY(11),
    NO_FAMILY(12),
    NO_FAMILY(13),
    NO_FAMILY(14),
    NO_FAMILY(15),
    ROW1(socket, "AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP and all later ones",
         SCMP_CMP(0, SCMP_CMP_GT, AF_NETLINK, 0)),
    NO_TYPES(AF_INET),
    NO_TYPES(AF_INET6),
    ROW2(socket, "netlink other than NETLINK_ROUTE: netfilter, audit, uevents", EQUAL(0, AF_NETLINK),
         SCMP_CMP(2, SCMP_CMP_NE, 0, 0)),
    ROW1(socketpair, "pairs are a matter of Unix sockets", SCMP_CMP(0, SCMP_CMP_NE, AF_UNIX, 0)),
    ROW1(clone, "a new user namespace would give all capabilities inside it",
         BITS(0, CLONE_NEWUSER, CLONE_NEWUSER)),
    ROW1(unshare, "as clone", BITS(0, CLONE_NEWUSER, CLONE_NEWUSER)),
    ROW1(ioctl, "TIOCSTI types into the caller's terminal", LOW32(1, TIOCSTI)),
    ROW1(ioctl, "TIOCLINUX pastes into the caller's console", LOW32(1, TIOCLINUX)),
    ROW1(ioctl, "TIOCSETD loads line disciplines into the kernel and leaves the caller's terminal with one",
         LOW32(1, TIOCSETD)),
    ROW1(prlimit64, WHY_PID1, LOW32(0, 1)),
    ROW1(sched_setparam, WHY_PID1, LOW32(0, 1)),
    ROW1(sched_setscheduler, WHY_PID1, LOW32(0, 1)),
    ROW1(sched_setaffinity, WHY_PID1, LOW32(0, 1)),
    ROW1(sched_setattr, WHY_PID1, LOW32(0, 1)),
    ROW2(setpriority, WHY_PID1, LOW32(0, PRIO_PROCESS), LOW32(1, 1)),
    ROW2(setpriority, WHY_PID1, LOW32(0, PRIO_PGRP), LOW32(1, 1)),
    ROW1(setpriority, "a uid's processes: PID 1 may be one", LOW32(0, PRIO_USER)),
    ROW2(ioprio_set, WHY_PID1, LOW32(0, IOPRIO_WHO_PROCESS_), LOW32(1, 1)),
    ROW2(ioprio_set, WHY_PID1, LOW32(0, IOPRIO_WHO_PGRP_), LOW32(1, 1)),
    ROW1(ioprio_set, "a uid's processes: PID 1 may be one", LOW32(0, IOPRIO_WHO_USER_)),
};

static const struct filter_group core_groups[] = {
    {"its operations pass by every filter", SCMP_ACT_NOTIFY,
     FILTER_CALLS(SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register))},
    {"programs in the kernel", SCMP_ACT_NOTIFY, FILTER_CALLS(SCMP_SYS(bpf))},
    {"stops the kernel in the middle of a copy: an exploit's tool", SCMP_ACT_NOTIFY,
     FILTER_CALLS(SCMP_SYS(userfaultfd))},
    {"key rings are not namespaced by uid", SCMP_ACT_NOTIFY,
     FILTER_CALLS(SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key))},
    {"sees other processes and the kernel", SCMP_ACT_NOTIFY, FILTER_CALLS(SCMP_SYS(perf_event_open))},
    {"other namespaces are not its own", SCMP_ACT_NOTIFY, FILTER_CALLS(SCMP_SYS(setns))},
    {"its flags are behind a pointer; a libc falls back to clone", SCMP_ACT_ERRNO(ENOSYS),
     FILTER_CALLS(SCMP_SYS(clone3))},
};

const struct filter_table core_filter = {SCMP_ACT_ALLOW, core_groups, ARRAY_LEN(core_groups), core_rows,
                                         ARRAY_LEN(core_rows)};

int core_filter_errno(int call, const uint64_t args[6])
{
    int family = (int)args[0];

    if (call == SCMP_SYS(socketpair))
        return EAFNOSUPPORT;
    if (call != SCMP_SYS(socket))
        return EPERM;
    /* A raw socket is a matter of rights; a family or netlink protocol that is not there at all makes
     * libraries go on without it. */
    return family == AF_INET || family == AF_INET6 ? EPERM : EAFNOSUPPORT;
}

const char *core_filter_family(int family)
{
#define FAMILY(f) [f] = #f
    static const char *const names[] = {
        FAMILY(AF_UNSPEC),  FAMILY(AF_UNIX),      FAMILY(AF_INET),  FAMILY(AF_AX25),   FAMILY(AF_IPX),
        FAMILY(AF_NETROM),  FAMILY(AF_X25),       FAMILY(AF_INET6), FAMILY(AF_KEY),    FAMILY(AF_NETLINK),
        FAMILY(AF_PACKET),  FAMILY(AF_RDS),       FAMILY(AF_PPPOX), FAMILY(AF_LLC),    FAMILY(AF_CAN),
        FAMILY(AF_TIPC),    FAMILY(AF_BLUETOOTH), FAMILY(AF_RXRPC), FAMILY(AF_PHONET), FAMILY(AF_IEEE802154),
        FAMILY(AF_CAIF),    FAMILY(AF_ALG),       FAMILY(AF_NFC),   FAMILY(AF_VSOCK),  FAMILY(AF_KCM),
        FAMILY(AF_QIPCRTR), FAMILY(AF_SMC),       FAMILY(AF_XDP),
    };
#undef FAMILY
    return family >= 0 && (size_t)family < ARRAY_LEN(names) ? names[family] : NULL;
}
