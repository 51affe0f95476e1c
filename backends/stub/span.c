/* Ranges mapped in a stub: a red-black tree of disjoint spans, merged where the host would merge its VMAs. */
#include "backends/stub/span.h"

#include <errno.h>
#include <stdlib.h>

static int span_cmp(const struct span *a, const struct span *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

RB_GENERATE_INTERNAL(span_tree, span, node, span_cmp, __attribute__((unused)) static)

struct span *span_at_or_after(struct span_tree *tree, gva_t addr)
{
	struct span *s = RB_ROOT(tree), *best = NULL;

	while (s) {
		if (s->end > addr) {
			best = s;
			s = RB_LEFT(s, node);
		} else {
			s = RB_RIGHT(s, node);
		}
	}
	return best;
}

struct span *span_find(struct span_tree *tree, gva_t addr)
{
	struct span *s = span_at_or_after(tree, addr);

	return s && s->start <= addr ? s : NULL;
}

struct span *span_next(struct span *s) { return RB_NEXT(span_tree, NULL, s); }

/* Cut the span that contains `at` in two there; `spare` becomes the upper part. True if it was used. */
static bool split(struct span_tree *tree, gva_t at, struct span *spare)
{
	struct span *s = span_find(tree, at);

	if (!s || s->start == at)
		return false;
	*spare = (struct span){ .start = at, .end = s->end, .offset = s->offset + (at - s->start), .prot = s->prot };
	s->end = at;
	RB_INSERT(span_tree, tree, spare);
	return true;
}

static bool merge_with_next(struct span_tree *tree, struct span *s)
{
	struct span *next = span_next(s);

	if (!next || next->start != s->end || next->prot != s->prot || next->offset != s->offset + (s->end - s->start))
		return false;
	s->end = next->end;
	RB_REMOVE(span_tree, tree, next);
	free(next);
	return true;
}

static void merge_around(struct span_tree *tree, struct span *s)
{
	struct span *prev = RB_PREV(span_tree, NULL, s);

	merge_with_next(tree, s);
	if (prev)
		merge_with_next(tree, prev);
}

static void remove_range(struct span_tree *tree, gva_t start, gva_t end)
{
	struct span *s, *next;

	for (s = span_at_or_after(tree, start); s && s->start < end; s = next) {
		next = span_next(s);
		RB_REMOVE(span_tree, tree, s);
		free(s);
	}
}

int span_set(struct span_tree *tree, gva_t start, gva_t end, u64 offset, int prot)
{
	struct span *spare[3];
	bool used[3] = { false };

	for (int i = 0; i < 3; i++)
		spare[i] = malloc(sizeof(struct span));
	if (!spare[0] || !spare[1] || !spare[2]) {
		for (int i = 0; i < 3; i++)
			free(spare[i]);
		return -ENOMEM;
	}
	used[0] = split(tree, start, spare[0]);
	used[1] = split(tree, end, spare[1]);
	remove_range(tree, start, end);
	if (prot >= 0) {
		*spare[2] = (struct span){ .start = start, .end = end, .offset = offset, .prot = prot };
		RB_INSERT(span_tree, tree, spare[2]);
		used[2] = true;
		merge_around(tree, spare[2]);
	}
	for (int i = 0; i < 3; i++)
		if (!used[i])
			free(spare[i]);
	return 0;
}

int span_protect(struct span_tree *tree, gva_t start, gva_t end, enum access prot)
{
	struct span *spare[2] = { malloc(sizeof(struct span)), malloc(sizeof(struct span)) };
	struct span *s, *prev;
	bool used[2];

	if (!spare[0] || !spare[1]) {
		free(spare[0]);
		free(spare[1]);
		return -ENOMEM;
	}
	used[0] = split(tree, start, spare[0]);
	used[1] = split(tree, end, spare[1]);
	for (s = span_at_or_after(tree, start); s && s->start < end; s = span_next(s))
		s->prot = prot;
	/* Merge from the neighbour below to the one above. */
	s = span_at_or_after(tree, start);
	prev = s ? RB_PREV(span_tree, NULL, s) : NULL;
	for (s = prev ? prev : s; s && s->start <= end;)
		if (!merge_with_next(tree, s))
			s = span_next(s);
	for (int i = 0; i < 2; i++)
		if (!used[i])
			free(spare[i]);
	return 0;
}

void span_clear(struct span_tree *tree) { remove_range(tree, 0, ~(gva_t)0); }
