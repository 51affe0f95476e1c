/*
 * Runs of 2 MiB, which a platform may show by one entry of a page table: in parts, as a whole, in turn with other
 * things at the same address, and taken away from a sibling that uses them. Each case is there for a memory file in
 * small pages of the host and for one in huge ones.
 */
#include "tests/contract/contract.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { BLOCK_PAGES = 512, GOOD = 0x600d, POISON = 0xdead, REVOCATIONS = 60 };
#define BLOCK ((u64)BLOCK_PAGES * PAGE_SIZE)

/* A run that starts where such a run does in the file, and not with it: 0 stands for no page. */
static u64 alloc_block(void)
{
	u64 offset = align_up(mem_alloc(2 * BLOCK_PAGES) + 1, BLOCK);

	for (u64 i = 0; i < BLOCK_PAGES; i++)
		*(u64 *)mem_ptr(offset + i * PAGE_SIZE) = offset + i * PAGE_SIZE;
	return offset;
}

/* Page `i` of the block at DATA shows what belongs to `offset`; 0: nothing. */
static void expect_page(struct guest *g, u64 i, u64 offset)
{
	u64 value;

	CHECK_EQ(guest_load(g, DATA + i * PAGE_SIZE, &value), offset != 0);
	if (offset)
		CHECK_EQ(value, offset);
}

static void expect_block(struct guest *g, u64 from, u64 to, u64 block)
{
	for (u64 i = from; i < to; i += 1 + i % 7)
		expect_page(g, i, block + i * PAGE_SIZE);
}

static void take(struct guest *g, u64 page, u64 npages)
{
	CHECK_EQ(P->as_unmap(g->as, DATA + page * PAGE_SIZE, npages * PAGE_SIZE), 0);
}

static void in_parts(void)
{
	u64 block = alloc_block(), page = mem_alloc(1);
	struct guest g;

	guest_start(&g, accessors);
	*(u64 *)mem_ptr(page) = page + 1;
	guest_map(&g, DATA, BLOCK_PAGES, RW, block);
	expect_block(&g, 0, BLOCK_PAGES, block);
	take(&g, 100, 1);
	expect_page(&g, 100, 0);
	expect_block(&g, 0, 100, block);
	expect_block(&g, 101, BLOCK_PAGES, block);
	guest_map(&g, DATA + 100 * PAGE_SIZE, 1, RW, page);
	expect_page(&g, 100, page + 1);
	CHECK_EQ(P->as_protect(g.as, DATA + 200 * PAGE_SIZE, 100 * PAGE_SIZE, ACCESS_READ), 0);
	expect_block(&g, 150, BLOCK_PAGES, block);
	CHECK(!guest_store(&g, DATA + 200 * PAGE_SIZE, 1));
	CHECK(!guest_store(&g, DATA + 299 * PAGE_SIZE, 1));
	CHECK(guest_store(&g, DATA + 300 * PAGE_SIZE, block + 300 * PAGE_SIZE));
	take(&g, 0, 256);
	expect_page(&g, 0, 0);
	expect_page(&g, 255, 0);
	expect_block(&g, 256, BLOCK_PAGES, block);
	guest_destroy(&g);
}

static void as_a_whole(void)
{
	u64 block = alloc_block();
	struct guest g;

	guest_start(&g, accessors);
	guest_map(&g, DATA, BLOCK_PAGES, RW, block);
	expect_block(&g, 0, BLOCK_PAGES, block);
	CHECK_EQ(P->as_protect(g.as, DATA, BLOCK, ACCESS_READ), 0);
	for (u64 i = 0; i < BLOCK_PAGES; i += 100)
		CHECK(!guest_store(&g, DATA + i * PAGE_SIZE, 1));
	expect_block(&g, 0, BLOCK_PAGES, block);
	CHECK_EQ(P->as_protect(g.as, DATA, BLOCK, RW), 0);
	if (!guest_store(&g, DATA, block))	/* added access may have to be asked for */
		guest_map(&g, DATA, BLOCK_PAGES, RW, block);
	CHECK(guest_store(&g, DATA + 300 * PAGE_SIZE, block + 300 * PAGE_SIZE));
	CHECK_EQ(P->as_protect(g.as, DATA, BLOCK, ACCESS_NONE), 0);
	for (u64 i = 0; i < BLOCK_PAGES; i += 100)
		expect_page(&g, i, 0);
	guest_destroy(&g);
}

/* Large, nothing, small pages, another large one, small ones over it, and round again: never what was there before. */
static void in_turn(void)
{
	u64 a = alloc_block(), b = alloc_block();
	struct guest g;

	guest_start(&g, accessors);
	for (int round = 0; round < 6; round++) {
		guest_map(&g, DATA, BLOCK_PAGES, RW, a);
		expect_block(&g, 0, BLOCK_PAGES, a);
		take(&g, 0, BLOCK_PAGES);
		expect_page(&g, 7, 0);
		guest_map(&g, DATA + 8 * PAGE_SIZE, 8, RW, b + 8 * PAGE_SIZE);
		expect_page(&g, 7, 0);
		expect_block(&g, 8, 16, b);
		guest_map(&g, DATA, BLOCK_PAGES, ACCESS_READ, b);
		expect_block(&g, 0, BLOCK_PAGES, b);
		guest_map(&g, DATA, BLOCK_PAGES, RW, a);
		expect_block(&g, 0, BLOCK_PAGES, a);
		guest_map(&g, DATA + 16 * PAGE_SIZE, 16, RW, b + 16 * PAGE_SIZE);
		expect_block(&g, 0, 16, a);
		expect_block(&g, 16, 32, b);
		expect_block(&g, 32, BLOCK_PAGES, a);
		if (round & 1)
			take(&g, 0, BLOCK_PAGES);
	}
	guest_destroy(&g);
}

