/* SPDX-License-Identifier: Apache-2.0
 *
 * Sixteen processes draw, wait, reserve, cancel, settle, fork and attach; all the while they are
 * stopped, continued and killed, weird is killed and started, its rules are set and reloaded, and
 * the file system that holds the objects is filled and freed. Every second each name is held
 * against what its token clock minted. Takes the seconds to run, and a seed, as arguments.
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "audit.h"
#include "meter.h"

enum {
	WORKERS = 16,
	TICK_MS = 5,
	STOP_TICKS = 160, /* at most, of a worker */
	DOWN_TICKS = 100, /* at most, of weird */
	FULL_TICKS = 200, /* at most, of the file system */
};

struct hand {
	pid_t pid;
	uint64_t continues; /* the tick; 0: it runs */
};

static struct chaos {
	struct fixture fixture;
	struct worker_counts *counts;
	struct hand hands[WORKERS];
	struct meter meters[WORKER_NAMES];
	long double granted[WORKER_NAMES]; /* by the meters before */
	long double allowed[WORKER_NAMES];
	unsigned long moves[WORKER_NAMES];
	uint64_t resets[WORKER_NAMES];
	uint64_t lost[WORKER_NAMES]; /* tokens that the dead gave back and did not count */
	uint64_t late[WORKER_NAMES]; /* that may have been taken before the meter began */
	long double tolerated;
	unsigned long checks;
	struct place place;
	uint64_t random;
	uint64_t tick;
	uint64_t starts_at; /* weird, when it is down */
	uint64_t frees_at;  /* 0: not full */
	unsigned long stops, kills, daemon_kills, daemon_refusals, reloads, sets, fills, seconds;
} chaos;

static unsigned seconds_to_run = 15;
static uint64_t seed = 1;

static uint64_t draw(uint64_t below)
{
	chaos.random ^= chaos.random >> 12;
	chaos.random ^= chaos.random << 25;
	chaos.random ^= chaos.random >> 27;
	return (chaos.random * 0x2545f4914f6cdd1dull >> 16) % below;
}

/* What calls are under way was taken from a bucket and has not been counted yet, at most. */
static uint64_t sum_slots(unsigned name, size_t member_at)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < WORKER_SLOTS; i++) {
		const char *slot = (const char *)&chaos.counts->slots[i] + member_at;

		sum += atomic_load((const _Atomic uint64_t *)(const void *)slot + name);
	}
	return sum;
}

#define SUM_SLOTS(name, member) sum_slots(name, offsetof(struct worker_slot, member))

/* What those who were killed had begun, they will not count any more. */
static void bury(struct worker_slot *slot)
{
	for (unsigned i = 0; i < WORKER_NAMES; i++) {
		uint64_t returns =
			atomic_load(&slot->returns_begun[i]) - atomic_load(&slot->returns_ended[i]);

		chaos.lost[i] += returns;
		atomic_fetch_add(&slot->returns_ended[i], returns);
		atomic_store(&slot->draws_ended[i], atomic_load(&slot->draws_begun[i]));
	}
	atomic_store(&slot->pid, 0);
}

static void bury_the_dead(void)
{
	for (unsigned i = 0; i < WORKER_SLOTS; i++) {
		int32_t pid = atomic_load(&chaos.counts->slots[i].pid);

		if (pid && kill(pid, 0) < 0)
			bury(&chaos.counts->slots[i]);
	}
}

/*
 * Where a bucket begins anew, so does what it is held against; the sums before are kept. Who took
 * tokens before that and counts them afterwards is allowed for.
 */
static void begin_anew(unsigned name)
{
	struct meter *meter = &chaos.meters[name];
	uint64_t ended;

	bury_the_dead();
	ended = SUM_SLOTS(name, draws_ended);
	chaos.granted[name] += meter->sums[METER_GRANTED];
	chaos.allowed[name] += meter_allowed(meter);
	chaos.moves[name] += meter->moves;
	look_close(&meter->look);
	*meter = (struct meter){.view = {.bucket = 0}};
	assert_int_equal(look_attach(&meter->look, &chaos.place), 0);
	assert_int_equal(meter_begin(meter, &chaos.place, worker_names[name]), 0);
	chaos.resets[name] = meter->view.resets;
	chaos.late[name] = SUM_SLOTS(name, draws_begun) - ended;
	chaos.lost[name] = 0;
}

