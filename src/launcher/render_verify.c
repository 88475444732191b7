/*
 * render_verify.c
 *	  Asking the server whether it accepts the rendered file.
 *
 * `postgres -C` reads the configuration as a start does, says what is wrong
 * with it, and ends.  Each try names one setting at least, which is left out of
 * the next; so there are never more tries than entries.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dcs/json.h"
#include "dcs/state.h"
#include "launcher/capture.h"
#include "launcher/render_private.h"

#define PROBE_TIMEOUT_MS 10000
#define TRIES_MAX 32
#define NAME_MAX_BYTES 128

static const char *const kept[][2] = {
	{"pg_hba.conf", "pg_hba.good.conf"},
	{"pg_ident.conf", "pg_ident.good.conf"},
	/* last: it is the one that counts */
	{"postgresql.conf", "postgresql.good.conf"},
};

/*
 * The server's own command line, made to speak as it is understood here
 * whatever the files say.  -C comes first, or root can't ask.
 */
static bool
probe(const HaNode *node, HaCapture *capture, char *why)
{
	static const char *const tail[] = {
		"-c", "lc_messages=C", "-c", "log_destination=stderr",
		"-c", "log_min_messages=warning", "-c", "log_line_prefix=",
		"-c", "log_error_verbosity=default", NULL
	};
	const char *argv[64] = {0};
	char	  **args = pgha_render_argv(node);
	int			n = 0;
	bool		ran;

	if (!args)
		return pgha_why(why, "out of memory");
	argv[n++] = args[0];
	argv[n++] = "-C";
	argv[n++] = "wal_level";
	for (int i = 1; args[i]; i++)
		argv[n++] = args[i];
	for (int i = 0; tail[i]; i++)
		argv[n++] = tail[i];
	ran = pgha_capture(argv, PROBE_TIMEOUT_MS, capture, why);
	for (int i = 0; args[i]; i++)
		free(args[i]);
	free(args);
	return ran;
}

static void
refuse(const HaRendering *rendering, HaRenderEntry *entry, const char *message)
{
	char		why[HA_WHY_MAX];

	pgha_why(why, "the server refuses it: %.*s", (int) strcspn(message, "\n"),
			 message);
	entry->refused = true;
	pgha_render_left_out(rendering, entry->name, why);
}

/* The entry in force under that name. */
static HaRenderEntry *
find_by_name(const HaRendering *rendering, const char *name, size_t len)
{
	for (int i = rendering->nentries - 1; i >= 0; i--)
	{
		HaRenderEntry *entry = &rendering->entries[i];

		if (!entry->refused && strlen(entry->name) == len &&
			strncasecmp(entry->name, name, len) == 0)
			return entry;
	}
	return NULL;
}

static HaRenderEntry *
find_by_line(const HaRendering *rendering, int line)
{
	for (int i = 0; i < rendering->nentries; i++)
		if (rendering->entries[i].line == line &&
			!rendering->entries[i].refused)
			return &rendering->entries[i];
	return NULL;
}

/* ... parameter "name" ... */
static HaRenderEntry *
entry_of_name(const HaRendering *rendering, const char *message, size_t len)
{
	static const char mark[] = "parameter \"";
	const char *name = memmem(message, len, mark, strlen(mark));
	size_t		name_len;

	if (!name)
		return NULL;
	name += strlen(mark);
	name_len = strcspn(name, "\"\n");
	return name_len < NAME_MAX_BYTES && name[name_len] == '"' ?
		find_by_name(rendering, name, name_len) : NULL;
}

/* ... file "STATE/postgresql.conf" line 12 ... (or a comma before "line") */
static HaRenderEntry *
entry_of_line(const HaRendering *rendering, const char *message, size_t len)
{
	char		mark[PATH_MAX + 64];
	const char *at;

	snprintf(mark, sizeof(mark), "\"%s/postgresql.conf\"",
			 rendering->node->state_directory);
	at = memmem(message, len, mark, strlen(mark));
	if (!at)
		return NULL;
	at += strlen(mark);
	at += *at == ',';
	return strncmp(at, " line ", 6) == 0 ?
		find_by_line(rendering, atoi(at + 6)) : NULL;
}

