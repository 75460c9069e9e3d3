// SPDX-License-Identifier: BSD-2-Clause
/*
 * See interleave.h.
 *
 * A schedule is a list of choices, one at each step where there is one: option 0 is to
 * go on, option i the i-th other fiber that can run.  The next schedule has the last
 * choice that can be another one changed, and goes on with zeroes.
 */
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <ucontext.h>

#include "test.h"
#include "interleave.h"

#define STACK	(256 * 1024)
#define STEPS	2048	/* of a run */

struct fiber {
	ucontext_t context;
	void *fake;
	const void *stack;
	size_t size;
};

static char stacks[IL_MAX][STACK];
static struct fiber fiber[IL_MAX], home, *running;
static const struct interleave *il;
static unsigned int n, current_op, alive, waiting, preemptions, budget;	/* alive, waiting: bits */
static unsigned char choice[STEPS], options[STEPS];
static unsigned int depth, fixed;
static struct { unsigned int op; const char *what; } steps[STEPS];
static unsigned int nsteps;
static char broken[256];
static bool started;

void il_broken(const char *file, int line, const char *what)
{
	if (!broken[0])
		snprintf(broken, sizeof(broken), "%s:%d: %s", file, line, what);
}

static void switch_to(struct fiber *to)
{
	struct fiber *from = running;

	running = to;
	__sanitizer_start_switch_fiber(&from->fake, to->stack, to->size);
	swapcontext(&from->context, &to->context);
	__sanitizer_finish_switch_fiber(from->fake, NULL, NULL);
}

/* One of @num options. */
static unsigned int choose(unsigned int num)
{
	if (num < 2)
		return 0;
	if (depth == STEPS) {
		il_broken(__FILE__, __LINE__, "too many steps");
		return 0;
	}
	options[depth] = num;
	if (depth >= fixed)
		choice[depth] = 0;
	return choice[depth++];
}

/* Fibers that can run, other than the current one. */
static unsigned int others(void)
{
	return alive & ~waiting & ~(1u << current_op);
}

static unsigned int num_others(void)
{
	return __builtin_popcount(others());
}

static unsigned int other(unsigned int i)
{
	unsigned int op;

	for (op = 0; op < n; op++)
		if ((others() & 1u << op) && !i--)
			return op;
	abort();
}

static void go(unsigned int op)
{
	current_op = op;
	switch_to(&fiber[op]);
}

static void step(const char *what)
{
	unsigned int c;

	if (running == &home)
		return;
	c = budget ? choose(1 + num_others()) : 0;
	if (c) {
		budget--;
		go(other(c - 1));
	}
	if (nsteps < STEPS) {
		steps[nsteps].op = current_op;
		steps[nsteps++].what = what;
	}
	waiting = 0;	/* it may be what they wait for */
}

/* Somebody else has to do something: going on does not help. */
static void relax(void)
{
	if (running == &home || !others() || nsteps == STEPS) {
		il_broken(__FILE__, __LINE__, "waits for nobody");
		running == &home ? abort() : switch_to(&home);
	}
	waiting |= 1u << current_op;
	go(other(choose(num_others())));
}

static void body(void)
{
	const void *stack;
	size_t size;

	__sanitizer_finish_switch_fiber(NULL, &stack, &size);
	if (!home.stack) {	/* the first one is always entered from there */
		home.stack = stack;
		home.size = size;
	}
	for (;;) {
		unsigned int me = current_op;

		il->op[me]();
		alive &= ~(1u << me);
		waiting = 0;
		if (alive)
			go(other(choose(num_others())));
		else
			switch_to(&home);
	}
}

static void run(void)
{
	depth = nsteps = waiting = 0;
	budget = preemptions;
	running = &home;
	il->setup();
	alive = (1u << n) - 1;
	current_op = 0;
	current_op = choose(n);
	go(current_op);
	if (!broken[0])
		il->end();
}

/* The next schedule; false when there are no more. */
static bool advance(void)
{
	while (depth && choice[depth - 1] + 1 == options[depth - 1])
		depth--;
	if (!depth)
		return false;
	choice[depth - 1]++;
	fixed = depth;
	return true;
}

static void print_run(void)
{
	unsigned int i;

	for (i = 0; i < nsteps; i++)
		fprintf(stderr, "# %*sop %u: %s\n", steps[i].op * 24, "", steps[i].op,
			steps[i].what);
}

static void make_fibers(void)
{
	unsigned int i;

	if (started)
		return;
	ASAN_UNPOISON_MEMORY_REGION(stacks, sizeof(stacks));
	for (i = 0; i < IL_MAX; i++) {
		fiber[i].stack = stacks[i];
		fiber[i].size = STACK;
		getcontext(&fiber[i].context);
		fiber[i].context.uc_stack.ss_sp = stacks[i];
		fiber[i].context.uc_stack.ss_size = STACK;
		makecontext(&fiber[i].context, body, 0);
	}
	started = true;
}

unsigned long interleave(const struct interleave *what, unsigned int limit)
{
	unsigned long runs = 0;

	il = what;
	for (n = 0; n < IL_MAX && il->op[n]; n++)
		;
	preemptions = limit;
	fixed = 0;
	broken[0] = '\0';
	make_fibers();
	mock.step = step;
	mock.relax = relax;
	do {
		run();
		runs++;
		if (mock.warnings)
			il_broken(__FILE__, __LINE__, "warning");
		if (broken[0]) {
			print_run();
			started = false;	/* where they are is nowhere */
			fail_msg("schedule %lu: %s", runs, broken);
		}
	} while (advance());
	mock.step = NULL;
	mock.relax = NULL;
	return runs;
}
