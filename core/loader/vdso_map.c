/*
 * The vDSO in an mm: one memory-only file, whose first page is the vvar page and whose rest is the image. All mms map
 * the same pages, so that the sentry renews the clock of every guest with one write.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fs/fs.h"
#include "loader/image.h"
#include "loader/vdso/vvar.h"
#include "task/clock.h"

extern const u8 vdso_image[], vdso_image_end[];

static const struct page_cache_ops memory_only;
static const struct file_ops vdso_file_ops = { .anon_name = "[vdso]" };

static struct page_cache cache;
static struct file *vdso_file;
static pthread_mutex_t publish_lock = PTHREAD_MUTEX_INITIALIZER;
static bool published;			/* by publish_lock */

static u64 image_size(void)
{
	return vdso_image_end - vdso_image;
}

/* The file lives as long as the sentry. */
static void make_file(void)
{
	struct iovec iov = { (void *)vdso_image, image_size() };
	struct file *f = file_new_anon(&vdso_file_ops, O_RDONLY, NULL);

	if (!f)
		return;
	page_cache_init(&cache, &memory_only, f->inode, PAGE_SIZE + image_size());
	if (page_cache_write(&cache, &iov, 1, PAGE_SIZE) != (ssize_t)image_size()) {
		file_put(f);
		return;
	}
	f->inode->cache = &cache;
	vdso_file = f;
}

u64 vdso_span(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_file);
	return vdso_file ? PAGE_SIZE + image_size() : 0;
}

static int map_part(struct mm *mm, const struct map_request *base, gva_t addr, u64 offset, u64 len, u32 prot, u32 flags,
		    const char *name)
{
	struct map_request req = *base;
	s64 got;

	req.addr = addr;
	req.len = len;
	req.prot = prot;
	req.flags = flags | MAP_FIXED_NOREPLACE | VMA_SPECIAL;
	req.file = vdso_file;
	req.offset = offset;
	req.name = name;
	got = mm_map(mm, &req);
	/* The program's own segments are in the way: to execve's caller there is no room. */
	if (got == -EEXIST)
		got = -ENOMEM;
	return got < 0 ? got : 0;
}

/* The sentry's own pointer to the vvar page. The pin is never given back: the page is written until the end. */
static int publish(struct mm *mm, gva_t vvar)
{
	static struct iovec iov;
	struct uaccess_pin pin = { .iov = &iov };
	int err = 0;

	pthread_mutex_lock(&publish_lock);
	if (!published) {
		if (uaccess_pin(mm, vvar, PAGE_SIZE, ACCESS_READ, &pin, 1) == (s64)PAGE_SIZE) {
			clock_publish(iov.iov_base);
			published = true;
		} else {
			err = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&publish_lock);
	return err;
}

int vdso_map(struct mm *mm, gva_t addr, const struct map_request *base, gva_t *ehdr)
{
	int err;

	err = map_part(mm, base, addr, 0, PAGE_SIZE, PROT_READ, MAP_SHARED, "[vvar]");
	if (!err)
		err = map_part(mm, base, addr + PAGE_SIZE, PAGE_SIZE, image_size(), PROT_READ | PROT_EXEC, MAP_PRIVATE,
			       "[vdso]");
	if (!err)
		err = publish(mm, addr);
	if (!err)
		*ehdr = addr + PAGE_SIZE;
	return err;
}
