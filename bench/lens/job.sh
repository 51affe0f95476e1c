#!/bin/sh
# Inside the counting machine: every workload and floor once, under one platform. A sample page each in $RESULT.
#
# usage: job.sh PLATFORM KNOBS INNER BATCHES WARMUP NAME[:INNER]...     KNOBS: k=v;k=v, or empty
# $RESULT/NAME is the page, $RESULT/NAME.status the exit status and the last line of standard error.
set -u
platform=$1 knobs=$2 inner=$3 batches=$4 warmup=$5
shift 5
limit=60		# seconds of guest time: so many thousand million instructions

options=
for knob in $(echo "$knobs" | tr ';' ' '); do
	options="$options --knob=$knob"
done

for case in "$@"; do
	name=${case%%:*}
	count=$inner
	[ "$case" = "$name" ] || count=${case#*:}
	set -- "build/workloads/$name" "$count" "$batches" "$warmup"
	# shellcheck disable=SC2086
	[ "$platform" = native ] || set -- build/trapgate run "--platform=$platform" $options -- "$@"
	timeout -s KILL $limit "$@" >"$RESULT/$name" 2>/tmp/err </dev/null
	echo "$? $(tail -n 1 /tmp/err)" >"$RESULT/$name.status"
done
