/* SPDX-License-Identifier: Apache-2.0
 *
 * redis.c - the usual answer: a Redis on the same host, reached over a unix socket, with the
 * limit as a Lua script. The server is started here, on a private socket, without persistence,
 * and ended here.
 */
#include "bench.h"

#include <math.h>
#include <stddef.h>

#include "keys.h"
#include "server.h"

/* What a key takes there; found when its table is filled. */
static double key_bytes = NAN;

double bench_redis_key_bytes(void)
{
	return key_bytes;
}

#ifdef WEIR_BENCH_HIREDIS

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINE_DEPTH 64u
/* Its table has room for 2^18: so it is filled as well as it can be. */
#define REDIS_KEYS 250000u

/*
 * A token bucket as a theoretical arrival time in microseconds. The text is kept whole by
 * string.format, since Lua's own conversion drops digits of a number that long.
 */
static const char script[] =
	"local t = redis.call('TIME')\n"
	"local now = t[1] * 1000000 + t[2]\n"
	"local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])\n"
	"local arrival = tonumber(redis.call('GET', KEYS[1]) or now)\n"
	"if arrival < now then arrival = now end\n"
	"if arrival + interval - now > burst then return 0 end\n"
	"redis.call('SET', KEYS[1], string.format('%.0f', arrival + interval), 'PX', 60000)\n"
	"return 1\n";

static char socket_path[96];
static char script_sha[64];
static struct bench_server server;
static redisContext *connection; /* of one process of a crew */

static redisContext *connect_to_server(void)
{
	redisContext *context = redisConnectUnix(socket_path);

	if (context != NULL && context->err != 0) {
		redisFree(context);
		context = NULL;
	}
	return context;
}

static bool load_script(redisContext *context)
{
	redisReply *reply = redisCommand(context, "SCRIPT LOAD %s", script);
	bool loaded = reply != NULL && reply->type == REDIS_REPLY_STRING &&
		      (size_t)reply->len < sizeof(script_sha);

	if (loaded)
		snprintf(script_sha, sizeof(script_sha), "%s", reply->str);
	if (reply != NULL)
		freeReplyObject(reply);
	return loaded;
}

static bool server_answers(void)
{
	redisContext *context = connect_to_server();
	bool ready = context != NULL && load_script(context);

	if (context != NULL)
		redisFree(context);
	return ready;
}

static void finish_redis(void)
{
	bench_server_end(&server);
}

static const char *prepare_redis(void)
{
	static const char *const arguments[] = {"redis-server", "--port",      "0",  "--unixsocket",
						"socket",	"--save",      "",   "--appendonly",
						"no",		"--daemonize", "no", NULL};

	if (server.pid > 0)
		return NULL;
	if (!bench_on_path("redis-server"))
		return "redis-server is not installed; apt-get install redis-server";
	if (!bench_server_folder(&server, "redis"))
		return "no folder can be made in /tmp";
	snprintf(socket_path, sizeof(socket_path), "%s/socket", server.folder);
	if (bench_server_start(&server, arguments, server_answers))
		return NULL;
	finish_redis();
	return "redis-server did not start";
}

static int enter_redis(unsigned process)
{
	(void)process;
	connection = connect_to_server();
	return connection == NULL ? -ECONNREFUSED : 0;
}

static void leave_redis(void)
{
	redisFree(connection);
	connection = NULL;
}

/* Reads the answers to `depth` calls. Returns how many were admitted. */
static uint64_t answers(uint64_t depth)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < depth; i++) {
		void *got = NULL;
		redisReply *reply;

		if (redisGetReply(connection, &got) != REDIS_OK)
			break;
		reply = got;
		good += reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
		freeReplyObject(reply);
	}
	return good;
}

/* Sends `depth` calls, then reads as many answers. */
static uint64_t exchange(uint64_t depth)
{
	for (uint64_t i = 0; i < depth; i++)
		redisAppendCommand(connection, "EVALSHA %s 1 bucket 1 1000000", script_sha);
	return answers(depth);
}

static uint64_t run_redis(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t i = 0; i < ops; i++)
		good += exchange(1);
	return good;
}

