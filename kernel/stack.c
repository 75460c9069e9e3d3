// SPDX-License-Identifier: GPL-2.0
/*
 * Registering sockets.
 *
 *      connected ---register---> registered ---close(fd)---> dead ---> forgotten
 *                                    |                                    ^
 *                                    '-------- port closed ---------------'
 *
 * A registered socket has our callbacks in place of its own and sk_user_data
 * pointing to its pst_sock.  We hold the struct sock, not the file: close() by the
 * application closes the connection as ever.  Nothing tells us of it, so it is
 * noticed (SOCK_DEAD) when a slot of it is to be published or sent, when its
 * number is registered again, and by a sweep once a second; from the first
 * notice on no slot carries its number.  So is a socket that the application has
 * disconnected and connected anew.
 *
 * That is TCP.  Other sockets have a table of operations (struct pst_proto): UDP in
 * udp.c, all the others in generic.c.  Their callbacks may come without any lock, under
 * RCU, so a pst_sock outlives them by a grace period; and as what we call takes the socket's
 * lock itself, a mutex of ours is in its place.
 *
 * TCP calls the callbacks we take with the socket locked (by a bottom half or by its
 * owner), and (un)registering holds lock_sock(), so a callback never meets a
 * pst_sock that is being taken down.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <net/inet_connection_sock.h>
#include <net/tcp.h>

#include "compat.h"
#include "nic.h"
#include "port.h"
#include "stack.h"

void pst_sock_put(struct pst_sock *ps)
{
	if (!refcount_dec_and_test(&ps->ref))
		return;
	if (ps->rest)
		consume_skb(ps->rest);
	pst_txq_free(ps);
	pst_owner_destroy(&ps->owner);
	sock_put(ps->sk);
	kfree_rcu(ps, rcu);
}

/* Counted reference, or NULL. */
struct pst_sock *pst_stack_find(struct pst_port *port, int fd)
{
	struct pst_sock *ps;

	rcu_read_lock();
	ps = pst_fdmap_get(&port->socks, fd);
	if (ps && !refcount_inc_not_zero(&ps->ref))
		ps = NULL;
	rcu_read_unlock();
	return ps;
}

static void ulp_release(struct sock *sk);

static void on_data_ready(struct sock *sk)
{
	struct pst_sock *ps = pst_sock_of(sk);

	if (likely(ps))
		pst_sock_drain(ps);
}

/*
 * Both sides have shut down, and the peer has acknowledged all, our end too.  An error is then of
 * before, and has ended nothing (IP_RECVERR).
 */
static bool is_in_order(const struct pst_sock *ps)
{
	const struct tcp_sock *tp = tcp_sk(ps->sk);

	return test_bit(PST_SOCK_SHUT, &ps->flags) && sock_flag(ps->sk, SOCK_DONE) &&
	       tp->snd_una == tp->write_seq;
}

static void note_change(struct pst_sock *ps)
{
	struct sock *sk = ps->sk;

	if (sk->sk_state != TCP_CLOSE) {
		/* Nothing has told of that; what waits is not for the new peer. */
		if (unlikely(pst_sk_disconnects(sk) != ps->disconnects))
			set_bit(PST_SOCK_RECONNECTED, &ps->flags);
		if (sk->sk_shutdown & SEND_SHUTDOWN)
			set_bit(PST_SOCK_SHUT, &ps->flags);
	} else if (sk->sk_err && !is_in_order(ps)) {
		ps->err = sk->sk_err;
	} else if (!ps->err) {
		ps->err = ENOTCONN;	/* over, and in order */
	}
}

/*
 * End of stream and death come this way, TCP's errors too: it sets sk_err and then the
 * state.  (sk_error_report is left alone: it may be called without the socket's lock.)
 * Others may wait for the change as well.
 */
static void on_state_change(struct sock *sk)
{
	struct pst_sock *ps = pst_sock_of(sk);

	if (ps) {
		note_change(ps);
		pst_sock_drain(ps);
		ps->state_change(sk);
	}
}

static void on_write_space(struct sock *sk)
{
	struct pst_sock *ps = pst_sock_of(sk);

	if (ps) {
		pst_sock_writable(ps);
		ps->write_space(sk);
	}
}

/*
 * As TCP sees it we are an upper layer protocol, like kTLS: then a registered connection
 * cannot become a listener, whose children would inherit our callbacks, no other upper
 * layer gets in, and ss shows who has the socket.  It cannot be asked for by name.
 */
