/* SPDX-License-Identifier: GPL-2.0 */
/* Sockets registered with a stack port. */
#ifndef PST_STACK_H
#define PST_STACK_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <net/sock.h>
#include "ring.h"

/* TX slots a full socket may have waiting outside the ring. */
#define PST_TXQ_MAX	64

/* Where copied payload starts; room for headers the application may prepend. */
#define PST_COPY_OFFSET	256

/* TX slots dealt with in one go */
#define PST_TX_CHUNK	32

/* What is left to send of one TX slot; the page reference is held. */
struct pst_txq_entry {
	u32 buf;
	u16 offset;
	u16 len;
	bool keep;	/* cited: stays with the application */
	bool shut;	/* shut sending down after it */
	bool close;	/* and close the connection; then shut is set as well */
	bool to;	/* datagram: address before the payload */
	bool cont;	/* datagram: goes on in the next one */
	bool copy;	/* not TCP: the bytes are copied, no page reference is held */
};

/* The process, and its table of descriptors, in which a number means something. */
struct pst_owner {
	struct pid *tgid;	/* reference held */
	struct files_struct *files;
};

struct pst_txq {
	u32 head, tail;		/* free-running */
	struct pst_owner sender;	/* of all that is in it, where that matters: as_caller */
	const struct cred *cred;	/* its */
	struct pst_txq_entry e[PST_TXQ_MAX];
};

/* pst_sock.flags */
enum {
	PST_SOCK_WAITING,	/* on ring->waiting */
	PST_SOCK_WRITABLE,	/* on ring->writable */
	PST_SOCK_EOS_TOLD,	/* end of stream has its slot */
	PST_SOCK_ERR_TOLD,	/* so has the error, or the end of it all */
	PST_SOCK_CONGESTED,	/* something waits outside TCP: queued, or held in a ring */
	PST_SOCK_CONG_TOLD,	/* and the application knows */
	PST_SOCK_PAUSED,	/* the application wants nothing of it now */
	PST_SOCK_NEW,		/* accepted, and the application does not know yet */
	PST_SOCK_CLOSING,	/* the application wants nothing of it any more */
	PST_SOCK_CLOSE_HELD,	/* nor will it behind the slots that are held in the ring */
	PST_SOCK_GONE,		/* unregistered */
	PST_SOCK_EOS_SEEN,	/* not TCP: receiving has met the end of the stream */
	PST_SOCK_TORN,		/* what waited outside TCP was dropped */
	PST_SOCK_RECONNECTED,	/* TCP: the application has made another connection of it */
	PST_SOCK_SHUT,		/* TCP: our end of the stream was sent, the connection not over then */
	PST_SOCK_ARRIVED,	/* datagrams have come that nobody has looked at */
};

struct pst_sock;

/*
 * What other sockets than TCP's do in their own way (TCP has none of it: its way is inlined).
 * They are pulled, where TCP pushes: their callbacks only list them, and a sync empties them.
 */
struct pst_proto {
	u8 steer;		/* IP protocol the NICs steer, or 0 */
	bool datagrams;
	bool by_reference;	/* send() can do with pages */
	bool as_caller;		/* send() is with the rights, and in the name, of who calls it */

	/* May it be registered?  Socket hooked by nobody. */
	int (*check)(struct sock *sk);
	/* Under sk_callback_lock; the common callbacks are saved before and restored after. */
	void (*hook)(struct sock *sk);
	/* From the socket into slots; only inside the ring's RX sync.  @ps->mutex held, or UDP. */
	void (*drain)(struct pst_sock *ps);
	/*
	 * Sends a prefix of @n entries: how many are done.  If that is not all, *@err tells why
	 * the next was not; of a stream a part of it may be gone.  @ps->mutex held.
	 */
	u32 (*send)(struct pst_sock *ps, struct pst_txq_entry *e[], u32 n, int *err);
	/* Events.  @ps->mutex held. */
	void (*tell)(struct pst_sock *ps);
};

extern const struct pst_proto pst_udp;
extern const struct pst_proto pst_generic;

