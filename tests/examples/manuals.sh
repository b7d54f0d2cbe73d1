#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# manuals.sh - the manual pages are clean; libweir(3) has every public function and every code;
# operations.md tells what to do about every code.
. "$(dirname "$0")/stage.sh"

man=$SOURCE/doc/man
checked=0

synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$man/libweir.3")
for function in $(sed -n 's/^\t\(weir_[a-z_]*\);/\1/p' "$SOURCE/client/libweir.map"); do
	echo "$synopsis" | grep -q "^\.F[on] $function\( \|\$\)" ||
		fail "libweir(3) has no synopsis of $function"
	checked=$((checked + 1))
done
[ "$checked" -ge 20 ] || fail "only $checked functions in libweir.map"

codes=$(sed -n 's/^\tX(\(WEIR_E[A-Z]*\), .*/\1/p' "$SOURCE/include/weir.h")
[ "$(echo "$codes" | wc -w)" -ge 20 ] || fail "only these codes in weir.h: $codes"
for code in $codes; do
	grep -q "^\.It Er $code\$\|^\.It Dv $code\$" "$man/libweir.3" ||
		fail "libweir(3) does not list $code"
	grep -q "^| \`$code\` |" "$SOURCE/doc/operations.md" ||
		fail "doc/operations.md does not say what to do about $code"
done

# Pages refer to pages that are there.
for page in "$man"/*.[1-8]; do
	for reference in $(sed -n 's/^\.Xr \([^ ]*\) \([1-8]\).*/\1.\2/p' "$page"); do
		case $reference in
		weir* | libweir*) [ -f "$man/$reference" ] || fail "$page: no page $reference" ;;
		esac
	done
done

command -v groff >/dev/null || {
	echo "skipped: the pages' format, as groff is not there; all else was checked"
	exit 77
}
for page in "$man"/*.[1-8]; do
	found=$(groff -t -mandoc -T utf8 -ww -z "$page" 2>&1 |
		grep -v "cannot adjust line" || true)
	same "warnings in $page" '' "$found"
done
echo "$(find "$man" -name '*.[1-8]' | wc -l) pages, $checked functions, \
$(echo "$codes" | wc -w) codes"
