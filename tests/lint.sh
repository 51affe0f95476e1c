#!/usr/bin/env bash
# make lint: clang's warnings, cppcheck and shellcheck over all that git knows. gcc's warnings are errors in the build.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
status=0

mapfile -t sources < <(git ls-files -co --exclude-standard 'core/*.c' 'backends/*.c' 'bench/*.c' | grep -v /image/)
mapfile -t scripts < <(git ls-files -co --exclude-standard '*.sh' .ci/run)

flags=(-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter -Werror
       -Icore -I. "-I$build/gen" -pthread -fsyntax-only)
printf '%s\0' "${sources[@]}" | xargs -0 -n 8 -P "$(nproc)" clang "${flags[@]}" || status=1

# What cppcheck 2.10 gets wrong with sys/queue.h's loops, and a shift that gcc defines. gcc and clang look for these too.
# GNU C's arithmetic on void pointers, and the ends of an embedded image, are meant.
blind=(--suppress=arithOperationsOnVoidPointer --suppress=subtractPointers --suppress=comparePointers --suppress=duplicateAssignExpression
       --suppress=uninitvar --suppress=nullPointerRedundantCheck --suppress=shiftNegativeLHS)
cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,portability --std=c11 --max-configs=1 \
	--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=nullPointerArithmetic "${blind[@]}" \
	-j "$(nproc)" -Icore -I. "-I$build/gen" -D_GNU_SOURCE -D__x86_64__ core backends bench || status=1

shellcheck "${scripts[@]}" || status=1
exit $status
