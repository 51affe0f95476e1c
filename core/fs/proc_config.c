/*
 * /proc/config.gz: what this kernel can do, in the words of Linux's own configuration, for programs that ask there
 * before they use something. A gzip file of one stored block: packing a kilobyte is worth no library.
 */
#include <string.h>

#include "fs/proc.h"
#include "lib/version.h"

#define ON(name)	"CONFIG_" name "=y\n"
#define OFF(name)	"# CONFIG_" name " is not set\n"

static const char text[] =
	"#\n# Linux/x86 " UTS_RELEASE " Kernel Configuration\n#\n"
	ON("X86_64") ON("64BIT") ON("X86") ON("MMU") ON("SMP") "CONFIG_HZ=100\n" "CONFIG_NR_CPUS=1024\n"
	"CONFIG_PGTABLE_LEVELS=4\n" "CONFIG_DEFAULT_MMAP_MIN_ADDR=65536\n"
	ON("MULTIUSER") ON("POSIX_TIMERS") ON("HIGH_RES_TIMERS") ON("FUTEX") ON("FUTEX_PI")
	ON("EPOLL") ON("AIO") ON("SIGNALFD") ON("TIMERFD") ON("EVENTFD") ON("INOTIFY_USER") ON("FILE_LOCKING")
	ON("SYSVIPC") ON("POSIX_MQUEUE") ON("SECCOMP") ON("SECCOMP_FILTER")
	ON("SHMEM") ON("TMPFS") ON("TMPFS_XATTR") ON("MEMFD_CREATE") ON("ADVISE_SYSCALLS") ON("MEMBARRIER") ON("KCMP")
	ON("CROSS_MEMORY_ATTACH") ON("PROC_FS") ON("PROC_SYSCTL") ON("SYSFS") ON("DEVTMPFS") ON("OVERLAY_FS")
	ON("BINFMT_ELF") ON("BINFMT_SCRIPT") ON("NET") ON("UNIX") ON("INET") ON("IPV6") ON("IKCONFIG") ON("IKCONFIG_PROC")
	ON("UNIX98_PTYS") ON("TTY") ON("PRINTK") ON("HUGETLBFS") ON("BLK_DEV") ON("BLK_DEV_LOOP")
	OFF("USER_NS") OFF("PID_NS") OFF("NET_NS") OFF("IPC_NS") OFF("UTS_NS") OFF("TIME_NS") OFF("CGROUPS")
	OFF("IO_URING") OFF("USERFAULTFD") OFF("BPF_SYSCALL") OFF("PERF_EVENTS") OFF("KEYS") OFF("FANOTIFY") OFF("QUOTA")
	OFF("MODULES") OFF("SWAP") OFF("BSD_PROCESS_ACCT") OFF("NUMA") OFF("MEMORY_FAILURE")
	OFF("BLK_DEV_RAM") OFF("KEXEC") OFF("SECURITY") OFF("RELOCATABLE") OFF("MODIFY_LDT_SYSCALL");

_Static_assert(sizeof(text) - 1 <= 65535, "one stored block");

static u32 crc32(const char *data, size_t len)
{
	u32 crc = ~0u;

	for (size_t i = 0; i < len; i++) {
		crc ^= (u8)data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

int proc_config(struct seq *s, const struct pseudo *p, struct task *viewer)
{
	static const u8 head[10] = { 0x1f, 0x8b, 8, [9] = 3 };		/* deflate, no time, Unix */
	const u16 len = sizeof(text) - 1;
	const u16 not_len = ~len;
	const u32 tail[2] = { crc32(text, len), len };

	seq_write(s, head, sizeof(head));
	seq_write(s, "\1", 1);						/* the last block, stored */
	seq_write(s, &len, sizeof(len));
	seq_write(s, &not_len, sizeof(not_len));
	seq_write(s, text, len);
	seq_write(s, tail, sizeof(tail));
	return 0;
}
