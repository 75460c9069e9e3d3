/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mutation runs: take away one flush or fence at a time and see whether the
 * checks notice.  One that is not noticed is either superfluous or not tested.
 */
#ifndef _TESTS_CRASH_MUTATION_H_
#define _TESTS_CRASH_MUTATION_H_

#include <stdbool.h>
#include <stdio.h>

#include "recorder.h"

/*
 * For each site seen so far, of those @wanted names unless it is NULL, call @run with
 * seeds 1 to @seeds until it returns a complaint.  Returns the number of mutants, and in @survivors those it never
 * complained about, which are printed.
 */
static unsigned int mutation_run(const char *(*run)(uint64_t seed), unsigned int seeds,
				 bool (*wanted)(const void *address),
				 unsigned int *survivors)
{
	static const unsigned int parts[] = { RECORDER_FLUSH, RECORDER_FENCE };
	struct recorder_site sites[256];
	size_t i, p, n = recorder_sites(sites, 256);
	unsigned int mutants = 0;

	*survivors = 0;
	for (i = 0; i < n; i++) {
		for (p = 0; p < 2; p++) {
			const char *complaint = NULL;
			uint64_t seed;

			if (!(sites[i].what & parts[p]) ||
			    (wanted && !wanted(sites[i].address)))
				continue;
			mutants++;
			recorder_suppress(sites[i].address, parts[p]);
			for (seed = 1; seed <= seeds && !complaint; seed++)
				complaint = run(seed);
			recorder_suppress(NULL, 0);
			if (!complaint)
				++*survivors;
			printf("# without the %s before %p: %s\n",
			       parts[p] == RECORDER_FLUSH ? "flush" : "fence",
			       sites[i].address, complaint ? complaint : "UNNOTICED");
		}
	}
	return mutants;
}

#endif /* _TESTS_CRASH_MUTATION_H_ */
