// SPDX-License-Identifier: GPL-2.0
/*
 * deferred: packets whose freeing was left to another CPU.
 *
 * TCP, and in 7.3 drivers too, do not free a packet that was allocated on another CPU but
 * put it on a list of that CPU, which its next receive softirq empties
 * (skb_attempt_defer_free()).  A CPU that sent and then has nothing to receive would keep our
 * buffers for as long as it is idle.  Nobody else may empty the list, so the softirq is
 * raised, by a NAPI instance that has nothing to poll.
 */
#include <linux/netdevice.h>
#include <linux/smp.h>

#include "compat.h"
#include "deferred.h"

static struct net_device *carrier;	/* of the instance */
static struct napi_struct napi;
static DEFINE_MUTEX(one_at_a_time);	/* it is scheduled on one CPU, then on the next */

static int no_poll(struct napi_struct *n, int budget)
{
	napi_complete_done(n, 0);
	return 0;
}

static void raise(void *unused)
{
	napi_schedule(&napi);
}

/* Has all CPUs free what they were left; sleeps. */
void pst_deferred_free(void)
{
	int cpu;

	mutex_lock(&one_at_a_time);
	cpus_read_lock();
	for_each_online_cpu(cpu) {
		local_bh_disable();	/* our own softirq runs when they are let in again */
		smp_call_function_single(cpu, raise, NULL, 1);
		local_bh_enable();
		napi_synchronize(&napi);
	}
	cpus_read_unlock();
	mutex_unlock(&one_at_a_time);
}

int pst_deferred_init(void)
{
	carrier = pst_dummy_netdev_alloc();
	if (!carrier)
		return -ENOMEM;
	/* Nobody is to find it by its id. */
	set_bit(NAPI_STATE_NO_BUSY_POLL, &napi.state);
	netif_napi_add(carrier, &napi, no_poll);
	napi_enable(&napi);
	return 0;
}

void pst_deferred_exit(void)
{
	napi_disable(&napi);
	netif_napi_del(&napi);
	pst_dummy_netdev_free(carrier);
}
