// SPDX-License-Identifier: BSD-2-Clause
/*
 * udpecho: answers each datagram with itself, through sockets or through a stack port.
 *
 * Read serve_epoll() for what a server with sockets does, then serve_paste() for the same with slots: there a
 * datagram is answered from the buffer the NIC put it into, with the address that lies before it.
 */
#define _GNU_SOURCE	/* recvmmsg(), sendmmsg() */
#include <err.h>
#include <getopt.h>
#include <libnetmap.h>
#include <netinet/in.h>
#include <paste.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#define BATCH	64	/* messages per system call */
static const char usage[] =
	"usage: udpecho --backend epoll|paste [--interface IFNAME] [--port N] [--busy-poll]\n"
	"Answers each UDP datagram with itself, until SIGINT or SIGTERM.\n"
	"  --backend    epoll: recvmmsg() and sendmmsg(); paste: slots of a stack port\n"
	"  --interface  with paste: this one delivers into the port's buffers (CAP_NET_ADMIN)\n"
	"  --port       UDP port (5300), IPv4 and IPv6\n"
	"  --busy-poll  do not sleep while nothing comes\n";
static const char *backend = "";
static char interface[64];
static uint16_t udp_port = 5300;
static int timeout = -1;	/* of a wait */
static unsigned long long answered, errors;

/* Bound when we are ready. What does not fit its receive queue is dropped; root may have a longer one. */
static int make_socket(void)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(udp_port) };
	int size = 4 << 20, s = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s >= 0 && setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (s < 0 || bind(s, (struct sockaddr *)&any, sizeof(any)))
		err(1, "UDP port %u", udp_port);
	printf("udpecho: %s, listening on port %u\n", backend, udp_port);
	fflush(stdout);
	return s;
}

static struct mmsghdr message[BATCH];
static struct sockaddr_in6 peer[BATCH];
static struct iovec part[BATCH];
static char data[BATCH][65535];

/* What cannot be sent is left out; a full send buffer is waited for, and requests queue meanwhile. */
static void send_messages(int sock, int n)
{
	for (int i = 0, sent; i < n; i += sent > 0 ? sent : 1) {
		sent = sendmmsg(sock, message + i, (unsigned)(n - i), 0);
		answered += sent > 0 ? (unsigned)sent : 0;
		errors += sent <= 0;
	}
}

static void echo_messages(int sock)
{
	int n;

	do {
		for (int i = 0; i < BATCH; i++) {
			part[i] = (struct iovec){ data[i], sizeof(data[i]) };
			message[i].msg_hdr = (struct msghdr){ .msg_name = &peer[i], .msg_namelen = sizeof(peer[i]),
							      .msg_iov = &part[i], .msg_iovlen = 1 };
		}
		n = recvmmsg(sock, message, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++)
			part[i].iov_len = message[i].msg_len;
		send_messages(sock, n);
	} while (n == BATCH);
}

static void serve_epoll(int stop)
{
	int sock = make_socket(), ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { EPOLLIN, { .fd = sock } }, end = { EPOLLIN, { .fd = stop } };

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, sock, &event) || epoll_ctl(ep, EPOLL_CTL_ADD, stop, &end))
		err(1, "epoll");
	for (;;) {
		if (epoll_wait(ep, &event, 1, timeout) <= 0)
			continue;
		if (event.data.fd == stop)
			return;
		echo_messages(sock);
	}
}

/* Slots of the datagram at the head, up to its last part; 0: that is still to come. */
static uint32_t slots_of_datagram(const struct netmap_ring *rx)
{
	uint32_t i = rx->head, n = 1;

	while (rx->slot[i].flags & NS_PST_MORE || (n > 1 && paste_rx_is_event(&rx->slot[i]))) {
		i = nm_ring_next(rx, i);
		if (i == rx->tail)
			return 0;
		n++;
	}
	return n;
}

