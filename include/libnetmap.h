/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening netmap ports, step by step or all at once.
 *
 *	d = nmport_open("stack:0@conf:rings=2");
 *	poll on d->fd, rings through d->nifp
 *	nmport_close(d);
 *
 * nmport_open() is a ladder, and each rung can be taken alone, to change the
 * request in between, and stepped down again:
 *
 *	nmport_new		nmport_delete		memory of the descriptor
 *	nmport_parse		nmport_undo_parse	d->hdr, d->reg from a name
 *	nmport_register		nmport_undo_register	d->fd, bound to the port
 *	nmport_mmap		nmport_undo_mmap	d->mem, d->nifp
 *
 *	nmport_prepare   = new + parse			nmport_undo_prepare
 *	nmport_open_desc = register + mmap		nmport_undo_open_desc
 *
 * A step that fails leaves its argument as it was before the step (parse: as
 * nmport_undo_parse() does).  Undoing a step that was not done does nothing.
 *
 * Functions that return int return 0, or -1 with errno; those that return a
 * pointer return NULL with errno.  Both first hand a sentence to the error hook
 * of the context (below), which by default prints it on stderr.
 *
 * A port specification is
 *
 *	subsystem:name[mode][/flags][@region][@option]...
 *
 *	subsystem  netmap, vale[ID], pst[ID], stack[ID]; ID of letters, digits, _
 *	name       of an interface (netmap) or of a port; may be followed by
 *	           {ID or }ID, the two ends of a pipe
 *	mode       -N  ring pair N	^  host rings	^N  host ring pair N
 *	           *   NIC and host rings		none: all rings of the NIC
 *	flags      x exclusive  R only receive  T only transmit
 *	           t, r monitor  z zero-copy monitor  V accept a virtio-net header
 *	region     number of an existing memory region, 1 to 65535; may also stand
 *	           before the flags
 *	option     @option, @option=VALUE (of the key marked *), or
 *	           @option:key=VALUE,key=VALUE; in a key, - and _ are the same
 *
 *	share      port*			use the region of that port
 *	conf       rings slots host-rings tx-rings rx-rings tx-slots rx-slots
 *	           host-tx-rings host-rx-rings	sizes, if this call creates the port
 *	extmem     file* if-num if-size ring-num ring-size buf-num buf-size
 *	           rings and buffers in this file or device-DAX device
 *	offset     initial* bits		packet offsets; refused with EOPNOTSUPP
 *	           until nmport_enable_option("offset")
 */
#ifndef _LIBNETMAP_H_
#define _LIBNETMAP_H_

#include <stdint.h>
#include <sys/types.h>
#include <net/netmap.h>
#include <net/netmap_user.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nmctx;
struct nmem_d;
struct nmport_cleanup_d;

/*
 * A port, from nmport_new() to nmport_delete().
 * hdr and reg may be changed between parse and register; the rest is to be read.
 * Ring numbers are inclusive ranges; first > last means none in that direction.
 */
struct nmport_d {
	struct nmreq_header hdr;	/* the register request */
	struct nmreq_register reg;	/* its body; what the kernel answered */

	struct nmem_d *mem;		/* mapping, shared by ports of one region */
	struct nmctx *ctx;

	int register_done;
	int mmap_done;
	struct nmreq_opt_extmem *extmem;	/* NULL without the option */

	int fd;				/* -1 unless registered */
	struct netmap_if *nifp;		/* NULL unless mapped */
	uint16_t first_tx_ring;
	uint16_t last_tx_ring;
	uint16_t first_rx_ring;
	uint16_t last_rx_ring;
	uint16_t cur_tx_ring;		/* where nmport_inject() goes on */
	uint16_t cur_rx_ring;

	struct nmport_cleanup_d *clist;	/* what undo_parse has to release */
};

/* One mapped region of a context. */
struct nmem_d {
	uint16_t mem_id;
	int refcount;			/* ports that use it */
	void *mem;
	size_t size;			/* bytes */
	int is_extmem;			/* the application's; not unmapped */
	struct nmem_d *next;
	struct nmem_d *prev;
};

/* ------------------------------------------------------------------- ports */

/*
 * Open a port.  Returns a descriptor for nmport_close().
 * Errors: those of nmport_parse, nmport_register and nmport_mmap.
 */
struct nmport_d *nmport_open(const char *portspec);

/* Step down the whole ladder.  NULL is allowed. */
void nmport_close(struct nmport_d *d);

/*
 * Copy a packet of @size bytes into the first TX ring with room for all of it,
 * in several slots when it is longer than a buffer.  Does not sync.  Not for
 * stack ports (see paste.h).  Returns @size, or 0 when no ring had room.
 */
