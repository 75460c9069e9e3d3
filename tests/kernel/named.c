// SPDX-License-Identifier: BSD-2-Clause
/*
 * named: a port that a name opens in a file or on a device, "named 'stack:0@extmem:file=PATH' PATH": what comes over a
 * connection is there in the file, what is written there leaves. tests/net/memory.py runs it.  [not a test]
 */
#include <libnetmap.h>
#include "port.h"

#define BYTES	3000

static struct nmport_d *d;
static struct port p;		/* for the functions of port.h: the same port */

static char content(size_t i) { return (char)(i * 7 + i / 251); }

static void open_port(const char *name)
{
	struct nmreq_pools_info *info;

	d = nmport_open(name);
	if (!d)
		t_note("%s", name);
	t_must(d);
	snprintf(p.name, sizeof(p.name), "%s", d->hdr.nr_name);
	p.fd = d->fd;
	p.nifp = d->nifp;
	p.rx = NETMAP_RXRING(d->nifp, d->first_rx_ring);
	p.tx = NETMAP_TXRING(d->nifp, d->first_tx_ring);
	info = nmport_extmem_getinfo(d);
	t_must(info);
	t_eq(info->nr_buf_pool_objsize, 4096);
	t_true(info->nr_buf_pool_objtotal > 1000);
	t_eq(info->nr_memsize, d->mem->size);
	t_true(d->mem->is_extmem);
}

/* Another mapping of the same file or device. */
static char *look_into(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *file;

	t_must(fd >= 0);
	file = mmap(NULL, d->mem->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	t_must(file != MAP_FAILED);
	close(fd);
	return file;
}

/* Where in the file an address of the port's memory is. */
static char *in(char *file, const void *at)
{
	return file + ((const char *)at - (const char *)d->mem->mem);
}

int main(int argc, char **argv)
{
	char data[BYTES], back[BYTES];
	int server, peer;
	size_t got = 0, room;
	char *file, *to;

	if (argc != 3)
		return 2;
	open_port(argv[1]);
	file = look_into(argv[2]);
	for (size_t i = 0; i < BYTES; i++)
		data[i] = content(i);
	port_pair(&p, &server, &peer);
	t_eq(write(peer, data, BYTES), BYTES);
	while (got < BYTES) {
		struct netmap_slot *s = port_next(&p, 5000);

		t_must(s && !(s->flags & NS_PST_EVENT) && got + slot_len(s) <= BYTES);
		t_true(!memcmp(in(file, slot_data(p.rx, s)), data + got, slot_len(s)));
		got += slot_len(s);
		paste_rx_release(p.rx);
	}
	to = paste_tx_room(p.tx, &room);
	t_must(to && room >= BYTES);
	for (size_t i = 0; i < BYTES; i++)	/* through the file */
		in(file, to)[i] = content(BYTES - i);
	paste_tx_commit(p.tx, server, BYTES);
	port_sync(&p);
	t_eq(read_n(peer, back, BYTES, 5000), BYTES);
	for (size_t i = 0; i < BYTES; i++)
		t_must(back[i] == content(BYTES - i));
	nmport_close(d);
	return t_end();
}
