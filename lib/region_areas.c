// SPDX-License-Identifier: BSD-2-Clause
/* The log and the tree of a region, by their own formats: see wal.c and btree.c. */
#include <string.h>

#include <paste_btree.h>
#include <paste_region.h>
#include <paste_wal.h>

#define LOG_EMPTY	8192	/* where a log's records begin, */
#define TREE_EMPTY	264	/* and a tree's content, behind the first leaf's link */

/*
 * Formatting, which may have been interrupted, begins with the first word and leaves zeros
 * from @empty on.  All of them are looked at, so that what has lost its beginning is not
 * taken for new.
 */
static bool is_unused(const char *area, size_t len, size_t empty)
{
	uint64_t magic;

	memcpy(&magic, area, sizeof(magic));
	if (magic)
		return false;
	return empty >= len || (!area[empty] &&
				!memcmp(area + empty, area + empty + 1, len - empty - 1));
}

bool paste_region_log_unused(const struct paste_region *r)
{
	size_t len;
	const void *area = paste_region_log(r, &len);

	return is_unused(area, len, LOG_EMPTY);
}

bool paste_region_tree_unused(const struct paste_region *r)
{
	size_t len;
	const void *area = paste_region_tree(r, &len);

	return is_unused(area, len, TREE_EMPTY);
}

struct paste_wal_bufs paste_region_bufs(const struct paste_region *r)
{
	const struct paste_region_info *info = paste_region_info(r);
	size_t len;
	char *packets = paste_region_packet(r, &len);

	return (struct paste_wal_bufs) {
		.base = packets + info->buf_ofs,
		.stride = info->buf_size,
		.num = info->buf_num,
	};
}

int paste_region_open_log(const struct paste_region *r, unsigned int flags,
			  paste_wal_replay_fn *replay, void *ctx, struct paste_wal **out)
{
	const struct paste_wal_bufs bufs = paste_region_bufs(r);
	size_t len;
	void *area = paste_region_log(r, &len);
	int err = paste_region_log_unused(r) ? paste_wal_format(area, len) : 0;

	return err ? err : paste_wal_open(area, len, &bufs, flags, replay, ctx, out);
}

int paste_region_open_tree(const struct paste_region *r, struct paste_btree **out)
{
	size_t len;
	void *area = paste_region_tree(r, &len);
	int err = paste_region_tree_unused(r) ? paste_btree_format(area, len) : 0;

	return err ? err : paste_btree_open(area, len, out);
}
