#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# functions.sh LIBRARY - every function that the library's header and its topics declare is
# exported and has a manual page: with the sections and guarantees that all of them have, the
# header's own prototype, codes that exist and all that the header names, and an example that
# compiles. No page is of anything else. LIBRARY is weir, or the name of one beside it.
. "$(dirname "$0")/stage.sh"

library=$1
man=$SOURCE/doc/man
header=$stage/header # the installed one and the topics that it includes, in one
find "$SOURCE/include/$library.h" "$SOURCE/include/$library" -name '*.h' 2>/dev/null | sort |
	xargs cat >"$header"
flags= # what the header's own includes need
case $library in
weir) folder=client least=20 ;;
*)
	folder=client/${library#weir-} least=3
	needs=$(sed -n 's/^Requires: weir //p' "$BUILD/$folder/$library.pc")
	[ -z "$needs" ] || flags=$(pkg-config --cflags "$needs")
	;;
esac

# The prototypes in the SYNOPSIS of a page, in the same form.
synopsis()
{
	awk '
	function argument(text)
	{
		gsub(/"/, "", text)
		return text
	}
	function emit()
	{
		text = type " " name "(" arguments ")"
		gsub(/ ?\* ?/, " *", text)
		gsub(/\* \*/, "**", text)
		gsub(/ ?\( ?\*/, "(*", text)
		print text
	}
	/^\.Sh/ { inside = $2 == "SYNOPSIS" }
	!inside { next }
	/^\.Ft/ { sub(/^\.Ft /, ""); type = $0 }
	/^\.Fo/ { name = $2; arguments = "" }
	/^\.Fa/ {
		sub(/^\.Fa /, "")
		arguments = arguments (arguments ? ", " : "") argument($0)
	}
	/^\.Fc/ { emit() }
	/^\.Fn/ {
		name = $2
		sub(/^\.Fn [^ ]* /, "")
		gsub(/" "/, ", ")
		arguments = argument($0)
		emit()
	}' "$1"
}

# The lines of a section.
section()
{
	awk -v title="$1" '
		/^\.Sh / { inside = substr($0, 5) == title; next }
		inside' "$2"
}

# The page of a function: its own, or the one that the installed link leads to.
page_of()
{
	if [ -f "$man/$1.3" ]; then
		echo "$man/$1.3"
	elif [ -f "$BUILD/doc/man/$1.3" ]; then
		echo "$man/$(sed -n 's|^\.so man3/||p' "$BUILD/doc/man/$1.3")"
	fi
}

codes_of_header=" $(sed -n 's/^\tX(\(WEIR_E[A-Z]*\), .*/\1/p' "$SOURCE/include/weir.h" | tr '\n' ' ')"

check_page()
{
	page=$1
	for title in NAME LIBRARY SYNOPSIS DESCRIPTION GUARANTEES 'RETURN VALUES' EXAMPLES ERRORS \
		'SEE ALSO'; do
		[ -n "$(section "$title" "$page")" ] || fail "$page: no section $title"
	done
	for word in Progress Blocking Memory Threads Forks Signals Killed; do
		section GUARANTEES "$page" | awk -v word="$word" '
			found && !/^\./ { said = 1 }
			/^\.It/ { found = $2 == word }
			/^\.(Xr|Fn)/ && found { said = 1 }
			END { exit !said }' || fail "$page: GUARANTEES says nothing under $word"
	done
	for code in $(grep -v '^\.Dt' "$page" | grep -o 'WEIR_E[A-Z]*'); do
		case $code in
		WEIR_EVENT*) continue ;;
		esac
		case $codes_of_header in
		*" $code "*) ;;
		*) fail "$page: weir.h has no $code" ;;
		esac
	done
}

# The examples of a page, as the inside of a function that has what LIBRARY.prelude gives it.
compile_examples()
{
	name=$(basename "$1" .3)
	{
		cat "$SOURCE/tests/examples/$library.prelude"
		section EXAMPLES "$1" | awk '
			/^\.Bd -literal/ { print "\t{"; inside = 1; next }
			/^\.Ed/ { print "\t}"; inside = 0; next }
			inside' | sed 's/\\e/\\/g'
		printf '\treturn 0;\n}\n'
	} >"$stage/$name.c"
	grep -q weir_ "$stage/$name.c" || fail "$1 has no example"
	# shellcheck disable=SC2086 # words
	$CC -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -fsyntax-only \
		-I"$SOURCE/include" $flags "$stage/$name.c" || fail "$1: its example does not compile"
}

awk -f "$SOURCE/tests/support/declarations.awk" "$header" >"$stage/declarations"
total=$(grep -c . "$stage/declarations" || true)
[ "$total" -ge $least ] || fail "only $total functions found in $library.h"
same 'declarations as many as weir_ names before a parenthesis, less the macros' "$total" \
	"$(sed 's|/\*.*\*/||' "$header" | grep -v '^ \*\|^/\*\|^#\|^\t' |
		grep -c '[ *]weir_[a-z_]*(' || true)"

# what is exported is declared, and the other way round
cut -f1 "$stage/declarations" | sort >"$stage/declared"
sed -n 's/^\t\(weir_[a-z_]*\);/\1/p' "$SOURCE/$folder/lib$library.map" | sort \
	>"$stage/exported"
same "functions of $library.h, and of lib$library.map" \
	"$(cat "$stage/declared")" "$(cat "$stage/exported")"

tab=$(printf '\t')
while IFS=$tab read -r function prototype codes; do
	page=$(page_of "$function")
	[ -n "$page" ] && [ -f "$page" ] || fail "$function has no manual page"
	section NAME "$page" | grep -q "^\.Nm $function\( ,\)\?\$" ||
		fail "$page does not have $function in its NAME"
	synopsis "$page" | grep -Fqx "$prototype" || fail "$page, SYNOPSIS:
$(synopsis "$page")
$library.h:
$prototype"
	for code in $codes; do
		section ERRORS "$page" | grep -q "^\.It Er .*$code" ||
			fail "$page, ERRORS: no $code, which $library.h names at $function"
	done
	grep -q "^\.It Xr $function 3\$" "$man/lib$library.3" ||
		fail "lib$library(3) does not lead to $function"
done <"$stage/declarations"

pages=0
for page in $(grep -l "^\.In $library\.h\$" "$man"/weir_*.3); do
	check_page "$page"
	compile_examples "$page"
	for function in $(section NAME "$page" | sed -n 's/^\.Nm \([a-z_]*\).*/\1/p'); do
		grep -qx "$function" "$stage/declared" || fail "$page: $library.h has no $function"
	done
	pages=$((pages + 1))
done
echo "$total functions on $pages pages, all with the header's prototypes and codes"
