/* The ptrace platform: the table of operations, its knobs, probe, and address spaces over stubs. */
#include "platform.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/ptrace/internal.h"

extern const struct platform_ops ptrace_platform;

const struct backing *ptrace_memory;

static long batch = 1;

static long ptrace_pin = 1, ptrace_balance = 1;

static const struct knob knobs[] = {
	{ "ptrace.pin", KNOB_BOOL, &ptrace_pin, 1, 0, 1, NULL, "a task's sentry thread and its stub thread share one CPU",
	  "off" },
	{ "ptrace.balance", KNOB_BOOL, &ptrace_balance, 1, 0, 1, NULL, "a task that waits long for its CPU moves to an idle one",
	  "off" },
	{ "ptrace.batch", KNOB_BOOL, &batch, 1, 0, 1, NULL, "mappings wait for the next switch and are made together",
	  "off" },
	{ "ptrace.pool", KNOB_INT, &stub_pool_size, 2, 0, 64, NULL, "stub processes kept ready for forks",
	  "0" },
	{ .name = NULL },
};

/* ---- probe: one call emulated in a child ---- */

static void probe_child(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(1);
	raise(SIGSTOP);
	getppid();
	_exit(2);
}

static int probe_trace(pid_t pid, char *why, size_t len)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) {
		snprintf(why, len, "this process may not trace its children (seccomp, a debugger, or a hardened host)");
		return -EPERM;
	}
	if (ptrace(PTRACE_SYSEMU, pid, NULL, NULL)) {
		snprintf(why, len, "the host kernel has no PTRACE_SYSEMU");
		return -ENOSYS;
	}
	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) {
		snprintf(why, len, "PTRACE_SYSEMU does not stop a traced process at its system calls");
		return -ENOSYS;
	}
	return 0;
}

static int ptrace_probe(char *why, size_t len)
{
	pid_t pid = fork();
	int err;

	if (pid < 0) {
		snprintf(why, len, "can't start a process: %s", strerror(errno));
		return -errno;
	}
	if (!pid)
		probe_child();
	err = probe_trace(pid, why, len);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return err;
}

/* ---- life ---- */

static int ptrace_init(const struct platform_config *config)
{
	/* Stubs stop a hundred thousand times a second, and nobody wants the signal that each stop would send. */
	struct sigaction sa = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };

	ptrace_memory = config->memory;
	return sigaction(SIGCHLD, &sa, NULL) ? -errno : 0;
}

static int ptrace_start(void)
{
	stub_follow = place_init(ptrace_pin, ptrace_balance);
	return stub_pool_init(ptrace_memory->fd);
}

static void ptrace_exit(void)
{
	place_exit();
	stub_pool_exit();
}

/* ---- address spaces ---- */

static int ptrace_as_create(struct address_space **out)
{
	struct address_space *as = calloc(1, sizeof(*as));
	int err;

	if (!as)
		return -ENOMEM;
	as->refs = 1;
	err = stub_maps_init(&as->maps);
	if (err) {
		free(as);
		return err;
	}
	*out = as;
	return 0;
}

/* The last reference: no worker of it is traced any more, so the stub may serve another. */
void address_space_put(struct address_space *as)
{
	if (atomic_fetch_sub(&as->refs, 1) != 1)
		return;
	stub_maps_exit(&as->maps);
	free(as);
}

/* Contexts that ran in it last may still hold its workers; the stub waits for them, its pages do not. */
static void ptrace_as_destroy(struct address_space *as)
{
	stub_maps_clear(&as->maps);
	address_space_put(as);
}

/* Without batches every change is made where it is asked for. A dead stub is found when it is next entered. */
static int made(struct address_space *as, int err)
{
	if (!batch) {
		pthread_mutex_lock(&as->maps.q.lock);
		queue_flush(&as->maps.q);
		pthread_mutex_unlock(&as->maps.q.lock);
	}
	return err;
}

static int ptrace_as_map(struct address_space *as, gva_t addr, u64 len, enum access prot, const struct backing *file,
			 u64 offset, u32 how)
{
	if (file != ptrace_memory)
		return -ENODEV;		/* stubs hold the memory file's descriptor only */
	return made(as, queue_map(&as->maps.q, addr, len, prot, offset, how & AS_MAP_POPULATE));
}

static int ptrace_as_unmap(struct address_space *as, gva_t addr, u64 len)
{
	return made(as, queue_unmap(&as->maps.q, addr, len));
}

static int ptrace_as_protect(struct address_space *as, gva_t addr, u64 len, enum access prot)
{
	return made(as, queue_protect(&as->maps.q, addr, len, prot));
}

static void ptrace_counters(struct platform_counters *out)
{
	*out = (struct platform_counters){
		.host_calls = stub_host_calls,
		.map_calls = map_counters.maps,
		.unmap_calls = map_counters.unmaps,
		.protect_calls = map_counters.protects,
		.batches = map_counters.batches,
	};
	stub_pool_counters(&out->stubs_created, &out->stubs_reused);
}

static const struct host_call host_calls[] = {
	{ .nr = SYS_ptrace, .why = "guest threads" },
	{ .nr = SYS_wait4, .why = "their stops" },
	{ .nr = SYS_waitid, .why = "the ends of stub processes" },
	{ .nr = SYS_memfd_create, .why = "the channel of a new stub process" },
	{ .nr = SYS_pipe2, .why = "its answers" },
	{ .nr = SYS_sendmsg, .why = "a new stub process is asked for" },
	{ .why = NULL },
};

const struct platform_ops ptrace_platform = {
	.name		 = "ptrace",
	.help		 = "PTRACE_SYSEMU on stub processes: runs anywhere, no privileges",
	.knobs		 = knobs,
	.host_calls	 = host_calls,
	.probe		 = ptrace_probe,
	.init		 = ptrace_init,
	.start		 = ptrace_start,
	.exit		 = ptrace_exit,
	.as_create	 = ptrace_as_create,
	.as_destroy	 = ptrace_as_destroy,
	.as_map		 = ptrace_as_map,
	.as_unmap	 = ptrace_as_unmap,
	.as_protect	 = ptrace_as_protect,
	.context_create	 = ptrace_context_create,
	.context_destroy = ptrace_context_destroy,
	.switch_to	 = ptrace_switch_to,
	.interrupt	 = ptrace_interrupt,
	.fp_read	 = ptrace_fp_read,
	.fp_write	 = ptrace_fp_write,
	.counters	 = ptrace_counters,
};
