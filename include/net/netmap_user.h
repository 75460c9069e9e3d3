/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The application's side of a netmap ring.
 *
 * A bound descriptor and its mapping give a netmap_if; from there
 *
 *	ring = NETMAP_RXRING(nifp, i);
 *	while (!nm_ring_empty(ring)) {
 *		slot = &ring->slot[ring->head];
 *		use(NETMAP_BUF(ring, slot->buf_idx), slot->len);
 *		ring->head = ring->cur = nm_ring_next(ring, ring->head);
 *	}
 *
 * and poll() or an ioctl syncs.  The ordering letters are those of the drawing
 * in net/netmap.h.  This side's half, (A) and (D), needs no barrier as long as
 * the thread that touches the ring also makes the sync: the system call orders
 * it.  A second thread must be ordered with the first one (a lock, a join)
 * before it touches the ring.
 *
 * With NETMAP_WITH_LIBS defined before the inclusion, the second half of the
 * file adds nm_open() and its relatives: enough to open a port by name without
 * linking a library.  libnetmap.h offers the same and more (options, memory of
 * the application's own, several ports on one mapping).
 */
#ifndef _NET_NETMAP_USER_H_
#define _NET_NETMAP_USER_H_

#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <net/netmap.h>

#define NETMAP_DEVICE_NAME	"/dev/netmap"

#define _NETMAP_OFFSET(type, ptr, offset) \
	((type)(void *)((char *)(ptr) + (offset)))

/* The netmap_if at @ofs (nr_offset of the register request) in a mapping. */
#define NETMAP_IF(base, ofs)	_NETMAP_OFFSET(struct netmap_if *, base, ofs)

/*
 * Ring @index of a netmap_if; host rings follow the NIC's.  A ring that this
 * descriptor has not bound has offset 0, so the result equals @nifp itself.
 */
#define NETMAP_TXRING(nifp, index) \
	_NETMAP_OFFSET(struct netmap_ring *, nifp, (nifp)->ring_ofs[index])
#define NETMAP_RXRING(nifp, index) \
	_NETMAP_OFFSET(struct netmap_ring *, nifp, \
		(nifp)->ring_ofs[(index) + (nifp)->ni_tx_rings + \
				 (nifp)->ni_host_tx_rings])

/* Address of a buffer, and index of the buffer that starts at @buf. */
#define NETMAP_BUF(ring, index) \
	_NETMAP_OFFSET(char *, ring, (ring)->buf_ofs + \
		       (int64_t)(index) * (int64_t)(ring)->nr_buf_size)
#define NETMAP_BUF_IDX(ring, buf) \
	((uint32_t)((((char *)(buf) - (char *)(ring)) - (ring)->buf_ofs) / \
		    (int64_t)(ring)->nr_buf_size))

/*
 * Offset of a packet in its buffer, on ports that were opened with the offsets
 * option.  A stack port has offset_mask 0 and uses slot->offset instead.
 */
#define NETMAP_ROFFSET(ring, slot)	((slot)->ptr & (ring)->offset_mask)
#define NETMAP_WOFFSET(ring, slot, offset) \
	((void)((slot)->ptr = ((slot)->ptr & ~(ring)->offset_mask) | \
			      ((offset) & (ring)->offset_mask)))
#define NETMAP_BUF_OFFSET(ring, slot) \
	(NETMAP_BUF(ring, (slot)->buf_idx) + NETMAP_ROFFSET(ring, slot))

/* The slot after @i. */
static inline uint32_t nm_ring_next(const struct netmap_ring *r, uint32_t i)
{
	return i + 1 >= r->num_slots ? 0 : i + 1;
}

/* (D) True when the application owns no slot of the ring. */
static inline int nm_ring_empty(const struct netmap_ring *r)
{
	return r->head == r->tail;
}

/* (D) Number of slots the application owns. */
static inline uint32_t nm_ring_space(const struct netmap_ring *r)
{
	uint32_t head = r->head, tail = r->tail;

	return tail >= head ? tail - head : tail + r->num_slots - head;
}

/* True when some slot of a TX ring has not come back from the kernel. */
static inline int nm_tx_pending(const struct netmap_ring *r)
{
	return nm_ring_next(r, r->tail) != r->head;
}

/* Copy a packet of @len bytes; short blocks of whole cache lines inline. */
static inline void nm_pkt_copy(const void *src, void *dst, size_t len)
{
	const char *s = (const char *)src;
	char *d = (char *)dst;

	if (len >= 1024 || len % 64) {
		memcpy(d, s, len);
		return;
	}
	for (; len; len -= 64, s += 64, d += 64)
		memcpy(d, s, 64);
}

/*
 * A port in CSB mode is driven through two structs in place of head, cur and
 * tail.  Publishing cur before head keeps head <= cur for a reader that takes
 * them in the opposite order; the first fence is (A).
 */
static inline void nm_sync_kloop_appl_write(struct nm_csb_atok *atok,
					    uint32_t cur, uint32_t head)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&atok->cur, cur, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&atok->head, head, __ATOMIC_RELAXED);
}

