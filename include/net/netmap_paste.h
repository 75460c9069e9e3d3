/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stack port: a netmap port behind which stands the kernel's TCP/IP.  What follows
 * is about TCP; other sockets differ as told under "Other sockets".
 *
 * Life of a server
 *      REGISTER    "stack:NAME"       the port, its rings and buffers
 *      PST_ATTACH  "stack:IFNAME"     a NIC delivers into those buffers
 *      socket, bind, listen, accept   as ever
 *      PST_FD_REG  fd                 from now on the socket's bytes come and go
 *                                     by slots; recv() and send() are not to be
 *                                     used on it, everything else is
 *      poll()                         sends the TX slots, runs the NIC and the
 *                                     protocols, publishes RX slots
 *      close(fd)                      closes the connection; the port forgets it
 *
 * Without system calls: PST_FD_REG of the listening socket itself.  Its connections are
 * then accepted by poll(), registered with its ring (close-on-exec, not blocking), and come as
 * events; NS_PST_CLOSE closes them.  Both happen in polls of the process that registered
 * the socket, in whose table the descriptors are.  Accept flow stops while the ring is full,
 * buffers are short or descriptors have run out; connections wait in the backlog then.
 *
 * RX slot   fd       the socket
 *           offset   first payload byte, from the start of the buffer
 *           len      offset + payload bytes
 *           buf_idx  the buffer, the application's until it moves head past the
 *                    slot; to keep it for longer, put another index of your own
 *                    into the slot (and NS_BUF_CHANGED)
 *           The slots of one fd, in ring order, are exactly its byte stream.
 *           NS_PST_EVENT | NS_PST_ACCEPT: fd is a new connection, registered; the
 *                    buffer has a struct nm_pst_accepted
 *           NS_PST_EVENT alone: no payload and no buffer (buf_idx 0); err tells:
 *                    0            the peer will send no more (end of stream)
 *                    EAGAIN       the socket is congested: what you sent waits
 *                                 outside TCP, up to 64 slots of it; hold further
 *                                 replies to it back
 *                    EAGAIN, with NS_PST_CLEAR: no longer, TCP has all of it, that
 *                                 in the ring too
 *                    ENOTCONN     the connection is over, in order: both sides have
 *                                 shut down and all was acknowledged
 *                    other        the connection failed with this errno.  An ICMP error of
 *                                 one that goes on is not told, and no slot is refused for
 *                                 it, be IP_RECVERR set: the stream has no gap
 *           NS_PST_EVENT with fd -1 and err ENOBUFS, if the ring's flags ask for it
 *                    (NR_PST_TELL_LOW): the application holds too many buffers, see
 *                    NR_PST_LOW; with NS_PST_CLEAR: no longer
 *
 * TX slot   fd, offset, len as above, set by the application for each slot.
 *           The slot comes back from the sync with a fresh buffer; the one that
 *           was in it belongs to the kernel until the peer has acknowledged it.
 *           NS_PST_KEEP: the kernel sends from buf_idx but the application keeps
 *                    it: it may be cited by any number of slots at once.  Its
 *                    bytes must not change until they are acknowledged.  The
 *                    slot's own buffer is put back into it.
 *           NS_PST_SHUT: after this slot's data (none is needed) the kernel shuts
 *                    the sending side down: shutdown(fd, SHUT_WR), but in order.
 *           NS_PST_CLOSE: after this slot's data (none is needed) the connection is
 *                    closed, as by close(fd), but without losing what waits.  No
 *                    slot names fd from then on, until it is another connection's.
 *                    Done even if the connection has failed before.  What waits is
 *                    lost after TCP_LINGER2 (tcp_fin_timeout, 60 s) nevertheless.
 *           NS_PST_PAUSE, NS_PST_RESUME (no payload): the socket's bytes stay in TCP,
 *                    whose window closes, as if nobody read them; or come again.
 *                    For who cannot answer that client now and others meanwhile.
 *                    Slots that are on their way to the ring still come.
 *           len == offset: nothing is sent.
 *
 * Closing: close(fd) while the socket is congested loses what waits.  Sockets that
 * are not congested have everything in TCP once poll() has returned, unless buffers
 * are so low that the TX ring was not emptied (nm_tx_pending()); for the others
 * wait for NS_PST_CLEAR, or send NS_PST_SHUT and wait for ENOTCONN or an error.
 * A socket that is disconnected (AF_UNSPEC) and connected anew counts as closed, and may be
 * registered again.
 * While you cannot send and therefore release no RX slot, set cur to tail: events still
 * come, some slots are kept for them.
 *
 *           A slot that names an unknown fd, a buffer the application does not
 *           own, a place outside the buffer, or an unknown flag is not sent: it
 *           comes back with NS_PST_REFUSED and the errno in err (and, if it had
 *           NS_PST_KEEP, with its own buffer), and the ring goes on.
 *
 * Other sockets, registered in the same way
 *      UDP       bound (connected or not).  One datagram is one slot, of no payload if it is
 *                empty; if it fits no buffer it is several, NS_PST_MORE on all but the last,
 *                in order among the slots of the fd.  Its first slot has NS_PST_FROM: right
 *                before the payload lies a struct nm_pst_addr, the sender.
 *                TX: with NS_PST_TO the same struct before the payload says where to;
 *                without, the socket has to be connected.  So an echo is the same buffer,
 *                offset and len.  An empty datagram needs NS_PST_TO.  A datagram in
 *                several slots: adjacent, NS_PST_CONT on all but the last, handed in
 *                by one sync; else it is refused (EINVAL).
 *                A datagram is sent or it is refused, whole; err is what send() would say.
 *                Errors of datagrams sent before (ICMP) come as events, and the socket
 *                goes on.  There is no end of stream; NS_PST_SHUT is refused.  NS_PST_CLOSE
 *                alone sends nothing; with a datagram that is refused it does not close.
 *                When the socket's own receive queue is full, UDP drops, as ever.
 *                UDP_GRO may be set: datagrams still come one by one.  Consecutive slots of
 *                equal length to one peer leave with one UDP_SEGMENT where that is possible.
 *      MPTCP, SCTP (one-to-one style), Unix stream sockets
 *                connected.  As TCP, but copied both ways (NS_PST_COPIED).  SCTP: a slot
 *                is a message each way; RX, NS_PST_MORE as for datagrams; notifications are
 *                not passed on.  One that SCTP does not send (EMSGSIZE, EINVAL) is refused as
 *                a datagram is; if its slot had waited an event tells this errno, and the
 *                socket goes on.  Descriptors and credentials sent along are dropped.
 */
