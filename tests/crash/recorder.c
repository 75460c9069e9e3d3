// SPDX-License-Identifier: BSD-2-Clause
/*
 * The recorder keeps, per 64-byte line, the stores that are not known durable:
 *
 *	durable[]		the line's content at least present after a crash
 *	store 0 .. flushed-1	flushed: durable from the next fence on
 *	store flushed .. n-1	in the cache
 *
 * A store is an aligned 8 byte word or a single byte (what paste_pm_write() does
 * at unaligned ends).  A fence moves the flushed ones of every line into
 * durable[].  An image is durable[] with a prefix of each line's stores applied.
 *
 * Non-temporal stores are flushed from the start, and recorded in a shuffled
 * order within their line, for they have none.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <paste_pm.h>
#include "recorder.h"

#define LINE		PASTE_PM_LINE
#define MAX_SITES	256

struct store {
	uint8_t ofs;		/* in the line */
	uint8_t len;		/* 1 or 8 */
	uint8_t byte[8];
};

struct line {
	struct store *store;
	size_t n, room;
	size_t flushed;
	bool listed;		/* in dirty[] */
};

struct recorder {
	struct recorder *outer;	/* active again when this one stops */
	char *base;
	size_t len;
	char *durable;
	char *image;		/* the one handed out */
	struct line *line;
	size_t *dirty;		/* numbers of lines with stores */
	size_t nr_dirty;
	recorder_hook_fn *hook;
	void *ctx;
	unsigned int every;
	unsigned long stores;
};

static struct recorder *active;
static struct recorder_site site[MAX_SITES];
static size_t nr_sites;
static struct recorder_site suppressed;
static unsigned int muted;		/* calls that are suppressed, one in another */
static unsigned long images;

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("recorder: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	abort();
}

static void *pages(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("no memory");
	return p;
}

static void *zalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("no memory");
	return p;
}

/* SplitMix64: enough for choosing, the same everywhere. */
static uint64_t next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* ------------------------------------------------------------- life of one */

struct recorder *recorder_start(void *base, size_t len)
{
	struct recorder *r = zalloc(1, sizeof(*r));

	if ((uintptr_t)base % LINE || len % LINE || !len)
		die("range is not made of lines");
	r->outer = active;
	r->base = base;
	r->len = len;
	r->durable = pages(len);
	r->image = pages(len);
	memcpy(r->durable, base, len);
	r->line = zalloc(len / LINE, sizeof(*r->line));
	r->dirty = zalloc(len / LINE, sizeof(*r->dirty));
	active = r;
	return r;
}

void recorder_stop(struct recorder *r)
{
	size_t i;

	if (active != r)
		die("stopped while it is not the active one");
	active = r->outer;
	for (i = 0; i < r->len / LINE; i++)
		free(r->line[i].store);
	munmap(r->durable, r->len);
	munmap(r->image, r->len);
	free(r->line);
	free(r->dirty);
	free(r);
}

void recorder_mark(struct recorder *r, unsigned int every,
		   recorder_hook_fn *hook, void *ctx)
{
	r->every = every;
	r->hook = hook;
	r->ctx = ctx;
}

void recorder_resume(struct recorder *r)
{
	active = r;
	muted = 0;
}

static void call_hook(struct recorder *r)
{
	if (!r->hook)
		return;
	active = NULL;
	r->hook(r, r->ctx);
	active = r;
}

/* ------------------------------------------------------------------ stores */

static void record(struct recorder *r, const char *dst, const void *src, size_t len)
{
	size_t ofs = (size_t)(dst - r->base);
	struct line *l = &r->line[ofs / LINE];
	struct store *s;

	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 8;
		s = realloc(l->store, l->room * sizeof(*s));
		if (!s)
			die("no memory");
		l->store = s;
	}
	s = &l->store[l->n++];
	s->ofs = ofs % LINE;
	s->len = (uint8_t)len;
	memcpy(s->byte, src, len);
	if (!l->listed) {
		l->listed = true;
		r->dirty[r->nr_dirty++] = ofs / LINE;
	}
}

static bool inside(const struct recorder *r, const void *p, size_t len)
{
	const char *c = p;

	if (!r || !len || c + len <= r->base || c >= r->base + r->len)
		return false;
	if (c < r->base || len > r->len - (size_t)(c - r->base))
		die("%zu bytes at %p cross the end of the range", len, p);
	return true;
}

