/*
 * Options of IP, IPv6, TCP and UDP. On a loopback without packets most change nothing: they are kept and told back, within
 * the bounds that Linux has, so that a program finds what it set.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "net/socket.h"

#define UDPLITE_SEND_CSCOV	10	/* checksum coverage: there are no checksums here */
#define UDPLITE_RECV_CSCOV	11
#define LOOPBACK_MSS	65483

enum { OPT_BOOL = 1, OPT_READ_ONLY = 2, OPT_UNBOUND = 4 };

struct option {
	u16 level, name;
	int def, min, max;
	u32 flags;
};

static const struct option options[] = {
	{ IPPROTO_IP, IP_TOS, 0, 0, 255, 0 },
	{ IPPROTO_IP, IP_TTL, 64, -1, 255, 0 },
	{ IPPROTO_IP, IP_MULTICAST_TTL, 1, -1, 255, 0 },
	{ IPPROTO_IP, IP_MULTICAST_LOOP, 1, 0, 1, OPT_BOOL },
	{ IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT, 0, 5, 0 },
	{ IPPROTO_IP, IP_MTU, 65535, 0, 0, OPT_READ_ONLY },
	{ IPPROTO_IP, IP_RECVERR, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IP, IP_RECVTTL, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IP, IP_RECVTOS, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IP, IP_RECVOPTS, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IP, IP_PKTINFO, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IP, IP_RECVORIGDSTADDR, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IP, IP_FREEBIND, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IPV6, IPV6_V6ONLY, 0, 0, 1, OPT_BOOL | OPT_UNBOUND },
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64, -1, 255, 0 },
	{ IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1, -1, 255, 0 },
	{ IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1, 0, 1, 0 },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, 1, 0, 5, 0 },
	{ IPPROTO_IPV6, IPV6_MTU, 65536, 1280, 65536, 0 },
	{ IPPROTO_IPV6, IPV6_RECVERR, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IPV6, IPV6_RECVTCLASS, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_IPV6, IPV6_TCLASS, 0, -1, 255, 0 },
	{ IPPROTO_TCP, TCP_NODELAY, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_TCP, TCP_MAXSEG, LOOPBACK_MSS, 88, 32767, 0 },
	{ IPPROTO_TCP, TCP_CORK, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_TCP, TCP_KEEPIDLE, 7200, 1, 32767, 0 },
	{ IPPROTO_TCP, TCP_KEEPINTVL, 75, 1, 32767, 0 },
	{ IPPROTO_TCP, TCP_KEEPCNT, 9, 1, 127, 0 },
	{ IPPROTO_TCP, TCP_SYNCNT, 6, 1, 127, 0 },
	{ IPPROTO_TCP, TCP_LINGER2, 60, -1, INT32_MAX, 0 },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, 0, INT32_MAX, 0 },
	{ IPPROTO_TCP, TCP_WINDOW_CLAMP, 0, 0, INT32_MAX, 0 },
	{ IPPROTO_TCP, TCP_QUICKACK, 1, 0, INT32_MAX, OPT_BOOL },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 0, INT32_MAX, 0 },
	{ IPPROTO_TCP, TCP_FASTOPEN, 0, 0, INT32_MAX, 0 },
	{ IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_TCP, TCP_TIMESTAMP, 0, INT32_MIN, INT32_MAX, 0 },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1, INT32_MIN, INT32_MAX, 0 },
	{ IPPROTO_TCP, TCP_INQ, 0, 0, 1, 0 },
	{ IPPROTO_UDP, UDP_CORK, 0, 0, 1, OPT_BOOL },
	{ IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV, 0, 0, 65535, 0 },
	{ IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV, 0, 0, 65535, 0 },
};

struct inet_values {
	atomic_int value[ARRAY_SIZE(options)];
};

static const struct option *find(const struct socket *s, int level, int name)
{
	if ((level == IPPROTO_TCP && s->type != SOCK_STREAM) || (level == IPPROTO_UDP && s->type != SOCK_DGRAM) ||
	    (level == IPPROTO_UDPLITE && s->protocol != IPPROTO_UDPLITE) ||
	    (level == IPPROTO_IPV6 && s->domain != AF_INET6))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].level == level && options[i].name == name)
			return &options[i];
	return NULL;
}

/* Made with the first option that is set; two setters may meet. */
static struct inet_values *values(struct socket *s)
{
	struct inet_values *v = s->inet_values, *none = NULL;

