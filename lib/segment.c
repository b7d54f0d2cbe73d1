/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "weir.h"

#define CALIBRATION_NS 20000000u
#define RULES_MODE 0640
#define STATE_MODE 0660
#define BINS_MAX (LAYOUT_MAX_KEYS / 4ull) /* far more than the keys at most can have */

/* ---- sizes and tables ---- */

#define FOLLOWS_LEAST 8

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + 4095) & ~4095ull;
}

static uint32_t follows_of(const struct segment_shape *shape)
{
	uint32_t few = (shape->rows + 31) / 32;
	uint32_t wanted = shape->follows	? shape->follows
			  : few > FOLLOWS_LEAST ? few
						: FOLLOWS_LEAST;

	return wanted < LAYOUT_MAX_FOLLOWS ? wanted : LAYOUT_MAX_FOLLOWS;
}

/* Capacities of a segment: what an object's length follows from. */
struct capacities {
	uint32_t rows;
	uint32_t names;
	uint32_t members;
	uint32_t cpu_lanes;
	uint32_t blocks;
	uint32_t waiters;
	uint32_t tables;
	uint64_t bins;
	uint32_t follows;
};

/* Up to the next cache line, where the tables of keys begin. */
static uint64_t spans_bytes(uint32_t blocks)
{
	return (blocks * (uint64_t)sizeof(struct permit_span) + LAYOUT_LINE_BYTES - 1) &
	       ~(uint64_t)(LAYOUT_LINE_BYTES - 1);
}

static uint64_t rules_bytes(const struct capacities *of)
{
	return whole_pages(sizeof(struct rules_header) +
			   (uint64_t)of->rows * sizeof(struct rule_row) + spans_bytes(of->blocks) +
			   (uint64_t)of->follows * sizeof(struct follow_row) +
			   (uint64_t)of->tables * sizeof(struct keyed_row));
}

/* Where the bins begin, if there are any. */
static uint64_t bins_offset(const struct capacities *of)
{
	uint64_t buckets = layout_buckets(of->rows, of->names);
	uint64_t bytes =
		sizeof(struct state_header) + buckets * sizeof(struct bucket) +
		layout_lanes(of->cpu_lanes) * buckets * sizeof(struct tally) +
		(uint64_t)of->members * sizeof(struct member_row) +
		of->blocks * (uint64_t)(sizeof(struct permit_block) + sizeof(struct permit_line)) +
		(uint64_t)of->waiters * sizeof(struct waiter_row) +
		(uint64_t)of->names * sizeof(struct name_row);

	if (of->bins == 0)
		return bytes;
	return (bytes + LAYOUT_KEYS_ALIGNMENT - 1) & ~(LAYOUT_KEYS_ALIGNMENT - 1);
}

static uint64_t state_bytes(const struct capacities *of)
{
	return whole_pages(bins_offset(of) + of->bins * sizeof(struct key_bin) +
			   (uint64_t)of->tables * sizeof(struct key_head));
}

static uint32_t cpu_lanes_here(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	return cpus < 1 ? 1 : cpus > LAYOUT_CPU_LANES_MAX ? LAYOUT_CPU_LANES_MAX : (uint32_t)cpus;
}

static struct capacities capacities_of(const struct segment_shape *shape)
{
	return (struct capacities){
		.rows = shape->rows,
		.names = shape->names,
		.members = shape->members,
		.cpu_lanes = cpu_lanes_here(),
		.blocks = (shape->permits + LAYOUT_BLOCK_PERMITS - 1) / LAYOUT_BLOCK_PERMITS,
		.waiters = shape->waiters,
		.tables = shape->tables,
		.bins = shape->bins,
		.follows = follows_of(shape),
	};
}

uint64_t segment_rules_bytes(const struct segment_shape *shape)
{
	const struct capacities capacities = capacities_of(shape);

	return rules_bytes(&capacities);
}

uint64_t segment_state_bytes(const struct segment_shape *shape)
{
	const struct capacities capacities = capacities_of(shape);

	return state_bytes(&capacities);
}

static void copy_secret(struct segment *segment)
{
	for (size_t i = 0; i < LAYOUT_SECRET_BYTES; i++)
		/* relaxed: fixed before the object was ready */
		segment->secret[i] =
			atomic_load_explicit(&segment->rules->secret[i], memory_order_relaxed);
}

