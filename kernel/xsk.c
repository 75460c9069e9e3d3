// SPDX-License-Identifier: GPL-2.0
/*
 * An AF_XDP socket used from inside the kernel.
 *
 * The socket is made through the same calls a program makes, in its process, so
 * that permissions, memory limits and driver set-up are the kernel's own:
 *
 *   socket, UMEM_REG, FILL, COMPLETION, RX ring, MMAP_OFFSETS, bind
 *
 * Two things differ.  The memory registered is a mapping made for the moment
 * (pst_region_pinnable), or the application's own: registration pins the pages, and the
 * pin outlives the mapping.  And the rings, which the kernel offers to user space only, are mapped
 * there for the moment, their pages pinned, and mapped again into the kernel.
 *
 * Needs CAP_NET_RAW, as AF_XDP does.
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <net/sock.h>
#include <net/xdp_sock.h>

#include "compat.h"
#include "region.h"
#include "xsk.h"

static int set_option(struct socket *sock, int name, void *val, int len)
{
	return READ_ONCE(sock->ops)->setsockopt(sock, SOL_XDP, name,
						KERNEL_SOCKPTR(val), len);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
static int get_offsets(struct socket *sock, struct xdp_mmap_offsets *off)
{
	struct kvec kv = { .iov_base = off, .iov_len = sizeof(*off) };
	sockopt_t opt = { .optlen = sizeof(*off) };

	iov_iter_kvec(&opt.iter_out, ITER_DEST, &kv, 1, sizeof(*off));
	return READ_ONCE(sock->ops)->getsockopt_iter(sock, SOL_XDP, XDP_MMAP_OFFSETS, &opt);
}
#else
/* getsockopt() writes to user space only: lend it a page there. */
static int get_offsets(struct socket *sock, struct xdp_mmap_offsets *off)
{
	unsigned long page = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, 0);
	char __user *val = (char __user *)page;
	int __user *len = (int __user *)(page + 1024);
	int err;

	if (IS_ERR_VALUE(page))
		return (long)page;
	err = -EFAULT;
	if (put_user((int)sizeof(*off), len))
		goto out;
	err = sock->ops->getsockopt(sock, SOL_XDP, XDP_MMAP_OFFSETS, val, len);
	if (!err && copy_from_user(off, val, sizeof(*off)))
		err = -EFAULT;
out:
	vm_munmap(page, PAGE_SIZE);
	return err;
}
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
static int pin_ring(struct file *file, unsigned long addr, u64 pgoff, struct pst_xring *ring)
{
	int n = pin_user_pages_fast(addr, ring->npages, FOLL_WRITE | FOLL_LONGTERM,
				    ring->page);

	if (n == ring->npages)
		return 0;
	if (n > 0)
		unpin_user_pages(ring->page, n);
	return n < 0 ? n : -EFAULT;
}

static void unpin_ring(struct pst_xring *ring)
{
	unpin_user_pages(ring->page, ring->npages);
}
#else
/*
 * The ring is one compound page there, mapped by frame number.  Another thread may have mapped
 * something else there since.
 */
static int pin_ring(struct file *file, unsigned long addr, u64 pgoff, struct pst_xring *ring)
{
	unsigned long end = addr + ((unsigned long)ring->npages << PAGE_SHIFT);
	struct vm_area_struct *vma;
	unsigned long pfn;
	int err = -EFAULT;
	u32 i;

	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, addr);
	if (vma && vma->vm_start == addr && vma->vm_end == end && vma->vm_file == file &&
	    vma->vm_pgoff == pgoff >> PAGE_SHIFT)
		err = follow_pfn(vma, addr, &pfn);
	if (!err) {
		get_page(pfn_to_page(pfn));
		for (i = 0; i < ring->npages; i++)
			ring->page[i] = pfn_to_page(pfn + i);
	}
	mmap_read_unlock(current->mm);
	return err;
}

static void unpin_ring(struct pst_xring *ring)
{
	put_page(ring->page[0]);
}
#endif

