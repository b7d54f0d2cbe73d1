/* SPDX-License-Identifier: Apache-2.0 */
#include "screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static void blank(struct screen *screen, unsigned y, unsigned from)
{
	for (unsigned x = from; x < SCREEN_WIDTH_MAX; x++)
		strcpy(screen->cells[y][x], " ");
}

static void blank_below(struct screen *screen, unsigned from)
{
	for (unsigned y = from; y < SCREEN_HEIGHT_MAX; y++)
		blank(screen, y, 0);
}

void screen_begin(struct screen *screen, unsigned width, unsigned height)
{
	memset(screen, 0, sizeof(*screen));
	screen_resize(screen, width, height);
}

void screen_resize(struct screen *screen, unsigned width, unsigned height)
{
	screen->width = width;
	screen->height = height;
	screen->x = screen->y = 0;
	screen->full = false;
	blank_below(screen, 0);
}

static void fault(struct screen *screen, const char *what, const char *bytes)
{
	size_t used;

	if (screen->fault[0])
		return;
	snprintf(screen->fault, sizeof(screen->fault), "%s at %u,%u: ", what, screen->x, screen->y);
	used = strlen(screen->fault);
	for (; *bytes && used + 5 < sizeof(screen->fault); bytes++)
		used += (size_t)snprintf(screen->fault + used, 5,
					 *bytes < 0x20 || *bytes == 0x7f ? "\\x%02x" : "%c",
					 *bytes);
}

/* ---- characters ---- */

static void scroll(struct screen *screen)
{
	for (unsigned y = 1; y < screen->height; y++)
		memcpy(screen->cells[y - 1], screen->cells[y], sizeof(screen->cells[y]));
	blank(screen, screen->height - 1, 0);
}

static void feed_line(struct screen *screen)
{
	if (screen->y + 1 < screen->height)
		screen->y++;
	else
		scroll(screen);
	screen->full = false;
}

static void put_character(struct screen *screen, const char *text, int width)
{
	if (width == 0) {
		char *cell = screen->cells[screen->y][screen->x ? screen->x - 1 : 0];
		size_t used = strlen(cell);

		if (used + strlen(text) < SCREEN_CELL_BYTES)
			memcpy(cell + used, text, strlen(text) + 1);
		return;
	}
	if (screen->full || screen->x + (unsigned)width > screen->width) {
		/* on its own screen a program says where it writes */
		if (screen->alternate)
			fault(screen, "beyond the last column", text);
		screen->x = 0;
		feed_line(screen);
	}
	/* one character: four bytes at most */
	memcpy(screen->cells[screen->y][screen->x], text, strlen(text) + 1);
	if (width == 2)
		screen->cells[screen->y][screen->x + 1][0] = '\0';
	screen->x += (unsigned)width;
	if (screen->x == screen->width) {
		screen->x--;
		screen->full = true;
	}
}

static void control(struct screen *screen, char byte)
{
	const char text[2] = {byte, '\0'};

	switch (byte) {
	case '\r':
		screen->x = 0;
		screen->full = false;
		break;
	case '\n':
		feed_line(screen);
		break;
	case '\b':
		screen->x -= screen->x > 0;
		screen->full = false;
		break;
	case '\0': /* padding, which terminals of old need */
	case '\a':
	case 0x0f: /* shift in, which sgr0 of old terminals has */
		break;
	default:
		fault(screen, "control character", text);
		break;
	}
}

/* ---- sequences ---- */

static void set_mode(struct screen *screen, const char *modes, bool on)
{
	if (!strcmp(modes, "?1049"))
		screen->alternate = on;
	else if (!strcmp(modes, "?25"))
		screen->hidden = !on;
	else if (strcmp(modes, "?12") != 0 && strcmp(modes, "?2004") != 0)
		fault(screen, "mode", modes);
}

static void set_style(struct screen *screen, const char *styles)
{
	for (const char *at = styles; *at; at += strcspn(at, ";"), at += *at == ';') {
		int style = atoi(at);

		if (style >= 30)
			screen->coloured = true;
		else if (style != 0 && style != 1 && style != 7)
			fault(screen, "style", styles);
	}
}

