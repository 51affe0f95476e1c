/* rusage as the guest sees it. */
#ifndef TG_SYSCALL_USAGE_H
#define TG_SYSCALL_USAGE_H

#include "mm/mm.h"
#include "task/task.h"

int copy_out_rusage(struct mm *mm, gva_t dst, const struct rusage_sum *sum);

#endif
