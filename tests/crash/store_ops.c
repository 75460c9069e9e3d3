// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a run does: values and messages are written, keys deleted, values read while that happens.
 *
 * Bytes arrive in buffers of the region, several values in one, written and not flushed as by a
 * NIC, or elsewhere, to be copied.
 */
#include <errno.h>

#include <paste_pm.h>

#include "store_crash.h"

static void op_commit(void)
{
	store_commit(t.store);
	all_committed();
}

static int add(struct store_write *w, char *at, uint64_t number, size_t from, size_t len)
{
	char data[4096];
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = byte_of(number, from + i);
	if (!at)
		return store_add(w, data, len);
	paste_pm_write(at, data, len);
	return store_add(w, at, len);
}

/* Bytes @from on come in a packet, behind others if there is room. Returns how many, or -errno. */
static int receive(struct store_write *w, uint64_t number, size_t from, size_t left)
{
	uint32_t buf, room = 4096 - t.packet_used;
	size_t len = 1 + rnd(room && room < left ? room : left);
	int err;

	if (!t.packet || room < 64 || rnd(8) == 0) {
		for (buf = PASTE_REGION_FIRST_BUF + (uint32_t)rnd(20);
		     buf < BUFS && (t.kept[buf] || buf == t.packet); buf++)
			;
		if (buf == BUFS)
			return -ENOSPC;
		t.packet = buf;
		t.packet_used = (uint32_t)rnd(100);
	}
	if (len > 4096 - t.packet_used)
		len = 4096 - t.packet_used;
	err = add(w, (char *)paste_region_buf(t.region, t.packet) + t.packet_used, number, from,
		  len);
	t.packet_used += (uint32_t)len;
	return err ? err : (int)len;
}

static int add_some(struct store_write *w, uint64_t number, size_t len)
{
	bool in_place = rnd(3);
	size_t at = 0;

	while (at < len) {
		size_t n = 1 + rnd(len - at < 4096 ? len - at : 4096);
		int got = in_place ? receive(w, number, at, len - at) :
				     add(w, NULL, number, at, n);

		if (got < 0)
			return got;
		at += in_place ? (size_t)got : n;
	}
	return 0;
}

/* In turn from one of many buffers, so that no two pieces touch. */
static int add_huge(struct store_write *w, uint64_t number)
{
	uint32_t buf[33], n = 0, i;
	int err = 0;

	t.packet = 0;
	for (i = PASTE_REGION_FIRST_BUF; i < BUFS && n < 33; i++)
		if (!t.kept[i])
			buf[n++] = i;
	if (n < 33)
		return -ENOSPC;
	for (i = 0; i < 507 && !err; i++)
		err = add(w, (char *)paste_region_buf(t.region, buf[i % 32]) + i / 32 * HUGE_STEP,
			  number, i * HUGE_STEP, HUGE_STEP);
	return err;
}

static struct store_write *begin_write(enum store_kind kind, uint64_t number, int *err)
{
	struct store_write *w = store_begin(t.store, kind, length_of(number));

	*err = is_huge(number) ? add_huge(w, number) : add_some(w, number, length_of(number));
	if (*err)
		store_abort(w);
	return w;
}

/* In the model before it is done: an image may have it meanwhile. */
static void begin_change(unsigned int i, uint64_t value)
{
	if (t.key[i].n == HISTORY)
		op_commit();
	t.key[i].value[t.key[i].n++] = value;
	t.in_flight = i;
}

/* Often one of two, so that things happen to a key again. */
static unsigned int some_key(void)
{
	return (unsigned int)(rnd(2) ? rnd(KEYS) : t.hot + rnd(2));
}

static void op_put(void)
{
	unsigned int i = some_key();
	uint64_t number = ++t.next, was;
	struct store_write *w;
	bool created;
	char key[80];
	size_t len = key_of(i, key);
	int err;

	w = begin_write(STORE_VALUE, number, &err);
	if (err) {
		if (err != -ENOSPC)
			complain("a value is refused");
		return;
	}
	begin_change(i, number);
	was = t.key[i].value[t.key[i].n - 2];
	err = store_put(w, key, len, &created);
	if (err) {
		t.key[i].n--;
		if (err != -ENOSPC)
			complain("put fails");
	} else if (created == (was != 0)) {
		complain("put knows another key");
	}
	t.in_flight = KEYS;
}

static void op_delete(void)
{
	unsigned int i = some_key();
	uint64_t was;
	char key[80];
	size_t len = key_of(i, key);

	begin_change(i, 0);
	was = t.key[i].value[t.key[i].n - 2];
	if (store_delete(t.store, key, len) != (was ? 0 : -ENOENT))
		complain("delete fails");
	t.in_flight = KEYS;
}

static void op_append(void)
{
	uint64_t number = ++t.next * 8 + 4;	/* lengths that tell one from the other */
	struct store_write *w;
	int err;

	if (t.appended == MESSAGES || is_huge(number) || length_of(number) < 8)
		return;
	w = begin_write(STORE_MESSAGE, number, &err);
	if (err)
		return;
	t.message[t.appended++] = number;
	t.appending = true;
	err = store_append(w);
	if (err)
		t.appended--;
	if (err && err != -ENOSPC)
		complain("append fails");
	t.appending = false;
}

static void end_reading(unsigned int i)
{
	struct history h = { .n = 1, .value = { t.reader[i].value } };

	if (!t.reader[i].v)
		return;
	if (identify(&h, t.store, t.reader[i].v) != t.reader[i].value)
		complain("a value changed while it was read");
	store_done(t.reader[i].v);
	t.reader[i].v = NULL;
}

static void op_read(void)
{
	unsigned int r = (unsigned int)rnd(READERS), i = (unsigned int)rnd(KEYS);
	char key[80];
	size_t len = key_of(i, key);
	int err;

	end_reading(r);
	err = store_get(t.store, key, len, &t.reader[r].v);
	if (err)
		t.reader[r].v = NULL;
	else
		t.reader[r].value = current(i);
	if (err && err != -ENOENT)
		complain("a value is taken for a damaged one");
}

void step(void)
{
	unsigned int what = (unsigned int)rnd(100);

	if (t.logging && rnd(4))
		op_append();
	else if (what < 30)
		op_put();
	else if (what < 52)
		op_delete();
	else if (what < 64)
		op_append();
	else if (what < 72)
		op_read();
	else if (what < 86)
		op_commit();
	else if (what < 91)
		restart();
	else
		op_crash();
}
