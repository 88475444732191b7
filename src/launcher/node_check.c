/*
 * node_check.c
 *	  What is in the way on this machine.
 *
 * Every problem is found, not only the first one.  Nothing is changed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pg_config.h"

#include "dcs/state.h"
#include "launcher/capture.h"
#include "launcher/instance.h"
#include "launcher/node_private.h"

#define VERSION_TIMEOUT_MS 5000
#define BOOTSTRAP_MAX HA_DOCUMENT_MAX
#define BOOTSTRAP_HINT "Correct the file; it is read again when the cluster " \
	"is made."

void
pgha_node_problem(HaProblems *problems, const char *hint, const char *format,
				  ...)
{
	char		text[1024];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	problems->n++;
	problems->report(problems->arg, text, hint);
}

/*
 * Programs
 */

static void
check_version(const HaNode *node, const char *program, HaProblems *problems)
{
	static HaCapture capture;
	const char *argv[] = {program, "--version", NULL};
	char		why[HA_WHY_MAX];
	const char *number;

	if (!pgha_capture(argv, VERSION_TIMEOUT_MS, &capture, why))
	{
		pgha_node_problem(problems, NULL, "%s", why);
		return;
	}
	/* postgres (PostgreSQL) 15.6 (Debian 15.6-0+deb12u1) */
	number = strstr(capture.output, ") ");
	if (number && atoi(number + 2) == atoi(PG_MAJORVERSION))
		return;
	capture.output[strcspn(capture.output, "\n")] = '\0';
	pgha_node_problem(problems, "Set \"pg_ha.bin_directory\" to the programs "
					  "of PostgreSQL " PG_MAJORVERSION ", or use the "
					  "pg_ha_launcher of the other version.",
					  "\"%s\" is \"%.100s\", but pg_ha_launcher is of "
					  "PostgreSQL %s", program, capture.output,
					  PG_MAJORVERSION);
}

static void
check_programs(const HaNode *node, HaProblems *problems)
{
	static const char *const programs[] = {
		"postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_waldump",
		"psql"
	};
	char		path[PATH_MAX];

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
	{
		snprintf(path, sizeof(path), "%s/%s", node->bin_directory,
				 programs[i]);
		if (access(path, X_OK) < 0)
			pgha_node_problem(problems, "Install it, or set "
							  "\"pg_ha.bin_directory\".",
							  "program \"%s\" can't be run: %s", path,
							  strerror(errno));
		else if (i == 0)
			check_version(node, path, problems);
	}
}

/*
 * Directories
 */

static char *
parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? strdup("/") : strndup(path, (size_t) (slash - path));
}

/* An absent directory must be one that can be made. */
static void
check_parent(const char *what, const char *path, HaProblems *problems)
{
	char	   *parent = parent_of(path);
	char		hint[PATH_MAX + 64];

	if (parent && access(parent, W_OK | X_OK) < 0)
	{
		snprintf(hint, sizeof(hint), "As root: install -d -o %u -m 700 '%s'",
				 (unsigned) geteuid(), path);
		pgha_node_problem(problems, hint, "%s \"%s\" is missing and can't be "
						  "made: %s", what, path, strerror(errno));
	}
	free(parent);
}

/* Exists as a directory of ours; reports if it doesn't. */
static bool
check_directory(const char *what, const char *path, struct stat *st,
				HaProblems *problems)
{
	if (stat(path, st) < 0)
	{
		if (errno == ENOENT)
			check_parent(what, path, problems);
		else
			pgha_node_problem(problems, NULL, "%s \"%s\" can't be looked at: "
							  "%s", what, path, strerror(errno));
		return false;
	}
	if (!S_ISDIR(st->st_mode))
		pgha_node_problem(problems, NULL, "%s \"%s\" is no directory", what,
						  path);
	else if (st->st_uid != geteuid())
		pgha_node_problem(problems, "Run pg_ha_launcher as the user that owns "
						  "the data directory, and let it own this one.",
						  "%s \"%s\" belongs to another user", what, path);
	else if (access(path, R_OK | W_OK | X_OK) < 0)
	{
		char		hint[PATH_MAX + 64];
		int			error = errno;

		snprintf(hint, sizeof(hint), "chmod 700 '%s'", path);
		pgha_node_problem(problems, hint, "%s \"%s\" can't be written: %s",
						  what, path, strerror(error));
	}
	else
		return true;
	return false;
}

