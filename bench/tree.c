/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.c - a limit for each key as nginx's limit_req keeps it, written anew: a red-black tree by a
 * 32-bit hash of the key, a queue of all keys in order of use, and one lock around both.
 *
 * What its own way costs it and could be done better is left as it is: 128 bytes a key, two
 * neighbours in the queue written at every call. What could be held against the comparison is given
 * to it: a better hash than its CRC, the time from a clock that only ticks (nginx reads one for a
 * whole turn of its loop), and a zone that has room for all keys, so that none is ever thrown out.
 */
#include "keys.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench.h"
#include "bucket.h"

#define SPIN 2048 /* pauses, as nginx has it */
#define RATE 1000000000u
#define BURST 1000000000u
#define EXCESS_PER_CALL 1000

/* Behind a node of nginx's tree its limit and the key; its slab gives a power of two. */
struct tree_node {
	_Alignas(128) uint64_t hash;
	struct tree_node *left;
	struct tree_node *right;
	struct tree_node *parent;
	unsigned char red;
	uint16_t bytes;
	struct tree_node *newer; /* in the queue */
	struct tree_node *older;
	uint64_t last_ms;
	int64_t excess;
	uint64_t count;
	struct bench_key key;
};

_Static_assert(sizeof(struct tree_node) == 128, "a node has what nginx's slab would give it");

struct tree_zone {
	_Alignas(64) _Atomic uint32_t lock; /* 1: held */
	_Atomic uint32_t waiting;
	sem_t wake;
	_Alignas(64) struct tree_node *root;
	struct tree_node nil;	/* below every leaf */
	struct tree_node queue; /* its newer end and its older one are here */
	uint64_t used;
	struct tree_node nodes[BENCH_KEYS];
};

static struct tree_zone *zone;
static const uint32_t *zipf;
static struct bench_order order; /* of one process of a crew */

/* ---- the lock: spins, then sleeps, as ngx_shmtx_lock() ---- */

static bool lock_try(void)
{
	uint32_t open = 0;

	/* relaxed: a look that decides nothing; acquire: pairs with the release in lock_leave() */
	return atomic_load_explicit(&zone->lock, memory_order_relaxed) == 0 &&
	       atomic_compare_exchange_strong_explicit(&zone->lock, &open, 1, memory_order_acquire,
						       memory_order_relaxed);
}

static bool lock_spin(void)
{
	for (unsigned pauses = 1; pauses < SPIN; pauses *= 2) {
		for (unsigned i = 0; i < pauses; i++)
			bucket_relax();
		if (lock_try())
			return true;
	}
	return false;
}

static void lock_enter(void)
{
	while (!lock_try() && !lock_spin()) {
		/* seq_cst, both: pair with each other's load in lock_leave() and here */
		atomic_fetch_add(&zone->waiting, 1);
		if (lock_try()) {
			atomic_fetch_sub(&zone->waiting, 1);
			return;
		}
		while (sem_wait(&zone->wake) < 0 && errno == EINTR)
			;
	}
}

static void lock_leave(void)
{
	uint32_t waiting;

	atomic_store(&zone->lock, 0);
	waiting = atomic_load(&zone->waiting);
	while (waiting > 0)
		if (atomic_compare_exchange_weak(&zone->waiting, &waiting, waiting - 1)) {
			sem_post(&zone->wake);
			return;
		}
}

/* ---- the tree ---- */

static void rotate(struct tree_node *node, bool to_left)
{
	struct tree_node *up = to_left ? node->right : node->left;
	struct tree_node *inner = to_left ? up->left : up->right;

	*(to_left ? &node->right : &node->left) = inner;
	if (inner != &zone->nil)
		inner->parent = node;
	up->parent = node->parent;
	if (node == zone->root)
		zone->root = up;
	else if (node == node->parent->left)
		node->parent->left = up;
	else
		node->parent->right = up;
	*(to_left ? &up->left : &up->right) = node;
	node->parent = up;
}

static void balance(struct tree_node *node)
{
	while (node != zone->root && node->parent->red) {
		struct tree_node *top = node->parent->parent;
		bool is_left = node->parent == top->left;
		struct tree_node *uncle = is_left ? top->right : top->left;

		if (uncle->red) {
			node->parent->red = uncle->red = 0;
			top->red = 1;
			node = top;
			continue;
		}
		if (node == (is_left ? node->parent->right : node->parent->left)) {
			node = node->parent;
			rotate(node, is_left);
		}
		node->parent->red = 0;
		top->red = 1;
		rotate(top, !is_left);
	}
	zone->root->red = 0;
}

