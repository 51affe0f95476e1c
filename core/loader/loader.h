/*
 * Program images: ELF64 and #! scripts, the first stack, the vDSO. Every byte of the file is hostile.
 */
#ifndef TG_LOADER_H
#define TG_LOADER_H

#include "mm/mm.h"
#include "platform.h"
#include "task/task.h"

extern const struct knob loader_knobs[];	/* loader.aslr, vdso.enable; ends with .name == NULL */

struct load_result {
	gva_t entry, sp;
	char comm[16];
};

/*
 * Load `file` (opened for execution, named `path`) into the empty `mm`: segments, interpreter, vDSO, stack with argv,
 * envp and auxv. Follows #! as deep as Linux. Sets mm->exe (with a reference) to what is mapped in the end. On failure
 * the mm is of no use: -ENOEXEC, -ELIBBAD, -ENOENT (interpreter), -E2BIG, -ENOMEM, -EACCES, -ELOOP, -EIO.
 */
int load_program(struct task *t, struct mm *mm, struct file *file, const char *path, char *const argv[],
		 char *const envp[], struct load_result *out);

#endif
