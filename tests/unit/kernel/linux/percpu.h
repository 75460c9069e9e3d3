/* SPDX-License-Identifier: BSD-2-Clause */
/* There is one CPU. */
#ifndef _MOCK_PERCPU_H_
#define _MOCK_PERCPU_H_

#define DECLARE_PER_CPU(type, name)	extern type name
#define DEFINE_PER_CPU(type, name)	type name
#define this_cpu_read(name)		(name)
#define this_cpu_write(name, value)	((name) = (value))
#define this_cpu_ptr(p)			(p)
#define smp_processor_id()		0
#define raw_smp_processor_id()		0
#define nr_cpu_ids			64u

#endif
