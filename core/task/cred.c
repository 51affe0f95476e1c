/* Credentials, capabilities, and the count of tasks by user for RLIMIT_NPROC. Sandbox root is root inside only. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/ids.h"
#include "task/internal.h"

#define ALL_CAPS	(((u64)1 << (CAP_LAST_CAP + 1)) - 1)

void cred_get(struct cred *c)
{
	atomic_fetch_add(&c->refs, 1);
}

void cred_put(struct cred *c)
{
	if (atomic_fetch_sub(&c->refs, 1) == 1)
		free(c);
}

bool cred_capable(const struct cred *c, int cap)
{
	return c->cap_effective >> cap & 1;
}

bool cred_in_group(const struct cred *c, u32 gid)
{
	if (gid == c->fsgid)
		return true;
	for (int i = 0; i < c->ngroups; i++)
		if (c->groups[i] == gid)
			return true;
	return false;
}

struct cred *cred_copy(const struct cred *c)
{
	struct cred *copy = malloc(sizeof(*copy));

	if (copy) {
		/* All but the count, which others may be changing. */
		memcpy(&copy->uid, &c->uid, sizeof(*c) - offsetof(struct cred, uid));
		atomic_init(&copy->refs, 1);
	}
	return copy;
}

/* The guest is whoever started the sentry; root has every capability, over the sandbox's own things. */
struct cred *cred_initial(void)
{
	struct cred *c = calloc(1, sizeof(*c));
	const struct host_ids *host = host_ids();

	if (!c)
		return NULL;
	c->refs = 1;
	c->uid = c->euid = c->suid = c->fsuid = host->uid;
	c->gid = c->egid = c->sgid = c->fsgid = host->gid;
	c->ngroups = MIN(host->ngroups, (int)ARRAY_SIZE(c->groups));
	memcpy(c->groups, host->groups, c->ngroups * sizeof(c->groups[0]));
	c->cap_bounding = ALL_CAPS;
	if (!c->euid)
		c->cap_permitted = c->cap_effective = ALL_CAPS;
	return c;
}

void task_set_cred(struct task *t, struct cred *c)
{
	struct cred *old;

	if (c->uid != t->cred->uid) {
		user_charge(t->cred->uid, -1);
		user_charge(c->uid, 1);
	}
	pthread_mutex_lock(&t->tg->lock);
	old = t->cred;
	t->cred = c;
	pthread_mutex_unlock(&t->tg->lock);
	cred_put(old);
}

/* The rules of capabilities(7) for a file without capabilities or set-id bits. */
int cred_exec(struct task *t)
{
	struct cred *c = cred_copy(t->cred);
	bool root;

	if (!c)
		return -ENOMEM;
	root = !(t->securebits & SECBIT_NOROOT) && (!c->uid || !c->euid);
	c->suid = c->fsuid = c->euid;
	c->sgid = c->fsgid = c->egid;
	if (root) {
		c->cap_permitted = c->cap_inheritable | c->cap_bounding;
		c->cap_effective = c->euid ? c->cap_ambient : c->cap_permitted;
		c->cap_ambient = 0;
	} else {
		c->cap_permitted = c->cap_effective = c->cap_ambient;
	}
	t->securebits &= ~SECBIT_KEEP_CAPS;
	task_set_cred(t, c);
	return 0;
}

/* ---- tasks by user ---- */

struct user {
	TAILQ_ENTRY(user) link;
	u32 uid;
	u32 ntasks;
};
static TAILQ_HEAD(user_users_head, user) users = TAILQ_HEAD_INITIALIZER(users);
static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER;

/* users_lock held. */
static struct user *find_user(u32 uid)
{
	struct user *u;

	TAILQ_FOREACH(u, &users, link)
		if (u->uid == uid)
			return u;
	return NULL;
}

void user_charge(u32 uid, int n)
{
	struct user *u;

	pthread_mutex_lock(&users_lock);
	u = find_user(uid);
	if (!u && n > 0) {
		u = calloc(1, sizeof(*u));
		if (u) {
			u->uid = uid;
			TAILQ_INSERT_HEAD(&users, u, link);
		}
	}
	if (u) {			/* without memory for a user its tasks go uncounted */
		u->ntasks += n < 0 && !u->ntasks ? 0 : n;
		if (!u->ntasks) {
			TAILQ_REMOVE(&users, u, link);
			free(u);
		}
	}
	pthread_mutex_unlock(&users_lock);
}

u32 user_tasks(u32 uid)
{
	struct user *u;
	u32 n;

	pthread_mutex_lock(&users_lock);
	u = find_user(uid);
	n = u ? u->ntasks : 0;
	pthread_mutex_unlock(&users_lock);
	return n;
}
