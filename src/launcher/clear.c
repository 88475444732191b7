/*
 * clear.c
 *	  Emptying the data directory, as a step of a job.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launcher/clear.h"
#include "launcher/directory.h"

/* paths given to one rm: far below what exec accepts; then another one runs */
#define CLEAR_PATHS_MAX 4096

typedef struct ClearList
{
	int			npaths;
	char	   *paths[CLEAR_PATHS_MAX + 3]; /* "-rf", "--", ..., NULL */
	bool		more;
} ClearList;

char *
pgha_clear_wal_target(const HaNode *node)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	struct stat st;

	if (!pgha_directory_path(node, "pg_wal", path, why) ||
		lstat(path, &st) < 0 || !S_ISLNK(st.st_mode) ||
		stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return NULL;
	return realpath(path, NULL);
}

bool
pgha_clear_check(const HaNode *node, char *why)
{
	char		path[PATH_MAX];
	size_t		len = strlen(node->data_directory);
	struct stat dir;
	struct stat wal;

	if (strncmp(node->state_directory, node->data_directory, len) == 0 &&
		(node->state_directory[len] == '/' ||
		 node->state_directory[len] == '\0'))
	{
		snprintf(why, HA_WHY_MAX, "pg_ha.state_directory is inside of the "
				 "data directory");
		return false;
	}
	if (!pgha_directory_path(node, "pg_wal", path, why))
		return false;
	if (stat(node->data_directory, &dir) == 0 && lstat(path, &wal) == 0 &&
		S_ISDIR(wal.st_mode) && wal.st_dev != dir.st_dev)
	{
		snprintf(why, HA_WHY_MAX, "\"%.120s\" is a mount point: make it a "
				 "symbolic link to a directory there", path);
		return false;
	}
	return true;
}

static bool
clear_list_add(ClearList *list, const char *dir, const char *name, char *why)
{
	char	   *path;

	if (list->npaths == CLEAR_PATHS_MAX + 2)
	{
		list->more = true;
		return true;
	}
	if (asprintf(&path, "%s%s%s", dir ? dir : "", dir ? "/" : "", name) < 0)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		return false;
	}
	list->paths[list->npaths++] = path;
	return true;
}

/* Everything in dir, but what is called `keep`. */
static bool
clear_list_directory(ClearList *list, const char *dir, const char *keep,
					 char *why)
{
	bool		more;
	char	  **names = pgha_directory_names(dir, CLEAR_PATHS_MAX, &more, why);
	bool		done = names != NULL;

	for (int i = 0; done && names[i]; i++)
		if (!keep || strcmp(names[i], keep) != 0)
			done = clear_list_add(list, dir, names[i], why);
	pgha_directory_free_names(names);
	list->more = list->more || (done && more);
	return done;
}

static void
clear_list_free(ClearList *list)
{
	for (int i = 0; list && i < list->npaths; i++)
		free(list->paths[i]);
	free(list);
}

static ClearList *
clear_list_make(const HaNode *node, char *why)
{
	ClearList  *list = calloc(1, sizeof(ClearList));
	char	   *target = pgha_clear_wal_target(node);
	bool		done;

	done = list && clear_list_add(list, NULL, "-rf", why) &&
		clear_list_add(list, NULL, "--", why) &&
		clear_list_directory(list, node->data_directory,
							 target ? "pg_wal" : NULL, why) &&
		(!target || clear_list_directory(list, target, NULL, why));
	free(target);
	if (done)
		return list;
	if (!list)
		snprintf(why, HA_WHY_MAX, "out of memory");
	clear_list_free(list);
	return NULL;
}

static void
clear_removed(HaTask *task, int status)
{
	char		why[HA_WHY_MAX];
	ClearList  *list;
	bool		empty;

	if (status != 0)
	{
		pgha_task_reason(task, status, why);
		task->cleared(task, why);
		return;
	}
	list = clear_list_make(task->node, why);
	empty = list && list->npaths == 2;
	clear_list_free(list);
	if (!list)
		task->cleared(task, why);
	else if (empty)
		task->cleared(task, NULL);
	else
		pgha_clear_directory(task, task->cleared);
}

static HaTaskProgram
clear_program(const ClearList *list)
{
	return (HaTaskProgram) {
		.name = "/bin/rm",
		.args = (const char *const *) list->paths,
		.then = clear_removed
	};
}

/* rm without a path does nothing, which is right for an empty directory. */
void
pgha_clear_directory(HaTask *task, HaClearDone done)
{
	char		why[HA_WHY_MAX];
	ClearList  *list = clear_list_make(task->node, why);
	HaTaskProgram program;

	task->cleared = done;
	if (!list)
	{
		done(task, why);
		return;
	}
	program = clear_program(list);
	pgha_task_next(task, &program);
	clear_list_free(list);
}

HaJob *
pgha_clear_start(HaTask *task, HaClearDone done, char *why)
{
	ClearList  *list = clear_list_make(task->node, why);
	HaTaskProgram program;
	HaJob	   *job;

	task->cleared = done;
	if (!list)
	{
		pgha_task_free(task);
		return NULL;
	}
	program = clear_program(list);
	job = pgha_task_start(task, &program, why);
	clear_list_free(list);
	return job;
}
