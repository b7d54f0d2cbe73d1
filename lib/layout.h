/* SPDX-License-Identifier: Apache-2.0
 *
 * layout.h - every byte that two processes share. Declares; computes nothing.
 *
 * An instance NAME is two objects. `weir.NAME.rules` is written by the daemon (or the program
 * that hosts a private segment) alone and mapped read-only by everybody else; `weir.NAME.state`
 * is written by all. Each struct below says in which object it lives and who writes it.
 *
 * weir-segment(5) is this file as a table; tests/layout compares the two and the signature.
 * All words are little-endian 64-bit or 32-bit integers, read and written with C11 atomics.
 * There are no pointers, only indices, and every index is bounds-checked where it is used.
 */
#ifndef WEIR_LAYOUT_H
#define WEIR_LAYOUT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define LAYOUT_VERSION 3u
#define LAYOUT_RULES_MAGIC 0x31656c7572696577ull /* "weirule1" */
#define LAYOUT_STATE_MAGIC 0x3174617472696577ull /* "weirtat1" */

enum {
	LAYOUT_LINE_BYTES = 64,	     /* one cache line */
	LAYOUT_TEXT_BYTES = 128,     /* a name or pattern with its closing NUL */
	LAYOUT_PROGRAM_BYTES = 24,   /* a member's program name with its closing NUL */
	LAYOUT_SECRET_BYTES = 136,   /* XXH3's smallest secret */
	LAYOUT_COUNTERS = 8,	     /* counters of one tally */
	LAYOUT_CPU_LANES_MAX = 4,    /* tally lanes that belong to one CPU each */
	LAYOUT_SHARED_LANES = 2,     /* tally lanes for everybody else */
	LAYOUT_CLASSES = 4,	     /* classes that a rule tells apart */
	LAYOUT_SHADOW_COUNTS = 4,    /* enum shadow_count */
	LAYOUT_BLOCK_PERMITS = 4,    /* permits of one block */
	LAYOUT_BIN_SLOTS = 8,	     /* keys in a bin: two cache lines */
	LAYOUT_KEY_STRIPES = 8,	     /* counters of a table of keys, by the key's hash */
	LAYOUT_WORST_SETS = 16,	     /* sets of most refused keys */
	LAYOUT_WORST_WAYS = 8,	     /* such keys in a set */
	LAYOUT_WORST_BYTES = 56,     /* of such a key, as people see it */
	LAYOUT_ADAPT_BYTES = 208,    /* how responses are read, with its closing NUL */
	LAYOUT_MAX_ROWS = 65536,     /* `endpoints` in weir.ini, at most */
	LAYOUT_MAX_FOLLOWS = 32767,  /* rules that follow an upstream */
	LAYOUT_MAX_NAMES = 1048576,  /* `names` */
	LAYOUT_MAX_MEMBERS = 65536,  /* `members` */
	LAYOUT_MAX_PERMITS = 262144, /* `permits` */
	LAYOUT_MAX_WAITERS = 65536,  /* `waiters` */
	LAYOUT_MAX_KEYS = 1 << 30,   /* `keys` of all [each] sections together */
};

/* Tables of keys begin at a multiple of this in the state object: a huge page of x86. */
#define LAYOUT_KEYS_ALIGNMENT (2ull << 20)

/* How `now` is read; see time_source.h. In struct rules_header, fixed at creation. */
enum clock_kind {
	CLOCK_KIND_TSC = 1,	  /* ticks of the x86 time-stamp counter */
	CLOCK_KIND_MONOTONIC = 2, /* nanoseconds of CLOCK_MONOTONIC */
	CLOCK_KIND_MANUAL = 3,	  /* nanoseconds in state_header.manual_ns, moved by a program */
};

/* What a row is. */
enum row_kind {
	ROW_EXACT = 1,	 /* one name, one bucket */
	ROW_PATTERN = 2, /* many names, one bucket */
	ROW_DEFAULT = 3, /* every other name, a bucket each from the table of names */
	ROW_EACH = 4,	 /* many names, a bucket each from a table of keys */
};

/* Life of a row: rows are appended and never used again, so no index changes its meaning. */
enum row_state {
	ROW_EMPTY = 0,
	ROW_LIVE = 1,
	ROW_GONE = 2, /* removed or moved: names resolve elsewhere */
};

/* Flags of a published line. */
enum line_flag {
	LINE_UNLIMITED = 1u << 0, /* everything passes and no mark is touched */
	LINE_NEVER = 1u << 1,	  /* rate 0: the clock stands, what is there may be taken */
	LINE_ALIGNED = 1u << 4,	  /* windows by the calendar: the clock is a staircase */
	LINE_FIRST = 1u << 5,	  /* windows from first use: the clock counts ticks */
	LINE_SHADOW = 1u << 8,	  /* what the limit refuses is counted, and passes */
	LINE_BESIDE = 1u << 9,	  /* a shadow limit stands beside it: struct line_shadow */
};

