// SPDX-License-Identifier: BSD-2-Clause
/* kernel/txq.c: what a full socket still has to send goes in order, once, and gives its buffers back. */
#include "kernel/test.h"
#include "../../kernel/txq.c"
#include "buf_move.h"

#define BUFS	200

struct cred mock_cred;

static struct pst_port *port;
static struct pst_ring *ring;
static struct pst_bufs bufs;
static struct sock sk;
static struct pst_sock *ps;
static struct pid me, other;

/* ------------------------------------------------------------ what the queue calls */

/* The peer's end: byte number n of the stream is stream_byte(n). */
static u64 given, taken;	/* bytes: to the queue, by TCP */
static size_t room;		/* what TCP still takes */
static int error;		/* of the next call; once, if @passing */
static bool passing;
static int shuts, closes, wakes, tells, attends, readies;
static bool as_me;

static u8 stream_byte(u64 n)
{
	return n * 7 + (n >> 8) * 13;
}

int tcp_sendmsg_locked(struct sock *s, struct msghdr *msg, size_t size)
{
	const struct bio_vec *bv = (void *)msg->msg_iter;
	size_t sent, left;
	int e = error;

	assert_ptr_equal(s, &sk);
	assert_int_equal(shuts, 0);
	if (e) {
		error = passing ? 0 : e;
		return e;
	}
	if (!room)
		return -EAGAIN;
	sent = min(size, room);
	room -= sent;
	for (left = sent; left; bv++) {
		const u8 *p = (u8 *)page_address(bv->bv_page) + bv->bv_offset;
		size_t n = min(left, (size_t)bv->bv_len);

		assert_in_range(bv->bv_page->refs, 2, 3);
		left -= n;
		while (n--)
			assert_int_equal(*p++, stream_byte(taken++));
	}
	return sent;
}

static void shutdown_socket(struct sock *s, int how)
{
	assert_int_equal(how, SEND_SHUTDOWN);
	assert_int_equal(given, taken);
	shuts++;
}

static void state_change(struct sock *s) { }

void pst_sock_close(struct pst_sock *p) { closes++; }
void pst_ring_wake(struct pst_ring *r) { wakes++; }
void __pst_sock_tell(struct pst_sock *p) { tells++; }
void pst_sock_ready(struct pst_sock *p) { readies++; }
void pst_port_attend(struct pst_port *p) { attends++; }
void pst_owner_init(struct pst_owner *o) { o->tgid = as_me ? &me : &other; }
void pst_owner_destroy(struct pst_owner *o) { o->tgid = NULL; }
bool pst_owned_by_caller(const struct pst_owner *o) { return o->tgid == (as_me ? &me : &other); }

/* Another kind of socket: takes @room entries, then says @error. */
static u32 send_entries(struct pst_sock *p, struct pst_txq_entry *e[], u32 n, int *err)
{
	u32 done = min((size_t)n, room);

	room -= done;
	for (u32 i = 0; i < done; i++)
		taken += e[i]->len - e[i]->offset;
	if (done < n) {
		*err = error ?: -EAGAIN;
		error = passing ? 0 : error;
	}
	return done;
}

static const struct pst_proto stream = { .send = send_entries, .as_caller = true };
static const struct pst_proto datagrams = { .send = send_entries, .datagrams = true };

/* ------------------------------------------------------------ a socket */

static void begin(const struct pst_proto *proto)
{
	static struct proto prot = { .shutdown = shutdown_socket };

	port = mock_alloc(1, struct_size(port, ring, 1));
	ps = mock_alloc(1, sizeof(*ps));
	assert_true(port && ps);
	assert_int_equal(pst_bufs_init(&bufs, BUFS), 0);
	ring = &port->ring[0];
	ring->port = port;
	assert_int_equal(pst_pool_init(&ring->pool, &bufs), 0);
	INIT_LIST_HEAD(&ring->writable);
	sk = (struct sock) {
		.sk_state = TCP_ESTABLISHED, .sk_route_caps = NETIF_F_SG, .sk_prot = &prot,
		.sk_state_change = state_change,
	};
	ps->sk = &sk;
	ps->proto = proto;
	ps->ring = ring;
	ps->port = port;
	refcount_inc(&ps->ref);
	me = other = (struct pid) { .ended = false };
	as_me = true;
	given = taken = room = 0;
	error = shuts = closes = wakes = tells = attends = readies = 0;
	passing = false;
}

