#!/bin/sh
# tests/inside.sh OBJECT...: the objects that also run in ring 0 (core/lib/inside.h) need nothing but each other, the
# gates, and data; they use no vector or x87 registers, no segment bases, and make no host call. Part of the build.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad() { echo "inside.sh: $1" >&2; cat "$tmp/found" >&2; exit 1; }

# Data of the rest of the sentry that they may look at, and ring 0's own assembly.
cat >"$tmp/allowed" <<'DATA'
_GLOBAL_OFFSET_TABLE_
clock_line
futex_buckets
inside_emulated
inside_host_halt
memory_base
strace_on
DATA

ld -r -o "$tmp/all.o" "$@"
nm -u "$tmp/all.o" | sed 's/^ *U //' | grep -v '^gate_' | grep -vxF -f "$tmp/allowed" >"$tmp/found" &&
	bad "they would leave the guest through:"
objdump -d --no-show-raw-insn "$tmp/all.o" >"$tmp/code"
grep -E '%([xyz]mm|st|mm[0-7]|fs:|gs:)|	(syscall|sysenter|int |cpuid|f[a-z]+)([ 	]|$)' "$tmp/code" >"$tmp/found" &&
	bad "ring 0 may not:"
nm "$tmp/all.o" | grep -E ' [TtWw] ' >/dev/null || bad "there is nothing in them"
readelf -SW "$tmp/all.o" | grep -E ' \.text[. ]' | grep -vE ' 0+ +[0-9a-f]+ +AX| 000000 ' >"$tmp/found" &&
	bad "code outside of inside_text:"
exit 0
