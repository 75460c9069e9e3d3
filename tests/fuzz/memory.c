// SPDX-License-Identifier: BSD-2-Clause
/*
 * Memory of handles: what they bring along for a region, the mapping, what is done to both behind
 * the port's back.
 */
#include "fuzz.h"

/* Address space without memory, in which only MAP_FIXED puts something. */
void reserve(void *at, size_t size)
{
	t_must(mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		    -1, 0) == at);
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
void supply_some(struct rnd *r, char *at, size_t size)
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

/* ---- mappings ---- */

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

void step_map(struct rnd *r)
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

void step_remap(struct rnd *r)
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
