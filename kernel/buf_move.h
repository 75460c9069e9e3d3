/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A buffer changes hands: the steps every packet takes, inlined.  Which there are, and
 * who may take them, is at the head of buf.c.
 */
#ifndef PST_BUF_MOVE_H
#define PST_BUF_MOVE_H

#include <linux/nospec.h>
#include "buf.h"
#include "trace.h"

static __always_inline void pst_buf_set_state(struct pst_bufs *bufs, u32 idx,
					      enum pst_buf_state to)
{
	trace_pst_buf(bufs, idx, bufs->state[idx], to);
	/* Whoever sees the state sees what was done to the buffer before. */
	smp_store_release(&bufs->state[idx], to);
}

/* False, and nothing done, when the buffer is not in state @from. */
static __always_inline bool pst_buf_move(struct pst_bufs *bufs, u32 idx,
					 enum pst_buf_state from, enum pst_buf_state to)
{
	if (unlikely(cmpxchg(&bufs->state[idx], from, to) != from))
		return false;
	trace_pst_buf(bufs, idx, from, to);
	return true;
}

static __always_inline u32 pst_pool_pop(struct pst_pool *pool)
{
	if (unlikely(!pool->n)) {
		pst_pool_fill(pool);
		if (!pool->n)
			return PST_BUF_NONE;
	}
	return pool->cache[--pool->n];
}

/* FREE -> KERNEL; PST_BUF_NONE when there is none. */
static __always_inline u32 pst_buf_take(struct pst_pool *pool)
{
	u32 idx = pst_pool_pop(pool);

	if (likely(idx != PST_BUF_NONE))
		pst_buf_set_state(pool->bufs, idx, PST_BUF_KERNEL);
	return idx;
}

/* FREE -> NIC; PST_BUF_NONE when there is none. */
static __always_inline u32 pst_buf_take_for_nic(struct pst_pool *pool, u8 nic)
{
	u32 idx = pst_pool_pop(pool);

	if (likely(idx != PST_BUF_NONE)) {
		pool->bufs->nic[idx] = nic;
		pst_buf_set_state(pool->bufs, idx, PST_BUF_NIC);
	}
	return idx;
}

/* NIC -> KERNEL: a frame that was not left in its buffer. */
static __always_inline void pst_buf_take_back(struct pst_bufs *bufs, u32 idx)
{
	pst_buf_set_state(bufs, idx, PST_BUF_KERNEL);
}

/* KERNEL -> USER: it is in a slot of the application now. */
static __always_inline void pst_buf_show(struct pst_bufs *bufs, u32 idx)
{
	pst_buf_set_state(bufs, idx, PST_BUF_USER);
}

/* NIC -> STACK; the packet holds its page reference already. */
static __always_inline void pst_buf_to_stack(struct pst_bufs *bufs, u32 idx)
{
	pst_buf_set_state(bufs, idx, PST_BUF_STACK);
}

/*
 * STACK -> USER; the packet still holds its page reference.  False when the buffer is
 * in another state (it carries two pieces of the stream and the first one has it), or
 * somebody is just looking whether it is in use: the bytes are to be copied then.
 */
static __always_inline bool pst_buf_deliver(struct pst_bufs *bufs, u32 idx)
{
	return pst_buf_move(bufs, idx, PST_BUF_STACK, PST_BUF_USER);
}

/* Whether an index that came from the application is the application's. */
static __always_inline int pst_buf_owned(const struct pst_bufs *bufs, u32 idx)
{
	if (unlikely(idx < PST_BUF_FIRST || idx >= bufs->n - 1))
		return -ERANGE;
	if (unlikely(READ_ONCE(bufs->state[array_index_nospec(idx, bufs->n)]) != PST_BUF_USER))
		return -EPERM;
	return 0;
}

#endif /* PST_BUF_MOVE_H */
