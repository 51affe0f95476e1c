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
