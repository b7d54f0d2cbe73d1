/* SPDX-License-Identifier: Apache-2.0
 *
 * A client is stopped between any two instructions of a call, for up to an hour of the manual
 * clock; meanwhile the others go on, rates change, the endpoint is closed, reset or moved. Then it
 * goes on with what it had read before. What all were granted together is what the limit allows
 * whichever side of the stop the call belongs to, to the token. So is a publisher, while others
 * draw.
 */
#include "segment_fixture.h"

#include "audit.h"
#include "handle.h"
#include "race_stepper.h"

enum {
	BURST = 10, /* at 10 a second */
	COST = 4,
	LESS = 1, /* what it is settled to */
	MORE = 6,
	PLACES_MAX = 150, /* of one call; sanitizers make calls longer than that */
	FRESH_NAMES = 1024,
	HOUR_S = 3600,
	AROUND_STORE = 1000, /* the last instructions of a publication */
	STORE_MAX = 100,     /* of them, from reading the time to the store, with room */
};

/* What the stopped call works on and came to, in memory that both processes share. */
struct victim {
	char name[24]; /* of a bucket that nobody has used */
	struct weir_endpoint *target;
	struct weir_reservation reservation;
	uint32_t row;	/* of api */
	bool published; /* terms of its own */
	unsigned taken; /* tokens, by the call and before it */
	unsigned used;	/* of them, in the end */
};

struct world {
	struct weir *weir;
	struct weir_endpoint *api;
	struct weir_endpoint *target; /* what is drawn from: api, or a fresh name */
	struct victim *victim;
	unsigned names;
	unsigned drawn; /* by the others */
	struct weir_level before;
	bool changed; /* the rule must be set back */
	bool moved;   /* and to the unit it had */
	unsigned long places;
	unsigned long filled_twice; /* stops in which a bucket was filled once too often */
};

static struct world world;

/* ---- in the process that is stopped ---- */

static void took(enum weir_verdict verdict, unsigned cost)
{
	if (verdict == WEIR_ADMIT)
		world.victim->taken = world.victim->used = cost;
}

/* Looks once, so that the call that follows need not resolve the name. */
static void prepare_look(void *context)
{
	struct weir_level level = {.size = sizeof(level)};

	(void)context;
	world.victim->target = world.api;
	CHILD_CHECK(weir_peek(world.api, &level) == 0);
}

static void prepare_none(void *context)
{
	(void)context;
	world.victim->target = world.api;
}

static void prepare_fresh(void *context)
{
	(void)context;
	CHILD_CHECK(weir_endpoint(world.weir, world.victim->name, &world.victim->target) == 0);
}

static void prepare_reserved(void *context)
{
	prepare_look(context);
	CHILD_CHECK(weir_reserve(world.api, COST, 0, &world.victim->reservation, NULL) ==
		    WEIR_ADMIT);
	world.victim->taken = world.victim->used = COST;
}

static void finish_none(void *context)
{
	(void)context;
}

static void finish_fresh(void *context)
{
	(void)context;
	weir_endpoint_close(world.victim->target);
}

static void call_acquire(void *context)
{
	(void)context;
	took(weir_acquire(world.victim->target, COST, NULL), COST);
}

static void call_acquire_answered(void *context)
{
	struct weir_answer answer;

	(void)context;
	took(weir_acquire(world.victim->target, COST, &answer), COST);
}

static void call_wait(void *context)
{
	(void)context;
	took(weir_wait(world.victim->target, COST, WEIR_SECOND, NULL), COST);
}

static void call_reserve(void *context)
{
	(void)context;
	took(weir_reserve(world.victim->target, COST, 0, &world.victim->reservation, NULL), COST);
}

static void call_reserve_ahead(void *context)
{
	(void)context;
	took(weir_reserve(world.victim->target, COST, WEIR_FOREVER, &world.victim->reservation,
			  NULL),
	     COST);
}

static void call_cancel(void *context)
{
	(void)context;
	world.victim->used = 0;
	weir_cancel(world.victim->target, &world.victim->reservation, NULL);
}

static void call_settle_less(void *context)
{
	(void)context;
	world.victim->used = LESS;
	weir_settle(world.victim->target, &world.victim->reservation, LESS);
}