#ifndef _NET_NETMAP_PASTE_H_
#define _NET_NETMAP_PASTE_H_

#include <net/netmap.h>

/* Slot flags of a stack port (the NS_PORT_MASK byte); two mean one thing each way. */
#define NS_PST_COPIED	0x0100	/* (k) RX: payload was copied into the buffer */
#define NS_PST_EVENT	0x0200	/* (k) RX: no payload, see err */
#define NS_PST_KEEP	0x0400	/* (u) TX: cite the buffer, do not give it away */
#define NS_PST_REFUSED	0x0800	/* (k) slot was not accepted, see err */
#define NS_PST_CLEAR	0x1000	/* (k) RX: with EVENT and EAGAIN, congestion is over */
#define NS_PST_ACCEPT	0x2000	/* (k) RX: with EVENT, a connection was accepted */
#define NS_PST_FROM	0x4000	/* (k) RX: a struct nm_pst_addr before the payload */
#define NS_PST_MORE	0x8000	/* (k) RX: the message goes on in fd's next slot */
#define NS_PST_TO	0x0100	/* (u) TX: a struct nm_pst_addr before the payload */
#define NS_PST_CONT	0x0200	/* (u) TX: the datagram goes on in the next slot */
#define NS_PST_CLOSE	0x1000	/* (u) TX: close the connection after this slot */
#define NS_PST_SHUT	0x2000	/* (u) TX: shut sending down after this slot */
#define NS_PST_PAUSE	0x4000	/* (u) TX: no payload; deliver nothing more of fd */
#define NS_PST_RESUME	0x8000	/* (u) TX: no payload; deliver again */

/* What an application may set in a TX slot; anything else is refused. */
#define NS_PST_TX_FLAGS	(NS_BUF_CHANGED | NS_REPORT | NS_PST_KEEP | NS_PST_CLOSE | \
			 NS_PST_SHUT | NS_PST_PAUSE | NS_PST_RESUME | \
			 NS_PST_TO | NS_PST_CONT | \
			 NS_PST_REFUSED)	/* left from last time: ignored */

/*
 * Ring flag (k): the application holds so many buffers that the NIC delivers by
 * copying, or not at all.  Set and cleared at each RX sync.
 */
#define NR_PST_LOW	0x0100
#define NR_PST_TELL_LOW	0x0200	/* (u) RX ring: and tell it, and its end, by events */

/*
 * PST_ATTACH (struct nmreq_vale_attach): nr_mode NR_REG_ALL_NIC, NR_REG_NIC_SW or 0: all RX
 * queues of the interface.  NR_REG_ONE_NIC: nr_rx_rings (0 means 1) of them from nr_ringid on;
 * others may be attached to other ports, or stay the kernel's.  The i-th queue attached is
 * served by ring i modulo the number of rings.  The interface is of the caller's network
 * namespace, which must be that of the port (EXDEV; PST_DETACH too).
 */