int nmport_inject(struct nmport_d *d, const void *buf, size_t size);

/* Descriptor of a specification, unopened.  Errors: as nmport_parse, ENOMEM. */
struct nmport_d *nmport_prepare(const char *portspec);
void nmport_undo_prepare(struct nmport_d *d);

/* EINVAL: registered already; else as nmport_register and nmport_mmap. */
int nmport_open_desc(struct nmport_d *d);
void nmport_undo_open_desc(struct nmport_d *d);

/* An empty descriptor of the default context.  ENOMEM. */
struct nmport_d *nmport_new(void);
void nmport_delete(struct nmport_d *d);

/*
 * Fill in d->hdr and d->reg, and prepare the options.
 * EINVAL: the specification is not well formed; EOPNOTSUPP: it has a disabled
 * option; ENOMEM; for share and extmem also what opening and asking gives.
 * nmport_undo_parse() also releases options added by the functions below.
 */
int nmport_parse(struct nmport_d *d, const char *portspec);
void nmport_undo_parse(struct nmport_d *d);

/*
 * Open the device and bind it.  d->reg then has the kernel's answers: region,
 * sizes, extra buffers obtained.  Undoing puts the request back.
 * EINVAL: done already; else of open() and of the request; paste_strerror() in
 * paste.h explains those.  When an option was at fault, its status is reported.
 */
int nmport_register(struct nmport_d *d);
void nmport_undo_register(struct nmport_d *d);

/*
 * Map the region, or take the mapping the context has of it, or the memory
 * given with extmem; then find the bound rings.
 * EINVAL: not registered, or mapped already; ENOMEM; errors of mmap().
 */
int nmport_mmap(struct nmport_d *d);
void nmport_undo_mmap(struct nmport_d *d);

/*
 * An unopened copy that will use the same region, without options: to open
 * another ring of the same port, or another port.  EINVAL: @d has memory of the
 * application and is not registered, so its region has no number yet; ENOMEM.
 * Memory that came with extmem belongs to @d: close the copy first.
 */
struct nmport_d *nmport_clone(struct nmport_d *d);

/*
 * Put rings and buffers into @size bytes at @base, page aligned, which must stay
 * mapped until the port is closed.  How many of each is in
 * nmport_extmem_getinfo(d); 0 there is the kernel's default.
 * EINVAL: registered already, or memory was given already; ENOMEM.
 */
int nmport_extmem(struct nmport_d *d, void *base, size_t size);

/*
 * The same with a file, mapped shared and whole until nmport_undo_parse().  A
 * character device is taken for device-DAX.
 * Errors: also those of open() and mmap(); EINVAL: the file is empty.
 */
int nmport_extmem_from_file(struct nmport_d *d, const char *path);

/* What to carve out of that memory, to be changed before register; or NULL. */
struct nmreq_pools_info *nmport_extmem_getinfo(struct nmport_d *d);

/*
 * Ask for packet offsets: @initial and @max bytes, @bits of slot->ptr to hold
 * them (0 = all), @gap bytes kept free after.  EINVAL: registered or asked
 * already; ENOMEM.
 */
int nmport_offset(struct nmport_d *d, uint64_t initial, uint64_t max,
		  uint64_t bits, uint64_t gap);

/*
 * Allow or refuse an option in specifications, for the whole process; not to be
 * called while another thread parses.  EOPNOTSUPP: no such option.
 */
int nmport_enable_option(const char *name);
int nmport_disable_option(const char *name);

/* ---------------------------------------------------------------- requests */

/* A header without options: version, @type, @body (NULL if it has none). */
void nmreq_header_init(struct nmreq_header *hdr, uint16_t type, void *body);

/*
 * Read "subsystem:name" from *@spec into hdr->nr_name and move *@spec past it.
 * EINVAL; both are then as before.
 */
int nmreq_header_decode(const char **spec, struct nmreq_header *hdr,
			struct nmctx *ctx);

/*
 * Read "[mode][/flags][@region]" from *@mode into nr_mode, nr_ringid, nr_flags
 * and, if there is one, nr_mem_id; move *@mode to the first option or the end.
 * EINVAL; both are then as before.
 */
int nmreq_register_decode(const char **mode, struct nmreq_register *reg,
			  struct nmctx *ctx);

/* Add at the front.  The option must outlive its membership. */
void nmreq_push_option(struct nmreq_header *hdr, struct nmreq_option *opt);

/* Take out; nothing happens when it is not in the list. */
void nmreq_remove_option(struct nmreq_header *hdr, struct nmreq_option *opt);

/* The option of a NETMAP_REQ_OPT_* type, or NULL. */
struct nmreq_option *nmreq_find_option(const struct nmreq_header *hdr,
				       uint32_t type);

