/*
 * node_debian.c
 *	  Debian's own management of the same data directory.
 *
 * postgresql-common keeps a cluster's configuration in
 * /etc/postgresql/<version>/<cluster>; start.conf there says whether the
 * system's service starts it (auto, manual, disabled).  Two managers of one
 * data directory end in a server that the launcher knows nothing of.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pg_config.h"

#include "dcs/state.h"
#include "launcher/capture.h"
#include "launcher/node_private.h"

#define SYSTEMCTL "/usr/bin/systemctl"
#define SYSTEMCTL_TIMEOUT_MS 5000
#define START_CONF_MAX 65536

static bool
same_directory(const char *a, const char *b)
{
	char		real_a[PATH_MAX];
	char		real_b[PATH_MAX];

	return strcmp(a, b) == 0 ||
		(realpath(a, real_a) && realpath(b, real_b) &&
		 strcmp(real_a, real_b) == 0);
}

/* Whether the configuration in a directory is of our data directory. */
static bool
is_ours(const HaNode *node, const char *directory)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	HaConf		conf = {0};
	const char *value;
	bool		ours;

	if (snprintf(path, sizeof(path), "%s/postgresql.conf", directory) >=
		PATH_MAX)
		return false;
	/* as far as it can be read */
	(void) pgha_conf_load(path, &conf, why);
	value = pgha_conf_get(&conf, "data_directory");
	ours = value && same_directory(value, node->data_directory);
	pgha_conf_free(&conf);
	return ours;
}

/* The first word that is no comment; Debian takes an absent file as auto. */
static void
read_start(const char *path, char word[16])
{
	char		why[HA_WHY_MAX];
	bool		missing;
	size_t		len;
	char	   *text = pgha_file_read(path, START_CONF_MAX, &len, &missing,
									  why);
	char	   *next = text;
	char	   *line;

	strcpy(word, missing ? "auto" : "");
	while (!*word && next && (line = strsep(&next, "\n")) != NULL)
	{
		line[strcspn(line, "#")] = '\0';
		line += strspn(line, " \t\r");
		line[strcspn(line, " \t\r")] = '\0';
		snprintf(word, 16, "%.15s", line);
	}
	free(text);
}

static void
check_start(const char *directory, HaProblems *problems)
{
	char		path[PATH_MAX];
	char		hint[PATH_MAX + 64];
	char		word[16];

	if (snprintf(path, sizeof(path), "%s/start.conf", directory) >= PATH_MAX)
		return;
	read_start(path, word);
	if (strcmp(word, "disabled") == 0)
		return;
	snprintf(hint, sizeof(hint), "echo disabled | sudo tee %s", path);
	pgha_node_problem(problems, hint, "the system's own service may start the "
					  "same data directory: \"%s\" says \"%s\"", path, word);
}

static void
check_service(const char *cluster, HaProblems *problems)
{
	static HaCapture capture;
	char		unit[NAME_MAX + 32];
	char		hint[NAME_MAX + 96];
	char		why[HA_WHY_MAX];
	const char *argv[] = {SYSTEMCTL, "is-active", "--quiet", unit, NULL};

	snprintf(unit, sizeof(unit), "postgresql@%s-%s.service", PG_MAJORVERSION,
			 cluster);
	if (access(SYSTEMCTL, X_OK) < 0 ||
		!pgha_capture(argv, SYSTEMCTL_TIMEOUT_MS, &capture, why) ||
		!WIFEXITED(capture.status) || WEXITSTATUS(capture.status) != 0)
		return;
	snprintf(hint, sizeof(hint), "sudo systemctl disable --now %s", unit);
	pgha_node_problem(problems, hint, "the service \"%s\" runs the same data "
					  "directory", unit);
}

/* Where the user's own configuration is has to be said. */
static void
check_config_directory(const HaNode *node, const char *directory,
					   HaProblems *problems)
{
	char		hint[PATH_MAX + 64];

	if (node->config_directory[0])
		return;
	snprintf(hint, sizeof(hint), "Set pg_ha.config_directory = '%s'",
			 directory);
	pgha_node_problem(problems, hint, "the configuration of data directory "
					  "\"%s\" is in \"%s\", which the node settings don't "
					  "name", node->data_directory, directory);
}

void
pgha_node_check_debian(const HaNode *node, const char *etc,
					   HaProblems *problems)
{
	char		version[PATH_MAX];
	char		directory[PATH_MAX];
	struct dirent *entry;
	DIR		   *dir;

	if (snprintf(version, sizeof(version), "%s/%s", etc, PG_MAJORVERSION) >=
		PATH_MAX || !(dir = opendir(version)))
		return;
	while ((entry = readdir(dir)) != NULL)
	{
		if (entry->d_name[0] == '.' ||
			snprintf(directory, sizeof(directory), "%s/%s", version,
					 entry->d_name) >= PATH_MAX ||
			!is_ours(node, directory))
			continue;
		check_start(directory, problems);
		check_service(entry->d_name, problems);
		check_config_directory(node, directory, problems);
	}
	closedir(dir);
}
