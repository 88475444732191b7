/*
 * node.c
 *	  The node settings file.
 */
#ifndef _GNU_SOURCE
#endif

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/owned.h"
#include "dcs/state.h"
#include "launcher/node_private.h"

#define NODE_FILE_MAX (256 * 1024)	/* bytes */

bool
pgha_node_fail_at(HaNodeError *error, const char *file, int line)
{
	char		message[sizeof(error->message)];

	snprintf(message, sizeof(message), "%s", error->message);
	if (line > 0)
		snprintf(error->message, sizeof(error->message), "%.200s:%d: %.290s",
				 file, line, message);
	else
		snprintf(error->message, sizeof(error->message), "%.200s: %.290s",
				 file, message);
	return false;
}

static int
setting_index(const HaSetting *setting)
{
	int			n;

	return (int) (setting - pgha_settings(&n));
}

bool
pgha_node_set(HaNode *node, const char *setting, char *value)
{
	char	  **slot = &node->values[setting_index(pgha_setting(setting))];

	if (!value)
		return false;
	free(*slot);
	*slot = value;
	return true;
}

const char *
pgha_node_get(const HaNode *node, const char *setting)
{
	const HaSetting *found = pgha_setting(setting);

	return found ? node->values[setting_index(found)] : NULL;
}

static bool
take_own(HaNode *node, const HaConfEntry *entry, HaNodeError *error)
{
	const HaSetting *setting = pgha_setting(entry->name);
	char	   *value;

	if (!setting)
	{
		pgha_node_unknown(entry->name, error);
		return false;
	}
	if (strcmp(setting->name, "pg_ha.managed") == 0)
	{
		pgha_node_fail(error, "\"%s\" is set by pg_ha itself", setting->name);
		return pgha_node_hint(error, "Remove the line.");
	}
	value = pgha_node_value(setting, entry->value, error);
	node->lines[setting_index(setting)] = entry->line;
	return value && pgha_node_set(node, setting->name, value);
}

/* port and listen_addresses are owned, but said here. */
static bool
server_setting_allowed(const HaConfEntry *entry, HaNodeError *error)
{
	if (pgha_owner(entry->name) == HA_OWNER_USER ||
		strcasecmp(entry->name, "port") == 0 ||
		strcasecmp(entry->name, "listen_addresses") == 0)
		return true;
	pgha_node_fail(error, "\"%.60s\" can't be set: %s", entry->name,
				   pgha_owned_why(entry->name));
	if (strcasecmp(entry->name, "data_directory") == 0)
		return pgha_node_hint(error, "Use \"pg_ha.data_directory\".");
	if (strncasecmp(entry->name, "include", 7) == 0)
		return pgha_node_hint(error, "Put all node settings into this file.");
	return pgha_node_hint(error, "Remove the line: pg_ha owns this setting.");
}

/* Takes the entry's strings. */
static bool
take_server(HaNode *node, HaConfEntry *entry, HaNodeError *error)
{
	HaServerSetting *server;

	if (!server_setting_allowed(entry, error))
		return false;
	server = realloc(node->server,
					 (size_t) (node->nserver + 1) * sizeof(*server));
	if (!server)
		return pgha_node_fail(error, "out of memory");
	node->server = server;
	server[node->nserver++] = (HaServerSetting) {
		.name = entry->name,.value = entry->value,.line = entry->line
	};
	entry->name = entry->value = NULL;
	return true;
}

static bool
take_entries(HaNode *node, HaConf *conf, HaNodeError *error)
{
	for (int i = 0; i < conf->nentries; i++)
	{
		HaConfEntry *entry = &conf->entries[i];
		bool		own = strncasecmp(entry->name, "pg_ha.", 6) == 0;

		if (own ? !take_own(node, entry, error) :
			!take_server(node, entry, error))
			return pgha_node_fail_at(error, node->file, entry->line);
	}
	return true;
}

static bool
read_file(HaNode *node, HaNodeError *error)
{
	HaConf		conf = {0};
	char		why[HA_WHY_MAX];
	bool		missing;
	size_t		len;
	int			line;
	bool		ok;
	char	   *text = pgha_file_read(node->file, NODE_FILE_MAX, &len, &missing,
									  why);

	if (!text)
	{
		pgha_node_fail(error, "%s", why);
		return false;
	}
	ok = pgha_conf_parse(text, len, &conf, &line, why);
	if (!ok)
	{
		pgha_node_fail(error, "%s", why);
		pgha_node_hint(error, "A line reads: name = 'value'");
		pgha_node_fail_at(error, node->file, line);
	}
	else
		ok = take_entries(node, &conf, error);
	pgha_conf_free(&conf);
	free(text);
	return ok;
}

