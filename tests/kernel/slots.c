// SPDX-License-Identifier: BSD-2-Clause
/*
 * slots: a slot that names a buffer the application does not own, a place outside
 * it, an unknown socket or flag is refused, counted and reported; nothing of it is
 * sent, and the slots around it are dealt with as if it were not there.
 *
 * [short debug]
 */
#include "port.h"

#define BYTES	1000	/* in a slot: more than what the kernel copies at once */

static struct port p;
static int sock, peer;

static uint32_t total_bufs(void)
{
	return (uint32_t)port_stats(&p).port.buf_total + 2;
}

static char long_text[3][BYTES + 1];

/*
 * Hands in good, bad, good; @edit makes the second one bad.  Expects @err for it
 * (0: not refused, but nothing sent either) and one more in the counter @field.
 */
static void bad_slot(const char *what, void (*edit)(struct netmap_slot *, uint64_t),
		     uint64_t arg, int err, size_t field)
{
	struct nmreq_pst_stats before = port_stats(&p), after;
	uint32_t i = nm_ring_next(p.tx, p.tx->head), own = p.tx->slot[i].buf_idx;
	struct netmap_slot *bad = &p.tx->slot[i], handed_in;
	char text[2 * BYTES];

	t_note("%s %#llx", what, (unsigned long long)arg);
	port_put(&p, sock, long_text[0], BYTES);
	port_put(&p, sock, long_text[1], BYTES);
	edit(bad, arg);
	handed_in = *bad;
	port_put(&p, sock, long_text[2], BYTES);
	t_ok(ioctl(p.fd, NIOCTXSYNC));

	t_eq(read_n(peer, text, 2 * BYTES, 2000), 2 * BYTES);
	t_true(!memcmp(text, long_text[0], BYTES));
	t_true(!memcmp(text + BYTES, long_text[2], BYTES));
	if (!t_true(silent(peer, 10)))
		while (!silent(peer, 10) && read(peer, text, sizeof(text)) > 0)
			;
	after = port_stats(&p);
	if (err) {
		t_true(bad->flags & NS_PST_REFUSED);
		t_eq(bad->err, err);
		t_true(bad->buf_idx == handed_in.buf_idx && bad->fd == handed_in.fd && bad->len == handed_in.len);
		t_eq(*(uint64_t *)((char *)&after.counters + field),
		     *(uint64_t *)((char *)&before.counters + field) + 1);
	} else {
		t_true(!(bad->flags & NS_PST_REFUSED));
	}
	t_eq(after.counters.tx_slots, before.counters.tx_slots + 2);
	/* the application repairs its slot */
	bad->buf_idx = own;
	bad->flags = 0;
}

#define COUNTER(name)	offsetof(struct pst_ring_counters, name)

static void set_index(struct netmap_slot *s, uint64_t v) { s->buf_idx = (uint32_t)v; }
static void set_fd(struct netmap_slot *s, uint64_t v) { s->fd = (int32_t)v; }
static void set_flags(struct netmap_slot *s, uint64_t v) { s->flags = (uint16_t)v; }
static void set_place(struct netmap_slot *s, uint64_t v)
{
	s->offset = (uint16_t)(v >> 16);
	s->len = (uint16_t)v;
}

#define PLACE(offset, len)	((uint64_t)(offset) << 16 | (len))

static void bad_indexes(void)
{
	uint32_t n = total_bufs(), i, tried = 0;
	uint64_t out[] = { 0, 1, n, n + 1, n + 100000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };
	bool *ours = calloc(n, 1);

	t_must(ours);
	for (i = 0; i < sizeof(out) / sizeof(*out); i++)
		bad_slot("index", set_index, out[i], ERANGE, COUNTER(bad_index));
	/* of another owner: free, on both ends of the region and in between */
	for (i = 0; i < p.tx->num_slots; i++)
		ours[p.tx->slot[i].buf_idx] = true;
	for (i = p.nifp->ni_bufs_head; i; i = *(uint32_t *)(void *)NETMAP_BUF(p.tx, i))
		ours[i] = true;
	for (i = 2; i < n; i += 1 + n / 40)
		if (!ours[i]) {
			bad_slot("free buffer", set_index, i, EPERM, COUNTER(bad_owner));
			tried++;
		}
	t_le(10, tried);
	free(ours);
}

