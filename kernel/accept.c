// SPDX-License-Identifier: GPL-2.0
/*
 * Connections without system calls: listening sockets that are registered, and
 * connections that a slot closes.
 *
 *   listener   new connection (softirq)     on_connection: on ring->acceptable
 *              after an RX sync             pst_accept: accept, descriptor, registration
 *                                           the connection's first slot says so (stack_rx.c)
 *   closing    TX slot with NS_PST_CLOSE    data, FIN; pst_sock_close: on ring->closing,
 *                                           at once or when its queue is empty (txq.c)
 *              after a TX sync              pst_close: registration and descriptor go
 *
 * Descriptors belong to the process that registered the listener or socket, so both are done
 * in its own syncs and nobody else's: what another process' sync, or housekeeping, finds
 * stays listed.  Both take port->mutex, and therefore happen beside the sync, not in it.
 *
 * The listener is hooked like a connection (stack.c).  TCP makes children by copying the
 * listener, without its lock; as an upper layer protocol we are shown each copy and take our
 * hook out of it.  That is complete only if the protocol is set before the hook and taken
 * away after it, an RCU grace period apart: children are made under RCU.
 *
 * As accept() by any other part of the kernel, this one does not ask the LSM for the accept
 * permission again; creating, binding, listening and each connection were subject to it.
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/net.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <net/inet_connection_sock.h>
#include <net/tcp.h>

#include "nic.h"
#include "port.h"
#include "stack.h"

/* A registered listening socket. */
struct pst_listener {
	struct list_head node;		/* port->listeners, under port->mutex */
	struct list_head ready_node;	/* ring->acceptable, under ring->lock; or empty */
	struct sock *sk;		/* reference held */
	struct pst_port *port;
	struct pst_ring *ring;		/* whose syncs accept */
	struct pst_rings among;		/* with which connections are registered */
	int fd;
	bool renumbered;		/* @fd is not its number any more; under port->mutex */
	u32 steer;
	struct pst_owner owner;
	struct rcu_head rcu;
};

/* What TCP sockets have, and children get back: they do not know their listener. */
static void (*own_data_ready)(struct sock *sk) __ro_after_init;

int __init pst_accept_init(void)
{
	struct socket *sock;
	int err = sock_create_kern(&init_net, PF_INET, SOCK_STREAM, IPPROTO_TCP, &sock);

	if (err)
		return err;
	own_data_ready = sock->sk->sk_data_ready;
	sock_release(sock);
	return 0;
}

void pst_owner_init(struct pst_owner *owner)
{
	owner->tgid = get_pid(task_tgid(current));
	owner->files = current->files;
}

void pst_owner_destroy(struct pst_owner *owner)
{
	put_pid(owner->tgid);
}

/* The table is compared only: while the process lives, the address is not another one's. */
bool pst_owned_by_caller(const struct pst_owner *owner)
{
	return owner->tgid == task_tgid(current) && owner->files == current->files;
}

/* ------------------------------------------------------------ listeners */

static struct pst_listener *listener_of(const struct sock *sk)
{
	return (struct pst_listener *)((uintptr_t)READ_ONCE(sk->sk_user_data) &
				       SK_USER_DATA_PTRMASK);
}

/* The next sync is to accept.  Any context, under RCU or port->mutex. */
static void enlist(struct pst_listener *l)
{
	struct pst_ring *ring = l->ring;

	spin_lock_bh(&ring->lock);
	if (list_empty(&l->ready_node))
		list_add_tail(&l->ready_node, &ring->acceptable);
	spin_unlock_bh(&ring->lock);
}

static void announce(struct pst_listener *l)
{
	enlist(l);
	pst_ring_wake_for_slot(l->ring);
}

static void on_connection(struct sock *sk)
{
	struct pst_listener *l = listener_of(sk);

	if (likely(l)) {
		announce(l);
		own_data_ready(sk);
	}
}

