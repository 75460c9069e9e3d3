// SPDX-License-Identifier: BSD-2-Clause
/*
 * faultnic: whichever allocation fails of a request that attaches or detaches a NIC, the request says
 * so or does without, leaves nothing behind, and works the next time; so does closing a port with one.
 *
 * [debug checked timeout=240 brief=4]
 *
 * fault.h tells how; chosen queues have faultqueue.c.  With an argument only the requests whose names begin so.
 */
#include "fault.h"

static int run_attach(void)
{
	return as_errno(paste_attach_region(p.fd, "stack:eth0", p.reg.nr_mem_id));
}

static int run_detach(void)
{
	return as_errno(paste_detach(p.fd, "stack:eth0"));
}

static void finish_attach(bool done)
{
	if (done)
		t_must(!run_detach());
}

/* A port of its own, in memory of ours. */
static void prepare_attach_extmem(void)
{
	prepare_fd();
	t_must(!run_extmem());
}

static int run_attach_extmem(void)
{
	return as_errno(paste_attach(fd, "stack:eth0"));
}

static void prepare_detach(void)
{
	t_must(!run_attach());
}

static void finish_detach(bool done)
{
	finish_attach(!done);
}

/* Closing cannot fail: all of a port goes with its last descriptor. */
static void prepare_close(void)
{
	prepare_fd();
	t_must(!run_register());
	tcp_pair(&sock[0], &peer[0]);
	t_must(!port_ioctl(fd, NETMAP_REQ_PST_FD_REG, "", &(struct nmreq_pst_fd_reg) { .fd = (uint32_t)sock[0] }));
	t_must(!as_errno(paste_attach(fd, "stack:eth0")));
	t_must(write(peer[0], "early", 5) == 5);
}

static int run_close(void)
{
	return close(fd);
}

static void finish_close(bool done)
{
	t_true(done);
	close(sock[0]);
	close(peer[0]);
}

static bool loads_program(const struct request *r)
{
	return r->run == run_attach || r->run == run_attach_extmem;
}

static const struct request requests[] = {
	{ "DETACH", prepare_detach, run_detach, finish_detach },
	{ "ATTACH", NULL, run_attach, finish_attach },
	{ "ATTACH of a port in memory of the application", prepare_attach_extmem, run_attach_extmem,
	  close_fd },
	{ "close", prepare_close, run_close, finish_close },
};

int main(int argc, char **argv)
{
	announce_vmalloc();
	supply_memory();
	fault_begin();
	fault_all(requests, sizeof(requests) / sizeof(*requests), argc, argv);
	port_close(&p);
	return t_end();
}
