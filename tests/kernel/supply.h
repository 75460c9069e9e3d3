/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory of many kinds to open a port in. */
#ifndef SUPPLY_H
#define SUPPLY_H

#include "port.h"

#define SUPPLY_HUGE	(2UL << 20)

/* 2 MiB pages for @size bytes; those that were there are not given back. */
static inline void supply_hugepages(size_t size)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	t_must(f);
	fprintf(f, "%zu", size / SUPPLY_HUGE);
	t_must(!fclose(f));
}

static inline void *supply_file(int fd, size_t size)
{
	void *p;

	t_must(fd >= 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

/*
 * @size bytes of @kind: anon (small pages), thp (transparent huge ones), hugetlb, memfd,
 * or the path of a file, which is made that long, or of a device.  Ends the test if there
 * is no such memory.
 */
static inline void *supply(const char *kind, size_t size)
{
	int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	struct stat st;
	void *p;
	int fd;

	if (!strcmp(kind, "anon") || !strcmp(kind, "thp")) {
		p = mmap(NULL, size + SUPPLY_HUGE, PROT_READ | PROT_WRITE, anonymous, -1, 0);
		t_must(p != MAP_FAILED);
		p = (void *)(((uintptr_t)p + SUPPLY_HUGE - 1) & ~(SUPPLY_HUGE - 1));
		madvise(p, size, kind[0] == 't' ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	} else if (!strcmp(kind, "hugetlb")) {
		supply_hugepages(size);
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, anonymous | MAP_HUGETLB, -1, 0);
	} else if (!strcmp(kind, "memfd")) {
		fd = memfd_create("region", MFD_CLOEXEC);
		t_must(!ftruncate(fd, (off_t)size));
		p = supply_file(fd, size);
	} else {
		fd = open(kind, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		t_must(fd >= 0 && !fstat(fd, &st));
		t_must(!S_ISREG(st.st_mode) || !ftruncate(fd, (off_t)size));
		p = supply_file(fd, size);
	}
	t_must(p != MAP_FAILED);
	return p;
}

#endif /* SUPPLY_H */
