/* SPDX-License-Identifier: MIT */
/* Datagrams in batches. What was received lies in memory that all cells share and that is good until the next
 * call of a function of this header: one thread, one batch at a time. */
#pragma once

#include "proxyd/udp/udp_deny.h"

#define UDP_BATCH 32u

/* What has come on a cell's transparent socket; *ret: n datagrams. *ret_broken: how many more came of which
 * nobody can say where they went. n + *ret_broken == UDP_BATCH: there may be more. *overflow: how many the
 * socket's queue has lost since it was made, as far as it is known (SO_RXQ_OVFL). */
size_t udp_io_recv_cell(int sock, const struct udp_datagram **ret, size_t *ret_broken, uint32_t *overflow);

/* What has come on a connected socket: the number of payloads in *ret, or -errno (what the network said about
 * an earlier one). */
ssize_t udp_io_recv(int fd, const struct str **ret);

/* Into the cell, in the name of from. Those that were sent; the rest found no room or is too long for the
 * family. */
size_t udp_io_send_cell(int raw, const struct endpoint_addr *from, const struct endpoint_addr *to,
                        const struct str *v, size_t n);
