// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/wal.c: every function and error; crashes are for tests/crash.  And the two
 * ways to its checksum.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <paste_pm.h>
#include <paste_wal.h>
#include "../../lib/crc32c.c"
#include "fences.h"

#define SLOTS	8
#define LEN	(8192 + SLOTS * 64)
#define STRIDE	512
#define BUFS	16

static _Alignas(64) char log_area[LEN];
static _Alignas(64) char buf[BUFS][STRIDE];
static const struct paste_wal_bufs bufs = { buf, STRIDE, BUFS };
static struct paste_wal *wal;

static int fail_calloc;		/* the n-th from now */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	if (fail_calloc && !--fail_calloc)
		return NULL;
	return __real_calloc(n, size);
}

/* What a replay brought: per message "seq:tag(buf,offset,len ...)". */
static char replayed[1024];
static int replay_error;

static int note(const struct paste_wal_message *m, void *ctx)
{
	char *to = replayed + strlen(replayed);
	uint32_t i;

	assert_ptr_equal(ctx, &wal);
	to += sprintf(to, "%lu:%lu(", (unsigned long)m->seq, (unsigned long)m->tag);
	for (i = 0; i < m->n; i++)
		to += sprintf(to, "%s%u,%u,%u", i ? " " : "", m->pieces[i].buf,
			      m->pieces[i].offset, m->pieces[i].len);
	sprintf(to, ")");
	return replay_error;
}

static char freed[256];

static void note_freed(uint32_t b, void *ctx)
{
	assert_ptr_equal(ctx, &wal);
	sprintf(freed + strlen(freed), "%u ", b);
}

static int reopen(unsigned int flags)
{
	struct paste_wal *w = NULL;
	int err;

	paste_wal_close(wal);
	wal = NULL;
	replayed[0] = 0;
	err = paste_wal_open(log_area, LEN, &bufs, flags, note, &wal, &w);
	wal = w;
	return err;
}

static int setup(void **state)
{
	unsigned int i;

	(void)state;
	memset(log_area, 0x5a, LEN);
	for (i = 0; i < BUFS; i++)
		memset(buf[i], (int)i, STRIDE);
	replay_error = 0;
	assert_int_equal(paste_wal_format(log_area, LEN), 0);
	assert_int_equal(reopen(PASTE_WAL_CRC), 0);
	assert_string_equal(replayed, "");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	paste_wal_close(wal);
	wal = NULL;
	return 0;
}

static int64_t append1(uint32_t b, uint32_t offset, uint32_t len, uint64_t tag)
{
	const struct paste_wal_piece p = { b, offset, len };

	return paste_wal_append(wal, &p, 1, tag);
}

static int truncate_to(uint64_t upto)
{
	freed[0] = 0;
	return paste_wal_truncate(wal, upto, note_freed, &wal);
}

static void put32(size_t at, uint32_t v)
{
	memcpy(log_area + at, &v, 4);
}

static void seal(size_t line)
{
	put32(line + 60, nmi_crc32c(0, log_area + line, 60));
}

static void append_and_replay(void **state)
{
	const struct paste_wal_piece p[] = { { 3, 10, 20 }, { 4, 0, STRIDE }, { 5, STRIDE, 0 } };

	(void)state;
	assert_int_equal(paste_wal_commit(wal), 0);
	assert_int_equal(append1(1, 0, 100, 11), 1);
	assert_int_equal(paste_wal_append(wal, p, 3, 12), 4);
	assert_int_equal(paste_wal_append(wal, NULL, 0, 13), 5);
	assert_int_equal(append1(1, 100, 0, 14), 6);
	assert_int_equal(paste_wal_commit(wal), 6);
	assert_int_equal(paste_wal_commit(wal), 6);
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "1:11(1,0,100)4:12(3,10,20 4,0,512 5,512,0)5:13()6:14(1,100,0)");
	assert_int_equal(paste_wal_commit(wal), 6);
	/* Without a callback as well. */
	paste_wal_close(wal);
	assert_int_equal(paste_wal_open(log_area, LEN, &bufs, 0, NULL, NULL, &wal), 0);
}

