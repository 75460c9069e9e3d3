// SPDX-License-Identifier: BSD-2-Clause
/*
 * The second thread: while the player makes system calls it rewrites rings, slots, buffers, the
 * netmap_if and the request, and syncs now and then.  It knows what is where, so most of what
 * it writes is nearly right.
 */
#include <pthread.h>
#include <sys/ioctl.h>
#include "fuzz.h"

struct arena *arena;

static pthread_t thread;
static atomic_bool stop;
static struct rnd random_;
static uint32_t intensity_;

static int32_t some_fd(struct rnd *r)
{
	switch (below(r, 8)) {
	case 0: return (int32_t)rnd64(r);
	case 1: return (int32_t)below(r, 64);
	default: return fz.sock[below(r, SOCKS)].fd;
	}
}

static uint32_t some_index(struct rnd *r, const struct handle *h)
{
	if (once_in(r, 16))
		return odd_number(r);
	if (h->nextra && once_in(r, 4))
		return h->extra[below(r, EXTRA)];
	return h->nbufs ? below(r, h->nbufs) : 0;
}

static void mangle_slot(struct rnd *r, const struct handle *h, volatile struct netmap_slot *slot)
{
	static const uint16_t flags[] = {
		0,
		0,
		NS_BUF_CHANGED,
		NS_PST_KEEP,
		NS_PST_SHUT,
		NS_PST_CLOSE,
		NS_PST_PAUSE,
		NS_PST_RESUME,
		NS_PST_KEEP | NS_PST_CLOSE,
		NS_PST_SHUT | NS_PST_PAUSE,
		NS_PST_TO,
		NS_PST_CONT,
		NS_PST_TO | NS_PST_CONT,
		NS_PST_REFUSED,
	};

	switch (below(r, 8)) {
	case 0: case 1: slot->buf_idx = some_index(r, h); break;
	case 2: slot->len = (uint16_t)rnd64(r); break;
	case 3:
		slot->offset = (uint16_t)below(r, 4200);
		slot->len = (uint16_t)below(r, 4200);
		break;
	case 4: slot->flags = pick(r, flags); break;
	case 5: slot->flags = (uint16_t)rnd64(r); break;
	case 6: slot->fd = some_fd(r); break;
	default: slot->ptr = rnd64(r);
	}
}

static void mangle_ring(struct rnd *r, volatile struct netmap_ring *ring, uint32_t slots)
{
	uint32_t n = below(r, slots + 1);

	switch (below(r, 11)) {
	case 0: case 1: case 2: ring->head = ring->cur = ring->tail; break;
	case 3: case 4: ring->head = n; break;
	case 5: case 6: ring->cur = n; break;
	case 7: ring->tail = once_in(r, 2) ? n : odd_number(r); break;
	case 8: ring->head = odd_number(r); break;
	case 9: ring->flags ^= NR_PST_TELL_LOW; break;
	default: ring->flags = odd_number(r);
	}
}

static void mangle_bytes(struct rnd *r, void *start, size_t size)
{
	volatile char *at = (char *)start + rnd64(r) % size;

	*at ^= (char)(1 << below(r, 8));
}

static void mangle_handle(struct rnd *r, const struct handle *h)
{
	uint32_t i = below(r, RINGS);
	bool rx = below(r, 2);
	struct netmap_ring *ring = rx ? h->rx[i] : h->tx[i];
	uint32_t slots = rx ? h->rx_slots : h->tx_slots;

	if (!ring || !slots)
		return;
	GUARDED(
		switch (below(r, 16)) {
		case 0 ... 7: mangle_slot(r, h, &ring->slot[below(r, slots)]); break;
		case 8 ... 11: mangle_ring(r, ring, slots); break;
		case 12: mangle_bytes(r, ring, 256); break;
		case 13:
			mangle_bytes(r, h->place + h->reg.nr_offset % PLACE,
				     sizeof(struct netmap_if));
			break;
		default: if (h->nbufs) mangle_bytes(r, h->bufs, h->nbufs * 4096UL);
		}
	);
}

static void mangle_sync(struct rnd *r, const struct handle *h)
{
	sync_handle(h, (int)below(r, 3), 0);
}

static void *mangle(void *arg)
{
	struct rnd *r = &random_;

	(void)arg;
	while (!atomic_load(&stop)) {
		const struct handle *h = &fz.handle[below(r, HANDLES)];
		uint32_t what = below(r, 64);

		if (what == 0)
			mangle_sync(r, h);
		else if (what < 8)
			mangle_bytes(r, arena, sizeof(*arena));
		else
			mangle_handle(r, h);
		if (once_in(r, intensity_))
			usleep(50 + below(r, 2000));
	}
	return NULL;
}

/* @intensity: alterations between pauses of about a millisecond; 0: no second thread. */
void mangler_start(struct rnd r, uint32_t intensity)
{
	random_ = r;
	intensity_ = intensity;
	atomic_store(&stop, !intensity);
	if (intensity)
		t_must(!pthread_create(&thread, NULL, mangle, NULL));
}

void mangler_stop(void)
{
	if (!intensity_)
		return;
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	intensity_ = 0;
}
