# The stub's image (freestanding, fixed address) and the conformance suite over the platform contract.
STUB_ELF := $(BUILD)/backends/stub/image/stub.elf
EXTRA_OBJ += $(BUILD)/backends/stub/embed.o

$(STUB_ELF): backends/stub/image/stub.S backends/stub/image/stub.lds backends/stub/stub_abi.h
	@mkdir -p $(@D)
	$(CC) -I. -nostdlib -static -no-pie -Wl,-T,backends/stub/image/stub.lds -Wl,--build-id=none \
		-Wl,-z,max-page-size=4096 -o $@ $<

$(BUILD)/backends/stub/embed.o: backends/stub/embed.S $(STUB_ELF)
	@mkdir -p $(@D)
	$(CC) -DSTUB_IMAGE_FILE='"$(STUB_ELF)"' -c -o $@ $<

# The suite links the backends and the little of core that they use: a backend that reaches further fails here.
CONTRACT := $(BUILD)/tests/contract/contract
CONTRACT_SRC := $(wildcard tests/contract/*.c)
CONTRACT_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(CONTRACT_SRC) $(BACKEND_SRC) core/knob.c core/xstate.c core/lib/log.c core/lib/stamp.c core/lib/host_proc.c \
			core/host/huge_file.c)

.PHONY: contract
contract: $(CONTRACT)

.SECONDEXPANSION:
$(CONTRACT): $(CONTRACT_OBJ) $$(EXTRA_OBJ)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(SENTRY_LDFLAGS) -o $@ $^ $(LDLIBS)
