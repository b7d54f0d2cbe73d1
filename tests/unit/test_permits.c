/* SPDX-License-Identifier: Apache-2.0
 *
 * Permits: what is taken comes back, once, from whoever has it: released, dead, forked, executed,
 * stopped, struck; and limits that change under those who hold or wait.
 */
#include "calls_fixture.h"

#include <pthread.h>
#include <sched.h>

#include "handle.h"
#include "permit_chain.h"
#include "permits.h"

#define assert_permits(endpoint, wanted_held, wanted_free)                                         \
	do {                                                                                       \
		struct weir_permits found_ = calls_permits(endpoint);                              \
		assert_int_equal(found_.held, wanted_held);                                        \
		assert_int_equal(found_.free, wanted_free);                                        \
	} while (0)

static bool take(struct weir_endpoint *endpoint, struct weir_permit *out)
{
	return weir_permit_take(endpoint, 0, out, NULL) == WEIR_ADMIT;
}

/* A process with a handle of its own that does what it is told. */
struct child {
	const struct place *place;
	const char *name;
	_Atomic uint32_t step; /* of the child */
	_Atomic uint32_t go;   /* of the test */
	struct weir_permit permit;
	uint64_t timeout_ns;
	_Atomic uint32_t order; /* in which it was admitted */
	_Atomic uint32_t *clock;
	uint32_t verdict;
};

static struct child *child_shared(struct calls *calls, const char *name)
{
	struct child *child = scene_shared(sizeof(*child));

	child->place = &calls->scene.place;
	child->name = name;
	return child;
}

static void child_step(struct child *child)
{
	atomic_fetch_add(&child->step, 1);
	scene_until(&child->go, atomic_load(&child->step));
}

/* Takes one, holds it until it is told to go on, and leaves without giving it back. */
static int child_hold(void *context)
{
	struct child *child = context;
	struct weir_endpoint *endpoint = scene_endpoint(scene_open(child->place), child->name);

	CHILD_CHECK(endpoint);
	CHILD_CHECK(take(endpoint, &child->permit));
	child_step(child);
	return 0;
}

static pid_t hold_in_child(struct child *child)
{
	pid_t pid = scene_child(child_hold, child);

	assert_true(scene_until(&child->step, 1));
	return pid;
}

/* ---- taking and giving back ---- */

static void test_take_and_release(void **state)
{
	struct weir_permit permits[4];
	struct weir_answer answer;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=3");

	assert_int_equal(calls_permits(api).limit, 3);
	assert_permits(api, 0, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(weir_permit_take(api, 0, &permits[i], &answer), WEIR_ADMIT);
		assert_int_equal(answer.fault, 0);
		assert_near(answer.level, 2 - i);
	}
	assert_int_equal(weir_permit_take(api, 0, &permits[3], &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_PERMIT);
	assert_int_equal(answer.wait_ns, 100 * WEIR_MILLISECOND);
	assert_permits(api, 3, 0);
	assert_int_equal(weir_permit_release(api, &permits[1]), 0);
	assert_permits(api, 2, 1);
	assert_true(take(api, &permits[1]));
	for (int i = 0; i < 3; i++)
		assert_int_equal(weir_permit_release(api, &permits[i]), 0);
	assert_permits(api, 0, 3);
	/* the bucket knows nothing of it */
	assert_level(api, 10);
}

/* The value and its copies are one permit. */
static void test_release_twice(void **state)
{
	struct weir_permit permit;
	struct weir_permit copy;
	struct weir_permit other;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");

	assert_true(take(api, &permit));
	copy = permit;
	assert_int_equal(weir_permit_release(api, &permit), 0);
	assert_int_equal(weir_permit_release(api, &permit), WEIR_ESPENT);
	assert_int_equal(weir_permit_release(api, &copy), WEIR_ESPENT);
	/* nor does it free the next one's */
	assert_true(take(api, &permit));
	copy = permit;
	assert_int_equal(weir_permit_release(api, &permit), 0);
	assert_true(take(api, &other));
	assert_int_equal(weir_permit_release(api, &copy), WEIR_ESPENT);
	assert_permits(api, 1, 0);
	assert_int_equal(weir_permit_release(api, &other), 0);
}

static void test_no_limit(void **state)
{
	struct weir_permit permit;
	struct weir_answer answer;
	struct calls *calls = *state;

	calls_rule(calls, "none", "rate=10/s");
	calls_rule(calls, "shut", "rate=10/s", "concurrency=0");
	struct weir_endpoint *none = calls_endpoint(calls, "none");
	struct weir_endpoint *unknown = calls_endpoint(calls, "unknown");
	struct weir_endpoint *shut = calls_endpoint(calls, "shut");

	assert_int_equal(calls_permits(none).limit, UINT64_MAX);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(weir_permit_take(none, 0, &permit, &answer), WEIR_ADMIT);
		assert_true(answer.level > 1e300);
		assert_int_equal(weir_permit_release(none, &permit), 0);
		assert_int_equal(weir_permit_release(none, &permit), WEIR_ESPENT);
	}
	assert_true(take(unknown, &permit));
	assert_int_equal(weir_permit_inherit(unknown, &permit), 0);
	assert_int_equal(weir_permit_release(unknown, &permit), 0);
	assert_int_equal(weir_permit_take(shut, 0, &permit, &answer), WEIR_REFUSE);
	assert_int_equal(answer.wait_ns, WEIR_NEVER);
}

/* All names of a pattern have its permits, as they have its bucket. */
static void test_pattern(void **state)
{
	struct weir_permit permits[3];
	struct calls *calls = *state;

	calls_rule(calls, "api/*", "rate=10/s", "concurrency=2");
	struct weir_endpoint *a = calls_endpoint(calls, "api/a");
	struct weir_endpoint *b = calls_endpoint(calls, "api/b");

	assert_true(take(a, &permits[0]));
	assert_true(take(b, &permits[1]));
	assert_false(take(a, &permits[2]));
	assert_permits(b, 2, 0);
	assert_int_equal(weir_permit_release(b, &permits[0]), 0);
	assert_true(take(b, &permits[2]));
	assert_int_equal(weir_permit_release(a, &permits[1]), 0);
	assert_int_equal(weir_permit_release(a, &permits[2]), 0);
}