/* In rule_row.source_shape: what becomes of the level on the way, beside SOURCE_KEEP's. */
enum source_flag {
	SOURCE_KEEP = 3u << 16,	     /* what rules.h calls keep: used, level, proportional, reset */
	SOURCE_GIVEN = 1u << 24,     /* from no bucket: source_units is the row's first mark */
	SOURCE_ELSEWHERE = 1u << 25, /* from the pair that this one replaced */
};

/* Who last set a row's rule; a restarted daemon keeps what an operator set. */
enum row_origin {
	ORIGIN_FILE = 0,
	ORIGIN_OPERATOR = 1,
};

/*
 * A line V(t): what the bucket arithmetic needs, published together (rules object).
 *   V(t) = origin_units + (16 * max(0, t - origin_ticks) * slope + origin_fraction >> 64)
 * With windows (window.h), `slope` holds the ticks of a window, `origin_fraction` the units that
 * each brings, and `reach_units` ticks:
 *   LINE_ALIGNED  V(t) = origin_units + max(0, t - origin_ticks) / slope * origin_fraction
 *   LINE_FIRST    V(t) = origin_units + max(0, t - origin_ticks)
 * Written by the publisher, read by everybody; one cache line.
 */
struct line_words {
	_Atomic uint64_t origin_ticks;	  /* clock ticks; may lie a microsecond ahead */
	_Atomic uint64_t origin_units;	  /* V at the origin, in units of 2^-k token */
	_Atomic uint64_t origin_fraction; /* the rest of V, in 2^-64 unit */
	_Atomic uint64_t slope;		  /* 2^-60 unit per tick; rounded up */
	_Atomic uint64_t shape;		  /* see below */
	_Atomic uint64_t burst_units;	  /* capacity of the bucket */
	_Atomic uint64_t reach_units;	  /* how far ahead of V a mark may go (max_wait) */
	_Atomic uint64_t initial_units;	  /* level of a bucket that nobody has used yet */
};

/*
 * shape = k | radix << 8 | enum line_flag << 16 | minutes << 32 | enum row_origin << 48
 *	   | follow << 49
 *
 * k and radix, the row's unit, never change in a row: no mark ever needs scaling in place. `radix`
 * is 0 but with LINE_FIRST: so many of a mark's last bits count what its window has used. `minutes`
 * is for people, as the origin is: with LINE_ALIGNED how far east of UTC, in two's complement.
 * `follow` is the struct follow_row of a rule that follows an upstream, + 1; 0: it has none. Once
 *it has one, it keeps it, and no other row has the same.
 */

/* The same rule as people write it, published with the line it belongs to; one cache line. */
struct line_terms {
	_Atomic uint64_t rate_micro;  /* millionths of a token per period */
	_Atomic uint64_t period_ns;   /* */
	_Atomic uint64_t burst_micro; /* millionths of a token */
	_Atomic uint64_t initial_micro;
	_Atomic uint64_t max_wait_ns;	 /* 0: no bound but the arithmetic's */
	_Atomic uint64_t changed;	 /* for people: seconds since 1970 << 32 | user */
	_Atomic uint64_t window_ns;	 /* with windows: how long each is; 0: none */
	_Atomic uint64_t window_wall_ns; /* LINE_ALIGNED: the wall clock at origin_ticks */
};

/*
 * The shadow limit beside the rule's own, if LINE_BESIDE is set: a straight line in the same unit,
 * and its terms; one cache line. The clock is kept when there is no such limit any more (it stands
 * still then), so that no mark is ever far ahead of it.
 */
struct line_shadow {
	_Atomic uint64_t origin_ticks;
	_Atomic uint64_t origin_units;
	_Atomic uint64_t origin_fraction;
	_Atomic uint64_t slope;
	_Atomic uint64_t burst_units;
	_Atomic uint64_t rate_micro; /* terms, as in struct line_terms */
	_Atomic uint64_t period_ns;  /* 0: no shadow limit */
	_Atomic uint64_t burst_micro;
};

/*
 * What calls of a class must leave. A class's name is a number: its characters are the digits to
 * the base of 39, the first one highest, 0 being the end, 1 to 26 a to z, 27 to 36 0 to 9, 37 `-`
 * and 38 `_`. `leave`: millionths of a token, or with bit 63 millionths of a percent of the burst.
 */
struct line_class {
	_Atomic uint64_t name; /* 0: none, and none after it */
	_Atomic uint64_t leave;
};

/*
 * How the rule follows its upstream, as people write it: by whom its responses are read, and how
 * the daemon may answer. `text` has a line `KEY VALUE` for each profile, account, field.* and
 * budget.* of weir.ini(5).
 */
struct line_adapt {
	_Atomic uint64_t mode;		 /* enum adapt_mode */
	_Atomic uint64_t min_rate_micro; /* millionths of a token per period */
	_Atomic uint64_t min_period_ns;	 /* 0: no floor is given */
	_Atomic uint64_t safety_micro;	 /* millionths of what the upstream allows */
	_Atomic uint64_t max_close_ns;	 /* of a closure by a response */
	_Atomic uint64_t reserved;
	_Atomic unsigned char text[LAYOUT_ADAPT_BYTES];
};

