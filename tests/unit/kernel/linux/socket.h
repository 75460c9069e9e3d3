/* SPDX-License-Identifier: BSD-2-Clause */
#include_next <linux/socket.h>
#include <net/sock.h>