/* Two fences, no checksum: the record is not there before the commit. */
static void without_payload_crc(void **state)
{
	(void)state;
	assert_int_equal(reopen(0), 0);
	assert_int_equal(append1(1, 0, 100, 11), 1);
	assert_int_equal(paste_wal_commit(wal), 1);
	assert_int_equal(append1(2, 0, 100, 12), 2);
	buf[1][0] = 99;
	assert_int_equal(reopen(PASTE_WAL_CRC), 0);
	assert_string_equal(replayed, "1:11(1,0,100)");
	assert_int_equal(append1(2, 0, 100, 13), 2);
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "1:11(1,0,100)2:13(2,0,100)");
}

/* Of a commit, however much is new; everything else but truncation has none. */
static void few_fences(void **state)
{
	const struct paste_wal_piece p[] = { { 3, 10, 20 }, { 4, 0, STRIDE }, { 5, STRIDE, 0 } };

	(void)state;
	for (unsigned int n = 1; n <= 2; n++) {
		assert_int_equal(reopen(n == 1 ? PASTE_WAL_CRC : 0), 0);
		fences = 0;
		paste_wal_commit(wal);
		assert_true(append1(1, 0, 100, 0) > 0);
		assert_true(paste_wal_append(wal, p, 3, 0) > 0);
		assert_true(paste_wal_append(wal, NULL, 0, 0) > 0);
		assert_int_equal(append1(BUFS, 0, 0, 0), -ERANGE);
		assert_int_equal(fences, 0);
		paste_wal_commit(wal);
		assert_int_equal(fences, n);
		paste_wal_commit(wal);
		assert_int_equal(fences, n);
		assert_true(append1(2, 0, 100, 0) > 0);
		assert_int_equal(fences, n);
		fences = 0;
		assert_int_equal(truncate_to(paste_wal_commit(wal)), 0);
		assert_int_equal(fences, n + 2);	/* one for each copy of the root */
		assert_int_equal(truncate_to(paste_wal_commit(wal)), 0);
		assert_int_equal(fences, n + 2);
	}
}

static void pieces_out_of_bounds(void **state)
{
	const struct paste_wal_piece p[] = { { 1, 0, 1 }, { BUFS, 0, 1 } };

	(void)state;
	assert_int_equal(append1(BUFS, 0, 0, 0), -ERANGE);
	assert_int_equal(append1(UINT32_MAX, 0, 0, 0), -ERANGE);
	assert_int_equal(append1(0, STRIDE + 1, 0, 0), -ERANGE);
	assert_int_equal(append1(0, 0, STRIDE + 1, 0), -ERANGE);
	assert_int_equal(append1(0, 1, STRIDE, 0), -ERANGE);
	assert_int_equal(append1(0, 1, UINT32_MAX, 0), -ERANGE);
	assert_int_equal(append1(0, UINT32_MAX, 1, 0), -ERANGE);
	assert_int_equal(paste_wal_append(wal, p, 2, 0), -ERANGE);
	assert_int_equal(append1(BUFS - 1, STRIDE - 1, 1, 0), 1);
}

/* Back-pressure, and all or nothing. */
static void full(void **state)
{
	struct paste_wal_piece p[SLOTS + 1] = { { 0, 0, 0 } };
	struct paste_wal_stats s;

	(void)state;
	assert_int_equal(paste_wal_append(wal, p, SLOTS + 1, 0), -EMSGSIZE);
	assert_int_equal(paste_wal_append(wal, p, SLOTS - 1, 1), SLOTS - 1);
	assert_int_equal(paste_wal_append(wal, p, 2, 2), -ENOSPC);
	assert_int_equal(append1(0, 0, 0, 3), SLOTS);
	assert_int_equal(paste_wal_append(wal, NULL, 0, 4), -ENOSPC);
	paste_wal_stats(wal, &s);
	assert_int_equal(s.full, 2);
	assert_int_equal(s.tail - s.head, s.slots);
	assert_int_equal(paste_wal_commit(wal), SLOTS);
	assert_int_equal(truncate_to(SLOTS), 0);
	assert_string_equal(freed, "0 ");
	assert_int_equal(paste_wal_append(wal, p, SLOTS, 5), 2 * SLOTS);
	paste_wal_commit(wal);
	assert_int_equal(reopen(0), 0);
	assert_true(!strncmp(replayed, "16:5(0,0,0 ", 11));
}

