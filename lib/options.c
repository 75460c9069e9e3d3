// SPDX-License-Identifier: BSD-2-Clause
/*
 * The @options of a port specification: a small parser driven by tables, and
 * the four tables.
 *
 *	@name  @name=VALUE  @name:key=VALUE,key=VALUE,key
 *
 * The parser collects the values of one option by key id and calls the table's
 * function, whose token is the port.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define COUNT(n, list...)	(int)(sizeof((n[]){ list }) / sizeof(n))
#define KEYS(list...) \
	.nr_keys = COUNT(struct nmreq_opt_key, list), .keys = { list }

static int bad_option(struct nmctx *ctx, int err, const char *option,
		      const char *why, const char *what)
{
	errno = err;
	nmctx_ferror(ctx, "option '%s': %s%s", option, why, what);
	return -1;
}

/* Equality where - and _ are the same, except as first character. */
static int same_key(const char *a, const char *b)
{
	size_t i;

	for (i = 0; a[i] && b[i]; i++) {
		if (a[i] == b[i])
			continue;
		if (!i || !strchr("-_", a[i]) || !strchr("-_", b[i]))
			return 0;
	}
	return a[i] == b[i];
}

/* One "key" or "key=VALUE", cut out and terminated. */
static int decode_key(struct nmreq_parse_ctx *ctx,
		      const struct nmreq_opt_parser *parser, char *key)
{
	const struct nmreq_opt_key *k;
	char *value = strchr(key, '=');
	int i;

	if (value)
		*value++ = '\0';
	for (i = 0; i < parser->nr_keys; i++)
		if (same_key(parser->keys[i].key, key))
			break;
	if (i == parser->nr_keys)
		return bad_option(ctx->ctx, EINVAL, parser->prefix,
				  "unknown key ", key);
	k = &parser->keys[i];
	if (ctx->keys[k->id])
		return bad_option(ctx->ctx, EINVAL, parser->prefix,
				  "key given twice: ", k->key);
	if (!value || !*value) {
		if (!(k->flags & NMREQ_OPTK_ALLOWEMPTY))
			return bad_option(ctx->ctx, EINVAL, parser->prefix,
					  "no value for ", k->key);
		value = key + strlen(key);
	}
	ctx->keys[k->id] = value;
	return 0;
}

/* Id of the key that "@option=VALUE" means, or -1. */
static int default_key(const struct nmreq_opt_parser *parser)
{
	int i;

	for (i = 0; i < parser->nr_keys; i++)
		if (parser->keys[i].flags & NMREQ_OPTK_DEFAULT)
			return parser->keys[i].id;
	return parser->default_key;
}

/* One option: what stands between two @, terminated. */
static int decode_option(char *option, struct nmreq_opt_parser *parser,
			 struct nmreq_parse_ctx *ctx)
{
	size_t len = strcspn(option, ":=");
	char *rest = option + len, separator = *rest;
	int i, id;

	*rest = '\0';
	while (parser && !same_key(parser->prefix, option))
		parser = parser->next;
	if (!parser)
		return bad_option(ctx->ctx, EINVAL, option, "unknown", "");
	if (parser->flags & NMREQ_OPTF_DISABLED)
		return bad_option(ctx->ctx, EOPNOTSUPP, option, "disabled", "");

	memset(ctx->keys, 0, sizeof(ctx->keys));
	if (separator == '=') {
		id = default_key(parser);
		if (id < 0)
			return bad_option(ctx->ctx, EINVAL, option,
					  "needs :key=VALUE", "");
		if (!rest[1])
			return bad_option(ctx->ctx, EINVAL, option,
					  "no value", "");
		ctx->keys[id] = rest + 1;
	} else if (separator == ':' && rest[1]) {
		char *key = rest + 1, *comma;

		for (;;) {
			comma = strchr(key, ',');
			if (comma)
				*comma = '\0';
			if (decode_key(ctx, parser, key))
				return -1;
			if (!comma)
				break;
			key = comma + 1;
		}
	} else if (!(parser->flags & NMREQ_OPTF_ALLOWEMPTY)) {
		return bad_option(ctx->ctx, EINVAL, option, "needs a value", "");
	}

	for (i = 0; i < parser->nr_keys; i++)
		if ((parser->keys[i].flags & NMREQ_OPTK_MUSTSET) &&
		    !ctx->keys[parser->keys[i].id])
			return bad_option(ctx->ctx, EINVAL, option,
					  "needs ", parser->keys[i].key);
	return parser->parse(ctx);
}

