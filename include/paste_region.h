/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region: packet memory that survives, with a log and a tree beside it, in one
 * file, device-DAX device or piece of plain memory.
 *
 *	page 0	  page 1
 *	+---------+---------+----------+-----------+------------------------------+
 *	| super-  | its     | log area | tree area | packet memory                |
 *	| block A | copy B  |          |           | ifs | rings | buffer 0 | 1 ..|
 *	+---------+---------+----------+-----------+------------------------------+
 *
 * Packet memory is what a port is opened with (nmport_extmem()).  Buffer i is
 * buf_ofs + i * 4096 bytes into it for as long as the region exists, so a log or
 * tree that names a buffer by its index finds it again after a restart.
 *
 * A region is created once and then opened by one process at a time:
 *
 *	paste_region_create(path, &layout)
 *	paste_region_open(path, 0, &r)
 *	paste_region_open_log(r, ...)			replay: paste_region_keep()
 *	paste_region_open_port(r, port)
 *	paste_region_close(r)
 *
 * Functions return 0 or a negative errno, not by way of errno, and print nothing;
 * paste_region_strerror() tells what an error means.  A region handle belongs to
 * one thread at a time.
 *
 * What this does not do: nothing in a damaged region is repaired.  A superblock
 * is written when the region is created and never again, so damage to it is not
 * a crash but a fault of the medium or another program's writing.
 */
#ifndef _PASTE_REGION_H_
#define _PASTE_REGION_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <paste_btree.h>
#include <paste_wal.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a buffer. */
#define PASTE_REGION_BUF_SIZE	4096

/* The first index that is ever handed out: netmap reserves 0 and 1. */
#define PASTE_REGION_FIRST_BUF	2

struct paste_region;

/*
 * What to create.  0 in a field means its default.  Sizes are rounded up: areas
 * to pages, if_size to 64 and ring_size to 128 bytes.
 */
struct paste_region_layout {
	uint64_t size;		/* bytes in all; 0: the device's, or what is needed */
	uint64_t log_size;	/* bytes; 4 MiB */
	uint64_t tree_size;	/* bytes; 16 MiB */
	uint32_t if_num;	/* descriptors bound at a time; 8 */
	uint32_t if_size;	/* bytes of a netmap_if with its offsets; 1024 */
	uint32_t ring_num;	/* rings; 16 */
	uint32_t ring_size;	/* bytes of a netmap_ring with its slots; 33024, 2048 slots */
	uint32_t buf_num;	/* buffers; what fits into size, or 16384 without one */
	bool replace;		/* whatever is there now may be lost */
};

/* What a region is made of; offsets and sizes in bytes. */
struct paste_region_info {
	uint8_t uuid[16];	/* chosen at random when it was created */
	uint64_t size;		/* of the whole */
	uint64_t log_ofs, log_len;
	uint64_t tree_ofs, tree_len;
	uint64_t packet_ofs, packet_len;
	uint64_t buf_ofs;	/* of buffer 0, counted from packet_ofs */
	uint32_t if_num, if_size;
	uint32_t ring_num, ring_size;
	uint32_t buf_num, buf_size;
};

/*
 * Make @path a region.  A regular file is created or brought to its size, with
 * its blocks allocated; a device has the size it has.  The log and tree areas
 * are durably zero afterwards, packet memory is not touched.
 *
 * A crash on the way leaves something paste_region_open() refuses with -EUCLEAN,
 * and creating it again needs no @layout->replace.
 *
 * Errors: -EEXIST @path has a content and @layout->replace is not set; -EINVAL
 * the layout asks for more than its size, for less than 3 buffers, or for another
 * size than the device has; -EBUSY another process has it open; -ENODEV neither
 * regular file nor character device; those of open(), posix_fallocate(), mmap()
 * and getrandom().
 */
int paste_region_create(const char *path, const struct paste_region_layout *layout);

/*
 * The same for @len bytes of memory at @mem, page aligned.  @layout->size is 0
 * or @len, else -EINVAL.
 */
int paste_region_format(void *mem, size_t len,
			const struct paste_region_layout *layout);

/* paste_region_open(): only where a flush makes stores durable (MAP_SYNC). */
#define PASTE_REGION_DAX	0x1

