/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of weir-fetch: sums, names of files, the command line, completion, the manifest.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "manifest.h"
#include "options.h"
#include "sha256.h"
#include "target.h"

/* ---- sums ---- */

/* FIPS 180-4's examples, and what sha256sum says of others. */
static void test_sha256(void **state)
{
	static const struct {
		const char *text, *sum;
	} rows[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
		{"hello\n", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"},
	};
	char sum[SHA256_HEX];
	struct sha256 hash;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* at once, and byte by byte */
		sha256_begin(&hash);
		sha256_add(&hash, rows[i].text, strlen(rows[i].text));
		sha256_end(&hash, sum);
		assert_string_equal(sum, rows[i].sum);
		sha256_begin(&hash);
		for (const char *at = rows[i].text; *at; at++)
			sha256_add(&hash, at, 1);
		sha256_end(&hash, sum);
		assert_string_equal(sum, rows[i].sum);
	}
	/* a million times a */
	sha256_begin(&hash);
	for (int i = 0; i < 1000000; i += 40)
		sha256_add(&hash, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 40);
	sha256_end(&hash, sum);
	assert_string_equal(sum,
			    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* All lengths about the end of a block, however they are cut. */
static void test_sha256_cuts(void **state)
{
	char text[200];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t length = 0; length < sizeof(text); length++) {
		char whole[SHA256_HEX], parts[SHA256_HEX];
		struct sha256 hash;

		sha256_begin(&hash);
		sha256_add(&hash, text, length);
		sha256_end(&hash, whole);
		sha256_begin(&hash);
		sha256_add(&hash, text, length / 3);
		sha256_add(&hash, text, length - length / 3);
		sha256_end(&hash, parts);
		assert_string_equal(whole, parts);
	}
}

/* ---- names ---- */

static void test_names(void **state)
{
	static const struct {
		const char *url, *name;
	} rows[] = {
		{"http://example.com/a/b.tar.gz", "b.tar.gz"},
		{"http://example.com/a/b?query/with=slash#top", "b"},
		{"http://example.com/", "index.html"},
		{"http://example.com", "index.html"},
		{"http://example.com/a/", "index.html"},
		{"example.com/a", "a"},
		{"http://example.com/a%20b", "a b"},
		/* nothing leads out of the folder, hides, or writes on a terminal */
		{"http://example.com/..", "_."},
		{"http://example.com/%2e%2e", "_."},
		{"http://example.com/%2e%2e%2fetc%2fpasswd", "_._etc_passwd"},
		{"http://example.com/.hidden", "_hidden"},
		{"http://example.com/a%00b", "a_b"},
		{"http://example.com/a%0ab%1b[2J", "a_b_[2J"},
		{"http://example.com/a%5cb", "a_b"},
		{"http://example.com/100%", "100%"},
		{"http://example.com/%zz", "%zz"},
	};
	char name[TARGET_NAME_BYTES];
	char url[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		target_name(rows[i].url, name);
		assert_string_equal(name, rows[i].name);
	}
	snprintf(url, sizeof(url), "http://example.com/");
	memset(url + 19, 'n', 900);
	url[919] = '\0';
	target_name(url, name);
	assert_int_equal(strlen(name), 200);
	target_other_name(url, name);
	assert_int_equal(strlen(name), 209);
	assert_int_equal(name[200], '-');
}

/* ---- the command line ---- */

static bool read_line(struct options *out, char *wrong, const char *line)
{
	static char text[500];
	static char *argv[40];
	int argc = 0;

	snprintf(text, sizeof(text), "weir-fetch %s", line);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	return options_read(out, argc, argv, wrong);
}

static void test_options(void **state)
{
	static const char *const wrongs[] = {
		"",
		"--parallel 0 u",
		"--parallel 1025 u",
		"-P x u",
		"-P -1 u",
		"--retries 1001 u",
		"--wait -1 u",
		"--wait x u",
		"--stall 0 u",
		"--header x u",
		"--no-such u",
		"--output",
		"-x u",
		"--wait 1e99 u",
		"--wait nan u",
	};
	char wrong[OPTIONS_WRONG_BYTES];
	struct options options;

	(void)state;
	assert_true(read_line(&options, wrong, "http://a/ http://b/"));
	assert_int_equal(options.parallel, 8);
	assert_int_equal(options.retries, 4);
	assert_int_equal(options.stall_s, 60);
	assert_int_equal(options.wait_ns, 0);
	assert_string_equal(options.folder, ".");
	assert_string_equal(options.urls[1], "http://b/");
	assert_null(options.urls[2]);
	assert_true(
		read_line(&options, wrong,
			  "-P 3 u -o out --endpoint e --class c --retries 0 --wait 1.5 -H a:b "
			  "--header=c:d --json -q - --manifest m --cacert ca -N n --shm-dir d"));
	assert_int_equal(options.parallel, 3);
	assert_int_equal(options.retries, 0);
	assert_int_equal(options.wait_ns, 1500000000);
	assert_int_equal(options.header_count, 2);
	assert_string_equal(options.headers[1], "c:d");
	assert_true(options.json && options.quiet);
	assert_string_equal(options.urls[0], "u");
	assert_string_equal(options.urls[1], "-");
	/* 0 seconds are not for ever */
	assert_true(read_line(&options, wrong, "--wait 0 u"));
	assert_int_equal(options.wait_ns, 1);
	assert_true(read_line(&options, wrong, "--help"));
	assert_true(read_line(&options, wrong, "--version"));
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		wrong[0] = '\0';
		if (read_line(&options, wrong, wrongs[i]) || !wrong[0])
			fail_msg("'%s' was read", wrongs[i]);
	}
}

