# The vDSO: a shared object without libc, without the sentry's flags, carried inside the sentry as bytes.

VDSO_SO	:= $(BUILD)/core/loader/vdso/vdso.so
VDSO_SRC := core/loader/vdso
VDSO_CFLAGS := -std=gnu11 -D_GNU_SOURCE -O2 $(WARN) -Icore -fPIC -ffreestanding -fno-builtin -fno-stack-protector \
	-fcf-protection=none -fvisibility=hidden -fno-math-errno -mno-avx -fasynchronous-unwind-tables
VDSO_LDFLAGS := -nostdlib -shared -Wl,-T,$(VDSO_SRC)/vdso.lds -Wl,-soname,linux-vdso.so.1 -Wl,-Bsymbolic \
	-Wl,--hash-style=both -Wl,--build-id=sha1 -Wl,--eh-frame-hdr -Wl,-z,max-page-size=4096 -Wl,-z,noseparate-code

$(VDSO_SO): $(VDSO_SRC)/vdso.c $(VDSO_SRC)/vvar.h $(VDSO_SRC)/vdso.lds core/lib/types.h
	@mkdir -p $(@D)
	$(CC) $(VDSO_CFLAGS) $(VDSO_LDFLAGS) -o $@ $<
	strip --strip-unneeded $@

$(BUILD)/$(VDSO_SRC)/image.o: $(VDSO_SRC)/image.S $(VDSO_SO)
	@mkdir -p $(@D)
	$(CC) -DVDSO_IMAGE='"$(VDSO_SO)"' -c -o $@ $<

EXTRA_OBJ += $(BUILD)/$(VDSO_SRC)/image.o

# Tests that load programs from buffers instead of from a file system.
$(BUILD)/tests/unit/test_loader $(BUILD)/tests/fuzz/fuzz_elf: private ALL_CFLAGS += -Wl,--wrap=vfs_open_exec
$(BUILD)/tests/unit/test_loader $(BUILD)/tests/fuzz/fuzz_elf: tests/unit/loader_env.h
