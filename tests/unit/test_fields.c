/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fields of responses mean, service by service; what is malformed, hostile or too large;
 * mappings of one's own. Of the plan that weir implements, the rows UT-13 to UT-16 as far as they
 * are about fields, and the defects 8 to 10 of its first implementation, by number. The cases of
 * $WEIR_SHARED/headers/cases.jsonl too, where there are any.
 */
#include "fields.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "field_profiles.h"
#include "fields_text.h"

#define NOW 1700000000 /* Tue, 14 Nov 2023 22:13:20 GMT */

static const struct row {
	const char *name;
	int status;
	double captured_at;
	const char *profile; /* NULL: none is given */
	const char *headers;
	const char *verdict;
} rows[] = {
	{"GitHub: a count, and the time of its reset", 200, NOW, NULL,
	 "X-RateLimit-Limit: 5000\n"
	 "X-RateLimit-Remaining: 4882\n"
	 "X-RateLimit-Reset: 1700000600\n"
	 "X-RateLimit-Used: 118\n"
	 "X-RateLimit-Resource: core",
	 "use; limit 5000 left 4882 used 118 reset 600 of core"},
	{"GitHub: a secondary limit says Retry-After alone", 403, NOW, NULL, "retry-after: 60",
	 "use wait 60"},
	{"GitHub: used up, on a 200 as GraphQL answers", 200, NOW, "github",
	 "x-ratelimit-limit: 5000\n"
	 "x-ratelimit-remaining: 0\n"
	 "x-ratelimit-used: 5001\n"
	 "x-ratelimit-reset: 1700000120\n"
	 "x-ratelimit-resource: graphql",
	 "use; limit 5000 left 0 used 5001 reset 120 of graphql"},
	{"GitHub Models: seconds, and the window as a field", 200, NOW, NULL,
	 "x-ratelimit-limit-requests: 20000\n"
	 "x-ratelimit-remaining-requests: 19999\n"
	 "x-ratelimit-limit-tokens: 2000000\n"
	 "x-ratelimit-remaining-tokens: 1999962\n"
	 "x-ratelimit-renewalperiod-requests: 60\n"
	 "x-ratelimit-renewalperiod-tokens: 60\n"
	 "x-ratelimit-reset-requests: 3\n"
	 "x-ratelimit-reset-tokens: 1\n"
	 "x-ratelimit-abusepenalty-active: False",
	 "use; requests: limit 20000 left 19999 window 60 reset 3; tokens: limit 2000000 left "
	 "1999962 window 60 reset 1"},
	{"GitHub Models: too many at once", 429, NOW, NULL,
	 "x-ratelimit-type: UserConcurrentRequests\n"
	 "retry-after: 0\n"
	 "x-ratelimit-timeremaining: 0",
	 "floor wait 0"},
	{"GitHub Models: the day is used up", 429, NOW, NULL,
	 "x-ratelimit-type: UserByModelByDay\n"
	 "retry-after: 41234",
	 "cap wait 41234"},
	{"GitLab: epoch seconds by the IETF's names", 200, NOW, NULL,
	 "RateLimit-Limit: 60\n"
	 "RateLimit-Name: throttle_authenticated_web\n"
	 "RateLimit-Observed: 27\n"
	 "RateLimit-Remaining: 33\n"
	 "RateLimit-Reset: 1700000030",
	 "use; limit 60 left 33 used 27 reset 30 of throttle_authenticated_web"},
	{"GitLab: a date as a twin", 429, NOW, "gitlab",
	 "RateLimit-Limit: 60\n"
	 "RateLimit-Remaining: 0\n"
	 "RateLimit-Reset: 1700000030\n"
	 "RateLimit-ResetTime: Tue, 14 Nov 2023 22:13:50 GMT\n"
	 "Retry-After: 30",
	 "use wait 30; limit 60 left 0 reset 30"},
	{"GitLab: the date alone", 429, NOW, NULL,
	 "RateLimit-ResetTime: Tue, 14 Nov 2023 22:13:50 GMT", "use; reset 30"},
	{"OpenAI: two budgets, durations of Go", 200, NOW, NULL,
	 "x-ratelimit-limit-requests: 60\n"
	 "x-ratelimit-limit-tokens: 150000\n"
	 "x-ratelimit-remaining-requests: 59\n"
	 "x-ratelimit-remaining-tokens: 149984\n"
	 "x-ratelimit-reset-requests: 1s\n"
	 "x-ratelimit-reset-tokens: 6m0s",
	 "use; requests: limit 60 left 59 reset 1; tokens: limit 150000 left 149984 reset 360"},
	{"OpenAI: a third one, full again", 200, NOW, "openai",
	 "x-ratelimit-limit-project-tokens: 1000\n"
	 "x-ratelimit-remaining-project-tokens: 900\n"
	 "x-ratelimit-reset-project-tokens: 0s",
	 "floor; project-tokens: limit 1000 left 900 reset 0"},
	{"Azure OpenAI: it does not know", 429, NOW, NULL,
	 "x-ratelimit-limit-tokens: -1\n"
	 "x-ratelimit-remaining-tokens: -1\n"
	 "x-ratelimit-reset-tokens: 0",
	 "ignore"},
	{"Azure OpenAI: another spelling of the reset", 429, NOW, "azure-openai",
	 "x-rate-limit-reset-tokens: 55\n"
	 "x-ratelimit-remaining-requests: 79",
	 "use; tokens: reset 55; requests: left 79"},
	{"LiteLLM: copies fill what is missing, and nothing else", 200, NOW, NULL,
	 "x-ratelimit-limit-requests: 112500\n"
	 "x-ratelimit-remaining-requests: 112499\n"
	 "llm_provider-x-ratelimit-renewalperiod-requests: 60\n"
	 "llm_provider-x-ratelimit-remaining-requests: 7\n"
	 "llm_provider-x-ratelimit-remaining: 5\n"
	 "llm_provider-x-ratelimit-reset-tokens: 2s",
	 "use; left 5; requests: limit 112500 left 112499 window 60; tokens: reset 2"},
	{"LiteLLM: a copy of the plain limit does not lower it", 200, NOW, "litellm",
	 "llm_provider-x-ratelimit-remaining: 5\n"
	 "x-ratelimit-remaining: 9",
	 "use; left 9"},
	{"Azure: milliseconds", 429, NOW, NULL, "retry-after-ms: 10", "use wait 0.01"},
	{"Azure: milliseconds go before seconds", 429, NOW, NULL,
	 "retry-after: 3\n"
	 "retry-after-ms: 100",
	 "use wait 0.1"},
	{"Azure: and also behind them", 429, NOW, NULL,
	 "retry-after-ms: 100\n"
	 "retry-after: 3",
	 "use wait 0.1"},
	{"Cosmos DB", 429, NOW, NULL, "x-ms-retry-after-ms: 4321", "use wait 4.321"},
	{"Azure Resource Manager: what remains, and nothing else", 200, NOW, NULL,
	 "x-ms-ratelimit-remaining-subscription-reads: 11933\n"
	 "x-ms-ratelimit-remaining-tenant-writes: 1199",
	 "use; subscription-reads: left 11933; tenant-writes: left 1199"},
	{"Azure Compute: policies, their windows in their names", 200, NOW, NULL,
	 "x-ms-ratelimit-remaining-resource: Microsoft.Compute/HighCostGet3Min;159\n"
	 "x-ms-ratelimit-remaining-resource: Microsoft.Compute/PutVM30Min;239, "
	 "Microsoft.Compute/Odd;7",
	 "use; Microsoft.Compute/HighCostGet3Min: left 159 window 180; "
	 "Microsoft.Compute/PutVM30Min: left 239 window 1800; Microsoft.Compute/Odd: left 7"},
	{"Azure Compute: no number", 200, NOW, NULL,
	 "x-ms-ratelimit-remaining-resource: Microsoft.Compute/PutVM3Min\n"
	 "x-ms-ratelimit-remaining-resource: ;5, Microsoft.Compute/Min;x",
	 "ignore"},
	{"Microsoft Graph: a share", 200, NOW, NULL,
	 "x-ms-throttle-limit-percentage: 0.85\n"
	 "RateLimit-Limit: 1200\n"
	 "RateLimit-Remaining: 120\n"
	 "RateLimit-Reset: 12",
	 "use; limit 1200 left 120 share 0.85 reset 12"},
	{"Anthropic: RFC 3339", 200, NOW, NULL,
	 "anthropic-ratelimit-requests-limit: 50\n"
	 "anthropic-ratelimit-requests-remaining: 42\n"
	 "anthropic-ratelimit-requests-reset: 2023-11-14T22:14:20Z\n"
	 "anthropic-ratelimit-input-tokens-limit: 30000\n"
	 "anthropic-ratelimit-input-tokens-remaining: 27000",
	 "use; requests: limit 50 left 42 reset 60; input-tokens: limit 30000 left 27000"},
	{"Anthropic: shares of a subscription", 429, NOW, "anthropic",
	 "anthropic-ratelimit-unified-status: rejected\n"
	 "anthropic-ratelimit-unified-reset: 1700000900\n"
	 "anthropic-ratelimit-unified-5h-status: rejected\n"
	 "anthropic-ratelimit-unified-5h-utilization: 1.0\n"
	 "anthropic-ratelimit-unified-5h-reset: 1700000900\n"
	 "anthropic-ratelimit-unified-7d-utilization: 0.92\n"
	 "anthropic-ratelimit-unified-7d_opus-utilization: 0.5\n"
	 "anthropic-ratelimit-unified-representative-claim: five_hour",
	 "use; unified-5h: share 1 window 18000 reset 900; unified-7d: share 0.92 window 604800; "
	 "unified-7d_opus: share 0.5 window 604800"},
	{"Mistral: the window in the name", 200, NOW, NULL,
	 "x-ratelimit-limit-tokens-minute: 5000000\n"
	 "x-ratelimit-remaining-tokens-minute: 4999911\n"
	 "x-ratelimit-tokens-query-cost: 52\n"
	 "x-ratelimit-limit-req-minute: 720\n"
	 "x-ratelimit-remaining-req-minute: 717",
	 "use; tokens: limit 5000000 left 4999911 window 60; requests: limit 720 left 717 window "
	 "60"},
	{"Mistral, before: by size", 200, NOW, "mistral",
	 "ratelimitbysize-limit: 500000\n"
	 "ratelimitbysize-query-cost: 8\n"
	 "ratelimitbysize-remaining: 499992\n"
	 "ratelimitbysize-reset: 40\n"
	 "x-ratelimitbysize-limit-month: 1000000000\n"
	 "x-ratelimitbysize-remaining-month: 999000000",
	 "use; limit 500000 left 499992 reset 40; month: limit 1000000000 left 999000000"},
	{"Groq: hours, and parts of a second", 429, NOW, NULL,
	 "x-ratelimit-reset-requests: 4h30m15s\n"
	 "x-ratelimit-remaining-tokens: 17997\n"
	 "x-ratelimit-reset-tokens: 7.66s\n"
	 "retry-after: 2",
	 "use wait 2; requests: reset 16215; tokens: left 17997 reset 7.66"},
	{"Groq: larger than the bucket", 413, NOW, NULL, "retry-after: 9", "do_not_retry wait 9"},
	{"Cerebras: windows by name", 200, NOW, NULL,
	 "x-ratelimit-limit-requests-day: 14400\n"
	 "x-ratelimit-limit-tokens-minute: 60000\n"
	 "x-ratelimit-remaining-requests-day: 14399\n"
	 "x-ratelimit-remaining-tokens-minute: 59000\n"
	 "x-ratelimit-reset-requests-day: 33011.382867097855\n"
	 "x-ratelimit-reset-tokens-minute: 11.382867097854614",
	 "use; requests: limit 14400 left 14399 window 86400 reset 33011.382867; tokens: limit "
	 "60000 left 59000 window 60 reset 11.382867"},
	{"Cerebras: two windows of one resource", 200, NOW, NULL,
	 "x-ratelimit-limit-requests-minute: 30\n"
	 "x-ratelimit-limit-requests-day: 14400\n"
	 "x-ratelimit-remaining-requests-minute: 29\n"
	 "x-ratelimit-limit-tokens-day: 1000",
	 "use; requests-minute: limit 30 left 29 window 60; requests-day: limit 14400 window "
	 "86400; tokens: limit 1000 window 86400"},
	{"Cohere: a countdown", 200, NOW, NULL, "x-trial-endpoint-call-remaining: 19",
	 "use; trial-endpoint-call: left 19"},
	{"OpenRouter: epoch milliseconds", 429, NOW, NULL,
	 "X-RateLimit-Limit: 15\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 1700000042000",
	 "use; limit 15 left 0 reset 42"},
	{"OpenRouter, by its profile", 429, NOW, "openrouter", "X-RateLimit-Reset: 1700000042000",
	 "use; reset 42"},
	{"Discord: Retry-After goes before what remains", 429, 1700000000.553, NULL,
	 "Retry-After: 1337\n"
	 "X-RateLimit-Limit: 10\n"
	 "X-RateLimit-Remaining: 9\n"
	 "X-RateLimit-Reset: 1700000065.123\n"
	 "X-RateLimit-Reset-After: 64.57\n"
	 "X-RateLimit-Bucket: abcd1234\n"
	 "X-RateLimit-Scope: shared",
	 "use wait 1337 shared; limit 10 left 9 reset 64.57 of abcd1234"},
	{"Discord: a twin goes before the reset wherever it stands", 200, NOW, "discord",
	 "X-RateLimit-Remaining: 1\n"
	 "X-RateLimit-Reset-After: 64.57\n"
	 "X-RateLimit-Reset: 1700000099",
	 "use; left 1 reset 64.57"},
	{"Discord: everywhere", 429, NOW, NULL,
	 "Retry-After: 0.02\n"
	 "X-RateLimit-Global: true\n"
	 "X-RateLimit-Scope: global\n"
	 "X-RateLimit-Bucket: smoke",
	 "use wait 0.02 everywhere"},
	{"Twitter: by the server's clock, not by ours", 429, 1700000300, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "x-rate-limit-limit: 15\n"
	 "x-rate-limit-remaining: 0\n"
	 "x-rate-limit-reset: 1700000900",
	 "use; limit 15 left 0 reset 900"},
	{"Reddit: seconds by the names of GitHub, no limit", 200, NOW, NULL,
	 "x-ratelimit-remaining: 298.0\n"
	 "x-ratelimit-reset: 502\n"
	 "x-ratelimit-used: 2",
	 "use; left 298 used 2 reset 502"},
	{"Reddit: a reset of 0", 429, NOW, "reddit",
	 "x-ratelimit-remaining: 0.0\n"
	 "x-ratelimit-used: 1000\n"
	 "x-ratelimit-reset: 0",
	 "floor; left 0 used 1000 reset 0"},
	{"Shopify: used of a limit", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: 32/40",
	 "use; limit 40 left 8 used 32"},
	{"Shopify: more than the limit", 429, NOW, "shopify",
	 "X-Shopify-Shop-Api-Call-Limit: 41/40\n"
	 "Retry-After: 2.0",
	 "use wait 2; limit 40 left 0 used 41"},
	{"Shopify: half of it", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: 32", "ignore"},
	{"Shopify: no numbers", 200, NOW, NULL,
	 "X-Shopify-Shop-Api-Call-Limit: a/40\n"
	 "X-Shopify-Shop-Api-Call-Limit: 4/b\n"
	 "X-Shopify-Shop-Api-Call-Limit: -4/40",
	 "ignore"},
	{"Stripe: it may be sent again", 429, NOW, NULL,
	 "Stripe-Rate-Limited-Reason: endpoint-rate\n"
	 "Stripe-Should-Retry: true\n"
	 "Retry-After: 2",
	 "use wait 2"},
	{"Stripe: it may not", 429, NOW, "stripe",
	 "Stripe-Should-Retry: false\n"
	 "Retry-After: 2",
	 "do_not_retry wait 2"},
	{"Twilio: load is no quota", 429, NOW, "twilio", "Twilio-Concurrent-Requests: 12",
	 "ignore"},
	{"HubSpot: one window in milliseconds, two by name", 200, NOW, NULL,
	 "X-HubSpot-RateLimit-Daily: 250000\n"
	 "X-HubSpot-RateLimit-Daily-Remaining: 249999\n"
	 "X-HubSpot-RateLimit-Interval-Milliseconds: 10000\n"
	 "X-HubSpot-RateLimit-Max: 100\n"
	 "X-HubSpot-RateLimit-Remaining: 99\n"
	 "X-HubSpot-RateLimit-Secondly: 10\n"
	 "X-HubSpot-RateLimit-Secondly-Remaining: 9",
	 "use; limit 100 left 99 window 10; daily: limit 250000 left 249999 window 86400; "
	 "secondly: limit 10 left 9 window 1"},
	{"Okta: its limit of concurrency is a limit of 0", 429, NOW, "okta",
	 "X-Rate-Limit-Limit: 0\n"
	 "X-Rate-Limit-Remaining: 0\n"
	 "X-Rate-Limit-Reset: 1700000001",
	 "use; limit 0 left 0 reset 1"},
	{"Zendesk: the account's, and an endpoint's", 200, NOW, NULL,
	 "x-rate-limit: 700\n"
	 "ratelimit-limit: 700\n"
	 "x-rate-limit-remaining: 699\n"
	 "ratelimit-remaining: 699\n"
	 "ratelimit-reset: 41\n"
	 "zendesk-ratelimit-tickets-index: total=100; remaining=99; resets=41",
	 "use; account: limit 700 left 699 reset 41; tickets-index: limit 100 left 99 reset 41"},
	{"Zendesk: totals that are none", 200, NOW, "zendesk",
	 "zendesk-ratelimit-tickets-index: total=x; remaining=99; resets=-1; more\n"
	 "zendesk-ratelimit-views: total=5",
	 "ignore; tickets-index: left 99; views: limit 5"},
	{"Zendesk: a total that is none, and the rest is whole", 200, NOW, NULL,
	 "zendesk-ratelimit-views: total=many; remaining=5; resets=3",
	 "ignore; views: left 5 reset 3"},
	{"Linear: milliseconds by names that RapidAPI has", 400, NOW, NULL,
	 "X-RateLimit-Requests-Limit: 1500\n"
	 "X-RateLimit-Requests-Remaining: 0\n"
	 "X-RateLimit-Requests-Reset: 1700003600000\n"
	 "X-Complexity: 1\n"
	 "X-RateLimit-Endpoint-Requests-Limit: 30",
	 "use; requests: limit 1500 left 0 reset 3600; endpoint-requests: limit 30"},
	{"RapidAPI: seconds, and a limit whose name ends in -limit", 200, NOW, NULL,
	 "x-ratelimit-requests-limit: 50\n"
	 "x-ratelimit-requests-remaining: 41\n"
	 "x-ratelimit-requests-reset: 1046073\n"
	 "x-ratelimit-rapid-free-plans-hard-limit-limit: 500000\n"
	 "x-ratelimit-rapid-free-plans-hard-limit-remaining: 499991",
	 "use; requests: limit 50 left 41 reset 1046073; rapid-free-plans-hard-limit: limit 500000 "
	 "left 499991"},
	{"Docker Hub: windows, no reset", 200, NOW, NULL,
	 "ratelimit-limit: 100;w=21600\n"
	 "ratelimit-remaining: 90;w=21600\n"
	 "docker-ratelimit-source: 192.0.2.1",
	 "use; limit 100 left 90 window 21600"},
	{"Docker Hub, lines joined", 200, NOW, NULL,
	 "ratelimit-limit: 100;w=21600, 100;w=21600\n"
	 "ratelimit-remaining: 90;w=21600, 90;w=21600",
	 "use; limit 100 left 90 window 21600"},
	{"Docker Hub: a window beside what remains alone", 200, NOW, "docker",
	 "ratelimit-remaining: 90;w=21600", "use; left 90 window 21600"},
	{"Cloudflare", 200, NOW, "cloudflare",
	 "ratelimit-policy: \"default\";q=1200;w=300\n"
	 "ratelimit: \"default\";r=1199;t=1",
	 "use; limit 1200 left 1199 window 300 reset 1 of default"},
	{"Atlassian: seconds may be missing", 429, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 2023-11-14T22:14Z\n"
	 "X-RateLimit-NearLimit: true\n"
	 "RateLimit-Reason: jira-quota-global-based\n"
	 "Retry-After: 40",
	 "use wait 40; limit 100 left 0 reset 40 of jira-quota-global-based"},
	{"Salesforce: several, one with a comment", 200, NOW, NULL,
	 "Sforce-Limit-Info: api-usage=10018/100000; per-app-api-usage=17/250(appName=sample)",
	 "use; api-usage: limit 100000 left 89982 used 10018; per-app-api-usage: limit 250 left "
	 "233 used 17"},
	{"Salesforce: no pair", 200, NOW, "salesforce", "Sforce-Limit-Info: api-usage", "ignore"},
	{"Twitch: epoch seconds by the IETF's names", 200, NOW, "twitch",
	 "Ratelimit-Limit: 800\n"
	 "Ratelimit-Remaining: 799\n"
	 "Ratelimit-Reset: 1700000001",
	 "use; limit 800 left 799 reset 1"},
	{"Binance: used alone", 200, NOW, NULL,
	 "X-MBX-USED-WEIGHT-1m: 1234\n"
	 "X-MBX-ORDER-COUNT-10S: 5\n"
	 "X-MBX-ORDER-COUNT-1D: 7\n"
	 "X-MBX-UUID: 3\n"
	 "X-SAPI-USED-IP-WEIGHT-1M: 9",
	 "use; weight-1m: used 1234 window 60; order-count-10s: used 5 window 10; order-count-1d: "
	 "used 7 window 86400; ip-weight-1m: used 9 window 60"},
	{"Binance: a count below 0", 200, NOW, "binance", "X-MBX-USED-WEIGHT-1M: -1",
	 "ignore; weight-1m: window 60"},
	{"Binance: banned", 418, NOW, NULL, "Retry-After: 120", "use wait 120"},
	{"Bybit: status is what remains", 200, NOW, NULL,
	 "X-Bapi-Limit: 120\n"
	 "X-Bapi-Limit-Status: 118\n"
	 "X-Bapi-Limit-Reset-Timestamp: 1700000000986",
	 "use; limit 120 left 118 reset 0.986"},
	{"KuCoin: milliseconds from now", 200, NOW, NULL,
	 "gw-ratelimit-limit: 500\n"
	 "gw-ratelimit-remaining: 300\n"
	 "gw-ratelimit-reset: 1489",
	 "use; limit 500 left 300 reset 1.489"},
	{"Lark", 429, NOW, NULL,
	 "x-ogw-ratelimit-limit: 100\n"
	 "x-ogw-ratelimit-reset: 30",
	 "use; limit 100 reset 30"},
	{"Etsy: no `ratelimit` in any name", 200, NOW, NULL,
	 "x-limit-per-second: 10\n"
	 "x-remaining-this-secon: 9\n"
	 "x-limit-per-day: 10000\n"
	 "x-remaining-today: 9905",
	 "use; second: limit 10 left 9 window 1; day: limit 10000 left 9905 window 86400"},
	{"Pinterest: policies behind the limit", 200, NOW, NULL,
	 "x-ratelimit-limit: 100, 100;w=1, 1000;w=60\n"
	 "x-ratelimit-remaining: 99\n"
	 "x-ratelimit-reset: 1",
	 "use; limit 100 left 99 window 1 reset 1; policy 100 in 1; policy 1000 in 60"},
	{"Roblox: two lines, two meanings", 200, NOW, "envoy",
	 "x-ratelimit-limit: 100, 100;w=60\n"
	 "x-ratelimit-remaining: 97\n"
	 "x-ratelimit-reset: 14\n"
	 "x-ratelimit-limit: 70000",
	 "use; limit 100 left 97 window 60 reset 14"},
	{"Roblox: the other way round", 200, NOW, NULL,
	 "x-ratelimit-limit: 70000\n"
	 "x-ratelimit-limit: 100, 100;w=60\n"
	 "x-ratelimit-remaining: 97",
	 "use; limit 100 left 97 window 60"},
	{"Envoy: a name in quotes, with a comma", 401, NOW, NULL,
	 "X-RateLimit-Limit: 10, 10;w=1;name=\"per,\\\"ip\", 1000;w=3600\n"
	 "X-RateLimit-Remaining: 9\n"
	 "X-RateLimit-Reset: 1",
	 "use; limit 10 left 9 window 1 reset 1; policy 10 in 1; policy 1000 in 3600"},
	{"Brave: lists side by side", 200, NOW, NULL,
	 "X-RateLimit-Limit: 1, 2000\n"
	 "X-RateLimit-Remaining: 0, 1977\n"
	 "X-RateLimit-Reset: 1, 389223\n"
	 "X-RateLimit-Policy: 1;w=1, 2000;w=2592000",
	 "use; 1: limit 1 left 0 window 1 reset 1; 2: limit 2000 left 1977 window 2592000 reset "
	 "389223"},
	{"Brave: resets alone", 429, NOW, "brave", "x-ratelimit-reset: 2, 1419704",
	 "use; 1: reset 2; 2: reset 1419704"},
	{"a list beside single values is one limit", 200, NOW, NULL,
	 "X-RateLimit-Limit: 10, 50\n"
	 "X-RateLimit-Remaining: 3\n"
	 "X-RateLimit-Reset: 9",
	 "use; limit 10 left 3 reset 9"},
	{"lists of two lengths", 200, NOW, NULL,
	 "X-RateLimit-Limit: 10, 50, 70\n"
	 "X-RateLimit-Remaining: 3, 4",
	 "use; 1: limit 10 left 3; 2: limit 50 left 4; 3: limit 70"},
	{"Kong: the limit, and windows by name", 429, NOW, NULL,
	 "X-RateLimit-Limit-Second: 1\n"
	 "X-RateLimit-Limit-Minute: 5\n"
	 "X-RateLimit-Remaining-Second: 0\n"
	 "X-RateLimit-Remaining-Minute: 4\n"
	 "X-RateLimit-Limit-Month: 1000\n"
	 "RateLimit-Limit: 1\n"
	 "RateLimit-Remaining: 0\n"
	 "RateLimit-Reset: 1\n"
	 "Retry-After: 1",
	 "use wait 1; limit 1 left 0 reset 1; second: limit 1 left 0 window 1; minute: limit 5 "
	 "left 4 window 60; month: limit 1000"},
	{"TiDB: a reset for the only window", 429, NOW, "kong",
	 "x-ratelimit-reset: 23\n"
	 "x-ratelimit-remaining-minute: 0\n"
	 "x-ratelimit-limit-minute: 100",
	 "use; minute: limit 100 left 0 window 60 reset 23"},
	{"CoinMarketCap: a month is no length of time", 200, NOW, NULL,
	 "X-Ratelimit-Limit-Minute: 30\n"
	 "X-Ratelimit-Remaining-Minute: 28\n"
	 "X-Credits-Limit-Month: 10000\n"
	 "X-Credits-Remaining-Month: 8723\n"
	 "X-Credits-Used: 5",
	 "use; minute: limit 30 left 28 window 60; credits-month: limit 10000 left 8723; credits: "
	 "used 5"},
	{"Amazon: a rate, not a count", 429, NOW, NULL,
	 "Retry-After: 7\n"
	 "x-amzn-RateLimit-Limit: 0.04512",
	 "use wait 7; rate 0.04512"},
	{"Akamai: the next request, by the server's clock", 429, NOW, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "X-RateLimit-Limit: 60\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Next: 2023-11-14T22:13:30.999Z",
	 "use; limit 60 left 0 reset 10.999"},
	{"Akamai: not before the response", 200, NOW, "akamai",
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Next: 2023-11-14T22:13:19.999Z",
	 "use; left 5"},
	{"Akamai: no time at all", 200, NOW, NULL,
	 "X-RateLimit-Next: soon\n"
	 "X-RateLimit-Reset-After: -3",
	 "ignore"},
	{"iQmetrix: seven digits, and a twin", 429, NOW, NULL,
	 "X-RateLimit-Limit: 1000\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 2023-11-14T22:14:20.0000000Z\n"
	 "X-RateLimit-ResetSeconds: 59",
	 "use; limit 1000 left 0 reset 59"},
	{"ePages: milliseconds", 429, NOW, "iqmetrix",
	 "X-RateLimit-Reset: 2023-11-14T22:13:21.500Z", "use; reset 1.5"},
	{"Vimeo: a zone", 200, NOW, "vimeo", "X-RateLimit-Reset: 2023-11-14T23:28:20+01:00",
	 "use; reset 900"},
	{"a date of HTTP as a reset", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: Tue, 14 Nov 2023 22:14:20 GMT",
	 "use; limit 100 left 80 reset 60"},
	{"Meta: percentages, the largest counts", 200, NOW, NULL,
	 "X-Business-Use-Case-Usage: "
	 "{\"1\":[{\"type\":\"ads_insights\",\"call_count\":42,\"total_cputime\":17,\"total_time\":"
	 "31,\"estimated_time_to_regain_access\":0}],\"2\":[{\"type\":\"pages\",\"call_count\":100,"
	 "\"estimated_time_to_regain_access\":19}]}",
	 "use; ads_insights: share 0.42; pages: share 1 reset 1140"},
	{"Meta: without a type", 200, NOW, "meta",
	 "x-app-usage: {\"call_count\":28,\"total_time\":25,\"total_cputime\":24}\n"
	 "x-ad-account-usage: "
	 "{\"acc_id_util_pct\":9.67,\"reset_time_duration\":100,\"ads_api_access_tier\":"
	 "\"a\\\"b\"}",
	 "use; app: share 0.28; ad-account: share 0.0967 reset 100"},
	{"Meta: no JSON", 200, NOW, NULL,
	 "x-app-usage: {\"call_count\":28\n"
	 "x-ad-account-usage: ]\n"
	 "x-fb-ads-insights-throttle: {\"app",
	 "ignore"},
	{"Spring: a token bucket", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 15\n"
	 "X-RateLimit-Burst-Capacity: 20\n"
	 "X-RateLimit-Replenish-Rate: 10\n"
	 "X-RateLimit-Requested-Tokens: 1",
	 "use; left 15 rate 10 burst 20"},
	{"Spring: its store is down", 200, NOW, "spring",
	 "X-RateLimit-Remaining: -1\n"
	 "X-RateLimit-Burst-Capacity: 20\n"
	 "X-RateLimit-Replenish-Rate: 10",
	 "ignore; rate 10 burst 20"},
	{"Spring: a bucket below 0 is none", 200, NOW, NULL, "X-RateLimit-Burst-Capacity: -20",
	 "ignore"},
	{"joola: Retry-After on a success", 200, NOW, NULL,
	 "X-RateLimit-Limit: 5000\n"
	 "X-RateLimit-Remaining: 4987\n"
	 "X-RateLimit-Reset: 1700001069\n"
	 "Retry-After: 1069",
	 "ignore_retry_after_on_2xx wait 1069; limit 5000 left 4987 reset 1069"},
	{"other spellings of the names", 200, NOW, NULL,
	 "Rate-Limit-Total: 100\n"
	 "Rate-Limit-Remaining: 80\n"
	 "Rate-Limit-Reset: 30\n"
	 "Rate-Limit-Window: 60",
	 "use; limit 100 left 80 window 60 reset 30"},
	{"a field that asks for a wait", 429, NOW, NULL,
	 "X-RateLimit-Retry-After: 7\n"
	 "X-RateLimit-Reset-Time: 2023-11-14 22:14:20 UTC",
	 "use wait 7; reset 60"},
	{"a window in words is no fault", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Window: a minute\n"
	 "X-RateLimit-Reset: 30",
	 "use; limit 100 left 80 reset 30"},
	{"a vendor's fields are not ours", 200, NOW, NULL,
	 "acme-RateLimit-DayLimit: 5000\n"
	 "X-Acme-RateLimit-Remaining: 7\n"
	 "RateLimit-Limit: 5000\n"
	 "RateLimit-Remaining: 100\n"
	 "RateLimit-Reset: 36000",
	 "use; limit 5000 left 100 reset 36000"},
	{"draft -03: the limit and its policies", 200, NOW, NULL,
	 "RateLimit-Limit: 10, 10;w=1;comment=\"a, b\", 50;w=60\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 window 1 reset 1; policy 10 in 1; policy 50 in 60"},
	{"draft -03: the policies on another line", 200, NOW, NULL,
	 "RateLimit-Limit: 10, 10;w=1\n"
	 "RateLimit-Limit: 50;w=60\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 window 1 reset 1; policy 10 in 1; policy 50 in 60"},
	{"draft -00: window", 200, NOW, "ietf",
	 "RateLimit-Limit: 10, 10;window=1, 50;window=60\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 window 1 reset 1; policy 10 in 1; policy 50 in 60"},
	{"draft -03: a limit of 0 pushes back", 429, NOW, NULL,
	 "RateLimit-Limit: 0, 15;w=20\n"
	 "RateLimit-Remaining: 0\n"
	 "RateLimit-Reset: 20",
	 "use; limit 0 left 0 reset 20; policy 15 in 20"},
	{"draft -06", 200, NOW, "ietf",
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Policy: 10;w=1;burst=1000, 1000;w=3600\n"
	 "RateLimit-Remaining: 1\n"
	 "RateLimit-Reset: 7",
	 "use; limit 10 left 1 window 1 reset 7; policy 10 in 1; policy 1000 in 3600"},
	{"draft -06: dates", 429, NOW, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "Retry-After: Tue, 14 Nov 2023 22:13:25 GMT\n"
	 "RateLimit-Reset: 5\n"
	 "RateLimit-Limit: 100\n"
	 "RateLimit-Remaining: 0",
	 "use wait 5; limit 100 left 0 reset 5"},
	{"draft -07: a dictionary", 200, NOW, NULL,
	 "RateLimit-Policy: 100;w=10\n"
	 "RateLimit: limit=100, remaining=50, reset=5",
	 "use; limit 100 left 50 window 10 reset 5; policy 100 in 10"},
	{"draft -07: over two lines, without what remains", 200, NOW, NULL,
	 "RateLimit: limit=10\n"
	 "RateLimit: reset=1",
	 "use; limit 10 reset 1"},
	{"draft -07: below 0", 200, NOW, NULL, "RateLimit: limit=10, remaining=-1, reset=1",
	 "ignore"},
	{"draft -07: a list where a number should be", 200, NOW, NULL,
	 "RateLimit: limit=(10 20), reset=1", "ignore"},
	{"draft -07: other keys", 200, NOW, NULL, "RateLimit: foo=1, bar=2", "ignore"},
	{"draft -08: names", 200, NOW, NULL,
	 "RateLimit: \"fixedwindow\";r=99;t=50\n"
	 "RateLimit-Policy: \"fixedwindow\";q=100;w=60",
	 "use; limit 100 left 99 window 60 reset 50 of fixedwindow"},
	{"draft -08: tokens, and no r", 200, NOW, NULL,
	 "RateLimit-Policy: quota;q=100;w=1\n"
	 "RateLimit: quota;t=1",
	 "use; limit 100 window 1 reset 1 of quota"},
	{"draft -08, first: l for q", 200, NOW, NULL,
	 "RateLimit-Policy: protection;l=100;w=60, quota;l=10000;w=86400\n"
	 "RateLimit: protection;r=50;t=30",
	 "use; protection: limit 100 left 50 window 60 reset 30; quota: limit 10000 window 86400"},
	{"draft -08: lines", 200, NOW, NULL,
	 "RateLimit-Policy: \"sliding\";q=100;w=60;burst=1000\n"
	 "RateLimit-Policy: \"fixed\";q=5000;w=3600;burst=0\n"
	 "RateLimit: \"sliding\";r=50;t=44\n"
	 "RateLimit: \"other\";r=7",
	 "use; sliding: limit 100 left 50 window 60 reset 44; fixed: limit 5000 window 3600; "
	 "other: left 7"},
	{"draft -10: a key of the response", 200, NOW, NULL,
	 "RateLimit: \"default\";r=999;pk=:dHJpYWwxMjEzMjM=:",
	 "use; left 999 of default key trial121323"},
	{"draft -10: keys tell limits apart", 200, NOW, NULL,
	 "RateLimit-Policy: \"user\";q=100;w=60\n"
	 "RateLimit: \"user\";r=9;t=1;pk=:YQ==:, \"user\";r=7;t=2;pk=:YQ==:, "
	 "\"user\";r=3;pk=:Yg==:",
	 "use; user: limit 100 left 7 window 60 reset 2 key a; user: left 3 key b"},
	{"draft -10: bytes, and a key that does not print", 200, NOW, NULL,
	 "RateLimit-Policy: \"peruser\";q=65535;qu=\"content-bytes\";w=10;pk=:sdfjLJUOUH==:",
	 "use; limit 65535 window 10 of peruser in content-bytes key sdfjLJUOUH=="},
	{"draft -10: a key of the policy is not the response's", 200, NOW, NULL,
	 "RateLimit-Policy: \"10-in-1sec\"; q=10; w=1; pk=:ZjRmNTQ5ZmY=:\n"
	 "RateLimit: \"10-in-1sec\"; r=9; t=1",
	 "use; limit 10 left 9 window 1 reset 1 of 10-in-1sec"},
	{"draft -10: policies alone", 200, NOW, NULL,
	 "RateLimit-Policy: \"burst\";q=100;w=60,\"daily\";q=1000;w=86400",
	 "use; burst: limit 100 window 60; daily: limit 1000 window 86400"},
	{"draft -10: what is open at once, without a window", 200, NOW, NULL,
	 "RateLimit-Policy: \"conc\";q=10;qu=\"concurrent-requests\"\n"
	 "RateLimit: \"conc\";r=3",
	 "use; limit 10 left 3 of conc in concurrent-requests"},
	{"draft -10: a time that is no delay", 200, NOW, NULL, "RateLimit: \"a\";r=9;t=1700000030",
	 "use; left 9 reset 1700000030 of a"},
	{"draft -10: a full quota beside a sooner reset of a quota that is used", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=1200;w=300\n"
	 "RateLimit: \"a\";r=1199;t=1",
	 "use; limit 1200 left 1199 window 300 reset 1 of a"},
	{"draft -10: parameters of another kind", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=1.5, \"b\";q=5;qu=token, \"c\";q=5;pk=\"text\", 7, (1 2), "
	 "\"d\";w=5, \"e\";q=9;w=3\n"
	 "RateLimit: \"e\";r=5;t=3;pk=5",
	 "ignore; limit 9 window 3 of e"},
	{"draft -10: a policy by hand of weir", 200, NOW, NULL,
	 "RateLimit-Policy: \"api\";q=5000;w=3600;weir-burst=100\n"
	 "RateLimit: \"api\";r=99;t=1",
	 "use; limit 5000 left 99 burst 100 window 3600 reset 1 of api"},
	{"draft -10: 10000 at once are not 1000 a second", 200, NOW, NULL,
	 "RateLimit-Policy: \"somepolicy\";q=10000;w=1000\n"
	 "RateLimit: \"somepolicy\";r=10000;t=10",
	 "cap; limit 10000 left 10000 window 1000 reset 10 of somepolicy"},
	{"draft -10: on a redirection", 301, NOW, NULL, "RateLimit: \"problemPolicy\";r=0;t=10",
	 "use; left 0 reset 10 of problemPolicy"},
	{"draft -10: names with delimiters", 200, NOW, NULL, "RateLimit: \"a,b;c=\\\"1\";r=50;t=30",
	 "use; left 50 reset 30 of a,b;c=\"1"},
	{"draft -10: from a cache", 200, NOW, NULL,
	 "Age: 120\n"
	 "RateLimit: \"default\";r=50;t=30\n"
	 "X-RateLimit-Remaining: 5",
	 "ignore"},
	{"draft -10: fresh from a cache", 200, NOW, NULL,
	 "Age: 0\n"
	 "RateLimit: \"default\";r=50;t=30",
	 "use; left 50 reset 30 of default"},
	{"draft -10: an age that is none", 200, NOW, NULL,
	 "Age: old\n"
	 "RateLimit: \"default\";r=50;t=30",
	 "use; left 50 reset 30 of default"},
	{"a limit that is a number", 200, NOW, NULL, "RateLimit: 100", "ignore"},
	{"r below 0", 200, NOW, NULL, "RateLimit: \"default\";r=-5;t=30", "ignore"},
	{"r with a fraction", 200, NOW, NULL, "RateLimit: \"default\";r=50.5;t=30", "ignore"},
	{"r of 16 digits", 200, NOW, NULL, "RateLimit: \"default\";r=1234567890123456;t=30",
	 "ignore"},
	{"a name without its end", 200, NOW, NULL, "RateLimit: \"default;r=50;t=30", "ignore"},
	{"a malformed policy alone does no harm", 200, NOW, NULL,
	 "RateLimit-Policy: \"default;q=5\n"
	 "RateLimit: \"default\";r=50;t=30",
	 "use; left 50 reset 30 of default"},
	{"an odd policy of the old kind does none either", 200, NOW, NULL,
	 "X-RateLimit-Policy: many\n"
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 3",
	 "use; left 5 reset 3"},
	{"a good field beside a malformed one", 200, NOW, NULL,
	 "RateLimit: \"default\";r=abc;t=30\n"
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 3",
	 "use; left 5 reset 3"},
	{"a limit that is no number spoils what stands beside it", 200, NOW, NULL,
	 "X-RateLimit-Limit: 0x64\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; left 80 reset 30"},
	{"unless another line says it", 200, NOW, NULL,
	 "X-RateLimit-Limit: unlimited\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 30\n"
	 "RateLimit-Limit: 100",
	 "use; limit 100 left 80 reset 30"},
	{"but not another limit", 200, NOW, NULL,
	 "X-RateLimit-Limit-Requests: many\n"
	 "X-RateLimit-Remaining-Requests: 80\n"
	 "X-RateLimit-Reset-Requests: 3s\n"
	 "X-RateLimit-Limit-Tokens: 100\n"
	 "X-RateLimit-Remaining-Tokens: 7\n"
	 "X-RateLimit-Reset-Tokens: 1m",
	 "use; requests: left 80 reset 3; tokens: limit 100 left 7 reset 60"},
	{"what was used is beside the point", 200, NOW, NULL,
	 "X-RateLimit-Used: many\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 30",
	 "use; left 80 reset 30"},
	{"a window by name, and no number", 200, NOW, NULL, "X-RateLimit-Limit-Tokens-Minute: many",
	 "ignore; tokens: window 60"},
	{"a word in the midst of limits side by side", 200, NOW, NULL,
	 "X-RateLimit-Limit: 1, many\n"
	 "X-RateLimit-Remaining: 0, 1977\n"
	 "X-RateLimit-Reset: 1, 389223",
	 "ignore; 1: left 0 reset 1; 2: left 1977 reset 389223"},
	{"Retry-After 0", 429, NOW, NULL, "Retry-After: 0", "floor wait 0"},
	{"Retry-After 0.000", 503, NOW, NULL, "Retry-After: 0.000", "floor wait 0"},
	{"Retry-After, octal to some", 429, NOW, NULL, "Retry-After: 010", "use wait 10"},
	{"Retry-After with blanks", 429, NOW, NULL, "Retry-After: \t 30 \t", "use wait 30"},
	{"Retry-After of a day", 429, NOW, NULL, "Retry-After: 86400", "cap wait 86400"},
	{"Retry-After of an hour", 429, NOW, NULL, "Retry-After: 3600", "use wait 3600"},
	{"Retry-After of 26 digits", 429, NOW, NULL, "Retry-After: 99999999999999999999999999",
	 "cap wait 10000000000"},
	{"Retry-After of the year 9999", 429, NOW, NULL,
	 "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", "cap wait 10000000000"},
	{"Retry-After that is past", 429, NOW, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "Retry-After: Tue, 14 Nov 2023 22:12:20 GMT",
	 "floor wait 0"},
	{"Retry-After as RFC 850", 503, NOW, NULL, "Retry-After: Tuesday, 14-Nov-23 22:13:50 GMT",
	 "use wait 30"},
	{"Retry-After as asctime()", 503, NOW, NULL, "Retry-After: Tue Nov 14 22:13:50 2023",
	 "use wait 30"},
	{"Retry-After on three lines", 429, NOW, NULL,
	 "Retry-After: 99999999999999999999999999\n"
	 "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\n"
	 "Retry-After: -1",
	 "cap wait 10000000000"},
	{"Retry-After on lines that a proxy joined", 429, NOW, NULL, "Retry-After: 5, x, 7",
	 "use wait 7"},
	{"Retry-After on joined lines, dates among them", 429, NOW, NULL,
	 "Retry-After: Tue, 14 Nov 2023 22:14:20 GMT, 5, Tuesday, 14-Nov-23 22:13:30 GMT, x",
	 "use wait 60"},
	{"Retry-After on three lines, joined", 429, NOW, NULL,
	 "Retry-After: 99999999999999999999999999, Fri, 31 Dec 9999 23:59:59 GMT, -1",
	 "cap wait 10000000000"},
	{"Retry-After with thousands", 429, NOW, NULL, "Retry-After: 1,000", "ignore"},
	{"Retry-After with other thousands", 429, NOW, NULL, "Retry-After: 1_000", "ignore"},
	{"Retry-After in quotes", 429, NOW, NULL, "Retry-After: \"30\"", "ignore"},
	{"Retry-After in digits of another script", 429, NOW, NULL,
	 "Retry-After: \357\274\223\357\274\220", "ignore"},
	{"Retry-After without what is before its point", 429, NOW, NULL, "Retry-After: .5",
	 "ignore"},
	{"Retry-After as RFC 3339", 429, NOW, NULL, "Retry-After: 2023-11-14T22:14:20Z", "ignore"},
	{"Retry-After on a day that is none", 429, NOW, NULL,
	 "Retry-After: Tue, 31 Nov 2023 22:13:50 GMT", "ignore"},
	{"Retry-After without a zone", 429, NOW, NULL, "Retry-After: Tue, 14 Nov 2023 22:13:50",
	 "ignore"},
	{"Retry-After as seconds since 1970", 429, NOW, NULL, "Retry-After: 1700000060",
	 "cap wait 1700000060"},
	{"Retry-After on a redirection", 301, NOW, NULL, "Retry-After: 5", "use wait 5"},
	{"Retry-After 0 on a success", 200, NOW, NULL, "Retry-After: 0",
	 "ignore_retry_after_on_2xx wait 0"},
	{"Retry-After in seconds, its milliseconds malformed", 429, NOW, NULL,
	 "Retry-After-Ms: soon\n"
	 "Retry-After: 3",
	 "use wait 3"},
	{"Retry-After below 0", 429, NOW, NULL, "Retry-After: -5", "ignore"},
	{"Retry-After below 0, by nothing", 429, NOW, NULL, "Retry-After: -0", "ignore"},
	{"Retry-After in milliseconds below 0", 429, NOW, NULL, "Retry-After-Ms: -5", "ignore"},
	{"Retry-After nan", 429, NOW, NULL, "Retry-After: NaN", "ignore"},
	{"Retry-After inf", 429, NOW, NULL, "Retry-After: inf", "ignore"},
	{"Retry-After in hexadecimal", 429, NOW, NULL, "Retry-After: 0x1E", "ignore"},
	{"Retry-After with an exponent", 429, NOW, NULL, "Retry-After: 1e3", "ignore"},
	{"Retry-After with a sign", 429, NOW, NULL, "Retry-After: +30", "ignore"},
	{"Retry-After with a unit", 429, NOW, NULL, "Retry-After: 30s", "ignore"},
	{"Retry-After in words", 429, NOW, NULL, "Retry-After: later", "ignore"},
	{"Retry-After empty", 429, NOW, NULL, "Retry-After:", "ignore"},
	{"Retry-After of line separators", 429, NOW, NULL,
	 "Retry-After: \342\200\250soon\342\200\251", "ignore"},
	{"Retry-After with half a fraction", 429, NOW, NULL, "Retry-After: 5.", "ignore"},
	{"Retry-After that cannot be read beside a limit that can", 429, NOW, NULL,
	 "Retry-After: soon\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 9",
	 "use; left 0 reset 9"},
	{"a refusal and nothing else", 429, NOW, NULL, "content-type: application/json", "ignore"},
	{"payment is required", 402, NOW, NULL, "content-type: application/json", "do_not_retry"},
	{"payment is required, later", 402, NOW, NULL, "Retry-After: 5", "use wait 5"},
	{"forbidden by a firewall", 403, NOW, NULL, "server: x", "ignore"},
	{"larger than it may be", 413, NOW, NULL, "server: x", "do_not_retry"},
	{"x-should-retry", 500, NOW, NULL, "x-should-retry: false", "do_not_retry"},
	{"no status is known", 0, NOW, NULL, "Retry-After: 5", "use wait 5"},
	{"-1: no limit", 200, NOW, NULL,
	 "X-Ratelimit-Limit: -1\n"
	 "X-Ratelimit-Remaining: -1\n"
	 "X-Ratelimit-Reset: -1\n"
	 "X-Ratelimit-Window: -1",
	 "unlimited"},
	{"-1: not known, as a time is told", 200, NOW, NULL,
	 "x-ratelimit-limit-tokens: -1\n"
	 "x-ratelimit-remaining-tokens: -1\n"
	 "x-ratelimit-reset-tokens: 0",
	 "ignore"},
	{"-1: no limit of a workspace", 200, NOW, NULL,
	 "X-RateLimit-Limit-Workspace: 0\n"
	 "X-RateLimit-Remaining-Workspace: -1",
	 "unlimited"},
	{"-1: a limit alone", 200, NOW, NULL, "X-RateLimit-Limit: -1", "unlimited"},
	{"-1: no limit, but what remains of it", 200, NOW, NULL,
	 "X-RateLimit-Limit: -1\n"
	 "X-RateLimit-Remaining: 7",
	 "use; left 7"},
	{"-1: overdrawn", 429, NOW, NULL,
	 "Retry-After: 45\n"
	 "X-RateLimit-Limit: 50\n"
	 "X-RateLimit-Remaining: -1",
	 "use wait 45; limit 50 left 0"},
	{"-1: not known", 200, NOW, NULL, "X-RateLimit-Remaining: -1", "ignore"},
	{"-5: overdrawn", 200, NOW, NULL,
	 "X-RateLimit-Remaining: -5\n"
	 "X-RateLimit-Reset: 30",
	 "use; left 0 reset 30"},
	{"a limit of 0", 200, NOW, NULL,
	 "X-RateLimit-Limit: 0\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 30",
	 "use; limit 0 left 0 reset 30"},
	{"more left than there is", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 150\n"
	 "X-RateLimit-Reset: 30",
	 "cap; limit 100 left 100 reset 30"},
	{"2^63 left", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 9223372036854775808\n"
	 "X-RateLimit-Reset: 30",
	 "cap; limit 100 left 100 reset 30"},
	{"2^63 left of who knows what", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 9223372036854775808\n"
	 "X-RateLimit-Reset: 30",
	 "cap; reset 30"},
	{"a limit of 2^64", 200, NOW, NULL,
	 "X-RateLimit-Limit: 18446744073709551616\n"
	 "X-RateLimit-Remaining: 10\n"
	 "X-RateLimit-Reset: 30",
	 "cap; left 10 reset 30"},
	{"thousands", 200, NOW, NULL,
	 "X-RateLimit-Limit: 5,000\n"
	 "X-RateLimit-Remaining: 4,999\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; reset 30"},
	{"not thousands, but one line twice", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100,100\n"
	 "X-RateLimit-Remaining: 80,80\n"
	 "X-RateLimit-Reset: 30,30",
	 "use; limit 100 left 80 reset 30"},
	{"lines that disagree, joined", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 80, 5\n"
	 "X-RateLimit-Reset: 30",
	 "use; limit 100 left 5 reset 30"},
	{"lines that disagree on what remains, all of them joined", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100, 100\n"
	 "X-RateLimit-Remaining: 80, 5\n"
	 "X-RateLimit-Reset: 30, 30",
	 "use; limit 100 left 5 reset 30"},
	{"two limits of one size", 429, NOW, NULL,
	 "X-RateLimit-Limit: 5, 5\n"
	 "X-RateLimit-Remaining: 5, 0\n"
	 "X-RateLimit-Reset: 1, 3600",
	 "use; 1: limit 5 left 5 reset 1; 2: limit 5 left 0 reset 3600"},
	{"limits told apart by what remains alone", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 5, 900\n"
	 "X-RateLimit-Policy: 5;w=1, 1000;w=3600",
	 "use; 1: left 5 window 1; 2: left 900 window 3600"},
	{"a reset below 0 in a list", 200, NOW, NULL,
	 "X-RateLimit-Limit: 1, 2\n"
	 "X-RateLimit-Reset: 30, -5",
	 "ignore; 1: limit 1; 2: limit 2"},
	{"not thousands, but two limits", 200, NOW, NULL,
	 "X-RateLimit-Limit: 1,2000\n"
	 "X-RateLimit-Remaining: 1, 200",
	 "use; 1: limit 1 left 1; 2: limit 2000 left 200"},
	{"other characters before the number", 200, NOW, NULL,
	 "X-RateLimit-Remaining: ~80\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; reset 30"},
	{"words", 200, NOW, NULL,
	 "X-RateLimit-Limit: unlimited\n"
	 "X-RateLimit-Remaining: n/a\n"
	 "X-RateLimit-Reset: soon",
	 "ignore"},
	{"nothing", 200, NOW, NULL,
	 "X-RateLimit-Limit:\n"
	 "X-RateLimit-Remaining:\n"
	 "X-RateLimit-Reset:",
	 "ignore"},
	{"a list with a word in it", 200, NOW, NULL,
	 "X-RateLimit-Limit: 10, many\n"
	 "X-RateLimit-Remaining: 5",
	 "ignore; left 5"},
	{"nan", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: nan",
	 "ignore; limit 100 left 80"},
	{"two lines that disagree", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 30\n"
	 "X-RateLimit-Reset: 40\n"
	 "X-RateLimit-Used: 5\n"
	 "X-RateLimit-Used: 95",
	 "use; limit 100 left 5 used 95 reset 40"},
	{"two lines of a limit by name", 200, NOW, NULL,
	 "X-RateLimit-Limit-Tokens: 100, 90\n"
	 "X-RateLimit-Remaining-Tokens: 80;w=60\n"
	 "X-RateLimit-Reset-Tokens: 3\n"
	 "X-RateLimit-Reset-Tokens: 4",
	 "use; tokens: limit 90 left 80 window 60 reset 4"},
	{"case", 200, NOW, NULL,
	 "x-RATELIMIT-limit: 100\n"
	 "X-rateLIMIT-Limit-TOKENS: 7",
	 "use; limit 100; tokens: limit 7"},
	{"a reset that is a little past", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 1699999990",
	 "floor; left 80 reset 0"},
	{"a reset that is long past", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 1600000000",
	 "floor; left 80 reset 0"},
	{"a reset in microseconds", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 1700000060000000",
	 "use; left 80 reset 60"},
	{"a reset of 26 digits", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 99999999999999999999999999",
	 "cap; left 80 reset 10000000000"},
	{"a reset in the year 9999", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 9999-12-31T23:59:59Z",
	 "cap; left 80 reset 10000000000"},
	{"a reset below 0", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: -30",
	 "ignore; left 80"},
	{"by a clock of 1000 s: X- names", 200, 1000, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 1030",
	 "use; limit 100 left 80 reset 30"},
	{"by a clock of 1000 s: the IETF's names", 200, 1000, NULL,
	 "RateLimit-Limit: 100\n"
	 "RateLimit-Remaining: 80\n"
	 "RateLimit-Reset: 1030",
	 "use; limit 100 left 80 reset 30"},
	{"by a clock of 1000 s: seconds", 200, 1000, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 60",
	 "use; left 80 reset 60"},
	{"by a clock of 1000 s: just past", 200, 1000, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 995",
	 "floor; left 80 reset 0"},
	{"without a clock: a time says nothing", 200, NAN, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 1700000030",
	 "ignore; left 80"},
	{"without a clock: but Date is one", 200, NAN, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "X-RateLimit-Remaining: 80\n"
	 "X-RateLimit-Reset: 1700000030",
	 "use; left 80 reset 30"},
	{"a clock that agrees with Date is finer", 200, 1700000000.75, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "X-RateLimit-Reset: 1700000001.75",
	 "use; reset 1"},
	{"a Date that is none", 200, NOW, NULL,
	 "Date: yesterday\n"
	 "X-RateLimit-Reset: 1700000030",
	 "use; reset 30"},
	{"a profile takes its own unit", 200, NOW, "kucoin", "gw-ratelimit-reset: 1700000030",
	 "use; reset 1700000.03"},
	{"a profile reads no field of others", 200, NOW, "github",
	 "ratelimit-remaining: 5\n"
	 "x-shopify-shop-api-call-limit: 1/2",
	 "ignore"},
	{"a profile reads Retry-After", 429, NOW, "slack",
	 "retry-after: 30\n"
	 "x-ratelimit-remaining: 5",
	 "use wait 30"},
	{"draft -07: a reset of 14 digits", 200, NOW, NULL,
	 "RateLimit: limit=100, remaining=50, reset=51700000042000",
	 "cap; limit 100 left 50 reset 10000000000"},
	{"draft -10: a window of 14 digits", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=5;w=51700000042000\n"
	 "RateLimit: \"a\";r=1;t=51700000042000",
	 "cap; limit 5 left 1 reset 10000000000 of a"},
	{"Meta: access in a trillion minutes", 200, NOW, NULL,
	 "x-app-usage: {\"call_count\":100,\"estimated_time_to_regain_access\":100000000000}",
	 "cap; app: share 1 reset 10000000000"},
	{"a policy below 0, and one too large", 200, NOW, NULL,
	 "RateLimit-Limit: 5, -15;w=20, 99999999999999999999;w=9, 5;w=3\n"
	 "RateLimit-Remaining: 0",
	 "cap; limit 5 left 0 window 3; policy 5 in 3"},
	{"a list of resets with one below 0", 200, NOW, NULL, "X-RateLimit-Reset: 2, -14",
	 "ignore"},
	{"a limit of 16 digits", 200, NOW, NULL,
	 "X-RateLimit-Limit: 5000000000000000\n"
	 "X-RateLimit-Remaining: 5",
	 "cap; left 5"},
	{"lines of lists of two lengths", 200, NOW, NULL,
	 "X-RateLimit-Limit: 1\n"
	 "X-RateLimit-Limit: 1, 2000\n"
	 "X-RateLimit-Remaining: 0, 7",
	 "use; 1: limit 1 left 0; 2: limit 2000 left 7"},
	{"draft -10: a long key is cut", 200, NOW, NULL,
	 "RateLimit: "
	 "\"a\";r=5;pk=:"
	 "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhY"
	 "WFhYWFhYWFh:",
	 "use; left 5 of a key "
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
};

static void test_rows(void **state)
{
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];

		wrong += !fields_text_check(row->name, row->headers, row->status, row->captured_at,
					    row->profile, row->verdict);
	}
	assert_int_equal(wrong, 0);
}