static void truncation(void **state)
{
	const struct paste_wal_piece p[] = { { 1, 0, 1 }, { 2, 0, 1 }, { 2, 1, 1 } };

	(void)state;
	append1(1, 0, 8, 0);
	paste_wal_append(wal, p, 3, 0);
	append1(3, 0, 8, 0);
	assert_int_equal(truncate_to(1), -EINVAL);
	assert_int_equal(paste_wal_commit(wal), 5);
	assert_int_equal(truncate_to(6), -EINVAL);
	assert_int_equal(truncate_to(0), 0);
	assert_string_equal(freed, "");
	/* Buffer 1 is in the next message as well; 2 and 3 are inside that. */
	assert_int_equal(truncate_to(3), 0);
	assert_string_equal(freed, "");
	assert_int_equal(truncate_to(4), 0);
	assert_string_equal(freed, "1 2 ");
	assert_int_equal(truncate_to(4), 0);
	assert_string_equal(freed, "");
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "5:0(3,0,8)");
	assert_int_equal(truncate_to(5), 0);
	assert_string_equal(freed, "3 ");
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "");
	append1(3, 0, 8, 0);
	paste_wal_commit(wal);
	assert_int_equal(paste_wal_append(wal, NULL, 0, 0), 7);
	paste_wal_commit(wal);
	assert_int_equal(paste_wal_truncate(wal, 6, NULL, NULL), 0);
	assert_int_equal(truncate_to(7), 0);
	assert_string_equal(freed, "");
}

/*
 * A receiver, whose state is the sum of what it was sent, with the number of the last message that is in
 * it.  It keeps the buffers that the log names.
 */
static struct {
	uint64_t sum, upto;	/* durable elsewhere */
	uint64_t live;		/* with what has been logged since */
	bool kept[BUFS];
} receiver;

static void give_back(uint32_t b, void *ctx)
{
	assert_ptr_equal(ctx, &receiver);
	assert_true(receiver.kept[b]);
	receiver.kept[b] = false;
}

/* The steps of paste_wal(3). */
static void checkpoint(void)
{
	receiver.upto = paste_wal_commit(wal);
	receiver.sum = receiver.live;
	assert_int_equal(paste_wal_truncate(wal, receiver.upto, give_back, &receiver), 0);
}

static int add_up(const struct paste_wal_message *m, void *ctx)
{
	(void)ctx;
	if (m->seq > receiver.upto)
		receiver.sum += m->tag;
	receiver.kept[m->pieces[0].buf] = true;
	return 0;
}

/*
 * A full log holds the sender back, since its slot is not released, and a checkpoint lets it go on: each
 * buffer comes back, and state and log together always have all that was logged.
 */
static void back_pressure(void **state)
{
	uint64_t n, held_back = 0;
	uint32_t arrived = 0;		/* the buffer in the slot */

	(void)state;
	memset(&receiver, 0, sizeof(receiver));
	for (n = 0; n < 100; n++) {
		int64_t seq = append1(arrived, 0, 16, n);

		if (seq == -ENOSPC) {		/* the slot stays where it is */
			assert_int_equal(++held_back * SLOTS, n);
			checkpoint();
			for (uint32_t b = 0; b < BUFS; b++)
				assert_false(receiver.kept[b]);
			seq = append1(arrived, 0, 16, n);
		}
		assert_int_equal(seq, n + 1);
		receiver.live += n;
		receiver.kept[arrived] = true;
		while (receiver.kept[arrived])
			arrived = (arrived + 1) % BUFS;
	}
	assert_int_equal(held_back, 12);
	/* A crash after the checkpoint, with what was committed since. */
	paste_wal_commit(wal);
	paste_wal_close(wal);
	assert_int_equal(paste_wal_open(log_area, LEN, &bufs, 0, add_up, NULL, &wal), 0);
	assert_int_equal(receiver.sum, 99 * 100 / 2);
	/* And one between state and truncation: what the log still has is passed over. */
	receiver.upto = 100;
	paste_wal_close(wal);
	assert_int_equal(paste_wal_open(log_area, LEN, &bufs, 0, add_up, NULL, &wal), 0);
	assert_int_equal(receiver.sum, 99 * 100 / 2);
	receiver.live = receiver.sum;
	checkpoint();
	for (uint32_t b = 0; b < BUFS; b++)
		assert_false(receiver.kept[b]);
}

/* Many times around. */
static void wrap(void **state)
{
	uint64_t seq;

	(void)state;
	for (seq = 1; seq < 100; seq++) {
		assert_int_equal(append1((uint32_t)(seq % BUFS), 0, 16, seq), seq);
		assert_int_equal(paste_wal_commit(wal), seq);
		if (seq > 5)
			assert_int_equal(truncate_to(seq - 5), 0);
		if (seq % 7 == 0)
			assert_int_equal(reopen(PASTE_WAL_CRC), 0);
	}
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "95:95(15,0,16)96:96(0,0,16)97:97(1,0,16)98:98(2,0,16)99:99(3,0,16)");
}

