/* SPDX-License-Identifier: Apache-2.0 */
#include "controls.h"

#include <string.h>

#define CONTROL(letter) ((letter)&0x1f)
#define DELETE 0x7f

/* ---- keys ---- */

/* A whole sequence after ESC: "[A", "OA", "[5~", "[1;2A". */
static int key_of(const unsigned char *sequence, size_t count)
{
	unsigned char last = sequence[count - 1];

	if (last == '~') {
		switch (count == 3 ? sequence[1] : 0) {
		case '1':
		case '7':
			return KEY_HOME;
		case '4':
		case '8':
			return KEY_END;
		case '5':
			return KEY_PAGE_UP;
		case '6':
			return KEY_PAGE_DOWN;
		default:
			return KEY_NONE;
		}
	}
	switch (last) {
	case 'A':
		return KEY_UP;
	case 'B':
		return KEY_DOWN;
	case 'H':
		return KEY_HOME;
	case 'F':
		return KEY_END;
	default:
		return KEY_NONE;
	}
}

/* pending[0] is ESC, pending[1] what followed. */
static int read_sequence(struct key_reader *reader, unsigned char byte)
{
	int key;

	if (reader->count < sizeof(reader->pending))
		reader->pending[reader->count++] = byte;
	/* the introducer itself; parameters; then a letter or ~ ends it */
	if (reader->count == 2 && (byte == '[' || byte == 'O'))
		return KEY_NONE;
	if (reader->count > 2 && (byte < 0x40 || byte == '['))
		return KEY_NONE;
	/* ESC and a key is that key with Alt, which means nothing here */
	key = reader->count > 2 && reader->count < sizeof(reader->pending)
		      ? key_of(reader->pending + 1, reader->count - 1)
		      : KEY_NONE;
	reader->count = 0;
	return key;
}

int key_read(struct key_reader *reader, unsigned char byte)
{
	if (byte == KEY_ESCAPE) {
		int key = key_flush(reader);

		reader->pending[reader->count++] = byte;
		return key;
	}
	return reader->count ? read_sequence(reader, byte) : byte;
}

int key_flush(struct key_reader *reader)
{
	int key = reader->count == 1 ? KEY_ESCAPE : KEY_NONE;

	reader->count = 0;
	return key;
}

/* ---- typing ---- */

static void drop_character(char *text)
{
	size_t length = strlen(text);

	/* with the bytes that continue it */
	while (length && ((unsigned char)text[length - 1] & 0xc0) == 0x80)
		text[--length] = '\0';
	if (length)
		text[length - 1] = '\0';
}

static void type(struct controls *controls, int key)
{
	size_t length = strlen(controls->filter);

	switch (key) {
	case '\r':
	case '\n':
		controls->typing = false;
		return;
	case KEY_ESCAPE:
		controls->typing = false;
		memcpy(controls->filter, controls->before, sizeof(controls->filter));
		return;
	case DELETE:
	case CONTROL('h'):
		drop_character(controls->filter);
		return;
	case CONTROL('u'):
		controls->filter[0] = '\0';
		return;
	default:
		break;
	}
	if (key >= ' ' && key < 256 && length + 1 < sizeof(controls->filter)) {
		controls->filter[length] = (char)key;
		controls->filter[length + 1] = '\0';
	}
}

static void begin_typing(struct controls *controls)
{
	controls->typing = true;
	memcpy(controls->before, controls->filter, sizeof(controls->before));
	controls->filter[0] = '\0';
}

/* ---- moving ---- */

void controls_fit(struct controls *controls, size_t rows, size_t page)
{
	size_t last = rows > page ? rows - page : 0;

	controls->rows = rows;
	controls->page = page;
	controls->top = controls->top < last ? controls->top : last;
}

static void move_by(struct controls *controls, size_t rows, bool down)
{
	if (down)
		controls->top += rows;
	else
		controls->top -= rows < controls->top ? rows : controls->top;
	controls_fit(controls, controls->rows, controls->page);
}

static bool move(struct controls *controls, int key)
{
	switch (key) {
	case KEY_UP:
	case 'k':
		move_by(controls, 1, false);
		return true;
	case KEY_DOWN:
	case 'j':
		move_by(controls, 1, true);
		return true;
	case KEY_PAGE_UP:
	case CONTROL('b'):
		move_by(controls, controls->page, false);
		return true;
	case KEY_PAGE_DOWN:
	case CONTROL('f'):
		move_by(controls, controls->page, true);
		return true;
	case KEY_HOME:
		controls->top = 0;
		return true;
	case KEY_END:
		move_by(controls, controls->rows, true);
		return true;
	default:
		return false;
	}
}

/* ---- the rest ---- */

static void set_order(struct controls *controls, unsigned by)
{
	controls->order = (enum order_key)((controls->order + by) % ORDER_KEYS);
	controls->reversed = false;
	controls->top = 0;
}

static void set_every(struct controls *controls, uint64_t every_ns)
{
	if (every_ns < CONTROLS_EVERY_MIN_NS)
		every_ns = CONTROLS_EVERY_MIN_NS;
	controls->every_ns = every_ns > CONTROLS_EVERY_MAX_NS ? CONTROLS_EVERY_MAX_NS : every_ns;
}

static void command(struct controls *controls, int key)
{
	switch (key) {
	case 'q':
		controls->quit = true;
		break;
	case ' ':
	case 'p':
		controls->paused = !controls->paused;
		break;
	case 's':
		set_order(controls, 1);
		break;
	case 'S':
		set_order(controls, ORDER_KEYS - 1);
		break;
	case 'r':
		controls->reversed = !controls->reversed;
		break;
	case '/':
		begin_typing(controls);
		break;
	case KEY_ESCAPE:
		controls->filter[0] = '\0';
		break;
	case '+':
		set_every(controls, controls->every_ns / 2);
		break;
	case '-':
		set_every(controls, 2 * controls->every_ns);
		break;
	case CONTROL('l'):
		controls->redraw = true;
		break;
	case 'h':
	case '?':
		controls->help = true;
		break;
	default:
		move(controls, key);
		break;
	}
}

void controls_key(struct controls *controls, int key)
{
	if (key == KEY_NONE)
		return;
	if (controls->typing)
		type(controls, key);
	else if (controls->help && key != 'q')
		controls->help = false;
	else
		command(controls, key);
}