	if (v)
		return v;
	v = malloc(sizeof(*v));
	if (!v)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		atomic_init(&v->value[i], options[i].def);
	if (atomic_compare_exchange_strong(&s->inet_values, &none, v))
		return v;
	free(v);
	return none;
}

/* Some options act on the socket itself. */
static void take_effect(struct socket *s, const struct option *o, int value)
{
	if (o->level == IPPROTO_TCP && o->name == TCP_NODELAY)
		s->nodelay = value;
	else if (o->level == IPPROTO_IPV6 && o->name == IPV6_V6ONLY)
		s->v6only = value;
	else if (o->level == IPPROTO_UDP && o->name == UDP_CORK)
		s->corked = value;
}

int inet_setsockopt(struct socket *s, int level, int name, int value)
{
	const struct option *o = find(s, level, name);
	struct inet_values *v;

	/* There is no group to leave, and joining one changes nothing on a loopback. */
	if ((level == IPPROTO_IP && (name == IP_DROP_MEMBERSHIP || name == MCAST_LEAVE_GROUP)) ||
	    (level == IPPROTO_IPV6 && (name == IPV6_LEAVE_GROUP || name == MCAST_LEAVE_GROUP)))
		return -EADDRNOTAVAIL;
	if ((level == IPPROTO_IP && (name == IP_ADD_MEMBERSHIP || name == MCAST_JOIN_GROUP || name == IP_MULTICAST_IF)) ||
	    (level == IPPROTO_IPV6 && (name == IPV6_JOIN_GROUP || name == MCAST_JOIN_GROUP || name == IPV6_MULTICAST_IF)))
		return 0;
	if (!o || (o->flags & OPT_READ_ONLY))
		return -ENOPROTOOPT;
	if (o->flags & OPT_BOOL)
		value = value != 0;
	if (value < o->min || value > o->max || ((o->flags & OPT_UNBOUND) && s->bound))
		return -EINVAL;
	v = values(s);
	if (!v)
		return -ENOMEM;
	if (value == -1 && o->min == -1)
		value = o->def;			/* "as the system has it" */
	v->value[o - options] = value;
	take_effect(s, o, value);
	return 0;
}

int inet_getsockopt(struct socket *s, int level, int name, int *value)
{
	const struct option *o = find(s, level, name);
	struct inet_values *v = s->inet_values;

	if (!o)
		return level == IPPROTO_IP || level == IPPROTO_TCP || level == IPPROTO_IPV6 ? -ENOPROTOOPT : -EOPNOTSUPP;
	*value = v ? v->value[o - options] : o->def;
	if (o->level == IPPROTO_TCP && o->name == TCP_NODELAY)
		*value = s->nodelay;		/* an accepted socket has its listener's */
	return 0;
}

/* The kernel's numbers for states, as far as a pair of queues knows them. */
static u8 tcp_state(struct socket *s)
{
	if (s->state == SOCK_LISTENING)
		return TCP_LISTEN;
	if (s->state != SOCK_CONNECTED || s->shut == SHUT_BOTH)
		return TCP_CLOSE;
	return s->shut == SHUT_RECV ? TCP_CLOSE_WAIT : s->shut == SHUT_SEND ? TCP_FIN_WAIT2 : TCP_ESTABLISHED;
}

int inet_getsockopt_struct(struct socket *s, int level, int name, void *out, int room)
{
	if (level != IPPROTO_TCP || s->type != SOCK_STREAM)
		return 0;
	if (name == TCP_INFO) {
		struct tcp_info info = {
			.tcpi_state = tcp_state(s), .tcpi_snd_mss = LOOPBACK_MSS, .tcpi_rcv_mss = LOOPBACK_MSS,
			.tcpi_advmss = LOOPBACK_MSS, .tcpi_pmtu = 65535, .tcpi_rto = 200000, .tcpi_rtt = 20, .tcpi_rttvar = 10,
			.tcpi_snd_cwnd = 10, .tcpi_snd_ssthresh = 0x7fffffff, .tcpi_rcv_space = 65483,
		};

		_Static_assert(sizeof(info) <= 256, "fits the caller's buffer");
		if (s->state == SOCK_LISTENING) {
			info.tcpi_unacked = s->naccepting;
			info.tcpi_sacked = s->backlog;
		}
		memcpy(out, &info, MIN((int)sizeof(info), room));
		return sizeof(info);
	}
	if (name == TCP_CONGESTION) {
		memset(out, 0, 16);
		memcpy(out, "cubic", 6);
		return 16;
	}
	return 0;
}
