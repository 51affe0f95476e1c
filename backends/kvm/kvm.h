/*
 * The KVM backend's own seams. One VM; its guest-physical space is the private slot (ring0/layout.h), the page tables
 * and the memory file; vCPUs are lent to contexts while they run.
 *
 * Locks: pool.lock (vcpu.c) covers who owns a vCPU; tables.lock (tables.c) the table allocator. Both are leaves.
 */
#ifndef TG_KVM_KVM_H
#define TG_KVM_KVM_H

#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "backends/kvm/ring0/cpu.h"
#include "lib/stamp.h"
#include "platform.h"

enum { KICK_SIGNAL = SIGURG, XSAVE_MAX = 16384 };	/* bytes; AMX fits */

extern const u8 ring0_image[], ring0_lstar[], ring0_cstar[], ring0_iret[], ring0_sysret[], ring0_image_end[];
extern const u8 ring0_loop[], ring0_loop_end[], ring0_own_fault[], inside_halted[];
/* The ways through ring 0 with the sentry in the guest, each with and without kvm.kpti. */
extern const u8 ring0_fault[], ring0_fault_clac[], ring0_fault_back[], ring0_fault_end[], ring0_fault_host[],
	ring0_fault_stop[], ring0_fault_kpti[], ring0_fault_clac_kpti[], ring0_fault_back_kpti[], ring0_fault_end_kpti[],
	ring0_fault_host_kpti[], ring0_fault_stop_kpti[];
extern const u8 ring0_call[], ring0_call_back[], ring0_call_end[], ring0_call_host[], ring0_call_stop[],
	ring0_call_page_end[], ring0_call_kpti[], ring0_call_back_kpti[], ring0_call_end_kpti[], ring0_call_host_kpti[],
	ring0_call_stop_kpti[], ring0_call_page_end_kpti[];

/* Guest-virtual address of a place in ring 0's text. */
static inline u64 ring0_va(const u8 *label)
{
	return RING0_BASE + RING0_PAGE_TEXT * PAGE_SIZE + ((u64)label - (u64)ring0_image);
}

/* ---- machine.c: the VM and its slots ---- */

struct machine {
	int kvm, vm;
	size_t run_size, xsave_size;
	int max_vcpus;
	u8 *private;				/* RING0_PAGES pages at guest-physical 0 */
	const struct backing *memory;
	inside_fn inside;			/* core's */
	bool sentry_inside, kpti;		/* residency.c */
};

extern struct machine machine;			/* immutable after kvm_init */

int machine_probe(char *why, size_t len);
int machine_init(const struct backing *memory);
void machine_exit(void);
void machine_fill_idt(void);
void machine_use_smap(void);			/* ring 0 has CLAC: before the first guest */

/* Guest-physical address of [offset, offset+len) of the memory file, with slots behind it; 0: no slot to be had. */
gpa_t machine_data(u64 offset, u64 len);
static inline u8 *machine_private(u32 page) { return machine.private + page * PAGE_SIZE; }

/* The sentry's own view of memory that is in a page table. */
u8 *machine_data_ptr(gpa_t gpa);

/* The host forgets the pages of [gpa, gpa+len), data only: every shadow or nested mapping of them is gone on return. */
int machine_forget(gpa_t gpa, u64 len);
/* The host maps them now, in one go: a page that KVM has to ask for alone costs ten times that. Only a hint. */
void machine_populate(gpa_t gpa, u64 len, bool write);
/* Every shadow page table is gone on return; costs each running guest a fault a page. */
int machine_forget_tables(void);
int machine_add_tables(u64 from, u64 to);	/* slots over this range of bytes of the table area */
extern u8 *machine_tables;			/* the table area in the host */

/* The sentry's own addresses in the VM: GiB number n at addr; a range that is in other slots already. 0: can't be. */
gpa_t machine_add_sentry(u32 n, u64 addr);
gpa_t machine_sentry_gpa(u32 n);
bool machine_has_own_slot(u64 addr, u64 len);
gpa_t machine_own_gpa(u64 addr, u64 len);

