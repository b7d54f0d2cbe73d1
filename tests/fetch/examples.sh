#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# examples.sh - the examples of libweir-http do what they say, against the server of the tests.
. "$(dirname "$0")/stage.sh"

start_serve
export WEIR_NAME=absent WEIR_SHM_DIR="$stage"
examples=$BIN/examples

out=$("$examples/curl_dropin" --private "$url/limited/0.1/1/dropin") || fail "curl_dropin: $out"
same curl_dropin 'No error, 8 bytes' "$out"

out=$("$examples/llm_client" --private "$url/tokens/500" 3) || fail "llm_client: $out"
same llm_client '200, 500 tokens
200, 500 tokens
200, 500 tokens
tokens left: some' "$out"
out=$("$examples/llm_client" --private "$url/tokens/9000" 1) || fail "llm_client: $out"
same 'llm_client, a long answer' '200, 9000 tokens
tokens left: a debt' "$out"

out=$("$examples/polite_crawler" --private "$url/ok/a" "$url/ok/b" "$url/redirect/1" http://127.0.0.1:1/ |
	sed "s|$url||" | sort) || fail "polite_crawler: $out"
same polite_crawler "/ok/a: 200, by the first burst
/ok/b: 200, by turn
/redirect/1: 200, by turn
http://127.0.0.1:1/: Couldn't connect to server" "$out"

out=$("$examples/executor_http" --private "$url/ok/a" "$url/ok/b" http://127.0.0.1:1/ "$url/ok/c" |
	sed "s|$url||") || fail "executor_http: $out"
same executor_http "/ok/a: 200
/ok/b: 200
http://127.0.0.1:1/: Couldn't connect to server
/ok/c: 200" "$out"

# without an instance
for example in curl_dropin llm_client polite_crawler executor_http; do
	status=0
	"$examples/$example" "$url/ok" 1 >/dev/null 2>"$stage/err" || status=$?
	same "$example without an instance" 2 "$status"
	grep -q 'no such instance' "$stage/err" || fail "$example says: $(cat "$stage/err")"
done
end_serve
echo "a drop-in, a client of a language model, a crawler, an executor"
