#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# test_fields_manual.sh WEIRCTL PAGE - weir-fields(7) against the program: every example is run and
# means what the page says, and every profile has one.
set -eu

weirctl=$1
page=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# An example is a block that begins with "$ weirctl fields": the command line, the fields up to an
# empty line, and what is printed.
awk -v folder="$scratch" '
	/^\.Bd -literal/ { begins = 1; next }
	/^\.Ed/ { file = ""; begins = 0 }
	begins && /^\$ weirctl fields/ {
		number++
		file = folder "/" number
		sub(/^\$ weirctl /, "")
		print > (file ".line")
		printf "" > (file ".in")
		printf "" > (file ".out")
		part = ".in"
		begins = 0
		next
	}
	{ begins = 0 }
	file && $0 == "" { part = ".out"; next }
	file { print > (file part) }
' "$page"

faults=0
count=0
for line in "$scratch"/*.line; do
	example=${line%.line}
	count=$((count + 1))
	eval "set -- $(cat "$line")"
	"$weirctl" "$@" <"$example.in" >"$example.is"
	if ! diff "$example.out" "$example.is"; then
		echo "the page's example: weirctl $(cat "$line")" >&2
		faults=$((faults + 1))
	fi
done

profiles=$("$weirctl" fields --profile '' </dev/null 2>&1 |
	sed -n 's/.*there are \(.*\) (see.*/\1/p' | tr -d ,)
[ "$(echo "$profiles" | wc -w)" -ge 50 ] || {
	echo "only these profiles: $profiles" >&2
	exit 1
}
for profile in $profiles; do
	grep -q "^\.It Cm $profile\$" "$page" &&
		grep -q -- "--profile $profile " "$scratch"/*.line || {
		echo "the page has no example of profile $profile" >&2
		faults=$((faults + 1))
	}
done
echo "$count examples, of $(echo "$profiles" | wc -w) profiles"
[ "$faults" -eq 0 ]