/* Names under [default] have no row that could say whose permits are whose. */
static void test_default_has_none(void **state)
{
	struct rule rule = {.kind = ROW_DEFAULT, .text = "*", .terms = scene_terms(10, 10)};
	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	char message[200] = "";
	struct weir *weir = NULL;
	struct calls calls;

	(void)state;
	calls_begin(&calls);
	rule.terms.concurrency = 4;
	assert_int_equal(rules_add(&calls.scene.segment, &rule), WEIR_EVALUE);
	assert_int_equal(
		rules_change(&calls.scene.segment, 0, &rule.terms, &author, RULES_KEEP_USED),
		WEIR_EVALUE);
	calls_end(&calls);

	assert_int_equal(weir_host(&weir, "[default]\nrate = 5/s\nconcurrency = 3\n",
				   WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)),
			 WEIR_ECONFIG);
	assert_non_null(strstr(message, "text:3: "));
	assert_non_null(strstr(message, "concurrency"));
	assert_int_equal(weir_host(&weir, NULL, WEIR_CLOCK_MANUAL, NULL, NULL, 0), 0);
	assert_int_equal(weir_configure(weir, "*", "concurrency = 3", WEIR_KEEP_USED, message,
					sizeof(message)),
			 WEIR_EVALUE);
	assert_non_null(strstr(message, "a rule of its own"));
	weir_close(weir);
}

/* ---- owners ---- */

static void test_owner_is_killed(void **state)
{
	struct weir_permit permit;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");
	struct child *child = child_shared(calls, "api");
	pid_t pid = hold_in_child(child);

	assert_permits(api, 1, 0);
	assert_false(take(api, &permit));
	scene_kill(pid);
	scene_sleep_ms(2); /* the last look for dead holders was just now */
	assert_true(take(api, &permit));
	/* a stranger's, with the right word or not */
	assert_int_equal(weir_permit_release(api, &child->permit), WEIR_ESTRANGER);
	assert_int_equal(weir_permit_release(api, &permit), 0);
	assert_permits(api, 0, 1);
}

/* It ends by itself, or closes its handle. */
static void test_owner_leaves(void **state)
{
	struct weir_permit permit;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=2");
	struct weir *other = calls_open(calls, WEIR_POLICY_CLOSED);
	struct weir_endpoint *there = scene_endpoint(other, "api");
	struct child *child = child_shared(calls, "api");
	pid_t pid = hold_in_child(child);

	assert_true(take(there, &permit));
	assert_permits(api, 2, 0);
	atomic_store(&child->go, 1);
	assert_int_equal(scene_wait(pid), 0);
	weir_endpoint_close(there);
	weir_close(other);
	assert_permits(api, 1, 1);
	scene_sleep_ms(2);
	assert_true(take(api, &permit));
	assert_int_equal(weir_permit_release(api, &permit), 0);
}

/* Stopped is not dead: it keeps what it has. */
static void test_owner_is_stopped(void **state)
{
	struct weir_permit permit;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");
	struct child *child = child_shared(calls, "api");
	pid_t pid = hold_in_child(child);
	int status;

	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	for (int i = 0; i < 5; i++) {
		scene_sleep_ms(2);
		assert_false(take(api, &permit));
	}
	assert_permits(api, 1, 0);
	kill(pid, SIGCONT);
	scene_kill(pid);
	scene_sleep_ms(2);
	assert_true(take(api, &permit));
}

/* The lock says who lives, not the pid: one that is another process's now, or nobody's. */
static void test_pid_reuse(void **state)
{
	struct weir_permit permit;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");
	struct child *child = child_shared(calls, "api");
	pid_t pid = hold_in_child(child);
	struct member_row *row = NULL;

	for (uint32_t i = 0; i < calls->scene.segment.member_count; i++)
		if (calls->scene.segment.members[i].pid == (uint32_t)pid)
			row = &calls->scene.segment.members[i];
	assert_non_null(row);
	atomic_store(&row->pid, 4194303u); /* there is none, and it lives */
	assert_false(take(api, &permit));
	atomic_store(&row->pid, (uint32_t)getpid()); /* lives, and is not it */
	scene_kill(pid);
	scene_sleep_ms(2);
	assert_true(take(api, &permit));
}

/* A dead member's slot is taken by another before anybody looked: what it held came back first. */
static void test_slot_is_taken_over(void **state)
{
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");
	struct child *child = child_shared(calls, "api");
	struct weir *crowd[32] = {0};
	pid_t pid = hold_in_child(child);

	scene_kill(pid);
	assert_permits(api, 1, 0);
	for (int i = 0; i < 32; i++)
		crowd[i] = scene_open(&calls->scene.place);
	assert_null(crowd[31]);
	assert_permits(api, 0, 1);
	for (int i = 0; i < 32; i++)
		weir_close(crowd[i]);
}

struct family {
	struct weir_endpoint *api;
	struct weir_permit permit;
};

static int child_is_a_stranger(void *context)
{
	struct family *family = context;
	struct weir_permit copy = family->permit;
	struct weir_permit own;

	CHILD_CHECK(weir_permit_release(family->api, &copy) == WEIR_ESTRANGER);
	CHILD_CHECK(take(family->api, &own));
	CHILD_CHECK(weir_permit_release(family->api, &copy) == WEIR_ESTRANGER);
	CHILD_CHECK(weir_permit_release(family->api, &own) == 0);
	return 0;
}

static int child_inherits(void *context)
{
	struct family *family = context;
	struct weir_permit copy = family->permit;

	CHILD_CHECK(weir_permit_inherit(family->api, &copy) == 0);
	CHILD_CHECK(weir_permit_inherit(family->api, &copy) == 0); /* it is its own by now */
	CHILD_CHECK(weir_permit_inherit(family->api, &family->permit) == WEIR_ESPENT);
	CHILD_CHECK(weir_permit_release(family->api, &copy) == 0);
	CHILD_CHECK(weir_permit_release(family->api, &copy) == WEIR_ESPENT);
	return 0;
}

static int child_dies_with_it(void *context)
{
	struct family *family = context;

	CHILD_CHECK(weir_permit_inherit(family->api, &family->permit) == 0);
	return 0;
}

static int child_comes_late(void *context)
{
	struct family *family = context;

	CHILD_CHECK(weir_permit_inherit(family->api, &family->permit) == WEIR_ESPENT);
	return 0;
}

