// SPDX-License-Identifier: BSD-2-Clause
/* apps/pastectl/counters.c: tables that follow the header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../../apps/pastectl/counters.h"

static void tables(void **state)
{
	size_t i;

	(void)state;
	assert_int_equal(nr_ring_counters * 8, sizeof(struct pst_ring_counters));
	assert_int_equal(nr_port_counters * 8, sizeof(struct pst_port_counters));
	for (i = 0; i < nr_ring_counters; i++) {
		assert_int_equal(ring_counters[i].offset, i * 8);
		assert_true(strlen(ring_counters[i].name) <= 16);
		assert_true(ring_counters[i].meaning[0]);
	}
	assert_string_equal(ring_counters[0].name, "rx_syncs");
	assert_string_equal(port_counters[0].name, "buf_total");
}

static void add(void **state)
{
	struct pst_ring_counters sum = { .rx_slots = 1, .rx_batch_max = 9 };
	struct pst_ring_counters ring = { .rx_slots = 2, .rx_batch_max = 4,
					  .tx_batch_max = 3, .stalls = 5 };

	(void)state;
	counters_add(&sum, &ring);
	assert_int_equal(sum.rx_slots, 3);
	assert_int_equal(sum.rx_batch_max, 9);
	assert_int_equal(sum.tx_batch_max, 3);
	assert_int_equal(sum.stalls, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables), cmocka_unit_test(add),
	};

	return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