static struct tcp_ulp_ops ulp = {
	.name = "paste",
	.owner = THIS_MODULE,
	.release = ulp_release,
};

static void hook(struct pst_sock *ps)
{
	struct sock *sk = ps->sk;

	ps->data_ready = sk->sk_data_ready;
	ps->state_change = sk->sk_state_change;
	ps->write_space = sk->sk_write_space;
	ps->error_report = sk->sk_error_report;
	/* The callbacks of others may run without the socket's lock: they look at @ps. */
	smp_store_release(&sk->sk_user_data, (void *)((uintptr_t)ps | SK_USER_DATA_NOCOPY));
	if (ps->proto) {
		ps->proto->hook(sk);
		return;
	}
	__module_get(THIS_MODULE);	/* TCP or unhook() puts it */
	inet_csk(sk)->icsk_ulp_ops = &ulp;
	WRITE_ONCE(sk->sk_data_ready, on_data_ready);
	WRITE_ONCE(sk->sk_state_change, on_state_change);
	WRITE_ONCE(sk->sk_write_space, on_write_space);
}

/* Idempotent: the end of the socket and that of the registration both come here. */
static void unhook(struct pst_sock *ps)
{
	struct sock *sk = ps->sk;

	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_user_data) {
		WRITE_ONCE(sk->sk_data_ready, ps->data_ready);
		WRITE_ONCE(sk->sk_state_change, ps->state_change);
		WRITE_ONCE(sk->sk_write_space, ps->write_space);
		if (ps->proto)
			WRITE_ONCE(sk->sk_error_report, ps->error_report);
		WRITE_ONCE(sk->sk_user_data, NULL);
	}
	write_unlock_bh(&sk->sk_callback_lock);
}

/* TCP destroys the connection; the struct sock stays as long as we hold it. */
static void ulp_release(struct sock *sk)
{
	struct pst_sock *ps = pst_sock_of(sk);

	if (ps)
		unhook(ps);
}

/* Takes @ps down; it is in no table any more.  Drops the registration's reference. */
static void unregister(struct pst_sock *ps)
{
	struct pst_ring *ring = ps->ring;
	struct sock *sk = ps->sk;

	pst_sock_lock(ps);
	set_bit(PST_SOCK_GONE, &ps->flags);
	unhook(ps);
	if (!ps->proto && inet_csk(sk)->icsk_ulp_ops == &ulp) {
		inet_csk(sk)->icsk_ulp_ops = NULL;
		module_put(THIS_MODULE);
	}
	pst_txq_drop(ps);
	if (!sock_flag(sk, SOCK_DEAD))
		READ_ONCE(sk->sk_data_ready)(sk);	/* who sleeps in the socket was not woken by us */
	pst_sock_unlock(ps);

	spin_lock_bh(&ring->lock);
	pst_ring_forget(ring, ps);
	if (test_and_clear_bit(PST_SOCK_WAITING, &ps->flags)) {
		list_del(&ps->wait_node);
		pst_sock_put(ps);
	}
	if (test_and_clear_bit(PST_SOCK_WRITABLE, &ps->flags)) {
		list_del(&ps->write_node);
		pst_sock_put(ps);
	}
	if (!list_empty(&ps->arrive_node)) {
		list_del_init(&ps->arrive_node);
		pst_sock_put(ps);
	}
	if (!list_empty(&ps->close_node)) {
		list_del_init(&ps->close_node);
		pst_sock_put(ps);
	}
	spin_unlock_bh(&ring->lock);

	pst_nic_unsteer(ps->port, ps->steer);
	pst_sock_put(ps);
}

/* Under port->mutex. */
static void forget(struct pst_port *port, struct pst_sock *ps)
{
	pst_fdmap_set(&port->socks, ps->fd, NULL);
	port->nsocks--;
	unregister(ps);
}

/* It was closed, and its peer has not taken what is queued. */
static bool is_overdue(const struct pst_sock *ps)
{
	return ps->flags & (BIT(PST_SOCK_CLOSING) | BIT(PST_SOCK_CLOSE_HELD)) &&
	       time_after(jiffies, ps->close_by);
}

