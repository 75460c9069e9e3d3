/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks, which only know whether they are held; counts; RCU, which is not needed. */
#ifndef _MOCK_SPINLOCK_H_
#define _MOCK_SPINLOCK_H_

#include <linux/types.h>

typedef struct { bool locked; } spinlock_t;
struct mutex { bool locked; };

#define DEFINE_SPINLOCK(l)	spinlock_t l
#define spin_lock_init(l)	((l)->locked = false)
#define spin_lock(l)		mock_lock(&(l)->locked)
#define spin_unlock(l)		mock_unlock(&(l)->locked)
#define spin_lock_bh(l)		mock_lock(&(l)->locked)
#define spin_unlock_bh(l)	mock_unlock(&(l)->locked)

#define mutex_init(l)		((l)->locked = false)
#define mutex_lock(l)		mock_lock(&(l)->locked)
#define mutex_trylock(l)	(!(l)->locked && ((l)->locked = true))
#define mutex_unlock(l)		mock_unlock(&(l)->locked)
#define DEFINE_MUTEX(l)		struct mutex l

#define lockdep_assert_held(l)	WARN_ON_ONCE(!(l)->locked)

#define local_bh_disable()	do { } while (0)
#define local_bh_enable()	do { } while (0)

/* The tests' part. */
void migrate_disable(void);
void migrate_enable(void);

static inline void atomic_inc(atomic_t *v) { ++*v; }
static inline bool atomic_dec_and_test(atomic_t *v) { return !--*v; }
typedef struct { int n; } refcount_t;
static inline void refcount_inc(refcount_t *r) { r->n++; }

struct rcu_head { int none; };
#define synchronize_rcu()	do { } while (0)
#define rcu_read_lock_bh()		do { } while (0)
#define rcu_read_unlock_bh()		do { } while (0)
#define rcu_dereference_bh(p)		(p)
#define rcu_dereference_check(p, c)	(p)
#define rcu_access_pointer(p)		(p)
#define rcu_dereference_protected(p, c)	(p)
#define rcu_assign_pointer(p, v)	smp_store_release(&(p), v)
#define kvfree_rcu(p, member)		kvfree(p)

#endif
