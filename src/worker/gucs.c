/*
 * gucs.c
 *	  The node settings as GUCs, from the table in core/settings.h.
 *
 * None can be set by a session, a role or a database: they are the node's.
 */
#include "postgres.h"

#include "core/settings.h"
#include "gucs.h"
#include "utils/guc.h"
#include "utils/memutils.h"

char	   *pgha_guc_scope;
char	   *pgha_guc_name;
char	   *pgha_guc_namespace;
char	   *pgha_guc_connect_address;
char	   *pgha_guc_state_directory;
char	   *pgha_guc_run_directory;
char	   *pgha_guc_consul_urls;
char	   *pgha_guc_consul_token_file;
char	   *pgha_guc_consul_ca_file;
char	   *pgha_guc_consul_cert_file;
char	   *pgha_guc_consul_key_file;
char	   *pgha_guc_consul_datacenter;
char	   *pgha_guc_restapi_listen;
char	   *pgha_guc_restapi_connect_address;
char	   *pgha_guc_restapi_username;
char	   *pgha_guc_restapi_password_file;
char	   *pgha_guc_restapi_cert_file;
char	   *pgha_guc_superuser;
char	   *pgha_guc_replication_user;
char	   *pgha_guc_rewind_user;
char	   *pgha_guc_passfile;
char	   *pgha_guc_tags;
int			pgha_guc_fence_wait_ms;
bool		pgha_guc_fence_reads;
bool		pgha_guc_managed;

/* Settings that C code reads; the others only show. */
static const struct
{
	const char *name;
	void	   *variable;
}			guc_variables[] =
{
	{"pg_ha.scope", &pgha_guc_scope},
	{"pg_ha.name", &pgha_guc_name},
	{"pg_ha.namespace", &pgha_guc_namespace},
	{"pg_ha.connect_address", &pgha_guc_connect_address},
	{"pg_ha.state_directory", &pgha_guc_state_directory},
	{"pg_ha.run_directory", &pgha_guc_run_directory},
	{"pg_ha.consul_urls", &pgha_guc_consul_urls},
	{"pg_ha.consul_token_file", &pgha_guc_consul_token_file},
	{"pg_ha.consul_ca_file", &pgha_guc_consul_ca_file},
	{"pg_ha.consul_cert_file", &pgha_guc_consul_cert_file},
	{"pg_ha.consul_key_file", &pgha_guc_consul_key_file},
	{"pg_ha.consul_datacenter", &pgha_guc_consul_datacenter},
	{"pg_ha.restapi_listen", &pgha_guc_restapi_listen},
	{"pg_ha.restapi_connect_address", &pgha_guc_restapi_connect_address},
	{"pg_ha.restapi_username", &pgha_guc_restapi_username},
	{"pg_ha.restapi_password_file", &pgha_guc_restapi_password_file},
	{"pg_ha.restapi_cert_file", &pgha_guc_restapi_cert_file},
	{"pg_ha.superuser", &pgha_guc_superuser},
	{"pg_ha.replication_user", &pgha_guc_replication_user},
	{"pg_ha.rewind_user", &pgha_guc_rewind_user},
	{"pg_ha.passfile", &pgha_guc_passfile},
	{"pg_ha.tags", &pgha_guc_tags},
	{"pg_ha.fence_wait", &pgha_guc_fence_wait_ms},
	{"pg_ha.fence_reads", &pgha_guc_fence_reads},
	{"pg_ha.managed", &pgha_guc_managed},
};

/* settings the table in core may grow to */
#define GUC_SETTINGS_MAX 64

/* storage of settings that no code here reads */
static union
{
	char	   *text;
	int			number;
	bool		flag;
}			guc_unread[GUC_SETTINGS_MAX];

static void *
guc_variable(const char *name, int position)
{
	for (int i = 0; i < (int) lengthof(guc_variables); i++)
	{
		if (strcmp(guc_variables[i].name, name) == 0)
			return guc_variables[i].variable;
	}
	return &guc_unread[position];
}

/*
 * PostgreSQL keeps a reference to the options, so they live as long as the
 * process.  The value of an option is its place in the table.
 */
static void
guc_define_enum(const HaSetting *setting, int *variable, GucContext context,
				int flags)
{
	struct config_enum_entry *options;
	int			fallback = 0;
	int			n = 0;

	while (setting->values[n] != NULL)
		n++;
	options = MemoryContextAllocZero(TopMemoryContext,
									 sizeof(*options) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		options[i].name = setting->values[i];
		options[i].val = i;
		if (strcmp(setting->values[i], setting->fallback) == 0)
			fallback = i;
	}
	DefineCustomEnumVariable(setting->name, setting->description, NULL,
							 variable, fallback, options, context, flags,
							 NULL, NULL, NULL);
}

static void
guc_define(const HaSetting *setting, void *variable)
{
	GucContext	context = (setting->flags & HA_SETTING_RELOAD) ?
		PGC_SIGHUP : PGC_POSTMASTER;
	int			flags = (setting->flags & HA_SETTING_SECRET) ?
		GUC_SUPERUSER_ONLY : 0;

	switch (setting->type)
	{
		case HA_SETTING_BOOL:
			DefineCustomBoolVariable(setting->name, setting->description, NULL,
									 variable,
									 strcmp(setting->fallback, "on") == 0,
									 context, flags, NULL, NULL, NULL);
			break;
		case HA_SETTING_INT:
			if (setting->unit != NULL && strcmp(setting->unit, "ms") == 0)
				flags |= GUC_UNIT_MS;
			DefineCustomIntVariable(setting->name, setting->description, NULL,
									variable, atoi(setting->fallback),
									(int) setting->min, (int) setting->max,
									context, flags, NULL, NULL, NULL);
			break;
		case HA_SETTING_ENUM:
			guc_define_enum(setting, variable, context, flags);
			break;
		case HA_SETTING_STRING:
			DefineCustomStringVariable(setting->name, setting->description,
									   NULL, variable, setting->fallback,
									   context, flags, NULL, NULL, NULL);
			break;
	}
}

void
pgha_gucs_define(void)
{
	int			nsettings;
	const HaSetting *settings = pgha_settings(&nsettings);

	if (nsettings > GUC_SETTINGS_MAX)
		elog(FATAL, "pg_ha has more settings than GUC_SETTINGS_MAX");
	for (int i = 0; i < nsettings; i++)
		guc_define(&settings[i], guc_variable(settings[i].name, i));
	MarkGUCPrefixReserved("pg_ha");
}
