// SPDX-License-Identifier: BSD-2-Clause
/* lib/request.c: names, modes, option lists. */
#include <stdlib.h>
#include <libnetmap.h>

#include "mock.h"

static void header_init(void **state)
{
	struct nmreq_header h;
	int body;

	(void)state;
	memset(&h, 0xff, sizeof(h));
	nmreq_header_init(&h, NETMAP_REQ_PST_ATTACH, &body);
	assert_int_equal(h.nr_version, 14);
	assert_int_equal(h.nr_reqtype, 16);
	assert_int_equal(h.nr_reserved, 0);
	assert_int_equal(h.nr_options, 0);
	assert_int_equal(h.nr_body, (uintptr_t)&body);
	assert_string_equal(h.nr_name, "");
}

#define LONG_56	"12345678901234567890123456789012345678901234567890123456"

static void header_decode__well_formed(void **state)
{
	static const struct { const char *spec, *name, *rest; } cases[] = {
		{ "netmap:eth0", "eth0", "" },
		{ "netmap:eth0.100", "eth0.100", "" },
		{ "netmap:eth0-1/x", "eth0", "-1/x" },
		{ "netmap:eth0^", "eth0", "^" },
		{ "netmap:eth0*@3", "eth0", "*@3" },
		{ "netmap:p{1", "p{1", "" },
		{ "netmap:p}a_1-0", "p}a_1", "-0" },
		{ "netmap:a+b", "a+b", "" },
		{ "vale:x", "vale:x", "" },
		{ "vale0:x", "vale0:x", "" },
		{ "valeA_1:x{2@4", "valeA_1:x{2", "@4" },
		{ "pst:0", "pst:0", "" },
		{ "pst1:0-2", "pst1:0", "-2" },
		{ "stack:0", "stack:0", "" },
		{ "stack:0-3", "stack:0", "-3" },
		{ "stack_b:web@conf:rings=2", "stack_b:web", "@conf:rings=2" },
		{ "stack:/x", NULL, NULL },
		{ "vale:" LONG_56 "ab", "vale:" LONG_56 "ab", "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *p = cases[i].spec;
		struct nmreq_header h = { 0 };
		int rc = nmreq_header_decode(&p, &h, nmctx_get());

		if (!cases[i].name) {
			assert_int_equal(rc, -1);
			continue;
		}
		assert_int_equal(rc, 0);
		assert_string_equal(h.nr_name, cases[i].name);
		assert_string_equal(p, cases[i].rest);
	}
}

static void header_decode__errors(void **state)
{
	static const char *const specs[] = {
		"", "eth0", "netmap", "netmap:", "netmap0:eth0", "netmapx:e",
		"vale", "vale-1:x", "vale:", "vale0:-1", "pst", "pst:", "pst.1:0",
		"stack", "stack:", "stack a:0", "stack:@1", "stack:^", "Stack:0",
		"netmap:p{", "netmap:p{-1", "netmap:p}", "stack:{1",
		("vale:" LONG_56 "abc"), ":0",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		struct nmreq_header h = { .nr_name = "before" };
		const char *p = specs[i];

		errno = 0;
		mock.messages[0] = '\0';
		assert_int_equal(nmreq_header_decode(&p, &h, nmctx_get()), -1);
		assert_int_equal(errno, EINVAL);
		assert_ptr_equal(p, specs[i]);
		assert_string_equal(h.nr_name, "before");
		assert_true(mock.messages[0]);
	}
}

static void register_decode__well_formed(void **state)
{
	static const struct {
		const char *spec;
		uint32_t mode;
		uint16_t ring, mem;
		uint64_t flags;
		const char *rest;
	} cases[] = {
		{ "", NR_REG_ALL_NIC, 0, 0, 0, "" },
		{ "-0", NR_REG_ONE_NIC, 0, 0, 0, "" },
		{ "-17", NR_REG_ONE_NIC, 17, 0, 0, "" },
		{ "-4094", NR_REG_ONE_NIC, 4094, 0, 0, "" },
		{ "^", NR_REG_SW, 0, 0, 0, "" },
		{ "^3", NR_REG_ONE_SW, 3, 0, 0, "" },
		{ "*", NR_REG_NIC_SW, 0, 0, 0, "" },
		{ "@1", NR_REG_ALL_NIC, 0, 1, 0, "" },
		{ "@65535", NR_REG_ALL_NIC, 0, 65535, 0, "" },
		{ "/x", NR_REG_ALL_NIC, 0, 0, NR_EXCLUSIVE, "" },
		{ "/zt", NR_REG_ALL_NIC, 0, 0, NR_ZCOPY_MON | NR_MONITOR_TX, "" },
		{ "/r", NR_REG_ALL_NIC, 0, 0, NR_MONITOR_RX, "" },
		{ "-1/RTV@5", NR_REG_ONE_NIC, 1, 5, NR_RX_RINGS_ONLY |
		  NR_TX_RINGS_ONLY | NR_ACCEPT_VNET_HDR, "" },
		{ "-1@5/x", NR_REG_ONE_NIC, 1, 5, NR_EXCLUSIVE, "" },
		{ "-1@5/x@conf", NR_REG_ONE_NIC, 1, 5, NR_EXCLUSIVE, "@conf" },
		{ "@conf@1", NR_REG_ALL_NIC, 0, 0, 0, "@conf@1" },
		{ "@2@share=stack:1", NR_REG_ALL_NIC, 0, 2, 0, "@share=stack:1" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nmreq_register r = { .nr_tx_rings = 3 };
		const char *p = cases[i].spec;

		assert_int_equal(nmreq_register_decode(&p, &r, nmctx_get()), 0);
		assert_int_equal(r.nr_mode, cases[i].mode);
		assert_int_equal(r.nr_ringid, cases[i].ring);
		assert_int_equal(r.nr_mem_id, cases[i].mem);
		assert_int_equal(r.nr_flags, cases[i].flags);
		assert_int_equal(r.nr_tx_rings, 3);
		assert_string_equal(p, cases[i].rest);
	}
}

static void register_decode__errors(void **state)
{
	static const char *const specs[] = {
		"-", "-x", "-4095", "-99999999999999999999", "-1-2", "^x", "**",
		"/", "/q", "/x/x", "/x?", "@0", "@65536", "@1@2", "x", "-1x",
		"@1x", "+",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		struct nmreq_register r = { .nr_mode = 77, .nr_mem_id = 9 };
		const char *p = specs[i];

		errno = 0;
		assert_int_equal(nmreq_register_decode(&p, &r, nmctx_get()), -1);
		assert_int_equal(errno, EINVAL);
		assert_ptr_equal(p, specs[i]);
		assert_int_equal(r.nr_mode, 77);
		assert_int_equal(r.nr_mem_id, 9);
	}
}

static void option_list(void **state)
{
	struct nmreq_option o[3] = {
		{ .nro_reqtype = NETMAP_REQ_OPT_EXTMEM },
		{ .nro_reqtype = NETMAP_REQ_OPT_CSB },
		{ .nro_reqtype = NETMAP_REQ_OPT_OFFSETS },
	}, stranger = { .nro_reqtype = NETMAP_REQ_OPT_CSB }, *p;
	struct nmreq_header h = { 0 };
	int i, n = 0;

	(void)state;
	assert_null(nmreq_find_option(&h, NETMAP_REQ_OPT_CSB));
	nmreq_remove_option(&h, &stranger);
	for (i = 0; i < 3; i++)
		nmreq_push_option(&h, &o[i]);
	nmreq_foreach_option(&h, p)
		assert_ptr_equal(p, &o[2 - n++]);
	assert_int_equal(n, 3);
	assert_ptr_equal(nmreq_find_option(&h, NETMAP_REQ_OPT_CSB), &o[1]);

	nmreq_remove_option(&h, &stranger);
	nmreq_remove_option(&h, &o[1]);		/* in the middle */
	assert_null(nmreq_find_option(&h, NETMAP_REQ_OPT_CSB));
	assert_ptr_equal(nmreq_find_option(&h, NETMAP_REQ_OPT_EXTMEM), &o[0]);
	nmreq_remove_option(&h, &o[2]);		/* at the front */
	assert_int_equal(h.nr_options, (uintptr_t)&o[0]);
	nmreq_remove_option(&h, &o[0]);		/* the last one */
	assert_int_equal(h.nr_options, 0);
}

static void free_options(void **state)
{
	struct nmreq_header h = { 0 };
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct nmreq_option *opt = calloc(1, sizeof(*opt));

		assert_non_null(opt);
		nmreq_push_option(&h, opt);
	}
	nmreq_free_options(&h);
	assert_int_equal(h.nr_options, 0);
	nmreq_free_options(&h);
}

static void option_name(void **state)
{
	(void)state;
	assert_string_equal(nmreq_option_name(NETMAP_REQ_OPT_EXTMEM), "extmem");
	assert_string_equal(nmreq_option_name(NETMAP_REQ_OPT_OFFSETS), "offsets");
	assert_string_equal(nmreq_option_name(0), "unknown");
	assert_string_equal(nmreq_option_name(NETMAP_REQ_OPT_MAX), "unknown");
}

static void get_mem_id(void **state)
{
	const char *spec = "stack:1@x", *p = spec;

	(void)state;
	assert_int_equal(nmreq_get_mem_id(&p, nmctx_get()), MOCK_MEM_ID);
	assert_string_equal(p, "@x");
	assert_string_equal(mock.hdr.nr_name, "stack:1");
	assert_int_equal(mock.hdr.nr_reqtype, NETMAP_REQ_PORT_INFO_GET);

	p = "nothing";
	assert_int_equal(nmreq_get_mem_id(&p, nmctx_get()), -1);
	assert_int_equal(errno, EINVAL);
	p = spec;
	mock.ioctl_err = ENXIO;
	assert_int_equal(nmreq_get_mem_id(&p, nmctx_get()), -1);
	assert_int_equal(errno, ENXIO);
	assert_ptr_equal(p, spec);
	mock.open_err = ENOENT;
	assert_int_equal(nmreq_get_mem_id(&p, nmctx_get()), -1);
	assert_int_equal(errno, ENOENT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, mock_setup, mock_teardown)
	const struct CMUnitTest tests[] = {
		T(header_init), T(header_decode__well_formed),
		T(header_decode__errors), T(register_decode__well_formed),
		T(register_decode__errors), T(option_list), T(free_options),
		T(option_name), T(get_mem_id),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
