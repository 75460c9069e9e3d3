// SPDX-License-Identifier: BSD-2-Clause
/*
 * Control requests: the header, its option list, and the part of a port
 * specification that ends up in them.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* The prefixes; the kernel wants netmap's removed and the others kept. */
static const struct {
	const char *name;
	int has_id;
	int is_kept;
} subsystems[] = {
	{ "netmap", 0, 0 },
	{ "vale", 1, 1 },
	{ "pst", 1, 1 },
	{ "stack", 1, 1 },
};

int nmi_read_number(const char **p, uint64_t max, uint64_t *n)
{
	const char *s = *p;
	uint64_t v = 0;

	if (!isdigit((unsigned char)*s))
		return -1;
	for (; isdigit((unsigned char)*s); s++) {
		unsigned int digit = (unsigned int)(*s - '0');

		if (digit > max || v > (max - digit) / 10)
			return -1;
		v = v * 10 + digit;
	}
	*n = v;
	*p = s;
	return 0;
}

int nmi_open_device(struct nmctx *ctx)
{
	int fd = open(NETMAP_DEVICE_NAME, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		nmctx_ferror(ctx, "cannot open " NETMAP_DEVICE_NAME ": %s",
			     strerror(errno));
	return fd;
}

void nmreq_header_init(struct nmreq_header *hdr, uint16_t type, void *body)
{
	memset(hdr, 0, sizeof(*hdr));
	hdr->nr_version = NETMAP_API;
	hdr->nr_reqtype = type;
	hdr->nr_body = (uintptr_t)body;
}

/* Length of [A-Za-z0-9_]* at @s. */
static size_t word_length(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

int nmreq_header_decode(const char **spec, struct nmreq_header *hdr,
			struct nmctx *ctx)
{
	const char *why = NULL, *start = *spec, *p = NULL, *end;
	size_t i, n;

	for (i = 0; i < ARRAY_SIZE(subsystems); i++) {
		n = strlen(subsystems[i].name);
		if (strncmp(start, subsystems[i].name, n))
			continue;
		if (subsystems[i].has_id)
			n += word_length(start + n);
		if (start[n] == ':') {
			p = start + n + 1;
			break;
		}
	}
	if (!p) {
		why = "it must begin with netmap:, vale[ID]:, pst[ID]: or stack[ID]:";
		goto fail;
	}
	if (!subsystems[i].is_kept)
		start = p;

	n = strcspn(p, "-*^{}/@");
	if (!n) {
		why = "the name is empty";
		goto fail;
	}
	end = p + n;
	if (*end == '{' || *end == '}') {
		n = word_length(end + 1);
		if (!n) {
			why = "a pipe needs a name of letters and digits";
			goto fail;
		}
		end += 1 + n;
	}
	n = (size_t)(end - start);
	if (n >= sizeof(hdr->nr_name)) {
		why = "the name is longer than 63 bytes";
		goto fail;
	}

	memset(hdr->nr_name, 0, sizeof(hdr->nr_name));
	memcpy(hdr->nr_name, start, n);
	*spec = end;
	return 0;

fail:
	errno = EINVAL;
	nmctx_ferror(ctx, "port name '%s': %s", *spec, why);
	return -1;
}

/* The letters after '/', up to '@' or the end; 0 when none or one is unknown. */
static uint64_t read_flags(const char **p)
{
	static const struct {
		char letter;
		uint64_t flag;
	} letters[] = {
		{ 'x', NR_EXCLUSIVE },
		{ 'z', NR_ZCOPY_MON },
		{ 't', NR_MONITOR_TX },
		{ 'r', NR_MONITOR_RX },
		{ 'R', NR_RX_RINGS_ONLY },
		{ 'T', NR_TX_RINGS_ONLY },
		{ 'V', NR_ACCEPT_VNET_HDR },
	};
	uint64_t flags = 0;
	size_t i;

	for (; **p && **p != '@'; (*p)++) {
		for (i = 0; i < ARRAY_SIZE(letters); i++)
			if (letters[i].letter == **p)
				break;
		if (i == ARRAY_SIZE(letters))
			return 0;
		flags |= letters[i].flag;
	}
	return flags;
}

int nmreq_register_decode(const char **mode, struct nmreq_register *reg,
			  struct nmctx *ctx)
{
	uint32_t nr_mode = NR_REG_ALL_NIC;
	uint64_t ringid = 0, mem_id = 0, flags = 0;
	const char *why, *p = *mode;

	switch (*p) {
	case '-':
		nr_mode = NR_REG_ONE_NIC;
		p++;
		break;
	case '^':
		p++;
		nr_mode = isdigit((unsigned char)*p) ? NR_REG_ONE_SW : NR_REG_SW;
		break;
	case '*':
		nr_mode = NR_REG_NIC_SW;
		p++;
		break;
	}
	why = "expected a ring number below 4095";
	if ((nr_mode == NR_REG_ONE_NIC || nr_mode == NR_REG_ONE_SW) &&
	    nmi_read_number(&p, NETMAP_RING_MASK - 1, &ringid))
		goto fail;

	for (;;) {
		if (*p == '/' && !flags) {
			why = "after '/' expected letters of x z t r R T V";
			p++;
			flags = read_flags(&p);
			if (!flags)
				goto fail;
		} else if (*p == '@' && isdigit((unsigned char)p[1])) {
			why = "expected one region number from 1 to 65535";
			p++;
			if (mem_id || nmi_read_number(&p, UINT16_MAX, &mem_id) ||
			    !mem_id)
				goto fail;
		} else {
			break;
		}
	}
	why = "unexpected characters";
	if (*p && *p != '@')
		goto fail;

	reg->nr_mode = nr_mode;
	reg->nr_ringid = (uint16_t)ringid;
	reg->nr_flags = flags;
	if (mem_id)
		reg->nr_mem_id = (uint16_t)mem_id;
	*mode = p;
	return 0;

fail:
	errno = EINVAL;
	nmctx_ferror(ctx, "port mode '%s': %s", *mode, why);
	return -1;
}

/* ---------------------------------------------------------- list of options */

void nmreq_push_option(struct nmreq_header *hdr, struct nmreq_option *opt)
{
	opt->nro_next = hdr->nr_options;
	hdr->nr_options = (uintptr_t)opt;
}

void nmreq_remove_option(struct nmreq_header *hdr, struct nmreq_option *opt)
{
	uint64_t *link = &hdr->nr_options;

	while (*link && *link != (uintptr_t)opt)
		link = &((struct nmreq_option *)(uintptr_t)*link)->nro_next;
	if (*link) {
		*link = opt->nro_next;
		opt->nro_next = 0;
	}
}

struct nmreq_option *nmreq_find_option(const struct nmreq_header *hdr,
				       uint32_t type)
{
	struct nmreq_option *opt;

	nmreq_foreach_option(hdr, opt)
		if (opt->nro_reqtype == type)
			break;
	return opt;
}

void nmreq_free_options(struct nmreq_header *hdr)
{
	struct nmreq_option *opt;

	while (hdr->nr_options) {
		opt = (struct nmreq_option *)(uintptr_t)hdr->nr_options;
		hdr->nr_options = opt->nro_next;
		free(opt);
	}
}

const char *nmreq_option_name(uint32_t type)
{
	static const char *const names[] = {
		[NETMAP_REQ_OPT_EXTMEM] = "extmem",
		[NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS] = "sync-kloop-eventfds",
		[NETMAP_REQ_OPT_CSB] = "csb",
		[NETMAP_REQ_OPT_SYNC_KLOOP_MODE] = "sync-kloop-mode",
		[NETMAP_REQ_OPT_OFFSETS] = "offsets",
	};

	if (type >= ARRAY_SIZE(names) || !names[type])
		return "unknown";
	return names[type];
}

/* ----------------------------------------------------------------- requests */

int32_t nmreq_get_mem_id(const char **portname, struct nmctx *ctx)
{
	struct nmreq_port_info_get info = { 0 };
	struct nmreq_header hdr;
	const char *p = *portname;
	int fd, err;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
	if (nmreq_header_decode(&p, &hdr, ctx))
		return -1;
	fd = nmi_open_device(ctx);
	if (fd < 0)
		return -1;
	err = ioctl(fd, NIOCCTRL, &hdr) ? errno : 0;
	close(fd);
	if (err) {
		errno = err;
		nmctx_ferror(ctx, "cannot ask port '%s' for its region: %s",
			     hdr.nr_name, strerror(err));
		return -1;
	}
	*portname = p;
	return info.nr_mem_id;
}
