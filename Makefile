# Trapgate: one Makefile. `make` builds, `make test` tests, `make bench` measures; both install what they need first.
#
#   make [SAN=1|SAN=thread]     build/trapgate, build/libtrapgate.a, build/workloads/*
#   make deps                   Debian packages that are missing
#   make report RUN=...  make compare BASE=... NEW=... [GATE=1]  make export RUN=...   what a run says, what changed
#   make reproduce   published figures and claims beside this machine's
#   make fleet HOSTS=file  make fleet-slurm   the suite on many hosts, and one report
#   make test  make lint  make bench  make calls  make clean  make help
#   make test-amdv       contract suite, guests and floors on AMD-V semantics, in an emulated machine
#   make vm CMD=...  make vm-shell   in an emulated machine with AMD-V (bench/machine/boot.py)
#   make lens            instructions executed an operation, every workload under every platform; PLATFORMS= WORKLOADS=
#   make lens-breakdown  whose code executes them in one round trip (WORKLOADS=getpid)
#   make lens-check      twice, and every batch must agree   make lens-gate / lens-baseline   against results/reference/lens.csv

CC	?= gcc
OBJCOPY	?= objcopy
BUILD	?= build
ifeq ($(SAN),1)
  BUILD	:= build/san
  SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ifeq ($(SAN),thread)
  BUILD	:= build/tsan
  SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer
endif

WARN	:= -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter -Werror
CFLAGS	?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(SANFLAGS) -pthread -MMD -MP -Icore -I. -I$(BUILD)/gen
LDLIBS	:= -pthread -lZydis -ljansson -lseccomp
# The sentry stands above every guest, its heap behind it, so that a guest's page tables can show both (kvm.sentry=guest).
ifeq ($(SAN),)
  SENTRY_LDFLAGS := -pie -Wl,-no-pie,--no-relax -Wl,-Ttext-segment=0x7f0000400000
endif

CORE_SRC := $(filter-out core/main.c core/loader/vdso/%,$(wildcard core/*.c core/*/*.c))
BACKEND_SRC := $(wildcard backends/*.c backends/*/*.c)
LIB_OBJ	:= $(patsubst %.c,$(BUILD)/%.o,$(CORE_SRC) $(BACKEND_SRC))

# make V=1 shows the commands.
V	?= 0
ifneq ($(V),1)
.SILENT:
endif
say	= $(if $(filter 1,$(V)),,printf '  %-6s %s\n' $(1) $(2))

.PHONY: all
all: $(BUILD)/trapgate

# Rules of the parts: each folder that builds something special brings its own.
-include $(wildcard core/loader/rules.mk backends/*/rules.mk backends/rules.mk workloads/rules.mk bench/rules.mk analysis/rules.mk tests/rules.mk)

# What runs inside the guest as well (core/lib/inside.h): once compiled, for both places, with flags of its own.
INSIDE_SRC += core/task/inside.c core/task/futex_inside.c core/task/waitq_inside.c core/mm/pt_find.c core/fs/fd_get.c \
	core/fs/eventfd_io.c core/fs/pipe_io.c core/fs/uio.c core/syscall/sys_self.c core/syscall/sys_inside.c \
	core/lib/inside_mem.c
INSIDE_RENAME := --redefine-sym memcpy=inside_memcpy --redefine-sym memset=inside_memset
INSIDE_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(INSIDE_SRC))
INSIDE_CFLAGS = -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -MMD -MP -Icore -I. -I$(BUILD)/gen -ffreestanding -fPIE \
	-mgeneral-regs-only -mno-red-zone -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
	-fno-reorder-functions -fno-reorder-blocks-and-partition -fno-jump-tables

ifeq ($(SAN),)
$(INSIDE_OBJ): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,INSIDE,$<)
	$(CC) $(INSIDE_CFLAGS) -c -o $@ $<
	$(OBJCOPY) --rename-section .text=inside_text,alloc,load,readonly,code,contents $(INSIDE_RENAME) $@

$(BUILD)/inside.ok: tests/inside.sh $(INSIDE_OBJ)
	tests/inside.sh $(INSIDE_OBJ)
	@touch $@

$(BUILD)/libtrapgate.a: $(BUILD)/inside.ok
endif

$(BUILD)/libtrapgate.a: $(LIB_OBJ) $(EXTRA_OBJ)
	@rm -f $@
	$(AR) rcs $@ $(sort $(LIB_OBJ) $(EXTRA_OBJ))

$(BUILD)/trapgate: $(BUILD)/core/main.o $(BUILD)/libtrapgate.a
	$(call say,LD,$@)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(SENTRY_LDFLAGS) -o $@ $(BUILD)/core/main.o $(BUILD)/libtrapgate.a $(LDLIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/%.o: %.S
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

.PHONY: deps test lint help clean
deps:
	@tests/deps.sh

# -p no:cacheprovider: a test run leaves nothing in the tree.
test: deps
	@$(MAKE) --no-print-directory tests-build
	BUILD=$(BUILD) /usr/bin/python3 -B -m pytest -p no:cacheprovider -q tests $(PYTEST)

lint: deps
	@tests/lint.sh $(BUILD)

help:
	@sed -n 's/^#   //p' Makefile

# The page of system calls, from the tables.
.PHONY: calls
calls: $(BUILD)/trapgate
	$(BUILD)/trapgate calls >core/syscall/CALLS.md.new && mv core/syscall/CALLS.md.new core/syscall/CALLS.md

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