/* Behind everything else, on a boundary of its own. */
static void point_at_keys(struct segment *segment, uint32_t cpu_lanes)
{
	const struct capacities capacities = {
		.rows = segment->row_count,
		.names = segment->name_count,
		.members = segment->member_count,
		.cpu_lanes = cpu_lanes,
		.blocks = segment->block_count,
		.waiters = segment->waiter_count,
		.bins = segment->bin_count,
	};
	unsigned char *at = (unsigned char *)segment->state + bins_offset(&capacities);

	segment->tables =
		(const struct keyed_row *)(const void *)((const unsigned char *)segment->spans +
							 spans_bytes(segment->block_count));
	if (segment->bin_count == 0)
		return;
	segment->bins = (struct key_bin *)(void *)at;
	segment->heads = (struct key_head *)(void *)(segment->bins + segment->bin_count);
}

/* Where the tables stand, from capacities that were checked; see the end of layout.h. */
static void segment_point(struct segment *segment, uint32_t cpu_lanes)
{
	unsigned char *at = (unsigned char *)(segment->state + 1);

	segment->rows = (const struct rule_row *)(const void *)(segment->rules + 1);
	segment->follows =
		(const struct follow_row *)(const void *)(segment->rows + segment->row_count);
	segment->spans = (const struct permit_span *)(const void *)(segment->follows +
								    segment->follow_count);
	segment->bucket_count = layout_buckets(segment->row_count, segment->name_count);
	segment->buckets = (struct bucket *)(void *)at;
	at += segment->bucket_count * sizeof(struct bucket);
	segment->tallies = (struct tallies){
		.lanes = (struct tally *)(void *)at,
		.buckets = segment->bucket_count,
		.cpu_lanes = cpu_lanes,
		.shared_lane = cpu_lanes,
	};
	at += (size_t)layout_lanes(cpu_lanes) * segment->bucket_count * sizeof(struct tally);
	segment->members = (struct member_row *)(void *)at;
	at += segment->member_count * sizeof(struct member_row);
	segment->blocks = (struct permit_block *)(void *)at;
	at += segment->block_count * sizeof(struct permit_block);
	segment->lines = (struct permit_line *)(void *)at;
	at += segment->block_count * sizeof(struct permit_line);
	segment->waiters = (struct waiter_row *)(void *)at;
	at += segment->waiter_count * sizeof(struct waiter_row);
	segment->names = (struct name_row *)(void *)at;
	point_at_keys(segment, cpu_lanes);
	copy_secret(segment);
	segment->time = (struct time_source){
		.kind = (enum clock_kind)atomic_load_explicit(&segment->rules->clock_kind,
							      memory_order_relaxed),
		.manual_ns = &segment->state->manual_ns,
		.manual_moves = &segment->state->manual_moves,
	};
}

/* ---- making a pair ---- */

static void boot_id(uint64_t out[2])
{
	char text[64] = "";
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	int digit = 0;

	out[0] = out[1] = 0;
	if (!file)
		return;
	if (fgets(text, sizeof(text), file))
		for (const char *at = text; *at && digit < 32; at++) {
			char one[2] = {*at, 0};

			if (*at == '-' || *at == '\n')
				continue;
			out[digit / 16] = out[digit / 16] << 4 | strtoull(one, NULL, 16);
			digit++;
		}
	fclose(file);
}

static int random_bytes(void *out, size_t bytes)
{
	return getrandom(out, bytes, 0) == (ssize_t)bytes ? 0 : -EIO;
}

/* Gives a fresh object its length, with memory behind every page: never a SIGBUS later. */
static int object_reserve(int fd, uint64_t bytes)
{
	int error = posix_fallocate(fd, 0, (off_t)bytes);

	return error == ENOSPC || error == EDQUOT ? WEIR_ESPACE : -error;
}

