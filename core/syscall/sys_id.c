/* Who a task is: pids, process groups, sessions, users, groups, capabilities. */
#include <limits.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>

#include "syscall/syscall.h"
#include "task/internal.h"
#include "task/pgrp.h"

#define KEEP	UINT32_MAX		/* -1: leave this id alone */

long sys_getppid(struct task *t, const u64 *arg)
{
	int pid;

	pthread_rwlock_rdlock(&tasklist);
	pid = t->tg->parent->tgid;
	pthread_rwlock_unlock(&tasklist);
	return pid;
}

long sys_setpgid(struct task *t, const u64 *arg)
{
	return thread_group_setpgid(t->tg, (int)arg[0], (int)arg[1]);
}

long sys_getpgid(struct task *t, const u64 *arg)
{
	int pgid, sid, err;

	err = thread_group_ids(t->tg, (int)arg[0], &pgid, &sid);
	return err ? err : pgid;
}

long sys_getsid(struct task *t, const u64 *arg)
{
	int pgid, sid, err;

	err = thread_group_ids(t->tg, (int)arg[0], &pgid, &sid);
	return err ? err : sid;
}

long sys_setsid(struct task *t, const u64 *arg)
{
	return thread_group_setsid(t->tg);
}

/* ---- users and groups ---- */

/* capabilities(7), "Effect of user ID changes on capabilities". */
static void fix_caps(struct task *t, struct cred *c)
{
	const struct cred *old = t->cred;
	bool was_root = !old->uid || !old->euid || !old->suid, root = !c->uid || !c->euid || !c->suid;

	if (t->securebits & SECBIT_NO_SETUID_FIXUP)
		return;
	if (was_root && !root) {
		if (!(t->securebits & SECBIT_KEEP_CAPS))
			c->cap_permitted = c->cap_effective = 0;
		c->cap_ambient = 0;
	}
	if (!old->euid && c->euid)
		c->cap_effective = 0;
	if (old->euid && !c->euid)
		c->cap_effective = c->cap_permitted;
}

/* Consumes c. As commit_creds(): who changes identity is no longer to be dumped or told of its parent's death. */
static long install(struct task *t, struct cred *c)
{
	const struct cred *old = t->cred;

	if (old->euid != c->euid || old->egid != c->egid || old->fsuid != c->fsuid || old->fsgid != c->fsgid) {
		t->mm->dumpable = 0;
		t->pdeath_signal = 0;
	}
	task_set_cred(t, c);
	return 0;
}

/* The kernel's setresuid(2): without the capability each new id must be one of the present three. */
static bool uid_allowed(const struct cred *c, u32 uid)
{
	return uid == KEEP || uid == c->uid || uid == c->euid || uid == c->suid || cred_capable(c, CAP_SETUID);
}

static bool gid_allowed(const struct cred *c, u32 gid)
{
	return gid == KEEP || gid == c->gid || gid == c->egid || gid == c->sgid || cred_capable(c, CAP_SETGID);
}

static long change_uids(struct task *t, u32 uid, u32 euid, u32 suid)
{
	struct cred *c = cred_copy(t->cred);

	if (!c)
		return -ENOMEM;
	if (uid != KEEP)
		c->uid = uid;
	if (euid != KEEP)
		c->euid = euid;
	if (suid != KEEP)
		c->suid = suid;
	c->fsuid = c->euid;
	fix_caps(t, c);
	return install(t, c);
}

static long change_gids(struct task *t, u32 gid, u32 egid, u32 sgid)
{
	struct cred *c = cred_copy(t->cred);

	if (!c)
		return -ENOMEM;
	if (gid != KEEP)
		c->gid = gid;
	if (egid != KEEP)
		c->egid = egid;
	if (sgid != KEEP)
		c->sgid = sgid;
	c->fsgid = c->egid;
	return install(t, c);
}

long sys_setuid(struct task *t, const u64 *arg)
{
	const struct cred *c = t->cred;
	u32 uid = arg[0];

	if (uid == KEEP)
		return -EINVAL;
	if (cred_capable(c, CAP_SETUID))
		return change_uids(t, uid, uid, uid);
	return uid == c->uid || uid == c->suid ? change_uids(t, KEEP, uid, KEEP) : -EPERM;
}

