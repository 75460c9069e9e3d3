// SPDX-License-Identifier: BSD-2-Clause
/*
 * CRC-32C: by the CPU's instruction where it has one (SSE 4.2), else four bits
 * at a time.
 */
#include <string.h>

#include "crc32c.h"

static uint32_t crc_nibbles(uint32_t crc, const unsigned char *p, size_t len)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	while (len--) {
		crc ^= *p++;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static inline uint64_t crc_word(uint64_t crc, const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return __builtin_ia32_crc32di(crc, word);
}

/* A line at a time while there are lines: the loop costs more than the instruction. */
__attribute__((target("sse4.2")))
static uint32_t crc_instruction(uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t c = crc;

	for (; len >= 64; len -= 64, p += 64) {
#pragma GCC unroll 8
		for (size_t i = 0; i < 64; i += 8)
			c = crc_word(c, p + i);
	}
	for (; len >= 8; len -= 8, p += 8)
		c = crc_word(c, p);
	crc = (uint32_t)c;
	while (len--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}
#endif

uint32_t nmi_crc32c(uint32_t crc, const void *p, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_instruction(~crc, p, len);
#endif
	return ~crc_nibbles(~crc, p, len);
}
