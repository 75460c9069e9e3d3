/* SPDX-License-Identifier: BSD-2-Clause */
/* Bitmaps. */
#ifndef _MOCK_BITMAP_H_
#define _MOCK_BITMAP_H_

#include <linux/mm.h>

#define BITS_TO_LONGS(n)	(((n) + 63) / 64)

static inline u32 find_first_zero_bit(const unsigned long *map, u32 n)
{
	u32 i;

	for (i = 0; i < n && (map[i / 64] >> (i % 64) & 1); i++)
		;
	return i;
}

#endif
