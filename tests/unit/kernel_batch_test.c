// SPDX-License-Identifier: BSD-2-Clause
/*
 * kernel/batch.c: what is collected leaves by one doorbell, in order, each packet once,
 * whenever the driver stops taking; and passes by the qdisc only where that would change
 * nothing.
 */
#define CONFIG_NETFILTER_EGRESS	1
#define CONFIG_XPS		1
#include "test.h"
#include "../../kernel/batch.c"

#define QUEUES	3

static struct pst_nic nic, other_nic;
static struct pst_ring ring;
static struct pst_batch batch;
static struct sock tcp = { .sk_protocol = IPPROTO_TCP };

/* A packet that left, known by its length. */
struct left {
	u32 len, queue;
	bool direct, more;	/* by the driver, and with xmit_more; else by the qdisc */
};

/* The device, and what the world does to it. */
static struct net_device dev;
static struct netdev_queue txq[QUEUES];
static struct Qdisc qdisc[QUEUES];
static struct nf_hook_entries hooks;
static bool captured;
static int migration;			/* off so many times */
static u16 next_queue;			/* of what is collected */
static u32 room[QUEUES];		/* the driver takes so many */
static bool stops;			/* the queue, when it has taken these; else it is BUSY then */
static u32 back_after;			/* so many by the qdisc, there is room again; 0: never */
static void (*in_qdisc)(void);		/* while the qdisc has a packet */

static struct left left[2 * BATCH_MAX];
static u32 nleft, nsent, nvalidated;	/* left; by the qdisc; through the core's validation */

/* ------------------------------------------------------------ behind batch.c */

struct pst_nic *pst_port_first_nic(struct pst_port *port) { return &nic; }
bool dev_nit_active_rcu(struct net_device *d) { return captured; }
void migrate_disable(void) { migration++; }
void migrate_enable(void) { migration--; }
/* With xps_cpus the sender's CPU counts. */
u16 netdev_pick_tx(struct net_device *d, struct sk_buff *skb, struct net_device *sb)
{
	assert_int_equal(skb->sender_cpu, raw_smp_processor_id() + 1);
	return next_queue;
}

static void note(struct sk_buff *skb, bool direct, bool more)
{
	assert_true(nleft < ARRAY_SIZE(left));
	assert_null(skb->next);
	left[nleft++] = (struct left) { skb->len, skb->queue, direct, more };
	kfree_skb(skb);
}

netdev_tx_t netdev_start_xmit(struct sk_buff *skb, struct net_device *d, struct netdev_queue *q,
			      bool more)
{
	u32 i = q - txq;

	assert_ptr_equal(d, &dev);
	assert_int_equal(skb->queue, i);
	assert_true(q->lock.locked && !q->stopped);
	if (!room[i])
		return NETDEV_TX_BUSY;
	if (!--room[i] && stops)
		q->stopped = true;
	note(skb, true, more);
	return NETDEV_TX_OK;
}

int dev_queue_xmit(struct sk_buff *skb)
{
	u32 i;

	assert_true(skb->skips_egress);
	for (i = 0; i < QUEUES; i++)
		assert_false(txq[i].lock.locked);
	note(skb, false, false);
	if (in_qdisc)
		in_qdisc();
	if (++nsent == back_after)
		for (i = 0; i < QUEUES; i++) {
			txq[i].stopped = false;
			room[i] = U32_MAX;
		}
	return 0;
}

/* Drops what has an odd length, cuts what is GSO in three. */
struct sk_buff *validate_xmit_skb_list(struct sk_buff *skb, struct net_device *d, bool *again)
{
	struct sk_buff *first = NULL;
	u32 len = skb->len, i;

	nvalidated++;
	if (!skb->gso) {
		if (!(len % 2))
			return skb;
		kfree_skb(skb);
		return NULL;
	}
	for (i = 3; i--;) {
		struct sk_buff *part = napi_alloc_skb(NULL, 0);

		part->len = len + i;
		part->queue = skb->queue;
		part->next = first;
		first = part;
	}
	kfree_skb(skb);
	return first;
}

static int hook_err;
static const struct nf_hook_ops *hooked;

int nf_register_net_hook(struct net *net, const struct nf_hook_ops *ops)
{
	assert_ptr_equal(net, &mock_net);
	if (!hook_err)
		hooked = ops;
	return hook_err;
}

void nf_unregister_net_hook(struct net *net, const struct nf_hook_ops *ops)
{
	assert_ptr_equal(ops, hooked);
	hooked = NULL;
}

