/*
 * clear.h
 *	  Emptying the data directory, as a step of a job.
 *
 * The directory itself stays (it may be a mount point), so does lost+found,
 * and a pg_wal that is a link: the link's target is emptied.  Links in
 * pg_tblspc are removed, never followed.  The work is rm's: removing a large
 * directory takes longer than the launcher's loop may wait.
 */
#ifndef PGHA_CLEAR_H
#define PGHA_CLEAR_H

#include "launcher/task.h"

/* why is NULL when the directory is empty now */
typedef void (*HaClearDone) (HaTask *task, const char *why);

/* As the next program of a task, from its `then`. */
extern void pgha_clear_directory(HaTask *task, HaClearDone done);
/* As the first program of a task. */
extern HaJob *pgha_clear_start(HaTask *task, HaClearDone done, char *why);

/*
 * The absolute path of what pg_wal links to; malloc'd, NULL if it is no link
 * to a directory.
 */
extern char *pgha_clear_wal_target(const HaNode *node);
/* Refuse a directory that can't be emptied, before anything is lost. */
extern bool pgha_clear_check(const HaNode *node, char *why);

#endif							/* PGHA_CLEAR_H */
