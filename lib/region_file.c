// SPDX-License-Identifier: BSD-2-Clause
/*
 * The region file: its superblock, its mapping, and the kept set.
 *
 * Format.  Integers are little endian, offsets count bytes from the beginning.
 * The superblock is at 0 (copy A) and, the same bytes, at 4096 (copy B):
 *
 *	  0  u64    magic	"PASTEreg"; "PASTEnew" while it is being created
 *	  8  u32    version	1
 *	 12  u32    length	128, bytes of the superblock
 *	 16  u8[16] uuid
 *	 32  u64    size	of the whole
 *	 40  u64    log_ofs,	 48  u64  log_len
 *	 56  u64    tree_ofs,	 64  u64  tree_len
 *	 72  u64    packet_ofs,	 80  u64  packet_len
 *	 88  u64    buf_ofs	of buffer 0, from packet_ofs
 *	 96  u32    if_num,	100  u32  if_size
 *	104  u32    ring_num,	108  u32  ring_size
 *	112  u32    buf_num,	116  u32  buf_size (4096)
 *	120  u32    flags	0
 *	124  u32    crc		CRC-32C of bytes 0 to 123
 *
 * The areas are made of whole pages (4096), at least one, follow each other in this
 * order without overlapping and lie between 8192 and size, which is that of the file.
 * A log or tree area was never used if its first word is 0, and all bytes from 8192 (log) or
 * 264 (tree) on are: formatting writes that word last (wal.c, btree.c).
 *
 * No number and no size is 0, and there are more than 2 buffers: 0 and 1 are never handed out.
 * Packet memory is if_num objects of if_size, from the next page on ring_num objects of
 * ring_size, from the next page on (buf_ofs) buf_num buffers, and has at least that length.
 *
 * Creation, each step durable before the next:
 *
 *	1. A's magic is "PASTEnew"
 *	2. log and tree areas are zero, B is complete, A is but for its magic
 *	3. A's magic is "PASTEreg"
 *
 *	content --1--> torn --2--> torn --3--> region
 *
 * A magic is one aligned word, so it is one of them or the other.  Thus a crash
 * leaves the old content, or a torn creation that can be told from damage, or the
 * region.  Opening makes the magic durable, in case the process died between its
 * store and its flush.  No later change to A or B is legal: any is damage, and refused.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <paste_pm.h>
#include <paste_region.h>

#include "crc32c.h"
#include "internal.h"

#define PAGE		4096ull
#define MAGIC		0x6765724554534150ull	/* "PASTEreg" */
#define MAGIC_NEW	0x77656e4554534150ull	/* "PASTEnew" */
#define VERSION		1

struct superblock {
	uint64_t magic;
	uint32_t version;
	uint32_t length;
	uint8_t uuid[16];
	uint64_t size;
	uint64_t log_ofs, log_len;
	uint64_t tree_ofs, tree_len;
	uint64_t packet_ofs, packet_len;
	uint64_t buf_ofs;
	uint32_t if_num, if_size;
	uint32_t ring_num, ring_size;
	uint32_t buf_num, buf_size;
	uint32_t flags;
	uint32_t crc;
};

_Static_assert(sizeof(struct superblock) == 128, "on media");
_Static_assert(offsetof(struct superblock, crc) == 124, "on media");

struct paste_region {
	struct paste_region_info info;
	char *base;
	uint64_t *kept;		/* a bit per buffer */
	uint32_t nr_kept;
	int fd;			/* holds the lock; -1: plain memory, not ours */
	bool dax;
};

/* A mapped file. */
struct mapping {
	int fd;
	char *base;
	size_t len;
	bool device;
	bool dax;
};

off_t nmi_file_size(const struct stat *st)
{
	unsigned long long size = 0;
	char path[64];
	FILE *f;

	if (!S_ISCHR(st->st_mode))
		return st->st_size;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/size",
		 major(st->st_rdev), minor(st->st_rdev));
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%llu", &size) != 1)
			size = 0;
		fclose(f);
	}
	return (off_t)size;
}

/* -------------------------------------------------------------- superblock */

/* @a rounded up to @unit; 0 when that has no number, as for 0 itself. */
static uint64_t round_up(uint64_t a, uint64_t unit)
{
	return a > UINT64_MAX - unit ? 0 : (a + unit - 1) / unit * unit;
}

static uint32_t checksum(const struct superblock *sb)
{
	return nmi_crc32c(0, sb, offsetof(struct superblock, crc));
}

