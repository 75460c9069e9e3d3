// SPDX-License-Identifier: BSD-2-Clause
/*
 * generic: streams of Unix, MPTCP and SCTP sockets (IPv4 and IPv6), copied: every byte both ways, pressure, pauses,
 * end of stream, reset, also behind it, closed by a slot, SCTP's messages, those it refuses; kTLS is refused, and refused to
 * registered sockets.
 *
 * [short]
 */
#include <linux/tls.h>
#include <sys/un.h>
#include "port.h"
#include <linux/sctp.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP	262
#endif
#ifndef SOL_TLS
#define SOL_TLS		282
#endif

#define TOTAL	(600 << 10)

static struct port p;

/* All of them are in the lab's kernels: one that is not there is a failure. */
static const struct kind {
	const char *what;
	int family, proto;
} kinds[] = {
	{ "Unix", AF_UNIX, 0 },
	{ "MPTCP", AF_INET, IPPROTO_MPTCP },
	{ "MPTCP over IPv6", AF_INET6, IPPROTO_MPTCP },
	{ "SCTP", AF_INET, IPPROTO_SCTP },
	{ "SCTP over IPv6", AF_INET6, IPPROTO_SCTP },
};

static char content(size_t i) { return (char)(i * 7 + i / 251 + i / 65537); }

static void unix_pair(int *server, int *peer)
{
	int s[2];

	t_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	*server = s[0];
	*peer = s[1];
}

static void inet_pair(int family, int proto, int *server, int *peer)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *a = family == AF_INET6 ? (void *)&a6 : (void *)&a4;
	socklen_t len = family == AF_INET6 ? sizeof(a6) : sizeof(a4);
	int l = socket(family, SOCK_STREAM | SOCK_CLOEXEC, proto);

	t_must(l >= 0);
	t_must(!bind(l, a, len) && !listen(l, 5) && !getsockname(l, a, &len));
	t_fails(EOPNOTSUPP, port_register(&p, l));
	*peer = socket(family, SOCK_STREAM | SOCK_CLOEXEC, proto);
	t_must(*peer >= 0 && !connect(*peer, a, len));
	*server = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(*server >= 0);
	close(l);
}

static void pair(const struct kind *k, int *server, int *peer)
{
	t_note("%s: a connection", k->what);
	if (k->family == AF_UNIX)
		unix_pair(server, peer);
	else
		inet_pair(k->family, k->proto, server, peer);
}

static void registered(const struct kind *k, int *server, int *peer)
{
	pair(k, server, peer);
	t_must(port_register(&p, *server) == 0);
}

/* Both directions at once, each end reading only now and then, so that both fill up. */
static void streams(const char *what, int sock, int peer)
{
	size_t to_send = 0, sent = 0, got = 0, back = 0;
	static char piece[4096];
	bool congested = false;
	uint64_t end = now_ms() + 60000;

	t_note("%s: streams", what);
	t_must(port_register(&p, sock) == 0);
	t_fails(EBUSY, port_register(&p, sock));
	for (int turn = 0; (got < TOTAL || back < TOTAL) && now_ms() < end && !t_failures; turn++) {
		struct netmap_slot *s;

		while (to_send < TOTAL && !nm_ring_empty(p.tx) && !congested) {
			size_t n = 1 + to_send * 31 % 4000;

			if (n > TOTAL - to_send)
				n = TOTAL - to_send;
			for (size_t i = 0; i < n; i++)
				piece[i] = content(to_send + i);
			port_put(&p, sock, piece, (uint16_t)n);
			to_send += n;
		}
		port_sync(&p);
		while (turn % 3 && (s = paste_rx_first(p.rx))) {
			if (s->flags & NS_PST_EVENT) {
				if (!t_eq(s->err, EAGAIN))
					return;
				congested = !(s->flags & NS_PST_CLEAR);
			} else {
				const char *data = slot_data(p.rx, s);

				t_true(s->flags & NS_PST_COPIED);
				for (size_t i = 0; i < slot_len(s); i++)
					if (data[i] != content(got + i + 1)) {
						T_FAIL("%s: byte %zu is wrong", what, got + i);
						return;
					}
				got += slot_len(s);
			}
			paste_rx_release(p.rx);
		}
		while (sent < TOTAL) {
			size_t n = 1 + sent * 17 % 4000;
			ssize_t r;

			if (n > TOTAL - sent)
				n = TOTAL - sent;
			for (size_t i = 0; i < n; i++)
				piece[i] = content(sent + i + 1);
			r = send(peer, piece, n, MSG_DONTWAIT);
			if (r < 0)
				break;
			sent += (size_t)r;
		}
		for (int i = 0; turn % 2 && i < 50; i++) {
			ssize_t r = recv(peer, piece, sizeof(piece), MSG_DONTWAIT);

			if (r <= 0)
				break;
			for (ssize_t k = 0; k < r; k++)
				if (piece[k] != content(back + (size_t)k)) {
					T_FAIL("%s: byte %zu came back wrong", what, back + (size_t)k);
					return;
				}
			back += (size_t)r;
		}
	}
	t_eq(got, TOTAL);
	t_eq(back, TOTAL);
}

