/*
 * What is mapped in one stub, as ranges: the sentry's copy of the host's list of VMAs, kept so that a protect hits only
 * what is there, an unmap of nothing costs nothing, and a map knows whether it takes something away.
 *
 * Not locked: the owner's lock (struct stub_maps) covers it.
 */
#ifndef TG_STUB_SPAN_H
#define TG_STUB_SPAN_H

#include <bsd/sys/tree.h>

#include "lib/types.h"
#include "platform.h"

struct span {
	RB_ENTRY(span) node;
	gva_t start, end;
	u64 offset;			/* of `start` in the memory file */
	enum access prot;
};

RB_HEAD(span_tree, span);

struct span *span_find(struct span_tree *tree, gva_t addr);	/* the one that contains addr, or NULL */
struct span *span_at_or_after(struct span_tree *tree, gva_t addr);
struct span *span_next(struct span *span);

/* Make [start, end) one span, merged with its neighbours, or (`prot` < 0) nothing. -ENOMEM changes nothing. */
int span_set(struct span_tree *tree, gva_t start, gva_t end, u64 offset, int prot);

/* Give all that is mapped in [start, end) the access `prot`. */
int span_protect(struct span_tree *tree, gva_t start, gva_t end, enum access prot);

void span_clear(struct span_tree *tree);

#endif
