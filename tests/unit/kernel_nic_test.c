// SPDX-License-Identifier: BSD-2-Clause
/*
 * kernel/nic.c: attaching and what is undone when it fails; detaching, which gives buffers
 * back no earlier than AF_XDP has let go of them.
 */
#include "test.h"
#include "../../kernel/nic.c"

#define BUFS	4096
#define QUEUES	2

static struct pst_port *port;
static struct pst_region region;
static struct net_device *dev;
static struct net another_net;

/* What the world does. */
static int lacks;		/* a capability, or -1 */
static int xdp_err, hook_err;	/* of these calls */
static int xsk_err[50];		/* of the first opening of a socket, the second, ... */
static int add_err[QUEUES];	/* of adding a queue to the map */
static int patience;		/* AF_XDP unpins after so many naps; -1: never */

/* What happened. */
static int programs, hooked, sockets, dummies, quiet, naps, warned, opened, attended, kicks;
static u16 modes[50];
static int due, waited;		/* unpinnings that wait, and for how many naps */

/* ------------------------------------------------------------ behind nic.c */

bool mock_capable(int cap) { return cap != lacks; }
int sock_recvmsg(struct socket *sock, struct msghdr *msg, int flags) { return kicks++, 0; }
void pst_ring_wake(struct pst_ring *ring) { }
void pst_port_attend(struct pst_port *p) { attended++; }
void pst_port_attend_all(void) { attended++; }
void pst_port_quiesce(struct pst_port *p) { quiet++; }
void pst_port_resume(struct pst_port *p) { quiet--; }
u32 pst_inject(struct pst_nicq *q, u32 budget) { return 0; }
void pst_batch_begin(struct pst_batch *batch, struct pst_ring *ring) { }
void pst_batch_end(struct pst_batch *batch) { }
void pst_xdp_steer(struct pst_xdp *xdp, u64 queues, u32 key, bool on) { }
void netdev_info(const struct net_device *d, const char *fmt, ...) { }
void netdev_warn(const struct net_device *d, const char *fmt, ...) { warned++; }

struct net_device *alloc_netdev_dummy(int priv)
{
	struct net_device *d = mock_alloc(1, sizeof(*d));

	dummies += d != NULL;
	return d;
}

void free_netdev(struct net_device *d)
{
	dummies--;
	mock_free(d);
}

static struct notifier_block *notified;

int register_netdevice_notifier(struct notifier_block *nb)
{
	notified = nb;
	return 0;
}

void unregister_netdevice_notifier(struct notifier_block *nb) { notified = NULL; }

int pst_batch_hook(struct pst_nic *nic)
{
	hooked += !hook_err;
	nic->batching = !hook_err;
	return hook_err;
}

void pst_batch_unhook(struct pst_nic *nic)
{
	hooked -= nic->batching;
	nic->batching = false;
}

static struct pst_xdp the_xdp;

struct pst_xdp *pst_xdp_get(struct net_device *d, u64 queues)
{
	if (xdp_err)
		return ERR_PTR(xdp_err);
	programs++;
	return &the_xdp;
}

void pst_xdp_put(struct pst_xdp *xdp, u64 queues) { programs--; }
int pst_xdp_add_queue(struct pst_xdp *xdp, u32 queue, struct pst_xsk *xsk) { return add_err[queue]; }

/* As often as @n says, more or less. */
static void pin(int n)
{
	u32 i;

	for (i = 0; i < region.bufs.n; i++)
		region.bufs.page[i]->refs += n * GUP_PIN_COUNTING_BIAS;
}

/* A socket: rings, and who registered the memory. */
struct fake {
	struct socket socket;
	struct sock sk;
	u32 producer, consumer, flags, arrived;
	u64 desc[PST_XSK_RING];
	bool registered;
};

int pst_xsk_open(struct pst_xsk *xsk, struct net_device *d, u16 queue, struct pst_region *r,
		 const struct pst_xsk *shared, u16 mode)
{
	int err = opened < ARRAY_SIZE(xsk_err) ? xsk_err[opened] : 0;
	struct fake *f;

	if (opened < ARRAY_SIZE(modes))
		modes[opened] = mode;
	opened++;
	memset(xsk, 0, sizeof(*xsk));
	if (err == -ENOBUFS)
		return err;
	if (!shared) {
		assert_int_equal(due, 0);	/* the same memory twice may be too much */
		pin(1);
	}
	if (err) {
		due += !shared;
		return err;
	}
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->socket.sk = &f->sk;
	f->registered = !shared;
	xsk->sock = &f->socket;
	xsk->file = (struct file *)f;
	xsk->fill.producer = &f->producer;
	xsk->fill.consumer = &f->consumer;
	xsk->rx.producer = xsk->rx.consumer = &f->arrived;
	xsk->fill.flags = &f->flags;
	xsk->fill.desc = f->desc;
	sockets++;
	return 0;
}

