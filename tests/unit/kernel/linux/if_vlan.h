/* SPDX-License-Identifier: BSD-2-Clause */
/* What of it the module uses is in netdevice.h here. */
#include <linux/netdevice.h>
