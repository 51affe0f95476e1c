/*
 * AF_NETLINK: what programs ask about interfaces and addresses (NETLINK_ROUTE), and messages between sockets.
 *
 * A request is answered while it is sent: the answers are in the sender's own queue when send returns. The sandbox's own
 * network has one interface, lo. With --network=host the questions (never the changes) go to the host's kernel.
 *
 * Threat: requests are the guest's. Lengths are checked against what came before anything is read; answers are bounded by the
 * socket's receive buffer as all datagrams are, so a guest that never reads loses answers, not the sentry memory.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/socket.h"

#define LO_INDEX	1
#define LO_MTU		65536
#define REPLY_MAX	8192
#define REQUEST_MAX	65536
#define PORT_AUTO	0xfffff000u	/* ports downward from here for processes with more than one socket */

/* ---- port numbers: who is who among netlink sockets ---- */

static pthread_mutex_t port_lock = PTHREAD_MUTEX_INITIALIZER;
static struct socket *ports;			/* by port_next; port_lock guards the list and `local` of those in it */

static struct socket *port_find(int protocol, u32 port)
{
	struct socket *s = ports;

	while (s && (s->protocol != protocol || s->local.nl.nl_pid != port))
		s = s->port_next;
	return s;
}

static int port_bind(struct socket *s, struct task *t, u32 port, u32 groups)
{
	static u32 next = PORT_AUTO;
	int err = 0;

	pthread_mutex_lock(&port_lock);
	if (s->bound) {
		if (port && port != s->local.nl.nl_pid)
			err = -EINVAL;
	} else {
		if (!port)
			port = port_find(s->protocol, t->tg->tgid) ? next-- : (u32)t->tg->tgid;
		else if (port_find(s->protocol, port))
			err = -EADDRINUSE;
		if (!err) {
			s->local.nl.nl_pid = port;
			s->bound = true;
			s->port_next = ports;
			ports = s;
		}
	}
	if (!err)
		s->local.nl.nl_groups = groups;
	pthread_mutex_unlock(&port_lock);
	return err;
}

static void port_release(struct socket *s)
{
	struct socket **at = &ports;

	pthread_mutex_lock(&port_lock);
	while (*at && *at != s)
		at = &(*at)->port_next;
	if (*at)
		*at = s->port_next;
	s->bound = false;
	pthread_mutex_unlock(&port_lock);
}

static int address(const union sock_addr *a, u32 len)
{
	return len < sizeof(a->nl) || a->nl.nl_family != AF_NETLINK ? -EINVAL : 0;
}

static int netlink_bind(struct socket *s, struct task *t, const union sock_addr *a, u32 len)
{
	int err = address(a, len);

	return err ? err : port_bind(s, t, a->nl.nl_pid, a->nl.nl_groups);
}

static int netlink_connect(struct socket *s, struct task *t, const union sock_addr *a, u32 len, struct socket **full)
{
	int err = 0;

	if (len >= sizeof(sa_family_t) && a->sa.sa_family == AF_UNSPEC) {
		s->remote_len = 0;
		return 0;
	}
	err = address(a, len);
	if (!err)
		err = port_bind(s, t, 0, s->local.nl.nl_groups);
	if (err)
		return err;
	s->remote.nl = a->nl;
	s->remote_len = sizeof(a->nl);
	return 0;
}

static void netlink_name(struct socket *s, bool peer, union sock_addr *a, u32 *len)
{
	memset(a, 0, sizeof(*a));
	pthread_mutex_lock(&port_lock);
	a->nl = peer ? s->remote.nl : s->local.nl;
	pthread_mutex_unlock(&port_lock);
	a->nl.nl_family = AF_NETLINK;
	*len = sizeof(a->nl);
}

/* ---- answers ---- */

struct reply {
	struct socket *s;
	const struct nlmsghdr *req;
	u32 port;			/* the asker's */
	u32 len;
	u8 buf[REPLY_MAX];
};

int netlink_deliver(struct socket *to, const void *data, u32 len, u32 from, const struct ucred *cred)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_pid = from };
	struct skb *skb = skb_new(len);
	int err;

	if (!skb)
		return -ENOBUFS;
	memcpy(skb->data, data, len);
	memcpy(&skb->addr, &a, sizeof(a));
	skb->addr_len = sizeof(a);
	if (cred)
		skb->scm.cred = *cred;
	err = dgram_deliver(to, skb, false);
	if (err)
		skb_free(skb);
	return err;
}

