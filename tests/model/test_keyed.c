/* SPDX-License-Identifier: Apache-2.0
 *
 * Inserting, taking, giving back, recycling, evicting and moving keys (lib/keyed.c), in every
 * interleaving of a few callers over three slots, any of whom may be killed anywhere. A key must
 * never have two buckets, nobody may be charged for another, and what a key is granted is at most
 *
 *	burst + minted + given back
 *
 * unless it was evicted in debt. Each rule that the code follows is left out once; then the model
 * must find what it is good for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "explore.h"

enum {
	SLOTS = 3,
	BURST = 2,
	START = 10, /* V at the beginning */
	NONE = 0xff,
};

/* Words of a slot. */
enum {
	FREE = 0,
	X = 1,
	Y = 2,
	W = 3, /* whose bucket is there from the beginning */
	INSERTING = 0x10,
	MOVED = 0x20,
};

/* What is left out. */
enum rule {
	AS_BUILT,
	NO_ANNOUNCEMENT, /* the bucket is put there at once */
	ONE_LOOK,	 /* an announcement that was seen for the first time becomes the bucket */
	SAME_NUMBER,	 /* all announcements look alike */
	OTHERS_STAY,	 /* other announcements of the key are not taken back */
	OLD_TIME,	 /* the time is not read again */
	MARK_ALONE,	 /* a take exchanges the mark alone */
	NOT_RETIRED,	 /* after the announcement nobody asks whether the table is retired */
};

struct slot {
	uint8_t key;
	uint8_t mark;
};

/* What a caller is about. */
enum phase {
	FINDING, /* looks for its key, and takes from it */
	INSERTING_IT,
	TAKING_BACK, /* what it has announced */
	RETURNING,   /* what it has taken */
};

struct caller {
	uint16_t at;   /* where it goes on, */
	uint8_t phase; /* and in what */
	uint8_t round;
	uint8_t i;
	uint8_t v;
	uint8_t there; /* index of the key's bucket */
	uint8_t mark;
	uint8_t back_key;      /* of the bucket's word */
	uint8_t first;	       /* index of the first announcement */
	uint8_t number;	       /* its number */
	uint8_t others[SLOTS]; /* numbers of the others; NONE: no announcement */
	uint8_t failed;
	uint8_t room; /* where to announce */
	uint8_t grade;
	struct slot was; /* what is there */
	uint8_t known;	 /* index of an announcement that was seen before the look */
	uint8_t known_number;
	uint8_t given; /* by this caller's last take */
	uint8_t taken; /* how often */
};

struct keys {
	struct caller callers[3];
	struct slot slots[SLOTS];
	uint16_t clock_at;
	uint16_t mover_at;
	uint8_t v;
	uint8_t numbers;
	uint8_t retired;
	uint8_t frozen;	      /* the mover has what it came for */
	uint8_t frozen_ahead; /* the debt that it found */
	uint8_t frozen_v;
	uint8_t granted[3]; /* by key */
	uint8_t returned[3];
	uint8_t misplaced; /* a key was charged for another */
	uint8_t mi;	   /* of the mover */
	uint8_t again;
};

static enum rule rule;
static uint8_t wants[3];   /* key of each caller; 0: none */
static uint8_t units[3];   /* that it takes */
static bool gives_back[3]; /* and then returns */
static uint8_t times[3];   /* that it takes */
static uint8_t rounds;	   /* that a caller begins anew; then it gives up */
static struct slot begin_slots[SLOTS];
static unsigned slots; /* that there are */
static bool evicts;    /* keys in debt, if need be */

static bool exchange(struct keys *keys, uint8_t i, struct slot was, struct slot next)
{
	if (keys->slots[i].key != was.key || keys->slots[i].mark != was.mark)
		return false;
	keys->slots[i] = next;
	return true;
}

static uint8_t later(uint8_t a, uint8_t b)
{
	return a > b ? a : b;
}

/* ---- a caller ---- */

/* Nothing is kept of an earlier look: what nobody asks for any more makes no states. */
static void look_begin(struct caller *own)
{
	own->i = 0;
	own->there = own->first = own->room = NONE;
	own->grade = NONE;
	own->failed = 0;
	own->mark = own->back_key = own->number = 0;
	own->was = (struct slot){FREE, 0};
	memset(own->others, NONE, sizeof(own->others));
}

static uint8_t grade_of(const struct caller *own, struct slot slot)
{
	return slot.key == FREE ? 0 : slot.key & INSERTING ? 2 : slot.mark <= own->v ? 1 : 3;
}

