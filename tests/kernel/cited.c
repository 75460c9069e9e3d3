// SPDX-License-Identifier: BSD-2-Clause
/*
 * cited: in memory that was supplied, a buffer that so many slots cite, or pages mapped so often, that its
 * reference count looks like another pin is in use until its last peer has acknowledged.
 *
 * [short timeout=180]
 */
#include "supply.h"

#define SIZE	(16UL << 20)
#define PIN	1024	/* what a pin of a small page adds to its count (GUP_PIN_COUNTING_BIAS) */
#define WAITING	52	/* slots of a full socket that cite: fewer than its queue takes */
#define SOCKS	40
#define FILL	4096
#define EXTRA	2500	/* of all parts of the memory */

static struct port p;
static char *mem;
static uint32_t filler;
static int other, other_peer;

/* A socket whose peer does not read, full, and what it will read in the end. */
static struct full {
	int sock, peer;
	uint32_t filled, cited;
} full[SOCKS];

static uint64_t sent_now(void)
{
	return port_stats(&p).port.buf_sent;
}

static void wait_for_none_sent(void)
{
	uint64_t end = now_ms() + 5000 * t_slower();

	while (sent_now() && now_ms() < end) {
		port_sync(&p);
		usleep(10000);
	}
	t_eq(sent_now(), 0);
}

/* Of @kind, but for @size bytes from @small on, which are of small pages. */
static int try_open(const char *kind, size_t small, size_t size)
{
	static const struct nmreq_register want = {
		.nr_tx_slots = 256, .nr_rx_slots = 256, .nr_extra_bufs = EXTRA,
	};
	struct nmreq_opt_extmem ext = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM, .nro_info.nr_memsize = SIZE,
	};

	mem = supply(kind, SIZE);
	if (size)
		t_ok(madvise(mem + small, size, MADV_NOHUGEPAGE));
	ext.nro_usrptr = (uintptr_t)mem;
	return port_open_with(&p, "stack:0", &want, &ext);
}

static void close_all(void)
{
	port_close(&p);
	munmap(mem, SIZE);
}

/* Events about congestion are nothing new. */
static void forget_events(void)
{
	while (port_next(&p, 0)) {
		t_true(p.rx->slot[p.rx->head].flags & NS_PST_EVENT);
		paste_rx_release(p.rx);
	}
}

static void lend(int sock, uint32_t buf, uint16_t len)
{
	if (paste_tx_lend(p.tx, sock, buf, 0, len)) {
		t_ok(ioctl(p.fd, NIOCTXSYNC));
		t_must(!paste_tx_lend(p.tx, sock, buf, 0, len));
	}
}

/* And remains so, when acknowledgements that were under way have come. */
static bool congested(int sock)
{
	struct netmap_slot *s;
	bool told = false;

	while ((s = port_next(&p, told ? 5 : 0))) {
		t_must(s->err == EAGAIN);
		if (s->fd == sock)
			told = !(s->flags & NS_PST_CLEAR);
		paste_rx_release(p.rx);
	}
	return told;
}

/*
 * TCP has all it takes, and some of the queue is ahead of what is cited.  The peer's buffer stays as
 * large as it is: it would open its window when it is probed.
 */
