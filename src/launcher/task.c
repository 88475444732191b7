/*
 * task.c
 *	  What the jobs on a data directory have in common.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "dcs/state.h"
#include "launcher/directory.h"
#include "launcher/instance.h"
#include "launcher/render.h"
#include "launcher/task.h"

/* for all libpq programs: a source that doesn't answer must not hang a job */
#define TASK_CONNECT_TIMEOUT "PGCONNECT_TIMEOUT=10"

void *
pgha_task_create(size_t size, const HaNode *node, HaJobProgress progress,
				 HaJobDone done, void *arg, char *why)
{
	HaTask	   *task;

	if (!pgha_instance_ready(node, why))
		return NULL;
	task = calloc(1, size);
	if (!task)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		return NULL;
	}
	task->node = node;
	task->progress = progress;
	task->done = done;
	task->arg = arg;
	task->percent = -1;
	pgha_instance_lock_path(node, task->lock_file);
	return task;
}

void
pgha_task_free(HaTask *task)
{
	for (int i = 0; i < HA_TASK_OWNED; i++)
		free(task->owned[i]);
	free(task);
}

/*
 * The reason of a failure is the first line marked as an error (what follows
 * are its consequences); without one the last that is neither progress nor a
 * hint.
 */
static void
task_line(void *arg, bool is_stderr, const char *line)
{
	HaTask	   *task = arg;
	const char *mark = strstr(line, "error: ");

	if (!mark)
		mark = strstr(line, "FATAL: ");
	if (is_stderr && !task->has_error && !strstr(line, "hint: ") &&
		pgha_task_percent(line) < 0)
	{
		if (mark)
			mark += strcspn(mark, " ");
		snprintf(task->error, sizeof(task->error), "%s",
				 mark ? mark + strspn(mark, " ") : line);
		task->has_error = mark != NULL;
	}
	if (task->program.line)
		task->program.line(task, is_stderr, line);
}

static void
task_end(void *arg, int status)
{
	HaTask	   *task = arg;

	task->program.then(task, status);
}

static int
count_args(const char *const *args)
{
	int			n = 0;

	while (args[n])
		n++;
	return n;
}

/* Run `path` with the program's arguments, as the job's first or next. */
static bool
task_exec(HaTask *task, const char *path, const char **argv, char *why)
{
	const HaTaskProgram *program = &task->program;
	HaJobOptions options = {.lock_file = task->lock_file,
		.input = program->input
	};
	char		passfile[PATH_MAX + 16];
	const char *env[4] = {TASK_CONNECT_TIMEOUT};
	int			n = 1;

	argv[0] = path;
	if (task->node->passfile[0] != '\0')
	{
		snprintf(passfile, sizeof(passfile), "PGPASSFILE=%s",
				 task->node->passfile);
		env[n++] = passfile;
	}
	if (!program->own_locale)
		env[n++] = "LC_ALL=C";
	env[n] = NULL;
	if (task->job)
		return pgha_job_next(task->job, &options, argv, env, why);
	task->job = pgha_job_start_with(&options, argv, env, task_line, task_end,
									task, why);
	return task->job != NULL;
}

static bool
task_run(HaTask *task, const HaTaskProgram *program, char *why)
{
	int			nargs = count_args(program->args);
	const char **argv = calloc((size_t) nargs + 2, sizeof(char *));
	char		path[PATH_MAX];
	bool		started;

	if (!argv)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		return false;
	}
	if (program->name[0] == '/')
		snprintf(path, sizeof(path), "%s", program->name);
	else
		snprintf(path, sizeof(path), "%s/%s", task->node->bin_directory,
				 program->name);
	memcpy(argv + 1, program->args, (size_t) nargs * sizeof(char *));
	task->program = *program;
	task->has_error = false;
	task->error[0] = '\0';
	started = task_exec(task, path, argv, why);
	task->program.args = NULL;
	task->program.input = NULL;
	free(argv);
	return started;
}

HaJob *
pgha_task_start(HaTask *task, const HaTaskProgram *program, char *why)
{
	if (task_run(task, program, why))
		return task->job;
	pgha_task_free(task);
	return NULL;
}

void
pgha_task_next(HaTask *task, const HaTaskProgram *program)
{
	char		why[HA_WHY_MAX];

	if (!task_run(task, program, why))
		pgha_task_finish(task, why, NULL);
}

void
pgha_task_finish(HaTask *task, const char *why, const char *hint)
{
	task->done(task->arg, why, hint);
	pgha_task_free(task);
}

void
pgha_task_reason(const HaTask *task, int status, char *why)
{
	const char *name = strrchr(task->program.name, '/');

	name = name ? name + 1 : task->program.name;
	if (WIFSIGNALED(status))
		snprintf(why, HA_WHY_MAX, "%s was terminated by signal %d: %s", name,
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (task->error[0] != '\0')
		snprintf(why, HA_WHY_MAX, "%s: %.180s", name, task->error);
	else
		snprintf(why, HA_WHY_MAX, "%s ended with status %d", name,
				 WEXITSTATUS(status));
}

void
pgha_task_fail(HaTask *task, int status, const char *hint)
{
	char		why[HA_WHY_MAX];

	pgha_task_reason(task, status, why);
	pgha_task_finish(task, why, hint);
}

void
pgha_task_report(HaTask *task, const char *phrase, int percent)
{
	if (task->phrase == phrase && task->percent == percent)
		return;
	task->phrase = phrase;
	task->percent = percent;
	task->progress(task->arg, phrase, percent);
}

int
pgha_task_percent(const char *line)
{
	unsigned long long done;
	unsigned long long total;
	int			percent;

	if (sscanf(line, " %llu/%llu kB (%d%%)", &done, &total, &percent) != 3)
		return -1;

	/* the total is an estimate that may be passed */
	return percent < 0 ? 0 : percent > 100 ? 100 : percent;
}

bool
pgha_task_mark(const HaNode *node, const char *mark, char *why)
{
	HaNodeFile	file = {0};

	if (!pgha_state_read_node(node->state_directory, &file, why))
		return false;
	if (strcmp(file.half_done, mark) == 0)
		return true;
	snprintf(file.half_done, sizeof(file.half_done), "%s", mark);
	return pgha_state_write_node(node->state_directory, &file, why);
}

void
pgha_task_complete_standby(HaTask *task)
{
	char		why[HA_WHY_MAX];

	/* the mark goes last: without the others the directory isn't whole */
	if (!pgha_directory_set_standby(task->node, true, why) ||
		!pgha_render_mark_plain(task->node, why) ||
		!pgha_task_mark(task->node, "", why))
		pgha_task_finish(task, why, NULL);
	else
		pgha_task_finish(task, NULL, NULL);
}
