/*
 * A guest against the stub that it shares its process with: stub ATTACK. Prints "alive" if its first process gets
 * to the end; what becomes of the children is their own affair.
 */
#include "hostile.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <ucontext.h>

/* ---- finding things ---- */

enum { MAX_SITES = 64, MAX_CHANNELS = 8 };

static uint64_t site[MAX_SITES];
static int nsites;
static uint64_t channel[MAX_CHANNELS];
static int nchannels;

static void find_in(uint64_t start, uint64_t end)
{
	static int seen;

	for (uint64_t page = start; page < end && can_read(page); page += 4096) {
		const uint8_t *p = (const uint8_t *)page;

		seen++;
		for (int i = 0; i < 4095; i++)
			if (p[i] == 0x0f && p[i + 1] == 0x05 && nsites < MAX_SITES)
				site[nsites++] = page + i;
	}
}

static void find_all(void)
{
	catch_faults();
	find_in(STUB_BASE, STUB_LIMIT);
	find_in(PTRACE_IMAGE, PTRACE_IMAGE + 0x1000);
	for (int i = 0; i < 32 && nchannels < MAX_CHANNELS; i++)
		if (can_write(STUB_CHANNELS + (uint64_t)i * CHANNEL_SIZE + CHANNEL_PAGE))
			channel[nchannels++] = STUB_CHANNELS + (uint64_t)i * CHANNEL_SIZE;
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	signal(SIGILL, SIG_DFL);
}

/* A place to misuse even where the platform has no channels. */
static uint64_t any_channel(void)
{
	static uint8_t spare[CHANNEL_SIZE];

	return nchannels ? channel[rnd() % nchannels] : (uint64_t)spare;
}

static struct channel *page_of(uint64_t base)
{
	return (struct channel *)(base + CHANNEL_PAGE);
}

/* ---- what must not be writable ---- */

static void control(void)
{
	static const uint64_t at[] = { STUB_BASE, STUB_FAST_ENTRY, STUB_CONTROL, STUB_CONTROL + CONTROL_RECORDS, STUB_CONTROL + CONTROL_FILTER2,
				       STUB_CONTROL + CONTROL_TABLE, PTRACE_IMAGE, PTRACE_CHANNEL, PTRACE_CHANNEL + 0x1000 };

	catch_faults();
	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		if (can_write(at[i])) {
			printf("%#lx can be written\n", (long)at[i]);
			exit(1);
		}
		/* Nor can the calls that change a mapping reach it. */
		if (!mprotect((void *)(at[i] & ~4095ull), 4096, PROT_READ | PROT_WRITE) || !munmap((void *)(at[i] & ~4095ull), 4096)) {
			printf("%#lx can be changed\n", (long)at[i]);
			exit(1);
		}
	}
}

/* ---- scribbling ---- */

static void scribble_child(uint64_t n)
{
	for (int i = 0; i < 400; i++) {
		uint64_t base = any_channel(), off = n % 2 ? CHANNEL_PAGE + rnd() % 0x200 : rnd() % CHANNEL_SIZE;

		*(volatile uint64_t *)(base + (off & ~7ull)) = rnd() >> rnd() % 64;
		if (i % 4 == 0)
			getppid();
	}
}

static void *make_calls(void *arg)
{
	char byte;
	int fd = open("/dev/zero", O_RDONLY);

	for (;;) {
		getppid();
		if (read(fd, &byte, 1) != 1)
			sched_yield();
		nap_us(1);
	}
	return arg;
}

/* Others make calls while this one moves their words. */
static void forge_child(uint64_t n)
{
	pthread_t th;

	for (int i = 0; i < 3; i++)
		pthread_create(&th, NULL, make_calls, NULL);
	nap_us(2000);
	find_all();
	for (int i = 0; i < 20000; i++) {
		struct channel *ch = page_of(any_channel());

		switch (n % 5 ? rnd() % 8 : 8) {
		case 0: ch->kind = rnd() % 6; break;
		case 1: ch->seq += rnd() % 3; break;
		case 2: ch->frame = rnd() % 2 ? rnd() : rnd() % CHANNEL_ALTSTACK_SIZE & ~7ull; break;
		case 3: ch->info = rnd() % 2 ? rnd() : rnd() % CHANNEL_ALTSTACK_SIZE & ~7ull; break;
		case 4: ch->fs_base = rnd(); break;
		case 5: ch->ack = ch->seq; break;
		case 6: ((uint64_t *)&ch->regs)[rnd() % 27] = rnd() >> rnd() % 64; break;
		case 7: ch->command = rnd() % 6; break;
		case 8:					/* a whole call that was never made: getuid, exit, ... */
			ch->regs.orig_rax = rnd() % 2 ? SYS_getuid : SYS_exit;
			ch->kind = CHANNEL_CALL;
			ch->seq++;
			break;
		}
		if (i % 64 == 0)
			sched_yield();
	}
	_exit(0);
}

