// SPDX-License-Identifier: BSD-2-Clause
/*
 * Errors of requests in words: the cause first, then what to do.
 */
#include <errno.h>
#include <string.h>

#include <paste.h>

#define OPEN_DEVICE	0
#define ANY_REQUEST	UINT16_MAX

/* The first line that fits is taken, so ANY_REQUEST comes last. */
static const struct {
	uint16_t request;
	int err;
	const char *sentence;
} causes[] = {
	{ OPEN_DEVICE, ENOENT,
	  "there is no /dev/netmap: load the paste module (modprobe paste)" },
	{ OPEN_DEVICE, ENXIO,
	  "/dev/netmap has no driver behind it: load the paste module" },
	{ OPEN_DEVICE, ENODEV,
	  "/dev/netmap has no driver behind it: load the paste module" },
	{ OPEN_DEVICE, EACCES,
	  "no permission for /dev/netmap: run as root or change its group and mode" },
	{ OPEN_DEVICE, EMFILE,
	  "this process has too many open files: raise RLIMIT_NOFILE" },

	{ NETMAP_REQ_REGISTER, EBUSY,
	  "the descriptor is bound already (open another one), or the rings are in exclusive use or asked exclusively while in use (choose another ring or wait for its owner to close), or the memory supplied is another port's, or TCP still sends from where its rings would be, or the port exists already and lies in other memory" },
	{ NETMAP_REQ_REGISTER, ERANGE,
	  "a buffer that is to be kept does not exist in the memory supplied: check the list, and that the memory is the one it was made for" },
	{ NETMAP_REQ_REGISTER, EEXIST,
	  "a buffer that is to be kept is named twice: check the list" },
	{ NETMAP_REQ_REGISTER, ENXIO,
	  "there is no port of that kind and name, or its network namespace is not yours: check the name (stack:NAME) with pastectl list" },
	{ NETMAP_REQ_REGISTER, EINVAL,
	  "the name is malformed (after the colon at most 15 bytes without blank / { } or :) or that of an interface (those are for attaching), or the ring number is not below the port's number of rings, or the region number is not the port's, or a flag is unknown, or the memory supplied does not begin at a page or has a page twice" },
	{ NETMAP_REQ_REGISTER, ENOMEM,
	  "no memory for the region (others are to keep an eighth of memory, 1 GiB at most, or eight times what it takes), or the memory supplied is too small for what is asked or over RLIMIT_MEMLOCK, or the port has no room for one more descriptor: ask for fewer rings, slots or extra buffers, lower the module's pool_bufs, or raise the memory limit of the control group" },
	{ NETMAP_REQ_REGISTER, EOPNOTSUPP,
	  "ports of that kind do not exist here (stack:NAME does), or an option is not supported by the port, see its status; memory of huge pages needs Linux 6.12" },
	{ NETMAP_REQ_REGISTER, EFAULT,
	  "memory given to the port is not mapped writable for its whole length: check address and size" },
	{ NETMAP_REQ_REGISTER, EPERM,
	  "not permitted: see the permissions of /dev/netmap" },
	{ NETMAP_REQ_REGISTER, EIO,
	  "the port has a virtio-net header: open it with NR_ACCEPT_VNET_HDR (/V)" },

	{ NETMAP_REQ_PST_ATTACH, EPERM,
	  "attaching needs CAP_NET_ADMIN and CAP_NET_RAW in the interface's network namespace, and CAP_BPF: run as root" },
	{ NETMAP_REQ_PST_ATTACH, ENXIO,
	  "there is no such stack port, or no such interface in this network namespace: open the port first, then check the names with pastectl list and ip link" },
	{ NETMAP_REQ_PST_ATTACH, ENODEV,
	  "there is no such interface in this network namespace: check ip link" },
	{ NETMAP_REQ_PST_ATTACH, EBUSY,
	  "the interface is attached already, or one of the queues is another port's, or another XDP program or AF_XDP socket uses it: detach that one first (pastectl list, ip link, bpftool net)" },
	{ NETMAP_REQ_PST_ATTACH, EXDEV,
	  "the port belongs to another network namespace than this process: attach from the port's namespace, or open a port here" },
	{ NETMAP_REQ_PST_ATTACH, ENOTUNIQ,
	  "there are several stack ports and the request does not say which: name one by its region number (--port-id, from pastectl list)" },
	{ NETMAP_REQ_PST_ATTACH, ENOSPC,
	  "the port has as many interfaces as it can take: detach one" },
	{ NETMAP_REQ_PST_ATTACH, EINVAL,
	  "the name is not stack:IFNAME of the instance the descriptor is bound to, or the region number is not its port's, or the interface does not have the queues asked for (ethtool -l), or the mode is neither for all queues nor for some" },
	{ NETMAP_REQ_PST_ATTACH, ENOMEM,
	  "no memory for the interface's rings: raise the memory limit of the control group" },
	{ NETMAP_REQ_PST_ATTACH, ENOBUFS,
	  "the port has too few buffers for all queues of the interface, or RLIMIT_MEMLOCK is too low: give the interface fewer queues (ethtool -L), the module more pool_bufs, or raise the limit (ulimit -l)" },
	{ NETMAP_REQ_PST_ATTACH, EOPNOTSUPP,
	  "the interface is not Ethernet (loopback is not: sockets on it need no attaching), or its driver cannot be used with XDP and AF_XDP, or it has VLANs and cannot leave their tags in the frames, or the port's memory is not for NICs (a file on a DAX mount, device-DAX of large pages): see the kernel log" },
	{ NETMAP_REQ_PST_ATTACH, ENETDOWN,
	  "the interface is down: ip link set IFNAME up" },
	{ NETMAP_REQ_PST_ATTACH, EFAULT,
	  "the memory of the port cannot be pinned for the interface: it was unmapped, or other memory is mapped in its place" },
	{ NETMAP_REQ_PST_ATTACH, ESRCH,
	  "the process that supplied the port's memory is gone: attach while it lives" },
	{ NETMAP_REQ_PST_ATTACH, EMFILE,
	  "this process has too many open files, and attaching needs some for the moment: raise RLIMIT_NOFILE" },

	{ NETMAP_REQ_PST_DETACH, ENXIO,
	  "that interface is not attached to a stack port: see pastectl list" },
	{ NETMAP_REQ_PST_DETACH, EXDEV,
	  "the port belongs to another network namespace than this process: detach from the port's namespace" },
	{ NETMAP_REQ_PST_DETACH, ENOTUNIQ,
	  "the interface is attached to several ports: detach through a descriptor of one of them" },
	{ NETMAP_REQ_PST_DETACH, EINVAL,
	  "the name is not stack:IFNAME of the instance the descriptor is bound to" },
	{ NETMAP_REQ_PST_DETACH, EPERM,
	  "detaching needs CAP_NET_ADMIN in the interface's network namespace: run as root" },

	{ NETMAP_REQ_PST_FD_REG, EBADF,
	  "the socket's file descriptor is not open" },
	{ NETMAP_REQ_PST_FD_REG, ENOTSOCK,
	  "the file descriptor is not a socket" },
	{ NETMAP_REQ_PST_FD_REG, EPROTONOSUPPORT,
	  "the socket is of no kind that can be registered: TCP or UDP over IPv4 or IPv6, or a stream of MPTCP, SCTP or Unix" },
	{ NETMAP_REQ_PST_FD_REG, ENOTCONN,
	  "the socket is neither connected nor listening, or it is UDP and not bound: register it after accept() or listen(), or when connect() is done; bind() a UDP one first" },
	{ NETMAP_REQ_PST_FD_REG, EBUSY,
	  "the socket is registered already, or something else in the kernel owns it (kTLS, sockmap, a tunnel, a file system): register each socket once, and before anything else takes it" },
	{ NETMAP_REQ_PST_FD_REG, EXDEV,
	  "the socket belongs to another network namespace than the port: open a port in the socket's namespace" },
	{ NETMAP_REQ_PST_FD_REG, ENXIO,
	  "the netmap descriptor is not bound to a stack port, or the port is going away: register it first" },
	{ NETMAP_REQ_PST_FD_REG, EOPNOTSUPP,
	  "the port or the socket cannot do this: the port must be a stack port with a ring for each direction, the socket no listener of MPTCP, SCTP or Unix: accept() its connections and register those" },
	{ NETMAP_REQ_PST_FD_REG, ENOMEM,
	  "no kernel memory for the socket's state: close sockets, or raise the memory limit of the control group" },
	{ NETMAP_REQ_PST_FD_REG, ENOSPC,
	  "too many sockets with this local port are registered: listen on another one as well" },
	{ NETMAP_REQ_PST_FD_REG, EINVAL,
	  "the request names another port than the one the descriptor is bound to, or a reserved field is not zero" },

	{ NETMAP_REQ_PST_STATS, ENXIO,
	  "there is no such stack port: see pastectl list" },
	{ NETMAP_REQ_PST_STATS, EINVAL,
	  "the port has no such ring: see pastectl info" },

	{ NETMAP_REQ_PST_LIST, ENOENT,
	  "there are no more stack ports" },

	{ NETMAP_REQ_PORT_INFO_GET, ENXIO,
	  "there is no such port: see pastectl list" },
	{ NETMAP_REQ_POOLS_INFO_GET, ENXIO,
	  "there is no such port: see pastectl list" },
	{ NETMAP_REQ_PORT_INFO_GET, EINVAL,
	  "the name is not that of a port, or no region has that number" },

	{ ANY_REQUEST, EINVAL,
	  "the request is not well formed: wrong API version, unknown type, missing body, or a reserved field that is not zero" },
	{ ANY_REQUEST, EFAULT,
	  "an address in the request is not valid in this process" },
	{ ANY_REQUEST, EMSGSIZE,
	  "body and options together are longer than 4096 bytes" },
	{ ANY_REQUEST, ENOMEM,
	  "the kernel has no memory for the request" },
	{ ANY_REQUEST, EPERM,
	  "not permitted: run as root, or with CAP_NET_ADMIN" },
	{ ANY_REQUEST, EOPNOTSUPP,
	  "this module does not support the request or one of its options" },
	{ ANY_REQUEST, ENXIO,
	  "the descriptor is not bound to a port, or the port is gone" },
	{ ANY_REQUEST, ENOTTY,
	  "the descriptor is not of /dev/netmap" },
	{ ANY_REQUEST, EBADF,
	  "the netmap descriptor is not open" },
	{ ANY_REQUEST, EINTR,
	  "interrupted by a signal: try again" },
};

const char *paste_strerror(uint16_t request, int err)
{
	size_t i;

	if (err < 0)
		err = -err;
	for (i = 0; i < sizeof(causes) / sizeof(causes[0]); i++)
		if (causes[i].err == err && (causes[i].request == request ||
		    (causes[i].request == ANY_REQUEST && request != OPEN_DEVICE)))
			return causes[i].sentence;
	return strerrordesc_np(err) ? strerrordesc_np(err) : "unknown error";
}
