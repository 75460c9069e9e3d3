/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_fixture.h - a store of phttpd in memory, for the tests of it
 *
 * The test is the owner of the buffers, as a port is. It writes over those it is given back, so
 * that what is freed too early does not stay unnoticed.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <paste_region.h>

#include "store.h"

#define BUFS		600
#define LOG_LEN		(8192 + 4096)
#define TREE_LEN	65536
#define LEN		(8192 + LOG_LEN + TREE_LEN + 2 * 4096 + BUFS * 4096)
#define VALUE_MAX	20000

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

extern char mem[LEN];
extern struct paste_region *region;
extern struct store *st;
extern struct store_config cfg;		/* of the next open_store() */
extern bool kept[BUFS];			/* the store's */
extern uint32_t packet;			/* the buffer that arrive() fills; 0: another one */
extern int fail_alloc;			/* the n-th from now */

/* An empty store for values. */
int setup(void **state);
int teardown(void **state);

int open_store(void);

/* Commits, and finds it all again. Returns how many buffers are in use. */
uint32_t reopen(void);

/* Where the next @len bytes arrive: behind others, or in a buffer nobody has. */
char *arrive(size_t len);

/*
 * Short words.
 */

/* 1: created, 0: replaced, or -errno. */
int put(const char *key, const void *value, size_t len);
int put_text(const char *key, const char *value);

int delete(const char *key);

/* What read_value(), get() and list() have brought last. */
extern char text[VALUE_MAX + 1];

/* To the end, and done with @v. */
const char *read_value(struct store_value *v);

/* NULL: there is no such key. */
const char *get(const char *key);

/* "a b c", in the order they came. */
const char *list(const char *prefix);

/* @len bytes in all, in packets or elsewhere, announced or known not to be more than @most. */
int write_long(enum store_kind kind, size_t len, uint64_t most, bool in_place);

#endif