static void print_into(char **text, void (*print)(FILE *to))
{
	size_t bytes;
	FILE *to = open_memstream(text, &bytes);

	print(to);
	fclose(to);
}

static void print_bash(FILE *to)
{
	assert_true(options_complete("bash", to));
}

static void print_zsh(FILE *to)
{
	assert_true(options_complete("zsh", to));
}

static void print_none(FILE *to)
{
	assert_false(options_complete("csh", to));
}

/* Usage, completion and the manual all have the options that there are. */
static void test_tables(void **state)
{
	char *usage, *bash, *zsh, *none;
	char manual[20000];
	FILE *page = fopen(WEIR_SOURCE_DIR "/doc/man/weir-fetch.1", "r");
	unsigned options = 0;

	(void)state;
	print_into(&usage, options_usage);
	print_into(&bash, print_bash);
	print_into(&zsh, print_zsh);
	print_into(&none, print_none);
	assert_string_equal(none, "");
	assert_non_null(page);
	manual[fread(manual, 1, sizeof(manual) - 1, page)] = '\0';
	fclose(page);
	for (const char *at = strstr(usage, "--"); at; at = strstr(at + 1, "--")) {
		char name[40];
		char in_manual[60];
		size_t length = strspn(at, "-abcdefghijklmnopqrstuvwxyz");

		snprintf(name, sizeof(name), "%.*s", (int)length, at);
		assert_non_null(strstr(bash, name));
		assert_non_null(strstr(zsh, name));
		snprintf(in_manual, sizeof(in_manual), "Fl -%s", name + 2);
		if (!strstr(manual, in_manual))
			fail_msg("weir-fetch(1) has no %s", name);
		options++;
	}
	assert_true(options >= 17);
	free(usage);
	free(bash);
	free(zsh);
	free(none);
}

/* ---- the manifest ---- */

static void test_manifest(void **state)
{
	static const char sum[] =
		"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
	char path[] = "/tmp/weir-manifest-XXXXXX";
	struct manifest manifest;
	FILE *file;

	(void)state;
	close(mkstemp(path));
	/* lines of others, and damaged ones, are left alone */
	file = fopen(path, "w");
	fprintf(file, "%s  theirs\n# 12 bytes from http://a/\nnonsense\n# x\n\n%s  also\n", sum,
		sum);
	fclose(file);
	assert_int_equal(manifest_open(&manifest, path), 0);
	assert_null(manifest_of_url(&manifest, "http://a/"));
	assert_null(manifest_of_file(&manifest, "theirs"));
	assert_int_equal(manifest_add(&manifest, "http://b/", "b c", 6, sum), 0);
	assert_int_equal(manifest_add(&manifest, "http://c/", "c", 7, sum), 0);
	/* the last word counts */
	assert_int_equal(manifest_add(&manifest, "http://b/", "other", 8, sum), 0);
	manifest_close(&manifest);

	assert_int_equal(manifest_open(&manifest, path), 0);
	assert_string_equal(manifest_of_url(&manifest, "http://b/")->file, "other");
	assert_int_equal(manifest_of_url(&manifest, "http://b/")->bytes, 8);
	assert_string_equal(manifest_of_file(&manifest, "b c")->url, "http://b/");
	assert_string_equal(manifest_of_file(&manifest, "c")->url, "http://c/");
	manifest_close(&manifest);
	unlink(path);
	assert_true(manifest_open(&manifest, "/proc/no/such/file") < 0);
	manifest_close(&manifest);
}