/* Frames of calls under way: registers, selectors, flags, masks, the extended state and its size. */
static void frames_child(uint64_t n)
{
	pthread_t th;

	for (int i = 0; i < 3; i++)
		pthread_create(&th, NULL, make_calls, NULL);
	nap_us(2000);
	find_all();
	for (int i = 0; i < 20000; i++) {
		uint64_t base = any_channel(), frame = page_of(base)->frame % CHANNEL_ALTSTACK_SIZE;
		uint64_t off = n % 2 ? frame + rnd() % 3000 : CHANNEL_ALTSTACK_SIZE - rnd() % 5000;

		*(volatile uint64_t *)(base + (off & 0xfff8)) = n % 3 ? rnd() >> rnd() % 64 : 1ull << rnd() % 64;
		if (i % 64 == 0)
			sched_yield();
	}
	_exit(0);
}

/* ---- jumps to the stub's own SYSCALL instructions ---- */

struct call {
	uint64_t nr, arg[6];
};

static const struct call calls[] = {
	{ SYS_mmap, { 0x10000000, 0x1000, 7, MAP_SHARED | MAP_FIXED, 3, 0 } },
	{ SYS_mmap, { 0x10000000, 0x1000, 7, MAP_SHARED | MAP_FIXED, 4, 0 } },
	{ SYS_mmap, { 0x10000000, 0x1000, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1ull, 0 } },
	{ SYS_mprotect, { STUB_CONTROL, 0x1000, 3 } },
	{ SYS_munmap, { STUB_CONTROL, 0x1000 } },
	{ SYS_mremap, { STUB_CONTROL, 0x1000, 0x1000, 3, 0x20000000 } },
	{ SYS_kill, { -1ull, 0 } },
	{ SYS_tgkill, { 1, 1, 0 } },
	{ SYS_ptrace, { 16, 1, 0, 0 } },
	{ SYS_openat, { -100ull, 0, O_RDWR } },
	{ SYS_open, { 0, O_RDWR } },
	{ SYS_socket, { 1, 1, 0 } },
	{ SYS_sendmsg, { 3, 0, 0 } },
	{ SYS_sendmsg, { 4, 0, 0 } },
	{ SYS_sendmsg, { 5, 0, 0 } },
	{ SYS_clone, { STUB_CLONE_FLAGS, 0 } },
	{ SYS_clone, { 17, 0 } },
	{ SYS_clone3, { 0, 64 } },
	{ SYS_clone3, { 1, 0, 0 } },		/* the helper's rendezvous */
	{ SYS_clone3, { STUB_CHANNELS + CHANNEL_PAGE } },	/* parking, unasked */
	{ SYS_fork, { 0 } },
	{ SYS_execve, { 0, 0, 0 } },
	{ SYS_execveat, { 3, 0, 0, 0, 0x1000 } },
	{ SYS_process_vm_writev, { 1, 0, 1, 0, 1, 0 } },
	{ SYS_seccomp, { 1, 8, STUB_CONTROL + CT_FILTER } },
	{ SYS_prctl, { 22, 2, STUB_CONTROL + CT_FILTER } },
	{ SYS_prctl, { 1, 0 } },
	{ SYS_rt_sigaction, { 31, 0, 0, 8 } },
	{ SYS_rt_sigprocmask, { 2, STUB_CONTROL, 0, 8 } },
	{ SYS_sigaltstack, { 0, 0 } },
	{ SYS_rt_sigreturn, { 0 } },
	{ SYS_exit_group, { 0 } },
	{ SYS_close, { 3 } },
	{ SYS_ftruncate, { 3, 0 } },
	{ SYS_pwrite64, { 3, STUB_BASE, 4096, 0 } },
	{ SYS_futex, { STUB_CONTROL, FUTEX_WAKE, 1, 0, 0, 0 } },
	{ SYS_futex, { STUB_CHANNELS + CHANNEL_PAGE + 0x100, FUTEX_CMP_REQUEUE, 1, 1, STUB_CHANNELS, 0 } },
	{ SYS_futex, { STUB_CHANNELS + CHANNEL_PAGE + 0x100, FUTEX_WAKE, 100, 0, 0, 0 } },
	{ SYS_futex, { STUB_CHANNELS + CHANNEL_PAGE + 0x1c0, FUTEX_WAIT, 0, 0, 0, 0 } },	/* sleeps: nobody wakes it */
	{ SYS_io_uring_setup, { 8, 0 } },
	{ SYS_bpf, { 0, 0, 0 } },
	{ 335, { 0 } }, { 336, { 0 } },
	{ 0x40000000 | SYS_getpid, { 0 } },
};
enum { NCALLS = sizeof(calls) / sizeof(*calls) };

