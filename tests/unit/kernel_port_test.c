// SPDX-License-Identifier: BSD-2-Clause
/* kernel/port.c: names; ports that are found, made, and fail to be made; housekeeping. */
#include "kernel/test.h"
#include "../../kernel/port.c"
#include "buf_move.h"

/* ------------------------------------------------------------ names */

/* Exactly NETMAP_REQ_IFNAMSIZ bytes for the result, as much as there are for the name. */
static int parse(const char *name, char *result, size_t *member)
{
	char *copy = strdup(name), *canonical = malloc(NETMAP_REQ_IFNAMSIZ);
	const char *m = NULL;
	int err;

	assert_non_null(copy);
	assert_non_null(canonical);
	memset(canonical, 'x', NETMAP_REQ_IFNAMSIZ);
	err = pst_name_parse(copy, canonical, &m);
	if (!err) {
		assert_true(memchr(canonical, '\0', NETMAP_REQ_IFNAMSIZ));
		memcpy(result, canonical, NETMAP_REQ_IFNAMSIZ);
		*member = m - canonical;
	} else {
		assert_null(m);
	}
	free(copy);
	free(canonical);
	return err;
}

#define L15	"abcdefghijklmno"

static void names(void **state)
{
	static const struct { const char *name; int err; const char *canonical, *member; } cases[] = {
		{ "stack:0", 0, "stack:0", "0" },
		{ "pst:0", 0, "stack:0", "0" },
		{ "stack1:0", 0, "stack1:0", "0" },
		{ "pst_A9:eth0.100", 0, "stack_A9:eth0.100", "eth0.100" },
		{ "stackpst:x", 0, "stackpst:x", "x" },
		{ "pststack:x", 0, "stackstack:x", "x" },
		{ "stackstack:x", 0, "stackstack:x", "x" },
		{ "stack:" L15, 0, "stack:" L15, L15 },
		{ "pst" L15 ":" L15, 0, "stack" L15 ":" L15, L15 },
		{ "stack" L15 ":" L15, 0, "stack" L15 ":" L15, L15 },
		{ "stack:-", 0, "stack:-", "-" },
		{ "stack:\xff\x01", 0, "stack:\xff\x01", "\xff\x01" },
		{ "stack:" L15 "p", -EINVAL, NULL, NULL },
		{ "stack" L15 "p:x", -EINVAL, NULL, NULL },
		{ "pst" L15 "p:x", -EINVAL, NULL, NULL },
		{ "stack:", -EINVAL, NULL, NULL },
		{ "pst:", -EINVAL, NULL, NULL },
		{ "stack" L15 ":", -EINVAL, NULL, NULL },
		{ "stack:a:b", -EINVAL, NULL, NULL },
		{ "stack::", -EINVAL, NULL, NULL },
		{ "stack:a b", -EINVAL, NULL, NULL },
		{ "stack:a/b", -EINVAL, NULL, NULL },
		{ "stack:a{1", -EINVAL, NULL, NULL },
		{ "stack:a}1", -EINVAL, NULL, NULL },
		{ "stack:/", -EINVAL, NULL, NULL },
		{ "stack-1:x", -EINVAL, NULL, NULL },
		{ "stack.1:x", -EINVAL, NULL, NULL },
		{ "stack 1:x", -EINVAL, NULL, NULL },
		{ "stack/:x", -EINVAL, NULL, NULL },
		{ "stack\n:x", -EINVAL, NULL, NULL },
		{ "stack-1", -EINVAL, NULL, NULL },
		{ "", -EOPNOTSUPP, NULL, NULL },
		{ ":", -EOPNOTSUPP, NULL, NULL },
		{ "stac", -EOPNOTSUPP, NULL, NULL },
		{ "stac:x", -EOPNOTSUPP, NULL, NULL },
		{ "ps:x", -EOPNOTSUPP, NULL, NULL },
		{ "STACK:x", -EOPNOTSUPP, NULL, NULL },
		{ " stack:x", -EOPNOTSUPP, NULL, NULL },
		{ "stack", -EOPNOTSUPP, NULL, NULL },
		{ "pst", -EOPNOTSUPP, NULL, NULL },
		{ "stack0", -EOPNOTSUPP, NULL, NULL },
		{ "pst_0", -EOPNOTSUPP, NULL, NULL },
		{ "netmap:eth0", -EOPNOTSUPP, NULL, NULL },
		{ "vale0:x", -EOPNOTSUPP, NULL, NULL },
		{ "eth0", -EOPNOTSUPP, NULL, NULL },
	};
	char result[NETMAP_REQ_IFNAMSIZ];
	size_t member;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		int err = parse(cases[i].name, result, &member);

		if (err != cases[i].err)
			fail_msg("%s: %d", cases[i].name, err);
		if (err)
			continue;
		assert_string_equal(result, cases[i].canonical);
		assert_string_equal(result + member, cases[i].member);
	}
}

