/*
 * owned.c
 *	  Settings of PostgreSQL that pg_ha decides on by itself.
 */
#include <stddef.h>
#include <strings.h>

#include "core/owned.h"

#define FOLLOW_WHY "pg_ha decides whom this member follows"
#define TARGET_WHY "a member always recovers to the latest timeline's end"
#define PLACE_WHY "the place of a file is set by node settings"

typedef struct OwnedSetting
{
	const char *name;
	HaOwner		owner;
	const char *why;
} OwnedSetting;

static const OwnedSetting owned[] = {
	{"config_file", HA_OWNER_COMMAND_LINE, PLACE_WHY},
	{"hba_file", HA_OWNER_COMMAND_LINE, PLACE_WHY},
	{"ident_file", HA_OWNER_COMMAND_LINE, PLACE_WHY},
	{"data_directory", HA_OWNER_COMMAND_LINE, PLACE_WHY},
	{"external_pid_file", HA_OWNER_NODE, PLACE_WHY},
	{"cluster_name", HA_OWNER_COMMAND_LINE,
	"it is the member's name, from which standbys are known"},
	{"hot_standby", HA_OWNER_COMMAND_LINE, "members must accept connections"},
	{"wal_log_hints", HA_OWNER_COMMAND_LINE, "pg_rewind needs it"},
	{"port", HA_OWNER_COMMAND_LINE, "it belongs to the node settings"},
	{"listen_addresses", HA_OWNER_COMMAND_LINE,
	"it belongs to the node settings"},
	{"primary_conninfo", HA_OWNER_FILE, FOLLOW_WHY},
	{"primary_slot_name", HA_OWNER_FILE, FOLLOW_WHY},
	{"promote_trigger_file", HA_OWNER_FILE, "pg_ha decides who is promoted"},
	{"synchronous_standby_names", HA_OWNER_FILE,
	"it follows from the cluster setting synchronous_mode"},
	{"recovery_target", HA_OWNER_FILE, TARGET_WHY},
	{"recovery_target_action", HA_OWNER_FILE, TARGET_WHY},
	{"recovery_target_inclusive", HA_OWNER_FILE, TARGET_WHY},
	{"recovery_target_lsn", HA_OWNER_FILE, TARGET_WHY},
	{"recovery_target_name", HA_OWNER_FILE, TARGET_WHY},
	{"recovery_target_time", HA_OWNER_FILE, TARGET_WHY},
	{"recovery_target_timeline", HA_OWNER_FILE, TARGET_WHY},
	{"recovery_target_xid", HA_OWNER_FILE, TARGET_WHY},
	{"include", HA_OWNER_FILE, "files can't be included here"},
	{"include_dir", HA_OWNER_FILE, "files can't be included here"},
	{"include_if_exists", HA_OWNER_FILE, "files can't be included here"},
};

static const struct
{
	const char *name;
	size_t		offset;			/* in HaControlSettings */
}			critical[HA_CRITICALS] =
{
	{"max_connections", offsetof(HaControlSettings, max_connections)},
	{"max_worker_processes",
	offsetof(HaControlSettings, max_worker_processes)},
	{"max_wal_senders", offsetof(HaControlSettings, max_wal_senders)},
	{"max_prepared_transactions",
	offsetof(HaControlSettings, max_prepared_xacts)},
	{"max_locks_per_transaction",
	offsetof(HaControlSettings, max_locks_per_xact)},
};

static const OwnedSetting *
owned_find(const char *name)
{
	static const OwnedSetting own = {
		"pg_ha.", HA_OWNER_NODE, "it belongs to the node settings"
	};

	if (strncasecmp(name, "pg_ha.", 6) == 0)
		return &own;
	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
		if (strcasecmp(owned[i].name, name) == 0)
			return &owned[i];
	return NULL;
}

HaOwner
pgha_owner(const char *name)
{
	const OwnedSetting *setting = owned_find(name);

	return setting ? setting->owner : HA_OWNER_USER;
}

const char *
pgha_owned_why(const char *name)
{
	const OwnedSetting *setting = owned_find(name);

	return setting ? setting->why : NULL;
}

bool
pgha_owned_critical(const char *name)
{
	for (int i = 0; i < HA_CRITICALS; i++)
		if (strcasecmp(critical[i].name, name) == 0)
			return true;
	return false;
}

const char *
pgha_critical_name(int which)
{
	return critical[which].name;
}

int *
pgha_critical(HaControlSettings *settings, int which)
{
	return (int *) ((char *) settings + critical[which].offset);
}

void
pgha_critical_raise(HaControlSettings *settings,
					const HaControlSettings *least)
{
	HaControlSettings values = *least;

	for (int i = 0; i < HA_CRITICALS; i++)
	{
		int		   *to = pgha_critical(settings, i);
		int			from = *pgha_critical(&values, i);

		if (from > *to)
			*to = from;
	}
}
