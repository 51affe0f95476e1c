/*
 * Address spaces: maps are entries in a page table, and nothing more; what is taken away is revoked before the call
 * returns.
 *
 * Revoking is three steps. The entries are written. Then each vCPU that runs in the address space is made to leave
 * the guest once: it may have read an old entry and be about to act on it, and KVM does not look at the entry again.
 * Then the host forgets the pages, and with them KVM every mapping of them. Whoever enters or faults after the first
 * step finds the new entry. Where the first step made another root, going over to it comes before the second: whoever
 * leaves the guest then enters by the new one, and what only the old one led to is out of use.
 */
#include "backends/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/log.h"

static struct {
	_Atomic u64 maps, unmaps, protects, batches;
} count;

static void count_one(_Atomic u64 *n) { atomic_fetch_add_explicit(n, 1, memory_order_relaxed); }

long kvm_populate;

/* ---- revoking ---- */

static _Atomic u64 marks;

static void revoke_begin(struct revoke *r, struct address_space *as)
{
	r->as = as;
	r->root = as->root;
	r->mark = atomic_fetch_add(&marks, 1) + 1;
	r->retired = r->n = 0;
	r->err = 0;
}

static void revoke_flush(struct revoke *r)
{
	int err;

	if (!r->n && r->root == r->as->root)
		return;
	if (r->root != r->as->root) {
		atomic_store(&r->as->root, r->root);
		r->mark = atomic_fetch_add(&marks, 1) + 1;
	}
	vcpus_kick_out(r->as);
	tables_destroy(&r->retired);
	for (u32 i = 0; i < r->n; i++) {
		err = machine_forget(r->piece[i].gpa, r->piece[i].len);
		if (err)
			r->err = err;
	}
	r->n = 0;
	count_one(&count.batches);
}

void revoke_add(struct revoke *r, gpa_t gpa, u64 len)
{
	if (r->n && r->piece[r->n - 1].gpa + r->piece[r->n - 1].len == gpa) {
		r->piece[r->n - 1].len += len;
		return;
	}
	if (r->n == REVOKE_PIECES)
		revoke_flush(r);
	r->piece[r->n].gpa = gpa;
	r->piece[r->n++].len = len;
}

/* A page that stays within reach can't be reported in a way that core could act on. */
static int revoke_finish(struct revoke *r)
{
	revoke_flush(r);
	if (r->err)
		die("kvm: the host does not take pages out of the guest's reach: error %d", r->err);
	return 0;
}

/* ---- operations ---- */

int kvm_as_create(struct address_space **out)
{
	struct address_space *as = calloc(1, sizeof(*as));
	int err;

	if (!as)
		return -ENOMEM;
	err = pagetable_create(as);
	if (err) {
		free(as);
		return err;
	}
	*out = as;
	return 0;
}

/* No vCPU runs on these tables any more, and none will: a switch loads another root before it enters. */
void kvm_as_destroy(struct address_space *as)
{
	pagetable_destroy(as);
	free(as);
}

int kvm_as_map(struct address_space *as, gva_t addr, u64 len, enum access prot, const struct backing *file, u64 offset,
	       u32 how)
{
	struct revoke r;
	gpa_t gpa;
	int err;

	if (file != machine.memory)
		return -ENODEV;		/* slots show the memory file only */
	revoke_begin(&r, as);
	count_one(&count.maps);
	gpa = machine_data(offset, len);
	if (!gpa)
		return -ENOMEM;
	if (prot)
		err = pagetable_map(as, addr, len, gpa, prot, &r);
	else
		err = 0, pagetable_unmap(as, addr, len, &r);
	revoke_finish(&r);
	if (kvm_populate && how & AS_MAP_POPULATE && prot && !err)
		machine_populate(gpa, len, prot & ACCESS_WRITE);
	return err;
}

int kvm_as_unmap(struct address_space *as, gva_t addr, u64 len)
{
	struct revoke r;

	revoke_begin(&r, as);
	count_one(&count.unmaps);
	pagetable_unmap(as, addr, len, &r);
	return revoke_finish(&r);
}

int kvm_as_protect(struct address_space *as, gva_t addr, u64 len, enum access prot)
{
	struct revoke r;

	revoke_begin(&r, as);
	count_one(&count.protects);
	pagetable_protect(as, addr, len, prot, &r);
	return revoke_finish(&r);
}

void kvm_map_counters(struct platform_counters *out)
{
	out->map_calls = count.maps;
	out->unmap_calls = count.unmaps;
	out->protect_calls = count.protects;
	out->batches = count.batches;
}