/*
 * A connection is born: it is nobody's yet.  With a SYN cookie @req does not know the listener.
 * Until it is accepted TCP must not take urgent bytes out of its stream (see forget_urgent()).
 */
static void listener_clone(const struct request_sock *req, struct sock *child,
			   const gfp_t priority)
{
	inet_csk(child)->icsk_ulp_ops = NULL;
	WRITE_ONCE(child->sk_data_ready, own_data_ready);
	sock_set_flag(child, SOCK_URGINLINE);
}

/* TCP destroys the listener; TCP puts the module. */
static void listener_release(struct sock *sk)
{
	if (listener_of(sk))
		WRITE_ONCE(sk->sk_data_ready, own_data_ready);
}

/* The same one for all, which stays: the kernel reads a socket's name and ss its functions without any lock. */
static const struct tcp_ulp_ops listener_ulp = {
	.name = "paste",
	.owner = THIS_MODULE,
	.clone = listener_clone,
	.release = listener_release,
};

static int hook(struct pst_listener *l)
{
	struct sock *sk = l->sk;
	int err = 0;

	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_state != TCP_LISTEN) {
		err = -ENOTCONN;
	} else if (sk->sk_user_data || inet_csk(sk)->icsk_ulp_ops ||
		   sk->sk_data_ready != own_data_ready) {
		err = -EBUSY;
	} else {
		__module_get(THIS_MODULE);
		WRITE_ONCE(sk->sk_user_data, (void *)((uintptr_t)l | SK_USER_DATA_NOCOPY));
		inet_csk(sk)->icsk_ulp_ops = &listener_ulp;
	}
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
	if (err)
		return err;
	synchronize_rcu();
	lock_sock(sk);
	if (inet_csk(sk)->icsk_ulp_ops == &listener_ulp)	/* not closed meanwhile */
		WRITE_ONCE(sk->sk_data_ready, on_connection);
	release_sock(sk);
	return 0;
}

/* No callback finds us from the next grace period on. */
static void silence(struct pst_listener *l)
{
	lock_sock(l->sk);
	WRITE_ONCE(l->sk->sk_data_ready, own_data_ready);
	release_sock(l->sk);
}

static void unhook(struct pst_listener *l)
{
	struct sock *sk = l->sk;

	lock_sock(sk);
	if (inet_csk(sk)->icsk_ulp_ops == &listener_ulp) {
		inet_csk(sk)->icsk_ulp_ops = NULL;
		module_put(THIS_MODULE);
	}
	WRITE_ONCE(sk->sk_user_data, NULL);
	release_sock(sk);
}

static void listener_free(struct pst_listener *l)
{
	pst_owner_destroy(&l->owner);
	sock_put(l->sk);
	kfree_rcu(l, rcu);
}

/* A grace period ago it was silenced. */
static void listener_unregister(struct pst_listener *l)
{
	struct pst_port *port = l->port;

	list_del(&l->node);
	port->nsocks--;
	unhook(l);
	spin_lock_bh(&l->ring->lock);
	list_del_init(&l->ready_node);
	spin_unlock_bh(&l->ring->lock);
	pst_nic_unsteer(port, l->steer);
	listener_free(l);
}

/* Nobody can accept by its number any more. */
static bool is_over(const struct pst_listener *l)
{
	return l->sk->sk_state != TCP_LISTEN || l->renumbered ||
	       !pid_has_task(l->owner.tgid, PIDTYPE_TGID);
}

/* Those that are over, or all: one grace period however many they are. */
static void unregister_listeners(struct pst_port *port, bool all)
{
	struct pst_listener *l, *next;
	LIST_HEAD(leaving);

	lockdep_assert_held(&port->mutex);
	list_for_each_entry_safe(l, next, &port->listeners, node)
		if (all || is_over(l)) {
			silence(l);
			list_move(&l->node, &leaving);
		}
	if (list_empty(&leaving))
		return;
	synchronize_rcu();
	list_for_each_entry_safe(l, next, &leaving, node)
		listener_unregister(l);
}