/* An address for so many bytes that begins where a huge page may; NULL: any will do. */
static void *huge_address(uint64_t bytes)
{
	uintptr_t address;
	void *room;

	if (bytes < 2 * LAYOUT_KEYS_ALIGNMENT)
		return NULL;
	room = mmap(NULL, bytes + LAYOUT_KEYS_ALIGNMENT, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return NULL;
	address = ((uintptr_t)room + LAYOUT_KEYS_ALIGNMENT - 1) & ~(LAYOUT_KEYS_ALIGNMENT - 1);
	munmap(room, bytes + LAYOUT_KEYS_ALIGNMENT);
	return (void *)address;
}

static int object_map(int fd, uint64_t bytes, bool writable, void **out)
{
	/* a hint: what another thread maps there meanwhile stays */
	void *at = mmap(huge_address(bytes), bytes, PROT_READ | (writable ? PROT_WRITE : 0),
			MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	if (bytes >= 2 * LAYOUT_KEYS_ALIGNMENT)
		madvise(at, bytes, MADV_HUGEPAGE); /* where it is not offered, it is not missed */
	*out = at;
	return 0;
}

/*
 * The bins of a fresh object, by huge pages if the kernel offers them to whom asks: it asks nobody
 * who reserves without a mapping. What fails here is reserved, or reported, by object_reserve().
 */
static void object_offer_huge(int fd, uint64_t from, uint64_t bytes)
{
#ifdef MADV_POPULATE_WRITE
	uint64_t end = bytes & ~(LAYOUT_KEYS_ALIGNMENT - 1);
	void *at = NULL;

	if (from >= end || ftruncate(fd, (off_t)bytes) < 0 || object_map(fd, bytes, true, &at) < 0)
		return;
	madvise((unsigned char *)at + from, end - from, MADV_POPULATE_WRITE);
	munmap(at, bytes);
#else
	(void)fd;
	(void)from;
	(void)bytes;
#endif
}

/*
 * Member locks need a description of their own: a mapping holds the one it was made through, a
 * forked child inherits the mapping, and so the lock of its dead parent would live on with it.
 * Without /proc the one there is stays: a slot may then be freed late, never early.
 */
static int descriptor_apart(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int apart = open(path, O_RDWR | O_CLOEXEC);

	if (apart < 0)
		return fd;
	close(fd);
	return apart;
}

/* A new object under a temporary name; what a dead creator of ours left there is removed. */
static int object_create(const struct place *place, const char *suffix, mode_t mode, gid_t group,
			 uint64_t bytes, uint64_t huge_from)
{
	char path[PLACE_PATH_BYTES];
	struct stat found;

	place_path(place, suffix, path);
	if (lstat(path, &found) == 0) {
		if (found.st_uid != geteuid())
			return WEIR_EOWNER;
		unlink(path);
	}

	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

	if (fd < 0)
		return errno == ENOSPC || errno == EDQUOT ? WEIR_ESPACE : -errno;

	/* beyond the umask; a group that this user may not give away is not an error of ours to
	 * hide */
	int status = fchmod(fd, mode) < 0 ? -errno : 0;

	if (status == 0 && group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) < 0)
		status = -errno;
	if (status == 0) {
		object_offer_huge(fd, huge_from, bytes);
		status = object_reserve(fd, bytes);
	}
	if (status < 0) {
		close(fd);
		unlink(path);
		return status;
	}
	return fd;
}

#define STORE(word, value) atomic_store_explicit(&(word), value, memory_order_relaxed)
#define LOAD(word) atomic_load_explicit(&(word), memory_order_relaxed)

static int rules_fill(struct rules_header *rules, const struct segment_shape *shape,
		      const struct capacities *capacities)
{
	struct {
		uint64_t pair;
		unsigned char secret[LAYOUT_SECRET_BYTES];
	} seed;
	uint64_t boot[2];

	if (random_bytes(&seed, sizeof(seed)) < 0)
		return -EIO;
	boot_id(boot);
	/* relaxed: nobody can open the object before it is revealed, and `ready` is released */
	STORE(rules->magic, LAYOUT_RULES_MAGIC);
	STORE(rules->version, LAYOUT_VERSION);
	STORE(rules->signature, layout_signature());
	STORE(rules->bytes, rules_bytes(capacities));
	STORE(rules->pair, seed.pair | 1);
	STORE(rules->boot[0], boot[0]);
	STORE(rules->boot[1], boot[1]);
	STORE(rules->time_namespace, time_source_namespace());
	STORE(rules->created_ns, time_source_kernel_ns(CLOCK_REALTIME));
	STORE(rules->clock_kind, shape->clock);
	STORE(rules->rows, shape->rows);
	STORE(rules->follows, capacities->follows);
	STORE(rules->names, shape->names);
	STORE(rules->members, shape->members);
	STORE(rules->cpu_lanes, capacities->cpu_lanes);
	STORE(rules->permits, capacities->blocks * LAYOUT_BLOCK_PERMITS);
	STORE(rules->waiters, capacities->waiters);
	STORE(rules->tables, capacities->tables);
	STORE(rules->bins, capacities->bins);
	STORE(rules->table_generation, 1);
	STORE(rules->publisher_pid, (uint64_t)getpid());
	for (size_t i = 0; i < LAYOUT_SECRET_BYTES; i++)
		STORE(rules->secret[i], seed.secret[i]);
	return 0;
}

static void state_fill(struct state_header *state, const struct rules_header *rules, uint64_t bytes)
{
	STORE(state->magic, LAYOUT_STATE_MAGIC);
	STORE(state->version, LAYOUT_VERSION);
	STORE(state->signature, layout_signature());
	STORE(state->bytes, bytes);
	STORE(state->pair, LOAD(rules->pair));
	STORE(state->manual_ns, 1000000000u); /* so that a test may look back a second */
}

/* The clock row: nanoseconds over ticks, from now on; its terms carry the ticks per second. */
static int clock_fill(struct rules_header *rules, const struct time_source *time)
{
	uint64_t hz = time_source_hz(time->kind, CALIBRATION_NS);
	const struct terms terms = {.rate_micro = hz, .period_ns = 1000000000u};
	const struct terms_author author = {ORIGIN_FILE, 0};
	struct line line;
	int status = line_from_hz(&line, hz);

	if (status < 0)
		return status;

	/* it passes through the kernel's clock at this moment, and V in ns is that clock */
	struct time_pair now = time_source_pair(time);

	line_begin(&rules->clock, time, &line, &terms, &author);
	if (time->kind == CLOCK_KIND_TSC)
		line_publish(&rules->clock, time, &line, &terms, &author, now.kernel_ns);
	return 0;
}

static int pair_fill(struct segment *out, const struct segment_shape *shape,
		     const struct capacities *capacities)
{
	int status = rules_fill(out->publisher, shape, capacities);

	if (status < 0)
		return status;
	state_fill(out->state, out->rules, out->state_bytes);
	segment_point(out, capacities->cpu_lanes);
	status = clock_fill(out->publisher, &out->time);
	if (status < 0)
		return status;
	FAULT_POINT(create_filled);
	/* release: pairs with the acquire of `ready` in header_check() */
	atomic_store_explicit(&out->state->ready, 1, memory_order_release);
	atomic_store_explicit(&out->publisher->ready, 1, memory_order_release);
	out->pair = LOAD(out->rules->pair);
	return 0;
}

/* Maps two fresh descriptors, which it takes over, and fills them. */
static int pair_make(struct segment *out, int rules_fd, int state_fd,
		     const struct segment_shape *shape)
{
	const struct capacities capacities = capacities_of(shape);
	struct segment segment = {
		.row_count = shape->rows,
		.follow_count = capacities.follows,
		.name_count = shape->names,
		.member_count = shape->members,
		.block_count = capacities.blocks,
		.waiter_count = capacities.waiters,
		.table_count = capacities.tables,
		.bin_count = capacities.bins,
		.rules_bytes = segment_rules_bytes(shape),
		.state_bytes = segment_state_bytes(shape),
		.rules_fd = rules_fd,
		.state_fd = state_fd,
	};
	void *rules = NULL;
	void *state = NULL;
	int status = object_map(rules_fd, segment.rules_bytes, true, &rules);

	if (status == 0)
		status = object_map(state_fd, segment.state_bytes, true, &state);
	segment.rules = segment.publisher = rules;
	segment.state = state;
	segment.state_fd = descriptor_apart(state_fd);
	if (status == 0)
		status = pair_fill(&segment, shape, &capacities);
	if (status < 0) {
		segment_detach(&segment);
		return status;
	}
	*out = segment;
	return 0;
}

/* Where huge pages are of use in the state object. */
static uint64_t huge_from(const struct segment_shape *shape)
{
	const struct capacities capacities = capacities_of(shape);

	return shape->bins ? bins_offset(&capacities) : UINT64_MAX;
}

int segment_create(struct segment *out, const struct place *place,
		   const struct segment_shape *shape)
{
	uint64_t state_length = segment_state_bytes(shape);
	int rules_fd = object_create(place, "rules.new", RULES_MODE, shape->group,
				     segment_rules_bytes(shape), UINT64_MAX);

	if (rules_fd < 0)
		return rules_fd;

	int state_fd = object_create(place, "state.new", STATE_MODE, shape->group, state_length,
				     huge_from(shape));

	if (state_fd < 0) {
		char path[PLACE_PATH_BYTES];

		place_path(place, "rules.new", path);
		unlink(path);
		close(rules_fd);
		return state_fd;
	}
	return pair_make(out, rules_fd, state_fd, shape);
}

static int private_object(const char *name, uint64_t bytes, uint64_t from)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;

	object_offer_huge(fd, from, bytes);

	int status = object_reserve(fd, bytes);

	if (status == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		status = -errno;
	if (status < 0) {
		close(fd);
		return status;
	}
	return fd;
}

int segment_create_private(struct segment *out, const struct segment_shape *shape)
{
	int rules_fd = private_object("weir.rules", segment_rules_bytes(shape), UINT64_MAX);

	if (rules_fd < 0)
		return rules_fd;

	int state_fd = private_object("weir.state", segment_state_bytes(shape), huge_from(shape));

	if (state_fd < 0) {
		close(rules_fd);
		return state_fd;
	}
	return pair_make(out, rules_fd, state_fd, shape);
}

/* ---- names of the objects ---- */

/* 1: there and ours, 0: not there, WEIR_EOWNER. */
static int object_is_ours(const struct place *place, const char *suffix)
{
	char path[PLACE_PATH_BYTES];
	struct stat found;

	place_path(place, suffix, path);
	if (lstat(path, &found) < 0)
		return errno == ENOENT ? 0 : -errno;
	return found.st_uid == geteuid() ? 1 : WEIR_EOWNER;
}

static int object_rename(const struct place *place, const char *from, const char *to)
{
	char from_path[PLACE_PATH_BYTES];
	char to_path[PLACE_PATH_BYTES];

	place_path(place, from, from_path);
	place_path(place, to, to_path);
	return rename(from_path, to_path) < 0 ? -errno : 0;
}

static void object_unlink(const struct place *place, const char *suffix)
{
	char path[PLACE_PATH_BYTES];

	place_path(place, suffix, path);
	unlink(path);
}

static int object_link(const struct place *place, const char *from, const char *to)
{
	char from_path[PLACE_PATH_BYTES];
	char to_path[PLACE_PATH_BYTES];

	place_path(place, from, from_path);
	place_path(place, to, to_path);
	unlink(to_path);
	return link(from_path, to_path) < 0 ? -errno : 0;
}

int segment_reveal(struct segment *segment, const struct place *place)
{
	int rules = object_is_ours(place, "rules");
	int state = object_is_ours(place, "state");
	int status = rules < 0 ? rules : state < 0 ? state : 0;

	(void)segment;
	if (status == 0 && rules && state) {
		status = object_link(place, "state", "state.old");
		FAULT_POINT(reveal_linking);
		if (status == 0)
			status = object_link(place, "rules", "rules.old");
	}
	FAULT_POINT(reveal_linked);
	if (status == 0)
		status = object_rename(place, "state.new", "state");
	FAULT_POINT(reveal_state);
	if (status == 0)
		status = object_rename(place, "rules.new", "rules");
	FAULT_POINT(reveal_rules);
	return status;
}

void segment_forget_old(const struct place *place)
{
	object_unlink(place, "rules.old");
	object_unlink(place, "state.old");
}

int segment_remove(const struct place *place)
{
	int status = object_is_ours(place, "rules");

	if (status < 0)
		return status;
	object_unlink(place, "rules");
	object_unlink(place, "state");
	object_unlink(place, "rules.new");
	object_unlink(place, "state.new");
	segment_forget_old(place);
	object_unlink(place, "lock");
	return 0;
}

/* The pair's random number as an object's header has it; 0 if there is none to read. */
static uint64_t object_pair(const struct place *place, const char *suffix, off_t offset)
{
	char path[PLACE_PATH_BYTES];
	uint64_t pair = 0;

	place_path(place, suffix, path);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &pair, sizeof(pair), offset) != sizeof(pair))
		pair = 0;
	close(fd);
	return pair;
}

