// SPDX-License-Identifier: BSD-2-Clause
/*
 * Steps with descriptors of /dev/netmap: requests well and badly formed; the table of these and of
 * those in memory.c and rings.c; and the balance of buffers at the end.
 */
#include <sys/ioctl.h>
#include "fuzz.h"
#include "links.h"

static const char *const names[] = { "stack:a", "stack:a",  "pst:a",
				     "stack:b", "stack1:a", "stack_x:c" };
static const char *const nics[] = { "stack:eth0", "stack:fz0", "stack:fz0",
				    "stack1:fz0", "pst:fz0",   "stack:lo" };

struct handle *any_handle(struct rnd *r)
{
	return &fz.handle[below(r, HANDLES)];
}

/* A bound one, if there is any. */
struct handle *bound_handle(struct rnd *r)
{
	uint32_t first = below(r, HANDLES);

	for (uint32_t i = 0; i < HANDLES; i++) {
		struct handle *h = &fz.handle[(first + i) % HANDLES];

		if (h->fd >= 0 && h->reg.nr_memsize)
			return h;
	}
	return &fz.handle[first];
}

/* ---- requests ---- */

static void count(int result)
{
	if (result < 0)
		told->failed++;
	else
		told->ok++;
}

/* Spoils a request in one of the ways that have to be refused, mostly. */
static void spoil(struct rnd *r)
{
	char *hole = (char *)arena + ARENA_SIZE;	/* nothing is mapped there */

	switch (below(r, 12)) {
	case 0: arena->hdr.nr_version = (uint16_t)odd_number(r); break;
	case 1: arena->hdr.nr_reserved = odd_number(r); break;
	case 2: arena->hdr.nr_body = 0; break;
	case 3: arena->hdr.nr_body = (uintptr_t)hole - below(r, 300); break;
	case 4: arena->hdr.nr_body = rnd64(r); break;
	case 5: arena->hdr.nr_options = (uintptr_t)hole - below(r, 64); break;
	case 6: arena->hdr.nr_options = rnd64(r); break;
	case 7:
		memset(arena->hdr.nr_name, 'a' + below(r, 26), below(r, NETMAP_REQ_IFNAMSIZ + 1));
		break;
	case 8: arena->hdr.nr_name[below(r, NETMAP_REQ_IFNAMSIZ)] = (char)rnd64(r); break;
	case 9: arena->body.bytes[below(r, sizeof(arena->body.reg))] = (char)rnd64(r); break;
	case 10: ((char *)&arena->ext)[below(r, sizeof(arena->ext))] = (char)rnd64(r); break;
	default: ((char *)&arena->keep)[below(r, sizeof(arena->keep))] = (char)rnd64(r);
	}
}

/* The answer is in the arena. */
static int call(struct rnd *r, int fd, uint16_t type, const char *name, const void *body,
		size_t size, void *options)
{
	int result;

	arena->hdr = (struct nmreq_header) {
		.nr_version = NETMAP_API, .nr_reqtype = type, .nr_options = (uintptr_t)options,
		.nr_body = (uintptr_t)&arena->body,
	};
	snprintf(arena->hdr.nr_name, sizeof(arena->hdr.nr_name), "%s", name);
	memcpy(&arena->body, body, size);
	if (once_in(r, 12))
		spoil(r);
	result = ioctl(fd, NIOCCTRL, &arena->hdr);
	count(result);
	return result;
}

static void step_garbage(struct rnd *r)
{
	static const uint16_t types[] = {
		NETMAP_REQ_REGISTER,   NETMAP_REQ_PORT_INFO_GET, NETMAP_REQ_POOLS_INFO_GET,
		NETMAP_REQ_PST_ATTACH, NETMAP_REQ_PST_DETACH,	 NETMAP_REQ_PST_FD_REG,
		NETMAP_REQ_PST_STATS,  NETMAP_REQ_PST_LIST,
	};
	static const unsigned long ioctls[] = {
		NIOCCTRL,   NIOCREGIF, NIOCGINFO, NIOCCONFIG, NIOCTXSYNC,
		NIOCRXSYNC, FIONREAD,  FIONBIO,	  FIOASYNC,
	};
	uint16_t type = once_in(r, 4) ? (uint16_t)odd_number(r) : pick(r, types);
	struct handle *h = any_handle(r);
	char body[512] = { 0 };
	int n = (int)below(r, 20);

	for (int i = 0; i < n; i++)
		body[below(r, sizeof(body))] = (char)rnd64(r);
	if (once_in(r, 4))
		count(ioctl(h->fd, pick(r, ioctls),
			    once_in(r, 2) ? (void *)body : (void *)rnd64(r)));
	else
		call(r, h->fd, type, pick(r, names), body, sizeof(body), NULL);
}