static int compare(uint64_t hash, const struct bench_key *key, const struct tree_node *node)
{
	if (hash != node->hash)
		return hash < node->hash ? -1 : 1;
	return memcmp(key, &node->key, sizeof(*key));
}

static void queue_remove(struct tree_node *node)
{
	node->newer->older = node->older;
	node->older->newer = node->newer;
}

/* As the newest. */
static void queue_insert(struct tree_node *node)
{
	node->newer = &zone->queue;
	node->older = zone->queue.older;
	node->older->newer = node;
	zone->queue.older = node;
}

static struct tree_node *find(uint64_t hash, const struct bench_key *key)
{
	struct tree_node *node = zone->root;

	while (node != &zone->nil) {
		int side = compare(hash, key, node);

		if (side == 0)
			return node;
		node = side < 0 ? node->left : node->right;
	}
	return NULL;
}

static struct tree_node *insert(uint64_t hash, const struct bench_key *key, uint64_t now_ms)
{
	struct tree_node **at = &zone->root;
	struct tree_node *parent = &zone->nil;
	struct tree_node *node;

	if (zone->used == BENCH_KEYS)
		return NULL;
	node = &zone->nodes[zone->used++];
	while (*at != &zone->nil) {
		parent = *at;
		at = compare(hash, key, parent) < 0 ? &parent->left : &parent->right;
	}
	*node = (struct tree_node){
		.hash = hash,
		.left = &zone->nil,
		.right = &zone->nil,
		.parent = parent,
		.red = 1,
		.bytes = sizeof(*key),
		.last_ms = now_ms,
		.key = *key,
	};
	*at = node;
	balance(node);
	queue_insert(node);
	return node;
}

/* ---- the limit ---- */

static bool take(struct tree_node *node, uint64_t now_ms)
{
	int64_t ms = (int64_t)(now_ms - node->last_ms);
	int64_t excess = node->excess - (int64_t)RATE * (ms < 0 ? 0 : ms) + EXCESS_PER_CALL;

	if (excess < 0)
		excess = 0;
	if (excess > (int64_t)BURST * EXCESS_PER_CALL)
		return false;
	node->excess = excess;
	node->last_ms = now_ms;
	return true;
}

static bool draw(const struct bench_key *key)
{
	uint64_t hash = XXH3_64bits(key, sizeof(*key)) & UINT32_MAX;
	struct tree_node *node;
	struct timespec at;
	uint64_t now_ms;
	bool taken;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
	now_ms = (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
	lock_enter();
	node = find(hash, key);
	if (node != NULL) {
		queue_remove(node);
		queue_insert(node);
	} else {
		node = insert(hash, key, now_ms);
	}
	taken = node != NULL && take(node, now_ms);
	lock_leave();
	return taken;
}

/* ---- the rows ---- */

static const char *make_tree(void)
{
	struct bench_order mix;
	uint64_t taken = 0;

	if (zone != NULL)
		return NULL;
	zipf = bench_zipf(BENCH_KEYS);
	zone = bench_shared(sizeof(*zone));
	if (zipf == NULL || zone == NULL || sem_init(&zone->wake, 1, 0) < 0)
		return "no memory to share";
	zone->root = &zone->nil;
	zone->queue.newer = zone->queue.older = &zone->queue;
	for (uint32_t i = 0; i < BENCH_KEYS; i++) {
		struct bench_key key = bench_key(i);

		taken += draw(&key);
	}
	/* until the queue is in no order either, as after some hours of use */
	mix = bench_order(NULL, BENCH_KEYS);
	for (uint32_t i = 0; i < BENCH_KEYS; i++) {
		struct bench_key key = bench_key(bench_draw(&mix));

		draw(&key);
	}
	return taken == BENCH_KEYS ? NULL : "not every key was admitted";
}

static int enter_uniform(unsigned process)
{
	(void)process;
	bench_warm(zone, sizeof(*zone));
	order = bench_order(NULL, BENCH_KEYS);
	return 0;
}

static int enter_zipf(unsigned process)
{
	(void)process;
	bench_warm(zone, sizeof(*zone));
	order = bench_order(zipf, BENCH_KEYS);
	return 0;
}

static uint64_t run_tree(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++) {
		struct bench_key key = bench_key(bench_draw(&order));

		good += draw(&key);
	}
	return good;
}

double bench_tree_bytes(void)
{
	return sizeof(struct tree_node);
}

const struct bench_work bench_tree = {
	.name = "peer/tree",
	.least = 4,
	.prepare = make_tree,
	.enter = enter_uniform,
	.run = run_tree,
};

const struct bench_work bench_tree_zipf = {
	.name = "peer/tree-zipf",
	.least = 4,
	.prepare = make_tree,
	.enter = enter_zipf,
	.run = run_tree,
};
