// SPDX-License-Identifier: BSD-2-Clause
/*
 * Making regions and looking at them.  Nothing but create changes one: opening a log or a
 * tree recovers it, so check does that with copies of their areas.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <paste_btree.h>
#include <paste_region.h>
#include <paste_wal.h>

#include "args.h"
#include "region.h"

static int fail(const char *path, const char *what, const char *why)
{
	fprintf(stderr, "pastectl: %s: %s%s\n", path, what, why);
	return 1;
}

static int create(int argc, char **argv, const char **why)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' }, { "log", required_argument, NULL, 'l' },
		{ "tree", required_argument, NULL, 't' }, { "replace", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	struct paste_region_layout layout = { 0 };
	int c, e;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t *to = c == 's' ? &layout.size : c == 'l' ? &layout.log_size :
			       &layout.tree_size;

		if (c == 'r')
			layout.replace = true;
		else if (c == '?')
			return *why = BAD_OPTION, 2;
		else if (read_size(optarg, to))
			return *why = "a size is a number of bytes, perhaps with K, M, G or T", 2;
	}
	if (argc - optind != 1)
		return *why = "expected one path", 2;
	e = paste_region_create(argv[optind], &layout);
	return e ? fail(argv[optind], "", paste_region_strerror(e)) : 0;
}

static void print_info(const struct paste_region *r)
{
	const struct paste_region_info *i = paste_region_info(r);

	printf("uuid        ");
	for (int k = 0; k < 16; k++)
		printf("%s%02x", k == 4 || k == 6 || k == 8 || k == 10 ? "-" : "", i->uuid[k]);
	printf("\nsize        %" PRIu64 " bytes, %s\n", i->size, paste_region_is_dax(r) ?
	       "flushed stores are durable" : "not persistent memory");
	printf("log         %" PRIu64 " bytes at %" PRIu64 "\n", i->log_len, i->log_ofs);
	printf("tree        %" PRIu64 " bytes at %" PRIu64 "\n", i->tree_len, i->tree_ofs);
	printf("packets     %" PRIu64 " bytes at %" PRIu64 "\n", i->packet_len, i->packet_ofs);
	printf("  ifs       %u of %u bytes\n", i->if_num, i->if_size);
	printf("  rings     %u of %u bytes\n", i->ring_num, i->ring_size);
	printf("  buffers   %u of %u bytes, from %" PRIu64 " on\n", i->buf_num, i->buf_size,
	       i->buf_ofs);
}

struct found {
	uint64_t messages, pieces, bytes;
};

static int count_message(const struct paste_wal_message *m, void *ctx)
{
	struct found *f = ctx;

	f->messages++;
	f->pieces += m->n;
	for (uint32_t i = 0; i < m->n; i++)
		f->bytes += m->pieces[i].len;
	return 0;
}

/* A sentence without final stop for what opening a log or tree returns. */
static const char *why_not(int err)
{
	switch (-err) {
	case EBADMSG:
		return "damaged: what was durable is missing or changed; "
		       "'pastectl region create --replace' begins anew";
	case EMEDIUMTYPE:
		return "neither new nor what it should be: it has lost its beginning, or another "
		       "program has used it";
	case EPROTONOSUPPORT:
		return "of another version than this program's";
	case EOVERFLOW:
		return "made for another size than the region has for it";
	case EINVAL:
		return "the region has too little room for it";
	default:
		return strerror(-err);
	}
}

/* A copy of an area, aligned as it is; NULL for want of memory. */
static void *copy_of(const void *area, size_t len)
{
	void *copy = aligned_alloc(4096, (len + 4095) / 4096 * 4096);

	return copy ? memcpy(copy, area, len) : NULL;
}

static int check_log(const struct paste_region *r, const char *path)
{
	const struct paste_wal_bufs bufs = paste_region_bufs(r);
	struct found found = { 0 };
	struct paste_wal *wal = NULL;
	size_t len;
	const void *log = paste_region_log(r, &len);
	void *copy = copy_of(log, len);
	int e = copy ? paste_wal_open(copy, len, &bufs, 0, count_message, &found, &wal) : -ENOMEM;
	paste_wal_close(wal);
	free(copy);
	if (e == -EMEDIUMTYPE && paste_region_log_unused(r))
		puts("log         none");
	else if (e)
		return fail(path, "log: ", why_not(e));
	else
		printf("log         %" PRIu64 " messages, %" PRIu64 " pieces, %" PRIu64 " bytes\n",
		       found.messages, found.pieces, found.bytes);
	return 0;
}

static int check_tree(const struct paste_region *r, const char *path)
{
	struct paste_btree_stats stats;
	struct paste_btree *tree = NULL;
	size_t len;
	void *area = paste_region_tree(r, &len), *copy = copy_of(area, len);
	int e = copy ? paste_btree_open(copy, len, &tree) : -ENOMEM;

	if (e == -EMEDIUMTYPE && paste_region_tree_unused(r)) {
		puts("tree        none");
		e = 0;
	} else if (!e) {
		paste_btree_stats(tree, &stats);
		printf("tree        %" PRIu64 " entries in %" PRIu64 " leaves, %" PRIu64 " free\n",
		       stats.entries, stats.leaves, stats.leaves_free);
	}
	paste_btree_close(tree);
	free(copy);
	return e ? fail(path, "tree: ", why_not(e)) : 0;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int check_all(const struct paste_region *r, const char *path)
{
	uint64_t begin = now_us();
	int status = check_log(r, path) | check_tree(r, path);

	if (!status)
		printf("recovered   in %" PRIu64 " us\n", now_us() - begin);
	return status;
}

static int look(const char *path, bool check)
{
	struct paste_region *r;
	int status = 0, e = paste_region_open(path, 0, &r);

	if (e)
		return fail(path, "", paste_region_strerror(e));
	if (!check)
		print_info(r);
	else
		status = check_all(r, path);
	paste_region_close(r);
	return status;
}

int region_command(int argc, char **argv, const char **why)
{
	*why = "expected create, show or check, and a path";
	if (argc < 1)
		return 2;
	if (!strcmp(argv[0], "create"))
		return create(argc, argv, why);
	if (argc == 2 && !strcmp(argv[0], "show"))
		return look(argv[1], false);
	if (argc == 2 && !strcmp(argv[0], "check"))
		return look(argv[1], true);
	return 2;
}
