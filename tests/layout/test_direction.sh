#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# test_direction.sh ROOT - who may include what, and who may touch what.
#
#	weir.h <- lib/ <- {client/, daemon/, ctl/}, and those three never include each other
#
# Every rule below is also shown to bite: a breach of it is planted in a copy of the tree, and has
# to be found there.
set -eu

root=$(CDPATH='' cd -- "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# sources FOLDER...: the .c and .h files of these folders, without what is below them.
sources()
{
	for folder; do
		for file in "$folder"/*.c "$folder"/*.h; do
			[ ! -f "$file" ] || echo "$file"
		done
	done
}

# without LIST FILE...: the files that are not in the list.
without()
{
	list=" $1 "
	shift
	for file; do
		case $list in
		*" $file "*) ;;
		*) echo "$file" ;;
		esac
	done
}

# code FILE...: FILE:LINE:TEXT without comments and texts, so that prose may speak of anything.
code()
{
	awk '
		FNR == 1 { inside = 0 }
		{
			line = $0
			gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
			sub(/\/\/.*/, "", line)
			out = ""
			while (line != "") {
				mark = index(line, inside ? "*/" : "/*")
				if (!inside)
					out = out (mark ? substr(line, 1, mark - 1) : line)
				if (!mark)
					break
				line = substr(line, mark + 2)
				inside = !inside
			}
			if (out ~ /[^ \t]/)
				print FILENAME ":" FNR ":" out
		}' "$@" /dev/null
}

