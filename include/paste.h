/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stack ports, conveniently: the requests as functions, and the walks over
 * slots that nearly every application writes.  What slots, flags and events mean
 * is told in net/netmap_paste.h, and all of it can be done without this header.
 *
 * A server in five calls, after nmport_open("stack:0") (or nm_open):
 *
 *	paste_attach(fd, "stack:eth0");		a NIC delivers into the port
 *	paste_register(fd, accept(...));	a socket's bytes travel by slots
 *	poll(fd)
 *	paste_rx_first(ring) ... paste_rx_release(ring)
 *	paste_tx_room(ring) ... paste_tx_commit(ring, ...)
 *
 * Functions return 0 or a negative errno and leave errno alone; none prints.
 * paste_strerror() turns a request's error into a sentence with cause and cure.
 * Slot functions touch one ring only and belong to the thread that syncs it;
 * ordering letters are those of net/netmap.h.
 */
#ifndef _PASTE_H_
#define _PASTE_H_

#include <errno.h>
#include <stdint.h>
#include <stddef.h>
#include <net/netmap.h>
#include <net/netmap_paste.h>
#include <net/netmap_user.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- requests */

/*
 * A descriptor for requests, not bound to any port.  Close it with close().
 * Returns it or -errno: ENOENT (the module is not loaded), EACCES.
 */
int paste_control(void);

/*
 * Any NIOCCTRL request without options: @type NETMAP_REQ_*, @name of a port ("" =
 * that of @fd), @body the struct of the request.  -EINVAL also when @name does
 * not fit in a header.
 */
int paste_request(int fd, uint16_t type, const char *name, void *body);

/*
 * Let an interface deliver into the buffers of a stack port.
 *
 * @fd:     a descriptor of the port; or one that is not bound, then the port is
 *          the one that uses region @mem_id, or the only stack port there is
 *          when @mem_id is 0
 * @name:   "stack:IFNAME"
 *
 * The attachment belongs to the port, not to @fd: it ends with paste_detach(),
 * with the interface, or with the port.
 * Errors: EPERM, ENXIO, ENOTUNIQ, EBUSY, ENOSPC, ENOBUFS, EINVAL, ENOMEM, EOPNOTSUPP; see
 * paste_strerror().
 */
int paste_attach_region(int fd, const char *name, uint16_t mem_id);

static inline int paste_attach(int fd, const char *name)
{
	return paste_attach_region(fd, name, 0);
}

/*
 * The same for @n (not 0) of its receive queues, from number @first on.  Others may be attached
 * to other ports. Packets of this port's sockets that arrive on them are copied.
 * Errors also: EINVAL no such queues; EBUSY one of them is attached to a port.
 */
int paste_attach_queues(int fd, const char *name, uint16_t first, uint16_t n);

/*
 * Give the interface "stack:IFNAME" back to the kernel; @fd as for paste_attach().
 * Errors: EPERM, ENXIO not attached, ENOTUNIQ, EINVAL.
 */
int paste_detach(int fd, const char *name);

/*
 * From now on the bytes of socket @sockfd come and go by slots of the first ring that @fd has
 * bound; net/netmap_paste.h tells of sockets that are not TCP.  What has arrived already is
 * delivered first.  A listening socket: its connections are accepted by poll() and come as
 * events, see paste_rx_accepted().  The connection ends with close(sockfd), as ever.
 * Errors: EBADF no such fd; ENOTSOCK; EPROTONOSUPPORT of no kind that can be registered;
 * EOPNOTSUPP a listener that is not TCP; ENOTCONN not connected, UDP: not bound; EBUSY registered already, or owned by something else in the kernel;
 * EXDEV of another network namespace; ENOMEM; ENXIO @fd is not bound to a stack port.
 */
int paste_register(int fd, int sockfd);

/*
 * The same, but of all rings that @fd has bound the socket gets the one that serves the NIC
 * queue its packets come from (for a listener: each of its connections does), so that
 * receiving it touches nothing of another ring.  Without such a ring: the first.
 */
int paste_register_by_queue(int fd, int sockfd);

/*
 * Counters of port @name and of its ring number @ring, in @stats, whose other
 * fields need no initialisation.  @fd: any netmap descriptor.
 * Errors: ENXIO no such port, EINVAL no such ring.
 */
int paste_stats(int fd, const char *name, uint32_t ring,
		struct nmreq_pst_stats *stats);

