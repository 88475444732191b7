/*
 * node.h
 *	  The node settings file: read, checked, and resolved to values.
 *
 * The file has postgresql.conf's syntax.  pg_ha.* names are checked against
 * the table of core/settings.h; every other name goes to the server as it is
 * (kept in `server`, rendered by render.c).  An unknown pg_ha name, a value out
 * of range or a malformed line is an error naming file and line and what is
 * allowed.
 */
#ifndef PGHA_NODE_H
#define PGHA_NODE_H

#include <stdio.h>

#include "core/settings.h"
#include "core/types.h"

typedef struct HaServerSetting
{
	char	   *name;
	char	   *value;			/* unquoted */
	int			line;
} HaServerSetting;

typedef struct HaNode
{
	char	   *file;			/* absolute path of the settings file */
	char	  **values;			/* by index of pgha_settings(); never NULL */
	int		   *lines;			/* where each was set; 0 = not in the file */

	/* resolved, absolute where they are paths; "" = not set */
	const char *scope;
	const char *name;
	const char *data_directory;
	const char *host;			/* of connect_address */
	int			port;
	const char *bin_directory;	/* default: the launcher's own directory */
	const char *config_directory;
	const char *state_directory;	/* default: pg_ha-<name> beside data */
	const char *run_directory;	/* default: the state directory */
	const char *consul_urls;
	const char *consul_prefix;	/* "service/<scope>/" */
	const char *superuser;
	const char *replication_user;
	const char *rewind_user;
	const char *passfile;
	const char *restapi_host;	/* of restapi_listen */
	int			restapi_port;
	const char *api_url;		/* http://<restapi_connect_address>/patroni */
	const char *conn_url;		/* postgres://host:port/postgres */
	char	   *consul_token;	/* content of consul_token_file, or NULL */
	char	   *derived[6];		/* strings above that are no setting's value */

	int			nserver;
	HaServerSetting *server;
} HaNode;

/* An error of the file or of what it points at. */
typedef struct HaNodeError
{
	char		message[512];	/* 'file:line: ...' */
	char		hint[512];
} HaNodeError;

/* NULL with *error set.  Free with pgha_node_free. */
extern HaNode *pgha_node_load(const char *file, HaNodeError *error);
extern void pgha_node_free(HaNode *node);
extern const char *pgha_node_get(const HaNode *node, const char *setting);

/*
 * Whether new settings can be taken over by a running launcher: fills
 * `restart` with the comma-separated names of changed settings that need the
 * launcher (and its instance) restarted.
 */
extern void pgha_node_diff(const HaNode *current, const HaNode *updated,
						   char *restart, size_t size);

/*
 * What is in the way on this machine: missing binaries, versions that don't
 * match, directories that can't be written or have wrong owners or modes, no
 * line in the passfile for the replication or rewind user, Debian's own
 * service active or start.conf not `disabled` for the data directory.  Returns
 * the number of problems; each is reported through `report`.
 */
typedef void (*HaProblemReport) (void *arg, const char *problem,
								 const char *hint);
extern int	pgha_node_check(const HaNode *node, HaProblemReport report,
							void *arg);

/*
 * What a launcher that runs gets over by itself once it is out of the way: a
 * server it did not start, a pg_ha.bootstrap_config that can't be used.
 */
extern int	pgha_node_check_passing(const HaNode *node, HaProblemReport report,
									void *arg);

/* libpq's passfile rules: the password for host:port:database:user, or NULL */
extern char *pgha_node_password(const HaNode *node, const char *host, int port,
								const char *database, const char *user);

/* The README's table of the node settings, in Markdown. */
extern void pgha_settings_print_table(FILE *file);

#endif							/* PGHA_NODE_H */