static void call_settle_more(void *context)
{
	(void)context;
	world.victim->taken = world.victim->used = MORE;
	weir_settle(world.victim->target, &world.victim->reservation, MORE);
}

static void call_close(void *context)
{
	(void)context;
	weir_gate_close(world.victim->target, WEIR_SECOND);
}

/* As the publisher. */
static void publish(uint64_t per_second)
{
	struct segment *held = &atomic_load(&world.weir->current)->segment;
	const struct terms terms = scene_terms(per_second, BURST);
	const struct terms_author author = {.origin = ORIGIN_OPERATOR};

	world.victim->published = true;
	rules_change(held, world.victim->row, &terms, &author, RULES_KEEP_USED);
}

static void call_publish_cut(void *context)
{
	(void)context;
	publish(1);
}

static void call_publish_raise(void *context)
{
	(void)context;
	publish(500);
}

/* ---- what happens meanwhile ---- */

/* All that is there, a token at a time. */
static unsigned drain(void)
{
	unsigned drawn = (unsigned)scene_drain(world.target);

	world.drawn += drawn;
	return drawn;
}

static void advance(uint64_t seconds)
{
	assert_int_equal(weir_clock_advance(world.weir, seconds * WEIR_SECOND), 0);
}

static void change(const char *rate, const char *burst, enum weir_keep keep)
{
	assert_int_equal(weir_update(world.weir, "api", rate, burst, keep), 0);
	world.changed = true;
}

static const struct segment *segment(void)
{
	return &atomic_load(&world.weir->current)->segment;
}

static void nothing(void)
{
	drain();
}

static void an_hour(void)
{
	advance(HOUR_S);
}

static void a_second(void)
{
	drain();
	advance(1);
	drain();
}

static void drained_an_hour(void)
{
	drain();
	advance(HOUR_S);
}

static void drained_an_hour_drained(void)
{
	drained_an_hour();
	drain();
}

/* Seen with the old line, this hour would be 36,000 tokens. */
static void drained_cut(void)
{
	drain();
	change("1/d", NULL, WEIR_KEEP_USED);
	advance(HOUR_S);
}

static void drained_raised(void)
{
	drain();
	change("500/s", NULL, WEIR_KEEP_USED);
	advance(1);
}

static void smaller(void)
{
	change(NULL, "4", WEIR_KEEP_USED);
	drain();
}

static void larger_same_level(void)
{
	for (int i = 0; i < 5; i++)
		world.drawn += weir_acquire(world.target, 1, NULL);
	change(NULL, "20", WEIR_KEEP_LEVEL);
}

/* To the very tick at which it opens. */
static void closed_and_open(void)
{
	const struct bucket *bucket = endpoint_binding(world.api)->bucket;

	assert_int_equal(weir_gate_close(world.api, 60 * WEIR_SECOND), 0);
	assert_int_equal(weir_acquire(world.api, 1, NULL), WEIR_REFUSE);

	uint64_t until = gate_load(bucket) & GATE_UNTIL;

	assert_int_equal(weir_clock_advance(world.weir, until - segment_now(segment())), 0);
}

static void drained_closed_open(void)
{
	drain();
	closed_and_open();
	assert_int_equal(drain(), 0);
}

static void drained_reset(void)
{
	drain();
	assert_int_equal(weir_reset(world.weir, "api"), 0);
}

static void drained_reset_drained(void)
{
	drained_reset();
	drain();
}

/* So different a rate that the unit must change: another row, and the mark moves. */
static void move_to(const char *rate)
{
	const struct rule_row *row = endpoint_binding(world.api)->row;

	for (int i = 0; i < 3; i++)
		world.drawn += weir_acquire(world.target, 1, NULL);
	change(rate, NULL, WEIR_KEEP_USED);
	world.moved = true;
	drain();
	assert_true(endpoint_binding(world.api)->row != row);
}

static void moved_to_finer_unit(void)
{
	move_to("1/100d");
}

static void moved_to_coarser_unit(void)
{
	move_to("1000000/s");
}

/* The fresh name gets a row of its own. */
static void own_row(void)
{
	for (int i = 0; i < 3; i++)
		world.drawn += weir_acquire(world.target, 1, NULL);
	assert_int_equal(weir_update(world.weir, world.victim->name, NULL, NULL, WEIR_KEEP_USED),
			 0);
}

