/*
 * main.c
 *	  pg_ha_launcher: the program beside each instance.
 */
#include "launcher/launcher.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAIN_VERSION "1.0"

typedef enum MainCommand
{
	MAIN_RUN,
	MAIN_CHECK,
	MAIN_STATUS,
	MAIN_SHOW_CONFIG,
	MAIN_EDIT_CONFIG,
	MAIN_DETACH,
	MAIN_SETTINGS_TABLE,
} MainCommand;

static void
main_usage(void)
{
	puts("pg_ha_launcher keeps a PostgreSQL instance in its cluster.\n"
		 "\n"
		 "Usage:\n"
		 "  pg_ha_launcher --config FILE [COMMAND]\n"
		 "\n"
		 "Without a command it runs in the foreground until SIGTERM (fast stop,\n"
		 "hand-over, exit 0); SIGHUP reads FILE again.\n"
		 "\n"
		 "Commands:\n"
		 "  --check             check FILE and this machine, print what is in force\n"
		 "  --status            list the members as Consul knows them; exit 0 if all\n"
		 "                      is well, 1 if degraded, 2 if there is no leader\n"
		 "  --show-config       print the cluster's configuration\n"
		 "  --edit-config PATCH apply a JSON merge patch (a file; - is stdin)\n"
		 "  --detach            leave a plain PostgreSQL: take pg_ha's lines out of\n"
		 "                      the stopped instance's own postgresql.conf\n"
		 "  --settings-table    print all node settings as a Markdown table\n"
		 "  --help, --version");
}

/* ------------------------------------------------------------------------
 * --check
 * ------------------------------------------------------------------------
 */

static void
main_print_problem(void *arg, const char *problem, const char *hint)
{
	(void) arg;
	fprintf(stderr, "problem: %s\n", problem);
	if (hint != NULL && hint[0] != '\0')
		fprintf(stderr, "   hint: %s\n", hint);
}

static void
main_print_plan(const HaNode *node)
{
	HaControl	control;
	char		why[HA_WHY_MAX] = "";

	HaInstance	state = pgha_directory_state(node, &control, why);

	if (state == HA_INSTANCE_EMPTY)
		puts("# data directory: empty; it will be cloned, or made if the "
			 "cluster does not exist");
	else if (state == HA_INSTANCE_HALF_DONE)
		puts("# data directory: half-done; it will be cloned anew");
	else if (state == HA_INSTANCE_DOWN || state == HA_INSTANCE_CRASHED)
		printf("# data directory: PostgreSQL %d, system identifier %llu; it will "
			   "be adopted if the cluster does not exist\n",
			   control.version, (unsigned long long) control.sysid);
	else
		printf("# data directory: can't be used: %s\n", why);
}

static int
main_check(const HaNode *node)
{
	int			nsettings;
	const HaSetting *settings = pgha_settings(&nsettings);
	int			problems;
	int			i;

	for (i = 0; i < nsettings; i++)
		printf("%s = '%s'\n", settings[i].name,
			   pgha_node_get(node, settings[i].name));
	for (i = 0; i < node->nserver; i++)
		printf("%s = '%s'\n", node->server[i].name, node->server[i].value);
	main_print_plan(node);
	fflush(stdout);
	problems = pgha_node_check(node, main_print_problem, NULL) +
		pgha_node_check_passing(node, main_print_problem, NULL);
	if (problems > 0)
		fprintf(stderr, "%d problem%s found\n", problems,
				problems == 1 ? "" : "s");
	return problems > 0 ? 1 : 0;
}

/* ------------------------------------------------------------------------
 * Running
 * ------------------------------------------------------------------------
 */

static void
main_log_problem(void *arg, const char *problem, const char *hint)
{
	(void) arg;
	launcher_log(HA_REPORT_WARNING, "%s%s%s", problem,
				 hint != NULL && hint[0] != '\0' ? "; hint: " : "",
				 hint != NULL ? hint : "");
}

/* Whose program was killed while it wrote NAME.tmp.PID. */
static bool
main_is_litter(const char *name)
{
	const char *mark = strstr(name, ".tmp.");
	pid_t		pid = mark != NULL ? (pid_t) atoi(mark + 5) : 0;

	return pid > 0 && pid != getpid() && kill(pid, 0) < 0 && errno == ESRCH;
}

