// SPDX-License-Identifier: BSD-2-Clause
/*
 * echo: the shortest server on a stack port, to be read from top to bottom.
 *
 *	echo [stack:eth0]
 *
 * It returns what TCP clients send to port 7.  Connections are made with the
 * socket calls everybody knows; their bytes, however, are never copied: the
 * kernel puts them into buffers that we have mapped, and we send the very same
 * buffers back.  Without an argument no interface is attached and the kernel
 * copies into the buffers, which works with any device, loopback included.
 */
#define NETMAP_WITH_LIBS
#include <err.h>
#include <net/netmap_user.h>
#include <net/netmap_paste.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

/* Requests to the module: a header that names a port, and a body. */
static int request(int fd, uint16_t type, const char *name, void *body)
{
	struct nmreq_header hdr = {
		.nr_version = NETMAP_API,
		.nr_reqtype = type,
		.nr_body = (uintptr_t)body,
	};

	snprintf(hdr.nr_name, sizeof(hdr.nr_name), "%s", name);
	return ioctl(fd, NIOCCTRL, &hdr);
}

/* An ordinary listening socket, not blocking since we sleep in poll() alone. */
static int listen_on(uint16_t tcp_port)
{
	struct sockaddr_in any = {
		.sin_family = AF_INET,
		.sin_port = htons(tcp_port),
	};
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (s < 0 ||
	    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(s, (struct sockaddr *)&any, sizeof(any)) || listen(s, 128))
		err(1, "TCP port %u", tcp_port);
	return s;
}

/*
 * Register each new connection: from then on its bytes come as slots, and so
 * does what arrived before we got here.  Returns 0 when we are out of
 * descriptors: the next client has to wait.  (A listening socket can be registered
 * itself; then there is nothing to accept, see NS_PST_ACCEPT.)
 */
static int accept_all(int listener, int port)
{
	struct nmreq_pst_fd_reg reg = { 0 };
	int s;

	while ((s = accept(listener, NULL, NULL)) >= 0) {
		reg.fd = (uint32_t)s;
		if (request(port, NETMAP_REQ_PST_FD_REG, "stack:0", &reg)) {
			warn("cannot register a connection");
			close(s);
		}
	}
	return errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM;
}

/*
 * Walk over the received slots.  Each has the socket in slot->fd and, in its
 * buffer, payload from slot->offset up to slot->len.  What has been received has
 * been acknowledged, so a slot stays ours until its echo has room in the TX
 * ring: if we stop releasing, the RX ring fills, TCP's window closes, and the
 * client waits.  That is all the flow control there is to write.
 * Returns 1 when it had to stop early.
 */
static int echo_slots(struct netmap_ring *rx, struct netmap_ring *tx)
{
	uint32_t i;

	for (i = rx->head; i != rx->tail; i = nm_ring_next(rx, i)) {
		struct netmap_slot *in = &rx->slot[i], *out = &tx->slot[tx->head];
		int event = in->flags & NS_PST_EVENT;
		uint32_t buf = in->buf_idx;

		/*
		 * EAGAIN: that client reads slowly.  The ring holds our replies to
		 * it back, we need not do anything.
		 */
		if (event && in->err == EAGAIN)
			continue;
		/*
		 * Another errno: the connection is over, in order (ENOTCONN) or
		 * not.  The port forgets the socket when we close it.
		 */
		if (event && in->err) {
			close(in->fd);
			continue;
		}
		if (nm_ring_empty(tx))
			break;
		out->fd = in->fd;
		out->offset = in->offset;
		out->len = in->len;
		if (event) {
			/* End of stream: ours ends behind what we still send. */
			out->flags = NS_PST_SHUT;
		} else {
			/*
			 * The payload is at NETMAP_BUF(rx, buf) + in->offset, and
			 * here a real server would look at it.  We send it from
			 * where it is: the two slots trade their buffers.
			 */
			in->buf_idx = out->buf_idx;
			out->buf_idx = buf;
			in->flags = NS_BUF_CHANGED;
			out->flags = NS_BUF_CHANGED;
		}
		tx->head = tx->cur = nm_ring_next(tx, tx->head);
	}
	/*
	 * Slots before head go back to the kernel.  cur is where we want to be
	 * woken: at the next slot, or, when we wait for room in the TX ring, only
	 * by slots that we have not seen yet.
	 */
	rx->head = i;
	rx->cur = rx->tail;
	return i != rx->tail;
}

int main(int argc, char **argv)
{
	struct nmreq_vale_attach attach = { .reg.nr_mode = NR_REG_NIC_SW };
	struct netmap_ring *rx, *tx;
	struct pollfd p[2];
	struct nm_desc *d;

	if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
		errx(2, "usage: echo [stack:IFNAME]");

	/* The port: rings and buffers, mapped into this process. */
	d = nm_open("stack:0", NULL, 0, NULL);
	if (!d)
		err(1, "stack:0");
	rx = NETMAP_RXRING(d->nifp, d->first_rx_ring);
	tx = NETMAP_TXRING(d->nifp, d->first_tx_ring);

	/* The interface that delivers into these buffers. */
	if (argc > 1 && request(d->fd, NETMAP_REQ_PST_ATTACH, argv[1], &attach))
		err(1, "cannot attach %s", argv[1]);

	p[0] = (struct pollfd){ .fd = d->fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = listen_on(7), .events = POLLIN };

	/*
	 * One poll() for everything: it sends the slots we have filled, runs the
	 * interface and the protocols, and publishes what has arrived.  While we are
	 * out of descriptors it must not return for clients who wait: we look again
	 * after a tenth of a second.
	 */
	while (poll(p, 2, p[1].events ? -1 : 100) >= 0 || errno == EINTR) {
		p[1].events = POLLIN;
		if (p[1].revents && !accept_all(p[1].fd, d->fd))
			p[1].events = 0;
		p[0].events = echo_slots(rx, tx) ? POLLIN | POLLOUT : POLLIN;
	}
	err(1, "poll");
}
