/* The old way to ask about interfaces: ioctls on any socket. There is lo; with --network=host there are the host's. */
#include <errno.h>
#include <linux/capability.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/socket.h"

#define LO_MTU	65536

_Static_assert(sizeof(struct ifreq) == 40, "struct ifreq of the x86-64 ABI");

static void put_v4(struct sockaddr *out, u32 addr)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(addr) };

	memcpy(out, &a, sizeof(a));
}

static int about_lo(u32 cmd, struct ifreq *r)
{
	bool up = net_reach != NET_NONE;

	switch (cmd) {
	case SIOCGIFFLAGS:
		r->ifr_flags = IFF_LOOPBACK | (up ? IFF_UP | IFF_RUNNING : 0);
		return 0;
	case SIOCGIFINDEX:
		r->ifr_ifindex = 1;
		return 0;
	case SIOCGIFADDR:
		put_v4(&r->ifr_addr, INADDR_LOOPBACK);
		return up ? 0 : -EADDRNOTAVAIL;
	case SIOCGIFNETMASK:
		put_v4(&r->ifr_netmask, 0xff000000);
		return up ? 0 : -EADDRNOTAVAIL;
	case SIOCGIFBRDADDR: case SIOCGIFDSTADDR:
		put_v4(&r->ifr_broadaddr, 0);
		return up ? 0 : -EADDRNOTAVAIL;
	case SIOCGIFMTU:
		r->ifr_mtu = LO_MTU;
		return 0;
	case SIOCGIFMETRIC:
		r->ifr_metric = 0;
		return 0;
	case SIOCGIFTXQLEN:
		r->ifr_qlen = 1000;
		return 0;
	case SIOCGIFHWADDR:
		memset(&r->ifr_hwaddr, 0, sizeof(r->ifr_hwaddr));
		r->ifr_hwaddr.sa_family = ARPHRD_LOOPBACK;
		return 0;
	default:
		return -ENOTTY;
	}
}

static bool is_question(u32 cmd)
{
	struct ifreq unused;

	return cmd == SIOCGIFNAME || about_lo(cmd, &unused) != -ENOTTY;
}

static int ask_host(u32 cmd, struct ifreq *r)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	err = ioctl(fd, cmd, r) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int question(u32 cmd, struct ifreq *r)
{
	r->ifr_name[IFNAMSIZ - 1] = 0;
	if (net_reach == NET_HOST)
		return ask_host(cmd, r);
	if (cmd == SIOCGIFNAME) {
		if (r->ifr_ifindex != 1)
			return -ENODEV;
		strcpy(r->ifr_name, "lo");
		return 0;
	}
	return strcmp(r->ifr_name, "lo") ? -ENODEV : about_lo(cmd, r);
}

struct guest_ifconf {
	int len, pad;
	gva_t buf;
};

static int list_host(struct ifreq *all, int room)
{
	struct ifconf c = { .ifc_len = room * (int)sizeof(*all), .ifc_req = all };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), n;

	if (fd < 0)
		return -errno;
	n = ioctl(fd, SIOCGIFCONF, &c) < 0 ? -errno : c.ifc_len / (int)sizeof(*all);
	close(fd);
	return n;
}

/* The interfaces that have an IPv4 address. Without a buffer only how long it would have to be. */
static long list(struct task *t, gva_t arg)
{
	struct ifreq all[64] = { { .ifr_name = "lo" } };
	struct guest_ifconf c;
	int n = net_reach == NET_LOOPBACK;

	if (get_user(t->mm, &c, arg))
		return -EFAULT;
	put_v4(&all[0].ifr_addr, INADDR_LOOPBACK);
	if (net_reach == NET_HOST)
		n = list_host(all, ARRAY_SIZE(all));
	if (n < 0)
		return n;
	if (c.buf)
		n = MIN(n, MAX(c.len, 0) / (int)sizeof(all[0]));
	c.len = n * sizeof(all[0]);
	if (c.buf && copy_out(t->mm, c.buf, all, c.len))
		return -EFAULT;
	return put_user(t->mm, arg, &c);
}

long ifreq_ioctl(struct task *t, u32 cmd, gva_t arg)
{
	struct ifreq r;
	int err;

	if (cmd == SIOCGIFCONF)
		return list(t, arg);
	if (cmd == SIOCSIFFLAGS || cmd == SIOCSIFADDR || cmd == SIOCSIFMTU || cmd == SIOCSIFNETMASK || cmd == SIOCSIFHWADDR) {
		if (get_user(t->mm, &r, arg))
			return -EFAULT;
		return cred_capable(t->cred, CAP_NET_ADMIN) ? -EOPNOTSUPP : -EPERM;
	}
	if (!is_question(cmd))
		return -ENOTTY;
	if (get_user(t->mm, &r, arg))
		return -EFAULT;
	err = question(cmd, &r);
	return err ? err : put_user(t->mm, arg, &r);
}