struct pst_sock {
	struct sock *sk;	/* reference held */
	const struct pst_proto *proto;	/* NULL: TCP */
	struct pst_port *port;
	struct pst_ring *ring;	/* fixed at registration */
	int fd;			/* number in the table of whoever registered it */
	struct pst_owner owner;	/* of @fd */
	u32 steer;		/* steered to us by the NICs while registered; or 0 */
	refcount_t ref;		/* one for registration, one per user of a pointer */
	struct rcu_head rcu;
	int err;		/* what ended the connection (sk_err is whoever asks first's);
				 * ENOTCONN when it ended in order
				 */
	unsigned long flags;
	struct list_head wait_node;	/* ring->waiting, under ring->lock */
	struct list_head write_node;	/* ring->writable, under ring->lock */
	struct list_head close_node;	/* ring->closing, under ring->lock; or empty */
	struct pst_txq *txq;		/* under the socket lock; NULL until needed */
	/* jiffies; what is queued then is lost. With PST_SOCK_CLOSING or _CLOSE_HELD */
	unsigned long close_by;
	u32 close_at;			/* how far it was when close_by was set. With _CLOSE_HELD */
	int disconnects;		/* of the socket, when it was registered.  TCP */
	u64 held_in;	/* TX sync that held a slot back: later ones may not pass */
	atomic_t held;	/* slots of it that a TX sync has left in a ring */

	/* the socket's own callbacks */
	void (*data_ready)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*write_space)(struct sock *sk);

	/* not TCP */
	void (*error_report)(struct sock *sk);
	struct mutex mutex;		/* in the place of the socket lock: what we call takes that */
	struct list_head arrive_node;	/* ring->arrived, under ring->lock; or empty */
	int message_err;		/* of one that had waited, for an event; under @mutex */
	struct sk_buff *rest;		/* datagram that found no room; inside the RX sync */
	u32 rest_at;			/* what of it is still to come */
	u32 gso_limit;			/* datagrams of this size were refused in one piece */
	u32 passed;			/* slots that went without the queue; inside TX syncs */
};

int pst_stack_register(struct pst_port *port, const struct pst_rings *among, int fd);
int pst_stack_free_number(struct pst_port *port, int fd, const struct sock *sk);
int pst_stack_add(struct pst_port *port, const struct pst_rings *among, struct sock *sk, int fd,
		  const struct pst_proto *proto, struct file *file);
void pst_stack_forget(struct pst_port *port, struct pst_sock *ps);
void pst_stack_unregister_all(struct pst_port *port);
void pst_stack_sweep(struct pst_port *port);
struct pst_sock *pst_stack_find(struct pst_port *port, int fd);
void pst_sock_put(struct pst_sock *ps);

/* accept.c */
int pst_accept_init(void);
void pst_owner_init(struct pst_owner *owner);
void pst_owner_destroy(struct pst_owner *owner);
bool pst_owned_by_caller(const struct pst_owner *owner);
int pst_listener_register(struct pst_port *port, const struct pst_rings *among, struct sock *sk,
			  int fd);
void pst_listeners_sweep(struct pst_port *port);
void pst_listeners_unregister_all(struct pst_port *port);
bool pst_accept(struct pst_ring *ring);
void pst_sock_close(struct pst_sock *ps);
void pst_close(struct pst_ring *ring);

/* stack_rx.c */
void pst_sock_drain(struct pst_sock *ps);
void __pst_sock_tell(struct pst_sock *ps);
void pst_stack_resume(struct pst_ring *ring);
void pst_sock_wait(struct pst_sock *ps);

u32 pst_sock_take_buf(struct pst_sock *ps);
void pst_sock_discard(struct sock *sk);
bool pst_may_place(struct pst_sock *ps);
int pst_copy_out(const struct pst_bufs *bufs, const struct sk_buff *skb, u32 off,
		 void *to, u32 len);
bool pst_sock_put_event(struct pst_sock *ps, u16 flags, int err);
void pst_sock_tell_congestion(struct pst_sock *ps);
void pst_sock_ready(struct pst_sock *ps);

/* udp.c */
void pst_udp_pull(struct pst_ring *ring);

/* generic.c */
bool pst_generic_knows(const struct sock *sk);
struct file *pst_sock_file(struct pst_sock *ps, struct socket **sock);

/* stack_tx.c */
void pst_stack_send(struct pst_ring *ring);