/*
 * What was learned of the upstream: in force in place of the rate and burst of the terms where it
 * is lower. Times are nanoseconds of the segment's clock.
 */
struct line_learned {
	_Atomic uint64_t rate_micro; /* millionths of a token per period */
	_Atomic uint64_t period_ns;  /* 0: nothing is learned */
	_Atomic uint64_t burst_micro;
	_Atomic uint64_t until_ns;	  /* then the terms hold again; all ones: it stays */
	_Atomic uint64_t from_ns;	  /* when the response came that it rests on; 0: none */
	_Atomic uint64_t limit_micro;	  /* of the upstream; all ones: not said */
	_Atomic uint64_t remaining_micro; /* at from_ns; all ones: not said */
	_Atomic uint64_t cause;		  /* enum learned_cause and enum learned_flag */
};

/* Why a learned speed is what it is: line_learned.cause, below bit 16. */
enum learned_cause {
	LEARNED_NOTHING = 0,
	LEARNED_QUOTA = 1,    /* what is left, spread until it is renewed */
	LEARNED_SPENT = 2,    /* nothing is left until then */
	LEARNED_REFILL = 3,   /* as fast as the upstream's quota comes back */
	LEARNED_SHARED = 4,   /* as the first, less what others draw */
	LEARNED_REFUSED = 5,  /* slower after a refusal */
	LEARNED_RECOVERY = 6, /* faster again since the last one */
};

/* Flags of line_learned.cause. */
enum learned_flag {
	LEARNED_FROZEN = 1u << 16,    /* an operator keeps it, and a limit that is found, as is */
	LEARNED_DISTRUSTS = 1u << 17, /* what the upstream says was contradicted by what it did */
};

/* From what the daemon finds the speed. */
enum adapt_mode {
	ADAPT_OFF = 0,	   /* the configured rate, whatever is observed */
	ADAPT_HEADERS = 1, /* what responses say, and their status where they say nothing */
	ADAPT_AIMD = 2,	   /* their status alone */
};

struct line_copy {
	alignas(64) struct line_words words;
	struct line_terms terms;
	struct line_shadow shadow;
	struct line_class classes[LAYOUT_CLASSES];
};

/* What belongs to a line, and no draw needs (rules object; written by the publisher). */
struct line_follow {
	alignas(64) struct line_learned learned;
	struct line_adapt adapt;
};

/* The two copies of a row, as its line has two: sides[generation & 1] of that row counts. */
struct follow_row {
	struct line_follow sides[2];
};

/* A rule and its line (rules object; written by the publisher). copies[generation & 1] counts. */
struct rule_row {
	alignas(64) _Atomic uint64_t generation; /* bumped after a copy is complete; futex word */
	_Atomic uint32_t state;			 /* enum row_state */
	_Atomic uint32_t kind;			 /* enum row_kind; fixed while live */
	_Atomic uint32_t order;			 /* place in the file, for patterns that tie */
	_Atomic uint32_t source;	/* bucket this row's mark comes from, + 1; 0: none */
	_Atomic uint32_t source_shape;	/* its k | radix << 8, and enum source_flag */
	_Atomic uint32_t table;		/* ROW_EACH: of keys, + 1; fixed while live */
	_Atomic uint64_t source_units;	/* its V when this row took over; SOURCE_GIVEN: the mark */
	_Atomic uint64_t source_shadow; /* that of its shadow limit; 0: it had none */
	_Atomic uint64_t source_burst;	/* its burst, in its units */
	_Atomic uint64_t
		source_ticks; /* with a radix: of its windows, each of that burst; 0: none */
	struct line_copy copies[2];
	_Atomic unsigned char text[LAYOUT_TEXT_BYTES]; /* name or pattern; fixed while live */
	_Atomic uint64_t permit_limit;	 /* see below; a line of its own, that no rate touches */
	_Atomic uint64_t permit_hold_ns; /* max_hold; 0: for ever */
	_Atomic uint32_t permit_head;	 /* first block of its permits, + 1; 0: there are none */
	_Atomic uint32_t permit_cause;	 /* of a limit that is found: enum found_cause */
	_Atomic uint64_t permit_bounds;	 /* bits 0-31 the least, 32-63 the most; 0: it is given */
	_Atomic uint64_t permit_since;	 /* calls that began before this tick are not counted */
	_Atomic uint64_t permit_latency_ns; /* what a call took when it was found; 0: not known */
	_Atomic uint64_t permit_base_ns;    /* and takes without a queue; 0: not known */
	uint32_t permit_reserved[2];
};