static void test_fork(void **state)
{
	struct family family;
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=10/s", "concurrency=2");
	family.api = calls_endpoint(calls, "api");
	assert_true(take(family.api, &family.permit));
	assert_int_equal(scene_wait(scene_child(child_is_a_stranger, &family)), 0);
	assert_permits(family.api, 1, 1);
	/* the child takes it over: the parent's copy is spent */
	assert_int_equal(scene_wait(scene_child(child_inherits, &family)), 0);
	assert_permits(family.api, 0, 2);
	assert_int_equal(weir_permit_release(family.api, &family.permit), WEIR_ESPENT);
	/* and it is the child's in death as well */
	assert_true(take(family.api, &family.permit));
	assert_int_equal(scene_wait(scene_child(child_dies_with_it, &family)), 0);
	for (uint32_t i = 0; i < calls->scene.segment.member_count; i++)
		members_reap(&calls->scene.segment, i);
	assert_permits(family.api, 0, 2);
	assert_int_equal(weir_permit_release(family.api, &family.permit), WEIR_ESPENT);
	assert_true(take(family.api, &family.permit));
	struct weir_permit mine = family.permit;
	assert_int_equal(weir_permit_release(family.api, &mine), 0);
	assert_int_equal(scene_wait(scene_child(child_comes_late, &family)), 0);
}

static int child_executes(void *context)
{
	struct child *child = context;
	struct weir_endpoint *endpoint = scene_endpoint(scene_open(child->place), child->name);

	CHILD_CHECK(endpoint && take(endpoint, &child->permit));
	child_step(child);
	execl("/bin/sleep", "sleep", "60", (char *)NULL);
	return 1;
}

/* What it becomes has no handle, and no lock: the descriptor is closed. */
static void test_exec(void **state)
{
	struct weir_permit permit;
	struct calls *calls = *state;
	bool taken = false;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");
	struct child *child = child_shared(calls, "api");
	pid_t pid = scene_child(child_executes, child);

	assert_true(scene_until(&child->step, 1));
	assert_false(take(api, &permit));
	atomic_store(&child->go, 1);
	for (unsigned ms = 0; ms < SCENE_PATIENCE_MS && !taken; ms += 2) {
		scene_sleep_ms(2);
		taken = take(api, &permit);
	}
	assert_true(taken);
	assert_int_equal(kill(pid, 0), 0); /* it lives on */
	scene_kill(pid);
}

/* ---- tables that are full ---- */

struct without_slot {
	struct weir_endpoint *closed;
	struct weir_endpoint *open;
	struct weir *crowd[32];
	struct weir *weir;
	struct weir_permit permit; /* of the parent */
};

static int child_without_slot(void *context)
{
	struct without_slot *at = context;
	struct weir_answer answer;
	struct weir_permit permit;
	struct weir_waiter waiter;

	CHILD_CHECK(weir_permit_take(at->closed, 0, &permit, &answer) == WEIR_REFUSE);
	CHILD_CHECK(answer.fault == WEIR_EMEMBERS && answer.reason == WEIR_REASON_FAULT);
	CHILD_CHECK(weir_permit_take(at->closed, WEIR_SECOND, &permit, &answer) == WEIR_REFUSE);
	CHILD_CHECK(answer.fault == WEIR_EMEMBERS);
	CHILD_CHECK(weir_permit_queue(at->closed, &waiter) == WEIR_EMEMBERS);
	CHILD_CHECK(weir_permit_inherit(at->closed, &at->permit) == WEIR_EMEMBERS);
	CHILD_CHECK(weir_permit_listen(at->weir, &(uint32_t){0}, 0) == WEIR_EMEMBERS);
	weir_permit_ring(at->weir); /* nobody's bell */
	/* the limits of tokens hold without a slot */
	CHILD_CHECK(weir_acquire(at->closed, 1, NULL) == WEIR_ADMIT);
	CHILD_CHECK(weir_permit_take(at->open, 0, &permit, &answer) == WEIR_ADMIT);
	CHILD_CHECK(answer.fault == WEIR_EMEMBERS);
	CHILD_CHECK(weir_permit_release(at->open, &permit) == 0);
	return 0;
}

static void test_members_full(void **state)
{
	struct without_slot at = {0};
	struct weir_permit permit;
	struct calls *calls = *state;
	int count = 0;

	calls_rule(calls, "api", "rate=10/s", "concurrency=2");
	struct weir *open = calls_open(calls, WEIR_POLICY_OPEN);

	at.closed = calls_endpoint(calls, "api");
	at.open = scene_endpoint(open, "api");
	at.weir = calls->weir;
	assert_true(take(at.closed, &at.permit));
	while (count < 32 && (at.crowd[count] = scene_open(&calls->scene.place)))
		count++;
	assert_int_equal(scene_wait(scene_child(child_without_slot, &at)), 0);
	while (count > 0)
		weir_close(at.crowd[--count]);
	assert_int_equal(weir_permit_release(at.closed, &at.permit), 0);
	/* a slot that has come free is found without another fork */
	assert_true(take(at.closed, &permit));
	weir_endpoint_close(at.open);
	weir_close(open);
}

static void test_waiters_full(void **state)
{
	struct weir_waiter places[65];
	struct weir_answer answer;
	struct weir_permit permit;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");

	for (int i = 0; i < 64; i++)
		assert_int_equal(weir_permit_queue(api, &places[i]), 0);
	assert_int_equal(weir_permit_queue(api, &places[64]), WEIR_EWAITERS);
	assert_int_equal(calls_permits(api).waiting, 64);
	assert_int_equal(weir_permit_take(api, WEIR_SECOND, &permit, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EWAITERS);
	assert_int_equal(answer.reason, WEIR_REASON_QUEUE);
	for (int i = 0; i < 64; i++)
		assert_int_equal(weir_permit_unqueue(api, &places[i]), 0);
	assert_int_equal(calls_permits(api).waiting, 0);
	assert_true(take(api, &permit));
}

static void test_permits_full(void **state)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	struct calls *calls = *state;
	struct rule rule = {.kind = ROW_EXACT, .text = "much", .terms = scene_terms(10, 10)};

	struct segment *segment = &calls->scene.segment;

	calls_rule(calls, "a", "rate=10/s", "concurrency=30");
	calls_rule(calls, "b", "rate=10/s", "concurrency=29");
	rule.terms.concurrency = 1 + 1;
	assert_int_equal(rules_add(segment, &rule), WEIR_EPERMITS);
	assert_int_equal(names_exact_row(segment, "much"), -1);
	assert_int_equal(segment->row_count, 16);

	/* a rule that does not fit stays what it is */
	int64_t row = names_exact_row(segment, "a");
	struct terms terms =
		calls_terms((const char *const[]){"rate=99/s", "concurrency=33", NULL});

	assert_int_equal(rules_change(segment, (uint32_t)row, &terms, &author, RULES_KEEP_USED),
			 WEIR_EPERMITS);
	struct weir_endpoint *a = calls_endpoint(calls, "a");

	assert_int_equal(calls_permits(a).limit, 30);
	assert_near(calls_peek(a).rate_per_s, 10);

	/* what another gives up is there for it */
	calls_change(calls, "b", "rate=10/s", "concurrency=1");
	calls_change(calls, "a", "rate=10/s", "concurrency=60");
	assert_int_equal(calls_permits(a).limit, 60);
	assert_int_equal(rules_add(segment, &rule), WEIR_EPERMITS);
	rules_remove(segment, (uint32_t)names_exact_row(segment, "b"));
	assert_true(rules_add(segment, &rule) > 0);
}

