/*
 * test_state.c
 *	  Files in the state directory: whole or an error, never a default.
 *
 * Speaks TAP.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dcs/state.h"

#define WRITERS 4
#define WRITES 200

static int	tests;
static int	failures;
static char dir[] = "/tmp/pg_ha_test_state_XXXXXX";
static char why[HA_WHY_MAX];

static void ok(bool passed, const char *format,...)
			__attribute__((format(printf, 2, 3)));

static void
ok(bool passed, const char *format,...)
{
	va_list		args;

	tests++;
	failures += !passed;
	printf("%sok %d - ", passed ? "" : "not ", tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (!passed)
		printf("# why: %s\n", why);
}

static const char *
path_of(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void
put(const char *name, const char *text, size_t len)
{
	FILE	   *file = fopen(path_of(name), "w");

	fwrite(text, 1, len, file);
	fclose(file);
}

/* The whole file; the caller frees. */
static char *
get(const char *name)
{
	size_t		len;
	bool		missing;
	char	   *text = pgha_file_read(path_of(name), 16 * 1024 * 1024, &len,
									  &missing, why);

	return text ? text : strdup("");
}

static int
files_like(const char *part)
{
	DIR		   *d = opendir(dir);
	struct dirent *entry;
	int			n = 0;

	while ((entry = readdir(d)) != NULL)
		n += strstr(entry->d_name, part) != NULL;
	closedir(d);
	return n;
}

static void
remove_all(void)
{
	DIR		   *d = opendir(dir);
	struct dirent *entry;

	while ((entry = readdir(d)) != NULL)
	{
		if (entry->d_name[0] != '.')
			unlink(path_of(entry->d_name));
	}
	closedir(d);
}

/*
 * lease.json and node.json
 */

static void
test_term(void)
{
	HaTermFile	in = {
		.term = 7, .highest_term = 9, .index = 123456789012,
		.seq_reserved = 5000000, .session = "8a1b\"\\\303\251"
	};
	HaTermFile	out;
	char	   *text;
	char	   *boot;

	ok(pgha_state_read_term(dir, &out, why) && !out.present,
	   "term: an absent file is not an error");
	ok(pgha_state_write_term(dir, &in, why) &&
	   pgha_state_read_term(dir, &out, why) && out.present &&
	   out.same_boot && out.term == 7 && out.highest_term == 9 &&
	   out.index == in.index && out.seq_reserved == in.seq_reserved &&
	   strcmp(out.session, in.session) == 0, "term: round trip");

	text = get("lease.json");
	boot = strstr(text, "\"boot\":\"") + 8;
	boot[0] = boot[0] == '0' ? '1' : '0';
	put("lease.json", text, strlen(text));
	free(text);
	ok(pgha_state_read_term(dir, &out, why) && out.present &&
	   !out.same_boot && out.term == 7, "term: of another boot");

	in.term = UINT64_MAX;
	ok(!pgha_state_write_term(dir, &in, why) &&
	   pgha_state_read_term(dir, &out, why) && out.term == 7,
	   "term: what can't be written leaves the old file");
}

/* Two brains of one node write at once: nothing goes back, nothing is twice. */
static void
test_term_merge(void)
{
	HaTermFile	old = {.term = 3, .highest_term = 3, .session = "old"};
	HaTermFile	out;
	int			status;
	int			bad = 0;

	remove_all();
	ok(pgha_state_merge_term(dir, &old, HA_TERM_CLAIM | HA_TERM_RESERVE, why) &&
	   old.term == 4 && old.highest_term == 4 &&
	   old.seq_reserved == HA_SEQ_BLOCK, "merge: a claim is above all known");
	old.term = old.highest_term = old.seq_reserved = 1;
	strcpy(old.session, "new");
	ok(pgha_state_merge_term(dir, &old, HA_TERM_STORE, why) &&
	   pgha_state_read_term(dir, &out, why) && out.term == 4 &&
	   out.highest_term == 4 && out.seq_reserved == HA_SEQ_BLOCK &&
	   strcmp(out.session, "new") == 0,
	   "merge: a brain that knows less takes nothing back");

	for (int child = 0; child < 2; child++)
	{
		if (fork() != 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < 50; i++)
			bad += !pgha_state_merge_term(dir, &old,
										  HA_TERM_CLAIM | HA_TERM_RESERVE, why);
		_exit(bad != 0);
	}
	while (wait(&status) > 0)
		bad += status != 0;
	ok(bad == 0 && pgha_state_read_term(dir, &out, why) && out.term == 104 &&
	   out.seq_reserved == 101 * (uint64_t) HA_SEQ_BLOCK,
	   "merge: each claim of two brains gets a term and a block of its own");
}

