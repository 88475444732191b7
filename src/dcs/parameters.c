/*
 * parameters.c
 *	  An entry of postgresql.parameters as the server is to read it.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dcs/json.h"
#include "dcs/parameters.h"

#define WAL_SEGMENT_MB 16

/*
 * A setting that a server from `gone` on does not know.  Source: PostgreSQL's
 * release notes; the formula for max_wal_size is that of 9.5's.
 */
typedef struct OldSetting
{
	const char *name;
	int			gone;			/* PG_VERSION_NUM */
	const char *now;			/* its name today; NULL = it has none */
	int			segments;		/* of WAL per unit, 0: the value stays */
} OldSetting;

static const OldSetting old_settings[] = {
	{"sort_mem", 80000, "work_mem", 0},
	{"vacuum_mem", 80000, "maintenance_work_mem", 0},
	{"max_fsm_pages", 80400, NULL, 0},
	{"max_fsm_relations", 80400, NULL, 0},
	{"custom_variable_classes", 90200, NULL, 0},
	{"replication_timeout", 90300, "wal_sender_timeout", 0},
	{"unix_socket_directory", 90300, "unix_socket_directories", 0},
	{"checkpoint_segments", 90500, "max_wal_size", 3},
	{"ssl_renegotiation_limit", 90500, NULL, 0},
	{"min_parallel_relation_size", 100000, "min_parallel_table_scan_size", 0},
	{"sql_inheritance", 100000, NULL, 0},
	{"replacement_sort_tuples", 110000, NULL, 0},
	{"default_with_oids", 120000, NULL, 0},
	{"standby_mode", 120000, NULL, 0},
	{"trigger_file", 120000, NULL, 0},
	{"wal_keep_segments", 130000, "wal_keep_size", 1},
	{"operator_precedence_warning", 140000, NULL, 0},
	{"vacuum_cleanup_index_scale_factor", 140000, NULL, 0},
	{"stats_temp_directory", 150000, NULL, 0},
	{"force_parallel_mode", 160000, "debug_parallel_query", 0},
	{"vacuum_defer_cleanup_age", 160000, NULL, 0},
	{"db_user_namespace", 170000, NULL, 0},
	{"old_snapshot_threshold", 170000, NULL, 0},
	{"trace_recovery_messages", 170000, NULL, 0},
};

/* A value that has another name today. */
typedef struct OldValue
{
	const char *name;
	const char *value;
	const char *now;
} OldValue;

static const OldValue old_values[] = {
	{"wal_level", "archive", "replica"},
	{"wal_level", "hot_standby", "replica"},
	{"password_encryption", "on", "md5"},
	{"password_encryption", "true", "md5"},
	{"password_encryption", "yes", "md5"},
	{"password_encryption", "1", "md5"},
};

/* Patroni writes these into every cluster's settings. */
static const char *const always_on[] = {"hot_standby", "wal_log_hints"};

#define LENGTH(array) (sizeof(array) / sizeof(array[0]))

char *
pgha_parameter_text(const json_t *value)
{
	char	   *text = NULL;
	int			len = 0;

	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (json_is_boolean(value))
		return strdup(json_is_true(value) ? "on" : "off");
	if (json_is_integer(value))
		len = asprintf(&text, "%" JSON_INTEGER_FORMAT,
					   json_integer_value(value));
	else if (json_is_real(value))
		len = asprintf(&text, "%.15g", json_real_value(value));
	return len < 0 ? NULL : text;
}

/* PostgreSQL 9.6 and 10 are counted differently. */
static const char *
version_name(int version, char name[16])
{
	if (version >= 100000)
		snprintf(name, 16, "%d", version / 10000);
	else
		snprintf(name, 16, "%d.%d", version / 10000, version / 100 % 100);
	return name;
}

/* What is no number stays as it is, for the server to complain of. */
static char *
segments_size(const char *value, int per_unit)
{
	char	   *end;
	long		number = strtol(value, &end, 10);
	char	   *size;

	if (end == value || end[strspn(end, " \t")] != '\0')
		return strdup(value);
	if (number < 0)
		number = 0;
	if (number > INT_MAX / (WAL_SEGMENT_MB * per_unit))
		number = INT_MAX / (WAL_SEGMENT_MB * per_unit);
	return asprintf(&size, "%ldMB", number * WAL_SEGMENT_MB * per_unit) < 0 ?
		NULL : size;
}

static HaParameterKind
translate_setting(const OldSetting *old, const json_t *parameters,
				  const char **name, char **value, char *note)
{
	char		version[16];
	char	   *text;
	const json_t *now;

	version_name(old->gone, version);
	if (old->now == NULL)
	{
		pgha_why(note, "not used: PostgreSQL has no such setting since version %s",
				 version);
		return HA_PARAMETER_DROPPED;
	}
	now = json_object_get(parameters, old->now);
	if (now != NULL && !json_is_null(now))
	{
		pgha_why(note, "not used: it is %s since PostgreSQL %s, which is "
				 "set, too", old->now, version);
		return HA_PARAMETER_DROPPED;
	}
	*name = old->now;
	if (old->segments > 0)
	{
		text = segments_size(*value, old->segments);
		free(*value);
		*value = text;
	}
	pgha_why(note, "read as %s = %.60s, its name since PostgreSQL %s",
			 old->now, *value != NULL ? *value : "?", version);
	return HA_PARAMETER_TRANSLATED;
}

static bool
means_on(const char *value)
{
	return strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0 ||
		strcasecmp(value, "yes") == 0 || strcmp(value, "1") == 0;
}

static HaParameterKind
translate_value(const char *name, char **value, char *note)
{
	for (size_t i = 0; i < LENGTH(old_values); i++)
	{
		if (strcasecmp(name, old_values[i].name) != 0 ||
			strcasecmp(*value, old_values[i].value) != 0)
			continue;
		pgha_why(note, "\"%s\" is read as \"%s\", which is its name today",
				 *value, old_values[i].now);
		free(*value);
		*value = strdup(old_values[i].now);
		return HA_PARAMETER_TRANSLATED;
	}
	for (size_t i = 0; i < LENGTH(always_on); i++)
	{
		if (strcasecmp(name, always_on[i]) != 0 || !means_on(*value))
			continue;
		pgha_why(note, "it is always on");
		return HA_PARAMETER_HOLDS;
	}
	return HA_PARAMETER_AS_IS;
}

HaParameterKind
pgha_parameter_translate(int server_version, const json_t *parameters,
						 const char **name, char **value, char *note)
{
	note[0] = '\0';
	for (size_t i = 0; i < LENGTH(old_settings); i++)
	{
		if (server_version >= old_settings[i].gone &&
			strcasecmp(*name, old_settings[i].name) == 0)
			return translate_setting(&old_settings[i], parameters, name,
									 value, note);
	}
	return translate_value(*name, value, note);
}
