#!/usr/bin/env bash
# Installs the Debian packages that the build, the tests and the laboratory need and that are missing here.
# On other systems it names them. Usage: deps.sh [--list|--ci]
#
# --ci adds what only some tests need and nobody should find on his machine unasked: a browser, an ssh server, Slurm. Without them
# these tests skip and say so.
set -eu

build=(gcc make binutils libc6-dev libbsd-dev libjansson-dev libpfm4-dev libseccomp-dev libzydis-dev uthash-dev)
test=(python3 procps python3-pytest python3-pytest-timeout python3-jsonschema libcmocka-dev cppcheck shellcheck clang
      busybox-static sqlite3 git perl tar gzip findutils strace)
bench=(gnuplot-nox python3-numpy python3-scipy python3-jinja2 parallel rsync)
ci=(chromium chromium-driver openssh-server slurmctld slurmd slurm-client munge libbenchmark-tools)
machine=(qemu-system-x86 cpio xz-utils)
packages=("${build[@]}" "${test[@]}" "${bench[@]}" "${machine[@]}")
[ "${1:-}" != --ci ] || packages+=("${ci[@]}")

if [ "${1:-}" = --list ]; then
	printf '%s\n' "${packages[@]}"
	exit 0
fi
if ! command -v dpkg-query >/dev/null; then
	echo "deps: not a Debian system; needed, by Debian's names: ${packages[*]}" >&2
	exit 0
fi
missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "deps: missing packages, install them as root: apt-get install ${missing[*]}" >&2
	exit 1
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
