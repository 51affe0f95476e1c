# systrap's stub: freestanding, general registers only, linked at STUB_BASE, carried inside the sentry.
STUB_FLAGS := -std=gnu11 -O2 -ffreestanding -fno-stack-protector -mgeneral-regs-only -fcf-protection=none -fpie \
	      -fvisibility=hidden -fno-asynchronous-unwind-tables $(WARN) -Icore -I. -MMD -MP
SYSTRAP_OBJ := $(BUILD)/systrap/stub.o $(BUILD)/systrap/entry.o
EXTRA_OBJ += $(BUILD)/systrap/blob.o

$(BUILD)/systrap/%.o: backends/systrap/image/%.c
	@mkdir -p $(@D)
	$(call say,STUB,$<)
	$(CC) $(STUB_FLAGS) -c -o $@ $<

$(BUILD)/systrap/%.o: backends/systrap/image/%.S
	@mkdir -p $(@D)
	$(CC) -MMD -MP -c -o $@ $<

$(BUILD)/systrap/systrap_stub: $(SYSTRAP_OBJ) backends/systrap/image/stub.lds
	$(LD) -static -nostdlib -T backends/systrap/image/stub.lds -o $@ $(SYSTRAP_OBJ)

$(BUILD)/systrap/blob.o: backends/systrap/image_blob.S $(BUILD)/systrap/systrap_stub
	$(CC) -Wa,-I$(BUILD)/systrap -c -o $@ $<
