// SPDX-License-Identifier: BSD-2-Clause
/*
 * The write-ahead log under crashes: random operations, a model of what has to
 * be there, and recovery of every crash image against it.
 *
 * The memory is a log and behind it the buffers.  The model is the list of live
 * messages with their bytes.  What a crash image may replay, in order and
 * unchanged, is a run of that list:
 *
 *	live[0] ... live[cut-1] | live[cut] ... live[acked-1] | ... live[n-1]
 *	 being truncated: all,     have to be there             any number,
 *	 or none                                                from the left
 *
 * Once truncation reports a buffer, what it cuts off has to be gone, and the
 * buffer is overwritten at once.  The process may also die alone, anywhere, and
 * memory stays; then another one recovers, and after that the power fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <paste_pm.h>
#include <paste_wal.h>

#include "../../lib/crc32c.h"
#include "mutation.h"

#define SLOTS		12
#define LOG_LEN		(8192 + SLOTS * 64)
#define STRIDE		256
#define CELL		64		/* what one piece may use of a buffer */
#define BUFS		12
#define CELLS		(BUFS * STRIDE / CELL)
#define MEM_LEN		(LOG_LEN + BUFS * STRIDE)
#define MAX_PIECES	4
#define SEEDS		300

struct message {
	uint64_t seq, tag;
	uint32_t n;
	struct paste_wal_piece piece[MAX_PIECES];
	char data[MAX_PIECES][STRIDE];
};

struct list {
	struct message m[SLOTS];
	unsigned int n;
};

static _Alignas(4096) char mem[MEM_LEN];

static struct {
	uint64_t random;
	struct recorder *r;
	struct paste_wal *wal;
	unsigned int flags;
	struct list live;
	unsigned int acked;		/* of live, from the left */
	unsigned int cut;		/* being truncated */
	bool cut_done;			/* and reported */
	bool formatting;		/* live is of the log that goes away */
	bool cell[CELLS];		/* in use by live messages */
	bool freed[BUFS];		/* reported by the last truncation */
	const char *complaint;
	char saved[MEM_LEN];		/* the image to go on with */
	unsigned int save;		/* its number */
	jmp_buf dead;
	unsigned int kill;		/* in the hook so many hooks from now; 0: never */
	unsigned int step;
} t;

static uint64_t rnd(uint64_t n)
{
	t.random = t.random * 6364136223846793005ull + 1442695040888963407ull;
	return (t.random >> 33) % n;
}

static void complain(const char *what)
{
	if (!t.complaint)
		t.complaint = what;
}

static struct paste_wal_bufs bufs_in(void *image)
{
	return (struct paste_wal_bufs){ (char *)image + LOG_LEN, STRIDE, BUFS };
}

/* ----------------------------------------------------- what a replay brings */

struct replay {
	struct list list;
	const char *image;
};

static int collect(const struct paste_wal_message *m, void *ctx)
{
	struct replay *rp = ctx;
	struct message *to = &rp->list.m[rp->list.n];
	uint32_t i;

	if (rp->list.n++ == SLOTS || m->n > MAX_PIECES)
		return -E2BIG;
	memset(to, 0, sizeof(*to));
	to->seq = m->seq;
	to->tag = m->tag;
	to->n = m->n;
	for (i = 0; i < m->n; i++) {
		to->piece[i] = m->pieces[i];
		memcpy(to->data[i], rp->image + LOG_LEN + m->pieces[i].buf * STRIDE +
		       m->pieces[i].offset, m->pieces[i].len);
	}
	return 0;
}

static int recover(void *image, struct replay *rp, struct paste_wal **wal)
{
	struct paste_wal_bufs bufs = bufs_in(image);

	rp->list.n = 0;
	rp->image = image;
	return paste_wal_open(image, LOG_LEN, &bufs, t.flags, collect, rp, wal);
}

static bool same(const struct message *a, const struct message *b, unsigned int n)
{
	return !memcmp(a, b, n * sizeof(*a));
}

