#!/usr/bin/env bash
# merge.sh DIR: unpacks what the hosts of a fleet run delivered, and builds DIR/report.html with the hosts side by side.
#
# Exit status: 0 all hosts delivered; 7 not all of them; 3 without jinja2.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$1"
runs=() notes=() late=0
while IFS=$'\t' read -r name _; do
	if [ ! -s "$name.tar.gz" ]; then
		late=7
		notes+=(--note "$name delivered nothing: $(grep -v '^block' "$name.log" 2>/dev/null | tail -n 1 | tr -d '"')")
		echo "fleet: ${notes[-1]}" >&2
		continue
	fi
	mkdir -p "$name"
	tar -C "$name" -xzf "$name.tar.gz"
	run=$(echo "$name"/*/)
	/usr/bin/python3 -B "$root/analysis/summarize.py" "$run" >"$name.txt"
	runs+=("$run")
done <hosts.tsv

[ ${#runs[@]} -gt 0 ] || { echo "fleet: no host delivered anything" >&2; exit 7; }

# Two names for one machine measured it twice: that is a test of the plumbing, not a fleet.
same=$(cat "${runs[@]/%/host.json}" | sed -n 's/.*"boot_id": "\([^"]*\)".*/\1/p' | sort | uniq -d | wc -l)
[ "$same" -eq 0 ] || notes+=(--note "Not for publication, shared host: several of these names are one machine (equal boot_id).")

head -n 1 "${runs[0]}summary.csv" >summary.csv
for run in "${runs[@]}"; do tail -n +2 "$run/summary.csv"; done >>summary.csv
/usr/bin/python3 -B "$root/analysis/report.py" "${runs[@]}" --out report.html "${notes[@]}" >/dev/null || exit
echo "fleet: ${#runs[@]} of $(wc -l <hosts.tsv) hosts  $PWD/report.html  summary.csv"
exit $late
