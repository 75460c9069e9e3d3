// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/pm.c: the instructions that it executes. Everything else about durability is tested with
 * another implementation in its place (tests/crash), and a fence or flush that is missing
 * here changes no byte anywhere else.
 *
 * With the trap flag set, the CPU stops before each instruction. The handler looks at the bytes it
 * changed, decodes the next one, and keeps what the header promises for each byte:
 *
 *	OLD --store--> DIRTY --flush of its line--> COMING --fence--> DURABLE
 *	  '----------store past the cache-------------^
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <ucontext.h>
#include <cmocka.h>

#include "../../lib/pm.c"

#if defined(__x86_64__)
#include <x86intrin.h>

#define LINES	5
#define SIZE	(LINES * PASTE_PM_LINE)
#define TRAP	0x100		/* of the flags */

enum kind { OTHER, CLFLUSH, CLFLUSHOPT, CLWB, SFENCE, MOVNTI, KINDS };
enum state { OLD, DIRTY, COMING, DURABLE };

static _Alignas(PASTE_PM_LINE) unsigned char to[SIZE];
static unsigned char was[SIZE], from[3 + SIZE];

static struct {
	enum kind next;			/* the instruction that comes */
	unsigned int count[KINDS];
	unsigned int flushes[LINES];	/* of each line */
	unsigned int past[SIZE / 8];	/* stores past the cache, by word */
	unsigned char state[SIZE];	/* of each byte */
	size_t end;			/* behind the last store */
	const char *complaint;
} seen;

/* ---------------------------------------------------------------- decoding */

/* The address in memory that an instruction has, from its ModRM byte on. */
static uintptr_t operand(const uint8_t *p, uint8_t rex, const greg_t *regs)
{
	static const int reg[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	};
	unsigned int mod = *p >> 6, base = *p & 7, index;
	bool sib = base == 4;
	uintptr_t at = 0;
	int32_t far;

	p++;
	if (sib) {
		index = (*p >> 3 & 7) | (rex & 2) << 2;
		if (index != 4)
			at = (uintptr_t)regs[reg[index]] << (*p >> 6);
		base = *p++ & 7;
	}
	memcpy(&far, p, sizeof(far));
	if (!mod && base == 5)		/* no register but, without an index, the counter */
		return at + (uintptr_t)(intptr_t)far + (sib ? 0 : (uintptr_t)(p + sizeof(far)));
	at += (uintptr_t)regs[reg[base | (rex & 1) << 3]];
	if (mod == 1)
		at += (uintptr_t)(intptr_t)(int8_t)*p;
	if (mod == 2)
		at += (uintptr_t)(intptr_t)far;
	return at;
}

/* What stands at @p, if it is one of ours; in *at the address it has. */
static enum kind decode(const uint8_t *p, const greg_t *regs, uintptr_t *at)
{
	bool prefix = *p == 0x66, memory;
	uint8_t rex = 0, which;

	p += prefix;
	if ((*p & 0xf0) == 0x40)
		rex = *p++;
	if (p[0] != 0x0f || (p[1] != 0xae && p[1] != 0xc3))
		return OTHER;
	memory = p[2] >> 6 != 3;
	which = p[2] >> 3 & 7;
	if (memory)
		*at = operand(p + 2, rex, regs);
	if (p[1] == 0xc3)
		return memory && rex & 8 && !prefix ? MOVNTI : OTHER;
	if (which == 7 && !memory)
		return prefix ? OTHER : SFENCE;
	if (which == 7)
		return prefix ? CLFLUSHOPT : CLFLUSH;
	return which == 6 && memory && prefix ? CLWB : OTHER;
}

/* --------------------------------------------------------------- observing */

