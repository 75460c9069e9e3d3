/* SPDX-License-Identifier: BSD-2-Clause */
/* Words on the command line. */
#ifndef PASTECTL_ARGS_H
#define PASTECTL_ARGS_H

#include <stdint.h>

#define BAD_OPTION	"unknown option, or one without its value"

/* A decimal number from @min to @max; 0, or -1. */
int read_number(const char *s, unsigned long min, unsigned long max, unsigned long *n);

/* A number of bytes, perhaps with K, M, G or T; 0, or -1. */
int read_size(const char *s, uint64_t *n);

#endif /* PASTECTL_ARGS_H */
