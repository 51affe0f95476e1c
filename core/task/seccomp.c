/*
 * seccomp(2) for guests: strict mode, filters, what their verdicts mean.
 *
 * A task's filters are a chain, the newest first, shared with whoever inherited them; a chain only ever grows at its head. A
 * task reads its own chain without a lock. Another thread changes it by TSYNC, under the group's lock and only to a longer
 * chain on the same tail, so what the task is just reading stays.
 * This confines the guest for its own sake. The sandbox does not rely on it.
 */
#include "task/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>

#include "lib/log.h"
#include "mm/mm.h"
#include "task/ptrace.h"
#include "task/signal.h"

#define FILTER_LEN_MAX	4096		/* instructions of one: BPF_MAXINSNS */
#define PATH_LEN_MAX	32768		/* of a chain, each filter counting 4 more */
#define SYS_SECCOMP_CODE 1		/* si_code of SIGSYS */

struct seccomp_filter {
	atomic_int refs;
	struct seccomp_filter *older;
	u32 total;			/* instructions of this and all older ones, with 4 for each filter */
	int depth;
	bool log;
	u32 len;
	struct sock_filter insn[];
};

static void filter_put(struct seccomp_filter *f)
{
	while (f && atomic_fetch_sub(&f->refs, 1) == 1) {
		struct seccomp_filter *older = f->older;

		free(f);
		f = older;
	}
}

static struct seccomp_filter *filter_get(struct seccomp_filter *f)
{
	if (f)
		atomic_fetch_add(&f->refs, 1);
	return f;
}

int seccomp_filters(const struct task *t)
{
	const struct seccomp_filter *f = t->seccomp;

	return f ? f->depth : 0;
}

void seccomp_release(struct task *t)
{
	filter_put(t->seccomp);
	t->seccomp = NULL;
}

void seccomp_clone(struct task *child, struct task *parent)
{
	struct seccomp_filter *old = child->seccomp;

	child->seccomp = filter_get(parent->seccomp);
	child->seccomp_mode = atomic_load(&parent->seccomp_mode);
	if (child->seccomp_mode)
		atomic_fetch_or(&child->watched, WATCH_SECCOMP);
	if (parent->no_new_privs)
		child->no_new_privs = true;
	filter_put(old);
}

/* ---- verdicts ---- */

static u32 run_filters(struct task *t)
{
	const struct guest_regs *r = &t->regs;
	struct seccomp_data d = {
		.nr = (int)r->orig_rax, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = r->rip,
		.args = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 },
	};
	u32 verdict = SECCOMP_RET_ALLOW;

	for (const struct seccomp_filter *f = t->seccomp; f; f = f->older) {
		u32 v = bpf_run(f->insn, (const u32 *)&d, sizeof(d) / 4);

		/* The gravest wins; of equals the newest filter's. */
		if ((s32)(v & SECCOMP_RET_ACTION_FULL) < (s32)(verdict & SECCOMP_RET_ACTION_FULL))
			verdict = v;
	}
	return verdict;
}

/* As the kernel's force_sig_seccomp: the handler finds the call's number in rax, and the call was not made. */
static void trap(struct task *t, u32 verdict)
{
	union guest_siginfo info;

	t->regs.rax = t->regs.orig_rax;
	signal_info(&info, SIGSYS, SYS_SECCOMP_CODE, NULL);
	info.si.si_call_addr = (void *)t->regs.rip;
	info.si.si_syscall = (int)t->regs.orig_rax;
	info.si.si_arch = AUDIT_ARCH_X86_64;
	info.si.si_errno = verdict & SECCOMP_RET_DATA;
	signal_force_info(t, &info);
	t->regs.orig_rax = -1;		/* nothing to restart */
}

static void kill_for(struct task *t, bool whole_process)
{
	t->regs.rax = t->regs.orig_rax;
	log_debug("[%d] killed by a seccomp filter: call %d", t->tid, (int)t->regs.orig_rax);
	if (whole_process || t->tg->nthreads == 1)
		task_exit_group(t, SIGSYS);
	else
		task_exit(t, SIGSYS);
}

static bool strict_enter(struct task *t)
{
	switch ((u32)t->regs.orig_rax) {
	case 0: case 1: case 15: case 60:	/* read, write, rt_sigreturn, exit */
		return true;
	default:
		task_exit(t, SIGKILL);
		return false;
	}
}

/* The tracer may have changed the call: it is looked at again, and a second TRACE lets it pass. */
static bool traced(struct task *t, u32 verdict, bool again)
{
	if (again)
		return true;
	if (!ptrace_seccomp(t, verdict & SECCOMP_RET_DATA)) {
		t->regs.rax = -ENOSYS;
		return false;
	}
	return (s32)t->regs.orig_rax >= 0 && !(atomic_load(&t->work) & TASK_EXIT);
}

