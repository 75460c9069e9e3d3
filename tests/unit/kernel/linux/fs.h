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
};

struct file *anon_inode_getfile(const char *name, const struct file_operations *fops,
				void *priv, int flags);

struct ida { bool used[U16_MAX + 1]; };
#define DEFINE_IDA(name)	struct ida name

int ida_alloc_range(struct ida *ida, u32 min, u32 max, int gfp);
void ida_free(struct ida *ida, u32 id);

#endif
