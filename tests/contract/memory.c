/* Mappings: what is mapped is what the guest sees, and what is taken away is gone when the call returns. */
#include "tests/contract/contract.h"

#include <stdlib.h>

static void map_shows_the_file(void)
{
	u64 page = mem_alloc(2), value;
	struct guest g;

	guest_start(&g, accessors);
	guest_map(&g, DATA, 2, RW, page);
	*(u64 *)mem_ptr(page + 0x1008) = 42;
	CHECK(guest_load(&g, DATA + 0x1008, &value));
	CHECK_EQ(value, 42);
	CHECK(guest_store(&g, DATA + 8, 43));
	CHECK_EQ(*(u64 *)mem_ptr(page + 8), 43);
	guest_destroy(&g);
}

static void unmap_takes_away(void)
{
	u64 page = mem_alloc(4), value;
	struct guest g;

	guest_start(&g, accessors);
	guest_map(&g, DATA, 4, RW, page);
	CHECK(guest_load(&g, DATA + PAGE_SIZE, &value));
	CHECK_EQ(P->as_unmap(g.as, DATA + PAGE_SIZE, PAGE_SIZE), 0);
	CHECK(!guest_load(&g, DATA + PAGE_SIZE, &value));
	guest_expect_fault(&g, DATA + PAGE_SIZE, ACCESS_READ);
	CHECK(guest_load(&g, DATA, &value));
	CHECK(guest_load(&g, DATA + 2 * PAGE_SIZE, &value));
	guest_destroy(&g);
}

static void unmap_of_holes(void)
{
	u64 page = mem_alloc(1), value;
	struct guest g;

	guest_start(&g, accessors);
	CHECK_EQ(P->as_unmap(g.as, DATA, 64 * PAGE_SIZE), 0);
	guest_map(&g, DATA + 8 * PAGE_SIZE, 1, RW, page);
	guest_map(&g, DATA + 20 * PAGE_SIZE, 1, RW, page);
	CHECK(guest_load(&g, DATA + 8 * PAGE_SIZE, &value));
	CHECK_EQ(P->as_unmap(g.as, DATA, 64 * PAGE_SIZE), 0);
	CHECK(!guest_load(&g, DATA + 8 * PAGE_SIZE, &value));
	CHECK(!guest_load(&g, DATA + 20 * PAGE_SIZE, &value));
	/* All of guest space at once, and what was never mapped. */
	CHECK_EQ(P->as_unmap(g.as, 0, GUEST_END), 0);
	CHECK_EQ(guest_run(&g), EVENT_FAULT);
	guest_destroy(&g);
}

static void protect_takes_and_gives(void)
{
	u64 page = mem_alloc(3), value;
	struct guest g;

	guest_start(&g, accessors);
	guest_map(&g, DATA, 3, RW, page);
	CHECK(guest_store(&g, DATA + PAGE_SIZE, 1));
	CHECK_EQ(P->as_protect(g.as, DATA + PAGE_SIZE, PAGE_SIZE, ACCESS_READ), 0);
	CHECK(!guest_store(&g, DATA + PAGE_SIZE + 16, 2));
	guest_expect_fault(&g, DATA + PAGE_SIZE + 16, ACCESS_WRITE);
	CHECK(g.ev.error_code & 1);
	CHECK(guest_load(&g, DATA + PAGE_SIZE, &value));
	CHECK_EQ(value, 1);
	CHECK(guest_store(&g, DATA, 3));
	CHECK(guest_store(&g, DATA + 2 * PAGE_SIZE, 4));
	CHECK_EQ(P->as_protect(g.as, DATA + PAGE_SIZE, PAGE_SIZE, RW), 0);
	/* Access that is added may come late: a backend may fault once more and be asked for a map. */
	if (!guest_store(&g, DATA + PAGE_SIZE, 5)) {
		guest_map(&g, DATA + PAGE_SIZE, 1, RW, page + PAGE_SIZE);
		CHECK(guest_store(&g, DATA + PAGE_SIZE, 5));
	}
	CHECK_EQ(P->as_protect(g.as, DATA, 3 * PAGE_SIZE, ACCESS_NONE), 0);
	CHECK(!guest_load(&g, DATA + PAGE_SIZE, &value));
	guest_expect_fault(&g, DATA + PAGE_SIZE, ACCESS_READ);
	guest_destroy(&g);
}

static void protect_keeps_holes(void)
{
	u64 page = mem_alloc(4), value;
	struct guest g;

	guest_start(&g, accessors);
	for (int i = 0; i < 4; i++)
		guest_map(&g, DATA + 3 * i * PAGE_SIZE, 1, RW, page + i * PAGE_SIZE);
	for (int i = 0; i < 4; i++)
		CHECK(guest_store(&g, DATA + 3 * i * PAGE_SIZE, i + 100));
	CHECK_EQ(P->as_protect(g.as, DATA - PAGE_SIZE, 32 * PAGE_SIZE, ACCESS_READ), 0);
	for (int i = 0; i < 4; i++) {
		CHECK(guest_load(&g, DATA + 3 * i * PAGE_SIZE, &value));
		CHECK_EQ(value, i + 100);
		CHECK(!guest_store(&g, DATA + 3 * i * PAGE_SIZE, 0));
		guest_expect_fault(&g, DATA + 3 * i * PAGE_SIZE, ACCESS_WRITE);
		CHECK(!guest_load(&g, DATA + (3 * i + 1) * PAGE_SIZE, &value));
	}
	guest_destroy(&g);
}

