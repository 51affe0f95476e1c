/* /proc/sys: what programs ask for. Names come from uts, limits are what this kernel keeps; numbers: fs/sysctl.h. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "fs/proc.h"
#include "fs/sysctl.h"
#include "ipc/ipc.h"
#include "lib/version.h"
#include "syscall/uts.h"

#define FILE_TEXT(n, t)	{ .name = n, .mode = S_IFREG | 0444, .text = t }
#define FILE_SHOW(n, f)	{ .name = n, .mode = S_IFREG | 0444, .show = f }
#define FILE_NAME(n, f, which)	{ .name = n, .mode = S_IFREG | 0644, .arg = which, .show = f, .store = name_store }
#define DIR(n, c)	{ .name = n, .mode = S_IFDIR | 0555, .children = c }

struct sysctl sysctl_aio_max_nr = { 65536, 0, 1 << 20 };
struct sysctl sysctl_inotify_events = { 16384, 0, INT_MAX };
struct sysctl sysctl_inotify_instances = { 128, 0, INT_MAX };
struct sysctl sysctl_inotify_watches = { 65536, 0, INT_MAX };
struct sysctl sysctl_msgmax = { MSG_MAX, 0, 1 << 20 };
struct sysctl sysctl_msgmnb = { MSG_MNB, 0, 1 << 24 };
struct sysctl sysctl_shmmax = { SHM_MAX, 0, -1 };
struct sysctl sysctl_lease_break_time = { 45, 0, INT_MAX };
struct sysctl sysctl_pipe_max_size = { 1 << 20, PAGE_SIZE, 1 << 20 };
struct sysctl sysctl_nr_open = { 1 << 20, 8, 1 << 20 };
struct sysctl sysctl_pid_max = { PID_MAX, 301, PID_MAX };
struct sysctl sysctl_ns_last_pid = { 0, 0, PID_MAX };
struct sysctl sysctl_threads_max = { 4096, 20, 4096 };

/* Without effect here. */
static struct sysctl dirty_background_ratio = { 10, 0, 100 }, dirty_ratio = { 20, 0, 100 };
static struct sysctl max_map_count = { 65530, 0, INT_MAX }, min_free_kbytes = { 67584, 0, INT_MAX };
static struct sysctl overcommit_memory = { 0, 0, 2 }, overcommit_ratio = { 50, 0, INT_MAX };
static struct sysctl panic_on_oom = { 0, 0, 2 }, swappiness = { 60, 0, 200 }, vfs_cache_pressure = { 100, 0, INT_MAX };
static struct sysctl core_uses_pid = { 0, 0, 1 }, printk_ratelimit = { 5, 0, INT_MAX };
static struct sysctl sched_child_runs_first = { 0, 0, 1 }, sched_rt_period_us = { 1000000, 1, INT_MAX };
static struct sysctl sched_rt_runtime_us = { 950000, -1, INT_MAX }, sched_rr_timeslice_ms = { 100, 0, INT_MAX };

/* A write makes the kernel do something that has no meaning here: it is taken, and nothing is done. */
static s64 trigger_store(const struct pseudo *p, struct task *t, const char *data, size_t len)
{
	return len;
}

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