/* txq.c */
int pst_txq_send(struct pst_sock *ps, struct pst_txq_entry *e[], u32 n, bool more);
bool pst_txq_add(struct pst_sock *ps, const struct pst_txq_entry *e);
void pst_txq_close_held(struct pst_sock *ps);
void pst_txq_push_all(struct pst_ring *ring);
void pst_txq_drop(struct pst_sock *ps);
void pst_txq_free(struct pst_sock *ps);
void pst_txq_shut(struct sock *sk);
void pst_sock_retry(struct pst_sock *ps);
void pst_sock_writable(struct pst_sock *ps);
void pst_sock_unhold(struct pst_sock *ps);

static inline struct pst_sock *pst_sock_of(const struct sock *sk)
{
	return (struct pst_sock *)((uintptr_t)READ_ONCE(sk->sk_user_data) & SK_USER_DATA_PTRMASK);
}

/* Process context. */
static inline void pst_sock_lock(struct pst_sock *ps)
{
	if (unlikely(ps->proto))
		mutex_lock(&ps->mutex);
	else
		lock_sock(ps->sk);
}

static inline void pst_sock_unlock(struct pst_sock *ps)
{
	if (unlikely(ps->proto))
		mutex_unlock(&ps->mutex);
	else
		release_sock(ps->sk);
}

static inline u32 pst_txq_len(const struct pst_sock *ps)
{
	return unlikely(ps->txq) ? ps->txq->tail - ps->txq->head : 0;
}

/* Closed by the application, or connected elsewhere; exact under the socket lock. */
static inline bool pst_sock_dead(const struct pst_sock *ps)
{
	return sock_flag(ps->sk, SOCK_DEAD) ||
	       READ_ONCE(ps->flags) & (BIT(PST_SOCK_GONE) | BIT(PST_SOCK_RECONNECTED));
}

/* Writes the next unpublished slot; the caller has seen pst_ring_room(). */
static inline void pst_ring_put(struct pst_ring *ring, struct pst_sock *ps, u32 buf,
				u16 offset, u16 len, u16 flags)
{
	struct pst_kring *k = &ring->rx;
	struct netmap_slot *slot = &k->ring->slot[k->fill];

	lockdep_assert_held(&ring->lock);
	slot->buf_idx = buf;
	slot->len = len;
	slot->flags = flags;
	slot->fd = ps->fd;
	slot->offset = offset;
	slot->err = 0;
	ring->rx_sock[k->fill] = ps;
	k->fill = pst_kring_next(k, k->fill);
}

/* It cannot send any more, or one datagram: the event may have to carry the reason. */
static inline void pst_sock_failed(struct pst_sock *ps, int err)
{
	if (err != -EPIPE && !ps->err)
		ps->err = -err;
}

/*
 * Does TCP send after all what it answered with @sent?  With IP_RECVERR it tells an ICMP error of a
 * living connection once, in the place of sending; that ends nothing, and must leave no gap in the
 * stream.  Socket locked, so no other error comes in between; but SO_ERROR may take that one
 * away before TCP has it, which says EPIPE then.
 */
static inline bool pst_tcp_passing(const struct sock *sk, int sent)
{
	if (sent == -EPIPE && sk->sk_shutdown & SEND_SHUTDOWN)
		return false;
	return sent < 0 && sent != -EAGAIN && sk->sk_state != TCP_CLOSE;
}

/* Not TCP: does @err concern one message, and the next ones may go? */
static inline bool pst_one_message(const struct pst_sock *ps, int err)
{
	return ps->proto->datagrams ||
	       (ps->sk->sk_protocol == IPPROTO_SCTP && (err == -EMSGSIZE || err == -EINVAL));
}

/* Events for the application, if there are any.  Socket locked. */
static inline void pst_sock_tell(struct pst_sock *ps)
{
	unsigned long told = READ_ONCE(ps->flags);
	bool differs = !!(told & BIT(PST_SOCK_CONGESTED)) != !!(told & BIT(PST_SOCK_CONG_TOLD));

	if (unlikely(differs || ps->err || (ps->sk->sk_shutdown & RCV_SHUTDOWN)))
		__pst_sock_tell(ps);
}

#endif /* PST_STACK_H */
