/* SPDX-License-Identifier: BSD-2-Clause */
#include <net/sch_generic.h>