static void free_all(void)
{
	pst_txq_free(ps);
	pst_pool_destroy(&ring->pool);
	pst_bufs_destroy(&bufs);
	mock_free(ps);
	mock_free(port);
}

/* With nothing left: all buffers are free, the socket is on no list. */
static void end(void)
{
	u32 count[PST_BUF_STATES];

	assert_int_equal(pst_txq_len(ps), 0);
	assert_true(list_empty(&ring->writable));
	assert_int_equal(ps->ref.n, 1);
	pst_bufs_count(&bufs, count);
	assert_int_equal(count[PST_BUF_SENT] + count[PST_BUF_SETTLING] + count[PST_BUF_KERNEL], 0);
	free_all();
	assert_int_equal(mock_cred.refs, 0);
}

/* An entry of @len bytes of the stream, whose buffer is the kernel's; or stays the application's, @keep. */
static struct pst_txq_entry entry(u32 len, bool keep)
{
	struct pst_txq_entry e = { .offset = rnd(50), .keep = keep };
	u8 *p;

	if (!len) {
		e.len = e.offset;
		return e;
	}
	e.len = e.offset + len;
	spin_lock_bh(&ring->lock);
	e.buf = pst_buf_take(&ring->pool);
	spin_unlock_bh(&ring->lock);
	assert_int_not_equal(e.buf, PST_BUF_NONE);
	pst_buf_show(&bufs, e.buf);
	p = pst_buf_addr(&bufs, e.buf);
	for (u32 i = e.offset; i < e.len; i++)
		p[i] = stream_byte(given++);
	assert_int_equal(keep ? pst_buf_cite(&bufs, e.buf) : pst_buf_claim(&bufs, e.buf), 0);
	return e;
}

static bool add(u32 len)
{
	struct pst_txq_entry e = entry(len, false);

	return pst_txq_add(ps, &e);
}

/* What TCP has not taken: the application's again, and then nobody's. */
static void drop_entry(const struct pst_txq_entry *e)
{
	if (e->buf == PST_BUF_NONE)
		return;
	spin_lock_bh(&ring->lock);
	put_page(bufs.page[e->buf]);
	if (!e->keep)
		pst_buf_settle(&ring->pool, e->buf);
	spin_unlock_bh(&ring->lock);
}

static void write_space(size_t n)
{
	room = n;
	pst_sock_writable(ps);
	pst_txq_push_all(ring);
}

/* ------------------------------------------------------------ TCP */

