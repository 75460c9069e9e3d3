/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef _MOCK_IP_H_
#define _MOCK_IP_H_

#include_next <linux/ip.h>
#include <linux/types.h>

static inline bool ip_is_fragment(const struct iphdr *ip)
{
	return ip->frag_off & htons(0x3fff);	/* more fragments, or an offset */
}

#endif
