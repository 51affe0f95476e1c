# Tests: guest programs, unit programs, the contract suite's program are built here; pytest runs them all.

GUEST_SRC := $(wildcard tests/guests/*.c)
GUESTS	:= $(patsubst tests/guests/%.c,$(BUILD)/tests/guests/%,$(GUEST_SRC))
UNIT_SRC := $(wildcard tests/unit/*.c)
UNITS	:= $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SRC))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZERS	:= $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(FUZZ_SRC))

# Guests run natively and in the sandbox: plain programs, no sanitizers.
$(BUILD)/tests/guests/%: tests/guests/%.c $(wildcard tests/guests/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Wno-unused-parameter -Werror -pthread -o $@ $< -lrt

# Fuzzing guests: as guests, but they run in the sandbox only.
FUZZ_GUESTS := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/guest_*.c))
$(FUZZ_GUESTS): $(BUILD)/tests/fuzz/guest_%: tests/fuzz/guest_%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O1 -g -Wall -Wextra -Werror -static -o $@ $<

# Hostile guests know the stub's layout; they too refuse to run outside.
HOSTILE := $(patsubst tests/hostile/%.c,$(BUILD)/tests/hostile/%,$(wildcard tests/hostile/*.c))
$(HOSTILE): $(BUILD)/tests/hostile/%: tests/hostile/%.c tests/hostile/hostile.h backends/systrap/abi.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -Icore -I. -pthread -static -o $@ $<

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/libtrapgate.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $< $(BUILD)/libtrapgate.a $(LDLIBS) -lcmocka

$(BUILD)/tests/fuzz/%: tests/fuzz/%.c $(BUILD)/libtrapgate.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $< $(BUILD)/libtrapgate.a $(LDLIBS) -lcmocka

# What the hardware lane's emulator does otherwise than processors, shown natively.
$(BUILD)/tests/amdv/emulator: tests/amdv/emulator.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -static -o $@ $<

# The hardware lane: contract suite, guests and floors on AMD-V semantics, in an emulated machine.
.PHONY: test-amdv
test-amdv: deps
	@$(MAKE) --no-print-directory tests-build
	AMDV=1 BUILD=$(BUILD) /usr/bin/python3 -B -m pytest -p no:cacheprovider -q tests/test_amdv.py $(PYTEST)

.PHONY: guests units tests-build
guests: $(GUESTS) $(FUZZ_GUESTS) $(HOSTILE)
units: $(UNITS) $(FUZZERS)
tests-build: $(BUILD)/tests/amdv/emulator all guests units $(CONTRACT)