static void reply_flush(struct reply *r)
{
	if (r->len)
		netlink_deliver(r->s, r->buf, r->len, 0, NULL);
	r->len = 0;
}

/* A message of `type` with a fixed part; attributes follow by reply_attr(). */
static u32 reply_begin(struct reply *r, u16 type, u16 flags, const void *fixed, u32 len)
{
	struct nlmsghdr h = { .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = r->req->nlmsg_seq, .nlmsg_pid = r->port };
	u32 at;

	if (r->len > REPLY_MAX / 2)
		reply_flush(r);
	at = r->len;
	memset(r->buf + at, 0, NLMSG_SPACE(len));
	memcpy(r->buf + at, &h, sizeof(h));
	memcpy(r->buf + at + NLMSG_HDRLEN, fixed, len);
	r->len += NLMSG_SPACE(len);
	return at;
}

static void reply_attr(struct reply *r, u16 type, const void *data, u16 len)
{
	struct rtattr a = { .rta_len = RTA_LENGTH(len), .rta_type = type };

	memset(r->buf + r->len, 0, RTA_SPACE(len));
	memcpy(r->buf + r->len, &a, sizeof(a));
	memcpy(r->buf + r->len + RTA_LENGTH(0), data, len);
	r->len += RTA_SPACE(len);
}

static void reply_u32(struct reply *r, u16 type, u32 value) { reply_attr(r, type, &value, sizeof(value)); }
static void reply_u8(struct reply *r, u16 type, u8 value) { reply_attr(r, type, &value, sizeof(value)); }
static void reply_str(struct reply *r, u16 type, const char *s) { reply_attr(r, type, s, strlen(s) + 1); }

static void reply_end(struct reply *r, u32 at)
{
	u32 len = r->len - at;

	memcpy(r->buf + at + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof(len));
}

static void reply_error(struct reply *r, int err)
{
	struct nlmsgerr e = { .error = err, .msg = *r->req };
	u32 at = reply_begin(r, NLMSG_ERROR, 0, &e, sizeof(e));

	reply_end(r, at);
}

static void reply_done(struct reply *r)
{
	int zero = 0;
	u32 at = reply_begin(r, NLMSG_DONE, NLM_F_MULTI, &zero, sizeof(zero));

	reply_end(r, at);
}

/* ---- lo ---- */

static void show_link(struct reply *r, u16 flags)
{
	static const u8 no_address[6];
	struct rtnl_link_stats64 stats = { 0 };
	struct rtnl_link_stats old_stats = { 0 };
	bool up = net_reach != NET_NONE;
	struct ifinfomsg i = {
		.ifi_type = ARPHRD_LOOPBACK, .ifi_index = LO_INDEX,
		.ifi_flags = IFF_LOOPBACK | (up ? IFF_UP | IFF_RUNNING | 0x10000 /* IFF_LOWER_UP */ : 0),
	};
	u32 at = reply_begin(r, RTM_NEWLINK, flags, &i, sizeof(i));

	reply_str(r, IFLA_IFNAME, "lo");
	reply_u32(r, IFLA_TXQLEN, 1000);
	reply_u8(r, IFLA_OPERSTATE, up ? 0 /* unknown */ : 2 /* down */);
	reply_u8(r, IFLA_LINKMODE, 0);
	reply_u32(r, IFLA_MTU, LO_MTU);
	reply_u32(r, IFLA_MIN_MTU, 0);
	reply_u32(r, IFLA_MAX_MTU, 0);
	reply_u32(r, IFLA_GROUP, 0);
	reply_u32(r, IFLA_PROMISCUITY, 0);
	reply_u32(r, IFLA_NUM_TX_QUEUES, 1);
	reply_u32(r, IFLA_NUM_RX_QUEUES, 1);
	reply_u8(r, IFLA_CARRIER, up);
	reply_str(r, IFLA_QDISC, up ? "noqueue" : "noop");
	reply_attr(r, IFLA_ADDRESS, no_address, sizeof(no_address));
	reply_attr(r, IFLA_BROADCAST, no_address, sizeof(no_address));
	reply_attr(r, IFLA_STATS64, &stats, sizeof(stats));
	reply_attr(r, IFLA_STATS, &old_stats, sizeof(old_stats));
	reply_end(r, at);
}

