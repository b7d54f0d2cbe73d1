/* SPDX-License-Identifier: Apache-2.0 */
#include "render.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define CELLS_AT_ONCE 256
#define GAP 2

void page_open(struct page *page, bool json)
{
	*page = (struct page){.json = json};
	if (!json)
		return;
	page->root = page->object = json_object();
	page->failed = !page->root;
}

void page_rows(struct page *page, const char *key)
{
	page->in_rows = true;
	if (!page->json)
		return;
	page->rows = json_array();
	page->failed |= json_object_set_new(page->root, key, page->rows) < 0;
}

void page_row(struct page *page)
{
	page->column = 0;
	if (!page->json)
		return;
	page->object = json_object();
	page->failed |= json_array_append_new(page->rows, page->object) < 0;
}

/* ---- values ---- */

/* Takes over `value`. */
static void add_value(struct page *page, const char *key, json_t *value)
{
	page->failed |= json_object_set_new(page->object, key, value) < 0;
}

/* Appends a safe copy of `text`. */
static void add_cell(struct page *page, char ***cells, size_t *count, const char *text)
{
	size_t bytes = 4 * strlen(text) + 1;
	char *safe = malloc(bytes);

	if (*count % CELLS_AT_ONCE == 0) {
		char **more = realloc(*cells, (*count + CELLS_AT_ONCE) * sizeof(**cells));

		if (!more) {
			free(safe);
			safe = NULL;
		} else {
			*cells = more;
		}
	}
	if (!safe) {
		page->failed = true;
		return;
	}
	(*cells)[(*count)++] = text_safe(safe, bytes, text, false);
}

static void add_shown(struct page *page, const char *label, const char *text, bool left)
{
	if (page->failed)
		return;
	if (!page->in_rows) {
		add_cell(page, &page->facts, &page->fact_count, label);
		add_cell(page, &page->facts, &page->fact_count, text);
		return;
	}
	if (page->column == page->column_count && page->column_count < PAGE_COLUMNS)
		page->columns[page->column_count++].label = label;
	page->columns[page->column++].left |= left;
	add_cell(page, &page->cells, &page->cell_count, text);
}

/* A string of bytes that may be no UTF-8, which JSON cannot hold. */
static json_t *string_value(const char *text)
{
	char safe[2048];
	json_t *value = json_string(text);

	return value ? value : json_string(text_safe(safe, sizeof(safe), text, false));
}

void page_text(struct page *page, const char *key, const char *label, const char *text)
{
	if (page->json && key)
		add_value(page, key, string_value(text));
	else if (!page->json && label)
		add_shown(page, label, text, true);
}

void page_count(struct page *page, const char *key, const char *label, uint64_t count)
{
	char text[TEXT_BYTES];

	if (page->json && key) {
		add_value(page, key,
			  json_integer(count > INT64_MAX ? INT64_MAX : (json_int_t)count));
	} else if (!page->json && label) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
		add_shown(page, label, text, false);
	}
}

void page_tokens(struct page *page, const char *key, const char *label, double tokens)
{
	char text[TEXT_BYTES];

	if (page->json && key)
		add_value(page, key, isfinite(tokens) ? json_real(tokens) : json_null());
	else if (!page->json && label)
		add_shown(page, label, text_tokens(tokens, text), false);
}

void page_share(struct page *page, const char *key, const char *label, double share)
{
	char text[TEXT_BYTES];

	if (page->json) {
		add_value(page, key, json_real(share));
	} else {
		snprintf(text, sizeof(text), "%.2f", 100 * share);
		add_shown(page, label, text, false);
	}
}

void page_duration(struct page *page, const char *key, const char *label, uint64_t ns)
{
	char text[TEXT_BYTES];

	if (page->json && key)
		add_value(page, key, ns > INT64_MAX ? json_null() : json_integer((json_int_t)ns));
	else if (!page->json && label)
		add_shown(page, label, text_duration(ns, text), false);
}

