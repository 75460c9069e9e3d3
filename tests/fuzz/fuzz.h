/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz.h: what the parts of the fuzzer share.
 *
 *	fuzz.c		epochs, what must hold after each
 *	ports.c		steps with descriptors of /dev/netmap: requests; the balance at the end
 *	memory.c	memory supplied for regions, mappings
 *	rings.c		slots of rings, extra buffers, syncs
 *	sockets.c	steps with sockets and traffic
 *	world.c		steps with processes, descriptors, links, parameters
 *	links.c		links, by rtnetlink
 *	mangler.c	the second thread
 *
 * Every decision comes from a struct rnd.  Each step has one of its own, derived from seed,
 * epoch and number: what a step finds (a race decides, say) does not shift what the next ones want,
 * so a seed repeats the same wishes, though not the same timing.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <setjmp.h>
#include <stdatomic.h>
#include "../kernel/port.h"

#define HANDLES		8
#define SOCKS		24
#define EXTRA		64		/* buffers kept by index, per handle */
#define PLACE		(1UL << 30)	/* address space of a handle */
#define HELPERS		6
#define RINGS		8		/* rings of a handle that we look at */
#define KINDS		5		/* of sockets that can be registered */

/* ---- decisions ---- */

struct rnd {
	uint64_t state;
};

static inline uint64_t mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9;
	x ^= x >> 27;
	x *= 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static inline struct rnd rnd_of(uint64_t seed, uint64_t epoch, uint64_t step)
{
	return (struct rnd){ mix64(seed + mix64(epoch + mix64(step + 1))) };
}

static inline uint64_t rnd64(struct rnd *r)
{
	r->state += 0x9e3779b97f4a7c15;
	return mix64(r->state);
}

static inline uint32_t below(struct rnd *r, uint32_t n)
{
	return (uint32_t)((rnd64(r) >> 32) * n >> 32);
}

/* True once in @n. */
static inline bool once_in(struct rnd *r, uint32_t n)
{
	return below(r, n) == 0;
}

/* Small numbers mostly, sometimes any. */
static inline uint32_t odd_number(struct rnd *r)
{
	return (uint32_t)(rnd64(r) >> (once_in(r, 4) ? 32 : 64 - 1 - below(r, 16)));
}

#define pick(r, array) ((array)[below(r, sizeof(array) / sizeof(*(array)))])

/* ---- what the player has ---- */

/*
 * A descriptor of /dev/netmap, with the place in our address space that its mapping (and memory it
 * supplied) is put into.  Places are reserved for good and only mapped over: so whoever writes
 * through a stale pointer hits a handle's memory or nothing.
 */
struct handle {
	int fd;
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nmreq_register reg;	/* as answered; nr_memsize 0: not bound */
	char *place;			/* PLACE bytes, the mapping at its start */
	char *supplied;			/* PLACE bytes more, for extmem */
	size_t mapped;
	/* copied when mapped: what is in the mapping, anybody rewrites */
	uint32_t rings;
	struct netmap_ring *rx[RINGS], *tx[RINGS];
	uint32_t rx_slots, tx_slots;
	char *bufs;
	uint32_t nbufs;
	uint32_t extra[EXTRA], nextra;
};

struct sock {
	int fd, peer;		/* -1: none.  The peer is never registered on purpose */
	struct nm_pst_addr to;	/* UDP: where the peer is; else family 0 */
};

static const struct sock no_sock = { .fd = -1, .peer = -1 };

struct player {
	struct handle handle[HANDLES];
	struct sock sock[SOCKS];
	struct sock *newest;	/* of the connected and bound ones, or NULL */
	pid_t helper[HELPERS];
	int epoll;
	int pipe[2];		/* a unix socket pair to pass descriptors through */
	int space;		/* the other network namespace, or -1 */
};

extern struct player fz;

/* Seen by the parent: what the player was at, and what it touched. */
struct told {
	_Atomic uint32_t step;
	char name[32];
	_Atomic uint32_t ok, failed;	/* results of requests */
	_Atomic uint32_t registered[KINDS];	/* sockets, by what sock_kind() says */
	_Atomic uint32_t attached, detached;	/* NICs */
	_Atomic uint32_t accepted;	/* connections that came in slots */
	_Atomic uint32_t datagrams_in;	/* received in slots */
	_Atomic uint32_t datagrams_out;	/* slots that UDP sockets took */
	_Atomic uint32_t datagrams_back;	/* that peers have read */
	_Atomic bool nic, veth;		/* have been changed */
	char complaint[256];
};

extern struct told *told;

void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- memory that may not be there ---- */

extern __thread sigjmp_buf *fault_guard;

/* Runs the block; a SIGSEGV or SIGBUS in it ends it. */
#define GUARDED(...) do {						\
		sigjmp_buf here_, *outer_ = fault_guard;		\
		if (!sigsetjmp(here_, 0)) {				\
			fault_guard = &here_;				\
			__VA_ARGS__					\
		}							\
		fault_guard = outer_;					\
	} while (0)

/* ---- steps ---- */

struct step {
	const char *name;
	uint32_t weight;
	void (*run)(struct rnd *r);
};

extern const struct step port_steps[], socket_steps[], world_steps[];

/* ports.c */
void ports_begin(struct rnd *r);
struct handle *any_handle(struct rnd *r);
struct handle *bound_handle(struct rnd *r);
void play_balance(void);

/* memory.c */
void reserve(void *at, size_t size);
void supply_some(struct rnd *r, char *at, size_t size);
void handle_forget(struct handle *h);
void step_map(struct rnd *r);
void step_remap(struct rnd *r);

/* rings.c */
void step_take(struct rnd *r);
void step_send(struct rnd *r);
void step_answer(struct rnd *r);
void step_extra(struct rnd *r);
int sync_handle(const struct handle *h, int way, int ms);
void step_sync(struct rnd *r);
void step_wait(struct rnd *r);

/* sockets.c */
struct sock *any_sock(struct rnd *r);
int any_fd(struct rnd *r);
void sock_close(struct sock *s);
void step_pair(struct rnd *r);
void step_udp_pair(struct rnd *r);
const struct nm_pst_addr *sock_to(int fd);
uint32_t sock_kind(int fd);
extern const char *const sock_kinds[KINDS];

/* world.c */
int shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void world_make(void);
void world_end(void);
void world_begin(struct rnd *r);
void world_tidy(void);
void helpers_end(void);

/* mangler.c */
void mangler_start(struct rnd r, uint32_t intensity);
void mangler_stop(void);

/* Requests are made in here, so that the mangler can rewrite them meanwhile. */
struct arena {
	struct nmreq_header hdr;
	union {
		struct nmreq_register reg;
		struct nmreq_vale_attach attach;
		struct nmreq_pst_stats stats;
		char bytes[2048];
	} body;
	struct nmreq_opt_extmem ext;
	struct nmreq_opt_pst_keep keep;
	uint32_t indexes[64];
};

extern struct arena *arena;
#define ARENA_SIZE	4096	/* behind it nothing is mapped */

#endif /* FUZZ_H */
