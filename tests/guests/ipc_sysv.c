/* System V shared memory, semaphores and message queues. */
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
	struct seminfo *info;
};

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
}

static int child_status(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int op(int id, int num, int by, int flags)
{
	struct sembuf b = { .sem_num = num, .sem_op = by, .sem_flg = flags };

	return semop(id, &b, 1);
}

static void shm(void)
{
	key_t key = 0x54470000 | (getpid() & 0xffff);
	struct shmid_ds ds;
	int id, again, *p, *q, *r;
	pid_t pid;

	CHECK_ERRNO(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
	CHECK_ERRNO(shmget(key, 4096, 0600), ENOENT);
	id = shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600);
	CHECK(id >= 0);
	CHECK_ERRNO(shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
	CHECK_ERRNO(shmget(key, 20000, 0), EINVAL);
	CHECK(shmget(key, 5000, 0) == id);
	p = shmat(id, NULL, 0);
	CHECK(p != (void *)-1 && p[0] == 0);
	CHECK((q = shmat(id, NULL, SHM_RDONLY)) != (void *)-1);
	p[100] = 42;
	CHECK(q[100] == 42);
	CHECK_ERRNO((long)shmat(id, (char *)p + 1, 0), EINVAL);
	CHECK_ERRNO((long)shmat(id, p, 0), EINVAL);		/* something is there */
	r = shmat(id, p, SHM_REMAP);
	CHECK(r == p && p[100] == 42);
	CHECK(shmctl(id, IPC_STAT, &ds) == 0);
	CHECK(ds.shm_nattch == 2 && ds.shm_segsz == 10000 && ds.shm_cpid == getpid() && ds.shm_lpid == getpid());
	CHECK((ds.shm_perm.mode & 0777) == 0600 && ds.shm_perm.__key == key);

	pid = fork();
	if (!pid) {
		p[1] = 7;
		_exit(shmctl(id, IPC_STAT, &ds) ? 1 : ds.shm_nattch == 4 ? 0 : 2);
	}
	CHECK(child_status(pid) == 0);
	CHECK(q[1] == 7);

	/* Removed: the key is free at once, the memory stays until the last detaches. */
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	CHECK(shmctl(id, IPC_STAT, &ds) == 0 && (ds.shm_perm.mode & SHM_DEST) && ds.shm_nattch == 2);
	again = shmget(key, 4096, IPC_CREAT | 0600);
	CHECK(again >= 0 && again != id);
	CHECK(shmctl(again, IPC_RMID, NULL) == 0);
	CHECK(shmdt(q) == 0);
	CHECK(p[1] == 7);
	CHECK(shmdt(p) == 0);
	CHECK_ERRNO(shmdt(p), EINVAL);
	CHECK_ERRNO(shmctl(id, IPC_STAT, &ds), EINVAL);
}

static void sem_values(int id)
{
	unsigned short v[3] = { 1, 2, 3 };
	struct semid_ds ds;

	CHECK(semctl(id, 0, SETALL, (union semun){ .array = v }) == 0);
	CHECK(semctl(id, 1, GETVAL) == 2);
	CHECK(semctl(id, 2, SETVAL, (union semun){ .val = 5 }) == 0);
	CHECK_ERRNO(semctl(id, 2, SETVAL, (union semun){ .val = 32768 }), ERANGE);
	CHECK_ERRNO(semctl(id, 3, GETVAL), EINVAL);
	memset(v, 0, sizeof(v));
	CHECK(semctl(id, 0, GETALL, (union semun){ .array = v }) == 0);
	CHECK(v[0] == 1 && v[1] == 2 && v[2] == 5);
	CHECK(semctl(id, 0, IPC_STAT, (union semun){ .buf = &ds }) == 0 && ds.sem_nsems == 3);
	CHECK_ERRNO(op(id, 3, 1, 0), EFBIG);
	CHECK_ERRNO(op(id, 0, -2, IPC_NOWAIT), EAGAIN);
	CHECK_ERRNO(op(id, 0, 32767, 0), ERANGE);
	CHECK(op(id, 0, -1, 0) == 0 && semctl(id, 0, GETPID) == getpid());
}

/* All of an array of operations or none. */
static void sem_atomic(int id)
{
	struct sembuf two[2] = { { .sem_num = 0, .sem_op = 1 }, { .sem_num = 1, .sem_op = -9, .sem_flg = IPC_NOWAIT } };
	struct timespec soon = { .tv_nsec = 20000000 };

	CHECK_ERRNO(semop(id, two, 2), EAGAIN);
	CHECK(semctl(id, 0, GETVAL) == 0);
	two[1].sem_flg = 0;
	CHECK_ERRNO(semtimedop(id, two, 2, &soon), EAGAIN);
}

static void sem_waiting(int id)
{
	pid_t pid = fork();

	if (!pid)
		_exit(op(id, 0, -3, 0) ? errno : 0);
	while (semctl(id, 0, GETNCNT) != 1)
		nap();
	CHECK(semctl(id, 0, GETZCNT) == 0);
	CHECK(op(id, 0, 2, 0) == 0);
	CHECK(semctl(id, 0, GETNCNT) == 1);
	CHECK(op(id, 0, 2, 0) == 0);
	CHECK(semctl(id, 0, GETVAL) == 1);	/* the sleeper's operation was done with ours */
	CHECK(child_status(pid) == 0);

	pid = fork();
	if (!pid)
		_exit(op(id, 0, 0, 0) ? errno : 0);
	while (semctl(id, 0, GETZCNT) != 1)
		nap();
	CHECK(op(id, 0, -1, 0) == 0);
	CHECK(child_status(pid) == 0);
}

static void sem_undone(int id)
{
	pid_t pid = fork();

	if (!pid) {
		op(id, 0, 4, SEM_UNDO);
		op(id, 0, -1, SEM_UNDO);
		_exit(semctl(id, 0, GETVAL) == 3 ? 0 : 1);
	}
	CHECK(child_status(pid) == 0);
	CHECK(semctl(id, 0, GETVAL) == 0);
}

static void sem_removed(int id)
{
	pid_t pid = fork();

	if (!pid)
		_exit(op(id, 0, -1, 0) ? errno : 0);
	while (semctl(id, 0, GETNCNT) != 1)
		nap();
	CHECK(semctl(id, 0, IPC_RMID) == 0);
	CHECK(child_status(pid) == EIDRM);
	CHECK_ERRNO(op(id, 0, 1, 0), EINVAL);
}

struct message {
	long type;
	char text[64];
};

static int send(int id, long type, const char *text, int flags)
{
	struct message m = { .type = type };

	strcpy(m.text, text);
	return msgsnd(id, &m, strlen(text), flags);
}

static int receive(int id, long type, int flags, const char *want)
{
	struct message m = { 0 };
	int n = msgrcv(id, &m, sizeof(m.text), type, flags);

	return n == (int)strlen(want) && !memcmp(m.text, want, n);
}

static void queue_order(int id)
{
	struct message m;
	struct msqid_ds ds;

	CHECK_ERRNO(send(id, 0, "x", 0), EINVAL);
	CHECK(!send(id, 3, "three", 0) && !send(id, 1, "one", 0) && !send(id, 2, "two", 0) && !send(id, 3, "third", 0));
	CHECK(msgctl(id, IPC_STAT, &ds) == 0 && ds.msg_qnum == 4 && ds.__msg_cbytes == 16 && ds.msg_lspid == getpid());
	CHECK(receive(id, 2, 0, "two"));
	CHECK(receive(id, -2, 0, "one"));
	CHECK(receive(id, 3, MSG_EXCEPT | IPC_NOWAIT, "") == 0);
	CHECK_ERRNO(msgrcv(id, &m, 2, 0, 0), E2BIG);
	CHECK(msgrcv(id, &m, 2, 0, MSG_NOERROR) == 2 && !memcmp(m.text, "th", 2));
	CHECK(receive(id, 0, 0, "third"));
	CHECK_ERRNO(msgrcv(id, &m, 64, 0, IPC_NOWAIT), ENOMSG);
}

static void queue_full(int id)
{
	static struct { long type; char text[8192]; } big = { .type = 1 };
	pid_t pid;

	CHECK_ERRNO(msgsnd(id, &big, 8193, IPC_NOWAIT), EINVAL);
	CHECK(!msgsnd(id, &big, 8192, IPC_NOWAIT) && !msgsnd(id, &big, 8192, IPC_NOWAIT));
	CHECK_ERRNO(msgsnd(id, &big, 1, IPC_NOWAIT), EAGAIN);
	pid = fork();
	if (!pid)
		_exit(msgsnd(id, &big, 100, 0) ? errno : 0);
	nap();
	CHECK(msgrcv(id, &big, 8192, 0, 0) == 8192);
	CHECK(child_status(pid) == 0);
}

static void no_handler(int sig) { }

static void queue_sleepers(int id)
{
	struct message m;
	pid_t pid = fork();

	if (!pid) {
		sigaction(SIGALRM, &(struct sigaction){ .sa_handler = no_handler, .sa_flags = SA_RESTART }, NULL);
		ualarm(20000, 0);
		_exit(msgrcv(id, &m, 64, 77, 0) < 0 ? errno : 0);
	}
	CHECK(child_status(pid) == EINTR);
	pid = fork();
	if (!pid)
		_exit(msgrcv(id, &m, 64, 77, 0) < 0 ? errno : 0);
	nap();
	CHECK(msgctl(id, IPC_RMID, NULL) == 0);
	CHECK(child_status(pid) == EIDRM);
	CHECK_ERRNO(send(id, 1, "x", 0), EINVAL);
}

int main(void)
{
	int id;

	shm();
	id = semget(IPC_PRIVATE, 3, 0600);
	CHECK(id >= 0);
	sem_values(id);
	sem_atomic(id);
	CHECK(op(id, 0, 0, 0) == 0);
	sem_waiting(id);
	sem_undone(id);
	sem_removed(id);
	id = msgget(IPC_PRIVATE, 0600);
	CHECK(id >= 0);
	queue_order(id);
	queue_full(id);
	queue_sleepers(id);
	return 0;
}
