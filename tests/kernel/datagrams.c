// SPDX-License-Identifier: BSD-2-Clause
/*
 * datagrams: sends UDP datagrams back from the buffers they arrived in, for tests/net.
 * [not a test]
 *
 *	datagrams INTERFACE PORT [gro]
 *
 * With "gro" the socket has UDP_GRO.  The first line on stdout is {"ready": 1}.  A line on stdin is answered
 * by the port's counters of bytes; end of file ends it.
 */
#include <netinet/udp.h>
#include "port.h"

static struct port p;

/* Received slots become sent ones: same offset and length, address included. */
static void echo(void)
{
	struct netmap_slot *in, *out;

	while ((in = paste_rx_first(p.rx)) && !nm_ring_empty(p.tx)) {
		if (!(in->flags & NS_PST_EVENT)) {
			uint32_t buf = in->buf_idx;

			out = &p.tx->slot[p.tx->head];
			in->buf_idx = out->buf_idx;
			in->flags |= NS_BUF_CHANGED;
			out->buf_idx = buf;
			out->fd = in->fd;
			out->offset = in->offset;
			out->len = in->len;
			out->flags = (uint16_t)(NS_BUF_CHANGED |
						(in->flags & NS_PST_FROM ? NS_PST_TO : 0) |
						(in->flags & NS_PST_MORE ? NS_PST_CONT : 0));
			p.tx->head = p.tx->cur = nm_ring_next(p.tx, p.tx->head);
		}
		paste_rx_release(p.rx);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT };
	int sock = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), big = 1 << 20, one = 1;
	char name[64], line[64];

	t_must(argc >= 3 && sock >= 0);
	any.sin6_port = htons((uint16_t)atoi(argv[2]));
	setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	if (argc > 3)
		t_ok(setsockopt(sock, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)));
	t_must(!bind(sock, (void *)&any, sizeof(any)));
	port_make(&p, "stack:0", 512, 0);
	snprintf(name, sizeof(name), "stack:%s", argv[1]);
	t_must(!paste_attach(p.fd, name));
	t_must(!port_register(&p, sock));
	printf("{\"ready\": 1}\n");
	fflush(stdout);
	for (;;) {
		struct pollfd pfd[] = { { .fd = p.fd, .events = POLLIN }, { .fd = 0, .events = POLLIN } };

		t_ok(poll(pfd, 2, -1));
		if (pfd[1].revents) {
			struct nmreq_pst_stats st = port_stats(&p);

			if (!fgets(line, sizeof(line), stdin))
				break;
			printf("{\"rx_in_place\": %llu, \"rx_copied\": %llu, \"bad\": %llu, \"nics\": %llu, \"nic_zero_copy\": %llu}\n",
			       (unsigned long long)st.counters.rx_in_place,
			       (unsigned long long)st.counters.rx_copied,
			       (unsigned long long)st.counters.bad_flags + st.counters.bad_place +
			       st.counters.bad_owner + st.counters.tx_failed,
			       (unsigned long long)st.port.nics,
			       (unsigned long long)st.port.nic_zero_copy);
			fflush(stdout);
		}
		echo();
	}
	port_close(&p);
	return t_end();
}
