/* SPDX-License-Identifier: BSD-2-Clause */
/* A trace event calls the test. */
#ifndef _MOCK_TRACEPOINT_H_
#define _MOCK_TRACEPOINT_H_

#include <linux/types.h>

#define TP_PROTO(...)	__VA_ARGS__
#define TP_ARGS(...)	__VA_ARGS__
#define TRACE_EVENT(name, proto, args, ...)					\
	void mock_trace_ ## name(proto);					\
	static inline void trace_ ## name(proto) { mock_trace_ ## name(args); }	\
	struct mock_trace_ ## name

#endif
