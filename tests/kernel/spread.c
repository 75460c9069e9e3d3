// SPDX-License-Identifier: BSD-2-Clause
/*
 * spread: an echo server with several rings in one thread, for tests of which ring a
 * connection gets and which queue serves which ring.  [not a test]
 *
 *	spread PORT RINGS 4|6 TCP-PORT FLAGS IF [FIRST COUNT]
 *
 * It opens stack port PORT with RINGS rings, attaches IF (queues FIRST to FIRST + COUNT - 1,
 * or all), and registers a listener over IPv4 or IPv6 with FLAGS (PST_FD_*).  Then each line on stdin is
 * answered by one: counters by ring, and of each open connection its ring and the NAPI id
 * that its packets come through.
 */
#include "port.h"

#define FDS_MAX	1024

static int ring_of[FDS_MAX];	/* by descriptor: its ring, -1: none */

static void print_state(const struct port *p, uint32_t rings)
{
	struct nmreq_pst_stats st;
	unsigned int napi;
	socklen_t len;

	printf("{\"rings\": [");
	for (uint32_t i = 0; i < rings; i++) {
		t_must(!paste_stats(p->fd, p->name, i, &st));
		printf("%s{\"frames\": %llu, \"cross\": %llu, \"in_place\": %llu, \"copied\": %llu, \"accepted\": %llu}",
		       i ? ", " : "", (unsigned long long)st.counters.nic_frames,
		       (unsigned long long)st.counters.rx_cross,
		       (unsigned long long)st.counters.rx_in_place,
		       (unsigned long long)st.counters.rx_copied,
		       (unsigned long long)st.counters.accepted);
	}
	printf("], \"conns\": [");
	for (int fd = 0, n = 0; fd < FDS_MAX; fd++) {
		if (ring_of[fd] < 0)
			continue;
		len = sizeof(napi);
		t_must(!getsockopt(fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &napi, &len));
		printf("%s[%d, %u]", n++ ? ", " : "", ring_of[fd], napi);
	}
	printf("]}\n");
	fflush(stdout);
}

/* Sends what came back by the ring it came by; leaves slots while TX slots are short. */
static void echo(const struct port *p, uint32_t i)
{
	struct netmap_ring *rx = port_rx(p, i), *tx = port_tx(p, i);
	struct netmap_slot *in;

	while ((in = paste_rx_first(rx)) && !nm_ring_empty(tx)) {
		uint32_t buf = in->buf_idx;

		if (paste_rx_accepted(rx, in)) {
			t_must(in->fd < FDS_MAX);
			ring_of[in->fd] = (int)i;
		} else if (!paste_rx_is_event(in)) {
			paste_tx_swap(tx, in->fd, &buf, in->offset, (uint16_t)(in->len - in->offset));
			paste_rx_keep(in, buf);
		} else if (in->err != EAGAIN) {
			ring_of[in->fd] = -1;
			paste_tx_close(tx, in->fd);
		}
		paste_rx_release(rx);
	}
}

static int listen_on(bool ipv6, uint16_t tcp_port)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons(tcp_port) };
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(tcp_port) };
	int one = 1, s = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	t_must(s >= 0);
	t_ok(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	t_ok(bind(s, ipv6 ? (void *)&any6 : (void *)&any, ipv6 ? sizeof(any6) : sizeof(any)));
	t_ok(listen(s, 128));
	return s;
}

int main(int argc, char **argv)
{
	struct nmreq_register want = { .nr_tx_slots = 256, .nr_rx_slots = 256 };
	struct nmreq_pst_fd_reg reg = { 0 };
	struct pollfd pfd[2] = { { .events = POLLIN | POLLOUT }, { .fd = 0, .events = POLLIN } };
	uint32_t rings;
	char line[80];
	struct port p;
	int err;

	t_must(argc == 7 || argc == 9);
	rings = (uint32_t)atoi(argv[2]);
	want.nr_tx_rings = want.nr_rx_rings = (uint16_t)rings;
	memset(ring_of, -1, sizeof(ring_of));
	t_must(!port_open(&p, argv[1], &want));
	if (argc == 7)
		err = paste_attach(p.fd, argv[6]);
	else
		err = paste_attach_queues(p.fd, argv[6], (uint16_t)atoi(argv[7]), (uint16_t)atoi(argv[8]));
	reg.fd = (uint32_t)listen_on(atoi(argv[3]) == 6, (uint16_t)atoi(argv[4]));
	reg.flags = (uint32_t)atoi(argv[5]);
	if (!err && port_ioctl(p.fd, NETMAP_REQ_PST_FD_REG, p.name, &reg))
		err = -errno;
	printf("{\"err\": \"%s\"}\n", err ? strerrorname_np(-err) : "");
	fflush(stdout);
	pfd[0].fd = p.fd;
	while (!err && poll(pfd, 2, -1) > 0) {
		if (pfd[1].revents && read(0, line, sizeof(line)) <= 0)
			break;
		else if (pfd[1].revents)
			print_state(&p, rings);
		pfd[0].events = POLLIN;
		for (uint32_t i = 0; i < rings; i++) {
			echo(&p, i);
			if (!nm_ring_empty(port_rx(&p, i)))
				pfd[0].events = POLLIN | POLLOUT;
		}
	}
	return err ? 1 : 0;
}
