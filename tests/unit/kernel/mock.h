/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * As much of a kernel as the sources of kernel/ need to run in a test, unchanged.
 *
 *   linux/, net/     the headers, one page per concept; most names lead to another page
 *   mock.c           behind them: allocations, pages, the caller's memory, packets
 *   others.c         the sources a test does not link: functions that do nothing
 *   interleave.c     operations against each other, step by step
 *   ring_mock.c      a port with one ring, for the tests of kernel/ring.c
 *
 * There is one thread.  Every access to shared memory calls mock.step, where a test
 * may do what another CPU would do at that moment.
 */
#ifndef _KERNEL_MOCK_H_
#define _KERNEL_MOCK_H_

#include <stdbool.h>
#include <stddef.h>

struct mock {
	/* What to do.  Counts: the n-th from now on, 0 = never. */
	unsigned int fail_alloc;	/* of memory, pages and numbers */
	unsigned int fail_copy;		/* from or to the caller's memory */
	unsigned int signal_at;		/* look for a fatal signal finds one */
	void (*step)(const char *what);	/* before an access */
	void (*relax)(void);		/* waiting for somebody else */
	void (*was_read)(void *p, size_t n);	/* after READ_ONCE() */
	const char *netdev;		/* the one device there is */
	long mem_available;		/* pages; 0 = enough */
	unsigned long mem_total;	/* pages */

	/* What happened. */
	unsigned int allocs, copies;	/* successful or not */
	int live, pages;		/* allocations, pages not freed */
	int devs;			/* references to netdev */
	bool read_twice;		/* a byte of the caller's memory */
	int warnings;
};

extern struct mock mock;

/* For cmocka.  Everything must have been undone, and nothing have warned. */
int mock_setup(void **state);
int mock_teardown(void **state);

/* Memory of a caller: all other addresses fault.  Forgets earlier ones and what was read. */
void mock_user_reset(void);
void mock_user(const void *p, size_t n);

/* Are the pages allocated from now on @gap frames apart? */
void mock_pfn_gap(unsigned long gap);

/* Behind the headers. */
void *mock_alloc(size_t n, size_t size);
void mock_free(void *p);
bool mock_signal_pending(void);
void mock_warn(const char *file, int line, const char *what);
void mock_lock(bool *locked);
void mock_unlock(bool *locked);

static inline void mock_step(const char *what)
{
	if (mock.step)
		mock.step(what);
}

static inline void mock_relax(void)
{
	if (mock.relax)
		mock.relax();
	else
		mock_warn(__FILE__, __LINE__, "waits for nobody");
}

static inline void mock_was_read(const void *p, size_t n)
{
	if (mock.was_read)
		mock.was_read((void *)p, n);
}

#endif