/* ---- the plan, by number ---- */

static void expect_read(int status, double captured_at, const char *headers, const char *verdict)
{
	assert_string_equal(fields_text_read(headers, strlen(headers), status, captured_at, NULL),
			    verdict);
}

/* At a clock of 1000 s: 80 left for 30 s. */
static void ut13_14_both_kinds_of_names(void **state)
{
	(void)state;
	expect_read(200, 1000,
		    "X-RateLimit-Limit: 100\nX-RateLimit-Remaining: 80\nX-RateLimit-Reset: 1030",
		    "use; limit 100 left 80 reset 30");
	expect_read(200, 1000,
		    "RateLimit-Limit: 100\nRateLimit-Remaining: 80\nRateLimit-Reset: 1030",
		    "use; limit 100 left 80 reset 30");
}

static void ut15_no_relevant_fields(void **state)
{
	(void)state;
	expect_read(200, 1000, "Content-Type: application/json\nServer: nginx", "ignore");
}

static void ut16_retry_after(void **state)
{
	(void)state;
	expect_read(200, 1000,
		    "X-RateLimit-Limit: 100\nX-RateLimit-Remaining: 10\nX-RateLimit-Reset: 1030",
		    "use; limit 100 left 10 reset 30");
	expect_read(429, 1000, "Retry-After: 30", "use wait 30");
}