/* ---- targets ---- */

static void test_target(void **state)
{
	char path[] = "/tmp/weir-target-XXXXXX";
	struct target target, other;
	char sum[SHA256_HEX];
	int folder;

	(void)state;
	assert_non_null(mkdtemp(path));
	folder = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(target_open(&target, folder, "a", "http://u/"), 0);
	assert_int_equal(target_open(&other, folder, "a", "http://u/"), -EBUSY);
	assert_int_equal(target_restart(&target, "http://u/", "\"1\""), 0);
	assert_int_equal(target_add(&target, "hel", 3), 0);
	target_leave(&target);
	target_leave(&target);

	/* of another URL: from the beginning */
	assert_int_equal(target_open(&target, folder, "a", "http://other/"), 0);
	assert_int_equal(target.have, 0);
	assert_int_equal(target_restart(&target, "http://u/", "\"1\""), 0);
	assert_int_equal(target_add(&target, "hel", 3), 0);
	target_leave(&target);

	assert_int_equal(target_open(&target, folder, "a", "http://u/"), 0);
	assert_int_equal(target.have, 3);
	assert_string_equal(target.validator, "\"1\"");
	assert_int_equal(target_add(&target, "lo\n", 3), 0);
	assert_int_equal(target_finish(&target, sum), 0);
	assert_string_equal(sum,
			    "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
	assert_int_equal(faccessat(folder, "a.part", F_OK, 0), -1);
	assert_int_equal(faccessat(folder, "a.part.from", F_OK, 0), -1);
	assert_int_equal(unlinkat(folder, "a", 0), 0);

	/* a link where the part would be is not followed */
	assert_int_equal(symlinkat("/tmp/elsewhere", folder, "b.part"), 0);
	assert_true(target_open(&target, folder, "b", "http://u/") < 0);
	assert_int_equal(unlinkat(folder, "b.part", 0), 0);
	close(folder);
	/* nothing else is left */
	assert_int_equal(rmdir(path), 0);
}

/* ---- one that finishes between another's opening and locking ---- */

static int race_folder = -1;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation)
{
	if (race_folder >= 0) {
		assert_int_equal(renameat(race_folder, "a.part", race_folder, "a"), 0);
		race_folder = -1;
	}
	return __real_flock(fd, operation);
}

static void test_target_finished_meanwhile(void **state)
{
	char path[] = "/tmp/weir-target-XXXXXX";
	struct target target;
	struct stat whole;
	char sum[SHA256_HEX];
	int folder;

	(void)state;
	assert_non_null(mkdtemp(path));
	folder = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(target_open(&target, folder, "a", "http://u/"), 0);
	assert_int_equal(target_restart(&target, "http://u/", "\"1\""), 0);
	assert_int_equal(target_add(&target, "hello\n", 6), 0);
	close(target.fd);
	assert_int_equal(unlinkat(folder, "a.part.from", 0), 0);

	race_folder = folder;
	assert_int_equal(target_open(&target, folder, "a", "http://u/"), 0);
	assert_int_equal(race_folder, -1);
	assert_int_equal(fstatat(folder, "a", &whole, 0), 0);
	assert_int_equal(whole.st_size, 6);
	assert_int_equal(target.have, 0);
	assert_int_equal(target_add(&target, "hello\n", 6), 0);
	assert_int_equal(target_finish(&target, sum), 0);
	assert_int_equal(unlinkat(folder, "a", 0), 0);
	close(folder);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256), cmocka_unit_test(test_sha256_cuts),
		cmocka_unit_test(test_names),  cmocka_unit_test(test_options),
		cmocka_unit_test(test_tables), cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_target), cmocka_unit_test(test_target_finished_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
