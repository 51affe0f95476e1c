/* POSIX message queues. */
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static volatile sig_atomic_t got, got_value, got_code;

static void on_signal(int sig, siginfo_t *si, void *ctx)
{
	got++;
	got_value = si->si_value.sival_int;
	got_code = si->si_code;
}

static sem_t ran;
static void in_thread(union sigval v)
{
	if (v.sival_int == 78)
		sem_post(&ran);
}

static struct timespec soon(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += 30000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return t;
}

int main(void)
{
	struct mq_attr attr = { .mq_maxmsg = 3, .mq_msgsize = 16 }, now;
	struct timespec t, bad = { .tv_nsec = 1000000000 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77 };
	char name[64], buf[64];
	unsigned int prio;
	struct pollfd p;
	mqd_t q, r;
	int status;
	pid_t pid;

	snprintf(name, sizeof(name), "/tg-test-%d", getpid());
	CHECK_ERRNO(mq_open(name, O_RDWR), ENOENT);
	CHECK_ERRNO(mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL), EACCES);
	CHECK_ERRNO(mq_open(name, O_RDWR | O_CREAT, 0600, &(struct mq_attr){ .mq_maxmsg = 0, .mq_msgsize = 1 }), EINVAL);
	q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	CHECK(q >= 0);
	CHECK_ERRNO(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr), EEXIST);
	r = mq_open(name, O_RDONLY | O_NONBLOCK);
	CHECK(r >= 0);
	CHECK(mq_getattr(r, &now) == 0 && now.mq_flags == O_NONBLOCK && now.mq_maxmsg == 3 && now.mq_msgsize == 16 && !now.mq_curmsgs);

	CHECK_ERRNO(mq_receive(r, buf, sizeof(buf), NULL), EAGAIN);
	CHECK_ERRNO(mq_receive(r, buf, 15, NULL), EMSGSIZE);
	CHECK_ERRNO(mq_send(q, buf, 17, 0), EMSGSIZE);
	CHECK_ERRNO(mq_send(r, buf, 1, 0), EBADF);
	CHECK_ERRNO(mq_send(q, buf, 1, 32768), EINVAL);
	CHECK(!mq_send(q, "low", 4, 1) && !mq_send(q, "high", 5, 9) && !mq_send(q, "low2", 5, 1));
	p = (struct pollfd){ .fd = q, .events = POLLIN | POLLOUT };
	CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN);
	t = soon();
	CHECK_ERRNO(mq_timedsend(q, "x", 1, 0, &t), ETIMEDOUT);
	CHECK_ERRNO(mq_timedsend(q, "x", 1, 0, &bad), EINVAL);
	CHECK(mq_receive(q, buf, sizeof(buf), &prio) == 5 && prio == 9 && !strcmp(buf, "high"));
	CHECK(mq_receive(q, buf, sizeof(buf), &prio) == 4 && prio == 1 && !strcmp(buf, "low"));
	CHECK(mq_receive(q, buf, sizeof(buf), NULL) == 5 && !strcmp(buf, "low2"));
	t = soon();
	CHECK_ERRNO(mq_timedreceive(q, buf, sizeof(buf), NULL, &t), ETIMEDOUT);

	/* A sleeper is woken by another process's message. */
	pid = fork();
	if (!pid)
		_exit(mq_receive(q, buf, sizeof(buf), NULL) == 3 ? 0 : 1);
	usleep(30000);
	CHECK(mq_send(q, "abc", 3, 0) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);

	/* One notice for a message that comes to an empty queue. */
	sigaction(SIGUSR1, &(struct sigaction){ .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO }, NULL);
	CHECK(mq_notify(q, &ev) == 0);
	CHECK_ERRNO(mq_notify(q, &ev), EBUSY);
	CHECK(mq_send(q, "1", 1, 0) == 0);
	CHECK(got == 1 && got_value == 77 && got_code == SI_MESGQ);
	CHECK(mq_send(q, "2", 1, 0) == 0 && got == 1);
	CHECK(mq_receive(q, buf, sizeof(buf), NULL) == 1 && mq_receive(q, buf, sizeof(buf), NULL) == 1);
	CHECK(mq_notify(q, &ev) == 0 && mq_notify(q, NULL) == 0);
	CHECK(mq_send(q, "3", 1, 0) == 0 && got == 1);
	CHECK(mq_receive(q, buf, sizeof(buf), NULL) == 1);

	/* As libc makes threads of notices: over a netlink socket. */
	sem_init(&ran, 0, 0);
	ev = (struct sigevent){ .sigev_notify = SIGEV_THREAD, .sigev_notify_function = in_thread, .sigev_value.sival_int = 78 };
	CHECK(mq_notify(q, &ev) == 0);
	CHECK(mq_send(q, "4", 1, 0) == 0);
	CHECK(sem_wait(&ran) == 0);

	CHECK(mq_unlink(name) == 0);
	CHECK_ERRNO(mq_unlink(name), ENOENT);
	CHECK(mq_receive(q, buf, sizeof(buf), NULL) == 1);	/* still there for who has it open */
	CHECK(mq_close(q) == 0 && mq_close(r) == 0);
	return 0;
}
