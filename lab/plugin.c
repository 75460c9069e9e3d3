// SPDX-License-Identifier: BSD-2-Clause
/*
 * plugin.c - QEMU TCG plugin for lab/profile: counts how often each translation block of the guest runs.
 *
 * A block is known by its start address and its number of instructions; translating it again finds its counter again.
 * Counting is a single add in the translated code where the API allows it. For each connection to the unix socket
 * given as `socket=PATH` (relative to QEMU's directory) a line with a file name is read, the counters are written to
 * that file, and "ok" or a reason is answered. The file is struct snapshot, then a struct block for each that has run.
 *
 * A string instruction with REP is translated, by some versions of QEMU, into a block that repeats itself. Blocks of
 * just such an instruction are marked, so that the reader can tell its iterations from instructions.
 *
 * Two APIs: version 1 (QEMU before 9) adds to a plain address, which loses counts with several vCPUs, so those call a
 * function; version 3 and later (QEMU 9.1) has counters per vCPU. Debian packages no header, so what is used is declared
 * here, for the QEMU_MAJOR given by the compiler's command line, unless there is one.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- the plugin API ---- */

#if __has_include(<qemu-plugin.h>) && __has_include(<glib.h>)
#include <qemu-plugin.h>
#else
#define QEMU_PLUGIN_EXPORT __attribute__((visibility("default")))
#define QEMU_PLUGIN_VERSION (QEMU_MAJOR < 9 ? 1 : 3)

typedef uint64_t qemu_plugin_id_t;
typedef struct {
	const char *target_name;
	struct {
		int min, cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus, max_vcpus;
	} system;
} qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*f)(qemu_plugin_id_t, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
#if QEMU_MAJOR < 9
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*f)(unsigned int, void *),
					  enum qemu_plugin_cb_flags flags, void *argument);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op, void *p, uint64_t n);
#else
struct qemu_plugin_scoreboard;
typedef struct {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
} qemu_plugin_u64;
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *data, size_t length);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size);
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64 entry);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb, enum qemu_plugin_op op,
						       qemu_plugin_u64 entry, uint64_t n);
#endif
#endif

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;
QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

/* ---- the file ---- */

struct snapshot {
	uint64_t nanoseconds;	/* CLOCK_MONOTONIC in the middle of reading the counters */
	uint64_t untracked;	/* blocks that found no room: anything but 0 means that the counts are too small */
};

struct block {
	uint64_t address;
	uint32_t instructions;
	uint32_t repeats;	/* 1: one string instruction with REP, which runs once for each iteration */
	uint64_t count;		/* executions; 0 in the table, where `counters` has it */
};

/* ---- blocks ---- */

enum { BLOCKS_MAX = 1 << 20, SLOTS = 1 << 21, INSTRUCTION_MAX = 15 };

static struct block blocks[BLOCKS_MAX];
static uint32_t n_blocks;
static uint32_t slots[SLOTS];	/* hash table: index in `blocks` plus 1 */
static uint64_t untracked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* translation runs in every vCPU's thread */

/* The index of a block, or -1 when the table is full. */
static int64_t find_block(uint64_t address, uint32_t instructions, uint32_t repeats)
{
	uint64_t hash = (address ^ (uint64_t)instructions << 48) * 0x9e3779b97f4a7c15;
	uint32_t *slot = &slots[hash % SLOTS];

	for (; *slot; slot = slot + 1 < slots + SLOTS ? slot + 1 : slots) {
		struct block *b = &blocks[*slot - 1];

		if (b->address == address && b->instructions == instructions)
			return *slot - 1;
	}
	if (n_blocks == BLOCKS_MAX) {
		untracked++;
		return -1;
	}
	blocks[n_blocks] = (struct block){ .address = address, .instructions = instructions, .repeats = repeats };
	*slot = ++n_blocks;
	return n_blocks - 1;
}

static size_t instruction_bytes(const struct qemu_plugin_insn *insn, uint8_t *bytes)
{
	size_t length = qemu_plugin_insn_size(insn);

	if (length > INSTRUCTION_MAX)
		return 0;
#if QEMU_MAJOR < 9
	memcpy(bytes, qemu_plugin_insn_data(insn), length);
#else
	qemu_plugin_insn_data(insn, bytes, length);
#endif
	return length;
}

/* MOVS, CMPS, STOS, LODS or SCAS after a REP prefix, with a REX or operand size prefix or without. */
static bool is_repeated(const struct qemu_plugin_insn *insn)
{
	uint8_t bytes[INSTRUCTION_MAX];
	size_t length = instruction_bytes(insn, bytes);
	bool rep = false;

	for (size_t i = 0; i + 1 < length; i++)
		rep |= bytes[i] == 0xf2 || bytes[i] == 0xf3;
	return rep && length <= 4 && ((bytes[length - 1] >= 0xa4 && bytes[length - 1] <= 0xa7) ||
				      (bytes[length - 1] >= 0xaa && bytes[length - 1] <= 0xaf));
}

