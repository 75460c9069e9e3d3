// SPDX-License-Identifier: BSD-2-Clause
/*
 * faultsync: whichever allocation of a sync fails, it does what it can, loses no byte of a stream,
 * leaves nothing behind, and the next one does the rest.
 *
 * [debug checked timeout=240]
 *
 * fault.h tells how; other requests have fault.c.  With an argument only the syncs whose names begin so.  tests/net/fault.py
 * gives the sync with a NIC one that does zero copy, and a peer behind it.
 */
#include "far.h"
#include "fault.h"

#define BYTES		6000		/* each way on each connection of a sync */
#define REPLIES		10		/* to a full socket: more than it takes should it move on by itself */
#define FILL_MAX	(1UL << 20)	/* what a full socket has taken is less */

static uint64_t failed_before;		/* what a counter was */
static size_t filled;			/* bytes that a full socket has taken */
static char sent[SOCKS][2][BYTES];

/* A sync that has a connection to accept, and its first bytes to show. */
static void prepare_accept(void)
{
	prepare_listener();
	t_must(!port_register(&p, sock[0]));
	t_must(write(peer[0], "early", 5) == 5);
	failed_before = port_stats(&p).counters.accept_failed;
}

static int run_txsync(void)
{
	return ioctl(p.fd, NIOCTXSYNC);
}

static int run_rxsync(void)
{
	return ioctl(p.fd, NIOCRXSYNC);
}

static int run_sync(void)
{
	struct pollfd pfd = { .fd = p.fd, .events = POLLIN | POLLOUT };

	return poll(&pfd, 1, 0) < 0 || pfd.revents & POLLERR ? -1 : 0;
}

/* A sync does what it can, and the rest later; a connection it had to give up is closed and counted. */
static void finish_accept(bool done)
{
	bool lost = port_stats(&p).counters.accept_failed != failed_before;
	char text[8];
	int conn;

	t_true(done);
	if (lost && !silent(peer[0], 100)) {
		t_le(read(peer[0], text, 1), 0);
		close_pairs(done);
		return;
	}
	conn = accepted();
	if (t_true(conn >= 0))
		t_eq(port_collect(&p, conn, text, 5, 3000), 5);
	close(conn);
	close_pairs(done);
}

/* Data both ways on several connections, as much as one sync takes. */
static void fill_sent(void)
{
	for (int i = 0; i < SOCKS; i++)
		for (int k = 0; k < BYTES; k++) {
			sent[i][0][k] = (char)(k * 7 + i);
			sent[i][1][k] = (char)(k * 11 + i);
		}
}

static void put_reply(int i)
{
	port_put(&p, sock[i], sent[i][1], BYTES / 2);
	port_put(&p, sock[i], sent[i][1] + BYTES / 2, BYTES / 2);
}

static void prepare_sync(void)
{
	for (int i = 0; i < SOCKS; i++) {
		port_pair(&p, &sock[i], &peer[i]);
		t_must(write(peer[i], sent[i][0], BYTES) == BYTES);
		put_reply(i);
	}
}

/*
 * Each of the first @n connections has all its bytes, in order; the only event is that of congestion: a
 * send without memory waits as one to a full socket does.
 */
static void collect_streams(int n)
{
	static char got[SOCKS][BYTES];
	size_t have[SOCKS] = { 0 }, all = 0;
	struct netmap_slot *s;

	while (all < (size_t)n * BYTES && (s = port_next(&p, 3000))) {
		size_t len = slot_len(s);
		int i = 0;

		while (i < n && sock[i] != s->fd)
			i++;
		t_must(i < n && have[i] + len <= BYTES);
		if (s->flags & NS_PST_EVENT)
			t_eq(s->err, EAGAIN);
		memcpy(got[i] + have[i], slot_data(p.rx, s), len);
		have[i] += len;
		all += len;
		paste_rx_release(p.rx);
	}
	for (int i = 0; i < n; i++) {
		t_eq(have[i], BYTES);
		t_true(!memcmp(got[i], sent[i][0], BYTES));
	}
}

static void finish_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	collect_streams(SOCKS);
	for (int i = 0; i < SOCKS; i++) {
		t_eq(read_n(peer[i], got, BYTES, 3000), BYTES);
		t_true(!memcmp(got, sent[i][1], BYTES));
	}
	close_pairs(done);
}

/* It has not sent. */
static void finish_rxsync(bool done)
{
	port_sync(&p);
	finish_sync(done);
}

/* The five bytes that came early; a send without memory waits as one to a full socket does. */
static void collect_early(char *text)
{
	int n;

	do
		n = port_collect(&p, sock[0], text, 5, 3000);
	while (n == -1000 - EAGAIN);
	t_eq(n, 5);
}

