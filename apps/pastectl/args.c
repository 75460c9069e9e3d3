// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"

int read_number(const char *s, unsigned long min, unsigned long max, unsigned long *n)
{
	char *end;

	errno = 0;
	*n = strtoul(s, &end, 10);
	return *s < '0' || *s > '9' || *end || errno || *n < min || *n > max ? -1 : 0;
}

int read_size(const char *s, uint64_t *n)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	errno = 0;
	*n = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || errno)
		return -1;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unsigned int)(unit - units + 1);

		if (*n > UINT64_MAX >> shift)
			return -1;
		*n <<= shift;
		end++;
	}
	return *end ? -1 : 0;
}