static void same_index_twice(void)
{
	uint32_t i = p.tx->head;

	bad_slot("buffer of the slot before", set_index, p.tx->slot[i].buf_idx, EPERM, COUNTER(bad_owner));
}

static void bad_places(void)
{
	uint32_t size = p.tx->nr_buf_size;

	bad_slot("place", set_place, PLACE(0, size + 1), EMSGSIZE, COUNTER(bad_place));
	bad_slot("place", set_place, PLACE(size, size + 1), EMSGSIZE, COUNTER(bad_place));
	bad_slot("place", set_place, PLACE(0, 65535), EMSGSIZE, COUNTER(bad_place));
	bad_slot("place", set_place, PLACE(65534, 65535), EMSGSIZE, COUNTER(bad_place));
	/* nothing to send is no error */
	bad_slot("place", set_place, PLACE(0, 0), 0, 0);
	bad_slot("place", set_place, PLACE(7, 7), 0, 0);
	bad_slot("place", set_place, PLACE(size, size), 0, 0);
	bad_slot("place", set_place, PLACE(20, 10), EMSGSIZE, COUNTER(bad_place));
}

static void bad_sockets(void)
{
	int ordinary, other, plain = open("/dev/null", O_RDWR);

	tcp_pair(&ordinary, &other);
	bad_slot("fd", set_fd, (uint64_t)-1, EBADF, COUNTER(bad_fd));
	bad_slot("fd", set_fd, 0x80000000, EBADF, COUNTER(bad_fd));
	bad_slot("fd", set_fd, 0x7fffffff, EBADF, COUNTER(bad_fd));
	bad_slot("fd", set_fd, 0, EBADF, COUNTER(bad_fd));
	bad_slot("fd that is no socket", set_fd, (uint64_t)plain, EBADF, COUNTER(bad_fd));
	bad_slot("socket not registered", set_fd, (uint64_t)ordinary, EBADF, COUNTER(bad_fd));
	t_true(silent(other, 10));
	close(ordinary);
	close(other);
	close(plain);
}

static void bad_flags(void)
{
	for (int bit = 0; bit < 16; bit++)
		if (!(1 << bit & (NS_BUF_CHANGED | NS_REPORT | NS_PST_KEEP | NS_PST_SHUT | NS_PST_CLOSE |
				  NS_PST_REFUSED)))
			bad_slot("flag", set_flags, 1u << bit, EINVAL, COUNTER(bad_flags));
}

/* All slots of a round bad: the ring does not stop. */
static void only_bad(void)
{
	uint32_t n = nm_ring_space(p.tx);

	t_note("only bad slots");
	for (int round = 0; round < 3; round++) {
		uint32_t first = p.tx->head, own[64];

		for (uint32_t i = 0; i < n; i++) {
			own[i] = p.tx->slot[p.tx->head].buf_idx;
			paste_tx_push(p.tx, sock, 0xffffffff, 0, 100, 0);
		}
		t_ok(ioctl(p.fd, NIOCTXSYNC));
		t_eq(nm_ring_space(p.tx), n);
		for (uint32_t i = 0; i < n; i++)
			p.tx->slot[(first + i) % p.tx->num_slots].buf_idx = own[i];
	}
	t_true(silent(peer, 10));
}

