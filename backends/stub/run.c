/* Asking a stub's leader to run host system calls: publish, hand the CPU over, wait for one byte. */
#include "backends/stub/stub.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

_Atomic u64 stub_host_calls;

void stub_leader_cpu(struct stub *s, int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || s->leader_cpu == cpu)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (!sched_setaffinity(s->pid, sizeof(set), &set))
		s->leader_cpu = cpu;
}

int stub_run(struct stub *s, u32 n, u64 *value)
{
	struct stub_channel *ch = s->channel;
	ssize_t got;
	u8 status;

	if (atomic_load_explicit(&s->dead, memory_order_relaxed))
		return -ESRCH;
	ch->count = n;
	__atomic_store_n(&ch->seq, ch->seq + 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &ch->seq, FUTEX_WAKE, 1, NULL, NULL, 0);
	do {
		got = read(s->report_fd, &status, 1);
	} while (got < 0 && errno == EINTR);
	atomic_fetch_add_explicit(&stub_host_calls, 2, memory_order_relaxed);
	if (got != 1) {		/* EOF: every thread that held the other end is gone */
		atomic_store(&s->dead, true);
		return -ESRCH;
	}
	if (value)
		*value = lseek(s->channel_fd, 0, SEEK_CUR);
	return -(int)status;
}

int stub_worker_get(struct stub *s, pid_t *tid, bool *fresh)
{
	const u64 flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	u64 value;
	int err;

	if (s->nidle) {
		*tid = s->idle[--s->nidle];
		*fresh = s->nidle < s->nfresh;
		s->nfresh = MIN(s->nfresh, s->nidle);
		return 0;
	}
	*fresh = true;
	s->channel->records[0] = (struct stub_record){ .nr = SYS_clone, .arg = { flags }, .flags = STUB_RESULT };
	err = stub_run(s, 1, &value);
	if (!err)
		*tid = (pid_t)value;
	return err;
}

u64 stub_worker_leave(struct stub *s)
{
	if (s->nidle + s->nleaving == STUB_IDLE_MAX)
		return STUB_EXIT;
	s->nleaving++;
	return STUB_PARK;
}

void stub_worker_left(struct stub *s, u64 rip, pid_t tid)
{
	if (rip != STUB_PARK)
		return;
	s->nleaving--;
	if (tid)
		s->idle[s->nidle++] = tid;
}

void stub_kill(struct stub *s)
{
	atomic_store(&s->dead, true);
	kill(s->pid, SIGKILL);
}
