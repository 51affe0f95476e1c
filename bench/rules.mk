# The driver, and `make bench SUITE=.. PLATFORMS=.. WORKLOADS=.. FILTER=.. TRIALS=.. BUDGET=.. BENCH=..` (BENCH: any other
# option of build/trapgate-bench --help).

BENCH_OBJ	:= $(patsubst %.c,$(BUILD)/%.o,$(wildcard bench/*.c))
SUITE		?= quick

$(BUILD)/trapgate-bench: $(BENCH_OBJ)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -ljansson -lpfm -lm

all: $(BUILD)/trapgate-bench

bench-selection = $(if $(PLATFORMS),'--platforms=$(PLATFORMS)') $(if $(WORKLOADS),'--workloads=$(WORKLOADS)') \
		  $(if $(FILTER),'--filter=$(FILTER)') $(if $(PLACEMENTS),'--placements=$(PLACEMENTS)') \
		  $(if $(TRIALS),--trials=$(TRIALS)) $(if $(BUDGET),--budget=$(BUDGET)) $(if $(SEED),--seed=$(SEED))

.PHONY: bench
bench: deps
	@$(MAKE) --no-print-directory all
	@$(BUILD)/trapgate-bench --suite=$(SUITE) $(bench-selection) $(BENCH)

# RUN=FOLDER, by default the last one.
RUN	?= results/latest

.PHONY: bench-resume bench-extend bench-dry bench-quick doctor
bench-resume: all
	@$(BUILD)/trapgate-bench --resume $(realpath $(RUN)) $(BENCH)

bench-extend: all
	@$(BUILD)/trapgate-bench --extend $(realpath $(RUN)) $(if $(TRIALS),--trials=$(TRIALS)) $(BENCH)

bench-dry: all
	@$(BUILD)/trapgate-bench --dry-run --suite=$(SUITE) $(bench-selection) $(BENCH)

bench-quick: all
	@$(BUILD)/trapgate-bench --workloads=getpid,fault-anon,pipe-pingpong --quiet-wait=5 $(BENCH)

doctor: all
	@$(BUILD)/trapgate-bench doctor

# The emulated machine with AMD-V: bench/machine/boot.py says what is in it.
.PHONY: vm vm-shell
vm: deps
	@$(MAKE) --no-print-directory tests-build
	@BUILD=$(BUILD) bench/machine/boot.py -- $(or $(CMD),$(error vm: which command? make vm CMD=...))
vm-shell: deps
	@$(MAKE) --no-print-directory tests-build
	@BUILD=$(BUILD) bench/machine/boot.py --shell

# The instruction lens: bench/lens/lens.py says what it measures. PLATFORMS and WORKLOADS as above; LENS: any other option.
$(BUILD)/lens/trace.so: bench/lens/trace.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(WARN) -fPIC -shared -fvisibility=hidden -o $@ $<

all: $(BUILD)/lens/trace.so

.PHONY: lens lens-check lens-gate lens-baseline lens-breakdown
lens lens-check lens-gate lens-baseline: deps
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) bench/lens/lens.py $(or $(subst lens-,,$(filter lens-%,$@)),run) \
		$(if $(PLATFORMS),'--platforms=$(PLATFORMS)') $(if $(WORKLOADS),'--workloads=$(WORKLOADS)') $(LENS)
lens-breakdown: deps
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) bench/lens/breakdown.py $(if $(PLATFORMS),'--platforms=$(PLATFORMS)') \
		$(if $(WORKLOADS),'--workload=$(WORKLOADS)') $(LENS)