int segment_recover(const struct place *place)
{
	uint64_t rules = object_pair(place, "rules", offsetof(struct rules_header, pair));
	uint64_t state = object_pair(place, "state", offsetof(struct state_header, pair));
	uint64_t old = object_pair(place, "state.old", offsetof(struct state_header, pair));
	uint64_t moving = object_pair(place, "rules", offsetof(struct rules_header, predecessor));
	int status = 0;

	object_unlink(place, "rules.new");
	object_unlink(place, "state.new");
	if (rules && rules != state && rules == old)
		status = object_rename(place, "state.old", "state");
	if (rules && rules == state && moving)
		return 0; /* the move goes on, and needs them */
	segment_forget_old(place);
	return status;
}

/* ---- attaching ---- */

struct opened {
	void *at;
	uint64_t bytes;
	int fd;
};

/* Who may own what we attach to. A publisher adopts only its own. */
static bool owner_is_trusted(uid_t owner, enum segment_mode mode, uid_t trusted)
{
	if (mode == SEGMENT_PUBLISH)
		return owner == geteuid();
	return owner == 0 || owner == geteuid() || (trusted != (uid_t)-1 && owner == trusted);
}

static int open_code(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return WEIR_EABSENT;
	case ELOOP:  /* a symbolic link */
	case ENXIO:  /* a socket */
	case EISDIR: /* a folder, opened for writing */
		return WEIR_EFOREIGN;
	default:
		return -error;
	}
}

