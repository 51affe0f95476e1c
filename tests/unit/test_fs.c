/* The VFS without a guest: descriptor tables, path walks, tmpfs, the overlay over a host directory. */
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

static struct cred root_cred = { .refs = 1, .cap_effective = ~0ull, .cap_permitted = ~0ull };
static struct cred user_cred = { .refs = 1,
	.uid = 1000, .euid = 1000, .suid = 1000, .fsuid = 1000, .gid = 1000, .fsgid = 1000 };
static struct thread_group tg = { .refs = 1 };
static struct task task = { .cred = &root_cred, .tg = &tg };

/* The task stands in the root of a fresh tree. */
static void stand_on(struct super *s)
{
	struct mount *m = mount_new(s, s->root, 0);

	task.cred = &root_cred;
	task.place = calloc(1, sizeof(*task.place));
	pthread_mutex_init(&task.place->lock, NULL);
	atomic_init(&task.place->refs, 1);
	task.place->ns = mount_ns_new(m);
	task.place->root = (struct path){ m, s->root };
	dentry_get(s->root);
	task.place->cwd = task.place->root;
	path_get(&task.place->cwd);
	task.files = fd_table_new();
	pthread_mutex_init(&tg.lock, NULL);
	tg.rlim[RLIMIT_NOFILE].rlim_cur = 1 << 20;
	tg.rlim[RLIMIT_FSIZE].rlim_cur = RLIM_INFINITY;
}

static int on_tmpfs(void **state)
{
	struct super *s;

	assert_int_equal(tmpfs_create("t", 0755, &s), 0);
	stand_on(s);
	return 0;
}

static int leave(void **state)
{
	fd_table_put(task.files);
	fs_place_put(task.place);
	return 0;
}

static int make(const char *name, u32 mode) { return vfs_mknod(&task, AT_FDCWD, name, mode, 0); }

static int rename_(const char *a, const char *b, u32 flags)
{
	return vfs_rename(&task, AT_FDCWD, a, AT_FDCWD, b, flags);
}

static int walk(const char *name, u32 flags)
{
	struct path p;
	int err = path_walk(&task, AT_FDCWD, name, flags, &p);

	if (!err)
		path_put(&p);
	return err;
}

static void assert_name(const char *path, const char *want)
{
	char buf[PATH_LEN_MAX];
	struct path p;

	assert_int_equal(path_walk(&task, AT_FDCWD, path, 0, &p), 0);
	assert_int_equal(path_name(&task, &p, buf, sizeof(buf)), strlen(want));
	assert_string_equal(buf, want);
	path_put(&p);
}

/* ---- path walks ---- */

static void test_walk(void **state)
{
	assert_int_equal(make("a", S_IFDIR | 0755), 0);
	assert_int_equal(make("a/b", S_IFDIR | 0755), 0);
	assert_int_equal(make("a/b/f", S_IFREG | 0644), 0);
	assert_int_equal(vfs_symlink(&task, "../b/./f", AT_FDCWD, "a/b/s"), 0);
	assert_name("/a//b/../b/./f", "/a/b/f");
	assert_name("a/b/s", "/a/b/f");
	assert_name("/../../..", "/");
	assert_int_equal(walk("a/b/f/", 0), -ENOTDIR);
	assert_int_equal(walk("a/b/f/.", 0), -ENOTDIR);
	assert_int_equal(walk("a/x/..", 0), -ENOENT);
	assert_int_equal(walk("", 0), -ENOENT);
	assert_int_equal(walk("", WALK_EMPTY), 0);
	assert_int_equal(walk("a/b/s", WALK_NO_SYMLINKS), -ELOOP);
	assert_int_equal(walk("a/../..", WALK_BENEATH), -EXDEV);
	assert_int_equal(walk("a/..", WALK_BENEATH), 0);
}

