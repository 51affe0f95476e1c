/* Many contexts in one address space, many address spaces, moves between them, and what a sibling may still see. */
#include "tests/contract/contract.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* rdi: a counter of its own; the call's number says when it has counted rsi times. */
GUEST_CODE(count_up, "1: lock incq (%rdi); lock incq (%rdx); dec %rsi; jnz 1b; syscall");

static struct guest shared;

enum { CONTEXTS = 24, SPACES = 24, ROUNDS = 50 };

static void *run_counter(void *arg)
{
	const u64 nr = (u64)arg;
	struct guest g;

	guest_join(&g, &shared);
	for (int i = 0; i < ROUNDS; i++) {
		guest_init_regs(&g);
		g.regs.rsp = 0;
		g.regs.rax = nr;
		g.regs.rdi = DATA + nr * 8;
		g.regs.rdx = DATA + 0x800;
		g.regs.rsi = 100;
		CHECK_EQ(guest_run(&g), EVENT_SYSCALL);
		CHECK_EQ(g.regs.orig_rax, nr);
		CHECK_EQ(g.regs.rsi, 0);
	}
	P->context_destroy(g.ctx);
	return NULL;
}

static void many_contexts(void)
{
	u64 page = mem_alloc(1), *words = mem_ptr(page);
	pthread_t th[CONTEXTS];

	guest_start(&shared, count_up);
	guest_map(&shared, DATA, 1, RW, page);
	for (u64 i = 0; i < CONTEXTS; i++)
		CHECK(!pthread_create(&th[i], NULL, run_counter, (void *)i));
	for (int i = 0; i < CONTEXTS; i++)
		CHECK(!pthread_join(th[i], NULL));
	for (int i = 0; i < CONTEXTS; i++)
		CHECK_EQ(words[i], ROUNDS * 100);
	CHECK_EQ(words[0x100], CONTEXTS * ROUNDS * 100);
	guest_destroy(&shared);
}

/* The same addresses show each space its own. */
static void many_spaces(void)
{
	struct guest g[SPACES];
	u64 page[SPACES], value;

	for (int i = 0; i < SPACES; i++) {
		guest_start(&g[i], accessors);
		page[i] = mem_alloc(1);
		guest_map(&g[i], DATA, 1, RW, page[i]);
	}
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < SPACES; i++)
			CHECK(guest_store(&g[i], DATA + 8 * round, i * 1000 + round));
	for (int i = 0; i < SPACES; i++) {
		CHECK(guest_load(&g[i], DATA + 16, &value));
		CHECK_EQ(value, i * 1000 + 2);
		CHECK_EQ(((u64 *)mem_ptr(page[i]))[1], i * 1000 + 1);
	}
	CHECK_EQ(P->as_unmap(g[3].as, DATA, PAGE_SIZE), 0);
	CHECK(!guest_load(&g[3], DATA, &value));
	CHECK(guest_load(&g[4], DATA, &value));
	for (int i = 0; i < SPACES; i++)
		guest_destroy(&g[i]);
}

/* A page that two spaces share is one page. */
static void shared_pages(void)
{
	u64 page = mem_alloc(1), value;
	struct guest a, b;

	guest_start(&a, accessors);
	guest_start(&b, accessors);
	guest_map(&a, DATA, 1, RW, page);
	guest_map(&b, DATA + 0x7000, 1, ACCESS_READ, page);
	CHECK(guest_store(&a, DATA + 24, 99));
	CHECK(guest_load(&b, DATA + 0x7000 + 24, &value));
	CHECK_EQ(value, 99);
	guest_destroy(&b);
	guest_destroy(&a);
}

/* exec: the context goes on in another space, with its registers and extended state; the old one may go at any time. */
static void context_moves(void)
{
	u8 *image = calloc(1, xstate_size()), *got = calloc(1, xstate_size());
	struct guest g;
	u64 value;

	CHECK(image && got);
	guest_start(&g, accessors);
	for (u64 i = 0; i < 20; i++) {
		struct address_space *old = g.as;

		xstate_init_image(image);
		image[160] = (u8)(i + 1);
		CHECK_EQ(P->fp_write(g.ctx, image), 0);
		CHECK_EQ(P->as_create(&g.as), 0);
		if (i & 1)
			P->as_destroy(old);
		guest_map(&g, CODE, 1, RX, g.code);
		guest_map(&g, DATA, 1, RW, mem_alloc(1));
		CHECK(!guest_load(&g, STACK, &value));
		CHECK(guest_store(&g, DATA, i));
		CHECK_EQ(P->fp_read(g.ctx, got), 0);
		CHECK_EQ(got[160], i + 1);
		if (!(i & 1))
			P->as_destroy(old);
	}
	guest_destroy(&g);
	free(image);
	free(got);
}

static void recycled_spaces_are_empty(void)
{
	u64 page = mem_alloc(8), value;

	for (int i = 0; i < 20; i++) {
		struct guest g;

		guest_start(&g, accessors);
		CHECK(!guest_load(&g, DATA, &value));
		guest_expect_fault(&g, DATA, ACCESS_READ);
		CHECK(!guest_load(&g, GUEST_END - PAGE_SIZE, &value));
		guest_map(&g, DATA, 8, RW, page);
		guest_map(&g, GUEST_END - PAGE_SIZE, 1, RW, page);
		CHECK(guest_store(&g, DATA, 1));
		guest_destroy(&g);
	}
}