/* Units of [@dst, +@len) in ascending order; @src NULL means zeros. */
static void store(struct recorder *r, char *dst, const char *src, size_t len)
{
	static const char zeros[8];
	size_t n;

	for (; len; len -= n, dst += n) {
		n = (uintptr_t)dst % 8 || len < 8 ? 1 : 8;
		record(r, dst, src ? src : zeros, n);
		if (src)
			src += n;
	}
}

static void stored(struct recorder *r)
{
	if (r->every && ++r->stores % r->every == 0)
		call_hook(r);
}

void paste_pm_write(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	if (inside(active, dst, len)) {
		store(active, dst, src, len);
		stored(active);
	}
}

void paste_pm_zero(void *dst, size_t len)
{
	memset(dst, 0, len);
	if (inside(active, dst, len)) {
		store(active, dst, NULL, len);
		stored(active);
	}
}

void paste_pm_store64(uint64_t *dst, uint64_t v)
{
	if ((uintptr_t)dst % 8)
		die("store64 to unaligned %p", (void *)dst);
	*dst = v;
	if (inside(active, dst, 8)) {
		store(active, (char *)dst, (char *)&v, 8);
		stored(active);
	}
}

/* ------------------------------------------------------ flushes and fences */

static void see(const void *address, unsigned int what)
{
	size_t i;

	for (i = 0; i < nr_sites; i++)
		if (site[i].address == address)
			return;
	if (nr_sites == MAX_SITES)
		die("more than %d sites", MAX_SITES);
	site[nr_sites].address = address;
	site[nr_sites++].what = what;
}

static bool silent(const void *address, unsigned int what)
{
	return muted || (suppressed.address == address && suppressed.what & what);
}

static void flush(const void *p, size_t len)
{
	size_t first, last;

	if (!inside(active, p, len))
		return;
	first = (size_t)((const char *)p - active->base) / LINE;
	last = ((size_t)((const char *)p - active->base) + len - 1) / LINE;
	for (; first <= last; first++)
		active->line[first].flushed = active->line[first].n;
}

static void apply(char *line, const struct line *l, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		memcpy(line + l->store[i].ofs, l->store[i].byte, l->store[i].len);
}

static void settle(struct recorder *r)
{
	size_t i, kept = 0;

	for (i = 0; i < r->nr_dirty; i++) {
		size_t nr = r->dirty[i];
		struct line *l = &r->line[nr];

		apply(r->durable + nr * LINE, l, l->flushed);
		l->n -= l->flushed;
		memmove(l->store, l->store + l->flushed, l->n * sizeof(*l->store));
		l->flushed = 0;
		l->listed = l->n;
		if (l->n)
			r->dirty[kept++] = nr;
	}
	r->nr_dirty = kept;
}

static void fence(void)
{
	if (!active)
		return;
	call_hook(active);
	settle(active);
}

void paste_pm_flush(const void *p, size_t len)
{
	const void *from = __builtin_return_address(0);

	if (active)
		see(from, RECORDER_FLUSH);
	if (!silent(from, RECORDER_FLUSH))
		flush(p, len);
}

void paste_pm_fence(void)
{
	const void *from = __builtin_return_address(0);

	if (active)
		see(from, RECORDER_FENCE);
	if (!silent(from, RECORDER_FENCE))
		fence();
}

void paste_pm_persist(const void *p, size_t len)
{
	const void *from = __builtin_return_address(0);

	if (active)
		see(from, RECORDER_FLUSH | RECORDER_FENCE);
	if (!silent(from, RECORDER_FLUSH))
		flush(p, len);
	if (!silent(from, RECORDER_FENCE))
		fence();
}

/* A line's part of a non-temporal copy: its units shuffled. */
static void store_shuffled(char *dst, const char *src, size_t len)
{
	static uint64_t seed;
	struct line *l = &active->line[(size_t)(dst - active->base) / LINE];
	size_t i, begin = l->n;

	store(active, dst, src, len);
	for (i = l->n - 1; i > begin; i--) {
		size_t j = begin + next(&seed) % (i - begin + 1);
		struct store s = l->store[i];

		l->store[i] = l->store[j];
		l->store[j] = s;
	}
}

void paste_pm_copy_nt(void *dst, const void *src, size_t len)
{
	const void *from = __builtin_return_address(0);
	const char *s = src;
	char *d = dst;
	size_t n;

	if (active)
		see(from, RECORDER_FLUSH);
	memcpy(dst, src, len);
	if (!inside(active, dst, len))
		return;
	for (; len; len -= n, d += n, s += n) {
		n = LINE - (uintptr_t)d % LINE;
		if (n > len)
			n = len;
		store_shuffled(d, s, n);
		if (!silent(from, RECORDER_FLUSH))
			flush(d, n);
	}
	stored(active);
}