/* ------------------------------------------------------------ the tests' own */

static const struct Qdisc_ops pfifo_fast = { .id = "pfifo_fast" };
static struct tcf_block block;
static struct tcf_block *its_block(struct Qdisc *q, unsigned long cl, void *extack) { return &block; }
static const struct Qdisc_class_ops fq_codel_class = { its_block };
static const struct Qdisc_ops fq_codel = { "fq_codel", &fq_codel_class };

static const struct net_device_ops no_ops;

/* A device through which everything may go directly. */
static void fresh(void)
{
	u32 i;

	assert_int_equal(migration, 0);
	assert_null(current_batch);
	for (i = 0; i < QUEUES; i++) {
		qdisc[i] = (struct Qdisc) { .ops = &pfifo_fast, .empty = true };
		txq[i] = (struct netdev_queue) { .qdisc = &qdisc[i] };
		room[i] = U32_MAX;
	}
	hooks = (struct nf_hook_entries) { 1, { { collect } } };
	dev = (struct net_device) {
		.netdev_ops = &no_ops,
		.running = true, .present = true, .carrier = true, .real_num_tx_queues = QUEUES,
		.features = NETIF_F_SG | NETIF_F_HW_CSUM, .txq = txq, .nf_hooks_egress = &hooks,
	};
	block.chain_list = (struct list_head) { &block.chain_list, &block.chain_list };
	captured = stops = false;
	nic = (struct pst_nic) { .dev = &dev, .batching = true };
	ring.c = (struct pst_ring_counters) {};
	in_qdisc = NULL;
	nleft = nsent = nvalidated = back_after = next_queue = 0;
}

static struct sk_buff *packet(u32 len)
{
	struct sk_buff *skb = napi_alloc_skb(NULL, 0);

	skb->len = len;
	skb->dev = &dev;
	skb->sk = &tcp;
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = 34;
	return skb;
}

/* A packet of @len bytes comes to the hook, for @queue, and is taken. */
static void comes(u32 len, u16 queue)
{
	next_queue = queue;
	assert_int_equal(collect(&nic, packet(len), NULL), NF_STOLEN);
}

/* One comes and is left to those below. */
static void passes(void *priv)
{
	struct sk_buff *skb = packet(1);

	assert_int_equal(collect(priv, skb, NULL), NF_ACCEPT);
	kfree_skb(skb);
}

/* Packets of 1 to @n bytes, for the first queue, in a sync of their own. */
static void sync_of(u32 n)
{
	u32 i;

	pst_batch_begin(&batch, &ring);
	for (i = 1; i <= n; i++)
		comes(i, 0);
	pst_batch_end(&batch);
}

/* @n of them have left in order, the first @direct ones directly. */
static void in_order(u32 n, u32 direct)
{
	u32 i;

	assert_int_equal(nleft, n);
	for (i = 0; i < n; i++) {
		assert_int_equal(left[i].len, i + 1);
		assert_int_equal(left[i].direct, i < direct);
	}
}

/* ------------------------------------------------------------ one doorbell */

static void one_doorbell(void **state)
{
	u32 i;

	fresh();
	pst_batch_begin(&batch, &ring);
	assert_int_equal(migration, 1);
	for (i = 1; i <= 10; i++)
		comes(i, 0);
	assert_int_equal(nleft, 0);
	pst_batch_end(&batch);
	in_order(10, 10);
	for (i = 0; i < 10; i++)
		assert_int_equal(left[i].more, i < 9);
	assert_int_equal(ring.c.direct_packets, 10);
	assert_int_equal(ring.c.direct_batches, 1);
	assert_int_equal(qdisc[0].bstats.packets, 10);
	assert_int_equal(qdisc[0].bstats.bytes, 55);
	assert_int_equal(nvalidated, 0);

	pst_batch_begin(&batch, &ring);		/* nothing: nobody is bothered */
	pst_batch_end(&batch);
	assert_int_equal(ring.c.direct_batches, 1);
}