static void map_replaces(void)
{
	u64 a = mem_alloc(1), b = mem_alloc(1), value;
	struct guest g;

	guest_start(&g, accessors);
	*(u64 *)mem_ptr(a) = 1;
	*(u64 *)mem_ptr(b) = 2;
	guest_map(&g, DATA, 1, RW, a);
	CHECK(guest_load(&g, DATA, &value));
	CHECK_EQ(value, 1);
	guest_map(&g, DATA, 1, ACCESS_READ, b);
	CHECK(guest_load(&g, DATA, &value));
	CHECK_EQ(value, 2);
	CHECK(!guest_store(&g, DATA, 3));
	guest_map(&g, DATA, 1, RW, a);
	CHECK(guest_store(&g, DATA, 3));
	CHECK_EQ(*(u64 *)mem_ptr(a), 3);
	CHECK_EQ(*(u64 *)mem_ptr(b), 2);
	guest_destroy(&g);
}

/* More maps than any queue holds, in an order that merges some; then every second one goes. */
static void many_maps(void)
{
	enum { N = 2000 };
	u64 pages = mem_alloc(N), value;
	struct guest g;

	guest_start(&g, accessors);
	for (u64 i = 0; i < N; i++) {
		u64 at = (i * 7919) % N;

		*(u64 *)mem_ptr(pages + at * PAGE_SIZE) = at;
		guest_map(&g, DATA + at * PAGE_SIZE, 1, RW, pages + at * PAGE_SIZE);
	}
	for (u64 i = 0; i < N; i += 13) {
		CHECK(guest_load(&g, DATA + i * PAGE_SIZE, &value));
		CHECK_EQ(value, i);
	}
	for (u64 i = 0; i < N; i += 2)
		CHECK_EQ(P->as_unmap(g.as, DATA + i * PAGE_SIZE, PAGE_SIZE), 0);
	for (u64 i = 0; i < N; i += 13) {
		CHECK_EQ(guest_load(&g, DATA + i * PAGE_SIZE, &value), i & 1);
		CHECK(!(i & 1) || value == i);
	}
	guest_destroy(&g);
}

/* The same page at a place and again, interleaved with unmaps: the last call wins. */
static void order_is_kept(void)
{
	u64 a = mem_alloc(1), b = mem_alloc(1), value;
	struct guest g;

	guest_start(&g, accessors);
	*(u64 *)mem_ptr(a) = 1;
	*(u64 *)mem_ptr(b) = 2;
	for (int i = 0; i < 200; i++) {
		guest_map(&g, DATA, 1, RW, i & 1 ? a : b);
		CHECK_EQ(P->as_unmap(g.as, DATA, PAGE_SIZE), 0);
		guest_map(&g, DATA, 1, RW, i & 1 ? b : a);
		CHECK_EQ(P->as_protect(g.as, DATA, PAGE_SIZE, ACCESS_READ), 0);
		CHECK(guest_load(&g, DATA, &value));
		CHECK_EQ(value, i & 1 ? 2 : 1);
		CHECK(!guest_store(&g, DATA, 9));
	}
	guest_destroy(&g);
}

static void edges_of_guest_space(void)
{
	u64 page = mem_alloc(1), value;
	struct guest g;

	guest_start(&g, accessors);
	guest_map(&g, GUEST_MIN, 1, RW, page);
	guest_map(&g, GUEST_END - PAGE_SIZE, 1, RW, page);
	CHECK(guest_store(&g, GUEST_END - 8, 77));
	CHECK(guest_load(&g, GUEST_MIN + PAGE_SIZE - 8, &value));
	CHECK_EQ(value, 77);
	CHECK(!guest_load(&g, GUEST_END, &value));
	guest_expect_fault(&g, GUEST_END, ACCESS_READ);
	guest_destroy(&g);
}

/* As core would: a fault on what should be there is answered with a map. */
static u64 load_or_map(struct guest *g, gva_t addr, u64 offset)
{
	u64 value;

	for (int tries = 0; tries < 10; tries++) {
		if (guest_load(g, addr, &value))
			return value;
		if (g->ev.access == ACCESS_EXEC)
			guest_map(g, CODE, 1, RX, g->code);
		else
			guest_map(g, page_down(addr), 1, RW, offset);
	}
	CHECK(!"the page never comes");
	return 0;
}

/*
 * A guest can make more pieces than the host allows a process to have. Whatever the backend does, no page is lost
 * for good and nothing stale shows.
 */
static void more_pieces_than_the_host_allows(void)
{
	enum { N = 70000 };
	u64 page = mem_alloc(3), value;
	struct guest g;

	guest_start(&g, accessors);
	*(u64 *)mem_ptr(page) = 5;
	*(u64 *)mem_ptr(page + 2 * PAGE_SIZE) = 6;
	for (u64 i = 0; i < N; i++)
		if (P->as_map(g.as, DATA + i * PAGE_SIZE, PAGE_SIZE, RW, &mem, page + (i & 1) * 2 * PAGE_SIZE, 0))
			break;
	for (u64 i = 0; i < N; i += 997)
		CHECK_EQ(load_or_map(&g, DATA + i * PAGE_SIZE, page + (i & 1) * 2 * PAGE_SIZE), 5 + (i & 1));
	CHECK_EQ(P->as_unmap(g.as, DATA, N * PAGE_SIZE), 0);
	guest_map(&g, CODE, 1, RX, g.code);
	CHECK(!guest_load(&g, DATA, &value));
	guest_destroy(&g);
}

const struct contract_case memory_cases[] = {
	{ "map", map_shows_the_file },
	{ "unmap", unmap_takes_away },
	{ "unmap_holes", unmap_of_holes },
	{ "protect", protect_takes_and_gives },
	{ "protect_holes", protect_keeps_holes },
	{ "replace", map_replaces },
	{ "many_maps", many_maps },
	{ "order", order_is_kept },
	{ "edges", edges_of_guest_space },
	{ "too_many_pieces", more_pieces_than_the_host_allows },
	{ NULL, NULL },
};
