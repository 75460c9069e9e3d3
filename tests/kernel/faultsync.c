// SPDX-License-Identifier: BSD-2-Clause
/*
 * faultsync: whichever allocation of a sync fails, it does what it can, loses no byte of a stream,
 * leaves nothing behind, and the next one does the rest.
 *
 * [debug checked timeout=240]
 *
 * fault.h tells how; other requests have fault.c.  With an argument only the syncs whose names begin so.
 */
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

/* A stream that only copies. */
static void prepare_unix_sync(void)
{
	prepare_unix();
	t_must(!port_register(&p, sock[0]));
	put_reply(0);
}

static void finish_unix_sync(bool done)
{
	static char got[BYTES];

	t_true(done);
	collect_early(got);
	for (int i = 0; i < 100 && silent(peer[0], 10); i++)
		port_sync(&p);
	t_eq(read_n(peer[0], got, BYTES, 3000), BYTES);
	t_true(!memcmp(got, sent[0][1], BYTES));
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
	uint64_t end = now_ms() + 10000 * t_slower();
	size_t n = 0;

	t_true(done);
	t_eq(port_collect(&p, sock[0], got, 1, 3000), -1000 - EAGAIN);
	while (n < all && now_ms() < end) {
		ssize_t more = recv(peer[0], got + n, sizeof(got) - n, MSG_DONTWAIT);

		if (more > 0) {
			n += (size_t)more;
			continue;
		}
		port_sync(&p);
		usleep(1000);
	}
	t_eq(n, all);
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

/*
 * The peer of one connection through an attached veth is a process in a network namespace of
 * its own; a byte in its pipe has it send and expect a stream, and it answers with a byte.
 */
static int to_peer, from_peer, by_nic;

static void peer_process(int in, int out, uint16_t number)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(number) };
	static char got[BYTES];
	char c = 0;
	int s;

	t_must(!unshare(CLONE_NEWNET) && write(out, &c, 1) == 1 && read(in, &c, 1) == 1);
	shell("ip addr add 10.98.0.2/24 dev fault%d; ip link set fault1 up; ethtool -K fault1 tx off > /dev/null", 1);
	inet_pton(AF_INET, "10.98.0.1", &a.sin_addr);
	s = socket(AF_INET, SOCK_STREAM, 0);
	t_must(s >= 0 && !connect(s, (void *)&a, sizeof(a)));
	while (read(in, &c, 1) == 1) {
		t_must(write(s, sent[0][0], BYTES) == BYTES);
		c = read_n(s, got, BYTES, 20000) == BYTES && !memcmp(got, sent[0][1], BYTES);
		t_must(write(out, &c, 1) == 1);
	}
	exit(t_end());
}

static int listen_any(uint16_t *number)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	t_must(l >= 0 && !bind(l, (void *)&a, len) && !listen(l, 1) && !getsockname(l, (void *)&a, &len));
	*number = ntohs(a.sin_port);
	return l;
}

static void nic_with_peer(void)
{
	int in[2], out[2], l;
	uint16_t number;
	pid_t pid;
	char c;

	l = listen_any(&number);
	t_must(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		close(in[1]);
		close(p.fd);	/* its end is not to be the port's */
		peer_process(in[0], out[1], number);
	}
	close(in[0]);
	close(out[1]);
	to_peer = in[1];
	from_peer = out[0];
	t_must(read(from_peer, &c, 1) == 1);
	shell("ip link add fault0 type veth peer name fault1 netns %d && ip addr add 10.98.0.1/24 dev fault0 && "
	      "ip link set fault0 up && ethtool -K fault0 tx off > /dev/null", pid);
	t_must(!as_errno(paste_attach_region(p.fd, "stack:fault0", p.reg.nr_mem_id)));
	t_must(write(to_peer, &c, 1) == 1);
	by_nic = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	close(l);
	t_must(by_nic >= 0 && !port_register(&p, by_nic));
}

static void prepare_nic_sync(void)
{
	char c = 0;

	if (!to_peer)
		nic_with_peer();
	sock[0] = by_nic;
	t_must(write(to_peer, &c, 1) == 1);
	usleep(20000);			/* for frames to be there */
	put_reply(0);
}

/* What was dropped for want of memory comes again. */
static void finish_nic_sync(bool done)
{
	char ok = 0;

	t_true(done);
	collect_streams(1);
	for (int i = 0; i < 100 && poll(&(struct pollfd) { .fd = from_peer, .events = POLLIN }, 1, 100) == 0; i++)
		port_sync(&p);
	t_must(read(from_peer, &ok, 1) == 1);
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
	{ "sync of a full socket", prepare_full, run_sync, finish_full },
	{ "sync of a full Unix stream", prepare_full_unix, run_sync, finish_full },
	{ "sync of a UDP socket", prepare_udp_sync, run_sync, finish_udp_sync },
	{ "sync that accepts", prepare_accept, run_sync, finish_accept },
	{ "sync that closes", prepare_closing_sync, run_sync, finish_closing_sync },
	{ "sync with a NIC", prepare_nic_sync, run_sync, finish_nic_sync },	/* its connection stays */
};

int main(int argc, char **argv)
{
	fill_sent();
	fault_begin();
	fault_all(requests, sizeof(requests) / sizeof(*requests), argc, argv);
	if (to_peer) {
		close(to_peer);
		close(by_nic);
		wait(NULL);
	}
	port_close(&p);
	return t_end();
}
