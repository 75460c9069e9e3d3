// SPDX-License-Identifier: BSD-2-Clause
/*
 * accept: a registered listener's connections come as events, registered, with the peer's
 * address, before their data; a slot closes them behind their data, or when the peer does not
 * take it; ordinary accept() and close() go on working beside it, and nothing leaks.
 *
 * [short]
 */
#include "port.h"

#define MANY	200

static struct port p;

static int listener(int family, uint16_t *number)
{
	int l = tcp_listen(family, number);

	t_must(port_register(&p, l) == 0);
	return l;
}

/* The peer's end of stream comes, within a bound. */
static bool ends(int peer)
{
	char c;

	return !silent(peer, 3000) && read(peer, &c, 1) == 0;
}

/* The next slot, which has to tell of a connection; its descriptor. */
static int accepted(int ms)
{
	struct netmap_slot *s = port_next(&p, ms);
	int fd = -1;

	if (s && t_true(paste_rx_accepted(p.rx, s))) {
		fd = s->fd;
		paste_rx_release(p.rx);
	}
	return fd;
}

/* @fd tells its peer's address as the slot did. */
static void address(int family)
{
	struct sockaddr_in6 real;
	socklen_t len = sizeof(real);
	const struct nm_pst_accepted *a;
	struct netmap_slot *s;
	uint16_t number;
	int l = listener(family, &number), peer = tcp_connect(family, number);

	t_note("family %d", family);
	s = port_next(&p, 2000);
	t_must(s);
	a = paste_rx_accepted(p.rx, s);
	t_must(a);
	t_ok(getpeername(s->fd, (void *)&real, &len));
	t_eq(a->addrlen, len);
	t_eq(a->local_port, htons(number));
	t_true(!memcmp(a->peer, &real, len));
	t_true(fcntl(s->fd, F_GETFD) & FD_CLOEXEC);
	t_true(fcntl(s->fd, F_GETFL) & O_NONBLOCK);
	close(s->fd);
	paste_rx_release(p.rx);
	close(peer);
	close(l);
}

/* A request and an answer per connection; all that were closed are closed. */
static void short_connections(void)
{
	uint64_t closed = port_stats(&p).counters.closed;
	uint16_t number;
	int l = listener(AF_INET, &number), first = -1;
	char buf[64];

	t_note("short connections");
	for (int i = 0; i < MANY; i++) {
		int peer = tcp_connect(AF_INET, number), fd;

		t_must(write(peer, "question", 8) == 8);
		fd = accepted(2000);
		t_must(fd >= 0);
		if (first < 0)
			first = fd;
		t_eq(fd, first);	/* the number is free again */
		t_eq(port_collect(&p, fd, buf, 8, 2000), 8);
		port_put(&p, fd, "answer", 6);
		if (i % 2)	/* in the slot of the data, or behind it */
			p.tx->slot[p.tx->head ? p.tx->head - 1 : p.tx->num_slots - 1].flags |=
				NS_PST_CLOSE;
		else
			t_must(!paste_tx_close(p.tx, fd));
		port_sync(&p);
		t_eq(read_n(peer, buf, sizeof(buf), 2000), 6);
		t_true(ends(peer));
		t_fails(EBADF, fcntl(fd, F_GETFD));
		close(peer);
	}
	t_true(!port_next(&p, 50));	/* nobody speaks of them any more */
	t_eq(port_stats(&p).counters.closed, closed + MANY);
	t_eq(port_stats(&p).port.sockets, 1);
	close(l);
}

/* The next connection, whose "question" is on its way from @peer, is told of, has it delivered and is answered; closed. */
static void answered(int peer)
{
	char buf[64];
	int fd = accepted(2000);

	t_eq(port_collect(&p, fd, buf, 8, 2000), 8);
	port_put(&p, fd, "answer", 6);
	port_sync(&p);
	t_eq(read_n(peer, buf, sizeof(buf), 500), 6);
	close(peer);
	close(fd);
}

/* Under a flood of SYNs the kernel keeps no request, and the connection is born of the ACK's cookie alone. */
static void born_of_a_cookie(void)
{
	int cookies = open("/proc/sys/net/ipv4/tcp_syncookies", O_WRONLY);

	t_note("SYN cookies");
	t_must(cookies >= 0 && write(cookies, "2", 1) == 1);	/* always */
	for (int i = 0; i < 2; i++) {
		int family = i ? AF_INET6 : AF_INET, l, peer, fd;
		uint16_t number;

		l = listener(family, &number);
		peer = tcp_connect(family, number);
		t_must(write(peer, "question", 8) == 8);
		answered(peer);
		close(l);
		l = tcp_listen(family, &number);	/* one that is not registered has its own callback */
		peer = tcp_connect(family, number);
		fd = accept(l, NULL, NULL);
		t_must(write(peer, "question", 8) == 8);
		t_true(!silent(fd, 2000));
		close(peer);
		close(fd);
		close(l);
	}
	t_must(pwrite(cookies, "1", 1, 0) == 1);
	close(cookies);
}

