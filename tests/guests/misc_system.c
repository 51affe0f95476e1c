/* The system as a whole: uname, sysinfo, getrandom, getcpu. */
#include <sched.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "check.h"

int main(void)
{
	static unsigned char a[70000], b[70000];
	unsigned int cpu = ~0u, node = ~0u, major = 0, minor = 0;
	struct sysinfo si;
	struct utsname u;
	char host[65];
	int zeros = 0;

	CHECK(uname(&u) == 0);
	CHECK(!strcmp(u.sysname, "Linux") && !strcmp(u.machine, "x86_64"));
	CHECK(sscanf(u.release, "%u.%u", &major, &minor) == 2 && (major > 5 || (major == 5 && minor >= 15)));
	CHECK(gethostname(host, sizeof(host)) == 0 && !strcmp(host, u.nodename));
	CHECK_ERRNO(syscall(SYS_uname, 8), EFAULT);

	CHECK(sysinfo(&si) == 0);
	CHECK(si.totalram > 0 && si.freeram <= si.totalram && si.mem_unit >= 1 && si.uptime > 0 && si.procs > 0);
	CHECK_ERRNO(syscall(SYS_sysinfo, 8), EFAULT);

	CHECK(getrandom(a, sizeof(a), 0) == sizeof(a));
	CHECK(getrandom(b, sizeof(b), GRND_NONBLOCK) == sizeof(b));
	CHECK(memcmp(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++)
		zeros += !a[i];
	CHECK(zeros > 150 && zeros < 450);
	CHECK(getrandom(a, 0, 0) == 0);
	CHECK_ERRNO(getrandom(a, 8, 0x80), EINVAL);
	CHECK_ERRNO(getrandom(a, 8, GRND_RANDOM | 4), EINVAL);
	CHECK_ERRNO(syscall(SYS_getrandom, 8, 8, 0), EFAULT);

	CHECK(sched_getcpu() >= 0 && sched_getcpu() < 4096);
	CHECK(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && cpu < 4096 && node < 4096);
	CHECK(syscall(SYS_getcpu, NULL, NULL, NULL) == 0);
	CHECK_ERRNO(syscall(SYS_getcpu, 8, NULL, NULL), EFAULT);
	CHECK_ERRNO(syscall(SYS_syslog, 99, NULL, 0), EINVAL);
	CHECK_ERRNO(syscall(470, 0), ENOSYS);
	puts("system fine");
	return 0;
}
