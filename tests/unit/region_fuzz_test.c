// SPDX-License-Identifier: BSD-2-Clause
/*
 * Damaged and hostile regions: what opens one refuses it or reads it correctly, does
 * nothing outside of it, and comes to an end.
 *
 *	base	   a region with a store, made by seed; its content is known
 *	image	   a copy of it that is damaged (bits, bytes, runs, zeros; shortened) or
 *		   forged (fields with chosen values, checksums made right again)
 *	opened by  paste_region_attach(), pastectl region check, paste_wal_open(),
 *		   paste_btree_open(), store_open()
 *
 * Of a damaged image: what is read of the log is the beginning of what was there; a key has
 * the value it had, to the last byte, or is refused, and that only if bytes of the value were
 * damaged themselves; and no key is missing unless the tree was damaged (its entries have no
 * checksum) or no other record tells that this one was committed.
 *
 * Of a forged one nothing is known. It is read, written to, closed and opened again, under
 * the sanitizers and a limit of CPU time.
 *
 *	REGION_FUZZ_IMAGES=1000000 REGION_FUZZ_SEED=7 tests/unit/region_fuzz_test
 *
 * A failure prints the seed of its image; with REGION_FUZZ_IMAGES=1 that one alone is made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

#include <paste_btree.h>
#include <paste_region.h>
#include <paste_wal.h>

#include "crc32c.h"
#include "record.h"
#include "region.h"
#include "store.h"

#define PAGE		4096
#define BUFS		160
#define LOG_LEN		(8192 + 4096)	/* 64 records */
#define TREE_LEN	8192		/* 31 leaves */
#define LOG_OFS		(2 * PAGE)
#define TREE_OFS	(LOG_OFS + LOG_LEN)
#define BUF_OFS		(TREE_OFS + TREE_LEN + 2 * PAGE)
#define LEN		(BUF_OFS + BUFS * PAGE)
#define KEYS		40
#define MESSAGES	30
#define VALUE_MAX	(512 * 256)
#define CPU_SECONDS	3		/* for one image, with sanitizers */
#define IMAGES		3000

struct key {
	size_t key_len, len;
	uint32_t line;		/* of its record */
	char key[STORE_KEY_MAX];
	char value[VALUE_MAX];
};

static struct {
	char mem[LEN];
	struct key key[KEYS];
	unsigned int keys;
	size_t message[MESSAGES];	/* their lengths; bytes are by number */
	unsigned int messages;
} base;

static _Alignas(PAGE) char image[LEN];
static uint64_t image_seed, state;
static bool kept[BUFS];
static struct paste_region *region;

static uint64_t rnd(uint64_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % n;
}

ssize_t __wrap_getrandom(void *buf, size_t len, unsigned int flags);

/* The same seed, the same region. */
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned int flags)
{
	size_t i;

	(void)flags;
	for (i = 0; i < len; i++)
		((char *)buf)[i] = (char)rnd(256);
	return (ssize_t)len;
}

