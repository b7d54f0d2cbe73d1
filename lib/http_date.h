/* SPDX-License-Identifier: Apache-2.0
 *
 * http_date.h - the dates of HTTP (RFC 9110, section 5.6.7) and those of RFC 3339, as seconds since
 * 1970. Pure, no locale, no time zone of the host.
 *
 *	Sun, 06 Nov 1994 08:49:37 GMT	IMF-fixdate
 *	Sunday, 06-Nov-94 08:49:37 GMT	RFC 850, obsolete
 *	Sun Nov  6 08:49:37 1994	asctime(), obsolete
 *	1994-11-06T08:49:37.5Z		RFC 3339
 *
 * Of the last, seconds may be missing, the T be a space, and the zone be UTC or missing, which
 * means UTC too.
 *
 * The day of the week has to be one, not the right one. A second of 60 is the next minute's first.
 */
#ifndef WEIR_HTTP_DATE_H
#define WEIR_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * `now` tells the century of a year of two digits: more than 50 years ahead is one of the past. All
 * of the text has to be the date. *out is written on success only.
 */
bool http_date_read(const char *text, size_t bytes, double now, double *out);

/* Fractions of a second may have any number of digits; what is finer than 10^-9 is cut. */
bool iso_date_read(const char *text, size_t bytes, double *out);

#endif
