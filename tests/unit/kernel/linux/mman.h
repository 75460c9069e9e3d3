/* SPDX-License-Identifier: BSD-2-Clause */
#include <sys/mman.h>
#include <linux/mm.h>
