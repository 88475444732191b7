/*
 * settings.c
 *	  The node settings: one table for everybody who needs them.
 *
 * Order is that of the README's table: what has no default comes first, then
 * by subject.
 */
#include <string.h>
#include <strings.h>

#include "core/settings.h"

#define FENCE_WAIT_MAX_MS (3600 * 1000)

static const char *const log_levels[] = {
	"debug", "info", "warning", "error", NULL
};

#define STRING(name, fallback, flags, description) \
	{ "pg_ha." name, HA_SETTING_STRING, fallback, 0, 0, NULL, NULL, flags, \
	  description }
#define BOOL(name, fallback, flags, description) \
	{ "pg_ha." name, HA_SETTING_BOOL, fallback, 0, 0, NULL, NULL, flags, \
	  description }
#define INT(name, fallback, min, max, unit, flags, description) \
	{ "pg_ha." name, HA_SETTING_INT, fallback, min, max, unit, NULL, flags, \
	  description }
#define ENUM(name, fallback, values, flags, description) \
	{ "pg_ha." name, HA_SETTING_ENUM, fallback, 0, 0, NULL, values, flags, \
	  description }

static const HaSetting settings[] = {
	STRING("scope", "", HA_SETTING_REQUIRED,
		   "Name of the cluster, the same on all of its members."),
	STRING("name", "", HA_SETTING_REQUIRED,
		   "Name of this member, unique in the cluster."),
	STRING("data_directory", "", HA_SETTING_REQUIRED,
		   "Data directory of the instance."),
	STRING("connect_address", "", HA_SETTING_REQUIRED,
		   "host:port at which others reach this PostgreSQL."),

	STRING("bin_directory", "", 0,
		   "Directory of PostgreSQL's programs; default: the launcher's own."),
	STRING("config_directory", "", 0,
		   "Directory of your own postgresql.conf, if it is not in the data "
		   "directory."),
	STRING("state_directory", "", 0,
		   "Directory of what must outlive the instance; default: "
		   "pg_ha-<name> beside the data directory."),
	STRING("run_directory", "", 0,
		   "Directory of the control socket and the locks; default: the "
		   "state directory."),

	STRING("namespace", "service", 0,
		   "Folder in Consul that holds the folders of the clusters."),
	STRING("consul_urls", "http://127.0.0.1:8500", 0,
		   "URLs of Consul agents, comma-separated, in order of preference."),
	STRING("consul_token_file", "", HA_SETTING_SECRET,
		   "File with the ACL token for Consul."),
	STRING("consul_ca_file", "", 0,
		   "Certificates to verify Consul with; default: the system's."),
	STRING("consul_cert_file", "", 0,
		   "Client certificate for Consul."),
	STRING("consul_key_file", "", HA_SETTING_SECRET,
		   "Key of the client certificate for Consul."),
	STRING("consul_datacenter", "", 0,
		   "Consul datacenter; default: the agent's own."),
	BOOL("register_service", "off", 0,
		 "Register the member as a service in Consul's catalog."),

	STRING("restapi_listen", "0.0.0.0:8008", 0,
		   "address:port the REST API listens on."),
	STRING("restapi_connect_address", "", 0,
		   "host:port at which others reach the REST API; default: the host "
		   "of pg_ha.connect_address, the port of pg_ha.restapi_listen."),
	STRING("restapi_username", "", 0,
		   "User name that unsafe REST requests must give."),
	STRING("restapi_password_file", "", HA_SETTING_SECRET,
		   "File with the password that unsafe REST requests must give."),
	STRING("restapi_cert_file", "", 0,
		   "Certificate of the REST API; set together with the key, HTTPS is "
		   "spoken."),
	STRING("restapi_key_file", "", HA_SETTING_SECRET,
		   "Key of the REST API's certificate."),
	STRING("restapi_ca_file", "", 0,
		   "Certificates to verify clients of the REST API with."),

	STRING("superuser", "postgres", 0,
		   "Superuser of the cluster."),
	STRING("replication_user", "replicator", 0,
		   "Role that standbys stream and clone as."),
	STRING("rewind_user", "rewinder", 0,
		   "Role that pg_rewind connects as."),
	STRING("passfile", "", HA_SETTING_SECRET,
		   "Password file in libpq's format, mode 0600; default: ~/.pgpass."),

	STRING("tags", "{}", HA_SETTING_RELOAD,
		   "Tags of this member: a JSON object."),
	STRING("initdb_options", "", HA_SETTING_RELOAD,
		   "Options for initdb; default: UTF8, C.UTF-8, data checksums, "
		   "scram-sha-256."),
	STRING("bootstrap_config", "", HA_SETTING_RELOAD,
		   "JSON file with the cluster settings a new cluster starts with."),

	INT("fence_wait", "10000", 0, FENCE_WAIT_MAX_MS, "ms", HA_SETTING_RELOAD,
		"How long a commit waits for a valid lease before it fails; 0 fails "
		"at once."),
	BOOL("fence_reads", "off", HA_SETTING_RELOAD,
		 "Refuse reads on a primary without a valid lease, too."),
	ENUM("log_level", "info", log_levels, HA_SETTING_RELOAD,
		 "How much pg_ha logs."),
	BOOL("managed", "off", 0,
		 "The instance belongs to a cluster: without the launcher it refuses "
		 "to write. Set by pg_ha itself."),
};

#define NSETTINGS ((int) (sizeof(settings) / sizeof(settings[0])))

const HaSetting *
pgha_settings(int *nsettings)
{
	*nsettings = NSETTINGS;
	return settings;
}

const HaSetting *
pgha_setting(const char *name)
{
	for (int i = 0; i < NSETTINGS; i++)
		if (strcasecmp(settings[i].name, name) == 0)
			return &settings[i];
	return NULL;
}
