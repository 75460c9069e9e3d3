/* SPDX-License-Identifier: BSD-2-Clause */
/* links.h: what links.c can do to links; netns is a descriptor of a namespace, or -1: this one. */
#ifndef LINKS_H
#define LINKS_H

#include <stdbool.h>
#include <stdint.h>

void link_veth(const char *name, const char *peer, int netns);
void link_delete(const char *name, int netns);
void link_change(const char *name, int netns, bool up, uint32_t mtu, int move);
void link_address(const char *name, int netns, const char *address, uint8_t bits);
void link_checksums(const char *name, int netns);
void route_default(const char *gateway);
void neighbour_forget(const char *name, const char *address);

#endif /* LINKS_H */
