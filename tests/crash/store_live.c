// SPDX-License-Identifier: BSD-2-Clause
/*
 * The store that a run writes to, which is recorded: its crash images, what becomes of it when the
 * process dies alone and memory stays, or when the power fails and a run goes on with an image.
 *
 * The test is the owner of the buffers and writes to those that are given back at once.
 */
#include <string.h>

#include <paste_pm.h>

#include "store_crash.h"

/* -------------------------------------------------------- the other's buffers */

static uint32_t take(void *ctx)
{
	uint32_t buf;

	(void)ctx;
	for (buf = PASTE_REGION_FIRST_BUF; buf < BUFS; buf++)
		if (!t.kept[buf] && buf != t.packet) {
			t.kept[buf] = true;
			return buf;
		}
	return 0;
}

static bool keep(void *ctx, uint32_t buf)
{
	(void)ctx;
	if (t.kept[buf])
		complain("a buffer is kept twice");
	t.kept[buf] = true;
	return true;
}

/* The next packet comes at once. */
static void give(void *ctx, uint32_t buf)
{
	static const char packet[64] = "the next packet";
	char *at = paste_region_buf(t.region, buf);

	(void)ctx;
	t.kept[buf] = false;
	if (buf == t.packet)
		return;
	paste_pm_write(at + rnd(63) * 64, packet, sizeof(packet));
}

static const struct space_owner owner = { take, keep, give };

/* -------------------------------------------------------------- crash images */

/* What the first recovery has found, and no buffer lost. */
static int check_again(void *image, size_t len, void *ctx)
{
	static struct content c;

	(void)len;
	if (recover(image, &c, rnd(8) ? DELETE : EMPTY))
		complain("recovery does not survive its own crash");
	else if (memcmp(&c, ctx, sizeof(c)))
		complain("a second recovery brings something else");
	return !!t.complaint;
}

static void crash_again(struct recorder *r, void *ctx)
{
	recorder_images(r, 4, rnd(1 << 20), check_again, ctx);
}

static void crash_in_recovery(char *image, struct content *first)
{
	static struct content c;
	struct recorder *r = recorder_start(image, MEM_LEN);

	recorder_mark(r, 5, crash_again, first);
	if (recover(image, &c, LOOK) || memcmp(&c, first, sizeof(c)))
		complain("recovery is not repeatable");
	recorder_images(r, 6, rnd(1 << 20), check_again, first);
	recorder_stop(r);
}

static int check(void *image, size_t len, void *ctx)
{
	static _Alignas(4096) char copy[MEM_LEN];
	static struct content c;
	bool twice = rnd(8) == 0;
	const char *wrong;
	int err;

	(void)ctx;
	if (t.complaint)
		return 1;
	if (twice)
		memcpy(copy, image, len);
	if (t.save && !--t.save)
		memcpy(t.saved, image, len);
	err = recover(image, &c, rnd(8) ? DELETE : EMPTY);
	wrong = judge(err, &c);
	if (wrong)
		complain(wrong);
	if (!t.complaint && twice) {
		memcpy(image, copy, len);
		crash_in_recovery(image, &c);
	}
	return !!t.complaint;
}

static void hook(struct recorder *r, void *ctx)
{
	recorder_images(r, 4, rnd(1 << 20), check, ctx);
	if (t.kill && !--t.kill)
		longjmp(t.dead, 1);
}

/* ---------------------------------------------------------------- live memory */

/* What is in live memory after a death; messages that had returned are there. */
static void look_at_log(void)
{
	static _Alignas(4096) char copy[MEM_LEN];
	static struct content c;
	const char *wrong;

	memcpy(copy, mem, MEM_LEN);
	wrong = judge(recover(copy, &c, DELETE), &c);
	if (wrong)
		complain(wrong);
	if (t.appending && (!c.messages || c.message[c.messages - 1] + 1 < t.appended))
		t.appended--;
	else if (!t.ring && c.messages != t.appended && !t.crashed)
		complain("a message was lost without a crash");
	if (t.crashed)
		t.appended = c.messages ? (unsigned int)c.message[c.messages - 1] + 1 :
					  t.ring ? t.committed : 0;
	t.appending = t.crashed = false;
}

void open_live(void)
{
	uint32_t used[BUFS];
	uint64_t value;
	uint32_t i, n;

	t.kill = 0;
	look_at_log();
	if (open_store(mem, t.ring, &t.region, &t.store)) {
		complain("recovery fails");
		return;
	}
	store_space(t.store)->limit = t.limit;
	t.committed = t.appended;
	for (i = 0; i < KEYS; i++) {
		value = read_key(t.store, i);
		if (!may_have(&t.key[i], value))
			complain("a key has what it must not have");
		committed_key(i, value);
	}
	memset(t.kept, 0, sizeof(t.kept));
	n = store_used(t.store, used, BUFS);
	for (i = 0; i < n; i++)
		t.kept[used[i]] = true;
	t.packet = t.packet_used = 0;
	t.in_flight = KEYS;
	space_set_owner(store_space(t.store), &owner, NULL);
}

void restart_recorder(void)
{
	t.r = recorder_start(mem, MEM_LEN);
	recorder_mark(t.r, 3 + (unsigned int)rnd(200), hook, NULL);
}

void forget(void)
{
	unsigned int i;

	if (!t.store)
		return;
	space_set_owner(store_space(t.store), NULL, NULL);
	for (i = 0; i < READERS; i++) {
		if (t.reader[i].v)
			store_done(t.reader[i].v);
		t.reader[i].v = NULL;
	}
	store_close(t.store);
	paste_region_close(t.region);
	t.store = NULL;
}

void restart(void)
{
	struct history before[KEYS];
	unsigned int i, in_flight = t.in_flight;

	memcpy(before, t.key, sizeof(before));
	forget();
	open_live();
	for (i = 0; i < KEYS && !t.complaint; i++)
		if (i != in_flight && current(i) != before[i].value[before[i].n - 1])
			complain("a write was lost without a crash");
}

void op_crash(void)
{
	forget();
	t.save = 1 + (unsigned int)rnd(10);
	if (!recorder_images(t.r, 10, rnd(1 << 20), check, NULL) && t.save)
		recorder_images(t.r, t.save, rnd(1 << 20), check, NULL);
	recorder_stop(t.r);
	if (!t.save)
		memcpy(mem, t.saved, MEM_LEN);
	t.save = 0;
	t.crashed = true;
	restart_recorder();
	open_live();
}
