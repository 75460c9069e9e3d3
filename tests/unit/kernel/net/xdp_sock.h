/* SPDX-License-Identifier: BSD-2-Clause */
/* AF_XDP's own side. */
#ifndef _MOCK_XDP_SOCK_H_
#define _MOCK_XDP_SOCK_H_

#include <net/sock.h>

struct xdp_umem {
	u32 npgs;
	struct page **pgs;
};

struct xdp_sock {
	struct sock sk;
	struct xdp_umem *umem;
};

#endif
