/* ptrace: a stopped tracee's registers, memory and signals, read and written by its tracer. */
#include <asm/prctl.h>
#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/ptrace.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "mm/mm.h"
#include "task/internal.h"
#include "task/ptrace.h"
#include "task/signal.h"

#define FLAGS_WRITABLE	0x54dd5ull	/* CF PF AF ZF SF TF DF OF NT RF AC: what a program may set */
#define BASE_END	0x7ffffffff000ull	/* TASK_SIZE_MAX */
#define USER_SIZE	912			/* struct user, of which PEEKUSR and POKEUSR take offsets (sys/user.h) */
#define USER_DEBUGREG	848
#define XCR0_AT		464		/* where the kernel leaves the features in an XSAVE image that it shows */

_Static_assert(sizeof(struct guest_regs) == 27 * 8, "user_regs_struct of the x86-64 ABI");

/* ---- general registers ---- */

/* Selectors stay as they are: a 64-bit program has no others. */
static int regs_set(struct task *p, const struct guest_regs *in)
{
	struct guest_regs new = *in, *old = &p->regs;

	if (new.fs_base >= BASE_END || new.gs_base >= BASE_END)
		return -EIO;
	new.cs = old->cs;
	new.ss = old->ss;
	new.ds = old->ds;
	new.es = old->es;
	new.fs = old->fs;
	new.gs = old->gs;
	new.eflags = (old->eflags & ~FLAGS_WRITABLE) | (new.eflags & FLAGS_WRITABLE);
	*old = new;
	return 0;
}

static long peek_user(struct task *t, struct task *p, u64 addr, gva_t to)
{
	u64 value = 0;

	if (addr & 7 || addr >= USER_SIZE)
		return -EIO;
	if (addr < sizeof(p->regs))
		memcpy(&value, (u8 *)&p->regs + addr, 8);
	return put_user(t->mm, to, &value);
}

/* There are no debug registers: they hold 0, and may be told so. */
static long poke_user(struct task *p, u64 addr, u64 value)
{
	struct guest_regs regs = p->regs;

	if (addr & 7 || addr >= USER_SIZE)
		return -EIO;
	if (addr < sizeof(regs)) {
		memcpy((u8 *)&regs + addr, &value, 8);
		return regs_set(p, &regs);
	}
	if (addr >= USER_DEBUGREG)
		return value ? -EINVAL : 0;
	return -EIO;
}

static long arch_prctl(struct task *t, struct task *p, u64 addr, u64 code)
{
	struct guest_regs regs = p->regs;

	switch (code) {
	case ARCH_GET_FS:
		return put_user(t->mm, addr, &regs.fs_base);
	case ARCH_GET_GS:
		return put_user(t->mm, addr, &regs.gs_base);
	case ARCH_SET_FS:
		regs.fs_base = addr;
		break;
	case ARCH_SET_GS:
		regs.gs_base = addr;
		break;
	default:
		return -EINVAL;
	}
	return regs_set(p, &regs) ? -EPERM : 0;
}

/* ---- extended state: on the tracee's own thread ---- */

struct fp_job {
	u8 *image;			/* xstate_size() bytes */
	const u8 *part;			/* set: the first `len` bytes of the new image, or NULL to read */
	u64 len;
};

static int fp_do(struct task *p, void *arg)
{
	struct fp_job *j = arg;
	int err = p->ctx ? platform->fp_read(p->ctx, j->image) : -ESRCH;

	if (err || !j->part)
		return err;
	memcpy(j->image, j->part, j->len);
	return platform->fp_write(p->ctx, j->image);
}

static long fp_get(struct task *t, struct task *p, gva_t to, u64 len)
{
	struct fp_job j = { .image = aligned_alloc(64, align_up(xstate_size(), 64)) };
	u64 features = xstate_features();
	long r;

	if (!j.image)
		return -ENOMEM;
	r = ptrace_run_on(t, p, fp_do, &j);
	if (!r) {
		memcpy(j.image + XCR0_AT, &features, sizeof(features));
		r = copy_out(t->mm, to, j.image, len);
	}
	free(j.image);
	return r;
}

