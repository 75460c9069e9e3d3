/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC-32C (Castagnoli, as in iSCSI): polynomial 0x1edc6f41 reflected, register
 * set to ones at the start and inverted at the end.  "123456789" has 0xe3069283.
 */
#ifndef _LIB_CRC32C_H_
#define _LIB_CRC32C_H_

#include <stddef.h>
#include <stdint.h>

/* CRC of @len bytes that follow those with CRC @crc; 0 to begin with. */
uint32_t nmi_crc32c(uint32_t crc, const void *p, size_t len);

#endif /* _LIB_CRC32C_H_ */
