/* SPDX-License-Identifier: GPL-2.0 */
/* Descriptors of /dev/netmap. */
#ifndef PST_DEV_H
#define PST_DEV_H

#include <linux/mutex.h>
#include <linux/types.h>

struct netmap_if;
struct nmreq_register;
struct pst_ext_config;
struct pst_port;

/* One open; bound to a port at most once, for good. */
struct pst_file {
	struct mutex mutex;		/* binding, and requests */
	struct pst_port *port;		/* NULL = not bound; published last */
	struct netmap_if *nifp;
	u32 flags;			/* NR_* of the request */
	u16 tx_first, tx_end;		/* bound TX rings [first, end) */
	u16 rx_first, rx_end;
	bool waited;			/* the last poll pass could sleep */
};

int pst_file_bind(struct pst_file *pf, const char *name, struct nmreq_register *reg,
		  const struct pst_ext_config *ext);
void pst_file_unbind(struct pst_file *pf);

long pst_request(struct pst_file *pf, void __user *arg);
long pst_request_legacy(struct pst_file *pf, unsigned int cmd, void __user *arg);

int pst_dev_init(void);
void pst_dev_exit(void);

#endif /* PST_DEV_H */