/* Every length the caller's 64 bytes have room for, and every character everywhere. */
static void long_names(void **state)
{
	char name[NETMAP_REQ_IFNAMSIZ], result[NETMAP_REQ_IFNAMSIZ];
	size_t member, len, colon;

	for (len = 0; len < sizeof(name); len++)
		for (colon = 5; colon <= len; colon++) {
			int want = 0;

			memset(name, 'a', sizeof(name));
			memcpy(name, "stack", 5);
			name[colon] = ':';
			name[len] = '\0';
			if (len < 5 || colon >= len)
				want = -EOPNOTSUPP;
			else if (colon == len - 1 || len - colon - 1 > 15 || colon - 5 > 15)
				want = -EINVAL;
			assert_int_equal(parse(name, result, &member), want);
			if (!want)
				assert_string_equal(result, name);
		}
}

static void characters(void **state)
{
	static const char illegal[] = " /{}:";
	char result[NETMAP_REQ_IFNAMSIZ], name[] = "stackxx:yyy";
	size_t member, at;
	int c;

	for (c = 1; c < 256; c++)
		for (at = 5; at < sizeof(name) - 1; at++) {
			char before = name[at];
			bool ok;

			if (at == 7)
				continue;
			name[at] = c;
			ok = at > 7 ? !strchr(illegal, c) : isalnum(c) || c == '_';
			if (c != ':' || at > 7)
				assert_int_equal(parse(name, result, &member), ok ? 0 : -EINVAL);
			name[at] = before;
		}
}

/* ------------------------------------------------------------ ports */

static const struct pst_port_config config = { 2, 16, 16, 5, NULL };

static struct pst_port *eth0_at;	/* the port it is attached to */

bool pst_nic_is_attached(struct pst_port *port, const char *ifname)
{
	return port == eth0_at && !strcmp(ifname, "eth0");
}

static void open_and_put(void **state)
{
	struct pst_port *a, *b, *c;
	char name[NETMAP_REQ_IFNAMSIZ];
	u16 id;

	assert_null(pst_port_find("stack:0"));
	a = pst_port_open("stack:0", &config);
	assert_false(IS_ERR(a));
	assert_ptr_equal(pst_port_open("stack:0", &config), a);
	assert_ptr_equal(pst_port_find("stack:0"), a);
	assert_int_equal(a->opens, 3);
	b = pst_port_open("stack:1", &config);
	assert_ptr_not_equal(a, b);
	assert_int_not_equal(a->region->id, b->region->id);
	assert_true(a->region->id >= 2);
	c = pst_port_open("stackx:1", &config);

	/* For a NIC: of the instance, the only one, or the one with that memory. */
	assert_int_equal(PTR_ERR(pst_port_find_for_nic("stack:eth0", 0, false)), -ENOTUNIQ);
	assert_ptr_equal(pst_port_find_for_nic("stack:eth0", b->region->id, false), b);
	assert_ptr_equal(pst_port_find_for_nic("stackx:eth0", 0, false), c);
	assert_int_equal(PTR_ERR(pst_port_find_for_nic("stacky:eth0", 0, false)), -ENXIO);
	assert_int_equal(PTR_ERR(pst_port_find_for_nic("stackx:eth0", b->region->id, false)), -ENXIO);
	assert_int_equal(b->opens, 2);
	assert_int_equal(c->opens, 2);

	/* To detach it: the one it is attached to. */
	eth0_at = NULL;
	assert_int_equal(PTR_ERR(pst_port_find_for_nic("stack:eth0", 0, true)), -ENXIO);
	eth0_at = a;
	assert_ptr_equal(pst_port_find_for_nic("stack:eth0", 0, true), a);
	assert_int_equal(PTR_ERR(pst_port_find_for_nic("stack:eth1", 0, true)), -ENXIO);
	assert_int_equal(PTR_ERR(pst_port_find_for_nic("stackx:eth0", 0, true)), -ENXIO);
	assert_int_equal(a->opens, 4);
	pst_port_put(a);

	assert_int_equal(pst_port_nth_name(0, name), 0);
	assert_string_equal(name, "stack:0");
	assert_int_equal(pst_port_nth_name(2, name), 0);
	assert_string_equal(name, "stackx:1");
	assert_int_equal(pst_port_nth_name(3, name), -ENOENT);

	id = a->region->id;
	pst_port_put(a);
	pst_port_put(a);
	assert_int_equal(a->opens, 1);
	pst_port_put(a);
	assert_null(pst_port_find("stack:0"));
	a = pst_port_open("stack:0", &config);
	assert_int_equal(a->region->id, id);	/* free again */
	pst_port_put(a);
	pst_port_put(b);
	pst_port_put(b);
	pst_port_put(c);
	pst_port_put(c);
	assert_true(list_empty(&ports));
}

