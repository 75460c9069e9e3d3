/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mutation runs: take away one flush or fence at a time and see whether the
 * checks notice.  One that is not noticed is either superfluous or not tested.
 *
 * So is one that the runs never come by.  The code of each file is in a section of
 * its own (see the Makefile), where mutation_unseen() looks for calls of the verbs.
 */
#ifndef _TESTS_CRASH_MUTATION_H_
#define _TESTS_CRASH_MUTATION_H_

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <paste_pm.h>
#include "recorder.h"

/* The code of a file whose flushes and fences a test is about. */
struct mutation_part {
	const char *begin, *end;
};

#define MUTATION_FILE(file)	extern const char __start_code_##file[], __stop_code_##file[]
#define MUTATION_PART(file)	{ __start_code_##file, __stop_code_##file }

static bool mutation_is_in(const struct mutation_part *parts, size_t n, const void *address)
{
	const char *at = address;
	size_t i;

	for (i = 0; i < n; i++)
		if (at >= parts[i].begin && at < parts[i].end)
			return true;
	return false;
}

/* What is called right before @at; 0: nothing. */
static uintptr_t mutation_target(const char *at)
{
	int32_t distance;

	if (at[-5] != (char)0xe8)	/* call rel32 */
		return 0;
	memcpy(&distance, at - sizeof(distance), sizeof(distance));
	return (uintptr_t)at + (uintptr_t)(intptr_t)distance;
}

static bool mutation_is_verb(uintptr_t target)
{
	return target == (uintptr_t)paste_pm_flush || target == (uintptr_t)paste_pm_fence ||
	       target == (uintptr_t)paste_pm_persist || target == (uintptr_t)paste_pm_copy_nt;
}

static bool mutation_is_seen(const void *address)
{
	struct recorder_site sites[256];
	size_t i, n = recorder_sites(sites, 256);

	for (i = 0; i < n; i++)
		if (sites[i].address == address)
			return true;
	return false;
}

/*
 * How many of the calls in @parts[@n] no run so far has come by, which are printed; @calls: how many
 * there are.
 */
static unsigned int mutation_unseen(const struct mutation_part *parts, size_t n,
				    unsigned int *calls)
{
	unsigned int unseen = 0;
	const char *at;
	size_t i;

	*calls = 0;
	for (i = 0; i < n; i++) {
		for (at = parts[i].begin + 5; at < parts[i].end; at++) {
			if (!mutation_is_verb(mutation_target(at)))
				continue;
			++*calls;
			if (mutation_is_seen(at))
				continue;
			unseen++;
			printf("# never executed: the call before %p\n", (const void *)at);
		}
	}
	return unseen;
}

/*
 * For each site seen so far in @parts[@n], and each call that is a site, call @run with seeds 1
 * to @seeds until it returns a complaint.  Returns the number of mutants, and in @survivors those
 * it never complained about, which are printed.
 */
static unsigned int mutation_run(const char *(*run)(uint64_t seed), unsigned int seeds,
				 const struct mutation_part *parts, size_t n,
				 unsigned int *survivors)
{
	static const unsigned int what[] = { RECORDER_FLUSH, RECORDER_FENCE, RECORDER_CALL };
	static const char *const name[] = { "flush", "fence", "commit" };
	struct recorder_site sites[256];
	size_t i, k, nr = recorder_sites(sites, 256);
	unsigned int mutants = 0;

	*survivors = 0;
	for (i = 0; i < nr; i++) {
		for (k = 0; k < 3; k++) {
			const char *complaint = NULL;
			uint64_t seed;

			if (!(sites[i].what & what[k]) ||
			    (what[k] != RECORDER_CALL &&
			     !mutation_is_in(parts, n, sites[i].address)))
				continue;
			mutants++;
			recorder_suppress(sites[i].address, what[k]);
			for (seed = 1; seed <= seeds && !complaint; seed++)
				complaint = run(seed);
			recorder_suppress(NULL, 0);
			if (!complaint)
				++*survivors;
			printf("# without the %s before %p: %s\n", name[k], sites[i].address,
			       complaint ? complaint : "UNNOTICED");
		}
	}
	return mutants;
}

#endif /* _TESTS_CRASH_MUTATION_H_ */