/* What the socket has queued, or the ring holds, goes nowhere: it was reset, or closed for too long. */
static bool is_hopeless(const struct pst_sock *ps)
{
	if (pst_txq_len(ps))
		return (!ps->proto && ps->sk->sk_state == TCP_CLOSE) || is_overdue(ps);
	return !test_bit(PST_SOCK_CLOSING, &ps->flags) && is_overdue(ps);
}

/* Also of what is held in the ring, which comes back refused.  Socket locked. */
static void give_up(struct pst_sock *ps)
{
	if (is_overdue(ps))
		set_bit(PST_SOCK_CLOSING, &ps->flags);
	pst_txq_drop(ps);
	if (test_bit(PST_SOCK_CLOSING, &ps->flags))
		pst_sock_close(ps);
}

/* Forgets sockets whose owner has closed them.  Under port->mutex. */
void pst_stack_sweep(struct pst_port *port)
{
	struct pst_sock *ps;
	int fd;

	lockdep_assert_held(&port->mutex);
	for (fd = 0; (ps = pst_fdmap_next(&port->socks, &fd)); fd++) {
		if (pst_sock_dead(ps)) {
			forget(port, ps);
		} else if (is_hopeless(ps)) {
			pst_sock_lock(ps);
			if (is_hopeless(ps))	/* still */
				give_up(ps);
			pst_sock_unlock(ps);
		}
	}
}

void pst_stack_unregister_all(struct pst_port *port)
{
	struct pst_sock *ps;
	int fd;

	lockdep_assert_held(&port->mutex);
	for (fd = 0; (ps = pst_fdmap_next(&port->socks, &fd)); fd++)
		forget(port, ps);
}

/* As if the application had closed it.  Under port->mutex. */
void pst_stack_forget(struct pst_port *port, struct pst_sock *ps)
{
	lockdep_assert_held(&port->mutex);
	if (pst_fdmap_get(&port->socks, ps->fd) == ps)
		forget(port, ps);
}

/* What never changes: a socket of a kind we know, of the port's namespace. */
static int check_kind(const struct pst_port *port, const struct sock *sk,
		      const struct pst_proto **proto)
{
	bool inet = sk && (sk->sk_family == AF_INET || sk->sk_family == AF_INET6);

	if (inet && sk->sk_type == SOCK_STREAM && sk->sk_protocol == IPPROTO_TCP)
		*proto = NULL;
	else if (inet && sk->sk_type == SOCK_DGRAM && sk->sk_protocol == IPPROTO_UDP)
		*proto = &pst_udp;
	else if (sk && pst_generic_knows(sk))
		*proto = &pst_generic;
	else
		return -EPROTONOSUPPORT;
	return net_eq(sock_net(sk), port->net) ? 0 : -EXDEV;
}

static int check_state(struct sock *sk)
{
	/* What is accepted and not established yet is a fast open. */
	if (!((1 << sk->sk_state) & (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT | TCPF_SYN_RECV |
				     TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2)))
		return -ENOTCONN;
	/* kTLS and others that put themselves between socket and TCP */
	if (inet_csk(sk)->icsk_ulp_ops)
		return -EBUSY;
	return 0;
}

/*
 * From here on nothing fails.  The number comes before the first slot that has it: who sees that,
 * in another thread perhaps, may answer at once.
 */
static void enter_number(struct pst_sock *ps, struct file *file)
{
	pst_fdmap_set(&ps->port->socks, ps->fd, ps);
	if (file)
		fd_install(ps->fd, file);
}

/* Makes the socket ours.  What has arrived already is for the next sync. */
static int adopt_pulled(struct pst_sock *ps)
{
	struct sock *sk = ps->sk;
	int err;

	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	err = sk->sk_user_data ? -EBUSY : ps->proto->check(sk);
	if (!err) {
		enter_number(ps, NULL);
		hook(ps);
	}
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
	if (!err)
		pst_sock_ready(ps);
	return err;
}

/* Makes the socket ours, under its lock, and takes what has arrived already. */
static int adopt(struct pst_sock *ps, struct file *file)
{
	struct sock *sk = ps->sk;
	int err;

	lock_sock(sk);
	err = check_state(sk);
	if (err)
		goto out;
	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_user_data)
		err = -EBUSY;
	else
		hook(ps);
	write_unlock_bh(&sk->sk_callback_lock);
	if (!err) {
		ps->disconnects = pst_sk_disconnects(sk);
		note_change(ps);	/* what has been so far */
		enter_number(ps, file);
		pst_sock_drain(ps);
	}
