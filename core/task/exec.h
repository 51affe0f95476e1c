/* execve's inside, for start.c and sys_exec.c. */
#ifndef TG_TASK_EXEC_H
#define TG_TASK_EXEC_H

#include "task/task.h"

/* Loads the first program into a task that has not begun. */
int exec_first(struct task *t, struct file *file, const char *path, char *const argv[], char *const envp[]);

#endif