void page_flag(struct page *page, const char *key, const char *label, bool value)
{
	if (page->json && key)
		add_value(page, key, json_boolean(value));
	else if (!page->json && label)
		add_shown(page, label, value ? "yes" : "no", true);
}

void page_code(struct page *page, const char *key, int code)
{
	if (page->json)
		add_value(page, key, json_integer(code));
}

void page_none(struct page *page, const char *key, const char *label)
{
	if (page->json && key)
		add_value(page, key, json_null());
	else if (!page->json && label)
		add_shown(page, label, "-", false);
}

void page_list_item(struct page *page, const char *key, const char *label, const char *text)
{
	json_t *list;

	if (!page->json) {
		if (label)
			add_shown(page, label, text, true);
		return;
	}
	list = json_object_get(page->object, key);
	if (!list) {
		list = json_array();
		add_value(page, key, list);
	}
	page->failed |= json_array_append_new(list, string_value(text)) < 0;
}

void page_member(struct page *page, const char *key, const char *member, double number)
{
	json_t *object;

	if (!page->json)
		return;
	object = json_object_get(page->object, key);
	if (!object) {
		object = json_object();
		add_value(page, key, object);
	}
	page->failed |= json_object_set_new(object, member, json_real(number)) < 0;
}

/* ---- printing ---- */

static void print_padded(FILE *out, const char *text, size_t width, bool left, bool last)
{
	size_t columns = text_columns(text);
	size_t padding = width > columns ? width - columns : 0;

	if (!left)
		fprintf(out, "%*s", (int)padding, "");
	fputs(text, out);
	if (!last)
		fprintf(out, "%*s", (int)(left ? padding + GAP : GAP), "");
}

static void print_facts(const struct page *page, FILE *out)
{
	size_t width = 0;

	for (size_t i = 0; i < page->fact_count; i += 2) {
		size_t columns = text_columns(page->facts[i]);

		width = columns > width ? columns : width;
	}
	for (size_t i = 0; i < page->fact_count; i += 2) {
		/* a label that repeats is said once */
		bool again = i && !strcmp(page->facts[i], page->facts[i - 2]);

		print_padded(out, again ? "" : page->facts[i], width, true, false);
		fprintf(out, "%s\n", page->facts[i + 1]);
	}
}

static void print_table(const struct page *page, FILE *out)
{
	size_t count = page->column_count;
	size_t widths[PAGE_COLUMNS];

	if (count == 0)
		return;
	for (size_t i = 0; i < count; i++)
		widths[i] = text_columns(page->columns[i].label);
	for (size_t i = 0; i < page->cell_count; i++) {
		size_t columns = text_columns(page->cells[i]);

		if (columns > widths[i % count])
			widths[i % count] = columns;
	}
	for (size_t i = 0; i < count + page->cell_count; i++) {
		const struct page_column *column = &page->columns[i % count];
		const char *text = i < count ? column->label : page->cells[i - count];
		bool last = i % count == count - 1;

		print_padded(out, text, widths[i % count], column->left, last);
		if (last)
			fputc('\n', out);
	}
}

static void free_cells(char **cells, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(cells[i]);
	free(cells);
}

static bool page_close(struct page *page)
{
	bool done = !page->failed;

	free_cells(page->facts, page->fact_count);
	free_cells(page->cells, page->cell_count);
	json_decref(page->root);
	*page = (struct page){0};
	return done;
}

bool page_print(struct page *page, FILE *out)
{
	if (!page->failed && page->json) {
		json_dumpf(page->root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
		fputc('\n', out);
	} else if (!page->failed) {
		print_facts(page, out);
		print_table(page, out);
	}
	return page_close(page);
}

bool page_print_line(struct page *page, FILE *out)
{
	if (!page->failed && page->json) {
		json_dumpf(page->root, out, JSON_COMPACT | JSON_REAL_PRECISION(15));
		fputc('\n', out);
	}
	return page_close(page);
}
