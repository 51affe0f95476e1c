/* /proc/sysvipc: every System V object of the sandbox, a line each. */
#include "fs/proc.h"
#include "ipc/ipc.h"

static int shm_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_puts(s, "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime"
		    "      ctime                   rss                  swap\n");
	for (struct ipc_object *o = ipc_next(&shm_table, NULL); o; o = ipc_next(&shm_table, o)) {
		struct shm_facts f;

		shm_facts(o, &f);
		seq_printf(s, "%10d %10d  %4o %21llu %5d %5d  %5llu %5u %5u %5u %5u %10lld %10lld %10lld %21llu %21d\n", o->key, o->id,
			   f.perm.mode, (unsigned long long)f.size, f.cpid, f.lpid, (unsigned long long)f.nattch, f.perm.uid,
			   f.perm.gid, f.perm.cuid, f.perm.cgid, (long long)f.atime, (long long)f.dtime, (long long)f.ctime,
			   (unsigned long long)f.rss, 0);
	}
	return 0;
}

static int sem_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_puts(s, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
	for (struct ipc_object *o = ipc_next(&sem_table, NULL); o; o = ipc_next(&sem_table, o)) {
		struct sem_facts f;

		sem_facts(o, &f);
		seq_printf(s, "%10d %10d  %4o %10d %5u %5u %5u %5u %10lld %10lld\n", o->key, o->id, f.perm.mode, f.nsems, f.perm.uid,
			   f.perm.gid, f.perm.cuid, f.perm.cgid, (long long)f.otime, (long long)f.ctime);
	}
	return 0;
}

static int msg_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	seq_puts(s, "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime"
		    "      ctime\n");
	for (struct ipc_object *o = ipc_next(&msg_table, NULL); o; o = ipc_next(&msg_table, o)) {
		struct msg_facts f;

		msg_facts(o, &f);
		seq_printf(s, "%10d %10d  %4o  %10llu %10llu %5d %5d %5u %5u %5u %5u %10lld %10lld %10lld\n", o->key, o->id, f.perm.mode,
			   (unsigned long long)f.bytes, (unsigned long long)f.count, f.lspid, f.lrpid, f.perm.uid, f.perm.gid,
			   f.perm.cuid, f.perm.cgid, (long long)f.stime, (long long)f.rtime, (long long)f.ctime);
	}
	return 0;
}

const struct pseudo_entry proc_sysvipc_names[] = {
	{ .name = "msg", .mode = S_IFREG | 0444, .show = msg_show },
	{ .name = "sem", .mode = S_IFREG | 0444, .show = sem_show },
	{ .name = "shm", .mode = S_IFREG | 0444, .show = shm_show },
	{ 0 }
};