/* Retry-After was ignored while anything remained; a date and a 0 were not understood. */
static void defect8_retry_after(void **state)
{
	(void)state;
	expect_read(429, NOW, "X-RateLimit-Remaining: 9\nRetry-After: 30", "use wait 30; left 9");
	expect_read(429, NOW, "Retry-After: Tue, 14 Nov 2023 22:13:50 GMT", "use wait 30");
	expect_read(429, NOW, "Retry-After: 0", "floor wait 0");
}

/* A time that was past was a wait of 50 years; and other units were misread. */
static void defect9_units(void **state)
{
	static const char *const resets[] = {
		"1700000030", "1700000030000", "30s",	 "0m30s",
		"30",	      "30.0",	       "30, 30", "2023-11-14T22:13:50Z"};

	(void)state;
	expect_read(200, NOW, "X-RateLimit-Reset: 1699999999", "floor; reset 0");
	for (size_t i = 0; i < sizeof(resets) / sizeof(resets[0]); i++) {
		char headers[128];

		snprintf(headers, sizeof(headers), "X-RateLimit-Reset: %s", resets[i]);
		expect_read(200, NOW, headers, "use; reset 30");
	}
	expect_read(200, NOW, "X-RateLimit-Limit: 100, 100;w=60", "use; limit 100 window 60");
	expect_read(200, NOW, "X-RateLimit-Remaining: 5\nX-RateLimit-Reset: nan", "ignore; left 5");
}

