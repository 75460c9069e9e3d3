// SPDX-License-Identifier: BSD-2-Clause
/*
 * The write-ahead log against LMDB: messages of 1 KiB per second, as CSV.
 *
 *	make -C bench wal_lmdb
 *	bench/wal_lmdb [messages [directory]]		100000, /dev/shm
 *
 * Both keep the messages in a file in the directory, mapped.  Each message is written
 * anew right before it is appended: for paste into the buffer it stays in, as a NIC
 * would have done it; for LMDB into one and the same kilobyte, as recv() would.
 * Columns: the workload, the back end, messages/s.
 *
 *	paste		the log, with payload CRCs; a commit after every batch
 *	lmdb		MDB_APPEND under ascending keys; MDB_WRITEMAP | MDB_NOSYNC, a
 *			transaction for every batch: nothing is durable
 *	lmdb_sync	MDB_WRITEMAP, synchronous, the same transactions
 *
 *	appendN		N messages in a batch (1, 64)
 *	replay		open the log, or the database, and read all messages in order
 *
 * What btree_lmdb.c says about flushes, msync() and directories holds here, too.
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
#include <paste_wal.h>

#define SIZE		1024	/* bytes of a message */
#define STRIDE		4096	/* of a buffer, which has four of them */

struct backend {
	const char *name;
	void (*open)(void);
	void (*append)(uint64_t first, uint64_t n);	/* a batch */
	void (*replay)(void);
	void (*close)(void);
};

static uint64_t messages = 100000;
static const char *directory = "/dev/shm";
static char path[4096];
static uint64_t sum;		/* of what was read, so that it is */

static void check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "wal_lmdb: %s: %s\n", what,
		err < 0 && err > -4096 ? strerror(-err) : mdb_strerror(err));
	exit(1);
}

static void read_message(const char *data, size_t len)
{
	uint64_t word;

	for (; len >= sizeof(word); data += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		sum += word;
	}
}

/* -------------------------------------------------------------------- paste */

static struct {
	char *mem;		/* the log's area, then buffers */
	size_t len, log_len;
	struct paste_wal_bufs bufs;
	struct paste_wal *wal;
} p;

static void paste_open_log(paste_wal_replay_fn *replay, uint64_t *found)
{
	check(paste_wal_open(p.mem, p.log_len, &p.bufs, PASTE_WAL_CRC, replay, found, &p.wal),
	      "open");
}

static void paste_open(void)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	p.log_len = (PASTE_WAL_MIN + messages * 64 + STRIDE - 1) / STRIDE * STRIDE;
	p.len = p.log_len + (messages * SIZE + STRIDE - 1) / STRIDE * STRIDE;
	check(fd < 0 ? -errno : 0, path);
	check(ftruncate(fd, (off_t)p.len) ? -errno : 0, path);
	p.mem = mmap(NULL, p.len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	check(p.mem == MAP_FAILED ? -errno : 0, "mmap");
	close(fd);
	p.bufs = (struct paste_wal_bufs) {
		p.mem + p.log_len, STRIDE, (uint32_t)((p.len - p.log_len) / STRIDE)
	};
	check(paste_wal_format(p.mem, p.log_len), "format");
	paste_open_log(NULL, NULL);
}

static void paste_append(uint64_t first, uint64_t n)
{
	for (; n--; first++) {
		uint64_t at = first * SIZE;
		struct paste_wal_piece piece = {
			(uint32_t)(at / STRIDE), (uint32_t)(at % STRIDE), SIZE
		};
		int64_t seq;

		memset((char *)p.bufs.base + at, (int)first, SIZE);
		seq = paste_wal_append(p.wal, &piece, 1, first);
		check(seq < 0 ? (int)seq : 0, "append");
	}
	paste_wal_commit(p.wal);
}

