/*
 * Program images: ELF64 and #! scripts, the first stack, the vDSO. Every byte of the file is hostile.
 */
#ifndef TG_LOADER_H
#define TG_LOADER_H

#include "mm/mm.h"
#include "task/task.h"

struct load_result {
	gva_t entry, sp;
	char comm[16];
};

/*
 * Load `file` (opened for execution, named `path`) into the empty `mm`: segments, interpreter, vDSO, stack with argv,
 * envp and auxv. Follows #! up to four deep. On failure the mm is of no use: -ENOEXEC, -ENOENT (interpreter), -E2BIG,
 * -ENOMEM, -EACCES, -ELOOP, -EIO.
 */
int load_program(struct task *t, struct mm *mm, struct file *file, const char *path, char *const argv[], char *const envp[],
		 struct load_result *out);

#endif