static void counters(void **state)
{
	struct paste_wal_stats s;

	(void)state;
	append1(1, 0, 8, 0);
	append1(1, 8, 9, 0);
	paste_wal_commit(wal);
	paste_wal_commit(wal);
	append1(1, 17, 1, 0);
	paste_wal_stats(wal, &s);
	assert_int_equal(s.epoch, 1);
	assert_int_equal(s.head, 1);
	assert_int_equal(s.tail, 4);
	assert_int_equal(s.committed, 2);
	assert_int_equal(s.slots, SLOTS);
	assert_int_equal(s.messages, 3);
	assert_int_equal(s.bytes, 18);
	assert_int_equal(s.commits, 1);
	assert_int_equal(s.full, 0);
	assert_int_equal(reopen(0), 0);
	paste_wal_stats(wal, &s);
	assert_int_equal(s.epoch, 2);
	assert_int_equal(s.messages, 0);
}

static void bad_arguments(void **state)
{
	struct paste_wal *w = NULL;

	(void)state;
	assert_int_equal(paste_wal_format(log_area + 8, LEN - 64), -EINVAL);
	assert_int_equal(paste_wal_format(log_area, PASTE_WAL_MIN - 1), -EINVAL);
	assert_int_equal(paste_wal_format(log_area, 0), -EINVAL);
	assert_int_equal(paste_wal_open(log_area + 8, LEN - 64, &bufs, 0, NULL, NULL, &w), -EINVAL);
	assert_int_equal(paste_wal_open(log_area, 64, &bufs, 0, NULL, NULL, &w), -EINVAL);
	assert_int_equal(paste_wal_open(log_area, LEN, &bufs, 2, NULL, NULL, &w), -EINVAL);
	assert_null(w);
	paste_wal_close(NULL);
}

static void bad_header(void **state)
{
	(void)state;
	log_area[0]++;
	assert_int_equal(reopen(0), -EMEDIUMTYPE);
	log_area[0]--;
	put32(8, 2);
	assert_int_equal(reopen(0), -EBADMSG);
	seal(0);
	assert_int_equal(reopen(0), -EPROTONOSUPPORT);
	put32(8, 1);
	put32(12, 128);
	seal(0);
	assert_int_equal(reopen(0), -EBADMSG);
	put32(12, 64);
	put32(24, SLOTS + 1);
	seal(0);
	assert_int_equal(reopen(0), -EBADMSG);
	put32(24, SLOTS);
	put32(16, LEN + 64);
	seal(0);
	assert_int_equal(reopen(0), -EOVERFLOW);
	put32(16, LEN);
	seal(0);
	assert_int_equal(reopen(0), 0);
}

/* One copy is enough; the next open repairs the other. */
static void damaged_root(void **state)
{
	(void)state;
	append1(1, 0, 8, 7);
	paste_wal_commit(wal);
	log_area[64]++;
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "1:7(1,0,8)");
	log_area[4096 + 8]++;
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "1:7(1,0,8)");
	log_area[64]++;
	log_area[4096]++;
	assert_int_equal(reopen(0), -EBADMSG);
}

