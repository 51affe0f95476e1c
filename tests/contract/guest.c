/* Making and running the suite's guests. */
#include "tests/contract/contract.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* rdi: address, rsi: value. Loads come back in rbx. */
GUEST_CODE(accessors,
	"mov (%rdi), %rbx\n"
	"syscall\n"
	".balign 16\n"
	"mov %rsi, (%rdi)\n"
	"syscall\n");
enum { LOAD = 0, STORE = 16 };

void guest_init_regs(struct guest *g)
{
	g->regs = (struct guest_regs){ .rip = CODE, .rsp = STACK + STACK_SIZE - 64, .cs = 0x33, .ss = 0x2b, .eflags = 0x202,
				       .orig_rax = ~(u64)0 };
}

void guest_map(struct guest *g, gva_t addr, u64 npages, enum access prot, u64 offset)
{
	CHECK_EQ(P->as_map(g->as, addr, npages * PAGE_SIZE, prot, &mem, offset, AS_MAP_POPULATE), 0);
}

void guest_create(struct guest *g, const u8 *code, const u8 *end)
{
	memset(g, 0, sizeof(*g));
	CHECK_EQ(P->as_create(&g->as), 0);
	CHECK_EQ(P->context_create(&g->ctx), 0);
	g->code = mem_alloc(1);
	memcpy(mem_ptr(g->code), code, end - code);
	guest_map(g, CODE, 1, RX, g->code);
	guest_map(g, STACK, STACK_SIZE / PAGE_SIZE, RW, mem_alloc(STACK_SIZE / PAGE_SIZE));
	guest_init_regs(g);
}

void guest_code(struct guest *g, const u8 *code, const u8 *end)
{
	memset(mem_ptr(g->code), 0xcc, PAGE_SIZE);
	memcpy(mem_ptr(g->code), code, end - code);
	guest_init_regs(g);
}

void guest_join(struct guest *g, struct guest *other)
{
	*g = (struct guest){ .as = other->as, .code = other->code };
	CHECK_EQ(P->context_create(&g->ctx), 0);
	guest_init_regs(g);
}

void guest_destroy(struct guest *g)
{
	P->context_destroy(g->ctx);
	P->as_destroy(g->as);
}

enum event_kind guest_switch(struct guest *g)
{
	memset(&g->ev, 0xee, sizeof(g->ev));
	CHECK_EQ(P->switch_to(g->ctx, g->as, &g->regs, &g->ev), 0);
	return g->ev.kind;
}

enum event_kind guest_run(struct guest *g)
{
	enum event_kind kind;

	do {
		kind = guest_switch(g);
	} while (kind == EVENT_INTERRUPT || kind == EVENT_PREEMPT);
	return kind;
}

static bool access_at(struct guest *g, u64 entry, gva_t addr, u64 value)
{
	enum event_kind kind;

	g->regs.rip = CODE + entry;
	g->regs.rdi = addr;
	g->regs.rsi = value;
	kind = guest_run(g);
	CHECK(kind == EVENT_SYSCALL || kind == EVENT_FAULT);
	return kind == EVENT_SYSCALL;
}

bool guest_load(struct guest *g, gva_t addr, u64 *value)
{
	bool ok = access_at(g, LOAD, addr, 0);

	*value = g->regs.rbx;
	return ok;
}

bool guest_store(struct guest *g, gva_t addr, u64 value) { return access_at(g, STORE, addr, value); }

void guest_expect_fault(struct guest *g, gva_t addr, enum access want)
{
	CHECK_EQ(g->ev.kind, EVENT_FAULT);
	CHECK_EQ(g->ev.addr, addr);
	CHECK_EQ(g->ev.access, want);
	CHECK_EQ(g->ev.trapno, 14);
	CHECK_EQ(!!(g->ev.error_code & 2), want == ACCESS_WRITE);
	CHECK_EQ(!!(g->ev.error_code & 16), want == ACCESS_EXEC);
}

static int count_dir(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

int count_fds(void) { return count_dir("/proc/self/fd") - 1; }

int count_children(void)
{
	char path[300], line[64];
	struct dirent *e;
	DIR *d = opendir("/proc/self/task");
	FILE *f;
	int n = 0;

	CHECK(d);
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/children", e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!f)
			continue;
		while (fscanf(f, "%63s", line) == 1)
			n++;
		fclose(f);
	}
	closedir(d);
	return n;
}