/* ---- limits that change ---- */

static void test_limit_changes(void **state)
{
	struct weir_permit permits[8];
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=2");

	assert_true(take(api, &permits[0]) && take(api, &permits[1]));
	assert_false(take(api, &permits[2]));
	calls_change(calls, "api", "rate=10/s", "concurrency=7");
	for (int i = 2; i < 7; i++)
		assert_true(take(api, &permits[i]));
	assert_false(take(api, &permits[7]));
	/* lowered: nobody loses any, and none is given while one above it is held */
	calls_change(calls, "api", "rate=10/s", "concurrency=3");
	assert_permits(api, 7, 0);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(weir_permit_release(api, &permits[i]), 0);
		assert_false(take(api, &permits[7]));
	}
	assert_int_equal(weir_permit_release(api, &permits[6]), 0);
	for (int i = 0; i < 3; i++)
		assert_true(take(api, &permits[i]));
	assert_false(take(api, &permits[7]));
	permit_chain_tend(&calls->scene.segment);
	assert_false(take(api, &permits[7]));
	/* no limit, and again one: who took one meanwhile is not counted */
	calls_change(calls, "api", "rate=10/s");
	assert_true(take(api, &permits[7]));
	calls_change(calls, "api", "rate=10/s", "concurrency=4");
	assert_permits(api, 3, 1);
	assert_int_equal(weir_permit_release(api, &permits[7]), 0);
	assert_permits(api, 3, 1);
}

/* A change of unit moves the rule to another row, and its permits with it. */
static void test_rule_moves(void **state)
{
	struct weir_permit permits[3];
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=1/d", "concurrency=2");
	int64_t row = names_exact_row(&calls->scene.segment, "api");

	assert_true(take(api, &permits[0]));
	assert_true(calls_change(calls, "api", "rate=100000000/s", "concurrency=2") > row);
	assert_permits(api, 1, 1);
	assert_true(take(api, &permits[1]));
	assert_false(take(api, &permits[2]));
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
	assert_int_equal(weir_permit_release(api, &permits[1]), 0);
	assert_permits(api, 0, 2);
}

/* Removed and added again, a rule finds who still holds its permits. */
static void test_rule_comes_back(void **state)
{
	struct weir_permit permits[3];
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=2");

	assert_true(take(api, &permits[0]));
	rules_remove(&calls->scene.segment,
		     (uint32_t)names_exact_row(&calls->scene.segment, "api"));
	assert_int_equal(calls_permits(api).limit, UINT64_MAX);
	assert_true(take(api, &permits[1]));
	calls_rule(calls, "api", "rate=10/s", "concurrency=2");
	assert_permits(api, 1, 1);
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
	assert_int_equal(weir_permit_release(api, &permits[1]), 0);
	assert_permits(api, 0, 2);
}

/* A pair is replaced only while nobody holds anything in it. */
static void test_close(void **state)
{
	struct weir_permit permits[2];
	struct weir_answer answer;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=2");

	assert_true(take(api, &permits[0]));
	assert_int_equal(permit_chain_close(&calls->scene.segment), WEIR_EHELD);
	assert_true(take(api, &permits[1]));
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
	assert_int_equal(weir_permit_release(api, &permits[1]), 0);
	assert_int_equal(permit_chain_close(&calls->scene.segment), 0);
	assert_int_equal(weir_permit_take(api, 0, &permits[0], &answer), WEIR_REFUSE);
	/* and a publisher that was killed there has a successor */
	rules_recover(&calls->scene.segment);
	assert_true(take(api, &permits[0]));
}

/* A publisher was killed between taking a block and linking it, or before a row was live. */
static void test_recover_blocks(void **state)
{
	struct calls *calls = *state;
	struct weir_permit permit;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=6");
	struct segment *segment = &calls->scene.segment;
	struct permit_span *spans = (struct permit_span *)(uintptr_t)segment->spans;

	assert_true(take(api, &permit));
	atomic_store(&spans[7].head, 1);
	atomic_store(&spans[9].head, 10);
	atomic_store(&spans[1].head, 0);
	rules_recover(segment);
	assert_int_equal(spans[0].head, 1);
	assert_int_equal(spans[1].head, 1);
	assert_int_equal(spans[7].head, 0);
	assert_int_equal(spans[9].head, 0);
	assert_permits(api, 1, 5);
}

/* ---- max_hold ---- */

static void test_max_hold(void **state)
{
	struct weir_permit old;
	struct weir_permit young;
	struct weir_permit copy;
	struct weir_permit next;
	struct calls *calls = *state;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=10/s", "concurrency=2", "max_hold=30s");

	assert_int_equal(calls_permits(api).max_hold_ns, 30 * WEIR_SECOND);
	assert_true(take(api, &old));
	calls_advance(calls, 20 * WEIR_SECOND);
	assert_true(take(api, &young));
	assert_false(take(api, &next));
	calls_advance(calls, 11 * WEIR_SECOND);
	/* who finds none free strikes; the young one stays */
	assert_true(take(api, &next));
	assert_permits(api, 2, 0);
	copy = old;
	assert_int_equal(weir_permit_release(api, &old), WEIR_EEXPIRED);
	assert_int_equal(weir_permit_release(api, &copy), WEIR_EEXPIRED);
	assert_int_equal(weir_permit_release(api, &young), 0);
	assert_permits(api, 1, 1);
	calls_advance(calls, 31 * WEIR_SECOND);
	assert_int_equal(
		permits_strike(
			&calls->scene.segment,
			&calls->scene.segment.rows[names_exact_row(&calls->scene.segment, "api")],
			1000000000, NULL, NULL),
		1);
	assert_permits(api, 0, 2);
	assert_int_equal(weir_permit_release(api, &next), WEIR_EEXPIRED);
	assert_int_equal(weir_permit_release(api, &next), WEIR_ESPENT);
}

