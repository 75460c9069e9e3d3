// SPDX-License-Identifier: BSD-2-Clause
/*
 * reopened: memory that outlives its port, while a peer has not taken yet what was sent from it: the next
 * port in it hands out those buffers when they have been taken, and not before.
 *
 * [pmem=512M]
 */
#include "supply.h"

#define SIZE	(16UL << 20)
#define DEVICE	"/dev/dax0.0"
#define SLOTS	256
#define EXTRA	2500	/* nearly all there are */

static struct nmreq_opt_extmem ext;

static int try_open(struct port *p, char *mem, uint64_t size, uint32_t extra)
{
	struct nmreq_register want = {
		.nr_tx_slots = SLOTS, .nr_rx_slots = SLOTS, .nr_extra_bufs = extra,
	};

	ext = (struct nmreq_opt_extmem) {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		.nro_usrptr = (uintptr_t)mem,
		.nro_info.nr_memsize = size,
	};
	return port_open_with(p, "stack:0", &want, &ext);
}

/* As much as TCP takes for a peer that does not read. */
static void send_all(struct port *p, int sock)
{
	static char old[4000];
	struct netmap_slot *s = NULL;

	memset(old, 'o', sizeof(old));
	for (int i = 0; i < 1000 && !s; i++) {
		port_put(p, sock, old, sizeof(old));
		port_sync(p);
		s = port_next(p, 0);
	}
	t_true(s && s->err == EAGAIN);
}

/* Everything the application may write to. */
static void write_all(struct port *p)
{
	for (uint32_t i = 0; i < p->tx->num_slots; i++)
		memset(NETMAP_BUF(p->tx, p->tx->slot[i].buf_idx), 'n', 4096);
	for (uint32_t i = p->nifp->ni_bufs_head; i;) {
		char *buf = NETMAP_BUF(p->rx, i);

		i = *(uint32_t *)buf;
		memset(buf, 'n', 4096);
	}
	p->nifp->ni_bufs_head = 0;
}

/* What is left to read of the former port's stream; how much of that is not its own. */
static long read_all(int peer, long *total)
{
	static char data[1 << 16];
	long wrong = 0;
	ssize_t n;

	for (*total = 0; !silent(peer, 3000) && (n = read(peer, data, sizeof(data))) > 0; *total += n)
		for (ssize_t i = 0; i < n; i++)
			wrong += data[i] != 'o';
	return wrong;
}

/* Rings are not written where there were buffers that TCP still has. */
static void elsewhere(char *mem)
{
	struct port p;
	int i;

	for (i = 1; i < 200 && !try_open(&p, mem + i * 4096, SIZE - i * 4096, 0); i++)
		port_close(&p);
	t_eq(errno, EBUSY);
	t_le(i, 199);
}

static void reopen(const char *kind)
{
	char *mem = supply(kind, SIZE);
	struct nmreq_pst_stats st;
	int sock, peer, small = 65536;
	uint64_t end;
	struct port p;
	long total;

	t_note("%s", kind);
	t_must(!try_open(&p, mem, SIZE, 0));
	tcp_pair(&sock, &peer);
	t_ok(setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	t_must(!port_register(&p, sock));
	send_all(&p, sock);
	port_close(&p);
	close(sock);		/* TCP goes on without it */

	if (!strcmp(kind, "memfd"))	/* of a device's or huge pages it is not known */
		elsewhere(mem);
	t_must(!try_open(&p, mem, SIZE, EXTRA));
	st = port_stats(&p);
	t_le(20, st.port.buf_sent);
	t_eq(st.port.buf_low, (st.port.buf_total - 2 * SLOTS - EXTRA) / 16);	/* they come back */
	write_all(&p);
	t_eq(read_all(peer, &total), 0);
	t_le(100000, total);
	close(peer);
	/* New pages are not idle before the kernel has them on its lists. */
	t_must(!system("echo 1 > /proc/sys/vm/drop_caches"));
	end = now_ms() + 5000 * t_slower();
	do {	/* without a sync */
		usleep(10000);
		st = port_stats(&p);
	} while (st.port.buf_sent && now_ms() < end);
	t_eq(st.port.buf_sent, 0);
	port_close(&p);
	memset(mem, 0, SIZE);	/* the device is as new for other tests */
	munmap(mem, SIZE);
}

int main(void)
{
	if (access("/dev/netmap", F_OK))
		t_skip("no /dev/netmap: the module is not loaded");
	t_must(!system("modprobe -a libnvdimm nfit nd_pmem device_dax dax_pmem; "
		       "ndctl destroy-namespace -f all > /dev/null 2>&1; "
		       "ndctl create-namespace -m devdax -a 4k > /dev/null"));
	reopen("memfd");
	reopen("hugetlb");
	reopen(DEVICE);
	t_ok(system("echo 0 > /proc/sys/vm/nr_hugepages"));
	return t_end();
}