static void defect10_remaining_is_bounded(void **state)
{
	(void)state;
	expect_read(200, NOW,
		    "X-RateLimit-Limit: 100\nX-RateLimit-Remaining: 2700000000000\n"
		    "X-RateLimit-Reset: 30",
		    "cap; limit 100 left 100 reset 30");
	expect_read(200, NOW,
		    "RateLimit-Policy: \"p\";q=10000;w=1000\nRateLimit: \"p\";r=10000;t=10",
		    "cap; limit 10000 left 10000 window 1000 reset 10 of p");
}

/* ---- units ---- */

/* A reset in whatever unit, by names that services have for all of them. */
static void test_units(void **state)
{
	static const char *const names[] = {
		"X-RateLimit-Reset",	    "RateLimit-Reset",
		"x-rate-limit-reset",	    "X-RATELIMIT-RESET",
		"x-ratelimit-reset-tokens", "x-ratelimit-tokens-reset",
		"rate-limit-reset",	    "x-ratelimit-reset-tokens-minute",
		"ratelimit-tokens-reset",   "anthropic-ratelimit-tokens-reset",
	};
	static const struct {
		const char *value;
		double seconds;
	} values[] = {
		{"60", 60},
		{"0.5", 0.5},
		{"2592000", 2592000},
		{"999999999", 999999999},
		{"1700000060", 60},
		{"1700000000.25", 0.25},
		{"1699999999", 0},
		{"1699913601", 0},
		{"1000000000", 0},
		{"1700000060000", 60},
		{"1700000000250", 0.25},
		{"1699999999999", 0},
		{"1700000060000000", 60},
		{"1m0s", 60},
		{"2m59.56s", 179.56},
		{"370ms", 0.37},
		{"2023-11-14T22:14:20Z", 60},
		{"2023-11-14T22:14Z", 40},
		{"2023-11-14T22:13:20.2500000Z", 0.25},
		{"2023-11-15T00:14:20+02:00", 60},
		{"Tue, 14 Nov 2023 22:14:20 GMT", 60},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			const struct fields_header header = {names[i], strlen(names[i]),
							     values[j].value,
							     strlen(values[j].value)};
			const struct fields_response response = {
				.status = 200, .headers = &header, .count = 1, .captured_at = NOW};
			struct fields_verdict verdict;

			fields_read(&response, &verdict);
			if (verdict.count != 1 ||
			    fabs(verdict.limits[0].reset_s - values[j].seconds) > 1e-6)
				fail_msg("%s: %s", names[i], values[j].value);
			assert_int_equal(verdict.action,
					 values[j].seconds > 0 ? FIELDS_USE : FIELDS_FLOOR);
		}
}