/* What only copies. */
static void register_and_reply(void)
{
	t_must(!port_register(&p, sock[0]));
	put_reply(0);
}

static void prepare_unix_sync(void)
{
	prepare_unix();
	register_and_reply();
}

static void prepare_mptcp_sync(void)
{
	prepare_mptcp();
	register_and_reply();
}

static void prepare_sctp_sync(void)
{
	prepare_sctp();
	failed_before = port_stats(&p).counters.tx_failed;
	register_and_reply();
}

/* What the first peer gets within @ms, at most @max bytes, while the port is synced. */
static size_t read_syncing(char *got, size_t max, int ms)
{
	uint64_t end = now_ms() + (uint64_t)ms * t_slower();
	size_t n = 0;

	while (n < max && now_ms() < end) {
		ssize_t more = recv(peer[0], got + n, max - n, MSG_DONTWAIT);

		if (more > 0) {
			n += (size_t)more;
			continue;
		}
		port_sync(&p);
		usleep(1000);
	}
	return n;
}

static void finish_unix_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	collect_early(got);
	t_eq(read_syncing(got, BYTES, 3000), BYTES);
	t_true(!memcmp(got, sent[0][1], BYTES));
	close_pairs(done);
}

/* What MPTCP has taken, but had no memory to send, waits in it until something else is sent or received. */
static void finish_mptcp_sync(bool done)
{
	static char got[BYTES + 1];

	t_true(done);
	collect_early(got);
	port_put(&p, sock[0], "!", 1);
	t_eq(read_syncing(got, BYTES + 1, 3000), BYTES + 1);
	t_true(!memcmp(got, sent[0][1], BYTES) && got[BYTES] == '!');
	close_pairs(done);
}

/* A message that finds no memory is refused, or waits, if need be for SCTP's timer (3 s). */
static void finish_sctp_sync(bool done)
{
	static char got[BYTES];
	size_t n = 0, refused = 0;

	t_true(done);
	collect_early(got);
	for (int i = 0; i < 100; i++) {
		n += read_syncing(got + n, BYTES - n, 100);
		refused = (port_stats(&p).counters.tx_failed - failed_before) * BYTES / 2;
		if (n + refused == BYTES)
			break;
	}
	t_eq(n + refused, BYTES);
	t_true(!memcmp(got, sent[0][1], n) || (n == BYTES / 2 && !memcmp(got, sent[0][1] + n, n)));
	close_pairs(done);
}

/*
 * A socket that is full when it is registered: its queue is made for replies.  What filled it comes
 * first, then the replies, whether they waited there or in the ring.
 */
static void fill_up(int server, int other)
{
	static const char filler[1024];
	int small = 16384;

	sock[0] = server;
	peer[0] = other;
	for (int i = 1; i < SOCKS; i++)
		sock[i] = peer[i] = -1;
	setsockopt(server, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	filled = 0;
	for (int quiet = 0; quiet < 5; quiet++) {	/* TCP moves on by itself for a moment */
		ssize_t n;

		while ((n = send(server, filler, sizeof(filler), MSG_DONTWAIT)) > 0) {
			filled += (size_t)n;
			quiet = 0;
		}
		t_must(n < 0 && errno == EAGAIN && filled < FILL_MAX);
		usleep(5000);
	}
	t_must(!port_register(&p, server));
	for (int i = 0; i < REPLIES; i++)
		put_reply(0);
}

static void prepare_full(void)
{
	int server, other;

	tcp_pair(&server, &other);
	fill_up(server, other);
}

static void prepare_full_unix(void)
{
	int s[2];

	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	fill_up(s[0], s[1]);
}

static void finish_full(bool done)
{
	static char got[FILL_MAX + REPLIES * BYTES];
	size_t all = filled + (size_t)REPLIES * BYTES;

	t_true(done);
	t_eq(port_collect(&p, sock[0], got, 1, 3000), -1000 - EAGAIN);
	t_eq(read_syncing(got, all, 10000), all);
	for (int i = 0; i < REPLIES; i++)
		t_true(!memcmp(got + filled + i * BYTES, sent[0][1], BYTES));
	close_pairs(done);
}

/* A datagram that finds no memory is refused, as sendto() would say. */
static void prepare_udp_sync(void)
{
	prepare_udp();
	t_must(!port_register(&p, sock[0]));
	failed_before = port_stats(&p).counters.tx_failed;
	port_put(&p, sock[0], sent[0][1], BYTES / 4);
}

static void finish_udp_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	collect_early(got);
	if (port_stats(&p).counters.tx_failed == failed_before) {
		t_eq(recv(peer[0], got, BYTES, 0), BYTES / 4);
		t_true(!memcmp(got, sent[0][1], BYTES / 4));
	}
	close_pairs(done);
}