/* A port of another namespace is not there. */
static void namespaces(void **state)
{
	struct net other = { 0 };
	struct pst_port *a = pst_port_open("stack:0", &config), *b;
	char name[NETMAP_REQ_IFNAMSIZ];

	mock_nsproxy.net_ns = &other;
	assert_null(pst_port_find("stack:0"));
	assert_int_equal(pst_port_nth_name(0, name), -ENOENT);
	assert_int_equal(PTR_ERR(pst_port_find_for_nic("stack:eth0", 0, false)), -ENXIO);
	b = pst_port_open("stack:0", &config);
	assert_ptr_not_equal(a, b);
	assert_int_equal(other.refs, 1);
	pst_port_put(b);
	assert_int_equal(other.refs, 0);
	mock_nsproxy.net_ns = &mock_net;
	pst_port_put(a);
}

static void counters(void **state)
{
	struct pst_port *p = pst_port_open("stack:0", &config);
	struct pst_port_counters c;
	u32 buf;

	pst_port_counters(p, &c);
	assert_int_equal(c.buf_total, p->region->bufs.n - PST_BUFS_RESERVED);
	assert_int_equal(c.buf_user, 2 * 16);	/* in TX slots */
	assert_int_equal(c.buf_free, c.buf_total - c.buf_user);
	assert_true(c.buf_low);
	buf = pst_buf_take(&p->ring[1].pool);
	p->region->bufs.state[buf] = PST_BUF_SETTLING;
	pst_port_counters(p, &c);
	assert_int_equal(c.buf_free + c.buf_nic + c.buf_stack + c.buf_user + c.buf_sent,
			 c.buf_total);
	pst_port_put(p);
}

/* Each allocation fails in turn, or a signal comes; nothing stays behind. */
static void no_memory(void **state)
{
	static const struct pst_port_config small = { 1, 16, 16, 0, NULL };
	struct pst_port *p;
	u32 i;

	pool_bufs = PST_POOL_MIN;
	for (i = 1;; i++) {
		mock.fail_alloc = i;
		p = pst_port_open("stack:0", &small);
		if (!IS_ERR(p))
			break;
		assert_int_equal(PTR_ERR(p), -ENOMEM);
		if (mock.live || mock.pages || mock_net.refs)
			fail_msg("allocation %u", i);
		assert_true(list_empty(&ports));
	}
	assert_true(i > 256);
	mock.fail_alloc = 0;
	pst_port_put(p);
	mock.signal_at = 100;
	assert_int_equal(PTR_ERR(pst_port_open("stack:0", &small)), -EINTR);
	assert_int_equal(mock.live + mock.pages, 0);
	mock.mem_available = 100;
	mock.allocs = 0;
	assert_int_equal(PTR_ERR(pst_port_open("stack:0", &small)), -ENOMEM);
	assert_in_range(mock.allocs, 0, 50);	/* not page after page */
	mock.mem_available = -1;
	assert_int_equal(PTR_ERR(pst_port_open("stack:0", &small)), -ENOMEM);
	pool_bufs = 8192;
}