/* Buffers given back in RX slots. */
static void bad_returns(void)
{
	static const uint32_t wrong[] = { 1, 0xffffffff, 0x80000000 };
	struct nmreq_pst_stats before, after;
	struct netmap_slot *s;
	uint32_t idx, mine;

	for (unsigned int i = 0; i < 3; i++) {
		t_note("RX slot given back with index %#x", wrong[i]);
		t_eq(write(peer, "x", 1), 1);
		s = port_next(&p, 2000);
		t_must(s);
		before = port_stats(&p);
		idx = s->buf_idx;
		s->buf_idx = wrong[i];
		paste_rx_release(p.rx);
		port_sync(&p);
		after = port_stats(&p);
		t_eq(after.counters.bad_index, before.counters.bad_index + 1);
		/* still ours: it can be sent */
		mine = idx;
		memcpy(NETMAP_BUF(p.rx, idx), "mine", 4);
		t_ok(paste_tx_swap(p.tx, sock, &mine, 0, 4));
		t_ok(ioctl(p.fd, NIOCTXSYNC));
		char text[4];
		t_eq(read_n(peer, text, 4, 2000), 4);
		t_true(!memcmp(text, "mine", 4));
		/* and what came for it goes back in its place: three slots would not do */
		t_eq(write(peer, "y", 1), 1);
		s = port_next(&p, 2000);
		t_must(s);
		paste_rx_release(p.rx);
		port_sync(&p);
	}
	t_note("the same buffer given back twice");
	t_eq(write(peer, "a", 1), 1);
	s = port_next(&p, 2000);
	t_must(s);
	idx = s->buf_idx;
	paste_rx_release(p.rx);
	t_eq(write(peer, "b", 1), 1);
	t_must(port_arrived(peer));	/* one sync gives the one back and delivers the other */
	s = port_next(&p, 2000);
	t_must(s);
	before = port_stats(&p);
	mine = s->buf_idx;
	s->buf_idx = idx;
	paste_rx_release(p.rx);
	port_sync(&p);
	after = port_stats(&p);
	t_eq(after.counters.bad_owner, before.counters.bad_owner + 1);
	t_true(mine != idx);
}

/* Everything the application can write besides slots is its own affair. */
static void bad_ring_fields(void)
{
	char text[8];
	int64_t ofs = p.tx->buf_ofs;

	t_note("fields of the ring overwritten");
	for (int turn = 0; turn < 2; turn++) {
		struct netmap_ring *r = turn ? p.rx : p.tx;
		uint32_t n = r->num_slots, size = r->nr_buf_size;

		r->num_slots = 0xffffffff;
		r->nr_buf_size = 0;
		r->buf_ofs = -1;
		r->ringid = 999;
		r->dir = 999;
		r->flags = 0xffffffff;
		r->tail = turn ? r->tail : 0xffffffff;
		memset(r->sem, 0xff, sizeof(r->sem));
		t_ok(ioctl(p.fd, NIOCTXSYNC));
		t_ok(ioctl(p.fd, NIOCRXSYNC));
		r->num_slots = n;
		r->nr_buf_size = size;
		r->buf_ofs = turn ? ofs + ((char *)p.tx - (char *)p.rx) : ofs;
		r->flags = 0;
	}
	t_le(p.tx->tail, p.tx->num_slots - 1);
	port_put(&p, sock, "fine", 4);
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_eq(read_n(peer, text, 4, 2000), 4);
}

int main(void)
{
	struct nmreq_pst_stats st;

	for (int i = 0; i < 3; i++)
		memset(long_text[i], "1x2"[i], BYTES);
	port_make(&p, "stack:slots", 64, 4);
	port_pair(&p, &sock, &peer);
	bad_indexes();
	same_index_twice();
	bad_places();
	bad_sockets();
	bad_flags();
	only_bad();
	bad_ring_fields();
	port_close(&p);
	close(sock);
	close(peer);

	port_make(&p, "stack:slots", 64, 4);
	port_pair(&p, &sock, &peer);
	bad_returns();
	st = port_stats(&p);
	t_eq(st.port.buf_free + st.port.buf_nic + st.port.buf_stack + st.port.buf_user + st.port.buf_sent,
	     st.port.buf_total);
	port_close(&p);
	return t_end();
}