/*
 * Map the region in @path and lock it against other processes, and against a
 * second paste_region_open(), until paste_region_close().  The lock is
 * flock()'s: a forked child shares it.
 *
 * @flags: PASTE_REGION_*
 * @out:   the region; unchanged on error
 *
 * Errors, all told by paste_region_strerror(): -EMEDIUMTYPE, -EUCLEAN, -EBADMSG,
 * -EPROTONOSUPPORT, -EOVERFLOW, -EBUSY; -EOPNOTSUPP PASTE_REGION_DAX and it is
 * not; -EINVAL unknown flags; -ENODEV neither regular file nor character device;
 * -ENOMEM; those of open() and mmap().
 */
int paste_region_open(const char *path, unsigned int flags,
		      struct paste_region **out);

/*
 * The region in @len bytes of memory at @mem, page aligned, which stay the
 * caller's and stay valid until paste_region_close().  Nothing is locked.
 * Errors: those of paste_region_open() that are about the content; -EINVAL.
 */
int paste_region_attach(void *mem, size_t len, struct paste_region **out);

/* Unmap, unlock and free.  Flushes nothing.  NULL is allowed. */
void paste_region_close(struct paste_region *r);

/* A sentence without final stop for @err, an errno or its negative.  Constant. */
const char *paste_region_strerror(int err);

/* Valid, like all pointers below, until paste_region_close(). */
const struct paste_region_info *paste_region_info(const struct paste_region *r);

/* True when flush and fence make stores durable: mapped with MAP_SYNC. */
bool paste_region_is_dax(const struct paste_region *r);

/* The areas, and in @len their bytes.  Page aligned. */
void *paste_region_log(const struct paste_region *r, size_t *len);
void *paste_region_tree(const struct paste_region *r, size_t *len);
void *paste_region_packet(const struct paste_region *r, size_t *len);

/*
 * Was the log area, or the tree area, never used?  True also when its formatting was
 * interrupted; false when it has lost its beginning but has a content.
 */
bool paste_region_log_unused(const struct paste_region *r);
bool paste_region_tree_unused(const struct paste_region *r);

/* The buffers, as paste_wal_open() wants to be told of them. */
struct paste_wal_bufs paste_region_bufs(const struct paste_region *r);

/*
 * Open the region's log, or its tree, formatting it first if it was never used.  It is
 * closed, with paste_wal_close() or paste_btree_close(), before the region is.  Parameters and
 * errors as for paste_wal_open() and paste_btree_open(); -EINVAL the area is too small.
 */
int paste_region_open_log(const struct paste_region *r, unsigned int flags,
			  paste_wal_replay_fn *replay, void *ctx, struct paste_wal **out);
int paste_region_open_tree(const struct paste_region *r, struct paste_btree **out);

/*
 * Buffer @idx, PASTE_REGION_BUF_SIZE bytes, or NULL: no such index, or one of
 * those below PASTE_REGION_FIRST_BUF.
 */
void *paste_region_buf(const struct paste_region *r, uint32_t idx);

/*
 * The kept set: the buffers that hold something worth keeping and are not the
 * kernel's to fill.  It is in ordinary memory and empty after open; the recovery
 * of log and tree fills it, each buffer by the one who owns it.
 *
 * Keep buffer @idx.  Errors: -EEXIST kept already, -ERANGE no buffer has this
 * index (as for paste_region_buf()).
 */
int paste_region_keep(struct paste_region *r, uint32_t idx);

/* Keep it no longer.  Errors: -ENOENT not kept, -ERANGE. */
int paste_region_release(struct paste_region *r, uint32_t idx);

/* True when it is kept; false also for an index out of range. */
bool paste_region_kept(const struct paste_region *r, uint32_t idx);

/*
 * The kept indexes in ascending order, as many of them as fit, into @out, which
 * has room for @n.  Returns how many are kept.
 */
uint32_t paste_region_keep_list(const struct paste_region *r, uint32_t *out,
				uint32_t n);

struct nmport_d;

/*
 * Open the port that @d was prepared for (nmport_prepare()) in the region's packet
 * memory.  The kept buffers are the application's from the beginning
 * (NETMAP_REQ_OPT_PST_KEEP); @d->reg says how many extra ones it wants.  Whatever
 * is returned, @d ends with nmport_close(), before the region does.
 *
 * Errors: those of nmport_extmem() and nmport_open_desc(); -EINVAL the port would
 * have its buffers elsewhere than the region; -ENOMEM.
 */
int paste_region_open_port(const struct paste_region *r, struct nmport_d *d);

#ifdef __cplusplus
}
#endif

#endif /* _PASTE_REGION_H_ */