/* The least that has to be available for a port to be made, in pages. */
static long least(void)
{
	static const struct pst_port_config small = { 1, 16, 16, 0, NULL };
	struct pst_port *p;

	for (mock.mem_available = 1; mock.mem_available < 1000000; mock.mem_available++) {
		p = pst_port_open("stack:0", &small);
		if (IS_ERR(p))
			continue;
		pst_port_put(p);
		return mock.mem_available;
	}
	return -1;
}

/* Others are left an eighth of memory, or 1 GiB, or eight times what it takes. */
static void memory_for_others(void **state)
{
	long alone;

	pool_bufs = PST_POOL_MIN;
	alone = least();
	assert_in_range(alone, PST_POOL_MIN, PST_POOL_MIN + 100);
	mock.mem_total = 8 * 1000;
	assert_int_equal(least(), alone + 1000);
	mock.mem_total = 100000000;
	assert_int_equal(least(), 9 * alone);
	mock.mem_total = 0;
	pool_bufs = 100000;
	alone = least();
	mock.mem_total = 100000000;
	assert_int_equal(least(), alone + 262144);
	mock.mem_total = 0;
	pool_bufs = 8192;
}

static void other_ends(void)
{
	pst_unclaim_pages(5);
}

/* Somebody else's port that is half made is waited for, for a while. */
static void two_at_a_time(void **state)
{
	static const struct pst_port_config small = { 1, 16, 16, 0, NULL };
	struct pst_port *p;
	long alone;

	pool_bufs = PST_POOL_MIN;
	alone = least();
	assert_true(pst_claim_pages(5));
	assert_int_equal(least(), alone + 5);
	mock.mem_available = alone;
	mock_meanwhile = other_ends;
	p = pst_port_open("stack:0", &small);
	assert_false(IS_ERR(p));
	pst_port_put(p);
	mock.mem_available = alone - 1;		/* nobody's end would help */
	mock_meanwhile = other_ends;
	assert_int_equal(PTR_ERR(pst_port_open("stack:0", &small)), -ENOMEM);
	assert_true(mock_meanwhile == other_ends);
	mock_meanwhile = NULL;
	mock.mem_available = 0;
	pool_bufs = 8192;
}

/* Syncs are kept out, and let in again. */
static void quiesce(void **state)
{
	struct pst_port *p = pst_port_open("stack:0", &config);
	u32 i;

	mutex_lock(&p->mutex);
	pst_port_quiesce(p);
	for (i = 0; i < p->nrings; i++) {
		p->ring[i].wait.sleepers = 1;
		assert_int_equal(pst_ring_rxsync(&p->ring[i], false), 0);
		assert_int_equal(pst_ring_txsync(&p->ring[i], false), 0);
		assert_int_equal(p->ring[i].c.rx_syncs + p->ring[i].c.tx_syncs, 0);
	}
	pst_port_resume(p);
	for (i = 0; i < p->nrings; i++) {
		assert_int_equal(p->ring[i].wait.woken, 1);
		assert_int_equal(pst_ring_rxsync(&p->ring[i], false), 0);
		assert_int_equal(p->ring[i].c.rx_syncs, 1);
	}
	mutex_unlock(&p->mutex);
	pst_port_put(p);
}

static bool pending;
static u32 polls;

bool pst_nic_due(struct pst_ring *ring) { return pending; }
void pst_nic_poll(struct pst_ring *ring, bool busy_poll) { polls++; }

