#!/usr/bin/env bash
# host.sh BUNDLE COMMIT NAME OUT.tar.gz [DRIVER OPTION...]: one host's share of a fleet run; it is started there by run.sh or slurm.sh.
#
# Builds the commit out of the bundle, once, then measures alone: whoever else of a fleet is sent to this machine waits for the lock.
# FLEET_BUILD=DIR uses that build instead (hosts that share a file system). OUT.tar.gz holds the run folder and host.json.
# Exit status: the driver's; 1 if it did not come to that.
set -eu

bundle=$(realpath "$1") commit=$2 name=$3 out=$(realpath -m "$4")
shift 4

exec 9>"${FLEET_LOCK:-/tmp/trapgate-fleet.lock}"
flock 9

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build=${FLEET_BUILD:-}
if [ -z "$build" ]; then
	tree=${FLEET_CACHE:-$HOME/.cache/trapgate-fleet}/$commit
	if [ ! -d "$tree/.git" ]; then
		rm -rf "$tree" "$tree.tmp"
		git -c advice.detachedHead=false clone -q "$bundle" "$tree.tmp" 9>&-
		git -C "$tree.tmp" checkout -q --detach "$commit"
		mv "$tree.tmp" "$tree"
	fi
	make -C "$tree" deps all >"$work/build.log" 2>&1 9>&- || { tail -n 20 "$work/build.log" >&2; echo "fleet: $name: the build failed" >&2; exit 1; }
	build=$tree/build
fi

status=0
"$build/trapgate-bench" --out "$work/runs" --no-summary "$@" >&2 9>&- || status=$?
run=$(readlink -f "$work/runs/latest") || { echo "fleet: $name: the driver left no run" >&2; exit $((status ? status : 1)); }

printf '{"name": "%s", "boot_id": "%s", "commit": "%s", "status": %d}\n' "$name" "$(cat /proc/sys/kernel/random/boot_id)" "$commit" "$status" >"$run/host.json"
tar -C "$(dirname "$run")" -czf "$out.tmp" "$(basename "$run")"
mv "$out.tmp" "$out"
exit "$status"
