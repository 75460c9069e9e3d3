// SPDX-License-Identifier: BSD-2-Clause
/*
 * race: while a thread syncs with real traffic, another one rewrites slots, pointers
 * and indexes of the same rings at random: the kernel survives, its counters add up, and another port is not touched.
 *
 * [cpus=2 queues=4 timeout=60]
 */
#include <pthread.h>
#include "port.h"

#define SOCKS	6
#define SECONDS	20

static struct port p, other;
static int sock[SOCKS], peer[SOCKS];
static volatile bool stop;
static uint64_t seed, exact;

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Mostly something that could be. */
static uint32_t index_of(uint64_t r)
{
	uint32_t bufs = (uint32_t)(p.size / 4096);

	return r % 16 ? (uint32_t)(r >> 8) % bufs : (uint32_t)(r >> 32);
}

static void *rewrite(void *arg)
{
	uint64_t state = seed;

	(void)arg;
	while (!stop) {
		uint64_t r = rnd(&state), v = rnd(&state);
		struct netmap_ring *ring = r & 1 ? p.rx : p.tx;
		volatile struct netmap_slot *slot = &ring->slot[(r >> 8) % ring->num_slots];

		switch (r >> 1 & 15) {
		case 0: ring->head = (uint32_t)(v % (ring->num_slots + 1)); break;
		case 1: ring->cur = (uint32_t)(v % (ring->num_slots + 1)); break;
		case 2: ring->tail = (uint32_t)v; break;
		case 3: ring->flags = (uint32_t)v; break;
		case 4: case 5: case 6: slot->buf_idx = index_of(v); break;
		case 7: slot->len = (uint16_t)v; break;
		case 8: slot->flags = (uint16_t)v; break;
		case 9: slot->flags = v & 1 ? NS_PST_KEEP : v & 2 ? NS_BUF_CHANGED : 0; break;
		case 10: slot->offset = (uint16_t)v; break;
		case 11: slot->offset = (uint16_t)(v % 100); slot->len = (uint16_t)(v >> 32 & 4095); break;
		case 12: slot->fd = (int32_t)v; break;
		case 13: slot->fd = sock[v % SOCKS]; break;
		case 14: ring->head = ring->cur = ring->tail; break;
		default: NETMAP_BUF(ring, (uint32_t)(v % (p.size / 4096 - 100)))[v >> 48 & 4095] ^= (char)v;
		}
		if (r % 64 == 0)
			usleep(50);
	}
	return NULL;
}

/* Another port of the process: every byte is as it was sent. */
static void *undisturbed(void *arg)
{
	uint64_t state = seed ^ 0x5555;
	char text[3000], back[3000];
	int s, c;

	(void)arg;
	port_pair(&other, &s, &c);
	while (!stop) {
		uint16_t n = (uint16_t)(1 + rnd(&state) % sizeof(text));

		for (int i = 0; i < n; i++)
			text[i] = (char)rnd(&state);
		t_must(write(c, text, n) == n);
		if (!t_eq(port_collect(&other, s, back, n, 3000), n) || !t_true(!memcmp(text, back, n)))
			break;
		port_put(&other, s, text, n);
		t_ok(ioctl(other.fd, NIOCTXSYNC));
		if (!t_eq(read_n(c, back, n, 3000), n) || !t_true(!memcmp(text, back, n)))
			break;
		exact++;
	}
	close(s);
	close(c);
	return NULL;
}

static void traffic(uint64_t *state)
{
	static char data[8192];
	int i = (int)(rnd(state) % SOCKS);

	send(peer[i], data, rnd(state) % sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
	i = (int)(rnd(state) % SOCKS);
	while (recv(peer[i], data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	if (rnd(state) % 512)
		return;
	close(sock[i]);
	close(peer[i]);
	tcp_pair(&sock[i], &peer[i]);
	port_register(&p, sock[i]);
}

static void sums(const char *when)
{
	struct nmreq_pst_stats st = { 0 };
	uint64_t sum = 0;

	t_note("%s", when);
	/* buffers on the move are counted twice or not at all: look until nothing moves */
	for (int i = 0; i < 100; i++) {
		st = port_stats(&p);
		sum = st.port.buf_free + st.port.buf_nic + st.port.buf_stack + st.port.buf_user + st.port.buf_sent;
		if (sum == st.port.buf_total)
			break;
		usleep(20000);
	}
	t_eq(sum, st.port.buf_total);
}

int main(int argc, char **argv)
{
	struct timespec ts;
	pthread_t rewriter, user;
	uint64_t state, end, syncs = 0;

	clock_gettime(CLOCK_REALTIME, &ts);
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)ts.tv_nsec * 2654435761u + 1;
	state = seed + 7;
	printf("seed %#llx\n", (unsigned long long)seed);
	fflush(stdout);
	port_make(&p, "stack:race", 64, 200);
	port_make(&other, "stack2:quiet", 64, 0);
	t_ok(paste_attach_region(p.fd, "stack:eth0", p.reg.nr_mem_id));
	for (int i = 0; i < SOCKS; i++)
		port_pair(&p, &sock[i], &peer[i]);
	pthread_create(&rewriter, NULL, rewrite, NULL);
	pthread_create(&user, NULL, undisturbed, NULL);
	for (end = now_ms() + SECONDS * 1000; now_ms() < end; syncs++) {
		struct pollfd pfd = { .fd = p.fd, .events = POLLIN | POLLOUT };

		poll(&pfd, 1, (int)(rnd(&state) % 2));
		traffic(&state);
	}
	stop = true;
	pthread_join(rewriter, NULL);
	pthread_join(user, NULL);
	printf("%llu syncs, %llu exchanges of the other port\n", (unsigned long long)syncs, (unsigned long long)exact);
	t_le(100 / t_slower(), exact);
	t_le(1000 / t_slower(), syncs);
	sums("afterwards");
	for (int i = 0; i < SOCKS; i++) {
		close(sock[i]);
		close(peer[i]);
	}
	port_sync(&p);
	port_sync(&p);
	sums("afterwards, sockets closed");
	t_le(1, port_stats(&p).counters.bad_pointers);
	t_le(1, port_stats(&p).counters.bad_owner + port_stats(&p).counters.bad_index);
	port_close(&p);
	port_close(&other);
	return t_end();
}
