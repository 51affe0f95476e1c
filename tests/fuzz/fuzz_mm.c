/*
 * Random memory calls with hostile arguments, straight into core/mm over the fake platform: nothing may crash or
 * hang, and what the platform shows must stay what the page table and the VMAs allow.
 *
 *	fuzz_mm [runs [seed]]		default 10000 runs of 40 calls, seed 1
 */
#include "../unit/fake_platform.h"

#define P	PAGE_SIZE
#define BASE	((gva_t)0x40000000)

static struct fake_file files[2];
static u8 scratch[65536];

static int fill(struct page_cache *pc, u64 index, u64 n, void *dst)
{
	return random() % 50 ? 0 : -EIO;
}
static int writeback(struct page_cache *pc, u64 pos, const void *src, u64 len) { return random() % 50 ? 0 : -EIO; }
static const struct page_cache_ops ops = { .fill = fill, .writeback = writeback };

static u64 any(u64 n) { return ((u64)random() << 31 ^ random()) % n; }

/* Mostly near each other, so that calls meet; now and then at the edges of everything. */
static gva_t address(void)
{
	static const u64 edges[] = {
		0, 1, P, GUEST_MIN - P, GUEST_MIN, GUEST_END - P, GUEST_END, GUEST_END + P, 1ull << 47, 1ull << 63,
		~0ull, -P, -P + 1,
	};

	switch (any(16)) {
	case 0:
		return edges[any(ARRAY_SIZE(edges))];
	case 1:
		return BASE + any(300 * P);
	case 2:
		return BASE + PT_LEAF_SIZE - 4 * P + any(8) * P;
	default:
		return BASE + any(64) * P;
	}
}

static u64 length(void)
{
	static const u64 edges[] = {
		0, 1, P - 1, P + 1, GUEST_END, GUEST_END - BASE, 1ull << 47, 1ull << 63, ~0ull, -P, -BASE,
	};

	switch (any(12)) {
	case 0:
		return edges[any(ARRAY_SIZE(edges))];
	case 1:
		return any(600) * P;
	default:
		return any(24) * P;
	}
}

static u32 flags(void)
{
	u32 f = any(4) ? 1 + any(2) : any(16);

	f |= any(2) ? MAP_FIXED : 0;
	f |= any(12) ? 0 : 1u << any(21);
	return f | (any(8) ? 0 : MAP_GROWSDOWN);
}

static void map(struct mm *mm)
{
	struct map_request req = {
		.addr = address(), .len = length(), .prot = any(10) ? any(8) : (u32)random(), .flags = flags(),
		.offset = any(8) ? any(64) * P : length() & PAGE_MASK,
		.limit_as = any(10) ? 0 : length(), .limit_data = any(10) ? 0 : length(),
		.limit_memlock = any(3) ? 0 : 64 * P,
	};
	u32 kind = any(4);

	if (kind < 2)
		req.file = &files[kind].file;
	else
		req.flags |= MAP_ANONYMOUS;
	mm_map(mm, &req);
}

static void remap(struct mm *mm)
{
	mm_remap(mm, &(struct remap_request){
		.addr = address() & (any(9) ? PAGE_MASK : ~0ull), .len = length(), .new_addr = address(),
		.new_len = length(), .flags = any(8), .limit_as = any(10) ? 0 : length() });
}

static void use(struct mm *mm)
{
	struct iovec iov[4];
	struct uaccess_pin pin = { .iov = iov };
	struct futex_key key;
	u32 *word;
	gva_t at = address();

	switch (any(8)) {
	case 0:
		copy_in(mm, scratch, at, any(sizeof(scratch)));
		break;
	case 1:
		copy_out(mm, at, scratch, any(sizeof(scratch)));
		break;
	case 2:
		copy_in_str(mm, (char *)scratch, at, any(5000));
		break;
	case 3:
		if (uaccess_pin(mm, at, length(), 1 + any(2), &pin, any(5)) > 0)
			uaccess_unpin(&pin);
		break;
	case 4:
		if (!uaccess_word(mm, at, any(2), 1 + any(2), &word, &key))
			uaccess_word_unpin(word);
		break;
	default:
		mm_fault(mm, at, 1 << any(3), any(2) ? length() : 8 << 20);
	}
}

static void file(void)
{
	struct page_cache *pc = &files[any(2)].cache;
	struct iovec iov = { scratch, any(sizeof(scratch)) };

	switch (any(5)) {
	case 0:
		page_cache_truncate(pc, any(4) ? any(64 * P) : length());
		break;
	case 1:
		page_cache_punch(pc, any(64 * P), length() >> 1);
		break;
	case 2:
		page_cache_write(pc, &iov, 1, any(64 * P));
		break;
	case 3:
		page_cache_read(pc, &iov, 1, any(9) ? any(64 * P) : length());
		break;
	default:
		page_cache_seek(pc, length(), any(2));
	}
}

static void call(struct mm **mm)
{
	gva_t addr = address();
	struct mm *child;
	u8 vec[64];

	switch (any(20)) {
	case 0: case 1: case 2: case 3:
		map(*mm);
		break;
	case 4:
		mm_unmap(*mm, addr, length());
		break;
	case 5: case 6:
		mm_protect(*mm, addr, length(), any(10) ? any(8) : (u32)random());
		break;
	case 7: case 8:
		remap(*mm);
		break;
	case 9:
		mm_brk(*mm, addr, 0, any(3) ? 0 : length());
		break;
	case 10: case 11:
		mm_advise(*mm, addr, length(), any(28));
		break;
	case 12:
		mm_lock(*mm, addr, length(), any(2) ? 0 : VMA_LOCKED, any(2) * 64 * P);
		break;
	case 13:
		mm_sync(*mm, addr, length(), any(9));
		break;
	case 14:
		if (any(2))
			mm_incore(*mm, addr & PAGE_MASK, any(sizeof(vec)), vec);
		else
			file();
		break;
	case 15:
		if (any(3) || mm_fork(*mm, &child))
			break;
		if (any(2)) {
			mm_put(*mm);
			*mm = child;
		} else {
			mm_put(child);
		}
		break;
	default:
		use(*mm);
	}
}

int main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 10000;

	srandom(argc > 2 ? atoi(argv[2]) : 1);
	if (memory_file_init((u64)32 << 20))
		return 1;
	for (int i = 0; i < runs; i++) {
		struct mm *mm;

		fake_fail_one_in = any(2) ? 0 : 1 + any(30);
		fake_file_init(&files[0], NULL, 64 * P, O_RDWR);
		fake_file_init(&files[1], &ops, 40 * P + 100, O_RDWR);
		if (mm_create(&mm))
			return 1;
		mm->brk = mm->brk_start = BASE + 10 * P;
		for (int k = 0; k < 40; k++)
			call(&mm);
		check_mm(mm);
		mm_put(mm);
		fake_file_destroy(&files[0]);
		fake_file_destroy(&files[1]);
		if (memory_used() || fake.spaces)
			die("run %d leaves %llu pages", i, (unsigned long long)memory_used());
	}
	return 0;
}
