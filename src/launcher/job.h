/*
 * job.h
 *	  One child program at a time, without ever waiting for it.
 *
 * initdb, pg_basebackup, pg_rewind, pg_waldump run as children of the
 * launcher; their output goes line by line to a callback (progress, the log),
 * their end to another.  The loop polls pgha_job_fds.
 */
#ifndef PGHA_JOB_H
#define PGHA_JOB_H

#include <poll.h>

#include "core/types.h"

typedef struct HaJob HaJob;

/* a line of output, without its newline; lines over 1 kB are cut */
typedef void (*HaJobLine) (void *arg, bool is_stderr, const char *line);
/* status as of waitpid; output is complete when it comes */
typedef void (*HaJobEnd) (void *arg, int status);

/* env: NULL-terminated "NAME=value" added to the environment; may be NULL */
extern HaJob *pgha_job_start(const char *const *argv, const char *const *env,
							 HaJobLine line, HaJobEnd end, void *arg,
							 char *why);
#define HA_JOB_FDS 3
extern int	pgha_job_fds(const HaJob *job, struct pollfd *fds);
/* Read what there is; calls back.  After `end` the job is freed: returns false */
extern bool pgha_job_process(HaJob *job);
extern void pgha_job_kill(HaJob *job, int signo);
extern pid_t pgha_job_pid(const HaJob *job);

/*
 * A job of several programs: `end` calls pgha_job_next, the job goes on with
 * the same callbacks.  A program that ended by a signal was killed by somebody
 * and is the job's last one.
 */
typedef struct HaJobOptions
{
	const char *lock_file;		/* held by the program and its children, so
								 * that no instance starts while one is left */
	const char *input;			/* its standard input; never on disk */
} HaJobOptions;

extern HaJob *pgha_job_start_with(const HaJobOptions *options,
								  const char *const *argv,
								  const char *const *env, HaJobLine line,
								  HaJobEnd end, void *arg, char *why);
/* Only from within `end`; false: could not be started, the job ends. */
extern bool pgha_job_next(HaJob *job, const HaJobOptions *options,
						  const char *const *argv, const char *const *env,
						  char *why);

/* Whether a process is of a running job: its program or of its session. */
extern bool pgha_job_owns(pid_t pid);

#endif							/* PGHA_JOB_H */
