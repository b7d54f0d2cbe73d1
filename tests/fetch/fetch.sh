#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# fetch.sh - what weir-fetch does with servers that answer, refuse, and fail: files, manifest, exit
# status, summary; and that it can be interrupted, and goes on where it was.
. "$(dirname "$0")/stage.sh"

cat >"$stage/weir.ini" <<'END'
[default]
rate = unlimited
[endpoint slow]
rate = 20/s
burst = 1
END
start_weird
start_serve

# ---- files, their names, the manifest
fetch 0 --json "$url/file/1000" "$url/ok" "$url/ok/a%20b%2fc" "$url/file/0" "$url/" "$url/?q=1"
same fetched 6 "$(field fetched)"
same failed 0 "$(field failed)"
same requests 6 "$(field requests)"
for file in 1000 ok 'a b_c' 0 index.html; do
	[ -f "$stage/files/$file" ] || fail "no file '$file': $(ls "$stage/files")"
done
same 'a second one of the same name' 1 "$(find "$stage/files" -name 'index.html-*' | wc -l)"
same 'its size' 1000 "$(wc -c <"$stage/files/1000")"
same parts '' "$(find "$stage/files" -name '*.part*')"
sums_hold

# once more: nothing is asked for
fetch 0 --json "$url/file/1000" "$url/ok" "$url/ok/a%20b%2fc" "$url/file/0" "$url/" "$url/?q=1"
same kept 6 "$(field kept)"
same requests 0 "$(field requests)"

# one that was changed by somebody is fetched again, one that is somebody's is left alone
echo more >>"$stage/files/1000"
echo mine >"$stage/files/10"
fetch 0 --json "$url/file/1000" "$url/file/10"
same fetched 2 "$(field fetched)"
same 'a file of somebody else' mine "$(cat "$stage/files/10")"
sums_hold

# from standard input, with comments; lines for a log
printf '# these\n\n%s\n%s\n' "$url/ok/1" "$url/ok/2" | fetch 0 -
grep -q "^fetched  $url/ok/1 to 1, 6 bytes\$" "$stage/err" || fail "no line for a file"
grep -q '^2 files fetched, 0 kept, 0 failed$' "$stage/out" || fail "no summary"
same 'what quiet says' '' "$(fetch 0 -q "$url/ok/3" && cat "$stage/err")"
fetch 0 "$url/ok/log1" "$url/ok/log2"
same 'a bar in a log' 0 "$(tr '\r' '\n' <"$stage/err" | grep -c '\[' || true)"

# a URL that is given twice is one
fetch 0 --json "$url/ok/twice" "$url/ok/twice" "$url/ok/twice"
same 'files of one URL' 1 "$(field files)"
same 'requests for one URL' 1 "$(field requests)"

# more files than descriptors
for i in $(seq 400); do
	echo "$url/ok/many$i"
done >"$stage/many"
(
	ulimit -n 128
	fetch 0 --json - <"$stage/many"
	same 'files of many' 400 "$(field fetched)"
) || fail "many files: $(head -n 3 "$stage/err")"

# on a terminal a bar, within its width, that lines are written above of
on_terminal()
{
	script -qec "stty cols $1; '$BIN/weir-fetch' -o '$stage/files' $2" "$stage/typescript" \
		</dev/null >/dev/null || fail "weir-fetch on a terminal ended with $?"
	tr '\r' '\n' <"$stage/typescript"
}
drawn=$(on_terminal 100 "$url/ok/bar1 $url/ok/bar2")
printf '%s\n' "$drawn" | grep -q '^\[\.*\] 0/2 files' || fail "no bar at the start: $drawn"
printf '%s\n' "$drawn" | grep -q '^\[#*\.*\] 1/2 files' || fail "no bar half-way: $drawn"
printf '%s\n' "$drawn" | grep -q '^\[#*\] 2/2 files' || fail "no bar at the end: $drawn"
printf '%s\n' "$drawn" | grep -q "fetched  $url/ok/bar1 to " || fail "no line above the bar: $drawn"
widest=$(on_terminal 30 "$url/ok/bar3" | grep '^\[' | sed 's/\x1b\[K.*//' |
	awk 'length > most { most = length } END { print most }')
same 'the widest bar of 30 columns' 29 "$widest"

# ---- refused and failing
fetch 0 --json "$url/limited/0.3/1/a" "$url/failing/1/b" "$url/flaky/1/c"
same refused 1 "$(field refused)"
same failed 0 "$(field failed)"
sums_hold
fetch 1 --json --retries 1 "$url/status/404" "$url/failing/9" "$url/ok/4" http://127.0.0.1:1/x 'no url'
same fetched 1 "$(field fetched)"
same failed 4 "$(field failed)"
grep -q "^failed   $url/status/404: status 404\$" "$stage/err" || fail "no reason for a 404"
grep -q '^failed   no url: ' "$stage/err" || fail "no reason for what is no URL"
# what is of another protocol is not asked for, and charged to nobody
fetch 1 --json "ftp://127.0.0.1/x" "FILE:///etc/passwd" "HTTP://127.0.0.1:$port/ok/upper"
same 'failed of other protocols' 2 "$(field failed)"
same 'requests of other protocols' 1 "$(field requests)"
same 'reasons for other protocols' 2 "$(grep -c 'only URLs of http and https' "$stage/err")"
same 'what failed leaves behind' '' "$(find "$stage/files" -name '*.part*')"
fetch 1 --json "$url/limited/86400/9"
grep -q 'status 429, and to come back in 86400 s' "$stage/err" || fail "a day is not reported"
same requests 1 "$(field requests)"
# that has closed it for everybody
"$BIN/weirctl" show "127.0.0.1:$port" >"$stage/show"
grep -qi clos "$stage/show" || fail "the endpoint is not closed: $(cat "$stage/show")"
fetch 1 --json --wait 0.2 "$url/ok/5"
grep -q 'its turn would come in' "$stage/err" || fail "no reason for one that was refused"
"$BIN/weirctl" open "127.0.0.1:$port" >/dev/null

