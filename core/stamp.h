/* --phases FILE: the last switches of each task, stamp by stamp. --profile FILE: where all their time went, folded. */
#ifndef TG_STAMP_H
#define TG_STAMP_H

#include <stdio.h>

#include "lib/stamp.h"

void stamps_enable(void);			/* before the first task */
void stamps_task_start(void);			/* own thread */
void stamps_task_end(void);			/* own thread: adds to the sums, keeps the ring for stamps_write() */

/*
 * After the last task has ended; 0. Phases: CSV, a line a switch, TSC ticks, 0 where there was no such stamp. Profile:
 * a line a stack, frames divided by ';', then nanoseconds of elapsed time: what flame graph viewers read.
 */
int stamps_write_phases(FILE *f);
int stamps_write_profile(FILE *f);

#endif