/* ---- calls and meanwhiles ---- */

struct call {
	const char *name;
	void (*prepare)(void *context);
	void (*call)(void *context);
	void (*finish)(void *context);
	bool is_fresh;
};

static const struct call acquire = {"acquire", prepare_look, call_acquire, finish_none, false};
static const struct call acquire_answered = {"acquire, with an answer", prepare_look,
					     call_acquire_answered, finish_none, false};
static const struct call acquire_resolving = {"acquire, resolving", prepare_none, call_acquire,
					      finish_none, false};
static const struct call acquire_first = {"acquire, the first of a bucket", prepare_fresh,
					  call_acquire, finish_fresh, true};
static const struct call wait_due = {"wait", prepare_look, call_wait, finish_none, false};
static const struct call reserve = {"reserve", prepare_look, call_reserve, finish_none, false};
static const struct call reserve_ahead = {"reserve, however far ahead", prepare_look,
					  call_reserve_ahead, finish_none, false};
static const struct call cancel = {"cancel", prepare_reserved, call_cancel, finish_none, false};
static const struct call settle_less = {"settle, to less", prepare_reserved, call_settle_less,
					finish_none, false};
static const struct call settle_more = {"settle, to more", prepare_reserved, call_settle_more,
					finish_none, false};
static const struct call gate_closing = {"close", prepare_look, call_close, finish_none, false};

static const struct call publish_cut = {"publish a tenth of the rate", prepare_none,
					call_publish_cut, finish_none, false};
static const struct call publish_raise = {"publish fifty times the rate", prepare_none,
					  call_publish_raise, finish_none, false};

/*
 * What all have used together when everything is drawn that is there: from the full bucket, by
 * the call, during the stop and after it. Where both sides of the stop come to the same, it is
 * exact; else the call decides, which may belong to either.
 */
struct tale {
	const struct call *call;
	void (*meanwhile)(void);
	const char *name;
	unsigned least;
	unsigned most;
};

#define TALE(call, meanwhile, least, most)                                                         \
	{                                                                                          \
		&(call), meanwhile, #meanwhile, least, most                                        \
	}

static const struct tale takes[] = {
	TALE(acquire, nothing, 10, 10),
	/* the call was made before the hour, or after it */
	TALE(acquire, an_hour, 10, 14),
	TALE(acquire, drained_an_hour, 20, 20),
	TALE(acquire, drained_an_hour_drained, 20, 20),
	TALE(acquire, drained_cut, 10, 10),
	TALE(acquire, drained_raised, 20, 20),
	/* by the larger of the two bursts, if it is the older */
	TALE(acquire, smaller, 4, 8),
	TALE(acquire, larger_same_level, 10, 10),
	TALE(acquire, closed_and_open, 0, 4),
	TALE(acquire, drained_closed_open, 10, 10),
	TALE(acquire, drained_reset, 20, 20),
	TALE(acquire, drained_reset_drained, 20, 20),
	TALE(acquire, moved_to_finer_unit, 10, 10),
	TALE(acquire, moved_to_coarser_unit, 10, 10),
	TALE(acquire_answered, an_hour, 10, 14),
	TALE(acquire_answered, drained_an_hour, 20, 20),
	TALE(acquire_answered, drained_an_hour_drained, 20, 20),
	TALE(acquire_answered, drained_cut, 10, 10),
	TALE(acquire_answered, drained_closed_open, 10, 10),
	TALE(acquire_answered, moved_to_finer_unit, 10, 10),
	TALE(acquire_first, nothing, 10, 10),
	TALE(acquire_first, an_hour, 10, 14),
	TALE(acquire_first, drained_an_hour, 20, 20),
	TALE(acquire_first, own_row, 10, 10),
};

static const struct tale places[] = {
	/* a place that lay ahead has come up in the hour */
	TALE(wait_due, drained_an_hour, 20, 24),
	TALE(wait_due, drained_raised, 20, 24),
	TALE(reserve, drained_an_hour_drained, 20, 20),
	TALE(reserve, drained_cut, 10, 10),
	TALE(reserve, drained_closed_open, 10, 10),
	TALE(reserve, moved_to_coarser_unit, 10, 10),
	TALE(reserve_ahead, drained_an_hour, 20, 24),
	TALE(reserve_ahead, drained_cut, 10, 14),
	TALE(reserve_ahead, drained_reset, 20, 20),
	TALE(reserve_ahead, moved_to_finer_unit, 10, 14),
};

