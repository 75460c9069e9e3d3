// SPDX-License-Identifier: BSD-2-Clause
/*
 * Persistent-memory primitives: the only stores the library makes to memory
 * that has to survive a crash.  See paste_pm.h for what they promise.
 *
 * The functions are out of line on purpose: the crash tests link another
 * implementation of them that records every store, flush and fence.
 *
 * Copies are loops of words, not memcpy(), whose order and width are its own
 * affair: on x86 stores become visible in program order, so a line that is
 * written back in the middle of a copy holds a prefix of it, and this is what
 * the recorder assumes.
 */
#include <string.h>
#include <time.h>

#include <paste_pm.h>

static unsigned int fence_ns;

#if defined(__x86_64__)
#include <cpuid.h>
#include <emmintrin.h>

/* From @line on, lines before @end. */
static void flush_clwb(const char *line, const char *end)
{
	for (; line < end; line += PASTE_PM_LINE)
		__asm__ volatile("clwb %0" : "+m" (*(volatile char *)line));
}

static void flush_clflushopt(const char *line, const char *end)
{
	for (; line < end; line += PASTE_PM_LINE)
		__asm__ volatile("clflushopt %0" : "+m" (*(volatile char *)line));
}

static void flush_clflush(const char *line, const char *end)
{
	for (; line < end; line += PASTE_PM_LINE)
		__asm__ volatile("clflush %0" : "+m" (*(volatile char *)line));
}

static void fence(void)
{
	__asm__ volatile("sfence" ::: "memory");
}

/* No line of the cache is allocated for it. */
static void store_nt(uint64_t *dst, uint64_t v)
{
	_mm_stream_si64((long long *)dst, (long long)v);
}

#else /* no instructions known: ordered, not durable */

static void fence(void)
{
	__sync_synchronize();
}

static void store_nt(uint64_t *dst, uint64_t v)
{
	__atomic_store_n(dst, v, __ATOMIC_RELEASE);
}
#endif

static void flush_nothing(const char *line, const char *end)
{
	(void)line;
	(void)end;
}

struct method {
	const char *name;
	void (*flush)(const char *line, const char *end);
};

static const struct method eadr = { "eadr", flush_nothing };

/* The instruction that does least: clwb leaves the line cached. */
static const struct method *best_method(void)
{
#if defined(__x86_64__)
	static const struct method clwb = { "clwb", flush_clwb };
	static const struct method clflushopt = { "clflushopt", flush_clflushopt };
	static const struct method clflush = { "clflush", flush_clflush };
	unsigned int eax, ebx = 0, ecx, edx;

	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		return &clflush;
	if (ebx & bit_CLWB)
		return &clwb;
	if (ebx & bit_CLFLUSHOPT)
		return &clflushopt;
	return &clflush;
#else
	static const struct method none = { "none", flush_nothing };

	return &none;
#endif
}

static const struct method *chosen;

/* Threads that come first together all choose the same. */
static const struct method *method(void)
{
	const struct method *m = __atomic_load_n(&chosen, __ATOMIC_ACQUIRE);

	if (!m) {
		m = best_method();
		__atomic_store_n(&chosen, m, __ATOMIC_RELEASE);
	}
	return m;
}

static void store8(char *dst, char v)
{
	__atomic_store_n(dst, v, __ATOMIC_RELEASE);
}

/* Bytes from @p to the next aligned word, at most @len. */
static size_t unaligned(const void *p, size_t len)
{
	size_t n = -(uintptr_t)p % sizeof(uint64_t);

	return n < len ? n : len;
}

void paste_pm_store64(uint64_t *dst, uint64_t v)
{
	__atomic_store_n(dst, v, __ATOMIC_RELEASE);
}

/* Words, to where they are aligned: a line at a time while there are lines. */
static inline void copy_words(char *d, const char *s, size_t words,
			      void (*store)(uint64_t *dst, uint64_t v))
{
	uint64_t v;

	for (; words >= 8; words -= 8, d += 64, s += 64) {
#pragma GCC unroll 8
		for (size_t i = 0; i < 64; i += 8) {
			memcpy(&v, s + i, sizeof(v));
			store((uint64_t *)(d + i), v);
		}
	}
	for (; words; words--, d += 8, s += 8) {
		memcpy(&v, s, sizeof(v));
		store((uint64_t *)d, v);
	}
}

void paste_pm_write(void *dst, const void *src, size_t len)
{
	size_t head = unaligned(dst, len);
	size_t words = (len - head) / sizeof(uint64_t);
	const char *s = src;
	char *d = dst;

	len -= head + words * sizeof(uint64_t);
	while (head--)
		store8(d++, *s++);
	copy_words(d, s, words, paste_pm_store64);
	d += words * sizeof(uint64_t);
	s += words * sizeof(uint64_t);
	while (len--)
		store8(d++, *s++);
}

void paste_pm_zero(void *dst, size_t len)
{
	size_t head = unaligned(dst, len);
	char *d = dst;

	for (len -= head; head; head--)
		store8(d++, 0);
	for (; len >= sizeof(uint64_t); len -= sizeof(uint64_t)) {
		paste_pm_store64((uint64_t *)d, 0);
		d += sizeof(uint64_t);
	}
	while (len--)
		store8(d++, 0);
}

void paste_pm_flush(const void *p, size_t len)
{
	const char *line = (const char *)((uintptr_t)p & -(uintptr_t)PASTE_PM_LINE);

	if (len)
		method()->flush(line, (const char *)p + len);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void paste_pm_fence(void)
{
	unsigned int ns = fence_ns;
	uint64_t begin;

	fence();
	if (!ns)
		return;
	begin = now_ns();
	while (now_ns() - begin < ns)
		;
}

void paste_pm_persist(const void *p, size_t len)
{
	paste_pm_flush(p, len);
	paste_pm_fence();
}

/* Ends that are no whole words are stored and flushed. */
void paste_pm_copy_nt(void *dst, const void *src, size_t len)
{
	size_t head = unaligned(dst, len);
	size_t words = (len - head) / sizeof(uint64_t);
	size_t tail = (len - head) % sizeof(uint64_t);
	const char *s = src;
	char *d = dst;

	paste_pm_write(d, s, head);
	paste_pm_flush(d, head);
	d += head;
	s += head;
	copy_words(d, s, words, store_nt);
	d += words * sizeof(uint64_t);
	s += words * sizeof(uint64_t);
	paste_pm_write(d, s, tail);
	paste_pm_flush(d, tail);
}

const char *paste_pm_method(void)
{
	return method()->name;
}

void paste_pm_set_eadr(bool on)
{
	__atomic_store_n(&chosen, on ? &eadr : best_method(), __ATOMIC_RELEASE);
}

void paste_pm_set_latency(unsigned int ns)
{
	fence_ns = ns;
}
