/* The list of what a stub has mapped, against a plain array of pages, through random operations. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends/stub/span.h"

enum { PAGES = 64, ROUNDS = 20000 };

struct page {
	int prot;			/* -1: not mapped */
	u64 offset;
};

static struct span_tree tree;
static struct page model[PAGES];

static void check_against_model(void)
{
	struct span *s, *prev = NULL;

	for (u64 i = 0; i < PAGES; i++) {
		s = span_find(&tree, i * PAGE_SIZE + 5);
		assert_int_equal(!s, model[i].prot < 0);
		if (!s)
			continue;
		assert_int_equal(s->prot, model[i].prot);
		assert_int_equal(s->offset + (i * PAGE_SIZE - s->start), model[i].offset);
	}
	/* Disjoint, in order, and merged wherever the host would merge. */
	for (s = span_at_or_after(&tree, 0); s; prev = s, s = span_next(s)) {
		assert_true(s->start < s->end);
		if (!prev)
			continue;
		assert_true(prev->end <= s->start);
		assert_false(prev->end == s->start && prev->prot == s->prot &&
			     prev->offset + (prev->end - prev->start) == s->offset);
	}
}

static void random_operations(void **state)
{
	RB_INIT(&tree);
	for (int i = 0; i < PAGES; i++)
		model[i].prot = -1;
	srand(7);
	for (int round = 0; round < ROUNDS; round++) {
		u64 start = rand() % PAGES, end = start + 1 + rand() % (PAGES - start), what = rand() % 4;
		u64 offset = (u64)(rand() % 3) * 100 * PAGE_SIZE + start * PAGE_SIZE;
		int prot = rand() % 4;

		if (what < 2)
			assert_int_equal(span_set(&tree, start * PAGE_SIZE, end * PAGE_SIZE, offset, what ? prot : -1), 0);
		else
			assert_int_equal(span_protect(&tree, start * PAGE_SIZE, end * PAGE_SIZE, prot), 0);
		for (u64 i = start; i < end; i++) {
			if (what < 2)
				model[i] = (struct page){ what ? prot : -1, offset + (i - start) * PAGE_SIZE };
			else if (model[i].prot >= 0)
				model[i].prot = prot;
		}
		check_against_model();
	}
	span_clear(&tree);
	assert_null(span_at_or_after(&tree, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(random_operations) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
