#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - how much of lib/ and client/ the fast suites reach: builds the coverage preset, runs
# them, prints gcovr's figures and what is not reached. Fails below 95 % of lines or 90 % of
# branches, and when a line that is not reached is not in uncovered.txt, which says why.
# JOBS=N sets how many compilers and tests run at once; REPORT=FILE writes gcovr's pages there.
set -eu
cd "$(dirname "$0")/../.."

jobs=${JOBS:-2}
build=$PWD/build-coverage
figures=$(mktemp)
trap 'rm -f "$figures"' EXIT
trap 'exit 1' HUP INT TERM

cmake --preset coverage -DBUILD_TESTING=ON >/dev/null
# what earlier runs have counted; notes of sources that are no more
find "$build" -name '*.gcda' -delete
cmake --build "$build" --parallel "$jobs"
find "$build" -name '*.gcno' | while read -r notes; do
	[ -f "${notes%.gcno}.o" ] || rm -f "$notes"
done
# Not "crash": stepping through an instrumented program takes ten times as long, and these
# processes are killed before they can tell what they ran. Not "model": it compiles the same sources
# with a hook in each atomic access, and what is reached there is another program's code.
# A second try, told as such: an instrumented build asks what is reached; whether the tests pass is
# asked of the other builds, which allow none.
ctest --test-dir "$build" -L '^(unit|race|layout|ctl|daemon|uv|http|fetch)$' \
	-LE '^(crash|soak|bench|real)$' --output-on-failure --timeout 300 -j"$jobs" \
	--repeat until-pass:2

status=0
gcovr --root . --object-directory "$build" --filter lib/ --filter client/ \
	--exclude-directories '.*/model_stepped\.dir.*' \
	--json "$figures" ${REPORT:+--html-details "$REPORT"} --print-summary \
	--fail-under-line 95 --fail-under-branch 90 || status=$?
python3 tests/coverage/uncovered.py "$figures" tests/coverage/uncovered.txt || status=1
exit "$status"
