/* SPDX-License-Identifier: BSD-2-Clause */
/* Bitmaps. */
#ifndef _MOCK_BITMAP_H_
#define _MOCK_BITMAP_H_

#include <linux/mm.h>

static inline unsigned long *bitmap_zalloc(u32 n, int gfp)
{
	return kvcalloc((n + 63) / 64, 8, gfp);
}

#define bitmap_free	kvfree

static inline u32 find_first_zero_bit(const unsigned long *map, u32 n)
{
	u32 i;

	for (i = 0; i < n && (map[i / 64] >> (i % 64) & 1); i++)
		;
	return i;
}

#endif
