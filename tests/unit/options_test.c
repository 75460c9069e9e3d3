// SPDX-License-Identifier: BSD-2-Clause
/* lib/options.c: the @options of a specification, through nmport_prepare(). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <libnetmap.h>

#include "mock.h"

/* Parses, and returns errno or 0. */
static int errno_of(const char *spec)
{
	struct nmport_d *d;

	errno = 0;
	mock.messages[0] = '\0';
	d = nmport_prepare(spec);
	if (d) {
		nmport_undo_prepare(d);
		return 0;
	}
	assert_true(mock.messages[0]);
	return errno;
}

static void conf(void **state)
{
	struct nmport_d *d;

	(void)state;
	d = nmport_prepare("stack:0@conf:rings=2,slots=512,tx-slots=1024");
	assert_non_null(d);
	assert_int_equal(d->reg.nr_tx_rings, 2);
	assert_int_equal(d->reg.nr_rx_rings, 2);
	assert_int_equal(d->reg.nr_tx_slots, 1024);
	assert_int_equal(d->reg.nr_rx_slots, 512);
	assert_int_equal(d->reg.nr_host_tx_rings, 0);
	nmport_undo_prepare(d);

	/* the specific key wins in whatever order; _ for - */
	d = nmport_prepare("stack:0-1@5/x@conf:rx_rings=3,rings=4,rx-slots=7,"
			   "host-rings=5,host-tx-rings=6,host_rx_rings=8");
	assert_non_null(d);
	assert_int_equal(d->reg.nr_tx_rings, 4);
	assert_int_equal(d->reg.nr_rx_rings, 3);
	assert_int_equal(d->reg.nr_rx_slots, 7);
	assert_int_equal(d->reg.nr_host_tx_rings, 6);
	assert_int_equal(d->reg.nr_host_rx_rings, 8);
	assert_int_equal(d->reg.nr_mode, NR_REG_ONE_NIC);
	assert_int_equal(d->reg.nr_mem_id, 5);
	nmport_undo_prepare(d);
}

