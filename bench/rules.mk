# The driver, and `make bench SUITE=.. PLATFORMS=.. WORKLOADS=.. TRIALS=.. BENCH=..` (BENCH: any other option).

BENCH_OBJ	:= $(patsubst %.c,$(BUILD)/%.o,$(wildcard bench/*.c))
SUITE		?= quick

$(BUILD)/trapgate-bench: $(BENCH_OBJ)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -ljansson

all: $(BUILD)/trapgate-bench

.PHONY: bench
bench: deps
	@$(MAKE) --no-print-directory all
	@$(BUILD)/trapgate-bench --suite=$(SUITE) $(if $(PLATFORMS),'--platforms=$(PLATFORMS)') \
		$(if $(WORKLOADS),'--workloads=$(WORKLOADS)') $(if $(TRIALS),--trials=$(TRIALS)) $(BENCH)

# The emulated machine with AMD-V: bench/machine/boot.py says what is in it.
.PHONY: vm vm-shell
vm: deps
	@$(MAKE) --no-print-directory tests-build
	@BUILD=$(BUILD) bench/machine/boot.py -- $(or $(CMD),$(error vm: which command? make vm CMD=...))
vm-shell: deps
	@$(MAKE) --no-print-directory tests-build
	@BUILD=$(BUILD) bench/machine/boot.py --shell
