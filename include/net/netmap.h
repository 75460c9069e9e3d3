/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The netmap API, version 14: what kernel and application share.
 *
 * One mapping, obtained with mmap() on a bound /dev/netmap descriptor, holds
 *
 *      netmap_if                one per descriptor: where its rings are
 *      netmap_ring + slots      one per ring and direction
 *      buffers                  nr_buf_size bytes each, named by index
 *
 * Everything is found by offsets, so the mapping may lie anywhere, at different
 * places in different processes.
 *
 *      netmap_if --ring_ofs[i]--> netmap_ring --buf_ofs--> buffer 0
 *                                   |  slot[0] {buf_idx, len, ...}
 *                                   |  slot[1]             |
 *                                   v                      v
 *                                              buffer 0 + buf_idx * nr_buf_size
 *
 * A ring is a circular array of slots with three indexes:
 *
 *          head           cur            tail
 *      ----+--------------+--------------+------------
 *   kernel |  application owns [head, tail)  |  kernel
 *      ----+--------------+--------------+------------
 *
 *      head (u)  first slot of the application; moving it hands slots over
 *      cur  (u)  where to be woken: poll() is ready when cur != tail
 *      tail (k)  first slot of the kernel; moves only during a sync
 *
 * RX: [head, tail) are received slots.  Moving head gives them back.
 * TX: [head, tail) may be filled.       Moving head sends what lies before it.
 *
 * A sync is poll(), NIOCTXSYNC or NIOCRXSYNC.  Ordering, cited by letter on
 * both sides:
 *
 *      application                          kernel (in a sync)
 *      (A) writes slots, then head/cur      (B) reads head/cur, then slots
 *      (D) reads tail, then slots           (C) writes slots, then tail
 *
 * A sync is a system call of the thread that owns the ring, so A/B and C/D are
 * ordered for that thread; a second thread that looks at the ring must order
 * its accesses itself.
 *
 * (u) = written by the application, (k) = by the kernel, (uk) = by both, each
 * for the slots it owns.  Layouts and numbers are those of luigirizzo/netmap
 * and are pinned by tests/abi.
 */
#ifndef _NET_NETMAP_H_
#define _NET_NETMAP_H_

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/ioctl.h>
#include <linux/if.h>
struct netmap_timeval { __s64 tv_sec, tv_usec; };
#else
#include <stdint.h>
#include <sys/types.h>
#include <sys/time.h>
#include <sys/ioctl.h>
#include <net/if.h>
#define netmap_timeval timeval
#endif

#define NETMAP_API	14	/* the version spoken */
#define NETMAP_MIN_API	14
#define NETMAP_MAX_API	15

/*
 * One slot: 16 bytes.
 * The last eight bytes are a user address (NS_INDIRECT), or, on a stack port,
 * the socket and the place of the payload: see net/netmap_paste.h.
 */
struct netmap_slot {
	uint32_t buf_idx;	/* (uk) buffer; 0 and 1 are never handed out */
	uint16_t len;		/* (uk) bytes used, counted from the buffer's start */
	uint16_t flags;		/* (uk) NS_* */
	union {
		uint64_t ptr;
		struct {
			int32_t fd;		/* (uk) socket of a stack port's slot */
			uint16_t offset;	/* (uk) first payload byte in the buffer */
			uint16_t err;		/* (k) errno of an event or a refusal */
		};
	};
};

/* slot flags */
#define NS_BUF_CHANGED	0x0001	/* (u) buf_idx was replaced */
#define NS_REPORT	0x0002	/* (u) ask for a completion notification */
#define NS_FORWARD	0x0004
#define NS_NO_LEARN	0x0008
#define NS_INDIRECT	0x0010
#define NS_MOREFRAG	0x0020	/* packet continues in the next slot */
#define NS_TXMON	0x0040
#define NS_PORT_SHIFT	8
#define NS_PORT_MASK	(0xff << NS_PORT_SHIFT)	/* meaning is the port type's */
#define NS_RFRAGS(_slot)	(((_slot)->flags >> 8) & 0xff)
#define NETMAP_MAX_FRAGS	64