/* Many at once, with data before and after; those that came before the registration too. */
static void at_once(void)
{
	static int peer[MANY], fd[MANY];
	uint16_t number;
	int l = tcp_listen(AF_INET, &number), known = 0, bytes = 0;

	t_note("%d at once", MANY);
	for (int i = 0; i < MANY; i++) {
		peer[i] = tcp_connect(AF_INET, number);
		t_must(write(peer[i], &i, sizeof(i)) == sizeof(i));
		if (i == MANY / 2)
			t_must(port_register(&p, l) == 0);
	}
	while (known + bytes < 2 * MANY) {
		struct netmap_slot *s = port_next(&p, 2000);

		if (!t_true(s))
			break;
		if (paste_rx_accepted(p.rx, s)) {
			fd[known++] = s->fd;
		} else {
			bool told = false;

			for (int i = 0; i < known; i++)
				told |= fd[i] == s->fd;
			t_true(told);
			t_eq(slot_len(s), sizeof(int));
			bytes++;
		}
		paste_rx_release(p.rx);
	}
	t_eq(known, MANY);
	for (int i = 0; i < known; i++)
		while (paste_tx_close(p.tx, fd[i]))
			port_sync(&p);
	port_sync(&p);
	for (int i = 0; i < MANY; i++) {
		t_true(ends(peer[i]));
		close(peer[i]);
	}
	close(l);
}

/*
 * Sends slots of 4000 bytes to @fd until it is congested and stays so: while acknowledgements are
 * on their way, or the peer's window still grows, TCP takes what waits.  How many.
 */
static int congest(int fd)
{
	static char sent[4000];
	bool congested = false;
	int slots = 0;

	memset(sent, 'c', sizeof(sent));
	while (slots < 100000) {
		struct netmap_slot *s;

		if (!congested) {
			port_put(&p, fd, sent, sizeof(sent));
			slots++;
			port_sync(&p);
		}
		s = port_next(&p, congested ? 200 : 0);
		if (!s && congested)
			break;
		if (s) {
			t_eq(s->err, EAGAIN);
			congested = !(s->flags & NS_PST_CLEAR);
			paste_rx_release(p.rx);
		}
	}
	return slots;
}

/* Closing loses nothing of a socket that was congested, and tells nothing more of it. */
static void close_congested(bool more_comes)
{
	static char sent[4000], got[sizeof(sent)];
	struct timespec ms = { .tv_nsec = 1000000 };
	uint16_t number;
	int l = listener(AF_INET, &number), peer = tcp_connect(AF_INET, number), fd, slots;

	t_note("congested%s", more_comes ? ", and something more comes" : "");
	fd = accepted(2000);
	t_must(fd >= 0);
	memset(sent, 'c', sizeof(sent));
	slots = congest(fd);
	t_must(!paste_tx_close(p.tx, fd));
	port_sync(&p);
	t_ok(fcntl(fd, F_GETFD));	/* not before the data is TCP's */
	if (more_comes)
		t_eq(write(peer, "\r\n", 2), 2);
	for (int i = 0; i < slots; i++) {
		memset(got, 0, sizeof(got));
		t_must(read_n(peer, got, sizeof(got), 5000) == sizeof(got));
		t_must(!memcmp(sent, got, sizeof(got)));
		port_sync(&p);
	}
	t_true(ends(peer));
	for (int i = 0; i < 2000 && fcntl(fd, F_GETFD) >= 0; i++) {
		port_sync(&p);
		nanosleep(&ms, NULL);
	}
	t_fails(EBADF, fcntl(fd, F_GETFD));
	t_true(nm_ring_empty(p.rx));
	close(peer);
	close(l);
}

/*
 * Asleep as an application is that has nothing else to do, until @fd is closed, which another
 * process watches; the milliseconds that took, or those it was waited for.
 */
