/*
 * directory.c
 *	  The data directory as files: signal files, entries, what pg_control says.
 */
#include "postgres_fe.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_control.h"
#include "port/pg_crc32c.h"

#include "dcs/state.h"
#include "launcher/directory.h"

/*
 * A running server writes pg_control in one write, but a reader may see half
 * of it: a wrong CRC counts only if it stays wrong.
 */
#define CONTROL_READ_TRIES 4
#define CONTROL_READ_PAUSE_US 1000

bool
pgha_directory_path(const HaNode *node, const char *name, char path[PATH_MAX],
					char *why)
{
	int			len = snprintf(path, PATH_MAX, "%s/%s", node->data_directory,
							   name);

	if (len < PATH_MAX)
		return true;
	snprintf(why, HA_WHY_MAX, "path of \"%.60s\" is too long", name);
	return false;
}

bool
pgha_directory_has(const HaNode *node, const char *name)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	struct stat st;

	return pgha_directory_path(node, name, path, why) && lstat(path, &st) == 0;
}

bool
pgha_directory_fsync(const char *path, char *why)
{
	int			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool		done = fd >= 0 && fsync(fd) == 0;

	if (!done)
		snprintf(why, HA_WHY_MAX, "could not fsync \"%.120s\": %s", path,
				 strerror(errno));
	if (fd >= 0)
		close(fd);
	return done;
}

static bool
create_empty_file(const char *path, char *why)
{
	int			fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	bool		done = fd >= 0 && fsync(fd) == 0;

	if (!done)
		snprintf(why, HA_WHY_MAX, "could not create \"%.120s\": %s", path,
				 strerror(errno));
	if (fd >= 0)
		close(fd);
	return done;
}

bool
pgha_directory_set_standby(const HaNode *node, bool standby, char *why)
{
	char		path[PATH_MAX];

	if (!pgha_directory_path(node, "standby.signal", path, why))
		return false;
	if (standby && !create_empty_file(path, why))
		return false;
	if (!standby && unlink(path) < 0 && errno != ENOENT)
	{
		snprintf(why, HA_WHY_MAX, "could not remove \"%.120s\": %s", path,
				 strerror(errno));
		return false;
	}
	return pgha_directory_fsync(node->data_directory, why);
}

static bool
name_is_content(const char *name)
{
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		strcmp(name, "lost+found") != 0;
}