static void look_at(struct keys *keys, struct caller *own, uint8_t key)
{
	struct slot slot = keys->slots[own->i];

	if ((slot.key & ~MOVED) == key) {
		own->there = own->i;
		own->mark = slot.mark;
		own->back_key = slot.key;
	} else if (slot.key == (key | INSERTING)) {
		if (own->first == NONE) {
			own->first = own->i;
			own->number = slot.mark;
		} else {
			own->others[own->i] = slot.mark;
		}
	} else if (!(slot.key & MOVED) && grade_of(own, slot) < own->grade &&
		   (grade_of(own, slot) < 3 || evicts)) {
		own->room = own->i;
		own->grade = grade_of(own, slot);
		own->was = slot;
	}
}

static void grant(struct keys *keys, struct caller *own, uint8_t key, uint8_t n)
{
	keys->granted[key] = (uint8_t)(keys->granted[key] + n);
	own->given = n;
}

/* One exchange of a mark; with MARK_ALONE whosever it is by now. */
static bool take(struct keys *keys, struct caller *own, uint8_t key, uint8_t n)
{
	struct slot *slot = &keys->slots[own->there];
	uint8_t next = (uint8_t)(later(own->mark, own->v) + n);

	if (slot->mark != own->mark || (slot->key != key && rule != MARK_ALONE))
		return false;
	if (slot->key != key)
		keys->misplaced = 1;
	slot->mark = next;
	grant(keys, own, key, n);
	return true;
}

static bool announce(struct keys *keys, struct caller *own, uint8_t key, uint8_t n)
{
	struct slot next = {(uint8_t)(key | INSERTING), rule == SAME_NUMBER ? 1 : ++keys->numbers};

	if (own->room == NONE)
		return false;
	if (rule == NO_ANNOUNCEMENT)
		next = (struct slot){key, (uint8_t)(own->v + n)};
	if (!exchange(keys, own->room, own->was, next))
		return false;
	if (rule == NO_ANNOUNCEMENT)
		grant(keys, own, key, n);
	own->known = own->room;
	own->known_number = next.mark;
	return true;
}

/* The announcement becomes the bucket. */
static bool commit(struct keys *keys, struct caller *own, uint8_t key, uint8_t n)
{
	struct slot was = {(uint8_t)(key | INSERTING), own->number};

	if (!exchange(keys, own->first, was, (struct slot){key, (uint8_t)(own->v + n)}))
		return false;
	grant(keys, own, key, n);
	return true;
}

static bool take_back_one(struct keys *keys, const struct caller *own, uint8_t key, uint8_t i,
			  uint8_t number)
{
	(void)own;
	return exchange(keys, i, (struct slot){(uint8_t)(key | INSERTING), number},
			(struct slot){FREE, 0});
}

/* All that was given goes back, if the bucket is still there. */
static bool give_back(struct keys *keys, struct caller *own, uint8_t key)
{
	uint8_t beyond = own->mark > own->v ? (uint8_t)(own->mark - own->v) : 0;
	uint8_t back = beyond < own->given ? beyond : own->given;

	if (!exchange(keys, own->there, (struct slot){key, own->mark},
		      (struct slot){key, (uint8_t)(own->mark - back)}))
		return false;
	keys->returned[key] = (uint8_t)(keys->returned[key] + back);
	return true;
}

static bool knows(const struct caller *own)
{
	if (rule == ONE_LOOK)
		return true;
	return own->known == own->first && own->known_number == own->number;
}

static bool caller_step(struct keys *keys, unsigned machine);

static void enter(struct caller *own, enum phase phase)
{
	own->phase = (uint8_t)phase;
	own->at = 0;
}

/* Goes on with another phase in the same step: nothing was read or written in this one. */
static bool go_to(struct keys *keys, unsigned machine, enum phase phase)
{
	enter(&keys->callers[machine], phase);
	return caller_step(keys, machine);
}

/* The last access of a step was a take. */
static bool has_taken(struct caller *own, unsigned machine)
{
	own->round = 0;
	look_begin(own);
	if (++own->taken < times[machine]) {
		enter(own, FINDING);
		return true;
	}
	enter(own, RETURNING);
	return gives_back[machine];
}

