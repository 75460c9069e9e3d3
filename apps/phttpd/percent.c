// SPDX-License-Identifier: BSD-2-Clause
/* percent.c - see percent.h */
#include <errno.h>

#include "percent.h"

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ssize_t percent_decode(const char *text, size_t len, char *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '%') {
			if (len - i < 3 || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0)
				return -EINVAL;
			c = (char)(digit(text[i + 1]) << 4 | digit(text[i + 2]));
			i += 2;
		}
		if (n == max)
			return -ENAMETOOLONG;
		out[n++] = c;
	}
	return (ssize_t)n;
}

static int is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~' || c == '/';
}

size_t percent_encoded(const char *bytes, size_t len)
{
	size_t n = len;

	for (size_t i = 0; i < len; i++)
		n += is_plain(bytes[i]) ? 0 : 2;
	return n;
}

char *percent_encode(const char *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		unsigned char c = bytes[i];

		if (is_plain(bytes[i])) {
			*out++ = bytes[i];
		} else {
			*out++ = '%';
			*out++ = digits[c >> 4];
			*out++ = digits[c & 15];
		}
	}
	return out;
}
