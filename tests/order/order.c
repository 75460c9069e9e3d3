// SPDX-License-Identifier: BSD-2-Clause
/*
 * phttpd with a witness: at each call by which answers may leave, every write to the store must have been
 * followed by a fence. The linker leads the calls through here (-Wl,--wrap); the rest is phttpd as it is.
 * tests/net/store.py runs it.
 *
 * A write without its fence ends the server on the spot. At its end the last line on stderr has the calls of each
 * kind that came after new writes: a kind that never did has proven nothing.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct store;
struct store_write;
struct io_uring;
struct io_uring_cqe;
struct io_uring_params;
struct __kernel_timespec;

/* The function that is called, and the one that is meant; weak: without io_uring there are none. */
#define WRAP(type, name, ...)						\
	type __real_##name(__VA_ARGS__) __attribute__((weak));		\
	type __wrap_##name(__VA_ARGS__);				\
	type __wrap_##name(__VA_ARGS__)

enum kind { SEND, POLL, TXSYNC, SUBMIT, WAIT, KINDS };

static const char *const names[KINDS] = { "send", "poll", "txsync", "submit", "wait" };

static unsigned long writes;		/* that the store has accepted */
static unsigned long fenced;		/* of these, before the last fence */
static unsigned long seen;		/* of these, before the last call below */
static unsigned long calls[KINDS];	/* after new writes */

static void leaving(enum kind kind)
{
	if (fenced != writes) {
		fprintf(stderr, "order: answers leave by %s, and %lu writes are not durable\n",
			names[kind], writes - fenced);
		abort();
	}
	calls[kind] += seen != writes;
	seen = writes;
}

static void __attribute__((destructor)) report(void)
{
	fprintf(stderr, "order: writes %lu", writes);
	for (int i = 0; i < KINDS; i++)
		fprintf(stderr, " %s %lu", names[i], calls[i]);
	fputc('\n', stderr);
}

static int written(int err)
{
	writes += !err;
	return err;
}

WRAP(int, store_put, struct store_write *w, const void *key, size_t len, bool *created)
{
	return written(__real_store_put(w, key, len, created));
}

WRAP(int, store_append, struct store_write *w)
{
	return written(__real_store_append(w));
}

WRAP(int, store_delete, struct store *st, const void *key, size_t len)
{
	return written(__real_store_delete(st, key, len));
}

WRAP(void, paste_pm_fence, void)
{
	__real_paste_pm_fence();
	fenced = writes;
}

WRAP(void, paste_pm_persist, const void *p, size_t len)
{
	__real_paste_pm_persist(p, len);
	fenced = writes;
}

/* epoll */

WRAP(ssize_t, send, int fd, const void *data, size_t len, int flags)
{
	leaving(SEND);
	return __real_send(fd, data, len, flags);
}

WRAP(ssize_t, sendmsg, int fd, const struct msghdr *msg, int flags)
{
	leaving(SEND);
	return __real_sendmsg(fd, msg, flags);
}

/* paste: the one poll() and the one ioctl() that it has while it serves are of its port */

WRAP(int, poll, struct pollfd *fds, nfds_t n, int timeout)
{
	leaving(POLL);
	return __real_poll(fds, n, timeout);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	leaving(TXSYNC);
	return __real_ioctl(fd, request, arg);
}

/* io_uring: a short queue, so that it is full in the middle of a round, too */

WRAP(int, io_uring_queue_init_params, unsigned entries, struct io_uring *ring,
     struct io_uring_params *p)
{
	(void)entries;
	return __real_io_uring_queue_init_params(8, ring, p);
}

WRAP(int, io_uring_submit, struct io_uring *ring)
{
	leaving(SUBMIT);
	return __real_io_uring_submit(ring);
}

WRAP(int, io_uring_submit_and_get_events, struct io_uring *ring)
{
	leaving(WAIT);
	return __real_io_uring_submit_and_get_events(ring);
}

WRAP(int, io_uring_submit_and_wait, struct io_uring *ring, unsigned n)
{
	leaving(WAIT);
	return __real_io_uring_submit_and_wait(ring, n);
}

WRAP(int, io_uring_submit_and_wait_timeout, struct io_uring *ring, struct io_uring_cqe **cqe,
     unsigned n, struct __kernel_timespec *timeout, void *mask)
{
	leaving(WAIT);
	return __real_io_uring_submit_and_wait_timeout(ring, cqe, n, timeout, mask);
}