/*
 * Name of the @index-th stack port, counted from 0, in @name.  Errors: ENOENT no
 * more.  Ports that come or go between calls may be missed or seen twice.
 */
int paste_list(int fd, uint32_t index, char name[NETMAP_REQ_IFNAMSIZ]);

/* Sizes and region of port @name.  Errors: ENXIO no such port. */
int paste_info(int fd, const char *name, struct nmreq_port_info_get *info);

/*
 * Why a request failed and what to do about it, for people.
 *
 * @request: NETMAP_REQ_*, or 0 for opening the device
 * @err:     errno or its negative
 *
 * Returns a constant string without newline or final stop.
 */
const char *paste_strerror(uint16_t request, int err);

/* ----------------------------------------------------------- receive slots */

/* (D) The first slot of the application, or NULL. */
static inline struct netmap_slot *paste_rx_first(struct netmap_ring *ring)
{
	return nm_ring_empty(ring) ? NULL : &ring->slot[ring->head];
}

/* True for a slot that carries an event (slot->err) and no payload. */
static inline int paste_rx_is_event(const struct netmap_slot *slot)
{
	return slot->flags & NS_PST_EVENT;
}

/*
 * The connection that slot->fd is, if the slot tells of a new one, else NULL.  Valid as
 * payload is.
 */
static inline const struct nm_pst_accepted *
paste_rx_accepted(const struct netmap_ring *ring, const struct netmap_slot *slot)
{
	if (!(slot->flags & NS_PST_EVENT) || !(slot->flags & NS_PST_ACCEPT))
		return NULL;
	return (const void *)(NETMAP_BUF(ring, slot->buf_idx) + slot->offset);
}

/*
 * Payload of a slot and, in @len, its bytes; an event has 0 of them.  Valid
 * until the sync after the slot's release, or for as long as the buffer is kept.
 */
static inline void *paste_rx_data(const struct netmap_ring *ring,
				  const struct netmap_slot *slot, size_t *len)
{
	*len = slot->len > slot->offset ? slot->len - slot->offset : 0;
	return NETMAP_BUF(ring, slot->buf_idx) + slot->offset;
}

/* (A) Give the first slot, with the buffer that is in it, back to the kernel. */
static inline void paste_rx_release(struct netmap_ring *ring)
{
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

/*
 * Keep the buffer of a received slot: @spare, an index the application owns,
 * takes its place.  Release the slot afterwards as usual.
 * Returns the index kept, the application's until it puts it into a slot again
 * or closes the port.  Not for events, which have no buffer.
 */
static inline uint32_t paste_rx_keep(struct netmap_slot *slot, uint32_t spare)
{
	uint32_t kept = slot->buf_idx;

	slot->buf_idx = spare;
	slot->flags |= NS_BUF_CHANGED;
	return kept;
}

/* ---------------------------------------------------------- transmit slots */

/*
 * Where the next reply goes: the buffer of the first free slot, and in @room its
 * bytes.  NULL: the ring is full; poll() for POLLOUT, and leave received slots
 * unreleased meanwhile so that senders are held back too.
 */
static inline void *paste_tx_room(const struct netmap_ring *ring, size_t *room)
{
	if (nm_ring_empty(ring))	/* (D) */
		return NULL;
	*room = ring->nr_buf_size < UINT16_MAX ? ring->nr_buf_size : UINT16_MAX;
	return NETMAP_BUF(ring, ring->slot[ring->head].buf_idx);
}

/*
 * What became of the last use of the slot that paste_tx_room() offers: 0, or the
 * negative errno for which the kernel refused it (NS_PST_REFUSED).
 */
static inline int paste_tx_refusal(const struct netmap_ring *ring)
{
	const struct netmap_slot *slot = &ring->slot[ring->head];

	if (nm_ring_empty(ring) || !(slot->flags & NS_PST_REFUSED))
		return 0;
	return -(int)slot->err;
}

/* Fill in the first free slot and hand it over; used by the three below. */
static inline void paste_tx_push(struct netmap_ring *ring, int sockfd,
				 uint32_t buf, uint16_t offset, uint16_t len,
				 uint16_t flags)
{
	struct netmap_slot *slot = &ring->slot[ring->head];

	slot->buf_idx = buf;
	slot->len = len;
	slot->flags = flags;
	slot->fd = sockfd;
	slot->offset = offset;
	slot->err = 0;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);	/* (A) */
}

