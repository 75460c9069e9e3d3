/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store.h - values by key, and a log of messages, durable in the buffers of a region
 *
 * No HTTP, no sockets. One batch of requests, as a server sees it:
 *
 *	store_begin(), store_add() ...		the bytes of a value or message, as they come
 *	store_put() or store_append()		it is visible, and on its way to be durable
 *	store_commit()				all of that is durable: one fence
 *	replies leave				they acknowledge
 *
 * What is promised:
 *  - a write is there after any crash once store_commit() has returned;
 *  - one that is not committed is there after a crash in its entirety or not at all, and if not,
 *    what was there before is;
 *  - an error leaves everything as it was.
 *
 * Bytes that lie in a buffer of the region stay there: the store keeps the buffer and names
 * the place. Others are copied into buffers of the region. See space.h, record.h.
 *
 * A store belongs to one thread. Functions return negative errnos and print nothing.
 */
#ifndef PHTTPD_STORE_H
#define PHTTPD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <paste_region.h>

#include "space.h"

#define STORE_KEY_MAX	1024	/* bytes of a key, at least 1 */

struct store;
struct store_write;
struct store_value;

struct store_config {
	bool values;		/* store_put() and store_delete() will be used: make a tree */
	bool ring;		/* a full log gives its oldest messages up; so it does when buffers are
				 * short, if all that it has would suffice */
	/* Of a key; NULL: SipHash. Another one only for tests: it belongs to the format. */
	uint64_t (*hash)(const uint8_t secret[16], const void *key, size_t len);
	uint32_t bound_step;	/* writes between two fences for the bound; 0: many */
};

/*
 * Recover what is in @region, and open it: the log, then the values. A region that never had
 * them gets them. @region stays the caller's and stays valid until store_close().
 *
 * @part: where an error lies, in words
 *
 * Errors: -EBADMSG damaged: what must be there is not; -EPROTONOSUPPORT of another version;
 * -EOVERFLOW of another size; -EMEDIUMTYPE something else; -EFBIG more than 2^26 buffers;
 * -EINVAL the region's area for it is smaller than the smallest one; -ENOMEM.
 * What was committed is intact after any of them.
 */
int store_open(struct paste_region *region, const struct store_config *cfg, struct store **out,
	       const char **part);

/* Free the handle; what is not committed may be lost. NULL is allowed. */
void store_close(struct store *st);

/* The buffers, for who opens a port in the region, sends from it, or counts. */
struct space *store_space(struct store *st);

/* The buffers in use in ascending order, @n at most, into @out. Returns how many are in use. */
uint32_t store_used(const struct store *st, uint32_t *out, uint32_t n);

/* What one write may be. */
enum store_kind {
	STORE_VALUE,
	STORE_MESSAGE
};

/*
 * Begin a write. NULL: no memory. It ends with store_put(), store_append() or store_abort().
 * @most: bytes it may have. A log that is a ring gives nothing up for a write that would not find
 * room even so.
 */
struct store_write *store_begin(struct store *st, enum store_kind kind, uint64_t most);

/*
 * The next @len bytes of it; they may vanish afterwards unless they lie in the region.
 * Errors: -ENOSPC no buffers, -EFBIG more than 4 GiB, -ENOMEM. The write can only be aborted then.
 */
int store_add(struct store_write *w, const void *data, size_t len);

/*
 * Make it the value of @key, in place of the one that was there. Ends the write, whatever the
 * result.
 * @created: there was none
 * Errors: -ENOSPC no space, or 255 keys have the same hash; -ENOMEM.
 */
int store_put(struct store_write *w, const void *key, size_t len, bool *created);

/*
 * Append it to the log. Ends the write, whatever the result.
 * Errors: -ENOSPC the log is full; -EMSGSIZE it would never fit.
 */
int store_append(struct store_write *w);

void store_abort(struct store_write *w);

/* Errors: -ENOENT. */
int store_delete(struct store *st, const void *key, size_t len);

/* All writes so far are durable when this returns. One fence, and none when there are none. */
void store_commit(struct store *st);

/*
 * The value of @key, in *@out; it stays what it is until store_done(), whatever is written. One that
 * was there when the store was opened is read in full the first time, for its CRC.
 * Errors: -ENOENT, -ENOMEM; -EBADMSG its bytes are not those that were stored. It can still be replaced
 * and deleted.
 */
int store_get(struct store *st, const void *key, size_t len, struct store_value **out);
void store_done(struct store_value *v);

/* Its bytes in all; where the next run of them is (false: the end); its address. */
uint64_t store_length(const struct store_value *v);
bool store_next(struct store_value *v, struct space_piece *p);
static inline char *store_bytes(const struct space *s, const struct space_piece *p)
{
	return space_at(s, p->buf) + p->offset;
}

struct store_key {
	const char *key;	/* valid until something is written */
	size_t len;
};

/*
 * The keys that begin with @prefix, in byte order, into a new array for the caller to free().
 * Takes a look at every key there is: an order that is kept up all the time would
 * have to be paid for by every write, in memory and in time of recovery.
 * Returns how many, or -ENOMEM.
 */
ssize_t store_list(struct store *st, const void *prefix, size_t len, struct store_key **out);

struct store_stats {
	uint64_t keys;
	uint64_t messages;	/* in the log */
	/* since it was opened */
	uint64_t stored;	/* bytes of values and messages that were accepted */
	uint64_t copied;	/* bytes that were copied in order to store them */
	uint64_t commits;	/* that had something to do */
	uint64_t full;		/* writes refused for want of space */
	uint64_t damaged;	/* reads refused since the value has another CRC */
};

void store_stats(const struct store *st, struct store_stats *stats);

/* A sentence without final stop for an error of store_open(). */
const char *store_strerror(int err);

#endif /* PHTTPD_STORE_H */
