/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256.h - SHA-256 (FIPS 180-4), for the manifest: a dependency on a library of cryptography
 * would be a large one for one function.
 */
#ifndef FETCH_SHA256_H
#define FETCH_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_HEX 65 /* with the closing NUL */

struct sha256 {
	uint32_t state[8];
	uint64_t bytes;
	unsigned char block[64];
};

void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *bytes, size_t count);

/* Writes the sum in hexadecimal; the hash is used up. */
void sha256_end(struct sha256 *hash, char out[SHA256_HEX]);

#endif