/* The counterpart: hwtail before hwcur; the last fence is (D). */
static inline void nm_sync_kloop_appl_read(struct nm_csb_ktoa *ktoa,
					   uint32_t *hwtail, uint32_t *hwcur)
{
	*hwtail = __atomic_load_n(&ktoa->hwtail, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*hwcur = __atomic_load_n(&ktoa->hwcur, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#ifdef NETMAP_WITH_LIBS
#ifndef HAVE_NETMAP_WITH_LIBS
#define HAVE_NETMAP_WITH_LIBS

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

/* D: one line on stderr.  RD: at most @lps of them per second.  ND: none. */
#ifndef D
#define D(fmt, ...) \
	fprintf(stderr, "%s [%d] " fmt "\n", __func__, __LINE__, ##__VA_ARGS__)
#endif
#ifndef RD
#define RD(lps, fmt, ...) do { \
	static __thread time_t __second; \
	static __thread int __count; \
	struct timeval __now; \
	gettimeofday(&__now, NULL); \
	if (__now.tv_sec != __second) { \
		__second = __now.tv_sec; \
		__count = 0; \
	} \
	if (__count++ < (lps)) \
		D(fmt, ##__VA_ARGS__); \
} while (0)
#endif
#ifndef ND
#define ND(fmt, ...) do { } while (0)
#endif

#define MAXERRMSG	80	/* bytes of an nm_parse() message */

struct nm_desc;

/* A received packet, for nm_dispatch() and nm_nextpkt(). */
struct nm_pkthdr {
	struct timeval ts;	/* of the ring's last sync */
	uint32_t caplen;	/* bytes in the buffer */
	uint32_t len;		/* equal to caplen */
	uint64_t flags;		/* NM_MORE_PKTS: this call delivers another */
	struct nm_desc *d;
	struct netmap_slot *slot;	/* of the packet: fd, offset, flags */
	uint8_t *buf;		/* the packet; valid until the next sync */
};

#define NM_MORE_PKTS	1

struct nm_stat {
	uint32_t ps_recv;	/* packets that nm_nextpkt/nm_dispatch delivered */
	uint32_t ps_drop;
	uint32_t ps_ifdrop;
};

/*
 * An open port.  Allocated by nm_open(), freed by nm_close().
 * Ring numbers are inclusive ranges; first > last means none in that direction.
 */
struct nm_desc {
	struct nm_desc *self;	/* the struct itself: see IS_NETMAP_DESC */
	int fd;			/* poll() and ioctl() here */
	void *mem;		/* the mapping, NULL before nm_mmap() */
	uint64_t memsize;	/* its bytes */
	int done_mmap;		/* it is ours to unmap (not a parent's) */
	struct netmap_if *nifp;	/* NULL before nm_mmap() */
	uint16_t first_tx_ring, last_tx_ring, cur_tx_ring;
	uint16_t first_rx_ring, last_rx_ring, cur_rx_ring;
	struct nmreq req;	/* the request as the kernel answered it */
	struct nm_pkthdr hdr;	/* the packet nm_dispatch() is at */

	struct netmap_ring *some_ring;	/* any bound ring, for NETMAP_BUF */
	void *buf_start;	/* buffer 0 */
	void *buf_end;		/* end of the mapping */

	/* room for the wrappers of pcap-like interfaces; not used here */
	int snaplen;
	int promisc;
	int to_ms;
	char *errbuf;
	uint32_t if_flags;
	uint32_t if_reqcap;
	uint32_t if_curcap;
	struct nm_stat st;
	char msg[512];		/* why nm_open() fails, for its line on stderr */
};

#define P2NMD(p)		((const struct nm_desc *)(p))
#define IS_NETMAP_DESC(d)	((d) && P2NMD(d)->self == P2NMD(d))
#define NETMAP_FD(d)		(P2NMD(d)->fd)

/*
 * nm_open() flags.  The low 16 bits are NETMAP_NO_TX_POLL and
 * NETMAP_DO_RX_POLL; the others say what comes from the parent descriptor.
 */
enum {
	NM_OPEN_NO_MMAP	 = 0x040000,	/* do not map; see nm_mmap() */
	NM_OPEN_IFNAME	 = 0x080000,	/* name, ring and mode */
	NM_OPEN_ARG1	 = 0x100000,
	NM_OPEN_ARG2	 = 0x200000,	/* region */
	NM_OPEN_ARG3	 = 0x400000,	/* extra buffers */
	NM_OPEN_RING_CFG = 0x800000,	/* numbers of rings and slots */
};

/* Called by nm_dispatch() with its own last argument, the packet's header and
 * its first byte. */
typedef void (*nm_cb_t)(unsigned char *arg, const struct nm_pkthdr *hdr,
			const unsigned char *buf);

/* A decimal number of at most @max; advances *@p, negative when there is none. */
static inline long nm_parse_number(const char **p, long max)
{
	long n = 0;

	if (!isdigit((unsigned char)**p))
		return -1;
	for (; isdigit((unsigned char)**p); (*p)++) {
		n = n * 10 + (**p - '0');
		if (n > max)
			return -1;
	}
	return n;
}

/* The /flags of a name; 0 when there are none or one is unknown. */
static inline uint32_t nm_parse_flags(const char **p)
{
	uint32_t flags = 0;

	for (;; (*p)++) {
		switch (**p) {
		case 'x': flags |= NR_EXCLUSIVE; break;
		case 'z': flags |= NR_ZCOPY_MON; break;
		case 't': flags |= NR_MONITOR_TX; break;
		case 'r': flags |= NR_MONITOR_RX; break;
		case 'R': flags |= NR_RX_RINGS_ONLY; break;
		case 'T': flags |= NR_TX_RINGS_ONLY; break;
		case '@': case '\0': return flags;
		default: return 0;
		}
	}
}

/*
 * Fill d->req from a port name:
 *
 *	netmap:IFNAME | vale[ID]:NAME | pst[ID]:NAME | stack[ID]:NAME
 *		then one of	-N	ring pair N alone
 *				^	host rings	*	NIC and host rings
 *				{N }N	end of pipe N
 *		then		/xztrRT	flags		@N	region N
 *
 * @err: room for MAXERRMSG bytes, receives a message on failure.
 * Returns 0, or -1 with errno EINVAL, or 0 when the name has none of these
 * prefixes and so is not for netmap at all.
 */
static inline int nm_parse(const char *ifname, struct nm_desc *d, char *err)
{
	static const char *const prefix[] = { "netmap", "vale", "pst", "stack" };
	const char *why, *p, *colon = strchr(ifname, ':');
	uint32_t flags, mode = NR_REG_ALL_NIC, more = 0;
	long n, ringid = 0, mem = 0;
	size_t i, len;

	for (i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++)
		if (!strncmp(ifname, prefix[i], strlen(prefix[i])))
			break;
	if (!colon || i == sizeof(prefix) / sizeof(prefix[0])) {
		snprintf(err, MAXERRMSG, "not a netmap port name");
		errno = 0;
		return -1;
	}

	why = "bad character between prefix and ':'";
	p = ifname + strlen(prefix[i]);
	if (i == 0 && p != colon)
		goto fail;
	for (; p < colon; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			goto fail;

	why = "port name is empty";
	len = strcspn(colon + 1, "-*^{}/@");
	if (!len)
		goto fail;
	p = colon + 1 + len;
	if (i == 0)
		ifname = colon + 1;	/* sent without the prefix */
	why = "port name is too long";
	len = (size_t)(p - ifname);
	if (len >= sizeof(d->req.nr_name))
		goto fail;

	why = "bad ring number";
	switch (*p) {
	case '-':
		mode = NR_REG_ONE_NIC;
		break;
	case '^':
		mode = NR_REG_SW;
		break;
	case '*':
		mode = NR_REG_NIC_SW;
		break;
	case '{':
		mode = NR_REG_PIPE_MASTER;
		break;
	case '}':
		mode = NR_REG_PIPE_SLAVE;
		break;
	}
	if (mode != NR_REG_ALL_NIC)
		p++;
	if (mode == NR_REG_ONE_NIC || mode == NR_REG_PIPE_MASTER ||
	    mode == NR_REG_PIPE_SLAVE) {
		ringid = nm_parse_number(&p, NETMAP_RING_MASK - 1);
		if (ringid < 0)
			goto fail;
	}

	while (*p) {
		if (*p == '/' && !more) {
			why = "unknown or missing letter after '/'";
			p++;
			flags = nm_parse_flags(&p);
			if (!flags)
				goto fail;
			more = flags;
		} else if (*p == '@' && !mem) {
			why = "bad region number after '@'";
			p++;
			n = nm_parse_number(&p, UINT16_MAX);
			if (n <= 0)
				goto fail;
			mem = n;
		} else {
			why = "trailing characters";
			goto fail;
		}
	}

	memset(d->req.nr_name, 0, sizeof(d->req.nr_name));
	memcpy(d->req.nr_name, ifname, len);
	d->req.nr_ringid = (uint16_t)ringid;
	d->req.nr_flags = mode | more;
	if (mem)
		d->req.nr_arg2 = (uint16_t)mem;
	return 0;

fail:
	snprintf(err, MAXERRMSG, "%s", why);
	errno = EINVAL;
	return -1;
}

/* First and last bound ring of @n offsets; 1 and 0 when none is. */
static inline void nm_find_rings(const ssize_t *ofs, uint32_t n,
				 uint16_t *first, uint16_t *last)
{
	uint32_t i;

	*first = 1;
	*last = 0;
	for (i = 0; i < n; i++) {
		if (!ofs[i])
			continue;
		if (*first > *last)
			*first = (uint16_t)i;
		*last = (uint16_t)i;
	}
}

/*
 * Map the region of a descriptor opened with NM_OPEN_NO_MMAP, or borrow the
 * mapping of @parent (may be NULL) when both use the same region.  A borrowed
 * mapping must outlive @d.
 * Returns 0 or EINVAL.
 */
static inline int nm_mmap(struct nm_desc *d, const struct nm_desc *parent)
{
	struct netmap_if *nifp;
	uint32_t tx, rx;

	if (d->mem)
		return EINVAL;
	if (IS_NETMAP_DESC(parent) && parent->mem &&
	    parent->req.nr_arg2 == d->req.nr_arg2) {
		d->mem = parent->mem;
		d->memsize = parent->memsize;
	} else {
		void *mem = mmap(NULL, d->req.nr_memsize, PROT_READ | PROT_WRITE,
				 MAP_SHARED, d->fd, 0);

		if (mem == MAP_FAILED)
			return EINVAL;
		d->mem = mem;
		d->memsize = d->req.nr_memsize;
		d->done_mmap = 1;
	}

	nifp = NETMAP_IF(d->mem, d->req.nr_offset);
	d->nifp = nifp;
	tx = nifp->ni_tx_rings + nifp->ni_host_tx_rings;
	rx = nifp->ni_rx_rings + nifp->ni_host_rx_rings;
	nm_find_rings(nifp->ring_ofs, tx, &d->first_tx_ring, &d->last_tx_ring);
	nm_find_rings(nifp->ring_ofs + tx, rx, &d->first_rx_ring,
		      &d->last_rx_ring);
	d->cur_tx_ring = d->first_tx_ring;
	d->cur_rx_ring = d->first_rx_ring;
	if (d->first_rx_ring <= d->last_rx_ring)
		d->some_ring = NETMAP_RXRING(nifp, d->first_rx_ring);
	else if (d->first_tx_ring <= d->last_tx_ring)
		d->some_ring = NETMAP_TXRING(nifp, d->first_tx_ring);
	if (d->some_ring) {
		d->buf_start = NETMAP_BUF(d->some_ring, 0);
		d->buf_end = (char *)d->mem + d->memsize;
	}
	return 0;
}

/*
 * Unmap, close and free.  Slots not yet synced are lost.
 * Returns 0, or EINVAL when @d is not an open descriptor.
 */
static inline int nm_close(struct nm_desc *d)
{
	if (!IS_NETMAP_DESC(d))
		return EINVAL;
	if (d->done_mmap)
		munmap(d->mem, d->memsize);
	if (d->fd >= 0)
		close(d->fd);
	d->self = NULL;
	free(d);
	return 0;
}

/*
 * Open a port by name (see nm_parse) and map it.
 *
 * @req:    NULL, or a request to start from: slots, rings, extra buffers
 *          (nr_arg3), region (nr_arg2)
 * @flags:  NM_OPEN_*
 * @parent: NULL, or the descriptor they refer to, whose mapping is borrowed
 *          when the region is the same (it must then be closed last).  With
 *          flags but without NM_OPEN_ARG1, nr_arg1 becomes 4, and without
 *          NM_OPEN_ARG3, nr_arg3 becomes 0.
 *
 * Returns the descriptor, for nm_close().  NULL and errno on failure: that of
 * the name, of open(), of the NIOCREGIF request, or EINVAL when the mapping
 * failed; errno 0 means that the name is not one of netmap's.
 */
static inline struct nm_desc *nm_open(const char *ifname,
				      const struct nmreq *req, uint64_t flags,
				      const struct nm_desc *parent)
{
	struct nm_desc *d = (struct nm_desc *)calloc(1, sizeof(*d));
	int err;

	if (!d) {
		errno = ENOMEM;
		return NULL;
	}
	d->self = d;
	d->fd = -1;
	if (req)
		d->req = *req;
	if (!IS_NETMAP_DESC(parent))
		parent = NULL;

	if (parent && (flags & NM_OPEN_IFNAME)) {
		memcpy(d->req.nr_name, parent->req.nr_name,
		       sizeof(d->req.nr_name));
		d->req.nr_ringid = parent->req.nr_ringid & NETMAP_RING_MASK;
		d->req.nr_flags = parent->req.nr_flags;
	} else if (nm_parse(ifname, d, d->msg)) {
		goto fail;
	}
	if (parent && flags) {
		d->req.nr_arg1 = flags & NM_OPEN_ARG1 ? parent->req.nr_arg1 : 4;
		d->req.nr_arg3 = flags & NM_OPEN_ARG3 ? parent->req.nr_arg3 : 0;
		if (flags & NM_OPEN_ARG2)
			d->req.nr_arg2 = parent->req.nr_arg2;
		if (flags & NM_OPEN_RING_CFG) {
			d->req.nr_tx_slots = parent->req.nr_tx_slots;
			d->req.nr_rx_slots = parent->req.nr_rx_slots;
			d->req.nr_tx_rings = parent->req.nr_tx_rings;
			d->req.nr_rx_rings = parent->req.nr_rx_rings;
		}
	}
	d->req.nr_version = NETMAP_API;
	d->req.nr_cmd = 0;
	d->req.nr_ringid |= flags & (NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL);

	d->fd = open(NETMAP_DEVICE_NAME, O_RDWR | O_CLOEXEC);
	if (d->fd < 0) {
		snprintf(d->msg, sizeof(d->msg), "cannot open " NETMAP_DEVICE_NAME);
		goto fail;
	}
	if (ioctl(d->fd, NIOCREGIF, &d->req)) {
		snprintf(d->msg, sizeof(d->msg), "the kernel refused the port");
		goto fail;
	}
	if (!(flags & NM_OPEN_NO_MMAP)) {
		err = nm_mmap(d, parent);
		if (err) {
			snprintf(d->msg, sizeof(d->msg), "cannot map the region");
			errno = err;
			goto fail;
		}
	}
	return d;

fail:
	err = errno;
	if (err)
		D("%s: %s (%s)", ifname ? ifname : "", d->msg, strerror(err));
	nm_close(d);
	errno = err;
	return NULL;
}

/*
 * Copy a packet into the first TX ring with room for all of it, in several
 * slots (NS_MOREFRAG) when it is longer than a buffer.  Does not sync.  Not for
 * stack ports, whose slots need a socket: see paste.h.
 * Returns @len, or 0 when no ring had room.
 */
static inline int nm_inject(struct nm_desc *d, const void *buf, size_t len)
{
	const char *src = (const char *)buf;
	uint32_t i, rings = (uint32_t)d->last_tx_ring + 1 - d->first_tx_ring;

	for (i = 0; i < rings; i++) {
		struct netmap_ring *ring = NETMAP_TXRING(d->nifp, d->cur_tx_ring);
		uint32_t head = ring->head, slots;
		size_t left = len, room = ring->nr_buf_size;

		slots = len ? (uint32_t)((len + room - 1) / room) : 1;
		if (nm_ring_space(ring) < slots) {
			if (d->cur_tx_ring++ == d->last_tx_ring)
				d->cur_tx_ring = d->first_tx_ring;
			continue;
		}
		for (; slots; slots--, head = nm_ring_next(ring, head)) {
			struct netmap_slot *slot = &ring->slot[head];
			size_t n = left < room ? left : room;

			nm_pkt_copy(src, NETMAP_BUF_OFFSET(ring, slot), n);
			slot->len = (uint16_t)n;
			slot->flags = slots > 1 ? NS_MOREFRAG : 0;
			src += n;
			left -= n;
		}
		ring->head = ring->cur = head;	/* (A) */
		return (int)len;
	}
	return 0;
}

/* The first RX ring with something in it, from cur_rx_ring on; NULL if none. */
static inline struct netmap_ring *nm_find_rx(struct nm_desc *d)
{
	uint32_t i, rings = (uint32_t)d->last_rx_ring + 1 - d->first_rx_ring;

	for (i = 0; i < rings; i++) {
		struct netmap_ring *ring = NETMAP_RXRING(d->nifp, d->cur_rx_ring);

		if (!nm_ring_empty(ring))	/* (D) */
			return ring;
		if (d->cur_rx_ring++ == d->last_rx_ring)
			d->cur_rx_ring = d->first_rx_ring;
	}
	return NULL;
}

/* Describe the first packet of @ring in @hdr and release its slot. */
static inline void nm_take_packet(struct nm_desc *d, struct netmap_ring *ring,
				  struct nm_pkthdr *hdr)
{
	struct netmap_slot *slot = &ring->slot[ring->head];

	hdr->ts = ring->ts;
	hdr->caplen = hdr->len = slot->len;
	hdr->flags = 0;
	hdr->d = d;
	hdr->slot = slot;
	hdr->buf = (uint8_t *)NETMAP_BUF_OFFSET(ring, slot);
	ring->head = ring->cur = nm_ring_next(ring, ring->head);	/* (A) */
	d->st.ps_recv++;
}

/*
 * Call @cb for each received slot of all rings, at most @cnt of them (0 or -1 =
 * all), and release it.  Does not sync.  Returns the number of calls.
 */
static inline int nm_dispatch(struct nm_desc *d, int cnt, nm_cb_t cb,
			      unsigned char *arg)
{
	struct netmap_ring *ring;
	int got = 0;

	while ((cnt <= 0 || got < cnt) && (ring = nm_find_rx(d))) {
		if (got++) {
			d->hdr.flags = NM_MORE_PKTS;
			cb(arg, &d->hdr, d->hdr.buf);
		}
		nm_take_packet(d, ring, &d->hdr);
	}
	if (got)
		cb(arg, &d->hdr, d->hdr.buf);
	return got;
}

/*
 * The next received packet, described in @hdr, or NULL.  Its slot is released
 * at once, so the packet is valid until the next sync.
 */
static inline unsigned char *nm_nextpkt(struct nm_desc *d,
					struct nm_pkthdr *hdr)
{
	struct netmap_ring *ring = nm_find_rx(d);

	if (!ring)
		return NULL;
	nm_take_packet(d, ring, hdr);
	return hdr->buf;
}

#endif /* HAVE_NETMAP_WITH_LIBS */
#endif /* NETMAP_WITH_LIBS */
#endif /* _NET_NETMAP_USER_H_ */
