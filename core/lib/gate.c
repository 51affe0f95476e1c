/* The host's side of lib/inside.h: what code that also runs inside may ask for. */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/fs.h"
#include "lib/inside.h"

void gate_lock(pthread_mutex_t *m) { pthread_mutex_lock(m); }
void gate_unlock(pthread_mutex_t *m) { pthread_mutex_unlock(m); }

/* As pthread_mutex_unlock does when it finds the word at 2: libc's mutexes of one process sleep on private futexes. */
void gate_wake_lock(void *m) { syscall(SYS_futex, lock_word(m), FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

void gate_file_put(void *f) { file_put(f); }
s64 gate_page_cache_seek(struct page_cache *pc, u64 pos, bool data) { return page_cache_seek(pc, pos, data); }
