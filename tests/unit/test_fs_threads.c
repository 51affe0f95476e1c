/* Threads that make, move, remove, list and walk the same few names: for deadlocks, and for the sanitizers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs/memfs.h"
#include "fs/namei.h"
#include "fs/overlay.h"
#include "task/task.h"

#define THREADS	4
#define ROUNDS	4000

/*
 * Two directories of which neither is above the other are locked under rename_lock only, in any order; a detector that
 * remembers the order from when they stood elsewhere in the tree sees cycles that cannot be.
 */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "detect_deadlocks=0"; }

static struct cred cred = { .refs = 1, .cap_effective = ~0ull, .cap_permitted = ~0ull };
static struct thread_group tg = { .refs = 1 };
static struct fs_place *place;

static bool ignore(struct dirent_sink *s, const char *name, size_t len, u64 ino, u64 next_pos, u8 type)
{
	return true;
}

static void list(struct task *t, const char *name)
{
	struct dirent_sink sink = { ignore };
	struct file *f;

	if (vfs_open(t, AT_FDCWD, name, O_RDONLY | O_DIRECTORY, 0, &f))
		return;
	pthread_mutex_lock(&f->path.dentry->lock);
	f->inode->ops->readdir(f->inode, f, 2, &sink);
	pthread_mutex_unlock(&f->path.dentry->lock);
	file_put(f);
}

static void touch_file(struct task *t, const char *name)
{
	struct iovec iov = { "data", 4 };
	struct uio u = { .iov = &iov, .iovcnt = 1, .len = 4 };
	struct stat st;
	char buf[64];
	struct file *f;
	u64 pos = 0;

	if (vfs_open(t, AT_FDCWD, name, O_CREAT | O_RDWR, 0644, &f))
		return;
	f->ops->write(f, &u, &pos);
	file_read_at(f, buf, sizeof(buf), 0);
	vfs_stat(t, &f->path, &st);
	path_name(t, &f->path, (char[256]){ 0 }, 256);
	file_put(f);
}

/* A name one to three directories deep out of very few, so that threads meet. */
static void pick(unsigned int *seed, char name[64])
{
	int depth = 1 + rand_r(seed) % 3;

	name[0] = 0;
	for (int i = 0; i < depth; i++)
		sprintf(name + strlen(name), "%s%c", i ? "/" : "", "abcd"[rand_r(seed) % 4]);
}

static void one_step(struct task *t, unsigned int *seed)
{
	char a[64], b[64];
	struct path p;

	pick(seed, a);
	pick(seed, b);
	switch (rand_r(seed) % 9) {
	case 0: case 1:
		vfs_mknod(t, AT_FDCWD, a, S_IFDIR | 0755, 0);
		break;
	case 2:
		vfs_rename(t, AT_FDCWD, a, AT_FDCWD, b, rand_r(seed) % 3);
		break;
	case 3:
		vfs_unlink(t, AT_FDCWD, a, rand_r(seed) % 2);
		break;
	case 4:
		vfs_link(t, AT_FDCWD, a, AT_FDCWD, b, 0);
		break;
	case 5:
		list(t, a);
		break;
	case 6:
		vfs_symlink(t, b, AT_FDCWD, a);
		break;
	case 7:
		if (!path_walk(t, AT_FDCWD, strcat(a, "/../.."), 0, &p))
			path_put(&p);
		break;
	default:
		touch_file(t, a);
	}
}

static void *worker(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	struct task t = { .cred = &cred, .tg = &tg, .place = place, .files = fd_table_new() };

	for (int i = 0; i < ROUNDS; i++)
		one_step(&t, &seed);
	fd_table_put(t.files);
	return NULL;
}

static void run_on(struct super *s)
{
	struct mount *m = mount_new(s, s->root, 0);
	pthread_t threads[THREADS];

	place = calloc(1, sizeof(*place));
	pthread_mutex_init(&place->lock, NULL);
	atomic_init(&place->refs, 1);
	place->ns = mount_ns_new(m);
	place->root = place->cwd = (struct path){ m, s->root };
	dentry_get(s->root);
	path_get(&place->cwd);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fs_place_put(place);
}

static void test_tmpfs(void **state)
{
	struct super *s;

	assert_int_equal(tmpfs_create("t", 0755, &s), 0);
	run_on(s);
}

static void test_overlay(void **state)
{
	char dir[] = "/tmp/test_fs_threads_XXXXXX", cmd[200], why[200];
	struct super *s;

	assert_non_null(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "cd %s && mkdir -p a/b/c b/a d/d && echo 1 > a/a && echo 2 > b/b && "
		 "ln b/b d/c && ln -s ../a d/a", dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(overlay_create(dir, &s, why, sizeof(why)), 0);
	run_on(s);
	snprintf(cmd, sizeof(cmd), "cd %s && test $(cat a/a b/b d/c | tr -d '\\n') = 122 && rm -r %s", dir, dir);
	assert_int_equal(system(cmd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_tmpfs), cmocka_unit_test(test_overlay) };

	tg.rlim[RLIMIT_NOFILE].rlim_cur = 1024;
	tg.rlim[RLIMIT_FSIZE].rlim_cur = RLIM_INFINITY;
	pthread_mutex_init(&tg.lock, NULL);
	memory_file_init(256 << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
