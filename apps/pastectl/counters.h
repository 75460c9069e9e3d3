/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The counters of net/netmap_paste.h as tables, so that a tool can walk them.
 */
#ifndef _PASTECTL_COUNTERS_H_
#define _PASTECTL_COUNTERS_H_

#include <stddef.h>
#include <stdint.h>
#include <net/netmap_paste.h>

struct counter {
	const char *name;
	const char *meaning;
	size_t offset;		/* in pst_ring_counters or pst_port_counters */
};

extern const struct counter ring_counters[], port_counters[];
extern const size_t nr_ring_counters, nr_port_counters;

/* Value of a counter in the struct it belongs to. */
static inline uint64_t counter_value(const struct counter *c, const void *of)
{
	return *(const uint64_t *)(const void *)((const char *)of + c->offset);
}

/* True for a high-water mark (NAME_max), which neither adds nor subtracts. */
int counter_is_max(const struct counter *c);

/* Add the counters of one ring to @sum; of high-water marks keep the highest. */
void counters_add(struct pst_ring_counters *sum,
		  const struct pst_ring_counters *ring);

#endif /* _PASTECTL_COUNTERS_H_ */
