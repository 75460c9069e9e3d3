/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A crash recorder: the verbs of paste_pm.h for tests, linked in place of
 * lib/pm.c.  It remembers the stores to a range of memory and what was flushed
 * and fenced, and makes the memory images that a crash could leave.
 *
 *	r = recorder_start(mem, len);		what is in mem now is durable
 *	recorder_mark(r, 7, hook, ctx);		call hook before each fence takes
 *						effect and after each 7th store
 *	... code under test ...
 *	recorder_images(r, 200, seed, check, ctx);	also from within a hook
 *	recorder_stop(r);
 *
 * A check may start another recorder on its image, to crash during recovery.
 *
 * Recording is for one thread.  Everything here ends the program with a message
 * when it is misused: these are errors of a test.
 */
#ifndef _TESTS_CRASH_RECORDER_H_
#define _TESTS_CRASH_RECORDER_H_

#include <stddef.h>
#include <stdint.h>

struct recorder;

/*
 * Record stores to [@base, @base + @len), both multiples of 64, until
 * recorder_stop().  A recorder started while another one is active, which is so
 * in a check or hook only, takes over until it is stopped.
 */
struct recorder *recorder_start(void *base, size_t len);
void recorder_stop(struct recorder *r);

/*
 * Call @hook before every fence takes effect and, unless @every is 0, after each
 * @every-th store verb.  In the hook the recorder is suspended: verbs it calls
 * store and do no more.  A hook may leave by longjmp(), which is what the death of
 * a process looks like: memory stays as it is, flushed or not.  Then
 * recorder_resume() makes @r active again.
 */
typedef void recorder_hook_fn(struct recorder *r, void *ctx);
void recorder_mark(struct recorder *r, unsigned int every,
		   recorder_hook_fn *hook, void *ctx);
void recorder_resume(struct recorder *r);

/*
 * Call @check with images that a crash at this moment could leave: each line
 * holds, independently of the others, any prefix of its stores since the last
 * that is known durable.  All of them when there are at most @bound; otherwise
 * @bound of them: none and all of the pending stores, then single lines lost and
 * single lines kept, then, by @seed, any.
 *
 * @check: its image is page aligned, may be written to and is valid until it
 *         returns; a return other than 0 ends the enumeration
 *
 * Returns what the last @check returned, or 0.  Ends the program when memory has
 * changed by other means than the verbs.
 */
typedef int recorder_check_fn(void *image, size_t len, void *ctx);
int recorder_images(struct recorder *r, unsigned int bound, uint64_t seed,
		    recorder_check_fn *check, void *ctx);

/* Images made since the program began, by all recorders. */
unsigned long recorder_image_count(void);

/* What a site does, and what of it is suppressed. */
#define RECORDER_FLUSH	1
#define RECORDER_FENCE	2
#define RECORDER_CALL	4	/* everything, until the call returns */

/*
 * A call of paste_pm_flush, _fence, _persist (both) or _copy_nt (a flush), or what a test says is a
 * site.
 */
struct recorder_site {
	const void *address;	/* the return address; see addr2line(1) */
	unsigned int what;	/* RECORDER_* */
};

/*
 * The sites that have been called while a recorder was active, in the order of
 * their first call.  Stores up to @n of them and returns how many there are.
 */
size_t recorder_sites(struct recorder_site *sites, size_t n);

/*
 * From now on the site at @address does not flush or fence, as @what says.  One
 * site at a time; NULL and 0: none.
 */
void recorder_suppress(const void *address, unsigned int what);

/*
 * A call begins, and ends, whose site is @address: when it is suppressed, all flushes and fences of it
 * are.  Calls may be nested.
 */
void recorder_call(const void *address);
void recorder_return(const void *address);

#endif /* _TESTS_CRASH_RECORDER_H_ */
