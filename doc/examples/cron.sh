#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# cron.sh COMMAND... - runs a job as one of a few of its kind on this host, as flock(1) would for
# one. In weir.ini, for at most 3 at a time and 10 starts a minute:
#
#	[endpoint backup]
#	rate = 10/min
#	concurrency = 3
#	max_hold = 2h
#
# and in a crontab, for all users who are in weir's group:
#
#	*/5 * * * *  cron.sh rsync -a /home backup:/srv
#
# It waits $PATIENCE (4 minutes, less than until the next one is due) for its turn. The exit status
# is the job's; 75, which mailers and cron's kin take for "later", if its turn did not come. The
# permit comes back when the job ends, by whatever death.
set -u

weirctl=${WEIRCTL:-weirctl}
started=$(mktemp) || exit 2
trap 'rm -f "$started"' EXIT

# the job says that it was started: a status of 1 is its own then, and not a refusal
status=0
"$weirctl" run backup --permit --wait "${PATIENCE:-4min}" -- \
	sh -c 'echo >"$0" && exec "$@"' "$started" "$@" || status=$?
[ "$status" -ne 1 ] || [ -s "$started" ] || status=75
exit "$status"