static void test_link_chain(void **state)
{
	char name[16], target[16];

	assert_int_equal(make("l0", S_IFREG | 0644), 0);
	for (int i = 1; i <= WALK_LINKS_MAX + 1; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		snprintf(target, sizeof(target), "l%d", i - 1);
		assert_int_equal(vfs_symlink(&task, target, AT_FDCWD, name), 0);
	}
	snprintf(name, sizeof(name), "l%d", WALK_LINKS_MAX);
	assert_int_equal(walk(name, 0), 0);
	snprintf(name, sizeof(name), "l%d", WALK_LINKS_MAX + 1);
	assert_int_equal(walk(name, 0), -ELOOP);
	assert_int_equal(walk(name, WALK_NOFOLLOW), 0);
}

/* A symlink in the middle of each of many targets: the rests pile up and are all walked. */
static void test_nested_rests(void **state)
{
	assert_int_equal(make("d", S_IFDIR | 0755), 0);
	assert_int_equal(make("d/d", S_IFDIR | 0755), 0);
	assert_int_equal(vfs_symlink(&task, "d", AT_FDCWD, "x"), 0);
	assert_int_equal(vfs_symlink(&task, "x/d/..", AT_FDCWD, "y"), 0);
	assert_int_equal(vfs_symlink(&task, "/y/../y/d/", AT_FDCWD, "z"), 0);
	assert_name("z", "/d/d");
	assert_name("z/..", "/d");
	assert_int_equal(vfs_symlink(&task, "d/../f/", AT_FDCWD, "toafile"), 0);
	assert_int_equal(make("f", S_IFREG | 0644), 0);
	assert_int_equal(walk("toafile", 0), -ENOTDIR);
}

static void test_deep_names(void **state)
{
	char name[PATH_LEN_MAX + 1];
	struct path p;

	/* A directory deeper than PATH_MAX: reached step by step, and too long to be named. */
	memset(name, 'n', 200);
	name[200] = 0;
	for (int i = 0; i < 30; i++) {
		assert_int_equal(make(name, S_IFDIR | 0755), 0);
		assert_int_equal(path_walk(&task, AT_FDCWD, name, 0, &p), 0);
		path_put(&task.place->cwd);
		task.place->cwd = p;
	}
	assert_int_equal(path_name(&task, &task.place->cwd, name, sizeof(name)), -ENAMETOOLONG);
	memset(name, 'n', 256);
	name[256] = 0;
	assert_int_equal(walk(name, 0), -ENAMETOOLONG);
	assert_int_equal(make(name, S_IFREG | 0644), -ENAMETOOLONG);
}

static void test_permissions(void **state)
{
	assert_int_equal(make("open", S_IFDIR | 0755), 0);
	assert_int_equal(make("open/f", S_IFREG | 0644), 0);
	assert_int_equal(make("shut", S_IFDIR | 0700), 0);
	assert_int_equal(make("shut/f", S_IFREG | 0644), 0);
	task.cred = &user_cred;
	assert_int_equal(walk("open/f", 0), 0);
	assert_int_equal(walk("shut/f", 0), -EACCES);
	assert_int_equal(walk("shut", 0), 0);
	assert_int_equal(make("open/g", S_IFREG | 0644), -EACCES);
	assert_int_equal(vfs_unlink(&task, AT_FDCWD, "open/f", false), -EACCES);
	task.cred = &root_cred;
}

/* ---- renames, mounts ---- */