void pst_xsk_close(struct pst_xsk *xsk)
{
	struct fake *f = (struct fake *)xsk->file;

	if (!f)
		return;
	assert_int_equal(f->sk.wait.sleepers, 0);
	due += f->registered;
	sockets--;
	free(f);
	xsk->file = NULL;
}

static u32 held_by_nics(void)
{
	u32 count[PST_BUF_STATES];

	pst_bufs_count(&region.bufs, count);
	return count[PST_BUF_NIC];
}

static u32 expect_held;		/* while AF_XDP has them */

void usleep_range(unsigned long from, unsigned long to)
{
	assert_int_equal(held_by_nics(), expect_held);
	naps++;
	if (due && patience >= 0 && ++waited == patience) {
		pin(-due);
		due = waited = 0;
	}
}

/* ------------------------------------------------------------ the tests' own */

static int setup(void **state)
{
	mock_setup(state);
	mock.netdev = "eth0";
	lacks = patience = -1;
	expect_held = 0;
	xdp_err = hook_err = due = waited = naps = warned = opened = attended = 0;
	memset(xsk_err, 0, sizeof(xsk_err));
	memset(add_err, 0, sizeof(add_err));
	port = mock_alloc(1, struct_size(port, ring, 1));
	assert_int_equal(pst_bufs_init(&region.bufs, BUFS), 0);
	port->region = &region;
	port->nrings = 1;
	port->net = &mock_net;
	port->steer = mock_alloc(PST_STEER_KEYS, sizeof(u32));
	INIT_LIST_HEAD(&port->nics);
	INIT_LIST_HEAD(&port->ring[0].nicqs);
	port->ring[0].port = port;
	assert_int_equal(pst_pool_init(&port->ring[0].pool, &region.bufs), 0);
	port->mutex.locked = true;
	dev = dev_get_by_name(&mock_net, "eth0");
	dev_put(dev);
	*dev = (struct net_device) {
		.name = "eth0", .type = ARPHRD_ETHER, .real_num_rx_queues = QUEUES, .running = true,
	};
	pst_nic_init();
	return 0;
}

static int teardown(void **state)
{
	pst_nic_detach_all(port);
	pst_nic_exit();
	pin(-due);
	assert_int_equal(programs + hooked + sockets + dummies + quiet, 0);
	pst_pool_destroy(&port->ring[0].pool);
	pst_bufs_destroy(&region.bufs);
	mock_free(port->steer);
	mock_free(port);
	return mock_teardown(state);
}

static int attach(void)
{
	const struct pst_queues all = {};

	return pst_nic_attach(port, "eth0", &all);
}

/* Attached, with AF_XDP letting go of the memory @naps naps after a detach. */
static void attached(int n)
{
	assert_int_equal(attach(), 0);
	expect_held = held_by_nics();
	assert_int_equal(expect_held, QUEUES * PST_NICQ_FILL);
	patience = n;
	naps = 0;
}

/* Nothing was attached, and nothing is left of the attempt. */
static void undone(void)
{
	assert_true(list_empty(&port->nics));
	assert_false(pst_nic_is_attached(port, "eth0"));
	assert_int_equal(programs + hooked + sockets + dummies + quiet + port->nnics, 0);
	assert_int_equal(held_by_nics(), 0);
	assert_int_equal(mock.devs, 0);
}

/* ------------------------------------------------------------ detaching */

/* For as long as the unpinning takes, the buffers are nobody else's. */
static void waits_for_the_unpin(void **state)
{
	static const int naps_needed[] = { 1, 2, 100, 1999 };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(naps_needed); i++) {
		attached(naps_needed[i]);
		assert_int_equal(pst_nic_detach(port, "eth0"), 0);
		assert_int_equal(naps, naps_needed[i]);
		undone();
	}
	assert_int_equal(warned, 0);
}

/* Somebody else's pins, which were there before: nobody waits for those. */
static void pinned_by_others(void **state)
{
	pin(3);
	attached(1);
	assert_int_equal(pst_nic_detach(port, "eth0"), 0);
	assert_int_equal(naps, 1);
	undone();
	attached(5);
	pin(2);		/* and what comes while it is attached */
	assert_int_equal(pst_nic_detach(port, "eth0"), 0);
	assert_int_equal(naps, 5);
	undone();
	assert_int_equal(warned, 0);
	pin(-5);
}

