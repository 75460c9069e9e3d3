// SPDX-License-Identifier: GPL-2.0
/*
 * Steering: the XDP program.
 *
 * Redirects into AF_XDP what is TCP or UDP (IPv4 without options or fragments, IPv6
 * without extension headers, either behind one VLAN tag) and goes to a local port
 * of a registered socket.  Everything else takes the driver's normal path, so the
 * rest of the host does not notice: ARP, ICMP, ssh, listeners, handshakes of
 * ports nobody has registered yet.
 *
 *   r6 = context     r7 = packet, moved on by 4 behind a VLAN tag
 *   r8 = end         r9 = ethertype, then local port (network order), then key
 *
 * Two maps: ports[pst_steer_key()], a bit for each queue on which packets with that key are ours (queues
 * from 64 on share the bits of the first ones); xsks[queue] = socket.
 *
 * A device has one program, whose queues may belong to several ports: a packet for a socket of
 * one port that arrives on a queue of another is passed.
 *
 * What is passed has been in the port's memory all the same, where the driver does zero copy: it has
 * no other buffers for the queue, and copies afterwards (README, Security).
 */
#include <linux/bpf.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/netdevice.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "compat.h"
#include "xsk.h"

/* Indexes into prog[].  A slip is found at once: the verifier refuses the program. */
enum { AT_TYPED = 13, AT_IPV4 = 16, AT_IPV6 = 24, AT_PROTO = 29, AT_LOOKUP = 32, AT_PASS = 49 };

#define JUMP(from, to)	((to) - (from) - 1)
#define WIRE(n)		((__force s32)htons(n))	/* as 16 bits of a packet are loaded */

static int load_program(int ports_fd, int xsks_fd)
{
	const struct bpf_insn prog[] = {
/*  0 */	BPF_MOV64_REG(BPF_REG_6, BPF_REG_1),
/*  1 */	BPF_LDX_MEM(BPF_W, BPF_REG_7, BPF_REG_1, offsetof(struct xdp_md, data)),
/*  2 */	BPF_LDX_MEM(BPF_W, BPF_REG_8, BPF_REG_1, offsetof(struct xdp_md, data_end)),
/*  3 */	BPF_MOV64_REG(BPF_REG_2, BPF_REG_7),
/*  4 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 42),	/* VLAN tag, IPv4, ports */
/*  5 */	BPF_JMP_REG(BPF_JGT, BPF_REG_2, BPF_REG_8, JUMP(5, AT_PASS)),
/*  6 */	BPF_LDX_MEM(BPF_H, BPF_REG_9, BPF_REG_7, 12),
/*  7 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_9, WIRE(ETH_P_8021Q), JUMP(7, AT_TYPED)),
		/* AT_TAGGED */
/*  8 */	BPF_LDX_MEM(BPF_H, BPF_REG_9, BPF_REG_7, 16),
/*  9 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_7, 4),
/* 10 */	BPF_MOV64_REG(BPF_REG_2, BPF_REG_7),
/* 11 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 38),
/* 12 */	BPF_JMP_REG(BPF_JGT, BPF_REG_2, BPF_REG_8, JUMP(12, AT_PASS)),
		/* AT_TYPED */
/* 13 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_9, WIRE(ETH_P_IP), JUMP(13, AT_IPV4)),
/* 14 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_9, WIRE(ETH_P_IPV6), JUMP(14, AT_IPV6)),
/* 15 */	BPF_JMP_A(JUMP(15, AT_PASS)),
		/* AT_IPV4: version and length, fragment, protocol, port */
/* 16 */	BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_7, 14),
/* 17 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_2, 0x45, JUMP(17, AT_PASS)),
/* 18 */	BPF_LDX_MEM(BPF_H, BPF_REG_2, BPF_REG_7, 20),
/* 19 */	BPF_ALU64_IMM(BPF_AND, BPF_REG_2, WIRE(0x3fff)),
/* 20 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_2, 0, JUMP(20, AT_PASS)),
/* 21 */	BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_7, 23),
/* 22 */	BPF_LDX_MEM(BPF_H, BPF_REG_9, BPF_REG_7, 36),
/* 23 */	BPF_JMP_A(JUMP(23, AT_PROTO)),
		/* AT_IPV6: bounds, next header, port */
