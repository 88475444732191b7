/*
 * node_resolve.c
 *	  What follows from the node settings' values: absolute paths, addresses,
 *	  URLs, defaults that depend on others.
 */
#ifndef _GNU_SOURCE
#endif

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "dcs/conninfo.h"
#include "dcs/state.h"
#include "launcher/node_private.h"

#define TOKEN_MAX 4096			/* bytes of a token file */

/* what derived[] holds */
enum
{
	DERIVED_HOST,
	DERIVED_PREFIX,
	DERIVED_RESTAPI_HOST,
	DERIVED_API_URL,
	DERIVED_CONN_URL,
};

static bool
no_memory(HaNodeError *error)
{
	return pgha_node_fail(error, "out of memory");
}

static bool
fail_setting(const HaNode *node, HaNodeError *error, const char *setting,
			 const char *what)
{
	int			n;
	int			line = node->lines[pgha_setting(setting) - pgha_settings(&n)];

	pgha_node_fail(error, "\"%s\" %s: \"%.120s\"", setting, what,
				   pgha_node_get(node, setting));
	return pgha_node_fail_at(error, node->file, line);
}

/*
 * Paths
 */

char *
pgha_node_absolute(const char *dir, const char *path)
{
	size_t		len = strlen(dir) + strlen(path) + 2;
	char	   *result = malloc(len);
	char	   *to = result;

	if (!result)
		return NULL;
	snprintf(result, len, "%s%s%s", path[0] == '/' ? "" : dir,
			 path[0] == '/' || !*dir ? "" : "/", path);

	/* "//" and "/./" are "/", and no "/" at the end */
	for (const char *from = result; *from; from++)
	{
		if (from[0] == '/' && from[1] == '.' &&
			(from[2] == '/' || from[2] == '\0'))
			from++;
		else if (from[0] != '/' || (from[1] != '/' && from[1] != '\0'))
			*to++ = *from;
	}
	if (to == result)
		*to++ = '/';
	*to = '\0';
	return result;
}

/* The directory part of an absolute path; malloc'd */
static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return strdup("/");
	return strndup(path, (size_t) (slash - path));
}

static bool
resolve_given_paths(HaNode *node, HaNodeError *error)
{
	static const char *const paths[] = {
		"pg_ha.data_directory", "pg_ha.bin_directory",
		"pg_ha.config_directory", "pg_ha.state_directory",
		"pg_ha.run_directory", "pg_ha.consul_token_file",
		"pg_ha.consul_ca_file", "pg_ha.consul_cert_file",
		"pg_ha.consul_key_file", "pg_ha.restapi_password_file",
		"pg_ha.restapi_cert_file", "pg_ha.restapi_key_file",
		"pg_ha.restapi_ca_file", "pg_ha.passfile", "pg_ha.bootstrap_config"
	};
	char	   *dir = directory_of(node->file);
	bool		ok = dir != NULL;

	for (size_t i = 0; ok && i < sizeof(paths) / sizeof(paths[0]); i++)
	{
		const char *path = pgha_node_get(node, paths[i]);

		if (path[0])
			ok = pgha_node_set(node, paths[i], pgha_node_absolute(dir, path));
		if (ok && strlen(pgha_node_get(node, paths[i])) > PATH_MAX - 256)
		{
			free(dir);
			return fail_setting(node, error, paths[i], "is too long");
		}
	}
	free(dir);
	return ok || no_memory(error);
}

static char *
own_directory(void)
{
	char		path[PATH_MAX];
	ssize_t		len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (len < 0)
		return strdup("/");
	path[len] = '\0';
	return directory_of(path);
}

static char *
default_state_directory(const char *data_directory, const char *name)
{
	char	   *parent = directory_of(data_directory);
	char	   *result = NULL;

	if (parent && asprintf(&result, "%s/pg_ha-%s",
						   strcmp(parent, "/") == 0 ? "" : parent, name) < 0)
		result = NULL;
	free(parent);
	return result;
}

