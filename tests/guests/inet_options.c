/* Options of IP, TCP and UDP, held-back datagrams, TCP sockets that are used again after a disconnect. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include "check.h"

static struct sockaddr_in loopback = { .sin_family = AF_INET };

static int get(int fd, int level, int name)
{
	int v = -12345;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) ? -1 : v;
}

static int set(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v));
}

static int bound(int type)
{
	socklen_t len = sizeof(loopback);
	int fd = socket(AF_INET, type, 0);

	loopback.sin_port = 0;
	loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&loopback, &len) == 0);
	return fd;
}

static void options(void)
{
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	struct tcp_info info;
	socklen_t len = sizeof(info);

	CHECK(get(tcp, IPPROTO_TCP, TCP_KEEPIDLE) == 7200 && set(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 100) == 0);
	CHECK(get(tcp, IPPROTO_TCP, TCP_KEEPIDLE) == 100);
	CHECK_ERRNO(set(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 0), EINVAL);
	CHECK_ERRNO(set(tcp, IPPROTO_TCP, -1, 1), ENOPROTOOPT);
	CHECK_ERRNO(set(tcp, IPPROTO_IP, 12345, 1), ENOPROTOOPT);
	CHECK_ERRNO(set(tcp, 500, 1, 1), ENOPROTOOPT);
	CHECK_ERRNO(get(tcp, 500, 1), EOPNOTSUPP);
	CHECK(set(udp, IPPROTO_IP, IP_TTL, 7) == 0 && get(udp, IPPROTO_IP, IP_TTL) == 7);
	CHECK_ERRNO(set(udp, IPPROTO_IP, IP_TTL, 256), EINVAL);
	CHECK(getsockopt(tcp, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_CLOSE);
	CHECK_ERRNO(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){ 0 }), EOPNOTSUPP);
	CHECK_ERRNO(socketpair(AF_INET, SOCK_STREAM, IPPROTO_UDP, (int[2]){ 0 }), EPROTONOSUPPORT);
	close(tcp);
	close(udp);
}

static void corked(void)
{
	int in = bound(SOCK_DGRAM), out = socket(AF_INET, SOCK_DGRAM, 0);
	char buf[64];

	CHECK(connect(out, (struct sockaddr *)&loopback, sizeof(loopback)) == 0);
	CHECK(send(out, "abc", 3, MSG_MORE) == 3);
	CHECK_ERRNO(recv(in, buf, sizeof(buf), MSG_DONTWAIT), EAGAIN);
	CHECK(send(out, "def", 3, 0) == 3);
	CHECK(recv(in, buf, sizeof(buf), 0) == 6 && !memcmp(buf, "abcdef", 6));
	CHECK(set(out, IPPROTO_UDP, UDP_CORK, 1) == 0 && send(out, "gh", 2, 0) == 2);
	CHECK_ERRNO(recv(in, buf, sizeof(buf), MSG_DONTWAIT), EAGAIN);
	close(out);
	close(in);
}

static void again(void)
{
	int l = bound(SOCK_STREAM), c = socket(AF_INET, SOCK_STREAM, 0), s;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct tcp_info info;
	socklen_t len = sizeof(info);
	char b;

	CHECK(listen(l, 5) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(connect(c, (struct sockaddr *)&loopback, sizeof(loopback)) == 0);
		s = accept(l, NULL, NULL);
		CHECK(s >= 0);
		CHECK(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_ESTABLISHED);
		CHECK(connect(c, &none, sizeof(none)) == 0);
		CHECK_ERRNO(recv(s, &b, 1, 0), ECONNRESET);
		CHECK_ERRNO(getpeername(c, (struct sockaddr *)&(struct sockaddr_in){ 0 }, &(socklen_t){ 16 }), ENOTCONN);
		close(s);
	}
	close(c);
	close(l);
}

/* Without waiting: the result comes by readiness, SO_ERROR or another connect(). */
static void later(void)
{
	int l = bound(SOCK_STREAM), c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = c, .events = POLLOUT };

	CHECK(listen(l, 5) == 0);
	CHECK_ERRNO(connect(c, (struct sockaddr *)&loopback, sizeof(loopback)), EINPROGRESS);
	CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLOUT);
	CHECK(get(c, SOL_SOCKET, SO_ERROR) == 0);
	CHECK(connect(c, (struct sockaddr *)&loopback, sizeof(loopback)) == 0);
	CHECK_ERRNO(connect(c, (struct sockaddr *)&loopback, sizeof(loopback)), EISCONN);
	close(c);
	close(l);
	p.fd = c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK_ERRNO(connect(c, (struct sockaddr *)&loopback, sizeof(loopback)), EINPROGRESS);
	CHECK(poll(&p, 1, 1000) == 1 && (p.revents & (POLLERR | POLLHUP)) == (POLLERR | POLLHUP));
	CHECK_ERRNO(connect(c, (struct sockaddr *)&loopback, sizeof(loopback)), ECONNREFUSED);
	close(c);
}

/* Hop limit and traffic class travel with a datagram. */
static void hops(void)
{
	int in = bound(SOCK_DGRAM), out = socket(AF_INET, SOCK_DGRAM, 0), ttl = 0;
	char control[64], b;
	struct iovec iov = { &b, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;

	CHECK(set(in, IPPROTO_IP, IP_RECVTTL, 1) == 0 && set(out, IPPROTO_IP, IP_TTL, 33) == 0);
	CHECK(sendto(out, "x", 1, 0, (struct sockaddr *)&loopback, sizeof(loopback)) == 1);
	CHECK(recvmsg(in, &m, 0) == 1);
	c = CMSG_FIRSTHDR(&m);
	CHECK(c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL);
	memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
	CHECK(ttl == 33);
	close(in);
	close(out);
}

int main(void)
{
	later();
	hops();
	options();
	corked();
	again();
	return 0;
}
