// SPDX-License-Identifier: GPL-2.0
/*
 * Any other connected stream socket: MPTCP, SCTP (one-to-one style), Unix.
 *
 *   callbacks (any context)      on_change: the socket waits for the next sync
 *   RX sync, pst_stack_resume
 *     drain                      sock_recvmsg() into FREE buffers, until there is nothing
 *     tell                       end of stream, error, end of it all
 *   TX sync                      sock_sendmsg(); what does not go is queued (txq.c)
 *
 * All of it is copied, in process context, and the protocol does as for any program.  What
 * comes with the bytes is not passed on: descriptors sent over a Unix socket are closed, SCTP's
 * notifications dropped.
 *
 * We hold the struct sock, not the file; for the calls, which want a struct socket, the file is
 * held too, so that close() by the application takes effect after the call.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <net/af_unix.h>
#include <net/sock.h>
#include <uapi/linux/sctp.h>

#include "buf_move.h"
#include "compat.h"
#include "port.h"
#include "stack.h"

/* What is tried to receive at once: the rest of a buffer. */
#define PIECE	(PST_BUF_SIZE - PST_COPY_OFFSET)

bool pst_generic_knows(const struct sock *sk)
{
	if (sk->sk_type != SOCK_STREAM)
		return false;
	switch (sk->sk_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
	case AF_INET6:
		return sk->sk_protocol == IPPROTO_MPTCP || sk->sk_protocol == IPPROTO_SCTP;
	}
	return false;
}

/* The socket behind @ps, with a reference to its file; NULL if it is being closed. */
struct file *pst_sock_file(struct pst_sock *ps, struct socket **sock)
{
	struct sock *sk = ps->sk;
	struct file *file = NULL;

	read_lock_bh(&sk->sk_callback_lock);
	*sock = sk->sk_socket;
	if (*sock)
		file = pst_get_file_active(*sock);
	read_unlock_bh(&sk->sk_callback_lock);
	return file;
}

/* ------------------------------------------------------------ callbacks */

static void on_data_ready(struct sock *sk)
{
	struct pst_sock *ps;

	rcu_read_lock();
	ps = pst_sock_of(sk);
	if (ps) {
		pst_sock_ready(ps);
		ps->data_ready(sk);
	}
	rcu_read_unlock();
}

static void on_state_change(struct sock *sk)
{
	struct pst_sock *ps;

	rcu_read_lock();
	ps = pst_sock_of(sk);
	if (ps) {
		pst_sock_ready(ps);
		ps->state_change(sk);
	}
	rcu_read_unlock();
}

static void on_write_space(struct sock *sk)
{
	struct pst_sock *ps;

	rcu_read_lock();
	ps = pst_sock_of(sk);
	if (ps) {
		pst_sock_writable(ps);
		ps->write_space(sk);
	}
	rcu_read_unlock();
}

static void on_error_report(struct sock *sk)
{
	struct pst_sock *ps;

	rcu_read_lock();
	ps = pst_sock_of(sk);
	if (ps) {
		pst_sock_ready(ps);
		ps->error_report(sk);
	}
	rcu_read_unlock();
}

static void hook(struct sock *sk)
{
	WRITE_ONCE(sk->sk_data_ready, on_data_ready);
	WRITE_ONCE(sk->sk_state_change, on_state_change);
	WRITE_ONCE(sk->sk_write_space, on_write_space);
	WRITE_ONCE(sk->sk_error_report, on_error_report);
}

/* Connected, or was: Unix, MPTCP and SCTP number these states as TCP does. */
static int check(struct sock *sk)
{
	if (sk->sk_state == TCP_LISTEN)
		return -EOPNOTSUPP;
	if (sk->sk_state == TCP_CLOSE || sk->sk_state == TCP_SYN_SENT)
		return -ENOTCONN;
	return 0;
}

/* ------------------------------------------------------------ receiving */

/*
 * Receives into @to: bytes, 0 at the end of the stream, or an error.  *@more: the
 * message goes on (a stream has no messages).
 */
static int receive(struct pst_sock *ps, struct socket *sock, void *to, bool *more)
{
	bool messages = ps->sk->sk_protocol == IPPROTO_SCTP;
	struct kvec kv = { .iov_base = to, .iov_len = PIECE };
	struct msghdr msg;
	int n;

	do {
		msg = (struct msghdr){ };
		iov_iter_kvec(&msg.msg_iter, ITER_DEST, &kv, 1, PIECE);
		n = sock_recvmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n > 0 && messages && msg.msg_flags & MSG_NOTIFICATION);
	*more = messages && !(msg.msg_flags & MSG_EOR);
	return n;
}

/* What the end is was learned by receiving.  After it nothing comes. */
static void note_end(struct pst_sock *ps, int n)
{
	if (n == 0)
		set_bit(PST_SOCK_EOS_SEEN, &ps->flags);
	else if (n != -EAGAIN && n != -EINTR && !ps->err)
		ps->err = -n;
}

/*
 * One slot; false: nothing there, or no room for it.  The slot comes first, so that what
 * has been received has a place whatever others put meanwhile.
 */
