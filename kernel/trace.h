/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM paste

#if !defined(PST_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PST_TRACE_H

#include <linux/tracepoint.h>
#include "buf.h"

#define pst_show_state(s) __print_symbolic(s, \
		{ PST_BUF_RESERVED, "reserved" }, { PST_BUF_FREE, "free" }, \
		{ PST_BUF_NIC, "nic" }, { PST_BUF_STACK, "stack" }, \
		{ PST_BUF_USER, "user" }, { PST_BUF_SENT, "sent" }, \
		{ PST_BUF_KERNEL, "kernel" }, { PST_BUF_SETTLING, "settling" })

/* A buffer changed hands; states as in the table of buf.c. */
TRACE_EVENT(pst_buf,
	TP_PROTO(const struct pst_bufs *bufs, u32 idx, u8 from, u8 to),
	TP_ARGS(bufs, idx, from, to),
	TP_STRUCT__entry(
		__field(const void *, bufs)
		__field(u32, idx)
		__field(u8, from)
		__field(u8, to)
	),
	TP_fast_assign(
		__entry->bufs = bufs;
		__entry->idx = idx;
		__entry->from = from;
		__entry->to = to;
	),
	TP_printk("region=%p buf=%u %s->%s", __entry->bufs, __entry->idx,
		  pst_show_state(__entry->from), pst_show_state(__entry->to))
);

#endif /* PST_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