/*
 * PST_FD_REG: the bytes of a connection, or the connections of a listener, go through the
 * first ring bound by the caller.  PST_FD_BY_QUEUE: through that of the rings bound by the
 * caller which serves the NIC queue its last packet came from, if that is known and among
 * them.  A listener is always polled by the first ring; the flag is for its connections.
 * With another ring: a descriptor that has bound that one (NR_REG_ONE_NIC).
 *
 * A listener is accepted from by @fd, the number.  When that is closed and the listener has
 * others, connections wait for accept(2), or until one of those is registered.
 */
struct nmreq_pst_fd_reg {
	uint32_t fd;		/* (u) */
	uint32_t flags;		/* (u) PST_FD_* */
};

#define PST_FD_BY_QUEUE	0x1

/*
 * Peer of a datagram; its last byte is the one before the payload, so it may be unaligned:
 * nm_pst_getaddr(), nm_pst_setaddr().  The family is the socket's (an AF_INET6 socket's IPv4
 * peers are mapped); an AF_INET6 socket sends to AF_INET as well.
 */
struct nm_pst_addr {
	uint16_t family;	/* AF_INET or AF_INET6 */
	uint16_t port;		/* network byte order */
	uint32_t scope;		/* of a link-local IPv6 address, else 0 */
	uint8_t addr[16];	/* IPv4: the first four bytes, then zeros */
	uint8_t pad1[8];	/* 0 */
};

/* In the buffer of an NS_PST_ACCEPT slot. */
struct nm_pst_accepted {
	uint16_t local_port;	/* network byte order */
	uint16_t addrlen;	/* bytes of @peer in use */
	uint8_t peer[28];	/* struct sockaddr_in or sockaddr_in6, by the socket's family */
};

/* Requests of ours, numbered far from those netmap may assign. */
enum {
	NETMAP_REQ_PST_STATS = 0x4000,	/* counters of one ring and its port */
	NETMAP_REQ_PST_LIST,		/* name of the n-th stack port */
};

/* Options of ours. */
enum {
	NETMAP_REQ_OPT_PST_KEEP = 0x4000,
};

/*
 * NETMAP_REQ_OPT_PST_KEEP: with REGISTER and NETMAP_REQ_OPT_EXTMEM, when the request
 * makes the port.  These buffers hold what an earlier user of the memory left: they are
 * the application's from the start, and nobody else is given them.
 * ERANGE: no such buffer; EEXIST: named twice; EBUSY: the port exists already;
 * EINVAL: without EXTMEM; EFAULT.
 */
struct nmreq_opt_pst_keep {
	struct nmreq_option nro_opt;
	uint64_t nro_indexes;	/* (u) address of nro_count buffer indexes, uint32_t each */
	uint32_t nro_count;	/* (u) */
	uint32_t pad1;		/* (u) 0 */
};

/*
 * Counters, free-running since the port was created.  X(name, meaning).
 * The order is part of the interface: add at the end.
 */
