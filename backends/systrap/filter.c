/*
 * The stub's two seccomp programs. Written out by hand: libseccomp has no rule on the instruction pointer, and without
 * one the stub's own futex could not be told from the guest's.
 *
 * Whatever they do not name traps: a guest's call becomes SIGSYS and so an event. The instruction pointer is no
 * protection (a guest can jump to the stub's SYSCALL instructions); the arguments that are let through are. The
 * precedence of actions (TRAP before USER_NOTIF before ALLOW) makes the guest threads' program the last word there.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "backends/systrap/systrap.h"

enum { PROG_MAX = 64 };

struct prog {
	struct sock_filter insn[PROG_MAX];
	int n;
};

#define DATA(field)	((u32)offsetof(struct seccomp_data, field))
#define ARG_LO(i)	(DATA(args) + 8 * (i))
#define ARG_HI(i)	(DATA(args) + 8 * (i) + 4)

static void add(struct prog *p, u16 code, u8 jt, u8 jf, u32 k)
{
	p->insn[p->n++] = (struct sock_filter){ code, jt, jf, k };
}

static void load(struct prog *p, u32 offset) { add(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
static void ret(struct prog *p, u32 action) { add(p, BPF_RET | BPF_K, 0, 0, action); }

/* Trap unless the accumulator equals k. */
static void need(struct prog *p, u32 k)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, k);
	ret(p, SECCOMP_RET_TRAP);
}

static void need_below(struct prog *p, u32 k)
{
	add(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, k);
	ret(p, SECCOMP_RET_TRAP);
}

/* Only x86-64 calls from the stub's image get past this; most guest calls end at the second load. */
static void prologue(struct prog *p)
{
	load(p, DATA(instruction_pointer) + 4);
	need(p, STUB_BASE >> 32);
	load(p, DATA(instruction_pointer));
	need_below(p, (u32)STUB_LIMIT);
	load(p, DATA(arch));
	need(p, AUDIT_ARCH_X86_64);
	load(p, DATA(nr));
}

static void when(struct prog *p, u32 nr, u32 action)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, nr);
	ret(p, action);
}

/* The process: the helper thread, and guest threads before their first instruction. */
static void process_program(struct prog *p)
{
	static const int plain[] = { SYS_mprotect, SYS_munmap, SYS_futex, SYS_rt_sigreturn, SYS_sigaltstack, SYS_seccomp, SYS_close,
				     SYS_sendmsg, SYS_exit_group, SYS_prctl, SYS_getppid };

	prologue(p);
	when(p, RENDEZVOUS_NR, SECCOMP_RET_USER_NOTIF);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		when(p, plain[i], SECCOMP_RET_ALLOW);
	add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_clone);	/* not clone: past the four below */
	load(p, ARG_LO(0));
	need(p, STUB_CLONE_FLAGS);
	ret(p, SECCOMP_RET_ALLOW);
	add(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_mmap);
	ret(p, SECCOMP_RET_TRAP);
	load(p, ARG_LO(4));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, STUB_FD_SHARED);	/* past the next two */
	need(p, STUB_FD_MEMORY);
	ret(p, SECCOMP_RET_ALLOW);
}

/* Guest threads: futex on a channel, the way out of a signal frame, and parking, which the process's program makes a notification. */
static void guest_program(struct prog *p)
{
	prologue(p);
	when(p, SYS_rt_sigreturn, SECCOMP_RET_ALLOW);
	when(p, RENDEZVOUS_NR, SECCOMP_RET_ALLOW);
	need(p, SYS_futex);
	load(p, ARG_HI(0));
	need(p, STUB_CHANNELS >> 32);
	load(p, ARG_LO(0));
	add(p, BPF_JMP | BPF_JGE | BPF_K, 1, 0, (u32)STUB_CHANNELS);
	ret(p, SECCOMP_RET_TRAP);
	need_below(p, (u32)(STUB_CHANNELS + (u64)CHANNEL_MAX * CHANNEL_SIZE));
	load(p, ARG_LO(1));
	need_below(p, 2);			/* FUTEX_WAIT, FUTEX_WAKE */
	load(p, ARG_LO(3));
	need(p, 0);				/* no time-out pointer */
	ret(p, SECCOMP_RET_ALLOW);
}

static void put(struct stub_control *control, u32 where, struct stub_prog *out, const struct prog *p)
{
	memcpy((u8 *)control + where, p->insn, p->n * sizeof(p->insn[0]));
	out->len = p->n;
	out->addr = STUB_CONTROL + where;
}

int filter_write(struct stub_control *control)
{
	struct prog p = { .n = 0 }, q = { .n = 0 };

	process_program(&p);
	guest_program(&q);
	put(control, CONTROL_FILTER, &control->filter, &p);
	put(control, CONTROL_FILTER2, &control->filter2, &q);
	return 0;
}