static void jump(uint64_t to, const struct call *c)
{
	register uint64_t r10 asm("r10") = c->arg[3], r8 asm("r8") = c->arg[4], r9 asm("r9") = c->arg[5], r11 asm("r11") = to;

	asm volatile("jmp *%%r11" : : "a"(c->nr), "D"(c->arg[0]), "S"(c->arg[1]), "d"(c->arg[2]), "r"(r10), "r"(r8), "r"(r9), "r"(r11)
		     : "memory");
}

static void jump_child(uint64_t n)
{
	jump(site[n / NCALLS], &calls[n % NCALLS]);
}

static uint64_t every = 1;		/* of the jumps, only each so many: under a tracer all of them take minutes */

/* All at once, since some of them only end when they are killed. */
static void jumps(void)
{
	static pid_t pid[MAX_SITES * NCALLS];
	uint64_t n = 0, all = (uint64_t)nsites * NCALLS;

	while (n < all) {
		uint64_t first = n;

		for (; n < all && n < first + 150 * every; n += every) {
			pid[n] = fork();
			if (!pid[n])
				jump_child(n), _exit(0);
		}
		nap_us(100000);
		for (uint64_t i = first; i < n && i < all; i += every)
			if (pid[i] > 0)
				reap(pid[i], 0);
	}
}

/* Not to its calls but anywhere in its code. */
static void anywhere_child(uint64_t n)
{
	struct call c = { rnd() % 460, { any_channel() + CHANNEL_PAGE, rnd() % 100, STUB_CONTROL, 0, 3, 0 } };

	jump(STUB_BASE + rnd() % 0x1000 + (n & 1) * 0x200, &c);
}

/* ---- a signal frame of our own: all signals blocked, then spin or sleep in the stub ---- */

static volatile uint64_t spins;

static void spin_for_ever(void)
{
	for (;;)
		spins++;
}

static uint8_t spin_stack[8192] __attribute__((aligned(16)));