static void
main_sweep(const char *directory)
{
	DIR		   *dir = opendir(directory);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (main_is_litter(entry->d_name))
			(void) unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir != NULL)
		closedir(dir);
}

static int
main_run(HaNode *node)
{
	static HaLauncher launcher;

	launcher.node = node;
	launcher_log_open(node->name, pgha_node_get(node, "pg_ha.log_level"));
	/* if one can't be made, the check says why */
	(void) mkdir(node->state_directory, 0700);
	(void) mkdir(node->run_directory, 0700);
	if (pgha_node_check(node, main_log_problem, NULL) > 0)
	{
		fputs("pg_ha_launcher: not started, see the problems above; "
			  "--check shows them again\n", stderr);
		return 1;
	}
	(void) pgha_node_check_passing(node, main_log_problem, NULL);
	main_sweep(node->state_directory);
	return launcher_run(&launcher);
}

static int
main_detach(const HaNode *node)
{
	char		why[HA_WHY_MAX];

	if (!pgha_instance_gone(node))
	{
		fputs("pg_ha_launcher: the instance runs; stop its launcher first\n",
			  stderr);
		return 1;
	}
	if (!pgha_render_unmark_plain(node, why))
	{
		fprintf(stderr, "pg_ha_launcher: %s\n", why);
		return 1;
	}
	puts("pg_ha's lines are out of postgresql.conf: a plain start gives a plain "
		 "PostgreSQL");
	return 0;
}

static int
main_command(MainCommand command, HaNode *node, const char *argument)
{
	switch (command)
	{
		case MAIN_RUN:
			return main_run(node);
		case MAIN_CHECK:
			return main_check(node);
		case MAIN_STATUS:
			return launcher_status(node);
		case MAIN_SHOW_CONFIG:
			return launcher_show_config(node);
		case MAIN_EDIT_CONFIG:
			return launcher_edit_config(node, argument);
		case MAIN_DETACH:
			return main_detach(node);
		case MAIN_SETTINGS_TABLE:
			pgha_settings_print_table(stdout);
			return 0;
	}
	return 1;
}

static int
main_with_node(MainCommand command, const char *file, const char *argument)
{
	HaNodeError error;
	HaNode	   *node;

	if (command == MAIN_SETTINGS_TABLE)
		return main_command(command, NULL, NULL);
	if (file == NULL)
	{
		fputs("pg_ha_launcher: no node settings given\n"
			  "hint: --config FILE; --help lists the commands\n", stderr);
		return 1;
	}
	if (command == MAIN_RUN && geteuid() == 0)
	{
		fputs("pg_ha_launcher: does not run as root, since PostgreSQL refuses to\n"
			  "hint: start it as the user who owns the data directory\n",
			  stderr);
		return 1;
	}
	memset(&error, 0, sizeof(error));
	node = pgha_node_load(file, &error);
	if (node == NULL)
	{
		fprintf(stderr, "pg_ha_launcher: %s\n", error.message);
		if (error.hint[0] != '\0')
			fprintf(stderr, "hint: %s\n", error.hint);
		return 1;
	}
	return main_command(command, node, argument);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'k'},
		{"status", no_argument, NULL, 's'},
		{"show-config", no_argument, NULL, 'w'},
		{"edit-config", required_argument, NULL, 'e'},
		{"detach", no_argument, NULL, 'd'},
		{"settings-table", no_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	MainCommand command = MAIN_RUN;
	const char *file = NULL;
	const char *argument = NULL;
	int			c;

	while ((c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1)
	{
		switch (c)
		{
			case 'c':
				file = optarg;
				break;
			case 'k':
				command = MAIN_CHECK;
				break;
			case 's':
				command = MAIN_STATUS;
				break;
			case 'w':
				command = MAIN_SHOW_CONFIG;
				break;
			case 'e':
				command = MAIN_EDIT_CONFIG;
				argument = optarg;
				break;
			case 'd':
				command = MAIN_DETACH;
				break;
			case 't':
				command = MAIN_SETTINGS_TABLE;
				break;
			case 'h':
				main_usage();
				return 0;
			case 'V':
				puts("pg_ha_launcher " MAIN_VERSION);
				return 0;
			default:
				fputs("hint: --help lists the commands\n", stderr);
				return 1;
		}
	}
	return main_with_node(command, file, argument);
}
