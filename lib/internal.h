/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the library share and nobody else sees (the version script
 * keeps nmi_ names inside libpaste.so).
 */
#ifndef _LIB_INTERNAL_H_
#define _LIB_INTERNAL_H_

#include <sys/stat.h>
#include <libnetmap.h>

/* Something to release when a specification is undone, newest first. */
struct nmport_cleanup_d {
	struct nmport_cleanup_d *next;
	void (*cleanup)(struct nmport_cleanup_d *c, struct nmport_d *d);
};

/* memory.c: d->mem, from the context's list or a new mapping; 0 or -1. */
int nmi_memory_get(struct nmport_d *d);
void nmi_memory_put(struct nmport_d *d);

/* options.c: the parsers of @share, @conf, @extmem, @offset. */
extern struct nmreq_opt_parser *nmi_port_options;

/* request.c: a decimal number up to @max at *@p, which moves on; 0 or -1. */
int nmi_read_number(const char **p, uint64_t max, uint64_t *n);

/* request.c: open the control device; -1 with errno, reported. */
int nmi_open_device(struct nmctx *ctx);

/* region_file.c: bytes of a file, or of a device-DAX device, which stat() gives as 0. */
off_t nmi_file_size(const struct stat *st);

#endif /* _LIB_INTERNAL_H_ */
