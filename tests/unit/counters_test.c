// SPDX-License-Identifier: BSD-2-Clause
/* apps/pastectl/counters.c: tables that follow the header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

/* Is there @before, @name, @after in @text? */
static int has(const char *text, const char *before, const char *name, const char *after)
{
	char what[64];

	snprintf(what, sizeof(what), "%s%s%s", before, name, after);
	return !!strstr(text, what);
}

static void read_page(const char *path, char *text, size_t max)
{
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	if (!f)		/* for the analyzer */
		return;
	n = fread(text, 1, max - 1, f);
	assert_true(n && n < max - 1);
	text[n] = '\0';
	fclose(f);
}

/* Each counter is explained by pastectl(8) and by the operators' page. */
static void pages(void **state)
{
	static char manual[1 << 16], operators[1 << 16];
	size_t i;

	(void)state;
	read_page("../../doc/man/pastectl.8", manual, sizeof(manual));
	read_page("../../doc/operators.md", operators, sizeof(operators));
	for (i = 0; i < nr_ring_counters + nr_port_counters; i++) {
		const char *name = i < nr_ring_counters ? ring_counters[i].name :
				   port_counters[i - nr_ring_counters].name;

		if (!has(manual, ".B ", name, "\n") && !has(manual, ".BR ", name, " "))
			fail_msg("pastectl.8 does not explain %s", name);
		if (!has(operators, "`", name, "`"))
			fail_msg("operators.md does not explain %s", name);
	}
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
		cmocka_unit_test(tables), cmocka_unit_test(pages), cmocka_unit_test(add),
	};

	return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