static bool take(struct pst_sock *ps, struct socket *sock)
{
	struct pst_ring *ring = ps->ring;
	struct pst_bufs *bufs = ring->pool.bufs;
	u32 buf, slot = 0;
	bool more;
	int n;

	spin_lock_bh(&ring->lock);
	buf = pst_sock_take_buf(ps);
	if (buf != PST_BUF_NONE) {
		pst_buf_show(bufs, buf);
		slot = ring->rx.fill;
		pst_ring_put(ring, ps, buf, PST_COPY_OFFSET, PST_COPY_OFFSET, NS_PST_COPIED);
	}
	spin_unlock_bh(&ring->lock);
	if (buf == PST_BUF_NONE)
		return false;

	n = receive(ps, sock, pst_buf_addr(bufs, buf) + PST_COPY_OFFSET, &more);
	if (n <= 0) {
		pst_ring_take_back(ring, slot, buf);
		note_end(ps, n);
		return false;
	}
	pst_ring_amend(ring, slot, PST_COPY_OFFSET + n, more ? NS_PST_MORE : 0);
	ring->c.rx_copied += n;
	return true;
}

static void drain(struct pst_sock *ps)
{
	struct socket *sock;
	struct file *file;

	if (test_bit(PST_SOCK_PAUSED, &ps->flags) || test_bit(PST_SOCK_EOS_SEEN, &ps->flags))
		return;
	file = pst_sock_file(ps, &sock);
	if (!file)
		return;
	while (!ps->err && take(ps, sock))
		;
	fput(file);
}

/*
 * What ended the connection behind the end of the stream, where nobody receives any more who would
 * learn it; or 0.  Of a Unix socket it is set after the shutdown, both under this lock.
 */
static int late_error(struct sock *sk)
{
	int err;

	if (sk->sk_family != AF_UNIX)
		return -sock_error(sk);
	unix_state_lock(sk);
	err = -sock_error(sk);
	unix_state_unlock(sk);
	return err;
}

/* The end of the stream has been seen. */
static void tell_eos(struct pst_sock *ps)
{
	bool both = (READ_ONCE(ps->sk->sk_shutdown) & SEND_SHUTDOWN) && !pst_txq_len(ps);

	ps->err = late_error(ps->sk);
	if (ps->err)
		return;
	if (!test_bit(PST_SOCK_EOS_TOLD, &ps->flags)) {
		if (!pst_sock_put_event(ps, 0, 0))
			return;
		set_bit(PST_SOCK_EOS_TOLD, &ps->flags);
	}
	if (both)
		ps->err = ENOTCONN;	/* over, and in order */
}

static void tell(struct pst_sock *ps)
{
	if (ps->message_err && pst_sock_put_event(ps, 0, ps->message_err))
		ps->message_err = 0;
	if (test_bit(PST_SOCK_EOS_SEEN, &ps->flags) && !ps->err)
		tell_eos(ps);
	if (ps->err && !test_bit(PST_SOCK_ERR_TOLD, &ps->flags) &&
	    pst_sock_put_event(ps, 0, ps->err))
		set_bit(PST_SOCK_ERR_TOLD, &ps->flags);
}

/* ------------------------------------------------------------ sending */

/* The bytes of @n entries; how many were taken, or an error if none. */
static int send_bytes(struct pst_sock *ps, struct socket *sock, struct pst_txq_entry *e[], u32 n)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct pst_bufs *bufs = ps->ring->pool.bufs;
	struct kvec kv[PST_TX_CHUNK] __uninitialized;
	size_t bytes = 0;
	u32 i;
	int r;

	for (i = 0; i < n; i++) {
		kv[i].iov_base = pst_buf_addr(bufs, e[i]->buf) + e[i]->offset;
		kv[i].iov_len = e[i]->len - e[i]->offset;
		bytes += kv[i].iov_len;
	}
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, kv, n, bytes);
	r = sock_sendmsg(sock, &msg);
	if (r > 0) {
		ps->ring->c.tx_bytes += r;
		ps->ring->c.tx_copied += r;
	}
	return r;
}

/* Entries that go in one call: with SCTP each is a message. */
static u32 run_of(const struct pst_sock *ps, struct pst_txq_entry *e[], u32 n)
{
	u32 i = 0;

	while (i < n && e[i]->buf != PST_BUF_NONE) {
		if (e[i++]->shut || ps->sk->sk_protocol == IPPROTO_SCTP)
			break;
	}
	return i;
}

/* Of @run entries, @sent bytes are gone: how many entries that are, the next cut short. */
static u32 advance(struct pst_txq_entry *e[], u32 run, int sent)
{
	u32 i;

	for (i = 0; i < run; i++) {
		int len = e[i]->len - e[i]->offset;

		if (sent < len) {
			e[i]->offset += sent;
			break;
		}
		sent -= len;
	}
	return i;
}

static u32 send(struct pst_sock *ps, struct pst_txq_entry *e[], u32 n, int *err)
{
	struct socket *sock;
	struct file *file;
	u32 done = 0;

	file = pst_sock_file(ps, &sock);
	if (!file) {
		*err = -EPIPE;
		return 0;
	}
	while (done < n) {
		u32 run = run_of(ps, e + done, n - done), gone;
		int r = 0;

		if (run)
			r = send_bytes(ps, sock, e + done, run);
		if (r == -ENOBUFS || r == -ENOMEM)
			r = -EAGAIN;		/* the stream goes on when there is memory */
		if (r < 0) {
			*err = r;
			break;
		}
		gone = advance(e + done, run, r);
		done += run ? gone : 1;		/* or one that only shuts */
		if (gone < run)
			continue;		/* it will say why */
		if (e[done - 1]->shut && !e[done - 1]->close)
			kernel_sock_shutdown(sock, SHUT_WR);
	}
	fput(file);
	return done;
}

const struct pst_proto pst_generic = {
	.as_caller = true,
	.check = check,
	.hook = hook,
	.drain = drain,
	.send = send,
	.tell = tell,
};