static void decode(const struct superblock *sb, struct paste_region_info *info)
{
	memcpy(info->uuid, sb->uuid, sizeof(info->uuid));
	info->size = le64toh(sb->size);
	info->log_ofs = le64toh(sb->log_ofs);
	info->log_len = le64toh(sb->log_len);
	info->tree_ofs = le64toh(sb->tree_ofs);
	info->tree_len = le64toh(sb->tree_len);
	info->packet_ofs = le64toh(sb->packet_ofs);
	info->packet_len = le64toh(sb->packet_len);
	info->buf_ofs = le64toh(sb->buf_ofs);
	info->if_num = le32toh(sb->if_num);
	info->if_size = le32toh(sb->if_size);
	info->ring_num = le32toh(sb->ring_num);
	info->ring_size = le32toh(sb->ring_size);
	info->buf_num = le32toh(sb->buf_num);
	info->buf_size = le32toh(sb->buf_size);
}

static void encode(const struct paste_region_info *info, struct superblock *sb)
{
	memset(sb, 0, sizeof(*sb));
	sb->magic = htole64(MAGIC);
	sb->version = htole32(VERSION);
	sb->length = htole32(sizeof(*sb));
	memcpy(sb->uuid, info->uuid, sizeof(sb->uuid));
	sb->size = htole64(info->size);
	sb->log_ofs = htole64(info->log_ofs);
	sb->log_len = htole64(info->log_len);
	sb->tree_ofs = htole64(info->tree_ofs);
	sb->tree_len = htole64(info->tree_len);
	sb->packet_ofs = htole64(info->packet_ofs);
	sb->packet_len = htole64(info->packet_len);
	sb->buf_ofs = htole64(info->buf_ofs);
	sb->if_num = htole32(info->if_num);
	sb->if_size = htole32(info->if_size);
	sb->ring_num = htole32(info->ring_num);
	sb->ring_size = htole32(info->ring_size);
	sb->buf_num = htole32(info->buf_num);
	sb->buf_size = htole32(info->buf_size);
	sb->crc = htole32(checksum(sb));
}

/* Where buffer 0 is in packet memory; UINT64_MAX if that has no number. */
static uint64_t bufs_begin(const struct paste_region_info *info)
{
	uint64_t ifs = round_up((uint64_t)info->if_num * info->if_size, PAGE);
	uint64_t rings = round_up((uint64_t)info->ring_num * info->ring_size, PAGE);

	return ifs > UINT64_MAX - rings ? UINT64_MAX : ifs + rings;
}

/* [@ofs, @ofs + @len) is made of pages and lies in [@from, @to). */
static bool is_area(uint64_t ofs, uint64_t len, uint64_t from, uint64_t to)
{
	return ofs % PAGE == 0 && len % PAGE == 0 && len && ofs >= from &&
	       ofs <= to && len <= to - ofs;
}

static bool is_sane(const struct paste_region_info *i)
{
	uint64_t bufs;

	if (!is_area(i->log_ofs, i->log_len, 2 * PAGE, i->size) ||
	    !is_area(i->tree_ofs, i->tree_len, i->log_ofs + i->log_len, i->size) ||
	    !is_area(i->packet_ofs, i->packet_len, i->tree_ofs + i->tree_len,
		     i->size))
		return false;
	if (!i->if_num || !i->if_size || !i->ring_num || !i->ring_size ||
	    i->buf_num <= PASTE_REGION_FIRST_BUF ||
	    i->buf_size != PASTE_REGION_BUF_SIZE || i->buf_ofs != bufs_begin(i))
		return false;
	bufs = (uint64_t)i->buf_num * i->buf_size;
	return i->buf_ofs <= i->packet_len && bufs <= i->packet_len - i->buf_ofs;
}

static const struct superblock *copy_b(const void *mem)
{
	return (const void *)((const char *)mem + PAGE);
}

/* What is in [@mem, @mem + @len): a region (0, described in @info) or an error. */
static int examine(const void *mem, uint64_t len, struct paste_region_info *info)
{
	struct superblock a, b;

	if (len < 2 * PAGE)
		return -EMEDIUMTYPE;
	memcpy(&a, mem, sizeof(a));
	memcpy(&b, copy_b(mem), sizeof(b));
	if (a.magic == htole64(MAGIC_NEW))
		return -EUCLEAN;
	if (a.magic != htole64(MAGIC))
		return b.magic == htole64(MAGIC) ? -EBADMSG : -EMEDIUMTYPE;
	if (memcmp(&a, &b, sizeof(a)))
		return -EBADMSG;
	if (a.version != htole32(VERSION))
		return -EPROTONOSUPPORT;
	if (a.length != htole32(sizeof(a)) || le32toh(a.crc) != checksum(&a))
		return -EBADMSG;
	decode(&a, info);
	if (a.flags || !is_sane(info))
		return -EBADMSG;
	return info->size == len ? 0 : -EOVERFLOW;
}