/* The next event of @sock that is not about congestion; payload fails the test. */
static int next_event(int sock)
{
	for (;;) {
		struct netmap_slot *s = port_next(&p, 5000);
		int err;

		if (!s)
			return -1;
		t_eq(s->fd, sock);
		t_true(s->flags & NS_PST_EVENT);
		err = s->err;
		paste_rx_release(p.rx);
		if (err != EAGAIN)
			return err;
	}
}

static void put_flagged(int sock, const char *text, uint16_t flags)
{
	struct netmap_slot *s = &p.tx->slot[p.tx->head];

	port_put(&p, sock, text, (uint16_t)strlen(text));
	s->flags |= flags;
	port_sync(&p);
	t_true(!(s->flags & NS_PST_REFUSED));
}

/* The peer ends its stream, then we ours by a slot with the last bytes. */
static void in_order(const char *what, int sock, int peer)
{
	char got[16];

	t_note("%s: ends in order", what);
	t_ok(shutdown(peer, SHUT_WR));
	t_eq(next_event(sock), 0);
	put_flagged(sock, "last", NS_PST_SHUT);
	t_eq(read_n(peer, got, 4, 5000), 4);
	t_true(!silent(peer, 5000));
	t_eq(recv(peer, got, 1, 0), 0);
	t_eq(next_event(sock), ENOTCONN);
	close(peer);
	close(sock);
}

/* Paused, neither bytes nor the end are delivered; resumed, all of it, in order; others go on. */
static void pauses(const struct kind *k)
{
	int other, other_peer, sock, peer;
	char out[5000], got[5000];

	registered(k, &sock, &peer);
	t_note("%s: paused and resumed", k->what);
	unix_pair(&other, &other_peer);
	t_must(port_register(&p, other) == 0);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = content(i);
	for (int turn = 0; turn < 3; turn++) {
		port_tell(&p, sock, NS_PST_PAUSE);
		t_eq(send(peer, out, sizeof(out), 0), sizeof(out));
		t_eq(send(other_peer, "other", 5, 0), 5);
		t_eq(port_collect(&p, other, got, 5, 2000), 5);
		t_eq(port_collect(&p, sock, got, sizeof(got), 50), 0);
		port_put(&p, sock, "out", 3);
		port_sync(&p);
		t_eq(read_n(peer, got, 3, 2000), 3);
		port_tell(&p, sock, NS_PST_RESUME);
		t_eq(port_collect(&p, sock, got, sizeof(got), 2000), sizeof(got));
		t_true(!memcmp(out, got, sizeof(got)));
	}
	port_tell(&p, sock, NS_PST_PAUSE);
	t_eq(send(peer, "end", 3, 0), 3);
	t_ok(shutdown(peer, SHUT_WR));
	t_eq(port_collect(&p, sock, got, sizeof(got), 50), 0);
	port_tell(&p, sock, NS_PST_RESUME);
	t_eq(port_collect(&p, sock, got, 3, 2000), 3);
	t_eq(next_event(sock), 0);
	close(other);
	close(other_peer);
	close(sock);
	close(peer);
}

