# SPDX-License-Identifier: BSD-2-Clause
region_file_test_SRCS := ../../lib/pm.c ../../lib/crc32c.c ../../lib/region_file.c
region_file_test_CFLAGS := -Wl,--wrap=calloc -Wl,--wrap=mmap -Wl,--wrap=getrandom \
			   -Wl,--wrap=posix_fallocate -Wl,--wrap=ftruncate -Wl,--wrap=flock \
			   -Wl,--wrap=fstat -Wl,--wrap=fopen
