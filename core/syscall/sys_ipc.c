/* System V IPC: arguments decoded for core/ipc. */
#include <stdlib.h>

#include "ipc/ipc.h"
#include "syscall/syscall.h"
#include "task/clock.h"

#define IPC_64		0x100		/* from callers of the old multiplexed ABI; means nothing here */
#define OPS_ON_STACK	16

long sys_shmget(struct task *t, const u64 *arg) { return shm_get(t, (int)arg[0], arg[1], (int)arg[2]); }
long sys_shmat(struct task *t, const u64 *arg) { return shm_attach(t, (int)arg[0], arg[1], (int)arg[2]); }
long sys_shmdt(struct task *t, const u64 *arg) { return shm_detach(t, arg[0]); }
long sys_shmctl(struct task *t, const u64 *arg) { return shm_ctl(t, (int)arg[0], (int)arg[1] & ~IPC_64, arg[2]); }

long sys_semget(struct task *t, const u64 *arg) { return sem_get(t, (int)arg[0], (int)arg[1], (int)arg[2]); }

long sys_semctl(struct task *t, const u64 *arg)
{
	return sem_ctl(t, (int)arg[0], (int)arg[1], (int)arg[2] & ~IPC_64, arg[3]);
}

static long do_semop(struct task *t, int id, gva_t at, u32 n, u64 deadline)
{
	struct sembuf_guest on_stack[OPS_ON_STACK], *ops = on_stack;
	long r;

	if (n < 1 || id < 0)
		return -EINVAL;
	if (n > SEM_OPM)
		return -E2BIG;
	if (n > OPS_ON_STACK)
		ops = malloc(n * sizeof(*ops));
	if (!ops)
		return -ENOMEM;
	r = copy_in(t->mm, ops, at, n * sizeof(*ops));
	if (!r)
		r = sem_op(t, id, ops, n, deadline);
	if (ops != on_stack)
		free(ops);
	return r;
}

long sys_semop(struct task *t, const u64 *arg)
{
	return do_semop(t, (int)arg[0], arg[1], (u32)arg[2], TIME_FOREVER);
}

long sys_semtimedop(struct task *t, const u64 *arg)
{
	u64 deadline = TIME_FOREVER, ns;

	if (arg[3]) {
		int err = copy_in_timespec(t->mm, arg[3], &ns);

		if (err)
			return err;
		deadline = deadline_after(ns);
	}
	return do_semop(t, (int)arg[0], arg[1], (u32)arg[2], deadline);
}

long sys_msgget(struct task *t, const u64 *arg) { return msg_get(t, (int)arg[0], (int)arg[1]); }

long sys_msgsnd(struct task *t, const u64 *arg)
{
	return msg_send(t, (int)arg[0], arg[1], arg[2], (int)arg[3]);
}

long sys_msgrcv(struct task *t, const u64 *arg)
{
	return msg_receive(t, (int)arg[0], arg[1], arg[2], (s64)arg[3], (int)arg[4]);
}

long sys_msgctl(struct task *t, const u64 *arg) { return msg_ctl(t, (int)arg[0], (int)arg[1] & ~IPC_64, arg[2]); }