/* A name's rule that changes twice between two steps is lost from sight. */
static void step_meter(unsigned name)
{
	struct meter *meter = &chaos.meters[name];
	unsigned breaks = meter->breaks;

	meter_step(meter);
	/* what was queued there in the last milliseconds, nobody knows any more */
	if (meter->breaks != breaks || meter->view.resets != chaos.resets[name])
		begin_anew(name);
}

static void step_meters(void)
{
	for (unsigned i = 0; i < WORKER_NAMES; i++)
		step_meter(i);
}

/* ---- weird ---- */

static const char *any_rate(void)
{
	static const char *const rates[] = {"20/s", "500/s", "2000/s", "1/h", "8000/s", "7/2s"};

	return rates[draw(sizeof(rates) / sizeof(rates[0]))];
}

static const char *any_burst(void)
{
	static const char *const bursts[] = {"5", "10", "40", "200"};

	return bursts[draw(sizeof(bursts) / sizeof(bursts[0]))];
}

/* The rules that a reload finds; what does not fit on the file system leaves half a file. */
static void write_rules(void)
{
	char text[1024];
	FILE *file;

	snprintf(text, sizeof(text),
		 "[weir]\nname = test\nshm_dir = %s\nstate_file = %s/levels\n"
		 "endpoints = %d\nnames = 64\nmembers = 64\n"
		 "[default]\nrate = %s\nburst = %s\n[endpoint a]\nrate = %s\nburst = %s\n"
		 "[endpoint b]\nrate = 50/s\nburst = 10\nmax_wait = 1s\n"
		 "[endpoint p/*]\nrate = %s\nburst = %s\n%s",
		 chaos.fixture.dir, chaos.fixture.dir, 8 + 8 * (int)draw(3), any_rate(),
		 any_burst(), any_rate(), any_burst(), any_rate(), any_burst(),
		 draw(2) ? "[endpoint come and go]\nrate = 300/s\nburst = 30\n" : "");
	file = fopen(chaos.fixture.config, "we");
	if (!file)
		return;
	fputs(text, file);
	fclose(file);
}

/*
 * weird may refuse what it is asked, and is killed now and then; else it must answer. What it
 * changed is seen before it changes more: a burst that was larger for a moment.
 */
static void ask(const struct wire_message *request)
{
	unsigned char bytes[WIRE_MAX_BYTES];
	int64_t length = wire_write(request, bytes, sizeof(bytes));
	struct answer answer;
	int fd;

	if (chaos.fixture.daemon == 0)
		return;
	fd = fixture_connect(&chaos.fixture);
	if (fd < 0)
		return; /* it has not come as far */
	step_meters();
	if (send(fd, bytes, (size_t)length, MSG_NOSIGNAL) == length)
		fixture_read_answer(fd, &answer);
	close(fd);
	step_meters();
	chaos.sets++;
}

static void change_a_rule(void)
{
	const char *name = worker_names[draw(WORKER_NAMES)];
	struct wire_message request = {
		.kind = WIRE_SET,
		.name = name,
		.keep = (uint32_t)draw(
			2), /* as used, or the level: what else fills, a reset says */
		.setting_count = 2,
		.settings = {{"rate", any_rate()}, {"burst", any_burst()}},
	};

	switch (draw(6)) {
	case 0:
		request = (struct wire_message){.kind = WIRE_RESET, .name = name};
		break;
	case 1:
		request = (struct wire_message){
			.kind = WIRE_CLOSE, .name = name, .duration_ns = 30 * WEIR_MILLISECOND};
		break;
	case 2:
		request = (struct wire_message){.kind = WIRE_OPEN, .name = name};
		break;
	default:
		break;
	}
	ask(&request);
}

static void reload(void)
{
	const struct wire_message request = {.kind = WIRE_RELOAD};

	write_rules();
	ask(&request);
	chaos.reloads++;
}

/* It ends by itself only where it could not begin. */
static void watch_daemon(void)
{
	int status;

	if (chaos.fixture.daemon == 0) {
		if (chaos.tick >= chaos.starts_at)
			fixture_spawn(&chaos.fixture, NULL);
		return;
	}
	if (waitpid(chaos.fixture.daemon, &status, WNOHANG) != chaos.fixture.daemon)
		return;
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 0)
		fail_msg("weird ended with %#x", (unsigned)status);
	chaos.daemon_refusals++;
	chaos.fixture.daemon = 0;
	chaos.starts_at = chaos.tick + DOWN_TICKS / 4;
	write_rules();
}