/* Its socket, counted, by the number that the caller, its owner, registered; NULL if that is another's now. */
static struct socket *by_number(const struct pst_listener *l)
{
	int err;
	struct socket *sock = sockfd_lookup(l->fd, &err);

	if (!sock || sock->sk == l->sk)
		return sock;
	sockfd_put(sock);
	return NULL;
}

/* A number of @sk's that was registered, and closed while it has others, does not stand in the way. */
static void forget_former(struct pst_port *port, const struct sock *sk)
{
	struct pst_listener *l;
	struct socket *sock;

	list_for_each_entry(l, &port->listeners, node) {
		if (l->sk != sk || !pst_owned_by_caller(&l->owner))
			continue;
		sock = by_number(l);
		if (sock)
			sockfd_put(sock);
		else
			l->renumbered = true;
	}
	unregister_listeners(port, false);
}

/* -EBUSY: registered already, or somebody else's; -ENOMEM, -ENOSPC. */
int pst_listener_register(struct pst_port *port, const struct pst_rings *among, struct sock *sk,
			  int fd)
{
	struct pst_listener *l;
	int err;

	lockdep_assert_held(&port->mutex);
	forget_former(port, sk);
	l = kzalloc(sizeof(*l), GFP_KERNEL_ACCOUNT);
	if (!l)
		return -ENOMEM;
	INIT_LIST_HEAD(&l->ready_node);
	l->sk = sk;
	sock_hold(sk);
	l->port = port;
	l->ring = among->first;
	l->among = *among;
	l->fd = fd;
	l->steer = pst_steer_key(IPPROTO_TCP, inet_sk(sk)->inet_sport);
	pst_owner_init(&l->owner);
	err = pst_nic_steer(port, l->steer);
	if (err)
		goto err_free;
	err = hook(l);
	if (err)
		goto err_unsteer;
	list_add_tail(&l->node, &port->listeners);
	port->nsocks++;
	announce(l);		/* for those that wait already */
	pst_port_attend(port);	/* starts the sweep */
	return 0;

err_unsteer:
	pst_nic_unsteer(port, l->steer);
err_free:
	listener_free(l);
	return err;
}

/* Forgets listeners that were closed, do not listen any more, or were a process's that is gone.  Under port->mutex. */
void pst_listeners_sweep(struct pst_port *port)
{
	unregister_listeners(port, false);
}

/* Under port->mutex. */
void pst_listeners_unregister_all(struct pst_port *port)
{
	unregister_listeners(port, true);
}

/* ------------------------------------------------------------ accepting */

/* One connection, from accept() to its registration.  -EAGAIN: there is none. */
static int accept_one(struct pst_listener *l, struct socket *listening)
{
	int fd = get_unused_fd_flags(O_CLOEXEC), err;
	struct socket *sock;
	struct file *file;

	if (fd < 0)
		return fd;
	/* Another process that has the port may have the number: then the connection waits where it is. */
	err = pst_stack_free_number(l->port, fd, NULL);
	if (err)
		goto err_fd;
	err = kernel_accept(listening, &sock, O_NONBLOCK);
	if (err)
		goto err_fd;
	file = sock_alloc_file(sock, O_NONBLOCK, NULL);
	if (IS_ERR(file)) {	/* the connection is closed: accept() does the same */
		err = PTR_ERR(file);
		goto err_fd;
	}
	err = pst_stack_add(l->port, &l->among, sock->sk, fd, NULL, file);
	if (err) {
		fput(file);
		goto err_fd;
	}
	l->ring->c.accepted++;
	return 0;

err_fd:
	put_unused_fd(fd);
	return err;
}

/*
 * Those that wait, until the RX ring is full: then the listener stays listed, and the next
 * sync comes here again.  It also does when descriptors or memory are short; as nothing tells
 * when they are not any more, housekeeping wakes the application now and then.
 */