static void test_rename(void **state)
{
	assert_int_equal(make("a", S_IFDIR | 0755), 0);
	assert_int_equal(make("a/b", S_IFDIR | 0755), 0);
	assert_int_equal(make("c", S_IFDIR | 0755), 0);
	assert_int_equal(rename_("a", "a/b/x", 0), -EINVAL);
	assert_int_equal(rename_("a/b", "c/d", 0), 0);
	assert_name("c/d/..", "/c");
	assert_int_equal(rename_("a", "c/d", RENAME_EXCHANGE), 0);
	assert_int_equal(rename_("a", "c", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename_("c/d", "c/d", 0), 0);
}

static void test_mount(void **state)
{
	struct path at, inner;
	struct super *s;
	struct mount *m;

	assert_int_equal(make("mnt", S_IFDIR | 0755), 0);
	assert_int_equal(tmpfs_create("other", 0755, &s), 0);
	m = mount_new(s, s->root, 0);
	assert_int_equal(path_walk(&task, AT_FDCWD, "mnt", 0, &at), 0);
	assert_int_equal(mount_attach(m, &at), 0);
	path_put(&at);
	assert_int_equal(make("mnt/in", S_IFDIR | 0755), 0);
	assert_name("mnt/in", "/mnt/in");
	assert_name("mnt/in/../..", "/");
	assert_int_equal(vfs_unlink(&task, AT_FDCWD, "mnt", true), -EBUSY);
	assert_int_equal(rename_("mnt", "x", 0), -EBUSY);
	assert_int_equal(rename_("mnt/in", "in", 0), -EXDEV);
	assert_int_equal(path_walk(&task, AT_FDCWD, "mnt/in", 0, &inner), 0);
	assert_int_equal(mount_detach(m, false), -EBUSY);
	path_put(&inner);
	assert_int_equal(mount_detach(m, false), 0);
	mount_put(m);
	super_put(s);
	assert_int_equal(walk("mnt/in", 0), -ENOENT);
}

/* An unmounted file system gives everything back, however deep it is. */
static void test_unmount_frees(void **state)
{
	u64 before = memory_used();
	struct path at, p;
	struct super *s;
	struct mount *m;

	assert_int_equal(make("mnt", S_IFDIR | 0755), 0);
	assert_int_equal(tmpfs_create("deep", 0755, &s), 0);
	m = mount_new(s, s->root, 0);
	super_put(s);
	assert_int_equal(path_walk(&task, AT_FDCWD, "mnt", 0, &at), 0);
	assert_int_equal(mount_attach(m, &at), 0);
	path_put(&at);
	assert_int_equal(path_walk(&task, AT_FDCWD, "mnt", 0, &task.place->cwd), 0);
	for (int i = 0; i < 100000; i++) {
		assert_int_equal(make("d", S_IFDIR | 0755), 0);
		assert_int_equal(path_walk(&task, AT_FDCWD, "d", 0, &p), 0);
		path_put(&task.place->cwd);
		task.place->cwd = p;
	}
	assert_int_equal(make("f", S_IFREG | 0644), 0);
	assert_int_equal(path_walk(&task, AT_FDCWD, "f", 0, &p), 0);
	assert_int_equal(page_cache_write(p.dentry->inode->cache, &(struct iovec){ "x", 1 }, 1, 5000), 1);
	assert_true(memory_used() > before);
	path_put(&p);
	assert_int_equal(mount_detach(m, true), 0);
	mount_put(m);
	path_put(&task.place->cwd);
	task.place->cwd = task.place->root;
	path_get(&task.place->cwd);
	assert_int_equal(memory_used(), before);
}

/* More names than the list of unused dentries keeps: they are forgotten and found again. */
static void test_many_names(void **state)
{
	char name[32];

	for (int i = 0; i < 40000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(make(name, S_IFREG | 0600), 0);
	}
	for (int i = 0; i < 40000; i += 7) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(walk(name, 0), 0);
	}
	for (int i = 0; i < 40000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(vfs_unlink(&task, AT_FDCWD, name, false), 0);
	}
}

/* ---- open files ---- */