/* Why a limit that is found is what it is: rule_row.permit_cause. */
enum found_cause {
	FOUND_NOTHING = 0, /* it is where it began */
	FOUND_ROOM = 1,	   /* calls do not queue upstream */
	FOUND_QUEUE = 2,   /* they do: they take longer */
	FOUND_FAILING = 3, /* too many fail */
	FOUND_PROBING = 4, /* fewer for a moment, to see how long a call takes without a queue */
	FOUND_PROBED = 5,  /* as before that */
	FOUND_BOUNDS = 6,  /* its bounds were changed */
};

/*
 * Parts of permit_limit, whose bits 32-63 count its changes. One word, so that who has taken a
 * permit sees whether the limit still is the one it was taken by.
 */
#define PERMIT_LIMIT 0x3fffffffull   /* `concurrency` + 1, or 0 without a limit */
#define PERMIT_LOWERED 0x40000000ull /* permits above it may still be held */
#define PERMIT_ELSEWHERE                                                                           \
	0x80000000ull /* they are about to be kept elsewhere: none is given here                   \
		       */
#define PERMIT_CHANGE 0x100000000ull

/*
 * Which permits are whose (rules object; written by the publisher): blocks, each with one of
 * these, make up a chain for a rule. The chain is the rule's as long as it has a name: a rule that
 * moves to another row takes it along.
 */
struct permit_span {
	_Atomic uint32_t head; /* first block of its chain, + 1; 0: it is in none */
	_Atomic uint32_t next; /* the block after it, + 1; 0: it is the last */
};

/* A table of keys (rules object; written by the publisher), fixed once a row has it but for fold.
 */
struct keyed_row {
	alignas(64) _Atomic uint64_t first_bin; /* of all bins in the state object */
	_Atomic uint64_t bins;			/* even: a key has one in each half */
	_Atomic uint64_t keys;			/* for so many keys in debt at once */
	_Atomic uint64_t fold; /* ipv4 bits | ipv6 bits << 8 | case << 16: see fold.h */
	uint64_t reserved[4];
};

/* Head of the rules object. */
struct rules_header {
	alignas(64) _Atomic uint64_t magic; /* LAYOUT_RULES_MAGIC */
	_Atomic uint32_t version;	    /* LAYOUT_VERSION */
	_Atomic uint32_t ready;		    /* 1, stored last */
	_Atomic uint64_t signature;	    /* layout_signature() */
	_Atomic uint64_t bytes;		    /* length of the object */
	_Atomic uint64_t pair;		    /* random; the state object carries the same */
	_Atomic uint64_t predecessor;	    /* pair whose marks are still being moved, or 0 */
	_Atomic uint64_t boot[2];	    /* the kernel's boot_id */
	_Atomic uint64_t time_namespace;    /* inode of the creator's, or 0 */
	_Atomic uint64_t created_ns;	    /* wall clock, for people */
	_Atomic uint32_t clock_kind;	    /* enum clock_kind */
	_Atomic uint32_t rows;		    /* capacity */
	_Atomic uint32_t names;		    /* capacity of the table of names */
	_Atomic uint32_t members;	    /* capacity */
	_Atomic uint32_t cpu_lanes; /* tally lanes: one a CPU, then the shared, then carried */
	_Atomic uint32_t rows_used; /* rows that are or were live */
	_Atomic uint32_t permits;   /* capacity, whole blocks */
	_Atomic uint32_t waiters;   /* capacity */
	_Atomic uint32_t follows;   /* capacity: of rules that follow an upstream */
	_Atomic uint32_t follows_used;
	alignas(64) _Atomic uint64_t table_generation; /* bumped when names may resolve anew */
	_Atomic uint64_t publisher_pid;		       /* for people */
	uint64_t table_reserved[6];
	struct rule_row clock; /* nanoseconds of the segment's clock, as a line over ticks */
	_Atomic unsigned char secret[LAYOUT_SECRET_BYTES]; /* of the hash of names and keys */
	_Atomic uint32_t tables;			   /* capacity: of tables of keys */
	_Atomic uint32_t tables_used;
	_Atomic uint64_t bins; /* capacity: of bins of all tables */
	_Atomic uint64_t bins_used;
	uint64_t reserved[4];
};

/* Head of the state object. */
struct state_header {
	alignas(64) _Atomic uint64_t magic; /* LAYOUT_STATE_MAGIC */
	_Atomic uint32_t version;	    /* LAYOUT_VERSION */
	_Atomic uint32_t ready;
	_Atomic uint64_t signature;
	_Atomic uint64_t bytes;
	_Atomic uint64_t pair;
	_Atomic uint64_t names_refused;	       /* resolutions that found the table of names full */
	_Atomic uint64_t observations_dropped; /* of which the daemon could not be told */
	_Atomic uint64_t
		observations_refused; /* that the daemon did not take: no rights, no message */
	alignas(64) _Atomic uint32_t retired; /* 1: a newer pair has this name; follow it */
	uint32_t retired_reserved[15];
	alignas(64) _Atomic uint64_t manual_ns; /* the manual clock */
	_Atomic uint32_t manual_moves;		/* bumped after every move; futex word */
	uint32_t manual_reserved[13];
};