static void step_ask(struct rnd *r)
{
	static const uint16_t types[] = {
		NETMAP_REQ_PORT_INFO_GET,
		NETMAP_REQ_POOLS_INFO_GET,
		NETMAP_REQ_PST_STATS,
		NETMAP_REQ_PST_LIST,
	};
	uint32_t body[64] = { once_in(r, 2) ? 0 : below(r, 8) };

	call(r, any_handle(r)->fd, pick(r, types), pick(r, names), body, sizeof(body), NULL);
}

static void step_open(struct rnd *r)
{
	struct handle *h = any_handle(r);
	int flags = once_in(r, 8) ? O_RDONLY : O_RDWR;

	handle_forget(h);
	h->fd = open("/dev/netmap",
		     flags | (once_in(r, 2) ? O_CLOEXEC : 0) | (once_in(r, 4) ? O_NONBLOCK : 0));
}

/* 0, nonsense, or @low and up to @n - 1 more. */
static uint32_t some(struct rnd *r, uint32_t low, uint32_t n)
{
	if (once_in(r, 2))
		return 0;
	return once_in(r, 30) ? odd_number(r) : low + below(r, n);
}

static void wish_for(struct rnd *r, struct nmreq_register *reg)
{
	static const uint32_t modes[] = {
		NR_REG_ALL_NIC, NR_REG_ALL_NIC, NR_REG_NIC_SW,	NR_REG_ONE_NIC,	    NR_REG_ONE_NIC,
		NR_REG_SW,	NR_REG_NULL,	NR_REG_DEFAULT, NR_REG_PIPE_MASTER,
	};
	static const uint64_t flags[] = {
		NR_EXCLUSIVE,	    NR_RX_RINGS_ONLY,
		NR_TX_RINGS_ONLY,   NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY,
		NR_NO_TX_POLL,	    NR_DO_RX_POLL,
		NR_ACCEPT_VNET_HDR, NR_MONITOR_RX,
		1UL << 40,
	};

	*reg = (struct nmreq_register) {
		.nr_mode = once_in(r, 2) ? NR_REG_ALL_NIC : pick(r, modes),
		.nr_tx_rings = (uint16_t)some(r, 1, 4),
		.nr_rx_rings = (uint16_t)some(r, 1, 4),
		.nr_tx_slots = some(r, 16, 300),
		.nr_rx_slots = some(r, 16, 300),
		.nr_extra_bufs = some(r, 0, 100),
		.nr_flags = once_in(r, 4) ? pick(r, flags) : 0,
	};
	if (once_in(r, 50))
		reg->nr_mode = odd_number(r);
	if (reg->nr_mode == NR_REG_ONE_NIC)
		reg->nr_ringid = (uint16_t)(once_in(r, 10) ? odd_number(r) : below(r, 4));
	if (once_in(r, 20))
		reg->nr_mem_id = (uint16_t)below(r, 10);
}

static void fill_options(struct rnd *r, struct handle *h)
{
	size_t size = (2UL + below(r, 6)) << 20;
	struct nmreq_opt_extmem *e = &arena->ext;

	*e = (struct nmreq_opt_extmem) {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM, .nro_usrptr = (uintptr_t)h->supplied,
	};
	if (once_in(r, 10))
		e->nro_usrptr += below(r, 10000);
	e->nro_info.nr_memsize = once_in(r, 10) ? rnd64(r) >> below(r, 64) : size;
	if (once_in(r, 10))
		e->nro_info.nr_buf_pool_objtotal = odd_number(r);
	if (once_in(r, 10))
		e->nro_info.nr_ring_pool_objsize = odd_number(r);
	if (once_in(r, 10))
		e->nro_info.nr_if_pool_objtotal = odd_number(r);
	arena->keep = (struct nmreq_opt_pst_keep){
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_PST_KEEP,
		.nro_indexes = (uintptr_t)arena->indexes,
		.nro_count = below(r, 64),
	};
	if (once_in(r, 10))
		arena->keep.nro_count = odd_number(r);
	for (uint32_t i = 0; i < 64; i++)
		arena->indexes[i] =
			once_in(r, 100) ? odd_number(r) : 2 + i * (1 + size / 4096 / 80);
	if (once_in(r, 2))
		e->nro_opt.nro_next = (uintptr_t)&arena->keep;
	else if (once_in(r, 20))
		e->nro_opt.nro_next = (uintptr_t)e;
	reserve(h->supplied, PLACE);
	supply_some(r, h->supplied, size);
}

