/* /proc/sys: what programs ask for. All of it is read-only; names come from uts, limits are what this kernel keeps. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "fs/proc.h"
#include "lib/version.h"
#include "syscall/uts.h"

#define FILE_TEXT(n, t)	{ .name = n, .mode = S_IFREG | 0444, .text = t }
#define FILE_SHOW(n, f)	{ .name = n, .mode = S_IFREG | 0444, .show = f }
#define DIR(n, c)	{ .name = n, .mode = S_IFDIR | 0555, .children = c }

static int hostname_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct utsname uts;

	uts_get(&uts);
	seq_printf(s, "%s\n", uts.nodename);
	return 0;
}

static int domainname_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	struct utsname uts;

	uts_get(&uts);
	seq_printf(s, "%s\n", uts.domainname);
	return 0;
}

/* ---- random/ ---- */

static void uuid_make(u8 b[16])
{
	if (getrandom(b, 16, 0) != 16)
		memset(b, 0, 16);
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
}

static void uuid_print(struct seq *s, const u8 b[16])
{
	for (int i = 0; i < 16; i++)
		seq_printf(s, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
	seq_puts(s, "\n");
}

static int uuid_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	u8 b[16];

	uuid_make(b);
	uuid_print(s, b);
	return 0;
}

static u8 boot_id[16];
static pthread_once_t boot_once = PTHREAD_ONCE_INIT;
static void boot_make(void) { uuid_make(boot_id); }

static int boot_id_show(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	pthread_once(&boot_once, boot_make);
	uuid_print(s, boot_id);
	return 0;
}

static const struct pseudo_entry random_names[] = {
	FILE_SHOW("boot_id", boot_id_show),
	FILE_TEXT("entropy_avail", "256\n"),
	FILE_TEXT("poolsize", "256\n"),
	FILE_TEXT("urandom_min_reseed_secs", "60\n"),
	FILE_SHOW("uuid", uuid_show),
	FILE_TEXT("write_wakeup_threshold", "256\n"),
	{ 0 }
};

static const struct pseudo_entry yama_names[] = {
	FILE_TEXT("ptrace_scope", "0\n"),
	{ 0 }
};

static const struct pseudo_entry kernel_names[] = {
	FILE_TEXT("cap_last_cap", "40\n"),
	FILE_TEXT("core_pattern", "core\n"),
	FILE_TEXT("core_uses_pid", "0\n"),
	FILE_SHOW("domainname", domainname_show),
	FILE_SHOW("hostname", hostname_show),
	FILE_TEXT("dmesg_restrict", "1\n"),
	FILE_TEXT("kptr_restrict", "1\n"),
	FILE_TEXT("msgmax", "8192\n"),
	FILE_TEXT("msgmnb", "16384\n"),
	FILE_TEXT("msgmni", "32000\n"),
	FILE_TEXT("ngroups_max", "64\n"),
	FILE_TEXT("osrelease", UTS_RELEASE "\n"),
	FILE_TEXT("ostype", "Linux\n"),
	FILE_TEXT("overflowgid", "65534\n"),
	FILE_TEXT("overflowuid", "65534\n"),
	FILE_TEXT("perf_event_paranoid", "3\n"),
	FILE_TEXT("pid_max", "32768\n"),
	FILE_TEXT("printk", "4\t4\t1\t7\n"),
	DIR("random", random_names),
	FILE_TEXT("randomize_va_space", "2\n"),
	FILE_TEXT("sched_child_runs_first", "0\n"),
	FILE_TEXT("seccomp", ""),
	FILE_TEXT("sem", "32000\t1024000000\t500\t32000\n"),
	FILE_TEXT("shmall", "18446744073692774399\n"),
	FILE_TEXT("shmmax", "18446744073692774399\n"),
	FILE_TEXT("shmmni", "4096\n"),
	FILE_TEXT("tainted", "0\n"),
	FILE_TEXT("threads-max", "4096\n"),
	FILE_TEXT("unprivileged_userns_clone", "0\n"),
	FILE_TEXT("version", UTS_VERSION "\n"),
	DIR("yama", yama_names),
	{ 0 }
};