/* Each flush is a doorbell, and so many packets do not wait for one. */
static void flushed(void **state)
{
	u32 i;

	fresh();
	pst_batch_begin(&batch, &ring);
	comes(1, 0);
	comes(2, 0);
	pst_batch_flush(&batch);
	in_order(2, 2);
	comes(3, 0);
	assert_int_equal(nleft, 2);
	pst_batch_end(&batch);
	in_order(3, 3);
	assert_true(left[0].more && !left[1].more && !left[2].more);

	fresh();
	pst_batch_begin(&batch, &ring);
	for (i = 1; i < BATCH_MAX; i++)
		comes(i, 0);
	assert_int_equal(nleft, 0);
	comes(i++, 0);
	in_order(BATCH_MAX, BATCH_MAX);
	comes(i, 0);
	pst_batch_end(&batch);
	in_order(BATCH_MAX + 1, BATCH_MAX + 1);
}

/* One for each run of a queue; each queue's qdisc counts its own. */
static void several_queues(void **state)
{
	u32 i;

	fresh();
	qdisc[2].percpu = true;
	qdisc[2].cpu_bstats = &(struct counts) {};
	pst_batch_begin(&batch, &ring);
	for (i = 1; i <= 9; i++)
		comes(i, (i - 1) / 3);
	pst_batch_end(&batch);
	in_order(9, 9);
	for (i = 0; i < 9; i++) {
		assert_int_equal(left[i].queue, i / 3);
		assert_int_equal(left[i].more, i % 3 < 2);
	}
	assert_int_equal(ring.c.direct_batches, 3);
	assert_int_equal(qdisc[0].bstats.packets, 3);
	assert_int_equal(qdisc[1].bstats.bytes, 4 + 5 + 6);
	assert_int_equal(qdisc[2].cpu_bstats->packets, 3);
	assert_int_equal(qdisc[2].bstats.packets, 0);
}

/* ------------------------------------------------------------ a driver that stops */

/* After every number of packets, by stopping the queue and without. */
static void stops_halfway(void **state)
{
	u32 n, way;

	for (way = 0; way < 2; way++)
		for (n = 1; n <= 12; n++) {
			fresh();
			stops = way;
			room[0] = n;
			sync_of(12);
			in_order(12, n);
			assert_int_equal(qdisc[0].bstats.packets, n);
			assert_int_equal(qdisc[0].bstats.bytes, n * (n + 1) / 2);
		}
	fresh();	/* takes none at all */
	room[0] = 0;
	sync_of(12);
	in_order(12, 0);
	assert_int_equal(qdisc[0].bstats.packets, 0);
	sync_of(0);	/* and nothing is left over */
	assert_int_equal(nleft, 12);
}

/* The others' packets are not held up. */
static void one_of_two_stops(void **state)
{
	static const struct left is[] = {
		{ 1, 0, true, true }, { 2, 0, true, true }, { 3, 0, false, false },
		{ 4, 1, true, true }, { 5, 1, true, false }, { 6, 0, false, false },
	};
	u32 i;

	fresh();
	stops = true;
	room[0] = 2;
	pst_batch_begin(&batch, &ring);
	for (i = 0; i < ARRAY_SIZE(is); i++)
		comes(is[i].len, is[i].queue);
	pst_batch_end(&batch);
	assert_int_equal(nleft, ARRAY_SIZE(is));
	for (i = 0; i < nleft; i++) {
		assert_int_equal(left[i].len, is[i].len);
		assert_int_equal(left[i].queue, is[i].queue);
		assert_int_equal(left[i].direct, is[i].direct);
		assert_int_equal(left[i].more, is[i].more);
	}
}

/*
 * A queue that has room again before the batch is through: what the qdisc has is not
 * overtaken by packets of the same queue.
 */
static void has_room_again(void **state)
{
	u32 way, i;

	for (way = 0; way < 2; way++) {
		fresh();
		stops = way;
		room[0] = 1;
		back_after = 2;
		pst_batch_begin(&batch, &ring);
		for (i = 1; i <= 9; i++)
			comes(i, (i - 1) / 3 % 2);	/* 0 0 0 1 1 1 0 0 0 */
		pst_batch_end(&batch);
		assert_int_equal(nleft, 9);
		for (i = 0; i < 9; i++) {
			assert_int_equal(left[i].len, i + 1);
			assert_int_equal(left[i].direct, !i || left[i].queue);
		}
	}
}

/* A device that has fewer queues now than when the packet was collected. */
static void fewer_queues(void **state)
{
	u32 i;

	fresh();
	pst_batch_begin(&batch, &ring);
	for (i = 1; i <= 6; i++)
		comes(i, i > 3 ? 2 : 0);
	dev.real_num_tx_queues = 1;
	pst_batch_end(&batch);
	in_order(6, 3);
}

