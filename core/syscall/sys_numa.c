/*
 * Memory policy of a machine with one node, and membarrier.
 */
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mm/mm.h"
#include "syscall/syscall.h"

#define MODE_FLAGS	(MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING)

static int check_policy(struct task *t, int mode, gva_t mask, u64 bits)
{
	u64 nodes = 0;

	if ((u32)mode & ~(MODE_FLAGS | 7u) || (mode & 7) > 6)
		return -EINVAL;
	if (bits > PAGE_SIZE * 8)
		return -EINVAL;
	if (mask && bits && copy_in(t->mm, &nodes, mask, MIN((bits + 7) / 8, sizeof(nodes))))
		return -EFAULT;
	/* Node 0 is the only one; modes that need nodes need it. */
	if ((mode & 7) == MPOL_BIND || (mode & 7) == MPOL_INTERLEAVE)
		return nodes & 1 ? 0 : -EINVAL;
	return 0;
}

long sys_set_mempolicy(struct task *t, const u64 *arg) { return check_policy(t, arg[0], arg[1], arg[2]); }

long sys_mbind(struct task *t, const u64 *arg)
{
	if (arg[0] & ~PAGE_MASK || arg[5] & ~7ul)
		return -EINVAL;
	if (!guest_range_ok(arg[0], arg[1]))
		return -EFAULT;
	return check_policy(t, arg[2], arg[3], arg[4]);
}

long sys_get_mempolicy(struct task *t, const u64 *arg)
{
	u64 flags = arg[4], bits = arg[2], nodes = flags & MPOL_F_MEMS_ALLOWED ? 1 : 0;
	int mode = 0;

	if (flags & ~(u64)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) || bits > PAGE_SIZE * 8 ||
	    (arg[1] && !bits))
		return -EINVAL;
	if ((flags & MPOL_F_MEMS_ALLOWED) && flags & (MPOL_F_NODE | MPOL_F_ADDR))
		return -EINVAL;
	if (!(flags & MPOL_F_ADDR) && arg[3])
		return -EINVAL;
	if (arg[0] && put_user(t->mm, arg[0], &mode))
		return -EFAULT;
	if (!arg[1])
		return 0;
	if (clear_out(t->mm, arg[1], (bits + 63) / 64 * 8) || copy_out(t->mm, arg[1], &nodes, MIN((bits + 7) / 8, 8ul)))
		return -EFAULT;
	return 0;
}

/*
 * Guests run on host threads, so the host's barrier for all of them is one for a guest's threads too, whoever they
 * belong to. It waits for every CPU to pass through the host kernel's scheduler, which also makes instruction streams
 * consistent.
 */
static long host_barrier(int cmd)
{
	long ret = syscall(SYS_membarrier, cmd, 0, 0);

	return ret < 0 ? -errno : ret;
}

#define REGISTERS	(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED | \
			 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)
#define EXPEDITED	(MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)

long sys_membarrier(struct task *t, const u64 *arg)
{
	int cmd = arg[0];

	if ((u32)arg[1])
		return -EINVAL;
	switch (cmd) {
	case MEMBARRIER_CMD_QUERY:
		if (!(host_barrier(MEMBARRIER_CMD_QUERY) & MEMBARRIER_CMD_GLOBAL))
			return 0;
		return MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | REGISTERS | EXPEDITED;
	case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
		pthread_mutex_lock(&t->mm->lock);
		t->mm->membarrier |= cmd;
		pthread_mutex_unlock(&t->mm->lock);
		return 0;
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE: {
		bool registered;

		pthread_mutex_lock(&t->mm->lock);
		registered = t->mm->membarrier & cmd << 1;
		pthread_mutex_unlock(&t->mm->lock);
		return registered ? host_barrier(MEMBARRIER_CMD_GLOBAL) : -EPERM;
	}
	case MEMBARRIER_CMD_GLOBAL:
	case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
		return host_barrier(MEMBARRIER_CMD_GLOBAL);
	default:
		return -EINVAL;
	}
}