/* The answer may have been rewritten since: only what can be. */
static void take_answer(struct handle *h)
{
	struct nmreq_register *reg = &h->reg;

	*reg = arena->body.reg;
	if (reg->nr_memsize > PLACE || reg->nr_offset >= PLACE / 2 || !reg->nr_tx_slots ||
	    !reg->nr_rx_slots)
		*reg = (struct nmreq_register) {
			.nr_memsize = 4096, .nr_tx_slots = 16, .nr_rx_slots = 16,
		};
}

static void step_register(struct rnd *r)
{
	struct handle *h = any_handle(r);
	struct nmreq_register reg;
	void *options = NULL;

	if (h->fd < 0 || (h->reg.nr_memsize && !once_in(r, 8))) {
		handle_forget(h);
		h->fd = open("/dev/netmap", O_RDWR | (once_in(r, 2) ? O_CLOEXEC : 0));
	}
	wish_for(r, &reg);
	if (once_in(r, 3)) {
		fill_options(r, h);
		options = &arena->ext;
	}
	snprintf(h->name, sizeof(h->name), "%s", pick(r, names));
	if (call(r, h->fd, NETMAP_REQ_REGISTER, h->name, &reg, sizeof(reg), options) == 0)
		take_answer(h);
}

static void step_legacy(struct rnd *r)
{
	struct handle *h = any_handle(r);
	struct nmreq old = { .nr_version = once_in(r, 8) ? odd_number(r) : NETMAP_API };

	snprintf(old.nr_name, sizeof(old.nr_name), "%s", pick(r, names));
	if (once_in(r, 2))
		old.nr_flags = below(r, 16);
	if (once_in(r, 4))
		old.nr_ringid = (uint16_t)rnd64(r);
	if (once_in(r, 4))
		old.nr_cmd = (uint16_t)odd_number(r);
	if (once_in(r, 2)) {
		count(ioctl(h->fd, NIOCGINFO, &old));
		return;
	}
	if (h->fd < 0)
		h->fd = open("/dev/netmap", O_RDWR);
	if (ioctl(h->fd, NIOCREGIF, &old) == 0) {
		snprintf(h->name, sizeof(h->name), "%s", old.nr_name);
		h->reg = (struct nmreq_register){
			.nr_offset = old.nr_offset,
			.nr_memsize = old.nr_memsize,
			.nr_tx_rings = old.nr_tx_rings,
			.nr_tx_slots = old.nr_tx_slots,
			.nr_rx_slots = old.nr_rx_slots,
		};
		told->ok++;
	}
}

static void step_register_socket(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	struct nmreq_pst_fd_reg reg = { .fd = (uint32_t)any_fd(r) };
	uint32_t kind;

	if (fz.newest && once_in(r, 2))
		reg.fd = (uint32_t)fz.newest->fd;
	if (once_in(r, 3))
		reg.flags = once_in(r, 10) ? odd_number(r) : PST_FD_BY_QUEUE;
	kind = sock_kind((int)reg.fd);
	if (call(r, h->fd, NETMAP_REQ_PST_FD_REG, once_in(r, 2) ? "" : h->name, &reg, sizeof(reg),
		 NULL) == 0 && kind < KINDS)
		told->registered[kind]++;
}

static void step_attach(struct rnd *r)
{
	struct nmreq_vale_attach a = { .reg.nr_mode = NR_REG_NIC_SW };
	struct handle *h = once_in(r, 8) ? any_handle(r) : bound_handle(r);

	if (once_in(r, 10))
		a.reg.nr_mode = odd_number(r);
	if (once_in(r, 10))
		a.reg.nr_mem_id = (uint16_t)below(r, 10);
	if (once_in(r, 3)) {		/* some of the queues */
		a.reg.nr_mode = NR_REG_ONE_NIC;
		a.reg.nr_ringid = (uint16_t)below(r, 3);
		a.reg.nr_rx_rings = (uint16_t)below(r, 3);
	}
	told->attached += !call(r, h->fd, NETMAP_REQ_PST_ATTACH, pick(r, nics), &a, sizeof(a),
				NULL);
}

static void step_detach(struct rnd *r)
{
	struct nmreq_vale_detach d = { 0 };

	told->detached += !call(r, bound_handle(r)->fd, NETMAP_REQ_PST_DETACH, pick(r, nics), &d,
				sizeof(d), NULL);
}

static void step_close(struct rnd *r)
{
	struct handle *h = any_handle(r);

	if (once_in(r, 3) && h->fd >= 0) {	/* the mapping stays, and holds the port */
		close(h->fd);
		h->fd = -1;
	} else {
		handle_forget(h);
	}
}