static bool
is_inside(const char *path, const char *directory)
{
	size_t		len = strlen(directory);

	return strncmp(path, directory, len) == 0 &&
		(path[len] == '/' || path[len] == '\0');
}

static bool
check_paths(HaNode *node, HaNodeError *error)
{
	struct sockaddr_un address;

	if (strcmp(node->data_directory, "/") == 0)
		return fail_setting(node, error, "pg_ha.data_directory",
							"can't be the root directory");
	if (is_inside(node->state_directory, node->data_directory) ||
		is_inside(node->run_directory, node->data_directory))
	{
		fail_setting(node, error,
					 is_inside(node->state_directory, node->data_directory) ?
					 "pg_ha.state_directory" : "pg_ha.run_directory",
					 "is inside the data directory");
		return pgha_node_hint(error, "pg_rewind and pg_basebackup delete what "
							  "is not the source's.");
	}
	if (strlen(node->run_directory) + strlen(node->name) +
		strlen("/.sock") >= sizeof(address.sun_path))
	{
		fail_setting(node, error, "pg_ha.run_directory",
					 "is too long for a socket");
		return pgha_node_hint(error, "\"<run_directory>/<name>.sock\" may "
							  "have %zu bytes; try \"/run/pg_ha\".",
							  sizeof(address.sun_path) - 1);
	}
	return true;
}

static bool
resolve_paths(HaNode *node, HaNodeError *error)
{
	if (!resolve_given_paths(node, error))
		return false;
	node->data_directory = pgha_node_get(node, "pg_ha.data_directory");
	if (!pgha_node_get(node, "pg_ha.bin_directory")[0] &&
		!pgha_node_set(node, "pg_ha.bin_directory", own_directory()))
		return no_memory(error);
	if (!pgha_node_get(node, "pg_ha.state_directory")[0] &&
		!pgha_node_set(node, "pg_ha.state_directory",
					   default_state_directory(node->data_directory,
											   node->name)))
		return no_memory(error);
	node->state_directory = pgha_node_get(node, "pg_ha.state_directory");
	if (!pgha_node_get(node, "pg_ha.run_directory")[0] &&
		!pgha_node_set(node, "pg_ha.run_directory",
					   strdup(node->state_directory)))
		return no_memory(error);
	node->bin_directory = pgha_node_get(node, "pg_ha.bin_directory");
	node->config_directory = pgha_node_get(node, "pg_ha.config_directory");
	node->run_directory = pgha_node_get(node, "pg_ha.run_directory");
	node->passfile = pgha_node_get(node, "pg_ha.passfile");
	return check_paths(node, error);
}

/*
 * Names
 */

static bool
name_valid(const char *name)
{
	size_t		len = strlen(name);

	if (len == 0 || len > HA_NAME_MAX || name[0] == ' ' ||
		name[len - 1] == ' ' || strcmp(name, ".") == 0 ||
		strcmp(name, "..") == 0)
		return false;
	for (const char *c = name; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '/')
			return false;
	return true;
}

static bool
check_name(const HaNode *node, const char *setting, HaNodeError *error)
{
	if (name_valid(pgha_node_get(node, setting)))
		return true;
	fail_setting(node, error, setting, "is no valid name");
	return pgha_node_hint(error, "1 to %d printable ASCII characters, without "
						  "\"/\", and no blank at either end.", HA_NAME_MAX);
}

/* "service", "/a/b/": a folder without slashes at its ends, "" is none */
static bool
resolve_prefix(HaNode *node, HaNodeError *error)
{
	const char *folder = pgha_node_get(node, "pg_ha.namespace");
	size_t		len;

	folder += strspn(folder, "/");
	len = strlen(folder);
	while (len > 0 && folder[len - 1] == '/')
		len--;
	if (len > HA_ADDRESS_MAX || strpbrk(folder, " ?#%\\") ||
		strstr(folder, "..") || memmem(folder, len, "//", 2))
	{
		fail_setting(node, error, "pg_ha.namespace", "is no valid folder");
		return pgha_node_hint(error, "Names, separated by single \"/\".");
	}
	if (asprintf(&node->derived[DERIVED_PREFIX], "%.*s%s%s/", (int) len,
				 folder, len > 0 ? "/" : "", node->scope) < 0)
		return no_memory(error);
	node->consul_prefix = node->derived[DERIVED_PREFIX];
	return true;
}

