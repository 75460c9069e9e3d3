// SPDX-License-Identifier: BSD-2-Clause
/*
 * faultqueue: whichever allocation fails of a request that attaches one queue of a NIC, the request says
 * so or does without, leaves nothing behind, not to the other queue's port either, and works the next time.
 *
 * [debug checked timeout=240 brief=4]
 *
 * fault.h tells how.  With an argument only the requests whose names begin so.
 */
#include "fault.h"

/* Two queues on either side, for chosen ones; its peer is not used. */
static void prepare_veth(void)
{
	static bool there;

	if (there)
		return;
	there = true;
	shell("q='numrxqueues 2 numtxqueues 2'; ip link add fault0 $q type veth peer name fault1 $q && "
	      "ip link set fault0 up && ip link set fault%d up", 1);
}

static int run_attach_queue(void)
{
	return as_errno(paste_attach_queues(p.fd, "stack:fault0", 1, 1));
}

static void finish_attach_queue(bool done)
{
	if (done)
		t_must(!paste_detach(p.fd, "stack:fault0"));
}

/* The other queue is another port's: the program is there already. */
static void prepare_attach_beside(void)
{
	prepare_veth();
	t_must(!run_attach_queue());
	prepare_fd();
	t_must(!run_register());
}

static int run_attach_beside(void)
{
	return as_errno(paste_attach_queues(fd, "stack:fault0", 0, 1));
}

static void finish_attach_beside(bool done)
{
	close_fd(done);
	finish_attach_queue(true);
}

static void prepare_detach_queue(void)
{
	prepare_veth();
	t_must(!run_attach_queue());
}

static int run_detach(void)
{
	return as_errno(paste_detach(p.fd, "stack:fault0"));
}

/* Refused, it is attached as before. */
static void finish_detach(bool done)
{
	if (!done)
		t_must(!run_detach());
	t_fails(ENXIO, run_detach());
}

static void finish_detach_beside(bool done)
{
	finish_detach(done);
	close_fd(done);
}

static void prepare_detach_beside(void)
{
	prepare_attach_beside();
	t_must(!run_attach_beside());
}

static bool loads_program(const struct request *r)
{
	return r->run == run_attach_queue;
}

static const struct request requests[] = {
	{ "ATTACH of a queue", prepare_veth, run_attach_queue, finish_attach_queue },
	{ "ATTACH of a queue beside another port's", prepare_attach_beside, run_attach_beside,
	  finish_attach_beside },
	{ "DETACH of a queue", prepare_detach_queue, run_detach, finish_detach },
	{ "DETACH of a queue beside another port's", prepare_detach_beside, run_detach, finish_detach_beside },
};

int main(int argc, char **argv)
{
	announce_vmalloc();
	fault_begin();
	fault_all(requests, sizeof(requests) / sizeof(*requests), argc, argv);
	system("ip link del fault0 2> /dev/null");
	port_close(&p);
	return t_end();
}