static const struct tale give_backs[] = {
	TALE(cancel, nothing, 10, 10),
	/* what time has refilled, or a closure or a reset wiped out, does not go back as well */
	TALE(cancel, drained_an_hour, 16, 20),
	TALE(cancel, drained_an_hour_drained, 16, 20),
	TALE(cancel, drained_cut, 10, 10),
	TALE(cancel, drained_closed_open, 6, 10),
	TALE(cancel, drained_reset, 16, 20),
	TALE(cancel, drained_reset_drained, 16, 20),
	TALE(cancel, moved_to_finer_unit, 10, 10),
	TALE(cancel, moved_to_coarser_unit, 10, 10),
	TALE(settle_less, nothing, 10, 10),
	TALE(settle_less, drained_an_hour, 17, 20),
	TALE(settle_less, drained_cut, 10, 10),
	TALE(settle_less, drained_closed_open, 7, 10),
	TALE(settle_less, drained_reset_drained, 17, 20),
	TALE(settle_less, moved_to_finer_unit, 10, 10),
	TALE(settle_less, moved_to_coarser_unit, 10, 10),
	/* a debt may come after all is drawn */
	TALE(settle_more, drained_an_hour, 20, 22),
	TALE(settle_more, drained_cut, 10, 12),
	TALE(settle_more, drained_closed_open, 10, 12),
	TALE(settle_more, drained_reset, 20, 20),
	TALE(settle_more, moved_to_finer_unit, 10, 12),
	TALE(settle_more, moved_to_coarser_unit, 10, 12),
};

static const struct tale gates[] = {
	/* closed for a second: before the draw, in the middle of the hour, or after it */
	TALE(gate_closing, drained_an_hour, 10, 20),
	TALE(gate_closing, drained_reset, 0, 20),
	TALE(gate_closing, drained_closed_open, 0, 10),
};

static const struct tale publications[] = {
	TALE(publish_cut, nothing, 10, 10),
	TALE(publish_cut, an_hour, 10, 10),
	TALE(publish_cut, drained_an_hour, 20, 20),
	/*
	 * Where the new line is there and its publisher has not looked at the time since, or has
	 * looked for the last time before it is, V jumps when he goes on, to where the faster one
	 * of both would be: that fills a bucket once more at most.
	 */
	TALE(publish_cut, drained_an_hour_drained, 20, 30),
	TALE(publish_cut, a_second, 11, 30),
	TALE(publish_raise, nothing, 10, 10),
	TALE(publish_raise, an_hour, 10, 10),
	TALE(publish_raise, drained_an_hour_drained, 20, 30),
	TALE(publish_raise, a_second, 20, 30),
};

/* ---- one place ---- */

static struct weir_level level_now(void)
{
	struct weir_level level = {.size = sizeof(level)};

	assert_int_equal(weir_peek(world.target, &level), 0);
	return level;
}

/* A full bucket, an open gate, the rule as it was. */
static void renew(const struct call *call)
{
	if (world.moved) /* a coarse unit is good enough for a slow rate, a fine one for none */
		change("1/100d", NULL, WEIR_KEEP_USED);
	if (world.changed || world.victim->published)
		change("10/s", "10", WEIR_KEEP_USED);
	world.changed = world.moved = world.victim->published = false;
	if (world.target != world.api)
		weir_endpoint_close(world.target);
	world.target = world.api;
	assert_int_equal(weir_gate_open(world.api), 0);
	weir_acquire(world.api, 1, NULL);
	assert_int_equal(weir_reset(world.weir, "api"), 0);
	assert_true(level_now().level == BURST);
	if (call->is_fresh) {
		assert_true(world.names < FRESH_NAMES);
		snprintf(world.victim->name, sizeof(world.victim->name), "fresh %u", world.names++);
		assert_int_equal(weir_endpoint(world.weir, world.victim->name, &world.target), 0);
	}
	world.victim->row = endpoint_binding(world.api)->row_index;
	world.before = level_now();
	world.drawn = 0;
	world.victim->taken = world.victim->used = 0;
}