# ---- a body that stops, redirects
fetch 1 --json --retries 0 --stall 1 "$url/stall" --endpoint free
grep -q 'failed   .*/stall: ' "$stage/err" || fail "no reason for one that stalls"
fetch 0 --json "$url/redirect/3" --endpoint free
same 'requests with redirects' 4 "$(field requests)"
fetch 1 --json "$url/loop" --endpoint free
grep -q 'status 302, a redirect that is not followed: there were too many' "$stage/err" ||
	fail "no reason for a circle of redirects: $(cat "$stage/err")"
same 'requests in a circle' 11 "$(field requests)"

# ---- a resumed part: the first half is there, of this version, or of another
mkdir "$stage/half"
head -c 40000 "$stage/files/1000" >/dev/null
fetch 0 "$url/file/90000" --endpoint free
cp "$stage/files/90000" "$stage/whole"
rm "$stage/files/90000"
resume()
{
	head -c "$1" "$stage/whole" >"$stage/files/90000.part"
	printf '%s\n%s\n' "$url/file/90000" "$2" >"$stage/files/90000.part.from"
	fetch 0 --json "$url/file/90000" --endpoint free
	cmp "$stage/files/90000" "$stage/whole" || fail "it was put together wrongly"
	sums_hold
}
resume 40000 '"90000-0"'
same resumed 1 "$(field resumed)"
same bytes 50000 "$(field bytes)"
rm "$stage/files/90000"
resume 40000 '"another"'
same 'resumed, of another version' 0 "$(field resumed)"
same bytes 90000 "$(field bytes)"
rm "$stage/files/90000"
resume 90000 '"90000-0"'
same 'resumed, when all was there' 1 "$(field resumed)"
same bytes 0 "$(field bytes)"
rm "$stage/files/90000"
# of another URL, or without a word of where it is from: not used
head -c 40000 "$stage/whole" >"$stage/files/90000.part"
fetch 0 --json "$url/file/90000" --endpoint free
same 'bytes of one without a word' 90000 "$(field bytes)"
sums_hold

# ---- a limit, several processes, and weird killed and started again in between
rm -rf "$stage/files"
for n in $(seq 40); do echo "$url/rate/20/30/a$n"; done >"$stage/urls.1"
for n in $(seq 40); do echo "$url/rate/20/30/b$n"; done >"$stage/urls.2"
for n in 1 2; do
	"$BIN/weir-fetch" -o "$stage/files" --endpoint slow --json - <"$stage/urls.$n" \
		>"$stage/out.$n" 2>"$stage/err.$n" &
	others="$others $!"
done
sleep 1
kill -9 "$weird_pid"
wait "$weird_pid" 2>/dev/null || true
sleep 1
start_weird
for pid in $others; do
	wait "$pid" || fail "a weir-fetch ended with $?: $(cat "$stage"/err.*)"
done
others=
for n in 1 2; do
	cp "$stage/out.$n" "$stage/out"
	same "refused, process $n" 0 "$(field refused)"
	same "fetched, process $n" 40 "$(field fetched)"
	limit=$(field limit_per_s)
	holds "$limit == 20" || fail "the limit is said to be $limit"
done
sums_hold
granted=$("$BIN/weirctl" list | awk '$1 == "slow" { print $5 }')
same 'what weirctl counted' 80 "$granted"

# ---- interrupted: a clean partial state, that the next run completes
rm -rf "$stage/files"
interrupt()
{
	"$BIN/weir-fetch" -o "$stage/files" --endpoint slow --json "$url/stall" $(cat "$stage/urls.1") \
		>"$stage/out" 2>"$stage/err" &
	pid=$!
	sleep 1
	kill "-$1" "$pid"
	status=0
	wait "$pid" || status=$?
	same "status after SIG$1" "$2" "$status"
	same interrupted true "$(field interrupted)"
	[ ! -e "$stage/files/weir-fetch.sha256" ] || sums_hold
	same 'parts that cannot be resumed' '' "$(find "$stage/files" -name '*.part*')"
}
interrupt INT 130
done_before=$(field fetched)
[ "$done_before" -ge 5 ] || fail "only $done_before files in a second"
interrupt TERM 143
same 'kept after the first interruption' "$done_before" "$(field kept)"
fetch 0 --json --endpoint slow - <"$stage/urls.1"
same 'all that were asked for' 40 "$(($(field kept) + $(field fetched)))"
sums_hold

# ---- what cannot be
fetch 2
grep -q 'no URL' "$stage/err" || fail "no word about missing URLs"
fetch 2 --parallel 0 "$url/ok"
fetch 2 --frobnicate "$url/ok"
fetch 2 --header 'no colon' "$url/ok"
fetch 2 -o /proc/no/such/folder "$url/ok"
fetch 2 --name absent "$url/ok"
grep -q 'no such instance' "$stage/err" || fail "no word about a missing instance"
end_serve
grep -q "^206 GET /file/90000 bytes=40000-\$" "$stage/served" || fail "no range was asked for"
echo "files, refusals, faults, ranges, several at once, interruptions"
