/*
 * trace.so: a plugin for QEMU's TCG that writes the address of every instruction executed in a few rounds of a loop.
 *
 *   -plugin trace.so,mark=HEX,bytes=HEX,skip=N,rounds=M,out=FILE
 *
 * A round goes from one execution of the instruction at `mark` (whose code begins with `bytes`, so that another program
 * with code at the same address is not taken for it) to the next. After `skip` rounds, `rounds` are written: u64 addresses, a
 * round beginning with `mark`. Then the plugin lets go of the machine, which runs on to its end.
 *
 * Instrumented code is slow, so nothing is until the loop has been seen; then all that was translated before is thrown
 * away and translated anew. One virtual CPU, so one thread. The few lines of QEMU's plugin interface (version 1) that are
 * used here are declared here, since Debian ships no header.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t u64;

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void tb_cb(u64 id, struct qemu_plugin_tb *tb);
typedef void insn_cb(unsigned int vcpu, void *arg);

extern void qemu_plugin_register_vcpu_tb_trans_cb(u64 id, tb_cb *cb);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, insn_cb *cb, int flags, void *arg);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern u64 qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_reset(u64 id, void (*cb)(u64 id));

int qemu_plugin_install(u64 id, const void *info, int argc, char **argv);
__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static struct {
	u64 mark, skip, rounds;
	unsigned char bytes[16];
	size_t nbytes;
	FILE *out;
} want = { .skip = 64, .rounds = 8 };

static u64 self, rounds;				/* executions of the mark so far */
static bool writing, instrumented;

/* A trace that is cut short must not look whole. */
static void check(bool ok)
{
	if (ok)
		return;
	fprintf(stderr, "trace: cannot write: %s\n", strerror(errno));
	_exit(1);
}

static void put(u64 addr)
{
	check(fwrite(&addr, sizeof(addr), 1, want.out) == 1);
}

static void let_go(u64 id)
{
	(void)id;
}

static void finish(void)
{
	check(!fclose(want.out));
	want.out = NULL;
	writing = false;
	qemu_plugin_reset(self, let_go);
}

static void on_mark(unsigned int vcpu, void *arg)
{
	(void)vcpu;
	(void)arg;
	if (!want.out)
		return;
	writing = ++rounds > want.skip;
	if (rounds == want.skip + want.rounds + 1)
		finish();
	else if (writing)
		put(want.mark);
}

static void on_insn(unsigned int vcpu, void *addr)
{
	(void)vcpu;
	if (writing)
		put((u64)addr);
}

static bool is_mark(const struct qemu_plugin_insn *insn)
{
	return qemu_plugin_insn_vaddr(insn) == want.mark && qemu_plugin_insn_size(insn) >= want.nbytes &&
	       !memcmp(qemu_plugin_insn_data(insn), want.bytes, want.nbytes);
}

static void instrument(u64 id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;

	(void)id;
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (is_mark(insn))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, 0, NULL);
		else
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_insn, 0, (void *)qemu_plugin_insn_vaddr(insn));
	}
}

static void begin(u64 id)
{
	qemu_plugin_register_vcpu_tb_trans_cb(id, instrument);
}

static void look(u64 id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;

	for (i = 0; !instrumented && i < n; i++) {
		if (!is_mark(qemu_plugin_tb_get_insn(tb, i)))
			continue;
		instrumented = true;
		qemu_plugin_reset(id, begin);
	}
}

static bool take_bytes(const char *hex)
{
	unsigned int byte;

	for (; *hex && want.nbytes < sizeof(want.bytes); hex += 2) {
		if (sscanf(hex, "%2x", &byte) != 1 || !hex[1])
			return false;
		want.bytes[want.nbytes++] = byte;
	}
	return !*hex && want.nbytes;
}

static bool take(const char *arg)
{
	const char *value = strchr(arg, '=');

	if (!value++)
		return false;
	if (!strncmp(arg, "mark=", 5))
		want.mark = strtoull(value, NULL, 16);
	else if (!strncmp(arg, "bytes=", 6))
		return take_bytes(value);
	else if (!strncmp(arg, "skip=", 5))
		want.skip = strtoull(value, NULL, 10);
	else if (!strncmp(arg, "rounds=", 7))
		want.rounds = strtoull(value, NULL, 10);
	else if (!strncmp(arg, "out=", 4))
		want.out = fopen(value, "wb");
	else
		return false;
	return true;
}

__attribute__((visibility("default"))) int qemu_plugin_install(u64 id, const void *info, int argc, char **argv)
{
	int i;

	(void)info;
	self = id;
	for (i = 0; i < argc; i++) {
		if (take(argv[i]))
			continue;
		fprintf(stderr, "trace: what is %s?\n", argv[i]);
		return -1;
	}
	if (!want.mark || !want.nbytes || !want.out || !want.rounds) {
		fprintf(stderr, "trace: mark, bytes and out (a file that can be written) are needed\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, look);
	return 0;
}