/* 24 */	BPF_MOV64_REG(BPF_REG_2, BPF_REG_7),
/* 25 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 58),
/* 26 */	BPF_JMP_REG(BPF_JGT, BPF_REG_2, BPF_REG_8, JUMP(26, AT_PASS)),
/* 27 */	BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_7, 20),
/* 28 */	BPF_LDX_MEM(BPF_H, BPF_REG_9, BPF_REG_7, 56),
		/* AT_PROTO */
/* 29 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_2, IPPROTO_TCP, JUMP(29, AT_LOOKUP)),
/* 30 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_2, IPPROTO_UDP, JUMP(30, AT_PASS)),
/* 31 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_9, PST_STEER_UDP),
		/* AT_LOOKUP: is the port one of ours, on this queue? */
/* 32 */	BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_9, -4),
/* 33 */	BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
/* 34 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
/* 35 */	BPF_LD_MAP_FD(BPF_REG_1, ports_fd),	/* two instructions */
/* 37 */	BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
/* 38 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, JUMP(38, AT_PASS)),
/* 39 */	BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_0, 0),
/* 40 */	BPF_LDX_MEM(BPF_W, BPF_REG_2, BPF_REG_6, offsetof(struct xdp_md, rx_queue_index)),
/* 41 */	BPF_ALU64_REG(BPF_RSH, BPF_REG_3, BPF_REG_2),	/* by queue % 64 */
/* 42 */	BPF_ALU64_IMM(BPF_AND, BPF_REG_3, 1),
/* 43 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_3, 0, JUMP(43, AT_PASS)),
/* 44 */	BPF_LD_MAP_FD(BPF_REG_1, xsks_fd),	/* two instructions */
/* 46 */	BPF_MOV64_IMM(BPF_REG_3, XDP_PASS),
/* 47 */	BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
/* 48 */	BPF_EXIT_INSN(),
		/* AT_PASS */
/* 49 */	BPF_MOV64_IMM(BPF_REG_0, XDP_PASS),
/* 50 */	BPF_EXIT_INSN(),
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (unsigned long)prog,
		.insn_cnt = ARRAY_SIZE(prog),
		.license = (unsigned long)"GPL",
		.prog_name = "paste",
	};

	return kern_sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

