// SPDX-License-Identifier: BSD-2-Clause
/*
 * The persistent tree against LMDB: operations per second, as CSV.
 *
 *	make -C bench btree_lmdb
 *	bench/btree_lmdb [keys [directory]]		1000000, /dev/shm
 *
 * Both keep keys and values of 8 bytes in a file in the directory, mapped; keys
 * come in random order.  Columns: the workload, the back end, operations/s.
 *
 *	paste		the tree, a commit after every batch
 *	lmdb		MDB_WRITEMAP | MDB_NOSYNC, a transaction for every batch:
 *			nothing is durable
 *	lmdb_sync	MDB_WRITEMAP, synchronous, the same transactions
 *
 *	insertN		N inserts in a batch (1, 64)
 *	find		by key, in another order, in one read transaction
 *	scan		all entries, ascending
 *	recover		open the tree again: entries/s, which must not depend on how
 *			many there are (paste only, as LMDB reads nothing then)
 *	deleteN		N deletes in a batch (64)
 *
 * What is compared: paste's flushes and fences, which make data durable if the
 * file is on persistent memory, with msync() in lmdb_sync.  In /dev/shm msync()
 * has nothing to do; give a directory of a disk to see what it costs there, with
 * fewer keys.  paste does not promise durability on such a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>
#include <paste_btree.h>

struct backend {
	const char *name;
	void (*open)(void);
	void (*insert)(uint64_t first, uint64_t n);	/* a batch */
	void (*find)(void);
	void (*scan)(void);
	void (*recover)(void);			/* NULL: nothing to do */
	void (*delete)(uint64_t first, uint64_t n);
	void (*close)(void);
};

static uint64_t keys = 1000000;
static const char *directory = "/dev/shm";
static char path[4096];
static size_t size;

static void check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "btree_lmdb: %s: %s\n", what,
		err < 0 && err > -4096 ? strerror(-err) : mdb_strerror(err));
	exit(1);
}

/* The i-th key: a bijection that looks random (the finaliser of SplitMix64). */
static uint64_t key(uint64_t i)
{
	i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9;
	i = (i ^ (i >> 27)) * 0x94d049bb133111eb;
	return i ^ (i >> 31);
}

/* Another order: 7919 is prime. */
static uint64_t other(uint64_t i)
{
	return i * 7919 % keys;
}

/* -------------------------------------------------------------------- paste */

static struct {
	void *area;
	struct paste_btree *tree;
} p;

static void paste_open(void)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	check(fd < 0 ? -errno : 0, path);
	check(ftruncate(fd, (off_t)size) ? -errno : 0, path);
	p.area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p.area == MAP_FAILED ? -errno : 0, "mmap");
	close(fd);
	check(paste_btree_format(p.area, size), "format");
	check(paste_btree_open(p.area, size, &p.tree), "open");
}

static void paste_insert(uint64_t first, uint64_t n)
{
	for (; n--; first++)
		check(paste_btree_insert(p.tree, key(first), first + 1), "insert");
	paste_btree_commit(p.tree);
}

static void paste_find(void)
{
	uint64_t i, ref;

	for (i = 0; i < keys; i++)
		check(paste_btree_find(p.tree, key(other(i)), &ref), "find");
}

static int count(uint64_t k, uint64_t ref, void *ctx)
{
	(void)k;
	(void)ref;
	++*(uint64_t *)ctx;
	return 0;
}

static void paste_scan(void)
{
	uint64_t n = 0;

	paste_btree_scan(p.tree, 0, UINT64_MAX, count, &n);
	check(n == keys ? 0 : -EIO, "scan");
}

static void paste_recover(void)
{
	struct paste_btree_stats s;

	paste_btree_close(p.tree);
	check(paste_btree_open(p.area, size, &p.tree), "open");
	paste_btree_stats(p.tree, &s);
	check(s.entries == keys ? 0 : -EIO, "recover");
}

static void paste_delete(uint64_t first, uint64_t n)
{
	for (; n--; first++)
		check(paste_btree_delete(p.tree, key(other(first)), NULL), "delete");
	paste_btree_commit(p.tree);
}

static void paste_close(void)
{
	paste_btree_close(p.tree);
	munmap(p.area, size);
}

/* --------------------------------------------------------------------- lmdb */

static struct {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
} l;

static void lmdb_begin(unsigned int flags)
{
	check(mdb_txn_begin(l.env, NULL, flags, &l.txn), "begin");
}

