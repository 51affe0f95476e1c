/* Netlink and the interface ioctls: what the loopback looks like. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "check.h"

static void addresses(void)
{
	struct ifaddrs *all, *i;
	int v4 = 0, v6 = 0;

	CHECK(getifaddrs(&all) == 0);
	for (i = all; i; i = i->ifa_next) {
		if (strcmp(i->ifa_name, "lo") || !i->ifa_addr)
			continue;
		CHECK(i->ifa_flags & IFF_LOOPBACK);
		if (i->ifa_addr->sa_family == AF_INET)
			v4 += ((struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK) &&
			      ((struct sockaddr_in *)i->ifa_netmask)->sin_addr.s_addr == htonl(0xff000000);
		if (i->ifa_addr->sa_family == AF_INET6)
			v6 += !memcmp(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, &in6addr_loopback, 16);
	}
	freeifaddrs(all);
	CHECK(v4 == 1 && v6 <= 1);
}

static void raw(void)
{
	struct { struct nlmsghdr h; struct ifinfomsg i; } req = {
		.h = { .nlmsg_len = sizeof(req), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = 7 },
		.i = { .ifi_index = 1 },
	};
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(a);
	static char buf[32768];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	CHECK(fd >= 0);
	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0 && a.nl_pid == (unsigned int)getpid() && len == sizeof(a));
	CHECK(send(fd, &req, sizeof(req), 0) == sizeof(req));
	CHECK(recv(fd, buf, sizeof(buf), 0) > 0);
	CHECK(h->nlmsg_type == RTM_NEWLINK && h->nlmsg_seq == 7 && h->nlmsg_pid == a.nl_pid);
	CHECK(((struct ifinfomsg *)NLMSG_DATA(h))->ifi_flags & IFF_LOOPBACK);
	req.i.ifi_index = 12345;
	CHECK(send(fd, &req, sizeof(req), 0) == sizeof(req));
	CHECK(recv(fd, buf, sizeof(buf), 0) > 0);
	CHECK(h->nlmsg_type == NLMSG_ERROR && ((struct nlmsgerr *)NLMSG_DATA(h))->error == -ENODEV);
	/* Lengths that lie are no requests. */
	req.h.nlmsg_len = 4000;
	CHECK(send(fd, &req, sizeof(req), 0) == sizeof(req));
	req.h.nlmsg_len = 3;
	CHECK(send(fd, &req, sizeof(req), 0) == sizeof(req));
	CHECK_ERRNO(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), EAGAIN);
	CHECK_ERRNO(socket(AF_NETLINK, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
	CHECK_ERRNO(socket(AF_NETLINK, SOCK_RAW, 77), EPROTONOSUPPORT);
	close(fd);
}

int main(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	addresses();
	raw();
	CHECK(if_nametoindex("lo") == 1);
	CHECK(ioctl(fd, SIOCGIFFLAGS, &r) == 0 && (r.ifr_flags & (IFF_UP | IFF_LOOPBACK)) == (IFF_UP | IFF_LOOPBACK));
	CHECK(ioctl(fd, SIOCGIFMTU, &r) == 0 && r.ifr_mtu >= 16384);
	strcpy(r.ifr_name, "nonesuch0");
	CHECK_ERRNO(ioctl(fd, SIOCGIFINDEX, &r), ENODEV);
	return 0;
}
