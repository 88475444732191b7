/*
 * test_parameters.c
 *	  Entries of postgresql.parameters: printing them, and names of old.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/parameters.h"
#include "tap.h"

static void
prints(const char *json, const char *expected)
{
	json_t	   *value = json_loads(json, JSON_DECODE_ANY, NULL);
	char	   *text = pgha_parameter_text(value);

	ok(expected == NULL ? text == NULL :
	   text != NULL && strcmp(text, expected) == 0, "%s is printed as %s",
	   json, expected != NULL ? expected : "nothing");
	free(text);
	json_decref(value);
}

/* "name value" of what the server reads; "" = nothing. */
static void
reads(int version, const char *parameters, const char *name,
	  const char *expected, const char *note)
{
	json_t	   *all = json_loads(parameters, 0, NULL);
	const char *now = name;
	char	   *value = pgha_parameter_text(json_object_get(all, name));
	char		why[HA_WHY_MAX];
	char		got[200] = "";
	HaParameterKind kind = pgha_parameter_translate(version, all, &now,
													&value, why);

	if (kind == HA_PARAMETER_AS_IS || kind == HA_PARAMETER_TRANSLATED)
		snprintf(got, sizeof(got), "%s %s", now, value);
	if (!ok(strcmp(got, expected) == 0 &&
			(note[0] == '\0' ? why[0] == '\0' : strstr(why, note) != NULL),
			"%d reads %s as \"%s\"", version, parameters, expected))
		printf("# got \"%s\", \"%s\"\n", got, why);
	free(value);
	json_decref(all);
}

static void
test_print(void)
{
	prints("\"it's\"", "it's");
	prints("true", "on");
	prints("false", "off");
	prints("8", "8");
	prints("1.1", "1.1");
	prints("0.9", "0.9");
	prints("null", NULL);
	prints("[1]", NULL);
	prints("{}", NULL);
}

static void
test_old_names(void)
{
	reads(150000, "{\"work_mem\": \"1MB\"}", "work_mem", "work_mem 1MB", "");
	reads(150000, "{\"wal_keep_segments\": 8}", "wal_keep_segments",
		  "wal_keep_size 128MB",
		  "read as wal_keep_size = 128MB, its name since PostgreSQL 13");
	reads(120000, "{\"wal_keep_segments\": 8}", "wal_keep_segments",
		  "wal_keep_segments 8", "");
	reads(150000, "{\"WAL_keep_segments\": \"-1\"}", "WAL_keep_segments",
		  "wal_keep_size 0MB", "wal_keep_size");
	reads(150000, "{\"wal_keep_segments\": 99999999999}", "wal_keep_segments",
		  "wal_keep_size 2147483632MB", "wal_keep_size");
	reads(150000, "{\"wal_keep_segments\": \"many\"}", "wal_keep_segments",
		  "wal_keep_size many", "wal_keep_size");
	reads(150000, "{\"wal_keep_segments\": 8, \"wal_keep_size\": \"1GB\"}",
		  "wal_keep_segments", "", "not used: it is wal_keep_size since");
	reads(150000, "{\"wal_keep_segments\": 8, \"wal_keep_size\": null}",
		  "wal_keep_segments", "wal_keep_size 128MB", "wal_keep_size");
	reads(150000, "{\"checkpoint_segments\": 32}", "checkpoint_segments",
		  "max_wal_size 1536MB", "since PostgreSQL 9.5");
	reads(150000, "{\"unix_socket_directory\": \"/run\"}",
		  "unix_socket_directory", "unix_socket_directories /run", "9.3");
	reads(150000, "{\"default_with_oids\": \"off\"}", "default_with_oids", "",
		  "not used: PostgreSQL has no such setting since version 12");
	reads(150000, "{\"vacuum_defer_cleanup_age\": 1}",
		  "vacuum_defer_cleanup_age", "vacuum_defer_cleanup_age 1", "");
	reads(160000, "{\"vacuum_defer_cleanup_age\": 1}",
		  "vacuum_defer_cleanup_age", "", "since version 16");
}

static void
test_old_values(void)
{
	reads(150000, "{\"wal_level\": \"hot_standby\"}", "wal_level",
		  "wal_level replica", "\"hot_standby\" is read as \"replica\"");
	reads(150000, "{\"wal_level\": \"Archive\"}", "wal_level",
		  "wal_level replica", "\"Archive\" is read as \"replica\"");
	reads(150000, "{\"wal_level\": \"logical\"}", "wal_level",
		  "wal_level logical", "");
	reads(150000, "{\"password_encryption\": true}", "password_encryption",
		  "password_encryption md5", "md5");
	reads(150000, "{\"hot_standby\": \"on\"}", "hot_standby", "", "always on");
	reads(150000, "{\"wal_log_hints\": true}", "wal_log_hints", "",
		  "always on");
	reads(150000, "{\"wal_log_hints\": \"off\"}", "wal_log_hints",
		  "wal_log_hints off", "");
}

int
main(void)
{
	test_print();
	test_old_names();
	test_old_values();
	return done_testing();
}