/* The age of a take that has not been written yet is nobody's: not that of the holder before. */
static void test_age_is_of_this_take(void **state)
{
	struct weir_permit permit;
	struct calls *calls = *state;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=10/s", "concurrency=1", "max_hold=1s");
	struct segment *segment = &calls->scene.segment;
	const struct rule_row *row = &segment->rows[names_exact_row(segment, "api")];

	assert_true(take(api, &permit));
	uint64_t since = atomic_load(&segment_permit(segment, 0)->since);

	assert_int_equal(weir_permit_release(api, &permit), 0);
	calls_advance(calls, 5 * WEIR_SECOND);
	assert_true(take(api, &permit));
	atomic_store(&segment_permit(segment, 0)->since, since);
	assert_int_equal(permits_strike(segment, row, 1000000000, NULL, NULL), 0);
	assert_int_equal(weir_permit_release(api, &permit), 0);
}

/* ---- limits that are found ---- */

static uint32_t row_of(const struct calls *calls, const char *name)
{
	int64_t row = names_exact_row(&calls->scene.segment, name);

	assert_true(row >= 0);
	return (uint32_t)row;
}

static struct permit_found found_of(const struct calls *calls, const char *name)
{
	struct permit_found found;

	assert_true(permit_found_read(&calls->scene.segment.rows[row_of(calls, name)], &found));
	return found;
}

static void find(struct calls *calls, const char *name, uint32_t limit)
{
	const struct permit_found found = {.limit = limit, .cause = FOUND_QUEUE};

	assert_int_equal(permit_found_store(&calls->scene.segment, row_of(calls, name), &found), 0);
}

#define assert_ends(calls, name, wanted_calls, wanted_ns, wanted_failed, wanted_failed_ns)         \
	do {                                                                                       \
		struct permit_ends ends_;                                                          \
		permit_found_ends(&(calls)->scene.segment,                                         \
				  &(calls)->scene.segment.rows[row_of(calls, name)], &ends_);      \
		assert_int_equal(permit_ends_calls(ends_.ended, 0), wanted_calls);                 \
		assert_int_equal(permit_ends_ns(ends_.ended, 0), wanted_ns);                       \
		assert_int_equal(permit_ends_calls(ends_.failed, 0), wanted_failed);               \
		assert_int_equal(permit_ends_ns(ends_.failed, 0), wanted_failed_ns);               \
	} while (0)

/* Calls are counted with their time, once, from when their work began; where a limit is given,
 * nothing is. */
static void test_calls_are_counted(void **state)
{
	struct weir_permit permits[3];
	struct weir_permit copy;
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/s", "burst=3", "concurrency=auto 1..8");
	calls_rule(calls, "fixed", "rate=10/s", "concurrency=2");
	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_endpoint *fixed = calls_endpoint(calls, "fixed");

	assert_int_equal(calls_permits(api).limit, 8);
	for (int i = 0; i < 3; i++)
		assert_true(take(api, &permits[i]));
	calls_advance(calls, 640);
	copy = permits[0];
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
	assert_int_equal(weir_permit_release(api, &copy), WEIR_ESPENT);
	assert_ends(calls, "api", 1, 640, 0, 0);
	assert_int_equal(weir_permit_fail(api, &permits[1]), 0);
	assert_int_equal(weir_permit_fail(api, &permits[1]), WEIR_ESPENT);
	assert_ends(calls, "api", 2, 2 * 640, 1, 640);
	/* something else was waited for, for half a second */
	calls_advance(calls, WEIR_SECOND / 2);
	assert_int_equal(weir_permit_start(api, &permits[2]), 0);
	calls_advance(calls, 6400);
	assert_int_equal(weir_permit_release(api, &permits[2]), 0);
	assert_ends(calls, "api", 3, 2 * 640 + 6400, 1, 640);
	assert_int_equal(weir_permit_start(api, &permits[2]), WEIR_ESPENT);
	/* for tokens: the trace moves the clock by what it says */
	assert_int_equal(weir_enter(api, 3, 0, &permits[0], NULL), WEIR_ADMIT);
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
	assert_int_equal(weir_enter(api, 3, 5 * WEIR_SECOND, &permits[0], NULL), WEIR_ADMIT);
	calls_advance(calls, 64);
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
	assert_ends(calls, "api", 5, 2 * 640 + 6400 + 64, 1, 640);
	assert_true(take(fixed, &permits[0]));
	calls_advance(calls, 640);
	assert_int_equal(weir_permit_fail(fixed, &permits[0]), 0);
	assert_ends(calls, "fixed", 0, 0, 0, 0);
}

/* Where no rule, or no limit, gives permits, both are as good as nothing. */
static void test_start_and_fail_of_nobody(void **state)
{
	struct weir_permit permit;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s");

	assert_true(take(api, &permit));
	assert_int_equal(weir_permit_start(api, &permit), 0);
	assert_int_equal(weir_permit_fail(api, &permit), 0);
	assert_int_equal(weir_permit_fail(api, &permit), WEIR_ESPENT);
}

/* One that is struck learns so, also where its work began late. */
static void test_struck_after_its_start(void **state)
{
	struct weir_permit permit, other;
	struct calls *calls = *state;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=10/s", "concurrency=auto 1..1", "max_hold=1s");

	assert_true(take(api, &permit));
	calls_advance(calls, 900 * WEIR_MILLISECOND);
	assert_int_equal(weir_permit_start(api, &permit), 0);
	calls_advance(calls, 200 * WEIR_MILLISECOND);
	assert_true(take(api, &other));
	assert_int_equal(weir_permit_release(api, &permit), WEIR_EEXPIRED);
	assert_ends(calls, "api", 0, 0, 0, 0);
	assert_int_equal(weir_permit_release(api, &other), 0);
}

/* What a response says of the strength of an upstream is counted, with or without a permit. */
static void test_failures_that_are_observed(void **state)
{
	static const int statuses[] = {200, 404, 429, 503, 500, 0};
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=auto 1..8");

	calls_advance(calls, WEIR_SECOND);
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		assert_int_equal(weir_observe(api, statuses[i], NULL, 0, 640, NULL), 0);
	assert_ends(calls, "api", 0, 0, 4, 4 * 640);
	/* it began before there was a segment */
	assert_int_equal(weir_observe(api, 503, NULL, 0, UINT64_MAX, NULL), 0);
	assert_ends(calls, "api", 0, 0, 4, 4 * 640);
}