static uint64_t run_redis_pipelined(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t done = 0; done < ops; done += PIPELINE_DEPTH)
		good += exchange(ops - done < PIPELINE_DEPTH ? ops - done : PIPELINE_DEPTH);
	return good;
}

/* ---- a bucket for each key ---- */

static struct bench_order order; /* of one process of a crew */

static void append_call(uint64_t number)
{
	const struct bench_key key = bench_key(number);

	redisAppendCommand(connection, "EVALSHA %s 1 %b 1 1000000", script_sha, &key, sizeof(key));
}

static uint64_t run_redis_keys(uint64_t ops)
{
	uint64_t good = 0;

	for (uint64_t done = 0; done < ops; done += PIPELINE_DEPTH) {
		uint64_t depth = ops - done < PIPELINE_DEPTH ? ops - done : PIPELINE_DEPTH;

		for (uint64_t i = 0; i < depth; i++)
			append_call(bench_draw(&order));
		good += answers(depth);
	}
	return good;
}

/* What the server says it has allocated, in bytes; NaN: it does not say. */
static double used_memory(void)
{
	redisReply *reply = redisCommand(connection, "INFO memory");
	const char *line = reply != NULL && reply->type == REDIS_REPLY_STRING
				   ? strstr(reply->str, "used_memory:")
				   : NULL;
	double bytes = line != NULL ? strtod(line + strlen("used_memory:"), NULL) : NAN;

	if (reply != NULL)
		freeReplyObject(reply);
	return bytes;
}

static uint64_t fill_redis(void)
{
	uint64_t good = 0;

	for (uint64_t done = 0; done < REDIS_KEYS; done += PIPELINE_DEPTH) {
		uint64_t end =
			done + PIPELINE_DEPTH < REDIS_KEYS ? done + PIPELINE_DEPTH : REDIS_KEYS;

		for (uint64_t i = done; i < end; i++)
			append_call(i);
		good += answers(end - done);
	}
	return good;
}

static const char *prepare_redis_keys(void)
{
	const char *note = prepare_redis();
	double before;
	uint64_t good;

	if (note != NULL || isfinite(key_bytes))
		return note;
	connection = connect_to_server();
	if (connection == NULL)
		return "redis-server does not answer";
	before = used_memory();
	good = fill_redis();
	if (good == REDIS_KEYS)
		key_bytes = (used_memory() - before) / REDIS_KEYS;
	leave_redis();
	return good == REDIS_KEYS ? NULL : "not every key was admitted";
}

static int enter_redis_keys(unsigned process)
{
	order = bench_order(NULL, REDIS_KEYS);
	return enter_redis(process);
}

const struct bench_work bench_redis = {
	.name = "peer/redis",
	.least = 1,
	.prepare = prepare_redis,
	.enter = enter_redis,
	.run = run_redis,
	.leave = leave_redis,
	.finish = finish_redis,
};

const struct bench_work bench_redis_pipelined = {
	.name = "peer/redis-pipelined",
	.least = PIPELINE_DEPTH,
	.prepare = prepare_redis,
	.enter = enter_redis,
	.run = run_redis_pipelined,
	.leave = leave_redis,
	.finish = finish_redis,
};

const struct bench_work bench_redis_keys = {
	.name = "peer/redis-keys",
	.least = PIPELINE_DEPTH,
	.prepare = prepare_redis_keys,
	.enter = enter_redis_keys,
	.run = run_redis_keys,
	.leave = leave_redis,
	.finish = finish_redis,
};

#else /* built without hiredis */

static const char *no_hiredis(void)
{
	return "built without hiredis; apt-get install libhiredis-dev redis-server, build again";
}

const struct bench_work bench_redis = {
	.name = "peer/redis",
	.prepare = no_hiredis,
};

const struct bench_work bench_redis_pipelined = {
	.name = "peer/redis-pipelined",
	.prepare = no_hiredis,
};

const struct bench_work bench_redis_keys = {
	.name = "peer/redis-keys",
	.prepare = no_hiredis,
};

#endif
