// SPDX-License-Identifier: BSD-2-Clause
/*
 * poll: poll, select and epoll wait as long as they are told, wake for data, room
 * and events, and do the syncs that the contract promises.
 *
 * [short]
 */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/select.h>
#include "port.h"

static struct port p;
static int sock, peer;

static void *write_soon(void *arg)
{
	usleep(150000);
	t_eq(write(peer, arg, strlen(arg)), (long)strlen(arg));
	return NULL;
}

/* Runs @wait, during which @text arrives; returns what it returned, and checks when. */
static int during(int (*wait)(int ms), const char *text, int ms)
{
	uint64_t start = now_ms();
	pthread_t thread;
	int r;

	pthread_create(&thread, NULL, write_soon, (void *)text);
	r = wait(ms);
	t_le(100, now_ms() - start);
	t_le(now_ms() - start, 1500 * t_slower());
	pthread_join(thread, NULL);
	return r;
}

static void drop_all(void)
{
	char data[4096];

	while (port_collect(&p, sock, data, sizeof(data), 50) > 0)
		;
	port_sync(&p);
	t_true(nm_ring_empty(p.rx));
}

static int by_poll(int ms)
{
	struct pollfd pfd = { .fd = p.fd, .events = POLLIN };
	int n = poll(&pfd, 1, ms);

	t_true(!(pfd.revents & POLLERR));
	return n;
}

static int by_select(int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	fd_set in;

	FD_ZERO(&in);
	FD_SET(p.fd, &in);
	return select(p.fd + 1, &in, NULL, NULL, ms < 0 ? NULL : &tv);
}

static int epoll;

static int by_epoll(int ms)
{
	struct epoll_event ev = { 0 };
	int n = epoll_wait(epoll, &ev, 1, ms);

	t_eq(n ? ev.events : EPOLLIN, EPOLLIN);
	return n;
}

static void waits(const char *name, int (*wait)(int ms))
{
	uint64_t start;

	t_note("%s: nothing comes", name);
	start = now_ms();
	t_eq(wait(0), 0);
	t_le(now_ms() - start, 100 * t_slower());
	t_eq(wait(250), 0);
	t_le(240, now_ms() - start);
	t_le(now_ms() - start, 1500 * t_slower());
	t_note("%s: something comes", name);
	t_eq(during(wait, "hello", 10000), 1);
	t_note("%s: it is there still", name);
	t_eq(wait(10000), 1);
	t_eq(wait(0), 1);
	t_note("%s: taken, but for one byte's slot", name);
	t_eq(write(peer, "x", 1), 1);
	t_eq(wait(1000), 1);
	drop_all();
	t_note("%s: all taken", name);
	t_eq(wait(0), 0);
	t_eq(wait(100), 0);
	t_note("%s: again", name);
	t_eq(during(wait, "again", -1), 1);
	drop_all();
}

/* cur says what is wanted: more than what is there. */
static void cur_ahead(void)
{
	t_note("cur at the tail");
	t_eq(write(peer, "first", 5), 5);
	t_eq(by_poll(1000), 1);
	p.rx->cur = p.rx->tail;
	t_eq(by_poll(150), 0);
	t_eq(during(by_poll, "second", 5000), 1);
	drop_all();

	t_note("room to send");
	for (int i = 0; i < 2; i++) {
		struct pollfd pfd = { .fd = p.fd, .events = POLLOUT };

		p.tx->cur = i ? p.tx->tail : p.tx->head;
		t_eq(poll(&pfd, 1, 150), !i);
		t_eq(pfd.revents, i ? 0 : POLLOUT);
	}
	p.tx->cur = p.tx->head;
}

/* poll() sends, even if it asks for nothing but data, unless told not to. */
static void sends(void)
{
	struct nmreq_register want = { .nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_NO_TX_POLL };
	char back[16];
	struct port q;

	t_note("poll for data sends");
	port_put(&p, sock, "reply", 5);
	t_eq(by_poll(0), 0);
	t_eq(read_n(peer, back, 5, 1000), 5);

	t_note("NR_NO_TX_POLL");
	t_must(!port_open(&q, "stack:poll", &want));
	port_put(&q, sock, "quiet", 5);
	for (short events = POLLIN; events; events = events == POLLIN ? POLLOUT : 0) {
		struct pollfd pfd = { .fd = q.fd, .events = events };

		poll(&pfd, 1, 0);
		t_eq(silent(peer, 100), events == POLLIN);
	}
	t_eq(read_n(peer, back, 5, 1000), 5);
	port_close(&q);
}

/* Several threads wait in one port. */
static void *other_waiter(void *arg)
{
	*(int *)arg = by_poll(5000);
	return NULL;
}

static void two_waiters(void)
{
	pthread_t thread;
	int found = -1;

	t_note("two threads wait");
	pthread_create(&thread, NULL, other_waiter, &found);
	t_eq(during(by_poll, "for both", 5000), 1);
	pthread_join(thread, NULL);
	t_eq(found, 1);
	drop_all();
}

static void interrupted(int number)
{
	(void)number;
}

static void signals(void)
{
	struct sigaction act = { .sa_handler = interrupted };
	struct itimerval timer = { .it_value.tv_usec = 150000 };
	struct pollfd pfd = { .fd = p.fd, .events = POLLIN };

	t_note("a signal");
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	t_fails(EINTR, poll(&pfd, 1, 5000));
}

/* The time of the last RX sync, for who asks. */
static void timestamp(void)
{
	struct timeval before, now;
	struct netmap_timeval *ts = (void *)&p.rx->ts;

	t_note("NR_TIMESTAMP");
	memset(ts, 0, sizeof(*ts));
	port_sync(&p);
	t_eq(ts->tv_sec, 0);
	p.rx->flags |= NR_TIMESTAMP;
	t_ok(gettimeofday(&before, NULL));
	port_sync(&p);
	t_ok(gettimeofday(&now, NULL));
	t_le(before.tv_sec * 1000000LL + before.tv_usec, ts->tv_sec * 1000000LL + ts->tv_usec);
	t_le(ts->tv_sec * 1000000LL + ts->tv_usec, now.tv_sec * 1000000LL + now.tv_usec);
	p.rx->flags &= ~NR_TIMESTAMP;
}

int main(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct pollfd pfd = { .events = POLLIN };

	port_make(&p, "stack:poll", 64, 0);
	port_pair(&p, &sock, &peer);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	t_ok(epoll_ctl(epoll, EPOLL_CTL_ADD, p.fd, &ev));
	waits("poll", by_poll);
	waits("select", by_select);
	waits("epoll", by_epoll);
	cur_ahead();
	sends();
	two_waiters();
	signals();
	timestamp();
	t_note("a descriptor without a port");
	pfd.fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);
	t_eq(poll(&pfd, 1, 1000), 1);
	t_eq(pfd.revents, POLLERR);
	return t_end();
}
