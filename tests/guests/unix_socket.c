/* Unix sockets: pairs, names, streams, packets, datagrams, descriptors and credentials on the way. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "check.h"

static socklen_t name_of(struct sockaddr_un *a, const char *path)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (path[0] == '@') {
		strcpy(a->sun_path + 1, path + 1);
		return offsetof(struct sockaddr_un, sun_path) + strlen(path);
	}
	strcpy(a->sun_path, path);
	return sizeof(*a);
}

static void pairs(void)
{
	int s[2], n, type;
	char buf[32];
	struct stat st;
	struct ucred c;
	socklen_t len = sizeof(c);
	struct pollfd p;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	CHECK(fcntl(s[0], F_GETFD) == FD_CLOEXEC && fstat(s[0], &st) == 0 && S_ISSOCK(st.st_mode));
	CHECK(write(s[0], "hello", 5) == 5 && send(s[0], " world", 6, 0) == 6);
	CHECK(ioctl(s[1], FIONREAD, &n) == 0 && n == 11);
	CHECK(recv(s[1], buf, 3, MSG_PEEK) == 3 && !memcmp(buf, "hel", 3));
	CHECK(read(s[1], buf, 32) == 11 && !memcmp(buf, "hello world", 11));
	CHECK_ERRNO(recv(s[1], buf, 1, MSG_DONTWAIT), EAGAIN);
	CHECK(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &c, &len) == 0 && c.pid == getpid() && c.uid == getuid());
	len = sizeof(type);
	CHECK(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM);
	CHECK(shutdown(s[0], SHUT_WR) == 0);
	CHECK(read(s[1], buf, 1) == 0);
	CHECK_ERRNO(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	CHECK(write(s[1], "back", 4) == 4 && read(s[0], buf, 32) == 4);
	p = (struct pollfd){ .fd = s[1], .events = POLLIN | POLLRDHUP };
	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLRDHUP));
	close(s[0]);
	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLRDHUP | POLLHUP));
	CHECK_ERRNO(send(s[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	close(s[1]);

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK(write(s[0], "unread", 6) == 6);
	close(s[1]);
	CHECK_ERRNO(read(s[0], buf, 1), ECONNRESET);
	CHECK(read(s[0], buf, 1) == 0);
	close(s[0]);
	CHECK_ERRNO(socketpair(AF_INET, SOCK_STREAM, 0, s), EOPNOTSUPP);
	CHECK_ERRNO(socket(AF_UNIX, 7, 0), ESOCKTNOSUPPORT);
	CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM, 77), EPROTONOSUPPORT);
	CHECK_ERRNO(send(0, "x", 1, 0), ENOTSOCK);
}

static void packets(void)
{
	int s[2];
	char buf[32];
	struct iovec iov = { buf, 2 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) == 0);
	CHECK(write(s[0], "one", 3) == 3 && write(s[0], "three", 5) == 5 && write(s[0], "xy", 2) == 2);
	CHECK(read(s[1], buf, 32) == 3);
	CHECK(recvmsg(s[1], &m, 0) == 2 && (m.msg_flags & MSG_TRUNC));
	CHECK(recv(s[1], buf, 1, MSG_TRUNC) == 2);
	close(s[0]);
	CHECK(read(s[1], buf, 32) == 0);
	close(s[1]);

	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
	CHECK(write(s[0], "", 0) == 0 && write(s[0], "dgram", 5) == 5);
	CHECK(recv(s[1], buf, 32, 0) == 0 && recv(s[1], buf, 32, 0) == 5);
	close(s[0]);
	CHECK_ERRNO(write(s[1], "x", 1), ECONNREFUSED);
	close(s[1]);
}

static void *client(void *arg)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, arg);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	char buf[16];

	CHECK(connect(s, (void *)&a, len) == 0);
	CHECK_ERRNO(connect(s, (void *)&a, len), EISCONN);
	CHECK(write(s, "from client", 11) == 11);
	CHECK(recv(s, buf, 11, MSG_WAITALL) == 11 && !memcmp(buf, "from server", 11));
	close(s);
	return NULL;
}

static void listening(const char *path)
{
	int l = socket(AF_UNIX, SOCK_STREAM, 0), s;
	struct sockaddr_un a, b;
	socklen_t len = name_of(&a, path), blen = sizeof(b);
	struct pollfd p = { .fd = l, .events = POLLIN };
	char buf[32];
	pthread_t t;

	CHECK_ERRNO(listen(l, 5), EINVAL);
	CHECK_ERRNO(connect(l, (void *)&a, len), path[0] == '@' ? ECONNREFUSED : ENOENT);
	CHECK(bind(l, (void *)&a, len) == 0);
	CHECK_ERRNO(bind(l, (void *)&a, len), path[0] == '@' ? EINVAL : EADDRINUSE);
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_ERRNO(bind(s, (void *)&a, len), EADDRINUSE);
	CHECK_ERRNO(connect(s, (void *)&a, len), ECONNREFUSED);
	CHECK_ERRNO(accept(l, NULL, NULL), EINVAL);
	close(s);
	CHECK(listen(l, 5) == 0 && poll(&p, 1, 0) == 0);
	CHECK(pthread_create(&t, NULL, client, (void *)path) == 0);
	CHECK(poll(&p, 1, 5000) == 1);
	s = accept4(l, (void *)&b, &blen, SOCK_CLOEXEC);
	CHECK(s >= 0 && blen == sizeof(sa_family_t));
	blen = sizeof(b);
	CHECK(getsockname(s, (void *)&b, &blen) == 0 && b.sun_family == AF_UNIX);
	CHECK(blen == (path[0] == '@' ? len : offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1));
	CHECK(!memcmp(a.sun_path, b.sun_path, strlen(path)));
	CHECK(read(s, buf, 32) == 11);
	CHECK(write(s, "from ", 5) == 5);
	usleep(10000);
	CHECK(write(s, "server", 6) == 6);
	pthread_join(t, NULL);
	CHECK(read(s, buf, 1) == 0);
	close(s);
	close(l);
	if (path[0] != '@')
		CHECK(unlink(path) == 0);
}

static void datagrams(void)
{
	struct sockaddr_un a, b, from;
	socklen_t alen = name_of(&a, "dgram-a.tmp"), blen = name_of(&b, "@dgram-b"), flen = sizeof(from);
	int x = socket(AF_UNIX, SOCK_DGRAM, 0), y = socket(AF_UNIX, SOCK_DGRAM, 0), n = 0;
	char buf[16];

	CHECK(bind(x, (void *)&a, alen) == 0 && bind(y, (void *)&b, blen) == 0);
	CHECK_ERRNO(send(y, "x", 1, 0), ENOTCONN);
	CHECK(sendto(y, "ping", 4, 0, (void *)&a, alen) == 4);
	CHECK(recvfrom(x, buf, 16, 0, (void *)&from, &flen) == 4);
	CHECK(flen == blen && !memcmp(&from, &b, blen));
	CHECK(sendto(x, "pong", 4, 0, (void *)&from, flen) == 4 && recv(y, buf, 16, 0) == 4);
	CHECK(connect(y, (void *)&a, alen) == 0 && send(y, "!", 1, 0) == 1 && recv(x, buf, 16, 0) == 1);
	while (send(y, "fill", 4, MSG_DONTWAIT) == 4 && n < 1000)
		n++;
	CHECK(errno == EAGAIN && n > 5);
	close(x);
	CHECK_ERRNO(send(y, "x", 1, 0), ECONNREFUSED);
	close(y);
	unlink("dgram-a.tmp");
}

static int send_fds(int s, int *fd, int n, const char *text)
{
	char control[CMSG_SPACE(10 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fd, n * sizeof(int));
	return sendmsg(s, &m, 0);
}

static int recv_fds(int s, int *fd, int room, int flags, int *out_flags)
{
	char control[CMSG_SPACE(10 * sizeof(int))] = { 0 }, buf[32];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room ? CMSG_LEN(room * sizeof(int)) : 0 };
	struct cmsghdr *c;
	int n = 0;

	CHECK(recvmsg(s, &m, flags) > 0);
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_type == SCM_RIGHTS) {
			n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fd, CMSG_DATA(c), n * sizeof(int));
		}
	*out_flags = m.msg_flags;
	return n;
}

static void passing(void)
{
	int s[2], p[2], fd[10], flags, status;
	char c;
	pid_t pid;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(p) == 0);
	pid = fork();
	if (!pid) {
		CHECK(recv_fds(s[1], fd, 2, 0, &flags) == 2);
		CHECK(write(fd[1], "q", 1) == 1 && fcntl(fd[1], F_GETFD) == 0);
		_exit(0);
	}
	CHECK(send_fds(s[0], p, 2, "take") == 4);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(read(p[0], &c, 1) == 1 && c == 'q');

	CHECK(send_fds(s[0], p, 2, "cut") == 3);
	CHECK(recv_fds(s[1], fd, 1, MSG_CMSG_CLOEXEC, &flags) == 1 && (flags & MSG_CTRUNC));
	CHECK(fcntl(fd[0], F_GETFD) == FD_CLOEXEC);
	close(fd[0]);
	CHECK_ERRNO(send_fds(s[0], (int[]){ 999 }, 1, "bad"), EBADF);

	/* Descriptors end a read, even if more bytes follow; those before may come with them. */
	CHECK(write(s[0], "aa", 2) == 2 && send_fds(s[0], p, 1, "bb") == 2 && write(s[0], "cc", 2) == 2);
	char buf[16];
	CHECK(recv_fds(s[1], fd, 1, 0, &flags) == 1 && read(s[1], buf, 16) == 2 && !memcmp(buf, "cc", 2));
	close(fd[0]);
	/* Sockets within themselves, then left alone. */
	for (int i = 0; i < 50; i++)
		CHECK(send_fds(s[0], s, 2, "self") == 4);
	close(s[0]);
	close(s[1]);
	close(p[0]);
	close(p[1]);
}

