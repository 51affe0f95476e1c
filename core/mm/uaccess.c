/*
 * uaccess: the only code of the sentry that dereferences guest memory.
 *
 * Every access goes through the mm's own page table under mm->lock, page by page; a page that is not there, or not
 * writable where it must be, is faulted in as if the guest had touched it, so the platform soon shows it too.
 */
#include "mm/internal.h"

#define LOCKED_CHUNK	((u64)256 << 10)	/* longest copy under one hold of mm->lock */
#define STR_CHUNK	128			/* most strings are paths: do not copy a page to find out */

/* Host pointer to the byte at `addr`, good for the rest of its page while mm->lock is held; NULL: no such access. */
static inline u8 *user_ptr(struct mm *mm, gva_t addr, enum access want)
{
	u64 e = pt_get(mm->pt, addr);

	if (!(e & ((u64)want << 4))) {
		if (fault_locked(mm, addr, want))
			return NULL;
		e = pt_get(mm->pt, addr);
	}
	return memory_ptr(pte_offset(e)) + (addr & ~PAGE_MASK);
}

static inline u64 rest_of_page(gva_t addr) { return PAGE_SIZE - (addr & ~PAGE_MASK); }

/* One direction of a copy: `kernel` NULL clears. Copies under the lock at most LOCKED_CHUNK; returns bytes done. */
static u64 copy_chunk(struct mm *mm, gva_t addr, u8 *kernel, u64 len, enum access want)
{
	u64 done = 0;

	pthread_mutex_lock(&mm->lock);
	while (done < MIN(len, LOCKED_CHUNK)) {
		u64 n = MIN(len - done, rest_of_page(addr + done));
		u8 *user = user_ptr(mm, addr + done, want);

		if (!user)
			break;
		if (want == ACCESS_READ)
			guest_copy(kernel + done, user, n);
		else if (kernel)
			guest_copy(user, kernel + done, n);
		else
			guest_zero(user, n);
		done += n;
	}
	pthread_mutex_unlock(&mm->lock);
	return done;
}

static int copy(struct mm *mm, gva_t addr, u8 *kernel, u64 len, enum access want)
{
	if (!guest_range_ok(addr, len))
		return -EFAULT;
	while (len) {
		u64 n = copy_chunk(mm, addr, kernel, len, want);

		if (!n)
			return -EFAULT;
		addr += n;
		len -= n;
		if (kernel)
			kernel += n;
	}
	return 0;
}

int copy_in(struct mm *mm, void *dst, gva_t src, u64 len)
{
	return copy(mm, src, dst, len, ACCESS_READ);
}

int copy_out(struct mm *mm, gva_t dst, const void *src, u64 len)
{
	return copy(mm, dst, (u8 *)src, len, ACCESS_WRITE);
}

int clear_out(struct mm *mm, gva_t dst, u64 len)
{
	return copy(mm, dst, NULL, len, ACCESS_WRITE);
}

/* The end is looked for in our copy, not in the guest's memory, which may change in between. */
s64 copy_in_str(struct mm *mm, char *dst, gva_t src, u64 max)
{
	s64 err = -ENAMETOOLONG;
	u64 len = 0;

	pthread_mutex_lock(&mm->lock);
	while (len < max) {
		u64 n = MIN(MIN(max - len, STR_CHUNK), rest_of_page(src + len));
		u8 *user = src + len < GUEST_END ? user_ptr(mm, src + len, ACCESS_READ) : NULL;
		char *end;

		if (!user) {
			err = -EFAULT;
			break;
		}
		guest_copy(dst + len, user, n);
		end = memchr(dst + len, 0, n);
		if (end) {
			err = end - dst;
			break;
		}
		len += n;
	}
	pthread_mutex_unlock(&mm->lock);
	return err;
}

/* ---- pinning ---- */

s64 uaccess_pin(struct mm *mm, gva_t addr, u64 len, enum access want, struct uaccess_pin *pin, int max)
{
	u64 done = 0;

	pin->iovcnt = 0;
	if (!guest_range_ok(addr, len))
		return -EFAULT;
	pthread_mutex_lock(&mm->lock);
	while (done < len) {
		u64 n = MIN(len - done, rest_of_page(addr + done));
		u8 *user = user_ptr(mm, addr + done, want);
		struct iovec *last = pin->iovcnt ? &pin->iov[pin->iovcnt - 1] : NULL;

		if (!user)
			break;
		if (last && (u8 *)last->iov_base + last->iov_len == user)
			last->iov_len += n;
		else if (pin->iovcnt < max)
			pin->iov[pin->iovcnt++] = (struct iovec){ user, n };
		else
			break;
		memory_get(page_down(user - memory_file()->base), 1);
		done += n;
	}
	pthread_mutex_unlock(&mm->lock);
	return done || !len ? (s64)done : -EFAULT;
}

void uaccess_unpin(struct uaccess_pin *pin)
{
	for (int i = 0; i < pin->iovcnt; i++) {
		u64 offset = (u8 *)pin->iov[i].iov_base - memory_file()->base;
		u64 first = page_down(offset), end = page_up(offset + pin->iov[i].iov_len);

		memory_put(first, (end - first) >> PAGE_SHIFT);
	}
	pin->iovcnt = 0;
}

/* ---- futex words ---- */

/* Private memory is named by its address even in a shared futex call: its page changes when it is copied on write. */
int uaccess_word(struct mm *mm, gva_t addr, bool shared, enum access want, u32 **word, struct futex_key *key)
{
	struct vma *v;
	int err = -EFAULT;
	u8 *user;

	if (addr & 3)
		return -EINVAL;
	if (!guest_range_ok(addr, 4))
		return -EFAULT;
	pthread_mutex_lock(&mm->lock);
	user = user_ptr(mm, addr, want);
	if (user) {
		u64 offset = user - memory_file()->base;

		v = shared ? vma_find(mm, addr) : NULL;
		*key = v && vma_shared(v) ? (struct futex_key){ NULL, offset } : (struct futex_key){ mm, addr };
		memory_get(page_down(offset), 1);
		*word = (u32 *)user;
		err = 0;
	}
	pthread_mutex_unlock(&mm->lock);
	return err;
}

void uaccess_word_unpin(u32 *word)
{
	memory_put(page_down((u8 *)word - memory_file()->base), 1);
}