static bool find_step(struct keys *keys, unsigned machine)
{
	struct caller *own = &keys->callers[machine];
	uint8_t n = units[machine];

	MACHINE_BEGIN(own->at);
	while (own->round < rounds) {
		own->round++;
		own->v = keys->v;
		look_begin(own);
		STEP(own->at);
		for (; own->i < slots && own->there == NONE; own->i++) {
			look_at(keys, own, wants[machine]);
			STEP(own->at);
		}
		if (own->there == NONE) {
			own->known = NONE;
			return go_to(keys, machine, INSERTING_IT);
		}
		if (own->back_key & MOVED || later(own->mark, own->v) + n > own->v + BURST)
			return false; /* follows, or is refused */
		if (take(keys, own, wants[machine], n))
			return has_taken(own, machine);
		look_begin(own);
		STEP(own->at);
	}
	MACHINE_END;
}

/* Takes back all announcements but the first. */
static void take_back_other(struct keys *keys, struct caller *own, uint8_t key)
{
	if (!take_back_one(keys, own, key, own->i, own->others[own->i]))
		own->failed = 1;
}

static bool insert_step(struct keys *keys, unsigned machine)
{
	struct caller *own = &keys->callers[machine];
	uint8_t key = wants[machine];

	MACHINE_BEGIN(own->at);
	while (own->round < rounds) {
		own->round++;
		for (look_begin(own); own->i < slots; own->i++) {
			look_at(keys, own, key);
			STEP(own->at);
		}
		own->failed = keys->retired && rule != NOT_RETIRED;
		STEP(own->at);
		if (own->failed || own->there != NONE)
			return go_to(keys, machine, TAKING_BACK);
		if (own->first == NONE) {
			if (!announce(keys, own, key, units[machine]))
				own->known = NONE;
			else if (rule == NO_ANNOUNCEMENT)
				return has_taken(own, machine);
			look_begin(own);
			STEP(own->at);
			continue;
		}
		for (own->i = 0; own->i < slots && rule != OTHERS_STAY; own->i++) {
			if (own->others[own->i] == NONE)
				continue;
			take_back_other(keys, own, key);
			STEP(own->at);
		}
		if (own->failed) {
			own->known = NONE;
		} else if (!knows(own)) {
			own->known = own->first;
			own->known_number = own->number;
		} else {
			if (rule != OLD_TIME)
				own->v = keys->v;
			STEP(own->at);
			if (commit(keys, own, key, units[machine]))
				return has_taken(own, machine);
			own->known = NONE;
			look_begin(own);
			STEP(own->at);
		}
	}
	MACHINE_END;
}

/* The key is there, or the table is retired: all that it has seen announced goes. */
static bool take_back_step(struct keys *keys, unsigned machine)
{
	struct caller *own = &keys->callers[machine];
	uint8_t number;

	MACHINE_BEGIN(own->at);
	for (own->i = 0; own->i < slots; own->i++) {
		number = own->first == own->i ? own->number : own->others[own->i];
		if (own->first != own->i && number == NONE)
			continue;
		take_back_one(keys, own, wants[machine], own->i, number);
		STEP(own->at);
	}
	if (!own->failed)
		return go_to(keys, machine, FINDING);
	MACHINE_END;
}

static bool return_step(struct keys *keys, unsigned machine)
{
	struct caller *own = &keys->callers[machine];

	MACHINE_BEGIN(own->at);
	for (; own->round < rounds; own->round++) {
		own->v = keys->v;
		for (look_begin(own); own->i < slots && own->there == NONE; own->i++) {
			look_at(keys, own, wants[machine]);
			STEP(own->at);
		}
		if (own->there == NONE || own->back_key & MOVED ||
		    give_back(keys, own, wants[machine]))
			return false;
		look_begin(own);
		STEP(own->at);
	}
	MACHINE_END;
}

static bool caller_step(struct keys *keys, unsigned machine)
{
	static bool (*const steps[])(struct keys *, unsigned) = {
		[FINDING] = find_step,
		[INSERTING_IT] = insert_step,
		[TAKING_BACK] = take_back_step,
		[RETURNING] = return_step,
	};
	struct caller *own = &keys->callers[machine];
	bool goes_on = steps[own->phase](keys, machine);

	if (!goes_on)
		*own = (struct caller){.at = 0};
	return goes_on;
}

/* ---- the clock, and who moves X to a newer pair ---- */

static bool clock_step(struct keys *keys)
{
	MACHINE_BEGIN(keys->clock_at);
	keys->v++;
	STEP(keys->clock_at);
	keys->v++;
	STEP(keys->clock_at);
	keys->v++;
	MACHINE_END;
}

