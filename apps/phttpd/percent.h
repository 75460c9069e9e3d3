/* SPDX-License-Identifier: BSD-2-Clause */
/* percent.h - percent-encoding of RFC 3986, for keys in targets and in listings */
#ifndef PHTTPD_PERCENT_H
#define PHTTPD_PERCENT_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Decode @len bytes of @text into @out, which has room for @max bytes. Only %XX is special.
 * Returns the bytes written, -EINVAL for a % without two hexadecimal digits, -ENAMETOOLONG.
 */
ssize_t percent_decode(const char *text, size_t len, char *out, size_t max);

/* Bytes that @len bytes are once they are encoded: up to 3 * @len. */
size_t percent_encoded(const char *bytes, size_t len);

/*
 * Encode @len bytes into @out, which has room for them: all but unreserved characters and
 * '/'. Returns the end.
 */
char *percent_encode(const char *bytes, size_t len, char *out);

#endif /* PHTTPD_PERCENT_H */
