// SPDX-License-Identifier: BSD-2-Clause
/*
 * plog: logs what TCP clients send to port 7, durably, in the buffers it arrived in.
 *
 *	plog REGION [stack:eth0]	serve; a line "BYTES\n" tells a client how many of
 *					its bytes are durable
 *	plog --dump REGION		write the log to stdout
 *
 * "pastectl region create" makes a file or a device-DAX device a region.
 *
 * Each received slot becomes a record of the log that names buffer, offset and length;
 * the payload is flushed where it lies, never copied.  One fence per poll() makes all of
 * them durable, and only then the replies leave, with the next poll().  A buffer that is
 * in the log is ours: a spare one takes its place in the ring.  When records or spare
 * buffers run out the older half of the log is given up.
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
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS	4096

static struct paste_region *region;
static struct paste_wal *wal;
static struct nmport_d *port;
static struct netmap_ring *rx, *tx;
static uint64_t durable[FDS];	/* bytes of each connection */
static int answer[FDS], nanswer; /* connections to be answered after the commit */

static void buf_freed(uint32_t buf, void *ctx)
{
	(void)ctx;
	paste_region_release(region, buf);
	if (port)
		paste_buf_push(port->nifp, rx, buf);
}

static int replay(const struct paste_wal_message *m, void *ctx)
{
	for (uint32_t i = 0; i < m->n; i++) {
		const struct paste_wal_piece *p = &m->pieces[i];
		char *data = paste_region_buf(region, p->buf);

		paste_region_keep(region, p->buf);	/* another message may have it too */
		if (ctx && fwrite(data + p->offset, 1, p->len, ctx) != p->len)
			return -EIO;
	}
	return 0;
}

/* The region and its log; what the log names is kept.  @out: where to write it, or NULL. */
static void recover(const char *path, FILE *out)
{
	const struct paste_region_info *info;
	struct paste_wal_bufs bufs;
	size_t len;
	void *log;
	int e = paste_region_open(path, 0, &region);

	if (e)
		errx(1, "%s: %s", path, paste_region_strerror(e));
	info = paste_region_info(region);
	bufs.base = (char *)paste_region_packet(region, &len) + info->buf_ofs;
	bufs.stride = info->buf_size;
	bufs.num = info->buf_num;
	log = paste_region_log(region, &len);
	e = paste_wal_open(log, len, &bufs, PASTE_WAL_CRC, replay, out, &wal);
	if (e == -EMEDIUMTYPE && !out) {	/* a new region */
		e = paste_wal_format(log, len);
		if (!e)
			e = paste_wal_open(log, len, &bufs, PASTE_WAL_CRC, replay, out, &wal);
	}
	if (e)
		errx(1, "%s: log: %s", path, strerror(-e));
}

/* A port in the region's packet memory, whose kept buffers stay ours. */
static void open_port(const char *interface)
{
	const struct paste_region_info *info = paste_region_info(region);
	uint32_t kept = paste_region_keep_list(region, NULL, 0), *list = calloc(kept + 1, 4);
	struct nmreq_opt_pst_keep keep = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_PST_KEEP,
		.nro_indexes = (uintptr_t)list, .nro_count = kept,
	};
	struct nmreq_pools_info *pools;
	size_t len;
	void *packet = paste_region_packet(region, &len);
	int e;

	port = nmport_prepare("stack:plog@conf:slots=512");
	if (!list || !port || nmport_extmem(port, packet, len))
		err(1, "stack:plog");
	paste_region_keep_list(region, list, kept);
	pools = nmport_extmem_getinfo(port);
	pools->nr_if_pool_objtotal = info->if_num;
	pools->nr_if_pool_objsize = info->if_size;
	pools->nr_ring_pool_objtotal = info->ring_num;
	pools->nr_ring_pool_objsize = info->ring_size;
	nmreq_push_option(&port->hdr, &keep.nro_opt);
	port->reg.nr_extra_bufs = (info->buf_num - kept) / 2;
	if (nmport_open_desc(port))
		err(1, "stack:plog");
	nmreq_remove_option(&port->hdr, &keep.nro_opt);
	free(list);
	if (pools->nr_buf_pool_offset != info->buf_ofs)
		errx(1, "the port has its buffers elsewhere than the region");
	rx = NETMAP_RXRING(port->nifp, port->first_rx_ring);
	tx = NETMAP_TXRING(port->nifp, port->first_tx_ring);
	e = interface ? paste_attach(port->fd, interface) : 0;
	if (e)
		errx(1, "%s: %s", interface, paste_strerror(NETMAP_REQ_PST_ATTACH, e));
}

static void give_up_older_half(void)
{
	struct paste_wal_stats s;

	paste_wal_commit(wal);
	paste_wal_stats(wal, &s);
	paste_wal_truncate(wal, s.head + (s.tail - s.head) / 2, buf_freed, NULL);
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
	paste_region_keep(region, s->buf_idx);
	paste_rx_keep(s, paste_buf_pop(port->nifp, rx));
	if (!nanswer || answer[nanswer - 1] != s->fd)
		answer[nanswer++] = s->fd;
	durable[s->fd] += piece.len;
}

/* What was logged becomes durable, and only then are there answers in the ring. */
static void answer_all(void)
{
	paste_wal_commit(wal);
	for (int i = 0; i < nanswer; i++) {
		size_t room = 0;
		char *to = paste_tx_room(tx, &room);

		paste_tx_commit(tx, answer[i], snprintf(to, room, "%llu\n",
				(unsigned long long)durable[answer[i]]));
	}
	nanswer = 0;
}

static void serve_slots(void)
{
	struct netmap_slot *s;

	/* Each slot may want an answer, and there may be an end of stream. */
	while ((s = paste_rx_first(rx)) && nanswer + 1 < (int)nm_ring_space(tx)) {
		if (!paste_rx_is_event(s)) {
			log_slot(s);
		} else if (!s->err) {
			answer_all();
			paste_tx_shut(tx, s->fd);
		} else if (s->err != EAGAIN) {
			close(s->fd);
		}
		paste_rx_release(rx);
	}
	answer_all();
}

static int listen_on(uint16_t tcp_port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(tcp_port) };
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(s, (struct sockaddr *)&any, sizeof(any)) || listen(s, 128))
		err(1, "TCP port %u", tcp_port);
	return s;
}

static void serve(const char *interface)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	int fd;

	open_port(interface);
	p[0].fd = port->fd;
	p[1].fd = listen_on(7);
	puts("plog: serving");
	fflush(stdout);
	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		while (p[1].revents && (fd = accept(p[1].fd, NULL, NULL)) >= 0) {
			if (fd >= FDS || paste_register(port->fd, fd)) {
				close(fd);
				continue;
			}
			durable[fd] = 0;
		}
		serve_slots();
		/* Without room for answers, wait for it and not for what we have seen. */
		p[0].events = nm_ring_empty(rx) ? POLLIN : POLLIN | POLLOUT;
		rx->cur = rx->tail;
	}
	err(1, "poll");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--dump")) {
		recover(argv[2], stdout);
	} else if ((argc == 2 || argc == 3) && argv[1][0] != '-') {
		recover(argv[1], NULL);
		serve(argv[2]);
	} else {
		fputs("usage: plog REGION [stack:IFNAME] | --dump REGION\n", stderr);
		return 2;
	}
	return 0;
}