/* A slot is a message; one that needs several slots has NS_PST_MORE in all but the last. */
static void messages(const char *what, int sock, int peer)
{
	static const int sizes[] = { 1, 100, 3839, 3840, 3841, 4032, 4096, 1, 7680, 10000, 2, 3, 40000, 5 };
	static char out[40000], got[40000];

	t_note("%s: messages", what);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = content(i);
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
		t_eq(send(peer, out, (size_t)sizes[k], 0), sizes[k]);
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]) && !t_failures; k++) {
		bool more = true;
		int n = 0;

		t_note("%s: message %zu, of %d bytes", what, k, sizes[k]);
		while (more) {
			struct netmap_slot *s = port_next(&p, 2000);

			t_must(s);
			if (s->flags & NS_PST_EVENT) {	/* about what streams() has sent */
				t_eq(s->err, EAGAIN);
				paste_rx_release(p.rx);
				continue;
			}
			t_must(n + (int)slot_len(s) <= sizes[k]);
			t_true(slot_len(s) > 0);
			memcpy(got + n, slot_data(p.rx, s), slot_len(s));
			n += (int)slot_len(s);
			more = s->flags & NS_PST_MORE;
			paste_rx_release(p.rx);
		}
		t_eq(n, sizes[k]);
		t_true(!memcmp(got, out, (size_t)n));
	}

	t_note("%s: slots as messages", what);
	for (int k = 0; k < 20; k++)
		port_put(&p, sock, out, (uint16_t)(1 + k * 200));
	port_sync(&p);
	for (int k = 0; k < 20 && !t_failures; k++) {
		struct iovec iov = { .iov_base = got, .iov_len = sizeof(got) };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

		t_true(!silent(peer, 2000));
		t_eq(recvmsg(peer, &msg, MSG_DONTWAIT), 1 + k * 200);
		t_true(msg.msg_flags & MSG_EOR);
		t_true(!memcmp(got, out, (size_t)(1 + k * 200)));
	}
}

/* The peer ends its stream behind its last bytes; SCTP has no half of a connection that would go on. */
static void peer_ends(const struct kind *k)
{
	int sock, peer;
	char got[8];

	registered(k, &sock, &peer);
	t_note("%s: the peer ends", k->what);
	t_eq(send(peer, "last", 4, 0), 4);
	t_ok(shutdown(peer, SHUT_WR));
	t_eq(port_collect(&p, sock, got, 4, 5000), 4);
	t_eq(next_event(sock), 0);
	t_true(!port_next(&p, 50));
	close(sock);
	close(peer);
}

/* We end ours by a slot: its bytes, then the end. */
static void shut_by_slot(const struct kind *k)
{
	int sock, peer;
	char got[8];

	registered(k, &sock, &peer);
	t_note("%s: ended by a slot", k->what);
	put_flagged(sock, "last", NS_PST_SHUT);
	t_eq(read_n(peer, got, 4, 5000), 4);
	t_true(!silent(peer, 5000));
	t_eq(recv(peer, got, 1, 0), 0);
	close(peer);
	close(sock);
}

static void closed_by_slot(const struct kind *k)
{
	int sock, peer;
	char got[8];

	registered(k, &sock, &peer);
	t_note("%s: closed by a slot", k->what);
	put_flagged(sock, "bye", NS_PST_CLOSE);
	port_sync(&p);
	t_eq(read_n(peer, got, 3, 5000), 3);
	t_true(!memcmp(got, "bye", 3));
	t_true(!silent(peer, 5000));
	t_eq(recv(peer, got, 1, 0), 0);
	t_fails(EBADF, fcntl(sock, F_GETFD));
	close(peer);
}

