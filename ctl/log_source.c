/* SPDX-License-Identifier: Apache-2.0 */
#include "log_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#define GZIP_WINDOW (15 + 16) /* the largest, and only gzip's own header */

/* A stream of members, of which one may follow another. */
struct log_gzip {
	z_stream stream;
	bool within; /* a member has begun and not ended */
	bool ended;  /* no bytes are left */
	unsigned char in[LOG_LINE_MAX];
};

static void say(struct log_source *source, const char *why)
{
	snprintf(source->why, sizeof(source->why), "%s", why);
}

/* Fills `to`. Returns the bytes, 0 at the end, -1 after saying why. */
static ssize_t read_bytes(struct log_source *source, void *to, size_t bytes)
{
	ssize_t got;

	do
		got = read(source->fd, to, bytes);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		say(source, strerror(errno));
	return got;
}

/* ---- gzip ---- */

/* More compressed bytes. false: there are none, which may be a fault. */
static bool feed(struct log_source *source, struct log_gzip *gzip)
{
	ssize_t got = read_bytes(source, gzip->in, sizeof(gzip->in));

	gzip->ended = got <= 0;
	if (got == 0 && gzip->within)
		say(source, "the gzip stream is cut short");
	if (got <= 0)
		return false;
	gzip->stream.next_in = gzip->in;
	gzip->stream.avail_in = (unsigned)got;
	return true;
}

/* The next member, behind one that has ended; zeros that fill up a tape or a block are none. */
static bool next_member(struct log_gzip *gzip)
{
	while (gzip->stream.avail_in && *gzip->stream.next_in == 0) {
		gzip->stream.next_in++;
		gzip->stream.avail_in--;
	}
	if (gzip->stream.avail_in == 0)
		return false;
	gzip->within = true;
	inflateReset(&gzip->stream);
	return true;
}

/* As read_bytes(). */
static ssize_t inflate_bytes(struct log_source *source, void *to, size_t bytes)
{
	struct log_gzip *gzip = source->gzip;
	int status = Z_OK;

	gzip->stream.next_out = to;
	gzip->stream.avail_out = (unsigned)bytes;
	while (gzip->stream.avail_out == bytes && !gzip->ended) {
		if (gzip->stream.avail_in == 0 && !feed(source, gzip))
			break;
		if (!gzip->within && !next_member(gzip))
			continue;
		status = inflate(&gzip->stream, Z_NO_FLUSH);
		if (status == Z_STREAM_END)
			gzip->within = false;
		else if (status != Z_OK && status != Z_BUF_ERROR) {
			say(source, gzip->stream.total_out ? "the gzip stream is damaged"
							   : "what follows is no gzip stream");
			gzip->ended = true;
		}
	}
	return (ssize_t)(bytes - gzip->stream.avail_out);
}

static const char *begin_gzip(struct log_source *source)
{
	struct log_gzip *gzip = calloc(1, sizeof(*gzip));

	if (!gzip || inflateInit2(&gzip->stream, GZIP_WINDOW) != Z_OK) {
		free(gzip);
		return strerror(ENOMEM);
	}
	/* what was read to find out goes through it */
	memcpy(gzip->in, source->buffer, source->to);
	gzip->stream.next_in = gzip->in;
	gzip->stream.avail_in = (unsigned)source->to;
	gzip->within = true;
	source->to = 0;
	source->gzip = gzip;
	return NULL;
}

/* ---- opening ---- */

/* What begins like that is no text. */
static const struct {
	const char *magic;
	size_t bytes;
	const char *program;
} packers[] = {
	{"\x28\xb5\x2f\xfd", 4, "zstdcat"},
	{"\xfd"
	 "7zXZ",
	 5, "xzcat"},
	{"BZh", 3, "bzcat"},
};

