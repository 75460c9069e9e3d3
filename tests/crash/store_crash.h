/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_crash.h: what the parts of the store's crash test share.
 *
 *	store_crash.c	the runs, and those without a flush or a commit
 *	store_model.c	what keys and log may have, and whether an image has it
 *	store_live.c	the store that is written to: its buffers, crash images of it, its deaths
 *	store_ops.c	what a run does to it, step by step
 */
#ifndef STORE_CRASH_H
#define STORE_CRASH_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <paste_region.h>

#include "recorder.h"
#include "store.h"

#define BUFS		60
#define LOG_RECORDS	64
#define LOG_LEN		(8192 + LOG_RECORDS * 64)
#define TREE_LEN	4096
#define MEM_LEN		(8192 + LOG_LEN + TREE_LEN + 2 * 4096 + BUFS * 4096)
#define KEYS		12
#define HISTORY		16
#define MESSAGES	200		/* of a run */
#define READERS		3
#define HUGE_STEP	256		/* bytes of a piece of a huge value */

struct history {
	unsigned int n;		/* at least 1 */
	uint64_t value[HISTORY];
};

struct run {
	uint64_t random;
	struct recorder *r;
	struct paste_region *region;
	struct store *store;
	bool ring;
	uint32_t limit;			/* buffers that the store may have */
	bool logging;			/* mostly */
	struct history key[KEYS];
	unsigned int hot;		/* first of the keys used most */
	unsigned int in_flight;		/* the key of this operation; KEYS: none */
	uint64_t message[MESSAGES];	/* appended, in order */
	unsigned int appended, committed;	/* of these */
	uint64_t next;			/* number of the next value or message */
	bool appending;			/* the last of these may not be there */
	bool crashed;			/* what is not committed need not be there */
	struct {
		struct store_value *v;
		uint64_t value;
	} reader[READERS];
	bool kept[BUFS];		/* the store's */
	uint32_t packet, packet_used;	/* being received into, bytes */
	const char *complaint;
	unsigned int save;		/* number of the image to go on with */
	char saved[MEM_LEN];
	jmp_buf dead;
	unsigned int kill;		/* in the hook so many hooks from now; 0: never */
	unsigned int step;
};

extern struct run t;
extern char mem[MEM_LEN];	/* live memory, which is recorded */

/* store_model.c */

uint64_t rnd(uint64_t n);

/* The first complaint ends the run. */
void complain(const char *what);

/* Returns how long the @i-th key is. */
size_t key_of(unsigned int i, char *key);

/* What a value or message consists of, by its number. */
bool is_huge(uint64_t number);
size_t length_of(uint64_t number);
char byte_of(uint64_t number, size_t i);

/* The key may have nothing but @value. */
void committed_key(unsigned int i, uint64_t value);

/* What has been written last. */
uint64_t current(unsigned int i);

/* What has been written and appended so far. */
void all_committed(void);
bool may_have(const struct history *h, uint64_t value);

struct content {
	uint64_t value[KEYS];
	uint64_t message[MESSAGES];
	unsigned int messages;
	bool logged[BUFS];		/* buffers that messages lie in */
};

/* Does a recovered image tell what it has, or is it emptied besides? */
enum recover_how { LOOK, DELETE, EMPTY };

/* Which of the values of the key is it? UINT64_MAX: none. */
uint64_t identify(const struct history *h, struct store *st, struct store_value *v);
uint64_t read_key(struct store *st, unsigned int i);

int open_store(void *image, bool ring, struct paste_region **region, struct store **st);

/* Opens the store in @image and says in @c what it has. */
int recover(void *image, struct content *c, enum recover_how how);

/* What is wrong with what recover() has returned and found; NULL: nothing. */
const char *judge(int err, const struct content *c);

/* store_live.c */

/* Open live memory; what is found is committed. */
void open_live(void);

/* What is in live memory now is durable. */
void restart_recorder(void);

/* The handle goes; memory stays as it is. */
void forget(void);

/* A process is killed: what has returned is there. */
void restart(void);

/* The power fails: go on with an image. */
void op_crash(void);

/* store_ops.c */

/* One of all operations. */
void step(void);

#endif /* STORE_CRASH_H */