/* The peer goes without an end: with our bytes unread, or as it wishes (@linger). */
static void resets(const struct kind *k, bool linger)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	int sock, peer;
	char got[8];

	registered(k, &sock, &peer);
	t_note("%s: reset%s", k->what, linger ? " by SO_LINGER" : ", our bytes unread");
	port_put(&p, sock, "lost", 4);
	port_sync(&p);
	t_true(!silent(peer, 5000));
	if (linger) {
		t_eq(read_n(peer, got, 4, 5000), 4);
		t_ok(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
	}
	close(peer);
	t_eq(next_event(sock), ECONNRESET);
	close(sock);
}

/* The peer ends its stream and then goes with our bytes unread: that is no end in order. */
static void resets_behind_end(const struct kind *k)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	int sock, peer, err;

	registered(k, &sock, &peer);
	t_note("%s: reset behind the end of the stream", k->what);
	t_ok(shutdown(peer, SHUT_WR));
	t_eq(next_event(sock), 0);
	port_put(&p, sock, "lost", 4);
	port_sync(&p);
	t_true(!silent(peer, 5000));
	t_ok(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
	close(peer);
	err = next_event(sock);
	if (k->proto == IPPROTO_MPTCP && err == EPIPE)	/* as TCP has it */
		err = ECONNRESET;
	t_eq(err, ECONNRESET);
	close(sock);
}

/* The peer goes while slots wait in a queue: that is told, and not that they have been sent. */
static void resets_while_congested(const struct kind *k)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	static const char data[4000];
	struct netmap_slot *s = NULL;
	int sock, peer, err = 0;

	registered(k, &sock, &peer);
	t_note("%s: reset while congested", k->what);
	for (int i = 0; !s && i < 3000; i++) {
		if (!nm_ring_empty(p.tx))
			port_put(&p, sock, data, sizeof(data));
		port_sync(&p);
		s = port_next(&p, 0);
		if (s && port_has(&p, 2, 10)) {		/* acknowledgements were under way, and made room */
			paste_rx_release(p.rx);
			paste_rx_release(p.rx);
			s = NULL;
		}
	}
	t_must(s && s->err == EAGAIN && !(s->flags & NS_PST_CLEAR));
	paste_rx_release(p.rx);
	t_ok(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
	close(peer);
	for (int i = 0; i < 10 && err != ECONNRESET && err != EPIPE && (s = port_next(&p, 5000)); i++) {
		err = s->err;
		t_true(!(s->flags & NS_PST_CLEAR));
		paste_rx_release(p.rx);
	}
	t_eq(err, ECONNRESET);
	close(sock);
	for (int i = 0; i < 500 && nm_tx_pending(p.tx); i++) {
		port_sync(&p);
		usleep(1000);
	}
	t_true(!nm_tx_pending(p.tx));
}

/* Sends until the socket is full and some of it is queued, then ends; how many bytes those were. */
static long fill_and_exit(int sock)
{
	static char data[4000];
	long bytes = 0;
	int ends[2], status;
	pid_t child;

	t_must(!pipe2(ends, O_CLOEXEC));
	child = fork();
	t_must(child >= 0);
	if (!child) {
		struct netmap_slot *s = NULL;

		t_must(!port_register(&p, sock));
		for (; !s && bytes < 10000000; bytes += sizeof(data)) {
			port_put(&p, sock, data, sizeof(data));
			port_sync(&p);
			s = port_next(&p, 0);
		}
		t_must(s && s->err == EAGAIN);
		paste_rx_release(p.rx);
		t_must(write(ends[1], &bytes, sizeof(bytes)) == sizeof(bytes));
		_exit(0);
	}
	close(ends[1]);
	t_must(read(ends[0], &bytes, sizeof(bytes)) == sizeof(bytes));
	close(ends[0]);
	t_must(waitpid(child, &status, 0) == child);
	return bytes;
}

