/*
 * jobs_clone.c
 *	  A data directory copied from another member.
 *
 *		psql IDENTIFY_SYSTEM	can the source be reached, by this role?
 *		psql (rewind role)		tablespaces that are in the way here
 *		--- mark "clone" ---
 *		rm						the old contents, or they are kept aside (aside.h)
 *		pg_basebackup			into DATADIR/pg_ha.clone
 *		rename					one level up, standby.signal
 *		--- mark removed ---
 *
 * Nothing is lost before the source has answered.  pg_basebackup copies into a
 * directory of its own because it insists on an empty one, which a mount point
 * with a lost+found is not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/aside.h"
#include "launcher/clear.h"
#include "launcher/directory.h"
#include "launcher/render.h"
#include "launcher/task.h"

#define CLONE_DIRECTORY "pg_ha.clone"
#define CLONE_ENTRIES_MAX 1024	/* a data directory has about 25 */

#define CLONE_TABLESPACES_SQL \
	"SELECT spcname || E'\\t' || pg_tablespace_location(oid) " \
	"FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''"

typedef struct HaClone
{
	HaTask		task;			/* must be first */
	char	   *replication;	/* conninfos; owned by the task */
	char	   *probe;			/* the same for psql */
	char	   *rewind;
	char	   *waldir;			/* "--waldir=..." or NULL; owned by the task */
	bool		keep;			/* the old contents, if that can be */
	bool		aside;			/* they are */
	char		failure[HA_WHY_MAX];	/* of the copy, while they come back */
	char		directory[PATH_MAX];	/* CLONE_DIRECTORY's path */
	char		refusal[HA_WHY_MAX];	/* a tablespace in the way */
} HaClone;

/* Move one entry up; an old pg_wal link gives way to the new one. */
static bool
clone_move_entry(const HaClone *clone, const char *name, char *why)
{
	char		from[PATH_MAX];
	char		to[PATH_MAX];
	int			len = snprintf(from, sizeof(from), "%s/%s", clone->directory,
							   name);

	if (len >= PATH_MAX)
	{
		snprintf(why, HA_WHY_MAX, "path of \"%.60s\" is too long", name);
		return false;
	}
	if (!pgha_directory_path(clone->task.node, name, to, why))
		return false;
	if (rename(from, to) == 0)
		return true;
	snprintf(why, HA_WHY_MAX, "could not rename \"%.100s\": %s", from,
			 strerror(errno));
	return false;
}

/* pg_basebackup gave its directory the mode the source's has: 0700 or 0750. */
static bool
clone_copy_mode(const HaClone *clone, char *why)
{
	const char *directory = clone->task.node->data_directory;
	struct stat st;

	if (stat(clone->directory, &st) == 0 &&
		chmod(directory, st.st_mode & 07777) == 0)
		return true;
	snprintf(why, HA_WHY_MAX, "could not set the mode of \"%.100s\": %s",
			 directory, strerror(errno));
	return false;
}

/* A source on a mount point gives its lost+found away as well. */
static void
clone_drop_lost_found(const HaClone *clone)
{
	char		path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/lost+found", clone->directory);
	rmdir(path);
}

static bool
clone_move_up(const HaClone *clone, char *why)
{
	bool		more;
	char	  **names = pgha_directory_names(clone->directory,
											 CLONE_ENTRIES_MAX, &more, why);
	bool		done = names != NULL;

	for (int i = 0; done && names[i]; i++)
		done = clone_move_entry(clone, names[i], why);
	pgha_directory_free_names(names);
	if (!done)
		return false;
	clone_drop_lost_found(clone);
	if (more || rmdir(clone->directory) < 0)
	{
		snprintf(why, HA_WHY_MAX, "could not empty \"%.100s\"",
				 clone->directory);
		return false;
	}
	return pgha_directory_fsync(clone->task.node->data_directory, why);
}

static void
clone_copy_line(HaTask *task, bool is_stderr, const char *line)
{
	int			percent = is_stderr ? pgha_task_percent(line) : -1;

	if (percent >= 0)
		pgha_task_report(task, "copying", percent);
	else if (strstr(line, "waiting for checkpoint to complete"))
		pgha_task_report(task, "waiting for the source's checkpoint", -1);
	else if (strstr(line, "syncing data to disk"))
		pgha_task_report(task, "writing the copy to disk", 100);
}

/* The remains of the copy are gone: what was kept aside is the directory again. */
static void
clone_restored(HaTask *task, int status)
{
	const HaClone *clone = (const HaClone *) task;
	char		why[HA_WHY_MAX];

	if (status != 0)
		pgha_task_fail(task, status, NULL);
	else if (!pgha_aside_restore(task->node, why) ||
			 !pgha_task_mark(task->node, "", why))
		pgha_task_finish(task, why, NULL);
	else
		pgha_task_finish(task, clone->failure,
						 "The old copy is in place again.");
}

/* A copy that failed; one that was killed ends the task as it is. */
static void
clone_failed(HaTask *task, int status)
{
	HaClone    *clone = (HaClone *) task;
	const char *args[] = {"-rf", "--", clone->directory, NULL};
	HaTaskProgram program = {.name = "/bin/rm",.args = args,
		.then = clone_restored
	};

	if (!clone->aside || WIFSIGNALED(status))
	{
		pgha_task_fail(task, status, NULL);
		return;
	}
	pgha_task_reason(task, status, clone->failure);
	pgha_task_report(task, "putting the old copy back", -1);
	pgha_task_next(task, &program);
}

static void
clone_copied(HaTask *task, int status)
{
	const HaClone *clone = (const HaClone *) task;
	char		why[HA_WHY_MAX];

	if (status != 0)
		clone_failed(task, status);
	else if (!clone_copy_mode(clone, why) || !clone_move_up(clone, why))
		pgha_task_finish(task, why, NULL);
	else
		pgha_task_complete_standby(task);
}