/*
 * The two slots trade their buffers. What was received is where it is to be sent from, and the address before it, the
 * sender's (NS_PST_FROM), is now the receiver's (NS_PST_TO).
 */
static void answer(struct netmap_ring *rx, struct netmap_ring *tx)
{
	struct netmap_slot *in = paste_rx_first(rx);
	uint16_t to = in->flags & NS_PST_FROM ? NS_PST_TO : 0, cont = in->flags & NS_PST_MORE ? NS_PST_CONT : 0;

	errors += paste_tx_refusal(tx) != 0;	/* of what was in this slot before */
	answered += !cont;
	paste_tx_push(tx, in->fd, paste_rx_keep(in, tx->slot[tx->head].buf_idx), in->offset, in->len,
		      NS_BUF_CHANGED | to | cont);
}

/* Returns what to wait for. The parts of a datagram have to be handed over by one sync, so they need room together. */
static short echo_slots(struct netmap_ring *rx, struct netmap_ring *tx)
{
	uint32_t n = 0;

	while (!nm_ring_empty(rx) && (n = slots_of_datagram(rx)) && n <= nm_ring_space(tx))
		for (; n; n--, paste_rx_release(rx))
			if (paste_rx_is_event(paste_rx_first(rx)))
				errors++;	/* of a datagram sent before */
			else
				answer(rx, tx);
	rx->cur = rx->tail;	/* what is left is known: wake us for more */
	return nm_ring_empty(rx) || !n ? POLLIN : POLLIN | POLLOUT;	/* or for room */
}

static void serve_paste(int stop)
{
	struct pollfd p[] = { { .events = POLLIN }, { .fd = stop, .events = POLLIN } };
	struct nmport_d *port = nmport_open("stack:0");
	struct netmap_ring *rx, *tx;
	int e;

	if (!port)
		exit(1);	/* it has said why */
	rx = NETMAP_RXRING(port->nifp, 0);
	tx = NETMAP_TXRING(port->nifp, 0);
	e = *interface ? paste_attach(port->fd, interface) : 0;
	if (e)
		errx(1, "%s: %s", interface, paste_strerror(NETMAP_REQ_PST_ATTACH, e));
	e = paste_register(port->fd, make_socket());
	if (e)
		errx(1, "socket: %s", paste_strerror(NETMAP_REQ_PST_FD_REG, e));
	p[0].fd = port->fd;
	/* One poll() sends the answers, runs the NIC and UDP, and publishes what has come. */
	while (!(p[1].revents & POLLIN) && (poll(p, 2, timeout) >= 0 || errno == EINTR))
		p[0].events = echo_slots(rx, tx);
	ioctl(port->fd, NIOCTXSYNC);
	nmport_close(port);
}

static uint16_t port_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || !n || n > UINT16_MAX)
		errx(2, "%s is not a port", text);
	return (uint16_t)n;
}

int main(int argc, char **argv)
{
	static const struct option known[] = { { "backend", 1, NULL, 'b' }, { "interface", 1, NULL, 'i' },
		{ "port", 1, NULL, 'p' }, { "busy-poll", 0, NULL, 'B' }, { "help", 0, NULL, 'h' }, { 0 } };
	int c, paste, stop;
	sigset_t ends;	/* signals, as a descriptor to wait for */

	while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0)
		switch (c) {
		case 'b': backend = optarg; break;
		case 'i': snprintf(interface, sizeof(interface), "stack:%s", optarg); break;
		case 'p': udp_port = port_number(optarg); break;
		case 'B': timeout = 0; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	paste = !strcmp(backend, "paste");
	if (optind != argc || (!paste && (*interface || strcmp(backend, "epoll")))) {
		fputs(usage, stderr);
		return 2;
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	stop = signalfd(-1, &ends, SFD_CLOEXEC);
	(paste ? serve_paste : serve_epoll)(stop);
	printf("udpecho: datagrams %llu errors %llu\n", answered, errors);
	return 0;
}