static void goes_on(void **state)
{
	begin(NULL);
	assert_true(add(1000));
	assert_true(add(2000));
	assert_true(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	write_space(1500);		/* in the middle of the second one */
	assert_int_equal(taken, 1500);
	assert_int_equal(pst_txq_len(ps), 1);
	assert_true(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	write_space(0);
	assert_int_equal(taken, 1500);
	write_space(5000);
	assert_int_equal(taken, 3000);
	assert_false(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	assert_int_equal(ring->c.tx_bytes, 3000);
	pst_sock_writable(ps);		/* nobody waits for it */
	end();
}

static void full_or_no_memory(void **state)
{
	struct pst_txq_entry e;

	begin(NULL);
	e = entry(100, false);
	mock.fail_alloc = 1;
	assert_false(pst_txq_add(ps, &e));
	assert_false(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	assert_true(pst_txq_add(ps, &e));
	for (u32 i = 1; i < PST_TXQ_MAX; i++)
		assert_true(add(10));
	e = entry(10, false);
	assert_false(pst_txq_add(ps, &e));
	drop_entry(&e);
	given -= 10;
	write_space(1 << 20);
	assert_int_equal(taken, given);
	end();
}

/* The end of the stream comes behind its last byte, once. */
static void shuts_in_order(void **state)
{
	struct pst_txq_entry e;

	begin(NULL);
	assert_true(add(1000));
	e = entry(500, false);
	e.shut = true;
	assert_true(pst_txq_add(ps, &e));
	write_space(1200);
	assert_int_equal(shuts, 0);
	write_space(1 << 20);
	assert_int_equal(shuts, 1);
	pst_txq_shut(&sk);
	assert_int_equal(shuts, 1);
	end();
	begin(NULL);		/* alone */
	e = entry(0, false);
	e.shut = true;
	assert_true(add(100));
	assert_true(pst_txq_add(ps, &e));
	write_space(1 << 20);
	assert_int_equal(shuts, 1);
	end();
}

static void closes_when_all_is_gone(void **state)
{
	struct pst_txq_entry e;

	begin(NULL);
	e = entry(500, false);
	e.shut = e.close = true;
	assert_true(pst_txq_add(ps, &e));
	assert_true(test_bit(PST_SOCK_CLOSING, &ps->flags));
	assert_int_equal(ps->close_by, jiffies + 60 * HZ);
	write_space(100);
	assert_int_equal(closes, 0);
	write_space(1 << 20);
	assert_int_equal(closes, 1);
	end();
}

/* It is dropped, which is no end of congestion. */
static void connection_fails(void **state)
{
	begin(NULL);
	assert_true(add(1000));
	assert_true(add(1000));
	sk.sk_state = TCP_CLOSE;
	error = -ECONNRESET;
	write_space(0);
	assert_int_equal(ring->c.tx_failed, 2);
	assert_int_equal(ps->err, ECONNRESET);
	assert_true(test_bit(PST_SOCK_TORN, &ps->flags));
	assert_true(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	assert_int_equal(tells, 1);
	error = 0;
	write_space(100);
	assert_true(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	assert_int_equal(taken, 0);
	end();
}

/* An error that ends nothing is tried again once; the stream has no gap. */
static void passing_error(void **state)
{
	for (int e = 0; e < 2; e++) {
		begin(NULL);
		assert_true(add(1000));
		error = e ? -EPIPE : -EHOSTUNREACH;	/* as it is when SO_ERROR was quicker */
		passing = true;
		write_space(1000);
		assert_int_equal(taken, 1000);
		assert_int_equal(ring->c.tx_failed, 0);
		end();
	}
	begin(NULL);			/* of what goes at once, too */
	{
		struct pst_txq_entry e = entry(1000, false), *list[] = { &e };

		error = -EHOSTUNREACH;
		passing = true;
		room = 1000;
		assert_int_equal(pst_txq_send(ps, list, 1, false), 1000);
		spin_lock_bh(&ring->lock);
		release_entry(ring, &e);
		spin_unlock_bh(&ring->lock);
	}
	end();
	begin(NULL);
	assert_true(add(1000));
	error = -EHOSTUNREACH;
	write_space(1000);
	assert_int_equal(ring->c.tx_failed, 1);
	assert_int_equal(ps->err, EHOSTUNREACH);
	end();
}

/* What the ring holds is the application's business as well. */
static void held_in_the_ring(void **state)
{
	begin(NULL);
	assert_true(add(1000));
	ps->held = 2;
	write_space(1 << 20);
	assert_int_equal(taken, 1000);
	assert_true(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	pst_sock_unhold(ps);
	assert_true(list_empty(&ring->writable));
	pst_sock_unhold(ps);
	pst_txq_push_all(ring);
	assert_false(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	end();
}

/* Listed once, however often; not once it is gone. */
static void listed(void **state)
{
	begin(NULL);
	assert_true(add(10));
	pst_sock_writable(ps);
	pst_sock_writable(ps);
	assert_int_equal(ps->ref.n, 2);
	assert_int_equal(attends, 1);
	set_bit(PST_SOCK_GONE, &ps->flags);
	room = 100;
	pst_txq_push_all(ring);
	assert_int_equal(taken, 0);
	pst_sock_writable(ps);
	pst_txq_drop(ps);
	end();
}

/* With each move of the peer it has as long again. */
static void close_held(void **state)
{
	begin(NULL);
	sk.snd_una = 5;
	pst_txq_close_held(ps);
	assert_true(test_bit(PST_SOCK_CLOSE_HELD, &ps->flags));
	assert_int_equal(ps->close_by, jiffies + 60 * HZ);
	ps->close_by = 1;
	pst_txq_close_held(ps);
	assert_int_equal(ps->close_by, 1);
	sk.snd_una = 6;
	pst_txq_close_held(ps);
	assert_int_equal(ps->close_by, jiffies + 60 * HZ);
	end();
}

/* ------------------------------------------------------------ other kinds */

static void one_datagram_fails(void **state)
{
	begin(&datagrams);
	for (int i = 0; i < 3; i++)
		assert_true(add(100));
	error = -ECONNREFUSED;
	passing = true;
	write_space(1);			/* the second one is refused, and the third is tried */
	assert_int_equal(ring->c.tx_failed, 1);
	assert_int_equal(ps->err, ECONNREFUSED);
	assert_int_equal(pst_txq_len(ps), 1);
	assert_false(list_empty(&ring->writable));	/* not all of them tell */
	room = 1;
	pst_txq_push_all(ring);
	assert_int_equal(taken, 200);
	assert_false(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	end();
}

/* Of SCTP too, but for an event: the association goes on, and what else its slot was to do is done. */
static void one_message_fails(void **state)
{
	struct pst_txq_entry e;

	begin(&stream);
	sk.sk_protocol = IPPROTO_SCTP;
	assert_true(add(100));
	e = entry(100, false);
	e.shut = true;
	assert_true(pst_txq_add(ps, &e));
	error = -EMSGSIZE;
	passing = true;
	write_space(1);
	assert_int_equal(ring->c.tx_failed, 1);
	assert_int_equal(ps->message_err, EMSGSIZE);
	assert_int_equal(ps->err, 0);
	assert_int_equal(readies, 1);
	assert_int_equal(pst_txq_len(ps), 1);	/* the end */
	room = 1;
	pst_txq_push_all(ring);
	assert_false(test_bit(PST_SOCK_CONGESTED, &ps->flags));
	end();
}

/* In the name of who gave it: not in another's, not in housekeeping's; an heir of the same user goes on. */
static void sent_by_its_sender(void **state)
{
	struct pst_txq_entry e;

	begin(&stream);
	assert_true(add(100));
	assert_int_equal(mock_cred.refs, 1);
	as_me = false;
	e = entry(100, false);
	assert_false(pst_txq_add(ps, &e));
	write_space(10);
	assert_int_equal(taken, 0);
	me.ended = true;
	mock_task.flags = PF_KTHREAD;
	pst_txq_push_all(ring);
	assert_int_equal(taken, 0);
	mock_task.flags = 0;
	pst_txq_push_all(ring);
	assert_int_equal(taken, 100);
	assert_true(pst_txq_add(ps, &e));
	assert_int_equal(mock_cred.refs, 1);
	write_space(10);
	assert_int_equal(taken, 200);
	end();
}

/* ------------------------------------------------------------ at random */

/* As much as there is room for comes, in order, whatever the sizes; who cites has the buffer still. */
static void random_stream(void **state)
{
	u32 cited[PST_TXQ_MAX], n = 0;

	begin(NULL);
	for (int round = 0; round < 20000; round++) {
		struct pst_txq_entry e;

		if (rnd(2) && pst_txq_len(ps) < PST_TXQ_MAX && n < PST_TXQ_MAX) {
			e = entry(1 + rnd(3000), !rnd(4));
			if (e.keep)
				cited[n++] = e.buf;
			assert_true(pst_txq_add(ps, &e));
		} else {
			write_space(rnd(5000));
		}
		assert_true(taken <= given);
		assert_int_equal(test_bit(PST_SOCK_CONGESTED, &ps->flags), taken < given);
		if (taken < given)
			continue;
		while (n) {
			n--;
			assert_int_equal(pst_buf_state(&bufs, cited[n]), PST_BUF_USER);
			assert_int_equal(bufs.page[cited[n]]->refs, 1);
			spin_lock_bh(&ring->lock);
			assert_int_equal(pst_buf_give_back(&ring->pool, cited[n]), 0);
			spin_unlock_bh(&ring->lock);
		}
	}
	write_space(1 << 30);
	assert_int_equal(taken, given);
	assert_int_equal(ring->c.tx_bytes, given);
	while (n--)
		assert_int_equal(bufs.page[cited[n]]->refs, 1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(goes_on),
		T(full_or_no_memory),
		T(shuts_in_order),
		T(closes_when_all_is_gone),
		T(connection_fails),
		T(passing_error), T(one_message_fails),
		T(held_in_the_ring),
		T(listed),
		T(close_held),
		T(one_datagram_fails),
		T(sent_by_its_sender),
		T(random_stream),
	};

	return cmocka_run_group_tests_name("kernel_txq", tests, NULL, NULL);
}