/* What the last instruction has stored: at most a word, in ascending order. */
static void note_store(void)
{
	size_t first = 0, last = SIZE;

	if (!memcmp(to, was, SIZE))
		return;
	while (to[first] == was[first])
		first++;
	while (to[last - 1] == was[last - 1])
		last--;
	if (first / 8 != (last - 1) / 8)
		seen.complaint = "more than a word at once";
	if (last - first != 1 && last - first != 8)
		seen.complaint = "a part of a word at once";
	if (first < seen.end)
		seen.complaint = "not in ascending order";
	seen.end = last;
	memset(seen.state + first, seen.next == MOVNTI ? COMING : DIRTY, last - first);
	memcpy(was + first, to + first, last - first);
}

static void advance(size_t at, size_t len, enum state before, enum state after)
{
	for (; len--; at++) {
		if (seen.state[at] == before)
			seen.state[at] = after;
	}
}

static void note(enum kind kind, uintptr_t at)
{
	uintptr_t ofs = at - (uintptr_t)to;

	seen.count[kind]++;
	if (kind == SFENCE) {
		advance(0, SIZE, COMING, DURABLE);
	} else if (kind != OTHER && ofs >= SIZE) {
		seen.complaint = "something else was flushed or stored to";
	} else if (kind == MOVNTI) {
		if (ofs % 8)
			seen.complaint = "a word past the cache that is not aligned";
		seen.past[ofs / 8]++;
	} else if (kind != OTHER) {
		seen.flushes[ofs / PASTE_PM_LINE]++;
		advance(ofs & -(uintptr_t)PASTE_PM_LINE, PASTE_PM_LINE, DIRTY, COMING);
	}
}

static void trap(int sig, siginfo_t *info, void *context)
{
	const greg_t *regs = ((const ucontext_t *)context)->uc_mcontext.gregs;
	const uint8_t *at;
	uintptr_t memory = 0;

	(void)sig;
	(void)info;
	memcpy(&at, &regs[REG_RIP], sizeof(at));
	note_store();
	seen.next = decode(at, regs, &memory);
	note(seen.next, memory);
}

typedef void verb_fn(size_t at, size_t len);

/* In @seen, what @verb did from the first instruction to the last. */
static void observe(verb_fn *verb, size_t at, size_t len)
{
	verb_fn *volatile opaque = verb;	/* not to be compiled into this */

	memset(&seen, 0, sizeof(seen));
	memset(to, 0xee, SIZE);
	memset(was, 0xee, SIZE);
	__writeeflags(__readeflags() | TRAP);
	opaque(at, len);
	__writeeflags(__readeflags() & ~(unsigned long long)TRAP);
	if (seen.complaint)
		fail_msg("%zu bytes from %zu on: %s", len, at, seen.complaint);
}

static int setup(void **state)
{
	struct sigaction sa = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };

	(void)state;
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (unsigned char)(i % 0xe0 + 1);
	chosen = NULL;
	return sigaction(SIGTRAP, &sa, NULL);
}

static int teardown(void **state)
{
	(void)state;
	chosen = NULL;
	return signal(SIGTRAP, SIG_DFL) == SIG_ERR;
}

/* ------------------------------------------------------------------- verbs */

static void do_nothing(size_t at, size_t len)
{
	(void)at;
	(void)len;
}

static void do_fence(size_t at, size_t len)
{
	(void)at;
	(void)len;
	paste_pm_fence();
}

static void do_flush(size_t at, size_t len)
{
	paste_pm_flush(to + at, len);
}

static void do_persist(size_t at, size_t len)
{
	paste_pm_persist(to + at, len);
}

static void do_write(size_t at, size_t len)
{
	paste_pm_write(to + at, from + 3, len);
}

static void do_zero(size_t at, size_t len)
{
	paste_pm_zero(to + at, len);
}

static void do_store64(size_t at, size_t len)
{
	(void)len;
	paste_pm_store64((uint64_t *)(void *)(to + at), 0x0123456789abcdef);
}

static void do_copy_nt(size_t at, size_t len)
{
	paste_pm_copy_nt(to + at, from + 3, len);
}