static uint32_t get32(const char *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static uint64_t get64(const char *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

/* ------------------------------------------------------- the owner of buffers */

static uint32_t take(void *ctx)
{
	uint32_t buf, num = paste_region_info(region)->buf_num;

	(void)ctx;
	for (buf = PASTE_REGION_FIRST_BUF; buf < num; buf++) {
		if (!kept[buf]) {
			kept[buf] = true;
			return buf;
		}
	}
	return 0;
}

static bool keep(void *ctx, uint32_t buf)
{
	(void)ctx;
	kept[buf] = true;
	return true;
}

static void give(void *ctx, uint32_t buf)
{
	(void)ctx;
	assert_in_range(buf, PASTE_REGION_FIRST_BUF, BUFS - 1);
	assert_true(kept[buf]);
	kept[buf] = false;
}

static const struct space_owner owner = { take, keep, give };

static int open_store(char *mem, struct store **st)
{
	static const struct store_config cfg = { .values = true };
	uint32_t used[BUFS], n, i;
	const char *part;
	int err = paste_region_attach(mem, LEN, &region);

	if (err)
		return err;
	err = store_open(region, &cfg, st, &part);
	if (err) {
		paste_region_close(region);
		return err;
	}
	store_space(*st)->limit = BUFS;
	memset(kept, 0, sizeof(kept));
	n = store_used(*st, used, BUFS);
	assert_in_range(n, 0, BUFS);
	for (i = 0; i < n; i++)
		kept[used[i]] = true;
	space_set_owner(store_space(*st), &owner, NULL);
	return 0;
}

static void close_store(struct store *st)
{
	space_set_owner(store_space(st), NULL, NULL);
	store_close(st);
	paste_region_close(region);
}

/* --------------------------------------------------------------------- the base */

static char message_byte(unsigned int number, size_t i)
{
	return (char)(number * 37 + i * 11);
}

static void add_bytes(struct store_write *w, const char *data, size_t len)
{
	while (len) {
		size_t n = 1 + rnd(len < 3000 ? len : 3000);

		assert_int_equal(store_add(w, data, n), 0);
		data += n;
		len -= n;
	}
}

/* In turn from one of many buffers, so that there are more pieces than a record has room for. */
static void add_scattered(struct store_write *w, const char *data, size_t len)
{
	uint32_t buf[32], i;

	for (i = 0; i < 32; i++)
		buf[i] = take(NULL);
	for (i = 0; i < 32; i++)
		kept[buf[i]] = false;
	for (i = 0; i < len / 256; i++) {
		char *at = (char *)paste_region_buf(region, buf[i % 32]) + i / 32 * 256;

		memcpy(at, data + i * 256, 256);
		assert_int_equal(store_add(w, at, 256), 0);
	}
}

/* Make a value, or another one for a key that is there. */
static void put(struct store *st, struct key *k, bool huge)
{
	struct store_write *w = store_begin(st, STORE_VALUE, 0);
	bool created;
	size_t i;

	k->len = huge ? VALUE_MAX : rnd(3) ? rnd(300) : rnd(9000);
	for (i = 0; i < k->len; i++)
		k->value[i] = (char)rnd(256);
	if (huge)
		add_scattered(w, k->value, k->len);
	else
		add_bytes(w, k->value, k->len);
	assert_int_equal(store_put(w, k->key, k->key_len, &created), 0);
}

static void append(struct store *st)
{
	static char text[6000];
	struct store_write *w = store_begin(st, STORE_MESSAGE, 0);
	size_t i, len = rnd(4) ? rnd(200) : rnd(sizeof(text));

	for (i = 0; i < len; i++)
		text[i] = message_byte(base.messages, i);
	add_bytes(w, text, len);
	assert_int_equal(store_append(w), 0);
	base.message[base.messages++] = len;
}

static const struct key *key_called(const char *key, size_t len)
{
	unsigned int i;

	for (i = 0; i < base.keys; i++)
		if (base.key[i].key_len == len && !memcmp(base.key[i].key, key, len))
			return &base.key[i];
	return NULL;
}

static const char *record_at(const char *mem, uint32_t line)
{
	return mem + BUF_OFS + line * 64ul;
}

static int note_record(uint64_t number, uint64_t ref, void *ctx)
{
	const char *at = record_at(base.mem, record_line(ref));

	(void)ctx;
	if (number != UINT64_MAX)
		base.key[key_called(at + 40, get32(at + 32) & 0xffff) - base.key].line =
			record_line(ref);
	return 0;
}

static void note_records(void)
{
	struct paste_btree *tree;

	memcpy(image, base.mem, LEN);
	assert_int_equal(paste_btree_open(image + TREE_OFS, TREE_LEN, &tree), 0);
	paste_btree_scan(tree, 0, UINT64_MAX, note_record, NULL);
	paste_btree_close(tree);
}

static void make_base(uint64_t seed)
{
	static const struct paste_region_layout layout = {
		.size = LEN, .log_size = LOG_LEN, .tree_size = TREE_LEN,
		.if_num = 1, .if_size = 64, .ring_num = 1, .ring_size = 128,
	};
	static const size_t key_len[] = { 1, 8, 20, 100, STORE_KEY_MAX };
	struct store *st = NULL;
	unsigned int i;

	memset(&base, 0, sizeof(base));
	memset(image, 0, LEN);
	state = seed;
	assert_int_equal(paste_region_format(image, LEN, &layout), 0);
	assert_int_equal(open_store(image, &st), 0);
	base.keys = 4 + (unsigned int)rnd(KEYS - 4);
	for (i = 0; i < base.keys; i++) {
		struct key *k = &base.key[i];

		k->key_len = key_len[rnd(5)];
		memset(k->key, (int)i, k->key_len);
		put(st, k, i == 1);
		if (rnd(3) == 0)
			store_commit(st);
	}
	store_commit(st);
	for (i = 0; i < base.keys; i += 3)
		append(st);
	for (i = 2; i < base.keys; i++) {
		if (rnd(5) == 0)
			put(st, &base.key[i], false);
	}
	store_commit(st);
	store_commit(st);	/* the versions before are gone */
	close_store(st);
	memcpy(base.mem, image, LEN);
	note_records();
}

/* --------------------------------------------------------------------- looking */

/* Is the record what it was, in all its buffers? */
static bool is_record_whole(uint32_t line)
{
	const char *at = record_at(base.mem, line);
	size_t len = 64 * record_lines(get32(at + 32) & 0xffff, get32(at + 20));
	uint32_t more = get32(at + 28);

	if (memcmp(at, record_at(image, line), len))
		return false;
	for (; more; more = get32(record_at(base.mem, more * 64) + 8))
		if (memcmp(record_at(base.mem, more * 64), record_at(image, more * 64), PAGE))
			return false;
	return true;
}

/* Does any record that is left say that the one of key @k was committed? */
static bool is_known(unsigned int k)
{
	uint64_t seq = get64(record_at(base.mem, base.key[k].line));
	unsigned int i;

	for (i = 0; i < base.keys; i++)
		if (is_record_whole(base.key[i].line) &&
		    get64(record_at(base.mem, base.key[i].line) + 8) >= seq)
			return true;
	return false;
}

/* Are there bytes of the value that were damaged? */
static bool is_value_damaged(const struct key *k)
{
	const struct space was = { .base = base.mem + BUF_OFS, .num = BUFS };
	struct record_walk w;
	struct space_piece p;

	record_walk(&was, k->line, &w);
	while (record_next(&w, &p)) {
		size_t at = BUF_OFS + (size_t)p.buf * PAGE + p.offset;

		if (memcmp(image + at, base.mem + at, p.len))
			return true;
	}
	return false;
}

static unsigned long withheld;

/* Right or refused, the second time as well. */
static void check_value(struct store *st, const struct key *k)
{
	struct store_value *v;
	struct space_piece p;
	size_t at = 0;

	if (is_value_damaged(k)) {
		assert_int_equal(store_get(st, k->key, k->key_len, &v), -EBADMSG);
		assert_int_equal(store_get(st, k->key, k->key_len, &v), -EBADMSG);
		withheld++;
		return;
	}
	assert_int_equal(store_get(st, k->key, k->key_len, &v), 0);
	assert_int_equal(store_length(v), k->len);
	while (store_next(v, &p)) {
		assert_true(at + p.len <= k->len);
		assert_memory_equal(store_bytes(store_space(st), &p), k->value + at, p.len);
		at += p.len;
	}
	assert_int_equal(at, k->len);
	store_done(v);
}

/* Returns how many keys are missing. */
static unsigned int check_values(struct store *st, bool tree_damaged)
{
	bool found[KEYS] = { false };
	unsigned int missing = 0, k;
	struct store_key *list;
	ssize_t n = store_list(st, "", 0, &list), i;

	assert_true(n >= 0);
	for (i = 0; i < n; i++) {
		const struct key *key = key_called(list[i].key, list[i].len);

		assert_non_null(key);
		found[key - base.key] = true;
		check_value(st, key);
	}
	free(list);
	for (k = 0; k < base.keys; k++) {
		missing += !found[k];
		if (!found[k] && !tree_damaged)
			assert_false(is_known(k));
	}
	return missing;
}

struct messages {
	unsigned int n;
	bool any;		/* forged: read the bytes, whatever they are */
};

static int note_message(const struct paste_wal_message *m, void *ctx)
{
	struct messages *found = ctx;
	size_t at = 0, b;
	uint32_t i;

	for (i = 0; i < m->n; i++) {
		const struct paste_wal_piece *p = &m->pieces[i];
		const char *data = image + BUF_OFS + (size_t)p->buf * PAGE + p->offset;

		for (b = 0; b < p->len; b++, at++)
			if (data[b] != message_byte(found->n, at))
				assert_true(found->any);
	}
	if (!found->any)
		assert_int_equal(at, base.message[found->n]);
	found->n++;
	return 0;
}

static void check_log(bool any)
{
	const struct paste_wal_bufs bufs = { image + BUF_OFS, PAGE, BUFS };
	struct messages found = { .any = any };
	static _Alignas(PAGE) char copy[LOG_LEN];
	struct paste_wal *wal;

	memcpy(copy, image + LOG_OFS, LOG_LEN);
	if (!paste_wal_open(copy, LOG_LEN, &bufs, 0, note_message, &found, &wal))
		paste_wal_close(wal);
	if (!any)
		assert_in_range(found.n, 0, base.messages);
}

static void check_tree(void)
{
	static _Alignas(PAGE) char copy[TREE_LEN];
	struct paste_btree_stats s;
	struct paste_btree *tree;

	memcpy(copy, image + TREE_OFS, TREE_LEN);
	if (paste_btree_open(copy, TREE_LEN, &tree))
		return;
	paste_btree_stats(tree, &s);
	assert_in_range(s.leaves, 1, TREE_LEN / 256);
	paste_btree_close(tree);
}

/* pastectl region check, of a file of @len bytes that begins as the image does. */
static void check_command(size_t len)
{
	int fd = memfd_create("region", MFD_CLOEXEC), out = dup(1), err = dup(2);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char path[40], *argv[] = { "check", path, NULL };
	const char *why;

	if (fd < 0 || out < 0 || err < 0 || null < 0) {
		fail_msg("no descriptors: %s", strerror(errno));
		return;
	}
	assert_int_equal(pwrite(fd, image, len, 0), len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fflush(stdout);
	dup2(null, 1);
	dup2(null, 2);
	if (len < LEN)
		assert_int_not_equal(region_command(2, argv, &why), 0);
	else
		region_command(2, argv, &why);
	fflush(stdout);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	close(null);
	close(fd);
}

/* --------------------------------------------------------------------- damage */

static void damage_run(char *at, size_t room)
{
	size_t n = 1 + rnd(rnd(2) ? 8 : 300), i;
	unsigned int how = (unsigned int)rnd(4);

	if (n > room)
		n = room;
	for (i = 0; i < n; i++)
		at[i] = (char)(how == 0 ? 0 : how == 1 ? 255 : how == 2 ? (int)rnd(256) :
			       at[i] ^ 1 << rnd(8));
}

/* Somewhere in an area, or anywhere. Returns whether the tree may be concerned. */
static bool damage(void)
{
	static const size_t begin[] = { 0, LOG_OFS, TREE_OFS, BUF_OFS, 0 };
	static const size_t end[] = { LOG_OFS, TREE_OFS, BUF_OFS, LEN, LEN };
	unsigned int area = (unsigned int)rnd(5), n;

	for (n = 1 + (unsigned int)rnd(4); n; n--) {
		size_t at = begin[area] + rnd(end[area] - begin[area]);

		if (area == 3 && rnd(2))	/* what is checked most */
			at = BUF_OFS + base.key[rnd(base.keys)].line * 64ul + rnd(64);
		damage_run(image + at, end[area] - at);
	}
	return area == 2 || area == 4;
}

/* --------------------------------------------------------------------- forging */

static void set32(char *at, uint32_t v)
{
	memcpy(at, &v, sizeof(v));
}

static uint32_t some_line(void)
{
	return base.key[rnd(base.keys)].line;
}

/* A number that may mean something. */
static uint32_t some_word(void)
{
	static const uint32_t words[] = {
		0, 1, 2, 3, 15, 63, 64, 255, 510, 1024, 4095, PAGE, LEN, BUFS - 1, BUFS,
		0x7fffffff, 0x80000000, 0xfffff000, 0xfffffffe, 0xffffffff,
	};

	switch (rnd(4)) {
	case 0:
		return some_line() / 64;
	case 1:
		return some_line();
	case 2:
		return (uint32_t)rnd(BUFS);
	default:
		return words[rnd(sizeof(words) / sizeof(words[0]))];
	}
}

/* Change words among @n at @at. */
static void forge_words(char *at, unsigned int n)
{
	unsigned int k;

	for (k = 1 + (unsigned int)rnd(3); k; k--)
		set32(at + 4 * rnd(n), some_word());
}

static void forge_superblock(void)
{
	forge_words(image + 8, 29);
	set32(image + 124, nmi_crc32c(0, image, 124));
	memcpy(image + PAGE, image, 128);
}

/* Header, a root, or a record of the log. */
static void forge_log(void)
{
	size_t lines[] = { 0, 64, PAGE, 8192 + rnd(64) * 64, 8192 + rnd(64) * 64 };
	char *line = image + LOG_OFS + lines[rnd(5)];

	forge_words(line, 15);
	set32(line + 60, nmi_crc32c(0, line, 60));
}

/* A leaf, or its header; then all links get the checks that belong to them. */
static void forge_tree(void)
{
	char *tree = image + TREE_OFS, *leaf = tree + 256 * (1 + rnd(TREE_LEN / 256 - 1));
	size_t n;

	if (rnd(8) == 0) {
		forge_words(tree + 8, 13);
		set32(tree + 60, nmi_crc32c(0, tree, 60));
	} else if (rnd(2)) {
		forge_words(leaf, 64);
	} else {		/* an entry that names another's record, or none */
		set32(leaf + 16 + 16 * rnd(15) + 12, some_word());
	}
	for (n = 1; n < TREE_LEN / 256; n++) {
		uint64_t low = 0;
		uint32_t next;

		leaf = tree + 256 * n;
		next = get32(leaf);
		if (next >= TREE_LEN / 256)
			continue;
		if (next)
			memcpy(&low, tree + 256 * next + 8, sizeof(low));
		set32(leaf + 4, nmi_crc32c(nmi_crc32c(0, leaf, 4), &low, sizeof(low)));
	}
}

/* As its format has it; so that this is right for whatever the fields say. */
static void seal_record(char *at, size_t room)
{
	uint64_t pieces = get32(at + 20), fit;
	size_t begin = 40 + ((get32(at + 32) & 0xffff) + 7) / 8 * 8;

	if (begin > room)
		return;
	fit = (PAGE - begin) / 8;
	if (pieces > fit)
		pieces = fit;
	if (begin + 8 * pieces > room)
		return;
	set32(at + 36, 0);
	set32(at + 36, nmi_crc32c(0, at, begin + 8 * pieces));
}

/* A buffer with further pieces, the record's last ones. */
static void seal_more(char *at, uint32_t pieces)
{
	set32(at + 12, 0);
	set32(at + 12, nmi_crc32c(0, at, 16 + 8 * (pieces < 510 ? pieces : 510)));
}

static void forge_record(void)
{
	uint32_t line = some_line();
	const char *was = record_at(base.mem, line);
	char *at = image + BUF_OFS + line * 64ul;
	size_t key = ((get32(was + 32) & 0xffff) + 7) / 8 * 8;
	uint32_t more = get32(was + 28);

	if (more && rnd(2)) {
		char *next = image + BUF_OFS + (size_t)more * PAGE;

		forge_words(next + 8, 10);
		seal_more(next, get32(at + 20) - (uint32_t)(PAGE - 40 - key) / 8);
	}
	if (rnd(2))
		forge_words(at, 10);
	else if (40 + key + 32 <= PAGE)
		forge_words(at + 40 + key, 8);
	seal_record(at, PAGE - line % 64 * 64);
}

static void forge(void)
{
	unsigned int n;

	for (n = 1 + (unsigned int)rnd(4); n; n--) {
		switch (rnd(8)) {
		case 0:
			forge_superblock();
			break;
		case 1:
			forge_log();
			break;
		case 2:
		case 3:
		case 4:
			forge_tree();
			break;
		default:
			forge_record();
		}
	}
}

static void read_value(struct store *st, const struct store_key *key)
{
	volatile char sum = 0;
	struct store_value *v;
	struct space_piece p;
	int err = store_get(st, key->key, key->len, &v);

	if (err) {
		assert_int_equal(err, -EBADMSG);
		return;
	}
	while (store_next(v, &p))
		for (size_t b = 0; b < p.len; b++)
			sum += store_bytes(store_space(st), &p)[b];
	store_done(v);
}

/* Read everything, change something, leave it. */
static void use(struct store *st)
{
	char key[STORE_KEY_MAX], text[600] = "";
	struct store_write *w;
	struct store_key *list;
	ssize_t n = store_list(st, "", 0, &list), i;
	bool created;

	assert_true(n >= 0);
	for (i = 0; i < n; i++)
		read_value(st, &list[i]);
	for (i = 0; i < n && i < 4; i++) {
		size_t len = list[i].len;

		memcpy(key, list[i].key, len);
		w = store_begin(st, STORE_VALUE, 0);
		if (!store_add(w, text, sizeof(text)))
			store_put(w, key, len, &created);
		else
			store_abort(w);
		if (i % 2)
			store_delete(st, key, len);
		free(list);
		n = store_list(st, "", 0, &list);
	}
	free(list);
	w = store_begin(st, STORE_MESSAGE, 0);
	if (!store_add(w, text, sizeof(text)))
		store_append(w);
	else
		store_abort(w);
	store_commit(st);
	store_commit(st);
}

/* --------------------------------------------------------------------- running */

static char no_end[80];		/* a signal handler must not make it */

static void took_too_long(int signal)
{
	(void)signal;
	_exit(write(2, no_end, strlen(no_end)) < 0 ? 2 : 1);
}

static void begin_image(uint64_t seed)
{
	const struct itimerval limit = { .it_value.tv_sec = CPU_SECONDS };

	if (seed % 100 == 0 || !base.keys)
		make_base(seed / 100 + 1);
	image_seed = seed;
	state = seed * 0x9e3779b97f4a7c15ull;
	memcpy(image, base.mem, LEN);
	snprintf(no_end, sizeof(no_end), "seed %llu: no end\n", (unsigned long long)seed);
	signal(SIGVTALRM, took_too_long);
	setitimer(ITIMER_VIRTUAL, &limit, NULL);
}

static uint64_t number_in(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void each_image(void (*test)(void))
{
	uint64_t n = number_in("REGION_FUZZ_IMAGES", IMAGES);
	uint64_t seed = number_in("REGION_FUZZ_SEED", 1), i;

	base.keys = 0;
	for (i = 0; i < n; i++) {
		begin_image(seed + i);
		test();
	}
}

static unsigned long opened, refused, lossy;

static void one_damaged(void)
{
	bool tree_damaged = damage();
	struct store *st;

	check_log(false);
	check_tree();
	if (image_seed % 8 == 0)
		check_command(image_seed % 16 ? LEN : rnd(LEN));
	if (open_store(image, &st)) {
		refused++;
		return;
	}
	opened++;
	lossy += check_values(st, tree_damaged) != 0;
	close_store(st);
}

static void damaged(void **cmocka)
{
	(void)cmocka;
	opened = refused = lossy = withheld = 0;
	each_image(one_damaged);
	printf("# %lu refused, %lu read, %lu of these without some keys; %lu values withheld\n",
	       refused, opened, lossy, withheld);
}

static void one_forged(void)
{
	struct store *st;

	forge();
	check_log(true);
	check_tree();
	if (image_seed % 8 == 0)
		check_command(LEN);
	if (open_store(image, &st)) {
		refused++;
		return;
	}
	opened++;
	use(st);
	close_store(st);
	assert_int_equal(open_store(image, &st), 0);
	close_store(st);
}

static void forged(void **cmocka)
{
	(void)cmocka;
	opened = refused = 0;
	each_image(one_forged);
	printf("# %lu refused, %lu used\n", refused, opened);
}

/* The record with further pieces has 2^32 - 1 of them, in a buffer that goes on with itself. */
static void endless(void **cmocka)
{
	struct store *st;
	unsigned int i;

	(void)cmocka;
	begin_image(100);
	for (i = 0; i < base.keys; i++) {
		char *at = image + BUF_OFS + base.key[i].line * 64ul, *more;
		uint32_t buf = get32(at + 28);

		if (!buf)
			continue;
		more = image + BUF_OFS + (size_t)buf * PAGE;
		set32(at + 16, UINT32_MAX);
		set32(at + 20, UINT32_MAX);
		seal_record(at, PAGE - base.key[i].line % 64 * 64);
		set32(more + 8, buf);
		seal_more(more, UINT32_MAX);
	}
	assert_int_not_equal(open_store(image, &st), 0);
}

/* What was there is not taken for a new store because its beginning is gone. */
static void zeroed_beginning(void **cmocka)
{
	struct store *st;

	(void)cmocka;
	begin_image(100);
	memset(image + TREE_OFS, 0, 64);
	assert_int_not_equal(open_store(image, &st), 0);
	begin_image(100);
	memset(image + LOG_OFS, 0, 64);
	assert_int_not_equal(open_store(image, &st), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endless),
		cmocka_unit_test(zeroed_beginning),
		cmocka_unit_test(damaged),
		cmocka_unit_test(forged),
	};

	return cmocka_run_group_tests_name("region_fuzz", tests, NULL, NULL);
}
