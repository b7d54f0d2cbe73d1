/* SPDX-License-Identifier: Apache-2.0
 *
 * render.h - what a command prints, once for people and once for programs.
 *
 * A page is facts and, below them, rows of one kind. Each value has a key (its name in JSON;
 * NULL: only people see it) and a label (its title in text; NULL: only JSON has it). In text,
 * facts are a list and rows a table, whose columns are the labels of its first row; every row
 * adds the same labels in the same order. In JSON a page is one object, its rows an array.
 * Names and other foreign bytes are made safe here.
 */
#ifndef WEIRCTL_RENDER_H
#define WEIRCTL_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define PAGE_COLUMNS 16

struct page {
	bool json;
	bool failed;	/* out of memory: nothing is printed */
	json_t *root;	/* JSON only */
	json_t *rows;	/* borrowed from root */
	json_t *object; /* borrowed: what values are added to */
	bool in_rows;
	char **facts; /* pairs of label and value */
	size_t fact_count;
	struct page_column {
		const char *label;
		bool left; /* it holds words; numbers stand at the right */
	} columns[PAGE_COLUMNS];
	size_t column_count;
	size_t column; /* the next one of the row that is being added */
	char **cells;  /* row by row */
	size_t cell_count;
};

void page_open(struct page *page, bool json);

/* From here on rows are added, the array of that name in JSON. */
void page_rows(struct page *page, const char *key);

/* Begins a row. */
void page_row(struct page *page);

void page_text(struct page *page, const char *key, const char *label, const char *text);
void page_count(struct page *page, const char *key, const char *label, uint64_t count);
/* Infinity is null in JSON. */
void page_tokens(struct page *page, const char *key, const char *label, double tokens);

/* A part of 1: as it is for programs, in hundredths of a percent for people. */
void page_share(struct page *page, const char *key, const char *label, double share);
/* Nanoseconds in JSON; UINT64_MAX is null and "never". */
void page_duration(struct page *page, const char *key, const char *label, uint64_t ns);
void page_flag(struct page *page, const char *key, const char *label, bool value);
/* A code of failure or 0, for programs. */
void page_code(struct page *page, const char *key, int code);
/* null and "-": there is no such value. */
void page_none(struct page *page, const char *key, const char *label);

/* A list of texts: an array in JSON, lines under one label in text. */
void page_list_item(struct page *page, const char *key, const char *label, const char *text);

/* A member of an object of numbers; for programs. */
void page_member(struct page *page, const char *key, const char *member, double number);

/* Prints the page and frees it. Returns false if memory ran out: nothing was printed. */
bool page_print(struct page *page, FILE *out);

/* The same as JSON in one line; in text nothing. */
bool page_print_line(struct page *page, FILE *out);

#endif