/* Looks at the first bytes. */
static const char *find_out(struct log_source *source)
{
	while (source->to < sizeof(source->why) && !source->ended) {
		ssize_t got = read_bytes(source, source->buffer + source->to,
					 sizeof(source->why) - source->to);

		if (got < 0)
			return source->why;
		source->ended = got == 0;
		source->to += (size_t)got;
	}
	for (size_t i = 0; i < sizeof(packers) / sizeof(packers[0]); i++)
		if (source->to >= packers[i].bytes &&
		    !memcmp(source->buffer, packers[i].magic, packers[i].bytes)) {
			snprintf(source->why, sizeof(source->why),
				 "it is compressed, not by gzip: %s LOG | weirctl simulate ... -",
				 packers[i].program);
			return source->why;
		}
	if (source->to >= 3 && !memcmp(source->buffer, "\x1f\x8b\x08", 3))
		return begin_gzip(source);
	return NULL;
}

const char *log_source_open(struct log_source *source, const char *name)
{
	bool is_stdin = !strcmp(name, "-");
	struct stat found;

	*source = (struct log_source){.name = is_stdin ? "standard input" : name};
	source->fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
			      : open(name, O_RDONLY | O_CLOEXEC);
	if (source->fd < 0 || fstat(source->fd, &found) < 0) {
		say(source, strerror(errno));
		return source->why;
	}
	if (S_ISDIR(found.st_mode))
		return "it is a directory: name the files in it";
	source->buffer = malloc(LOG_SOURCE_BYTES + 1);
	if (!source->buffer)
		return strerror(ENOMEM);
	(void)posix_fadvise(source->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return find_out(source);
}

void log_source_close(struct log_source *source)
{
	if (source->gzip)
		inflateEnd(&source->gzip->stream);
	free(source->gzip);
	free(source->buffer);
	if (source->fd >= 0)
		close(source->fd);
	*source = (struct log_source){.fd = -1};
}

/* ---- lines ---- */

/* Moves what is left to the front and reads behind it. false: there is no more. */
static bool refill(struct log_source *source)
{
	size_t left = source->to - source->from;
	ssize_t got = 0;

	memmove(source->buffer, source->buffer + source->from, left);
	source->from = 0;
	source->to = left;
	if (!source->ended)
		got = source->gzip
			      ? inflate_bytes(source, source->buffer + left,
					      LOG_SOURCE_BYTES - left)
			      : read_bytes(source, source->buffer + left, LOG_SOURCE_BYTES - left);
	source->ended |= got <= 0;
	source->to += got > 0 ? (size_t)got : 0;
	return got > 0;
}

/* Passes over the rest of a line that is too long; a part of it has been read. */
static enum log_source_result pass_long(struct log_source *source)
{
	const char *end;

	do {
		source->bytes += source->to - source->from;
		source->from = source->to;
		if (!refill(source))
			return LOG_SOURCE_LONG;
		end = memchr(source->buffer, '\n', source->to);
	} while (!end);
	source->from = (size_t)(end + 1 - source->buffer);
	source->bytes += source->from;
	return LOG_SOURCE_LONG;
}

enum log_source_result log_source_line(struct log_source *source, const char **line, size_t *bytes)
{
	size_t seen = 0; /* without a newline */
	char *at;
	char *end;

	for (;;) {
		at = source->buffer + source->from;
		end = memchr(at + seen, '\n', source->to - source->from - seen);
		if (end)
			break;
		seen = source->to - source->from;
		if (seen > LOG_LINE_MAX) {
			source->line++;
			return pass_long(source);
		}
		if (refill(source))
			continue;
		if (seen == 0)
			return LOG_SOURCE_END;
		/* the last line may have no end */
		end = source->buffer + source->to;
		at = source->buffer + source->from;
		*end = '\n';
		source->to++;
		break;
	}
	*line = at;
	*bytes = (size_t)(end - at);
	source->line++;
	source->bytes += *bytes + 1;
	source->from += *bytes + 1;
	return *bytes > LOG_LINE_MAX ? LOG_SOURCE_LONG : LOG_SOURCE_LINE;
}