/* ---- bytes ---- */

static void test_nul(void **state)
{
	static const char headers[] = "X-RateLimit-Remaining: 80\0\n"
				      "X-RateLimit-Limit: 100\n"
				      "X-RateLimit-Reset: 30";
	static const char name[] = "X-RateLimit-Remaining\0: 80";

	(void)state;
	assert_string_equal(fields_text_read(headers, sizeof(headers) - 1, 200, NOW, NULL),
			    "ignore; limit 100 reset 30");
	assert_string_equal(fields_text_read(name, sizeof(name) - 1, 200, NOW, NULL), "ignore");
}

static void expect_sane(double value, double max)
{
	assert_true(isnan(value) || (value >= 0 && value <= max));
}

/* No number of a verdict poisons a rate. */
static void expect_all_sane(const struct fields_verdict *verdict)
{
	expect_sane(verdict->retry_after_s, FIELDS_NEVER_S);
	assert_true(verdict->count <= FIELDS_LIMITS_MAX);
	for (size_t i = 0; i < verdict->count; i++) {
		const struct fields_limit *limit = &verdict->limits[i];

		expect_sane(limit->limit, FIELDS_COUNT_MAX);
		expect_sane(limit->remaining, FIELDS_COUNT_MAX);
		expect_sane(limit->used, FIELDS_COUNT_MAX);
		expect_sane(limit->reset_s, FIELDS_NEVER_S);
		expect_sane(limit->window_s, FIELDS_NEVER_S);
		expect_sane(limit->utilization, FIELDS_COUNT_MAX);
		expect_sane(limit->rate_per_s, FIELDS_COUNT_MAX);
		expect_sane(limit->burst, FIELDS_COUNT_MAX);
		assert_true(isnan(limit->limit) || isnan(limit->remaining) ||
			    limit->remaining <= limit->limit);
	}
}