static int replay_message(const struct paste_wal_message *m, void *ctx)
{
	for (uint32_t i = 0; i < m->n; i++)
		read_message((char *)p.bufs.base + (size_t)m->pieces[i].buf * STRIDE +
			     m->pieces[i].offset, m->pieces[i].len);
	++*(uint64_t *)ctx;
	return 0;
}

static void paste_replay(void)
{
	uint64_t found = 0;

	paste_wal_close(p.wal);
	paste_open_log(replay_message, &found);
	check(found == messages ? 0 : -EIO, "replay");
}

static void paste_close(void)
{
	paste_wal_close(p.wal);
	munmap(p.mem, p.len);
}

/* --------------------------------------------------------------------- lmdb */

static struct {
	unsigned int flags;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	char message[SIZE];
} l;

static void lmdb_begin(unsigned int flags)
{
	check(mdb_txn_begin(l.env, NULL, flags, &l.txn), "begin");
}

static void lmdb_open_env(void)
{
	check(mdb_env_create(&l.env), "create");
	check(mdb_env_set_mapsize(l.env, (messages * 3 * SIZE + (64 << 20)) & ~(size_t)4095),
	      "mapsize");
	check(mdb_env_open(l.env, path, MDB_NOSUBDIR | MDB_WRITEMAP | l.flags, 0600), path);
	lmdb_begin(0);
	check(mdb_dbi_open(l.txn, NULL, MDB_INTEGERKEY, &l.dbi), "dbi");
	check(mdb_txn_commit(l.txn), "commit");
}

static void lmdb_open(void)
{
	l.flags = MDB_NOSYNC;
	lmdb_open_env();
}

static void lmdb_sync_open(void)
{
	l.flags = 0;
	lmdb_open_env();
}

static void lmdb_append(uint64_t first, uint64_t n)
{
	lmdb_begin(0);
	for (; n--; first++) {
		MDB_val key = { sizeof(first), &first }, value = { SIZE, l.message };

		memset(l.message, (int)first, SIZE);
		check(mdb_put(l.txn, l.dbi, &key, &value, MDB_APPEND), "put");
	}
	check(mdb_txn_commit(l.txn), "commit");
}

static void lmdb_replay(void)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t found = 0;

	mdb_env_close(l.env);
	lmdb_open_env();
	lmdb_begin(MDB_RDONLY);
	check(mdb_cursor_open(l.txn, l.dbi, &cursor), "cursor");
	for (; !mdb_cursor_get(cursor, &key, &value, MDB_NEXT); found++)
		read_message(value.mv_data, value.mv_size);
	check(found == messages ? 0 : -EIO, "replay");
	mdb_cursor_close(cursor);
	mdb_txn_abort(l.txn);
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

static void measure(const struct backend *b, uint64_t batch)
{
	double begin;
	uint64_t i;

	b->open();
	begin = now();
	for (i = 0; i < messages; i += batch)
		b->append(i, messages - i < batch ? messages - i : batch);
	printf("append%d,%s,%.0f\n", (int)batch, b->name, (double)messages / (now() - begin));
	if (batch > 1) {
		begin = now();
		b->replay();
		printf("replay,%s,%.0f\n", b->name, (double)messages / (now() - begin));
	}
	fflush(stdout);
	b->close();
	unlink(path);
}

int main(int argc, char **argv)
{
	static const struct backend backends[] = {
		{ "paste", paste_open, paste_append, paste_replay, paste_close },
		{ "lmdb", lmdb_open, lmdb_append, lmdb_replay, lmdb_close },
		{ "lmdb_sync", lmdb_sync_open, lmdb_append, lmdb_replay, lmdb_close },
	};

	if (argc > 1)
		messages = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		directory = argv[2];
	if (!messages || argc > 3) {
		fprintf(stderr, "usage: wal_lmdb [messages [directory]]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/wal_lmdb.%d", directory, (int)getpid());
	puts("workload,backend,messages_per_s");
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		measure(&backends[i], 1);
		measure(&backends[i], 64);
	}
	return sum == 1;
}