/* Several to each of several peers, who are named in the slots; and several from them, with where they are. */
static struct sockaddr_in6 peer_at[SOCKS];

static void put_datagram(int to, const char *data)
{
	struct netmap_slot *s = &p.tx->slot[p.tx->head];
	const struct sockaddr_in *a = (void *)&peer_at[to];
	struct nm_pst_addr addr = { .family = AF_INET, .port = a->sin_port };

	memcpy(addr.addr, &a->sin_addr, 4);
	t_must(!nm_ring_empty(p.tx));
	s->fd = sock[0];
	s->offset = sizeof(addr);
	s->len = sizeof(addr) + BYTES / 4;
	s->flags = NS_PST_TO;
	memcpy(slot_data(p.tx, s), data, BYTES / 4);
	nm_pst_setaddr(NETMAP_BUF(p.tx, s->buf_idx), s, &addr);
	p.tx->head = p.tx->cur = nm_ring_next(p.tx, p.tx->head);
}

static void prepare_addressed_sync(void)
{
	struct sockaddr_in6 here;
	socklen_t len;

	sock[0] = udp_bound(AF_INET, &here, &len);
	t_must(!port_register(&p, sock[0]));
	for (int i = 1; i < SOCKS; i++)
		sock[i] = -1;
	failed_before = port_stats(&p).counters.tx_failed;
	for (int i = 0; i < SOCKS; i++) {
		peer[i] = udp_bound(AF_INET, &peer_at[i], &len);
		t_must(!connect(peer[i], (void *)&here, len));
		for (int k = 0; k < 2; k++) {
			t_must(send(peer[i], sent[i][0] + k, 100, 0) == 100);
			put_datagram(i, sent[i][1] + k);
		}
	}
}

static void take_datagram(unsigned int *seen)
{
	struct netmap_slot *s = port_next(&p, 1000);
	struct nm_pst_addr from;

	t_must(s);
	if (s->flags & NS_PST_EVENT) {
		t_eq(s->err, EAGAIN);
	} else {
		t_eq(slot_len(s), 100);
		t_must(s->flags & NS_PST_FROM);
		nm_pst_getaddr(NETMAP_BUF(p.rx, s->buf_idx), s, &from);
		for (int i = 0; i < SOCKS; i++)
			for (int k = 0; k < 2; k++)
				if (from.port == ((struct sockaddr_in *)&peer_at[i])->sin_port &&
				    !memcmp(slot_data(p.rx, s), sent[i][0] + k, 100))
					*seen |= 1u << (2 * i + k);
	}
	paste_rx_release(p.rx);
}

/* What has come is shown, all of it; what is sent arrives, but for what is counted as refused. */
static void finish_addressed_sync(bool done)
{
	static char got[BYTES];
	unsigned int seen = 0;
	uint64_t arrived = 0;

	t_true(done);
	for (int i = 0; i < 20 && seen != (1u << 2 * SOCKS) - 1; i++)
		take_datagram(&seen);
	t_eq(seen, (1u << 2 * SOCKS) - 1);
	for (int i = 0; i < SOCKS; i++)
		for (; !silent(peer[i], 20); arrived++) {
			t_eq(recv(peer[i], got, BYTES, 0), BYTES / 4);
			t_true(!memcmp(got, sent[i][1], BYTES / 4) || !memcmp(got, sent[i][1] + 1, BYTES / 4));
		}
	t_eq(arrived + port_stats(&p).counters.tx_failed - failed_before, 2 * SOCKS);
	close_pairs(done);
}

/* A sync that closes: what comes before the close is not lost, and the descriptor goes, if not at once. */
static void prepare_closing_sync(void)
{
	uint32_t slot = p.tx->head;

	for (int i = 1; i < SOCKS; i++)
		sock[i] = peer[i] = -1;
	port_pair(&p, &sock[0], &peer[0]);
	failed_before = port_stats(&p).counters.closed;
	port_put(&p, sock[0], sent[0][1], BYTES / 2);
	p.tx->slot[slot].flags |= NS_PST_CLOSE;
}

static void finish_closing_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	for (int i = 0; i < 300 && port_stats(&p).counters.closed == failed_before; i++) {
		empty_ring();
		usleep(10000);
	}
	t_eq(port_stats(&p).counters.closed, failed_before + 1);
	t_fails(EBADF, fcntl(sock[0], F_GETFD));
	sock[0] = -1;
	t_eq(read_n(peer[0], got, BYTES / 2, 3000), BYTES / 2);
	t_true(!memcmp(got, sent[0][1], BYTES / 2));
	t_true(!silent(peer[0], 3000));
	t_eq(read(peer[0], got, 1), 0);
	close_pairs(done);
}