static const struct pseudo_entry vm_names[] = {
	FILE_TEXT("dirty_background_ratio", "10\n"),
	FILE_TEXT("dirty_ratio", "20\n"),
	FILE_TEXT("max_map_count", "65530\n"),
	FILE_TEXT("min_free_kbytes", "67584\n"),
	FILE_TEXT("mmap_min_addr", "65536\n"),
	FILE_TEXT("nr_hugepages", "0\n"),
	FILE_TEXT("overcommit_memory", "0\n"),
	FILE_TEXT("overcommit_ratio", "50\n"),
	FILE_TEXT("swappiness", "60\n"),
	{ 0 }
};

static const struct pseudo_entry inotify_names[] = {
	FILE_TEXT("max_queued_events", "16384\n"),
	FILE_TEXT("max_user_instances", "128\n"),
	FILE_TEXT("max_user_watches", "65536\n"),
	{ 0 }
};

static const struct pseudo_entry epoll_names[] = {
	FILE_TEXT("max_user_watches", "1048576\n"),
	{ 0 }
};

static const struct pseudo_entry mqueue_names[] = {
	FILE_TEXT("msg_max", "10\n"),
	FILE_TEXT("msgsize_max", "8192\n"),
	FILE_TEXT("queues_max", "256\n"),
	{ 0 }
};

static const struct pseudo_entry fs_names[] = {
	FILE_TEXT("aio-max-nr", "65536\n"),
	FILE_TEXT("aio-nr", "0\n"),
	DIR("epoll", epoll_names),
	FILE_TEXT("file-max", "9223372036854775807\n"),
	FILE_TEXT("file-nr", "0\t0\t9223372036854775807\n"),
	DIR("inotify", inotify_names),
	DIR("mqueue", mqueue_names),
	FILE_TEXT("nr_open", "1048576\n"),
	FILE_TEXT("pipe-max-size", "1048576\n"),
	FILE_TEXT("pipe-user-pages-hard", "0\n"),
	FILE_TEXT("pipe-user-pages-soft", "16384\n"),
	FILE_TEXT("protected_fifos", "0\n"),
	FILE_TEXT("protected_hardlinks", "1\n"),
	FILE_TEXT("protected_regular", "0\n"),
	FILE_TEXT("protected_symlinks", "1\n"),
	FILE_TEXT("suid_dumpable", "0\n"),
	{ 0 }
};

static const struct pseudo_entry net_core_names[] = {
	FILE_TEXT("rmem_default", "212992\n"),
	FILE_TEXT("rmem_max", "212992\n"),
	FILE_TEXT("somaxconn", "4096\n"),
	FILE_TEXT("wmem_default", "212992\n"),
	FILE_TEXT("wmem_max", "212992\n"),
	{ 0 }
};

static const struct pseudo_entry ipv4_names[] = {
	FILE_TEXT("ip_forward", "0\n"),
	FILE_TEXT("ip_local_port_range", "32768\t60999\n"),
	FILE_TEXT("ip_unprivileged_port_start", "1024\n"),
	FILE_TEXT("tcp_fin_timeout", "60\n"),
	FILE_TEXT("tcp_keepalive_time", "7200\n"),
	FILE_TEXT("tcp_max_syn_backlog", "4096\n"),
	FILE_TEXT("tcp_rmem", "4096\t131072\t6291456\n"),
	FILE_TEXT("tcp_wmem", "4096\t16384\t4194304\n"),
	{ 0 }
};

static const struct pseudo_entry unix_names[] = {
	FILE_TEXT("max_dgram_qlen", "512\n"),
	{ 0 }
};

static const struct pseudo_entry net_names[] = {
	DIR("core", net_core_names),
	DIR("ipv4", ipv4_names),
	DIR("unix", unix_names),
	{ 0 }
};

const struct pseudo_entry proc_sys_names[] = {
	DIR("fs", fs_names),
	DIR("kernel", kernel_names),
	DIR("net", net_names),
	DIR("vm", vm_names),
	{ 0 }
};
