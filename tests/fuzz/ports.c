// SPDX-License-Identifier: BSD-2-Clause
/*
 * Steps with descriptors of /dev/netmap: requests well and badly formed, memory of our own,
 * mappings, slots, syncs in all ways; and the balance of buffers at the end.
 */
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
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
static struct handle *bound_handle(struct rnd *r)
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

/* ---- memory of our own ---- */

static char *map_at(char *at, size_t size, int prot, int flags, int fd)
{
	char *p = mmap(at, size, prot, flags | MAP_FIXED, fd, 0);

	if (p == MAP_FAILED)
		reserve(at, size);
	return p == MAP_FAILED ? NULL : p;
}

/* Maps @size bytes of some kind at @at; not all kinds will do. */
static void supply_some(struct rnd *r, char *at, size_t size)
{
	int anon = MAP_PRIVATE | MAP_ANONYMOUS, rw = PROT_READ | PROT_WRITE, fd;
	uint32_t kind = below(r, 10);

	switch (kind) {
	case 0: case 1:
		map_at(at, size, rw, anon, -1);
		madvise(at, size, once_in(r, 2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		break;
	case 2:
		map_at(at, size, rw, anon | MAP_HUGETLB, -1);
		break;
	case 3:
		map_at(at, size, once_in(r, 2) ? PROT_READ : PROT_NONE, anon, -1);
		break;
	case 4: case 5: case 6:
		fd = memfd_create("fuzz", MFD_CLOEXEC | (kind == 6 ? MFD_HUGETLB : 0));
		if (fd < 0)
			break;
		/* shorter than the mapping sometimes, cut or punched later sometimes */
		if (ftruncate(fd, (off_t)(once_in(r, 6) ? size / 2 : size)) == 0 &&
		    map_at(at, size, rw, once_in(r, 6) ? MAP_PRIVATE : MAP_SHARED, fd) &&
		    kind != 6 && once_in(r, 8))		/* huge pages cannot be cut in two */
			map_at(at + size / 2, size / 2, rw, MAP_SHARED, fd);	/* pages twice */
		close(fd);
		break;
	case 7:
		fd = open("/root/fuzz.region", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			break;
		if (ftruncate(fd, (off_t)size) == 0)
			map_at(at, size, rw, MAP_SHARED, fd);
		close(fd);
		break;
	case 8:		/* somebody's rings */
		map_at(at, size, rw, MAP_SHARED, any_handle(r)->fd);
		break;
	default:
		map_at(at, size, rw, anon, -1);
		reserve(at + (size / 2 & ~4095UL), 4096);	/* with a hole */
	}
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
	told->attached += !call(r, h->fd, NETMAP_REQ_PST_ATTACH, pick(r, nics), &a, sizeof(a), NULL);
}

static void step_detach(struct rnd *r)
{
	struct nmreq_vale_detach d = { 0 };

	told->detached += !call(r, bound_handle(r)->fd, NETMAP_REQ_PST_DETACH, pick(r, nics), &d,
				sizeof(d), NULL);
}

/* ---- mappings ---- */

/* Address space without memory, in which only MAP_FIXED puts something. */
void reserve(void *at, size_t size)
{
	t_must(mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		    -1, 0) == at);
}

static void unmap(struct handle *h)
{
	memset(h->rx, 0, sizeof(h->rx));
	memset(h->tx, 0, sizeof(h->tx));
	h->rings = h->nbufs = h->nextra = 0;
	if (h->mapped)
		reserve(h->place, PLACE);
	h->mapped = 0;
}

void handle_forget(struct handle *h)
{
	int fd = h->fd;

	unmap(h);
	h->reg = (struct nmreq_register){ 0 };
	h->fd = -1;
	if (fd >= 0)
		close(fd);
}

/* A pointer of the kernel's, which somebody may have rewritten: only within the mapping. */
static struct netmap_ring *ring_at(const struct handle *h, const char *p, uint32_t slots)
{
	size_t need = sizeof(struct netmap_ring) + slots * sizeof(struct netmap_slot);

	if (p < h->place || need > h->mapped || (size_t)(p - h->place) > h->mapped - need)
		return NULL;
	return (struct netmap_ring *)((uintptr_t)p & ~15UL);
}

/* What may be in the rings is read once; the mangler sees the handle's rings from then on. */
static void find_rings(struct handle *h)
{
	struct netmap_if *nifp = (struct netmap_if *)(h->place + h->reg.nr_offset);
	uint32_t n = h->reg.nr_tx_rings < RINGS ? h->reg.nr_tx_rings : RINGS;

	h->rx_slots = h->reg.nr_rx_slots;
	h->tx_slots = h->reg.nr_tx_slots;
	if (h->reg.nr_offset + sizeof(*nifp) + 2 * 65 * sizeof(ssize_t) > h->mapped)
		return;
	GUARDED(
		struct netmap_ring *some = NULL;
		uint32_t rings = n ? n : 1;

		for (uint32_t i = 0; i < rings; i++) {
			ssize_t tx = nifp->ring_ofs[i], rx = nifp->ring_ofs[i + rings + 1];

			h->tx[i] = tx ? ring_at(h, (char *)nifp + tx, h->tx_slots) : NULL;
			h->rx[i] = rx ? ring_at(h, (char *)nifp + rx, h->rx_slots) : NULL;
			some = h->tx[i] ? h->tx[i] : h->rx[i] ? h->rx[i] : some;
		}
		h->rings = rings;
		if (some) {
			char *bufs = (char *)some + some->buf_ofs;

			if (bufs > h->place && bufs < h->place + h->mapped) {
				h->bufs = bufs;
				h->nbufs = (uint32_t)((size_t)(h->place + h->mapped - bufs) / 4096);
			}
		}
	);
}

static void step_map(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	size_t size = h->reg.nr_memsize;
	int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED;
	off_t offset = 0;

	unmap(h);
	if (once_in(r, 8))
		prot = (int)below(r, 8);
	if (once_in(r, 16))
		flags = MAP_PRIVATE;
	if (once_in(r, 10))
		size = once_in(r, 2) ? size + 4096 * below(r, 100) : 4096 * (1 + below(r, 1000));
	if (once_in(r, 16))
		offset = (off_t)(once_in(r, 4) ? rnd64(r) & ~4095UL : 4096UL * below(r, 1000));
	if (once_in(r, 4))
		flags |= MAP_POPULATE;
	if (!size || size > PLACE)
		return;
	if (mmap(h->place, size, prot, flags | MAP_FIXED, h->fd, offset) == MAP_FAILED) {
		reserve(h->place, size);
		return;
	}
	h->mapped = size;
	if (offset == 0 && flags & MAP_SHARED)
		find_rings(h);
}

static void step_remap(struct rnd *r)
{
	static const int advice[] = {
		MADV_DONTNEED,	MADV_DONTFORK, MADV_DOFORK,   MADV_HUGEPAGE,
		MADV_MERGEABLE, MADV_WILLNEED, MADV_REMOVE,   MADV_FREE,
		MADV_COLD,	MADV_PAGEOUT,  MADV_DONTDUMP,
	};
	struct handle *h = bound_handle(r);
	char *base = once_in(r, 3) ? h->supplied : h->place;
	size_t size = h->mapped ? h->mapped : 1UL << 20;
	char *at = base + (rnd64(r) % size & ~4095UL);
	size_t part = once_in(r, 4) ? size : 4096 * (1 + below(r, 200));

	if (at + part > base + PLACE)
		part = 4096;
	switch (below(r, 7)) {
	case 0: case 1: reserve(at, part); break;
	case 2: mprotect(at, part, (int)below(r, 8)); break;
	case 3: madvise(at, part, pick(r, advice)); break;
	case 4: mlock(at, part); munlock(at, part); break;
	case 5: msync(at, part, MS_SYNC); break;
	default:	/* moved within the place */
		mremap(at, part, part, MREMAP_MAYMOVE | MREMAP_FIXED, base + PLACE / 2);
		reserve(base + PLACE / 2, PLACE / 2);
		reserve(at, part);
	}
}

/* ---- rings, as an application uses them ---- */

static void keep_extra(struct handle *h, uint32_t *idx, bool swap)
{
	if (swap && h->nextra) {
		uint32_t i = h->nextra - 1, old = *idx;

		*idx = h->extra[i];
		h->extra[i] = old;
	}
}

/* A connection that the port accepted becomes one of ours, sometimes. */
static void adopt(struct rnd *r, int fd)
{
	struct sock *s = any_sock(r);

	told->accepted += sock_kind(fd) == 0;
	if (fd <= 2 || once_in(r, 3))
		return;
	sock_close(s);
	s->fd = fd;
}

static void step_take(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	struct netmap_ring *ring = h->rx[below(r, RINGS)];
	uint32_t n = below(r, 2) ? h->rx_slots : below(r, 20);

	if (!ring)
		ring = h->rx[0];
	if (!ring)
		return;
	GUARDED(
		volatile struct netmap_ring *v = ring;
		uint32_t head = v->head % h->rx_slots;

		for (uint32_t i = 0; i < n && head != v->tail; i++) {
			struct netmap_slot *slot = &ring->slot[head];
			uint32_t idx = slot->buf_idx;

			told->datagrams_in += !!(slot->flags & NS_PST_FROM);
			if (slot->flags & NS_PST_ACCEPT)
				adopt(r, slot->fd);
			else if (slot->flags & NS_PST_EVENT && slot->err == 0 && once_in(r, 2))
				shutdown(slot->fd, SHUT_WR);
			if (once_in(r, 3)) {
				keep_extra(h, &idx, idx > 1);
				slot->buf_idx = idx;
			}
			head = head + 1 == h->rx_slots ? 0 : head + 1;
		}
		v->head = head;
		v->cur = once_in(r, 8) ? v->tail : head;
		if (once_in(r, 16))
			v->flags ^= NR_PST_TELL_LOW;
	);
}

/* What came back of the @n slots before @head that name UDP sockets, and was not refused. */
static void count_sent(const struct handle *h, const struct netmap_ring *ring, uint32_t head,
		       uint32_t n)
{
	while (n--) {
		head = (head ? head : h->tx_slots) - 1;
		told->datagrams_out += !(ring->slot[head].flags & NS_PST_REFUSED) &&
				       sock_to(ring->slot[head].fd);
	}
}

/* A sync; have all @n slots been taken, they are looked at. */
static void sync_sent(struct rnd *r, const struct handle *h, struct netmap_ring *ring, uint32_t n)
{
	if (sync_handle(h, (int)below(r, 3), 0) < 0)
		return;
	GUARDED(
		volatile struct netmap_ring *v = ring;
		uint32_t head = v->head % h->tx_slots;

		if (v->tail == (head ? head : h->tx_slots) - 1)
			count_sent(h, ring, head, n);
	);
}

/* A UDP socket's slot mostly says where to, and now and then goes on in the next one. */
static void address_slot(struct rnd *r, const struct handle *h, struct netmap_slot *slot,
			 const struct nm_pst_addr *to)
{
	if (!once_in(r, 4) && slot->buf_idx < h->nbufs && slot->len + sizeof(*to) <= 4096) {
		slot->offset += (uint16_t)sizeof(*to);
		slot->len += (uint16_t)sizeof(*to);
		nm_pst_setaddr(h->bufs + slot->buf_idx * 4096UL, slot, to);
		slot->flags |= NS_PST_TO;
	}
	if (once_in(r, 6))
		slot->flags |= NS_PST_CONT;
}

static void fill_slot(struct rnd *r, struct handle *h, struct netmap_slot *slot, bool flagged)
{
	static const uint16_t flags[] = {
		NS_PST_SHUT,   NS_PST_CLOSE, NS_PST_PAUSE,
		NS_PST_RESUME, NS_PST_KEEP,  NS_PST_KEEP | NS_PST_SHUT,
		NS_PST_KEEP,   NS_REPORT,    NS_PST_PAUSE | NS_PST_RESUME,
		NS_PST_TO,     NS_PST_CONT,  NS_PST_TO | NS_PST_CONT,
		NS_MOREFRAG,
	};
	const struct nm_pst_addr *to;

	slot->fd = any_fd(r);
	slot->offset = (uint16_t)(once_in(r, 2) ? 0 : below(r, 200));
	slot->len = (uint16_t)(slot->offset +
			       below(r, once_in(r, 2) ? 300 : 4096 - slot->offset));
	slot->flags = flagged && once_in(r, 4) ? pick(r, flags) : 0;
	if (h->nextra && (slot->flags & NS_PST_KEEP || once_in(r, 4))) {
		if (slot->flags & NS_PST_KEEP)
			slot->buf_idx = h->extra[below(r, h->nextra)];
		else
			keep_extra(h, &slot->buf_idx, true);
	}
	to = sock_to(slot->fd);
	if (to && h->bufs)
		address_slot(r, h, slot, to);
}

/*
 * As the slot before it: of the same socket, length and peer, which may leave with it, or as the
 * next part of its datagram.
 */
static void repeat_slot(struct rnd *r, const struct handle *h, struct netmap_slot *slot,
			const struct netmap_slot *before)
{
	const struct nm_pst_addr *to = sock_to(before->fd);

	slot->fd = before->fd;
	slot->offset = before->offset;
	slot->len = before->len;
	slot->flags = 0;
	if (before->flags & NS_PST_CONT) {
		slot->flags = once_in(r, 2) ? NS_PST_CONT : 0;
	} else if (to && before->flags & NS_PST_TO && slot->buf_idx < h->nbufs &&
		   slot->offset >= sizeof(*to) && slot->offset <= 4096) {
		nm_pst_setaddr(h->bufs + slot->buf_idx * 4096UL, slot, to);
		slot->flags = NS_PST_TO;
	}
}

static void step_send(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	struct netmap_ring *ring = h->tx[below(r, RINGS)];
	uint32_t n = once_in(r, 4) ? h->tx_slots : below(r, 20), runs = 1 + below(r, 20), done = 0;
	bool flagged = once_in(r, 3);

	if (!ring)
		ring = h->tx[0];
	if (!ring)
		return;
	GUARDED(
		volatile struct netmap_ring *v = ring;
		struct netmap_slot *before = NULL;
		uint32_t head = v->head % h->tx_slots;

		for (uint32_t i = 0; i < n && head != v->tail; i++) {
			struct netmap_slot *slot = &ring->slot[head];

			if (before && !once_in(r, runs))
				repeat_slot(r, h, slot, before);
			else
				fill_slot(r, h, slot, flagged);
			before = slot;
			head = head + 1 == h->tx_slots ? 0 : head + 1;
			done++;
		}
		v->head = v->cur = head;
	);
	sync_sent(r, h, ring, done);
}

/* What has come goes back in the buffers it came in, as with an application that answers. */
static void step_answer(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	uint32_t i = below(r, RINGS), n = 0;
	struct netmap_ring *rx = h->rx[i] ? h->rx[i] : h->rx[0];
	struct netmap_ring *tx = h->tx[i] ? h->tx[i] : h->tx[0];

	if (!rx || !tx)
		return;
	GUARDED(
		volatile struct netmap_ring *vrx = rx, *vtx = tx;
		uint32_t in = vrx->head % h->rx_slots, out = vtx->head % h->tx_slots;

		while (in != vrx->tail && out != vtx->tail) {
			struct netmap_slot *from = &rx->slot[in], *to = &tx->slot[out];
			uint16_t flags = from->flags;
			uint32_t buf = from->buf_idx;

			in = in + 1 == h->rx_slots ? 0 : in + 1;
			if (flags & NS_PST_EVENT) {
				if (flags & NS_PST_ACCEPT)
					adopt(r, from->fd);
				continue;
			}
			told->datagrams_in += !!(flags & NS_PST_FROM);
			to->fd = from->fd;
			to->offset = from->offset;
			to->len = from->len;
			to->flags = (uint16_t)(NS_BUF_CHANGED | (flags & NS_PST_FROM ? NS_PST_TO : 0) |
					       (flags & NS_PST_MORE ? NS_PST_CONT : 0));
			from->buf_idx = to->buf_idx;
			from->flags = NS_BUF_CHANGED;
			to->buf_idx = buf;
			out = out + 1 == h->tx_slots ? 0 : out + 1;
			n++;
		}
		vrx->head = vrx->cur = in;
		vtx->head = vtx->cur = out;
	);
	sync_sent(r, h, tx, n);
}

/* Buffers of our own: taken out of the list, put back, or a list of nonsense. */
static void step_extra(struct rnd *r)
{
	struct handle *h = bound_handle(r);
	struct netmap_if *nifp = (struct netmap_if *)(h->place + h->reg.nr_offset);

	if (!h->bufs)
		return;
	GUARDED(
		if (once_in(r, 6)) {
			nifp->ni_bufs_head = once_in(r, 2) ? odd_number(r) : below(r, h->nbufs);
		} else if (once_in(r, 2)) {
			while (h->nextra < EXTRA && nifp->ni_bufs_head &&
			       nifp->ni_bufs_head < h->nbufs) {
				uint32_t b = nifp->ni_bufs_head;

				h->extra[h->nextra++] = b;
				nifp->ni_bufs_head = *(uint32_t *)(h->bufs + b * 4096UL);
			}
		} else {
			while (h->nextra) {
				uint32_t b = h->extra[--h->nextra];

				if (b >= h->nbufs)
					continue;
				*(uint32_t *)(h->bufs + b * 4096UL) = nifp->ni_bufs_head;
				nifp->ni_bufs_head = b;
			}
		}
	);
}

/* ---- syncs ---- */

/* @way 0: TXSYNC, 1: RXSYNC, else poll for at most @ms. */
int sync_handle(const struct handle *h, int way, int ms)
{
	struct pollfd pfd = { .fd = h->fd, .events = POLLIN | POLLOUT };

	if (h->fd < 0)
		return -1;
	switch (way) {
	case 0: return ioctl(h->fd, NIOCTXSYNC);
	case 1: return ioctl(h->fd, NIOCRXSYNC);
	default: return poll(&pfd, 1, ms);
	}
}

static void step_sync(struct rnd *r)
{
	struct handle *h = bound_handle(r);

	for (uint32_t n = 1 + below(r, 4); n; n--)
		sync_handle(h, (int)below(r, 4), (int)below(r, 2));
}

static void step_wait(struct rnd *r)
{
	struct timeval tv = { .tv_usec = below(r, 5000) };
	uint64_t events = rnd64(r) & (EPOLLIN | EPOLLOUT | EPOLLET | EPOLLONESHOT);
	struct epoll_event ev = { .events = (uint32_t)events };
	struct handle *h = bound_handle(r);
	struct pollfd all[HANDLES];
	fd_set set;

	switch (below(r, 4)) {
	case 0:
		if (h->fd < 0 || h->fd >= FD_SETSIZE)
			break;
		FD_ZERO(&set);
		FD_SET(h->fd, &set);
		select(h->fd + 1, &set, once_in(r, 2) ? &set : NULL, NULL, &tv);
		break;
	case 1:
		epoll_ctl(fz.epoll, (int)(1 + below(r, 3)), h->fd, &ev);
		epoll_wait(fz.epoll, &ev, 1, (int)below(r, 5));
		break;
	case 2:
		for (uint32_t i = 0; i < HANDLES; i++)
			all[i] = (struct pollfd){ .fd = fz.handle[i].fd,
						  .events = (short)below(r, 8) };
		poll(all, HANDLES, (int)below(r, 20));
		break;
	default:
		epoll_wait(fz.epoll, &ev, 1, (int)below(r, 5));
	}
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
	{ "attach", 5, step_attach },
	{ "detach", 3, step_detach },
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
