/*
 * native-seccomp: a workload under a filter as long as that of a container runtime, and nothing else. What it costs is the
 * filter's alone, so that nobody books it on a platform.
 *
 * It is an allow-list, as Docker's default profile is: the call's number is compared with one allowed number after the
 * other, some calls with their arguments, and what is in no list gets EPERM. Refused are those that a container must not
 * make: mounts, modules, reboot, swap, clocks, keys, bpf, perf, ptrace of others, and new namespaces.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define LAST_CALL	450
#define FILTER_MAX	1200
#define X32_BIT		0x40000000u
#define NEW_NAMESPACES	0x7e020000u		/* CLONE_NEWNS .. CLONE_NEWNET */

static const short refused[] = {
	SYS_ptrace, SYS_mount, SYS_umount2, SYS_swapon, SYS_swapoff, SYS_reboot, SYS_sethostname, SYS_setdomainname, SYS_iopl,
	SYS_ioperm, SYS_create_module, SYS_init_module, SYS_delete_module, SYS_get_kernel_syms, SYS_query_module, SYS_quotactl,
	SYS_nfsservctl, SYS_acct, SYS_settimeofday, SYS_adjtimex, SYS_pivot_root, SYS_chroot, SYS_vhangup, SYS__sysctl,
	SYS_uselib, SYS_ustat, SYS_sysfs, SYS_lookup_dcookie, SYS_kexec_load, SYS_add_key, SYS_request_key, SYS_keyctl,
	SYS_unshare, SYS_move_pages, SYS_mbind, SYS_set_mempolicy, SYS_get_mempolicy, SYS_migrate_pages, SYS_perf_event_open,
	SYS_fanotify_init, SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_clock_settime, SYS_clock_adjtime, SYS_setns,
	SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_finit_module, SYS_kexec_file_load, SYS_bpf,
	SYS_userfaultfd, SYS_syslog, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_clone3,
};

/* Calls that are allowed with some arguments only: args[arg] & mask must be `value`, or must not be. */
static const struct argument { short nr, arg; unsigned int mask, value; bool allow_if_equal; } arguments[] = {
	{ SYS_clone, 0, NEW_NAMESPACES, 0, true },
	{ SYS_personality, 0, ~0u, 0, true },
	{ SYS_socket, 0, ~0u, 40, false },		/* AF_VSOCK reaches the hypervisor */
};

struct program {
	struct sock_filter code[FILTER_MAX];
	unsigned short len;
};

static void emit(struct program *p, unsigned short code, unsigned int k, unsigned char yes, unsigned char no)
{
	p->code[p->len++] = (struct sock_filter){ code, yes, no, k };
}

static void load(struct program *p, size_t offset) { emit(p, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
static void give(struct program *p, unsigned int verdict) { emit(p, BPF_RET | BPF_K, verdict, 0, 0); }

static bool is_refused(int nr)
{
	size_t i;

	for (i = 0; i < COUNT(refused); i++)
		if (refused[i] == nr)
			return true;
	return nr > 334 && nr < 424;			/* no such calls */
}

static const struct argument *argument_of(int nr)
{
	size_t i;

	for (i = 0; i < COUNT(arguments); i++)
		if (arguments[i].nr == nr)
			return &arguments[i];
	return NULL;
}

/* The accumulator holds the number, and again when the next comparison comes. */
static void emit_call(struct program *p, int nr)
{
	const struct argument *a = argument_of(nr);

	if (!a) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1);
		give(p, SECCOMP_RET_ALLOW);
		return;
	}
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 5);
	load(p, offsetof(struct seccomp_data, args) + 8 * a->arg);
	emit(p, BPF_ALU | BPF_AND | BPF_K, a->mask, 0, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, a->value, a->allow_if_equal ? 0 : 1, a->allow_if_equal ? 1 : 0);
	give(p, SECCOMP_RET_ALLOW);
	give(p, SECCOMP_RET_ERRNO | EPERM);
}

static void make(struct program *p)
{
	int nr;

	p->len = 0;
	load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	give(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	emit(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	give(p, SECCOMP_RET_ERRNO | ENOSYS);
	/* libc takes this answer for an old kernel's and uses clone, whose flags can be looked at. */
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
	give(p, SECCOMP_RET_ERRNO | ENOSYS);
	for (nr = 0; nr <= LAST_CALL; nr++)
		if (!is_refused(nr))
			emit_call(p, nr);
	give(p, SECCOMP_RET_ERRNO | EPERM);
}

/* For this process and all that it will be. -errno: this kernel has no filters. */
int filter_install(void)
{
	static struct program p;
	struct sock_fprog prog = { .filter = p.code };

	make(&p);
	prog.len = p.len;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return -errno;
	return 0;
}

int filter_exec(char *const argv[])
{
	int err = filter_install();

	if (err) {
		complain("no seccomp filter: %s", strerror(-err));
		return EXIT_MISSING;
	}
	execvp(argv[0], argv);
	complain("%s: %s", argv[0], strerror(errno));
	return 127;
}
