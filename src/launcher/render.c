/*
 * render.c
 *	  The configuration files the server starts with, and its command line.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dcs/conninfo.h"
#include "dcs/json.h"
#include "dcs/state.h"
#include "launcher/render_private.h"

#define ARGV_MAX 32

bool
pgha_render_path(char path[PATH_MAX], const char *directory, const char *name,
				 char *why)
{
	if (snprintf(path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX)
		return true;
	return pgha_why(why, "the path of \"%.60s\" is too long", name);
}

bool
pgha_render_user_file(const HaNode *node, char path[PATH_MAX], char *why)
{
	const char *directory = node->config_directory[0] ?
		node->config_directory : node->data_directory;

	return pgha_render_path(path, directory, "postgresql.conf", why);
}

bool
pgha_render_replace(const char *path, const HaBuffer *text, char *why)
{
	char		ignored[HA_WHY_MAX];
	bool		missing;
	size_t		len;
	char	   *old;
	bool		same;

	if (text->failed)
		return pgha_why(why, "out of memory");
	old = pgha_file_read(path, HA_CONF_FILE_MAX, &len, &missing, ignored);
	same = old && len == text->len && memcmp(old, text->data, len) == 0;
	free(old);
	return same || pgha_file_replace(path, text->data, text->len, why);
}

static bool
write_file(const HaRendering *rendering, const char *name,
		   const HaBuffer *text, char *why)
{
	char		path[PATH_MAX];

	return pgha_render_path(path, rendering->node->state_directory, name,
							why) &&
		pgha_render_replace(path, text, why);
}

bool
pgha_rendering_write(HaRendering *rendering, char *why)
{
	HaBuffer	settings = {0};
	HaBuffer	hba = {0};
	HaBuffer	ident = {0};
	bool		ok;

	pgha_rendering_settings(rendering, &settings);
	ok = pgha_rendering_hba(rendering, &hba, why) &&
		pgha_rendering_ident(rendering, &ident, why) &&
		write_file(rendering, "pg_hba.conf", &hba, why) &&
		write_file(rendering, "pg_ident.conf", &ident, why) &&
		write_file(rendering, "postgresql.conf", &settings, why);
	pgha_buffer_release(&settings);
	pgha_buffer_release(&hba);
	pgha_buffer_release(&ident);
	return ok;
}

bool
pgha_render(const HaNode *node, const HaConfigDoc *config,
			const HaControlSettings *critical, HaRenderReport report,
			void *arg, char *why)
{
	HaRendering rendering = {.node = node,.config = config,
		.critical = critical,.report = report,.arg = arg
	};
	bool		ok = pgha_rendering_init(&rendering, why) &&
		pgha_rendering_write(&rendering, why);

	pgha_rendering_release(&rendering);
	return ok;
}

/*
 * The command line
 */

typedef struct Arguments
{
	char	  **argv;
	int			n;
	bool		failed;
} Arguments;

static void
add_argument(Arguments *arguments, const char *format,...)
			__attribute__((format(printf, 2, 3)));

static void
add_argument(Arguments *arguments, const char *format,...)
{
	va_list		args;

	if (arguments->n == ARGV_MAX - 1)
		arguments->failed = true;
	if (arguments->failed)
		return;
	va_start(args, format);
	if (vasprintf(&arguments->argv[arguments->n], format, args) < 0)
	{
		arguments->argv[arguments->n] = NULL;
		arguments->failed = true;
	}
	else
		arguments->n++;
	va_end(args);
}

static const char *
server_setting(const HaNode *node, const char *name, const char *fallback)
{
	for (int i = node->nserver - 1; i >= 0; i--)
		if (strcasecmp(node->server[i].name, name) == 0)
			return node->server[i].value;
	return fallback;
}

static void
add_owned(void *arg, const char *name, const char *value)
{
	add_argument(arg, "-c");
	add_argument(arg, "%s=%s", name, value);
}

void
pgha_render_owned(const HaNode *node, HaOwnedSetting print, void *arg)
{
	char		hba[PATH_MAX + 16];
	char		ident[PATH_MAX + 16];
	char		port[16];

	snprintf(hba, sizeof(hba), "%s/pg_hba.conf", node->state_directory);
	snprintf(ident, sizeof(ident), "%s/pg_ident.conf", node->state_directory);
	snprintf(port, sizeof(port), "%d", node->port);
	print(arg, "hba_file", hba);
	print(arg, "ident_file", ident);
	/* the user's file may name another one */
	print(arg, "data_directory", node->data_directory);
	/* what a standby calls itself when it streams */
	print(arg, "cluster_name", node->name);
	print(arg, "hot_standby", "on");
	print(arg, "wal_log_hints", "on");
	print(arg, "port", server_setting(node, "port", port));
	print(arg, "listen_addresses",
		  server_setting(node, "listen_addresses", "*"));
}

char	  **
pgha_render_argv(const HaNode *node)
{
	Arguments	arguments = {.argv = calloc(ARGV_MAX, sizeof(char *))};

	if (!arguments.argv)
		return NULL;
	add_argument(&arguments, "%s/postgres", node->bin_directory);
	add_argument(&arguments, "-D");
	add_argument(&arguments, "%s", node->data_directory);
	add_argument(&arguments, "-c");
	add_argument(&arguments, "config_file=%s/postgresql.conf",
				 node->state_directory);
	pgha_render_owned(node, add_owned, &arguments);
	if (!arguments.failed)
		return arguments.argv;
	for (int i = 0; i < arguments.n; i++)
		free(arguments.argv[i]);
	free(arguments.argv);
	return NULL;
}

char *
pgha_render_conninfo(const HaNode *node, const char *conn_url,
					 const char *user, const char *dbname)
{
	char	   *conninfo = malloc(HA_CONNINFO_MAX);

	if (conninfo && pgha_conninfo(conn_url, user, node->passfile, node->name,
								  dbname, conninfo))
		return conninfo;
	free(conninfo);
	return NULL;
}
