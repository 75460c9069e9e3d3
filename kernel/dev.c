// SPDX-License-Identifier: GPL-2.0
/*
 * The character device /dev/netmap.
 *
 *   open     an unbound descriptor
 *   ioctl    NIOCCTRL, NIOCREGIF, NIOCGINFO   requests           request.c
 *            NIOCTXSYNC, NIOCRXSYNC           sync of the bound rings
 *   poll     TX sync, then RX sync, then: is a slot beyond cur?
 *   mmap     the region                                          region.c
 *   release  when the descriptor and all its mappings are gone: unbind
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "compat.h"
#include "dev.h"
#include "port.h"
#include "region.h"
#include "ring.h"
#include "stack.h"

static int nm_dev_open(struct inode *inode, struct file *file)
{
	struct pst_file *pf = kzalloc(sizeof(*pf), GFP_KERNEL_ACCOUNT);

	if (!pf)
		return -ENOMEM;
	mutex_init(&pf->mutex);
	file->private_data = pf;
	return 0;
}

static int nm_dev_release(struct inode *inode, struct file *file)
{
	struct pst_file *pf = file->private_data;

	pst_file_unbind(pf);
	kfree(pf);
	return 0;
}

/* The port once bound; what was set before it is then visible too. */
static struct pst_port *bound_port(struct pst_file *pf)
{
	return smp_load_acquire(&pf->port);	/* pairs with pst_file_bind() */
}

static int nm_dev_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pst_port *port = bound_port(file->private_data);

	if (!port)
		return -EINVAL;
	return pst_region_mmap(port->region, vma);
}

static int sync_tx(struct pst_file *pf, struct pst_port *port, bool wait)
{
	int err = 0;
	u32 i;

	for (i = pf->tx_first; i < pf->tx_end; i++) {
		err = pst_ring_txsync(&port->ring[i], wait) ?: err;
		if (unlikely(!list_empty(&port->ring[i].closing)))
			pst_close(&port->ring[i]);
	}
	return err;
}

static int sync_rx(struct pst_file *pf, struct pst_port *port, bool busy_poll)
{
	int err = 0;
	u32 i;

	for (i = pf->rx_first; i < pf->rx_end; i++) {
		err = pst_ring_rxsync(&port->ring[i], busy_poll) ?: err;
		/* Connections that this sync has brought are shown by the same call. */
		if (unlikely(!list_empty(&port->ring[i].acceptable)) &&
		    pst_accept(&port->ring[i]))
			err = pst_ring_rxsync(&port->ring[i], false) ?: err;
	}
	return err;
}

static long nm_dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct pst_file *pf = file->private_data;
	struct pst_port *port = bound_port(pf);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case NIOCTXSYNC:
		return port ? sync_tx(pf, port, true) : -ENXIO;
	case NIOCRXSYNC:
		return port ? sync_rx(pf, port, true) : -ENXIO;
	case NIOCCTRL:
		return uarg ? pst_request(pf, uarg) : -EINVAL;
	case NIOCREGIF:
	case NIOCGINFO:
		return uarg ? pst_request_legacy(pf, cmd, uarg) : -EINVAL;
	default:
		return -EOPNOTSUPP;
	}
}

static __poll_t ready(struct pst_file *pf, struct pst_port *port)
{
	__poll_t mask = 0;
	u32 i;

	for (i = pf->tx_first; i < pf->tx_end; i++)
		if (pst_kring_ready(&port->ring[i].tx))
			mask |= EPOLLOUT | EPOLLWRNORM;
	for (i = pf->rx_first; i < pf->rx_end; i++)
		if (pst_kring_ready(&port->ring[i].rx))
			mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}

/*
 * A caller that will not sleep drives the NIC itself: that is busy polling.  The
 * later passes of a poll() that did sleep look the same, and need not: the driver
 * has just run, that is why they are there.
 */
static bool busy_polling(struct pst_file *pf, const struct poll_table_struct *wait)
{
	bool waited = pf->waited;

	pf->waited = !pst_poll_no_wait(wait);
	return !pf->waited && !waited;
}

/* Replies leave before new data is read. */
static __poll_t nm_dev_poll(struct file *file, struct poll_table_struct *wait)
{
	struct pst_file *pf = file->private_data;
	struct pst_port *port = bound_port(pf);
	__poll_t events = poll_requested_events(wait);
	int err = 0;
	u32 i;

	if (!port)
		return EPOLLERR;
	/* Waiting comes before looking, so that nothing is missed in between. */
	for (i = min(pf->tx_first, pf->rx_first); i < max(pf->tx_end, pf->rx_end); i++)
		poll_wait(file, &port->ring[i].wait, wait);
	if ((events & (EPOLLOUT | EPOLLWRNORM)) || !(pf->flags & NR_NO_TX_POLL))
		err = sync_tx(pf, port, false);
	if (events & (EPOLLIN | EPOLLRDNORM))
		err = sync_rx(pf, port, busy_polling(pf, wait)) ?: err;
	return err ? EPOLLERR : ready(pf, port);
}

static const struct file_operations nm_dev_fops = {
	.owner = THIS_MODULE,
	.open = nm_dev_open,
	.release = nm_dev_release,
	.mmap = nm_dev_mmap,
	.poll = nm_dev_poll,
	.unlocked_ioctl = nm_dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice nm_dev_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "netmap",
	.fops = &nm_dev_fops,
	.mode = 0600,
};

/*
 * -EBUSY when somebody else owns the device, netmap for example.  misc_register() would
 * say so too, with a stack dump; a device that answers is asked first.
 */
int pst_dev_init(void)
{
	struct file *file = filp_open("/dev/netmap", O_RDONLY, 0);

	if (!IS_ERR(file)) {
		filp_close(file, NULL);
		return -EBUSY;
	}
	return misc_register(&nm_dev_misc);
}

void pst_dev_exit(void)
{
	misc_deregister(&nm_dev_misc);
}