/* A ring: 256 bytes of header, then the slots. */
struct netmap_ring {
	int64_t  buf_ofs;	/* (k) bytes from this ring to buffer 0 */
	uint32_t num_slots;	/* (k) any number, not only powers of two */
	uint32_t nr_buf_size;	/* (k) bytes */
	uint16_t ringid;	/* (k) */
	uint16_t dir;		/* (k) 0 = tx, 1 = rx */
	uint32_t head;		/* (u) */
	uint32_t cur;		/* (u) */
	uint32_t tail;		/* (k) */
	uint32_t flags;		/* (uk) NR_* */
	uint32_t pad0;
	struct netmap_timeval ts;	/* (k) time of the last RX sync */
	uint64_t offset_mask;	/* (k) bits of ptr with a buffer offset; 0 = none */
	uint64_t buf_align;	/* (k) */
	uint8_t  sem[128] __attribute__((__aligned__(128)));	/* (u) room for a lock */
	struct netmap_slot slot[];
};

/* ring flags */
#define NR_TIMESTAMP	0x0002	/* (u) set ts at each RX sync */
#define NR_FORWARD	0x0004

/* What a bound descriptor sees; at nr_offset in the mapping. */
struct netmap_if {
	char     ni_name[IFNAMSIZ];	/* (k) port name, truncated */
	uint32_t ni_version;		/* (k) never set */
	uint32_t ni_flags;		/* (k) NI_* */
	uint32_t ni_tx_rings;		/* (k) */
	uint32_t ni_rx_rings;		/* (k) */
	uint32_t ni_bufs_head;		/* (uk) first extra buffer, 0 = none */
	uint32_t ni_host_tx_rings;	/* (k) 1 even when the port has none */
	uint32_t ni_host_rx_rings;	/* (k) */
	uint32_t ni_spare1[3];
	/* (k) tx, host tx, rx, host rx; from this struct; 0 = not bound here */
	ssize_t  ring_ofs[];
};

#define NI_PRIV_MEM	0x1	/* the region belongs to this port alone */

/* ------------------------------------------------------------------ ioctls */

#define NIOCTXSYNC	_IO('i', 148)	/* sync the bound TX rings */
#define NIOCRXSYNC	_IO('i', 149)	/* sync the bound RX rings */
#define NIOCCTRL	_IOWR('i', 151, struct nmreq_header)

#define NETMAP_REQ_IFNAMSIZ	64
#define NETMAP_REQ_MAXSIZE	4096	/* body and options together, bytes */

/* Every control request: a header, a body by type, options as a list. */
struct nmreq_header {
	uint16_t nr_version;	/* (u) NETMAP_API */
	uint16_t nr_reqtype;	/* (u) NETMAP_REQ_* */
	uint32_t nr_reserved;	/* (u) 0 */
	char     nr_name[NETMAP_REQ_IFNAMSIZ];	/* (u) port name */
	uint64_t nr_options;	/* (u) first struct nmreq_option, or 0 */
	uint64_t nr_body;	/* (u) struct of the request, or 0 */
};

enum {
	NETMAP_REQ_REGISTER = 1,
	NETMAP_REQ_PORT_INFO_GET,
	NETMAP_REQ_VALE_ATTACH,
	NETMAP_REQ_VALE_DETACH,
	NETMAP_REQ_VALE_LIST,
	NETMAP_REQ_PORT_HDR_SET,
	NETMAP_REQ_PORT_HDR_GET,
	NETMAP_REQ_VALE_NEWIF,
	NETMAP_REQ_VALE_DELIF,
	NETMAP_REQ_VALE_POLLING_ENABLE,
	NETMAP_REQ_VALE_POLLING_DISABLE,
	NETMAP_REQ_POOLS_INFO_GET,
	NETMAP_REQ_SYNC_KLOOP_START,
	NETMAP_REQ_SYNC_KLOOP_STOP,
	NETMAP_REQ_CSB_ENABLE,
	NETMAP_REQ_PST_ATTACH,		/* 16: the stack port's, see netmap_paste.h */
	NETMAP_REQ_PST_DETACH,
	NETMAP_REQ_PST_FD_REG,
};