/* It never comes: a warning, and the buffers stay out of use, also when the next NIC goes. */
static void never_unpinned(void **state)
{
	u32 lost;

	attached(-1);
	lost = expect_held;
	assert_int_equal(pst_nic_detach(port, "eth0"), 0);
	assert_int_equal(warned, 1);
	assert_in_range(naps, 1000, 4000);
	assert_int_equal(held_by_nics(), lost);

	due = 0;	/* what is stuck remains so */
	assert_int_equal(attach(), 0);
	expect_held = held_by_nics();
	assert_true(expect_held > lost);
	patience = 1;
	assert_int_equal(pst_nic_detach(port, "eth0"), 0);
	assert_int_equal(held_by_nics(), lost);
	assert_int_equal(warned, 1);
	pin(-1);
}

/* Whoever had RTNL was moving the device, and had called the notifier before it was attached. */
static void moves(void)
{
	dev->net = &another_net;
}

/* A device that leaves, or hides VLAN tags, is detached by housekeeping; another one's leaving is none of ours. */
static void goes_away(void **state)
{
	struct net_device another = {};

	attached(1);
	notified->notifier_call(notified, NETDEV_UP, dev);
	notified->notifier_call(notified, NETDEV_UNREGISTER, &another);
	pst_nic_sweep(port);
	assert_true(pst_nic_is_attached(port, "eth0"));
	attended = 0;
	notified->notifier_call(notified, NETDEV_UNREGISTER, dev);
	assert_int_equal(attended, 1);
	pst_nic_sweep(port);
	undone();

	attached(1);
	notified->notifier_call(notified, NETDEV_FEAT_CHANGE, dev);
	pst_nic_sweep(port);
	assert_true(pst_nic_is_attached(port, "eth0"));
	dev->wanted_features = NETIF_F_HW_VLAN_CTAG_RX;	/* it hides VLAN tags now */
	notified->notifier_call(notified, NETDEV_FEAT_CHANGE, dev);
	pst_nic_sweep(port);
	undone();

	attached(1);			/* somebody was faster than the notifier */
	pst_nic_sweep(port);
	undone();
	dev->wanted_features = 0;

	dev->reg_state = NETREG_UNREGISTERING;	/* it went before the notifier could find it */
	attached(1);
	pst_nic_sweep(port);
	undone();

	dev->reg_state = NETREG_REGISTERED;
	mock_rtnl = moves;
	attached(1);
	mock_rtnl = NULL;
	pst_nic_sweep(port);
	undone();
}

/* ------------------------------------------------------------ buffers for the driver */

static struct fake *fake;

/* It had found no buffers, and says so when it has just been asked. */
static void driver_stops(void *p, size_t n)
{
	if (p == &fake->flags)
		fake->flags = XDP_RING_NEED_WAKEUP;
}

/* Whoever wants buffers gets them, or at least housekeeping comes. */
static void wants_buffers(void **state)
{
	struct pst_ring *ring = &port->ring[0];
	u32 low = region.bufs.low, nfree, n;

	attached(1);
	assert_true(attended > 0);
	fake = (struct fake *)list_first_entry(&ring->nicqs, struct pst_nicq, node)->xsk.file;
	assert_false(pst_nic_due(ring));
	kicks = 0;
	mock.was_read = driver_stops;
	pst_nic_poll(ring, false);
	mock.was_read = NULL;
	assert_int_equal(kicks, 0);
	assert_true(pst_nic_due(ring));
	dev->running = false;		/* it cannot be told */
	assert_false(pst_nic_due(ring));
	dev->running = true;
	pst_nic_poll(ring, false);
	assert_int_equal(kicks, 1);

	fake->consumer = fake->producer;	/* it has all: there are more */
	assert_true(pst_nic_due(ring));
	nfree = region.bufs.nfree;
	n = ring->pool.n;
	region.bufs.nfree = 0;			/* there are none */
	region.bufs.low = 512;
	ring->pool.n = 0;
	assert_false(pst_nic_due(ring));
	region.bufs.nfree = nfree;
	region.bufs.low = low;
	ring->pool.n = n;
	fake->flags = 0;
	assert_false(pst_nic_due(ring));
}

/* ------------------------------------------------------------ attaching */

static void fails(int err)
{
	naps = opened = 0;
	patience = 1;
	expect_held = 0;
	assert_int_equal(attach(), err);
	undone();
	memset(xsk_err, 0, sizeof(xsk_err));
	memset(add_err, 0, sizeof(add_err));
	xdp_err = hook_err = 0;
}

