/*
 * events.c
 *	  The events of a node: one JSON object a line, appended.
 *
 * Worker and launcher append at any time and never wait for each other: a line
 * is one write with O_APPEND.  Only rotation takes a lock, and whoever finds it
 * taken leaves that to its holder.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dcs/json.h"
#include "dcs/state.h"

/* a rotation that never happens must not fill the disk */
#define EVENTS_BYTES_HARD (4 * HA_EVENTS_BYTES)
#define WHAT_MAX 1024

static bool
why_events(char *why, const char *what, const char *dir)
{
	return pgha_why(why, "could not %s the events in \"%.100s\": %s", what,
					dir, strerror(errno));
}

/* ISO 8601 in UTC, to the millisecond; for people, never for a decision */
static void
format_time(char *text, size_t size)
{
	struct timespec now;
	struct tm	utc;
	size_t		len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	len = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + len, size - len, ".%03ldZ", now.tv_nsec / 1000000);
}

static char *
print_event(const HaEvent *event, const char *what, json_t *facts)
{
	char		when[40];
	json_t	   *document;
	char	   *text = NULL;

	format_time(when, sizeof(when));
	document = json_pack("{s:s, s:s, s:i, s:s, s:s, s:O*}",
						 "time", when,
						 "member", event->member ? event->member : "",
						 "rule", event->rule,
						 "action", event->action ? event->action : "",
						 "what", what, "facts", facts);
	if (document != NULL)
		text = json_dumps(document, JSON_COMPACT);
	json_decref(document);
	return text;
}

/*
 * The line, with a newline before it (the caller may skip that) and after.
 * One that is too long loses its facts, then the end of its sentence.
 */
static char *
event_line(const HaEvent *event)
{
	char		what[WHAT_MAX];
	char	   *text;
	char	   *line = NULL;
	size_t		limit = sizeof(what);
	json_t	   *facts = event->facts;

	pgha_text_cut(what, limit, event->what ? event->what : "");
	text = print_event(event, what, facts);
	while (text != NULL && strlen(text) > HA_EVENT_MAX - 2 &&
		   (facts != NULL || limit > 16))
	{
		free(text);
		if (facts == NULL)
			limit /= 2;
		facts = NULL;
		pgha_text_cut(what, limit, event->what ? event->what : "");
		text = print_event(event, what, facts);
	}
	if (text != NULL && asprintf(&line, "\n%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

/* Move a full file away.  Whoever comes second finds a small one. */
static void
rotate(const char *dir, const char *path)
{
	char		other[PATH_MAX];
	struct stat st;
	int			lock;

	if (snprintf(other, sizeof(other), "%s/events.lock", dir) >= PATH_MAX)
		return;
	lock = open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0)
		return;
	snprintf(other, sizeof(other), "%s/events.old.jsonl", dir);
	if (flock(lock, LOCK_EX | LOCK_NB) == 0 && stat(path, &st) == 0 &&
		st.st_size > HA_EVENTS_BYTES)
		rename(path, other);
	close(lock);
}

/* The file to append to, and whether its last line was cut short. */
static int
open_events(const char *dir, bool *created, bool *torn, char *why)
{
	char		path[PATH_MAX];
	struct stat st;
	char		last;
	int			fd;

	if (snprintf(path, sizeof(path), "%s/events.jsonl", dir) >= PATH_MAX)
	{
		pgha_why(why, "the path of the state directory is too long");
		return -1;
	}
	if (stat(path, &st) == 0 && st.st_size > HA_EVENTS_BYTES)
		rotate(dir, path);

	fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
	{
		why_events(why, "open", dir);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (st.st_size > EVENTS_BYTES_HARD)
	{
		pgha_why(why, "the events in \"%.100s\" could not be rotated", dir);
		close(fd);
		return -1;
	}
	*created = st.st_size == 0;
	*torn = st.st_size > 0 &&
		(pread(fd, &last, 1, st.st_size - 1) != 1 || last != '\n');
	return fd;
}

static bool
sync_events(const char *dir, int fd, bool created, char *why)
{
	int			dir_fd;
	bool		ok;

	if (fdatasync(fd) < 0)
		return why_events(why, "fsync", dir);
	if (!created)
		return true;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ok = dir_fd >= 0 && fsync(dir_fd) == 0;
	if (!ok)
		why_events(why, "fsync the directory of", dir);
	if (dir_fd >= 0)
		close(dir_fd);
	return ok;
}

bool
pgha_event_append(const char *dir, const HaEvent *event, char *why)
{
	char	   *line;
	const char *start;
	bool		created;
	bool		torn;
	bool		ok;
	ssize_t		len;
	int			fd;

	why[0] = '\0';
	line = event_line(event);
	if (line == NULL)
		return pgha_why(why, "an event is not UTF-8, or there is no memory");
	fd = open_events(dir, &created, &torn, why);
	if (fd < 0)
	{
		free(line);
		return false;
	}
	start = torn ? line : line + 1;
	len = (ssize_t) strlen(start);
	ok = write(fd, start, (size_t) len) == len;
	if (!ok)
		why_events(why, "append to", dir);
	else if (event->durable)
		ok = sync_events(dir, fd, created, why);
	close(fd);
	free(line);
	return ok;
}