void
pgha_directory_free_names(char **names)
{
	for (int i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

char	  **
pgha_directory_names(const char *path, int max, bool *more, char *why)
{
	char	  **names = calloc((size_t) max + 1, sizeof(char *));
	DIR		   *dir = opendir(path);
	struct dirent *entry;
	int			n = 0;
	int			error = dir || errno == ENOENT ? 0 : errno;

	*more = false;
	errno = 0;
	while (names && dir && !*more && (entry = readdir(dir)) != NULL)
	{
		if (!name_is_content(entry->d_name))
			continue;
		*more = n == max;
		if (!*more && (names[n++] = strdup(entry->d_name)) == NULL)
			errno = ENOMEM;
		if (errno != 0)
			break;
	}
	if (error == 0)
		error = names ? errno : ENOMEM;
	if (dir)
		closedir(dir);
	if (error == 0)
		return names;
	snprintf(why, HA_WHY_MAX, "could not read directory \"%.120s\": %s", path,
			 strerror(error));
	pgha_directory_free_names(names);
	return NULL;
}

static bool
control_check_version(const HaNode *node, HaControl *control, char *why)
{
	char		path[PATH_MAX];
	bool		missing;
	size_t		len;
	char	   *content;

	if (!pgha_directory_path(node, "PG_VERSION", path, why))
		return false;
	content = pgha_file_read(path, 64, &len, &missing, why);
	if (!content)
	{
		if (missing)
			snprintf(why, HA_WHY_MAX, "\"%.100s\" is not empty, but no data "
					 "directory: it has no PG_VERSION", node->data_directory);
		return false;
	}
	control->version = atoi(content);
	free(content);
	if (control->version == atoi(PG_MAJORVERSION))
		return true;
	snprintf(why, HA_WHY_MAX, "data directory is of PostgreSQL %d, "
			 "pg_ha_launcher of PostgreSQL %s", control->version,
			 PG_MAJORVERSION);
	return false;
}

static bool
control_read_file(const char *path, ControlFileData *file, bool *damaged,
				  char *why)
{
	bool		missing;
	size_t		len;
	char	   *data = pgha_file_read(path, PG_CONTROL_FILE_SIZE, &len,
									  &missing, why);
	bool		whole = data && len >= sizeof(*file);

	*damaged = !whole && (data || missing);
	if (whole)
		memcpy(file, data, sizeof(*file));
	else if (data)
		snprintf(why, HA_WHY_MAX, "\"%.120s\" is too short", path);
	else if (missing)
		snprintf(why, HA_WHY_MAX, "\"%.120s\" is missing", path);
	free(data);
	return whole;
}

/*
 * Not libpgcommon's get_controlfile, because that ends the program when the
 * file can't be read.
 */
static bool
control_read_checked(const char *path, ControlFileData *file, bool *damaged,
					 char *why)
{
	for (int try = 0; try < CONTROL_READ_TRIES; try++)
	{
		pg_crc32c	crc;

		if (!control_read_file(path, file, damaged, why))
			return false;
		INIT_CRC32C(crc);
		COMP_CRC32C(crc, file, offsetof(ControlFileData, crc));
		FIN_CRC32C(crc);
		if (EQ_CRC32C(crc, file->crc))
			return true;
		usleep(CONTROL_READ_PAUSE_US);
	}
	*damaged = true;
	snprintf(why, HA_WHY_MAX, "\"%.120s\" has a wrong checksum", path);
	return false;
}

static HaControlState
control_state(DBState state)
{
	switch (state)
	{
		case DB_SHUTDOWNED:
			return HA_CONTROL_SHUT_DOWN;
		case DB_SHUTDOWNED_IN_RECOVERY:
			return HA_CONTROL_SHUT_DOWN_IN_RECOVERY;
		case DB_SHUTDOWNING:
			return HA_CONTROL_SHUTTING_DOWN;
		case DB_IN_CRASH_RECOVERY:
			return HA_CONTROL_CRASH_RECOVERY;
		case DB_IN_ARCHIVE_RECOVERY:
			return HA_CONTROL_ARCHIVE_RECOVERY;
		case DB_IN_PRODUCTION:
			return HA_CONTROL_IN_PRODUCTION;
		case DB_STARTUP:
			break;
	}
	return HA_CONTROL_UNKNOWN;
}

static void
control_fill(HaControl *control, const ControlFileData *file)
{
	control->valid = true;
	control->sysid = file->system_identifier;
	control->state = control_state(file->state);
	control->tli = file->checkPointCopy.ThisTimeLineID;
	control->checkpoint = file->checkPoint;
	control->redo = file->checkPointCopy.redo;
	control->min_recovery_tli = file->minRecoveryPointTLI;
	control->min_recovery = file->minRecoveryPoint;
	control->checksums = file->data_checksum_version != 0;
	control->wal_log_hints = file->wal_log_hints;
	control->segment_size = file->xlog_seg_size;
	control->settings.max_connections = file->MaxConnections;
	control->settings.max_worker_processes = file->max_worker_processes;
	control->settings.max_wal_senders = file->max_wal_senders;
	control->settings.max_prepared_xacts = file->max_prepared_xacts;
	control->settings.max_locks_per_xact = file->max_locks_per_xact;
}

bool
pgha_directory_read_control(const HaNode *node, HaControl *control, char *why)
{
	char		path[PATH_MAX];
	ControlFileData file;

	memset(control, 0, sizeof(*control));
	control->settings = (HaControlSettings) {-1, -1, -1, -1, -1};
	if (!control_check_version(node, control, why) ||
		!pgha_directory_path(node, "global/pg_control", path, why) ||
		!control_read_checked(path, &file, &control->damaged, why))
		return false;
	if (file.pg_control_version != PG_CONTROL_VERSION)
	{
		snprintf(why, HA_WHY_MAX, "\"%.100s\" has version %u, not %d", path,
				 file.pg_control_version, PG_CONTROL_VERSION);
		return false;
	}
	control_fill(control, &file);
	return true;
}

/* ------------------------------------------------------------------------
 * Numbers of timelines
 * ------------------------------------------------------------------------
 */

/* a claim further ahead is no claim of a cluster that works */
#define SKIPPED_MAX 10000

#define SKIPPED_TEXT "# number given to another leadership, skipped by pg_ha\n"

/* An empty history of that number, unless there is one. */
static bool
skip_timeline(const HaNode *node, uint32_t number, char *why)
{
	char		name[32];
	char		path[PATH_MAX];
	FILE	   *file;
	bool		written;

	snprintf(name, sizeof(name), "pg_wal/%08X.history", number);
	if (!pgha_directory_path(node, name, path, why))
		return false;
	file = fopen(path, "wxe");
	if (!file && errno == EEXIST)
		return true;
	written = file && fputs(SKIPPED_TEXT, file) != EOF;
	if (file && fclose(file) == 0 && written)
		return true;
	snprintf(why, HA_WHY_MAX, "could not write \"%.120s\": %s", path,
			 strerror(errno));
	return false;
}

bool
pgha_directory_skip_timelines(const HaNode *node, uint32_t tli,
							  uint32_t claimed, char *why)
{
	uint32_t	number = tli > SKIPPED_MAX ? tli - SKIPPED_MAX : 2;

	if (claimed > tli && claimed - tli > SKIPPED_MAX)
	{
		snprintf(why, HA_WHY_MAX, "timeline %u was claimed, and the data "
				 "directory is on %u", claimed, tli);
		return false;
	}
	for (; number < claimed || number < tli; number++)
	{
		if (number != tli && !skip_timeline(node, number, why))
			return false;
	}
	return true;
}

/* The number in a history file's name; 0 = it is none. */
static uint32_t
history_number(const char *name)
{
	unsigned int number;
	int			len = 0;

	if (sscanf(name, "%8X.history%n", &number, &len) != 1 || len != 16 ||
		name[len] != '\0')
		return 0;
	return number;
}

static bool
history_is_skipped(int dir_fd, const char *name)
{
	char		text[sizeof(SKIPPED_TEXT)] = "";
	int			fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t		len = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	return len == sizeof(SKIPPED_TEXT) - 1 &&
		memcmp(text, SKIPPED_TEXT, (size_t) len) == 0;
}

void
pgha_directory_forget_skipped(const HaNode *node)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	struct dirent *entry;
	uint32_t	highest = 0;
	DIR		   *dir = pgha_directory_path(node, "pg_wal", path, why) ?
		opendir(path) : NULL;

	while (dir && (entry = readdir(dir)) != NULL)
	{
		uint32_t	number = history_number(entry->d_name);

		if (number > highest && !history_is_skipped(dirfd(dir), entry->d_name))
			highest = number;
	}
	if (dir)
		rewinddir(dir);
	while (dir && (entry = readdir(dir)) != NULL)
	{
		if (history_number(entry->d_name) > highest)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

/* 1 empty or absent, 0 not empty, -1 can't be read */
static int
directory_is_empty(const HaNode *node, char *why)
{
	bool		more;
	char	  **names = pgha_directory_names(node->data_directory, 1, &more,
											 why);
	int			result = names ? names[0] == NULL : -1;

	pgha_directory_free_names(names);
	return result;
}

/*
 * An initdb that did not finish holds nothing of value and began with an empty
 * directory, so its remains count as empty: the next initdb or clone clears
 * them.  An empty directory with a clone's mark is half-done all the same: the
 * member has been part of a cluster and must not become a new one.
 */
HaInstance
pgha_directory_state(const HaNode *node, HaControl *control, char *why)
{
	HaNodeFile	file = {0};
	int			empty;

	why[0] = '\0';
	memset(control, 0, sizeof(*control));
	control->settings = (HaControlSettings) {-1, -1, -1, -1, -1};
	if (!pgha_state_read_node(node->state_directory, &file, why))
		return HA_INSTANCE_UNKNOWN;
	why[0] = '\0';				/* an absent file leaves words in it */
	if (strcmp(file.half_done, "initdb") == 0)
		return HA_INSTANCE_EMPTY;
	if (file.half_done[0] != '\0')
	{
		snprintf(why, HA_WHY_MAX, "a %s did not finish", file.half_done);
		return HA_INSTANCE_HALF_DONE;
	}
	empty = directory_is_empty(node, why);
	if (empty != 0)
		return empty > 0 ? HA_INSTANCE_EMPTY : HA_INSTANCE_UNKNOWN;
	if (!pgha_directory_read_control(node, control, why))
		return control->damaged && file.sysid != 0 ? HA_INSTANCE_HALF_DONE :
			HA_INSTANCE_UNKNOWN;
	if (control->state == HA_CONTROL_SHUT_DOWN ||
		control->state == HA_CONTROL_SHUT_DOWN_IN_RECOVERY)
		return HA_INSTANCE_DOWN;
	return HA_INSTANCE_CRASHED;
}
