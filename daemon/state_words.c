/* SPDX-License-Identifier: Apache-2.0 */
#include "state_words.h"

#include <string.h>

const char *const state_kind_words[STATE_KINDS] = {
	[STATE_ENDPOINT] = "endpoint", [STATE_NAME] = "name",	     [STATE_REST] = "rest",
	[STATE_OPERATOR] = "operator", [STATE_LEARNED] = "?learned", [STATE_FROZEN] = "?frozen",
	[STATE_FOUND] = "?found",
};

/* ---- checksum ---- */

/* CRC of POSIX cksum: polynomial 0x04c11db7, the highest bit first, then the length's bytes. */
static uint32_t crc_byte(uint32_t crc, unsigned char byte)
{
	static const uint32_t nibbles[16] = {
		0x00000000, 0x04c11db7, 0x09823b6e, 0x0d4326d9, 0x130476dc, 0x17c56b6b,
		0x1a864db2, 0x1e475005, 0x2608edb8, 0x22c9f00f, 0x2f8ad6d6, 0x2b4bcb61,
		0x350c9b64, 0x31cd86d3, 0x3c8ea00a, 0x384fbdbd,
	};

	crc ^= (uint32_t)byte << 24;
	crc = crc << 4 ^ nibbles[crc >> 28];
	return crc << 4 ^ nibbles[crc >> 28];
}

uint32_t state_cksum(const char *text, size_t bytes)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < bytes; i++)
		crc = crc_byte(crc, (unsigned char)text[i]);
	for (size_t rest = bytes; rest; rest >>= 8)
		crc = crc_byte(crc, (unsigned char)rest);
	return ~crc;
}

/* ---- decimals ---- */

char *state_decimal_text(line_wide value, unsigned digits, char out[STATE_DECIMAL_BYTES])
{
	char *at = out + STATE_DECIMAL_BYTES - 1;
	bool any = false;

	*at = '\0';
	for (unsigned i = 0; i < digits; i++, value /= 10) {
		any = any || value % 10;
		if (any)
			*--at = (char)('0' + (int)(value % 10));
	}
	if (any)
		*--at = '.';
	do
		*--at = (char)('0' + (int)(value % 10));
	while (value /= 10);
	return memmove(out, at, (size_t)(out + STATE_DECIMAL_BYTES - at));
}

bool state_decimal_read(const char *text, unsigned digits, const char *suffix, line_wide max,
			line_wide *out)
{
	line_wide value = 0;
	unsigned seen = 0, decimals = 0;
	bool point = false;

	for (; (*text >= '0' && *text <= '9') || (*text == '.' && !point && seen); text++) {
		if (*text == '.') {
			point = true;
			continue;
		}
		value = value * 10 + (unsigned)(*text - '0');
		decimals += point;
		seen++;
		if (value > max || decimals > digits)
			return false;
	}
	if (!seen || (point && !decimals) || strcmp(text, suffix) != 0)
		return false;
	for (; decimals < digits; decimals++)
		if ((value *= 10) > max)
			return false;
	*out = value;
	return true;
}
