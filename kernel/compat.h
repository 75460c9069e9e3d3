/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between the kernels we build on (6.1, 6.12, 7.3); the rest is in xsk.c and main.c. */
#ifndef PST_COMPAT_H
#define PST_COMPAT_H

#include <linux/version.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/bvec.h>
#include <linux/fs.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/uio.h>
#include <net/busy_poll.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#include <net/netdev_lock.h>
#endif
#include <net/tcp.h>
#include <net/udp.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "PASTE needs Linux 6.1 or later"
#endif

/* kern_sys_bpf() is declared nowhere outside the BPF core. */
int kern_sys_bpf(int cmd, union bpf_attr *attr, unsigned int size);

/* A device that only carries a NAPI instance. */
static inline struct net_device *pst_dummy_netdev_alloc(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	return alloc_netdev_dummy(0);
#else
	struct net_device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (dev)
		init_dummy_netdev(dev);
	return dev;
#endif
}

static inline void pst_dummy_netdev_free(struct net_device *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	free_netdev(dev);
#else
	kfree(dev);
#endif
}

/* Under RTNL, around changes of a device's features. */
static inline void pst_netdev_lock(struct net_device *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	netdev_lock_ops(dev);
#endif
}

static inline void pst_netdev_unlock(struct net_device *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	netdev_unlock_ops(dev);
#endif
}

static inline bool pst_napi_id_valid(unsigned int id)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	return napi_id_valid(id);
#else
	return id >= MIN_NAPI_ID;
#endif
}

/* The id packets get that go through @napi, which itself is not found by it. */
static inline void pst_napi_set_id(struct napi_struct *napi, unsigned int id)
{
#ifdef CONFIG_NET_RX_BUSY_POLL
	WRITE_ONCE(napi->napi_id, id);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	napi->gro.cached_napi_id = id;
#endif
#endif
}

/* The NAPI instance that the last packet of a socket came through; 0: none known. */
static inline unsigned int pst_sock_napi_id(const struct sock *sk)
{
#ifdef CONFIG_NET_RX_BUSY_POLL
	unsigned int id = READ_ONCE(sk->sk_napi_id);

	return pst_napi_id_valid(id) ? id : 0;
#else
	return 0;
#endif
}

/* poll_does_not_wait(), which 7.x has no more. */
static inline bool pst_poll_no_wait(const struct poll_table_struct *wait)
{
	return !wait || !wait->_qproc;
}

/* For work of any length on any CPU. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#define pst_unbound_wq	system_dfl_wq
#else
#define pst_unbound_wq	system_unbound_wq
#endif

static inline void pst_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/* Large folios: 6.1 does not let modules count their mappings. */
static inline bool pst_large_folios(void)
{
	return LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0);
}

static inline int pst_folio_mapcount(struct folio *folio)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return folio_mapcount(folio);
#else
	return atomic_read(&folio->_mapcount) + 1;
#endif
}

/*
 * How often a folio is pinned.  Small ones have that in their reference count, so it holds of those
 * with few other references: less than GUP_PIN_COUNTING_BIAS.
 */
static inline int pst_folio_pins(struct folio *folio)
{
	if (!folio_test_large(folio))
		return folio_ref_count(folio) / GUP_PIN_COUNTING_BIAS;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return atomic_read(&folio->_pincount);
#else
	return atomic_read(folio_pincount_ptr(folio));
#endif
}

static inline int pst_kernel_bind(struct socket *sock, void *addr, int len)
{
	return kernel_bind(sock, addr, len);
}

/* Marks a packet as having been through XDP already. */
static inline void pst_skb_set_redirected(struct sk_buff *skb)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	skb->redirected = 1;
#elif defined(CONFIG_NET_REDIRECT)
	skb->redirected = 1;
#endif
}

/* Does somebody capture packets of @dev?  Under RCU. */
static inline bool pst_is_captured(struct net_device *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	return dev_nit_active_rcu(dev);
#else
	return dev_nit_active(dev);
#endif
}

/* tc programs or filters on the way out, other than those of a qdisc. */
static inline bool pst_has_egress_programs(struct net_device *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return rcu_access_pointer(dev->tcx_egress);
#else
	return rcu_access_pointer(dev->miniq_egress);
#endif
}

/* Must the device see this (full) socket's packets first (TLS offload and the like)? */
static inline bool pst_sock_validates(const struct sock *sk)
{
#ifdef CONFIG_SOCK_VALIDATE_XMIT
	return sk->sk_validate_xmit_skb;
#else
	return false;
#endif
}

/* The file of @sock, counted, or NULL if it is being closed.  Under sk_callback_lock. */
static inline struct file *pst_get_file_active(struct socket *sock)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return get_file_active(&sock->file);
#else
	struct file *file = READ_ONCE(sock->file);

	return file && get_file_rcu(file) ? file : NULL;
#endif
}

static inline void pst_udp_drops_inc(struct sock *sk)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	udp_drops_inc(sk);
#else
	atomic_inc(&sk->sk_drops);
#endif
}

/* Does the application gather its own messages (UDP_CORK)? */
static inline bool pst_udp_corked(const struct sock *sk)
{
	return udp_test_bit(CORK, sk);
}

/* With this flag UDP takes pages by reference; 0: it cannot. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define PST_UDP_BY_REFERENCE	MSG_SPLICE_PAGES
#else
#define PST_UDP_BY_REFERENCE	0
#endif

/*
 * Hands pages to TCP, by reference.  Socket locked; never blocks.  The number of
 * bytes taken, or an error if none were.  @more: what follows is to go with the last of them.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
static inline int pst_send_pages(struct sock *sk, struct bio_vec *bv, u32 n, size_t bytes,
				 bool more)
{
	struct msghdr msg = {
		.msg_flags = MSG_SPLICE_PAGES | MSG_DONTWAIT | MSG_NOSIGNAL |
			     (more ? MSG_MORE : 0),
	};

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, bv, n, bytes);
	return tcp_sendmsg_locked(sk, &msg, bytes);
}
#else
static inline int pst_send_pages(struct sock *sk, struct bio_vec *bv, u32 n, size_t bytes,
				 bool more)
{
	size_t sent = 0;
	u32 i;

	for (i = 0; i < n; i++) {
		int flags = MSG_DONTWAIT | MSG_NOSIGNAL |
			    (i + 1 < n ? MSG_MORE | MSG_SENDPAGE_NOTLAST : more ? MSG_MORE : 0);
		int r = kernel_sendpage_locked(sk, bv[i].bv_page, bv[i].bv_offset,
					       bv[i].bv_len, flags);

		if (r < 0)
			return sent ?: r;
		sent += r;
		if (r < bv[i].bv_len)
			break;
	}
	return sent;
}
#endif

/*
 * How often the application has ended the socket's connection to make another one of it; not known
 * of old kernels.
 */
static inline int pst_sk_disconnects(const struct sock *sk)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0) ||		\
	(LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 61) &&	\
	 LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0))
	return sk->sk_disconnects;
#else
	return 0;
#endif
}

#endif /* PST_COMPAT_H */
