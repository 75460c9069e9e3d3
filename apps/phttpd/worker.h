/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker.h - what a thread has, whatever its back end
 *
 * Three descriptors belong into each back end's wait besides its connections: the listening
 * socket, a timer that ticks once a second, and a signal descriptor that becomes readable when
 * the server is to stop and that nobody reads, so that all threads see it.
 */
#ifndef PHTTPD_WORKER_H
#define PHTTPD_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "http.h"

/* The command line. */
struct options {
	const struct backend *backend;
	struct http_config http;
	unsigned threads;
	unsigned max_connections;	/* of all threads together */
	unsigned idle_timeout;		/* seconds, 0: none */
	bool busy_poll;			/* wait by polling */
	const char *interface;		/* NIC to serve: paste attaches it; or NULL */
	const char *region;		/* of the store; NULL: plain memory */
	bool ring;			/* a full log gives its oldest messages up */
	unsigned fence_latency;	/* nanoseconds that each fence of the store takes longer */
	struct paste_region *memory;	/* the region, opened, if there is a store */
	struct store *store;		/* or NULL; with it there is one thread */
	struct sockaddr_storage address;	/* to listen on; port 0: any */
	socklen_t address_len;
};

struct worker {
	struct http http;
	const struct options *opt;
	pthread_t thread;		/* worker 0 is the main thread */
	unsigned id;			/* 0 .. threads - 1 */
	int cpu;			/* the CPU it is pinned to, -1: not pinned */
	int error;			/* what serve() returned */
	int listen_fd;			/* listening socket, not blocking */
	int timer_fd;			/* readable once a second: call worker_tick() */
	int stop_fd;			/* readable: end serve(); shared by all threads */
	uint32_t now;			/* seconds on the monotonic clock, at the last tick */
	void *private;			/* the back end's */
};

/* Open the worker's descriptors, with a message on stderr and -1 if that fails. */
int worker_open(struct worker *w);
void worker_close(struct worker *w);

/* To be called when timer_fd is readable: brings @now and the Date header up to date. */
void worker_tick(struct worker *w);

/*
 * Account for an accepted connection. False: there are too many, close it. Each admitted one must
 * be followed by a worker_leave().
 */
bool worker_admit(struct worker *w);
void worker_leave(struct worker *w);

/* Prints "phttpd: <what>: <text of err>". */
void worker_say(const char *what, int err);

/* The same where the caller fails with it. Returns -1. */
static inline int worker_fail(const char *what, int err)
{
	worker_say(what, err);
	return -1;
}

static inline struct worker *worker_of(struct http *h)
{
	return (struct worker *)((char *)h - offsetof(struct worker, http));
}

#endif /* PHTTPD_WORKER_H */