static void
check_data_version(const HaNode *node, HaProblems *problems)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	bool		missing;
	size_t		len;
	char	   *text;

	snprintf(path, sizeof(path), "%s/PG_VERSION", node->data_directory);
	text = pgha_file_read(path, 64, &len, &missing, why);
	if (!text && !missing)
		pgha_node_problem(problems, NULL, "%s", why);
	if (text && atoi(text) != atoi(PG_MAJORVERSION))
		pgha_node_problem(problems, "Use the pg_ha_launcher of that version, "
						  "or pg_upgrade first.",
						  "data directory \"%s\" is of PostgreSQL %d, "
						  "pg_ha_launcher of PostgreSQL %s",
						  node->data_directory, atoi(text), PG_MAJORVERSION);
	free(text);
}

static void
check_directories(const HaNode *node, HaProblems *problems)
{
	struct stat st;
	char		hint[PATH_MAX + 64];

	if (check_directory("data directory", node->data_directory, &st, problems))
	{
		if (st.st_mode & (S_IWGRP | S_IRWXO))
		{
			snprintf(hint, sizeof(hint), "chmod 700 '%s'",
					 node->data_directory);
			pgha_node_problem(problems, hint, "data directory \"%s\" has mode "
							  "0%o, but PostgreSQL wants 0700 or 0750",
							  node->data_directory,
							  (unsigned) st.st_mode & 07777);
		}
		check_data_version(node, problems);
	}
	check_directory("state directory", node->state_directory, &st, problems);
	if (strcmp(node->state_directory, node->run_directory) != 0)
		check_directory("run directory", node->run_directory, &st, problems);
}

static void
check_config_file(const HaNode *node, HaProblems *problems)
{
	char		path[PATH_MAX];

	if (!node->config_directory[0])
		return;
	snprintf(path, sizeof(path), "%s/postgresql.conf", node->config_directory);
	if (access(path, R_OK) < 0)
		pgha_node_problem(problems, "Set \"pg_ha.config_directory\" to the "
						  "directory of your postgresql.conf, or leave it out "
						  "if that is in the data directory.",
						  "\"%s\" can't be read: %s", path, strerror(errno));
	else if (access(path, W_OK) < 0 ||
			 access(node->config_directory, W_OK) < 0)
		pgha_node_problem(problems, "pg_ha adds lines to it which keep the "
						  "instance fenced when it is started by hand.",
						  "\"%s\" or its directory can't be written: %s",
						  path, strerror(errno));
}

/*
 * Files with secrets
 */

static void
check_role_password(const HaNode *node, const char *passfile,
					const char *database, const char *user,
					HaProblems *problems)
{
	char	   *password = pgha_node_find_password(node, NULL, 0, database,
												   user);
	char		hint[256];

	if (!password)
	{
		snprintf(hint, sizeof(hint), "Add a line such as \"*:*:*:%.63s:"
				 "<password>\".", user);
		pgha_node_problem(problems, hint, "\"%s\" has no line for user "
						  "\"%s\" and database \"%s\"", passfile, user,
						  database);
	}
	free(password);
}

static void
check_passfile(const HaNode *node, HaProblems *problems)
{
	char	   *path = pgha_node_passfile(node);
	char		hint[PATH_MAX + 64];
	struct stat st;

	if (!path)
		return;
	if (access(path, R_OK) < 0 || stat(path, &st) < 0)
		pgha_node_problem(problems, "Set \"pg_ha.passfile\" to a file with "
						  "lines host:port:database:user:password, mode 0600.",
						  "password file \"%s\" can't be read: %s", path,
						  strerror(errno));
	else if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IRWXG | S_IRWXO)))
	{
		snprintf(hint, sizeof(hint), "chmod 600 '%s'", path);
		pgha_node_problem(problems, hint, "password file \"%s\" is accessible "
						  "to group or others, so libpq ignores it", path);
	}
	else
	{
		check_role_password(node, path, "replication", node->replication_user,
							problems);
		check_role_password(node, path, "postgres", node->rewind_user,
							problems);
	}
	free(path);
}

