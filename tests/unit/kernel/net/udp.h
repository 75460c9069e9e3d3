/* SPDX-License-Identifier: BSD-2-Clause */
/* What compat.h names of UDP, called by nobody here. */
#ifndef _MOCK_UDP_H_
#define _MOCK_UDP_H_

#include <net/sock.h>

#define udp_test_bit(nr, sk)	false
void udp_drops_inc(struct sock *sk);

#endif