long sys_setgid(struct task *t, const u64 *arg)
{
	const struct cred *c = t->cred;
	u32 gid = arg[0];

	if (gid == KEEP)
		return -EINVAL;
	if (cred_capable(c, CAP_SETGID))
		return change_gids(t, gid, gid, gid);
	return gid == c->gid || gid == c->sgid ? change_gids(t, KEEP, gid, KEEP) : -EPERM;
}

/* The saved id follows the effective one if the real one is set, or the effective one is set to another than it. */
long sys_setreuid(struct task *t, const u64 *arg)
{
	const struct cred *c = t->cred;
	u32 uid = arg[0], euid = arg[1], suid = KEEP;

	if (uid != KEEP && uid != c->uid && uid != c->euid && !cred_capable(c, CAP_SETUID))
		return -EPERM;
	if (!uid_allowed(c, euid))
		return -EPERM;
	if (uid != KEEP || (euid != KEEP && euid != c->uid))
		suid = euid != KEEP ? euid : c->euid;
	return change_uids(t, uid, euid, suid);
}

long sys_setregid(struct task *t, const u64 *arg)
{
	const struct cred *c = t->cred;
	u32 gid = arg[0], egid = arg[1], sgid = KEEP;

	if (gid != KEEP && gid != c->gid && gid != c->egid && !cred_capable(c, CAP_SETGID))
		return -EPERM;
	if (!gid_allowed(c, egid))
		return -EPERM;
	if (gid != KEEP || (egid != KEEP && egid != c->gid))
		sgid = egid != KEEP ? egid : c->egid;
	return change_gids(t, gid, egid, sgid);
}

long sys_setresuid(struct task *t, const u64 *arg)
{
	for (int i = 0; i < 3; i++)
		if (!uid_allowed(t->cred, arg[i]))
			return -EPERM;
	return change_uids(t, arg[0], arg[1], arg[2]);
}

long sys_setresgid(struct task *t, const u64 *arg)
{
	for (int i = 0; i < 3; i++)
		if (!gid_allowed(t->cred, arg[i]))
			return -EPERM;
	return change_gids(t, arg[0], arg[1], arg[2]);
}

long sys_getresuid(struct task *t, const u64 *arg)
{
	const struct cred *c = t->cred;

	if (put_user(t->mm, arg[0], &c->uid) || put_user(t->mm, arg[1], &c->euid) || put_user(t->mm, arg[2], &c->suid))
		return -EFAULT;
	return 0;
}

long sys_getresgid(struct task *t, const u64 *arg)
{
	const struct cred *c = t->cred;

	if (put_user(t->mm, arg[0], &c->gid) || put_user(t->mm, arg[1], &c->egid) || put_user(t->mm, arg[2], &c->sgid))
		return -EFAULT;
	return 0;
}

/* Capabilities that only make sense over files come and go with fsuid 0. */
#define CAP(c)	((u64)1 << CAP_##c)
#define FS_CAPS	(CAP(CHOWN) | CAP(MKNOD) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | CAP(FSETID) | \
		 CAP(LINUX_IMMUTABLE) | CAP(MAC_OVERRIDE))

/* setfsuid and setfsgid return the old id whatever happens. */
long sys_setfsuid(struct task *t, const u64 *arg)
{
	u32 old = t->cred->fsuid, uid = arg[0];
	struct cred *c;

	if (uid == KEEP || (uid != old && !uid_allowed(t->cred, uid)))
		return old;
	c = cred_copy(t->cred);
	if (!c)
		return old;
	c->fsuid = uid;
	if (!(t->securebits & SECBIT_NO_SETUID_FIXUP)) {
		if (!old && uid)
			c->cap_effective &= ~FS_CAPS;
		if (old && !uid)
			c->cap_effective |= c->cap_permitted & FS_CAPS;
	}
	install(t, c);
	return old;
}

long sys_setfsgid(struct task *t, const u64 *arg)
{
	u32 old = t->cred->fsgid, gid = arg[0];
	struct cred *c;

	if (gid == KEEP || (gid != old && !gid_allowed(t->cred, gid)))
		return old;
	c = cred_copy(t->cred);
	if (c) {
		c->fsgid = gid;
		install(t, c);
	}
	return old;
}

long sys_getgroups(struct task *t, const u64 *arg)
{
	const struct cred *c = t->cred;
	s32 size = arg[0];

	if (size < 0)
		return -EINVAL;
	if (!size)
		return c->ngroups;
	if (size < c->ngroups)
		return -EINVAL;
	if (copy_out(t->mm, arg[1], c->groups, c->ngroups * sizeof(u32)))
		return -EFAULT;
	return c->ngroups;
}