/* ---------------------------------------------------------------- creation */

static uint32_t or_default(uint32_t n, uint32_t def)
{
	return n ? n : def;
}

/*
 * Fill in everything but uuid, for a region of @len bytes, or of as many as it
 * takes when @len is 0.
 */
static int plan(const struct paste_region_layout *l, uint64_t len,
		struct paste_region_info *i)
{
	uint64_t room;

	memset(i, 0, sizeof(*i));
	i->log_ofs = 2 * PAGE;
	i->log_len = round_up(l->log_size ? l->log_size : 4 << 20, PAGE);
	i->tree_len = round_up(l->tree_size ? l->tree_size : 16 << 20, PAGE);
	i->if_num = or_default(l->if_num, 8);
	i->if_size = (uint32_t)round_up(or_default(l->if_size, 1024), 64);
	i->ring_num = or_default(l->ring_num, 16);
	i->ring_size = (uint32_t)round_up(or_default(l->ring_size, 33024), 128);
	i->buf_num = l->buf_num;
	i->buf_size = PASTE_REGION_BUF_SIZE;
	i->buf_ofs = bufs_begin(i);

	/* No sum below overflows. */
	if (!i->log_len || i->log_len > INT64_MAX / 4 ||
	    !i->tree_len || i->tree_len > INT64_MAX / 4 ||
	    i->buf_ofs > INT64_MAX / 4)
		return -EINVAL;
	i->tree_ofs = i->log_ofs + i->log_len;
	i->packet_ofs = i->tree_ofs + i->tree_len;
	room = i->packet_ofs + i->buf_ofs;
	if (!len)
		len = room + (uint64_t)or_default(i->buf_num, 16384) * i->buf_size;
	len = round_up(len, PAGE);
	if (len < room || len > INT64_MAX)
		return -EINVAL;
	room = (len - room) / i->buf_size;
	if (!i->buf_num)
		i->buf_num = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
	if (i->buf_num > room)
		return -EINVAL;
	i->packet_len = len - i->packet_ofs;
	i->size = len;
	return is_sane(i) ? 0 : -EINVAL;
}

/* True when creating a region would lose what somebody might want. */
static bool is_occupied(const char *mem, uint64_t len)
{
	uint64_t magic, i, n = len < 2 * PAGE ? len : 2 * PAGE;

	if (len >= sizeof(magic)) {
		memcpy(&magic, mem, sizeof(magic));
		if (magic == htole64(MAGIC_NEW))
			return false;
	}
	for (i = 0; i < n; i++)
		if (mem[i])
			return true;
	return false;
}

static int choose_uuid(uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		return -EIO;
	uuid[6] = (uuid[6] & 0x0f) | 0x40;	/* RFC 9562, version 4 */
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	return 0;
}

/* The steps at the head of this file. */
static void write_region(char *mem, const struct paste_region_info *info)
{
	struct superblock sb, *a = (void *)mem, *b = (void *)(mem + PAGE);

	encode(info, &sb);
	paste_pm_store64(&a->magic, htole64(MAGIC_NEW));
	paste_pm_persist(&a->magic, sizeof(a->magic));

	paste_pm_zero(mem + info->log_ofs, info->log_len + info->tree_len);
	paste_pm_flush(mem + info->log_ofs, info->log_len + info->tree_len);
	paste_pm_write(b, &sb, sizeof(sb));
	paste_pm_flush(b, sizeof(sb));
	paste_pm_write(&a->version, &sb.version,
		       sizeof(sb) - offsetof(struct superblock, version));
	paste_pm_persist(a, sizeof(sb));

	paste_pm_store64(&a->magic, sb.magic);
	paste_pm_persist(&a->magic, sizeof(a->magic));
}