static bool filters_enter(struct task *t, bool again)
{
	u32 verdict = run_filters(t);

	switch (verdict & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW: case SECCOMP_RET_LOG:
		return true;
	case SECCOMP_RET_TRACE:
		return traced(t, verdict, again) && (again || filters_enter(t, true));
	case SECCOMP_RET_ERRNO:
		t->regs.rax = -(s64)MIN(verdict & SECCOMP_RET_DATA, 4095u);
		return false;
	case SECCOMP_RET_USER_NOTIF:		/* there are no listeners */
		t->regs.rax = -ENOSYS;
		return false;
	case SECCOMP_RET_TRAP:
		trap(t, verdict);
		return false;
	default:
		kill_for(t, (verdict & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_KILL_THREAD);
		return false;
	}
}

bool seccomp_enter(struct task *t)
{
	return t->seccomp_mode == SECCOMP_MODE_STRICT ? strict_enter(t) : filters_enter(t, false);
}

/* ---- setting ---- */

struct guest_fprog {
	u16 len;
	gva_t insn;
};
_Static_assert(sizeof(struct guest_fprog) == 16, "struct sock_fprog of the x86-64 ABI");

static int filter_copy(struct task *t, gva_t args, struct seccomp_filter **out)
{
	struct guest_fprog p;
	struct seccomp_filter *f;
	int err;

	if (get_user(t->mm, &p, args))
		return -EFAULT;
	if (!p.len || p.len > FILTER_LEN_MAX)
		return -EINVAL;
	if (!t->no_new_privs && !cred_capable(t->cred, CAP_SYS_ADMIN))
		return -EACCES;
	f = malloc(sizeof(*f) + p.len * sizeof(f->insn[0]));
	if (!f)
		return -ENOMEM;
	*f = (struct seccomp_filter){ .len = p.len };
	atomic_init(&f->refs, 1);
	err = copy_in(t->mm, f->insn, p.insn, p.len * sizeof(f->insn[0]));
	if (!err)
		err = bpf_check(f->insn, f->len);
	if (err)
		free(f);
	else
		*out = f;
	return err;
}

static bool is_ancestor(const struct seccomp_filter *old, const struct seccomp_filter *of)
{
	if (!old)
		return true;
	for (; of; of = of->older)
		if (of == old)
			return true;
	return false;
}

/* tg->lock held. The first thread whose filters are not a tail of ours, or NULL. */
static struct task *odd_one(struct task *t)
{
	struct task *x;

	TAILQ_FOREACH(x, &t->tg->threads, thread_link) {
		if (x == t || atomic_load(&x->work) & TASK_EXIT)
			continue;
		if (x->seccomp_mode == SECCOMP_MODE_STRICT || !is_ancestor(x->seccomp, t->seccomp))
			return x;
	}
	return NULL;
}

static void install(struct task *x, struct seccomp_filter *f)
{
	struct seccomp_filter *old = x->seccomp;

	x->seccomp = filter_get(f);
	atomic_store(&x->seccomp_mode, SECCOMP_MODE_FILTER);
	atomic_fetch_or(&x->watched, WATCH_SECCOMP);
	filter_put(old);		/* still held by the new one's chain */
}

/* tg->lock held. */
static long attach(struct task *t, struct seccomp_filter *f, u32 flags)
{
	struct task *x = NULL;

	f->total = f->len + 4 + (t->seccomp ? t->seccomp->total : 0);
	f->depth = seccomp_filters(t) + 1;
	if (f->total > PATH_LEN_MAX)
		return -ENOMEM;
	if (flags & SECCOMP_FILTER_FLAG_TSYNC)
		x = odd_one(t);
	if (x)
		return flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH ? -ESRCH : x->tid;
	f->older = filter_get(t->seccomp);
	install(t, f);
	if (!(flags & SECCOMP_FILTER_FLAG_TSYNC))
		return 0;
	TAILQ_FOREACH(x, &t->tg->threads, thread_link) {
		if (x == t)
			continue;
		install(x, f);
		if (t->no_new_privs)
			x->no_new_privs = true;
	}
	return 0;
}

#define FLAGS_KNOWN	(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW | \
			 SECCOMP_FILTER_FLAG_TSYNC_ESRCH)

static long set_filter(struct task *t, u32 flags, gva_t args)
{
	struct seccomp_filter *f;
	long r;

	if (flags & ~(u32)FLAGS_KNOWN)		/* listeners are not offered */
		return -EINVAL;
	r = filter_copy(t, args, &f);
	if (r)
		return r;
	f->log = flags & SECCOMP_FILTER_FLAG_LOG;
	pthread_mutex_lock(&t->tg->lock);
	r = t->seccomp_mode == SECCOMP_MODE_STRICT ? -EINVAL : attach(t, f, flags);
	pthread_mutex_unlock(&t->tg->lock);
	filter_put(f);
	return r;
}

static long set_strict(struct task *t)
{
	long r = 0;

	pthread_mutex_lock(&t->tg->lock);
	if (t->seccomp_mode && t->seccomp_mode != SECCOMP_MODE_STRICT) {
		r = -EINVAL;
	} else {
		atomic_store(&t->seccomp_mode, SECCOMP_MODE_STRICT);
		atomic_fetch_or(&t->watched, WATCH_SECCOMP);
	}
	pthread_mutex_unlock(&t->tg->lock);
	return r;
}

static long action_available(struct task *t, gva_t args)
{
	u32 action;

	if (get_user(t->mm, &action, args))
		return -EFAULT;
	switch (action) {
	case SECCOMP_RET_KILL_PROCESS: case SECCOMP_RET_KILL_THREAD: case SECCOMP_RET_TRAP: case SECCOMP_RET_ERRNO:
	case SECCOMP_RET_TRACE: case SECCOMP_RET_LOG: case SECCOMP_RET_ALLOW:
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

long seccomp_call(struct task *t, u32 op, u32 flags, gva_t args)
{
	switch (op) {
	case SECCOMP_SET_MODE_STRICT:
		return flags || args ? -EINVAL : set_strict(t);
	case SECCOMP_SET_MODE_FILTER:
		return set_filter(t, flags, args);
	case SECCOMP_GET_ACTION_AVAIL:
		return flags ? -EINVAL : action_available(t, args);
	default:
		return -EINVAL;
	}
}

long seccomp_prctl(struct task *t, u64 mode, gva_t args)
{
	if (mode == SECCOMP_MODE_STRICT)
		return set_strict(t);
	return mode == SECCOMP_MODE_FILTER ? set_filter(t, 0, args) : -EINVAL;
}
