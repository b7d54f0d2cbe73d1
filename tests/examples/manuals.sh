#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# manuals.sh - the manual pages are clean, and refer to pages that are there; libweir(3) has every
# code, and operations.md tells what to do about it. (The pages of functions: functions.sh.)
. "$(dirname "$0")/stage.sh"

man=$SOURCE/doc/man

codes=$(sed -n 's/^\tX(\(WEIR_E[A-Z]*\), .*/\1/p' "$SOURCE/include/weir.h")
[ "$(echo "$codes" | wc -w)" -ge 20 ] || fail "only these codes in weir.h: $codes"
for code in $codes; do
	grep -q "^\.It Er $code\$\|^\.It Dv $code\$" "$man/libweir.3" ||
		fail "libweir(3) does not list $code"
	grep -q "^| \`$code\` |" "$SOURCE/doc/operations.md" ||
		fail "doc/operations.md does not say what to do about $code"
done

# weir(7) is where one begins: it names every page but those of functions.
for page in "$man"/*.[1-8]; do
	name=$(basename "$page")
	case $name in
	weir_* | weir.7) continue ;;
	esac
	grep -q "^\.\(It \)\?Xr ${name%.*} ${name##*.}" "$man/weir.7" || fail "weir(7) does not name $name"
done

# Pages refer to pages that are there.
for page in "$man"/*.[1-8]; do
	for reference in $(sed -n 's/^\.Xr \([^ ]*\) \([1-8]\).*/\1.\2/p' "$page"); do
		case $reference in
		weir* | libweir*)
			# or a link that is installed beside them
			[ -f "$man/$reference" ] || [ -f "$BUILD/doc/man/$reference" ] ||
				fail "$page: no page $reference"
			;;
		esac
	done
done

linted=
if command -v mandoc >/dev/null; then
	for page in "$man"/*.[1-8]; do
		same "what mandoc says of $page" '' "$(mandoc -T lint -W warning "$page" 2>&1 || true)"
	done
	linted=', clean to mandoc'
else
	echo "not checked: the pages with mandoc (it is not there)"
fi

command -v groff >/dev/null || {
	echo "skipped: the pages' format, as groff is not there; all else was checked"
	exit 77
}
for page in "$man"/*.[1-8]; do
	found=$(groff -t -mandoc -T utf8 -ww -z "$page" 2>&1 |
		grep -v "cannot adjust line" || true)
	same "warnings in $page" '' "$found"
done
echo "$(find "$man" -name '*.[1-8]' | wc -l) pages, clean to groff$linted, \
$(echo "$codes" | wc -w) codes"
