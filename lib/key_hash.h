/* SPDX-License-Identifier: Apache-2.0
 *
 * key_hash.h - the hash of a key, in line: keyed by a secret of the segment, since keys come from
 * whoever sends requests. Pure.
 */
#ifndef WEIR_KEY_HASH_H
#define WEIR_KEY_HASH_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "keyed.h"
#include "layout.h"

/* The same of what a key is folded to (fold.h). */
uint64_t keys_hash_folded(const unsigned char *secret, uint64_t fold, const void *key,
			  size_t bytes);

/* Never 0. `secret` has LAYOUT_SECRET_BYTES. */
static inline uint64_t key_hash(const unsigned char *secret, uint64_t fold, const void *key,
				size_t bytes)
{
	uint64_t hash;

	if (__builtin_expect(fold != 0, 0))
		hash = keys_hash_folded(secret, fold, key, bytes);
	else if (bytes == 16) /* an id, an address of IPv6: half the work where that is known */
		hash = XXH3_64bits_withSecret(key, 16, secret, LAYOUT_SECRET_BYTES);
	else
		hash = XXH3_64bits_withSecret(key, bytes, secret, LAYOUT_SECRET_BYTES);
	hash &= KEY_HASH;
	return __builtin_expect(hash != 0, 1) ? hash : 1;
}

#endif
