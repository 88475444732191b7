/*
 * task.h
 *	  What the jobs on a data directory have in common: programs run one after
 *	  the other in one HaJob, the mark in node.json, the reason of a failure.
 *
 * A task is allocated as the first member of its own struct.  Each program's
 * `then` does exactly one of: pgha_task_next, pgha_task_finish (or one of those
 * that end in it).  After that the task is gone or not its business any more.
 */
#ifndef PGHA_TASK_H
#define PGHA_TASK_H

#include <limits.h>

#include "dcs/documents.h"
#include "launcher/jobs.h"

#define HA_TASK_OWNED 4			/* strings freed with the task */

typedef struct HaTask HaTask;

typedef struct HaTaskProgram
{
	const char *name;			/* in pg_ha.bin_directory, unless a path */
	const char *const *args;	/* without the name; NULL-terminated */
	const char *input;			/* NULL = none */
	bool		own_locale;		/* false: messages in C, to be parsed */
	void		(*line) (HaTask *task, bool is_stderr, const char *line);
	void		(*then) (HaTask *task, int status);
} HaTaskProgram;

struct HaTask
{
	const HaNode *node;
	HaJob	   *job;
	HaJobProgress progress;
	HaJobDone	done;
	void	   *arg;
	HaTaskProgram program;		/* the one that runs; args not valid */
	void		(*cleared) (HaTask *task, const char *why); /* of clear.c */
	const char *phrase;			/* last reported */
	int			percent;
	bool		has_error;		/* error is of a line that says so */
	char		error[HA_WHY_MAX];	/* a line that may be a reason */
	char		lock_file[PATH_MAX];
	char	   *owned[HA_TASK_OWNED];
};

/* NULL with why: no memory, or the instance runs.  size: of the struct the task is part of. */
extern void *pgha_task_create(size_t size, const HaNode *node,
							  HaJobProgress progress, HaJobDone done,
							  void *arg, char *why);
extern void pgha_task_free(HaTask *task);

/* The first program.  NULL with why set; the task is freed then. */
extern HaJob *pgha_task_start(HaTask *task, const HaTaskProgram *program,
							  char *why);
/* Another one; if it can't be started the task is finished. */
extern void pgha_task_next(HaTask *task, const HaTaskProgram *program);
/* why NULL: success.  Calls `done`, frees the task. */
extern void pgha_task_finish(HaTask *task, const char *why, const char *hint);
/* The program failed: its own words are the reason. */
extern void pgha_task_fail(HaTask *task, int status, const char *hint);
extern void pgha_task_reason(const HaTask *task, int status, char *why);

/* phrase: a constant */
extern void pgha_task_report(HaTask *task, const char *phrase, int percent);
/* The percentage in "12345/67890 kB (18%), ..."; -1 = none there */
extern int	pgha_task_percent(const char *line);

/* node.json: "initdb", "clone", "rewind"; "" = the directory is whole */
extern bool pgha_task_mark(const HaNode *node, const char *mark, char *why);
/* A directory made or mended by clone or rewind: becomes a standby's, whole. */
extern void pgha_task_complete_standby(HaTask *task);

#endif							/* PGHA_TASK_H */