/* Lowered, it takes from nobody, and those above delay nobody; what began before is not counted. */
static void test_found_limit_changes(void **state)
{
	struct weir_permit permits[8], next;
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=10/s", "concurrency=auto 2..6");
	struct segment *segment = &calls->scene.segment;
	struct weir_endpoint *api = calls_endpoint(calls, "api");
	uint32_t row = row_of(calls, "api");

	for (int i = 0; i < 6; i++)
		assert_true(take(api, &permits[i]));
	assert_false(take(api, &next));
	find(calls, "api", 4);
	assert_permits(api, 6, 0);
	assert_int_equal(permit_held_above(segment, row), 2);
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
	assert_true(take(api, &permits[0]));
	assert_false(take(api, &next));
	assert_int_equal(weir_permit_release(api, &permits[5]), 0);
	assert_int_equal(weir_permit_release(api, &permits[4]), 0);
	assert_int_equal(permit_held_above(segment, row), 0);
	assert_ends(calls, "api", 0, 0, 0, 0);
	/* from here on they are */
	permit_found_count(segment, row);
	calls_advance(calls, 64);
	assert_int_equal(weir_permit_release(api, &permits[3]), 0);
	assert_ends(calls, "api", 1, 64, 0, 0);
	/* raised, it is at once, and within the bounds */
	find(calls, "api", 99);
	assert_int_equal(calls_permits(api).limit, 6);
	assert_int_equal(weir_permit_release(api, &permits[2]), 0);
	assert_ends(calls, "api", 1, 64, 0, 0);
	assert_true(take(api, &permits[2]));
	calls_advance(calls, 64);
	assert_int_equal(weir_permit_release(api, &permits[2]), 0);
	assert_ends(calls, "api", 2, 128, 0, 0);
	assert_int_equal(weir_permit_release(api, &permits[1]), 0);
	find(calls, "api", 0);
	assert_int_equal(calls_permits(api).limit, 2);
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
}

/* Other bounds bring the limit between them; a reload of the same, another rate or unit leave it.
 */
static void test_found_bounds_change(void **state)
{
	const struct permit_found none = {.limit = 3};
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=1/d", "concurrency=auto 2..40");
	uint32_t row = row_of(calls, "api");

	assert_int_equal(calls_permits(api).limit, 20);
	find(calls, "api", 11);
	calls_change(calls, "api", "rate=2/d", "concurrency=auto 2..40");
	assert_int_equal(calls_permits(api).limit, 11);
	assert_int_equal(found_of(calls, "api").cause, FOUND_QUEUE);
	calls_change(calls, "api", "rate=2/d", "concurrency=auto 14..40");
	assert_int_equal(calls_permits(api).limit, 14);
	assert_int_equal(found_of(calls, "api").cause, FOUND_BOUNDS);
	assert_int_equal(found_of(calls, "api").min, 14);
	assert_true(calls_change(calls, "api", "rate=100000000/s", "concurrency=auto 2..48") > row);
	assert_int_equal(calls_permits(api).limit, 14);
	assert_int_equal(found_of(calls, "api").max, 48);
	calls_change(calls, "api", "rate=100000000/s", "concurrency=5");
	assert_int_equal(calls_permits(api).limit, 5);
	assert_int_equal(permit_found_store(&calls->scene.segment, row_of(calls, "api"), &none),
			 WEIR_EVALUE);
	assert_int_equal(calls_permits(api).limit, 5);
	calls_change(calls, "api", "rate=100000000/s");
	assert_int_equal(permit_found_store(&calls->scene.segment, row_of(calls, "api"), &none),
			 WEIR_EVALUE);
	assert_int_equal(calls_permits(api).limit, UINT64_MAX);
}

/* A rule has as many permits as its limit may come to: the pool must have room for them. */
static void test_found_limit_has_room(void **state)
{
	const struct terms_author author = {ORIGIN_OPERATOR, 0};
	struct calls *calls = *state;

	calls_rule(calls, "a", "rate=10/s", "concurrency=auto 1..30");
	calls_rule(calls, "b", "rate=10/s", "concurrency=1");
	const struct terms wide =
		calls_terms((const char *const[]){"rate=10/s", "concurrency=60", NULL});

	/* not those that it does without at this moment */
	find(calls, "a", 1);
	assert_int_equal(rules_change(&calls->scene.segment, row_of(calls, "b"), &wide, &author,
				      RULES_KEEP_USED),
			 WEIR_EPERMITS);
	find(calls, "a", 30);
}

/* Whatever others write into the words, or the publisher's row: no time below 0, no place beyond.
 */
static void test_found_hostile(void **state)
{
	struct weir_permit permit;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=auto 1..8");
	struct segment *segment = &calls->scene.segment;
	struct rule_row *row = (struct rule_row *)(uintptr_t)&segment->rows[row_of(calls, "api")];
	uint32_t head = atomic_load(&row->permit_head);
	struct permit_ends ends;

	/* held for a century: it counts as an hour */
	assert_true(take(api, &permit));
	calls_advance(calls, 100 * 31622400ull * WEIR_SECOND);
	assert_int_equal(weir_permit_release(api, &permit), 0);
	assert_ends(calls, "api", 1, 3600 * WEIR_SECOND, 0, 0);
	/* a tick that is yet to come */
	permit_found_end(segment, row, UINT64_MAX);
	assert_ends(calls, "api", 1, 3600 * WEIR_SECOND, 0, 0);
	atomic_store(&row->permit_head, UINT32_MAX);
	permit_found_end(segment, row, 0);
	permit_found_fail(segment, row, 0);
	permit_found_ends(segment, row, &ends);
	assert_int_equal(ends.ended, 0);
	assert_int_equal(permit_held_above(segment, row_of(calls, "api")), 0);
	atomic_store(&row->permit_head, head);
	for (uint32_t cause = FOUND_NOTHING; cause <= FOUND_BOUNDS + 1; cause++)
		assert_true(strlen(permit_found_text(cause)) > 5);
}

/* Whoever writes that a line goes on beyond all waiters: it is looked along no further than that.
 */