#define PST_RING_COUNTERS(X) \
	X(rx_syncs,	"RX syncs (poll or NIOCRXSYNC)") \
	X(rx_batches,	"RX syncs that published at least one slot") \
	X(rx_slots,	"RX slots published") \
	X(rx_batch_max,	"most slots published by one sync") \
	X(rx_in_place,	"payload bytes delivered where the NIC, or AF_XDP in copy mode, wrote them") \
	X(rx_copied,	"payload bytes copied into a buffer") \
	X(rx_events,	"event slots (connection, end of stream, error, congestion, buffers held)") \
	X(rx_full,	"times data waited in a socket because the ring was full") \
	X(rx_short,	"times data waited in a socket because buffers were short") \
	X(rx_stale,	"slots withdrawn because their socket was closed") \
	X(rx_wakeups,	"times a sleeping application was woken") \
	X(tx_syncs,	"TX syncs") \
	X(tx_batches,	"TX syncs that sent at least one slot") \
	X(tx_slots,	"TX slots accepted") \
	X(tx_batch_max,	"most slots accepted by one sync") \
	X(tx_bytes,	"payload bytes handed to TCP, UDP and other protocols") \
	X(tx_copied,	"of these, bytes copied on the way there: see pastectl(8)") \
	X(tx_lent,	"slots sent with NS_PST_KEEP") \
	X(tx_queued,	"slots moved to their socket's queue because it was full") \
	X(tx_held,	"slots held back in the ring because that queue was full too") \
	X(tx_nobuf,	"TX syncs cut short for want of a fresh buffer") \
	X(tx_failed,	"slots that the socket did not take: it had failed, or the message was not fit to be sent") \
	X(bad_index,	"refused: buffer index out of range") \
	X(bad_owner,	"refused: buffer not owned by the application") \
	X(bad_place,	"refused: offset or length outside the buffer") \
	X(bad_fd,	"refused: no such registered socket") \
	X(bad_flags,	"refused: unknown or misplaced flag, datagram without its end") \
	X(bad_pointers,	"syncs refused because head or cur was illegal") \
	X(direct_packets, "packets handed to the NIC in one go with others") \
	X(direct_batches, "such goes: at most one doorbell each") \
	X(nic_frames,	"frames taken from the NIC") \
	X(nic_in_place,	"of these, frames whose payload stayed in place") \
	X(nic_merged,	"of these, frames offered to GRO") \
	X(nic_recycled,	"frames copied and their buffers recycled because buffers were low") \
	X(nic_dropped,	"frames dropped for want of kernel memory, or of impossible length") \
	X(nic_bad,	"descriptors of the NIC that named no buffer given to it") \
	X(nic_wakeups,	"times the driver had to be told of refilled buffers") \
	X(stalls,	"times the module ran the NIC because the application did not") \
	X(accepted,	"connections accepted for registered listeners") \
	X(accept_failed, "times none could be accepted: descriptors or memory") \
	X(closed,	"connections closed by NS_PST_CLOSE") \
	X(rx_cross,	"packets of the ring's sockets that another ring's NIC queue brought")

#define PST_PORT_COUNTERS(X) \
	X(buf_total,	"buffers in the region, the reserved ones excluded") \
	X(buf_free,	"buffers nobody holds") \
	X(buf_nic,	"buffers with the NIC") \
	X(buf_stack,	"buffers in the kernel's TCP/IP, received") \
	X(buf_user,	"buffers the application owns, in slots or kept") \
	X(buf_sent,	"buffers in the kernel's TCP/IP, sent or returned while in use") \
	X(buf_low,	"low-water mark below which frames are copied") \
	X(sockets,	"registered sockets") \
	X(nics,		"attached interfaces") \
	X(nic_zero_copy, "of these, in zero-copy mode")

#define PST_COUNTER_FIELD(name, text) uint64_t name;
struct pst_ring_counters { PST_RING_COUNTERS(PST_COUNTER_FIELD) };
struct pst_port_counters { PST_PORT_COUNTERS(PST_COUNTER_FIELD) };
#undef PST_COUNTER_FIELD

/*
 * NETMAP_REQ_PST_STATS, nr_name = the port.
 * ENXIO: no such port; EINVAL: no such ring.
 */
struct nmreq_pst_stats {
	uint32_t ring;		/* (u) ring number */
	uint32_t rings;		/* (k) number of rings */
	struct pst_port_counters port;	/* (k) */
	struct pst_ring_counters counters;	/* (k) */
};

/* NETMAP_REQ_PST_LIST: nr_name is filled in.  ENOENT: there are no more. */
struct nmreq_pst_list {
	uint32_t index;		/* (u) counted from 0 */
	uint32_t pad1;		/* (u) 0 */
};

/*
 * Accessors.  Older PASTE applications pack these fields themselves; here they
 * are plain members of the slot.
 */
static inline int32_t nm_pst_getfd(const struct netmap_slot *slot)
{
	return slot->fd;
}

static inline void nm_pst_setfd(struct netmap_slot *slot, int32_t fd)
{
	slot->fd = fd;
}

static inline uint16_t nm_pst_getdoff(const struct netmap_slot *slot)
{
	return slot->offset;
}

static inline void nm_pst_setdoff(struct netmap_slot *slot, uint16_t offset)
{
	slot->offset = offset;
}

/* The address before the payload of @slot, whose buffer is @buf; offset is at least its size. */
static inline void nm_pst_getaddr(const char *buf, const struct netmap_slot *slot,
				  struct nm_pst_addr *addr)
{
	__builtin_memcpy(addr, buf + slot->offset - sizeof(*addr), sizeof(*addr));
}

static inline void nm_pst_setaddr(char *buf, const struct netmap_slot *slot,
				  const struct nm_pst_addr *addr)
{
	__builtin_memcpy(buf + slot->offset - sizeof(*addr), addr, sizeof(*addr));
}

static inline void nm_pst_reset_fddoff(struct netmap_slot *slot)
{
	slot->fd = 0;
	slot->offset = 0;
}

#endif /* _NET_NETMAP_PASTE_H_ */
