/* Fifos: who waits for whom at open, and what is left when the ends close. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define NAME	"fifo.tmp"

static void on_alarm(int sig) { }

int main(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct pollfd pfd;
	char buf[16];
	int r, w, status;
	pid_t pid;

	unlink(NAME);
	CHECK(mkfifo(NAME, 0600) == 0);
	CHECK_ERRNO(mkfifo(NAME, 0600), EEXIST);
	CHECK_ERRNO(open(NAME, O_WRONLY | O_NONBLOCK), ENXIO);

	r = open(NAME, O_RDONLY | O_NONBLOCK);
	CHECK(r >= 0);
	CHECK(read(r, buf, 1) == 0);
	pfd = (struct pollfd){ .fd = r, .events = POLLIN };
	CHECK(poll(&pfd, 1, 0) == 0);
	w = open(NAME, O_WRONLY | O_NONBLOCK);
	CHECK(w >= 0);
	CHECK_ERRNO(read(r, buf, 1), EAGAIN);
	CHECK(write(w, "data", 4) == 4 && close(w) == 0);
	CHECK(poll(&pfd, 1, 0) == 1 && pfd.revents == (POLLIN | POLLHUP));
	CHECK(read(r, buf, 16) == 4 && read(r, buf, 16) == 0);
	close(r);

	/* Both sides wait for each other. */
	pid = fork();
	if (!pid) {
		w = open(NAME, O_WRONLY);
		_exit(w >= 0 && write(w, "child", 5) == 5 ? 0 : 1);
	}
	r = open(NAME, O_RDONLY);
	CHECK(r >= 0 && fcntl(r, F_GETFL) == (O_RDONLY | 0100000 /* O_LARGEFILE */));
	CHECK(read(r, buf, 16) == 5 && !memcmp(buf, "child", 5));
	CHECK(read(r, buf, 16) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(r);

	/* What is left unread goes with the last one. */
	w = open(NAME, O_RDWR);
	CHECK(w >= 0 && write(w, "gone", 4) == 4 && close(w) == 0);
	r = open(NAME, O_RDONLY | O_NONBLOCK);
	CHECK(read(r, buf, 16) == 0);
	close(r);

	sigaction(SIGALRM, &sa, NULL);
	alarm(1);
	CHECK_ERRNO(open(NAME, O_RDONLY), EINTR);
	CHECK(unlink(NAME) == 0);
	puts("ok");
	return 0;
}