int paste_region_format(void *mem, size_t len,
			const struct paste_region_layout *layout)
{
	struct paste_region_info info;
	int err;

	if ((uintptr_t)mem % PAGE || len % PAGE || !len ||
	    (layout->size && layout->size != len))
		return -EINVAL;
	err = plan(layout, len, &info);
	if (err)
		return err;
	if (!layout->replace && is_occupied(mem, len))
		return -EEXIST;
	err = choose_uuid(info.uuid);
	if (err)
		return err;
	write_region(mem, &info);
	return 0;
}

/* ----------------------------------------------------------------- mapping */

static void close_mapping(struct mapping *m)
{
	if (m->base)
		munmap(m->base, m->len);
	close(m->fd);
}

/* Open and lock; @m->len is the file's size.  Nothing is mapped yet. */
static int open_locked(const char *path, int flags, struct mapping *m)
{
	struct stat st;
	int err;

	memset(m, 0, sizeof(*m));
	m->fd = open(path, O_RDWR | O_CLOEXEC | flags, 0666);
	if (m->fd < 0)
		return -errno;
	if (flock(m->fd, LOCK_EX | LOCK_NB)) {
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		goto close;
	}
	if (fstat(m->fd, &st)) {
		err = -errno;
		goto close;
	}
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
		err = -ENODEV;
		goto close;
	}
	m->device = S_ISCHR(st.st_mode);
	m->len = (size_t)nmi_file_size(&st);
	/* A character device without a size is not device-DAX. */
	if (m->device && !m->len) {
		err = -ENODEV;
		goto close;
	}
	return 0;

close:
	close(m->fd);
	return err;
}

/* Map all of it; synchronously where that is possible. */
static int map(struct mapping *m)
{
	void *p;

	p = mmap(NULL, m->len, PROT_READ | PROT_WRITE,
		 MAP_SHARED_VALIDATE | MAP_SYNC, m->fd, 0);
	m->dax = p != MAP_FAILED;
	if (!m->dax)
		p = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_SHARED,
			 m->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	m->base = p;
	return 0;
}

static int refuse_content(struct mapping *m)
{
	bool occupied;
	int err;

	if (!m->len)
		return 0;
	err = map(m);
	if (!m->base)
		return err;
	occupied = is_occupied(m->base, m->len);
	munmap(m->base, m->len);
	m->base = NULL;
	return occupied ? -EEXIST : 0;
}

/* Give the file @size bytes with blocks behind all of them. */
static int resize(struct mapping *m, uint64_t size)
{
	int err;

	if (size < m->len && ftruncate(m->fd, (off_t)size))
		return -errno;
	err = posix_fallocate(m->fd, 0, (off_t)size);
	if (err)
		return -err;
	m->len = size;
	return 0;
}

int paste_region_create(const char *path, const struct paste_region_layout *layout)
{
	struct paste_region_info info;
	struct mapping m;
	bool fresh;	/* nothing of it stays if we fail */
	int err;

	err = open_locked(path, O_CREAT | O_EXCL, &m);
	fresh = !err;
	if (err == -EEXIST)
		err = open_locked(path, O_CREAT, &m);
	if (err)
		return err;
	if (m.device && layout->size && layout->size != m.len)
		err = -EINVAL;
	else
		err = plan(layout, m.device ? m.len : layout->size, &info);
	if (!err && !layout->replace)
		err = refuse_content(&m);
	if (!err && !m.device)
		err = resize(&m, info.size);
	if (!err)
		err = choose_uuid(info.uuid);
	if (!err)
		err = map(&m);
	if (m.base)
		write_region(m.base, &info);
	if (err && fresh)
		unlink(path);
	close_mapping(&m);
	return err;
}

/* ------------------------------------------------------------------ opening */

static int open_mapping(const struct mapping *m, struct paste_region **out)
{
	struct paste_region *r;
	int err;

	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	err = examine(m->base, m->len, &r->info);
	if (err)
		goto free_region;
	err = -ENOMEM;
	r->kept = calloc(((size_t)r->info.buf_num + 63) / 64, sizeof(*r->kept));
	if (!r->kept)
		goto free_region;
	/* Its creator may have died with the magic in a cache. */
	paste_pm_persist(m->base, sizeof(uint64_t));
	r->base = m->base;
	r->fd = m->fd;
	r->dax = m->dax;
	*out = r;
	return 0;

free_region:
	free(r);
	return err;
}

int paste_region_attach(void *mem, size_t len, struct paste_region **out)
{
	const struct mapping m = { .fd = -1, .base = mem, .len = len };

	if ((uintptr_t)mem % PAGE)
		return -EINVAL;
	return open_mapping(&m, out);
}

