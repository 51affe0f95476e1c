#!/usr/bin/env bash
# slurm.sh [DRIVER OPTION...]: the suite of this commit on every node of a Slurm cluster, as a job array with a dependent merge job.
#
# NODES="n1 n2" chooses nodes; default: all of the partition PARTITION (default: the cluster's). The nodes must see FLEET_OUT, by default
# results/fleet-<UTC>/. Each array task is tied to a node of its own, exclusively. Waits for the merge job; WAIT=no only submits.
# Exit status: the merge job's (merge.sh); 2 no node; 3 Slurm is missing.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
command -v sbatch >/dev/null || { echo "fleet: sbatch is missing (Debian package slurm-client)" >&2; exit 3; }
place=()
[ -z "${PARTITION:-}" ] || place=(--partition "$PARTITION")

read -r -a nodes <<<"${NODES:-$(sinfo -h -N -o %N "${place[@]}" | sort -u | tr '\n' ' ')}"
[ ${#nodes[@]} -gt 0 ] || { echo "fleet: the cluster shows no node" >&2; exit 2; }
commit=$(git -C "$root" rev-parse HEAD)
[ -z "$(git -C "$root" status --porcelain -uno)" ] || echo "fleet: changes that no commit holds are not measured" >&2
out=${FLEET_OUT:-$root/results/fleet-$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p "$out"
git -C "$root" bundle create -q "$out/trapgate.bundle" HEAD
printf '%s\n' "${nodes[@]}" | awk '{ printf "%02d-%s\t%s\n", NR, $1, $1 }' >"$out/hosts.tsv"

options=$(printf '%q ' "$@")
cat >"$out/task.sh" <<TASK
#!/usr/bin/env bash
cd "$out"
name=\$(sed -n "\$((SLURM_ARRAY_TASK_ID + 1))s/\t.*//p" hosts.tsv)
exec bash "$root/bench/fleet/host.sh" trapgate.bundle $commit "\$name" "\$name.tar.gz" $options >"\$name.log" 2>&1
TASK

# Held until each task is tied to its node: two tasks on one node, and none on another, would look like a fleet and be none.
array=$(sbatch --parsable --hold --job-name=trapgate --array="0-$((${#nodes[@]} - 1))" --nodes=1 --exclusive "${place[@]}" \
	--output="$out/slurm-%a.out" "$out/task.sh")
array=${array%%;*}
for i in "${!nodes[@]}"; do
	scontrol update "JobId=${array}_$i" "ReqNodeList=${nodes[$i]}"
done
scontrol release "$array"
echo "fleet: ${#nodes[@]} nodes, commit ${commit:0:12}, job array $array, $out" >&2

wait=(--wait)
[ "${WAIT:-yes}" = yes ] || wait=()
status=0
sbatch "${wait[@]}" --parsable --job-name=trapgate-merge --dependency="afterany:$array" "${place[@]}" --output="$out/merge.out" \
	--wrap "bash '$root/bench/fleet/merge.sh' '$out'" >/dev/null || status=$?
[ ${#wait[@]} -eq 0 ] || cat "$out/merge.out"
exit $status