static bool
resolve_names(HaNode *node, HaNodeError *error)
{
	static const char *const names[] = {
		"pg_ha.scope", "pg_ha.name", "pg_ha.superuser",
		"pg_ha.replication_user", "pg_ha.rewind_user"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!check_name(node, names[i], error))
			return false;
	node->scope = pgha_node_get(node, "pg_ha.scope");
	node->name = pgha_node_get(node, "pg_ha.name");
	node->superuser = pgha_node_get(node, "pg_ha.superuser");
	node->replication_user = pgha_node_get(node, "pg_ha.replication_user");
	node->rewind_user = pgha_node_get(node, "pg_ha.rewind_user");
	return resolve_prefix(node, error);
}

/*
 * Addresses
 */

static bool
address_valid(const char *address, char *host, size_t size, int *port)
{
	const char *digits = strrchr(address, ':');

	if (!pgha_address_split(address, host, size, port))
		return false;
	for (const char *c = digits + 1; *c; c++)
		if (*c < '0' || *c > '9')
			return false;
	/* a name or IPv4 address, or in brackets an IPv6 address */
	return (address[0] == '[' || !strchr(host, ':')) &&
		!strpbrk(host, " /@?#,'\"\\[]%");
}

static bool
parse_address(const HaNode *node, const char *setting, char *host, int *port,
			  HaNodeError *error)
{
	if (address_valid(pgha_node_get(node, setting), host, HA_ADDRESS_MAX - 8,
					  port))
		return true;
	fail_setting(node, error, setting, "is not host:port");
	return pgha_node_hint(error, "For example 10.0.0.1:5432, "
						  "db1.example.com:5432 or [2001:db8::1]:5432.");
}

/* Where nobody can connect to. */
static bool
is_wildcard(const char *host)
{
	return strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 ||
		strcmp(host, "::") == 0;
}

static bool
check_reachable(const HaNode *node, const char *setting, const char *host,
				HaNodeError *error)
{
	if (!is_wildcard(host))
		return true;
	fail_setting(node, error, setting, "is no address one can connect to");
	return pgha_node_hint(error, "Give the name or address by which the other "
						  "members reach this one.");
}

static bool
set_address(HaNode *node, const char *setting, const char *host, int port)
{
	bool		v6 = strchr(host, ':') != NULL;
	char	   *text;

	if (asprintf(&text, "%s%s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "",
				 port) < 0)
		return false;
	return pgha_node_set(node, setting, text);
}

static bool
resolve_connect_address(HaNode *node, HaNodeError *error)
{
	char		host[HA_ADDRESS_MAX + 1];

	if (!parse_address(node, "pg_ha.connect_address", host, &node->port,
					   error) ||
		!check_reachable(node, "pg_ha.connect_address", host, error))
		return false;
	node->host = node->derived[DERIVED_HOST] = strdup(host);
	if (!node->host ||
		!set_address(node, "pg_ha.connect_address", host, node->port) ||
		asprintf(&node->derived[DERIVED_CONN_URL], "postgres://%s/postgres",
				 pgha_node_get(node, "pg_ha.connect_address")) < 0)
		return no_memory(error);
	node->conn_url = node->derived[DERIVED_CONN_URL];
	return true;
}

