/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of the server share.
 *
 *	server.c	options, commands, start and end
 *	server_conn.c	connections and the TX ring
 *	server_modes.c	what is done with received slots
 *	server_loop.c	the loop, ways to wait
 *
 * Each thread (worker) owns its descriptor, rings, sockets and lists.
 */
#ifndef SERVER_H
#define SERVER_H

#include <pthread.h>
#include "port.h"

#define FDS_MAX		8192
#define VALUE_SIZE	1000
#define KEEP_MAX	64	/* buffers under way in mode keep, per thread */
#define ENDS_MAX	64

enum mode { ECHO_, COPY, KEEP, LEND, SINK, SOURCE, HOLD, HOARD, SLOW, STALL, QUIT };

struct conn {
	bool open;
	bool datagrams;		/* a UDP socket, which nobody closes */
	bool failed;		/* and yet to be closed, by slot */
	uint32_t worker;	/* whose it is */
	bool eos;		/* the peer has ended its stream */
	bool closing;		/* on the worker's closing list */
	bool congested;		/* told so, until told otherwise */
	bool shut;		/* we have ended our stream */
	uint32_t in_ring;	/* its slots that were handed in and have not come back */
	uint32_t held_first, held_last;	/* received buffers that we keep, see note[] */
	uint64_t rx;
	uint32_t crc;		/* of what was received */
	uint64_t left;		/* source: bytes still to send */
	uint32_t out_crc;
	uint64_t random;
	uint32_t owed;		/* lend: replies */
	char line[64];
	uint32_t line_len;
};

/* What we know of a buffer of ours with received data in it. */
struct note {
	int fd;
	uint16_t offset, len;
	uint32_t crc;
	uint32_t next;		/* buffer that the same connection received next, or 0 */
};

struct stats {
	uint64_t conns, accepted, register_errors, rx_bytes, tx_bytes, events;
	uint64_t eos, congested, errors, refused, refused_fd, refused_pipe;
	uint64_t held, kept, spare, corrupt, bad_fd, max_batch, copied_slots;
	uint64_t loops, low, lost_buffers;
};

struct worker {
	uint32_t id;
	pthread_t thread;
	struct port p;
	int listener;		/* to be polled and accepted from: -1 when it is registered */
	int listening;		/* the same, registered or not */
	int kick;		/* eventfd: look at the mode */
	int epoll;
	uint32_t epoll_events;
	uint32_t *spare;	/* buffers of ours that nobody uses */
	uint32_t nspare;
	uint32_t held;		/* buffers in the queues of connections */
	uint32_t kept[KEEP_MAX];	/* buffers lent by mode keep, a ring */
	uint32_t kept_first, kept_n;
	uint32_t value;		/* the buffer that mode lend lends */
	uint32_t tx_done;	/* slots before it have been looked at after the sync */
	uint8_t *closed_in;	/* by number: slots under way that close connections we have forgotten */
	int *closing;
	uint32_t nclosing;
	uint32_t random;
	bool owing;		/* some connection has something to be sent */
	int max_fd;
	int ends[ENDS_MAX];	/* what events told of streams and connections: 0 or an errno, in order */
	uint32_t nends;
	struct stats st;
};

struct options {
	const char *port, *attach, *wait, *memory;
	uint32_t listen, protocol, udp, tx_slots, rx_slots, extra, threads, register_after, megabytes;
	bool busy, exclusive, registered;
};

extern struct options o;
extern struct conn conns[FDS_MAX];
extern bool *lent;		/* by index: cited by a slot or the value */
extern struct note *notes;	/* by index */

/* server.c */
enum mode current_mode(void);
void obey(struct worker *w);

/* server_conn.c */
struct netmap_slot *tx_slot(struct worker *w);
void push(struct worker *w, int fd, uint32_t buf, uint16_t offset, uint16_t len, uint16_t flags);
int listen_on(uint16_t port);
void listen_by_slots(struct worker *w);
int unlisten(struct worker *w);
void open_udp(struct worker *w, uint16_t port);
void conn_begin(struct worker *w, int fd);
void accept_all(struct worker *w);
uint32_t unhold(struct worker *w, struct conn *c);
void on_event(struct worker *w, const struct netmap_slot *slot);
void close_ended(struct worker *w);

/* server_modes.c */
void crc_init(void);
void drop_oldest_kept(struct worker *w);
bool send_owed(struct worker *w, enum mode m);
bool on_slot(struct worker *w, struct netmap_slot *slot, enum mode m);

/* server_loop.c */
void *work(void *arg);

#endif /* SERVER_H */