static void
test_node(void)
{
	HaNodeFile	in = {
		.half_done = "rewind", .leader = "pg 1", .timeline = UINT32_MAX,
		.flush_lsn = UINT64_C(0x123456789A), .sysid = UINT64_MAX
	};
	HaNodeFile	out;

	ok(pgha_state_read_node(dir, &out, why) && !out.present,
	   "node: an absent file is not an error");
	ok(pgha_state_write_node(dir, &in, why) &&
	   pgha_state_read_node(dir, &out, why) && out.present &&
	   strcmp(out.half_done, "rewind") == 0 &&
	   strcmp(out.leader, "pg 1") == 0 && out.timeline == UINT32_MAX &&
	   out.flush_lsn == in.flush_lsn && out.sysid == UINT64_MAX,
	   "node: round trip");
}

static void
test_damage(void)
{
	HaTermFile	term = {.term = 7, .session = "s"};
	HaNodeFile	node = {.leader = "pg1", .sysid = 5};
	char	   *term_text;
	char	   *node_text;
	int			taken = 0;

	pgha_state_write_term(dir, &term, why);
	pgha_state_write_node(dir, &node, why);
	term_text = get("lease.json");
	node_text = get("node.json");
	for (size_t len = 0; len < strlen(term_text); len++)
	{
		put("lease.json", term_text, len);
		taken += pgha_state_read_term(dir, &term, why) || term.present ||
			term.term != 0 || why[0] == '\0';
	}
	for (size_t len = 0; len < strlen(node_text); len++)
	{
		put("node.json", node_text, len);
		taken += pgha_state_read_node(dir, &node, why) || node.present ||
			why[0] == '\0';
	}
	ok(taken == 0, "a half-written file is an error, at every length");

	for (char *colon = term_text; (colon = strchr(colon, ':')) != NULL;)
	{
		char		before = *++colon;

		*colon = '[';
		put("lease.json", term_text, strlen(term_text));
		taken += pgha_state_read_term(dir, &term, why);
		*colon = before;
	}
	put("lease.json", "{}", 2);
	taken += pgha_state_read_term(dir, &term, why);
	put("lease.json", "[]", 2);
	taken += pgha_state_read_term(dir, &term, why);
	put("lease.json", "\0\0\0\0", 4);
	taken += pgha_state_read_term(dir, &term, why);
	ok(taken == 0, "garbage is an error");

	term_text = realloc(term_text, 100000);
	memset(term_text + strlen(term_text), ' ', 100000 - strlen(term_text));
	put("lease.json", term_text, 100000);
	ok(!pgha_state_read_term(dir, &term, why) &&
	   strstr(why, "larger than") != NULL, "an oversized file is an error");
	free(term_text);
	free(node_text);
	unlink(path_of("lease.json"));
	mkdir(path_of("lease.json"), 0700);
	ok(!pgha_state_read_term(dir, &term, why) && why[0] != '\0',
	   "what can't be read is an error, not absent");
	rmdir(path_of("lease.json"));
}

/*
 * Replacing files, follow.conf
 */

static void
test_replace(void)
{
	struct stat st;
	char	   *text;
	size_t		len;
	bool		missing;

	ok(pgha_file_replace(path_of("f"), "one", 3, why) &&
	   pgha_file_replace(path_of("f"), "two\0!", 5, why) &&
	   stat(path_of("f"), &st) == 0 && (st.st_mode & 0777) == 0600 &&
	   st.st_size == 5 && files_like(".tmp.") == 0,
	   "replace: new content, mode 0600, nothing left beside it");
	text = pgha_file_read(path_of("f"), 5, &len, &missing, why);
	ok(text && len == 5 && memcmp(text, "two\0!", 6) == 0,
	   "read: all bytes of a file of the limit, and a NUL");
	free(text);
	ok(pgha_file_read(path_of("f"), 4, &len, &missing, why) == NULL &&
	   !missing && len == 0, "read: over the limit");
	ok(pgha_file_read(path_of("nothing"), 4, &len, &missing, why) == NULL &&
	   missing, "read: absent");
	ok(!pgha_file_replace("/nonexistent/f", "x", 1, why) &&
	   strstr(why, "/nonexistent/f") != NULL,
	   "replace: an error names the file");
}