/*
 * A bucket (state object; written by all). `mark`: bits 0-62 the clock value up to which tokens
 * are spoken for, bit 63 set when it has moved elsewhere; 0 before the first use.
 * `gate`: bits 16-63 the tick at which the endpoint opens again, bit 15 set until what an
 * opening means has been done, bits 8-14 closings counted, bits 0-7 resets counted.
 */
struct bucket {
	alignas(64) _Atomic uint64_t mark;
	_Atomic uint64_t gate;
	_Atomic uint64_t shadow; /* mark of the shadow limit; 0: full */
	_Atomic uint64_t shadow_counts[LAYOUT_SHADOW_COUNTS]; /* they only grow */
	uint64_t reserved;
};

/* What a bucket counts of its shadows. */
enum shadow_count {
	SHADOW_PASSED_CALLS,  /* that its limit refused, and shadow mode let pass */
	SHADOW_PASSED_UNITS,  /* what they took without its being there */
	SHADOW_REFUSED_CALLS, /* that the shadow limit beside it would have refused */
	SHADOW_REFUSED_UNITS,
};

/* A name under [default] (state object): claimed by one CAS on its hash, never released. */
struct name_row {
	_Atomic uint64_t hash;	 /* keyed; 0 free. The bucket is the one at rows + index */
	_Atomic uint64_t source; /* bucket + 1, in the replaced pair, that its mark comes from */
	_Atomic unsigned char text[LAYOUT_TEXT_BYTES]; /* for people */
};

/* A member (state object): owned by whoever holds the lock on its byte of the state object. */
struct member_row {
	alignas(64) _Atomic uint64_t generation; /* bumped at every join and leave */
	_Atomic uint32_t pid;			 /* as its own namespace counts; 0 free */
	_Atomic uint32_t uid;
	_Atomic uint64_t start_ticks; /* field 22 of /proc/pid/stat */
	_Atomic uint64_t joined_ns;   /* wall clock */
	_Atomic unsigned char program[LAYOUT_PROGRAM_BYTES];
	_Atomic uint32_t bell; /* counts what its loop is to look at; futex word */
	uint32_t reserved;
};

/*
 * A permit, and when it was taken (state object; written by all). `word`: bit 63 set while it is
 * held, then bits 47-62 the member, 32-46 the last bits of that member's generation; bits 0-31
 * count its takes and stay when it is free. Free, bit 62 says that it was taken away. `since`:
 * bits 16-63 of the tick of a take, bits 0-15 the last of its count: whether it is the present
 * holder's. One CAS takes a permit and names its owner. The permits of a block lie in cache lines
 * apart (layout_permit()): processes that run at the same time, each with one of its own, do not
 * meet.
 */
struct permit_row {
	_Atomic uint64_t word;
	_Atomic uint64_t since;
};

/*
 * The line of those who wait for permits of a chain, by its first block (state object); and of a
 * rule whose limit is found, the calls that have ended: bits 0-19 count them, bits 20-63 are the
 * sum of how long they took, in 64 ns. One addition of both, so that the difference of two looks is
 * of so many calls and of their time.
 */
struct permit_line {
	_Atomic uint64_t tickets; /* places given so far */
	_Atomic uint64_t reach;	  /* bits 0-31 how far its waiters are spread; 32-63 arrivals */
	_Atomic uint64_t ended;	  /* calls that gave their permit back */
	_Atomic uint64_t failed;  /* calls that failed for want of strength, of these or not */
};

/* Parts of permit_line.ended and .failed. */
#define PERMIT_ENDS 0xfffffull /* calls; the bits above are their time */
#define PERMIT_ENDS_NS 64ull   /* of a step of it */

/*
 * A waiter (state object): claimed as a permit is, by one CAS on `owner`, at the first free slot
 * from where its line begins. `place`: bit 63 set, bits 47-62 the first block of the chain, bits
 * 0-46 its ticket; 0: not in line. `wake`: bits 0-1 enum waiter_state, the rest counts calls.
 */
struct waiter_row {
	_Atomic uint64_t owner;
	_Atomic uint64_t place;
	_Atomic uint32_t wake;	/* futex word */
	_Atomic uint32_t rings; /* 1: it is a loop's, which is woken by the member's bell */
	uint64_t reserved;
};

enum waiter_state {
	WAITER_WAITS = 0,  /* asleep, or about to be */
	WAITER_CALLED = 1, /* there is a permit for it, and it has been told to look */
	WAITER_PASSED = 2, /* it was, and did not: others go before it until it looks */
	WAITER_LOOKS = 3,  /* awake, and looks again if it is called: no wake-up is needed */
};

/* One lane's share of one bucket's counts (state object); counts only grow. */
enum counter {
	COUNT_GRANTED_CALLS,
	COUNT_GRANTED_UNITS,
	COUNT_REFUSED_CALLS,
	COUNT_REFUSED_UNITS,
	COUNT_WAITED_CALLS,
	COUNT_WAITED_UNITS,
	COUNT_WAITED_NS,
	COUNT_RETURNED_UNITS, /* given back; granted units are never lowered */
};