/* Right checksum, impossible content. */
static void impossible_root(void **state)
{
	static const struct {
		uint64_t head, start, epoch;
	} bad[] = {
		{ 0, 1, 1 }, { 1, 0, 1 }, { UINT64_MAX, 1, 1 }, { 1, UINT64_MAX, 1 },
		{ 1, 1, UINT64_MAX }, { 1, SLOTS + 2, 1 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(log_area + 64, &bad[i], sizeof(bad[i]));
		seal(64);
		memcpy(log_area + 4096, log_area + 64, 64);
		assert_int_equal(reopen(0), -EBADMSG);
	}
}

/* Later records are witnesses that an earlier one was committed. */
static void damaged_records(void **state)
{
	(void)state;
	append1(1, 0, 8, 1);
	append1(2, 0, 8, 2);
	paste_wal_commit(wal);
	append1(3, 0, 8, 3);
	paste_wal_commit(wal);
	/* Slots: 1, 2, 3; the third says that the second was committed. */
	log_area[8192 + 2 * 64 + 16]++;
	assert_int_equal(reopen(0), -EBADMSG);
	log_area[8192 + 2 * 64 + 16]--;
	buf[2][7]++;
	assert_int_equal(reopen(0), -EBADMSG);
	buf[2][7]--;
	/* Nobody says it of the third. */
	log_area[8192 + 3 * 64 + 16]++;
	assert_int_equal(reopen(PASTE_WAL_CRC), 0);
	assert_string_equal(replayed, "1:1(1,0,8)2:2(2,0,8)");
	/* Now that these have been delivered, they have to stay. */
	log_area[8192 + 2 * 64 + 16]++;
	assert_int_equal(reopen(0), -EBADMSG);
}

/* Records of one epoch whose checksum is right and content is not. */
static void impossible_records(void **state)
{
	static const struct {
		size_t at;
		uint32_t v;
	} bad[] = {
		{ 32, BUFS }, { 36, STRIDE + 1 }, { 40, STRIDE + 1 },	/* piece */
		{ 44, 0 }, { 44, 1 }, { 44, 2 }, { 44, 4 }, { 44, 3 | 16 }, /* flags */
		{ 44, 9 }, { 44, 10 }, { 44, 7 },	/* 7: the payload's CRC is 0 */
		{ 8, 7 }, { 0, 2 },			/* epoch, number */
	};
	char good[64], *rec = log_area + 8192 + 64;
	unsigned int i;

	(void)state;
	assert_int_equal(reopen(0), 0);
	append1(1, 0, 8, 1);
	paste_wal_commit(wal);
	memcpy(good, rec, 64);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char before[LEN];

		memcpy(before, log_area, LEN);
		put32(8192 + 64 + bad[i].at, bad[i].v);
		seal(8192 + 64);
		assert_int_equal(reopen(0), 0);
		assert_string_equal(replayed, "");
		memcpy(log_area, before, LEN);
	}
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "1:1(1,0,8)");
}

/* A piece that begins anew, or a message without end, ends the log before it. */
static void broken_messages(void **state)
{
	const struct paste_wal_piece p[] = { { 1, 0, 8 }, { 2, 0, 8 } };

	(void)state;
	append1(3, 0, 8, 1);
	paste_wal_append(wal, p, 2, 2);
	put32(8192 + 3 * 64 + 44, 4 | 2 | 1);
	seal(8192 + 3 * 64);
	assert_int_equal(reopen(PASTE_WAL_CRC), 0);
	assert_string_equal(replayed, "1:1(3,0,8)");
	paste_wal_append(wal, p, 2, 3);
	log_area[8192 + 3 * 64]++;
	assert_int_equal(reopen(PASTE_WAL_CRC), 0);
	assert_string_equal(replayed, "1:1(3,0,8)");
}

static void replay_gives_up(void **state)
{
	(void)state;
	append1(1, 0, 8, 1);
	append1(1, 0, 8, 2);
	paste_wal_commit(wal);
	replay_error = -EEXIST;
	assert_int_equal(reopen(0), -EEXIST);
	assert_null(wal);
	assert_string_equal(replayed, "1:1(1,0,8)");
	replay_error = 0;
	assert_int_equal(reopen(0), 0);
	assert_string_equal(replayed, "1:1(1,0,8)2:2(1,0,8)");
}

static void no_memory(void **state)
{
	int n;

	(void)state;
	append1(1, 0, 8, 1);
	paste_wal_commit(wal);
	for (n = 1; n <= 3; n++) {
		fail_calloc = n;
		assert_int_equal(reopen(0), -ENOMEM);
	}
	fail_calloc = 0;
	assert_int_equal(reopen(0), 0);
}

static void both_checksums(void **state)
{
	size_t at, len;

	(void)state;
	assert_int_equal(~crc_nibbles(~0u, (const unsigned char *)"123456789", 9), 0xe3069283);
	for (at = 0; at < 9; at++)
		for (len = 0; len < 40; len++)
			assert_int_equal(nmi_crc32c(5, log_area + at, len),
					 ~crc_nibbles(~5u, (unsigned char *)log_area + at, len));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(append_and_replay), T(without_payload_crc), T(few_fences),
		T(pieces_out_of_bounds), T(full), T(truncation), T(back_pressure),
		T(wrap), T(counters), T(bad_arguments),
		T(bad_header), T(damaged_root), T(impossible_root), T(damaged_records),
		T(impossible_records), T(broken_messages), T(replay_gives_up), T(no_memory),
		T(both_checksums),
	};

	return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
