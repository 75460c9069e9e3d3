/* SPDX-License-Identifier: BSD-2-Clause */
/* A port with one ring, and behind it what a sync calls. */
#ifndef _KERNEL_RING_MOCK_H_
#define _KERNEL_RING_MOCK_H_

#include "test.h"
#include "buf_move.h"
#include "nic.h"
#include "port.h"
#include "ring.h"
#include "stack.h"

#define BUFS		200

extern struct pst_port *port;
extern struct pst_ring *ring;
extern struct pst_region *region;
extern struct sock sk[4];
extern struct pst_sock ps[4];

/* What a sync calls, in order: (r)esume, (p)oll, P if busy, (s)end, (q)ueues pushed. */
extern char calls[16];
extern void (*during_poll)(void);
extern void (*during_send)(void);
extern bool pending;

int create(u32 tx, u32 rx, u32 bufs);
void destroy(void);

u32 user_buf(void);
u8 state_of(u32 buf);

#endif