/* A disk that is full: the file size limit stands in for it. */
static void
test_replace_full(void)
{
	static char big[65536];
	struct rlimit limit;
	struct rlimit before;
	char	   *text;
	bool		replaced;

	pgha_file_replace(path_of("f"), "old", 3, why);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 4096;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	replaced = pgha_file_replace(path_of("f"), big, sizeof(big), why);
	setrlimit(RLIMIT_FSIZE, &before);
	text = get("f");
	ok(!replaced && strcmp(text, "old") == 0 && files_like(".tmp.") == 0,
	   "replace: a write that fails leaves the old file, and nothing else");
	free(text);
}

/* Readers while a writer replaces, and is killed. */
static void
test_replace_atomic(void)
{
	HaTermFile	file = {.term = 1, .session = "s"};
	HaTermFile	seen;
	int			bad = 0;
	uint64_t	last = 0;
	pid_t		child;

	pgha_state_write_term(dir, &file, why);
	child = fork();
	if (child == 0)
	{
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;; file.term++)
			pgha_state_write_term(dir, &file, why);
	}
	for (int reads = 0; reads < 100000 && last < 100; reads++)
	{
		bad += !pgha_state_read_term(dir, &seen, why) || seen.term < last;
		last = seen.term;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	bad += !pgha_state_read_term(dir, &seen, why) || seen.term < last;
	ok(bad == 0 && last > 1,
	   "replace: a reader sees the old or the new one, also after a kill");
}