/* ---- counters ---- */

#if QEMU_MAJOR < 9
static uint64_t *counters;	/* of each vCPU, BLOCKS_MAX of them */
static int cpus;

static bool make_counters(const qemu_info_t *info)
{
	cpus = info->system.max_vcpus;
	counters = calloc((size_t)cpus * BLOCKS_MAX, sizeof(*counters));
	return counters;
}

static void count_execution(unsigned int cpu, void *index)
{
	counters[(size_t)cpu * BLOCKS_MAX + (uintptr_t)index]++;
}

static void count_block(struct qemu_plugin_tb *tb, size_t index)
{
	if (cpus == 1)
		qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &counters[index], 1);
	else
		qemu_plugin_register_vcpu_tb_exec_cb(tb, count_execution, QEMU_PLUGIN_CB_NO_REGS, (void *)index);
}

static uint64_t executions(size_t index)
{
	uint64_t sum = 0;

	for (int i = 0; i < cpus; i++)
		sum += counters[(size_t)i * BLOCKS_MAX + index];
	return sum;
}
#else
static struct qemu_plugin_scoreboard *counters;

static bool make_counters(const qemu_info_t *info)
{
	(void)info;
	counters = qemu_plugin_scoreboard_new(BLOCKS_MAX * sizeof(uint64_t));
	return counters;
}

static qemu_plugin_u64 counter(size_t index)
{
	return (qemu_plugin_u64){ .score = counters, .offset = index * sizeof(uint64_t) };
}

static void count_block(struct qemu_plugin_tb *tb, size_t index)
{
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, counter(index), 1);
}

static uint64_t executions(size_t index)
{
	return qemu_plugin_u64_sum(counter(index));
}
#endif

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	bool repeats = n == 1 && is_repeated(qemu_plugin_tb_get_insn(tb, 0));
	int64_t index;

	(void)id;
	pthread_mutex_lock(&lock);
	index = find_block(qemu_plugin_tb_vaddr(tb), n, repeats);
	pthread_mutex_unlock(&lock);
	if (index >= 0)
		count_block(tb, index);
}

/* ---- snapshots ---- */

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Counts first, all in memory, so that the moment is short; returns how many blocks. */
static size_t read_counters(struct block *copy, struct snapshot *snapshot)
{
	size_t used = 0, n;
	uint64_t start;

	pthread_mutex_lock(&lock);
	n = n_blocks;
	snapshot->untracked = untracked;
	pthread_mutex_unlock(&lock);
	start = nanoseconds();
	for (size_t i = 0; i < n; i++) {
		copy[used] = blocks[i];
		copy[used].count = executions(i);
		used += copy[used].count > 0;
	}
	snapshot->nanoseconds = start + (nanoseconds() - start) / 2;
	return used;
}

static const char *write_snapshot(const char *path)
{
	struct block *copy = malloc(sizeof(blocks));
	struct snapshot snapshot;
	FILE *f = fopen(path, "w");
	const char *answer = "ok";

	if (!copy || !f) {
		answer = strerror(errno);
	} else {
		size_t n = read_counters(copy, &snapshot);

		if (fwrite(&snapshot, sizeof(snapshot), 1, f) != 1 || fwrite(copy, sizeof(*copy), n, f) != n)
			answer = "cannot write";
	}
	if (f && fclose(f))
		answer = "cannot write";
	free(copy);
	return answer;
}

static void answer_request(int fd)
{
	char path[256];
	ssize_t n = read(fd, path, sizeof(path) - 1);
	const char *answer;

	if (n > 0) {
		path[n] = '\0';
		path[strcspn(path, "\n")] = '\0';
		answer = write_snapshot(path);
		send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	}
	close(fd);
}

static void *serve(void *listener)
{
	for (;;) {
		int fd = accept((int)(intptr_t)listener, NULL, NULL);

		if (fd >= 0)
			answer_request(fd);
	}
	return NULL;
}

static bool start_server(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t thread;

	if (strlen(path) >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, path, strlen(path) + 1);
	unlink(path);
	return fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof(address)) && !listen(fd, 4) &&
	       !pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	static const char option[] = "socket=";

	if (argc != 1 || strncmp(argv[0], option, strlen(option))) {
		fprintf(stderr, "plugin: the only argument is socket=PATH\n");
		return 1;
	}
	if (!make_counters(info) || !start_server(argv[0] + strlen(option))) {
		fprintf(stderr, "plugin: %s: %s\n", argv[0], strerror(errno));
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
