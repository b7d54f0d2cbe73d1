/* SPDX-License-Identifier: Apache-2.0
 *
 * status.c - texts of the codes. The switch has no default, so the compiler names a missing one.
 */
#include "weir.h"

#include <string.h>

const char *weir_version(void)
{
	return WEIR_VERSION;
}

const char *weir_strerror(int code)
{
	if (code >= 0)
		return "success";
	if (code > -4096) {
		/* the GNU function: static text, no buffer, the same in every thread */
		const char *text = strerrordesc_np(-code);

		return text ? text : "unknown system error";
	}
	switch ((enum weir_error)code) {
#define STATUS_CASE(name, number, text)                                                            \
	case name:                                                                                 \
		return text;
		WEIR_ERRORS(STATUS_CASE)
#undef STATUS_CASE
	}
	return "unknown weir error";
}
