#!/usr/bin/env bash
# make lint: clang's warnings, cppcheck and shellcheck over all that git knows. gcc's warnings are errors in the build.
set -u
cd "$(dirname "$0")/.."
build=${1:-build}
status=0

mapfile -t sources < <(git ls-files -co --exclude-standard 'core/*.c' 'backends/*.c' 'bench/*.c' | grep -v /image/)
mapfile -t scripts < <(git ls-files -co --exclude-standard '*.sh' .ci/run)

flags=(-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter -Werror
       -Icore -I. "-I$build/gen" -pthread -fsyntax-only)
printf '%s\0' "${sources[@]}" | xargs -0 -n 8 -P "$(nproc)" clang "${flags[@]}" || status=1

cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,portability --std=c11 --max-configs=1 \
	--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=nullPointerArithmetic \
	-j "$(nproc)" -Icore -I. "-I$build/gen" -D_GNU_SOURCE -D__x86_64__ core backends bench || status=1

shellcheck "${scripts[@]}" || status=1
exit $status