static void credentials(void)
{
	char control[CMSG_SPACE(sizeof(struct ucred))] = { 0 }, buf[8];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int s[2], on = 1;

	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
	CHECK(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
	CHECK(write(s[0], "who", 3) == 3 && recvmsg(s[1], &m, 0) == 3);
	c = CMSG_FIRSTHDR(&m);
	CHECK(c && c->cmsg_type == SCM_CREDENTIALS && ((struct ucred *)CMSG_DATA(c))->pid == getpid());
	close(s[0]);
	close(s[1]);
}

static void *pump(void *arg)
{
	static char data[200000];
	int fd = *(int *)arg;

	for (int i = 0; i < 20; i++)
		CHECK(write(fd, data, sizeof(data)) == sizeof(data));
	shutdown(fd, SHUT_WR);
	return NULL;
}

static void flow(void)
{
	static char buf[70000];
	long total = 0, n;
	struct timeval tv = { 0, 30000 };
	pthread_t t;
	int s[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
	CHECK_ERRNO(recv(s[0], buf, 1, 0), EAGAIN);
	CHECK(pthread_create(&t, NULL, pump, &s[0]) == 0);
	while ((n = recv(s[1], buf, sizeof(buf), 0)) > 0)
		total += n;
	CHECK(n == 0 && total == 20 * 200000);
	pthread_join(t, NULL);
	close(s[0]);
	close(s[1]);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	pairs();
	packets();
	listening("stream.tmp");
	listening("@trapgate-test");
	datagrams();
	passing();
	credentials();
	flow();
	puts("ok");
	return 0;
}
