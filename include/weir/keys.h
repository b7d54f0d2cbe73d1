/* SPDX-License-Identifier: Apache-2.0
 *
 * weir/keys.h - one rule, and a bucket for each of millions of keys: client addresses, users,
 * tenants. Part of weir.h, which includes it.
 *
 *	struct weir_endpoint *clients;
 *
 *	if (weir_endpoint(weir, "client/@", &clients) < 0)	[with * for @: "client/" and a star]
 *		return 1;
 *	if (!weir_acquire_key(clients, address, strlen(address), 1.0, NULL))
 *		send_429();
 *
 * The rule is a section [each PATTERN] of weir.ini(5), and its handle is that of the pattern. A key
 * is any bytes, and is what stands for the pattern's star in a name: the bucket is the one that
 * weir_endpoint() finds by the whole name, where every call of an endpoint works but weir_gate_*,
 * which close and open the rule by the pattern's handle alone. Any process may use any key; memory
 * is what the section says, and a key that is full again takes none.
 *
 * Threads, forks, signals, progress: as of all calls of weir.h. Two keys of 10^18 are one.
 */
#ifndef WEIR_KEYS_H
#define WEIR_KEYS_H

#include "../weir.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* The longest key, in bytes. The shortest has none. */
#define WEIR_KEY_MAX 65536

/*
 * Takes cost tokens of a key's bucket now, or nothing. Lock-free, never blocks, allocates nothing.
 * answer may be NULL. WEIR_EKEY: the handle is not that of a rule of [each]. WEIR_EVALUE: the key
 * is longer than WEIR_KEY_MAX.
 */
enum weir_verdict weir_acquire_key(struct weir_endpoint *rule, const void *key, size_t key_bytes,
				   double cost, struct weir_answer *answer);

/* One of many calls that are made at once: what is asked for, and what became of it. */
struct weir_key_call {
	const void *key;
	size_t key_bytes;
	double cost;
	int32_t verdict; /* enum weir_verdict */
	int32_t reason;	 /* enum weir_reason */
	uint64_t wait_ns;
};

/*
 * The same for `count` keys, each by itself: their memory is fetched together, so that a call costs
 * about half. Writes the last three members of each. Returns how many were admitted, or the code of
 * the first fault; then the handle's policy has answered those that it befell.
 */
int64_t weir_acquire_keys(struct weir_endpoint *rule, struct weir_key_call *calls, size_t count);

/*
 * Looks without taking, as weir_peek does; the counts are those of all keys together. Returns 0, or
 * WEIR_EKEY, WEIR_EVALUE or the fault's code.
 */
int weir_peek_key(struct weir_endpoint *rule, const void *key, size_t key_bytes,
		  struct weir_level *out);

/*
 * Gives back cost tokens of a grant that was not used: in full if nobody can be waiting in the
 * key's line, else nothing; with windows nothing. Writes the tokens given back to *returned (may be
 * NULL). Lock-free. Returns as weir_peek_key; WEIR_ECOST.
 */
int weir_return_key(struct weir_endpoint *rule, const void *key, size_t key_bytes, double cost,
		    double *returned);

/* Fills a key's bucket. Who waits in its line keeps the place. Returns as weir_peek_key. */
int weir_reset_key(struct weir_endpoint *rule, const void *key, size_t key_bytes);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