/* Two spaces show a run, each in its own way. */
static void two_spaces(void)
{
	u64 block = alloc_block();
	struct guest a, b;

	guest_start(&a, accessors);
	guest_start(&b, accessors);
	guest_map(&a, DATA, BLOCK_PAGES, RW, block);
	guest_map(&b, DATA, BLOCK_PAGES, ACCESS_READ, block);
	for (u64 i = 0; i < BLOCK_PAGES; i += 50) {
		CHECK(guest_store(&a, DATA + i * PAGE_SIZE, i + 1));
		expect_page(&b, i, i + 1);
		CHECK(!guest_store(&b, DATA + i * PAGE_SIZE, 0));
	}
	take(&a, 0, BLOCK_PAGES);
	expect_page(&b, 50, 51);
	expect_page(&a, 50, 0);
	guest_destroy(&a);
	expect_page(&b, 100, 101);
	guest_destroy(&b);
}

/* ---- under a sibling ---- */

GUEST_CODE(scribble_block,
	   "1: mov %rdi, %rcx; mov $512, %esi; 2: mov %rdx, (%rcx); add $4096, %rcx; dec %esi; jnz 2b; jmp 1b");

struct sibling {
	struct guest g;
	_Atomic bool stop;
	_Atomic u64 faults;
};

static void *scribble(void *arg)
{
	struct sibling *s = arg;
	struct guest g;

	guest_join(&g, &s->g);
	g.regs.rdi = DATA;
	g.regs.rdx = GOOD;
	while (!atomic_load(&s->stop)) {
		CHECK_EQ(guest_run(&g), EVENT_FAULT);
		CHECK(g.ev.addr >= DATA && g.ev.addr < DATA + BLOCK);
		atomic_fetch_add(&s->faults, 1);
		sched_yield();		/* and again, until it is mapped */
	}
	P->context_destroy(g.ctx);
	return NULL;
}

static void wait_written(u64 offset)
{
	while (atomic_load((_Atomic u64 *)mem_ptr(offset)) != GOOD)
		sched_yield();
}

/* Out of the sibling's reach: it stays as we leave it. */
static void expect_unreached(u64 offset)
{
	_Atomic u64 *word = mem_ptr(offset);

	atomic_store(word, POISON);
	for (int i = 0; i < 20; i++) {
		for (volatile int pause = 500; pause; pause--)
			;
		CHECK_EQ(atomic_load(word), POISON);
	}
}

/*
 * The sibling writes to each page of the block for ever. The run is taken away or replaced, in part or whole; at once
 * it is reused, and must not change any more, while what is still shown goes on changing.
 */
static void under_sibling(void)
{
	u64 run[2] = { alloc_block(), alloc_block() }, other = mem_alloc(1);
	struct sibling s = { .stop = false };
	pthread_t th;

	guest_create(&s.g, scribble_block, scribble_block_end);
	guest_map(&s.g, DATA, BLOCK_PAGES, RW, run[0]);
	CHECK(!pthread_create(&th, NULL, scribble, &s));
	for (u64 i = 0; i < REVOCATIONS; i++) {
		u64 now = run[i & 1], page = (i * 37) % BLOCK_PAGES, at = page * PAGE_SIZE;

		wait_written(now + at);
		switch (i % 5) {
		case 0:
			take(&s.g, page, 1);
			break;
		case 1:
			CHECK_EQ(P->as_protect(s.g.as, DATA + at, PAGE_SIZE, ACCESS_READ), 0);
			break;
		case 2:
			guest_map(&s.g, DATA + at, 1, RW, other);
			break;
		case 3:
			CHECK_EQ(P->as_protect(s.g.as, DATA, BLOCK, ACCESS_READ), 0);
			break;
		default:
			take(&s.g, 0, BLOCK_PAGES);
		}
		expect_unreached(now + at);
		guest_map(&s.g, DATA, BLOCK_PAGES, RW, run[~i & 1]);	/* the whole of it */
		expect_unreached(now + (BLOCK - PAGE_SIZE - at));
		expect_unreached(other);
	}
	atomic_store(&s.stop, true);
	take(&s.g, 0, BLOCK_PAGES);
	CHECK(!pthread_join(th, NULL));
	guest_destroy(&s.g);
}

const struct contract_case large_cases[] = {
	{ "large_parts", in_parts },
	{ "large_whole", as_a_whole },
	{ "large_turns", in_turn },
	{ "large_two_spaces", two_spaces },
	{ "large_revoke", under_sibling },
	{ NULL, NULL },
};

const struct contract_case huge_cases[] = {
	{ "huge_parts", in_parts },
	{ "huge_whole", as_a_whole },
	{ "huge_turns", in_turn },
	{ "huge_two_spaces", two_spaces },
	{ "huge_revoke", under_sibling },
	{ NULL, NULL },
};
