/*
 * jobs_rewind.c
 *	  A data directory that diverged, mended by pg_rewind.
 *
 *		psql IDENTIFY_SYSTEM	the source's timeline
 *		psql CHECKPOINT			at the source: before its first checkpoint
 *								pg_control there has the old timeline
 *		postgres -C restore_command		is there an archive to fetch WAL from?
 *		--- mark "rewind", no standby.signal ---
 *		pg_rewind
 *		standby.signal
 *		--- mark removed ---
 *
 * On the source's own timeline there is nothing to rewind, and pg_rewind must
 * not even be asked: before it says so it lets a single-user server recover a
 * crashed directory, whose checkpoint is then WAL that the source doesn't have.
 *
 * pg_rewind itself does the crash recovery of a directory that was not shut
 * down.  It writes into the directory only after it has said how much there is
 * to copy: a failure before that leaves a whole directory.  standby.signal is
 * taken away meanwhile, because a single-user server refuses to recover with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "launcher/directory.h"
#include "launcher/render.h"
#include "launcher/task.h"

#define REWIND_MISSING_WAL_HINT \
	"The WAL back to the common ancestor is gone: raise wal_keep_size, or set" \
	" restore_command.  The member has to be cloned."

typedef struct HaRewind
{
	HaTask		task;			/* must be first */
	char	   *source;			/* conninfos; owned by the task */
	char	   *probe;
	uint32_t	source_tli;		/* 0 = not known */
	bool		restore_command;
	bool		touched;		/* pg_rewind began to write */
} HaRewind;

bool
pgha_job_source_away(const char *why)
{
	/* libpq's words; programs run in the C locale */
	return strstr(why, "connection to server") != NULL ||
		strstr(why, "server closed the connection") != NULL ||
		strstr(why, "terminating connection") != NULL;
}

static void
rewind_line(HaTask *task, bool is_stderr, const char *line)
{
	HaRewind   *rewind = (HaRewind *) task;
	int			percent = is_stderr ? pgha_task_percent(line) : -1;

	if (percent >= 0)
		pgha_task_report(task, "copying", percent);
	else if (strstr(line, "need to copy"))
		rewind->touched = true;
	else if (strstr(line, "to complete crash recovery"))
		pgha_task_report(task, "crash recovery", -1);
	else if (strstr(line, "reading WAL in target"))
		pgha_task_report(task, "reading WAL", -1);
	else if (strstr(line, "syncing target data directory"))
		pgha_task_report(task, "writing the copy to disk", 100);
}

static void
rewind_failed(HaTask *task, int status)
{
	const HaRewind *rewind = (const HaRewind *) task;
	char		why[HA_WHY_MAX];
	bool		missing_wal = strstr(task->error, "previous WAL record") ||
		strstr(task->error, "could not find common ancestor") ||
		strstr(task->error, "could not open file") ||
		strstr(task->error, "could not restore file");

	/* if either fails the mark stays and the member is cloned: safe */
	if (!rewind->touched &&
		pgha_directory_set_standby(task->node, true, why))
		pgha_task_mark(task->node, "", why);
	pgha_task_fail(task, status,
				   missing_wal ? REWIND_MISSING_WAL_HINT : NULL);
}

/* "no rewind required" is a success too. */
static void
rewind_ended(HaTask *task, int status)
{
	if (status != 0)
		rewind_failed(task, status);
	else
		pgha_task_complete_standby(task);
}

static void
rewind_run(HaTask *task)
{
	const HaRewind *rewind = (const HaRewind *) task;
	const HaNode *node = task->node;
	char		config[PATH_MAX + 64];
	const char *args[] = {
		"--target-pgdata", node->data_directory, "--source-server",
		rewind->source, config, "--progress",
		rewind->restore_command ? "--restore-target-wal" : NULL, NULL
	};
	HaTaskProgram program = {.name = "pg_rewind",.args = args,
		.line = rewind_line,.then = rewind_ended
	};
	char		why[HA_WHY_MAX];

	snprintf(config, sizeof(config), "--config-file=%s/postgresql.conf",
			 node->state_directory);
	if (!pgha_task_mark(node, "rewind", why) ||
		!pgha_directory_set_standby(node, false, why))
	{
		pgha_task_finish(task, why, NULL);
		return;
	}
	pgha_task_report(task, "connecting to the source", -1);
	pgha_task_next(task, &program);
}

