/* SPDX-License-Identifier: BSD-2-Clause */
/* Files without a file system, and numbers for those who want unique ones. */
#ifndef _MOCK_FS_H_
#define _MOCK_FS_H_

#include <linux/mm.h>

#include <fcntl.h>

struct file;
struct module;

struct file_operations {
	struct module *owner;
	int (*mmap)(struct file *file, struct vm_area_struct *vma);
};

struct file {
	const struct file_operations *f_op;
	void *private_data;
	long count;
};

#define file_count(file)	((file)->count)

static inline struct file *get_file(struct file *file)
{
	file->count++;
	return file;
}

/* The tests' part. */
void fput(struct file *file);
void __fput_sync(struct file *file);
int get_unused_fd_flags(int flags);
void fd_install(unsigned int fd, struct file *file);
int close_fd(unsigned int fd);
unsigned long vm_mmap(struct file *file, unsigned long addr, unsigned long len,
		      unsigned long prot, unsigned long flag, unsigned long offset);
int vm_munmap(unsigned long addr, size_t len);

struct file *anon_inode_getfile(const char *name, const struct file_operations *fops,
				void *priv, int flags);

struct ida { bool used[U16_MAX + 1]; };
#define DEFINE_IDA(name)	struct ida name

int ida_alloc_range(struct ida *ida, u32 min, u32 max, int gfp);
void ida_free(struct ida *ida, u32 id);

#endif