static int object_open(struct opened *out, const struct place *place, const char *suffix,
		       bool writable, enum segment_mode mode, uid_t trusted, size_t at_least)
{
	char path[PLACE_PATH_BYTES];
	struct stat found;
	void *at = NULL;
	int status = 0;

	place_path(place, suffix, path);
	int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return open_code(errno);
	if (fstat(fd, &found) < 0)
		status = -errno;
	else if (!S_ISREG(found.st_mode))
		status = WEIR_EFOREIGN;
	else if (!owner_is_trusted(found.st_uid, mode, trusted))
		status = WEIR_EOWNER;
	else if (found.st_size == 0)
		status = WEIR_EUNREADY;
	else if ((uint64_t)found.st_size < at_least)
		status = WEIR_ETRUNCATED;
	else
		status = object_map(fd, (uint64_t)found.st_size, writable, &at);
	if (status < 0) {
		close(fd);
		return status;
	}
	*out = (struct opened){at, (uint64_t)found.st_size, fd};
	return 0;
}

static void object_close(struct opened *object)
{
	if (object->at)
		munmap(object->at, object->bytes);
	if (object->fd >= 0)
		close(object->fd);
	*object = (struct opened){NULL, 0, -1};
}

/* The words that both headers begin with. */
static int header_check(uint64_t magic, uint64_t expected, uint32_t version, uint32_t ready,
			uint64_t signature)
{
	if (magic == 0 && ready == 0)
		return WEIR_EUNREADY;
	if (magic != expected)
		return WEIR_EFOREIGN;
	if (version != LAYOUT_VERSION)
		return version < LAYOUT_VERSION ? WEIR_EOLDER : WEIR_ENEWER;
	if (!ready)
		return WEIR_EUNREADY;
	return signature == layout_signature() ? 0 : WEIR_ELAYOUT;
}