int paste_region_open(const char *path, unsigned int flags,
		      struct paste_region **out)
{
	struct mapping m;
	int err;

	if (flags & ~PASTE_REGION_DAX)
		return -EINVAL;
	err = open_locked(path, 0, &m);
	if (err)
		return err;
	err = m.len ? map(&m) : -EMEDIUMTYPE;
	if (m.base)
		err = flags & PASTE_REGION_DAX && !m.dax ? -EOPNOTSUPP : open_mapping(&m, out);
	if (err)
		close_mapping(&m);
	return err;
}

void paste_region_close(struct paste_region *r)
{
	if (!r)
		return;
	if (r->fd >= 0) {
		munmap(r->base, r->info.size);
		close(r->fd);
	}
	free(r->kept);
	free(r);
}

const char *paste_region_strerror(int err)
{
	switch (err < 0 ? -err : err) {
	case EMEDIUMTYPE:
		return "there is no region here: create it first";
	case EUCLEAN:
		return "its creation was interrupted: create it again";
	case EBADMSG:
		return "its superblock is damaged: the two copies differ or are not "
		       "what was written";
	case EPROTONOSUPPORT:
		return "it is a region of another version than this library's";
	case EOVERFLOW:
		return "the file or device is not of the size the region was created "
		       "with";
	case EBUSY:
		return "another process has it open";
	case EEXIST:
		return "it has a content already: ask for its replacement if it may "
		       "be lost";
	case EOPNOTSUPP:
		return "stores to it cannot be made durable by flushes: it is neither "
		       "device-DAX nor on a DAX file system";
	case ENODEV:
		return "it is neither a regular file nor a device-DAX device";
	case EINVAL:
		return "the layout does not fit its size, or memory is not page "
		       "aligned, or a flag is unknown";
	default:
		return strerror(err < 0 ? -err : err);
	}
}

/* --------------------------------------------------------------- accessors */

const struct paste_region_info *paste_region_info(const struct paste_region *r)
{
	return &r->info;
}

bool paste_region_is_dax(const struct paste_region *r)
{
	return r->dax;
}

void *paste_region_log(const struct paste_region *r, size_t *len)
{
	*len = r->info.log_len;
	return r->base + r->info.log_ofs;
}

void *paste_region_tree(const struct paste_region *r, size_t *len)
{
	*len = r->info.tree_len;
	return r->base + r->info.tree_ofs;
}

void *paste_region_packet(const struct paste_region *r, size_t *len)
{
	*len = r->info.packet_len;
	return r->base + r->info.packet_ofs;
}

static bool is_buf(const struct paste_region *r, uint32_t idx)
{
	return idx >= PASTE_REGION_FIRST_BUF && idx < r->info.buf_num;
}

void *paste_region_buf(const struct paste_region *r, uint32_t idx)
{
	if (!is_buf(r, idx))
		return NULL;
	return r->base + r->info.packet_ofs + r->info.buf_ofs +
	       (uint64_t)idx * PASTE_REGION_BUF_SIZE;
}

/* ---------------------------------------------------------------- kept set */

static uint64_t bit(uint32_t idx)
{
	return 1ull << idx % 64;
}

bool paste_region_kept(const struct paste_region *r, uint32_t idx)
{
	return is_buf(r, idx) && r->kept[idx / 64] & bit(idx);
}

int paste_region_keep(struct paste_region *r, uint32_t idx)
{
	if (!is_buf(r, idx))
		return -ERANGE;
	if (paste_region_kept(r, idx))
		return -EEXIST;
	r->kept[idx / 64] |= bit(idx);
	r->nr_kept++;
	return 0;
}

int paste_region_release(struct paste_region *r, uint32_t idx)
{
	if (!is_buf(r, idx))
		return -ERANGE;
	if (!paste_region_kept(r, idx))
		return -ENOENT;
	r->kept[idx / 64] &= ~bit(idx);
	r->nr_kept--;
	return 0;
}

uint32_t paste_region_keep_list(const struct paste_region *r, uint32_t *out,
				uint32_t n)
{
	uint32_t word, found = 0, words = (uint32_t)(((uint64_t)r->info.buf_num + 63) / 64);
	uint64_t bits;

	for (word = 0; word < words && found < n; word++) {
		for (bits = r->kept[word]; bits && found < n; bits &= bits - 1)
			out[found++] = word * 64 +
				       (uint32_t)__builtin_ctzll(bits);
	}
	return r->nr_kept;
}
