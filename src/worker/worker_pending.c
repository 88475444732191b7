/*
 * worker_pending.c
 *	  What the next start of this server will do differently.
 *
 * The files say what it will start with: the launcher keeps them as it would
 * start the server now, and strips postgresql.auto.conf of what pg_ha decides
 * on.  PostgreSQL's own mark of a pending restart is believed for all settings
 * but these, and for these the running value is compared with the files.
 */
#include "worker_private.h"

#include "compat.h"

#include "access/twophase.h"
#include "access/xlog.h"
#include "core/owned.h"
#include "dcs/json.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "storage/lock.h"
#include "utils/guc.h"

typedef struct PendingFiles
{
	ConfigVariable *conf;
	ConfigVariable *local;		/* of ALTER SYSTEM */
} PendingFiles;

void
worker_settings(HaControlSettings *settings)
{
	settings->max_connections = MaxConnections;
	settings->max_worker_processes = max_worker_processes;
	settings->max_wal_senders = max_wal_senders;
	settings->max_prepared_xacts = max_prepared_xacts;
	settings->max_locks_per_xact = max_locks_per_xact;
}

static void
pending_read_files(PendingFiles *files)
{
	ConfigVariable *tail = NULL;

	memset(files, 0, sizeof(*files));
	(void) ParseConfigFile(ConfigFileName, false, NULL, 0, 0, LOG,
						   &files->conf, &tail);
	tail = NULL;
	(void) ParseConfigFile(PG_AUTOCONF_FILENAME, false, NULL, 0, 0, LOG,
						   &files->local, &tail);
}

/* The last word of a file on a setting; NULL = none. */
static const char *
pending_last_word(const ConfigVariable *file, const char *name)
{
	const char *value = NULL;

	for (const ConfigVariable *item = file; item != NULL; item = item->next)
	{
		if (!item->ignore && item->errmsg == NULL &&
			pg_strcasecmp(item->name, name) == 0)
			value = item->value;
	}
	return value;
}

/* ALTER SYSTEM has no word in what pg_ha decides on. */
static const char *
pending_next(const PendingFiles *files, const char *name)
{
	const char *value = NULL;

	if (pgha_owner(name) == HA_OWNER_USER && !pgha_owned_critical(name))
		value = pending_last_word(files->local, name);
	return value != NULL ? value : pending_last_word(files->conf, name);
}

static void
pending_add(json_t **pending, const char *name, const char *running,
			const char *next)
{
	if (*pending == NULL)
		*pending = pgha_json_object();
	json_object_set_new(*pending, name,
						json_pack("{s:s, s:s}", "old_value", running,
								  "new_value", next));
}

static void
pending_compare(const PendingFiles *files, const char *name, json_t **pending)
{
	const struct config_generic *setting = pgha_guc_find(name);
	const char *running = GetConfigOptionByName(name, NULL, true);
	const char *next = pending_next(files, name);
	char		number[16];
	int			value;

	if (setting == NULL || running == NULL)
		return;
	if (setting->vartype == PGC_INT)
	{
		if (next == NULL || !parse_int(next, &value, setting->flags, NULL))
			value = ((const struct config_int *) setting)->boot_val;
		snprintf(number, sizeof(number), "%d", value);
		next = number;
	}
	if (next != NULL && strcmp(running, next) != 0)
		pending_add(pending, name, running, next);
}

json_t *
worker_pending_restart(void)
{
	struct config_generic **settings = get_guc_variables();
	int			n = GetNumConfigOptions();
	PendingFiles files;
	json_t	   *pending = NULL;

	pending_read_files(&files);
	for (int i = 0; i < n; i++)
	{
		const char *name = settings[i]->name;
		const char *running;
		const char *next;

		if (pgha_owned_critical(name))
			pending_compare(&files, name, &pending);
		else if (!(settings[i]->status & GUC_PENDING_RESTART))
			continue;
		else if (pgha_owner(name) != HA_OWNER_USER)
			pending_compare(&files, name, &pending);
		else
		{
			running = GetConfigOptionByName(name, NULL, true);
			next = pending_next(&files, name);
			pending_add(&pending, name, running != NULL ? running : "?",
						next != NULL ? next : "default");
		}
	}
	return pending;
}
