# SPDX-License-Identifier: Apache-2.0
#
# declarations.awk - the functions that the installed headers declare, one a line: "NAME TAB PROTOTYPE TAB
# CODES". The prototype has single blanks; the codes are the WEIR_E... of the comment before it.
function finish(text)
{
	gsub(/\/\*[^*]*\*\//, "", text)
	gsub(/[ \t]+/, " ", text)
	gsub(/ ?\( ?/, "(", text)
	gsub(/ ?\) ?/, ")", text)
	gsub(/ ?\* ?/, " *", text)
	gsub(/\* \*/, "**", text)
	gsub(/ ?\( ?\*/, "(*", text)
	sub(/^ /, "", text)
	sub(/;.*/, "", text)
	name = text
	sub(/\(.*/, "", name)
	sub(/.*[ *]/, "", name)
	if (name ~ /^weir_/)
		print name "\t" text "\t" codes
}
/^\/\*/ {
	codes = ""
	comment = 1
}
comment {
	line = $0
	while (match(line, /WEIR_E[A-Z]+/)) {
		codes = codes " " substr(line, RSTART, RLENGTH)
		line = substr(line, RSTART + RLENGTH)
	}
	if (/\*\//)
		comment = 0
	next
}
/^(typedef|struct [a-z_]+( \{|;)|enum [a-z_]+ \{|#|extern|\t|}|$)/ && !open { next }
{
	open = 1
	text = text " " $0
	if (/;/) {
		finish(text)
		open = 0
		text = ""
	}
}