out:
	release_sock(sk);
	return err;
}

/* What the NICs steer to us, see pst_nic_steer(). */
static u32 steering(const struct pst_sock *ps)
{
	u8 ip_proto = ps->proto ? ps->proto->steer : IPPROTO_TCP;

	return ip_proto ? pst_steer_key(ip_proto, inet_sk(ps->sk)->inet_sport) : 0;
}

/*
 * @sk has the number by which @old was registered.  If one process did both, that descriptor of
 * @old was closed, though @old may live: another thread's close(), which frees the number first,
 * is not through, or there are other descriptors.
 */
static bool is_renumbered(const struct pst_sock *old, const struct sock *sk)
{
	return old->sk != sk && pst_owned_by_caller(&old->owner);
}

/*
 * Whether number @fd is to be had for a socket: what used it is forgotten if it can be, and there
 * is room in the table, so that setting it cannot fail.  -EBUSY, -ENOMEM.
 */
int pst_stack_free_number(struct pst_port *port, int fd, const struct sock *sk)
{
	struct pst_sock *old = pst_fdmap_get(&port->socks, fd);

	lockdep_assert_held(&port->mutex);
	if (old && (pst_sock_dead(old) || is_renumbered(old, sk))) {
		forget(port, old);
		old = NULL;
	}
	return old ? -EBUSY : pst_fdmap_reserve(&port->socks, fd);
}

/*
 * Registers @sk, which is @fd in the caller's table, with one of the rings @among (see
 * pst_nic_ring_for()).  @file: of a connection that was accepted just now, of which the
 * application is told; it becomes @fd with that, and not at all on error.
 * -ENOTCONN: not connected, UDP: not bound; -EBUSY: registered already, or somebody else's
 * (kTLS, sockmap); -ENOMEM, -ENOSPC.
 */
int pst_stack_add(struct pst_port *port, const struct pst_rings *among, struct sock *sk, int fd,
		  const struct pst_proto *proto, struct file *file)
{
	struct pst_sock *ps;
	int err;

	lockdep_assert_held(&port->mutex);
	ps = kzalloc(sizeof(*ps), GFP_KERNEL_ACCOUNT);
	if (!ps)
		return -ENOMEM;
	ps->sk = sk;
	sock_hold(ps->sk);
	ps->proto = proto;
	ps->gso_limit = U32_MAX;
	mutex_init(&ps->mutex);
	INIT_LIST_HEAD(&ps->arrive_node);
	ps->port = port;
	ps->ring = pst_nic_ring_for(port, among, sk);
	ps->fd = fd;
	pst_owner_init(&ps->owner);
	INIT_LIST_HEAD(&ps->close_node);
	refcount_set(&ps->ref, 1);
	if (file)
		set_bit(PST_SOCK_NEW, &ps->flags);

	err = pst_stack_free_number(port, fd, sk);
	if (err)
		goto err_put;
	ps->steer = steering(ps);
	err = pst_nic_steer(port, ps->steer);
	if (err)
		goto err_put;
	err = proto ? adopt_pulled(ps) : adopt(ps, file);
	if (err)
		goto err_unsteer;
	port->nsocks++;
	pst_port_attend(port);	/* starts the sweep */
	return 0;

err_unsteer:
	pst_nic_unsteer(port, ps->steer);
err_put:
	pst_sock_put(ps);
	return err;
}

/*
 * Registers the caller's @fd, connected, listening or (UDP) bound, with one of the
 * rings @among.
 * -EBADF, -ENOTSOCK; -EPROTONOSUPPORT: of no kind we know; -EXDEV: of another network
 * namespace than the port; -EOPNOTSUPP: a listener of another protocol than TCP; and those
 * of pst_stack_add().
 */
int pst_stack_register(struct pst_port *port, const struct pst_rings *among, int fd)
{
	const struct pst_proto *proto;
	struct socket *sock;
	int err;

	lockdep_assert_held(&port->mutex);
	sock = sockfd_lookup(fd, &err);
	if (!sock)
		return err;
	err = check_kind(port, sock->sk, &proto);
	if (!err && !proto && sock->sk->sk_state == TCP_LISTEN)
		err = pst_listener_register(port, among, sock->sk, fd);
	else if (!err)
		err = pst_stack_add(port, among, sock->sk, fd, proto, NULL);
	sockfd_put(sock);
	return err;
}