/* Empty the list and free() its members. */
void nmreq_free_options(struct nmreq_header *hdr);

/* "extmem", "offsets"...; "unknown". */
const char *nmreq_option_name(uint32_t type);

/* Walk the list; the current option must not be removed. */
#define nmreq_foreach_option(hdr, opt) \
	for ((opt) = (struct nmreq_option *)(uintptr_t)(hdr)->nr_options; \
	     (opt); \
	     (opt) = (struct nmreq_option *)(uintptr_t)(opt)->nro_next)

/*
 * Number of the region of the port named at *@portname, which is moved past the
 * name; -1 with errno of the name, of open(), or of the request.
 */
int32_t nmreq_get_mem_id(const char **portname, struct nmctx *ctx);

/* ----------------------------------------------- options in specifications */

#define NMREQ_OPT_MAXKEYS	16

struct nmreq_opt_key {
	const char *key;
	int id;			/* index in nmreq_parse_ctx.keys */
	unsigned int flags;
};

#define NMREQ_OPTK_ALLOWEMPTY	(1U << 0)	/* key without =VALUE: "" */
#define NMREQ_OPTK_MUSTSET	(1U << 1)	/* key must be given */
#define NMREQ_OPTK_DEFAULT	(1U << 2)	/* the key of @option=VALUE */

/* What a parse function gets: the value of each key by id, NULL = not given. */
struct nmreq_parse_ctx {
	struct nmctx *ctx;
	void *token;		/* of nmreq_options_decode */
	const char *keys[NMREQ_OPT_MAXKEYS];	/* valid during the call */
};

/* 0, or -1 with errno. */
typedef int (*nmreq_opt_parser_cb)(struct nmreq_parse_ctx *p);

struct nmreq_opt_parser {
	const char *prefix;	/* name of the option */
	nmreq_opt_parser_cb parse;
	int default_key;	/* id, or -1 */
	int nr_keys;
	int flags;
	struct nmreq_opt_parser *next;
	struct nmreq_opt_key keys[NMREQ_OPT_MAXKEYS];
} __attribute__((aligned(16)));

#define NMREQ_OPTF_DISABLED	(1U << 0)
#define NMREQ_OPTF_ALLOWEMPTY	(1U << 1)	/* @option alone is well formed */

/*
 * Read "@option..." as described at the top with a list of parsers; "" is well
 * formed.  The first error stops: EINVAL for unknown or repeated options keys
 * and missing values, EOPNOTSUPP for a disabled option, else the parser's.
 */
int nmreq_options_decode(const char *options,
			 struct nmreq_opt_parser *parsers, void *token,
			 struct nmctx *ctx);

/* ----------------------------------------------------------------- context */

typedef void (*nmctx_error_cb)(struct nmctx *ctx, const char *sentence);
typedef void *(*nmctx_malloc_cb)(struct nmctx *ctx, size_t size);
typedef void (*nmctx_free_cb)(struct nmctx *ctx, void *p);
typedef void (*nmctx_lock_cb)(struct nmctx *ctx, int lock);

/*
 * Hooks of the library, and its list of mapped regions.  Any hook may be NULL
 * (no message, malloc, free, no lock).  lock(ctx, 1) locks, lock(ctx, 0)
 * unlocks.  The initial default context prints on stderr and is thread safe.
 */
struct nmctx {
	int verbose;		/* also report what is not an error */
	nmctx_error_cb error;
	nmctx_malloc_cb malloc;
	nmctx_free_cb free;
	nmctx_lock_cb lock;
	struct nmem_d *mem_descs;
};

/* The default context, which nmport_new() gives to ports. */
struct nmctx *nmctx_get(void);

/* Replace it; returns the old one.  It must outlive the ports that use it. */
struct nmctx *nmctx_set_default(struct nmctx *ctx);

/* Give the default context the library's own lock. */
void nmctx_set_threadsafe(void);

/*
 * netmap's library has that lock only in programs that link this symbol, which
 * those do that include its header without defining LIBNETMAP_NOTHREADSAFE.  Here
 * all have it: the symbol is there for such programs, its value means nothing,
 * and the macro changes nothing.
 */
extern int nmctx_threadsafe;

/* Report through the hooks; errno is preserved. */
void nmctx_ferror(struct nmctx *ctx, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void *nmctx_malloc(struct nmctx *ctx, size_t size);
void nmctx_free(struct nmctx *ctx, void *p);
void nmctx_lock(struct nmctx *ctx);
void nmctx_unlock(struct nmctx *ctx);

#ifdef __cplusplus
}
#endif

#endif /* _LIBNETMAP_H_ */
