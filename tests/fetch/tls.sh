#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tls.sh - TLS by a CA of this test's own: who trusts it gets the file, who does not is told so,
# once, and nothing was charged.
. "$(dirname "$0")/stage.sh"

for program in openssl; do
	command -v $program >/dev/null || {
		echo "skipped: $program is not installed; ./bootstrap packages test installs it"
		exit 77
	}
done

cat >"$stage/weir.ini" <<'END'
[default]
rate = 1/h
burst = 100
END
start_weird

# ---- a CA, a certificate for this host, one for another
cd "$stage"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=weir test CA' \
	-keyout ca.key -out ca.crt 2>openssl.log || fail "openssl: $(cat openssl.log)"
certify()
{
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" \
		2>openssl.log || fail "openssl: $(cat openssl.log)"
	echo "subjectAltName = $2" >extensions
	openssl x509 -req -days 2 -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial \
		-extfile extensions -out "$1.crt" 2>openssl.log ||
		fail "openssl: $(cat openssl.log)"
}
certify here 'IP:127.0.0.1,DNS:localhost'
certify elsewhere 'DNS:elsewhere.example.com'
mkdir www
echo 'by TLS' >www/file

# serve NAME: openssl's own server with that certificate; its port goes to $port
serve()
{
	for try in 1 2 3 4 5 6 7 8; do
		port=$((20000 + ($$ * 13 + try * 2741) % 20000))
		(cd www && exec openssl s_server -accept "127.0.0.1:$port" -cert "../$1.crt" \
			-key "../$1.key" -WWW >"../$1.log" 2>&1 </dev/null) &
		pid=$!
		others="$others $pid"
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			! grep -q ACCEPT "$1.log" 2>/dev/null || return 0
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
	done
	fail "openssl s_server does not start: $(cat "$1.log")"
}

serve here
here=$port
fetch 0 --json --cacert ca.crt "https://127.0.0.1:$here/file"
same 'the file' 'by TLS' "$(cat files/file)"
same requests 1 "$(field requests)"

# a CA that is not trusted: once, and for nothing
fetch 1 --json --retries 5 "https://localhost:$here/file"
grep -q 'failed   https://localhost' err || fail "no reason"
same tries 1 "$(field requests)"
level=$("$BIN/weirctl" show "localhost:$here" | awk '$1 == "level" { print $2 }')
same 'level afterwards' 100 "$level"

# a certificate of somebody else
serve elsewhere
fetch 1 --json --cacert ca.crt "https://127.0.0.1:$port/file"
same 'tries of another host' 1 "$(field requests)"

# plain text where TLS is spoken, and the other way round
fetch 1 --json --retries 0 "http://127.0.0.1:$here/other"
fetch 1 --json --retries 0 --cacert ca.crt "https://127.0.0.1:1/other"
echo "a CA that is trusted, one that is not, another host's certificate, no TLS at all"