/* One option; a request carries any number, each type at most once. */
struct nmreq_option {
	uint64_t nro_next;	/* (u) next option, or 0 */
	uint32_t nro_reqtype;	/* (u) NETMAP_REQ_OPT_* */
	uint32_t nro_status;	/* (k) 0 = done, else errno */
	uint64_t nro_size;	/* (u) whole size of a variable-size option, else 0 */
};

enum {
	NETMAP_REQ_OPT_EXTMEM = 1,
	NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
	NETMAP_REQ_OPT_CSB,
	NETMAP_REQ_OPT_SYNC_KLOOP_MODE,
	NETMAP_REQ_OPT_OFFSETS,
	NETMAP_REQ_OPT_MAX,
};

/* NETMAP_REQ_REGISTER: bind this descriptor to a port, creating the port. */
struct nmreq_register {
	uint64_t nr_offset;	/* (k) of the netmap_if in the mapping */
	uint64_t nr_memsize;	/* (k) bytes to map */
	uint32_t nr_tx_slots;	/* (uk) wanted (0 = default); got */
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;	/* (uk) wanted when this call creates the port */
	uint16_t nr_rx_rings;
	uint16_t nr_host_tx_rings;
	uint16_t nr_host_rx_rings;
	uint16_t nr_mem_id;	/* (uk) region */
	uint16_t nr_ringid;	/* (u) ring of NR_REG_ONE_NIC */
	uint32_t nr_mode;	/* (u) NR_REG_* */
	uint32_t nr_extra_bufs;	/* (uk) wanted; got (may be fewer) */
	uint64_t nr_flags;	/* (u) NR_* below */
};

enum {
	NR_REG_DEFAULT = 0,	/* legacy requests only */
	NR_REG_ALL_NIC,
	NR_REG_SW,
	NR_REG_NIC_SW,
	NR_REG_ONE_NIC,
	NR_REG_PIPE_MASTER,
	NR_REG_PIPE_SLAVE,
	NR_REG_NULL,
	NR_REG_ONE_SW,
};
#define NR_REG_MASK	0xf

#define NR_MONITOR_TX		0x100
#define NR_MONITOR_RX		0x200
#define NR_ZCOPY_MON		0x400
#define NR_EXCLUSIVE		0x800	/* nobody else may bind these rings */
#define NR_RX_RINGS_ONLY	0x2000
#define NR_TX_RINGS_ONLY	0x4000
#define NR_ACCEPT_VNET_HDR	0x8000
#define NR_DO_RX_POLL		0x10000
#define NR_NO_TX_POLL		0x20000	/* poll() syncs TX only with POLLOUT */

/* NETMAP_REQ_PORT_INFO_GET */
struct nmreq_port_info_get {
	uint64_t nr_memsize;	/* (k) */
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_host_tx_rings;
	uint16_t nr_host_rx_rings;
	uint16_t nr_mem_id;
	uint16_t pad1[3];
};

/* NETMAP_REQ_VALE_ATTACH and NETMAP_REQ_PST_ATTACH */
struct nmreq_vale_attach {
	struct nmreq_register reg;	/* (u) nr_mode, nr_ringid, nr_mem_id */
	uint32_t port_index;		/* (k) */
	uint32_t pad1;
};

/* NETMAP_REQ_VALE_DETACH and NETMAP_REQ_PST_DETACH */
struct nmreq_vale_detach {
	uint32_t port_index;	/* (k) */
	uint32_t pad1;
};

struct nmreq_vale_list {
	uint16_t nr_bridge_idx;
	uint16_t pad1;
	uint32_t nr_port_idx;
};

struct nmreq_port_hdr {
	uint32_t nr_hdr_len;
	uint32_t pad1;
};

struct nmreq_vale_newif {
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_mem_id;
	uint16_t pad1;
};

struct nmreq_vale_polling {
	uint32_t nr_mode;
	uint32_t nr_first_cpu_id;
	uint32_t nr_num_polling_cpus;
	uint32_t pad1;
};

