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