static int sleep_until_closed(int fd, int ms)
{
	uint64_t start = now_ms();
	int ends[2], status;
	char path[64];
	struct stat st;
	pid_t child;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	t_must(!pipe2(ends, O_CLOEXEC));
	child = fork();
	t_must(child >= 0);
	if (!child) {
		while (!lstat(path, &st) && now_ms() - start < (uint64_t)ms)
			usleep(10000);
		_exit(0);
	}
	close(ends[1]);
	for (;;) {
		struct pollfd pfd[] = { { .fd = p.fd, .events = POLLIN }, { .fd = ends[0] } };

		t_must(poll(pfd, 2, -1) > 0);
		if (pfd[1].revents)
			break;
		while (!nm_ring_empty(p.rx))
			paste_rx_release(p.rx);
	}
	close(ends[0]);
	t_must(waitpid(child, &status, 0) == child);
	return (int)(now_ms() - start);
}

/*
 * A peer that never reads: after TCP_LINGER2 the port gives up what waits, and the descriptor is
 * closed.  Of @more slots TCP still takes some; with many the socket's queue (of 64) is full, and
 * the one that closes is held in the ring.
 */
static void close_given_up(int more)
{
	uint64_t closed = port_stats(&p).counters.closed;
	static char data[4000];
	uint16_t number;
	int l = listener(AF_INET, &number), peer = tcp_connect(AF_INET, number), fd, one = 1, ms;

	t_note("a peer that never reads, %d slots more", more);
	fd = accepted(2000);
	t_must(fd >= 0);
	t_ok(setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &one, sizeof(one)));
	congest(fd);
	for (int i = 0; i < more; i++) {
		port_put(&p, fd, data, sizeof(data));
		if (i % 16 == 15)
			port_sync(&p);
	}
	t_must(!paste_tx_close(p.tx, fd));
	port_sync(&p);
	t_eq(nm_ring_space(p.tx) < p.tx->num_slots - 1, more > 64);
	ms = sleep_until_closed(fd, 6000 * (int)t_slower());
	t_le(900, ms);
	t_le(ms, 5000 * (int)t_slower());
	t_fails(EBADF, fcntl(fd, F_GETFD));
	port_sync(&p);
	t_eq(nm_ring_space(p.tx), p.tx->num_slots - 1);
	t_eq(port_stats(&p).port.sockets, 1);
	t_eq(port_stats(&p).counters.closed, closed + 1);
	close(fd);	/* if it was not */
	close(peer);
	close(l);
}

/* A peer that resets while the answer waits: the descriptor is closed nevertheless. */
static void close_after_reset(void)
{
	struct linger reset = { .l_onoff = 1 };
	struct timespec ms = { .tv_nsec = 1000000 };
	uint16_t number;
	int l = listener(AF_INET, &number), peer = tcp_connect(AF_INET, number), fd;

	t_note("reset");
	fd = accepted(2000);
	t_must(fd >= 0);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(peer);
	port_put(&p, fd, "late", 4);
	t_must(!paste_tx_close(p.tx, fd));
	for (int i = 0; i < 2000 && fcntl(fd, F_GETFD) >= 0; i++) {
		port_sync(&p);
		while (!nm_ring_empty(p.rx))
			paste_rx_release(p.rx);
		nanosleep(&ms, NULL);
	}
	t_fails(EBADF, fcntl(fd, F_GETFD));
	close(l);
}