static void test_contents(void **state)
{
	char buf[32] = "";
	struct file *f;
	u64 pos = 0;
	struct iovec iov = { "some text", 9 };
	struct uio u = { .iov = &iov, .iovcnt = 1, .len = 9 };

	assert_int_equal(vfs_open(&task, AT_FDCWD, "f", O_CREAT | O_RDWR, 0644, &f), 0);
	assert_int_equal(f->ops->write(f, &u, &pos), 9);
	assert_int_equal(file_read_at(f, buf, sizeof(buf), 5), 4);
	assert_string_equal(buf, "text");
	assert_int_equal(vfs_truncate(&task, f->inode, 2), 0);
	assert_int_equal(file_read_at(f, buf, sizeof(buf), 0), 2);
	file_put(f);
	assert_int_equal(vfs_open(&task, AT_FDCWD, "f", O_RDWR | O_DIRECTORY, 0, &f), -ENOTDIR);
	assert_int_equal(vfs_open(&task, AT_FDCWD, "f", O_CREAT | O_EXCL, 0, &f), -EEXIST);
}

/* ---- descriptor tables ---- */

static struct file *null_file(void)
{
	static const struct file_ops ops;

	return file_new_anon(&ops, O_RDWR, NULL);
}

static void test_fds(void **state)
{
	struct file *f = null_file();
	struct fd_table *copy;

	assert_int_equal(fd_install(&task, f, 0, false), 0);
	file_get(f);
	assert_int_equal(fd_install(&task, f, 100, true), 100);
	file_get(f);
	assert_int_equal(fd_install(&task, f, 0, false), 1);
	file_get(f);
	assert_int_equal(fd_replace(&task, 5000, f, false), 5000);
	assert_true(fd_cloexec(task.files, 100));
	assert_int_equal(fd_next(task.files, 2), 100);
	assert_int_equal(fd_next(task.files, 101), 5000);
	assert_int_equal(fd_next(task.files, 5001), -1);
	copy = fd_table_copy(task.files);
	fd_table_exec(copy, &task);
	assert_null(fd_get(copy, 100));
	assert_non_null(fd_get(copy, 5000));
	file_put(f);
	fd_table_put(copy);
	assert_int_equal(fd_close(&task, 0), 0);
	assert_int_equal(fd_close(&task, 0), -EBADF);
	assert_int_equal(fd_close(&task, -1), -EBADF);
	tg.rlim[RLIMIT_NOFILE].rlim_cur = 2;
	file_get(f);
	assert_int_equal(fd_install(&task, f, 0, false), 0);
	file_get(f);
	assert_int_equal(fd_install(&task, f, 0, false), -EMFILE);
	file_get(f);
	assert_int_equal(fd_replace(&task, 2, f, false), -EBADF);
	tg.rlim[RLIMIT_NOFILE].rlim_cur = RLIM_INFINITY;
	file_get(f);
	assert_int_equal(fd_install(&task, f, (1 << 20) - 1, false), (1 << 20) - 1);
	file_get(f);
	assert_int_equal(fd_install(&task, f, 1 << 20, false), -EMFILE);
}

static atomic_bool stop;

/* Each descriptor is always one of two files: whatever is got must be alive. */
static void *getter(void *arg)
{
	while (!stop)
		for (int fd = 0; fd < 4; fd++) {
			struct file *f = fd_get(task.files, fd);

			if (f) {
				assert_true(f->refs > 0);
				file_put(f);
			}
		}
	return NULL;
}

static void test_fd_race(void **state)
{
	pthread_t t;

	stop = false;
	assert_int_equal(pthread_create(&t, NULL, getter, NULL), 0);
	for (int i = 0; i < 20000; i++) {
		fd_replace(&task, i % 4, null_file(), false);
		if (i % 3 == 0)
			fd_close(&task, i % 4);
		if (i == 10000)
			fd_install(&task, null_file(), 1000, false);
	}
	stop = true;
	pthread_join(t, NULL);
}

/* ---- the overlay ---- */

static char host_dir[] = "/tmp/test_fs_XXXXXX";

