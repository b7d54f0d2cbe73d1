/* SPDX-License-Identifier: Apache-2.0
 *
 * keys NAME - the keys of a rule with a bucket for each: the most refused, and how full the table
 * is.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fold.h"
#include "key_tables.h"
#include "look.h"
#include "names.h"
#include "render.h"
#include "text.h"
#include "weir.h"
#include "refused.h"

#define KEY_TEXT_BYTES (4 * LAYOUT_WORST_BYTES + 32)

/* What is known of a key: its text, what of it was kept, or its hash if another's was found. */
static void key_text(const struct look *look, uint64_t fold, const struct refused_key *key,
		     char out[KEY_TEXT_BYTES])
{
	bool whole = key->bytes <= LAYOUT_WORST_BYTES;
	size_t used = 0;

	/* a folded address does not hash as its text does */
	if (whole && !(fold & FOLD_ADDRESSES) &&
	    keys_hash(&look->segment, fold, key->text, key->bytes) != key->key) {
		snprintf(out, KEY_TEXT_BYTES, "(key %016llx)", (unsigned long long)key->key);
		return;
	}
	for (size_t i = 0; i < key->bytes && i < LAYOUT_WORST_BYTES; i++) {
		unsigned char c = key->text[i];
		bool plain = c > ' ' && c < 0x7f && c != '\\';

		used += (size_t)snprintf(out + used, KEY_TEXT_BYTES - used,
					 plain ? "%c" : "\\x%02x", c);
	}
	snprintf(out + used, KEY_TEXT_BYTES - used, "%s", whole ? "" : "...");
}

static void add_worst(const struct look *look, uint64_t fold, const struct refused_key *key,
		      const struct view *rule, struct page *page)
{
	char text[KEY_TEXT_BYTES];
	struct view view = *rule;

	view.key = key->key;
	look_key(look, &view);
	key_text(look, fold, key, text);
	page_row(page);
	page_text(page, "key", "KEY", text);
	page_count(page, "refused", "REFUSED", key->count);
	page_tokens(page, "level", "LEVEL", view_level(&view));
}

static void add_census(const struct keyed_census *census, struct page *page)
{
	char text[256];

	page_count(page, "slots", NULL, census->slots);
	page_count(page, "used", NULL, census->used);
	page_count(page, "debts", NULL, census->debts);
	page_count(page, "waiting", NULL, census->waiting);
	page_count(page, "inserting", NULL, census->inserting);
	page_count(page, "inserted", NULL, census->inserted);
	page_count(page, "evicted", NULL, census->evicted);
	snprintf(text, sizeof(text),
		 "%llu of %llu slots (%.1f %%); %llu keys in debt, %llu with "
		 "places in line",
		 (unsigned long long)census->used, (unsigned long long)census->slots,
		 100.0 * (double)census->used / (double)census->slots,
		 (unsigned long long)census->debts, (unsigned long long)census->waiting);
	page_text(page, NULL, "taken", text);
	snprintf(text, sizeof(text), "%llu keys came; %llu in debt had to make room%s",
		 (unsigned long long)census->inserted, (unsigned long long)census->evicted,
		 census->evicted ? ": raise `keys` in weir.ini" : "");
	page_text(page, NULL, "so far", text);
}

static void add_room(const struct look *look, const struct view *view, uint64_t fold,
		     struct page *page)
{
	uint64_t keys = keys_capacity(&look->segment, view->row);
	uint64_t huge = segment_huge_bytes(&look->segment);
	uint64_t bytes = keyed_bins(keys) * sizeof(struct key_bin);
	char folded[FOLD_RULE_BYTES], text[128];

	fold_write(fold, folded);
	page_count(page, "keys", NULL, keys);
	page_count(page, "bytes", NULL, bytes);
	snprintf(text, sizeof(text), "%llu keys in debt at once, %.1f %s", (unsigned long long)keys,
		 (double)bytes / (bytes < 1 << 20 ? 1 << 10 : 1 << 20),
		 bytes < 1 << 20 ? "KiB" : "MiB");
	page_text(page, NULL, "room for", text);
	page_text(page, "fold", "fold", folded);
	page_count(page, "huge_page_bytes", NULL, huge);
	page_text(page, NULL, "huge pages", huge ? "in force" : "none");
}

static bool print_keys(const struct look *look, const struct ctl *ctl, const struct view *view,
		       const struct keyed *table)
{
	uint64_t fold = keys_fold(&look->segment, view->row);
	struct refused_key worst[REFUSED_KEYS];
	unsigned count = refused_list(table->head, worst);
	struct keyed_census census;
	struct page page;

	/* first, so that what of the table is mapped by huge pages shows */
	keyed_count(table, &view->line, view->now, &census);
	page_open(&page, ctl->json);
	page_text(&page, "name", "rule", view->rule);
	page_text(&page, "instance", "instance", ctl->place.name);
	add_room(look, view, fold, &page);
	add_census(&census, &page);
	page_rows(&page, "refused_keys");
	for (unsigned i = 0; i < count && (ctl->json || i < 20); i++)
		add_worst(look, fold, &worst[i], view, &page);
	return page_print(&page, stdout);
}

enum ctl_exit command_keys(struct ctl *ctl)
{
	const char *name = ctl_name(ctl);
	enum ctl_exit status = CTL_DONE;
	struct keyed table = {0};
	struct look look;
	struct view view;
	int error;

	if (!name || !look_open(&look, ctl))
		return CTL_CANNOT;
	error = look_name(&look, name, &view);
	if (error == 0)
		keys_of_row(&look.segment, view.row, &table);
	if (error < 0)
		status = ctl_complain("`%s`: %s", name, weir_strerror(error));
	else if (!table.bins)
		status = ctl_complain("`%s`: no rule of an [each]; it has one bucket", name);
	else if (!print_keys(&look, ctl, &view, &table))
		status = ctl_complain("%s", weir_strerror(-ENOMEM));
	look_close(&look);
	return status;
}
