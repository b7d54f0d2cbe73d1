/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "weir.h"

#include "time_source.h"

#define UNKNOWN "unknown"

/* The first "model name" that the kernel lists. */
static void cpu_model(char *out, size_t bytes)
{
	FILE *info = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(out, bytes, UNKNOWN);
	if (info == NULL)
		return;
	while (fgets(line, sizeof(line), info) != NULL) {
		const char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || colon == NULL)
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(out, bytes, "%s", colon + 1 + strspn(colon + 1, " "));
		break;
	}
	fclose(info);
}

static void first_line(const char *path, char *out, size_t bytes)
{
	FILE *file = fopen(path, "re");

	snprintf(out, bytes, UNKNOWN);
	if (file == NULL)
		return;
	if (fgets(out, (int)bytes, file) != NULL)
		out[strcspn(out, "\n")] = 0;
	fclose(file);
}

static const char *segment_clock_name(void)
{
	switch (time_source_best()) {
	case CLOCK_KIND_TSC:
		return "tsc";
	case CLOCK_KIND_MONOTONIC:
		return "monotonic";
	case CLOCK_KIND_MANUAL:
		return "manual";
	}
	return UNKNOWN;
}

static const char *compiler(void)
{
#if defined(__clang__)
	return __VERSION__;
#elif defined(__GNUC__)
	return "gcc " __VERSION__;
#else
	return UNKNOWN;
#endif
}

static const char *optimised(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return "sanitized: the figures mean nothing";
#elif defined(__OPTIMIZE__)
	return "optimised";
#else
	return "not optimised: the figures mean little";
#endif
}

bool bench_on_path(const char *program)
{
	const char *path = getenv("PATH");
	char list[4096];
	char *rest = NULL;

	snprintf(list, sizeof(list), "%s", path != NULL ? path : "/usr/bin:/bin");
	for (char *dir = strtok_r(list, ":", &rest); dir != NULL;
	     dir = strtok_r(NULL, ":", &rest)) {
		char file[4224];

		snprintf(file, sizeof(file), "%s/%s", dir, program);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

const struct bench_fact *bench_machine(void)
{
	static struct bench_fact facts[] = {
		{"cpu", ""},	       {"cpus", ""},	 {"kernel", ""}, {"clock_source", ""},
		{"segment_clock", ""}, {"compiler", ""}, {"build", ""},	 {"weir", ""},
		{"key_tables", ""},    {NULL, ""},
	};
	struct utsname system;
	const size_t bytes = sizeof(facts[0].value);

	cpu_model(facts[0].value, bytes);
	snprintf(facts[1].value, bytes, "%u", bench_cpus());
	if (uname(&system) == 0)
		snprintf(facts[2].value, bytes, "%s %s", system.release, system.machine);
	else
		snprintf(facts[2].value, bytes, UNKNOWN);
	first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource",
		   facts[3].value, bytes);
	snprintf(facts[4].value, bytes, "%s", segment_clock_name());
	snprintf(facts[5].value, bytes, "%s", compiler());
	snprintf(facts[6].value, bytes, "%s", optimised());
	snprintf(facts[7].value, bytes, "%s", weir_version());
	snprintf(facts[8].value, bytes, "%s", bench_key_pages());
	return facts;
}
