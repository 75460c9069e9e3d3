// SPDX-License-Identifier: BSD-2-Clause
/*
 * Counter tables, made from the lists that define the structs.
 */
#include <string.h>

#include "counters.h"

#define RING(name, meaning) \
	{ #name, meaning, offsetof(struct pst_ring_counters, name) },
#define PORT(name, meaning) \
	{ #name, meaning, offsetof(struct pst_port_counters, name) },

const struct counter ring_counters[] = { PST_RING_COUNTERS(RING) };
const struct counter port_counters[] = { PST_PORT_COUNTERS(PORT) };
const size_t nr_ring_counters = sizeof(ring_counters) / sizeof(ring_counters[0]);
const size_t nr_port_counters = sizeof(port_counters) / sizeof(port_counters[0]);

int counter_is_max(const struct counter *c)
{
	size_t len = strlen(c->name);

	return len > 4 && !strcmp(c->name + len - 4, "_max");
}

void counters_add(struct pst_ring_counters *sum,
		  const struct pst_ring_counters *ring)
{
	size_t i;

	for (i = 0; i < nr_ring_counters; i++) {
		const struct counter *c = &ring_counters[i];
		uint64_t *to = (uint64_t *)(void *)((char *)sum + c->offset);
		uint64_t v = counter_value(c, ring);

		if (!counter_is_max(c))
			*to += v;
		else if (v > *to)
			*to = v;
	}
}