/* ------------------------------------------------------------ the qdisc and others count */

static void down(void) { dev.running = false; }
static void gone(void) { dev.present = false; }
static void unplugged(void) { dev.carrier = false; }
static void unhooked(void) { dev.nf_hooks_egress = NULL; }
static void hooked_by_others(void) { hooks = (struct nf_hook_entries) { 2, { { collect }, { NULL } } }; }
static void tc_program(void) { dev.tcx_egress = &dev; }
static void tcpdump(void) { captured = true; }
static void stopped(void) { txq[0].stopped = true; }
static void deactivated(void) { qdisc[0].state = 1 << __QDISC_STATE_DEACTIVATED; }
static void queued(void) { qdisc[0].empty = false; }
static void filtered(void)
{
	static struct list_head filter;

	qdisc[0].ops = &fq_codel;
	list_add_tail(&filter, &block.chain_list);
}

static void (*const conditions[])(void) = {
	down, gone, unplugged, unhooked, hooked_by_others, tc_program, tcpdump, stopped, deactivated,
	queued, filtered,
};

static void not_directly(void **state)
{
	static const char *const names[] = { "fq", "noqueue", "htb", "mq", "pfifo", "codel", "fq_codel2" };
	struct Qdisc_ops ops = {};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(conditions); i++) {
		fresh();
		conditions[i]();
		sync_of(5);
		in_order(5, 0);
		assert_int_equal(ring.c.direct_packets, 0);
		assert_int_equal(qdisc[0].bstats.packets, 0);
	}
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fresh();
		ops.id = names[i];
		qdisc[0].ops = &ops;
		sync_of(5);
		in_order(5, 0);
	}
}

/* It is asked when the batch is complete, not when it begins. */
static void asked_at_the_end(void **state)
{
	fresh();
	queued();
	pst_batch_begin(&batch, &ring);
	comes(1, 0);
	qdisc[0].empty = true;
	comes(2, 0);
	pst_batch_flush(&batch);
	in_order(2, 2);
	comes(3, 0);
	queued();
	pst_batch_end(&batch);
	in_order(3, 2);
}

/* Two ports with queues of it; fq_codel without filters; queues that no packet goes to. */
static void directly_all_the_same(void **state)
{
	fresh();
	hooks = (struct nf_hook_entries) { 2, { { collect }, { collect } } };
	qdisc[0].ops = &fq_codel;
	qdisc[1].empty = false;
	txq[2].stopped = true;
	sync_of(5);
	in_order(5, 5);
}

/* ------------------------------------------------------------ whose packets */

static void send_more(void) { passes(&nic); }

static void not_ours(void **state)
{
	struct task_struct other;
	struct pst_batch inner;

	fresh();
	passes(&nic);			/* no sync */
	pst_batch_begin(&batch, &ring);
	passes(&other_nic);
	comes(1, 0);
	pst_batch_begin(&inner, &ring);	/* one inside of it changes nothing */
	assert_int_equal(migration, 1);
	comes(2, 0);
	pst_batch_end(&inner);
	assert_int_equal(nleft, 0);
	batch.owner = &other;		/* another thread, which preempted us: ours go first */
	passes(&nic);
	in_order(2, 2);
	batch.owner = current;
	in_qdisc = send_more;		/* while packets leave, no more are taken */
	queued();
	comes(3, 0);
	pst_batch_flush(&batch);
	in_order(3, 2);
	in_qdisc = NULL;
	comes(4, 0);			/* and again they are */
	pst_batch_end(&batch);
	in_order(4, 2);
	passes(&nic);
	assert_int_equal(migration, 0);

	nic.batching = false;		/* the hook could not be registered */
	pst_batch_begin(&batch, &ring);
	passes(&nic);
	pst_batch_flush(&batch);
	pst_batch_end(&batch);
	in_order(4, 2);
}

static u16 driver_picks(struct net_device *d, struct sk_buff *skb, struct net_device *sb)
{
	return skb->len;
}