/* Is @got what the model allows? */
static const char *judge(int err, const struct list *got)
{
	unsigned int from = 0;

	if (t.formatting) {
		if (err == -EMEDIUMTYPE || (!err && !got->n))
			return NULL;
		if (err)
			return "a log being formatted looks damaged";
	}
	if (err)
		return "recovery refuses a legal image";
	if (t.cut_done || (t.cut && (!got->n || got->m[0].seq != t.live.m[0].seq)))
		from = t.cut;
	if (got->n > t.live.n - from || !same(got->m, t.live.m + from, got->n))
		return "recovery brings what was not appended, or in part, or truncated";
	if (from + got->n < t.acked)
		return "a committed message is lost";
	return NULL;
}

/* -------------------------------------------------------------- crash images */

/* Recovery of @image again, after a crash in the middle of it. */
static int check_again(void *image, size_t len, void *ctx)
{
	static struct replay rp;
	const struct replay *first = ctx;
	struct paste_wal *wal;

	(void)len;
	if (recover(image, &rp, &wal)) {
		complain("recovery does not survive its own crash");
		return 1;
	}
	paste_wal_close(wal);
	if (rp.list.n != first->list.n || !same(rp.list.m, first->list.m, rp.list.n)) {
		complain("a second recovery brings something else");
		return 1;
	}
	return 0;
}

static void crash_again(struct recorder *r, void *ctx)
{
	recorder_images(r, 6, rnd(1 << 20), check_again, ctx);
}

static void crash_in_recovery(char *image, struct replay *first)
{
	static struct replay rp;
	struct recorder *r = recorder_start(image, MEM_LEN);
	struct paste_wal *wal;

	recorder_mark(r, 1, crash_again, first);
	if (recover(image, &rp, &wal))
		complain("recovery is not repeatable");
	else
		paste_wal_close(wal);
	recorder_images(r, 20, rnd(1 << 20), check_again, first);
	recorder_stop(r);
}

/* A message after recovery is the only thing that may come on top. */
static void go_on(char *image, struct replay *first, struct paste_wal *wal)
{
	static struct replay rp;
	int64_t seq = paste_wal_append(wal, NULL, 0, 77);
	struct paste_wal *again;

	if (seq == -ENOSPC)
		return;
	paste_wal_commit(wal);
	if (recover(image, &rp, &again)) {
		complain("no recovery after going on");
		return;
	}
	paste_wal_close(again);
	if (rp.list.n != first->list.n + 1 ||
	    !same(rp.list.m, first->list.m, first->list.n) ||
	    rp.list.m[first->list.n].seq != (uint64_t)seq ||
	    rp.list.m[first->list.n].tag != 77)
		complain("stale records come back");
}

static int check(void *image, size_t len, void *ctx)
{
	static _Alignas(64) char copy[MEM_LEN];
	static struct replay rp;
	struct paste_wal *wal = NULL;
	const char *wrong;
	int err;

	(void)ctx;
	if (t.complaint)
		return 1;
	memcpy(copy, image, len);
	if (t.save && !--t.save)
		memcpy(t.saved, image, len);
	err = recover(image, &rp, &wal);
	wrong = judge(err, &rp.list);
	if (wrong)
		complain(wrong);
	if (!err && rnd(4) == 0)
		go_on(image, &rp, wal);
	if (!err && !wrong && rnd(16) == 0) {
		memcpy(image, copy, len);
		crash_in_recovery(image, &rp);
	}
	paste_wal_close(wal);
	return !!t.complaint;
}

static void hook(struct recorder *r, void *ctx)
{
	recorder_images(r, 12, rnd(1 << 20), check, ctx);
	if (t.kill && !--t.kill)
		longjmp(t.dead, 1);
}

/* --------------------------------------------------------------- operations */

static void mark_cells(void)
{
	unsigned int i, p;

	memset(t.cell, 0, sizeof(t.cell));
	for (i = 0; i < t.live.n; i++)
		for (p = 0; p < t.live.m[i].n; p++)
			memset(&t.cell[t.live.m[i].piece[p].buf * STRIDE / CELL], 1,
			       STRIDE / CELL);
}