static void fill(struct full *f)
{
	int small = 16384, stays = 65536;

	tcp_pair(&f->sock, &f->peer);
	setsockopt(f->sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	t_ok(setsockopt(f->peer, SOL_SOCKET, SO_RCVBUF, &stays, sizeof(stays)));
	t_must(!port_register(&p, f->sock));
	f->filled = f->cited = 0;
	while (!congested(f->sock)) {
		t_must(f->filled < 1000);
		lend(f->sock, filler, FILL);
		port_sync(&p);
		f->filled++;
	}
	for (int i = 0; i < 8; i++, f->filled++)
		lend(f->sock, filler, FILL);
	port_sync(&p);
	forget_events();
}

/* @buf, cited @n times by slots that wait. */
static void cite(uint32_t buf, uint32_t n)
{
	for (struct full *f = full; n; f++) {
		t_must(f < full + SOCKS);
		fill(f);
		for (; n && f->cited < WAITING; f->cited++, n--)
			lend(f->sock, buf, 1);
	}
	t_ok(ioctl(p.fd, NIOCTXSYNC));
	t_true(!nm_tx_pending(p.tx));
}

/* The application gives @buf back, by an RX slot; another buffer that it has instead. */
static uint32_t give_back(uint32_t buf)
{
	struct netmap_slot *s;

	t_must(write(other_peer, "slot", 4) == 4);
	while ((s = port_next(&p, 2000)) && s->flags & NS_PST_EVENT)
		paste_rx_release(p.rx);
	t_must(s);
	buf = paste_rx_keep(s, buf);
	paste_rx_release(p.rx);
	port_sync(&p);
	return buf;
}

/* Everything that is handed out meanwhile is written to; none of it is @buf. */
static void use_others(uint32_t buf)
{
	static char data[4096], got[4096];
	int handed_out = 0;

	memset(data, 'x', sizeof(data));
	for (int i = 0; i < 300; i++) {
		handed_out += p.tx->slot[p.tx->head].buf_idx == buf;
		port_put(&p, other, data, sizeof(data));
		t_ok(ioctl(p.fd, NIOCTXSYNC));
		t_must(read_n(other_peer, got, sizeof(got), 2000) == sizeof(got));
	}
	t_eq(handed_out, 0);
}

/* How many bytes of @n more that come are not @expected. */
static long wrong(int peer, size_t n, char expected)
{
	static char data[FILL];
	long bad = 0;

	while (n) {
		size_t want = n < sizeof(data) ? n : sizeof(data);

		t_must(read_n(peer, data, want, 5000) == want);
		for (size_t i = 0; i < want; i++)
			bad += data[i] != expected;
		n -= want;
	}
	return bad;
}

static void read_all(void)
{
	long bad = 0;
	int early = 0;

	for (struct full *f = full; f < full + SOCKS && f->cited; f++) {
		for (; f->filled; f->filled--) {
			bad += wrong(f->peer, FILL, 'f');
			port_sync(&p);
		}
		early += !sent_now();
		bad += wrong(f->peer, f->cited, 'c');
		forget_events();
		f->cited = 0;
		close(f->sock);
		close(f->peer);
	}
	t_eq(early, 0);
	t_eq(bad, 0);
}

/* Given back while it is cited @n times, @buf is in use until all have been read. */
static void lives(uint32_t buf, uint32_t n)
{
	uint32_t instead;

	memset(NETMAP_BUF(p.tx, buf), 'c', 4096);
	cite(buf, n);
	instead = give_back(buf);
	t_le(1, sent_now());
	use_others(buf);
	read_all();
	wait_for_none_sent();
	paste_buf_push(p.nifp, p.rx, instead);
}

static void cited_times(uint32_t n)
{
	t_note("cited %u times, interfaces attached: %d", n, (int)port_stats(&p).port.nics);
	wait_for_none_sent();
	lives(paste_buf_pop(p.nifp, p.rx), n);
}

static void prepare(void)
{
	port_pair(&p, &other, &other_peer);
	filler = paste_buf_pop(p.nifp, p.rx);
	memset(NETMAP_BUF(p.tx, filler), 'f', 4096);
}

static void finish(void)
{
	close(other);
	close(other_peer);
	close_all();
}

/* Mappings are references as well, of the reserved buffers too. */
static void mapped_often(void)
{
	size_t bufs = SIZE - (port_stats(&p).port.buf_total + 3) * 4096;
	uint32_t buf = paste_buf_pop(p.nifp, p.rx);
	char *again;

	t_note("mapped more often than a pin counts");
	for (int i = 0; i < PIN + 100; i++) {
		again = mremap(mem, 0, SIZE, MREMAP_MAYMOVE);
		t_must(again != MAP_FAILED);
		(void)*(volatile char *)(again + bufs);
		(void)*(volatile char *)(again + bufs + buf * 4096ul);
		(void)*(volatile char *)(again + SIZE - 4096);
	}
	lives(buf, 1);
}

/* The extra buffer of the lowest number, or of the highest. */
static uint32_t pick(bool highest)
{
	static uint32_t all[EXTRA];
	uint32_t n = 0, best = 0, buf;

	while ((buf = paste_buf_pop(p.nifp, p.rx))) {
		t_must(n < EXTRA);
		if (n && highest == (buf > all[best]))
			best = n;
		all[n++] = buf;
	}
	t_must(n);
	buf = all[best];
	while (n--)
		if (n != best)
			paste_buf_push(p.nifp, p.rx, all[n]);
	return buf;
}

/* Buffers come back while an interface is attached, whatever pages they, the first and the last one are in. */
static void mixed(const char *kind, size_t small, size_t size)
{
	t_note("%s, %zu KiB of small pages from KiB %zu on", kind, size >> 10, small >> 10);
	if (try_open(kind, small, size)) {
		t_eq(errno, EOPNOTSUPP);	/* 6.1 has no large ones */
		munmap(mem, SIZE);
		return;
	}
	prepare();
	for (int attached = 0; attached < 2; attached++) {
		if (attached)
			t_eq(paste_attach(p.fd, "stack:eth0"), 0);
		lives(pick(false), 1);
		lives(pick(true), 1);
	}
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
	wait_for_none_sent();
	finish();
}

int main(void)
{
	static const uint32_t counts[] = { 1, PIN - 2, PIN - 1, PIN, 2 * PIN };

	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	t_must(!try_open("memfd", 0, 0));
	prepare();
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		cited_times(counts[i]);
	t_eq(paste_attach(p.fd, "stack:eth0"), 0);
	cited_times(PIN);
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
	wait_for_none_sent();
	mapped_often();
	t_eq(paste_attach(p.fd, "stack:eth0"), 0);
	mapped_often();
	t_eq(paste_detach(p.fd, "stack:eth0"), 0);
	finish();
	mixed("thp", 0, 0);
	mixed("thp", 0, SIZE / 2);
	mixed("thp", SIZE / 2, SIZE / 2);
	mixed("hugetlb", 0, 0);
	t_ok(system("echo 0 > /proc/sys/vm/nr_hugepages"));
	return t_end();
}