static void test_line_without_an_end(void **state)
{
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");
	struct segment *segment = &calls->scene.segment;
	uint32_t head = atomic_load(&segment->rows[row_of(calls, "api")].permit_head) - 1;
	struct weir_permit permit;
	struct weir_waiter place;

	atomic_store(&segment->lines[head].reach, UINT64_MAX);
	assert_int_equal(calls_permits(api).waiting, 0);
	assert_int_equal(weir_permit_queue(api, &place), 0);
	assert_int_equal(calls_permits(api).waiting, 1);
	assert_false(take(api, &permit));
	assert_int_equal(weir_permit_unqueue(api, &place), 0);
	assert_true(take(api, &permit));
}

/* The clock of the processor, where there is one: its ticks are no nanoseconds. */
static void test_found_by_the_best_clock(void **state)
{
	char faults[256] = "";
	struct weir_permit permit;
	struct weir_endpoint *api;
	struct permit_ends ends;
	struct weir *weir;

	(void)state;
	assert_int_equal(weir_host(&weir,
				   "[endpoint api]\nrate = unlimited\nconcurrency = auto 1..4\n",
				   WEIR_CLOCK_BEST, NULL, faults, sizeof(faults)),
			 0);
	assert_int_equal(weir_endpoint(weir, "api", &api), 0);

	const struct binding *binding = endpoint_binding(api);
	const struct segment *segment = &binding->attachment->segment;
	uint64_t before = segment_now_ns(segment);

	assert_true(take(api, &permit));
	usleep(2000);
	assert_int_equal(weir_permit_release(api, &permit), 0);
	permit_found_ends(segment, &segment->rows[binding->row_index], &ends);
	assert_int_equal(permit_ends_calls(ends.ended, 0), 1);
	assert_in_range(permit_ends_ns(ends.ended, 0), 1000000, segment_now_ns(segment) - before);
	weir_endpoint_close(api);
	weir_close(weir);
}

/* ---- with tokens ---- */

