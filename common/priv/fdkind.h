/* SPDX-License-Identifier: MIT */
/* What kind of object an fd is: a received fd is checked by one of these before its first use. All answer 0,
 * -EBADMSG when it is something else, or -errno. None needs /proc. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* Domain, type and protocol (AF_*, SOCK_*, IPPROTO_*; socket(7) SO_DOMAIN, SO_TYPE, SO_PROTOCOL) and whether
 * it is listening (SO_ACCEPTCONN). */
int fdkind_socket(int fd, int domain, int type, int protocol, bool listening) MUST_CHECK;

/* A socket with a peer: getpeername() answers. */
int fdkind_connected(int fd) MUST_CHECK;

/* A namespace of this type, e.g. CLONE_NEWNET (ioctl_ns(2)). The role needs ioctl NS_GET_NSTYPE. */
int fdkind_namespace(int fd, int nstype) MUST_CHECK;

/* A memfd with all four seals set: its bytes and size cannot change any more (memfd_create(2)). */
int fdkind_sealed_memfd(int fd) MUST_CHECK;

int fdkind_directory(int fd) MUST_CHECK;

/* A pidfd, of a process that may already have ended. The role needs pidfd_send_signal; no signal is sent. */
int fdkind_pidfd(int fd) MUST_CHECK;
