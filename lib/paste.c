// SPDX-License-Identifier: BSD-2-Clause
/*
 * The requests of a stack port as functions; paste.h documents them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include <libnetmap.h>
#include <paste.h>

/* ioctl with the errno in the result; errno itself is left alone. */
static int control(int fd, struct nmreq_header *hdr)
{
	int saved = errno, err = 0;

	if (ioctl(fd, NIOCCTRL, hdr)) {
		err = -errno;
		errno = saved;
	}
	return err;
}

int paste_control(void)
{
	int saved = errno, fd = open(NETMAP_DEVICE_NAME, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		fd = -errno;
		errno = saved;
	}
	return fd;
}

int paste_request(int fd, uint16_t type, const char *name, void *body)
{
	struct nmreq_header hdr;
	size_t len = strlen(name);

	if (len >= sizeof(hdr.nr_name))
		return -EINVAL;
	nmreq_header_init(&hdr, type, body);
	memcpy(hdr.nr_name, name, len);
	return control(fd, &hdr);
}

int paste_attach_region(int fd, const char *name, uint16_t mem_id)
{
	struct nmreq_vale_attach attach = {
		.reg = { .nr_mode = NR_REG_NIC_SW, .nr_mem_id = mem_id },
	};

	return paste_request(fd, NETMAP_REQ_PST_ATTACH, name, &attach);
}

int paste_attach_queues(int fd, const char *name, uint16_t first, uint16_t n)
{
	struct nmreq_vale_attach attach = {
		.reg = { .nr_mode = NR_REG_ONE_NIC, .nr_ringid = first, .nr_rx_rings = n },
	};

	return n ? paste_request(fd, NETMAP_REQ_PST_ATTACH, name, &attach) : -EINVAL;
}

int paste_detach(int fd, const char *name)
{
	struct nmreq_vale_detach detach = { 0 };

	return paste_request(fd, NETMAP_REQ_PST_DETACH, name, &detach);
}

int paste_register(int fd, int sockfd)
{
	struct nmreq_pst_fd_reg reg = { .fd = (uint32_t)sockfd };

	return paste_request(fd, NETMAP_REQ_PST_FD_REG, "", &reg);
}

int paste_register_by_queue(int fd, int sockfd)
{
	struct nmreq_pst_fd_reg reg = { .fd = (uint32_t)sockfd, .flags = PST_FD_BY_QUEUE };

	return paste_request(fd, NETMAP_REQ_PST_FD_REG, "", &reg);
}

int paste_stats(int fd, const char *name, uint32_t ring,
		struct nmreq_pst_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->ring = ring;
	return paste_request(fd, NETMAP_REQ_PST_STATS, name, stats);
}

int paste_list(int fd, uint32_t index, char name[NETMAP_REQ_IFNAMSIZ])
{
	struct nmreq_pst_list list = { .index = index };
	struct nmreq_header hdr;
	int err;

	nmreq_header_init(&hdr, NETMAP_REQ_PST_LIST, &list);
	err = control(fd, &hdr);
	if (!err) {
		memcpy(name, hdr.nr_name, sizeof(hdr.nr_name));
		name[NETMAP_REQ_IFNAMSIZ - 1] = '\0';
	}
	return err;
}

int paste_info(int fd, const char *name, struct nmreq_port_info_get *info)
{
	memset(info, 0, sizeof(*info));
	return paste_request(fd, NETMAP_REQ_PORT_INFO_GET, name, info);
}