static void host_file(const char *name, const char *text)
{
	char path[256];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", host_dir, name);
	out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static int on_overlay(void **state)
{
	char why[256], path[256];
	struct super *s;

	strcpy(host_dir + strlen(host_dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(host_dir));
	snprintf(path, sizeof(path), "%s/d", host_dir);
	assert_int_equal(mkdir(path, 0755), 0);
	host_file("f", "from the host");
	host_file("d/g", "g");
	assert_int_equal(overlay_create(host_dir, &s, why, sizeof(why)), 0);
	stand_on(s);
	return 0;
}

static int leave_overlay(void **state)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -r %s", host_dir);
	leave(state);
	return system(cmd);
}

static void test_overlay_copy_up(void **state)
{
	char buf[32] = "";
	struct file *f;
	u64 pos = 5;
	struct iovec iov = { "THE", 3 };
	struct uio u = { .iov = &iov, .iovcnt = 1, .len = 3 };

	assert_int_equal(vfs_open(&task, AT_FDCWD, "f", O_RDWR, 0, &f), 0);
	assert_int_equal(file_read_at(f, buf, sizeof(buf), 0), 13);
	assert_int_equal(f->ops->write(f, &u, &pos), 3);
	assert_int_equal(file_read_at(f, buf, sizeof(buf), 0), 13);
	assert_string_equal(buf, "from THE host");
	assert_int_equal(vfs_truncate(&task, f->inode, 8), 0);
	assert_int_equal(vfs_truncate(&task, f->inode, 13), 0);
	assert_int_equal(file_read_at(f, buf, sizeof(buf), 0), 13);
	assert_memory_equal(buf, "from THE\0\0\0\0\0", 13);
	file_put(f);
	/* Forgotten by everyone but itself, and found again. */
	assert_int_equal(vfs_open(&task, AT_FDCWD, "f", O_RDONLY, 0, &f), 0);
	assert_int_equal(file_read_at(f, buf, 8, 0), 8);
	assert_memory_equal(buf, "from THE", 8);
	file_put(f);
}

static void test_overlay_names(void **state)
{
	assert_int_equal(vfs_unlink(&task, AT_FDCWD, "d", true), -ENOTEMPTY);
	assert_int_equal(vfs_unlink(&task, AT_FDCWD, "d/g", false), 0);
	assert_int_equal(walk("d/g", 0), -ENOENT);
	assert_int_equal(make("d/g", S_IFDIR | 0755), 0);
	assert_int_equal(vfs_unlink(&task, AT_FDCWD, "d/g", true), 0);
	assert_int_equal(walk("d/g", 0), -ENOENT);
	assert_int_equal(rename_("f", "d/f", 0), 0);
	assert_int_equal(walk("f", 0), -ENOENT);
	assert_int_equal(rename_("d", "e", 0), 0);
	assert_int_equal(walk("e/f", 0), 0);
	assert_int_equal(walk("d", 0), -ENOENT);
	assert_int_equal(vfs_unlink(&task, AT_FDCWD, "e/f", false), 0);
	assert_int_equal(vfs_unlink(&task, AT_FDCWD, "e", true), 0);
	assert_int_equal(make("d", S_IFDIR | 0755), 0);
	assert_int_equal(walk("d/g", 0), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define ON_TMPFS(t) cmocka_unit_test_setup_teardown(t, on_tmpfs, leave)
		ON_TMPFS(test_walk), ON_TMPFS(test_link_chain), ON_TMPFS(test_nested_rests), ON_TMPFS(test_deep_names),
		ON_TMPFS(test_permissions), ON_TMPFS(test_rename), ON_TMPFS(test_mount), ON_TMPFS(test_unmount_frees),
		ON_TMPFS(test_many_names),
		ON_TMPFS(test_contents), ON_TMPFS(test_fds), ON_TMPFS(test_fd_race),
		cmocka_unit_test_setup_teardown(test_overlay_copy_up, on_overlay, leave_overlay),
		cmocka_unit_test_setup_teardown(test_overlay_names, on_overlay, leave_overlay),
	};

	memory_file_init(256 << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