int nmreq_options_decode(const char *options,
			 struct nmreq_opt_parser *parsers, void *token,
			 struct nmctx *ctx)
{
	struct nmreq_parse_ctx parse = { .ctx = ctx, .token = token };
	size_t len = strlen(options);
	char *copy, *option, *next;
	int rc = 0, err;

	if (!len)
		return 0;
	if (*options != '@')
		return bad_option(ctx, EINVAL, options, "expected @", "");
	copy = nmctx_malloc(ctx, len + 1);
	if (!copy)
		return -1;
	memcpy(copy, options, len + 1);
	for (option = copy + 1; option && !rc; option = next) {
		next = strchr(option, '@');
		if (next)
			*next++ = '\0';
		rc = decode_option(option, parsers, &parse);
	}
	err = errno;
	nmctx_free(ctx, copy);
	errno = err;
	return rc;
}

/* --------------------------------------------------------------- the options */

/* The number of key @id, at most @max; @n is unchanged when it was not given. */
static int number(const struct nmreq_parse_ctx *p, const char *option, int id,
		  uint64_t max, uint64_t *n)
{
	const char *s = p->keys[id];

	if (!s)
		return 0;
	if (nmi_read_number(&s, max, n) || *s)
		return bad_option(p->ctx, EINVAL, option,
				  "not a number in range: ", p->keys[id]);
	return 0;
}

static int parse_share(struct nmreq_parse_ctx *p)
{
	struct nmport_d *d = p->token;
	const char *name = p->keys[0];
	int32_t mem_id = nmreq_get_mem_id(&name, p->ctx);

	if (mem_id < 0)
		return -1;
	if (*name)
		return bad_option(p->ctx, EINVAL, "share",
				  "unexpected after the name: ", name);
	if (d->reg.nr_mem_id && d->reg.nr_mem_id != mem_id)
		return bad_option(p->ctx, EINVAL, "share",
				  "the specification names another region", "");
	d->reg.nr_mem_id = (uint16_t)mem_id;
	return 0;
}

static struct nmreq_opt_parser share_option = {
	.prefix = "share",
	.parse = parse_share,
	.default_key = 0,
	KEYS({ "port", 0, NMREQ_OPTK_MUSTSET | NMREQ_OPTK_DEFAULT }),
};

enum {
	CONF_RINGS, CONF_HOST_RINGS, CONF_SLOTS, CONF_TX_RINGS, CONF_RX_RINGS,
	CONF_HOST_TX_RINGS, CONF_HOST_RX_RINGS, CONF_TX_SLOTS, CONF_RX_SLOTS,
};

/* General keys first, so that the specific ones win. */
static int parse_conf(struct nmreq_parse_ctx *p)
{
	struct nmreq_register *reg = &((struct nmport_d *)p->token)->reg;
	uint64_t tx_rings = reg->nr_tx_rings, rx_rings = reg->nr_rx_rings;
	uint64_t host_tx = reg->nr_host_tx_rings, host_rx = reg->nr_host_rx_rings;
	uint64_t tx_slots = reg->nr_tx_slots, rx_slots = reg->nr_rx_slots;
	const struct {
		int id;
		uint64_t max;
		uint64_t *n;
	} fields[] = {
		{ CONF_RINGS, UINT16_MAX, &tx_rings },
		{ CONF_RINGS, UINT16_MAX, &rx_rings },
		{ CONF_HOST_RINGS, UINT16_MAX, &host_tx },
		{ CONF_HOST_RINGS, UINT16_MAX, &host_rx },
		{ CONF_SLOTS, UINT32_MAX, &tx_slots },
		{ CONF_SLOTS, UINT32_MAX, &rx_slots },
		{ CONF_TX_RINGS, UINT16_MAX, &tx_rings },
		{ CONF_RX_RINGS, UINT16_MAX, &rx_rings },
		{ CONF_HOST_TX_RINGS, UINT16_MAX, &host_tx },
		{ CONF_HOST_RX_RINGS, UINT16_MAX, &host_rx },
		{ CONF_TX_SLOTS, UINT32_MAX, &tx_slots },
		{ CONF_RX_SLOTS, UINT32_MAX, &rx_slots },
	};
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (number(p, "conf", fields[i].id, fields[i].max, fields[i].n))
			return -1;
	reg->nr_tx_rings = (uint16_t)tx_rings;
	reg->nr_rx_rings = (uint16_t)rx_rings;
	reg->nr_host_tx_rings = (uint16_t)host_tx;
	reg->nr_host_rx_rings = (uint16_t)host_rx;
	reg->nr_tx_slots = (uint32_t)tx_slots;
	reg->nr_rx_slots = (uint32_t)rx_slots;
	return 0;
}