/*
 * Mark what the server names, if it is ours.  A message that says the file has
 * errors names no setting.
 */
static int
refuse_named(HaRendering *rendering, const char *output)
{
	int			n = 0;

	for (const char *at = output; *at;)
	{
		size_t		len = strcspn(at, "\n");
		HaRenderEntry *entry = NULL;
		const char *message = strstr(at, ":  ");

		if (strncmp(at, "LOG:", 4) == 0 || strncmp(at, "FATAL:", 6) == 0 ||
			strncmp(at, "ERROR:", 6) == 0)
		{
			entry = entry_of_line(rendering, at, len);
			if (!entry)
				entry = entry_of_name(rendering, at, len);
		}
		if (entry)
		{
			refuse(rendering, entry, message ? message + 3 : at);
			n++;
		}
		at += len + (at[len] == '\n');
	}
	return n;
}

/* Its first complaint, for the log. */
static bool
fail_with_output(const HaCapture *capture, char *why)
{
	const char *text = capture->output;
	const char *log = strstr(text, "LOG:  ");

	if (!log)
		log = strstr(text, "FATAL:  ");
	if (log)
		text = strstr(log, ":  ") + 3;
	return pgha_why(why, "the server refuses the configuration: %.*s",
					(int) strcspn(text, "\n"), text);
}

/* False with why: the server refuses what is not ours to leave out. */
static bool
verify(HaRendering *rendering, char *why)
{
	static HaCapture capture;

	for (int try = 0; try < TRIES_MAX; try++)
	{
		if (!pgha_rendering_write(rendering, why) ||
			!probe(rendering->node, &capture, why))
			return false;
		if (WIFEXITED(capture.status) && WEXITSTATUS(capture.status) == 0)
			return true;
		if (refuse_named(rendering, capture.output) == 0)
			return fail_with_output(&capture, why);
	}
	return pgha_why(why, "the server refuses too many settings");
}

bool
pgha_render_verified(const HaNode *node, const HaConfigDoc *config,
					 const HaControlSettings *critical, HaRenderReport report,
					 void *arg, char *why)
{
	HaRendering rendering = {.node = node,.config = config,
		.critical = critical,.report = report,.arg = arg
	};
	char		ignored[HA_WHY_MAX];
	bool		ok = pgha_rendering_init(&rendering, why) &&
		verify(&rendering, why);

	if (!ok && pgha_render_fall_back(node, ignored))
	{
		pgha_render_left_out(&rendering, "postgresql.conf", why);
		ok = true;
	}
	pgha_rendering_release(&rendering);
	return ok;
}

static bool
copy_file(const HaNode *node, const char *from, const char *to, char *why)
{
	char		from_path[PATH_MAX];
	char		to_path[PATH_MAX];
	HaBuffer	text = {0};
	bool		missing;
	size_t		len;
	char	   *data;
	bool		ok;

	if (!pgha_render_path(from_path, node->state_directory, from, why) ||
		!pgha_render_path(to_path, node->state_directory, to, why))
		return false;
	data = pgha_file_read(from_path, HA_CONF_FILE_MAX, &len, &missing, why);
	if (!data)
		return false;
	pgha_buffer_add_bytes(&text, data, len);
	ok = pgha_render_replace(to_path, &text, why);
	pgha_buffer_release(&text);
	free(data);
	return ok;
}

void
pgha_render_worked(const HaNode *node)
{
	char		why[HA_WHY_MAX];

	/* without a good file there is only nothing to fall back to */
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (!copy_file(node, kept[i][0], kept[i][1], why))
			return;
}

bool
pgha_render_fall_back(const HaNode *node, char *why)
{
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (!copy_file(node, kept[i][1], kept[i][0], why))
			return false;
	return true;
}
