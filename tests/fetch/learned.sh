#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# learned.sh - what answers say sets the speed. IT-3 of the reference: limit 100, 20 left, reset in
# 60 s, and a safety of 0.8 make 20/60 x 0.8 = 0.267/s; and the level is no more than what is left.
. "$(dirname "$0")/stage.sh"

cat >"$stage/weir.ini" <<'END'
[endpoint api]
rate = 100/s
burst = 100
adaptive = headers
safety = 0.8
min_rate = 0.01/s
[endpoint fixed]
rate = 100/s
burst = 100
END
start_weird
start_serve

fetch 0 --endpoint api "$url/budget/100/20/60"
# a datagram is on its way
tries=0
until grep -q 'api: [0-9.]*/s of 100/s' "$stage/weird.log"; do
	tries=$((tries + 1))
	[ "$tries" -lt 200 ] || fail "nothing was learned"
	sleep 0.05
done
learned=$(sed -n 's|.* api: \([0-9.]*\)/s of 100/s.*|\1|p' "$stage/weird.log" | head -n 1)
# the window is as long as it was when the answer came: a little less than 60 s
holds "$learned >= 0.26666 && $learned < 0.28" || fail "learned $learned/s, not 0.2667/s"
level=$("$BIN/weirctl" show api | awk '$1 == "level" { print $2 }')
holds "$level < 25" || fail "the level is $level, and 20 were left"

# a rule that is not adaptive keeps its speed
fetch 0 --endpoint fixed "$url/budget/100/21/60"
"$BIN/weirctl" show fixed | grep -q '100/s' || fail "a fixed rule has changed"
end_serve
echo "limit 100, 20 left, reset in 60 s, safety 0.8: 0.267/s"