/* A name by a row: where it goes on, by one of the words. */
static size_t row_name(const struct field_row *row, const char *word, char out[96])
{
	return (size_t)snprintf(out, 96, "%s%s", row->field, row->open ? word : "");
}

static void expect_no_poison(const struct fields_profile *profile, const struct field_row *row,
			     const char *value)
{
	static const char *const words[] = {"limit", "remaining", "reset",	"reset-after",
					    "used",  "window",	  "retry-after"};
	struct fields_verdict verdict;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		char name[96];
		const struct fields_header header = {name, row_name(row, words[i], name), value,
						     strlen(value)};
		const struct fields_response response = {.status = i % 2 ? 429 : 200,
							 .headers = &header,
							 .count = 1,
							 .captured_at = NOW,
							 .profile = profile};

		fields_read(&response, &verdict);
		expect_all_sane(&verdict);
	}
}

/* A value of any kind in a field of every row of the table. */
static void test_no_number_is_poison(void **state)
{
	static const char *const values[] = {
		"nan",
		"inf",
		"-inf",
		"NaN(1)",
		"-1",
		"-0",
		"-99999999999999999999999999",
		"1e308",
		"99999999999999999999999999",
		"9223372036854775807",
		"18446744073709551616",
		"0",
		"0.0000000000001",
		"9999-12-31T23:59:59Z",
		"Fri, 31 Dec 9999 23:59:59 GMT",
		"Thu, 01 Jan 1970 00:00:00 GMT",
		"0001-01-01T00:00:00Z",
		"9999999999h",
		"1/0",
		"0/0",
		"-1/5",
		"a=1/2; b",
		"total=-1; remaining=1e9; resets=inf",
		"x;-3, y;4;5",
		"{\"call_count\":-1}",
		"{\"call_count\":1e999,\"total_time\":99999999999999999}",
		"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
		"0;w=0",
		"5;w=-1",
		"5;w=nan, 5;w=1e9",
		",",
		";",
		"=",
		"\"",
		"/",
		"\\",
		"-",
		".",
		"..",
		"1.",
		".5",
		"",
	};
	const struct fields_profile *profile;

	(void)state;
	for (size_t i = 0; (profile = fields_profile_at(i)); i++)
		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			for (const struct field_row *row = profile->known; row && row->field; row++)
				expect_no_poison(NULL, row, values[j]);
			for (const struct field_row *row = profile->own; row && row->field; row++)
				expect_no_poison(profile, row, values[j]);
		}
}

/* Several fields of a response, drawn from names and values that meet in all sorts of ways. */
static void test_no_response_is_poison(void **state)
{
	static const char *const names[] = {
		"x-ratelimit-limit",
		"x-ratelimit-remaining",
		"x-ratelimit-reset",
		"ratelimit-limit",
		"ratelimit-remaining",
		"x-ratelimit-reset-after",
		"x-ratelimit-policy",
		"x-ratelimit-limit-tokens-minute",
		"x-ratelimit-tokens-reset",
		"x-ratelimit-remaining-tokens",
		"ratelimit-policy",
		"ratelimit",
		"llm_provider-x-ratelimit-reset",
		"zendesk-ratelimit-a",
		"retry-after",
		"x-ratelimit-used",
		"date",
	};
	static const char *const values[] = {
		"5",
		"-1",
		"1, 2000",
		"-1, 5, -7",
		"30, -5",
		"100, 100;w=60",
		"1;w=1, 2;w=2",
		"99999999999999999999",
		"1, 99999999999999999999",
		"1700000060",
		"1.5s, -3",
		"Thu, 01 Jan 1970 00:00:00 GMT",
		"\"a\";r=5;t=1;q=3;w=2, \"b\";r=9;q=1",
		"limit=-1, remaining=3, reset=9",
		"total=-1; remaining=5; resets=-1",
		"0",
	};
	struct fields_header headers[6];
	struct fields_verdict verdict;
	uint32_t random = 1;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct fields_response response = {
			.status = i % 2 ? 429 : 200, .headers = headers, .captured_at = NOW};

		for (; response.count < 6; response.count++) {
			const char *name, *value;

			random = random * 1664525 + 1013904223;
			name = names[(random >> 16) % (sizeof(names) / sizeof(names[0]))];
			value = values[(random >> 24) % (sizeof(values) / sizeof(values[0]))];
			headers[response.count] =
				(struct fields_header){name, strlen(name), value, strlen(value)};
		}
		fields_read(&response, &verdict);
		expect_all_sane(&verdict);
	}
}

/* The caller's clock is not trusted either. */
static void test_clocks(void **state)
{
	static const double clocks[] = {NAN, INFINITY, -INFINITY, -1, 0, 1e300, 1e10, 9.9e9};
	static const char headers[] = "Retry-After: Sunday, 06-Nov-94 08:49:37 GMT\n"
				      "X-RateLimit-Reset: 1700000000\n"
				      "X-RateLimit-Reset: 30";
	struct fields_header list[FIELDS_TEXT_HEADERS];
	struct fields_verdict verdict;

	(void)state;
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		const struct fields_response response = {
			.status = 429,
			.headers = list,
			.count = fields_text_split(headers, sizeof(headers) - 1, list),
			.captured_at = clocks[i],
		};

		fields_read(&response, &verdict);
		expect_all_sane(&verdict);
	}
}

static void test_long_wait_is_the_callers(void **state)
{
	const struct fields_header header = {"Retry-After", 11, "90", 2};
	struct fields_response response = {
		.status = 429, .headers = &header, .count = 1, .captured_at = NOW, .long_s = 60};
	struct fields_verdict verdict;

	(void)state;
	assert_int_equal(fields_read(&response, &verdict), FIELDS_CAP);
	assert_int_equal(verdict.cause, FIELDS_CAUSE_LONG_WAIT);
	assert_true(verdict.retry_after_s == 90);
	response.long_s = 0;
	assert_int_equal(fields_read(&response, &verdict), FIELDS_USE);
}

/* ---- many ---- */

enum { MANY = 3000 };

static struct fields_header many[MANY];
static char many_names[MANY][96];

static void name_many(const char *format)
{
	for (unsigned i = 0; i < MANY; i++)
		many[i] = (struct fields_header){
			many_names[i],
			(size_t)snprintf(many_names[i], sizeof(many_names[i]), format, i), "7", 1};
}

static enum fields_action read_many(size_t count, struct fields_verdict *verdict)
{
	const struct fields_response response = {
		.status = 200, .headers = many, .count = count, .captured_at = NOW};

	return fields_read(&response, verdict);
}

static void test_many_limits(void **state)
{
	struct fields_verdict verdict;

	(void)state;
	name_many("x-ratelimit-remaining-r%u");
	read_many(MANY, &verdict);
	/* one place is the plain limit's */
	assert_int_equal(verdict.count, FIELDS_LIMITS_MAX - 1);
	assert_string_equal(verdict.limits[0].resource, "r0");
	expect_all_sane(&verdict);
}

