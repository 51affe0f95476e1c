/* Who may do what: mode bits, capabilities, sticky directories, read-only mounts. */
#include <errno.h>
#include <linux/capability.h>
#include <unistd.h>

#include "fs/namei.h"
#include "task/task.h"

static bool capable_of(const struct cred *c, u32 mode, u32 want)
{
	bool dir = S_ISDIR(mode);

	if (cred_capable(c, CAP_DAC_OVERRIDE) && (dir || !(want & X_OK) || (mode & 0111)))
		return true;
	return !(want & ~(dir ? R_OK | X_OK : R_OK)) && cred_capable(c, CAP_DAC_READ_SEARCH);
}

int inode_permission(const struct cred *c, struct inode *in, u32 want)
{
	u32 mode, uid, gid, bits;

	/* The usual case of a walk as root: nothing to read under the lock. The type never changes. */
	if (S_ISDIR(in->mode) && cred_capable(c, CAP_DAC_OVERRIDE))
		return 0;
	pthread_mutex_lock(&in->lock);
	mode = in->mode;
	uid = in->uid;
	gid = in->gid;
	pthread_mutex_unlock(&in->lock);
	if (c->fsuid == uid)
		bits = mode >> 6;
	else
		bits = cred_in_group(c, gid) ? mode >> 3 : mode;
	if (!(want & 7 & ~bits) || capable_of(c, mode, want))
		return 0;
	return -EACCES;
}

bool cred_owns(const struct cred *c, struct inode *in)
{
	bool owner;

	pthread_mutex_lock(&in->lock);
	owner = in->uid == c->fsuid;
	pthread_mutex_unlock(&in->lock);
	return owner || cred_capable(c, CAP_FOWNER);
}

int may_change_dir(const struct walk *w)
{
	if (mount_readonly(w->cur.mnt))
		return -EROFS;
	return inode_permission(w->cred, w->cur.dentry->inode, W_OK | X_OK);
}

int may_delete(const struct walk *w, struct dentry *victim)
{
	struct inode *dir = w->cur.dentry->inode;
	u32 mode, uid;
	int err = may_change_dir(w);

	if (err)
		return err;
	pthread_mutex_lock(&dir->lock);
	mode = dir->mode;
	uid = dir->uid;
	pthread_mutex_unlock(&dir->lock);
	if ((mode & S_ISVTX) && uid != w->cred->fsuid && !cred_owns(w->cred, victim->inode))
		return -EPERM;
	return 0;
}
