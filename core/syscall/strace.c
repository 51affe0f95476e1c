/*
 * --strace: the guest's calls on stderr, a line each, when they return.
 *
 * Arguments are printed from the letters in the table. Strings and buffers are read from the guest again, after the
 * call: good enough for people, and never used for anything else.
 */
#include "syscall/syscall.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/signal.h"

bool strace_on;

struct line {
	char text[768];
	size_t len;
};

static _Thread_local struct line pending;	/* arguments of a call that replaces or ends the task */

__attribute__((format(printf, 2, 3))) static void put(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, sizeof(l->text) - l->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->len = MIN(l->len + n, sizeof(l->text) - 1);
}

static void put_bytes(struct line *l, const char *s, size_t n, bool more)
{
	put(l, "\"");
	for (size_t i = 0; i < n; i++) {
		unsigned char c = s[i];

		if (c == '\n')
			put(l, "\\n");
		else if (c == '"' || c == '\\')
			put(l, "\\%c", c);
		else if (isprint(c))
			put(l, "%c", c);
		else
			put(l, "\\x%02x", c);
	}
	put(l, more ? "\"..." : "\"");
}

static void put_string(struct line *l, struct task *t, gva_t addr)
{
	char s[128];
	s64 n = addr ? copy_in_str(t->mm, s, addr, sizeof(s)) : -EFAULT;

	if (n == -ENAMETOOLONG)
		put_bytes(l, s, sizeof(s) - 1, true);
	else if (n < 0)
		put(l, "0x%llx", (unsigned long long)addr);
	else
		put_bytes(l, s, n, false);
}

static void put_buffer(struct line *l, struct task *t, gva_t addr, s64 len)
{
	char s[32];
	s64 n = MIN(len, (s64)sizeof(s));

	if (n <= 0 || copy_in(t->mm, s, addr, n))
		put(l, "0x%llx", (unsigned long long)addr);
	else
		put_bytes(l, s, n, len > n);
}

static void put_open_flags(struct line *l, u64 f)
{
	static const char *const mode[] = { "O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE" };
	static const struct { u32 bit; const char *name; } bits[] = {
		{ O_CREAT, "O_CREAT" }, { O_EXCL, "O_EXCL" }, { O_TRUNC, "O_TRUNC" }, { O_APPEND, "O_APPEND" },
		{ O_NONBLOCK, "O_NONBLOCK" }, { O_CLOEXEC, "O_CLOEXEC" }, { O_DIRECTORY, "O_DIRECTORY" },
		{ O_NOFOLLOW, "O_NOFOLLOW" }, { O_PATH, "O_PATH" },
	};

	put(l, "%s", mode[f & O_ACCMODE]);
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (f & bits[i].bit)
			put(l, "|%s", bits[i].name);
}

static void put_prot(struct line *l, u64 p)
{
	put(l, "%s%s%s", p & 1 ? "r" : "-", p & 2 ? "w" : "-", p & 4 ? "x" : "-");
}

static void put_arg(struct line *l, struct task *t, char letter, const u64 *arg, int i, long result)
{
	switch (letter) {
	case 'd': case 'f':
		put(l, (int)arg[i] == AT_FDCWD ? "AT_FDCWD" : "%d", (int)arg[i]);
		break;
	case 'u':
		put(l, "%llu", (unsigned long long)arg[i]);
		break;
	case 'o':
		put(l, "0%llo", (unsigned long long)arg[i]);
		break;
	case 's':
		put_string(l, t, arg[i]);
		break;
	case 'b':
		put_buffer(l, t, arg[i], t->syscall_nr == SYS_read || t->syscall_nr == SYS_pread64 ? result : (s64)arg[i + 1]);
		break;
	case 'F':
		put_open_flags(l, arg[i]);
		break;
	case 'P':
		put_prot(l, arg[i]);
		break;
	case 'S':
		put(l, "SIG%s", (int)arg[i] > 0 && sigabbrev_np((int)arg[i]) ? sigabbrev_np((int)arg[i]) : "?");
		break;
	default:
		put(l, "0x%llx", (unsigned long long)arg[i]);
	}
}

static void put_call(struct line *l, struct task *t, const struct syscall_entry *e, const u64 *arg, long result)
{
	put(l, "[%d] %s(", t->tid, e->name);
	for (int i = 0; i < 6 && e->args[i]; i++) {
		put(l, i ? ", " : "");
		put_arg(l, t, e->args[i], arg, i, result);
	}
	put(l, ")");
}

static void put_result(struct line *l, long result)
{
	if (result < 0 && result >= -4095) {
		const char *name = strerrorname_np(-result);

		put(l, " = -1 %s", name ? name : result == -ERESTARTSYS ? "ERESTARTSYS" : "ERESTART");
	} else if (result > 0x100000) {
		put(l, " = 0x%lx", result);
	} else {
		put(l, " = %ld", result);
	}
}

static bool replaces_task(int nr)
{
	return nr == SYS_execve || nr == SYS_execveat || nr == SYS_exit || nr == SYS_exit_group;
}

void strace_enter(struct task *t, const struct syscall_entry *e, const u64 *arg)
{
	pending.len = 0;
	if (!replaces_task(t->syscall_nr))
		return;
	put_call(&pending, t, e, arg, 0);
	if (t->syscall_nr == SYS_exit || t->syscall_nr == SYS_exit_group)
		log_line(LOG_INFO, "%s", pending.text);
}

void strace_exit(struct task *t, const struct syscall_entry *e, const u64 *arg, long result)
{
	struct line l = { .len = 0 };

	if (t->syscall_nr == SYS_exit || t->syscall_nr == SYS_exit_group)
		return;
	if (pending.len)
		l = pending;
	else
		put_call(&l, t, e, arg, result);
	put_result(&l, result);
	log_line(LOG_INFO, "%s", l.text);
}

void strace_signal(struct task *t, const union guest_siginfo *info)
{
	const siginfo_t *si = &info->si;
	const char *name = sigabbrev_np(si->si_signo);
	char number[16];

	snprintf(number, sizeof(number), "RT_%d", si->si_signo - GUEST_SIGRTMIN);
	if (si->si_code > 0 && si->si_signo != SIGCHLD)
		log_line(LOG_INFO, "[%d] --- SIG%s code=%d addr=%p ---", t->tid, name ? name : number, si->si_code, si->si_addr);
	else
		log_line(LOG_INFO, "[%d] --- SIG%s code=%d pid=%d ---", t->tid, name ? name : number, si->si_code, si->si_pid);
}
