/* SPDX-License-Identifier: BSD-2-Clause */
/* Types, attributes, error pointers, arithmetic: what is in every kernel source. */
#ifndef _MOCK_TYPES_H_
#define _MOCK_TYPES_H_

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include_next <linux/types.h>

#include "../mock.h"

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef int atomic_t;

#define U16_MAX		0xffff
#define U32_MAX		0xffffffffu
#define U64_MAX		0xffffffffffffffffull
#define __user
#define __rcu
#define __force
#define fallthrough	__attribute__((fallthrough))
#define likely(x)	(x)
#define unlikely(x)	(x)
#define __uninitialized
#define noinline	__attribute__((noinline))
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(7, 3, 0)

#define BIT(n)		(1UL << (n))
#define GENMASK_ULL(h, l) (U64_MAX >> (63 - (h)) & U64_MAX << (l))
#define BIT_ULL(n)	(1ULL << (n))
#define __ffs64(x)	__builtin_ctzll(x)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define ALIGN(x, a)	(((x) + (a) - 1) & ~((typeof(x))(a) - 1))
#define struct_size(p, m, n) (sizeof(*(p)) + sizeof((p)->m[0]) * (n))
#define container_of(p, type, m) ((type *)((char *)(p) - offsetof(type, m)))

#define max_t(type, a, b) ({ type _a = (a), _b = (b); _a > _b ? _a : _b; })
#define min_t(type, a, b) ({ type _a = (a), _b = (b); _a < _b ? _a : _b; })
#define max(a, b)	({ typeof(a) _a = (a); typeof(b) _b = (b); _a > _b ? _a : _b; })
#define min(a, b)	({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#define min3(a, b, c)	min(min(a, b), c)
#define clamp(x, lo, hi) min(max(x, lo), hi)

static inline u32 roundup_pow_of_two(u32 n)
{
	u32 p = 1;

	while (p < n)
		p *= 2;
	return p;
}

/* Whoever asks for it must have checked the index. */
#define array_index_nospec(i, n) ({ typeof(i) _i = (i); WARN_ON_ONCE(_i >= (n)); _i; })

#define BUILD_BUG_ON(c)	_Static_assert(!(c), #c)

/* A warning fails the test. */
#define WARN_ON_ONCE(c)	({ bool _c = (c); if (_c) mock_warn(__FILE__, __LINE__, #c); _c; })

#define IS_ERR_VALUE(x)	((unsigned long)(x) >= (unsigned long)-4095)
static inline void *ERR_PTR(long err) { return (void *)err; }
static inline long PTR_ERR(const void *p) { return (long)p; }
static inline bool IS_ERR(const void *p) { return IS_ERR_VALUE(p); }
static inline int PTR_ERR_OR_ZERO(const void *p) { return IS_ERR(p) ? PTR_ERR(p) : 0; }
static inline bool IS_ERR_OR_NULL(const void *p) { return !p || IS_ERR(p); }

static inline ssize_t strscpy(char *to, const char *from, size_t size)
{
	size_t n;

	for (n = 0; n < size; n++)
		if (!(to[n] = from[n]))
			return n;
	to[size - 1] = '\0';
	return -E2BIG;
}

/* The kernel's, which knows Latin 1. */
#define isalnum	mock_isalnum
static inline int mock_isalnum(int c)
{
	c = (unsigned char)c;
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

/*
 * Accesses to what others change meanwhile.  Each is a point where a test may let
 * others run, see mock.step.
 */
#define READ_ONCE(x) ({								\
	mock_step("read " #x);							\
	typeof(x) _once = *(const volatile typeof(x) *)&(x);			\
	mock_was_read(&(x), sizeof(x));						\
	_once; })
#define WRITE_ONCE(x, v) do {							\
	mock_step("write " #x);							\
	*(volatile typeof(x) *)&(x) = (v);					\
} while (0)
#define smp_load_acquire(p)	READ_ONCE(*(p))
#define smp_store_release(p, v)	WRITE_ONCE(*(p), v)
#define smp_store_mb(x, v)	WRITE_ONCE(x, v)
#define smp_mb__after_atomic()	do { } while (0)
#define smp_rmb()		do { } while (0)
#define smp_mb()		do { } while (0)
#define cpu_relax()		mock_relax()
#define cond_resched()		do { } while (0)
#define cmpxchg(p, old, new) ({							\
	typeof(*(p)) _old = (old);						\
	mock_step("cmpxchg " #p " " #old " " #new);				\
	__atomic_compare_exchange_n(p, &_old, new, 0, __ATOMIC_SEQ_CST,		\
				    __ATOMIC_SEQ_CST);				\
	_old; })
#define xchg(p, v) ({								\
	mock_step("xchg " #p);							\
	__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); })

static inline bool test_bit(int n, const unsigned long *p) { return *p >> n & 1; }
#define set_bit(n, p)	__set_bit(n, p)
static inline void __set_bit(int n, unsigned long *p) { p[n / 64] |= BIT(n % 64); }
static inline void __clear_bit(int n, unsigned long *p) { p[n / 64] &= ~BIT(n % 64); }
#define clear_bit(n, p)	__clear_bit(n, p)

static inline bool test_and_set_bit(int n, unsigned long *p)
{
	bool was = test_bit(n, p);

	__set_bit(n, p);
	return was;
}

#endif
