/*
 * process_vm_readv and process_vm_writev: copies between two mms, through pins on the other one's pages.
 */
#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "mm/mm.h"
#include "syscall/syscall.h"

#define SEGMENTS	16		/* pinned at a time */

/* An array of guest segments, walked. */
struct segments {
	struct iovec *iov;
	u64 n, i;
	u64 done;			/* of segment i */
};

static int segments_read(struct task *t, gva_t addr, u64 n, struct segments *s)
{
	u64 sum = 0;

	if (n > IOV_MAX)
		return -EINVAL;
	s->iov = malloc(n ? n * sizeof(*s->iov) : 1);
	if (!s->iov)
		return -ENOMEM;
	s->n = n;
	if (copy_in(t->mm, s->iov, addr, n * sizeof(*s->iov)))
		return -EFAULT;
	for (u64 i = 0; i < n; i++) {
		if (s->iov[i].iov_len > SSIZE_MAX - sum)
			return -EINVAL;
		sum += s->iov[i].iov_len;
	}
	return 0;
}

/* The rest of the current segment; false at the end. */
static bool segments_at(struct segments *s, gva_t *addr, u64 *len)
{
	while (s->i < s->n && s->done == s->iov[s->i].iov_len) {
		s->i++;
		s->done = 0;
	}
	if (s->i == s->n)
		return false;
	*addr = (gva_t)s->iov[s->i].iov_base + s->done;
	*len = s->iov[s->i].iov_len - s->done;
	return true;
}

static bool same_user(const struct cred *a, const struct cred *b)
{
	return a->euid == b->euid && a->euid == b->suid && a->euid == b->uid &&
	       a->egid == b->egid && a->egid == b->sgid && a->egid == b->gid;
}

/* As for ptrace: the same user, or the capability. */
static int remote_mm(struct task *t, int pid, struct mm **out)
{
	struct task *other = task_get(pid);
	const struct cred *c = t->cred;
	int err = -ESRCH;

	*out = NULL;
	if (!other)
		return -ESRCH;
	pthread_mutex_lock(&other->tg->lock);
	if (other->mm) {
		bool same = same_user(c, other->cred);

		err = -EPERM;
		if (other->tg == t->tg || (same && other->mm->dumpable == 1) || cred_capable(c, CAP_SYS_PTRACE)) {
			*out = other->mm;
			mm_get(*out);
			err = 0;
		}
	}
	pthread_mutex_unlock(&other->tg->lock);
	task_put(other);
	return err;
}

/* Copy between our segments and what is pinned of the other's; returns bytes done. */
static u64 move_pinned(struct task *t, struct segments *local, const struct uaccess_pin *pin, bool write, int *err)
{
	u64 total = 0;

	for (int i = 0; i < pin->iovcnt; i++) {
		u8 *p = pin->iov[i].iov_base;
		u64 left = pin->iov[i].iov_len, len;
		gva_t addr;

		while (left && segments_at(local, &addr, &len)) {
			len = MIN(len, left);
			*err = write ? copy_in(t->mm, p, addr, len) : copy_out(t->mm, addr, p, len);
			if (*err)
				return total;
			local->done += len;
			total += len;
			left -= len;
			p += len;
		}
	}
	return total;
}

static s64 transfer(struct task *t, struct mm *mm, struct segments *local, struct segments *remote, bool write)
{
	gva_t addr, unused;
	u64 len, room, total = 0;
	int err = 0;

	while (!err && segments_at(remote, &addr, &len) && segments_at(local, &unused, &room)) {
		struct iovec iov[SEGMENTS];
		struct uaccess_pin pin = { .iov = iov };
		s64 n = uaccess_pin(mm, addr, MIN(len, room), write ? ACCESS_WRITE : ACCESS_READ, &pin, SEGMENTS);

		if (n < 0) {
			err = n;
			break;
		}
		n = move_pinned(t, local, &pin, write, &err);
		uaccess_unpin(&pin);
		remote->done += n;
		total += n;
	}
	return total ? (s64)total : err;
}

static long process_vm(struct task *t, const u64 *arg, bool write)
{
	struct segments local = { .iov = NULL }, remote = { .iov = NULL };
	struct mm *mm = NULL;
	long ret;

	if (arg[5])
		return -EINVAL;
	ret = segments_read(t, arg[1], arg[2], &local);
	if (!ret)
		ret = segments_read(t, arg[3], arg[4], &remote);
	if (!ret)
		ret = remote_mm(t, arg[0], &mm);
	if (!ret)
		ret = transfer(t, mm, &local, &remote, write);
	mm_put(mm);
	free(local.iov);
	free(remote.iov);
	return ret;
}

long sys_process_vm_readv(struct task *t, const u64 *arg) { return process_vm(t, arg, false); }

long sys_process_vm_writev(struct task *t, const u64 *arg) { return process_vm(t, arg, true); }