/* Whether this process can live with the segment's boot and clock. */
static int circumstances_check(const struct rules_header *rules)
{
	uint32_t kind = LOAD(rules->clock_kind);
	uint64_t home = LOAD(rules->time_namespace);
	uint64_t here = time_source_namespace();
	uint64_t boot[2];

	boot_id(boot);
	if (boot[0] != LOAD(rules->boot[0]) || boot[1] != LOAD(rules->boot[1]))
		return WEIR_EBOOT;
	if (kind < CLOCK_KIND_TSC || kind > CLOCK_KIND_MANUAL)
		return WEIR_EDAMAGED;
	if (!time_source_readable((enum clock_kind)kind))
		return WEIR_ENOCLOCK;
	/* only CLOCK_MONOTONIC is shifted by a time namespace; 0 is a side that cannot tell */
	if (kind == CLOCK_KIND_MONOTONIC && home && here && home != here)
		return WEIR_ETIMENS;
	return 0;
}

static int rules_check(const struct rules_header *rules, uint64_t bytes)
{
	/* acquire: pairs with the release in pair_fill() */
	uint32_t ready = atomic_load_explicit(&rules->ready, memory_order_acquire);
	int status = header_check(LOAD(rules->magic), LAYOUT_RULES_MAGIC, LOAD(rules->version),
				  ready, LOAD(rules->signature));

	if (status < 0)
		return status;
	if (LOAD(rules->bytes) > bytes)
		return WEIR_ETRUNCATED;
	return circumstances_check(rules);
}

static bool within(uint32_t count, uint32_t most)
{
	return count > 0 && count <= most;
}

/* Reads the capacities once and holds them to the limits and to the objects' lengths. */
static int capacities_check(struct segment *segment, uint32_t *cpu_lanes)
{
	const struct rules_header *rules = segment->rules;
	const struct capacities found = {
		.rows = LOAD(rules->rows),
		.names = LOAD(rules->names),
		.members = LOAD(rules->members),
		.cpu_lanes = LOAD(rules->cpu_lanes),
		.blocks = layout_blocks(LOAD(rules->permits)),
		.waiters = LOAD(rules->waiters),
		.tables = LOAD(rules->tables),
		.bins = LOAD(rules->bins),
		.follows = LOAD(rules->follows),
	};

	if (!within(found.rows, LAYOUT_MAX_ROWS) || !within(found.names, LAYOUT_MAX_NAMES) ||
	    !within(found.members, LAYOUT_MAX_MEMBERS) || found.cpu_lanes > LAYOUT_CPU_LANES_MAX ||
	    LOAD(rules->permits) % LAYOUT_BLOCK_PERMITS ||
	    found.blocks > layout_blocks(LAYOUT_MAX_PERMITS) ||
	    found.waiters > LAYOUT_MAX_WAITERS || found.tables > LAYOUT_MAX_ROWS ||
	    found.bins > BINS_MAX || found.follows > LAYOUT_MAX_FOLLOWS)
		return WEIR_EDAMAGED;
	if (LOAD(rules->bytes) != rules_bytes(&found) ||
	    LOAD(segment->state->bytes) != state_bytes(&found))
		return WEIR_EDAMAGED;
	segment->row_count = found.rows;
	segment->name_count = found.names;
	segment->member_count = found.members;
	segment->block_count = found.blocks;
	segment->waiter_count = found.waiters;
	segment->table_count = found.tables;
	segment->bin_count = found.bins;
	segment->follow_count = found.follows;
	*cpu_lanes = found.cpu_lanes;
	return 0;
}

