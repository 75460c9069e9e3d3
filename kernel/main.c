// SPDX-License-Identifier: GPL-2.0
/* Loading and unloading. */
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/module.h>

#include "compat.h"
#include "deferred.h"
#include "dev.h"
#include "nic.h"
#include "port.h"
#include "stack.h"

/* A thread per ring: what one writes all the time shares no cache line with another's. */
static_assert(!(sizeof(struct pst_ring) % SMP_CACHE_BYTES));
static_assert(!(offsetof(struct pst_port, ring) % SMP_CACHE_BYTES));
static_assert(!(sizeof(struct pst_nicq) % SMP_CACHE_BYTES));
static_assert(!(offsetof(struct pst_nic, queue) % SMP_CACHE_BYTES));
static_assert(!(offsetof(struct pst_bufs, lock) % SMP_CACHE_BYTES));
static_assert(offsetofend(struct pst_port, socks) <= SMP_CACHE_BYTES);
static_assert(offsetof(struct pst_port, nsocks) >= SMP_CACHE_BYTES);
static_assert(!(offsetof(struct pst_port, housekeeping) % SMP_CACHE_BYTES));

static int __init paste_init(void)
{
	int err;

	err = pst_accept_init();
	if (err)
		return err;
	err = pst_port_init();
	if (err)
		return err;
	err = pst_deferred_init();
	if (err)
		goto err_port;
	err = pst_nic_init();
	if (err)
		goto err_deferred;
	err = pst_dev_init();
	if (err) {
		pr_err("paste: cannot create /dev/netmap (error %d): is netmap loaded?\n", err);
		goto err_nic;
	}
	return 0;

err_nic:
	pst_nic_exit();
err_deferred:
	pst_deferred_exit();
err_port:
	pst_port_exit();
	return err;
}

/* Every open descriptor holds the module, so no port is left by now. */
static void __exit paste_exit(void)
{
	pst_dev_exit();
	pst_nic_exit();
	pst_port_exit();
	pst_deferred_exit();
}

module_init(paste_init);
module_exit(paste_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("PASTE: kernel TCP/IP behind netmap rings, zero copy from stock NICs");
MODULE_VERSION("0.1");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("BPF_INTERNAL");
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
MODULE_IMPORT_NS(BPF_INTERNAL);
#endif