static void lmdb_open_as(unsigned int flags)
{
	check(mdb_env_create(&l.env), "create");
	check(mdb_env_set_mapsize(l.env, size), "mapsize");
	check(mdb_env_open(l.env, path, MDB_NOSUBDIR | MDB_WRITEMAP | flags, 0600), path);
	lmdb_begin(0);
	check(mdb_dbi_open(l.txn, NULL, MDB_INTEGERKEY, &l.dbi), "dbi");
	check(mdb_txn_commit(l.txn), "commit");
}

static void lmdb_open(void)
{
	lmdb_open_as(MDB_NOSYNC);
}

static void lmdb_sync_open(void)
{
	lmdb_open_as(0);
}

static MDB_val value(uint64_t *v)
{
	return (MDB_val){ sizeof(*v), v };
}

static void lmdb_insert(uint64_t first, uint64_t n)
{
	lmdb_begin(0);
	for (; n--; first++) {
		uint64_t k = key(first), ref = first + 1;
		MDB_val mk = value(&k), mv = value(&ref);

		check(mdb_put(l.txn, l.dbi, &mk, &mv, MDB_NOOVERWRITE), "put");
	}
	check(mdb_txn_commit(l.txn), "commit");
}

static void lmdb_find(void)
{
	uint64_t i;

	lmdb_begin(MDB_RDONLY);
	for (i = 0; i < keys; i++) {
		uint64_t k = key(other(i));
		MDB_val mk = value(&k), mv;

		check(mdb_get(l.txn, l.dbi, &mk, &mv), "get");
	}
	mdb_txn_abort(l.txn);
}

static void lmdb_scan(void)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	uint64_t n = 0;

	lmdb_begin(MDB_RDONLY);
	check(mdb_cursor_open(l.txn, l.dbi, &cursor), "cursor");
	while (!mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
		n++;
	check(n == keys ? 0 : -EIO, "scan");
	mdb_cursor_close(cursor);
	mdb_txn_abort(l.txn);
}

static void lmdb_delete(uint64_t first, uint64_t n)
{
	lmdb_begin(0);
	for (; n--; first++) {
		uint64_t k = key(other(first));
		MDB_val mk = value(&k);

		check(mdb_del(l.txn, l.dbi, &mk, NULL), "del");
	}
	check(mdb_txn_commit(l.txn), "commit");
}

static void lmdb_close(void)
{
	char lock[sizeof(path) + 8];

	mdb_env_close(l.env);
	snprintf(lock, sizeof(lock), "%s-lock", path);
	unlink(lock);
}

/* --------------------------------------------------------------- measurement */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const char *workload, unsigned int batch, const struct backend *b,
		   double begin)
{
	double seconds = now() - begin;

	printf("%s", workload);
	if (batch)
		printf("%u", batch);
	printf(",%s,%.0f\n", b->name, (double)keys / seconds);
	fflush(stdout);
}

static void batches(void (*what)(uint64_t first, uint64_t n), uint64_t batch)
{
	uint64_t i;

	for (i = 0; i < keys; i += batch)
		what(i, keys - i < batch ? keys - i : batch);
}

static void measure(const struct backend *b, unsigned int batch)
{
	double begin;

	b->open();
	begin = now();
	batches(b->insert, batch);
	report("insert", batch, b, begin);
	if (batch > 1) {
		begin = now();
		b->find();
		report("find", 0, b, begin);
		begin = now();
		b->scan();
		report("scan", 0, b, begin);
		if (b->recover) {
			begin = now();
			b->recover();
			report("recover", 0, b, begin);
		}
		begin = now();
		batches(b->delete, batch);
		report("delete", batch, b, begin);
	}
	b->close();
	unlink(path);
}

int main(int argc, char **argv)
{
	static const struct backend backends[] = {
		{ "paste", paste_open, paste_insert, paste_find, paste_scan, paste_recover,
		  paste_delete, paste_close },
		{ "lmdb", lmdb_open, lmdb_insert, lmdb_find, lmdb_scan, NULL,
		  lmdb_delete, lmdb_close },
		{ "lmdb_sync", lmdb_sync_open, lmdb_insert, lmdb_find, lmdb_scan, NULL,
		  lmdb_delete, lmdb_close },
	};
	size_t i;

	if (argc > 1)
		keys = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		directory = argv[2];
	if (!keys || keys % 7919 == 0 || argc > 3) {
		fprintf(stderr, "usage: btree_lmdb [keys [directory]]\n");
		return 2;
	}
	size = (keys * 128 + (64 << 20)) & ~(size_t)4095;
	snprintf(path, sizeof(path), "%s/btree_lmdb.%d", directory, (int)getpid());
	puts("workload,backend,ops_per_s");
	for (i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		measure(&backends[i], 1);
		measure(&backends[i], 64);
	}
	return 0;
}
