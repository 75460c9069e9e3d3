/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets, of which only the end shows. */
#ifndef _MOCK_SOCK_H_
#define _MOCK_SOCK_H_

#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

enum { TCP_ESTABLISHED = 1, TCP_CLOSE = 7 };
#define RCV_SHUTDOWN	1
#define SEND_SHUTDOWN	2
#define SOCK_DEAD	0
#define ITER_SOURCE	1

#ifndef MSG_SPLICE_PAGES
#define MSG_SPLICE_PAGES 0x8000000
#endif

struct sock;

struct proto {
	void (*shutdown)(struct sock *sk, int how);
};

struct sock {
	unsigned long flags;
	u8 sk_shutdown;
	u8 sk_state;
	u16 sk_protocol;
	u64 sk_route_caps;
	void *sk_user_data;
	struct proto *sk_prot;
	void (*sk_state_change)(struct sock *sk);
	u32 snd_una;
	int sk_disconnects;
	wait_queue_head_t wait;
};

#define sk_sleep(sk)	(&(sk)->wait)
#define sock_net(sk)	((void)(sk), &mock_net)

#define SK_USER_DATA_PTRMASK	~7UL

struct socket;

typedef void *sockptr_t;
#define KERNEL_SOCKPTR(p)	((sockptr_t)(p))

struct kvec {
	void *iov_base;
	size_t iov_len;
};
struct iov_iter { struct kvec kv; };
#define ITER_DEST	0
#define iov_iter_kvec(iter, dir, vec, n, bytes)	((iter)->kv = *(vec))

typedef struct {
	struct iov_iter iter_out;
	int optlen;
} sockopt_t;

struct proto_ops {
	int (*setsockopt)(struct socket *sock, int level, int name, sockptr_t val, u32 len);
	int (*getsockopt_iter)(struct socket *sock, int level, int name, sockopt_t *opt);
	int (*release)(struct socket *sock);
};

struct socket {
	struct sock *sk;
	struct file *file;
	const struct proto_ops *ops;
};

static inline bool sock_flag(const struct sock *sk, int flag) { return test_bit(flag, &sk->flags); }

static inline bool sk_fullsock(const struct sock *sk) { return true; }

static inline void lock_sock(struct sock *sk) { }
static inline void release_sock(struct sock *sk) { }

/* The tests' part. */
int sock_recvmsg(struct socket *sock, struct msghdr *msg, int flags);
int sock_create(int family, int type, int protocol, struct socket **res);
struct file *sock_alloc_file(struct socket *sock, int flags, const char *name);

/* Pages of a message go by what libc's struct msghdr has at its place. */
#define msg_iter	msg_iov
#define iov_iter_bvec(iter, dir, bv, n, bytes)	(*(iter) = (void *)(bv))

/* Named in compat.h; the tests' part, if it is called. */
int tcp_sendmsg_locked(struct sock *sk, struct msghdr *msg, size_t size);
int kernel_bind(struct socket *sock, void *addr, int len);
struct file *get_file_active(struct file **file);
bool napi_id_valid(unsigned int id);

#endif
