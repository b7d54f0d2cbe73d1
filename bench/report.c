/* SPDX-License-Identifier: Apache-2.0
 *
 * report.c - rows to a table for people, or to JSON, one object a line.
 */
#include "bench.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A ratio, computed. */
struct outcome {
	double value; /* NaN: not known */
	char verdict[64];
};

static int by_size(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

static double median(double *values, unsigned count)
{
	if (count == 0)
		return NAN;
	qsort(values, count, sizeof(*values), by_size);
	return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static double figure(const struct bench_sample *sample, enum bench_figure which)
{
	return which == BENCH_TIME ? sample->ns_per_op : sample->mops;
}

static double median_figure(const struct bench_row *row, enum bench_figure which)
{
	double values[BENCH_ROUNDS_MAX];

	for (unsigned i = 0; i < row->rounds; i++)
		values[i] = figure(&row->samples[i], which);
	return median(values, row->rounds);
}

double bench_median_ns(const struct bench_row *row)
{
	return row->rounds == 0 ? 0 : median_figure(row, BENCH_TIME);
}

double bench_median_mops(const struct bench_row *row)
{
	return row->rounds == 0 ? 0 : median_figure(row, BENCH_CALLS);
}

static const struct bench_row *find(const struct bench *bench, const char *name, unsigned processes)
{
	for (unsigned i = 0; i < bench->row_count; i++) {
		const struct bench_row *row = &bench->rows[i];

		if (row->processes == processes && strcmp(row->work->name, name) == 0)
			return row->rounds > 0 ? row : NULL;
	}
	return NULL;
}

/*
 * The middle of the rounds' ratios: what slows one round slows both its rows. `plus` is added to
 * the other; NULL: nothing is.
 */
static double median_ratio(const struct bench_row *row, const struct bench_row *other,
			   const struct bench_row *plus, enum bench_figure which)
{
	double values[BENCH_ROUNDS_MAX];
	unsigned rounds = row->rounds < other->rounds ? row->rounds : other->rounds;

	if (plus != NULL && plus->rounds < rounds)
		rounds = plus->rounds;
	for (unsigned i = 0; i < rounds; i++) {
		double added = plus != NULL ? figure(&plus->samples[i], which) : 0;

		values[i] = figure(&row->samples[i], which) /
			    (figure(&other->samples[i], which) + added);
	}
	return median(values, rounds);
}

static bool meets(const struct bench_ratio *ratio, double value)
{
	return ratio->sense == BENCH_AT_MOST ? value <= ratio->target : value >= ratio->target;
}

/* Whether here even the floor misses the target. */
static bool floored(const struct bench *bench, const struct bench_row *row,
		    const struct bench_ratio *ratio, const struct bench_row *other)
{
	const struct bench_row *below;

	if (ratio->floored == NULL)
		return false;
	below = find(bench, ratio->floored, row->processes);
	return below != NULL && !meets(ratio, median_ratio(below, other, NULL, ratio->figure));
}

static struct outcome outcome_of(const struct bench *bench, const struct bench_row *row,
				 const struct bench_ratio *ratio)
{
	struct outcome out = {.value = NAN, .verdict = ""};
	const struct bench_row *other = NULL;
	const struct bench_row *plus = NULL;

	if (ratio->constant > 0) {
		out.value = median_figure(row, ratio->figure) / ratio->constant;
	} else {
		other = find(bench, ratio->to, ratio->processes);
		if (ratio->plus != NULL)
			plus = find(bench, ratio->plus, ratio->processes);
		if (other != NULL && row->rounds > 0 && (plus != NULL || ratio->plus == NULL))
			out.value = median_ratio(row, other, plus, ratio->figure);
	}
	if (!isfinite(out.value) || ratio->sense == BENCH_NO_TARGET)
		return out;
	if (meets(ratio, out.value))
		snprintf(out.verdict, sizeof(out.verdict), "met");
	else if (other != NULL && floored(bench, row, ratio, other))
		snprintf(out.verdict, sizeof(out.verdict), "its floor misses it on this machine");
	else
		snprintf(out.verdict, sizeof(out.verdict), "missed");
	return out;
}

/* "at most 1.25" */
static void target_text(const struct bench_ratio *ratio, char out[32])
{
	snprintf(out, 32, "%s %.3g", ratio->sense == BENCH_AT_MOST ? "at most" : "at least",
		 ratio->target);
}

/* Returns how many ratios are printed on the row's lines by now. */
static unsigned print_ratio(const struct bench *bench, const struct bench_row *row,
			    const struct bench_ratio *ratio, unsigned printed)
{
	struct outcome got = outcome_of(bench, row, ratio);
	char target[32];

	if (!isfinite(got.value))
		return printed;
	if (printed > 0)
		printf("\n%-46s", "");
	if (ratio->constant > 0)
		printf("  %.3f of %s", got.value, ratio->to);
	else
		printf("  %.*f x the %s of %s", got.value < 10 ? 2 : 0, got.value,
		       ratio->figure == BENCH_TIME ? "time" : "calls", ratio->to);
	if (ratio->plus != NULL)
		printf(" + %s", ratio->plus);
	if (ratio->constant == 0 && ratio->processes != row->processes)
		printf(" by %u", ratio->processes);
	if (ratio->sense != BENCH_NO_TARGET) {
		target_text(ratio, target);
		printf("; target %s: %s", target, got.verdict);
	}
	return printed + 1;
}

static void print_row(const struct bench *bench, const struct bench_row *row)
{
	unsigned printed = 0;

	printf("%-22s %2u", row->work->name, row->processes);
	if (row->rounds == 0) {
		printf("          -          -  %s\n", row->note);
		return;
	}
	printf(" %10.1f %10.3f", bench_median_ns(row), bench_median_mops(row));
	for (unsigned i = 0; i < BENCH_RATIOS_MAX && row->ratios[i].to != NULL; i++)
		printed = print_ratio(bench, row, &row->ratios[i], printed);
	printf("\n");
}

static const char *size_verdict(const struct bench_size *size, uint64_t bytes)
{
	return bytes > 0 && bytes < size->below ? "met" : "missed";
}

static void print_size(const struct bench_size *size)
{
	uint64_t bytes = size->bytes();

	printf("%-22s  - %10llu bytes, %s; target below %s: %s\n", size->name,
	       (unsigned long long)bytes, size->of, size->below_text, size_verdict(size, bytes));
}

/* Why the figure could not be had: as the row that it is found by. */
static const char *share_note(const struct bench *bench, const struct bench_share *share)
{
	for (unsigned i = 0; i < bench->row_count && share->of != NULL; i++)
		if (bench->rows[i].work == share->of && bench->rows[i].note != NULL)
			return bench->rows[i].note;
	return "it could not be measured";
}

static const char *share_verdict(const struct bench_share *share, double value)
{
	return value <= share->at_most ? "met" : "missed";
}

static void print_share(const struct bench *bench, const struct bench_share *share)
{
	double value = share->value();

	printf("%-22s  - ", share->name);
	if (!isfinite(value)) {
		printf("%10s  %s\n", "-", share_note(bench, share));
		return;
	}
	printf("%10.4g %s", value, share->what);
	if (share->at_most > 0)
		printf("; target at most %g: %s", share->at_most, share_verdict(share, value));
	printf("\n");
}

static void print_table(const struct bench *bench)
{
	for (const struct bench_fact *fact = bench_machine(); fact->name != NULL; fact++)
		printf("%-14s %s\n", fact->name, fact->value);
	printf("\n%u rounds of %.0f ms a row, rows taking turns; medians; %.0f s in all\n\n",
	       bench->rounds, (double)bench->round_ns / 1e6, (double)bench->took_ns / 1e9);
	printf("%-22s %2s %10s %10s  %s\n", "row", "n", "ns/op", "Mops/s", "compared");
	for (unsigned i = 0; i < bench->row_count; i++) {
		if (bench->rows[i].shown)
			print_row(bench, &bench->rows[i]);
	}
	for (unsigned i = 0; i < bench->size_count; i++) {
		if (bench->sizes[i].shown)
			print_size(&bench->sizes[i]);
	}
	for (unsigned i = 0; i < bench->share_count; i++) {
		if (bench->shares[i].shown)
			print_share(bench, &bench->shares[i]);
	}
}

/* A number, or null where it is not known. */
static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static void dump(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	printf("\n");
	json_decref(object);
}

static json_t *json_ratio(const struct bench *bench, const struct bench_row *row,
			  const struct bench_ratio *ratio)
{
	json_t *object = json_object();
	struct outcome got = outcome_of(bench, row, ratio);
	char target[32];

	json_object_set_new(object, "ratio", number(got.value));
	json_object_set_new(object, "to", json_string(ratio->to));
	if (ratio->plus != NULL)
		json_object_set_new(object, "plus", json_string(ratio->plus));
	if (ratio->constant == 0)
		json_object_set_new(object, "to_processes", json_integer(ratio->processes));
	json_object_set_new(object, "of",
			    json_string(ratio->figure == BENCH_TIME ? "ns_per_op" : "mops"));
	if (ratio->sense != BENCH_NO_TARGET) {
		target_text(ratio, target);
		json_object_set_new(object, "target", json_string(target));
		json_object_set_new(object, "verdict",
				    got.verdict[0] != 0 ? json_string(got.verdict) : json_null());
	}
	return object;
}

static void dump_row(const struct bench *bench, const struct bench_row *row)
{
	json_t *object = json_object();
	bool known = row->rounds > 0;

	json_object_set_new(object, "name", json_string(row->work->name));
	json_object_set_new(object, "processes", json_integer(row->processes));
	json_object_set_new(object, "ns_per_op",
			    known ? number(bench_median_ns(row)) : json_null());
	json_object_set_new(object, "mops", known ? number(bench_median_mops(row)) : json_null());
	if (row->ratios[0].to != NULL) {
		json_t *first = json_ratio(bench, row, &row->ratios[0]);

		json_object_update(object, first);
		json_decref(first);
	} else {
		json_object_set_new(object, "ratio", json_null());
		json_object_set_new(object, "to", json_null());
	}
	if (row->ratios[0].to != NULL && row->ratios[1].to != NULL)
		json_object_set_new(object, "also", json_ratio(bench, row, &row->ratios[1]));
	if (!known)
		json_object_set_new(object, "note", json_string(row->note));
	dump(object);
}

static void dump_size(const struct bench_size *size)
{
	uint64_t bytes = size->bytes();
	json_t *object = json_object();

	json_object_set_new(object, "name", json_string(size->name));
	json_object_set_new(object, "processes", json_null());
	json_object_set_new(object, "ns_per_op", json_null());
	json_object_set_new(object, "mops", json_null());
	json_object_set_new(object, "ratio", number((double)bytes / (double)size->below));
	json_object_set_new(object, "to", json_string(size->below_text));
	json_object_set_new(object, "bytes", json_integer((json_int_t)bytes));
	json_object_set_new(object, "target", json_string("at most 1"));
	json_object_set_new(object, "verdict", json_string(size_verdict(size, bytes)));
	dump(object);
}

static void dump_share(const struct bench *bench, const struct bench_share *share)
{
	double value = share->value();
	json_t *object = json_object();

	json_object_set_new(object, "name", json_string(share->name));
	json_object_set_new(object, "processes", json_null());
	json_object_set_new(object, "value", number(value));
	json_object_set_new(object, "of", json_string(share->what));
	if (share->at_most > 0) {
		json_object_set_new(object, "target", json_sprintf("at most %g", share->at_most));
		json_object_set_new(object, "verdict", json_string(share_verdict(share, value)));
	}
	if (!isfinite(value))
		json_object_set_new(object, "note", json_string(share_note(bench, share)));
	dump(object);
}

static void dump_all(const struct bench *bench)
{
	json_t *machine = json_object();

	for (const struct bench_fact *fact = bench_machine(); fact->name != NULL; fact++)
		json_object_set_new(machine, fact->name, json_string(fact->value));
	json_object_set_new(machine, "rounds", json_integer(bench->rounds));
	json_object_set_new(machine, "round_ms",
			    json_integer((json_int_t)(bench->round_ns / 1000000)));
	json_object_set_new(machine, "took_s", number((double)bench->took_ns / 1e9));
	dump(json_pack("{s:o}", "machine", machine));
	for (unsigned i = 0; i < bench->row_count; i++) {
		if (bench->rows[i].shown)
			dump_row(bench, &bench->rows[i]);
	}
	for (unsigned i = 0; i < bench->size_count; i++) {
		if (bench->sizes[i].shown)
			dump_size(&bench->sizes[i]);
	}
	for (unsigned i = 0; i < bench->share_count; i++) {
		if (bench->shares[i].shown)
			dump_share(bench, &bench->shares[i]);
	}
}

void bench_report(const struct bench *bench)
{
	if (bench->json)
		dump_all(bench);
	else
		print_table(bench);
}