static void write_and_persist(size_t at, size_t len)
{
	do_write(at, len);
	do_persist(at, len);
}

static void zero_and_persist(size_t at, size_t len)
{
	do_zero(at, len);
	do_persist(at, len);
}

static void store64_and_persist(size_t at, size_t len)
{
	do_store64(at, len);
	do_persist(at, len);
}

static void copy_nt_and_fence(size_t at, size_t len)
{
	do_copy_nt(at, len);
	do_fence(at, len);
}

/* ------------------------------------------------------------------- tests */

static const struct {
	struct method method;
	enum kind kind;
} methods[] = {
	{ { "clflush", flush_clflush }, CLFLUSH },
	{ { "clflushopt", flush_clflushopt }, CLFLUSHOPT },
	{ { "clwb", flush_clwb }, CLWB },
};

#define METHODS	(sizeof(methods) / sizeof(methods[0]))

/* As the kernel tells it, not as lib/pm.c finds it out. */
static bool cpu_has(const char *name)
{
	static char line[8192], word[32];
	FILE *f = fopen("/proc/cpuinfo", "r");
	bool has = false;

	assert_non_null(f);
	snprintf(word, sizeof(word), " %s ", name);
	while (f && !has && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = ' ';
		has = !strncmp(line, "flags", 5) && strstr(line, word);
	}
	if (f)
		fclose(f);
	return has;
}

/* Around words and lines; a step takes many microseconds in a VM. */
static void every_range(void (*check)(size_t at, size_t len))
{
	static const size_t ats[] = { 0, 1, 4, 7, 56, 57, 63, 64 };
	static const size_t lens[] = { 0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 129 };

	for (size_t i = 0; i < sizeof(ats) / sizeof(ats[0]); i++)
		for (size_t j = 0; j < sizeof(lens) / sizeof(lens[0]); j++)
			check(ats[i], lens[j]);
	check(0, SIZE);
	check(1, SIZE - 2);
}

/* All of them, and nothing around, have come so far. */
static void all_are(enum state state, size_t at, size_t len)
{
	for (size_t i = 0; i < SIZE; i++) {
		if (seen.state[i] != (i - at < len ? state : OLD))
			fail_msg("%zu bytes from %zu on: byte %zu is in state %d", len, at, i,
				 seen.state[i]);
	}
}

static unsigned int flushes(void)
{
	return seen.count[CLFLUSH] + seen.count[CLFLUSHOPT] + seen.count[CLWB];
}

/* Else what follows would prove nothing. */
static void steps(void **state)
{
	(void)state;
	observe(do_nothing, 0, 0);
	assert_in_range(seen.count[OTHER], 2, 100);
	observe(do_write, 0, SIZE);
	assert_true(seen.count[OTHER] > SIZE / 8);
	assert_int_equal(seen.count[SFENCE] + flushes() + seen.count[MOVNTI], 0);
	all_are(DIRTY, 0, SIZE);
}

static void one_fence(size_t at, size_t len)
{
	observe(do_fence, at, len);
	assert_int_equal(seen.count[SFENCE], 1);
	assert_int_equal(flushes() + seen.count[MOVNTI], 0);
}

static void fences(void **state)
{
	(void)state;
	one_fence(0, 0);
	paste_pm_set_latency(1);
	one_fence(0, 0);
	paste_pm_set_latency(0);
	paste_pm_set_eadr(true);
	one_fence(0, 0);
	paste_pm_set_eadr(false);
}

static enum kind expected;	/* the instruction by which lines are flushed */

/* Each line that the range touches once, no other. */
static void touched_once(size_t at, size_t len)
{
	size_t line;

	for (line = 0; line < LINES; line++) {
		bool touched = len && line >= at / PASTE_PM_LINE &&
			       line <= (at + len - 1) / PASTE_PM_LINE;

		if (seen.flushes[line] != touched)
			fail_msg("%zu bytes from %zu on: line %zu is flushed %u times", len, at,
				 line, seen.flushes[line]);
	}
	assert_int_equal(seen.count[expected], flushes());
}