static void check_after(const struct tale *tale, size_t instructions)
{
	struct weir_level after;
	unsigned used;

	drain();
	after = level_now();
	used = world.drawn + world.victim->used;
	if (used < tale->least || used > tale->most)
		fail_msg("%s, %s: stopped after %zu instructions, all used %u tokens, not %u to "
			 "%u",
			 tale->call->name, tale->name, instructions, used, tale->least, tale->most);
	world.filled_twice += used > 2 * BURST;
	/* the counts are exact, as nobody was killed */
	assert_true(after.granted_tokens - world.before.granted_tokens ==
		    world.drawn + world.victim->taken);
	/* what nobody used is no debt of anybody's */
	assert_true(after.level >= -(double)BURST);
}

/* Returns whether it took stepping. */
static bool stop_at(const struct race_stepper *stepper, const struct tale *tale,
		    size_t instructions)
{
	bool stepped;

	renew(tale->call);
	stepped = !race_stepper_stop(stepper, instructions);
	if (stepped) {
		renew(tale->call);
		if (!race_stepper_stop_stepping(stepper, instructions))
			fail_msg("%s takes another way each time", tale->call->name);
	}
	tale->meanwhile();
	race_stepper_go_on(stepper);
	check_after(tale, instructions);
	return stepped;
}

/* A segment for each tale: every move of the rule takes a row, and is as dear as there are rows. */
static void world_begin(void)
{
	char ini[256];

	snprintf(ini, sizeof(ini),
		 "[weir]\nendpoints = 1024\nnames = %d\nmembers = 8\n[default]\nrate = 10/s\n"
		 "burst = %d\n[endpoint api]\nrate = 10/s\nburst = %d\n",
		 FRESH_NAMES, BURST, BURST);
	world = (struct world){
		.victim = scene_shared(sizeof(*world.victim)),
		.places = world.places,
		.filled_twice = world.filled_twice,
	};
	assert_int_equal(weir_host(&world.weir, ini, WEIR_CLOCK_MANUAL, NULL, NULL, 0), 0);
	assert_int_equal(weir_endpoint(world.weir, "api", &world.api), 0);
	world.target = world.api;
}

static void world_end(void)
{
	if (world.target != world.api)
		weir_endpoint_close(world.target);
	weir_endpoint_close(world.api);
	weir_close(world.weir);
	munmap(world.victim, sizeof(*world.victim));
}

/* A call at rest in a process that has made its first one, which joins as a member. */
static void stepper_begin(struct race_stepper *stepper, struct race_call *call,
			  const struct tale *tale)
{
	*call = (struct race_call){tale->call->prepare, tale->call->call, tale->call->finish, NULL};
	race_stepper_begin(stepper, call);
	renew(tale->call);
	race_stepper_call(stepper);
	renew(tale->call);
}

/* Between the last instructions of the call, or with 0 all of it, at so many places at most. */
static void stop_over(const struct tale *tale, size_t last, size_t places_max)
{
	struct race_call call;
	struct race_stepper stepper = {.count = 0};
	unsigned long places_stopped = 0;
	unsigned long stepped = 0;

	world_begin();
	stepper_begin(&stepper, &call, tale);
	race_stepper_record(&stepper);
	for (size_t i = last && last < stepper.count ? stepper.count - last : 0; i < stepper.count;
	     i += race_stride(&stepper, places_max)) {
		stepped += stop_at(&stepper, tale, i);
		places_stopped++;
	}
	renew(tale->call);
	assert_int_equal(audit_segment(segment(), NULL, NULL), 0);
	printf("%-30s %-24s stopped at %4lu places of %5zu instructions, %lu times stepping\n",
	       tale->call->name, tale->name, places_stopped, stepper.count, stepped);
	fflush(stdout);
	world.places += places_stopped;
	race_stepper_end(&stepper);
	world_end();
}

static void stop_everywhere(const struct tale *tale)
{
	stop_over(tale, 0, PLACES_MAX);
}

/*
 * The same where the call has to resolve its name first, as the table of rules has changed: in a
 * world of its own for each place, since every change makes the next one's way longer.
 */