/* A secret of ours, or of root's shared with our group. */
static bool
mode_is_secret(const struct stat *st)
{
	if (st->st_uid == 0 && geteuid() != 0)
		return (st->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0;
	return (st->st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

static void
check_files(const HaNode *node, HaProblems *problems)
{
	static const char *const files[] = {
		"pg_ha.consul_token_file", "pg_ha.consul_ca_file",
		"pg_ha.consul_cert_file", "pg_ha.consul_key_file",
		"pg_ha.restapi_password_file", "pg_ha.restapi_cert_file",
		"pg_ha.restapi_key_file", "pg_ha.restapi_ca_file",
		"pg_ha.bootstrap_config"
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
	{
		const HaSetting *setting = pgha_setting(files[i]);
		const char *path = pgha_node_get(node, files[i]);
		char		hint[PATH_MAX + 64];
		struct stat st;

		if (!*path)
			continue;
		if (access(path, R_OK) < 0 || stat(path, &st) < 0)
			pgha_node_problem(problems, "Correct the path, or the file's owner "
							  "and mode.", "\"%s\" of \"%s\" can't be read: %s", path, setting->name,
							  strerror(errno));
		else if ((setting->flags & HA_SETTING_SECRET) && !mode_is_secret(&st))
		{
			snprintf(hint, sizeof(hint), "chmod 600 '%s'", path);
			pgha_node_problem(problems, hint, "\"%s\" of \"%s\" is accessible "
							  "to group or others", path, setting->name);
		}
	}
}

static void
check_bootstrap_config(const HaNode *node, HaProblems *problems)
{
	const char *path = pgha_node_get(node, "pg_ha.bootstrap_config");
	char		why[HA_WHY_MAX];
	json_error_t error;
	json_t	   *document;
	bool		missing;
	size_t		len;
	char	   *text;

	if (!*path || access(path, R_OK) < 0)
		return;
	text = pgha_file_read(path, BOOTSTRAP_MAX, &len, &missing, why);
	document = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &error) :
		NULL;
	if (!text)
		pgha_node_problem(problems, NULL, "%s", why);
	else if (!document)
		pgha_node_problem(problems, BOOTSTRAP_HINT, "%s:%d: %s", path,
						  error.line, error.text);
	else if (!pgha_config_check(document, why))
		pgha_node_problem(problems, BOOTSTRAP_HINT, "%s: %s", path, why);
	json_decref(document);
	free(text);
}

/* A server in the data directory that doesn't hold the launcher's lock. */
static void
check_running(const HaNode *node, HaProblems *problems)
{
	HaPidFile	file;
	char		hint[PATH_MAX + 64];
	char		why[HA_WHY_MAX];

	if (!pgha_instance_read_pid_file(node, &file, why) || !file.present ||
		file.pid <= 0 || pgha_instance_locked(node) ||
		!pgha_instance_works_in(node, file.pid))
		return;
	snprintf(hint, sizeof(hint), "Stop it before pg_ha_launcher starts: "
			 "%s/pg_ctl -D '%s' stop", node->bin_directory,
			 node->data_directory);
	pgha_node_problem(problems, hint, "a server that pg_ha did not start runs "
					  "in \"%s\" (process %d)", node->data_directory,
					  (int) file.pid);
}

int
pgha_node_check(const HaNode *node, HaProblemReport report, void *arg)
{
	HaProblems	problems = {.report = report,.arg = arg};

	check_programs(node, &problems);
	check_directories(node, &problems);
	check_config_file(node, &problems);
	check_passfile(node, &problems);
	check_files(node, &problems);
	pgha_node_check_debian(node, "/etc/postgresql", &problems);
	return problems.n;
}

int
pgha_node_check_passing(const HaNode *node, HaProblemReport report, void *arg)
{
	HaProblems	problems = {.report = report,.arg = arg};

	check_bootstrap_config(node, &problems);
	check_running(node, &problems);
	return problems.n;
}