static int state_check(const struct state_header *state, const struct rules_header *rules,
		       uint64_t bytes)
{
	/* acquire: pairs with the release in pair_fill() */
	uint32_t ready = atomic_load_explicit(&state->ready, memory_order_acquire);
	int status = header_check(LOAD(state->magic), LAYOUT_STATE_MAGIC, LOAD(state->version),
				  ready, LOAD(state->signature));

	if (status < 0)
		return status;
	if (LOAD(state->pair) != LOAD(rules->pair))
		return WEIR_EPAIR;
	return LOAD(state->bytes) > bytes ? WEIR_ETRUNCATED : 0;
}

/* Two mapped objects become a segment, which takes them over, if they pass every check. */
static int pair_attach(struct segment *out, struct opened *rules, struct opened *state,
		       enum segment_mode mode)
{
	struct segment segment = {
		.rules = rules->at,
		.publisher = mode == SEGMENT_PUBLISH ? rules->at : NULL,
		.state = state->at,
		.rules_bytes = rules->bytes,
		.state_bytes = state->bytes,
		.rules_fd = -1,
		.state_fd = state->fd,
	};
	uint32_t cpu_lanes;
	int status = state_check(segment.state, segment.rules, state->bytes);

	if (status == 0)
		status = capacities_check(&segment, &cpu_lanes);
	if (status < 0)
		return status;
	segment_point(&segment, cpu_lanes);
	segment.pair = LOAD(segment.rules->pair);
	if (mode != SEGMENT_LOOK)
		segment.state_fd = descriptor_apart(state->fd);
	close(rules->fd);
	*out = segment;
	return 0;
}

static int attach_state(struct segment *out, struct opened *rules, const struct place *place,
			const char *suffix, enum segment_mode mode, uid_t trusted)
{
	struct opened state = {NULL, 0, -1};
	int status = object_open(&state, place, suffix, mode != SEGMENT_LOOK, mode, trusted,
				 sizeof(struct state_header));

	if (status == 0)
		status = pair_attach(out, rules, &state, mode);
	if (status < 0)
		object_close(&state);
	return status;
}

static int attach_named(struct segment *out, const struct place *place, const char *rules_suffix,
			const char *state_suffix, enum segment_mode mode, uid_t trusted)
{
	struct opened rules = {NULL, 0, -1};
	int status = object_open(&rules, place, rules_suffix, mode == SEGMENT_PUBLISH, mode,
				 trusted, sizeof(struct rules_header));

	if (status == 0)
		status = rules_check(rules.at, rules.bytes);
	if (status == 0)
		status = attach_state(out, &rules, place, state_suffix, mode, trusted);
	/* between the two renames of a switch the old state object has its other name */
	if (status == WEIR_EPAIR &&
	    attach_state(out, &rules, place, "state.old", mode, trusted) == 0)
		status = 0;
	if (status < 0)
		object_close(&rules);
	return status;
}

int segment_attach(struct segment *out, const struct place *place, enum segment_mode mode,
		   uid_t trusted)
{
	int status = WEIR_EPAIR;

	/* a whole switch may fall between the opening of the two objects; seldom twice */
	for (int tries = 0; tries < 8 && status == WEIR_EPAIR; tries++)
		status = attach_named(out, place, "rules", "state", mode, trusted);
	return status;
}

int segment_attach_old(struct segment *out, const struct place *place, enum segment_mode mode,
		       uid_t trusted, uint64_t pair)
{
	struct segment segment;
	int status = attach_named(&segment, place, "rules.old", "state.old", mode, trusted);

	if (status != 0)
		return status;
	if (segment.pair != pair) {
		segment_detach(&segment);
		return WEIR_EPAIR;
	}
	*out = segment;
	return 0;
}