static void show_address(struct reply *r, u8 family, u8 prefix, const void *addr, u16 len)
{
	struct ifaddrmsg m = {
		.ifa_family = family, .ifa_prefixlen = prefix, .ifa_flags = IFA_F_PERMANENT, .ifa_scope = RT_SCOPE_HOST,
		.ifa_index = LO_INDEX,
	};
	struct ifa_cacheinfo forever = { .ifa_prefered = ~0u, .ifa_valid = ~0u };
	u32 at = reply_begin(r, RTM_NEWADDR, NLM_F_MULTI, &m, sizeof(m));

	reply_attr(r, IFA_ADDRESS, addr, len);
	if (family == AF_INET) {
		reply_attr(r, IFA_LOCAL, addr, len);
		reply_str(r, IFA_LABEL, "lo");
	}
	reply_u32(r, IFA_FLAGS, IFA_F_PERMANENT);
	reply_attr(r, IFA_CACHEINFO, &forever, sizeof(forever));
	reply_end(r, at);
}

static void show_addresses(struct reply *r, u8 family)
{
	u32 v4 = htonl(INADDR_LOOPBACK);

	if (net_reach == NET_NONE)
		return;
	if (family == AF_UNSPEC || family == AF_INET)
		show_address(r, AF_INET, 8, &v4, sizeof(v4));
	if (family == AF_UNSPEC || family == AF_INET6)
		show_address(r, AF_INET6, 128, &in6addr_loopback, sizeof(in6addr_loopback));
}

/* ---- requests ---- */

/* Is the one interface meant? By number, or by the name in an attribute. */
static bool means_lo(const u8 *body, u32 len)
{
	struct ifinfomsg i;
	u32 at = NLMSG_ALIGN(sizeof(i));

	if (len < sizeof(i))
		return false;
	memcpy(&i, body, sizeof(i));
	if (i.ifi_index)
		return i.ifi_index == LO_INDEX;
	while (at + sizeof(struct rtattr) <= len) {
		struct rtattr a;

		memcpy(&a, body + at, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > len - at)
			return false;
		if (a.rta_type == IFLA_IFNAME)
			return a.rta_len - sizeof(a) >= 2 && !strncmp((const char *)body + at + sizeof(a), "lo", a.rta_len - sizeof(a));
		at += RTA_ALIGN(a.rta_len);
	}
	return false;
}

static void dump(struct reply *r, const u8 *body, u32 len)
{
	u8 family = len ? body[0] : AF_UNSPEC;

	if (r->req->nlmsg_type == RTM_GETLINK)
		show_link(r, NLM_F_MULTI);
	else if (r->req->nlmsg_type == RTM_GETADDR)
		show_addresses(r, family);
	reply_done(r);
}

/* Types come in fours: new, delete, get, set. Only questions are for everybody; changes find nothing to change. */
static int answer(struct reply *r, struct task *t, const u8 *body, u32 len)
{
	u16 type = r->req->nlmsg_type;

	if (type < RTM_BASE)
		return 0;
	if ((type & 3) != 2) {
		if (!cred_capable(t->cred, CAP_NET_ADMIN))
			return -EPERM;
		return type == RTM_NEWLINK && means_lo(body, len) ? 0 : -EOPNOTSUPP;
	}
	if (r->req->nlmsg_flags & NLM_F_DUMP) {
		dump(r, body, len);
		return 1;
	}
	if (type == RTM_GETLINK) {
		if (!means_lo(body, len))
			return -ENODEV;
		show_link(r, 0);
		return 1;
	}
	return type == RTM_GETROUTE ? -ENETUNREACH : -EOPNOTSUPP;
}

/* --network=host: the host's kernel answers; the answers bear the asker's port instead of ours. */
static int ask_host(struct reply *r, const u8 *msg, u32 len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), err = 0;
	bool more = true;

	if (fd < 0)
		return -errno;
	if (sendto(fd, msg, len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		err = -errno;
	while (!err && more) {
		static _Thread_local u8 buf[32768];
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < (ssize_t)sizeof(struct nlmsghdr)) {
			err = n < 0 ? -errno : -EIO;
			break;
		}
		for (ssize_t at = 0; at + (ssize_t)sizeof(struct nlmsghdr) <= n;) {
			struct nlmsghdr *h = (struct nlmsghdr *)(buf + at);

			h->nlmsg_pid = r->port;
			more = (h->nlmsg_flags & NLM_F_MULTI) && h->nlmsg_type != NLMSG_DONE && h->nlmsg_type != NLMSG_ERROR;
			if (h->nlmsg_len < sizeof(*h))
				break;
			at += NLMSG_ALIGN(h->nlmsg_len);
		}
		netlink_deliver(r->s, buf, n, 0, NULL);
	}
	close(fd);
	return err ? err : 1;
}