/* Recover live memory; the model is then what is there. */
static void open_log(void)
{
	static struct replay rp;
	const char *wrong;
	int err;

	t.kill = 0;
	err = recover(mem, &rp, &t.wal);
	wrong = judge(err, &rp.list);
	if (wrong)
		complain(wrong);
	t.cut = 0;
	t.cut_done = false;
	if (err) {
		/* No log; yet the one before may be what is durable. */
		t.wal = NULL;
		return;
	}
	t.formatting = false;
	t.live = rp.list;
	t.acked = t.live.n;
	mark_cells();
}

static void restart_recorder(void)
{
	t.r = recorder_start(mem, MEM_LEN);
	recorder_mark(t.r, 1 + (unsigned int)rnd(4), hook, NULL);
}

/* A process ends without a word: what it has appended is still there. */
static void op_restart(void)
{
	unsigned int n = t.flags ? t.live.n : t.acked;

	paste_wal_close(t.wal);
	open_log();
	if (t.live.n != n)
		complain("a message was lost without a crash");
}

/* A process is killed. */
static void died(void)
{
	recorder_resume(t.r);
	paste_wal_close(t.wal);
	t.wal = NULL;
	open_log();
}

/* The power fails: go on with an image. */
static void op_crash(void)
{
	paste_wal_close(t.wal);
	t.wal = NULL;
	t.save = 1 + (unsigned int)rnd(30);
	memcpy(t.saved, mem, MEM_LEN);
	if (!recorder_images(t.r, 30, rnd(1 << 20), check, NULL) && t.save)
		recorder_images(t.r, t.save, rnd(1 << 20), check, NULL);
	recorder_stop(t.r);
	if (!t.save)
		memcpy(mem, t.saved, MEM_LEN);
	t.save = 0;
	restart_recorder();
	open_log();
}

static void op_format(void)
{
	paste_wal_close(t.wal);
	t.wal = NULL;
	t.formatting = true;
	paste_wal_format(mem, LOG_LEN);
	/* From here on it is an empty one. */
	t.formatting = false;
	t.live.n = t.acked = 0;
	recorder_images(t.r, 30, rnd(1 << 20), check, NULL);
	open_log();
}

/* Bytes that are new, or those the last message here might have had. */
static void fill(struct paste_wal_piece *p, char *data)
{
	uint8_t c = rnd(3) ? (uint8_t)rnd(256) : (uint8_t)p->buf;
	char *to = mem + LOG_LEN + p->buf * STRIDE + p->offset;

	memset(data, c, p->len);
	paste_pm_write(to, data, p->len);
}

static bool choose_piece(struct paste_wal_piece *p)
{
	unsigned int try;

	for (try = 0; try < 8; try++) {
		unsigned int cell = (unsigned int)rnd(CELLS), in = (unsigned int)rnd(CELL);

		if (t.cell[cell])
			continue;
		t.cell[cell] = true;
		p->buf = cell * CELL / STRIDE;
		p->offset = cell * CELL % STRIDE + in;
		p->len = (uint32_t)rnd(CELL - in + 1);
		return true;
	}
	return false;
}

static uint32_t room(void)
{
	struct paste_wal_stats s;

	paste_wal_stats(t.wal, &s);
	return (uint32_t)(s.slots - (s.tail - s.head));
}

static uint64_t next_seq(uint32_t records)
{
	struct paste_wal_stats s;

	paste_wal_stats(t.wal, &s);
	return s.tail + records - 1;
}

static void op_append(void)
{
	struct message m;
	uint32_t n = (uint32_t)rnd(MAX_PIECES + 1), records;

	memset(&m, 0, sizeof(m));
	m.tag = rnd(1000);
	while (m.n < n && choose_piece(&m.piece[m.n])) {
		fill(&m.piece[m.n], m.data[m.n]);
		m.n++;
	}
	records = m.n ? m.n : 1;
	if (records > room()) {
		if (paste_wal_append(t.wal, m.piece, m.n, m.tag) != -ENOSPC)
			complain("appended to a full log");
		mark_cells();
		return;
	}
	/* In the list before it is appended: an image may have it meanwhile. */
	m.seq = next_seq(records);
	t.live.m[t.live.n++] = m;
	if (paste_wal_append(t.wal, m.piece, m.n, m.tag) != (int64_t)m.seq)
		complain("not the sequence number expected");
}

