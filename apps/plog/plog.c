// SPDX-License-Identifier: BSD-2-Clause
/*
 * plog: logs what TCP clients send to port 7, durably, in the buffers it arrived in.
 *
 *	plog REGION [stack:eth0]	serve; a line "BYTES\n" tells a client how many of
 *					its bytes are durable
 *	plog --dump REGION		write the log to stdout
 *
 * "pastectl region create" makes a file or a device-DAX device a region.  Each received slot
 * becomes a record of the log that names buffer, offset and length; the payload is flushed
 * where it lies, never copied.  One fence per poll() makes all of them durable, and only
 * then the replies leave, with the next poll().  A buffer that is in the log is ours: a spare
 * one takes its place in the ring.  When records or spare buffers run out the older half of
 * the log is given up.
 */
#include <err.h>
#include <errno.h>
#include <libnetmap.h>
#include <netinet/in.h>
#include <paste.h>
#include <paste_region.h>
#include <paste_wal.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS	4096	/* descriptors at most */

static struct paste_region *region;
static struct paste_wal *wal;
static struct nmport_d *port;
static struct netmap_ring *rx, *tx;
static uint64_t durable[FDS];	/* bytes of each connection */
static int answer[FDS], nanswer; /* connections to be answered after the commit */

/* What the log names is kept, and written to @out unless that is NULL. */
static int replay(const struct paste_wal_message *m, void *out)
{
	for (uint32_t i = 0; i < m->n; i++) {
		const struct paste_wal_piece *p = &m->pieces[i];
		const char *at = (char *)paste_region_buf(region, p->buf) + p->offset;

		paste_region_keep(region, p->buf);	/* another message may have it, too */
		if (out && fwrite(at, 1, p->len, out) != p->len)
			return -EIO;
	}
	return 0;
}

static void recover(const char *path, FILE *out)
{
	int e = paste_region_open(path, 0, &region);

	if (e)
		errx(1, "%s: %s", path, paste_region_strerror(e));
	e = paste_region_open_log(region, PASTE_WAL_CRC, replay, out, &wal);
	if (e)
		errx(1, "%s: log: %s", path, strerror(-e));
}

static void freed(uint32_t buf, void *ctx)
{
	(void)ctx;
	paste_buf_push(port->nifp, rx, buf);
}

static void give_up_older_half(void)
{
	struct paste_wal_stats s;

	paste_wal_commit(wal);
	paste_wal_stats(wal, &s);
	paste_wal_truncate(wal, s.head + (s.tail - s.head) / 2, freed, NULL);
}

/* The payload of a slot goes into the log, its buffer into our keeping. */
static void log_slot(struct netmap_slot *s)
{
	struct paste_wal_piece piece = { s->buf_idx, s->offset, s->len - s->offset };

	if (!port->nifp->ni_bufs_head || paste_wal_append(wal, &piece, 1, s->fd) == -ENOSPC) {
		give_up_older_half();
		if (!port->nifp->ni_bufs_head || paste_wal_append(wal, &piece, 1, s->fd) < 0)
			errx(1, "the region is too small for one round");
	}
	paste_rx_keep(s, paste_buf_pop(port->nifp, rx));
	if (!nanswer || answer[nanswer - 1] != s->fd)
		answer[nanswer++] = s->fd;
	durable[s->fd] += piece.len;
}

/* What was logged becomes durable, and only then are there answers in the ring. */
static void answer_all(void)
{
	size_t room;

	paste_wal_commit(wal);
	for (int i = 0; i < nanswer; i++)
		paste_tx_commit(tx, answer[i], sprintf(paste_tx_room(tx, &room), "%llu\n",
				(unsigned long long)durable[answer[i]]));
	nanswer = 0;
}

static void on_event(const struct netmap_slot *s)
{
	if (paste_rx_accepted(rx, s)) {
		durable[s->fd] = 0;
	} else if (!s->err) {	/* the client will send no more */
		answer_all();
		paste_tx_close(tx, s->fd);
	} else if (s->err != EAGAIN) {
		close(s->fd);
	}
}

static void serve_slots(void)
{
	struct netmap_slot *s;

	/* Each slot may want an answer, and there may be an end of stream. */
	while ((s = paste_rx_first(rx)) && nanswer + 1 < (int)nm_ring_space(tx)) {
		if (paste_rx_is_event(s))
			on_event(s);
		else
			log_slot(s);
		paste_rx_release(rx);
	}
	answer_all();
}

static void open_port(const char *interface)
{
	int e;

	port = nmport_prepare("stack:plog@conf:slots=512");
	if (!port)
		err(1, "stack:plog");
	port->reg.nr_extra_bufs = (paste_region_info(region)->buf_num -
				   paste_region_keep_list(region, NULL, 0)) / 2;
	e = paste_region_open_port(region, port);
	if (e)
		errx(1, "stack:plog: %s", strerror(-e));
	rx = NETMAP_RXRING(port->nifp, port->first_rx_ring);
	tx = NETMAP_TXRING(port->nifp, port->first_tx_ring);
	e = interface ? paste_attach(port->fd, interface) : 0;
	if (e)
		errx(1, "%s: %s", interface, paste_strerror(NETMAP_REQ_PST_ATTACH, e));
}

/* A registered listener: its connections come as slots, registered. */
static void listen_on(uint16_t tcp_port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(tcp_port) };
	struct rlimit files = { FDS, FDS };
	int e, one = 1, s = socket(AF_INET, SOCK_STREAM, 0);

	setrlimit(RLIMIT_NOFILE, &files);	/* as many as may be; what is more waits */
	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(s, (struct sockaddr *)&any, sizeof(any)) || listen(s, 128))
		err(1, "TCP port %u", tcp_port);
	e = paste_register(port->fd, s);
	if (e)
		errx(1, "TCP port %u: %s", tcp_port, paste_strerror(NETMAP_REQ_PST_FD_REG, e));
}

static void serve(void)
{
	struct pollfd p = { .fd = port->fd };

	puts("plog: serving");
	fflush(stdout);
	do {
		serve_slots();
		/* Without room for answers, wait for it and not for what we have seen. */
		p.events = nm_ring_empty(rx) ? POLLIN : POLLIN | POLLOUT;
		rx->cur = rx->tail;
	} while (poll(&p, 1, -1) >= 0 || errno == EINTR);
	err(1, "poll");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--dump")) {
		recover(argv[2], stdout);
	} else if ((argc == 2 || argc == 3) && argv[1][0] != '-') {
		recover(argv[1], NULL);
		open_port(argv[2]);
		listen_on(7);
		serve();
	} else {
		bool help = argc == 2 && !strcmp(argv[1], "--help");

		fputs("usage: plog REGION [stack:IFNAME] | --dump REGION\n", help ? stdout : stderr);
		return help ? 0 : 2;
	}
	return 0;
}