struct tally {
	alignas(64) _Atomic uint64_t counters[LAYOUT_COUNTERS];
};

/*
 * A key's bucket (state object; written by all), both words by one exchange. `key`: 0 free, else
 * bits 0-61 the keyed hash, bit 62 set when its mark has moved to a newer pair, bit 63 while it is
 * being inserted: then `mark` is a number that no other insertion of the key ever has.
 */
struct key_slot {
	alignas(16) _Atomic uint64_t key;
	_Atomic uint64_t mark;
};

/* Slots among which a key looks for its own: two cache lines side by side. */
struct key_bin {
	alignas(128) struct key_slot slots[LAYOUT_BIN_SLOTS];
};

/* Counts of the keys whose hash ends in the stripe's number. */
struct key_stripe {
	alignas(64) _Atomic uint64_t inserting; /* insertions begun: each has its own number */
	_Atomic uint64_t evicted;		/* keys in debt that had to make room */
	_Atomic uint64_t missed; /* refusals of keys that are not among the most refused */
	uint64_t reserved[5];
};

/* A key as people see it. */
struct key_name {
	_Atomic uint64_t bytes; /* of the whole key */
	_Atomic unsigned char text[LAYOUT_WORST_BYTES];
};

/* Some of the most refused keys, by other bits of the hash. A key is claimed by one CAS. */
struct key_worst {
	alignas(64) _Atomic uint64_t keys[LAYOUT_WORST_WAYS];
	_Atomic uint64_t counts[LAYOUT_WORST_WAYS];
	struct key_name names[LAYOUT_WORST_WAYS];
};

/* What a table of keys has beside its bins (state object; written by all). */
struct key_head {
	struct key_stripe stripes[LAYOUT_KEY_STRIPES];
	struct key_worst worst[LAYOUT_WORST_SETS];
};

/* The lock of member slot i is one byte of the state object's file at this offset + i. */
#define LAYOUT_MEMBER_LOCKS (1ll << 40)

/*
 * Where the tables stand. rules: header, rows, follow rows, spans, tables of keys. state: header,
 * buckets (rows, names, and one for the names that found no room), tallies (lane by lane), members,
 * permits, the lines of their blocks, waiters, names; and if there are tables of keys, from the
 * next multiple of LAYOUT_KEYS_ALIGNMENT on, all bins, then all heads.
 */
static inline uint32_t layout_buckets(uint32_t rows, uint32_t names)
{
	return rows + names + 1;
}

static inline uint32_t layout_blocks(uint32_t permits)
{
	return permits / LAYOUT_BLOCK_PERMITS;
}

/* Where a permit stands in the table: first the first ones of all blocks, then the second ones. */
static inline uint32_t layout_permit(uint32_t index, uint32_t blocks)
{
	return index % LAYOUT_BLOCK_PERMITS * blocks + index / LAYOUT_BLOCK_PERMITS;
}

static inline uint32_t layout_lanes(uint32_t cpu_lanes)
{
	return cpu_lanes + LAYOUT_SHARED_LANES + 1;
}

