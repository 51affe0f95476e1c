/* A radix tree from page index (any u64) to a nonzero u64. No locks of its own. */
#ifndef TG_MM_RADIX_H
#define TG_MM_RADIX_H

#include "lib/types.h"

struct radix;

struct radix *radix_create(void);
void radix_destroy(struct radix *r);
u64 radix_get(struct radix *r, u64 index);			/* 0: nothing there */
bool radix_set(struct radix *r, u64 index, u64 value);		/* value not 0; false: out of memory */
void radix_clear(struct radix *r, u64 index);
bool radix_next(struct radix *r, u64 *index, u64 *value);	/* the first at or above *index */

#endif