static void request(struct socket *s, struct task *t, const u8 *msg, const struct nlmsghdr *h)
{
	struct reply *r = malloc(sizeof(*r));
	int err;

	if (!r)
		return;
	r->s = s;
	r->req = h;
	r->port = s->local.nl.nl_pid;
	r->len = 0;
	if (net_reach == NET_HOST && h->nlmsg_type >= RTM_BASE && (h->nlmsg_type & 3) == 2)
		err = ask_host(r, msg, h->nlmsg_len);
	else
		err = answer(r, t, msg + NLMSG_HDRLEN, h->nlmsg_len - NLMSG_HDRLEN);
	if (err < 0 || (!err && (h->nlmsg_flags & NLM_F_ACK)))
		reply_error(r, err);
	reply_flush(r);
	free(r);
}

static void requests(struct socket *s, struct task *t, const u8 *data, u32 len)
{
	u32 at = 0;

	while (len - at >= NLMSG_HDRLEN) {
		struct nlmsghdr h;

		memcpy(&h, data + at, sizeof(h));
		if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > len - at)
			return;
		if ((h.nlmsg_flags & NLM_F_REQUEST) && s->protocol == NETLINK_ROUTE)
			request(s, t, data + at, &h);
		at += MIN((u32)NLMSG_ALIGN(h.nlmsg_len), len - at);
	}
}

static int send_to_port(struct socket *s, struct sock_msg *m, u32 port, const u8 *data, u32 len)
{
	struct socket *to;
	int err;

	pthread_mutex_lock(&port_lock);
	to = port_find(s->protocol, port);
	if (to && !socket_get_live(to))
		to = NULL;
	pthread_mutex_unlock(&port_lock);
	if (!to)
		return -ECONNREFUSED;
	err = netlink_deliver(to, data, len, s->local.nl.nl_pid, &m->scm.cred);
	socket_put(to);
	return err;
}

static s64 netlink_send(struct socket *s, struct task *t, struct sock_msg *m)
{
	struct sockaddr_nl to = s->remote_len ? s->remote.nl : (struct sockaddr_nl){ .nl_family = AF_NETLINK };
	u64 len = m->u->len;
	u8 *data;
	int err;

	if (m->addr_len) {
		err = address(&m->addr, m->addr_len);
		if (err)
			return err;
		to = m->addr.nl;
	}
	if (to.nl_groups && !cred_capable(t->cred, CAP_NET_ADMIN))
		return -EPERM;
	if (len > REQUEST_MAX)
		return -EMSGSIZE;
	err = port_bind(s, t, 0, s->local.nl.nl_groups);
	if (err)
		return err;
	data = malloc(MAX(len, (u64)1));
	if (!data)
		return -ENOBUFS;
	uio_get(m->u, data, len);
	if (to.nl_pid)
		err = send_to_port(s, m, to.nl_pid, data, len);
	else
		requests(s, t, data, len);
	free(data);
	return err ? err : (s64)len;
}

/* ---- life ---- */

static int netlink_setsockopt(struct socket *s, int level, int name, int value)
{
	return level == SOL_NETLINK ? 0 : -ENOPROTOOPT;
}

static int netlink_getsockopt(struct socket *s, int level, int name, int *value)
{
	*value = 0;
	return level == SOL_NETLINK ? 0 : -ENOPROTOOPT;
}

static int netlink_shutdown(struct socket *s, int how) { return -EOPNOTSUPP; }

static void netlink_release(struct socket *s)
{
	port_release(s);
	dgram_release(s);
}

static const struct proto_ops netlink_ops = {
	.bind = netlink_bind, .connect = netlink_connect, .name = netlink_name, .send = netlink_send, .recv = dgram_recv,
	.shutdown = netlink_shutdown, .poll = dgram_poll, .setsockopt = netlink_setsockopt, .getsockopt = netlink_getsockopt,
	.release = netlink_release,
};

int netlink_create(int type, int protocol, struct socket **out)
{
	if (type != SOCK_RAW && type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (protocol < 0 || protocol >= MAX_LINKS)
		return -EPROTONOSUPPORT;
	/* Events of devices there are none of, and messages between users: they cost nothing. */
	if (protocol != NETLINK_ROUTE && protocol != NETLINK_KOBJECT_UEVENT && protocol != NETLINK_USERSOCK)
		return -EPROTONOSUPPORT;
	*out = socket_new(&netlink_ops, AF_NETLINK, type, protocol);
	return *out ? 0 : -ENOMEM;
}

bool netlink_socket(const struct socket *s) { return s->ops == &netlink_ops; }