#define LAYOUT_AT(type, member, at)                                                                \
	_Static_assert(offsetof(type, member) == (at), #type "." #member " must stay at " #at)

LAYOUT_AT(struct line_words, origin_ticks, 0);
LAYOUT_AT(struct line_words, origin_units, 8);
LAYOUT_AT(struct line_words, origin_fraction, 16);
LAYOUT_AT(struct line_words, slope, 24);
LAYOUT_AT(struct line_words, shape, 32);
LAYOUT_AT(struct line_words, burst_units, 40);
LAYOUT_AT(struct line_words, reach_units, 48);
LAYOUT_AT(struct line_words, initial_units, 56);
LAYOUT_AT(struct line_terms, rate_micro, 0);
LAYOUT_AT(struct line_terms, changed, 40);
LAYOUT_AT(struct line_terms, window_ns, 48);
LAYOUT_AT(struct line_terms, window_wall_ns, 56);
LAYOUT_AT(struct line_copy, terms, 64);
LAYOUT_AT(struct line_copy, shadow, 128);
LAYOUT_AT(struct line_copy, classes, 192);
LAYOUT_AT(struct line_follow, learned, 0);
LAYOUT_AT(struct line_follow, adapt, 64);
LAYOUT_AT(struct line_shadow, origin_ticks, 0);
LAYOUT_AT(struct line_shadow, origin_units, 8);
LAYOUT_AT(struct line_shadow, origin_fraction, 16);
LAYOUT_AT(struct line_shadow, slope, 24);
LAYOUT_AT(struct line_shadow, burst_units, 32);
LAYOUT_AT(struct line_shadow, rate_micro, 40);
LAYOUT_AT(struct line_shadow, period_ns, 48);
LAYOUT_AT(struct line_shadow, burst_micro, 56);
LAYOUT_AT(struct line_class, name, 0);
LAYOUT_AT(struct line_class, leave, 8);
LAYOUT_AT(struct line_learned, rate_micro, 0);
LAYOUT_AT(struct line_learned, period_ns, 8);
LAYOUT_AT(struct line_learned, burst_micro, 16);
LAYOUT_AT(struct line_learned, until_ns, 24);
LAYOUT_AT(struct line_learned, from_ns, 32);
LAYOUT_AT(struct line_learned, limit_micro, 40);
LAYOUT_AT(struct line_learned, remaining_micro, 48);
LAYOUT_AT(struct line_learned, cause, 56);
LAYOUT_AT(struct line_adapt, mode, 0);
LAYOUT_AT(struct line_adapt, min_rate_micro, 8);
LAYOUT_AT(struct line_adapt, min_period_ns, 16);
LAYOUT_AT(struct line_adapt, safety_micro, 24);
LAYOUT_AT(struct line_adapt, max_close_ns, 32);
LAYOUT_AT(struct line_adapt, text, 48);
LAYOUT_AT(struct rule_row, generation, 0);
LAYOUT_AT(struct rule_row, state, 8);
LAYOUT_AT(struct rule_row, kind, 12);
LAYOUT_AT(struct rule_row, order, 16);
LAYOUT_AT(struct rule_row, source, 20);
LAYOUT_AT(struct rule_row, source_shape, 24);
LAYOUT_AT(struct rule_row, table, 28);
LAYOUT_AT(struct rule_row, source_units, 32);
LAYOUT_AT(struct rule_row, source_shadow, 40);
LAYOUT_AT(struct rule_row, source_burst, 48);
LAYOUT_AT(struct rule_row, source_ticks, 56);
LAYOUT_AT(struct rule_row, copies, 64);
LAYOUT_AT(struct rule_row, text, 576);
LAYOUT_AT(struct rule_row, permit_limit, 704);
LAYOUT_AT(struct rule_row, permit_hold_ns, 712);
LAYOUT_AT(struct rule_row, permit_head, 720);
LAYOUT_AT(struct rule_row, permit_cause, 724);
LAYOUT_AT(struct rule_row, permit_bounds, 728);
LAYOUT_AT(struct rule_row, permit_since, 736);
LAYOUT_AT(struct rule_row, permit_latency_ns, 744);
LAYOUT_AT(struct rule_row, permit_base_ns, 752);
LAYOUT_AT(struct permit_span, head, 0);
LAYOUT_AT(struct permit_span, next, 4);
LAYOUT_AT(struct rules_header, magic, 0);
LAYOUT_AT(struct rules_header, version, 8);
LAYOUT_AT(struct rules_header, ready, 12);
LAYOUT_AT(struct rules_header, signature, 16);
LAYOUT_AT(struct rules_header, bytes, 24);
LAYOUT_AT(struct rules_header, pair, 32);
LAYOUT_AT(struct rules_header, predecessor, 40);
LAYOUT_AT(struct rules_header, boot, 48);
LAYOUT_AT(struct rules_header, time_namespace, 64);
LAYOUT_AT(struct rules_header, created_ns, 72);
LAYOUT_AT(struct rules_header, clock_kind, 80);
LAYOUT_AT(struct rules_header, rows, 84);
LAYOUT_AT(struct rules_header, names, 88);
LAYOUT_AT(struct rules_header, members, 92);
LAYOUT_AT(struct rules_header, cpu_lanes, 96);
LAYOUT_AT(struct rules_header, rows_used, 100);
LAYOUT_AT(struct rules_header, permits, 104);
LAYOUT_AT(struct rules_header, waiters, 108);
LAYOUT_AT(struct rules_header, follows, 112);
LAYOUT_AT(struct rules_header, follows_used, 116);
LAYOUT_AT(struct rules_header, table_generation, 128);
LAYOUT_AT(struct rules_header, publisher_pid, 136);
LAYOUT_AT(struct rules_header, clock, 192);
LAYOUT_AT(struct rules_header, secret, 960);
LAYOUT_AT(struct rules_header, tables, 1096);
LAYOUT_AT(struct rules_header, tables_used, 1100);
LAYOUT_AT(struct rules_header, bins, 1104);
LAYOUT_AT(struct rules_header, bins_used, 1112);
LAYOUT_AT(struct keyed_row, first_bin, 0);
LAYOUT_AT(struct keyed_row, bins, 8);
LAYOUT_AT(struct keyed_row, keys, 16);
LAYOUT_AT(struct keyed_row, fold, 24);
LAYOUT_AT(struct key_slot, key, 0);
LAYOUT_AT(struct key_slot, mark, 8);
LAYOUT_AT(struct key_stripe, inserting, 0);
LAYOUT_AT(struct key_stripe, evicted, 8);
LAYOUT_AT(struct key_stripe, missed, 16);
LAYOUT_AT(struct key_name, bytes, 0);
LAYOUT_AT(struct key_name, text, 8);
LAYOUT_AT(struct key_worst, keys, 0);
LAYOUT_AT(struct key_worst, counts, 64);
LAYOUT_AT(struct key_worst, names, 128);
LAYOUT_AT(struct key_head, stripes, 0);
LAYOUT_AT(struct key_head, worst, 512);
LAYOUT_AT(struct state_header, magic, 0);
LAYOUT_AT(struct state_header, pair, 32);
LAYOUT_AT(struct state_header, names_refused, 40);
LAYOUT_AT(struct state_header, observations_dropped, 48);
LAYOUT_AT(struct state_header, observations_refused, 56);
LAYOUT_AT(struct state_header, retired, 64);
LAYOUT_AT(struct state_header, manual_ns, 128);
LAYOUT_AT(struct state_header, manual_moves, 136);
LAYOUT_AT(struct bucket, mark, 0);
LAYOUT_AT(struct bucket, gate, 8);
LAYOUT_AT(struct bucket, shadow, 16);
LAYOUT_AT(struct bucket, shadow_counts, 24);
LAYOUT_AT(struct name_row, hash, 0);
LAYOUT_AT(struct name_row, text, 16);
LAYOUT_AT(struct member_row, generation, 0);
LAYOUT_AT(struct member_row, pid, 8);
LAYOUT_AT(struct member_row, uid, 12);
LAYOUT_AT(struct member_row, start_ticks, 16);
LAYOUT_AT(struct member_row, joined_ns, 24);
LAYOUT_AT(struct member_row, program, 32);
LAYOUT_AT(struct member_row, bell, 56);
LAYOUT_AT(struct permit_row, word, 0);
LAYOUT_AT(struct permit_row, since, 8);
LAYOUT_AT(struct permit_line, tickets, 0);
LAYOUT_AT(struct permit_line, reach, 8);
LAYOUT_AT(struct permit_line, ended, 16);
LAYOUT_AT(struct permit_line, failed, 24);
LAYOUT_AT(struct waiter_row, owner, 0);
LAYOUT_AT(struct waiter_row, place, 8);
LAYOUT_AT(struct waiter_row, wake, 16);
LAYOUT_AT(struct waiter_row, rings, 20);

_Static_assert(sizeof(struct line_copy) == 256, "a copy is four cache lines");
_Static_assert(sizeof(struct follow_row) == 640, "what follows keeps its stride");
_Static_assert(sizeof(struct rule_row) == 768, "rows keep their stride");
_Static_assert(sizeof(struct rules_header) == 1152, "the rows follow the header");
_Static_assert(sizeof(struct state_header) == 192, "the buckets follow the header");
_Static_assert(sizeof(struct bucket) == 64, "a bucket owns its cache line");
_Static_assert(sizeof(struct name_row) == 144, "names keep their stride");
_Static_assert(sizeof(struct member_row) == 64, "members keep their stride");
_Static_assert(sizeof(struct permit_row) == 16, "four permits fill a cache line");
_Static_assert(sizeof(struct permit_line) == 32, "lines keep their stride");
_Static_assert(sizeof(struct waiter_row) == 32, "waiters keep their stride");
_Static_assert(sizeof(struct tally) == 64, "a tally owns its cache line");
_Static_assert(sizeof(struct keyed_row) == 64, "tables of keys keep their stride");
_Static_assert(sizeof(struct key_slot) == 16, "a slot is exchanged at once");
_Static_assert(sizeof(struct key_bin) == 128, "a bin is two cache lines");
_Static_assert(sizeof(struct key_worst) == 640, "a set of most refused keys keeps its stride");
_Static_assert(sizeof(struct key_head) == 10752, "heads keep their stride");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free between processes");

/* A fingerprint of the sizes above: equal for builds that agree on every byte. */
static inline uint64_t layout_signature(void)
{
	const uint64_t parts[] = {
		LAYOUT_VERSION,
		sizeof(struct rules_header),
		sizeof(struct rule_row),
		sizeof(struct line_copy),
		sizeof(struct follow_row),
		sizeof(struct state_header),
		sizeof(struct bucket),
		sizeof(struct name_row),
		sizeof(struct member_row),
		sizeof(struct tally),
		sizeof(struct permit_span),
		sizeof(struct permit_row),
		sizeof(struct permit_line),
		sizeof(struct waiter_row),
		LAYOUT_TEXT_BYTES,
		LAYOUT_SECRET_BYTES,
		LAYOUT_COUNTERS,
		LAYOUT_SHARED_LANES,
		LAYOUT_CLASSES,
		LAYOUT_SHADOW_COUNTS,
		LAYOUT_BLOCK_PERMITS,
		sizeof(struct keyed_row),
		sizeof(struct key_bin),
		sizeof(struct key_head),
		LAYOUT_ADAPT_BYTES,
		offsetof(struct rules_header, clock),
		offsetof(struct line_terms, window_ns),
	};
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		hash = (hash ^ parts[i]) * 0x100000001b3ull;
	return hash;
}

#endif