static void move_to(struct screen *screen, const char *place)
{
	unsigned y = 1, x = 1;

	if (place[0])
		sscanf(place, "%u;%u", &y, &x);
	if (y < 1 || x < 1 || y > screen->height || x > screen->width)
		fault(screen, "out of the screen", place);
	screen->y = y >= 1 && y <= screen->height ? y - 1 : 0;
	screen->x = x >= 1 && x <= screen->width ? x - 1 : 0;
	screen->full = false;
}

/* ESC [ PARAMETERS FINAL */
static void sequence(struct screen *screen, const char *parameters, char final)
{
	const char text[2] = {final, '\0'};

	switch (final) {
	case 'H':
		move_to(screen, parameters);
		break;
	case 'K':
		blank(screen, screen->y, screen->x);
		break;
	case 'J':
		screen->clears++;
		blank(screen, screen->y, screen->x);
		blank_below(screen, parameters[0] == '2' ? 0 : screen->y + 1);
		break;
	case 'm':
		set_style(screen, parameters);
		break;
	case 'h':
	case 'l':
		set_mode(screen, parameters, final == 'h');
		break;
	case 'c': /* the shape of the cursor */
	case 't': /* the window's title, put aside and back */
		break;
	default:
		fault(screen, "sequence", text);
		break;
	}
}

/* Tries to take what is pending; whether it is complete. */
static bool take_escape(struct screen *screen)
{
	char *at = screen->pending;
	size_t count = screen->pending_bytes;
	char final = at[count - 1];

	if (count < 2)
		return false;
	if (at[1] == '(')
		return count == 3;
	if (at[1] != '[') {
		if (at[1] != '=' && at[1] != '>')
			fault(screen, "sequence", at);
		return true;
	}
	if (count == 2 || final < 0x40)
		return false;
	at[count - 1] = '\0';
	sequence(screen, at + 2, final);
	return true;
}

static bool take_character(struct screen *screen)
{
	wchar_t character;
	mbstate_t state = {0};
	size_t length = mbrtowc(&character, screen->pending, screen->pending_bytes, &state);

	if (length == (size_t)-2)
		return false;
	if (length == (size_t)-1 || wcwidth(character) < 0)
		fault(screen, "character", screen->pending);
	else
		put_character(screen, screen->pending, wcwidth(character));
	return true;
}

void screen_write(struct screen *screen, const char *bytes, size_t count)
{
	for (; count > 0; count--, bytes++) {
		bool done;

		if (screen->pending_bytes + 1 >= sizeof(screen->pending)) {
			fault(screen, "sequence without an end", screen->pending);
			screen->pending_bytes = 0;
		}
		screen->pending[screen->pending_bytes++] = *bytes;
		screen->pending[screen->pending_bytes] = '\0';
		screen->escaped |= *bytes == 0x1b;
		screen->eight_bit |= (unsigned char)*bytes >= 0x80;
		if (screen->pending[0] == 0x1b)
			done = take_escape(screen);
		else if ((unsigned char)screen->pending[0] < 0x20) {
			control(screen, *bytes);
			done = true;
		} else
			done = take_character(screen);
		if (done)
			screen->pending_bytes = 0;
	}
}

/* ---- looking ---- */

char *screen_row(const struct screen *screen, unsigned row, char out[SCREEN_ROW_BYTES])
{
	size_t used = 0;

	for (unsigned x = 0; x < screen->width; x++) {
		const char *cell = screen->cells[row][x];

		memcpy(out + used, cell, strlen(cell));
		used += strlen(cell);
	}
	while (used && out[used - 1] == ' ')
		used--;
	out[used] = '\0';
	return out;
}

int screen_find(const struct screen *screen, const char *text)
{
	char row[SCREEN_ROW_BYTES];

	for (unsigned y = 0; y < screen->height; y++)
		if (strstr(screen_row(screen, y, row), text))
			return (int)y;
	return -1;
}