static long fp_set(struct task *t, struct task *p, gva_t from, u64 len)
{
	struct fp_job j = { .image = aligned_alloc(64, align_up(xstate_size(), 64)), .len = len };
	u8 *part = malloc(len);
	long r = -ENOMEM;

	if (j.image && part) {
		r = copy_in(t->mm, part, from, len);
		if (!r && len > XCR0_AT + 48)
			memset(part + XCR0_AT, 0, 48);	/* what fp_get() left there is no state */
		j.part = part;
		if (!r)
			r = ptrace_run_on(t, p, fp_do, &j);
	}
	free(part);
	free(j.image);
	return r;
}

#define FX_SIZE	512

/* ---- register sets ---- */

static long set_of_regs(struct task *t, struct task *p, u64 type, bool set, struct iovec *iov)
{
	gva_t at = (gva_t)iov->iov_base;
	struct guest_regs regs = p->regs;

	switch (type) {
	case NT_PRSTATUS:
		if (iov->iov_len & 7)
			return -EINVAL;
		iov->iov_len = MIN(iov->iov_len, sizeof(regs));
		if (!set)
			return copy_out(t->mm, at, &regs, iov->iov_len);
		return copy_in(t->mm, &regs, at, iov->iov_len) ? -EFAULT : regs_set(p, &regs);
	case NT_PRFPREG:
		if (iov->iov_len & 3)
			return -EINVAL;
		iov->iov_len = MIN(iov->iov_len, (size_t)FX_SIZE);
		break;
	case NT_X86_XSTATE:
		if (iov->iov_len & 7 || (set && iov->iov_len < xstate_size()))
			return -EINVAL;
		iov->iov_len = MIN(iov->iov_len, xstate_size());
		break;
	default:
		return -EINVAL;
	}
	return set ? fp_set(t, p, at, iov->iov_len) : fp_get(t, p, at, iov->iov_len);
}

static long regset(struct task *t, struct task *p, u64 type, bool set, gva_t at)
{
	struct iovec iov;
	long r;

	if (get_user(t->mm, &iov, at))
		return -EFAULT;
	r = set_of_regs(t, p, type, set, &iov);
	return r ? r : put_user(t->mm, at + offsetof(struct iovec, iov_len), &iov.iov_len);
}

/* ---- memory ---- */

static struct mm *mm_of(struct task *p)
{
	struct mm *mm;

	pthread_mutex_lock(&p->tg->lock);
	mm = p->mm;
	if (mm)
		mm_get(mm);
	pthread_mutex_unlock(&p->tg->lock);
	return mm;
}

static long peek(struct task *t, struct task *p, gva_t addr, gva_t to)
{
	struct mm *mm = mm_of(p);
	u64 word;
	long r = mm ? get_user(mm, &word, addr) : -EIO;

	if (mm)
		mm_put(mm);
	return r ? -EIO : put_user(t->mm, to, &word);
}

static long poke(struct task *p, gva_t addr, u64 word)
{
	struct mm *mm = mm_of(p);
	long r = mm ? mm_poke(mm, addr, &word, sizeof(word)) : -EIO;

	if (mm)
		mm_put(mm);
	return r ? -EIO : 0;
}

/* ---- signals ---- */

static long siginfo_get(struct task *t, struct task *p, gva_t to)
{
	union guest_siginfo info = p->pt.info;

	return p->pt.has_info ? put_user(t->mm, to, &info) : -EINVAL;
}

static long siginfo_set(struct task *t, struct task *p, gva_t from)
{
	union guest_siginfo info;

	if (get_user(t->mm, &info, from))
		return -EFAULT;
	if (!p->pt.has_info)
		return -EINVAL;
	p->pt.info = info;
	return 0;
}

static long mask_of(struct task *t, struct task *p, u64 size, gva_t at, bool set)
{
	sigset64 mask;

	if (size != sizeof(mask))
		return -EINVAL;
	pthread_mutex_lock(&p->tg->lock);
	mask = p->restore_blocked ? p->saved_blocked : p->blocked;
	pthread_mutex_unlock(&p->tg->lock);
	if (!set)
		return put_user(t->mm, at, &mask);
	if (get_user(t->mm, &mask, at))
		return -EFAULT;
	pthread_mutex_lock(&p->tg->lock);
	p->blocked = mask & ~SIGSET_KERNEL;
	atomic_fetch_or(&p->work, TASK_SIGNAL);
	pthread_mutex_unlock(&p->tg->lock);
	return 0;
}

struct peek_siginfo {
	u64 off;
	u32 flags;
	int nr;
};

