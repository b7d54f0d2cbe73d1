#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# documents.sh - what the documents say can be done, is done: the code of the README compiles and
# runs, the recipes of operations.md run, links lead somewhere, and tests that are named exist.
. "$(dirname "$0")/stage.sh"

# block LANGUAGE FILE: the first fenced block of that language.
block()
{
	awk -v fence="\`\`\`$1" '
		inside && /^```/ { exit }
		inside { print }
		$0 == fence { inside = 1 }' "$SOURCE/$2"
}

library=$(dirname "$BIN")/lib
cat >"$stage/weir.ini" <<'END'
[endpoint api.github.com]
rate = 100/s
burst = 100
END

# ten lines of C
block c README.md >"$stage/ten.c"
[ "$(grep -c . "$stage/ten.c")" -ge 8 ] || fail "README.md has no code"
if [ -z "$SANITIZE" ] && [ "$COVERAGE" = 0 ]; then
	$CC -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$SOURCE/include" -o "$stage/ten" \
		"$stage/ten.c" -L"$library" -lweir || fail "the code in README.md does not compile"
	start_weird "$stage/weir.ini"
	out=$(LD_LIBRARY_PATH=$library "$stage/ten") || fail "the code in README.md fails"
	same 'README.md' 'admitted' "$out"
	counted=$("$BIN/weirctl" list | awk '$1 == "api.github.com" { print $5 }')
	same 'what weirctl counted of it' 1 "$counted"
else
	echo "not run: the code in README.md (the library is instrumented)"
	start_weird "$stage/weir.ini"
fi

# Python
block python doc/operations.md >"$stage/weir.py"
[ -s "$stage/weir.py" ] || fail "doc/operations.md has no Python"
if ! command -v python3 >/dev/null; then
	echo "not run: the Python of operations.md (no python3)"
elif [ -n "$SANITIZE" ]; then
	echo "not run: the Python of operations.md (the library is instrumented)"
else
	before=$("$BIN/weirctl" list | awk '$1 == "api.github.com" { print $5 }')
	LD_LIBRARY_PATH=$library python3 "$stage/weir.py" >"$stage/out" 2>&1 ||
		fail "the Python of operations.md fails: $(cat "$stage/out")"
	after=$("$BIN/weirctl" list | awk '$1 == "api.github.com" { print $5 }')
	[ "$after" -gt "$before" ] || fail "the Python of operations.md draws nothing"
fi

# links between documents; what stands between backquotes is no link
documents=$(cd "$SOURCE" && ls README.md CHANGELOG.md CONTRIBUTING.md doc/*.md lib/README.md)
links=0
for document in $documents; do
	for link in $(sed 's/`[^`]*`//g' "$SOURCE/$document" | grep -o '](\([^)]*\)' | cut -c3-); do
		case $link in
		http*:* | '#'*) continue ;;
		esac
		[ -e "$SOURCE/$(dirname "$document")/${link%%#*}" ] || fail "$document: no $link"
		links=$((links + 1))
	done
done
[ "$links" -ge 10 ] || fail "only $links links"

# in a table of operations.md one row says what there is to say of a thing
twice=$(awk -F'|' '!/^\|/ { split("", seen); next }
	$2 !~ /^ *$/ && seen[$2]++ { print FNR ":" $2 }' "$SOURCE/doc/operations.md")
same 'rows of operations.md with the same first cell' '' "$twice"

# tests that the threat model names
named=0
for test in $(grep -o 'tests/[a-z_/]*\.\(c\|sh\)' "$SOURCE/doc/threat-model.md" | sort -u); do
	[ -f "$SOURCE/$test" ] || fail "doc/threat-model.md: no $test"
	named=$((named + 1))
done
for test in $(grep -o '`test_[a-z_0-9]*`' "$SOURCE/doc/threat-model.md" | tr -d '`' | sort -u); do
	grep -rqw "$test" "$SOURCE/tests" --include='*.c' || fail "doc/threat-model.md: no $test"
	named=$((named + 1))
done
[ "$named" -ge 10 ] || fail "doc/threat-model.md names only $named tests"
echo "the documents' code runs; $links links and $named tests that they name are there"