/* What a player begins with, mostly: a port, mapped, with some connections and perhaps a NIC. */
void ports_begin(struct rnd *r)
{
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_slots = 16 + below(r, 100),
		.nr_rx_slots = 16 + below(r, 100),
		.nr_tx_rings = (uint16_t)(1 + below(r, 2)),
		.nr_extra_bufs = below(r, 100),
	};
	struct nmreq_vale_attach a = { .reg.nr_mode = NR_REG_NIC_SW };
	struct handle *h = &fz.handle[0];

	if (once_in(r, 4))
		return;
	h->fd = open("/dev/netmap", O_RDWR);
	strcpy(h->name, "stack:a");
	if (port_ioctl(h->fd, NETMAP_REQ_REGISTER, h->name, &reg))
		return;
	h->reg = reg;
	step_map(r);
	for (uint32_t i = 0; i < 6; i++) {
		once_in(r, 3) ? step_udp_pair(r) : step_pair(r);
		step_register_socket(r);
	}
	if (once_in(r, 2)) {
		int result = port_ioctl(h->fd, NETMAP_REQ_PST_ATTACH,
					once_in(r, 3) ? "stack:eth0" : "stack:fz0", &a);

		count(result);
		told->attached += !result;
	}
}

const struct step port_steps[] = {
	{ "open", 4, step_open },
	{ "register", 16, step_register },
	{ "legacy", 2, step_legacy },
	{ "ask", 4, step_ask },
	{ "garbage", 6, step_garbage },
	{ "register-socket", 24, step_register_socket },
	{ "attach", 7, step_attach },
	{ "detach", 6, step_detach },
	{ "map", 16, step_map },
	{ "remap", 4, step_remap },
	{ "take", 40, step_take },
	{ "send", 50, step_send },
	{ "answer", 20, step_answer },
	{ "extra", 8, step_extra },
	{ "sync", 50, step_sync },
	{ "wait", 12, step_wait },
	{ "close", 4, step_close },
	{ NULL, 0, NULL },
};

/* ---- the balance ---- */

/* All slots that are the application's go back, nothing is sent. */
static void let_go(struct handle *h)
{
	for (uint32_t i = 0; i < RINGS; i++) {
		GUARDED(
			if (h->rx[i])
				h->rx[i]->head = h->rx[i]->cur = h->rx[i]->tail;
		);
	}
	sync_handle(h, 0, 0);
	sync_handle(h, 1, 0);
}

static bool balanced(const struct handle *h, char *why, size_t size)
{
	struct nmreq_pst_stats st = { 0 };
	const struct pst_port_counters *c = &st.port;
	uint64_t sum;

	if (port_ioctl(h->fd, NETMAP_REQ_PST_STATS, h->name, &st)) {
		snprintf(why, size, "%s: no counters (%s)", h->name, strerror(errno));
		return errno == ENXIO || errno == EOPNOTSUPP || errno == EINVAL;
	}
	sum = c->buf_free + c->buf_nic + c->buf_stack + c->buf_user + c->buf_sent;
	snprintf(why, size,
		 "%s: of %llu buffers %llu free, %llu nic, %llu stack, %llu user, %llu sent; %llu "
		 "sockets",
		 h->name, (unsigned long long)c->buf_total, (unsigned long long)c->buf_free,
		 (unsigned long long)c->buf_nic, (unsigned long long)c->buf_stack,
		 (unsigned long long)c->buf_user, (unsigned long long)c->buf_sent,
		 (unsigned long long)c->sockets);
	return sum == c->buf_total && !c->buf_stack && !c->buf_sent && !c->sockets;
}

/*
 * With all sockets closed and nobody else about: each buffer of the ports that are still there is
 * free, the NIC's or the application's, and they add up.  A driver keeps what it was sent while its
 * interface is down, so that comes up first.
 */
void play_balance(void)
{
	uint64_t end = now_ms() + 30000 * t_slower();
	char why[256] = "";

	link_change("eth0", -1, true, 0, -1);
	for (uint32_t i = 0; i < HANDLES; i++) {
		struct handle *h = &fz.handle[i];

		if (h->fd < 0 || !h->reg.nr_memsize)
			continue;
		while (!balanced(h, why, sizeof(why))) {
			if (now_ms() > end) {
				complain("not balanced: %s", why);
				shell("for in in '' 'ip netns exec fz'; do $in ss -anmpo |"
				      " grep -v -e TIME-WAIT -e '^.?$'; $in ip -br link; done >&2");
				return;
			}
			for (uint32_t k = 0; k < HANDLES; k++)
				let_go(&fz.handle[k]);
			usleep(20000);
		}
	}
}
