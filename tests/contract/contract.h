/* The conformance suite over core/platform.h: a case is a function; a guest is a few instructions copied into a page. */
#ifndef TG_TESTS_CONTRACT_H
#define TG_TESTS_CONTRACT_H

#include "platform.h"

struct contract_case {
	const char *name;
	void (*run)(void);
};

/* Tables of the files; each ends with .name == NULL. */
extern const struct contract_case memory_cases[], fault_cases[], register_cases[], exception_cases[], interrupt_cases[],
	space_cases[], life_cases[], hostile_cases[], large_cases[],
	huge_cases[];		/* with a memory file in huge pages of the host, or skipped */

/* ---- what every case has ---- */

extern const struct platform_ops *P;		/* the platform under test, initialised */
extern struct backing mem;			/* the memory file, sparse */

u64 mem_alloc(u64 npages);			/* zeroed pages of the memory file; never freed */
static inline void *mem_ptr(u64 offset) { return mem.base + offset; }
void platform_start(void);			/* init, which the runner has done already for each case */

/* Ends the case: it failed. */
#define CHECK(cond) ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))
#define CHECK_EQ(a, b) check_equal(__FILE__, __LINE__, #a, (u64)(a), (u64)(b))
_Noreturn void check_failed(const char *file, int line, const char *what);
void check_equal(const char *file, int line, const char *what, u64 got, u64 want);
_Noreturn void skip(const char *why);

/* ---- guests ---- */

#define RW ((enum access)(ACCESS_READ | ACCESS_WRITE))
#define RX ((enum access)(ACCESS_READ | ACCESS_EXEC))

#define GUEST_CODE(name, code)                                                                                         \
	__asm__(".pushsection .rodata\n.globl " #name ", " #name "_end\n" #name ":\n" code "\n" #name "_end:\n"        \
		".popsection");                                                                                        \
	extern const u8 name[], name##_end[]

enum { CODE = 0x400000, STACK = 0x800000, STACK_SIZE = 0x4000, DATA = 0x10000000 };

struct guest {
	struct address_space *as;
	struct context *ctx;
	struct guest_regs regs;
	struct event ev;
	u64 code;				/* memory file offset of the page at CODE */
};

/* New address space and context, `len` bytes of code at CODE, a stack; registers as after exec. */
void guest_create(struct guest *g, const u8 *code, const u8 *end);
#define guest_start(g, name) guest_create(g, name, name##_end)
void guest_destroy(struct guest *g);
void guest_init_regs(struct guest *g);		/* rip CODE, rsp STACK's top, everything else as after exec */
/* A second context in the same address space; call on the thread that will run it. */
void guest_join(struct guest *g, struct guest *other);

void guest_map(struct guest *g, gva_t addr, u64 npages, enum access prot, u64 offset);
void guest_code(struct guest *g, const u8 *code, const u8 *end);	/* replace what stands at CODE, and start it */
#define guest_run_code(g, name) (guest_code(g, name, name##_end), guest_run(g))

enum event_kind guest_switch(struct guest *g);	/* one switch */
enum event_kind guest_run(struct guest *g);	/* until it is neither PREEMPT nor INTERRUPT */

/* Guests that start with `accessors` only. False: a fault, in g->ev. */
extern const u8 accessors[], accessors_end[];
bool guest_load(struct guest *g, gva_t addr, u64 *value);
bool guest_store(struct guest *g, gva_t addr, u64 value);
void guest_expect_fault(struct guest *g, gva_t addr, enum access want);

int count_children(void);			/* processes whose parent this one is, zombies too */
int count_fds(void);

#endif
