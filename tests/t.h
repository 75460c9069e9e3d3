/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * t.h: the framework of the test programs, all of it.
 *
 * A test is a program.  Exit status 0: passed; 1: a check failed, and a line
 * on stderr says where and with which values; 77: cannot run here, and the last
 * line says why.
 *
 *	int main(void)
 *	{
 *		t_eq(nm_ring_space(tx), 15);	both values are printed if they differ
 *		t_true(ring->head == ring->cur);
 *		t_ok(ioctl(fd, NIOCTXSYNC));	any result but -1, else errno
 *		t_fails(EBUSY, ioctl(...));	-1 with that errno
 *		return t_end();
 *	}
 *
 * A failed check does not end the program: what follows is often telling.
 * t_must() is for what the rest cannot do without.  t_note() says what the
 * program is about, and is shown in front of the first failure after it.
 */
#ifndef T_H
#define T_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int t_failures;
static char t_noted[256];

__attribute__((format(printf, 1, 2), unused))
static void t_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t_noted, sizeof(t_noted), fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 3, 4), unused))
static void t_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	if (t_noted[0])
		fprintf(stderr, "%s:\n", t_noted);
	t_noted[0] = '\0';
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (++t_failures == 50) {
		fprintf(stderr, "too many failures\n");
		exit(1);
	}
}

#define T_FAIL(...)	t_fail(__FILE__, __LINE__, __VA_ARGS__)

#define t_true(expr) ((expr) ? 1 : (T_FAIL("not true: %s", #expr), 0))

#define t_eq(a, b) ({ \
	long long a_ = (long long)(a), b_ = (long long)(b); \
	if (a_ != b_) \
		T_FAIL("%s is %lld, expected %s = %lld", #a, a_, #b, b_); \
	a_ == b_; })

/* a <= b */
#define t_le(a, b) ({ \
	long long a_ = (long long)(a), b_ = (long long)(b); \
	if (a_ > b_) \
		T_FAIL("%s is %lld, expected at most %s = %lld", #a, a_, #b, b_); \
	a_ <= b_; })

#define t_ok(call) ({ \
	__auto_type r_ = (call); \
	if (r_ == (__typeof__(r_))-1) \
		T_FAIL("%s: %s", #call, strerror(errno)); \
	r_; })

#define t_fails(err, call) ({ \
	long long r_ = (errno = 0, (long long)(call)); \
	if (r_ != -1 || errno != (err)) \
		T_FAIL("%s: returned %lld, %s; expected -1, %s", #call, r_, \
		       strerrorname_np(errno), strerrorname_np(err)); \
	r_ == -1 && errno == (err); })

#define t_must(expr) do { \
	if (!(expr)) { \
		T_FAIL("cannot go on: %s (%s)", #expr, strerror(errno)); \
		exit(1); \
	} } while (0)

#define t_skip(...)	do { printf(__VA_ARGS__); putchar('\n'); exit(t_failures ? 1 : 77); } while (0)

/*
 * The kernel log will have a complaint that matches @pattern (Python's regular expressions);
 * without this it fails the test, with it its absence does.
 */
__attribute__((unused))
static void t_announce(const char *pattern)
{
	printf("announced: %s\n", pattern);
	fflush(stdout);
}

/* By how much a wait is longer than on an ordinary kernel: the checked one is slow. */
__attribute__((unused))
static unsigned int t_slower(void)
{
	static unsigned int factor;

	if (!factor)
		factor = access("/sys/kernel/debug/kmemleak", F_OK) ? 1 : 5;
	return factor;
}

__attribute__((unused))
static int t_end(void)
{
	return t_failures ? 1 : 0;
}

#endif /* T_H */