static bool
set_defaults(HaNode *node)
{
	int			n;
	const HaSetting *settings = pgha_settings(&n);

	node->values = calloc((size_t) n, sizeof(char *));
	node->lines = calloc((size_t) n, sizeof(int));
	for (int i = 0; node->values && i < n; i++)
		if (!(node->values[i] = strdup(settings[i].fallback)))
			return false;
	return node->values && node->lines;
}

static bool
check_required(const HaNode *node, HaNodeError *error)
{
	int			n;
	const HaSetting *settings = pgha_settings(&n);

	for (int i = 0; i < n; i++)
	{
		if (!(settings[i].flags & HA_SETTING_REQUIRED) ||
			*pgha_node_get(node, settings[i].name))
			continue;
		pgha_node_fail(error, "%.200s: \"%s\" is not set", node->file,
					   settings[i].name);
		return pgha_node_hint(error, "%s", settings[i].description);
	}
	return true;
}

static char *
absolute_file(const char *file)
{
	char		cwd[PATH_MAX];

	if (file[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return NULL;
	return pgha_node_absolute(file[0] == '/' ? "" : cwd, file);
}

HaNode *
pgha_node_load(const char *file, HaNodeError *error)
{
	HaNode	   *node = calloc(1, sizeof(*node));

	memset(error, 0, sizeof(*error));
	if (!node || !set_defaults(node) || !(node->file = absolute_file(file)))
		pgha_node_fail(error, "out of memory");
	else if (read_file(node, error) && check_required(node, error) &&
			 pgha_node_resolve(node, error))
		return node;
	pgha_node_free(node);
	return NULL;
}

void
pgha_node_free(HaNode *node)
{
	int			n;

	if (!node)
		return;
	pgha_settings(&n);
	for (int i = 0; node->values && i < n; i++)
		free(node->values[i]);
	for (int i = 0; i < node->nserver; i++)
	{
		free(node->server[i].name);
		free(node->server[i].value);
	}
	free(node->values);
	free(node->lines);
	free(node->server);
	free(node->file);
	for (size_t i = 0; i < sizeof(node->derived) / sizeof(char *); i++)
		free(node->derived[i]);
	free(node->consul_token);
	free(node);
}

static const char *
server_value(const HaNode *node, const char *name)
{
	for (int i = node->nserver - 1; i >= 0; i--)
		if (strcasecmp(node->server[i].name, name) == 0)
			return node->server[i].value;
	return "";
}

static void
diff_add(char *restart, size_t size, const char *name)
{
	size_t		len = strlen(restart);

	snprintf(restart + len, size - len, "%s%s", len > 0 ? ", " : "", name);
}

void
pgha_node_diff(const HaNode *current, const HaNode *updated, char *restart,
			   size_t size)
{
	static const char *const fixed[] = {"port", "listen_addresses"};
	int			n;
	const HaSetting *settings = pgha_settings(&n);

	restart[0] = '\0';
	for (int i = 0; i < n; i++)
		if (!(settings[i].flags & HA_SETTING_RELOAD) &&
			strcmp(current->values[i], updated->values[i]) != 0)
			diff_add(restart, size, settings[i].name);
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (strcmp(server_value(current, fixed[i]),
				   server_value(updated, fixed[i])) != 0)
			diff_add(restart, size, fixed[i]);
}

static const char *
fallback_text(const HaSetting *setting)
{
	if (setting->flags & HA_SETTING_REQUIRED)
		return "required";
	return setting->fallback;
}

static void
print_range(FILE *file, const HaSetting *setting)
{
	if (setting->type == HA_SETTING_INT)
		fprintf(file, "%lld to %lld", (long long) setting->min,
				(long long) setting->max);
	for (int i = 0; setting->values && setting->values[i]; i++)
		fprintf(file, "%s%s", i > 0 ? ", " : "", setting->values[i]);
	if (setting->type == HA_SETTING_BOOL)
		fputs("on, off", file);
}

/* Text that is no Markdown. */
static void
print_cell(FILE *file, const char *text)
{
	for (; *text; text++)
		fprintf(file, strchr("<>|*", *text) ? "\\%c" : "%c", *text);
}

void
pgha_settings_print_table(FILE *file)
{
	int			n;
	const HaSetting *settings = pgha_settings(&n);

	fputs("| Setting | Default | Range | Reload | Meaning |\n"
		  "|---|---|---|---|---|\n", file);
	for (int i = 0; i < n; i++)
	{
		const HaSetting *setting = &settings[i];

		fprintf(file, "| `%s` | ", setting->name);
		print_cell(file, fallback_text(setting));
		fprintf(file, "%s%s | ", setting->unit ? " " : "",
				setting->unit ? setting->unit : "");
		print_range(file, setting);
		fprintf(file, " | %s | ",
				setting->flags & HA_SETTING_RELOAD ? "yes" : "restart");
		print_cell(file, setting->description);
		fputs(" |\n", file);
	}
}