static void
test_follow(void)
{
	char		large[8192];
	char	   *text;

	ok(pgha_state_write_follow(dir, "host=a password='it''s \\'", "pg_1",
							   why), "follow: written");
	text = get("follow.conf");
	ok(strcmp(text, "primary_conninfo = 'host=a password=''it''''s \\\\'''\n"
			  "primary_slot_name = 'pg_1'\n") == 0,
	   "follow: quotes and backslashes are doubled");
	free(text);
	ok(!pgha_state_write_follow(dir, "host=a\nport=1", "", why),
	   "follow: a newline is refused");
	memset(large, '\'', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	ok(!pgha_state_write_follow(dir, large, "", why),
	   "follow: one that is too long is refused");
	ok(pgha_state_write_follow(dir, "", NULL, why), "follow: nobody");
	text = get("follow.conf");
	ok(strcmp(text, "primary_conninfo = ''\nprimary_slot_name = ''\n") == 0,
	   "follow: nobody is empty settings");
	free(text);
}

/*
 * Events
 */

/* Lines that are JSON objects with a time; -1 if another line is found. */
static int
events_in(const char *name)
{
	char	   *text = get(name);
	char	   *rest = text;
	char	   *line;
	int			n = 0;

	while ((line = strsep(&rest, "\n")) != NULL)
	{
		json_t	   *event = json_loads(line, 0, NULL);
		const char *when = json_string_value(json_object_get(event, "time"));

		if (line[0] != '\0' && (when == NULL || strlen(when) != 24 ||
								when[10] != 'T' || when[23] != 'Z'))
			n = -1000000;
		n += event != NULL;
		json_decref(event);
	}
	free(text);
	return n;
}

static void
test_event(void)
{
	HaEvent		event = {
		.member = "pg1", .rule = 210, .action = "heartbeat",
		.what = "a \"sentence\"\nof two lines", .durable = true
	};
	json_t	   *line;
	char	   *text;

	event.facts = json_pack("{s:i}", "lag", 5);
	ok(pgha_event_append(dir, &event, why), "event: appended");
	text = get("events.jsonl");
	line = json_loads(text, 0, NULL);
	ok(strchr(text, '\n') == text + strlen(text) - 1 && line != NULL &&
	   json_integer_value(json_object_get(line, "rule")) == 210 &&
	   strcmp(json_string_value(json_object_get(line, "what")),
			  event.what) == 0 &&
	   json_equal(json_object_get(line, "facts"), event.facts),
	   "event: one line with all of it");
	json_decref(line);
	free(text);
	json_decref(event.facts);
	event.facts = NULL;
	ok(pgha_event_append(dir, &event, why) && events_in("events.jsonl") == 2,
	   "event: without facts");
}

static void
test_event_large(void)
{
	char		what[5000];
	HaEvent		event = {.member = "pg1", .action = "x", .what = what};
	char	   *text;

	unlink(path_of("events.jsonl"));
	memset(what, '\1', sizeof(what) - 1);
	what[sizeof(what) - 1] = '\0';
	event.facts = json_pack("{s:s%}", "large", "x", (size_t) 1);
	json_object_set_new(event.facts, "larger",
						json_sprintf("%3000s", "x"));
	ok(pgha_event_append(dir, &event, why) && events_in("events.jsonl") == 1,
	   "event: a large one is written");
	text = get("events.jsonl");
	ok(strlen(text) <= HA_EVENT_MAX && strstr(text, "facts") == NULL,
	   "event: cut to a line's length");
	free(text);
	json_decref(event.facts);

	event.facts = NULL;
	event.what = "\377";
	ok(!pgha_event_append(dir, &event, why) && why[0] != '\0',
	   "event: one that is not UTF-8 is an error");
}

static void
test_event_torn(void)
{
	HaEvent		event = {.member = "pg1", .action = "x", .what = "whole"};
	char	   *text;

	put("events.jsonl", "{\"time\":\"20", 11);
	ok(pgha_event_append(dir, &event, why), "event: after a torn line");
	text = get("events.jsonl");
	ok(strncmp(text, "{\"time\":\"20\n{\"time\":", 20) == 0,
	   "event: a torn line is ended first");
	free(text);
}

static void
test_event_rotation(void)
{
	HaEvent		event = {.member = "pg1", .action = "x"};
	char		what[1001];
	int			n = 0;
	int			lock;
	struct stat st;

	remove_all();
	memset(what, 'w', sizeof(what) - 1);
	what[sizeof(what) - 1] = '\0';
	event.what = what;
	while (n < 5000 && stat(path_of("events.old.jsonl"), &st) < 0)
		n += pgha_event_append(dir, &event, why);
	ok(stat(path_of("events.old.jsonl"), &st) == 0 &&
	   st.st_size > HA_EVENTS_BYTES &&
	   st.st_size < HA_EVENTS_BYTES + HA_EVENT_MAX &&
	   events_in("events.jsonl") == 1 &&
	   events_in("events.old.jsonl") == n - 1,
	   "event: a full file is rotated, nothing is lost");

	lock = open(path_of("events.lock"), O_RDWR);
	flock(lock, LOCK_EX);
	for (n = 0; n < 10000 && pgha_event_append(dir, &event, why); n++)
		;
	stat(path_of("events.jsonl"), &st);
	ok(n > 3000 && n < 5000 &&
	   st.st_size < 4 * HA_EVENTS_BYTES + HA_EVENT_MAX,
	   "event: who holds the lock for ever does not stop others, up to a bound");
	close(lock);
	ok(pgha_event_append(dir, &event, why) && events_in("events.jsonl") == 1,
	   "event: rotated when the lock is free again");
}

static void
test_event_concurrent(void)
{
	HaEvent		event = {.member = "pg1", .action = "x", .what = "w"};
	pid_t		children[WRITERS];
	int			failed = 0;
	int			status;

	remove_all();
	for (int i = 0; i < WRITERS; i++)
	{
		children[i] = fork();
		if (children[i] == 0)
		{
			for (int n = 0; n < WRITES; n++)
				failed += !pgha_event_append(dir, &event, why);
			_exit(failed > 0);
		}
	}
	for (int i = 0; i < WRITERS; i++)
	{
		waitpid(children[i], &status, 0);
		failed += status != 0;
	}
	ok(failed == 0 && events_in("events.jsonl") == WRITERS * WRITES,
	   "event: concurrent writers don't mix lines");
}

int
main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	test_term();
	test_term_merge();
	test_node();
	test_damage();
	test_replace();
	test_replace_full();
	test_replace_atomic();
	test_follow();
	remove_all();
	test_event();
	test_event_large();
	test_event_torn();
	test_event_rotation();
	test_event_concurrent();
	remove_all();
	rmdir(dir);
	printf("1..%d\n", tests);
	return failures > 0;
}
