/* SPDX-License-Identifier: BSD-2-Clause */
/* The current thread with its namespace, time, deferred work, module parameters. */
#ifndef _MOCK_SCHED_H_
#define _MOCK_SCHED_H_

#include <linux/list.h>
#include <linux/spinlock.h>

struct net {
	int refs;
	struct { int sysctl_tcp_fin_timeout; } ipv4;
};
struct nsproxy { struct net *net_ns; };
struct task_struct {
	struct nsproxy *nsproxy;
	unsigned int flags;
};
#define PF_KTHREAD		0x00200000

extern struct net mock_net;
extern struct nsproxy mock_nsproxy;
extern struct task_struct mock_task;

#define current			(&mock_task)
#define fatal_signal_pending(t)	mock_signal_pending()

static inline struct net *get_net(struct net *net) { net->refs++; return net; }
static inline void put_net(struct net *net) { net->refs--; }
static inline bool net_eq(const struct net *a, const struct net *b) { return a == b; }

/* jiffies are milliseconds */
#define HZ			1000
#define NSEC_PER_USEC		1000
#define msecs_to_jiffies(ms)	((unsigned long)(ms))
#define time_after(a, b)	((long)((b) - (a)) < 0)
#define time_before(a, b)	time_after(b, a)
extern unsigned long jiffies;

struct timespec64 { int64_t tv_sec; long tv_nsec; };
static inline void ktime_get_real_ts64(struct timespec64 *ts)
{
	*ts = (struct timespec64) { 1234567890, 987654321 };
}

struct work_struct { void (*fn)(struct work_struct *work); };
struct delayed_work {
	struct work_struct work;
	bool pending;
	struct { unsigned long expires; } timer;
};
struct workqueue_struct { int none; };

enum { WQ_UNBOUND, WQ_MEM_RECLAIM };

#define alloc_workqueue(name, flags, n)	mock_alloc(1, sizeof(struct workqueue_struct))
#define destroy_workqueue(q)		mock_free(q)
#define INIT_DELAYED_WORK(w, f)		((w)->work.fn = (f))
#define to_delayed_work(w)		container_of(w, struct delayed_work, work)
#define delayed_work_pending(w)		((w)->pending)
#define cancel_delayed_work_sync(w)	((w)->pending = false)

/* What is waited for at once runs at once. */
#define system_dfl_wq			((struct workqueue_struct *)NULL)
#define INIT_WORK_ONSTACK(w, f)		((w)->fn = (f))
#define queue_work(q, w)		((void)(q), (w)->fn(w))
#define flush_work(w)			((void)(w))
#define destroy_work_on_stack(w)	((void)(w))

static inline void mod_delayed_work(struct workqueue_struct *q, struct delayed_work *w,
				    unsigned long delay)
{
	(void)q;
	w->pending = true;
	w->timer.expires = jiffies + delay;
}

static inline void queue_delayed_work(struct workqueue_struct *q, struct delayed_work *w,
				      unsigned long delay)
{
	if (!w->pending)
		mod_delayed_work(q, w, delay);
}


struct module;
#define THIS_MODULE		((struct module *)NULL)
#define module_param_cb(name, ops, arg, mode)	\
	static const void *const mock_param_ ## name[] __attribute__((unused)) = { ops, arg }
struct kernel_param { int none; };
struct kernel_param_ops {
	int (*set)(const char *val, const struct kernel_param *kp);
	int (*get)(char *buf, const struct kernel_param *kp);
};
static inline int param_get_uint(char *buf, const struct kernel_param *kp) { return 0; }
static inline int param_set_uint_minmax(const char *val, const struct kernel_param *kp,
					unsigned int min, unsigned int max) { return 0; }
#define MODULE_PARM_DESC(name, text)	struct mock_param_ ## name

#endif