static struct nmreq_opt_parser conf_option = {
	.prefix = "conf",
	.parse = parse_conf,
	.default_key = -1,
	.next = &share_option,
	KEYS({ "rings", CONF_RINGS, 0 },
	     { "host-rings", CONF_HOST_RINGS, 0 },
	     { "slots", CONF_SLOTS, 0 },
	     { "tx-rings", CONF_TX_RINGS, 0 },
	     { "rx-rings", CONF_RX_RINGS, 0 },
	     { "host-tx-rings", CONF_HOST_TX_RINGS, 0 },
	     { "host-rx-rings", CONF_HOST_RX_RINGS, 0 },
	     { "tx-slots", CONF_TX_SLOTS, 0 },
	     { "rx-slots", CONF_RX_SLOTS, 0 }),
};

enum {
	EXTMEM_FILE, EXTMEM_IF_NUM, EXTMEM_IF_SIZE, EXTMEM_RING_NUM,
	EXTMEM_RING_SIZE, EXTMEM_BUF_NUM, EXTMEM_BUF_SIZE, EXTMEM_KEYS,
};

static int parse_extmem(struct nmreq_parse_ctx *p)
{
	struct nmport_d *d = p->token;
	struct nmreq_pools_info *info;
	uint64_t n[EXTMEM_KEYS] = { 0 };
	int id;

	for (id = EXTMEM_IF_NUM; id < EXTMEM_KEYS; id++)
		if (number(p, "extmem", id, UINT32_MAX, &n[id]))
			return -1;
	if (nmport_extmem_from_file(d, p->keys[EXTMEM_FILE]))
		return -1;
	info = nmport_extmem_getinfo(d);
	info->nr_if_pool_objtotal = (uint32_t)n[EXTMEM_IF_NUM];
	info->nr_if_pool_objsize = (uint32_t)n[EXTMEM_IF_SIZE];
	info->nr_ring_pool_objtotal = (uint32_t)n[EXTMEM_RING_NUM];
	info->nr_ring_pool_objsize = (uint32_t)n[EXTMEM_RING_SIZE];
	info->nr_buf_pool_objtotal = (uint32_t)n[EXTMEM_BUF_NUM];
	info->nr_buf_pool_objsize = (uint32_t)n[EXTMEM_BUF_SIZE];
	return 0;
}

static struct nmreq_opt_parser extmem_option = {
	.prefix = "extmem",
	.parse = parse_extmem,
	.default_key = EXTMEM_FILE,
	.next = &conf_option,
	KEYS({ "file", EXTMEM_FILE, NMREQ_OPTK_MUSTSET | NMREQ_OPTK_DEFAULT },
	     { "if-num", EXTMEM_IF_NUM, 0 },
	     { "if-size", EXTMEM_IF_SIZE, 0 },
	     { "ring-num", EXTMEM_RING_NUM, 0 },
	     { "ring-size", EXTMEM_RING_SIZE, 0 },
	     { "buf-num", EXTMEM_BUF_NUM, 0 },
	     { "buf-size", EXTMEM_BUF_SIZE, 0 }),
};

enum { OFFSET_INITIAL, OFFSET_BITS };

static int parse_offset(struct nmreq_parse_ctx *p)
{
	uint64_t initial = 0, bits = 0;

	if (number(p, "offset", OFFSET_INITIAL, UINT64_MAX, &initial) ||
	    number(p, "offset", OFFSET_BITS, 64, &bits))
		return -1;
	return nmport_offset(p->token, initial, initial, bits, 0);
}

static struct nmreq_opt_parser offset_option = {
	.prefix = "offset",
	.parse = parse_offset,
	.default_key = OFFSET_INITIAL,
	.flags = NMREQ_OPTF_DISABLED,
	.next = &extmem_option,
	KEYS({ "initial", OFFSET_INITIAL,
	       NMREQ_OPTK_MUSTSET | NMREQ_OPTK_DEFAULT },
	     { "bits", OFFSET_BITS, 0 }),
};

struct nmreq_opt_parser *nmi_port_options = &offset_option;

static struct nmreq_opt_parser *find_option(const char *name)
{
	struct nmreq_opt_parser *p = nmi_port_options;

	while (p && !same_key(p->prefix, name))
		p = p->next;
	if (!p)
		errno = EOPNOTSUPP;
	return p;
}

int nmport_enable_option(const char *name)
{
	struct nmreq_opt_parser *p = find_option(name);

	if (!p)
		return -1;
	p->flags &= ~(int)NMREQ_OPTF_DISABLED;
	return 0;
}

int nmport_disable_option(const char *name)
{
	struct nmreq_opt_parser *p = find_option(name);

	if (!p)
		return -1;
	p->flags |= (int)NMREQ_OPTF_DISABLED;
	return 0;
}
