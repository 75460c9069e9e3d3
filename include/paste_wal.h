/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A write-ahead log of messages that lie in packet buffers.
 *
 * A record says where a piece of a message is, so the payload becomes durable
 * where the NIC put it.  One batch of requests, as a server with poll() sees it:
 *
 *	poll()
 *	for each message:  paste_wal_append()	flushes, waits for nothing
 *	paste_wal_commit()			one fence for all of them
 *	replies are filled in			they acknowledge
 *	poll()					sends them
 *
 * What is promised:
 *  - a message for which paste_wal_commit() has returned is replayed, whole, after
 *    any crash, until it is truncated;
 *  - a message that was appended and not committed is replayed whole or not at
 *    all, and not without all messages before it;
 *  - a message whose replay was delivered is committed;
 *  - a buffer that paste_wal_truncate() has reported is in no message that a
 *    later paste_wal_open() replays, unless it is appended again.
 *
 * The caller's part: a buffer that was appended does not change and is not given
 * to the kernel until truncation reports it, and the reply leaves after the
 * commit.  A log handle belongs to one thread at a time, and no function of this
 * file is called from a callback of it.
 *
 * Not promised: that damage is always noticed.  A damaged record or payload (with
 * PASTE_WAL_CRC) that must have been durable is refused with -EBADMSG when a
 * later commit has left a witness of that; damage to the last batch alone looks
 * like a crash before its commit.
 *
 * Functions return negative errnos and print nothing.
 */
#ifndef _PASTE_WAL_H_
#define _PASTE_WAL_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The smallest area, with room for one record; each of the others takes 64 bytes. */
#define PASTE_WAL_MIN	(8192 + 64)

struct paste_wal;

/*
 * Where buffers are: number i at base + i * stride.  In a region base is where
 * paste_region_info() has buf_ofs in packet memory.
 */
struct paste_wal_bufs {
	void *base;
	uint32_t stride;	/* bytes of a buffer */
	uint32_t num;		/* buffers, valid indexes are below */
};

/* @len bytes from @offset in buffer @buf; may be none, and end with the buffer. */
struct paste_wal_piece {
	uint32_t buf;
	uint32_t offset;
	uint32_t len;
};

struct paste_wal_message {
	uint64_t seq;		/* as paste_wal_append() returned it */
	uint64_t tag;		/* the user's, as appended */
	const struct paste_wal_piece *pieces;
	uint32_t n;		/* pieces; 0: a message of none */
};

/*
 * A message found by paste_wal_open(); @m and its pieces are valid until the
 * return, which is 0 or a negative errno to give up.  Several pieces, of one or
 * more messages, may name the same buffer.
 */
typedef int paste_wal_replay_fn(const struct paste_wal_message *m, void *ctx);

/* No message of the log needs buffer @buf any more. */
typedef void paste_wal_freed_fn(uint32_t buf, void *ctx);

/*
 * Make @len bytes at @area, 64 byte aligned, an empty log, durably.  What they
 * held is lost.  A crash on the way leaves no log.
 * Errors: -EINVAL not aligned, or less than PASTE_WAL_MIN bytes.
 */
int paste_wal_format(void *area, size_t len);

/*
 * Protect payload by a checksum, and have one fence per commit.  Without it a
 * commit has two, payload first, and damage to payload is not noticed.  It is
 * a property of what is appended: a log may be opened one way and another.
 */
#define PASTE_WAL_CRC	0x1

/*
 * Recover the log in @area and open it.  @area and the buffers stay the caller's
 * and stay valid until paste_wal_close().
 *
 * @len:    as it was formatted
 * @flags:  PASTE_WAL_*
 * @replay: called for each message in order, after recovery is complete and
 *          durable; may be NULL
 * @out:    the log; unchanged on error
 *
 * Errors: -EMEDIUMTYPE no log here, or its formatting was interrupted;
 * -EPROTONOSUPPORT another version; -EOVERFLOW formatted with another length;
 * -EBADMSG damaged, see above: what may be lost is more than a crash can take;
 * -EINVAL misaligned, too short, unknown flags; -ENOMEM; what @replay returned.
 * The log is intact after any of them.
 */
int paste_wal_open(void *area, size_t len, const struct paste_wal_bufs *bufs,
		   unsigned int flags, paste_wal_replay_fn *replay, void *ctx,
		   struct paste_wal **out);

/* Free the handle; what is not committed may be lost.  NULL is allowed. */
void paste_wal_close(struct paste_wal *wal);

/*
 * Append a message of @n pieces, with @tag for the user's own purpose, and start
 * to write it back.  It is not durable before paste_wal_commit().
 *
 * Returns its sequence number, larger than that of any message before it.
 * Errors, with nothing appended: -ENOSPC the log is full: truncate, or leave
 * requests unread until you can; -EMSGSIZE it would never fit; -ERANGE a piece
 * names no buffer or does not lie in one.
 */
int64_t paste_wal_append(struct paste_wal *wal,
			 const struct paste_wal_piece *pieces, uint32_t n,
			 uint64_t tag);

/*
 * Make everything appended durable.  Returns the sequence number of the last
 * durable message, 0 before the first ever.  Costs nothing when nothing is new.
 */
uint64_t paste_wal_commit(struct paste_wal *wal);

/*
 * Forget the messages up to and including sequence number @upto, because what
 * they say is durable elsewhere; a message that only begins there stays.  When
 * that is durable, @freed, which may be NULL, is called once for each buffer
 * that no remaining message names.
 * Errors: -EINVAL @upto is not committed.
 */
int paste_wal_truncate(struct paste_wal *wal, uint64_t upto,
		       paste_wal_freed_fn *freed, void *ctx);

struct paste_wal_stats {
	uint64_t epoch;		/* times it was opened */
	uint64_t head;		/* sequence number of the oldest record */
	uint64_t tail;		/* sequence number the next record gets */
	uint64_t committed;	/* as paste_wal_commit() returns it */
	uint64_t slots;		/* records it has room for */
	/* since it was opened */
	uint64_t messages;	/* appended */
	uint64_t bytes;		/* of payload */
	uint64_t commits;	/* that had something to do */
	uint64_t full;		/* times append returned -ENOSPC */
};

void paste_wal_stats(const struct paste_wal *wal, struct paste_wal_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* _PASTE_WAL_H_ */