/* As the core would: the driver's choice, if it is one, and no route that is held too long. */
static void picked(void **state)
{
	static const struct net_device_ops ops = { driver_picks };
	struct sk_buff *skb;

	fresh();
	dev.netdev_ops = &ops;
	dev.priv_flags = IFF_XMIT_DST_RELEASE;
	pst_batch_begin(&batch, &ring);
	comes(1, 0);
	comes(2, 0);
	comes(QUEUES, 0);
	skb = packet(4);
	skb->dst = true;
	assert_int_equal(collect(&nic, skb, NULL), NF_STOLEN);
	assert_false(skb->dst);
	dev.real_num_tx_queues = 1;
	comes(5, 0);
	dev.real_num_tx_queues = QUEUES;
	pst_batch_end(&batch);
	assert_int_equal(nleft, 5);
	assert_int_equal(left[0].queue, 1);
	assert_int_equal(left[1].queue, 2);
	assert_int_equal(left[2].queue, 0);
	assert_int_equal(left[3].queue, 0);
	assert_int_equal(left[4].queue, 0);
}

/* ------------------------------------------------------------ unusual packets */

static void validated(const char *what, struct sk_buff *skb, bool expected)
{
	u32 before = nvalidated;

	pst_batch_begin(&batch, &ring);
	assert_int_equal(collect(&nic, skb, NULL), NF_STOLEN);
	pst_batch_end(&batch);
	if ((nvalidated != before) != expected)
		fail_msg("%s: %s", what, expected ? "not validated" : "validated");
}

static struct sk_buff *with(size_t flag)
{
	struct sk_buff *skb = packet(2);

	*(bool *)((char *)skb + flag) = true;
	return skb;
}

/* What is not plain goes through the core, as it would without us; which may drop it. */
static void validation(void **state)
{
	static struct sock udp = { .sk_protocol = IPPROTO_UDP }, icmp = { .sk_protocol = IPPROTO_ICMP };
	struct sk_buff *skb;
	u32 i;

	fresh();
	validated("encapsulated", with(offsetof(struct sk_buff, encapsulation)), true);
	validated("VLAN", with(offsetof(struct sk_buff, vlan)), true);
	validated("list", with(offsetof(struct sk_buff, frag_list)), true);
	validated("IPsec", with(offsetof(struct sk_buff, sec_path)), true);
	skb = packet(2);
	skb->ip_summed = CHECKSUM_NONE;
	validated("summed", skb, true);
	skb = packet(2);
	skb->sk = NULL;
	validated("nobody's", skb, true);
	skb = packet(2);
	skb->sk = &icmp;
	validated("ICMP", skb, true);
	skb = packet(2);
	skb->sk = &udp;
	validated("UDP", skb, false);
	dev.features = NETIF_F_SG;
	validated("no checksums", packet(2), true);
	dev.features = NETIF_F_HW_CSUM;
	validated("no lists", packet(2), true);

	fresh();	/* 1, dropped, 10 11 12 of which the driver takes one, 5 */
	room[0] = 2;
	pst_batch_begin(&batch, &ring);
	comes(1, 0);
	skb = packet(7);
	skb->ip_summed = CHECKSUM_NONE;
	collect(&nic, skb, NULL);
	skb = packet(10);
	skb->gso = true;
	collect(&nic, skb, NULL);
	comes(5, 0);
	pst_batch_end(&batch);
	assert_int_equal(nleft, 5);
	for (i = 0; i < 5; i++) {
		static const u32 lens[] = { 1, 10, 11, 12, 5 };

		assert_int_equal(left[i].len, lens[i]);
		assert_int_equal(left[i].direct, i < 2);
	}

	fresh();	/* all are dropped */
	pst_batch_begin(&batch, &ring);
	skb = packet(7);
	skb->ip_summed = CHECKSUM_NONE;
	collect(&nic, skb, NULL);
	pst_batch_end(&batch);
	assert_int_equal(nleft, 0);
}

static void hook_of_ours(void **state)
{
	fresh();
	hook_err = -ENOMEM;
	assert_int_equal(pst_batch_hook(&nic), -ENOMEM);
	assert_false(nic.batching);
	pst_batch_unhook(&nic);
	hook_err = 0;
	assert_int_equal(pst_batch_hook(&nic), 0);
	assert_true(nic.batching);
	assert_ptr_equal(hooked->hook, collect);
	assert_ptr_equal(hooked->dev, &dev);
	pst_batch_unhook(&nic);
	assert_false(nic.batching);
	assert_null(hooked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_doorbell), T(flushed), T(several_queues),
		T(stops_halfway), T(one_of_two_stops), T(has_room_again), T(fewer_queues),
		T(not_directly), T(asked_at_the_end), T(directly_all_the_same),
		T(not_ours), T(picked), T(validation), T(hook_of_ours),
	};

	return cmocka_run_group_tests_name("kernel_batch", tests, NULL, NULL);
}
