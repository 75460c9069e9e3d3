/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations of several CPUs, step by step, in every order.
 *
 * Each operation is a fiber that may be stopped before every access to shared memory
 * (mock.step).  interleave() runs them under all schedules that stop a fiber against
 * its will at most @preemptions times: each one once, and always the same ones.
 * Memory is sequentially consistent here; barriers are not tested.
 */
#ifndef _INTERLEAVE_H_
#define _INTERLEAVE_H_

#include <stdbool.h>

#define IL_MAX	4

struct interleave {
	void (*setup)(void);		/* before each run */
	void (*op[IL_MAX])(void);	/* up to the first NULL */
	void (*end)(void);		/* after it, alone */
};

/* How many schedules there were.  Fails the test at the first broken il_check(). */
unsigned long interleave(const struct interleave *il, unsigned int preemptions);

/* As assert_true(), inside setup, op and end. */
#define il_check(c)	((c) ? (void)0 : il_broken(__FILE__, __LINE__, #c))
void il_broken(const char *file, int line, const char *what);

#endif