static void mask_child(uint64_t asleep)
{
	static struct { ucontext_t uc; uint8_t room[512]; } f;
	greg_t *g = f.uc.uc_mcontext.gregs;
	const struct call sigreturn = { SYS_rt_sigreturn, { 0 } };
	uint64_t to = nsites ? site[0] : (uint64_t)spin_for_ever;

	memset(&f.uc.uc_sigmask, 0xff, 8);
	f.uc.uc_flags = 6;			/* UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
	g[REG_RIP] = asleep && nsites ? to : (uint64_t)spin_for_ever;
	g[REG_RAX] = SYS_futex;
	g[REG_RDI] = any_channel() + CHANNEL_PAGE + 0x1c0;
	g[REG_RSI] = FUTEX_WAIT;
	g[REG_RDX] = *(uint32_t *)g[REG_RDI];
	g[REG_RSP] = (uint64_t)(spin_stack + sizeof(spin_stack) - 8);
	g[REG_CSGSFS] = 0x33 | 0x2bull << 48;
	g[REG_EFL] = 0x202;
	asm volatile("mov %0, %%rsp; jmp *%1" : : "r"(&f.uc), "r"(to), "a"(sigreturn.nr) : "memory");
}

static void leave(void)
{
	for (;;)
		syscall(SYS_exit_group, 0);
}

/* Ends in good order, but leaves its thread with another signal stack (in its channel, or none) and signal mask than it had. */
static void altstack_child(uint64_t n)
{
	static struct { ucontext_t uc; uint8_t room[512]; } f;
	greg_t *g = f.uc.uc_mcontext.gregs;

	if (!nsites || !nchannels)
		return;
	*(uint64_t *)&f.uc.uc_sigmask = rnd() & ~0x400004d8ull;	/* not those that a fault or a call raises */
	f.uc.uc_flags = 6;
	f.uc.uc_stack.ss_sp = (void *)channel[0];
	f.uc.uc_stack.ss_size = 0x4000 + (rnd() % 0x8000 & ~63ull);
	f.uc.uc_stack.ss_flags = n % 8 == 7 ? SS_DISABLE : 0;
	g[REG_RIP] = (uint64_t)leave;
	g[REG_RSP] = (uint64_t)(spin_stack + sizeof(spin_stack) - 8);
	g[REG_CSGSFS] = 0x33 | 0x2bull << 48;
	g[REG_EFL] = 0x202;
	asm volatile("mov %0, %%rsp; jmp *%1" : : "r"(&f.uc), "r"(site[0]), "a"(SYS_rt_sigreturn) : "memory");
}

static void selectors_child(uint64_t n)
{
	static struct { ucontext_t uc; uint8_t room[512]; } f;
	greg_t *g = f.uc.uc_mcontext.gregs;

	memset(&f.uc.uc_sigmask, n & 1 ? 0xff : 0, 8);
	f.uc.uc_flags = rnd() % 8;
	g[REG_RIP] = (uint64_t)spin_for_ever;
	g[REG_RSP] = (uint64_t)(spin_stack + sizeof(spin_stack) - 8);
	g[REG_CSGSFS] = rnd() % 4 ? 0x23 | 0x2bull << 48 : rnd();
	g[REG_EFL] = rnd() % 2 ? rnd() : 0x4d502;	/* AC NT DF TF IF */
	if (n % 3 == 0)
		f.uc.uc_mcontext.fpregs = (void *)(any_channel() + (rnd() % CHANNEL_SIZE & ~63ull));
	asm volatile("mov %0, %%rsp; jmp *%1" : : "r"(&f.uc), "r"(nsites ? site[0] : (uint64_t)spin_for_ever), "a"(SYS_rt_sigreturn) : "memory");
}

/* ---- the list ---- */

struct attack {
	const char *name;
	void (*child)(uint64_t);
	int children, ms;
	void (*all)(void);
};

static const struct attack attacks[] = {
	{ .name = "control", .all = control },
	{ .name = "jump", .all = jumps },
	{ .name = "scribble", .child = scribble_child, .children = 40, .ms = 200 },
	{ .name = "forge", .child = forge_child, .children = 15, .ms = 300 },
	{ .name = "frames", .child = frames_child, .children = 40, .ms = 300 },
	{ .name = "anywhere", .child = anywhere_child, .children = 150, .ms = 20 },
	{ .name = "mask", .child = mask_child, .children = 2, .ms = 100 },
	{ .name = "altstack", .child = altstack_child, .children = 60, .ms = 20 },
	{ .name = "selectors", .child = selectors_child, .children = 40, .ms = 20 },
	{ .name = "calls", .child = NULL },
	{ .name = "spin", .child = NULL },
};

/* Every call there is, from here: for a look at the host from outside. */
static void all_calls(void)
{
	static uint8_t buffer[65536];

	for (long nr = 0; nr < 470; nr++) {
		pid_t pid = fork();

		if (!pid) {
			alarm(1);
			syscall(nr, buffer, buffer, 16, buffer, buffer, 0);
			_exit(0);
		}
		reap(pid, 300);
	}
}

static void run(const struct attack *a)
{
	if (a->all)
		a->all();
	else if (!strcmp(a->name, "spin"))	/* as the first process itself: only its end ends it */
		mask_child(0);
	else if (!strcmp(a->name, "calls"))
		all_calls();
	for (int i = 0; i < a->children; i++)
		attempt(a->child, i, a->ms);
}

int main(int argc, char **argv)
{
	const pid_t self = getpid();

	refuse_outside();
	find_all();
	if (argc == 3 && atoi(argv[2]) > 0)
		every = (uint64_t)atoi(argv[--argc]);
	for (size_t i = 0; argc == 2 && i < sizeof(attacks) / sizeof(*attacks); i++)
		if (!strcmp(argv[1], attacks[i].name)) {
			run(&attacks[i]);
			if (getpid() == self)	/* a child's jump may come back anywhere in its program */
				printf("alive\n");
			return 0;
		}
	fprintf(stderr, "stub ATTACK [EVERY]\n");
	return 2;
}