# includes FILE...: FILE:LINE:<name> or FILE:LINE:"name" of each thing included.
includes()
{
	awk '
		/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
			name = $0
			sub(/^[^<"]*/, "", name)
			sub(/[>"][^>"]*$/, substr(name, 1, 1) == "<" ? ">" : "\"", name)
			print FILENAME ":" FNR ":" name
		}' "$@" /dev/null
}

# own_rooms FOLDER ALLOWED...: texts in quotes lead to the folder itself or to an allowed one.
own_rooms()
{
	# shellcheck disable=SC2046
	includes $(sources "$1") | grep '"$' | while IFS=: read -r file line name; do
		name=${name#\"}
		name=${name%\"}
		found=
		for allowed; do
			[ ! -f "$allowed/$name" ] || found=yes
		done
		[ -n "$found" ] || echo "$file:$line: \"$name\" is not of: $*"
	done
}

# only_includes PATTERN FILE...: no other file of the program includes something like that.
only_includes()
{
	pattern=$1
	shift
	# shellcheck disable=SC2046
	includes $(without "$*" $(sources include include/weir lib client daemon ctl client/uv client/http fetch)) |
		grep -E "$pattern" | sed "s|\$|: only for $*|"
}

# only_calls PATTERN ALLOWED FOLDER...: in these folders, only the allowed files say that.
only_calls()
{
	pattern=$1
	allowed=$2
	shift 2
	# shellcheck disable=SC2046
	code $(without "$allowed" $(sources "$@")) |
		grep -E ":[0-9]+:(.*[^A-Za-z0-9_])?($pattern)" | sed "s|\$|: only for $allowed|"
}

rule_rooms()
{
	own_rooms include
	own_rooms include/weir include/weir
	own_rooms lib include
	own_rooms client lib include
	own_rooms daemon lib include
	own_rooms ctl lib include
	# the libraries beside libweir see what every program sees
	own_rooms client/uv include
	own_rooms client/http include
	own_rooms fetch include
}

# libc, and the two that are compiled into the core: inih in config_lines.c, xxhash.
rule_lib_needs_libc_only()
{
	libc='arpa/inet|cpuid|ctype|dirent|endian|errno|fcntl|inttypes|limits|math|poll|pthread|sched|signal'
	libc="$libc|std[a-z]+|string|time|unistd|x86intrin|sys/[a-z]+|linux/[a-z]+"
	# shellcheck disable=SC2046
	includes $(sources lib) | grep '<' | grep -vE "<($libc|ini|xxhash)\.h>"
	# shellcheck disable=SC2046
	includes $(sources client) | grep -E '<(uv|ini|xxhash|jansson|curl/|hiredis/)'
}

rule_uv()
{
	shells=$(echo daemon/uv_*.[ch] client/uv/*.[ch] client/http/uv_*.[ch] fetch/uv_*.[ch])
	# shellcheck disable=SC2086 # lists of names
	only_includes '[<"]uv\.h[>"]' include/weir-uv.h daemon/main.c $shells
	# shellcheck disable=SC2086
	only_includes '"uv_[a-z_]*\.h"' daemon/main.c fetch/main.c $shells
}

# libcurl is seen by its companion alone.
rule_curl()
{
	only_includes '<curl/' include/weir-http.h fetch/main.c $(echo client/http/*.[ch])
}

rule_ini()
{
	only_includes '[<"]ini\.h[>"]' lib/config_lines.c
}

# What a terminal is like is known in one place.
rule_terminal()
{
	only_includes '<(n?curses|term|termios)\.h>' ctl/terminal.c
}

# What a log is packed in is known in one place.
rule_zlib()
{
	only_includes '<zlib\.h>' ctl/log_source.c
}

# One file maps the two objects. client/fork.c has a page of its own, private, to notice a fork.
rule_mapping()
{
	only_calls 'shm_open|memfd_create|MAP_SHARED|posix_fallocate|ftruncate' lib/object.c \
		lib client daemon ctl
	only_calls 'mmap *\(' 'lib/object.c client/fork.c' lib client client/uv client/http daemon ctl
}

rule_lib_reports_only()
{
	only_calls '(v?f?printf|puts|fputs|perror|exit|_exit|abort|getenv|secure_getenv|assert|syslog) *\(' \
		lib/fault.c lib
}

# A bucket's mark moves in few files; the lines of a rule are written by the publisher.
rule_marks()
{
	only_calls 'atomic_[a-z_]*(exchange|store|fetch)[a-z_]* *\( *&?[^,]*(->|\.)mark[^a-z_]' \
		'lib/bucket.c lib/bucket.h lib/gate.c lib/move.c lib/keyed.c' lib client daemon ctl
	only_calls 'atomic_[a-z_]*(exchange|store|fetch)[a-z_]* *\( *&?[^,]*(->|\.)generation[^a-z_]' \
		'lib/token_clock.c lib/members.c lib/move.c' lib client daemon ctl
}

# Clients and the tool see rules through const pointers to read-only pages, and never cast that
# away; a program that hosts a segment is a publisher.
rule_const_rules()
{
	only_calls 'SEGMENT_PUBLISH|segment_create' client/host.c client ctl
	only_calls '\( *struct (rule_row|rules_header|line_copy|line_words) *\*' none client ctl
	# shellcheck disable=SC2046
	code $(sources client ctl) | grep -E 'struct (rule_row|rules_header|line_words) *\*' |
		grep -vE 'const struct (rule_row|rules_header|line_words) *\*'
}

# The header stands alone: it comes first where it is implemented.
rule_own_header_first()
{
	# shellcheck disable=SC2046
	includes $(sources lib client client/uv client/http daemon ctl) | awk -F: '
		$1 ~ /\.c$/ && !seen[$1]++ {
			header = $1
			sub(/\.c$/, ".h", header)
			name = header
			sub(/.*\//, "", name)
			if ($3 != "\"" name "\"" && (getline line < header) >= 0)
				print $0 ": " name " comes first"
			close(header)
		}'
}

rule_licence_line()
{
	# shellcheck disable=SC2046
	awk 'FNR == 1 && !/SPDX-License-Identifier: Apache-2.0/ {
			print FILENAME ":1: the first line names no licence"
		}' $(sources include include/weir lib client client/uv client/http daemon ctl fetch bench sim tests/* \
			doc/examples) /dev/null
}

# Functions stay below 81 lines, and hardly any has more than 40.
rule_short_functions()
{
	# shellcheck disable=SC2046
	awk '
		FNR == 1 { begin = 0 }
		/^\{/ { begin = FNR }
		/^\}/ && begin {
			lines = FNR - begin - 1
			begin = 0
			all++
			if (lines > 40)
				long++
			if (lines > 80)
				print FILENAME ":" FNR ": a function of " lines " lines"
		}
		END {
			if (long * 10 > all)
				print "all:0: " long " of " all " functions have more than 40 lines"
		}' $(sources lib client client/uv client/http daemon ctl fetch bench sim) /dev/null
}

rules='rule_rooms rule_lib_needs_libc_only rule_uv rule_curl rule_ini rule_terminal rule_zlib
	rule_mapping rule_lib_reports_only rule_marks rule_const_rules rule_own_header_first
	rule_licence_line rule_short_functions'

breaches()
{
	for rule in $rules; do
		(cd "$1" && { "$rule" || true; } | sed "s/^/$rule: /")
	done
}

# plant RULE FILE TEXT: that text at the end of a file, and nothing else, is a breach of RULE.
plant()
{
	rm -rf "$scratch/tree"
	mkdir "$scratch/tree"
	for folder in include lib client daemon ctl fetch bench sim; do
		[ ! -d "$root/$folder" ] || cp -R "$root/$folder" "$scratch/tree/"
	done
	echo "$licence" >"$scratch/tree/ctl/planted.h"
	printf '%b\n' "$3" >>"$scratch/tree/$2"
	found=$(cd "$scratch/tree" && { "$1" || true; })
	planted=$((planted + 1))
	case $found in
	*"$2"*) ;;
	*)
		echo "$1 does not see in $2: $3" >&2
		faults=$((faults + 1))
		;;
	esac
}

faults=0
planted=0
breaches "$root" >"$scratch/breaches"
if [ -s "$scratch/breaches" ]; then
	cat "$scratch/breaches" >&2
	faults=$(wc -l <"$scratch/breaches")
fi

licence='/* SPDX-License-Identifier: Apache-2.0 */'
plant rule_rooms lib/gate.h '#include "handle.h"'
plant rule_rooms client/wait.c '#include "reconcile.h"'
plant rule_rooms daemon/main.c '#include "handle.h"'
plant rule_rooms ctl/planted.c "$licence\n#include \"notify.h\""
plant rule_rooms include/weir.h '#include "layout.h"'
plant rule_rooms include/weir/host.h '#include "layout.h"'
plant rule_lib_needs_libc_only lib/gate.c '#include <uv.h>'
plant rule_lib_needs_libc_only client/wait.c '#include <jansson.h>'
plant rule_uv daemon/reconcile.c '#include <uv.h>'
plant rule_uv daemon/reconcile.h '#include "uv_control.h"'
plant rule_rooms client/uv/waits.c '#include "handle.h"'
plant rule_mapping client/uv/waits.c 'void *at = mmap(0, 1, 2, 3, 4, 0);'
plant rule_curl client/wait.c '#include <curl/curl.h>'
plant rule_curl daemon/reconcile.h '#include <curl/easy.h>'
plant rule_uv client/http/job.c '#include <uv.h>'
plant rule_ini daemon/source.c '# include <ini.h>'
plant rule_terminal ctl/top.c '#include <curses.h>'
plant rule_zlib ctl/intake.c '#include <zlib.h>'
plant rule_mapping client/wait.c 'void *at = mmap(0, 1, 2, 3, 4, 0);'
plant rule_mapping daemon/main.c 'int fd = shm_open(name, 0, 0);'
plant rule_lib_reports_only lib/gate.c '\texit(1);'
plant rule_lib_reports_only lib/gate.c '\tassert(mark);'
plant rule_marks client/wait.c '\tatomic_store_explicit(&bucket->mark, 1, order);'
plant rule_marks ctl/planted.c '\tatomic_fetch_add(&row->generation, 1);'
plant rule_const_rules client/wait.c 'struct rule_row *row;'
plant rule_const_rules ctl/planted.c 'x = (struct rules_header *)segment->rules;'
plant rule_own_header_first ctl/planted.c "$licence\n#include <stdint.h>\n#include \"planted.h\""
plant rule_licence_line client/planted.h '#define PLANTED'
plant rule_short_functions lib/gate.c "void f(void)\n{\n$(seq 81 | sed 's/$/;\\n/' | tr -d '\n')}"

[ "$faults" -eq 0 ] || exit 1
echo "no breach of $(echo "$rules" | wc -w) rules; each was seen where it was planted ($planted)"
