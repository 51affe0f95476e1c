/* TCP and UDP on the loopback. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "check.h"

static struct sockaddr_in at(unsigned int ip, int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip) };
}

static int port_of(int s)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	CHECK(getsockname(s, (void *)&a, &len) == 0 && len == sizeof(a));
	return ntohs(a.sin_port);
}

static void *echo(void *arg)
{
	int s = accept(*(int *)arg, NULL, NULL);
	char buf[4096];
	ssize_t n;

	CHECK(s >= 0);
	while ((n = read(s, buf, sizeof(buf))) > 0)
		CHECK(write(s, buf, n) == n);
	close(s);
	return NULL;
}

static void tcp(void)
{
	int l = socket(AF_INET, SOCK_STREAM, 0), s, on = 1, v;
	struct sockaddr_in a = at(INADDR_LOOPBACK, 0), b;
	socklen_t len = sizeof(b);
	char buf[32];
	pthread_t t;

	CHECK(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
	CHECK(bind(l, (void *)&a, sizeof(a)) == 0 && listen(l, 10) == 0);
	a.sin_port = htons(port_of(l));
	CHECK(ntohs(a.sin_port) >= 1024);
	CHECK(pthread_create(&t, NULL, echo, &l) == 0);
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_ERRNO(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
	CHECK_ERRNO(recv(s, buf, 1, 0), ENOTCONN);
	CHECK(connect(s, (void *)&a, sizeof(a)) == 0);
	CHECK(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
	len = sizeof(v);
	CHECK(getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, &len) == 0 && v == 1);
	len = sizeof(b);
	CHECK(getpeername(s, (void *)&b, &len) == 0 && b.sin_port == a.sin_port && b.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	CHECK(write(s, "echo this", 9) == 9 && recv(s, buf, 9, MSG_WAITALL) == 9 && !memcmp(buf, "echo this", 9));
	CHECK(shutdown(s, SHUT_WR) == 0 && read(s, buf, 1) == 0);
	pthread_join(t, NULL);
	close(s);
	close(l);
	s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_ERRNO(connect(s, (void *)&a, sizeof(a)), ECONNREFUSED);
	close(s);
}

static void binding(void)
{
	int x = socket(AF_INET, SOCK_STREAM, 0), y = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = at(INADDR_ANY, 0);

	CHECK(bind(x, (void *)&a, sizeof(a)) == 0 && listen(x, 1) == 0);
	a = at(INADDR_LOOPBACK, port_of(x));
	CHECK_ERRNO(bind(y, (void *)&a, sizeof(a)), EADDRINUSE);
	CHECK_ERRNO(bind(x, (void *)&a, sizeof(a)), EINVAL);
	a = at(0x08080808, 0);
	CHECK_ERRNO(bind(y, (void *)&a, sizeof(a)), EADDRNOTAVAIL);
	CHECK_ERRNO(bind(y, (void *)&a, 3), EINVAL);
	close(x);
	close(y);
}

static void nonblocking(void)
{
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), c, err = -1;
	struct sockaddr_in a = at(INADDR_LOOPBACK, 0);
	socklen_t len = sizeof(err);
	struct pollfd p;
	char buf[8];

	CHECK(bind(l, (void *)&a, sizeof(a)) == 0 && listen(l, 5) == 0);
	CHECK_ERRNO(accept(l, NULL, NULL), EAGAIN);
	a = at(INADDR_LOOPBACK, port_of(l));
	CHECK(connect(s, (void *)&a, sizeof(a)) == 0 || errno == EINPROGRESS);
	p = (struct pollfd){ .fd = s, .events = POLLOUT };
	CHECK(poll(&p, 1, 5000) == 1 && p.revents == POLLOUT);
	CHECK(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0);
	p = (struct pollfd){ .fd = l, .events = POLLIN };
	CHECK(poll(&p, 1, 5000) == 1);
	c = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	CHECK(c >= 0 && (fcntl(c, F_GETFL) & O_NONBLOCK));
	CHECK_ERRNO(read(c, buf, 1), EAGAIN);
	CHECK(write(s, "abc", 3) == 3);
	p = (struct pollfd){ .fd = c, .events = POLLIN };
	CHECK(poll(&p, 1, 5000) == 1);
	/* Closing with data unread resets the other side. */
	close(c);
	p = (struct pollfd){ .fd = s, .events = POLLIN };
	CHECK(poll(&p, 1, 5000) == 1 && (p.revents & POLLERR));
	CHECK_ERRNO(read(s, buf, 1), ECONNRESET);
	close(s);
	close(l);
}

static void udp(void)
{
	int x = socket(AF_INET, SOCK_DGRAM, 0), y = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in a = at(INADDR_LOOPBACK, 0), from;
	socklen_t len = sizeof(from);
	char buf[32];

	CHECK(bind(x, (void *)&a, sizeof(a)) == 0);
	a = at(INADDR_LOOPBACK, port_of(x));
	CHECK_ERRNO(send(y, "x", 1, 0), EDESTADDRREQ);
	CHECK(sendto(y, "question", 8, 0, (void *)&a, sizeof(a)) == 8);
	CHECK(recvfrom(x, buf, 32, 0, (void *)&from, &len) == 8 && len == sizeof(from) && ntohs(from.sin_port) == port_of(y));
	CHECK(sendto(x, "answer", 6, 0, (void *)&from, len) == 6);
	CHECK(connect(y, (void *)&a, sizeof(a)) == 0);
	CHECK(recv(y, buf, 32, 0) == 6 && send(y, "more", 4, 0) == 4 && recv(x, buf, 2, MSG_TRUNC) == 4);
	close(x);
	CHECK(send(y, "lost", 4, 0) == 4);
	CHECK_ERRNO(recv(y, buf, 32, 0), ECONNREFUSED);
	close(y);
}

static void v6(void)
{
	int l = socket(AF_INET6, SOCK_STREAM, 0), s = socket(AF_INET, SOCK_STREAM, 0), c;
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 }, b;
	struct sockaddr_in v4;
	socklen_t len = sizeof(a);

	if (l < 0)
		return;
	CHECK(bind(l, (void *)&a, sizeof(a)) == 0 && listen(l, 5) == 0 && getsockname(l, (void *)&a, &len) == 0);
	v4 = at(INADDR_LOOPBACK, ntohs(a.sin6_port));
	CHECK(connect(s, (void *)&v4, sizeof(v4)) == 0);
	len = sizeof(b);
	c = accept(l, (void *)&b, &len);
	CHECK(c >= 0 && len == sizeof(b) && IN6_IS_ADDR_V4MAPPED(&b.sin6_addr));
	close(c);
	close(s);
	close(l);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	tcp();
	binding();
	nonblocking();
	udp();
	v6();
	puts("ok");
	return 0;
}
