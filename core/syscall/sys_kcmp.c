/*
 * kcmp(2): do two processes share something?
 *
 * Threat: the answer orders sentry addresses, so they are scrambled with secrets of this run, as Linux does it.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sys/random.h>

#include "fs/fs.h"
#include "syscall/syscall.h"

static u64 secret[2];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void draw_secret(void)
{
	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		secret[1] = 0;
	secret[1] |= 1;
}

/* 0: the same; 1, 2: which comes first. */
static long order(const void *a, const void *b)
{
	u64 x, y;

	pthread_once(&secret_once, draw_secret);
	x = ((u64)a ^ secret[0]) * secret[1];
	y = ((u64)b ^ secret[0]) * secret[1];
	return x == y ? 0 : x < y ? 1 : 2;
}

static bool may_look(struct task *t, const struct cred *o)
{
	const struct cred *c = t->cred;

	return cred_capable(c, CAP_SYS_PTRACE) || (c->uid == o->uid && c->uid == o->euid && c->uid == o->suid &&
						   c->gid == o->gid && c->gid == o->egid && c->gid == o->sgid);
}

/*
 * What `type` names of a task: an address to compare and no more, for it may be gone by the time it is returned.
 * KCMP_FILE takes a reference into *file.
 */
static long object_of(struct task *t, struct task *other, int type, u32 fd, const void **out, struct file **file)
{
	struct fd_table *files = NULL;
	long err;

	pthread_mutex_lock(&other->tg->lock);
	err = !other->cred || !other->files ? -ESRCH : may_look(t, other->cred) ? 0 : -EPERM;
	if (!err) {
		const void *const parts[KCMP_TYPES] = {
			[KCMP_VM] = other->mm, [KCMP_FILES] = other->files, [KCMP_FS] = other->place,
			[KCMP_SIGHAND] = other->sighand,
			/* I/O contexts and semaphore undo lists are shared by none but the task itself. */
			[KCMP_IO] = other, [KCMP_SYSVSEM] = other,
		};

		*out = parts[type];
		if (type == KCMP_FILE) {
			files = other->files;
			fd_table_get(files);
		}
	}
	pthread_mutex_unlock(&other->tg->lock);
	if (files) {
		*out = *file = fd_get(files, fd);
		err = *file ? 0 : -EBADF;
		fd_table_put(files);
	}
	return err;
}

long sys_kcmp(struct task *t, const u64 *arg)
{
	struct task *a = task_get(arg[0]), *b = task_get(arg[1]);
	struct file *fa = NULL, *fb = NULL;
	const void *oa = NULL, *ob = NULL;
	s32 type = arg[2];
	long ret = -ESRCH;

	if (!a || !b)
		goto out;
	ret = type < 0 || type >= KCMP_TYPES || type == KCMP_EPOLL_TFD ? -EINVAL : 0;
	if (!ret)
		ret = object_of(t, a, type, arg[3], &oa, &fa);
	if (!ret)
		ret = object_of(t, b, type, arg[4], &ob, &fb);
	if (!ret)
		ret = order(oa, ob);
	if (fa)
		file_put(fa);
	if (fb)
		file_put(fb);
out:
	if (a)
		task_put(a);
	if (b)
		task_put(b);
	return ret;
}