static void refused(void **state)
{
	const struct pst_queues beyond = { 1, 2 };

	lacks = CAP_NET_ADMIN;
	fails(-EPERM);
	assert_int_equal(pst_nic_detach(port, "eth0"), -EPERM);
	lacks = -1;
	dev->type = 0;
	fails(-EOPNOTSUPP);
	dev->type = ARPHRD_ETHER;
	assert_int_equal(pst_nic_attach(port, "eth0", &beyond), -EINVAL);
	assert_int_equal(pst_nic_attach(port, "eth1", &beyond), -ENXIO);
	assert_int_equal(pst_nic_detach(port, "eth0"), -ENXIO);
	undone();
	assert_int_equal(opened, 0);
	attached(1);
	assert_int_equal(attach(), -EBUSY);
	port->nnics = PST_NICS_MAX;
	dev->name[0] = 'E';
	assert_int_equal(attach(), -ENOSPC);
	dev->name[0] = 'e';
	port->nnics = 1;
	assert_int_equal(warned, 0);
}

/* 128 for each queue, and as many again for the others. */
static void too_few_buffers(void **state)
{
	region.bufs.nfree = 2 * QUEUES * PST_NICQ_MIN - 1;
	fails(-ENOBUFS);
	assert_int_equal(warned, 1);
	region.bufs.nfree++;
	patience = 1;
	assert_int_equal(attach(), 0);
	expect_held = held_by_nics();
	assert_int_equal(expect_held, QUEUES * PST_NICQ_MIN);
	assert_int_equal(pst_nic_detach(port, "eth0"), 0);
	undone();
}

/* At each step, with others' pins about; and the next attempt finds all as it was. */
static void fails_halfway(void **state)
{
	u32 i;

	pin(3);
	xdp_err = -EBUSY;
	fails(-EBUSY);
	for (i = 0; i < QUEUES; i++) {
		add_err[i] = -EMFILE;
		naps = opened = 0;
		patience = 1;
		expect_held = QUEUES * PST_NICQ_FILL;
		assert_int_equal(attach(), -EMFILE);
		undone();
		add_err[i] = 0;
	}
	naps = opened = 0;
	xsk_err[1] = -EINVAL;		/* the second queue's; no copying then */
	expect_held = PST_NICQ_FILL;
	assert_int_equal(attach(), -EINVAL);
	assert_int_equal(opened, 2);
	undone();
	xsk_err[1] = 0;
	naps = 0;
	hook_err = -ENOMEM;
	expect_held = QUEUES * PST_NICQ_FILL;
	assert_int_equal(attach(), -ENOMEM);
	undone();
	hook_err = -EOPNOTSUPP;		/* packets leave one by one */
	attached(1);
	hook_err = 0;
	assert_int_equal(warned, 0);
	pin(-3);
}

/* Each allocation there is. */
static void no_memory(void **state)
{
	u32 i;
	int err;

	for (i = 1; i < 20; i++) {
		mock.fail_alloc = i;
		naps = 0;
		patience = 1;
		expect_held = i > 2 ? (i - 2) * PST_NICQ_FILL : 0;
		err = attach();
		mock.fail_alloc = 0;
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		undone();
	}
	assert_in_range(i, 1 + 1 + QUEUES, 6);
	expect_held = held_by_nics();
}

/* Copying is the way when the driver cannot do better, not when something else is wrong. */
static void zero_copy_or_copy(void **state)
{
	static const int others[] = { -ENOMEM, -EFAULT, -ESRCH, -EPERM };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		xsk_err[0] = others[i];
		fails(others[i]);
		assert_int_equal(opened, 1);
	}
	xsk_err[0] = -EOPNOTSUPP;
	xsk_err[1] = -EBUSY;
	fails(-EBUSY);
	assert_int_equal(opened, 2);
	assert_int_equal(modes[0], XDP_ZEROCOPY);
	assert_int_equal(modes[1], XDP_COPY);
	opened = 0;
	xsk_err[0] = -EOPNOTSUPP;
	attached(1);
	assert_int_equal(opened, 3);
	assert_false(list_first_entry(&port->nics, struct pst_nic, node)->zero_copy);
}

/* What an earlier registration was charged with may come back in a moment, but not for ever. */
static void charged_still(void **state)
{
	u32 i;

	xsk_err[0] = xsk_err[1] = -ENOBUFS;
	attached(1);
	assert_int_equal(opened, 2 + QUEUES);
	assert_int_equal(pst_nic_detach(port, "eth0"), 0);
	for (i = 0; i < ARRAY_SIZE(xsk_err); i++)
		xsk_err[i] = -ENOBUFS;
	fails(-ENOBUFS);
	assert_in_range(opened, 5, 50);
	assert_in_range(naps, 4, 49);
}

#define N(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		N(waits_for_the_unpin), N(pinned_by_others), N(never_unpinned), N(goes_away),
		N(wants_buffers), N(refused), N(too_few_buffers), N(fails_halfway), N(no_memory), N(zero_copy_or_copy),
		N(charged_still),
	};

	return cmocka_run_group_tests_name("kernel_nic", tests, NULL, NULL);
}