static void freeze_at(struct keys *keys)
{
	struct slot *slot = &keys->slots[keys->mi];

	/* the exchange, by what was read in the step before, is this step: then it never fails, and
	 * a failure is only a later success */
	if (slot->key == (X | INSERTING)) {
		*slot = (struct slot){FREE, 0};
	} else if (slot->key == X) {
		slot->key = X | MOVED;
		keys->frozen_ahead = slot->mark > keys->v ? (uint8_t)(slot->mark - keys->v) : 0;
	}
}

static bool mover_step(struct keys *keys)
{
	MACHINE_BEGIN(keys->mover_at);
	keys->retired = 1;
	STEP(keys->mover_at);
	for (keys->mi = 0; keys->mi < slots; keys->mi++) {
		freeze_at(keys);
		if (keys->mi + 1u == slots) {
			keys->frozen = 1;
			keys->frozen_v = keys->v;
		}
		STEP(keys->mover_at);
	}
	MACHINE_END;
}

/* ---- the models ---- */

static void begin(void *state)
{
	struct keys *keys = state;

	keys->v = START;
	memcpy(keys->slots, begin_slots, sizeof(keys->slots));
}

static bool step(void *state, unsigned machine)
{
	if (machine < 3 && wants[machine])
		return caller_step(state, machine);
	return machine == 3 ? clock_step(state) : false;
}

static bool step_moving(void *state, unsigned machine)
{
	if (machine < 2)
		return caller_step(state, machine);
	return machine == 2 ? mover_step(state) : clock_step(state);
}

static const char *doubled(const void *state)
{
	const struct keys *keys = state;

	for (uint8_t key = X; key <= Y; key++) {
		unsigned count = 0;

		for (unsigned i = 0; i < slots; i++)
			count += (keys->slots[i].key & ~MOVED) == key;
		if (count > 1)
			return "a key has two buckets";
	}
	return keys->misplaced ? "a key was charged for another" : NULL;
}

static const char *exceeded(const void *state)
{
	const struct keys *keys = state;

	for (uint8_t key = X; key <= Y; key++)
		if (keys->granted[key] > BURST + (keys->v - START) + keys->returned[key])
			return "a key was granted more than its limit";
	return doubled(state);
}

/* What was granted before the freeze must be in what the mover found. */
static const char *forgotten(const void *state)
{
	const struct keys *keys = state;

	if (keys->frozen && keys->granted[X] > (keys->frozen_v - START) + keys->frozen_ahead)
		return "a grant is not in what was moved";
	return exceeded(state);
}

static const char *machine_name(unsigned machine)
{
	static const char *const names[] = {"A", "B", "C", "clock"};

	return names[machine];
}

static const char *mover_name(unsigned machine)
{
	static const char *const names[] = {"A", "B", "mover", "clock"};

	return names[machine];
}

static struct model model_of(const char *name, const char *(*wrong)(const void *state))
{
	return (struct model){
		.name = name,
		.bytes = sizeof(struct keys),
		.machines = 4,
		.dead = 4,
		.alone = 400,
		.begin = begin,
		.step = step,
		.wrong = wrong,
		.machine_name = machine_name,
	};
}

struct call {
	uint8_t key;
	uint8_t units;
	bool gives_back;
	uint8_t times;
};

struct scene {
	unsigned slots;
	struct slot slot[SLOTS];
	bool evicts;
	uint8_t rounds;
	struct call calls[3];
};

static void set_up(enum rule left_out, const struct scene *scene)
{
	rule = left_out;
	slots = scene->slots;
	evicts = scene->evicts;
	rounds = scene->rounds;
	memcpy(begin_slots, scene->slot, sizeof(begin_slots));
	for (unsigned i = 0; i < 3; i++) {
		wants[i] = scene->calls[i].key;
		units[i] = scene->calls[i].units;
		gives_back[i] = scene->calls[i].gives_back;
		times[i] = scene->calls[i].times;
	}
}

/* clang-format off */
#define TAKES(key, units) {key, units, false, 1}
#define TAKES_TWICE(key, units) {key, units, false, 2}
#define RETURNS(key, units) {key, units, true, 1}
/* clang-format on */

/* There is room, and W's bucket becomes full while the others look for it. */
#define ROOM .slots = 3, .slot = {{W, START + 1}, {FREE, 0}, {FREE, 0}}
/* No room but where somebody's bucket is full, or becomes so. */
#define CROWDED .slots = 2, .slot = {{W, START + 1}, {W + 1, START}}
/* No room at all. */
#define IN_DEBT .slots = 2, .slot = {{W, START + 5}, {W + 1, START + 6}}, .evicts = true
/* X is there, and full. */
#define FULL .slots = 2, .slot = {{X, START}, {W, START + 9}}