static void resolve_begin(struct race_stepper *stepper, struct race_call *call,
			  const struct tale *tale)
{
	world_begin();
	stepper_begin(stepper, call, tale);
	assert_int_equal(weir_update(world.weir, "another", NULL, NULL, WEIR_KEEP_USED), 0);
}

static void resolve_end(struct race_stepper *stepper)
{
	stepper->addresses = NULL; /* they are the reference's */
	race_stepper_end(stepper);
	world_end();
}

static void stop_resolving_at(const struct race_stepper *reference, const struct tale *tale,
			      size_t instructions)
{
	struct race_call call;
	struct race_stepper stepper;
	bool stopped;

	resolve_begin(&stepper, &call, tale);
	stepper.addresses = reference->addresses;
	stopped = race_stepper_stop(&stepper, instructions);
	/* each world has a secret of its own, and so now and then another way to a name */
	for (int worlds = 0; !stopped && worlds < 5; worlds++) {
		resolve_end(&stepper);
		resolve_begin(&stepper, &call, tale);
		stopped = race_stepper_stop_stepping(&stepper, instructions);
	}
	if (!stopped)
		fail_msg("%s takes another way each time", tale->call->name);
	tale->meanwhile();
	race_stepper_go_on(&stepper);
	check_after(tale, instructions);
	/* a name that has a rule of its own at any moment has no bucket under [default] */
	if (names_find_slot(segment(), "api") >= 0)
		fail_msg("%s, %s: stopped after %zu instructions, it fell under [default]",
			 tale->call->name, tale->name, instructions);
	resolve_end(&stepper);
}

static void stop_resolving(const struct tale *tale)
{
	struct race_call call;
	struct race_stepper reference = {.count = 0};
	unsigned long places_stopped = 0;

	resolve_begin(&reference, &call, tale);
	race_stepper_record(&reference);
	world_end();
	for (size_t i = 0; i < reference.count; i += race_stride(&reference, PLACES_MAX)) {
		stop_resolving_at(&reference, tale, i);
		places_stopped++;
	}
	printf("%-30s %-24s stopped at %4lu places of %5zu instructions\n", tale->call->name,
	       tale->name, places_stopped, reference.count);
	fflush(stdout);
	world.places += places_stopped;
	race_stepper_end(&reference);
}

static void skip_unavailable(void)
{
	const char *why = race_stepper_unavailable();

	if (why) {
		printf("skipped: %s\n", why);
		skip();
	}
}

static void run(const struct tale *tales, size_t count)
{
	skip_unavailable();
	for (size_t i = 0; i < count; i++)
		stop_everywhere(&tales[i]);
	printf("stopped at %lu places so far\n", world.places);
}

#define RUN(tales) run(tales, sizeof(tales) / sizeof((tales)[0]))

static void test_takes(void **state)
{
	(void)state;
	RUN(takes);
}

static void test_places(void **state)
{
	(void)state;
	RUN(places);
}

static void test_give_backs(void **state)
{
	(void)state;
	RUN(give_backs);
}

static void test_gates(void **state)
{
	(void)state;
	RUN(gates);
}

static void test_publications(void **state)
{
	(void)state;
	RUN(publications);
}

/* V jumps only between the publisher's last looks at the time and his store: that is narrow. */
static void test_publication_at_its_store(void **state)
{
	static const struct tale tales[] = {
		TALE(publish_cut, drained_an_hour_drained, 20, 30),
		TALE(publish_raise, drained_an_hour_drained, 20, 30),
	};

	(void)state;
	skip_unavailable();
	world.filled_twice = 0;
	for (int i = 0; i < 2; i++)
		stop_over(&tales[i], AROUND_STORE, SIZE_MAX);
	printf("a bucket was filled twice at %lu of %d places\n", world.filled_twice,
	       2 * AROUND_STORE);
	assert_true(world.filled_twice <= 2 * STORE_MAX);
}

static void test_resolving(void **state)
{
	static const struct tale tale = TALE(acquire_resolving, moved_to_finer_unit, 10, 10);

	(void)state;
	skip_unavailable();
	stop_resolving(&tale);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_give_backs),
		cmocka_unit_test(test_gates),
		cmocka_unit_test(test_publications),
		cmocka_unit_test(test_publication_at_its_store),
		cmocka_unit_test(test_resolving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
