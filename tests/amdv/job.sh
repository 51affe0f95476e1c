#!/bin/sh
# Inside the emulated machine: every case of the contract suite, every guest program and the floors, on each platform.
#
# Prints a line a case: "row", kind, platform, knobs, name, exit status and milliseconds, separated by tabs; before it,
# if the case failed, the end of what it printed, each line behind a "|". PLATFORM native runs the guests without a sandbox.
# usage: job.sh SECONDS PLATFORM[:KNOB=VALUE] ...
set -u
limit=$1
shift
tree=$PWD

now() { cut -d' ' -f1 /proc/uptime | tr -d .; }

# case_run KIND NAME COMMAND...: under the names of $platform and $knobs
case_run() {
	kind=$1 name=$2
	shift 2
	rm -rf /tmp/case
	mkdir /tmp/case
	began=$(now)
	(cd /tmp/case && exec timeout -s KILL "$limit" "$@") >/tmp/log 2>&1 </dev/null
	status=$?
	ended=$(now)
	[ $status -eq 0 ] || [ "$kind" = floor ] || tail -n 20 /tmp/log | sed 's/^/| /'
	printf 'row\t%s\t%s\t%s\t%s\t%d\t%d\n' "$kind" "$platform" "$knobs" "$name" $status $(((ended - began) * 10))
}

contract() {
	for name in $("$tree/build/tests/contract/contract" --list); do
		case_run contract "$name" "$tree/build/tests/contract/contract" "$platform" "$name"
	done
}

guests() {
	for program in "$tree"/build/tests/guests/*; do
		case_run guest "${program##*/}" "$@" "$program"
	done
}

floors() {
	for program in "$tree"/build/workloads/floor-*; do
		case_run floor "${program##*/}" "$program" 100 3 0
	done
}

for variant in "$@"; do
	platform=${variant%%:*} knobs=${variant#"$platform"}
	knobs=${knobs#:}
	if [ "$platform" = native ]; then
		floors
		guests
		continue
	fi
	export CONTRACT_KNOBS="$knobs"
	contract
	guests "$tree/build/trapgate" run "--platform=$platform" ${knobs:+"--knob=$knobs"} --
done