/* Limits of other kinds find no room behind them, and do no harm. */
static void test_no_room(void **state)
{
	static const char usage[] = "{\"call_count\":5}", list[] = "1, 2, 3";
	struct fields_verdict verdict;

	(void)state;
	name_many("x-ratelimit-remaining-r%u");
	many[16] = (struct fields_header){"x-app-usage", 11, usage, sizeof(usage) - 1};
	many[17] = (struct fields_header){"x-ratelimit-limit", 17, list, sizeof(list) - 1};
	many[18] = (struct fields_header){"zendesk-ratelimit-x", 19, "total=5", 7};
	read_many(19, &verdict);
	assert_int_equal(verdict.count, FIELDS_LIMITS_MAX - 1);
	assert_string_equal(verdict.limits[FIELDS_LIMITS_MAX - 2].resource, "r14");
	expect_all_sane(&verdict);
}

static void test_lines_behind_the_last(void **state)
{
	static const char last[] = "x-ratelimit-remaining";
	struct fields_verdict verdict;

	(void)state;
	name_many("x-%u");
	many[FIELDS_HEADERS_MAX - 1] = (struct fields_header){last, sizeof(last) - 1, "5", 1};
	assert_int_equal(read_many(MANY, &verdict), FIELDS_USE);
	many[FIELDS_HEADERS_MAX] = many[FIELDS_HEADERS_MAX - 1];
	many[FIELDS_HEADERS_MAX - 1] = many[0];
	assert_int_equal(read_many(MANY, &verdict), FIELDS_IGNORE);
}

/* More lines of one field of the IETF's than are kept make it malformed: it is not cut. */
static void test_many_lines_of_one_field(void **state)
{
	static const char line[] = "\"a\";r=5;t=9";
	struct fields_verdict verdict;

	(void)state;
	for (size_t i = 0; i < 17; i++)
		many[i] = (struct fields_header){"RateLimit", 9, line, sizeof(line) - 1};
	assert_int_equal(read_many(16, &verdict), FIELDS_USE);
	assert_int_equal(read_many(17, &verdict), FIELDS_IGNORE);
	for (size_t i = 0; i < 17; i++)
		many[i].name = "RateLimit-Policy", many[i].name_bytes = 16;
	assert_int_equal(read_many(17, &verdict), FIELDS_IGNORE);
	assert_int_equal(verdict.cause, FIELDS_CAUSE_NOTHING);
}

static void test_many_items(void **state)
{
	static char policy[4096], limit[4096];
	size_t p = 0, l = 0;
	struct fields_verdict verdict;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		p += (size_t)snprintf(policy + p, sizeof(policy) - p, "%s\"p%u\";q=9;w=9",
				      i ? ", " : "", i);
		l += (size_t)snprintf(limit + l, sizeof(limit) - l, "%s\"l%u\";r=5;t=9",
				      i ? ", " : "", i);
	}
	many[0] = (struct fields_header){"RateLimit-Policy", 16, policy, p};
	many[1] = (struct fields_header){"RateLimit", 9, limit, l};
	read_many(2, &verdict);
	assert_int_equal(verdict.count, FIELDS_LIMITS_MAX - 1);
	read_many(1, &verdict);
	assert_int_equal(verdict.count, FIELDS_LIMITS_MAX - 1);
	many[0] = many[1];
	read_many(1, &verdict);
	assert_int_equal(verdict.count, FIELDS_LIMITS_MAX - 1);
	expect_all_sane(&verdict);
}

static void test_many_policies(void **state)
{
	const char *verdict = fields_text_read(
		"RateLimit-Limit: 1, 2;w=2, 3;w=3, 4;w=4, 5;w=5, 6;w=6, 7;w=7, 8;w=8, "
		"9;w=9, 10;w=10\n"
		"RateLimit-Policy: 2;w=2, 20;w=20, -3;w=3, 4;w=0",
		strlen("RateLimit-Limit: 1, 2;w=2, 3;w=3, 4;w=4, 5;w=5, 6;w=6, 7;w=7, "
		       "8;w=8, 9;w=9, "
		       "10;w=10\nRateLimit-Policy: 2;w=2, 20;w=20, -3;w=3, 4;w=0"),
		200, NOW, NULL);

	(void)state;
	assert_string_equal(verdict, "use; limit 1; policy 2 in 2; policy 20 in 20; policy 3 in 3; "
				     "policy 4 in 4; policy 5 in 5; policy 6 in 6; policy 7 in 7; "
				     "policy 8 in 8");
}

/* A header of 64 KiB: one value, one name, one list; and a text that is cut is still one. */
static void test_long_values(void **state)
{
	enum { LONG = 65536 };
	char *text = malloc(LONG + 1);
	struct fields_verdict verdict;
	const char *const names[] = {"X-RateLimit-Limit",
				     "Retry-After",
				     "RateLimit",
				     "RateLimit-Policy",
				     "x-app-usage",
				     "sforce-limit-info",
				     "X-RateLimit-Resource",
				     "Date",
				     "X-RateLimit-Reset",
				     "x-ms-ratelimit-remaining-resource",
				     "zendesk-ratelimit-x"};
	static const char fills[] = "1,;=\"\\a({9 .:";

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (size_t j = 0; j < sizeof(fills) - 1; j++) {
			memset(text, fills[j], LONG);
			many[0] = (struct fields_header){names[i], strlen(names[i]), text, LONG};
			many[1] = (struct fields_header){text, LONG, text, LONG};
			read_many(2, &verdict);
			expect_all_sane(&verdict);
		}
	free(text);
}

static void test_names_are_cut(void **state)
{
	static const char start[] = "x-ratelimit-remaining-";
	char name[200];
	struct fields_verdict verdict;

	(void)state;
	memset(name, 'R', sizeof(name));
	memcpy(name, start, sizeof(start) - 1);
	many[0] = (struct fields_header){name, sizeof(name), "5", 1};
	read_many(1, &verdict);
	assert_int_equal(strlen(verdict.limits[0].resource), FIELDS_NAME_BYTES - 1);
	assert_int_equal(verdict.limits[0].resource[0], 'r');
	/* no character is cut in two, and none steers a terminal */
	memset(name, 'a', sizeof(name));
	name[0] = '\033';
	memcpy(name + 63, "\303\244", 2);
	many[0] = (struct fields_header){"RateLimit-Name", 14, name, sizeof(name)};
	many[1] = (struct fields_header){"RateLimit-Remaining", 19, "5", 1};
	read_many(2, &verdict);
	assert_int_equal(strlen(verdict.limits[0].resource), FIELDS_NAME_BYTES - 2);
}

/* ---- profiles ---- */

static void test_profiles(void **state)
{
	const struct fields_profile *profile;
	const char *last = "";
	size_t count = 0;

	(void)state;
	for (; (profile = fields_profile_at(count)); count++) {
		const char *name = fields_profile_name(profile);

		/* behind those for all */
		assert_true(count <= 3 || strcmp(last, name) < 0);
		assert_ptr_equal(fields_profile_find(name), profile);
		assert_true(strlen(fields_profile_title(profile)) > 0);
		assert_true(profile->known || profile->own);
		last = name;
	}
	assert_true(count >= 50);
	assert_null(fields_profile_find("nobody"));
	assert_null(fields_profile_find(""));
}

/* The row is reached by its name, in any case. */
static void expect_row(const struct fields_profile *profile, const struct field_row *row)
{
	struct field_name name;
	char text[96];
	size_t bytes = row_name(row, "limit", text);

	if (!field_name_read(profile, (struct field_text){text, bytes}, &name))
		fail_msg("%s is not found", text);
	assert_true(name.meaning == (row->meaning == FIELD_WORDS ? FIELD_LIMIT : row->meaning));
	for (size_t i = 0; i < bytes; i++) {
		assert_true(text[i] == field_lower(text[i]));
		text[i] = (char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i]);
	}
	assert_true(field_name_read(profile, (struct field_text){text, bytes}, &name));
}

static void test_rows_of_the_table(void **state)
{
	const struct fields_profile *profile;

	(void)state;
	for (size_t i = 0; (profile = fields_profile_at(i)); i++) {
		for (const struct field_row *row = profile->known; row && row->field; row++) {
			expect_row(NULL, row);
			expect_row(profile, row);
		}
		for (const struct field_row *row = profile->own; row && row->field; row++)
			expect_row(profile, row);
	}
}

static void test_texts(void **state)
{
	(void)state;
	for (int i = FIELDS_USE; i <= FIELDS_IGNORE_RETRY_AFTER_ON_2XX; i++)
		assert_true(strlen(fields_action_text((enum fields_action)i)) > 2);
	for (int i = FIELDS_CAUSE_SAID; i <= FIELDS_CAUSE_NOT_REFUSED; i++)
		assert_true(strlen(fields_cause_text((enum fields_cause)i)) > 10);
	assert_string_equal(fields_action_text((enum fields_action)99), "?");
	assert_string_equal(fields_cause_text((enum fields_cause)99), "?");
}

/* ---- mappings ---- */

static void test_mappings(void **state)
{
	static const char *const lines[][2] = {
		{"field.limit", "X-Foo-Max"},
		{"field.remaining", " X-Foo-Left\t"},
		{"field.reset", "X-Foo-Reset epoch_ms"},
		{"field.remaining.tokens", "x-foo-tokens-left"},
		{"field.window.tokens", "x-foo-tokens-window min"},
		{"field.used", "x-foo-used"},
		{"field.utilization", "x-foo-share"},
		{"field.rate", "x-foo-rate"},
		{"field.burst", "x-foo-burst"},
		{"field.retry_after", "x-foo-wait"},
		{"field.resource", "x-foo-name"},
		{"field.reset.us", "x-foo-us epoch_us"},
		{"field.reset.date", "x-foo-date date"},
		{"field.reset.go", "x-foo-go duration"},
		{"field.reset.ms", "x-foo-ms ms"},
		{"field.reset.s", "x-foo-s s"},
		{"field.reset.auto", "x-foo-auto auto"},
		{"field.reset.odd", "x-foo-odd epoch_s"},
	};
	static const char headers[] = "X-FOO-MAX: 100\n"
				      "x-foo-left: 5\n"
				      "X-Foo-Reset: 1700000060000\n"
				      "X-Foo-Tokens-Left: 7\n"
				      "X-Foo-Tokens-Window: 2\n"
				      "X-Foo-Used: 95\n"
				      "X-Foo-Share: 0.95\n"
				      "X-Foo-Rate: 2.5\n"
				      "X-Foo-Burst: 20\n"
				      "X-Foo-Name: mine\n"
				      "X-Foo-Us: 1700000001000000\n"
				      "X-Foo-Date: 2023-11-14T22:13:22Z\n"
				      "X-Foo-Go: 1m3s\n"
				      "X-Foo-Ms: 4000\n"
				      "X-Foo-S: 5\n"
				      "X-Foo-Auto: 6s\n"
				      "X-Foo-Odd: tomorrow\n"
				      "X-Foo-Wait: 12";
	struct fields_mapping mappings[sizeof(lines) / sizeof(lines[0])];
	struct fields_header list[FIELDS_TEXT_HEADERS];
	struct fields_response response = {
		.status = 429,
		.headers = list,
		.count = fields_text_split(headers, sizeof(headers) - 1, list),
		.captured_at = NOW,
		.mappings = mappings,
		.mapping_count = sizeof(lines) / sizeof(lines[0]),
	};
	struct fields_verdict verdict;
	struct fields_line line;

	(void)state;
	for (size_t i = 0; i < response.mapping_count; i++)
		assert_null(fields_mapping_parse(lines[i][0], lines[i][1], &mappings[i]));
	fields_read(&response, &verdict);
	assert_string_equal(
		fields_line_of(&verdict, &line),
		"use wait 12; limit 100 left 5 used 95 share 0.95 rate 2.5 burst 20 reset 60 of "
		"mine"
		"; tokens: left 7 window 120; us: reset 1; date: reset 2; go: reset 63; ms: reset 4"
		"; s: reset 5; auto: reset 6");
}

