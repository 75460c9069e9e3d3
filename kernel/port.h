/* SPDX-License-Identifier: GPL-2.0 */
/* Stack ports: names, rings, lifetime.  Locks: doc/locking.md. */
#ifndef PST_PORT_H
#define PST_PORT_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <net/netmap_paste.h>
#include "fdmap.h"
#include "region.h"
#include "ring.h"

#define PST_RINGS_MAX	64
#define PST_SLOTS_MIN	16
#define PST_SLOTS_MAX	4096
#define PST_SLOTS_DEF	1024
#define PST_NICS_MAX	8

struct pst_port {
	/* What syncs read.  It changes when NICs come and go, syncs being kept out, */
	struct pst_region *region;
	struct pst_nic __rcu *first_nic;	/* whose packets are batched */
	u32 tx_slots, rx_slots;
	u32 nrings;
	struct net *net;		/* reference held */
	u32 *steer;			/* [PST_STEER_KEYS] registered sockets by protocol and port */
	struct pst_fdmap socks;		/* and, under RCU, when the table of sockets grows */

	/* Changes with each connection. */
	u32 nsocks ____cacheline_aligned_in_smp;	/* with listeners, under mutex */
	u32 nnics;
	bool stale;			/* rings are as a former application left them; under mutex */
	struct mutex mutex;		/* sockets, NICs, netmap_ifs */
	struct list_head nics;		/* struct pst_nic, under mutex */
	u64 lost_nics;			/* ids of those whose buffers never came back */
	struct list_head listeners;	/* struct pst_listener, under mutex */

	/* Wakeups look whether it is pending; armed once per stall_ms, whoever asks. */
	struct delayed_work housekeeping ____cacheline_aligned_in_smp;
	unsigned long deferred_pause;	/* jiffies between two calls of pst_deferred_free(), its own */
	unsigned long deferred_next;	/* jiffies, likewise */

	struct list_head node;		/* all ports, under pst_ports_lock */
	u32 opens;			/* bound descriptors, under pst_ports_lock */
	char name[NETMAP_REQ_IFNAMSIZ];	/* "stackSSS:PPP" */

	struct pst_ring ring[];		/* [nrings] */
};

struct pst_nic *pst_port_first_nic(struct pst_port *port);

/* What REGISTER asks for when it creates the port. */
struct pst_port_config {
	u32 rings;
	u32 tx_slots, rx_slots;
	u32 extra_bufs;
	const struct pst_ext_config *ext;	/* memory to use, or NULL */
};

struct pst_port *pst_port_open(const char *name, const struct pst_port_config *cfg);
struct pst_port *pst_port_find(const char *name);
struct pst_port *pst_port_hold(struct pst_port *port);
struct pst_port *pst_port_find_for_nic(const char *name, u16 mem_id, bool attached);
int pst_port_nth_name(u32 n, char *name);
void pst_port_put(struct pst_port *port);
void pst_port_attend(struct pst_port *port);
void pst_port_attend_all(void);
int pst_port_init(void);
void pst_port_exit(void);
void pst_port_quiesce(struct pst_port *port);
void pst_port_resume(struct pst_port *port);
int pst_port_renew(struct pst_port *port);
void pst_port_counters(struct pst_port *port, struct pst_port_counters *c);

int pst_name_parse(const char *name, char *canonical, const char **member);

#endif /* PST_PORT_H */