static s64 name_store(const struct pseudo *p, struct task *t, const char *data, size_t len)
{
	size_t n = strcspn(data, "\n");

	return uts_set(t, p->e->arg, data, MIN(n, (size_t)UTS_LEN)) ? -EPERM : (s64)len;
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
	SYSCTL("core_uses_pid", core_uses_pid),
	FILE_NAME("domainname", domainname_show, UTS_DOMAIN),
	FILE_NAME("hostname", hostname_show, UTS_NODE),
	FILE_TEXT("dmesg_restrict", "1\n"),
	FILE_TEXT("kptr_restrict", "1\n"),
	SYSCTL("msgmax", sysctl_msgmax),
	SYSCTL("msgmnb", sysctl_msgmnb),
	SYSCTL("msgmni", msg_table.max),
	FILE_TEXT("ngroups_max", "64\n"),
	FILE_TEXT("osrelease", UTS_RELEASE "\n"),
	SYSCTL("ns_last_pid", sysctl_ns_last_pid),
	FILE_TEXT("ostype", "Linux\n"),
	FILE_TEXT("overflowgid", "65534\n"),
	FILE_TEXT("overflowuid", "65534\n"),
	FILE_TEXT("perf_event_paranoid", "3\n"),
	SYSCTL("pid_max", sysctl_pid_max),
	FILE_TEXT("printk", "4\t4\t1\t7\n"),
	DIR("random", random_names),
	FILE_TEXT("randomize_va_space", "2\n"),
	FILE_TEXT("printk_ratelimit_burst", "10\n"),
	SYSCTL("printk_ratelimit", printk_ratelimit),
	SYSCTL("sched_child_runs_first", sched_child_runs_first),
	SYSCTL("sched_rr_timeslice_ms", sched_rr_timeslice_ms),
	SYSCTL("sched_rt_period_us", sched_rt_period_us),
	SYSCTL("sched_rt_runtime_us", sched_rt_runtime_us),
	FILE_TEXT("seccomp", ""),
	FILE_TEXT("sem", "32000\t1024000000\t500\t32000\n"),
	FILE_TEXT("shmall", "18446744073692774399\n"),
	SYSCTL("shmmax", sysctl_shmmax),
	SYSCTL("shmmni", shm_table.max),
	FILE_TEXT("tainted", "0\n"),
	SYSCTL("threads-max", sysctl_threads_max),
	FILE_TEXT("unprivileged_userns_clone", "0\n"),
	FILE_TEXT("version", UTS_VERSION "\n"),
	DIR("yama", yama_names),
	{ 0 }
};

/* As many as could be set aside: none. */
#define HUGEPAGES(n)	{ .name = n, .mode = S_IFREG | 0644, .text = "0\n", .store = trigger_store }
#define TRIGGER(n, m)	{ .name = n, .mode = S_IFREG | (m), .text = "", .store = trigger_store }

static const struct pseudo_entry vm_names[] = {
	TRIGGER("compact_memory", 0200),
	SYSCTL("dirty_background_ratio", dirty_background_ratio),
	SYSCTL("dirty_ratio", dirty_ratio),
	TRIGGER("drop_caches", 0200),
	SYSCTL("max_map_count", max_map_count),
	SYSCTL("min_free_kbytes", min_free_kbytes),
	FILE_TEXT("mmap_min_addr", "65536\n"),
	HUGEPAGES("nr_hugepages"),
	HUGEPAGES("nr_overcommit_hugepages"),
	SYSCTL("overcommit_memory", overcommit_memory),
	SYSCTL("overcommit_ratio", overcommit_ratio),
	SYSCTL("panic_on_oom", panic_on_oom),
	TRIGGER("stat_refresh", 0600),
	SYSCTL("swappiness", swappiness),
	SYSCTL("vfs_cache_pressure", vfs_cache_pressure),
	{ 0 }
};

static const struct pseudo_entry inotify_names[] = {
	SYSCTL("max_queued_events", sysctl_inotify_events),
	SYSCTL("max_user_instances", sysctl_inotify_instances),
	SYSCTL("max_user_watches", sysctl_inotify_watches),
	{ 0 }
};

static const struct pseudo_entry epoll_names[] = {
	FILE_TEXT("max_user_watches", "1048576\n"),
	{ 0 }
};

static const struct pseudo_entry mqueue_names[] = {
	SYSCTL("msg_default", sysctl_mq_msgs_default),
	SYSCTL("msg_max", sysctl_mq_msgs),
	SYSCTL("msgsize_default", sysctl_mq_msgsize_default),
	SYSCTL("msgsize_max", sysctl_mq_msgsize),
	SYSCTL("queues_max", sysctl_mq_queues),
	{ 0 }
};

static const struct pseudo_entry fs_names[] = {
	SYSCTL("aio-max-nr", sysctl_aio_max_nr),
	FILE_TEXT("aio-nr", "0\n"),
	DIR("epoll", epoll_names),
	FILE_TEXT("file-max", "9223372036854775807\n"),
	FILE_TEXT("file-nr", "0\t0\t9223372036854775807\n"),
	DIR("inotify", inotify_names),
	SYSCTL("lease-break-time", sysctl_lease_break_time),
	DIR("mqueue", mqueue_names),
	SYSCTL("nr_open", sysctl_nr_open),
	SYSCTL("pipe-max-size", sysctl_pipe_max_size),
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
