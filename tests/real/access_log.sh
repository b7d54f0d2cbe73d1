#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# access_log.sh BIN [KEEP] - weirctl simulate on logs that a real server wrote under a real load:
# Debian's nginx on loopback, which writes one and the same traffic in the common and the combined
# format and as JSON; curl, with an address of its own for each client, at a pace of its own.
#
# Two witnesses. Buckets in awk, in whole numbers, of the same log: every count is to be the same.
# And nginx's own limit_req of the same rate and burst, which answered those very requests: it
# decides when a request comes and writes its line when it is over, so a request that came within
# some milliseconds of a token may have met it or not: a few of each client's.
#
# With KEEP the logs are copied into that folder.
bin=$1
keep=${2:-}
. "$(dirname "$0")/stage.sh"
rate=2
burst=5
clients=6
requests=60
needs nginx curl gzip

# ---- the logs

nginx_config()
{
	nginx_frame 2 <<END
	log_format common '\$remote_addr - \$remote_user [\$time_local] "\$request" '
		'\$status \$body_bytes_sent';
	log_format json escape=json '{"time":"\$time_iso8601","msec":\$msec,'
		'"remote_addr":"\$remote_addr","remote_user":"\$remote_user",'
		'"request":"\$request","status":\$status,"bytes":\$body_bytes_sent,'
		'"agent":"\$http_user_agent"}';
	limit_req_zone \$binary_remote_addr zone=clients:1m rate=${rate}r/s;
	server {
		listen 127.0.0.1:$1;
		root $dir/www;
		access_log off;
		location = /resource {
			access_log $dir/common.log common;
			access_log $dir/combined.log combined;
			access_log $dir/json.log json;
			limit_req zone=clients burst=$((burst - 1)) nodelay;
		}
	}
END
}

# load CLIENT: requests from 127.0.0.CLIENT, the more a second the higher the number.
load()
{
	curl -s --noproxy '*' --max-time 30 -o /dev/null --interface "127.0.0.$1" \
		--rate "$(($1 * 2 + 3))/s" -A "client \"$1\"" \
		"http://127.0.0.1:$port/resource?[1-$(($1 * requests / clients))]" ||
		fail "curl from 127.0.0.$1 ended with $?"
}

start_server nginx
pids=
for client in $(seq $clients); do
	load "$client" &
	pids="$pids $!"
done
for pid in $pids; do
	wait "$pid" || exit 1
done
stop_server
lines=$(wc -l <"$dir/combined.log")
[ "$lines" -eq $((requests * (clients + 1) / 2)) ] || fail "nginx has written $lines lines"
[ -z "$keep" ] || cp "$dir/common.log" "$dir/combined.log" "$dir/json.log" "$keep"

# ---- the witnesses

# buckets UNITS: "TIME CLIENT" lines, UNITS of time a second, in order -> "ADMITTED REFUSED KEYS HIT".
buckets()
{
	awk -v rate=$rate -v burst=$burst -v units="$1" '
		{
			# levels in parts of a token: 1/units; so a unit of time brings `rate` of them
			level = $2 in last ? levels[$2] + ($1 - last[$2]) * rate : burst * units
			if (!($2 in last))
				keys++
			if (level > burst * units)
				level = burst * units
			last[$2] = $1
			if (level >= units) {
				level -= units
				admitted++
			} else {
				refused++
				if (!($2 in hit))
					hits++
				hit[$2] = 1
			}
			levels[$2] = level
		}
		END { print admitted + 0, refused + 0, keys + 0, hits + 0 }'
}

# The combined log as "SECONDS CLIENT". All of it is of one day, or of one and the next.
seconds()
{
	sed 's/^\([0-9.]*\) .*\[\([0-9]*\)[^:]*:\([0-9]*\):\([0-9]*\):\([0-9]*\) .*/\2 \3 \4 \5 \1/' "$1" |
		awk 'NR == 1 { day = $1 } { print ($1 != day) * 86400 + $2 * 3600 + $3 * 60 + $4, $5 }' |
		sort -s -n -k 1,1
}

milliseconds()
{
	sed 's/.*"msec":\([0-9]*\)\.\([0-9]*\),"remote_addr":"\([^"]*\)".*/\1\2 \3/' "$1" |
		sort -s -n -k 1,1
}

# number KEY TEXT
number()
{
	printf '%s\n' "$2" | sed -n 's/^  "'"$1"'": \([0-9]*\),*$/\1/p'
}

# simulate ARGUMENT... -> "ADMITTED REFUSED KEYS HIT"; nothing may be skipped.
simulate()
{
	found=$("$bin/weirctl" simulate --json --rate $rate/s --burst $burst "$@") ||
		fail "weirctl simulate $* ended with $?"
	[ "$(number skipped "$found")" -eq 0 ] || fail "weirctl simulate $* has skipped lines: $found"
	[ "$(number lines "$found")" -eq "$lines" ] || fail "weirctl simulate $*: not $lines lines"
	echo "$(number admitted "$found") $(number refused "$found")" \
		"$(number keys "$found") $(number keys_hit "$found")"
}

# same EXPECTED ARGUMENT...
same()
{
	expected=$1
	shift
	got=$(simulate "$@")
	[ "$got" = "$expected" ] || fail "simulate $*: $got, but it is $expected"
	echo "simulate $*: $got, as expected" | sed "s|$dir/||g"
}

fine=$(milliseconds "$dir/json.log" | buckets 1000)
coarse=$(seconds "$dir/combined.log" | buckets 1)
gzip -k "$dir/combined.log"
same "$fine" "$dir/json.log"
same "$fine" --key remote_addr --time msec - <"$dir/json.log"
same "$coarse" --at-once "$dir/combined.log"
same "$coarse" --at-once "$dir/common.log"
same "$coarse" --at-once --time time --key remote_addr "$dir/json.log"
same "$coarse" --at-once "$dir/combined.log.gz"
same "$coarse" --at-once - <"$dir/combined.log.gz"

# Two halves of it, the later one first.
head -n $((lines / 2)) "$dir/common.log" >"$dir/first.log"
tail -n +$((lines / 2 + 1)) "$dir/common.log" >"$dir/second.log"
same "$coarse" --at-once "$dir/second.log" "$dir/first.log"

# What nginx did.
# shellcheck disable=SC2046 # four numbers
set -- $(simulate "$dir/json.log")
answered=$(grep -c '" 429 ' "$dir/combined.log" || true)
awk "BEGIN { d = $2 - $answered; exit !(d * d <= 4 * $clients * $clients) }" ||
	fail "nginx refused $answered, the same limit simulated $2"
[ "$answered" -ge 20 ] || fail "the load did not even exceed the limit: nothing is shown"
echo "nginx refused $answered of $lines requests; simulated, of its log: $2"
set -- $(simulate "$dir/combined.log")
echo "and of its log in whole seconds, spread over them: $2"