/* A mapping goes before what the name means to others. */
static void test_mapping_goes_first(void **state)
{
	static const char headers[] = "X-RateLimit-Remaining: 7\nRetry-After: 250";
	struct fields_mapping mappings[2];
	struct fields_header list[FIELDS_TEXT_HEADERS];
	const struct fields_response response = {
		.status = 429,
		.headers = list,
		.count = fields_text_split(headers, sizeof(headers) - 1, list),
		.captured_at = NOW,
		.mappings = mappings,
		.mapping_count = 2,
	};
	struct fields_verdict verdict;
	struct fields_line line;

	(void)state;
	assert_null(fields_mapping_parse("field.used", "x-ratelimit-remaining", &mappings[0]));
	assert_null(fields_mapping_parse("field.retry_after", "retry-after ms", &mappings[1]));
	fields_read(&response, &verdict);
	assert_string_equal(fields_line_of(&verdict, &line), "use wait 0.25; used 7");
}

static void expect_wrong(const char *key, const char *value, const char *part)
{
	struct fields_mapping mapping = {.meaning = 77};
	const char *wrong = fields_mapping_parse(key, value, &mapping);

	if (!wrong || !strstr(wrong, part))
		fail_msg("%s = %s: %s", key, value, wrong ? wrong : "taken");
	assert_int_equal(mapping.meaning, 77);
}

static void test_wrong_mappings(void **state)
{
	char name[200];

	(void)state;
	expect_wrong("remaining", "x", "field.MEANING");
	expect_wrong("field.", "x", "MEANING is limit, remaining, reset");
	expect_wrong("field.left", "x", "MEANING is limit, remaining, reset");
	expect_wrong("field.remaining.", "x", "name of a limit");
	expect_wrong("field.remaining.a b", "x", "name of a limit");
	expect_wrong("field.retry_after.a", "x", "of the response");
	expect_wrong("field.resource.a", "x", "of the response");
	expect_wrong("field.remaining", "", "name of a response field");
	expect_wrong("field.remaining", "a:b", "name of a response field");
	expect_wrong("field.remaining", "x s", "only reset, window and retry_after");
	expect_wrong("field.reset", "x fortnights", "auto, s, ms, min, epoch_s");
	expect_wrong("field.reset", "x s s", "auto, s, ms, min, epoch_s");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	expect_wrong("field.reset", name, "1 to 63");
	memcpy(name, "field.remaining.", strlen("field.remaining."));
	expect_wrong(name, "x", "1 to 63");
}

/* ---- cases that nobody here made ---- */

static void put(json_t *object, const char *key, double value, bool always)
{
	if (!isnan(value) && value < FIELDS_NEVER_S)
		json_object_set_new(object, key, json_real(value));
	else if (always)
		json_object_set_new(object, key, json_null());
}

static void put_text(json_t *object, const char *key, const char *text)
{
	if (text[0])
		json_object_set_new(object, key, json_string(text));
}

static void put_limit(json_t *object, const struct fields_limit *limit)
{
	put(object, "limit", limit ? limit->limit : NAN, true);
	put(object, "remaining", limit ? limit->remaining : NAN, true);
	put(object, "reset_in_seconds", limit ? limit->reset_s : NAN, true);
	put(object, "window_seconds", limit ? limit->window_s : NAN, true);
	if (!limit)
		return;
	put(object, "used", limit->used, false);
	put(object, "utilization", limit->utilization, false);
	put(object, "rate_per_second", limit->rate_per_s, false);
	put(object, "burst_capacity", limit->burst, false);
	put_text(object, "resource", limit->resource);
	put_text(object, "quota_unit", limit->unit);
	put_text(object, "partition_key", limit->partition_key);
}

static json_t *object_of(const struct fields_verdict *verdict)
{
	bool plain = verdict->count && !verdict->limits[0].listed;
	json_t *object = json_object(), *limits = json_array(), *policies = json_array();

	put_limit(object, plain ? &verdict->limits[0] : NULL);
	put(object, "retry_after_seconds", verdict->retry_after_s, true);
	for (size_t i = plain; i < verdict->count; i++) {
		json_t *limit = json_object();

		put_limit(limit, &verdict->limits[i]);
		json_array_append_new(limits, limit);
	}
	for (size_t i = 0; i < verdict->policy_count; i++)
		json_array_append_new(policies, json_pack("[ff]", verdict->policies[i].quota,
							  verdict->policies[i].window_s));
	if (json_array_size(limits))
		json_object_set(object, "limits", limits);
	if (json_array_size(policies))
		json_object_set(object, "policies", policies);
	json_decref(limits);
	json_decref(policies);
	return object;
}

static bool alike(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_number(a) && json_is_number(b))
		return fabs(json_number_value(a) - json_number_value(b)) < 1e-6;
	if (json_is_array(a) && json_is_array(b)) {
		if (json_array_size(a) != json_array_size(b))
			return false;
		json_array_foreach((json_t *)a, i, value)
		{
			if (!alike(value, json_array_get(b, i)))
				return false;
		}
		return true;
	}
	if (json_is_object(a) && json_is_object(b)) {
		if (json_object_size(a) != json_object_size(b))
			return false;
		json_object_foreach((json_t *)a, key, value)
		{
			if (!alike(value, json_object_get(b, key)))
				return false;
		}
		return true;
	}
	return json_equal(a, b);
}

/* Returns whether it comes out as it should. */
static bool check_case(const json_t *one)
{
	struct fields_header headers[FIELDS_TEXT_HEADERS];
	const json_t *list = json_object_get(one, "headers"),
		     *at = json_object_get(one, "captured_at");
	struct fields_response response = {
		.status = (int)json_integer_value(json_object_get(one, "status")),
		.headers = headers,
		.captured_at = json_is_number(at) ? json_number_value(at) : NOW,
	};
	struct fields_verdict verdict;
	const char *action = json_string_value(json_object_get(one, "action"));
	json_t *object;
	bool right;

	for (; response.count < json_array_size(list); response.count++) {
		const json_t *pair = json_array_get(list, response.count);
		const json_t *name = json_array_get(pair, 0), *value = json_array_get(pair, 1);

		assert_true(response.count < FIELDS_TEXT_HEADERS);
		headers[response.count] =
			(struct fields_header){json_string_value(name), json_string_length(name),
					       json_string_value(value), json_string_length(value)};
	}
	fields_read(&response, &verdict);
	object = object_of(&verdict);
	right = !strcmp(fields_action_text(verdict.action), action) &&
		alike(object, json_object_get(one, "expected"));
	if (!right) {
		char *text = json_dumps(object, JSON_SORT_KEYS);

		print_error("%s: %s %s\n", json_string_value(json_object_get(one, "id")),
			    fields_action_text(verdict.action), text);
		free(text);
	}
	json_decref(object);
	return right;
}

static void test_shared_cases(void **state)
{
	const char *shared = getenv("WEIR_SHARED");
	char path[4096], *line = NULL;
	size_t room = 0, count = 0, right = 0;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/headers/cases.jsonl", shared ? shared : "");
	file = shared ? fopen(path, "r") : NULL;
	if (!file) {
		print_message("skipped: WEIR_SHARED names no folder with headers/cases.jsonl\n");
		skip();
	}
	while (getline(&line, &room, file) > 0) {
		json_error_t error;
		json_t *one = json_loads(line, JSON_ALLOW_NUL, &error);

		if (!one)
			fail_msg("%s: line %zu: %s", path, count + 1, error.text);
		right += check_case(one);
		count++;
		json_decref(one);
	}
	free(line);
	fclose(file);
	print_message("%zu of %zu cases as they should be\n", right, count);
	assert_true(count >= 100);
	assert_int_equal(right, count);
}

static double number_at(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool same_number(double a, double b)
{
	return isnan(a) ? isnan(b) : a == b;
}

/* Of an example of the draft: each item is a limit by its name. */
static bool check_example(const json_t *one)
{
	const json_t *items = json_object_get(one, "items"), *item;
	const char *field = json_string_value(json_object_get(one, "field"));
	const char *value = json_string_value(json_object_get(one, "value"));
	bool policy = !strcmp(field, "RateLimit-Policy"), right;
	const struct fields_header header = {field, strlen(field), value, strlen(value)};
	const struct fields_response response = {
		.status = 200, .headers = &header, .count = 1, .captured_at = NOW};
	struct fields_verdict verdict;
	size_t i;

	right = fields_read(&response, &verdict) == FIELDS_USE &&
		verdict.count == json_array_size(items);
	json_array_foreach((json_t *)items, i, item)
	{
		const json_t *parameters = json_object_get(item, "params");
		const char *name = json_string_value(json_object_get(item, "name"));
		const struct fields_limit *limit = &verdict.limits[i];

		right = right && !strcmp(limit->resource, name) &&
			limit->listed == (verdict.count > 1) &&
			/* beside what remains, q is a comment */
			same_number(limit->limit, policy ? number_at(parameters, "q") : NAN) &&
			same_number(limit->window_s, number_at(parameters, "w")) &&
			same_number(limit->remaining, number_at(parameters, "r")) &&
			same_number(limit->reset_s, number_at(parameters, "t")) &&
			!limit->unit[0] == !json_object_get(parameters, "qu") &&
			!limit->partition_key[0] == !json_object_get(parameters, "pk");
	}
	if (!right)
		print_error("%s: %s\n", field, value);
	return right;
}

/* Of the older forms: they are understood, and mean what they are told to where that is told. */
static bool check_older_form(const json_t *one)
{
	const json_t *expect = json_object_get(one, "expect");
	struct fields_header headers[FIELDS_TEXT_HEADERS];
	struct fields_response response = {.status = 200, .headers = headers, .captured_at = NOW};
	struct fields_verdict verdict;
	const char *name;
	json_t *value;
	bool right;

	json_object_foreach(json_object_get(one, "fields"), name, value)
	{
		const char *text = json_string_value(value);

		if (text[0] == '<') /* "<ISO 8601 date>" */
			text = "2023-11-14T22:14:20Z";
		headers[response.count++] =
			(struct fields_header){name, strlen(name), text, strlen(text)};
	}
	right = fields_read(&response, &verdict) == FIELDS_USE;
	if (right && expect)
		right = same_number(verdict.limits[0].limit, number_at(expect, "limit")) &&
			same_number(verdict.limits[0].remaining, number_at(expect, "remaining"));
	if (right && json_object_get(expect, "reset_s"))
		right = same_number(verdict.limits[0].reset_s, number_at(expect, "reset_s"));
	if (!right)
		print_error("%s\n", json_string_value(json_object_get(one, "form")));
	return right;
}

static void test_examples_of_the_draft(void **state)
{
	const char *shared = getenv("WEIR_SHARED");
	size_t examples = 0, forms = 0, i;
	json_t *root, *one;
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "%s/conformance/ratelimit_fields_draft.json",
		 shared ? shared : "");
	root = shared ? json_load_file(path, 0, NULL) : NULL;
	if (!root) {
		print_message("skipped: WEIR_SHARED names no folder with "
			      "conformance/ratelimit_fields_draft.json\n");
		skip();
	}
	json_array_foreach(json_object_get(root, "examples"), i, one) examples +=
		check_example(one);
	assert_int_equal(examples, i);
	assert_true(i >= 30);
	json_array_foreach(json_object_get(root, "older_forms"), i, one) forms +=
		check_older_form(one);
	assert_int_equal(forms, i);
	assert_true(i >= 5);
	print_message("%zu examples of the draft as published, %zu older forms\n", examples, forms);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(ut13_14_both_kinds_of_names),
		cmocka_unit_test(ut15_no_relevant_fields),
		cmocka_unit_test(ut16_retry_after),
		cmocka_unit_test(defect8_retry_after),
		cmocka_unit_test(defect9_units),
		cmocka_unit_test(defect10_remaining_is_bounded),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_no_number_is_poison),
		cmocka_unit_test(test_no_response_is_poison),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_long_wait_is_the_callers),
		cmocka_unit_test(test_many_limits),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_lines_behind_the_last),
		cmocka_unit_test(test_many_lines_of_one_field),
		cmocka_unit_test(test_many_items),
		cmocka_unit_test(test_many_policies),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_names_are_cut),
		cmocka_unit_test(test_profiles),
		cmocka_unit_test(test_rows_of_the_table),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_mappings),
		cmocka_unit_test(test_mapping_goes_first),
		cmocka_unit_test(test_wrong_mappings),
		cmocka_unit_test(test_shared_cases),
		cmocka_unit_test(test_examples_of_the_draft),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