long sys_setgroups(struct task *t, const u64 *arg)
{
	u32 n = arg[0], last;
	struct cred *c;

	if (!cred_capable(t->cred, CAP_SETGID))
		return -EPERM;
	if (n > NGROUPS_MAX)
		return -EINVAL;
	if (n > ARRAY_SIZE(c->groups))		/* more than the sentry keeps: a list that can't be read is EFAULT all the same */
		return copy_in(t->mm, &last, arg[1] + (n - 1) * sizeof(u32), sizeof(u32)) ? -EFAULT : -ENOMEM;
	c = cred_copy(t->cred);
	if (!c)
		return -ENOMEM;
	if (copy_in(t->mm, c->groups, arg[1], n * sizeof(u32))) {
		cred_put(c);
		return -EFAULT;
	}
	c->ngroups = n;
	task_set_cred(t, c);
	return 0;
}

/* ---- capabilities ---- */

/* The number of 32-bit words per set for a header's version; 0, with the version corrected, if it is unknown. */
static int cap_words(struct __user_cap_header_struct *h)
{
	switch (h->version) {
	case _LINUX_CAPABILITY_VERSION_1:
		return 1;
	case _LINUX_CAPABILITY_VERSION_2:
	case _LINUX_CAPABILITY_VERSION_3:
		return 2;
	default:
		h->version = _LINUX_CAPABILITY_VERSION_3;
		return 0;
	}
}

static int cap_header(struct task *t, gva_t ptr, struct __user_cap_header_struct *h, int *words)
{
	if (get_user(t->mm, h, ptr))
		return -EFAULT;
	*words = cap_words(h);
	if (!*words)
		return put_user(t->mm, ptr, h) ? -EFAULT : -EINVAL;
	return h->pid < 0 ? -EINVAL : 0;
}

static struct cred *cred_of_pid(struct task *t, int pid)
{
	struct task *other = task_get(pid ? pid : t->tid);
	struct cred *c;

	if (!other)
		return NULL;
	pthread_mutex_lock(&other->tg->lock);
	c = other->cred;
	cred_get(c);
	pthread_mutex_unlock(&other->tg->lock);
	task_put(other);
	return c;
}

long sys_capget(struct task *t, const u64 *arg)
{
	struct __user_cap_data_struct data[2] = { 0 };
	struct __user_cap_header_struct h;
	struct cred *c;
	int words, err;

	err = cap_header(t, arg[0], &h, &words);
	if (err)
		return err == -EINVAL && !arg[1] ? 0 : err;
	c = cred_of_pid(t, h.pid);
	if (!c)
		return -ESRCH;
	for (int i = 0; i < 2; i++) {
		data[i].effective = c->cap_effective >> (32 * i);
		data[i].permitted = c->cap_permitted >> (32 * i);
		data[i].inheritable = c->cap_inheritable >> (32 * i);
	}
	cred_put(c);
	return arg[1] && copy_out(t->mm, arg[1], data, words * sizeof(data[0])) ? -EFAULT : 0;
}

long sys_capset(struct task *t, const u64 *arg)
{
	struct __user_cap_data_struct data[2] = { 0 };
	struct __user_cap_header_struct h;
	const struct cred *old = t->cred;
	u64 effective, permitted, inheritable;
	struct cred *c;
	int words, err;

	err = cap_header(t, arg[0], &h, &words);
	if (err)
		return err;
	if (h.pid && h.pid != t->tid)
		return -EPERM;
	if (copy_in(t->mm, data, arg[1], words * sizeof(data[0])))
		return -EFAULT;
	effective = data[0].effective | (u64)data[1].effective << 32;
	permitted = data[0].permitted | (u64)data[1].permitted << 32;
	inheritable = data[0].inheritable | (u64)data[1].inheritable << 32;
	if ((permitted & ~old->cap_permitted) || (effective & ~permitted))
		return -EPERM;
	if (inheritable & ~(old->cap_inheritable | old->cap_bounding))
		return -EPERM;
	if (!cred_capable(old, CAP_SETPCAP) && (inheritable & ~(old->cap_inheritable | old->cap_permitted)))
		return -EPERM;
	c = cred_copy(old);
	if (!c)
		return -ENOMEM;
	c->cap_effective = effective;
	c->cap_permitted = permitted;
	c->cap_inheritable = inheritable;
	c->cap_ambient &= permitted & inheritable;
	task_set_cred(t, c);
	return 0;
}
