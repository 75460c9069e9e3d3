// SPDX-License-Identifier: BSD-2-Clause
/*
 * Links and addresses by rtnetlink and ioctl: starting ip(8) takes an emulated CPU half a second.
 * Errors are no matter here: whoever asks for nonsense gets nothing.
 */
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include "fuzz.h"
#include "links.h"

struct message {
	struct nlmsghdr h;
	char room[1024];
};

/* In the namespace of @netns, if that is one; this thread's otherwise. */
static int enter(int netns)
{
	int here = netns >= 0 ? open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC) : -1;

	if (here >= 0 && setns(netns, CLONE_NEWNET)) {
		close(here);
		return -2;
	}
	return here;
}

static void leave(int here)
{
	if (here < 0)
		return;
	setns(here, CLONE_NEWNET);
	close(here);
}

static void begin(struct message *m, uint16_t type, uint16_t flags, const void *fixed, size_t size)
{
	memset(m, 0, sizeof(*m));
	m->h = (struct nlmsghdr){
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags,
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
	};
	memcpy(NLMSG_DATA(&m->h), fixed, size);
}

static struct rtattr *add(struct message *m, uint16_t type, const void *data, size_t n)
{
	struct rtattr *a = (struct rtattr *)((char *)m + NLMSG_ALIGN(m->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(n);
	if (n)
		memcpy(RTA_DATA(a), data, n);
	m->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(m->h.nlmsg_len) + RTA_ALIGN(a->rta_len));
	return a;
}

static void finish(const struct message *m, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)((char *)m + m->h.nlmsg_len - (char *)nest);
}

static int talk(const struct message *m, int netns)
{
	struct { struct nlmsghdr h; struct nlmsgerr e; char rest[1024]; } answer;
	int here = enter(netns), s, err = -EIO;

	if (here == -2)
		return -ENOENT;
	s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (s >= 0 && send(s, m, m->h.nlmsg_len, 0) > 0 &&
	    recv(s, &answer, sizeof(answer), 0) > 0 && answer.h.nlmsg_type == NLMSG_ERROR)
		err = answer.e.error;
	if (s >= 0)
		close(s);
	leave(here);
	return err;
}

static uint32_t index_of(const char *name, int netns)
{
	int here = enter(netns);
	uint32_t i = here == -2 ? 0 : if_nametoindex(name);

	leave(here);
	return i;
}

/* A pair of veths, the peer in @netns. */
void link_veth(const char *name, const char *peer, int netns)
{
	struct ifinfomsg none = { 0 };
	struct rtattr *info, *data, *other;
	struct message m;

	begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &none, sizeof(none));
	add(&m, IFLA_IFNAME, name, strlen(name) + 1);
	info = add(&m, IFLA_LINKINFO, NULL, 0);
	add(&m, IFLA_INFO_KIND, "veth", 4);
	data = add(&m, IFLA_INFO_DATA, NULL, 0);
	other = add(&m, VETH_INFO_PEER, &none, sizeof(none));
	add(&m, IFLA_IFNAME, peer, strlen(peer) + 1);
	add(&m, IFLA_NET_NS_FD, &netns, sizeof(netns));
	finish(&m, other);
	finish(&m, data);
	finish(&m, info);
	talk(&m, -1);
}

void link_delete(const char *name, int netns)
{
	struct ifinfomsg which = { .ifi_index = (int)index_of(name, netns) };
	struct message m;

	begin(&m, RTM_DELLINK, 0, &which, sizeof(which));
	if (which.ifi_index)
		talk(&m, netns);
}

/* Up or down, another MTU (if not 0), another namespace (if not -1). */
void link_change(const char *name, int netns, bool up, uint32_t mtu, int move)
{
	struct ifinfomsg which = {
		.ifi_index = (int)index_of(name, netns),
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = IFF_UP,
	};
	struct message m;

	begin(&m, RTM_NEWLINK, 0, &which, sizeof(which));
	if (mtu)
		add(&m, IFLA_MTU, &mtu, sizeof(mtu));
	if (move >= 0)
		add(&m, IFLA_NET_NS_FD, &move, sizeof(move));
	if (which.ifi_index)
		talk(&m, netns);
}

/* @address of IPv4 or IPv6, with @bits of prefix. */
void link_address(const char *name, int netns, const char *address, uint8_t bits)
{
	int family = strchr(address, ':') ? AF_INET6 : AF_INET;
	size_t size = family == AF_INET ? 4 : 16;
	struct ifaddrmsg a = {
		.ifa_family = (uint8_t)family,
		.ifa_prefixlen = bits,
		.ifa_index = index_of(name, netns),
		.ifa_flags = IFA_F_NODAD,
	};
	char raw[16];
	struct message m;

	begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &a, sizeof(a));
	inet_pton(family, address, raw);
	add(&m, IFA_LOCAL, raw, size);
	add(&m, IFA_ADDRESS, raw, size);
	talk(&m, netns);
}

/* 0.0.0.0/0 via @gateway. */
void route_default(const char *gateway)
{
	struct rtmsg r = {
		.rtm_family = AF_INET,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_type = RTN_UNICAST,
	};
	char raw[4];
	struct message m;

	begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &r, sizeof(r));
	inet_pton(AF_INET, gateway, raw);
	add(&m, RTA_GATEWAY, raw, sizeof(raw));
	talk(&m, -1);
}

/* Checksums are made by the sender: what a veth hands to XDP it hands over as it is. */
void link_checksums(const char *name, int netns)
{
	struct ethtool_value off = { .cmd = ETHTOOL_STXCSUM };
	struct ifreq r = { .ifr_data = (void *)&off };
	int here = enter(netns), s = -1;

	if (here != -2)
		s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (s >= 0) {
		ioctl(s, SIOCETHTOOL, &r);
		close(s);
	}
	leave(here);
}

/* The neighbour's address is forgotten. */
void neighbour_forget(const char *name, const char *address)
{
	struct ndmsg n = { .ndm_family = AF_INET, .ndm_ifindex = (int)index_of(name, -1) };
	char raw[4];
	struct message m;

	begin(&m, RTM_DELNEIGH, 0, &n, sizeof(n));
	inet_pton(AF_INET, address, raw);
	add(&m, NDA_DST, raw, sizeof(raw));
	talk(&m, -1);
}
