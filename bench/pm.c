// SPDX-License-Identifier: BSD-2-Clause
/*
 * What it costs to make received data durable, with and without a copy, as CSV.
 *
 *	make -C bench pm
 *	bench/pm [-s MiB] [-t milliseconds] [-l ns] [file]
 *
 *	-s	size of the region, 2048; should be many times the last-level cache
 *	-t	how long each point runs, 300; the median of 5 is printed
 *	-l	latency added to each fence, 0
 *	file	the region: device-DAX, or a file on a DAX mount; without it, plain memory,
 *		which is as slow as DRAM and keeps nothing
 *
 * Data lies in a buffer; afterwards it must be durable in the region:
 *
 *	in_place	the buffer is in the region: flush it, fence
 *	in_place_batch	16 buffers: flush all of them, then one fence; the flushes overlap
 *	copy_nt		non-temporal copy into the region, fence
 *	copy_flush	memcpy into the region, flush, fence
 *
 * Where the NIC left it:
 *
 *	memory		written past the caches (no DDIO), and read by nobody yet
 *	cache		in the cache, dirty, as DDIO or a parser leaves it
 *
 * The buffers, source and destination, are taken in an order that no prefetcher follows;
 * each has a page or more of its own.  What puts the data there is not timed.  Columns:
 * bytes, where, how, nanoseconds, GB/s.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <paste_pm.h>

#define PAGE		4096
#define REPEAT		5
#define BATCH		16	/* made ready, then made durable: the clock is read twice for all */
#define LARGEST		65536

static size_t region_size = 2048ul << 20;
static double point_seconds = 0.3;
static char *region;	/* where things become durable */
static char *dram;	/* where buffers are that must be copied */
static char pattern[LARGEST];

/* Sources and destinations of a batch. */
struct job {
	size_t len;
	char *src[BATCH];
	char *dst[BATCH];
};

struct way {
	const char *name;
	bool copies;
	void (*run)(const struct job *job);
};

static void in_place(const struct job *job)
{
	for (int i = 0; i < BATCH; i++)
		paste_pm_persist(job->src[i], job->len);
}

static void in_place_batch(const struct job *job)
{
	for (int i = 0; i < BATCH; i++)
		paste_pm_flush(job->src[i], job->len);
	paste_pm_fence();
}

static void copy_nt(const struct job *job)
{
	for (int i = 0; i < BATCH; i++) {
		paste_pm_copy_nt(job->dst[i], job->src[i], job->len);
		paste_pm_fence();
	}
}

static void copy_flush(const struct job *job)
{
	for (int i = 0; i < BATCH; i++) {
		memcpy(job->dst[i], job->src[i], job->len);
		paste_pm_persist(job->dst[i], job->len);
	}
}

static const struct way ways[] = {
	{ "in_place", false, in_place },
	{ "in_place_batch", false, in_place_batch },
	{ "copy_nt", true, copy_nt },
	{ "copy_flush", true, copy_flush },
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put_in_memory(const struct job *job)
{
	for (int i = 0; i < BATCH; i++)
		paste_pm_copy_nt(job->src[i], pattern, job->len);
	paste_pm_fence();
}

static void put_in_cache(const struct job *job)
{
	for (int i = 0; i < BATCH; i++)
		memcpy(job->src[i], pattern, job->len);
}

/* The next place of @len bytes: each is visited once before any is again. */
static char *place(char *base, size_t len, size_t *at)
{
	size_t unit = len < PAGE ? PAGE : len, n = region_size / unit;

	*at = (*at + 0x9e3779b1) % n;	/* a prime, so no multiple of n's factors */
	return base + *at * unit;
}

/* Seconds for one buffer. */
static double measure(const struct way *way, void (*put)(const struct job *), size_t len)
{
	struct job job = { .len = len };
	double end = now() + point_seconds, spent = 0;
	size_t src_at = 0, dst_at = region_size / PAGE / 2, n = 0;

	do {
		double begin;

		for (int i = 0; i < BATCH; i++) {
			job.src[i] = place(way->copies ? dram : region, len, &src_at);
			job.dst[i] = place(region, len, &dst_at);
		}
		put(&job);
		begin = now();
		way->run(&job);
		spent += now() - begin;
		n += BATCH;
	} while (now() < end);
	return spent / (double)n;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void point(const struct way *way, bool cached, size_t len)
{
	double t[REPEAT];

	for (int i = 0; i < REPEAT; i++)
		t[i] = measure(way, cached ? put_in_cache : put_in_memory, len);
	qsort(t, REPEAT, sizeof(t[0]), compare);
	printf("%zu,%s,%s,%.0f,%.2f\n", len, cached ? "cache" : "memory", way->name,
	       t[REPEAT / 2] * 1e9, (double)len / t[REPEAT / 2] / 1e9);
	fflush(stdout);
}

static char *map(const char *file)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
	char *mem;

	if (file) {
		flags = MAP_SHARED_VALIDATE | MAP_SYNC;
		fd = open(file, O_RDWR);
		if (fd < 0) {
			fprintf(stderr, "pm: %s: %s\n", file, strerror(errno));
			exit(1);
		}
	}
	mem = mmap(NULL, region_size, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (mem == MAP_FAILED) {
		fprintf(stderr, "pm: %s: cannot map %zu MiB: %s\n", file ? file : "memory",
			region_size >> 20, strerror(errno));
		exit(1);
	}
	if (!file)
		memset(mem, 1, region_size);
	return mem;
}

static void usage(FILE *to)
{
	fputs("usage: pm [-s MiB] [-t milliseconds] [-l nanoseconds] [file]\n"
	      "What it costs to make data durable in place, and by copying; see bench/pm.c.\n", to);
}

static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n > max) {
		fprintf(stderr, "pm: not a number from 0 to %lu: %s\n", max, text);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	static const size_t lens[] = { 1024, 4096, LARGEST };
	int opt;

	while ((opt = getopt(argc, argv, "s:t:l:h")) != -1) {
		if (opt == 's') {
			region_size = number(optarg, 1ul << 24) << 20;
		} else if (opt == 't') {
			point_seconds = (double)number(optarg, 1000000) / 1e3;
		} else if (opt == 'l') {
			paste_pm_set_latency((unsigned int)number(optarg, 1000000000));
		} else {
			usage(opt == 'h' ? stdout : stderr);
			return opt == 'h' ? 0 : 2;
		}
	}
	if (argc - optind > 1 || region_size < (size_t)64 * LARGEST) {
		usage(stderr);
		return 2;
	}
	region = map(argv[optind]);
	dram = map(NULL);
	memset(pattern, 'p', sizeof(pattern));
	fprintf(stderr, "pm: flushing by %s\n", paste_pm_method());
	puts("bytes,where,how,ns,gb_per_s");
	for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++)
		for (int cached = 0; cached < 2; cached++)
			for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++)
				point(&ways[w], cached, lens[l]);
	return 0;
}