enum { TABLES_MAX = 1 << 20, TABLES_STEP = 1 << 14 };	/* page tables: all, and a slot's */
#define GPA_TABLES	((gpa_t)4 << 30)
#define GPA_DATA	(GPA_TABLES + TABLES_MAX * PAGE_SIZE)

/* ---- tables.c: pages for page tables ---- */

int tables_init(void);
void tables_exit(void);
gpa_t table_create(void);			/* zeroed; 0: no memory */
void table_destroy(gpa_t table);		/* not used again before shadows of it are gone */
void tables_settle(void);			/* make what was destroyed usable now */
static inline _Atomic u64 *table_at(gpa_t table) { return (_Atomic u64 *)(machine_tables + (table - GPA_TABLES)); }
u64 tables_shown(void);				/* bytes of the area that have a slot */
u16 *table_live(gpa_t table);			/* entries in use, kept by pagetable.c */
u64 *table_mark(gpa_t table);			/* pagetable.c's; 0 in a new one */
void table_retire(u32 *list, gpa_t table);	/* to be destroyed with the rest of the list, which begins as 0 */
void tables_destroy(u32 *list);

/* ---- sentry.c, residency.c: the sentry in the guest ---- */

int sentry_init(char *why, size_t len);
void sentry_exit(void);
bool sentry_show(u64 addr);			/* to ring 0, on its fault; false: it has no business there */
int residency_choose(void);
extern long kvm_sentry, kvm_kpti;		/* knobs */
extern const char *const kvm_sentry_choices[];

/* Indexes at the top of a page table: the sentry's two entries, and RING0_BASE. */
enum { SENTRY_INDEX = GUEST_END >> 39, KERNEL_INDEX = 256 };

/* ---- pagetable.c ---- */

struct address_space {
	_Atomic gpa_t root;
	u64 empty_blocks;			/* leaf tables with no entry in use, and entries that are GONE */
};

struct revoke;

/* Under core's lock for the address space. Entries that lose access are added to `r`. */
int pagetable_create(struct address_space *as);
void pagetable_destroy(struct address_space *as);
int pagetable_map(struct address_space *as, gva_t addr, u64 len, gpa_t gpa, enum access prot, struct revoke *r);
void pagetable_unmap(struct address_space *as, gva_t addr, u64 len, struct revoke *r);
void pagetable_protect(struct address_space *as, gva_t addr, u64 len, enum access prot, struct revoke *r);
/* What the guest may run at addr, within a page; false: nothing. Any thread, without core's lock. */
bool pagetable_read(struct address_space *as, gva_t addr, u8 *buf, size_t len);
void pagetable_init_kernel(void);		/* the shared part, in the private slot */
extern long kvm_large_pages;			/* knob */

/* ---- map.c ---- */

enum { REVOKE_PIECES = 128 };

/* Guest-physical ranges that an address space has lost, not yet out of its reach. */
struct revoke {
	struct address_space *as;
	gpa_t root;				/* as->root, or the one that will be it */
	u64 mark;				/* of tables that only this operation knows */
	u32 retired;				/* tables.c's list of those that are then out of use */
	u32 n;
	int err;
	struct { gpa_t gpa; u64 len; } piece[REVOKE_PIECES];
};

void revoke_add(struct revoke *r, gpa_t gpa, u64 len);
int kvm_as_create(struct address_space **out);
void kvm_as_destroy(struct address_space *as);
int kvm_as_map(struct address_space *as, gva_t addr, u64 len, enum access prot, const struct backing *file, u64 offset,
	       u32 how);
int kvm_as_unmap(struct address_space *as, gva_t addr, u64 len);
int kvm_as_protect(struct address_space *as, gva_t addr, u64 len, enum access prot);
extern long kvm_populate;			/* knob */
void kvm_map_counters(struct platform_counters *out);