static void flushed(size_t at, size_t len)
{
	observe(do_flush, at, len);
	touched_once(at, len);
	assert_int_equal(seen.count[SFENCE], 0);
}

static void persisted(size_t at, size_t len)
{
	observe(do_persist, at, len);
	touched_once(at, len);
	assert_int_equal(seen.count[SFENCE], 1);
}

/* Each way to flush that this CPU has. */
static void lines(void **state)
{
	unsigned int tried = 0;

	(void)state;
	for (size_t i = 0; i < METHODS; i++) {
		if (!cpu_has(methods[i].method.name)) {
			print_message("this CPU has no %s\n", methods[i].method.name);
			continue;
		}
		chosen = &methods[i].method;
		expected = methods[i].kind;
		every_range(flushed);
		every_range(persisted);
		tried++;
	}
	assert_true(tried);
}

/* The one that does least of those there are, and it is the one it is called by. */
static void choice(void **state)
{
	size_t i = METHODS - 1;

	(void)state;
	while (i && !cpu_has(methods[i].method.name))
		i--;
	assert_string_equal(paste_pm_method(), methods[i].method.name);
	expected = methods[i].kind;
	flushed(10, 180);
	assert_int_equal(seen.count[expected], 3);
}

static void no_flush(size_t at, size_t len)
{
	observe(do_persist, at, len);
	assert_int_equal(flushes(), 0);
	assert_int_equal(seen.count[SFENCE], 1);
}

static void eadr_fences_only(void **state)
{
	(void)state;
	paste_pm_set_eadr(true);
	every_range(no_flush);
	paste_pm_set_eadr(false);
}

static void durable(size_t at, size_t len)
{
	observe(write_and_persist, at, len);
	all_are(DURABLE, at, len);
	observe(zero_and_persist, at, len);
	all_are(DURABLE, at, len);
}

/* Stores are in order and words whole (observe()); flush and fence cover all of them. */
static void stores(void **state)
{
	(void)state;
	every_range(durable);
	for (size_t at = 0; at < 2 * PASTE_PM_LINE; at += 8) {
		observe(do_store64, at, 8);
		all_are(DIRTY, at, 8);
		assert_int_equal(seen.count[SFENCE] + flushes() + seen.count[MOVNTI], 0);
		observe(store64_and_persist, at, 8);
		all_are(DURABLE, at, 8);
	}
}

/* Whole words past the cache, once; the ends flushed, and nothing else, but for a line twice. */
static void copied_past_the_cache(size_t at, size_t len)
{
	size_t first = (at + 7) / 8, end = (at + len) / 8;
	size_t head = at % 8 && len, tail = (at + len) % 8 && len;

	observe(do_copy_nt, at, len);
	all_are(COMING, at, len);
	assert_int_equal(seen.count[SFENCE], 0);
	for (size_t word = 0; word < SIZE / 8; word++)
		assert_int_equal(seen.past[word], word >= first && word < end);
	assert_in_range(flushes(), head || tail, head + tail);
	observe(copy_nt_and_fence, at, len);
	all_are(DURABLE, at, len);
	assert_int_equal(seen.count[SFENCE], 1);
}

static void past_the_cache(void **state)
{
	(void)state;
	every_range(copied_past_the_cache);
}
#else
static int setup(void **state)
{
	(void)state;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return 0;
}

/* No instructions are known that would have to be there. */
static void steps(void **state)
{
	(void)state;
	assert_string_equal(paste_pm_method(), "none");
}
#endif

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(steps),
#if defined(__x86_64__)
		T(fences), T(lines), T(choice), T(eadr_fences_only), T(stores), T(past_the_cache),
#endif
	};

	return cmocka_run_group_tests_name("pm instructions", tests, NULL, NULL);
}