const char *paste_pm_method(void)
{
	return "recorder";
}

void paste_pm_set_eadr(bool on)
{
	if (on)
		die("eADR is not modelled");
}

void paste_pm_set_latency(unsigned int ns)
{
	(void)ns;
}

/* ------------------------------------------------------------------ images */

/* The image is durable[] again after @r->image was handed out. */
static void begin_image(struct recorder *r)
{
	memcpy(r->image, r->durable, r->len);
}

static void put(struct recorder *r, size_t dirty, size_t n)
{
	size_t nr = r->dirty[dirty];

	apply(r->image + nr * LINE, &r->line[nr], n);
}

static size_t pending(const struct recorder *r, size_t dirty)
{
	return r->line[r->dirty[dirty]].n;
}

/* Everything stored has to be what memory holds. */
static void check_bypass(struct recorder *r)
{
	size_t i;

	begin_image(r);
	for (i = 0; i < r->nr_dirty; i++)
		put(r, i, pending(r, i));
	if (!memcmp(r->image, r->base, r->len))
		return;
	for (i = 0; r->image[i] == r->base[i]; i++)
		;
	die("offset %zu was stored without a verb of paste_pm.h", i);
}

/* How many images there are, at most @bound + 1. */
static size_t count(const struct recorder *r, size_t bound)
{
	size_t i, n = 1;

	for (i = 0; i < r->nr_dirty; i++) {
		n *= pending(r, i) + 1;
		if (n > bound)
			return bound + 1;
	}
	return n;
}

/* Image number @i of all: the digits of @i in mixed radix are the prefixes. */
static void enumerated(struct recorder *r, size_t i)
{
	size_t line;

	for (line = 0; line < r->nr_dirty; line++) {
		put(r, line, i % (pending(r, line) + 1));
		i /= pending(r, line) + 1;
	}
}

/* One in ten lines cut somewhere, the others whole or absent with odds @odds/8. */
static void random_image(struct recorder *r, uint64_t *seed)
{
	uint64_t odds = next(seed) % 9;
	size_t i, n;

	for (i = 0; i < r->nr_dirty; i++) {
		if (next(seed) % 10 == 0)
			n = next(seed) % (pending(r, i) + 1);
		else
			n = next(seed) % 8 < odds ? pending(r, i) : 0;
		put(r, i, n);
	}
}

/* Number @i of a sample: see recorder_images(). */
static void sampled(struct recorder *r, size_t i, size_t bound, uint64_t *seed)
{
	size_t line, pick = next(seed) % r->nr_dirty;

	if (i >= 2 && i >= bound / 2) {
		random_image(r, seed);
		return;
	}
	for (line = 0; line < r->nr_dirty; line++) {
		bool whole = i % 2;

		if (i >= 2 && line == pick)
			whole = !whole;
		if (whole)
			put(r, line, pending(r, line));
	}
}

int recorder_images(struct recorder *r, unsigned int bound, uint64_t seed,
		    recorder_check_fn *check, void *ctx)
{
	struct recorder *was = active;
	size_t i, n = count(r, bound);
	int ret = 0;

	check_bypass(r);
	active = NULL;
	for (i = 0; i < n && i < bound && !ret; i++) {
		begin_image(r);
		if (n <= bound)
			enumerated(r, i);
		else
			sampled(r, i, bound, &seed);
		images++;
		ret = check(r->image, r->len, ctx);
		if (active)
			die("a check left its recorder running");
	}
	active = was;
	return ret;
}

unsigned long recorder_image_count(void)
{
	return images;
}

/* ------------------------------------------------------------------- sites */

size_t recorder_sites(struct recorder_site *sites, size_t n)
{
	size_t i;

	for (i = 0; i < n && i < nr_sites; i++)
		sites[i] = site[i];
	return nr_sites;
}

void recorder_suppress(const void *address, unsigned int what)
{
	suppressed.address = address;
	suppressed.what = what;
}

void recorder_call(const void *address)
{
	if (active)
		see(address, RECORDER_CALL);
	muted += suppressed.address == address && suppressed.what & RECORDER_CALL;
}

void recorder_return(const void *address)
{
	muted -= suppressed.address == address && suppressed.what & RECORDER_CALL;
}