static void malformed(void **state)
{
	static const char *const specs[] = {
		"stack:0@", "stack:0@nothing", "stack:0@nothing=1",
		"stack:0@conf", "stack:0@conf:", "stack:0@conf=2",
		"stack:0@conf:rings", "stack:0@conf:rings=", "stack:0@conf:rings=x",
		"stack:0@conf:rings=65536", "stack:0@conf:rings=2x",
		"stack:0@conf:rings=-1", "stack:0@conf:slots=4294967296",
		"stack:0@conf:rings=1,rings=2", "stack:0@conf:rings=1,",
		"stack:0@conf:,rings=1", "stack:0@conf:_rings=1",
		"stack:0@conf:wings=1", "stack:0@conf:rings=1@", "stack:0@_conf:rings=1",
		"stack:0@share", "stack:0@share=", "stack:0@share:port",
		"stack:0@share=stack:1-2", "stack:0@share=nothing",
		"stack:0@3@share=stack:1", "stack:0@extmem", "stack:0@extmem:buf-num=3",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
		if (errno_of(specs[i]) != EINVAL)
			fail_msg("%s: errno %d", specs[i], errno_of(specs[i]));
}

static void share(void **state)
{
	struct nmport_d *d;

	(void)state;
	d = nmport_prepare("stack:0@share=stack:1");
	assert_non_null(d);
	assert_int_equal(d->reg.nr_mem_id, MOCK_MEM_ID);
	assert_string_equal(mock.hdr.nr_name, "stack:1");
	assert_string_equal(d->hdr.nr_name, "stack:0");
	nmport_undo_prepare(d);
	d = nmport_prepare("stack:0@7@share:port=stack:1@conf:rings=2");
	assert_non_null(d);
	nmport_undo_prepare(d);
	mock.ioctl_err = ENXIO;
	assert_int_equal(errno_of("stack:0@share=stack:1"), ENXIO);
}

static void disabled(void **state)
{
	struct nmreq_opt_offsets *o;
	struct nmport_d *d;

	(void)state;
	assert_int_equal(errno_of("stack:0@offset=64"), EOPNOTSUPP);
	assert_int_equal(nmport_enable_option("offset"), 0);
	d = nmport_prepare("stack:0@offset:initial=64,bits=8");
	assert_non_null(d);
	o = (void *)nmreq_find_option(&d->hdr, NETMAP_REQ_OPT_OFFSETS);
	assert_non_null(o);
	assert_int_equal(o->nro_initial_offset, 64);
	assert_int_equal(o->nro_max_offset, 64);
	assert_int_equal(o->nro_offset_bits, 8);
	nmport_undo_prepare(d);
	assert_int_equal(errno_of("stack:0@offset:bits=8"), EINVAL);
	assert_int_equal(errno_of("stack:0@offset:initial=1,bits=65"), EINVAL);
	assert_int_equal(errno_of("stack:0@offset=1@offset=2"), EINVAL);
	assert_int_equal(nmport_disable_option("offset"), 0);
	assert_int_equal(errno_of("stack:0@offset=64"), EOPNOTSUPP);
	assert_int_equal(nmport_enable_option("nothing"), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(nmport_disable_option("nothing"), -1);
}

static void extmem(void **state)
{
	char path[] = "/tmp/options_test.XXXXXX", spec[128];
	struct nmreq_pools_info *info;
	struct nmport_d *d;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	snprintf(spec, sizeof(spec), "stack:0@extmem:file=%s,buf-num=9,"
		 "ring_size=33024,if-num=1,if-size=2,ring-num=3,buf-size=4096", path);
	assert_int_equal(errno_of(spec), EINVAL);	/* empty file */
	assert_int_equal(ftruncate(fd, 65536), 0);
	close(fd);

	d = nmport_prepare(spec);
	assert_non_null(d);
	info = nmport_extmem_getinfo(d);
	assert_non_null(info);
	assert_int_equal(info->nr_memsize, 65536);
	assert_int_equal(info->nr_if_pool_objtotal, 1);
	assert_int_equal(info->nr_if_pool_objsize, 2);
	assert_int_equal(info->nr_ring_pool_objtotal, 3);
	assert_int_equal(info->nr_ring_pool_objsize, 33024);
	assert_int_equal(info->nr_buf_pool_objtotal, 9);
	assert_int_equal(info->nr_buf_pool_objsize, 4096);
	memset((void *)(uintptr_t)d->extmem->nro_usrptr, 1, 65536);
	nmport_undo_prepare(d);

	snprintf(spec, sizeof(spec), "stack:0@extmem=%s@extmem=%s", path, path);
	assert_int_equal(errno_of(spec), EINVAL);	/* twice */
	snprintf(spec, sizeof(spec), "stack:0@extmem=%s@nothing", path);
	assert_int_equal(errno_of(spec), EINVAL);	/* undone */
	assert_int_equal(errno_of("stack:0@extmem=/nonexistent"), ENOENT);
	unlink(path);
}

/* A parser of the caller's own. */
static int seen_flags, seen_token;

static int parse_own(struct nmreq_parse_ctx *p)
{
	seen_token = *(int *)p->token;
	seen_flags = (p->keys[0] ? 1 : 0) | (p->keys[1] ? 2 : 0);
	if (p->keys[0])
		assert_string_equal(p->keys[0], "");
	return 0;
}

static void own_parser(void **state)
{
	struct nmreq_opt_parser own = {
		.prefix = "own", .parse = parse_own, .default_key = 1,
		.nr_keys = 2, .flags = NMREQ_OPTF_ALLOWEMPTY,
		.keys = { { "e", 0, NMREQ_OPTK_ALLOWEMPTY }, { "v", 1, 0 } },
	};
	int token = 42;

	(void)state;
	assert_int_equal(nmreq_options_decode("", &own, &token, nmctx_get()), 0);
	assert_int_equal(nmreq_options_decode("@own", &own, &token, nmctx_get()), 0);
	assert_int_equal(seen_token, 42);
	assert_int_equal(seen_flags, 0);
	assert_int_equal(nmreq_options_decode("@own:e", &own, &token, nmctx_get()), 0);
	assert_int_equal(seen_flags, 1);
	assert_int_equal(nmreq_options_decode("@own=3", &own, &token, nmctx_get()), 0);
	assert_int_equal(seen_flags, 2);
	assert_int_equal(nmreq_options_decode("@own:e=,v=2", &own, &token,
					      nmctx_get()), 0);
	assert_int_equal(seen_flags, 3);
	assert_int_equal(nmreq_options_decode("own", &own, &token, nmctx_get()), -1);
	assert_int_equal(errno, EINVAL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, mock_setup, mock_teardown)
	const struct CMUnitTest tests[] = {
		T(conf), T(malformed), T(share), T(disabled), T(extmem),
		T(own_parser),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
