/*
 * aside.c
 *	  The old copy of a member that is cloned anew.
 */
#include "launcher/aside.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dcs/json.h"
#include "launcher/clear.h"
#include "launcher/directory.h"
#include "launcher/spawn.h"

#define ASIDE_NAME "pg_ha.old"
#define ASIDE_ENTRIES_MAX 1024

/* what must stay free beside a copy of the same size */
#define ASIDE_SPARE_BYTES INT64_C(268435456)

static int64_t aside_bytes;

static int
aside_add(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void) path;
	(void) ftw;
	if (type == FTW_F)
		aside_bytes += (int64_t) st->st_blocks * 512;
	return 0;
}

static bool
aside_has_tablespaces(const HaNode *node)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	bool		more;
	char	  **names = NULL;
	bool		some = true;

	if (pgha_directory_path(node, "pg_tblspc", path, why))
		names = pgha_directory_names(path, 1, &more, why);
	if (names != NULL)
		some = names[0] != NULL;
	pgha_directory_free_names(names);
	return some;
}

bool
pgha_aside_possible(const HaNode *node, char *why)
{
	char	   *target = pgha_clear_wal_target(node);
	HaControl	control;
	HaInstance	state = pgha_directory_state(node, &control, why);
	bool		linked = target != NULL;
	struct statvfs fs;

	free(target);
	if (linked)
		return pgha_why(why, "pg_wal is a link");
	if (state != HA_INSTANCE_DOWN && state != HA_INSTANCE_CRASHED)
		return pgha_why(why, "the data directory is not whole");
	if (aside_has_tablespaces(node))
		return pgha_why(why, "it has tablespaces");
	aside_bytes = 0;
	if (statvfs(node->data_directory, &fs) < 0 ||
		nftw(node->data_directory, aside_add, 16, FTW_PHYS) != 0)
		return pgha_why(why, "its size is not known: %s", strerror(errno));
	if ((int64_t) fs.f_bavail * (int64_t) fs.f_frsize <
		aside_bytes + aside_bytes / 10 + ASIDE_SPARE_BYTES)
		return pgha_why(why, "there is no room for a second copy");
	return true;
}

static bool
aside_rename(const char *from_dir, const char *to_dir, const char *name,
			 char *why)
{
	char		from[PATH_MAX + 1];
	char		to[PATH_MAX + 1];

	if (snprintf(from, sizeof(from), "%s/%s", from_dir, name) > PATH_MAX ||
		snprintf(to, sizeof(to), "%s/%s", to_dir, name) > PATH_MAX)
		return pgha_why(why, "path of \"%.60s\" is too long", name);
	if (rename(from, to) == 0)
		return true;
	return pgha_why(why, "could not rename \"%.100s\": %s", from,
					strerror(errno));
}

/* Everything of one directory into another, but what is called so. */
static bool
aside_move_all(const char *from, const char *to, char *why)
{
	bool		more;
	char	  **names = pgha_directory_names(from, ASIDE_ENTRIES_MAX, &more,
											 why);
	bool		done = names != NULL;

	if (done && more)
		done = pgha_why(why, "\"%.100s\" has too many entries", from);
	for (int i = 0; done && names[i]; i++)
		if (strcmp(names[i], ASIDE_NAME) != 0)
			done = aside_rename(from, to, names[i], why);
	pgha_directory_free_names(names);
	return done && pgha_directory_fsync(from, why) &&
		pgha_directory_fsync(to, why);
}

bool
pgha_aside_move(const HaNode *node, char *why)
{
	char		path[PATH_MAX];

	if (!pgha_directory_path(node, ASIDE_NAME, path, why))
		return false;
	if (mkdir(path, 0700) < 0)
		return pgha_why(why, "could not create directory \"%.100s\": %s", path,
						strerror(errno));
	return aside_move_all(node->data_directory, path, why);
}

bool
pgha_aside_restore(const HaNode *node, char *why)
{
	char		path[PATH_MAX];

	if (!pgha_directory_path(node, ASIDE_NAME, path, why) ||
		!aside_move_all(path, node->data_directory, why))
		return false;
	if (rmdir(path) < 0)
		return pgha_why(why, "could not remove \"%.100s\": %s", path,
						strerror(errno));
	return true;
}

bool
pgha_aside_exists(const HaNode *node)
{
	return pgha_directory_has(node, ASIDE_NAME);
}

void
pgha_aside_remove(const HaNode *node)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	const char *argv[] = {"/bin/rm", "-rf", "--", path, NULL};
	HaSpawn		spawn = {.argv = argv,.stdin_fd = -1,.stdout_fd = -1,
		.stderr_fd = -1
	};
	int			pidfd = -1;

	if (pgha_directory_path(node, ASIDE_NAME, path, why) &&
		pgha_spawn(&spawn, &pidfd, why) != 0)
		close(pidfd);
}