/* The answer may have been in memory of the process, where another thread can change it. */
static bool offsets_make_sense(const struct xdp_ring_offset *off)
{
	const u64 index[] = { off->producer, off->consumer, off->flags };
	u32 i;

	if (off->desc < sizeof(u32) || off->desc > PAGE_SIZE || off->desc % sizeof(u64))
		return false;
	for (i = 0; i < ARRAY_SIZE(index); i++)
		if (index[i] > off->desc - sizeof(u32) || index[i] % sizeof(u32))
			return false;
	return true;
}

static int map_ring(struct file *file, struct pst_xring *ring, u64 pgoff,
		    const struct xdp_ring_offset *off, size_t entry)
{
	size_t size = PAGE_ALIGN(off->desc + PST_XSK_RING * entry);
	unsigned long addr;
	int err;

	if (!offsets_make_sense(off))
		return -EFAULT;
	ring->npages = size >> PAGE_SHIFT;
	ring->page = kcalloc(ring->npages, sizeof(*ring->page), GFP_KERNEL);
	if (!ring->page)
		return -ENOMEM;
	addr = vm_mmap(file, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, pgoff);
	if (IS_ERR_VALUE(addr)) {
		err = (long)addr;
		goto err_free;
	}
	err = pin_ring(file, addr, pgoff, ring);
	vm_munmap(addr, size);
	if (err)
		goto err_free;
	ring->va = vmap(ring->page, ring->npages, VM_MAP, PAGE_KERNEL);
	if (!ring->va) {
		err = -ENOMEM;
		goto err_unpin;
	}
	ring->producer = ring->va + off->producer;
	ring->consumer = ring->va + off->consumer;
	ring->flags = ring->va + off->flags;
	ring->desc = ring->va + off->desc;
	return 0;

err_unpin:
	unpin_ring(ring);
err_free:
	kfree(ring->page);
	ring->page = NULL;
	return err;
}

static void unmap_ring(struct pst_xring *ring)
{
	if (!ring->page)
		return;
	vunmap(ring->va);
	unpin_ring(ring);
	kfree(ring->page);
	ring->page = NULL;
}

struct umem {
	struct socket *sock;
	struct pst_region *region;
	unsigned long addr;
	size_t size;
};

static struct xdp_umem *umem_of(const struct socket *sock)
{
	return container_of(sock->sk, struct xdp_sock, sk)->umem;
}

static int register_range(void *arg)
{
	const struct umem *u = arg;
	struct xdp_umem_reg reg = {
		.addr = u->addr, .len = u->size, .chunk_size = PST_BUF_SIZE,
	};

	return set_option(u->sock, XDP_UMEM_REG, &reg, sizeof(reg));
}

