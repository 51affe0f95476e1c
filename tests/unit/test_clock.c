/*
 * Clocks and the vDSO's image: the image is run right here, behind a vvar page that the sentry's clock code fills. The
 * vDSO, the sentry's reading and the host must agree, and no reading may go back.
 */
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

#include "loader/vdso/vvar.h"
#include "task/clock.h"

extern const u8 vdso_image[], vdso_image_end[];

static struct vvar *page;
static u8 *image;

static int (*vdso_clock_gettime)(clockid_t, struct timespec *);
static int (*vdso_clock_getres)(clockid_t, struct timespec *);
static int (*vdso_gettimeofday)(struct timeval *, void *);
static time_t (*vdso_time)(time_t *);
static long (*vdso_getcpu)(unsigned int *, unsigned int *, void *);

static const Elf64_Dyn *find_dynamic(void)
{
	const Elf64_Ehdr *eh = (void *)image;
	const Elf64_Phdr *ph = (void *)(image + eh->e_phoff);

	for (int i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			return (void *)(image + ph[i].p_vaddr);
	return NULL;
}

static void *find_symbol(const char *name)
{
	const Elf64_Sym *sym = NULL;
	const char *str = NULL;
	const u32 *hash = NULL;

	for (const Elf64_Dyn *d = find_dynamic(); d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			sym = (void *)(image + d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			str = (void *)(image + d->d_un.d_ptr);
		else if (d->d_tag == DT_HASH)
			hash = (void *)(image + d->d_un.d_ptr);
	}
	for (u32 i = 0; i < hash[1]; i++)
		if (!strcmp(str + sym[i].st_name, name))
			return image + sym[i].st_value;
	fail_msg("no symbol %s", name);
	return NULL;
}

static int set_up(void **state)
{
	u64 size = vdso_image_end - vdso_image;
	u8 *area = mmap(NULL, PAGE_SIZE + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		return -1;
	page = (void *)area;
	image = area + PAGE_SIZE;
	memcpy(image, vdso_image, size);
	if (mprotect(image, size, PROT_READ | PROT_EXEC))
		return -1;
	vdso_clock_gettime = find_symbol("__vdso_clock_gettime");
	vdso_clock_getres = find_symbol("__vdso_clock_getres");
	vdso_gettimeofday = find_symbol("__vdso_gettimeofday");
	vdso_time = find_symbol("__vdso_time");
	vdso_getcpu = find_symbol("__vdso_getcpu");
	return 0;
}

static u64 host(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return timespec_to_ns(&ts);
}

static u64 vdso(clockid_t clock)
{
	struct timespec ts;

	assert_int_equal(vdso_clock_gettime(clock, &ts), 0);
	assert_true(timespec_valid(&ts));
	return timespec_to_ns(&ts);
}

static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI };

/* The sentry's reading lies between two of the host's, give or take `slack`. */
static void expect_near(clockid_t clock, u64 slack)
{
	for (int i = 0; i < 50; i++) {
		u64 before = host(clock), now = clock_now(clock), after = host(clock);

		if (now + slack >= before && now <= after + slack)
			return;
	}
	fail_msg("clock %d strays from the host's", clock);
}

static void before_publish(void **state)
{
	for (u32 i = 0; i < ARRAY_SIZE(clocks); i++)
		expect_near(clocks[i], 2000);
}

static void after_publish(void **state)
{
	clock_publish(page);
	usleep(15000);
	for (int round = 0; round < 10; round++) {
		for (u32 i = 0; i < ARRAY_SIZE(clocks); i++)
			expect_near(clocks[i], 5000);
		usleep(10000 << MIN(round, 6));
	}
	if (!page->span)
		print_message("the TSC is of no use here: system calls only\n");
}

static void vdso_is_the_sentry(void **state)
{
	clock_now(CLOCK_MONOTONIC);
	if (!page->span)
		skip();		/* the image would ask the host's kernel, which is not the sentry */
	for (int i = 0; i < 20000; i++) {
		for (u32 c = 0; c < ARRAY_SIZE(clocks); c++) {
			u64 a = clock_now(clocks[c]), b = vdso(clocks[c]), d = clock_now(clocks[c]);

			assert_true(a <= b && b <= d);
		}
	}
}

static void other_calls(void **state)
{
	unsigned int cpu = ~0u, node = ~0u;
	struct timespec ts;
	struct timeval tv;
	time_t now, stored;

	assert_int_equal(vdso_gettimeofday(&tv, NULL), 0);
	now = vdso_time(&stored);
	assert_int_equal(now, stored);
	assert_true(now - tv.tv_sec <= 1);
	assert_int_equal(vdso_clock_getres(CLOCK_MONOTONIC, &ts), 0);
	assert_int_equal(ts.tv_nsec, 1);
	assert_int_equal(vdso_clock_getres(CLOCK_MONOTONIC_COARSE, &ts), 0);
	assert_int_equal(timespec_to_ns(&ts), clock_resolution(CLOCK_MONOTONIC_COARSE));
	assert_int_equal(vdso_clock_gettime(77, &ts), -EINVAL);
	assert_int_equal(vdso_clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts), 0);
	assert_int_equal(vdso_getcpu(&cpu, &node, NULL), 0);
	assert_true(cpu < 4096 && node < 4096);
}

/* Readers on several threads pass one high-water mark on, across renewals of the page. */
static _Atomic u64 high_water;
static atomic_bool stop, went_back;

static void *reader(void *use_vdso)
{
	struct timespec ts;

	while (!atomic_load(&stop)) {
		u64 seen = atomic_load(&high_water), now;

		if (use_vdso && !vdso_clock_gettime(CLOCK_MONOTONIC, &ts))
			now = timespec_to_ns(&ts);
		else
			now = clock_now(CLOCK_MONOTONIC);
		if (now < seen)
			atomic_store(&went_back, true);
		while (now > seen && !atomic_compare_exchange_weak(&high_water, &seen, now))
			;
	}
	return NULL;
}

static void never_back(void **state)
{
	pthread_t threads[4];

	if (!page->span)
		skip();
	for (u64 i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, (void *)(i & 1)), 0);
	sleep(3);
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_false(went_back);
	expect_near(CLOCK_MONOTONIC, 2000);
}

static void deadlines(void **state)
{
	u64 now = clock_now(CLOCK_MONOTONIC), after;

	assert_int_equal(deadline_after(TIME_FOREVER), TIME_FOREVER);
	assert_int_equal(deadline_at(CLOCK_MONOTONIC, 5), 5);
	after = deadline_at(CLOCK_REALTIME, clock_now(CLOCK_REALTIME) + NSEC_PER_SEC);
	assert_true(after >= now && after - now < NSEC_PER_SEC + NSEC_PER_SEC / 2);
	assert_true(deadline_at(CLOCK_REALTIME, 0) >= now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_publish),
		cmocka_unit_test(after_publish),
		cmocka_unit_test(vdso_is_the_sentry),
		cmocka_unit_test(other_calls),
		cmocka_unit_test(never_back),
		cmocka_unit_test(deadlines),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
