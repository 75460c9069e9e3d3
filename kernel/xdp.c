// SPDX-License-Identifier: GPL-2.0
/*
 * Steering: the XDP program.
 *
 * Redirects into AF_XDP what is TCP (IPv4 without options or fragments, IPv6
 * without extension headers, either behind one VLAN tag) and goes to a local port
 * of a registered socket.  Everything else takes the driver's normal path, so the
 * rest of the host does not notice: ARP, ICMP, UDP, ssh, listeners, handshakes of
 * ports nobody has registered yet.
 *
 *   r6 = context     r7 = packet, moved on by 4 behind a VLAN tag
 *   r8 = end         r9 = ethertype, then local port (network order)
 *
 * Two maps: ports[65536], one byte each, non-zero = ours; xsks[queue] = socket.
 */
#include <linux/bpf.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/netdevice.h>
#include <linux/rcupdate.h>

#include "compat.h"
#include "xsk.h"

/* Indexes into prog[].  A slip is found at once: the verifier refuses the program. */
enum { AT_TYPED = 13, AT_IPV4 = 16, AT_IPV6 = 25, AT_LOOKUP = 31, AT_PASS = 46 };

#define JUMP(from, to)	((to) - (from) - 1)

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
/*  7 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_9, htons(ETH_P_8021Q), JUMP(7, AT_TYPED)),
		/* AT_TAGGED */
/*  8 */	BPF_LDX_MEM(BPF_H, BPF_REG_9, BPF_REG_7, 16),
/*  9 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_7, 4),
/* 10 */	BPF_MOV64_REG(BPF_REG_2, BPF_REG_7),
/* 11 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 38),
/* 12 */	BPF_JMP_REG(BPF_JGT, BPF_REG_2, BPF_REG_8, JUMP(12, AT_PASS)),
		/* AT_TYPED */
/* 13 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_9, htons(ETH_P_IP), JUMP(13, AT_IPV4)),
/* 14 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_9, htons(ETH_P_IPV6), JUMP(14, AT_IPV6)),
/* 15 */	BPF_JMP_A(JUMP(15, AT_PASS)),
		/* AT_IPV4: version and length, fragment, protocol, port */
/* 16 */	BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_7, 14),
/* 17 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_2, 0x45, JUMP(17, AT_PASS)),
/* 18 */	BPF_LDX_MEM(BPF_H, BPF_REG_2, BPF_REG_7, 20),
/* 19 */	BPF_ALU64_IMM(BPF_AND, BPF_REG_2, htons(0x3fff)),
/* 20 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_2, 0, JUMP(20, AT_PASS)),
/* 21 */	BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_7, 23),
/* 22 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_2, IPPROTO_TCP, JUMP(22, AT_PASS)),
/* 23 */	BPF_LDX_MEM(BPF_H, BPF_REG_9, BPF_REG_7, 36),
/* 24 */	BPF_JMP_A(JUMP(24, AT_LOOKUP)),
		/* AT_IPV6: bounds, next header, port */
/* 25 */	BPF_MOV64_REG(BPF_REG_2, BPF_REG_7),
/* 26 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 58),
/* 27 */	BPF_JMP_REG(BPF_JGT, BPF_REG_2, BPF_REG_8, JUMP(27, AT_PASS)),
/* 28 */	BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_7, 20),
/* 29 */	BPF_JMP_IMM(BPF_JNE, BPF_REG_2, IPPROTO_TCP, JUMP(29, AT_PASS)),
/* 30 */	BPF_LDX_MEM(BPF_H, BPF_REG_9, BPF_REG_7, 56),
		/* AT_LOOKUP: is the port one of ours? */
/* 31 */	BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_9, -4),
/* 32 */	BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
/* 33 */	BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
/* 34 */	BPF_LD_MAP_FD(BPF_REG_1, ports_fd),	/* two instructions */
/* 36 */	BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
/* 37 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, JUMP(37, AT_PASS)),
/* 38 */	BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_0, 0),
/* 39 */	BPF_JMP_IMM(BPF_JEQ, BPF_REG_2, 0, JUMP(39, AT_PASS)),
/* 40 */	BPF_LDX_MEM(BPF_W, BPF_REG_2, BPF_REG_6, offsetof(struct xdp_md, rx_queue_index)),
/* 41 */	BPF_LD_MAP_FD(BPF_REG_1, xsks_fd),	/* two instructions */
/* 43 */	BPF_MOV64_IMM(BPF_REG_3, XDP_PASS),
/* 44 */	BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
/* 45 */	BPF_EXIT_INSN(),
		/* AT_PASS */
/* 46 */	BPF_MOV64_IMM(BPF_REG_0, XDP_PASS),
/* 47 */	BPF_EXIT_INSN(),
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

/* A descriptor of this process turned into a file of ours; NULL if it is gone. */
static struct file *file_of_fd(int fd)
{
	struct file *file = fget(fd);

	close_fd(fd);
	return file;
}

/*
 * The port map behind a descriptor; NULL if another thread of the process has put
 * something else there meanwhile.
 */
static struct bpf_map *map_of_fd(int fd)
{
	struct bpf_map *map = bpf_map_get(fd);

	close_fd(fd);
	if (IS_ERR(map))
		return NULL;
	if (map->map_type == BPF_MAP_TYPE_ARRAY && map->key_size == sizeof(u32) &&
	    map->value_size == 1 && map->max_entries == 65536)
		return map;
	bpf_map_put(map);
	return NULL;
}

/*
 * Attaches the program to @dev, in the driver if it can, else on packets.  No
 * descriptor stays behind in the process.
 */
int pst_xdp_open(struct pst_xdp *xdp, struct net_device *dev, u32 queues, bool *skb_mode)
{
	int ports, xsks, prog, link;

	ports = create_map(BPF_MAP_TYPE_ARRAY, 1, 65536, "paste_ports");
	if (ports < 0)
		return ports;
	xsks = create_map(BPF_MAP_TYPE_XSKMAP, sizeof(u32), queues, "paste_xsks");
	if (xsks < 0) {
		close_fd(ports);
		return xsks;
	}
	prog = load_program(ports, xsks);
	xdp->ports = map_of_fd(ports);
	xdp->xsks = file_of_fd(xsks);
	link = xdp->ports && xdp->xsks ? prog : -EBADF;
	if (link >= 0) {
		*skb_mode = false;
		link = create_link(prog, dev, XDP_FLAGS_DRV_MODE);
		if (link == -EOPNOTSUPP || link == -EINVAL) {
			*skb_mode = true;
			link = create_link(prog, dev, XDP_FLAGS_SKB_MODE);
		}
	}
	if (prog >= 0)
		close_fd(prog);
	if (link < 0) {
		pst_xdp_close(xdp);
		return link;
	}
	xdp->link = file_of_fd(link);
	if (!xdp->link) {
		pst_xdp_close(xdp);
		return -EBADF;
	}
	return 0;
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

/* Whether packets to @lport come to us. */
int pst_xdp_steer(struct pst_xdp *xdp, __be16 lport, bool on)
{
	struct bpf_map *map = xdp->ports;
	u32 key = (__force u16)lport;
	u8 val = on;
	int err;

	rcu_read_lock();
	err = map->ops->map_update_elem(map, &key, &val, BPF_ANY);
	rcu_read_unlock();
	return err;
}

void pst_xdp_close(struct pst_xdp *xdp)
{
	if (xdp->link)
		fput(xdp->link);
	if (xdp->xsks)
		fput(xdp->xsks);
	if (xdp->ports)
		bpf_map_put(xdp->ports);
	memset(xdp, 0, sizeof(*xdp));
}