/* What a process has queued that has ended is sent by another one of its user that has the port. */
static void heir(void)
{
	static char data[65536];
	uint64_t end = now_ms() + 3000 * t_slower();
	long bytes, got = 0;
	int sock, peer;
	ssize_t n;

	t_note("a sender that has ended");
	unix_pair(&sock, &peer);
	bytes = fill_and_exit(sock);
	while (got < bytes && now_ms() < end) {
		n = recv(peer, data, sizeof(data), MSG_DONTWAIT);
		if (n > 0)
			got += n;
		else
			usleep(1000);
		port_sync(&p);
	}
	t_eq(got, bytes);
	while (!nm_ring_empty(p.rx))
		paste_rx_release(p.rx);
	close(sock);
	close(peer);
}

static void unix_only(void)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } control = {
		.h = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
		       .cmsg_type = SCM_RIGHTS },
	};
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = CMSG_SPACE(sizeof(int)) };
	int sock, peer, pipes[2], s[2];
	char got[64];

	t_note("a descriptor sent along is closed");
	unix_pair(&sock, &peer);
	t_must(port_register(&p, sock) == 0);
	t_must(!pipe(pipes));
	memcpy(CMSG_DATA(&control.h), &pipes[1], sizeof(int));
	t_eq(sendmsg(peer, &msg, 0), 1);
	close(pipes[1]);
	t_eq(port_collect(&p, sock, got, 1, 2000), 1);
	t_true(!silent(pipes[0], 2000));	/* hung up */
	close(pipes[0]);

	close(sock);
	close(peer);

	heir();

	t_note("other kinds");
	t_must(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
	t_fails(EPROTONOSUPPORT, port_register(&p, s[0]));
	close(s[0]);
	close(s[1]);
	t_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	t_fails(EPROTONOSUPPORT, port_register(&p, s[0]));
	close(s[0]);
	close(s[1]);
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	t_fails(ENOTCONN, port_register(&p, sock));
	close(sock);
}

/* An association whose messages are not cut, and have at most a thousand bytes. */
static void uncut(const struct kind *k, int *sock, int *peer)
{
	struct sctp_assoc_value max = { .assoc_value = 1000 };
	int on = 1;

	registered(k, sock, peer);
	t_must(!setsockopt(*sock, IPPROTO_SCTP, SCTP_MAXSEG, &max, sizeof(max)));
	t_must(!setsockopt(*sock, IPPROTO_SCTP, SCTP_DISABLE_FRAGMENTS, &on, sizeof(on)));
}

static bool arrives(int peer, const char *what)
{
	char got[1000];

	return !silent(peer, 5000) && recv(peer, got, sizeof(got), MSG_DONTWAIT) == (ssize_t)strlen(what) &&
	       !memcmp(got, what, strlen(what));
}

/* A message that cannot be sent is refused; what is before it and after it is sent, nothing has ended. */
static void message_refused(const struct kind *k)
{
	struct netmap_slot *s;
	static char data[4000];
	int sock, peer;
	char got[8];

	uncut(k, &sock, &peer);
	t_note("%s: a message is refused", k->what);
	port_put(&p, sock, "before", 6);
	s = &p.tx->slot[p.tx->head];
	port_put(&p, sock, data, sizeof(data));
	port_put(&p, sock, "after", 5);
	port_sync(&p);
	t_true(s->flags & NS_PST_REFUSED);
	t_eq(s->err, EMSGSIZE);
	t_true(arrives(peer, "before"));
	t_true(arrives(peer, "after"));
	t_true(!port_next(&p, 50));
	t_eq(send(peer, "back", 4, 0), 4);
	t_eq(port_collect(&p, sock, got, 4, 2000), 4);

	t_note("%s: a message with which to close is refused", k->what);
	s = &p.tx->slot[p.tx->head];
	port_put(&p, sock, data, sizeof(data));
	s->flags |= NS_PST_CLOSE;
	port_sync(&p);
	t_true(s->flags & NS_PST_REFUSED);
	t_eq(s->err, EMSGSIZE);
	put_flagged(sock, "bye", NS_PST_CLOSE);
	t_true(arrives(peer, "bye"));
	t_fails(EBADF, fcntl(sock, F_GETFD));
	close(peer);
}

