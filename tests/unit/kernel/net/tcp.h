/* SPDX-License-Identifier: BSD-2-Clause */
/* What of TCP's socket is looked at. */
#ifndef _MOCK_TCP_H_
#define _MOCK_TCP_H_

#include <net/sock.h>

#define tcp_sk(sk)		(sk)
#define tcp_fin_time(sk)	(60 * HZ)

#endif