void segment_detach(struct segment *segment)
{
	if (segment->rules)
		munmap((void *)(uintptr_t)segment->rules, segment->rules_bytes);
	if (segment->state)
		munmap(segment->state, segment->state_bytes);
	if (segment->rules_fd >= 0)
		close(segment->rules_fd);
	if (segment->state_fd >= 0)
		close(segment->state_fd);
	*segment = (struct segment){.rules_fd = -1, .state_fd = -1};
}

void segment_keep_secret(struct segment *successor, const struct segment *segment)
{
	for (size_t i = 0; i < LAYOUT_SECRET_BYTES; i++)
		STORE(successor->publisher->secret[i], segment->secret[i]);
	copy_secret(successor);
}

void segment_demote(struct segment *segment)
{
	if (!segment->publisher)
		return;
	mprotect(segment->publisher, segment->rules_bytes, PROT_READ);
	segment->publisher = NULL;
}

/* ---- small readings ---- */

/* Whether a line of /proc/self/smaps begins the mapping that the address lies in. */
static bool begins_mapping(const char *line, uintptr_t address, bool *inside)
{
	char *end;
	uintptr_t from = strtoul(line, &end, 16);

	if (*end != '-' || end == line)
		return false;
	*inside = address >= from && address < strtoul(end + 1, NULL, 16);
	return true;
}

uint64_t segment_huge_bytes(const struct segment *segment)
{
	FILE *file = segment->bins ? fopen("/proc/self/smaps", "re") : NULL;
	uint64_t kilobytes = 0;
	bool inside = false;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (!begins_mapping(line, (uintptr_t)segment->bins, &inside) && inside &&
		    strncmp(line, "ShmemPmdMapped:", 15) == 0)
			kilobytes = strtoull(line + 15, NULL, 10);
	if (file)
		fclose(file);
	return kilobytes * 1024;
}

void segment_clock(const struct segment *segment, struct line *out)
{
	line_read(&segment->rules->clock, &segment->time, out);
}

uint64_t segment_now_ns(const struct segment *segment)
{
	struct line clock;
	uint64_t now = line_read(&segment->rules->clock, &segment->time, &clock);

	return segment->time.kind == CLOCK_KIND_TSC ? line_value(&clock, now) : now;
}

uint64_t segment_hz(const struct segment *segment)
{
	struct terms terms;
	struct terms_author author;
	uint64_t changed_ns;

	if (segment->time.kind != CLOCK_KIND_TSC)
		return 1000000000u;
	line_read_terms(&segment->rules->clock, &terms, &author, &changed_ns);
	return terms.rate_micro;
}

/* The side that belongs to a generation of a row; NULL: it has none. */
static const struct line_follow *follow_of(const struct segment *segment,
					   const struct rule_row *row, uint64_t generation)
{
	uint32_t index = line_follow_index(row, generation);

	return index == 0 || index > segment->follow_count
		       ? NULL
		       : &segment->follows[index - 1].sides[generation & 1];
}

void segment_terms(const struct segment *segment, uint32_t row, struct terms *terms,
		   struct terms_author *author, uint64_t *changed_ns)
{
	const struct rule_row *at = &segment->rows[row];
	uint64_t generation;

	do { /* as line_read() does, and pairs with the same stores */
		generation = atomic_load_explicit(&at->generation, memory_order_acquire);
		line_read_terms(at, terms, author, changed_ns);

		const struct line_follow *follow = follow_of(segment, at, generation);

		if (!follow)
			continue;
		line_read_learned(&follow->learned, &terms->learned);
		line_read_adapt(&follow->adapt, &terms->adapt);
	} while (atomic_load_explicit(&at->generation, memory_order_relaxed) != generation);
}

void segment_adapt(const struct segment *segment, uint32_t row, struct adapt_terms *adapt)
{
	const struct rule_row *at = &segment->rows[row];
	uint64_t generation;

	do { /* likewise */
		generation = atomic_load_explicit(&at->generation, memory_order_acquire);

		const struct line_follow *follow = follow_of(segment, at, generation);

		if (follow)
			line_read_adapt(&follow->adapt, adapt);
		else
			*adapt = (struct adapt_terms){0};
	} while (atomic_load_explicit(&at->generation, memory_order_relaxed) != generation);
}

void segment_text(const _Atomic unsigned char *text, char out[LAYOUT_TEXT_BYTES])
{
	size_t length = 0;

	/* relaxed: whoever reads a live row acquired its state; other text is for people */
	for (; length < LAYOUT_TEXT_BYTES - 1; length++) {
		out[length] = (char)atomic_load_explicit(&text[length], memory_order_relaxed);
		if (!out[length])
			break;
	}
	out[length] = '\0';
}