static int register_mapping(struct umem *u)
{
	struct file *file = pst_region_pinnable(u->region);
	int err;

	if (IS_ERR(file))
		return PTR_ERR(file);
	u->addr = vm_mmap(file, 0, u->size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	fput(file);
	if (IS_ERR_VALUE(u->addr))
		return (long)u->addr;
	err = register_range(u);
	vm_munmap(u->addr, u->size);
	return err;
}

/* The application may have put other memory there since: the NIC would write into that. */
static int register_extmem(struct umem *u)
{
	struct pst_region *region = u->region;
	struct xdp_umem *umem;
	int err;

	u->addr = region->ext->addr + region->buf_ofs;
	err = pst_extmem_in_mm(region->ext, register_range, u);
	if (err)
		return err;
	umem = umem_of(u->sock);
	if (umem->npgs != region->bufs.n ||
	    memcmp(umem->pgs, region->bufs.page, umem->npgs * sizeof(*umem->pgs)))
		return -EFAULT;
	return 0;
}

static int register_umem(struct socket *sock, struct pst_region *region)
{
	struct umem u = {
		.sock = sock, .region = region,
		.size = (size_t)region->bufs.n * PST_BUF_SIZE,
	};

	return region->ext ? register_extmem(&u) : register_mapping(&u);
}

static int setup_rings(struct pst_xsk *xsk)
{
	struct xdp_mmap_offsets off = {};
	int n = PST_XSK_RING;
	int err;

	err = set_option(xsk->sock, XDP_UMEM_FILL_RING, &n, sizeof(n));
	if (!err)
		err = set_option(xsk->sock, XDP_UMEM_COMPLETION_RING, &n, sizeof(n));
	if (!err)
		err = set_option(xsk->sock, XDP_RX_RING, &n, sizeof(n));
	if (!err)
		err = get_offsets(xsk->sock, &off);
	if (!err)
		err = map_ring(xsk->file, &xsk->rx, XDP_PGOFF_RX_RING, &off.rx,
			       sizeof(struct xdp_desc));
	if (!err)
		err = map_ring(xsk->file, &xsk->fill, XDP_UMEM_PGOFF_FILL_RING,
			       &off.fr, sizeof(u64));
	return err;
}

static int bind_xsk(struct pst_xsk *xsk, struct net_device *dev, u16 queue,
		    const struct pst_xsk *shared, u16 mode)
{
	struct sockaddr_xdp sa = {
		.sxdp_family = AF_XDP,
		.sxdp_ifindex = dev->ifindex,
		.sxdp_queue_id = queue,
		.sxdp_flags = mode | XDP_USE_NEED_WAKEUP,
	};
	int fd, err;

	if (!shared)
		return pst_kernel_bind(xsk->sock, &sa, sizeof(sa));
	/* Another queue, same memory: the first socket is named by descriptor. */
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	fd_install(fd, get_file(shared->file));
	sa.sxdp_flags = XDP_SHARED_UMEM;
	sa.sxdp_shared_umem_fd = fd;
	err = pst_kernel_bind(xsk->sock, &sa, sizeof(sa));
	close_fd(fd);
	/* Another thread may have put another socket there, with memory that is not the port's. */
	return err ?: umem_of(xsk->sock) == umem_of(shared->sock) ? 0 : -EBADF;
}

/*
 * A socket on @queue of @dev with the region's buffers as its memory.  @shared: the
 * socket of the device's first queue, which registered them; NULL for that one.
 * @mode: XDP_ZEROCOPY or XDP_COPY, ignored when shared.
 */
int pst_xsk_open(struct pst_xsk *xsk, struct net_device *dev, u16 queue,
		 struct pst_region *region, const struct pst_xsk *shared, u16 mode)
{
	int err;

	memset(xsk, 0, sizeof(*xsk));
	err = sock_create(AF_XDP, SOCK_RAW, 0, &xsk->sock);
	if (err)
		return err;
	xsk->file = sock_alloc_file(xsk->sock, O_CLOEXEC, NULL);
	if (IS_ERR(xsk->file)) {	/* and the socket is released */
		err = PTR_ERR(xsk->file);
		xsk->file = NULL;
		return err;
	}
	if (!shared)
		err = register_umem(xsk->sock, region);
	if (!err)
		err = setup_rings(xsk);
	if (!err)
		err = bind_xsk(xsk, dev, queue, shared, mode);
	if (err)
		pst_xsk_close(xsk);
	return err;
}

struct drop {
	struct work_struct work;
	struct file *file;
};

static void drop_now(struct work_struct *work)
{
	__fput_sync(container_of(work, struct drop, work)->file);
}

/*
 * The last fput() leaves the release to when the process returns to user space; but before that
 * the process waits for the memory (reclaim() in nic.c).  So a kernel thread does it.
 */
static void drop_file(struct file *file)
{
	struct drop drop = { .file = file };

	if (current->flags & PF_KTHREAD) {	/* the port's housekeeping, which may not wait for others */
		__fput_sync(file);
		return;
	}
	INIT_WORK_ONSTACK(&drop.work, drop_now);
	queue_work(pst_unbound_wq, &drop.work);
	flush_work(&drop.work);
	destroy_work_on_stack(&drop.work);
}

/*
 * Lets go of the queue at once; but a thread of the process that found one of the descriptors there are
 * for the moment (bind_xsk(), pst_xdp_add_queue()) has the file as well, and keeps queue and memory
 * until it closes it.
 */
void pst_xsk_close(struct pst_xsk *xsk)
{
	if (!xsk->file)
		return;
	drop_file(xsk->file);
	unmap_ring(&xsk->rx);
	unmap_ring(&xsk->fill);
	xsk->file = NULL;
}
