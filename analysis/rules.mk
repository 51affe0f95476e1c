# What is made of runs: comparisons, reports, exports, fleets, and the published figures beside ours.

RUN		?= results/latest
ANALYSIS	= /usr/bin/python3 -B analysis

.PHONY: compare report export fleet fleet-slurm reproduce claims
compare:
	@test -n "$(BASE)" -a -n "$(NEW)" || { echo 'compare: BASE=results/... NEW=results/... are needed' >&2; exit 2; }
	@$(ANALYSIS)/compare.py '$(BASE)' '$(NEW)' $(if $(GATE),--gate)

report:
	@$(ANALYSIS)/summarize.py '$(RUN)'

export:
	@$(ANALYSIS)/export.py '$(RUN)'

# HOSTS: a file with a host a line. SUITE and BENCH are the driver's, as for bench.
fleet:
	@bench/fleet/run.sh '$(HOSTS)' --suite=$(SUITE) $(BENCH)

fleet-slurm:
	@bench/fleet/slurm.sh --suite=$(SUITE) $(BENCH)

reproduce: deps
	@$(MAKE) --no-print-directory all
	@$(ANALYSIS)/reproduce.py $(if $(RUNS),$(RUNS),--build '$(BUILD)') $(REPRODUCE)

# CLAIMS.md out of claims.json.
claims:
	@$(ANALYSIS)/reproduce.py --claims >analysis/published/CLAIMS.md