static int create_map(u32 type, u32 value_size, u32 entries, const char *name)
{
	union bpf_attr attr = {
		.map_type = type,
		.key_size = sizeof(u32),
		.value_size = value_size,
		.max_entries = entries,
	};

	strscpy(attr.map_name, name, sizeof(attr.map_name));
	return kern_sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int create_link(int prog_fd, struct net_device *dev, u32 flags)
{
	union bpf_attr attr = {
		.link_create = {
			.prog_fd = prog_fd,
			.target_ifindex = dev->ifindex,
			.attach_type = BPF_XDP,
			.flags = flags,
		},
	};

	return kern_sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
}

/*
 * What was made for us comes as a descriptor, behind which another thread of the process can put
 * something else meanwhile: a file of ours even, which would then hold itself.  So the next three
 * look, close the descriptor, and return NULL if it is not what it should be.
 *
 * A file of BPF's that is this object's; the object is held.
 */
static struct file *file_of_fd(int fd, const void *object)
{
	struct file *file = fget(fd);

	if (!file || file->private_data == object)
		return file;
	fput(file);
	return NULL;
}

/* The link by which the program is attached. */
static struct file *link_of_fd(int fd, const struct bpf_prog *prog)
{
	struct bpf_link *link = bpf_link_get_from_fd(fd);
	struct file *file = NULL;

	if (!IS_ERR(link)) {
		if (link->type == BPF_LINK_TYPE_XDP && READ_ONCE(link->prog) == prog)
			file = file_of_fd(fd, link);
		bpf_link_put(link);	/* not the last one, if it is ours */
	}
	close_fd(fd);
	return file;
}

/* The map of sockets. */
static struct file *xsks_of_fd(int fd)
{
	struct bpf_map *map = bpf_map_get(fd);
	struct file *file = NULL;

	if (!IS_ERR(map)) {
		if (map->map_type == BPF_MAP_TYPE_XSKMAP)
			file = file_of_fd(fd, map);
		bpf_map_put(map);
	}
	close_fd(fd);
	return file;
}

/* The map of ports. */
static struct bpf_map *map_of_fd(int fd)
{
	struct bpf_map *map = bpf_map_get(fd);

	close_fd(fd);
	if (IS_ERR(map))
		return NULL;
	if (map->map_type == BPF_MAP_TYPE_ARRAY && map->key_size == sizeof(u32) &&
	    map->value_size == sizeof(u64) && map->max_entries == PST_STEER_KEYS)
		return map;
	bpf_map_put(map);
	return NULL;
}

/* Of a master the members strip; what a VLAN interface is on has done its part. */
static bool member_strips(struct net_device *dev)
{
	struct net_device *lower;
	struct list_head *iter;

	if (is_vlan_dev(dev))
		return false;
	netdev_for_each_lower_dev(dev, lower, iter)
		if (lower->features & PST_TAG_STRIPPING)
			return true;
	return false;
}

/*
 * XDP is not shown a VLAN tag that the device takes out of the frame: what comes by a VLAN would be
 * delivered as if it came without.  So that offload is turned off, as a router does with LRO, and
 * on again when we are done.  What cannot be told so will do while it has no VLANs.
 */
static int keep_tags(struct pst_xdp *xdp)
{
	struct net_device *dev = xdp->dev;
	bool strips, vlans;

	rtnl_lock();
	pst_netdev_lock(dev);
	xdp->stripped = dev->wanted_features & PST_TAG_STRIPPING;
	if (xdp->stripped) {
		dev->wanted_features &= ~PST_TAG_STRIPPING;
		netdev_update_features(dev);
	}
	pst_netdev_unlock(dev);
	strips = dev->features & PST_TAG_STRIPPING || member_strips(dev);
	vlans = vlan_uses_dev(dev);
	rtnl_unlock();
	if (strips)
		netdev_warn(dev, "paste: takes VLAN tags out of the frames and cannot be told not to%s\n",
			    vlans ? "" : ": do not add VLANs");
	return strips && vlans ? -EOPNOTSUPP : 0;
}

static void restore_tags(struct pst_xdp *xdp)
{
	struct net_device *dev = xdp->dev;

	if (!xdp->stripped)
		return;
	rtnl_lock();
	pst_netdev_lock(dev);
	if (dev->reg_state == NETREG_REGISTERED) {
		dev->wanted_features |= xdp->stripped;
		netdev_update_features(dev);
	}
	pst_netdev_unlock(dev);
	rtnl_unlock();
}

static void close_program(struct pst_xdp *xdp)
{
	if (xdp->link)
		fput(xdp->link);
	if (xdp->xsks)
		fput(xdp->xsks);
	if (xdp->ports)
		bpf_map_put(xdp->ports);
	restore_tags(xdp);
	kfree(xdp);
}

/* Makes the maps and loads the program; its descriptor, or an error. */
static int open_program(struct pst_xdp *xdp)
{
	int ports, xsks, prog;

	ports = create_map(BPF_MAP_TYPE_ARRAY, sizeof(u64), PST_STEER_KEYS, "paste_ports");
	if (ports < 0)
		return ports;
	xsks = create_map(BPF_MAP_TYPE_XSKMAP, sizeof(u32), xdp->dev->real_num_rx_queues,
			  "paste_xsks");
	if (xsks < 0) {
		close_fd(ports);
		return xsks;
	}
	prog = load_program(ports, xsks);
	xdp->ports = map_of_fd(ports);
	xdp->xsks = xsks_of_fd(xsks);
	if (prog >= 0 && (!xdp->ports || !xdp->xsks)) {
		close_fd(prog);
		return -EBADF;
	}
	return prog;
}

/* What the driver cannot do with XDP the stack can: veth says ERANGE of the MTU, ENOSPC of queues. */
static bool is_about_driver(int err)
{
	return err == -EOPNOTSUPP || err == -EINVAL || err == -ERANGE || err == -ENOSPC;
}

/*
 * The program attached to @dev, in the driver if it can, else on packets.  No descriptor
 * stays behind in the process.
 */
static struct pst_xdp *attach_program(struct net_device *dev)
{
	struct pst_xdp *xdp = kzalloc(sizeof(*xdp), GFP_KERNEL_ACCOUNT);
	struct bpf_prog *ours;
	int prog, link;

	if (!xdp)
		return ERR_PTR(-ENOMEM);
	xdp->dev = dev;
	prog = open_program(xdp);
	if (prog < 0) {
		close_program(xdp);
		return ERR_PTR(prog);
	}
	ours = bpf_prog_get_type_dev(prog, BPF_PROG_TYPE_XDP, false);
	if (IS_ERR(ours)) {
		close_fd(prog);
		close_program(xdp);
		return ERR_PTR(-EBADF);
	}
	link = create_link(prog, dev, XDP_FLAGS_DRV_MODE);
	if (is_about_driver(link)) {
		xdp->skb_mode = true;
		link = create_link(prog, dev, XDP_FLAGS_SKB_MODE);
	}
	close_fd(prog);
	if (link >= 0) {
		xdp->link = link_of_fd(link, ours);
		link = xdp->link ? keep_tags(xdp) : -EBADF;
	}
	bpf_prog_put(ours);
	if (link < 0) {
		close_program(xdp);
		return ERR_PTR(link);
	}
	return xdp;
}

/* Programs on devices; under programs_lock, which is taken inside port mutexes. */
static LIST_HEAD(programs);
static DEFINE_MUTEX(programs_lock);

static struct pst_xdp *find_program(const struct net_device *dev)
{
	struct pst_xdp *xdp;

	list_for_each_entry(xdp, &programs, node)
		if (xdp->dev == dev)
			return xdp;
	return NULL;
}

/*
 * The program of @dev, attached if it was not, with @queues (a mask, by number % 64) taken.
 * -EBUSY: one of them is taken, or the device has somebody else's program.
 */
struct pst_xdp *pst_xdp_get(struct net_device *dev, u64 queues)
{
	struct pst_xdp *xdp;

	mutex_lock(&programs_lock);
	xdp = find_program(dev);
	if (xdp && xdp->queues & queues) {
		xdp = ERR_PTR(-EBUSY);
	} else if (!xdp) {
		xdp = attach_program(dev);
		if (!IS_ERR(xdp))
			list_add(&xdp->node, &programs);
	}
	if (!IS_ERR(xdp))
		xdp->queues |= queues;
	mutex_unlock(&programs_lock);
	return xdp;
}

/* Nothing is redirected from @queues any more; the last ones take the program with them. */
void pst_xdp_put(struct pst_xdp *xdp, u64 queues)
{
	u32 key;

	mutex_lock(&programs_lock);
	xdp->queues &= ~queues;
	/* Also the last ones: the program goes a moment after it has been let go of. */
	for (key = 0; key < PST_STEER_KEYS; key++)
		pst_xdp_steer(xdp, queues, key, false);
	if (!xdp->queues) {
		list_del(&xdp->node);
		close_program(xdp);
	}
	mutex_unlock(&programs_lock);
}

/* The map takes sockets by descriptor, so both need one for the moment. */
int pst_xdp_add_queue(struct pst_xdp *xdp, u32 queue, struct pst_xsk *xsk)
{
	union bpf_attr attr = {};
	u32 sock_fd;
	int map_fd, err;

	map_fd = get_unused_fd_flags(O_CLOEXEC);
	if (map_fd < 0)
		return map_fd;
	err = get_unused_fd_flags(O_CLOEXEC);
	if (err < 0) {
		put_unused_fd(map_fd);
		return err;
	}
	sock_fd = err;
	fd_install(map_fd, get_file(xdp->xsks));
	fd_install(sock_fd, get_file(xsk->file));
	attr.map_fd = map_fd;
	attr.key = (unsigned long)&queue;
	attr.value = (unsigned long)&sock_fd;
	err = kern_sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
	close_fd(sock_fd);
	close_fd(map_fd);
	return err;
}

/* Whether packets with @key on @queues come to us. */
void pst_xdp_steer(struct pst_xdp *xdp, u64 queues, u32 key, bool on)
{
	atomic64_t *mask;

	rcu_read_lock();
	mask = xdp->ports->ops->map_lookup_elem(xdp->ports, &key);
	if (on)
		atomic64_or(queues, mask);
	else
		atomic64_andnot(queues, mask);
	rcu_read_unlock();
}