/* ---------------------------------------------------------------- a NIC with a peer */

/* The peer of one connection through an attached veth: a byte has it send and expect a stream, and it answers with a byte. */
static struct far far;
static uint16_t far_port;
static int by_nic = -1;

static void peer_there(int in, int out)
{
	static char got[BYTES];
	char c = 0;
	int s;

	close(p.fd);		/* its end is not to be the port's */
	s = far_connect(far_port);
	while (read(in, &c, 1) == 1) {
		t_must(write(s, sent[0][0], BYTES) == BYTES);
		c = read_n(s, got, BYTES, 20000) == BYTES && !memcmp(got, sent[0][1], BYTES);
		t_must(write(out, &c, 1) == 1);
	}
}

/* The same with a server on this machine's host, behind eth0, at @at; it has another connection instead of the pipes. */
static void host_as_peer(const char *at)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	char address[16];

	t_must(sscanf(at, "%15[0-9.]:%hu", address, &a.sin_port) == 2);
	a.sin_port = htons(a.sin_port);
	a.sin_addr.s_addr = inet_addr(address);
	far = (struct far){ .pid = -1, .to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	far.from = far.to;
	by_nic = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	t_must(far.to >= 0 && by_nic >= 0);
	t_must(!connect(far.to, (void *)&a, sizeof(a)) && !connect(by_nic, (void *)&a, sizeof(a)));
	t_must(!as_errno(paste_attach_region(p.fd, "stack:eth0", p.reg.nr_mem_id)));
	t_must(!port_register(&p, by_nic));
}

static void nic_with_peer(void)
{
	const char *host = getenv("PASTE_FAULT_HOST");
	int l;

	if (host)
		return host_as_peer(host);
	l = far_listen(&far_port);
	far = far_make("fault", peer_there);
	t_must(!as_errno(paste_attach_region(p.fd, "stack:fault0", p.reg.nr_mem_id)));
	far_go(&far);
	by_nic = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	close(l);
	t_must(by_nic >= 0 && !port_register(&p, by_nic));
}

static void prepare_nic_sync(void)
{
	if (!far.pid)
		nic_with_peer();
	sock[0] = by_nic;
	far_go(&far);
	usleep(20000);			/* for frames to be there */
	put_reply(0);
}

/* What was dropped for want of memory comes again. */
static void finish_nic_sync(bool done)
{
	char ok = 0;

	t_true(done);
	collect_streams(1);
	for (int i = 0; i < 100 && poll(&(struct pollfd) { .fd = far.from, .events = POLLIN }, 1, 100) == 0; i++)
		port_sync(&p);
	t_must(read(far.from, &ok, 1) == 1);
	t_true(ok);
}

static bool loads_program(const struct request *r)
{
	(void)r;
	return false;
}

static const struct request requests[] = {
	{ "sync", prepare_sync, run_sync, finish_sync },
	{ "NIOCTXSYNC", prepare_sync, run_txsync, finish_sync },
	{ "NIOCRXSYNC", prepare_sync, run_rxsync, finish_rxsync },
	{ "sync of a Unix stream", prepare_unix_sync, run_sync, finish_unix_sync },
	{ "sync of an MPTCP socket", prepare_mptcp_sync, run_sync, finish_mptcp_sync },
	{ "sync of an SCTP socket", prepare_sctp_sync, run_sync, finish_sctp_sync },
	{ "sync of a full socket", prepare_full, run_sync, finish_full },
	{ "sync of a full Unix stream", prepare_full_unix, run_sync, finish_full },
	{ "sync of a UDP socket", prepare_udp_sync, run_sync, finish_udp_sync },
	{ "sync of a UDP socket with many peers", prepare_addressed_sync, run_sync, finish_addressed_sync },
	{ "sync that accepts", prepare_accept, run_sync, finish_accept },
	{ "sync that closes", prepare_closing_sync, run_sync, finish_closing_sync },
	{ "sync with a NIC", prepare_nic_sync, run_sync, finish_nic_sync },	/* its connection stays */
};

int main(int argc, char **argv)
{
	system("modprobe -q sctp");
	fill_sent();
	fault_begin();
	fault_all(requests, sizeof(requests) / sizeof(*requests), argc, argv);
	if (far.pid > 0)
		far_end(&far);
	close(by_nic);
	port_close(&p);
	return t_end();
}