static bool
resolve_restapi(HaNode *node, HaNodeError *error)
{
	const char *connect = "pg_ha.restapi_connect_address";
	bool		tls = *pgha_node_get(node, "pg_ha.restapi_cert_file") != '\0';
	char		host[HA_ADDRESS_MAX + 1];
	int			port;

	if (!parse_address(node, "pg_ha.restapi_listen", host,
					   &node->restapi_port, error))
		return false;
	node->restapi_host = node->derived[DERIVED_RESTAPI_HOST] = strdup(host);
	if (!node->restapi_host)
		return no_memory(error);
	if (!*pgha_node_get(node, connect) &&
		!set_address(node, connect, node->host, node->restapi_port))
		return no_memory(error);
	if (!parse_address(node, connect, host, &port, error) ||
		!check_reachable(node, connect, host, error))
		return false;
	if (tls != (*pgha_node_get(node, "pg_ha.restapi_key_file") != '\0'))
	{
		pgha_node_fail(error, "%.150s: \"pg_ha.restapi_cert_file\" and "
					   "\"pg_ha.restapi_key_file\" must be set together",
					   node->file);
		return false;
	}
	if (asprintf(&node->derived[DERIVED_API_URL], "%s://%s/patroni",
				 tls ? "https" : "http", pgha_node_get(node, connect)) < 0)
		return no_memory(error);
	node->api_url = node->derived[DERIVED_API_URL];
	return true;
}

static bool
url_valid(const char *url, size_t len)
{
	size_t		scheme = strncmp(url, "http://", 7) == 0 ? 7 :
		strncmp(url, "https://", 8) == 0 ? 8 : 0;

	if (scheme == 0 || len <= scheme || url[scheme] == '/' ||
		url[scheme] == ':')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) url[i] <= ' ' || strchr("\"'<>\\^`{|}?#", url[i]))
			return false;
	return true;
}

static bool
check_urls(HaNode *node, HaNodeError *error)
{
	const char *at;

	node->consul_urls = at = pgha_node_get(node, "pg_ha.consul_urls");
	for (;;)
	{
		size_t		len;
		size_t		text;

		at += strspn(at, " ");
		len = text = strcspn(at, ",");
		while (text > 0 && at[text - 1] == ' ')
			text--;
		if (!url_valid(at, text))
		{
			fail_setting(node, error, "pg_ha.consul_urls",
						 "is no list of URLs");
			return pgha_node_hint(error, "For example "
								  "http://127.0.0.1:8500, "
								  "http://10.0.0.5:8500.");
		}
		if (at[len] == '\0')
			return true;
		at += len + 1;
	}
}

/*
 * Contents
 */

static bool
check_tags(const HaNode *node, HaNodeError *error)
{
	const char *text = pgha_node_get(node, "pg_ha.tags");
	json_error_t json_error;
	json_t	   *tags = json_loads(text, JSON_REJECT_DUPLICATES, &json_error);
	bool		ok = json_is_object(tags);
	const char *key;
	json_t	   *value;

	if (ok)
		json_object_foreach(tags, key, value)
			ok = ok && !json_is_object(value) && !json_is_array(value) &&
			!json_is_null(value);
	json_decref(tags);
	if (ok)
		return true;
	fail_setting(node, error, "pg_ha.tags", "is no JSON object of plain "
				 "values");
	return pgha_node_hint(error, "For example "
						  "{\"nofailover\": true, \"clonefrom\": true}.");
}

static bool
read_token(HaNode *node, HaNodeError *error)
{
	const char *path = pgha_node_get(node, "pg_ha.consul_token_file");
	char		why[HA_WHY_MAX];
	bool		missing;
	size_t		len;

	if (!*path)
		return true;
	node->consul_token = pgha_file_read(path, TOKEN_MAX, &len, &missing, why);
	if (!node->consul_token)
		return fail_setting(node, error, "pg_ha.consul_token_file", why);
	while (len > 0 && strchr(" \t\r\n", node->consul_token[len - 1]))
		node->consul_token[--len] = '\0';
	for (const char *c = node->consul_token; *c; c++)
		if (*c <= ' ' || *c > '~')
			len = 0;
	if (len > 0)
		return true;
	return fail_setting(node, error, "pg_ha.consul_token_file",
						"does not hold a token");
}

bool
pgha_node_resolve(HaNode *node, HaNodeError *error)
{
	return resolve_names(node, error) && resolve_paths(node, error) &&
		resolve_connect_address(node, error) && resolve_restapi(node, error) &&
		check_urls(node, error) && check_tags(node, error) &&
		read_token(node, error);
}