/* Without descriptors connections wait, and come when there are some again. */
static void no_descriptors(void)
{
	struct rlimit old, none;
	uint16_t number;
	int l = listener(AF_INET, &number), peer = tcp_connect(AF_INET, number), fd;

	t_note("no descriptors");
	t_ok(getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = 3;
	t_ok(setrlimit(RLIMIT_NOFILE, &none));
	t_true(!port_next(&p, 200));
	t_le(1, port_stats(&p).counters.accept_failed);
	t_ok(setrlimit(RLIMIT_NOFILE, &old));
	fd = accepted(3000);
	if (t_true(fd >= 0))
		close(fd);
	close(peer);
	close(l);
}

/* A full ring stops accepting; what was not accepted is nobody's loss. */
static void full_ring(void)
{
	static int peer[MANY], fd[MANY];
	uint32_t seen = 0;
	uint16_t number;
	int l = listener(AF_INET, &number), n = 0;

	t_note("full ring");
	for (int i = 0; i < MANY; i++)
		peer[i] = tcp_connect(AF_INET, number);
	for (int i = 0; i < 20; i++)
		port_sync(&p);
	seen = nm_ring_space(p.rx);
	t_le(seen, p.rx->num_slots - 1);
	while (n < MANY) {
		fd[n] = accepted(2000);
		if (!t_true(fd[n] >= 0))
			break;
		n++;
	}
	while (n)
		close(fd[--n]);
	for (int i = 0; i < MANY; i++)
		close(peer[i]);
	close(l);
}

/* Those that wait, and what they have sent: which is which is known by the peer's port. */
struct waiting {
	int peer, fd, bytes;
	uint16_t port;
};

static void begin(struct waiting *w, uint16_t number, uint8_t i)
{
	struct sockaddr_in a = { 0 };
	socklen_t len = sizeof(a);
	uint8_t data[] = { i, (uint8_t)~i };

	*w = (struct waiting){ .peer = tcp_connect(AF_INET, number), .fd = -1 };
	t_must(!getsockname(w->peer, (void *)&a, &len));
	w->port = a.sin_port;
	t_must(write(w->peer, data, 1) == 1 && write(w->peer, data + 1, 1) == 1);
}

/* A slot of one of them: it is told of once, and then come its bytes and nobody else's. */
static void is_one_of(struct waiting *all, int n, const struct netmap_slot *s)
{
	const struct nm_pst_accepted *a = paste_rx_accepted(p.rx, s);
	struct waiting *w = NULL;

	for (int i = 0; i < n; i++)
		if (a ? all[i].port == ((const struct sockaddr_in *)(const void *)a->peer)->sin_port :
			all[i].fd == s->fd)
			w = &all[i];
	if (!t_true(w))
		return;
	if (a) {
		t_eq(w->fd, -1);
		w->fd = s->fd;
		return;
	}
	for (size_t k = 0; k < slot_len(s); k++, w->bytes++)
		t_eq((uint8_t)slot_data(p.rx, s)[k], (uint8_t)(w->bytes ? ~(w - all) : w - all));
}

/*
 * A ring that is full of another connection's bytes, of which more wait, has no room to tell of new ones: nothing
 * of either is lost, all comes as slots are released one by one.
 */
static void full_of_others(void)
{
	uint64_t before = port_stats(&p).counters.accepted;
	static struct waiting all[20];
	int sock, filler, told = 0, bytes = 0, n = 20;
	struct netmap_slot *s;
	uint16_t number;
	int l = listener(AF_INET, &number);

	t_note("full of others");
	port_pair(&p, &sock, &filler);
	for (char c = 0; c < 100; c++) {
		t_must(write(filler, &c, 1) == 1);
		port_sync(&p);
	}
	for (int i = 0; i < n; i++)
		begin(&all[i], number, (uint8_t)i);
	for (int i = 0; i < 20; i++)
		port_sync(&p);
	t_eq(port_stats(&p).counters.accepted, before);
	while ((s = port_next(&p, told < n ? 2000 : 100))) {
		told += paste_rx_accepted(p.rx, s) != NULL;
		if (s->fd != sock)
			is_one_of(all, n, s);
		else
			for (size_t k = 0; k < slot_len(s); k++)
				t_eq(slot_data(p.rx, s)[k], bytes++);
		paste_rx_release(p.rx);
	}
	t_eq(told, n);
	t_eq(bytes, 100);
	t_eq(port_stats(&p).counters.accepted, before + (uint64_t)n);
	for (int i = 0; i < n; i++) {
		t_eq(all[i].bytes, 2);
		close(all[i].fd);
		close(all[i].peer);
	}
	close(sock);
	close(filler);
	close(l);
}

/* A connection to @number comes as a slot. */
static void serves(uint16_t number)
{
	int peer = tcp_connect(AF_INET, number), fd = accepted(2000);

	t_true(fd >= 0);
	close(fd);
	close(peer);
}

/*
 * Who closes the number that was registered and has another one registers that, at once or when
 * connections have come; so does who has the listener when the process that registered it is gone.
 */
static void other_number(void)
{
	uint16_t number;
	int l = listener(AF_INET, &number), next, fd, status;
	pid_t child;

	t_note("another number");
	t_must(l >= 0);
	next = dup(l);
	close(l);
	t_ok(port_register(&p, next));
	t_fails(EBUSY, port_register(&p, next));
	serves(number);

	t_must(next >= 0);
	l = dup(next);
	close(next);
	next = tcp_connect(AF_INET, number);
	t_true(accepted(100) < 0);
	t_ok(port_register(&p, l));
	fd = accepted(2000);
	t_true(fd >= 0);
	close(fd);
	close(next);
	close(l);

	l = tcp_listen(AF_INET, &number);
	child = fork();
	if (!child)
		_exit(port_register(&p, l) ? 1 : 0);
	t_must(waitpid(child, &status, 0) == child && !status);
	t_ok(port_register(&p, l));
	serves(number);
	close(l);
}

/* Another process with the same port accepts nothing: the descriptors are ours. */
static void other_process(void)
{
	uint16_t number;
	int l = listener(AF_INET, &number), peer = tcp_connect(AF_INET, number), status, fd;
	pid_t child = fork();

	t_note("another process");
	if (!child) {
		port_sync(&p);
		_exit(nm_ring_empty(p.rx) ? 0 : 1);
	}
	t_must(waitpid(child, &status, 0) == child);
	t_eq(status, 0);
	fd = accepted(2000);
	if (t_true(fd >= 0))
		close(fd);
	close(peer);
	close(l);
}

/* Where another process has registered the number that is next here, the connection waits. */
static void number_of_another(void)
{
	uint16_t number;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = listener(AF_INET, &number), ready[2], done[2], sock, other, next, peer;
	pid_t child;
	char c = 0;

	t_note("the number of another process");
	t_must(!pipe(ready) && !pipe(done));
	peer = socket(AF_INET, SOCK_STREAM, 0);
	next = dup(0);
	t_must(peer >= 0 && next >= 0);
	close(next);
	child = fork();
	if (!child) {
		tcp_pair(&sock, &other);
		t_must(dup2(sock, next) == next && !port_register(&p, next));
		t_must(write(ready[1], &c, 1) == 1);
		close(done[1]);
		t_must(read(done[0], &c, 1) == 0);
		_exit(0);
	}
	t_must(read(ready[0], &c, 1) == 1);
	to.sin_port = htons(number);
	t_must(!connect(peer, (struct sockaddr *)&to, sizeof(to)));
	for (int i = 0; i < 50; i++) {
		port_sync(&p);
		usleep(1000);
	}
	t_true(nm_ring_empty(p.rx));
	t_true(silent(peer, 100));
	close(done[1]);
	t_must(waitpid(child, NULL, 0) == child);
	sock = accepted(5000);
	if (t_true(sock >= 0))
		close(sock);
	close(peer);
	close(l);
	close(ready[0]);
	close(ready[1]);
	close(done[0]);
}

/* accept() as ever, on a listener that is registered, and on one that was. */
static void ordinary_accept(void)
{
	uint16_t number;
	int l = listener(AF_INET, &number), peer = tcp_connect(AF_INET, number), fd;
	char c;

	t_note("ordinary accept");
	fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(fd >= 0);
	t_eq(write(peer, "x", 1), 1);
	t_eq(read_n(fd, &c, 1, 2000), 1);	/* it is nobody's socket but ours */
	t_ok(port_register(&p, fd));
	t_fails(EBUSY, port_register(&p, l));
	close(fd);
	close(peer);

	peer = tcp_connect(AF_INET, number);
	port_close(&p);		/* with one that waits */
	fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_must(fd >= 0);
	t_eq(write(peer, "y", 1), 1);
	t_eq(read_n(fd, &c, 1, 2000), 1);
	close(fd);
	close(peer);
	peer = tcp_connect(AF_INET, number);
	fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_true(fd >= 0);
	close(fd);
	close(peer);
	close(l);
}

/* A request that comes with its SYN is there before the connection is established. */
static void fast_open(void)
{
	int mode = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY);

	t_note("fast open");
	t_must(mode >= 0 && write(mode, "0x607", 5) == 5);	/* both sides, without a cookie or an option */
	t_must(!system("tc qdisc add dev lo root netem delay 20ms"));
	for (int i = 0; i < 4; i++) {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int peer = socket(AF_INET, SOCK_STREAM, 0), l;
		uint16_t number;

		l = listener(AF_INET, &number);
		to.sin_port = htons(number);
		t_must(peer >= 0);
		t_eq(sendto(peer, "question", 8, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof(to)), 8);
		answered(peer);
		close(l);
	}
	t_ok(system("tc qdisc del dev lo root"));
	t_must(pwrite(mode, "1", 1, 0) == 1);	/* from the beginning, or it is ignored */
	close(mode);
}

int main(void)
{
	port_make(&p, "stack:accept", 64, 0);
	address(AF_INET);
	address(AF_INET6);
	short_connections();
	born_of_a_cookie();
	fast_open();
	at_once();
	close_congested(false);
	close_congested(true);
	close_given_up(50);
	close_given_up(110);
	close_after_reset();
	no_descriptors();
	full_ring();
	full_of_others();
	other_number();
	other_process();
	number_of_another();
	ordinary_accept();
	return t_end();
}