/*
 * Send the first @len bytes of what paste_tx_room() gave, at the next sync.  The
 * buffer is the kernel's from now on.
 */
static inline void paste_tx_commit(struct netmap_ring *ring, int sockfd,
				   uint16_t len)
{
	paste_tx_push(ring, sockfd, ring->slot[ring->head].buf_idx, 0, len, 0);
}

/*
 * Send @len bytes at @offset of buffer *@buf, giving it to the kernel; *@buf is
 * then the index that was in the slot, the application's.  The exchange is how a
 * received buffer goes out again without a copy.
 * Returns 0, or -EAGAIN when the ring is full (*@buf is as before).
 */
static inline int paste_tx_swap(struct netmap_ring *ring, int sockfd,
				uint32_t *buf, uint16_t offset, uint16_t len)
{
	uint32_t mine = *buf;

	if (nm_ring_empty(ring))
		return -EAGAIN;
	*buf = ring->slot[ring->head].buf_idx;
	paste_tx_push(ring, sockfd, mine, offset, offset + len, NS_BUF_CHANGED);
	return 0;
}

/*
 * Send @len bytes at @offset of buffer @buf, which stays the application's and
 * may be lent any number of times at once.  Those bytes must not change until
 * the peer has acknowledged them.
 * Returns 0, or -EAGAIN when the ring is full.
 */
static inline int paste_tx_lend(struct netmap_ring *ring, int sockfd,
				uint32_t buf, uint16_t offset, uint16_t len)
{
	if (nm_ring_empty(ring))
		return -EAGAIN;
	paste_tx_push(ring, sockfd, buf, offset, offset + len, NS_PST_KEEP);
	return 0;
}

/*
 * Have nothing more of @sockfd delivered (@pause), or have it delivered again, from the
 * next sync on.  Returns 0, or -EAGAIN when the ring is full.
 */
static inline int paste_tx_pause(struct netmap_ring *ring, int sockfd, int pause)
{
	if (nm_ring_empty(ring))
		return -EAGAIN;
	paste_tx_push(ring, sockfd, ring->slot[ring->head].buf_idx, 0, 0,
		      pause ? NS_PST_PAUSE : NS_PST_RESUME);
	return 0;
}

/*
 * Shut the sending side of @sockfd down behind everything sent so far, at the next
 * sync.  Returns 0, or -EAGAIN when the ring is full.
 */
static inline int paste_tx_shut(struct netmap_ring *ring, int sockfd)
{
	if (nm_ring_empty(ring))
		return -EAGAIN;
	paste_tx_push(ring, sockfd, ring->slot[ring->head].buf_idx, 0, 0, NS_PST_SHUT);
	return 0;
}

/*
 * Close @sockfd behind everything sent so far, at the next sync; nothing is lost, and no slot
 * names it any more.  Returns 0, or -EAGAIN when the ring is full.
 */
static inline int paste_tx_close(struct netmap_ring *ring, int sockfd)
{
	if (nm_ring_empty(ring))
		return -EAGAIN;
	paste_tx_push(ring, sockfd, ring->slot[ring->head].buf_idx, 0, 0, NS_PST_CLOSE);
	return 0;
}

/* ----------------------------------------------------------- extra buffers */

/*
 * The extra buffers of a port (nr_extra_bufs, nr_arg3) form a list: ni_bufs_head
 * is the first index, and the first four bytes of a buffer are the next one, 0 at
 * the end.  What is in the list when the port is closed goes back to the region.
 * So a buffer whose content matters does not belong in the list: those four
 * bytes are overwritten.
 * @ring: any ring of the port.
 */

/* Take a buffer; 0 when there is none. */
static inline uint32_t paste_buf_pop(struct netmap_if *nifp,
				     const struct netmap_ring *ring)
{
	uint32_t buf = nifp->ni_bufs_head;

	if (buf)
		nifp->ni_bufs_head = *(uint32_t *)(void *)NETMAP_BUF(ring, buf);
	return buf;
}

/* Put a buffer that the application owns back. */
static inline void paste_buf_push(struct netmap_if *nifp,
				  const struct netmap_ring *ring, uint32_t buf)
{
	*(uint32_t *)(void *)NETMAP_BUF(ring, buf) = nifp->ni_bufs_head;
	nifp->ni_bufs_head = buf;
}

#ifdef __cplusplus
}
#endif

#endif /* _PASTE_H_ */
