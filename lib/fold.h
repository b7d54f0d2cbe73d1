/* SPDX-License-Identifier: Apache-2.0
 *
 * fold.h - keys that are to count as one: the addresses of a network, letters of either case.
 *
 * Pure. An address is folded whatever way it is written, and one of IPv4 that is written as one of
 * IPv6 (::ffff:192.0.2.1) is one of IPv4. What is no address is left as it is.
 */
#ifndef WEIR_FOLD_H
#define WEIR_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As in keyed_row.fold: how many bits of an address count, 0 being all and as it is written. */
#define FOLD_IPV4(fold) ((unsigned)((fold)&0xff))
#define FOLD_IPV6(fold) ((unsigned)((fold) >> 8 & 0xff))
#define FOLD_CASE (1ull << 16)
#define FOLD_ADDRESSES 0xffffull

enum {
	FOLD_ADDRESS_BYTES = 18, /* of a folded address: kind, bits, and the address */
	FOLD_TEXT_BYTES = 56,	 /* "ffff:...:ffff/128" with its closing NUL, and to spare */
};

/* Reads "ipv6/64 ipv4/24 case" or "none". Returns NULL or what would be right. */
const char *fold_read(const char *text, uint64_t *fold);

/* Writes it; "none". */
#define FOLD_RULE_BYTES 32
void fold_write(uint64_t fold, char out[FOLD_RULE_BYTES]);

/* Whether the key is an address that is folded; then what it is folded to. */
bool fold_address(uint64_t fold, const void *key, size_t bytes,
		  unsigned char out[FOLD_ADDRESS_BYTES]);

/* The same for people: 192.0.2.0/24. */
void fold_address_text(const unsigned char address[FOLD_ADDRESS_BYTES], char out[FOLD_TEXT_BYTES]);

/* `bytes` bytes with A to Z as a to z. */
void fold_case(const unsigned char *from, size_t bytes, unsigned char *out);

#endif