/* X is to come where nobody else's bucket is full. */
#define ALONE .slots = 2, .slot = {{FREE, 0}, {W, START + 9}}

static const struct scene two_insert = {ROOM, .rounds = 4,
					.calls = {TAKES(X, BURST), TAKES(X, BURST)}};
static const struct scene two_crowded = {CROWDED, .rounds = 4,
					 .calls = {TAKES(X, BURST), TAKES(X, BURST)}};
static const struct scene three_insert = {CROWDED, .rounds = 3,
					  .calls = {TAKES(X, 1), TAKES(X, BURST), TAKES(X, BURST)}};
static const struct scene two_keys = {CROWDED, .rounds = 3,
				      .calls = {TAKES(X, 1), TAKES(X, BURST), TAKES(Y, 1)}};
static const struct scene recycled = {FULL, .rounds = 3,
				      .calls = {TAKES(X, BURST), TAKES(Y, 1), TAKES(X, 1)}};
static const struct scene overtaken = {
	ALONE, .rounds = 3, .calls = {TAKES(X, BURST), TAKES_TWICE(X, BURST), TAKES(Y, 1)}};
static const struct scene recycled_back = {FULL, .rounds = 4,
					   .calls = {TAKES(X, BURST), RETURNS(Y, 1)}};
static const struct scene inserted_back = {ROOM, .rounds = 4,
					   .calls = {RETURNS(X, BURST), TAKES(X, BURST)}};
static const struct scene evicted = {IN_DEBT, .rounds = 4, .calls = {TAKES(X, BURST), TAKES(Y, 1)}};
static const struct scene moved = {ROOM, .rounds = 4, .calls = {TAKES(X, 1), TAKES(X, 1)}};

static void right(const char *name, const struct scene *scene,
		  const char *(*wrong)(const void *state))
{
	struct model model = model_of(name, wrong);

	set_up(AS_BUILT, scene);
	expect_right(&model);
}

static void wrong_without(const char *name, enum rule left_out, const struct scene *scene,
			  const char *(*wrong)(const void *state))
{
	struct model model = model_of(name, wrong);

	set_up(left_out, scene);
	expect_wrong(&model);
}

static void test_inserting(void **state)
{
	(void)state;
	right("keyed: two insert one key", &two_insert, exceeded);
	right("keyed: two insert one key, crowded", &two_crowded, exceeded);
	right("keyed: three insert one key, crowded", &three_insert, exceeded);
	right("keyed: two insert one key, one another", &two_keys, exceeded);
}

static void test_recycling(void **state)
{
	(void)state;
	right("keyed: take and recycle", &recycled, exceeded);
	right("keyed: overtaken and recycled", &overtaken, exceeded);
	right("keyed: take, recycle, give back", &recycled_back, exceeded);
	right("keyed: insert, give back, insert", &inserted_back, exceeded);
}

static void test_evicting(void **state)
{
	(void)state;
	/* a key that is evicted in debt is full when it comes again */
	right("keyed: evict and insert", &evicted, doubled);
}

static void test_what_the_rules_are_good_for(void **state)
{
	(void)state;
	wrong_without("keyed: no announcement", NO_ANNOUNCEMENT, &two_crowded, doubled);
	wrong_without("keyed: one look", ONE_LOOK, &three_insert, doubled);
	wrong_without("keyed: others stay", OTHERS_STAY, &two_crowded, doubled);
	wrong_without("keyed: an old time", OLD_TIME, &overtaken, exceeded);
	wrong_without("keyed: the mark alone", MARK_ALONE, &recycled_back, exceeded);
	wrong_without("keyed: one number for all", SAME_NUMBER, &three_insert, doubled);
}

static void moving(const char *name, enum rule left_out, bool is_wrong)
{
	struct model model = model_of(name, forgotten);

	model.step = step_moving;
	model.machine_name = mover_name;
	set_up(left_out, &moved);
	if (is_wrong)
		expect_wrong(&model);
	else
		expect_right(&model);
}

static void test_moving(void **state)
{
	(void)state;
	moving("keyed: move while it is inserted", AS_BUILT, false);
	moving("keyed: not asked whether retired", NOT_RETIRED, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inserting),
		cmocka_unit_test(test_recycling),
		cmocka_unit_test(test_evicting),
		cmocka_unit_test(test_what_the_rules_are_good_for),
		cmocka_unit_test(test_moving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