static void accept_waiting(struct pst_listener *l)
{
	struct pst_ring *ring = l->ring;
	struct socket *listening;
	int err;

	listening = by_number(l);
	if (!listening) {
		l->renumbered = true;	/* or closed: the sweep finds it */
		return;
	}
	for (;;) {
		if (!pst_ring_room(ring) || pst_pool_short(&ring->pool)) {
			enlist(l);
			break;
		}
		err = accept_one(l, listening);
		if (err == -EAGAIN || err == -EINVAL)	/* none, or not listening any more */
			break;
		if (err == -ENOTCONN)	/* was reset while it waited */
			continue;
		if (err) {
			ring->c.accept_failed++;
			enlist(l);
			break;
		}
	}
	sockfd_put(listening);
}

/* Listeners of the caller's on @ring's list, each once. */
static struct pst_listener *next_acceptable(struct pst_ring *ring, struct list_head *turn)
{
	struct pst_listener *l, *found = NULL;

	spin_lock_bh(&ring->lock);
	list_for_each_entry(l, turn, ready_node)
		if (pst_owned_by_caller(&l->owner)) {
			list_del_init(&l->ready_node);
			found = l;
			break;
		}
	spin_unlock_bh(&ring->lock);
	return found;
}

/* Accepts what has come for listeners of @ring; true if there may be slots to publish. */
bool pst_accept(struct pst_ring *ring)
{
	u64 before = ring->c.accepted;
	struct pst_listener *l;
	LIST_HEAD(turn);

	mutex_lock(&ring->port->mutex);
	spin_lock_bh(&ring->lock);
	list_splice_init(&ring->acceptable, &turn);
	spin_unlock_bh(&ring->lock);
	while ((l = next_acceptable(ring, &turn)))
		accept_waiting(l);
	spin_lock_bh(&ring->lock);
	list_splice(&turn, &ring->acceptable);
	spin_unlock_bh(&ring->lock);
	mutex_unlock(&ring->port->mutex);
	return ring->c.accepted != before;
}

/* ------------------------------------------------------------ closing */

/*
 * The last byte is TCP's, or lost: the rest is for the application's own sync.  Of one that was
 * forgotten meanwhile the descriptor is gone already.
 */
void pst_sock_close(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;

	spin_lock_bh(&ring->lock);
	if (!test_bit(PST_SOCK_GONE, &ps->flags) && list_empty(&ps->close_node)) {
		refcount_inc(&ps->ref);
		list_add_tail(&ps->close_node, &ring->closing);
	}
	spin_unlock_bh(&ring->lock);
}

static struct pst_sock *next_closing(struct pst_ring *ring)
{
	struct pst_sock *ps, *found = NULL;

	spin_lock_bh(&ring->lock);
	list_for_each_entry(ps, &ring->closing, close_node)
		if (pst_owned_by_caller(&ps->owner)) {
			list_del_init(&ps->close_node);
			found = ps;
			break;
		}
	spin_unlock_bh(&ring->lock);
	return found;	/* with the list's reference */
}

/* If the number is still this socket's: the application may have closed it as well. */
static void close_descriptor(const struct pst_sock *ps)
{
	struct socket *sock;
	int err;

	sock = sockfd_lookup(ps->fd, &err);
	if (!sock)
		return;
	err = sock->sk == ps->sk ? 0 : -EBADF;
	if (!err && !ps->proto) {
		lock_sock(sock->sk);
		pst_sock_discard(sock->sk);
		release_sock(sock->sk);
	}
	if (!err)	/* nobody reads any more: what comes is answered by a reset */
		kernel_sock_shutdown(sock, SHUT_RDWR);
	sockfd_put(sock);
	if (!err)
		close_fd(ps->fd);
}

/* Closes what slots of @ring asked to be closed. */
void pst_close(struct pst_ring *ring)
{
	struct pst_port *port = ring->port;
	struct pst_sock *ps;

	mutex_lock(&port->mutex);
	while ((ps = next_closing(ring))) {
		pst_stack_forget(port, ps);
		close_descriptor(ps);
		ring->c.closed++;
		pst_sock_put(ps);
	}
	mutex_unlock(&port->mutex);
}