static void
rewind_restore_line(HaTask *task, bool is_stderr, const char *line)
{
	HaRewind   *rewind = (HaRewind *) task;

	if (!is_stderr)
		rewind->restore_command = true;
}

static void
rewind_restore_known(HaTask *task, int status)
{
	if (status != 0)
		pgha_task_fail(task, status, NULL);
	else
		rewind_run(task);
}

/*
 * A role that may not checkpoint is no reason to stop: the source has done it
 * by itself within checkpoint_timeout.  Neither is a source that doesn't
 * answer: pg_rewind says that better.
 */
static void
rewind_checkpointed(HaTask *task, int status)
{
	const HaNode *node = task->node;
	char		config[PATH_MAX + 64];
	const char *args[] = {
		"-D", node->data_directory, "-c", config, "-C", "restore_command", NULL
	};
	HaTaskProgram program = {.name = "postgres",.args = args,
		.line = rewind_restore_line,.then = rewind_restore_known
	};

	snprintf(config, sizeof(config), "config_file=%s/postgresql.conf",
			 node->state_directory);
	if (WIFSIGNALED(status))
		pgha_task_fail(task, status, NULL);
	else
		pgha_task_next(task, &program);
}

static void
rewind_checkpoint(HaTask *task)
{
	const HaRewind *rewind = (const HaRewind *) task;
	const char *args[] = {
		"-XAtqw", "-d", rewind->source, "-c", "CHECKPOINT", NULL
	};
	HaTaskProgram program = {.name = "psql",.args = args,
		.then = rewind_checkpointed
	};

	pgha_task_report(task, "checkpoint at the source", -1);
	pgha_task_next(task, &program);
}

/* "system identifier|timeline|position|database" */
static void
rewind_identify_line(HaTask *task, bool is_stderr, const char *line)
{
	HaRewind   *rewind = (HaRewind *) task;
	const char *tli = strchr(line, '|');

	if (!is_stderr && tli)
		rewind->source_tli = (uint32_t) strtoul(tli + 1, NULL, 10);
}

static void
rewind_identified(HaTask *task, int status)
{
	const HaRewind *rewind = (const HaRewind *) task;
	HaControl	control;
	char		why[HA_WHY_MAX];
	uint32_t	tli;

	if (status != 0)
	{
		pgha_task_fail(task, status, NULL);
		return;
	}
	if (!pgha_directory_read_control(task->node, &control, why))
	{
		pgha_task_finish(task, why, NULL);
		return;
	}
	tli = control.min_recovery_tli > control.tli ?
		control.min_recovery_tli : control.tli;
	if (tli == rewind->source_tli)
		pgha_task_complete_standby(task);
	else
		rewind_checkpoint(task);
}

static bool
rewind_init(HaRewind *rewind, const char *conn_url)
{
	HaTask	   *task = &rewind->task;
	const HaNode *node = task->node;
	char	   *replication =
		pgha_render_conninfo(node, conn_url, node->replication_user,
							 "replication");

	rewind->source = task->owned[0] =
		pgha_render_conninfo(node, conn_url, node->rewind_user, "postgres");
	if (replication && asprintf(&task->owned[1], "%s replication=true",
								replication) < 0)
		task->owned[1] = NULL;
	rewind->probe = task->owned[1];
	free(replication);
	return rewind->source && rewind->probe;
}

HaJob *
pgha_job_rewind(const HaNode *node, const char *conn_url,
				HaJobProgress progress, HaJobDone done, void *arg, char *why)
{
	HaRewind   *rewind = pgha_task_create(sizeof(HaRewind), node, progress,
										  done, arg, why);
	HaTaskProgram program = {.name = "psql",.line = rewind_identify_line,
		.then = rewind_identified
	};

	if (!rewind)
		return NULL;
	if (rewind_init(rewind, conn_url))
	{
		const char *args[] = {
			"-XAtqw", "-d", rewind->probe, "-c", "IDENTIFY_SYSTEM", NULL
		};

		program.args = args;
		return pgha_task_start(&rewind->task, &program, why);
	}
	snprintf(why, HA_WHY_MAX, "no connection to \"%.100s\" can be made up",
			 conn_url);
	pgha_task_free(&rewind->task);
	return NULL;
}