static void op_commit(void)
{
	uint64_t seq = paste_wal_commit(t.wal);

	if (t.live.n && seq != t.live.m[t.live.n - 1].seq)
		complain("commit does not return the last message");
	t.acked = t.live.n;
}

/* Somebody else uses a buffer as soon as it is free. */
static void overwrite(uint32_t buf, void *ctx)
{
	char junk[STRIDE];

	(void)ctx;
	t.cut_done = true;
	if (t.freed[buf])
		complain("a buffer is reported twice");
	t.freed[buf] = true;
	memset(junk, (int)rnd(256), sizeof(junk));
	paste_pm_write(mem + LOG_LEN + buf * STRIDE, junk, sizeof(junk));
}

static bool names(const struct message *m, uint32_t buf)
{
	uint32_t i;

	for (i = 0; i < m->n; i++)
		if (m->piece[i].buf == buf)
			return true;
	return false;
}

static void check_freed(void)
{
	unsigned int buf, i;

	for (buf = 0; buf < BUFS; buf++) {
		bool before = false, after = false;

		for (i = 0; i < t.live.n; i++)
			if (names(&t.live.m[i], buf))
				*(i < t.cut ? &before : &after) = true;
		if (t.freed[buf] != (before && !after))
			complain("the wrong buffers are reported free");
	}
}

static void op_truncate(void)
{
	unsigned int n;
	uint64_t upto;

	if (!t.acked)
		return;
	n = 1 + (unsigned int)rnd(t.acked);
	upto = t.live.m[n - 1].seq;
	/* Into the middle of the next one is as good as before it. */
	if (n < t.acked && t.live.m[n].n > 1)
		upto += rnd(2);
	t.cut = n;
	memset(t.freed, 0, sizeof(t.freed));
	if (paste_wal_truncate(t.wal, upto, overwrite, NULL))
		complain("truncation fails");
	check_freed();
	memmove(t.live.m, t.live.m + n, (t.live.n - n) * sizeof(t.live.m[0]));
	t.live.n -= n;
	t.acked -= n;
	t.cut = 0;
	t.cut_done = false;
	mark_cells();
}

static void step(void)
{
	unsigned int what = (unsigned int)rnd(100);

	if (!t.wal)
		op_format();
	else if (what < 45)
		op_append();
	else if (what < 65)
		op_commit();
	else if (what < 85)
		op_truncate();
	else if (what < 91)
		op_restart();
	else if (what < 98)
		op_crash();
	else
		op_format();
}

static const char *run(uint64_t seed)
{
	memset(&t, 0, sizeof(t));
	memset(mem, 0, sizeof(mem));
	t.random = seed * 0x9e3779b97f4a7c15ull;
	t.flags = seed % 3 ? PASTE_WAL_CRC : 0;
	restart_recorder();
	for (; t.step < 60 && !t.complaint; t.step++) {
		t.kill = rnd(4) ? 0 : 1 + (unsigned int)rnd(10);
		if (setjmp(t.dead))
			died();
		else
			step();
	}
	paste_wal_close(t.wal);
	recorder_stop(t.r);
	return t.complaint;
}

static void crash_anywhere(void **state)
{
	unsigned long before = recorder_image_count();
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= SEEDS; seed++) {
		const char *complaint = run(seed);

		if (complaint)
			fail_msg("seed %lu: %s", (unsigned long)seed, complaint);
	}
	printf("# %d seeds, %lu images\n", SEEDS,
	       recorder_image_count() - before);
}

MUTATION_FILE(wal);

static const struct mutation_part parts[] = { MUTATION_PART(wal) };
#define PARTS	(sizeof(parts) / sizeof(parts[0]))

static void every_flush_and_fence_counts(void **state)
{
	unsigned int survivors, mutants, calls;

	(void)state;
	assert_int_equal(mutation_unseen(parts, PARTS, &calls), 0);
	mutants = mutation_run(run, 2000, parts, PARTS, &survivors);
	printf("# %u calls, %u mutants\n", calls, mutants);
	assert_true(calls > 0);
	assert_int_equal(survivors, 0);
}

/* --------------------------------------------------------------------- fuzz */

