/* SPDX-License-Identifier: Apache-2.0 */
#include "fold.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS_AT 2 /* behind the kind and the bits */

/* ---- as people write it ---- */

/* "64" of "ipv6/64"; 0: not a number from 1 to most. */
static unsigned read_bits(const char *text, size_t bytes, unsigned most)
{
	unsigned bits = 0;

	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < '0' || text[i] > '9' || bits > most)
			return 0;
		bits = bits * 10 + (unsigned)(text[i] - '0');
	}
	return bits <= most ? bits : 0;
}

static const char *read_word(const char *word, size_t bytes, uint64_t *fold)
{
	unsigned bits;

	if (bytes == 4 && memcmp(word, "case", 4) == 0) {
		*fold |= FOLD_CASE;
		return NULL;
	}
	if (bytes < 5 || (memcmp(word, "ipv4/", 5) != 0 && memcmp(word, "ipv6/", 5) != 0))
		return "what counts as one key is ipv4/24, ipv6/64, case, several of them, or none";
	bits = read_bits(word + 5, bytes - 5, word[3] == '4' ? 32 : 128);
	if (bits == 0)
		return word[3] == '4' ? "of an IPv4 address 1 to 32 bits count: ipv4/24"
				      : "of an IPv6 address 1 to 128 bits count: ipv6/64";
	if (word[3] == '4' ? FOLD_IPV4(*fold) : FOLD_IPV6(*fold))
		return "each of ipv4 and ipv6 once";
	*fold |= word[3] == '4' ? bits : bits << 8;
	return NULL;
}

const char *fold_read(const char *text, uint64_t *fold)
{
	uint64_t read = 0;
	const char *why = NULL;

	if (strcmp(text, "none") == 0) {
		*fold = 0;
		return NULL;
	}
	for (text += strspn(text, " \t,"); *text && !why; text += strspn(text, " \t,")) {
		size_t bytes = strcspn(text, " \t,");

		why = read_word(text, bytes, &read);
		text += bytes;
	}
	if (!why && read == 0)
		return read_word("", 0, &read);
	if (!why)
		*fold = read;
	return why;
}

void fold_write(uint64_t fold, char out[FOLD_RULE_BYTES])
{
	int used = 0;

	out[0] = '\0';
	if (FOLD_IPV4(fold))
		used = snprintf(out, FOLD_RULE_BYTES, "ipv4/%u", FOLD_IPV4(fold));
	if (FOLD_IPV6(fold))
		used += snprintf(out + used, FOLD_RULE_BYTES - (size_t)used, "%sipv6/%u",
				 used ? " " : "", FOLD_IPV6(fold));
	if (fold & FOLD_CASE)
		used += snprintf(out + used, FOLD_RULE_BYTES - (size_t)used, "%scase",
				 used ? " " : "");
	if (used == 0)
		snprintf(out, FOLD_RULE_BYTES, "none");
}

/* ---- addresses ---- */

static void write_address(const unsigned char *address, size_t bytes, unsigned bits,
			  unsigned char out[FOLD_ADDRESS_BYTES])
{
	memset(out, 0, FOLD_ADDRESS_BYTES);
	out[0] = bytes == 4 ? 4 : 6;
	out[1] = (unsigned char)bits;
	memcpy(out + ADDRESS_AT, address, bits / 8);
	if (bits % 8)
		out[ADDRESS_AT + bits / 8] =
			(unsigned char)(address[bits / 8] & 0xff << (8 - bits % 8));
}

bool fold_address(uint64_t fold, const void *key, size_t bytes,
		  unsigned char out[FOLD_ADDRESS_BYTES])
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	unsigned ipv4 = FOLD_IPV4(fold) ? FOLD_IPV4(fold) : 32;
	char text[INET6_ADDRSTRLEN];
	unsigned char address[16];

	if (!(fold & FOLD_ADDRESSES) || bytes == 0 || bytes >= sizeof(text) ||
	    memchr(key, '\0', bytes))
		return false;
	memcpy(text, key, bytes);
	text[bytes] = '\0';
	if (inet_pton(AF_INET, text, address) == 1) {
		write_address(address, 4, ipv4, out);
		return true;
	}
	if (inet_pton(AF_INET6, text, address) != 1)
		return false;
	if (memcmp(address, mapped, sizeof(mapped)) == 0)
		write_address(address + 12, 4, ipv4, out);
	else
		write_address(address, 16, FOLD_IPV6(fold) ? FOLD_IPV6(fold) : 128, out);
	return true;
}

void fold_address_text(const unsigned char address[FOLD_ADDRESS_BYTES], char out[FOLD_TEXT_BYTES])
{
	bool is_ipv4 = address[0] == 4;
	size_t used;

	inet_ntop(is_ipv4 ? AF_INET : AF_INET6, address + ADDRESS_AT, out, FOLD_TEXT_BYTES);
	used = strlen(out);
	if (address[1] < (is_ipv4 ? 32 : 128))
		snprintf(out + used, FOLD_TEXT_BYTES - used, "/%u", address[1]);
}

void fold_case(const unsigned char *from, size_t bytes, unsigned char *out)
{
	for (size_t i = 0; i < bytes; i++)
		out[i] = (unsigned char)(from[i] >= 'A' && from[i] <= 'Z' ? from[i] + 32 : from[i]);
}
