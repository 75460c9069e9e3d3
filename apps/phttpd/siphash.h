/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * siphash.h - SipHash-2-4 (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012)
 *
 * A hash that who does not know the secret cannot find collisions of.
 */
#ifndef PHTTPD_SIPHASH_H
#define PHTTPD_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint8_t secret[16], const void *data, size_t len);

#endif /* PHTTPD_SIPHASH_H */
