// SPDX-License-Identifier: BSD-2-Clause
/*
 * worker.c - listening sockets, the tick, and the limit on connections
 *
 * Each worker listens by itself on the same address (SO_REUSEPORT), so the kernel spreads
 * connections and the workers share nothing but the count of connections. Options that accepted
 * sockets inherit are set here, on the listening socket, and cost nothing per connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "worker.h"

#define BACKLOG		4096	/* the kernel cuts it to net.core.somaxconn */
#define BUSY_POLL_US	50	/* as in Documentation/networking/napi.rst */

static atomic_uint admitted;	/* connections open now, in all threads */

int worker_fail(const char *what, int err)
{
	fprintf(stderr, "phttpd: %s: %s\n", what, strerror(err));
	return -err;
}

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

static int listen_open(const struct options *opt)
{
	const struct sockaddr *address = (const struct sockaddr *)&opt->address;
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return worker_fail("socket", errno);
	if (set(fd, SOL_SOCKET, SO_REUSEADDR, 1) || set(fd, SOL_SOCKET, SO_REUSEPORT, 1) ||
	    set(fd, IPPROTO_TCP, TCP_NODELAY, 1))
		goto fail;
	if (opt->busy_poll) {
		/* More than the system's default needs privilege; without it the loop spins. */
		set(fd, SOL_SOCKET, SO_BUSY_POLL, BUSY_POLL_US);
		set(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1);
	}
	if (bind(fd, address, opt->address_len) || listen(fd, BACKLOG))
		goto fail;
	return fd;
fail:
	err = worker_fail("cannot listen on the given address and port", errno);
	close(fd);
	return err;
}

void worker_tick(struct worker *w)
{
	struct timespec now;
	uint64_t ticks;

	if (read(w->timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		worker_fail("timer", errno);
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	w->now = now.tv_sec;
	http_tick(&w->http, time(NULL));
}

int worker_open(struct worker *w)
{
	static const struct itimerspec second = { { 1, 0 }, { 1, 0 } };
	int err;

	w->listen_fd = listen_open(w->opt);
	if (w->listen_fd < 0)
		return w->listen_fd;
	w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (w->timer_fd < 0 || timerfd_settime(w->timer_fd, 0, &second, NULL)) {
		err = worker_fail("timer", errno);
		close(w->listen_fd);
		return err;
	}
	http_init(&w->http, &w->opt->http, w->opt->backend, w->opt->store);
	worker_tick(w);
	return 0;
}

void worker_close(struct worker *w)
{
	http_exit(&w->http);
	close(w->timer_fd);
	close(w->listen_fd);
}

bool worker_admit(struct worker *w)
{
	if (atomic_fetch_add(&admitted, 1) < w->opt->max_connections)
		return true;
	atomic_fetch_sub(&admitted, 1);
	w->http.stats.refused++;
	return false;
}

void worker_leave(struct worker *w)
{
	(void)w;
	atomic_fetch_sub(&admitted, 1);
}