/* NETMAP_REQ_POOLS_INFO_GET, and the description inside the extmem option */
struct nmreq_pools_info {
	uint64_t nr_memsize;
	uint16_t nr_mem_id;
	uint16_t pad1[3];
	uint64_t nr_if_pool_offset;
	uint32_t nr_if_pool_objtotal;
	uint32_t nr_if_pool_objsize;
	uint64_t nr_ring_pool_offset;
	uint32_t nr_ring_pool_objtotal;
	uint32_t nr_ring_pool_objsize;
	uint64_t nr_buf_pool_offset;
	uint32_t nr_buf_pool_objtotal;
	uint32_t nr_buf_pool_objsize;
};

struct nmreq_sync_kloop_start {
	uint32_t sleep_us;
	uint32_t pad1;
};

/* NETMAP_REQ_OPT_EXTMEM: rings and buffers in memory of the application */
struct nmreq_opt_extmem {
	struct nmreq_option nro_opt;
	uint64_t nro_usrptr;	/* (u) start of the memory */
	struct nmreq_pools_info nro_info;	/* (u) what to carve out of it */
};

struct nmreq_opt_offsets {
	struct nmreq_option nro_opt;
	uint64_t nro_max_offset;
	uint64_t nro_initial_offset;
	uint32_t nro_offset_bits;
	uint32_t nro_tx_align;
	uint64_t nro_min_gap;
};

struct nmreq_opt_csb {
	struct nmreq_option nro_opt;
	uint64_t csb_atok;
	uint64_t csb_ktoa;
};

struct nmreq_opt_sync_kloop_eventfds {
	struct nmreq_option nro_opt;
	struct {
		int32_t ioeventfd;
		int32_t irqfd;
	} eventfds[];
};

struct nmreq_opt_sync_kloop_mode {
	struct nmreq_option nro_opt;
	uint32_t mode;
	uint32_t pad1;
};

struct nm_csb_atok {
	uint32_t head;
	uint32_t cur;
	uint32_t appl_need_kick;
	uint32_t sync_flags;
	uint32_t pad[12];
};

struct nm_csb_ktoa {
	uint32_t hwcur;
	uint32_t hwtail;
	uint32_t kern_need_kick;
	uint32_t pad[13];
};

/* ------------------------------------------------------------------ legacy */

/* The argument of NIOCREGIF and NIOCGINFO, which nm_open() still uses. */
struct nmreq {
	char     nr_name[IFNAMSIZ];
	uint32_t nr_version;
	uint32_t nr_offset;
	uint32_t nr_memsize;
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_ringid;	/* NETMAP_*_RING, NETMAP_NO_TX_POLL, ... */
	uint16_t nr_cmd;	/* NETMAP_BDG_*; 0 = register */
	uint16_t nr_arg1;
	uint16_t nr_arg2;	/* region */
	uint32_t nr_arg3;	/* extra buffers */
	uint32_t nr_flags;	/* NR_REG_* and flags */
	uint32_t spare2[1];
};

#define NIOCGINFO	_IOWR('i', 145, struct nmreq)
#define NIOCREGIF	_IOWR('i', 146, struct nmreq)

#define NETMAP_HW_RING		0x4000
#define NETMAP_SW_RING		0x2000
#define NETMAP_RING_MASK	0x0fff
#define NETMAP_NO_TX_POLL	0x1000
#define NETMAP_DO_RX_POLL	0x8000

#define NETMAP_BDG_ATTACH	1
#define NETMAP_BDG_DETACH	2
#define NETMAP_BDG_REGOPS	3
#define NETMAP_BDG_LIST		4
#define NETMAP_BDG_VNET_HDR	5
#define NETMAP_BDG_NEWIF	6
#define NETMAP_BDG_DELIF	7
#define NETMAP_PT_HOST_CREATE	8
#define NETMAP_PT_HOST_DELETE	9
#define NETMAP_BDG_POLLING_ON	10
#define NETMAP_BDG_POLLING_OFF	11
#define NETMAP_VNET_HDR_GET	12
#define NETMAP_BDG_HOST		1

#define NM_IFRDATA_LEN	256
struct nm_ifreq {
	char nifr_name[IFNAMSIZ];
	char data[NM_IFRDATA_LEN];
};
#define NIOCCONFIG	_IOWR('i', 150, struct nm_ifreq)

#endif /* _NET_NETMAP_H_ */