/* The same of one that has waited: an event tells, all others arrive, the end behind it too. */
static void message_fails_later(const struct kind *k)
{
	bool clear = false, failed = false;
	struct netmap_slot *s = NULL;
	static char data[4000];
	uint64_t end;
	int sock, peer, sent = 0, got = 0;
	ssize_t n;

	uncut(k, &sock, &peer);
	t_note("%s: a message fails later", k->what);
	for (; !s && sent < 30000; sent++) {
		port_put(&p, sock, data, 900);
		port_sync(&p);
		s = port_next(&p, 0);
	}
	t_must(s && s->err == EAGAIN && !(s->flags & NS_PST_CLEAR));
	paste_rx_release(p.rx);
	put_flagged(sock, "more", 0);
	port_put(&p, sock, data, sizeof(data));
	put_flagged(sock, "last", 0);
	s = &p.tx->slot[p.tx->head];
	port_put(&p, sock, data, sizeof(data));
	s->flags |= NS_PST_SHUT;
	end = now_ms() + 20000 * t_slower();
	do {
		n = recv(peer, data, sizeof(data), MSG_DONTWAIT);
		if (n > 0)
			got++;
		else if (n < 0)
			usleep(1000);
		port_sync(&p);
		while ((s = paste_rx_first(p.rx))) {
			t_true(s->flags & NS_PST_EVENT);
			if (s->err == EAGAIN)
				clear = s->flags & NS_PST_CLEAR;
			else if (s->err == EMSGSIZE)
				failed = true;
			else if (s->err)
				T_FAIL("event %d", s->err);
			paste_rx_release(p.rx);
		}
	} while (n && now_ms() < end && !t_failures);
	t_eq(n, 0);
	t_eq(got, sent + 2);
	t_true(failed);
	t_true(clear);
	close(sock);
	close(peer);
}

static void ktls(void)
{
	struct tls12_crypto_info_aes_gcm_128 keys = {
		.info = { .version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
	};
	int sock, peer;

	t_note("kTLS");
	tcp_pair(&sock, &peer);
	t_must(!setsockopt(sock, SOL_TCP, TCP_ULP, "tls", sizeof("tls")));
	t_fails(EBUSY, port_register(&p, sock));
	t_ok(setsockopt(sock, SOL_TLS, TLS_TX, &keys, sizeof(keys)));
	t_fails(EBUSY, port_register(&p, sock));
	t_true(strstr(paste_strerror(NETMAP_REQ_PST_FD_REG, EBUSY), "kTLS") != NULL);
	close(sock);
	close(peer);

	t_note("kTLS on a registered socket");
	port_pair(&p, &sock, &peer);
	t_true(setsockopt(sock, SOL_TCP, TCP_ULP, "tls", sizeof("tls")) < 0);
	t_true(setsockopt(sock, SOL_TLS, TLS_TX, &keys, sizeof(keys)) < 0);
	port_put(&p, sock, "plain", 5);
	port_sync(&p);
	t_true(!silent(peer, 2000));
	close(sock);
	close(peer);
}

static void each(const struct kind *k)
{
	int sock, peer;

	pair(k, &sock, &peer);
	streams(k->what, sock, peer);
	if (k->proto == IPPROTO_SCTP) {
		messages(k->what, sock, peer);
		close(sock);
		close(peer);
		message_refused(k);
		message_fails_later(k);
		resets(k, true);
	} else {
		in_order(k->what, sock, peer);
		resets_behind_end(k);
	}
	pauses(k);
	peer_ends(k);
	shut_by_slot(k);
	closed_by_slot(k);
	resets(k, false);
	resets_while_congested(k);
}

int main(void)
{
	system("modprobe -q sctp; modprobe -q tls");
	port_make(&p, "stack:t", 128, 0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		each(&kinds[i]);
	unix_only();
	ktls();
	port_close(&p);
	return t_end();
}