static void
clone_copy(HaTask *task, const char *why)
{
	const HaClone *clone = (const HaClone *) task;
	const char *args[] = {
		"-d", clone->replication, "-D", clone->directory, "-X", "stream",
		"--checkpoint=fast", "-P", "-v", "-w", clone->waldir, NULL
	};
	HaTaskProgram program = {.name = "pg_basebackup",.args = args,
		.line = clone_copy_line,.then = clone_copied
	};

	if (why)
	{
		pgha_task_finish(task, why, NULL);
		return;
	}
	pgha_task_report(task, "connecting to the source", -1);
	pgha_task_next(task, &program);
}

static bool
clone_make_directory(const HaNode *node, char *why)
{
	if (mkdir(node->data_directory, 0700) == 0 || errno == EEXIST)
		return true;
	snprintf(why, HA_WHY_MAX, "could not create directory \"%.100s\": %s",
			 node->data_directory, strerror(errno));
	return false;
}

/* From here on the old contents are lost, or aside. */
static void
clone_clear(HaTask *task)
{
	HaClone    *clone = (HaClone *) task;
	char		why[HA_WHY_MAX];

	clone->aside = clone->keep && pgha_aside_possible(task->node, why);

	if (!pgha_task_mark(task->node, "clone", why) ||
		!clone_make_directory(task->node, why))
	{
		pgha_task_finish(task, why, NULL);
		return;
	}
	if (clone->aside)
	{
		pgha_task_report(task, "keeping the old copy aside", -1);
		clone_copy(task, pgha_aside_move(task->node, why) ? NULL : why);
		return;
	}
	pgha_task_report(task, "emptying the data directory", -1);
	pgha_clear_directory(task, clone_copy);
}

/* "name<TAB>location": is there something at that place on this machine? */
static void
clone_tablespace_line(HaTask *task, bool is_stderr, const char *line)
{
	HaClone    *clone = (HaClone *) task;
	const char *location = strchr(line, '\t');
	char		why[HA_WHY_MAX];
	bool		more;
	char	  **names;

	if (is_stderr || !location || clone->refusal[0] != '\0')
		return;
	location++;
	names = pgha_directory_names(location, 1, &more, why);
	if (!names || names[0])
		snprintf(clone->refusal, sizeof(clone->refusal), "directory \"%.80s\" "
				 "of tablespace \"%.*s\" is not empty here", location,
				 (int) strcspn(line, "\t") > 63 ? 63 :
				 (int) strcspn(line, "\t"), line);
	pgha_directory_free_names(names);
}

/*
 * That the rewind role can't ask (it may not exist yet in a cluster just
 * adopted) is no reason not to clone: pg_basebackup looks for itself, only
 * later.
 */
static void
clone_tablespaces_known(HaTask *task, int status)
{
	const HaClone *clone = (const HaClone *) task;

	if (WIFSIGNALED(status))
		pgha_task_fail(task, status, NULL);
	else if (clone->refusal[0] != '\0')
		pgha_task_finish(task, clone->refusal, "Make sure that no server on "
						 "this machine uses that directory, empty it, and "
						 "reinit the member.");
	else
		clone_clear(task);
}

static void
clone_probed(HaTask *task, int status)
{
	const HaClone *clone = (const HaClone *) task;
	const char *args[] = {
		"-XAtqw", "-d", clone->rewind, "-c", CLONE_TABLESPACES_SQL, NULL
	};
	HaTaskProgram program = {.name = "psql",.args = args,
		.line = clone_tablespace_line,.then = clone_tablespaces_known
	};

	if (status != 0)
		pgha_task_fail(task, status, NULL);
	else
		pgha_task_next(task, &program);
}

static bool
clone_init(HaClone *clone, const char *conn_url, char *why)
{
	HaTask	   *task = &clone->task;
	const HaNode *node = task->node;
	char	   *target = pgha_clear_wal_target(node);
	bool		done = true;

	clone->replication = task->owned[0] =
		pgha_render_conninfo(node, conn_url, node->replication_user,
							 "replication");
	clone->rewind = task->owned[1] =
		pgha_render_conninfo(node, conn_url, node->rewind_user, "postgres");
	if (!clone->replication || !clone->rewind ||
		asprintf(&task->owned[2], "%s replication=true",
				 clone->replication) < 0)
		done = false;
	clone->probe = task->owned[2];
	if (done && target)
		done = asprintf(&task->owned[3], "--waldir=%s", target) >= 0;
	clone->waldir = task->owned[3];
	free(target);
	if (!done)
		snprintf(why, HA_WHY_MAX, "no connection to \"%.100s\" can be made up",
				 conn_url);
	return done && pgha_directory_path(node, CLONE_DIRECTORY,
									   clone->directory, why) &&
		pgha_clear_check(node, why);
}

HaJob *
pgha_job_clone(const HaNode *node, const char *conn_url, bool keep,
			   HaJobProgress progress, HaJobDone done, void *arg, char *why)
{
	HaClone    *clone = pgha_task_create(sizeof(HaClone), node, progress,
										 done, arg, why);
	HaTaskProgram program = {.name = "psql",.then = clone_probed};

	if (!clone)
		return NULL;
	clone->keep = keep;
	if (clone_init(clone, conn_url, why))
	{
		const char *args[] = {
			"-XAtqw", "-d", clone->probe, "-c", "IDENTIFY_SYSTEM", NULL
		};

		program.args = args;
		return pgha_task_start(&clone->task, &program, why);
	}
	pgha_task_free(&clone->task);
	return NULL;
}