/* ---- vcpu.c, cpu_state.c ---- */

struct context;

struct vcpu {
	int fd, id;
	struct kvm_run *run;
	u8 *area;				/* its pages of ring 0 memory, in the host */
	u64 area_va;
	struct ring0_cpu *cpu;			/* in them */

	_Atomic bool busy;			/* some thread runs it, or takes it over */
	struct context *owner;			/* whose extended state it holds; written by who holds busy */
	struct vcpu *handoff;			/* pool.lock */
	bool broken, has_cpuid;			/* broken: to be set up anew */

	/* Of the run under way; for those who kick. */
	_Atomic(struct address_space *) running;
	_Atomic pid_t tid;
	_Atomic u32 seq;			/* counts entries and exits */
	_Atomic u32 watchers;			/* sleepers on seq */
	_Atomic bool preempt;
};

extern long kvm_vcpus;				/* knob */

int vcpu_pool_init(int ncpus);
struct vcpu *vcpu_first(void);			/* made, but nobody's; at start-up */
void vcpu_pool_exit(void);
struct vcpu *vcpu_get(struct context *ctx);	/* NULL: none can be made */
void vcpu_put(struct vcpu *v);
void vcpu_disown(struct context *ctx);		/* it is going */
int vcpu_fp_read(struct context *ctx);		/* to ctx->fp, if a vCPU has it */
void vcpu_kick(struct vcpu *v, pid_t tid);
void vcpu_passed(struct vcpu *v);		/* this vCPU is out of the guest */
void vcpus_kick_out(struct address_space *as);	/* on return each vCPU in it has left once */
int vcpu_set_up(struct vcpu *v);		/* cpu_state.c: all registers */
bool cpu_has_smap(void);
int vcpu_load_fp(struct vcpu *v, const void *image);
int vcpu_save_fp(struct vcpu *v, void *image);

/* ---- switch.c, event.c ---- */

enum fp_home { FP_INITIAL, FP_IMAGE, FP_VCPU };

struct context {
	/* Any thread. */
	_Atomic(struct vcpu *) running;		/* the vCPU it is in switch_to with */
	_Atomic bool interrupted;

	_Atomic(struct vcpu *) vcpu;		/* which holds its state; cleared under pool.lock */
	enum fp_home fp_home;			/* owner's thread, or a taker under pool.lock */
	u8 *fp;
	pid_t tid;
};

int kvm_context_create(struct context **out);
void kvm_context_destroy(struct context *ctx);
int kvm_switch_to(struct context *ctx, struct address_space *as, struct guest_regs *regs, struct event *ev);
void kvm_interrupt(struct context *ctx);
int kvm_fp_read(struct context *ctx, void *buf);
int kvm_fp_write(struct context *ctx, const void *buf);

static inline u64 vcpu_cpu_va(const struct vcpu *v) { return v->area_va + CPU_OFFSET; }

/*
 * What the vCPU's state after KVM_RUN means. DECODED: *regs and *ev. NOT_ENTERED: the guest has not run since
 * the last entry. IN_GUEST: stopped in ring 3 or on the way there, *regs filled. IN_SENTRY: ring 0 has work to do
 * first, and is to run on.
 */
enum decoded { DECODED, NOT_ENTERED, IN_GUEST, IN_SENTRY };
enum decoded event_decode(struct vcpu *v, struct guest_regs *regs, struct event *ev);
/* The vCPU stands in ring 0 where it must run on before anything is done to it; cheap. */
bool event_in_sentry(const struct vcpu *v);
void event_protection(struct event *ev);	/* #GP as for a return to where no user code can be */

extern _Atomic u64 kvm_host_calls;
static inline void count_host_calls(u64 n) { atomic_fetch_add_explicit(&kvm_host_calls, n, memory_order_relaxed); }

#endif
