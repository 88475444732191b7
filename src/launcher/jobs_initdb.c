/*
 * jobs_initdb.c
 *	  A new data directory.
 *
 * The directory is empty when initdb starts, or holds what the mark in
 * node.json says an earlier initdb left behind; so what is in it after a
 * failure is initdb's, and is removed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "dcs/state.h"
#include "launcher/clear.h"
#include "launcher/render.h"
#include "launcher/task.h"

#define INITDB_ARGS_MAX 64
#define INITDB_DEFAULTS "--encoding=UTF8 --locale=C.UTF-8 --data-checksums " \
	"--auth-local=peer --auth-host=scram-sha-256"

typedef struct HaInitdb
{
	HaTask		task;			/* must be first */
	char	   *options;		/* cut into words; owned by the task */
	char	   *password;		/* NULL = none; owned by the task */
	int			nargs;
	const char *args[INITDB_ARGS_MAX];
	char		reason[HA_WHY_MAX]; /* of a failure, while clearing up */
} HaInitdb;

/*
 * Cut a string into words in place; '...' and "..." keep blanks, and lose their
 * quotes.  False: more than fit.
 */
static bool
split_words(HaInitdb *initdb, char *text)
{
	char	   *to = text;

	while (*(text += strspn(text, " \t")) != '\0')
	{
		char		quote = '\0';
		bool		more;

		if (initdb->nargs >= INITDB_ARGS_MAX - 8)
			return false;
		initdb->args[initdb->nargs++] = to;
		for (; *text != '\0' && (quote || !strchr(" \t", *text)); text++)
		{
			if (quote ? *text == quote : (*text == '\'' || *text == '"'))
				quote = quote ? '\0' : *text;
			else
				*to++ = *text;
		}
		more = *text != '\0';
		*to++ = '\0';
		if (!more)
			return true;
		text++;
	}
	return true;
}

static bool
initdb_arguments(HaInitdb *initdb, char *why)
{
	const HaNode *node = initdb->task.node;
	const char *options = pgha_node_get(node, "pg_ha.initdb_options");

	if (!options || options[strspn(options, " \t")] == '\0')
		options = INITDB_DEFAULTS;
	initdb->options = initdb->task.owned[0] = strdup(options);
	initdb->password = initdb->task.owned[1] =
		pgha_node_password(node, node->host, node->port, "postgres",
						   node->superuser);
	if (!initdb->options || !split_words(initdb, initdb->options))
	{
		snprintf(why, HA_WHY_MAX, "pg_ha.initdb_options has too many words");
		return false;
	}
	/* last, so that they win */
	initdb->args[initdb->nargs++] = "-U";
	initdb->args[initdb->nargs++] = node->superuser;
	initdb->args[initdb->nargs++] = "-D";
	initdb->args[initdb->nargs++] = node->data_directory;
	if (initdb->password)
		initdb->args[initdb->nargs++] = "--pwfile=/dev/stdin";
	return true;
}

static void
initdb_cleared_after_failure(HaTask *task, const char *why)
{
	HaInitdb   *initdb = (HaInitdb *) task;
	char		error[HA_WHY_MAX];

	/* if this fails the mark stays, and the remains are cleared next time */
	if (!why)
		pgha_task_mark(task->node, "", error);
	pgha_task_finish(task, initdb->reason, NULL);
}

static void
initdb_done(HaTask *task, int status)
{
	HaInitdb   *initdb = (HaInitdb *) task;
	char		why[HA_WHY_MAX];

	if (status != 0)
	{
		pgha_task_reason(task, status, initdb->reason);
		pgha_clear_directory(task, initdb_cleared_after_failure);
	}
	else if (!pgha_render_mark_plain(task->node, why) ||
			 !pgha_task_mark(task->node, "", why))
		pgha_task_finish(task, why, NULL);
	else
		pgha_task_finish(task, NULL, NULL);
}

static void
initdb_run(HaTask *task, const char *why)
{
	HaInitdb   *initdb = (HaInitdb *) task;
	HaTaskProgram program = {.name = "initdb",.args = initdb->args,
		.input = initdb->password,.own_locale = true,.then = initdb_done
	};

	if (why)
	{
		pgha_task_finish(task, why, NULL);
		return;
	}
	pgha_task_report(task, "running initdb", -1);
	pgha_task_next(task, &program);
}

/* Empty or absent, or marked as an earlier initdb's. */
static bool
initdb_may_run(const HaNode *node, char *why)
{
	HaControl	control;

	switch (pgha_directory_state(node, &control, why))
	{
		case HA_INSTANCE_EMPTY:
			return true;
		case HA_INSTANCE_UNKNOWN:
			return false;
		case HA_INSTANCE_HALF_DONE:
		case HA_INSTANCE_DOWN:
		case HA_INSTANCE_CRASHED:
		case HA_INSTANCE_DYING:
		case HA_INSTANCE_STARTING:
		case HA_INSTANCE_RUNNING:
		case HA_INSTANCE_STOPPING:
		case HA_INSTANCE_BUSY:
			break;
	}
	snprintf(why, HA_WHY_MAX, "data directory \"%.100s\" is not empty",
			 node->data_directory);
	return false;
}

HaJob *
pgha_job_initdb(const HaNode *node, HaJobProgress progress, HaJobDone done,
				void *arg, char *why)
{
	HaInitdb   *initdb;

	if (!initdb_may_run(node, why))
		return NULL;
	initdb = pgha_task_create(sizeof(HaInitdb), node, progress, done, arg,
							  why);
	if (!initdb)
		return NULL;
	if (!initdb_arguments(initdb, why) || !pgha_task_mark(node, "initdb", why))
	{
		pgha_task_free(&initdb->task);
		return NULL;
	}
	return pgha_clear_start(&initdb->task, initdb_run, why);
}
