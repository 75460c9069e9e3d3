// SPDX-License-Identifier: BSD-2-Clause
/*
 * worker.c - listening sockets, the tick, and the limit on connections
 *
 * Each worker listens by itself on the same address (SO_REUSEPORT), so the kernel spreads
 * connections and the workers share nothing but the count of connections. If the NIC is known and
 * has a receive queue for each worker, connections go by the queue they arrive on: queue q is for
 * worker q modulo the number of workers, as it is for a stack port's rings. Options that accepted
 * sockets inherit are set here, on the listening socket, and cost nothing per connection.
 */
#include <errno.h>
#include <glob.h>
#include <linux/filter.h>
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

void worker_say(const char *what, int err)
{
	fprintf(stderr, "phttpd: %s: %s\n", what, strerror(err));
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

/* Receive queues of @interface, 0 if there is no telling. */
static unsigned receive_queues(const char *interface)
{
	char pattern[80];
	unsigned n = 0;
	glob_t found;

	snprintf(pattern, sizeof(pattern), "/sys/class/net/%s/queues/rx-*", interface);
	if (!glob(pattern, 0, NULL, &found))
		n = found.gl_pathc;
	globfree(&found);
	return n;
}

/*
 * Of the listening sockets, which are numbered in the order in which they were bound, the one for
 * the packet's queue. Packets that came through none (loopback) are spread by their hash, which
 * is what the kernel does with an answer that is no number of a socket.
 */
static int spread_by_queue(int fd, unsigned workers)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_QUEUE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0),
		BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 1),		/* 0 is "none" */
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
		BPF_STMT(BPF_RET | BPF_A, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = code,
	};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program));
}

void worker_tick(struct worker *w)
{
	struct timespec now;
	uint64_t ticks;

	if (read(w->timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		worker_say("timer", errno);
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
	/* Once for all of them. It is no more than a hint: the kernel may refuse. */
	if (!w->id && w->opt->threads > 1 && w->opt->interface &&
	    receive_queues(w->opt->interface) >= w->opt->threads)
		spread_by_queue(w->listen_fd, w->opt->threads);
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
