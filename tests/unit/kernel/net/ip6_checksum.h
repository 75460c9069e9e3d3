/* SPDX-License-Identifier: BSD-2-Clause */
/* The Internet checksum (RFC 1071) of the three things the module sums, by the book. */
#ifndef _MOCK_IP6_CHECKSUM_H_
#define _MOCK_IP6_CHECKSUM_H_

#include <linux/ipv6.h>
#include <linux/types.h>

static inline __wsum csum_partial(const void *data, int len, __wsum sum)
{
	const u8 *p = data;
	u64 s = sum;
	int i;

	for (i = 0; i < len; i++)
		s += i & 1 ? p[i] << 8 : p[i];	/* as the little endian machine the tests run on */
	while (s >> 32)
		s = (s & 0xffffffff) + (s >> 32);
	return s;
}

static inline __sum16 csum_fold(__wsum sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static inline __sum16 csum_tcpudp_magic(__be32 saddr, __be32 daddr, u32 len, u8 proto,
					__wsum sum)
{
	u8 pseudo[12] = { [9] = proto, len >> 8, len };

	memcpy(pseudo, &saddr, 4);
	memcpy(pseudo + 4, &daddr, 4);
	return csum_fold(csum_partial(pseudo, sizeof(pseudo), sum));
}

static inline __sum16 csum_ipv6_magic(const struct in6_addr *saddr, const struct in6_addr *daddr,
				      u32 len, u8 proto, __wsum sum)
{
	struct { struct in6_addr saddr, daddr; __be32 len; u8 zero[3], next; } pseudo = {
		*saddr, *daddr, htonl(len), {}, proto
	};

	return csum_fold(csum_partial(&pseudo, sizeof(pseudo), sum));
}

#endif