static long siginfo_peek(struct task *t, struct task *p, gva_t args, gva_t to)
{
	struct queued_signal *q;
	struct sigpending *set;
	struct peek_siginfo a;
	union guest_siginfo found;
	int done = 0;

	if (get_user(t->mm, &a, args))
		return -EFAULT;
	if (a.flags & ~1u || a.nr < 0)
		return -EINVAL;
	set = a.flags & 1 ? &p->tg->pending : &p->pending;
	for (u64 i = a.off; done < a.nr; i++, done++) {
		u64 at = 0;
		bool here = false;

		pthread_mutex_lock(&p->tg->lock);
		TAILQ_FOREACH(q, &set->queue, link)
			if (at++ == i) {
				found = q->info;
				here = true;
				break;
			}
		pthread_mutex_unlock(&p->tg->lock);
		if (!here)
			break;
		if (copy_out(t->mm, to + done * sizeof(found), &found, sizeof(found)))
			return done ? done : -EFAULT;
	}
	return done;
}

/* ---- what the stop is about ---- */

static u64 call_info(const struct task *p, struct ptrace_syscall_info *i)
{
	const struct guest_regs *r = &p->regs;
	const u64 args[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };

	*i = (struct ptrace_syscall_info){
		.op = p->pt.where, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = r->rip, .stack_pointer = r->rsp,
	};
	switch (p->pt.where) {
	case PTRACE_SYSCALL_INFO_ENTRY:
		i->entry.nr = (s64)r->orig_rax;
		memcpy(i->entry.args, args, sizeof(args));
		return offsetof(struct ptrace_syscall_info, entry) + sizeof(i->entry);
	case PTRACE_SYSCALL_INFO_SECCOMP:
		i->seccomp.nr = (s64)r->orig_rax;
		memcpy(i->seccomp.args, args, sizeof(args));
		i->seccomp.ret_data = p->pt.message;
		return offsetof(struct ptrace_syscall_info, seccomp.ret_data) + sizeof(i->seccomp.ret_data);
	case PTRACE_SYSCALL_INFO_EXIT:
		i->exit.rval = (s64)r->rax;
		i->exit.is_error = r->rax >= (u64)-4095;
		return offsetof(struct ptrace_syscall_info, exit.is_error) + sizeof(i->exit.is_error);
	default:
		return offsetof(struct ptrace_syscall_info, entry);
	}
}

static long call_info_get(struct task *t, struct task *p, u64 size, gva_t to)
{
	struct ptrace_syscall_info i;
	u64 len = call_info(p, &i);

	return copy_out(t->mm, to, &i, MIN(len, size)) ? -EFAULT : (long)len;
}

long ptrace_data(struct task *t, struct task *p, s64 request, u64 addr, u64 data)
{
	struct guest_regs regs = p->regs;

	switch (request) {
	case PTRACE_PEEKTEXT: case PTRACE_PEEKDATA:
		return peek(t, p, addr, data);
	case PTRACE_POKETEXT: case PTRACE_POKEDATA:
		return poke(p, addr, data);
	case PTRACE_PEEKUSR:
		return peek_user(t, p, addr, data);
	case PTRACE_POKEUSR:
		return poke_user(p, addr, data);
	case PTRACE_GETREGS:
		return put_user(t->mm, data, &regs) ? -EIO : 0;
	case PTRACE_SETREGS:
		return get_user(t->mm, &regs, data) ? -EIO : regs_set(p, &regs);
	case PTRACE_GETFPREGS:
		return fp_get(t, p, data, FX_SIZE);
	case PTRACE_SETFPREGS:
		return fp_set(t, p, data, FX_SIZE);
	case PTRACE_GETREGSET: case PTRACE_SETREGSET:
		return regset(t, p, addr, request == PTRACE_SETREGSET, data);
	case PTRACE_GETSIGINFO:
		return siginfo_get(t, p, data);
	case PTRACE_SETSIGINFO:
		return siginfo_set(t, p, data);
	case PTRACE_PEEKSIGINFO:
		return siginfo_peek(t, p, addr, data);
	case PTRACE_GETSIGMASK: case PTRACE_SETSIGMASK:
		return mask_of(t, p, addr, data, request == PTRACE_SETSIGMASK);
	case PTRACE_GET_SYSCALL_INFO:
		return call_info_get(t, p, addr, data);
	case PTRACE_ARCH_PRCTL:
		return arch_prctl(t, p, addr, data);
	default:
		return -EIO;
	}
}
