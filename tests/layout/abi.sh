#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# abi.sh SOURCE NAME LIBRARY CC PLAIN NEEDS... - what programs that were built with NAME.h rely on,
# against abi.txt, or abi-NAME.txt of a library beside libweir: the exported symbols and their
# versions, prototypes, codes and enumerators, sizes and places of the members. The library exports
# nothing else, and needs the C library and the NEEDS alone (unless PLAIN is 0: instrumented).
# `abi.sh --write ...` writes the list anew.
set -eu
export LC_ALL=C

write=0
[ "$1" != --write ] || {
	write=1
	shift
}
again="--write $*"
source=$1 name=$2 library=$3 cc=$4 plain=$5
shift 5
case $name in
weir) list=$source/tests/layout/abi.txt least=5 ;;
*) list=$source/tests/layout/abi-$name.txt least=1 ;;
esac
stage=$(mktemp -d)
header=$stage/header # NAME.h and the topics that it includes, in one
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM
find "$source/include/$name.h" "$source/include/$name" -name '*.h' 2>/dev/null | sort |
	xargs cat >"$header"

fail()
{
	echo "fault: $*" >&2
	exit 1
}

command -v readelf >/dev/null || {
	echo "skipped: readelf (binutils) is not there"
	exit 77
}

# "symbol NAME VERSION" of all that is exported; the versions themselves are symbols too.
symbols()
{
	readelf --dyn-syms --wide "$library" | awk '
		$5 ~ /GLOBAL|WEAK/ && $7 != "UND" {
			count = split($8, at, "@+")
			if ($7 != "ABS" || at[1] !~ /^WEIR_([A-Z]+_)?[0-9.]+$/)
				print "symbol", at[1], (count > 1 ? at[2] : "unversioned")
		}' | sort
}

prototypes()
{
	awk -f "$source/tests/support/declarations.awk" "$header" |
		awk -F '\t' '{ print "function " $1 ": " $2 }' | sort
}

# Codes of the list of errors, and the enumerators.
values()
{
	sed -n -e 's/^\tX(\(WEIR_[A-Z]*\), \(-[0-9]*\),.*/value \1 \2/p' \
		-e 's/^\t\(WEIR_[A-Z_]*\) = \([0-9]*\),.*/value \1 \2/p' "$header"
}

# A program that prints "size STRUCT BYTES" and "member STRUCT.MEMBER OFFSET BYTES". Its exit
# status is 1 if a byte of a struct is no member's: then a member escaped this script.
measurer()
{
	echo '#include <stddef.h>'
	echo '#include <stdio.h>'
	echo "#include <$name.h>"
	echo 'int main(void) { size_t end = 0, gaps = 0;'
	sed -e 's|/\*.*\*/||' \
		-e '/\/\*/,/\*\// { /\/\*/! { /\*\//! d; s|.*\*/||; }; s|/\*.*||; }' "$header" | awk '
		/^struct [a-z_]+ \{/ { name = $2; next }
		name && /^}/ {
			print "gaps += (end + 7) / 8 * 8 != sizeof(struct " name ");"
			print "printf(\"size " name " %zu\\n\", sizeof(struct " name ")); end = 0;"
			name = ""
			next
		}
		name && /;/ {
			member = $0
			sub(/;.*/, "", member)
			sub(/\[.*/, "", member)
			if (match(member, /\(\*[a-z_]+\)/)) # of a function
				member = substr(member, RSTART + 2, RLENGTH - 3)
			sub(/.*[ *]/, "", member)
			of = "struct " name ", " member
			bytes = "sizeof(((struct " name " *)0)->" member ")"
			print "gaps += offsetof(" of ") != end && offsetof(" of ") != (end + 7) / 8 * 8;"
			print "end = offsetof(" of ") + " bytes ";"
			if (member == "reserved")
				next # room for members to come
			print "printf(\"member " name "." member " %zu %zu\\n\", offsetof(" of "), " bytes ");"
		}'
	echo 'return gaps != 0; }'
}

structs()
{
	measurer >"$stage/measure.c"
	"$cc" ${SYSROOT:+--sysroot="$SYSROOT"} -std=c11 -D_GNU_SOURCE -w -I"$source/include" -o "$stage/measure" "$stage/measure.c"
	${EMULATOR:+$EMULATOR} "$stage/measure" || fail "a member of $name.h was not understood"
}

{
	echo "soname $(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')"
	symbols
	prototypes
	values
	structs
} >"$stage/now"

for kind in symbol function value size member; do
	[ "$(grep -c "^$kind " "$stage/now")" -ge $least ] || fail "next to nothing of kind '$kind' found"
done
awk '$1 == "symbol" { print $2 }' "$stage/now" >"$stage/exported"
sed -n 's/^function \([^:]*\):.*/\1/p' "$stage/now" >"$stage/declared"
diff "$stage/declared" "$stage/exported" >"$stage/diff" ||
	fail "$name.h declares (<) and the library exports (>) different functions:
$(cat "$stage/diff")"
! grep 'unversioned$' "$stage/now" || fail "symbols without a version"

if [ "$plain" != 0 ]; then
	needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
		grep -v '^libc\.so\|^ld-linux' || true)
	for need; do
		needed=$(echo "$needed" | grep -v "^$need\.so\." || true)
	done
	[ -z "$needed" ] || fail "lib$name needs more than the C library${1:+, $*}: $needed"
else
	echo "not checked: what the library needs (it is instrumented)"
fi

if [ "$write" = 1 ]; then
	{
		echo "# What programs that use $name.h rely on; see abi.sh, which writes and checks it. A line"
		echo "# that goes or changes breaks them: it takes another soname."
		cat "$stage/now"
	} >"$list"
fi
grep -v '^#' "$list" >"$stage/then"
if diff "$stage/then" "$stage/now" >"$stage/diff"; then
	echo "$(wc -l <"$stage/exported") symbols and $(grep -c ^member "$stage/now") members as listed"
	exit 0
fi
cat "$stage/diff" >&2
! grep -q '^<' "$stage/diff" ||
	fail "the ABI lost or changed what stands after <: programs that rely on it break"
fail "the ABI grew by what stands after >: list it by sh $0 $again"