/* A sleeper is woken first; only if that does not help its ring is run. */
static void looks_after(void **state)
{
	struct pst_port *p = pst_port_open("stack:0", &config);
	struct pst_ring *r = &p->ring[0];

	r->synced = jiffies = 1000;
	r->wait.sleepers = 1;
	pending = false;
	assert_false(look_after(r, 50));
	pending = true;
	polls = 0;
	assert_true(look_after(r, 50));
	assert_int_equal(r->wait.woken, 1);
	assert_int_equal(polls, 0);
	r->synced = 1001;	/* it came */
	jiffies = 1060;
	assert_true(look_after(r, 50));
	assert_int_equal(r->wait.woken, 2);
	assert_int_equal(polls, 0);
	assert_true(look_after(r, 50));	/* it did not */
	assert_int_equal(polls, 1);
	pending = false;
	assert_false(look_after(r, 50));
	assert_int_equal(polls, 1);
	r->wait.sleepers = 0;	/* nobody to wake */
	r->nudged = 0;
	pending = true;
	assert_true(look_after(r, 50));
	assert_int_equal(polls, 2);
	pending = false;
	pst_port_put(p);
}

static void housekeeps(void **state)
{
	struct pst_port *p = pst_port_open("stack:0", &config);
	struct delayed_work *w = &p->housekeeping;

	jiffies = 1000;
	pst_port_attend(p);
	assert_true(w->pending);
	assert_int_equal(w->timer.expires, 1000 + stall_ms);
	jiffies = 1010;
	pst_port_attend(p);	/* is early enough */
	assert_int_equal(w->timer.expires, 1000 + stall_ms);
	w->timer.expires = 2000;
	pst_port_attend(p);
	assert_int_equal(w->timer.expires, 1010 + stall_ms);
	pst_port_attend_all();
	assert_int_equal(w->timer.expires, 1010);

	w->pending = false;
	w->work.fn(&w->work);
	assert_false(w->pending);
	p->nsocks = 1;
	w->work.fn(&w->work);
	assert_int_equal(w->timer.expires, 1010 + HZ);
	w->pending = false;
	mutex_lock(&p->mutex);	/* somebody attaches: later */
	w->work.fn(&w->work);
	mutex_unlock(&p->mutex);
	assert_int_equal(w->timer.expires, 1010 + 10);
	p->nsocks = 0;
	p->nnics = 1;		/* whose driver may want buffers */
	w->pending = false;
	w->work.fn(&w->work);
	assert_int_equal(w->timer.expires, 1010 + HZ);
	p->nnics = 0;
	pst_port_put(p);
}

#define REAPED	400	/* more than a sync looks at, fewer than there are */

/* What a server that was killed leaves comes back at once when nobody syncs, but for what is still in use. */
static void reaps(void **state)
{
	struct pst_port *p = pst_port_open("stack:0", &config);
	struct pst_pool *pool = &p->ring[0].pool;
	struct pst_bufs *bufs = pool->bufs;
	u32 level = pst_pool_level(pool), idx[REAPED], i;

	for (i = 0; i < REAPED; i++) {
		idx[i] = pst_buf_take(pool);
		pst_buf_show(bufs, idx[i]);
		assert_int_equal(pst_buf_claim(bufs, idx[i]), 0);
		pst_buf_park(pool, idx[i]);
	}
	for (i = 10; i < REAPED; i++)
		put_page(bufs->page[idx[i]]);
	jiffies = p->ring[0].synced;		/* it is synced, which is soon enough for the most */
	p->housekeeping.work.fn(&p->housekeeping.work);
	assert_in_range(pst_pool_level(pool), level - REAPED, level - 11);
	jiffies += stall_ms + 1;
	p->housekeeping.work.fn(&p->housekeeping.work);
	assert_int_equal(pst_pool_level(pool), level - 10);
	assert_true(p->housekeeping.pending);
	for (i = 0; i < 10; i++)
		put_page(bufs->page[idx[i]]);
	p->housekeeping.work.fn(&p->housekeeping.work);
	assert_int_equal(pst_pool_level(pool), level);
	pst_port_put(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(names), T(long_names), T(characters), T(open_and_put), T(namespaces),
		T(counters), T(no_memory), T(memory_for_others), T(two_at_a_time), T(quiesce), T(looks_after),
		T(housekeeps), T(reaps),
	};

	return cmocka_run_group_tests_name("kernel_port", tests, NULL, NULL);
}