/* ---- revocation under a running sibling ---- */

GUEST_CODE(watch, "1: mov (%rdi), %rbx; cmp %rdx, %rbx; jne 2f; inc %r12; jmp 1b; 2: syscall");
GUEST_CODE(scribble, "1: mov %rdx, (%rdi); inc %r12; jmp 1b");

enum { GOOD = 0x600d, POISON = 0xdead, REVOCATIONS = 200 };

struct revoke {
	struct guest g;
	_Atomic u64 faults;		/* the sibling has stopped on a fault so often */
	_Atomic bool stop;
	const u8 *code, *end;
};

/* Runs the sibling; each fault waits until the page is mapped anew. */
static void *sibling(void *arg)
{
	struct revoke *r = arg;
	struct guest g;

	guest_join(&g, &r->g);
	g.regs.rdi = DATA;
	g.regs.rdx = GOOD;
	while (!atomic_load(&r->stop)) {
		enum event_kind kind = guest_run(&g);

		CHECK_EQ(kind, EVENT_FAULT);	/* a call would mean that it saw the poison */
		CHECK_EQ(g.ev.addr, DATA);
		atomic_fetch_add(&r->faults, 1);
		while (atomic_load(&r->faults) & 1 && !atomic_load(&r->stop))
			sched_yield();
	}
	P->context_destroy(g.ctx);
	return NULL;
}

/*
 * The sibling hammers the page; the main thread takes it away with `take`, and at once reuses it. Then the sibling
 * must fault, and the page must not change any more.
 */
static void revoke_under_sibling(const u8 *code, const u8 *end, enum access prot, int (*take)(struct address_space *as))
{
	struct revoke r = { .stop = false };
	u64 page = mem_alloc(1);
	_Atomic u64 *word = mem_ptr(page);
	pthread_t th;

	guest_create(&r.g, code, end);
	*word = GOOD;
	guest_map(&r.g, DATA, 1, prot, page);
	CHECK(!pthread_create(&th, NULL, sibling, &r));
	for (int i = 0; i < REVOCATIONS; i++) {
		for (volatile int pause = (i * 251) % 20000; pause; pause--)
			;
		CHECK_EQ(take(r.g.as), 0);
		atomic_store(word, POISON);
		while (!(atomic_load(&r.faults) & 1)) {
			CHECK_EQ(atomic_load(word), POISON);
			sched_yield();
		}
		CHECK_EQ(atomic_load(word), POISON);
		atomic_store(word, GOOD);
		guest_map(&r.g, DATA, 1, prot, page);
		if (i == REVOCATIONS - 1)
			atomic_store(&r.stop, true);
		else
			atomic_fetch_add(&r.faults, 1);
	}
	CHECK(!pthread_join(th, NULL));
	guest_destroy(&r.g);
}

static int take_unmap(struct address_space *as) { return P->as_unmap(as, DATA, PAGE_SIZE); }
static int take_all(struct address_space *as) { return P->as_protect(as, DATA, PAGE_SIZE, ACCESS_NONE); }
static int take_write(struct address_space *as) { return P->as_protect(as, DATA, PAGE_SIZE, ACCESS_READ); }

static void revoke_unmap(void) { revoke_under_sibling(watch, watch_end, RW, take_unmap); }
static void revoke_protect(void) { revoke_under_sibling(watch, watch_end, RW, take_all); }
static void revoke_write(void) { revoke_under_sibling(scribble, scribble_end, RW, take_write); }

/* Copy on write under a running sibling: the page shown changes, and the old one is out of its reach. */
static void revoke_replace(void)
{
	struct revoke r = { .stop = false };
	u64 pages = mem_alloc(2);
	_Atomic u64 *word[2] = { mem_ptr(pages), mem_ptr(pages + PAGE_SIZE) };
	struct guest g;
	pthread_t th;

	guest_create(&r.g, scribble, scribble_end);
	guest_map(&r.g, DATA, 1, RW, pages);
	CHECK(!pthread_create(&th, NULL, sibling, &r));
	for (int i = 0; i < REVOCATIONS; i++) {
		int now = ~i & 1;

		while (atomic_load(word[!now]) != GOOD)
			sched_yield();
		guest_map(&r.g, DATA, 1, RW, pages + now * PAGE_SIZE);
		atomic_store(word[!now], POISON);
		for (volatile int pause = 1000; pause; pause--)
			;
		CHECK_EQ(atomic_load(word[!now]), POISON);
	}
	atomic_store(&r.stop, true);
	CHECK_EQ(P->as_unmap(r.g.as, DATA, PAGE_SIZE), 0);
	CHECK(!pthread_join(th, NULL));
	/* A page taken from one space and shown to another. */
	guest_start(&g, accessors);
	guest_map(&g, DATA, 1, RW, pages);
	guest_destroy(&g);
	guest_destroy(&r.g);
}

const struct contract_case space_cases[] = {
	{ "many_contexts", many_contexts },
	{ "many_spaces", many_spaces },
	{ "shared_pages", shared_pages },
	{ "context_moves", context_moves },
	{ "recycled_spaces", recycled_spaces_are_empty },
	{ "revoke_unmap", revoke_unmap },
	{ "revoke_protect", revoke_protect },
	{ "revoke_write", revoke_write },
	{ "revoke_replace", revoke_replace },
	{ NULL, NULL },
};
