// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/pm.c: what is stored, by each way to flush; lib/crc32c.c: known answers.
 * What is durable when is for tests/crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../../lib/pm.c"
#include "../../lib/crc32c.h"

#define SIZE 200

static _Alignas(64) unsigned char to[SIZE], want[SIZE], from[SIZE];

static void begin(void)
{
	unsigned int i;

	for (i = 0; i < SIZE; i++)
		from[i] = (unsigned char)(i + 1);
	memset(to, 0xee, SIZE);
	memset(want, 0xee, SIZE);
}

/* Every beginning and length around words and lines: exactly those bytes. */
static void every_alignment(void (*verb)(size_t at, size_t src, size_t len))
{
	size_t at, src, len;

	for (at = 0; at < 10; at++) {
		for (src = 0; src < 8; src += 3) {
			for (len = 0; len < 140; len++) {
				begin();
				verb(at, src, len);
				assert_memory_equal(to, want, SIZE);
			}
		}
	}
}

static void do_write(size_t at, size_t src, size_t len)
{
	memcpy(want + at, from + src, len);
	paste_pm_write(to + at, from + src, len);
}

static void do_copy_nt(size_t at, size_t src, size_t len)
{
	memcpy(want + at, from + src, len);
	paste_pm_copy_nt(to + at, from + src, len);
	paste_pm_fence();
}

static void do_zero(size_t at, size_t src, size_t len)
{
	(void)src;
	memset(want + at, 0, len);
	paste_pm_zero(to + at, len);
}

static void stores(void **state)
{
	uint64_t word = 0;

	(void)state;
	every_alignment(do_write);
	every_alignment(do_copy_nt);
	every_alignment(do_zero);
	paste_pm_store64(&word, 0x0123456789abcdef);
	assert_true(word == 0x0123456789abcdef);
}

static void flushes_change_nothing(void)
{
	begin();
	memcpy(to, from, SIZE);
	paste_pm_flush(to + 3, 0);
	paste_pm_flush(to + 63, 2);
	paste_pm_persist(to, SIZE);
	paste_pm_fence();
	assert_memory_equal(to, from, SIZE);
}

static unsigned int flushed;

static void count(const char *line, const char *end)
{
	assert_int_equal((uintptr_t)line % PASTE_PM_LINE, 0);
	flushed += (unsigned int)((end - line + PASTE_PM_LINE - 1) / PASTE_PM_LINE);
}

/* The lines a range touches, each once. */
static void lines(void **state)
{
	static const struct method counting = { "counting", count };
	static const struct {
		size_t at, len, lines;
	} range[] = {
		{ 0, 0, 0 }, { 5, 0, 0 }, { 0, 1, 1 }, { 63, 1, 1 }, { 63, 2, 2 },
		{ 0, 64, 1 }, { 0, 65, 2 }, { 1, 64, 2 }, { 64, 128, 2 }, { 10, 180, 3 },
	};
	unsigned int i;

	(void)state;
	chosen = &counting;
	for (i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
		flushed = 0;
		paste_pm_flush(to + range[i].at, range[i].len);
		assert_int_equal(flushed, range[i].lines);
	}
	flushed = 0;
	paste_pm_copy_nt(to, from, 64);
	assert_int_equal(flushed, 0);
	paste_pm_copy_nt(to + 1, from, 64);
	assert_int_equal(flushed, 2);
	chosen = NULL;
}

static void methods(void **state)
{
	(void)state;
	assert_string_equal(paste_pm_method(), best_method()->name);
	flushes_change_nothing();
	paste_pm_set_eadr(true);
	assert_string_equal(paste_pm_method(), "eadr");
	flushes_change_nothing();
	paste_pm_set_eadr(false);
	assert_string_equal(paste_pm_method(), best_method()->name);
}

#if defined(__x86_64__)
static void instructions(void **state)
{
	const struct method all[] = {
		{ "clflush", flush_clflush },
		{ "clflushopt", flush_clflushopt },
		{ "clwb", flush_clwb },
	};
	unsigned int eax, ebx = 0, ecx, edx;

	(void)state;
	__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	chosen = &all[0];
	flushes_change_nothing();
	if (ebx & bit_CLFLUSHOPT) {
		chosen = &all[1];
		flushes_change_nothing();
	}
	if (ebx & bit_CLWB) {
		chosen = &all[2];
		flushes_change_nothing();
	}
	chosen = NULL;
}
#endif

static void latency(void **state)
{
	uint64_t begin_ns = now_ns();

	(void)state;
	paste_pm_set_latency(2000000);
	paste_pm_fence();
	assert_true(now_ns() - begin_ns >= 2000000);
	paste_pm_set_latency(0);
	paste_pm_fence();
}

static void crc32c(void **state)
{
	static const char zeros[32];

	(void)state;
	assert_int_equal(nmi_crc32c(0, "", 0), 0);
	assert_int_equal(nmi_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(nmi_crc32c(0, zeros, 32), 0x8a9136aa);	/* RFC 3720, B.4 */
	assert_int_equal(nmi_crc32c(nmi_crc32c(0, "12345", 5), "6789", 4), 0xe3069283);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stores),
		cmocka_unit_test(lines),
		cmocka_unit_test(methods),
#if defined(__x86_64__)
		cmocka_unit_test(instructions),
#endif
		cmocka_unit_test(latency),
		cmocka_unit_test(crc32c),
	};

	return cmocka_run_group_tests_name("pm", tests, NULL, NULL);
}