/* An ordinary log of some commits, in @mem, and in t.live what it holds. */
static void make_log(uint64_t seed)
{
	unsigned int i;

	memset(&t, 0, sizeof(t));
	memset(mem, 0, sizeof(mem));
	t.random = seed;
	t.flags = PASTE_WAL_CRC;
	restart_recorder();
	recorder_mark(t.r, 0, NULL, NULL);
	op_format();
	for (i = 0; i < 20; i++) {
		op_append();
		if (rnd(3) == 0)
			op_commit();
		if (rnd(8) == 0)
			op_truncate();
		if (rnd(10) == 0)
			op_restart();
	}
	paste_wal_close(t.wal);
	recorder_stop(t.r);
}

static void seal_line(char *line)
{
	uint32_t crc = nmi_crc32c(0, line, 60);

	memcpy(line + 60, &crc, sizeof(crc));
}

/* Change up to 8 bytes of a line; perhaps make its checksum right again. */
static void damage(char *image, size_t len, bool seal)
{
	size_t lines[] = { 0, 64, 4096, 8192 + rnd(SLOTS) * 64, rnd(len / 64) * 64 };
	char *line = image + lines[rnd(5)];
	unsigned int n = 1 + (unsigned int)rnd(8);

	while (n--)
		line[rnd(64)] = (char)(rnd(2) ? rnd(256) : rnd(2) ? 0 : 255);
	if (seal)
		seal_line(line);
}

static void damaged_bytes(void **state)
{
	unsigned int i, read = 0, refused = 0;

	(void)state;
	for (i = 1; i <= 20000; i++) {
		static struct replay rp;
		struct paste_wal *wal;
		char *image;

		if (i % 50 == 1)
			make_log(i);
		image = aligned_alloc(64, MEM_LEN);
		assert_non_null(image);
		memcpy(image, mem, MEM_LEN);
		damage(image, MEM_LEN, false);
		if (recover(image, &rp, &wal)) {
			refused++;
		} else {
			read++;
			paste_wal_close(wal);
			assert_true(rp.list.n <= t.live.n);
			assert_true(same(rp.list.m, t.live.m, rp.list.n));
		}
		free(image);
	}
	printf("# %u read correctly, %u refused\n", read, refused);
	assert_true(read && refused);
}

static int touch(const struct paste_wal_message *m, void *ctx)
{
	const char *image = ctx;
	unsigned int sum = 0;
	uint32_t i, b;

	for (i = 0; i < m->n; i++)
		for (b = 0; b < m->pieces[i].len; b++)
			sum += (unsigned char)image[LOG_LEN + m->pieces[i].buf * STRIDE +
						    m->pieces[i].offset + b];
	return sum == 1;	/* so that the bytes are read */
}

static void unused(uint32_t buf, void *ctx)
{
	(void)ctx;
	assert_true(buf < BUFS);
}

/* Nonsense with right checksums: anything but a step outside. */
static void forged_lines(void **state)
{
	unsigned int i, n, read = 0;

	(void)state;
	for (i = 1; i <= 20000; i++) {
		struct paste_wal_bufs bufs;
		struct paste_wal_stats s;
		struct paste_wal *wal;
		char *image;

		if (i % 50 == 1)
			make_log(i);
		image = aligned_alloc(64, MEM_LEN);
		assert_non_null(image);
		memcpy(image, mem, MEM_LEN);
		for (n = 1 + (unsigned int)rnd(3); n; n--)
			damage(image, LOG_LEN, true);
		bufs = bufs_in(image);
		if (!paste_wal_open(image, LOG_LEN, &bufs, 0, touch, image, &wal)) {
			read++;
			paste_wal_append(wal, NULL, 0, 0);
			paste_wal_stats(wal, &s);
			paste_wal_truncate(wal, paste_wal_commit(wal), unused, NULL);
			paste_wal_close(wal);
		}
		free(image);
	}
	printf("# %u of %u read\n", read, i - 1);
	assert_true(read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crash_anywhere),
		cmocka_unit_test(every_flush_and_fence_counts),
		cmocka_unit_test(damaged_bytes),
		cmocka_unit_test(forged_lines),
	};

	return cmocka_run_group_tests_name("wal_crash", tests, NULL, NULL);
}