static void kill_daemon(void)
{
	if (chaos.fixture.daemon == 0)
		return;
	kill(chaos.fixture.daemon, SIGKILL);
	waitpid(chaos.fixture.daemon, NULL, 0);
	chaos.fixture.daemon = 0;
	chaos.starts_at = chaos.tick + draw(DOWN_TICKS);
	chaos.daemon_kills++;
}

/* ---- the file system ---- */

static void path_of_ballast(char path[96])
{
	snprintf(path, 96, "%s/ballast", chaos.fixture.dir);
}

static void fill(void)
{
	static const char zeroes[4096];
	char path[96];
	int fd;

	if (!chaos.fixture.is_mounted || chaos.frees_at)
		return;
	path_of_ballast(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	while (fd >= 0 && write(fd, zeroes, sizeof(zeroes)) > 0)
		;
	if (fd >= 0)
		close(fd);
	chaos.frees_at = chaos.tick + 1 + draw(FULL_TICKS);
	chaos.fills++;
}

static void free_again(void)
{
	char path[96];

	path_of_ballast(path);
	unlink(path);
	fixture_clear_log(&chaos.fixture);
	chaos.frees_at = 0;
}

/* ---- workers ---- */

static void hire(struct hand *hand)
{
	hand->continues = 0;
	hand->pid = fork();
	assert_true(hand->pid >= 0);
	if (hand->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		worker_run(&chaos.fixture, chaos.counts, draw(UINT64_MAX));
	}
	draw(2); /* the next one is to differ */
}

static void dismiss(const struct hand *hand)
{
	int status;

	assert_int_equal(kill(hand->pid, SIGKILL), 0);
	assert_int_equal(waitpid(hand->pid, &status, 0), hand->pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("a worker ended by itself: %#x", (unsigned)status);
}

static void disturb_a_worker(void)
{
	struct hand *hand = &chaos.hands[draw(WORKERS)];

	if (draw(3) == 0) {
		dismiss(hand);
		hire(hand);
		chaos.kills++;
	} else if (!hand->continues) {
		kill(hand->pid, SIGSTOP);
		hand->continues = chaos.tick + 1 + draw(STOP_TICKS);
		chaos.stops++;
	}
}

static void continue_workers(void)
{
	for (int i = 0; i < WORKERS; i++)
		if (chaos.hands[i].continues && chaos.hands[i].continues <= chaos.tick) {
			kill(chaos.hands[i].pid, SIGCONT);
			chaos.hands[i].continues = 0;
		}
}

/* ---- the verdict ---- */

/*
 * Who is stopped or killed while giving back may have moved the mark and not counted it: so much
 * may have been drawn again.
 */
static void check_meter(unsigned name)
{
	struct meter *meter = &chaos.meters[name];
	uint64_t ended = SUM_SLOTS(name, returns_ended);
	uint64_t under_way;

	step_meter(name);
	under_way = SUM_SLOTS(name, returns_begun) - ended + chaos.lost[name] + chaos.late[name];
	chaos.tolerated += (long double)under_way;
	chaos.checks++;
	if (meter_excess(meter) > (long double)under_way)
		fail_msg("second %lu, seed %llu: `%s` granted %.6Lf tokens, %.6Lf allowed, %llu "
			 "under way",
			 chaos.seconds, (unsigned long long)seed, meter->name,
			 meter->sums[METER_GRANTED], meter_allowed(meter),
			 (unsigned long long)under_way);
}

static void check_meters(void)
{
	bury_the_dead();
	for (unsigned i = 0; i < WORKER_NAMES; i++)
		check_meter(i);
	if (atomic_load(&chaos.counts->wrong))
		fail_msg("a worker met what cannot be, at worker.c:%d",
			 (int)atomic_load(&chaos.counts->wrong_line));
}

static void print_verdict(void)
{
	printf("%-12s %14s %14s %8s %6s\n", "name", "granted", "allowed", "share", "moves");
	for (int i = 0; i < WORKER_NAMES; i++) {
		const struct meter *meter = &chaos.meters[i];
		long double granted = chaos.granted[i] + meter->sums[METER_GRANTED];
		long double allowed = chaos.allowed[i] + meter_allowed(meter);

		printf("%-12s %14.1Lf %14.1Lf %6.1Lf %% %6lu\n", meter->name, granted, allowed,
		       100 * granted / allowed, chaos.moves[i] + meter->moves);
	}
	printf("%lu seconds, seed %llu: %llu calls, %llu admitted, %llu faults; %lu stops and %lu "
	       "kills of workers, %llu forks, %llu times attached; weird killed %lu times, refused "
	       "to start %lu times; %lu reloads, %lu requests, the file system full %lu times; %lu "
	       "times held against the bound, %.1Lf tokens under way each\n",
	       chaos.seconds, (unsigned long long)seed,
	       (unsigned long long)atomic_load(&chaos.counts->calls),
	       (unsigned long long)atomic_load(&chaos.counts->admitted),
	       (unsigned long long)atomic_load(&chaos.counts->faults), chaos.stops, chaos.kills,
	       (unsigned long long)atomic_load(&chaos.counts->forks),
	       (unsigned long long)atomic_load(&chaos.counts->attached), chaos.daemon_kills,
	       chaos.daemon_refusals, chaos.reloads, chaos.sets, chaos.fills, chaos.checks,
	       chaos.checks ? chaos.tolerated / chaos.checks : 0);
}

/* ---- the whole ---- */

static void begin(void)
{
	const struct place_hints hints = {.name = "test", .shm_dir = chaos.fixture.dir};
	int error = fixture_begin_small(&chaos.fixture, "8m");

	chaos.random = seed * 2 + 1;
	if (error < 0)
		printf("skipped: filling the file system (%s)\n", strerror(-error));
	write_rules();
	fixture_start(&chaos.fixture);
	chaos.counts = mmap(NULL, sizeof(*chaos.counts), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(chaos.counts, MAP_FAILED);
	assert_int_equal(place_resolve(&chaos.place, &hints, PLACE_TO_ATTACH), 0);
	for (int i = 0; i < WORKER_NAMES; i++) {
		assert_int_equal(look_attach(&chaos.meters[i].look, &chaos.place), 0);
		assert_int_equal(meter_begin(&chaos.meters[i], &chaos.place, worker_names[i]), 0);
		chaos.resets[i] = chaos.meters[i].view.resets;
	}
	for (int i = 0; i < WORKERS; i++)
		hire(&chaos.hands[i]);
}

/* What happens in a tick, each so many times a second. */
static void one_tick(void)
{
	const unsigned per_second = 1000 / TICK_MS;

	watch_daemon();
	continue_workers();
	if (chaos.frees_at && chaos.tick >= chaos.frees_at)
		free_again();
	if (draw(per_second) < 8)
		disturb_a_worker();
	if (draw(per_second) < 8)
		change_a_rule();
	if (draw(per_second) < 1)
		reload();
	if (draw(2 * per_second) < 1)
		kill_daemon();
	if (draw(3 * per_second) < 1)
		fill();
	step_meters();
}

/* All is as it should be once the storm is over. */
static void calm_down(void)
{
	struct segment segment;

	if (chaos.frees_at)
		free_again();
	for (int i = 0; i < WORKERS; i++)
		dismiss(&chaos.hands[i]);
	kill_daemon();
	write_rules();
	fixture_start(&chaos.fixture);
	step_meters();
	check_meters();
	assert_int_equal(segment_attach(&segment, &chaos.place, SEGMENT_LOOK, 0), 0);
	assert_int_equal(audit_segment(&segment, NULL, NULL), 0);
	segment_detach(&segment);
	assert_int_equal(fixture_stop(&chaos.fixture, SIGTERM), 0);
}

static void test_chaos(void **state)
{
	uint64_t admitted = 0;

	(void)state;
	begin();
	while (chaos.seconds < seconds_to_run) {
		fixture_sleep_ms(TICK_MS);
		chaos.tick++;
		one_tick();
		if (chaos.tick % (1000 / TICK_MS))
			continue;
		chaos.seconds++;
		check_meters();
		if (chaos.seconds % 60 == 0)
			print_verdict();
	}
	admitted = atomic_load(&chaos.counts->admitted);
	calm_down();
	print_verdict();
	assert_true(admitted > 0);
	for (int i = 0; i < WORKER_NAMES; i++)
		look_close(&chaos.meters[i].look);
	fixture_end(&chaos.fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_chaos)};

	if (argc > 1)
		seconds_to_run = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
