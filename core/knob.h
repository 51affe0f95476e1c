/* Knobs of all platforms and of core's own parts, under one set of names. */
#ifndef TG_KNOB_H
#define TG_KNOB_H

#include "platform.h"

/* Tables of core's parts; each ends with .name == NULL. A part that has knobs adds its table to knob.c. Weak: not every
 * program links every part, and then the table is NULL. */
extern const struct knob host_knobs[] __attribute__((weak));
extern const struct knob loader_knobs[] __attribute__((weak));
extern const struct knob mm_knobs[] __attribute__((weak));
extern const struct knob task_knobs[] __attribute__((weak));

typedef int knob_fn(const struct knob *k, void *arg);

/* Calls `fn` for each knob of core and of every platform until it returns non-zero, and returns that. */
int knobs_each(knob_fn *fn, void *arg);
int core_knobs_each(knob_fn *fn, void *arg);		/* core's only */

/* "k=v;k=v" of what differs from the defaults, in order of the tables; cut at `len`. */
void knobs_differing(char *buf, size_t len);

/* The value as the user writes it: "on", "64", "eager". */
void knob_format(const struct knob *k, long value, char *buf, size_t len);

#endif
