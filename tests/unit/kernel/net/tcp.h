/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP's states, and what of its socket is looked at. */
#ifndef _MOCK_TCP_H_
#define _MOCK_TCP_H_

#include <net/sock.h>

enum { TCP_ESTABLISHED = 1, TCP_SYN_RECV = 3, TCP_CLOSE = 7, TCP_CLOSE_WAIT };
#define TCPF_ESTABLISHED	(1 << TCP_ESTABLISHED)
#define TCPF_SYN_RECV		(1 << TCP_SYN_RECV)
#define TCPF_CLOSE_WAIT		(1 << TCP_CLOSE_WAIT)

#define tcp_sk(sk)		(sk)
#define tcp_fin_time(sk)	(60 * HZ)

#endif