/* No token is spent while there is no permit, and no permit is kept without tokens. */
static void test_enter(void **state)
{
	struct weir_permit permits[3];
	struct weir_answer answer;
	struct calls *calls = *state;
	struct weir_endpoint *api =
		calls_ruled(calls, "api", "rate=1/s", "burst=3", "concurrency=2");

	assert_int_equal(weir_enter(api, 1, 0, &permits[0], &answer), WEIR_ADMIT);
	assert_near(answer.level, 2);
	assert_int_equal(weir_enter(api, 1, 0, &permits[1], NULL), WEIR_ADMIT);
	/* IT: the 6th of a limit of 5 spends nothing */
	assert_int_equal(weir_enter(api, 1, 0, &permits[2], &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_PERMIT);
	assert_level(api, 1);
	assert_int_equal(weir_permit_release(api, &permits[0]), 0);
	assert_int_equal(weir_enter(api, 2, 0, &permits[2], &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_LEVEL);
	assert_permits(api, 1, 1);
	assert_level(api, 1);
	assert_int_equal(weir_enter(api, 9, WEIR_FOREVER, &permits[2], &answer), WEIR_REFUSE);
	assert_int_equal(answer.reason, WEIR_REASON_NEVER);
	assert_int_equal(weir_enter(api, 0, 0, &permits[2], &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ECOST);
	assert_permits(api, 1, 1);
	/* it sleeps for the tokens alone; the trace moves the clock by what it says */
	assert_int_equal(weir_enter(api, 3, 5 * WEIR_SECOND, &permits[2], &answer), WEIR_ADMIT);
	assert_int_equal(answer.wait_ns, 2 * WEIR_SECOND);
	assert_level(api, 0);
	assert_permits(api, 2, 0);
	assert_int_equal(weir_permit_release(api, &permits[1]), 0);
	assert_int_equal(weir_enter(api, 3, WEIR_SECOND, &permits[1], &answer), WEIR_REFUSE);
	assert_permits(api, 1, 1);
	assert_level(api, 0);
}

/* ---- values that are somebody else's, or nobody's ---- */

struct foreign {
	struct weir_endpoint *api;
	struct weir_permit struck;  /* of the parent, taken away since */
	struct weir_permit another; /* of a third process */
};

static int child_inherits_wrong(void *context)
{
	struct foreign *foreign = context;

	CHILD_CHECK(weir_permit_inherit(foreign->api, &foreign->struck) == WEIR_EEXPIRED);
	CHILD_CHECK(weir_permit_inherit(foreign->api, &foreign->another) == WEIR_ESTRANGER);
	CHILD_CHECK(weir_permit_release(foreign->api, &foreign->another) == WEIR_ESTRANGER);
	return 0;
}

static void test_of_somebody_else(void **state)
{
	struct foreign foreign;
	struct weir_permit permit;
	struct weir_permit wrong;
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=10/s", "concurrency=2", "max_hold=1s");
	foreign.api = calls_endpoint(calls, "api");
	assert_true(take(foreign.api, &foreign.struck));
	calls_advance(calls, 2 * WEIR_SECOND);
	struct child *child = child_shared(calls, "api");
	pid_t pid = hold_in_child(child);

	assert_true(take(foreign.api, &permit)); /* strikes the first */
	foreign.another = child->permit;
	assert_int_equal(scene_wait(scene_child(child_inherits_wrong, &foreign)), 0);

	/* of a pair that this handle has never followed */
	wrong = permit;
	wrong.opaque[0] ^= 1;
	assert_int_equal(weir_permit_release(foreign.api, &wrong), WEIR_ESTRANGER);
	assert_int_equal(weir_permit_inherit(foreign.api, &wrong), WEIR_ESTRANGER);
	/* a value that was spoilt is bounded before it is used */
	wrong = permit;
	wrong.opaque[2] = UINT64_MAX << 32 | (uint32_t)permit.opaque[2];
	wrong.opaque[1] ^= 1;
	assert_int_equal(weir_permit_release(foreign.api, &wrong), WEIR_ESPENT);
	wrong = permit;
	wrong.opaque[2] = UINT32_MAX - 1;
	assert_int_equal(weir_permit_release(foreign.api, &wrong), WEIR_EDAMAGED);
	assert_int_equal(weir_permit_release(foreign.api, &permit), 0);
	atomic_store(&child->go, 1);
	assert_int_equal(scene_wait(pid), 0);
}

/* ---- waiting, on the manual clock ---- */

struct waiting_thread {
	struct weir_endpoint *api;
	uint64_t timeout_ns;
	struct weir_permit permit;
	enum weir_verdict verdict;
	struct weir_answer answer;
	_Atomic bool over;
};

static void *wait_in_thread(void *context)
{
	struct waiting_thread *at = context;

	at->verdict = weir_permit_take(at->api, at->timeout_ns, &at->permit, &at->answer);
	atomic_store(&at->over, true);
	return NULL;
}

static pthread_t thread_begin(struct waiting_thread *at, struct weir_endpoint *api,
			      uint64_t timeout_ns)
{
	pthread_t thread;

	*at = (struct waiting_thread){.api = api, .timeout_ns = timeout_ns};
	assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, at), 0);
	for (unsigned ms = 0; calls_permits(api).waiting == 0 && ms < SCENE_PATIENCE_MS; ms++)
		scene_sleep_ms(1);
	assert_int_equal(calls_permits(api).waiting, 1);
	return thread;
}

static void test_waits_by_the_manual_clock(void **state)
{
	struct waiting_thread at;
	struct weir_permit permit;
	struct calls *calls = *state;
	pthread_t thread;

	calls->moves = false;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");

	assert_true(take(api, &permit));
	thread = thread_begin(&at, api, WEIR_SECOND);
	calls_advance(calls, WEIR_SECOND - 1);
	scene_sleep_ms(20);
	assert_false(atomic_load(&at.over));
	calls_advance(calls, 1);
	pthread_join(thread, NULL);
	assert_int_equal(at.verdict, WEIR_REFUSE);
	assert_int_equal(at.answer.reason, WEIR_REASON_DEADLINE);
	assert_int_equal(calls_permits(api).waiting, 0);

	/* it comes back in time; who waited is told how long */
	thread = thread_begin(&at, api, WEIR_SECOND);
	calls_advance(calls, WEIR_SECOND / 2);
	assert_int_equal(weir_permit_release(api, &permit), 0);
	pthread_join(thread, NULL);
	assert_int_equal(at.verdict, WEIR_ADMIT);
	assert_int_equal(at.answer.wait_ns, WEIR_SECOND / 2);

	/* the limit goes while somebody waits */
	permit = at.permit;
	thread = thread_begin(&at, api, WEIR_FOREVER);
	calls_change(calls, "api", "rate=10/s", "concurrency=unlimited");
	pthread_join(thread, NULL);
	assert_int_equal(at.verdict, WEIR_ADMIT);
	assert_int_equal(calls_permits(api).waiting, 0);
	assert_int_equal(weir_permit_release(api, &permit), 0);
}

static struct calls *spoilt;

/* No publisher writes that: a limit whose chain begins nowhere. */
static void spoil_chain(void)
{
	struct segment *segment = &spoilt->scene.segment;
	struct rule_row *rows = (struct rule_row *)(uintptr_t)segment->rows;

	atomic_store(&rows[names_exact_row(segment, "api")].permit_head, UINT32_MAX);
}

static void test_spoilt_under_a_waiter(void **state)
{
	struct weir_permit permit;
	struct weir_permit other;
	struct weir_waiter place;
	struct weir_waiter copy;
	struct weir_answer answer;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");

	assert_true(take(api, &permit));
	assert_int_equal(weir_permit_queue(api, &place), 0);
	/* a copy of a place that was left */
	copy = place;
	assert_int_equal(weir_permit_unqueue(api, &place), 0);
	assert_int_equal(weir_permit_poll(api, &copy, &other, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_ESPENT);
	assert_int_equal(weir_permit_unqueue(api, &copy), WEIR_ESPENT);

	assert_int_equal(weir_permit_queue(api, &place), 0);
	spoilt = calls;
	calls->on_wait = spoil_chain;
	assert_int_equal(weir_permit_take(api, WEIR_FOREVER, &other, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_int_equal(weir_permit_poll(api, &place, &other, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
	assert_int_equal(weir_permit_take(api, 0, &other, &answer), WEIR_REFUSE);
	assert_int_equal(answer.fault, WEIR_EDAMAGED);
}

/* Who looks from his place in line finds a holder that has died, as who waits does. */
static void test_poll_finds_the_dead(void **state)
{
	struct weir_permit permit;
	struct weir_waiter place;
	struct calls *calls = *state;
	struct weir_endpoint *api = calls_ruled(calls, "api", "rate=10/s", "concurrency=1");
	struct child *child = child_shared(calls, "api");
	pid_t pid = hold_in_child(child);

	assert_int_equal(weir_permit_queue(api, &place), 0);
	assert_int_equal(weir_permit_poll(api, &place, &permit, NULL), WEIR_REFUSE);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	scene_sleep_ms(2); /* not more often than once a millisecond */
	assert_int_equal(weir_permit_poll(api, &place, &permit, NULL), WEIR_ADMIT);
	assert_int_equal(calls_permits(api).waiting, 0);
	assert_int_equal(weir_permit_release(api, &permit), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		calls_test(test_take_and_release),
		calls_test(test_release_twice),
		calls_test(test_no_limit),
		calls_test(test_pattern),
		cmocka_unit_test(test_default_has_none),
		calls_test(test_owner_is_killed),
		calls_test(test_owner_leaves),
		calls_test(test_owner_is_stopped),
		calls_test(test_pid_reuse),
		calls_test(test_slot_is_taken_over),
		calls_test(test_fork),
		calls_test(test_exec),
		calls_test(test_members_full),
		calls_test(test_waiters_full),
		calls_test(test_permits_full),
		calls_test(test_limit_changes),
		calls_test(test_rule_moves),
		calls_test(test_rule_comes_back),
		calls_test(test_close),
		calls_test(test_recover_blocks),
		calls_test(test_max_hold),
		calls_test(test_age_is_of_this_take),
		calls_test(test_calls_are_counted),
		calls_test(test_start_and_fail_of_nobody),
		calls_test(test_struck_after_its_start),
		calls_test(test_failures_that_are_observed),
		calls_test(test_found_limit_changes),
		calls_test(test_found_bounds_change),
		calls_test(test_found_limit_has_room),
		calls_test(test_line_without_an_end),
		cmocka_unit_test(test_found_by_the_best_clock),
		calls_test(test_found_hostile),
		calls_test(test_enter),
		calls_test(test_of_somebody_else),
		calls_test(test_waits_by_the_manual_clock),
		calls_test(test_spoilt_under_a_waiter),
		calls_test(test_poll_finds_the_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
