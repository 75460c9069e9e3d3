/* SPDX-License-Identifier: BSD-2-Clause */
/* Wait queues with a number of sleepers, wait bits that do not wait unless told to, poll. */
#ifndef _MOCK_WAIT_H_
#define _MOCK_WAIT_H_

#include <linux/types.h>
#include <sys/epoll.h>

typedef struct { int sleepers, woken; } wait_queue_head_t;
typedef struct wait_queue_entry {
	int (*func)(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key);
} wait_queue_entry_t;
struct poll_table_struct { void *_qproc; };

#define TASK_UNINTERRUPTIBLE	2
#define TASK_KILLABLE		0x102

#define init_waitqueue_func_entry(e, f) ((e)->func = (f))
#define add_wait_queue(w, e)	((void)(e), (w)->sleepers++)
#define remove_wait_queue(w, e)	((void)(e), (w)->sleepers--)
#define init_waitqueue_head(w)	((w)->sleepers = (w)->woken = 0)
#define wq_has_sleeper(w)	(mock_step("wq_has_sleeper"), (w)->sleepers > 0)
#define wake_up_interruptible_poll(w, events) ((void)(events), (w)->woken++)
#define wake_up_all(w)		((w)->woken++)
#define DECLARE_WAIT_QUEUE_HEAD(w) wait_queue_head_t w

/* What others do while somebody waits, once; NULL: the time goes by. */
extern void (*mock_meanwhile)(void);

#define wait_event_killable_timeout(w, condition, time) ({			\
	long left_ = 0;								\
	(w).sleepers++;								\
	if (condition) {							\
		left_ = 1;							\
	} else if (mock_meanwhile) {						\
		mock_meanwhile();						\
		mock_meanwhile = NULL;						\
		left_ = !!(condition);						\
	}									\
	(w).sleepers--;								\
	left_; })

static inline bool test_and_set_bit_lock(int n, unsigned long *p)
{
	bool was;

	mock_step("test_and_set_bit_lock");
	was = test_bit(n, p);
	__set_bit(n, p);
	return was;
}

static inline void clear_and_wake_up_bit(int n, unsigned long *p)
{
	mock_step("clear_and_wake_up_bit");
	WARN_ON_ONCE(!test_bit(n, p));
	__clear_bit(n, p);
}

/* Of the next wait for a bit that is set: its result, or 1 if the bit is freed meanwhile. */
extern int mock_bit_wait;

static inline int wait_on_bit_lock(unsigned long *p, int n, int mode)
{
	int result = mock_bit_wait;

	(void)mode;
	mock_bit_wait = 0;
	if (result < 0)
		return result;
	if (result)
		__clear_bit(n, p);
	WARN_ON_ONCE(test_and_set_bit_lock(n, p));
	return 0;
}

#endif
