#!/usr/bin/env bash
# run.sh HOSTS [DRIVER OPTION...]: the suite of this commit on every host of a file, all at once and alone on each, by ssh.
#
# HOSTS holds a host a line as GNU parallel's --sshlogin takes it: NAME, USER@NAME, or a whole `ssh -p 2222 NAME`; # begins a
# comment. A host needs git, make, rsync, tar and what tests/deps.sh lists. Results go to FLEET_OUT, by default results/fleet-<UTC>/.
# Exit status: 0; 2 wrong usage; 3 GNU parallel or rsync is missing; 7 a host did not deliver (the others are reported all the same).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
hosts=${1:-}
[ -r "$hosts" ] || { echo "fleet: HOSTS=file is needed: a host a line" >&2; exit 2; }
shift
for tool in parallel rsync; do
	command -v "$tool" >/dev/null || { echo "fleet: $tool is missing (Debian package $tool)" >&2; exit 3; }
done

commit=$(git -C "$root" rev-parse HEAD)
[ -z "$(git -C "$root" status --porcelain -uno)" ] || echo "fleet: changes that no commit holds are not measured" >&2
out=${FLEET_OUT:-$root/results/fleet-$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p "$out"
cd "$out"
git -C "$root" bundle create -q "$out/trapgate.bundle" HEAD
cp "$root/bench/fleet/host.sh" .

# name TAB sshlogin: a name that files may have, one a host.
sed 's/#.*//; s/[[:space:]]*$//' "$hosts" | grep -v '^$' | awk '{ name = $NF; sub(/.*@/, "", name); gsub(/[^A-Za-z0-9._-]/, "-", name)
	printf "%02d-%s\t%s\n", NR, name, $0 }' >hosts.tsv
[ -s hosts.tsv ] || { echo "fleet: $hosts names no host" >&2; exit 2; }

options=$(printf '%q ' "$@")
export options commit FLEET_BUILD FLEET_CACHE FLEET_LOCK
one_host() {
	local name=$1 login=$2
	# A folder of its own on the host, gone afterwards; the bundle there, the results back.
	parallel --will-cite -j1 -S "$login" --workdir ... --transferfile host.sh --transferfile trapgate.bundle --return "{}.tar.gz" --cleanup \
		"FLEET_BUILD=${FLEET_BUILD:-} FLEET_CACHE=${FLEET_CACHE:-} FLEET_LOCK=${FLEET_LOCK:-} bash host.sh trapgate.bundle $commit {} {}.tar.gz $options" \
		::: "$name" >"$name.log" 2>&1
}
export -f one_host
echo "fleet: $(wc -l <hosts.tsv) hosts, commit ${commit:0:12}, $out" >&2
parallel --will-cite -j0 --colsep '\t' --joblog joblog.tsv -a hosts.tsv one_host '{1}' '{2}' || true

exec "$root/bench/fleet/merge.sh" "$out"
