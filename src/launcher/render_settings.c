/*
 * render_settings.c
 *	  What goes into the rendered postgresql.conf.
 *
 *		pg_ha's defaults		the user's file may say otherwise
 *		include 'user's file'
 *		cluster settings
 *		node settings
 *		pg_ha's own				wins over all of the above
 *		include_if_exists 'follow.conf'
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "pg_config.h"

#include "core/owned.h"
#include "dcs/json.h"
#include "dcs/parameters.h"
#include "dcs/state.h"
#include "launcher/render_private.h"

typedef struct Pair
{
	const char *name;
	const char *value;
} Pair;

/*
 * What a member needs, or is much better off with, unless somebody says
 * otherwise.
 */
static const Pair defaults[] = {
	{"wal_level", "replica"},
	{"max_wal_senders", "10"},
	{"max_replication_slots", "10"},
	/* or a diverged member recycles the WAL pg_rewind needs of it */
	{"wal_keep_size", "512MB"},
	/* a standby that lost its primary asks again that often */
	{"wal_retrieve_retry_interval", "500ms"},
	/* a crashed leader starts in place: not an fsync for each file then */
	{"recovery_init_sync_method", "syncfs"},
};

/* Fewer than that and the cluster can't work, whoever said so. */
static const struct
{
	const char *name;
	int			least;
}			floors[] =
{
	{"max_wal_senders", 4},		/* two standbys, one of which is cloned */
	{"max_replication_slots", 4},
	{"max_worker_processes", 4},	/* pg_ha's two among them */
};

/* Nothing of the user's must end recovery early or promote a member. */
static const Pair fixed[] = {
	{"primary_conninfo", ""},
	{"primary_slot_name", ""},
	{"synchronous_standby_names", ""},
	{"recovery_target", ""},
	{"recovery_target_lsn", ""},
	{"recovery_target_name", ""},
	{"recovery_target_time", ""},
	{"recovery_target_xid", ""},
	{"recovery_target_timeline", "latest"},
#if PG_VERSION_NUM < 160000
	{"promote_trigger_file", ""},
#endif
};

/* The server's defaults of the standby-critical five. */
static const int critical_defaults[HA_CRITICALS] = {100, 8, 10, 0, 64};

#define LENGTH(array) (sizeof(array) / sizeof(array[0]))

void
pgha_render_left_out(const HaRendering *rendering, const char *name,
					 const char *why)
{
	if (rendering->report)
		rendering->report(rendering->arg, name, why);
}

/*
 * Collecting
 */

/* Takes the value. */
static bool
add_entry(HaRendering *rendering, HaRenderSource source, const char *name,
		  char *value, char *why)
{
	HaRenderEntry *entries =
		realloc(rendering->entries,
				(size_t) (rendering->nentries + 1) * sizeof(*entries));
	char	   *copy = strdup(name);

	if (entries)
		rendering->entries = entries;
	if (!entries || !copy || !value)
	{
		free(copy);
		free(value);
		return pgha_why(why, "out of memory");
	}
	entries[rendering->nentries++] = (HaRenderEntry) {
		.source = source,.name = copy,.value = value
	};
	return true;
}

static bool
collect_parameter(HaRendering *rendering, const char *name,
				  const json_t *parameter, char *why)
{
	const char *written = name;
	char	   *value;
	char		note[HA_WHY_MAX] = "";
	HaParameterKind kind;

	if (json_is_null(parameter))
		return true;
	value = pgha_parameter_text(parameter);
	if (!value)
	{
		pgha_render_left_out(rendering, name,
							 "its value is no string, number or boolean");
		return true;
	}
	kind = pgha_parameter_translate(PG_VERSION_NUM,
									rendering->config->parameters, &name,
									&value, note);
	if (kind == HA_PARAMETER_TRANSLATED || kind == HA_PARAMETER_DROPPED)
		pgha_render_left_out(rendering, written, note);
	if (kind == HA_PARAMETER_AS_IS || kind == HA_PARAMETER_TRANSLATED)
	{
		if (!pgha_conf_name_valid(name))
			pgha_render_left_out(rendering, name, "this is no setting's name");
		else if (pgha_owner(name) != HA_OWNER_USER)
			pgha_render_left_out(rendering, name, pgha_owned_why(name));
		else
			return add_entry(rendering, HA_RENDER_CLUSTER, name, value, why);
	}
	free(value);
	return true;
}

static bool
collect_cluster(HaRendering *rendering, char *why)
{
	const char *name;
	json_t	   *value;

	if (!rendering->config || !json_is_object(rendering->config->parameters))
		return true;
	json_object_foreach(rendering->config->parameters, name, value)
		if (!collect_parameter(rendering, name, value, why))
			return false;
	return true;
}

static bool
collect_node(HaRendering *rendering, char *why)
{
	const HaNode *node = rendering->node;

	for (int i = 0; i < node->nserver; i++)
		if (pgha_owner(node->server[i].name) == HA_OWNER_USER &&
			!add_entry(rendering, HA_RENDER_NODE, node->server[i].name,
					   strdup(node->server[i].value), why))
			return false;
	return true;
}

/* The copy of the last known cluster settings, if the caller has none. */
static bool
use_kept_config(HaRendering *rendering, char *why)
{
	char		path[PATH_MAX];
	bool		missing;
	size_t		len;
	char	   *text;

	if (rendering->config)
		return true;
	if (!pgha_render_path(path, rendering->node->state_directory,
						  "config.json", why))
		return false;
	text = pgha_file_read(path, HA_DOCUMENT_MAX, &len, &missing, why);
	if (!text)
		return missing;
	if (pgha_config_parse(text, len, &rendering->kept, why))
		rendering->config = &rendering->kept;
	else
		pgha_render_left_out(rendering, "config.json", why);
	free(text);
	return true;
}

bool
pgha_rendering_init(HaRendering *rendering, char *why)
{
	const HaNode *node = rendering->node;
	char	   *path = rendering->user_file;

	if (!use_kept_config(rendering, why) ||
		!pgha_render_user_file(node, path, why))
		return false;
	if (access(path, F_OK) < 0)
		path[0] = '\0';
	return (!path[0] || pgha_conf_load(path, &rendering->user, why)) &&
		collect_cluster(rendering, why) && collect_node(rendering, why);
}

void
pgha_rendering_release(HaRendering *rendering)
{
	for (int i = 0; i < rendering->nentries; i++)
	{
		free(rendering->entries[i].name);
		free(rendering->entries[i].value);
	}
	free(rendering->entries);
	pgha_conf_free(&rendering->user);
	pgha_config_free(&rendering->kept);
}

const char *
pgha_rendering_effective(const HaRendering *rendering, const char *name)
{
	const char *value;

	for (int i = rendering->nentries - 1; i >= 0; i--)
	{
		const HaRenderEntry *entry = &rendering->entries[i];

		if (!entry->refused && strcasecmp(entry->name, name) == 0)
			return entry->value;
	}
	value = pgha_conf_get(&rendering->user, name);
	for (size_t i = 0; !value && i < LENGTH(defaults); i++)
		if (strcmp(defaults[i].name, name) == 0)
			value = defaults[i].value;
	return value;
}

/*
 * Printing
 */

static void
print_setting(HaBuffer *buffer, const char *name, const char *value)
{
	pgha_buffer_printf(buffer, "%s = ", name);
	pgha_conf_quote(buffer, value);
	pgha_buffer_add(buffer, "\n");
}

static void
print_entries(HaRendering *rendering, HaRenderSource source, HaBuffer *buffer)
{
	for (int i = 0; i < rendering->nentries; i++)
	{
		HaRenderEntry *entry = &rendering->entries[i];

		if (entry->source != source || entry->refused)
			continue;
		entry->line = buffer->lines + 1;
		print_setting(buffer, entry->name, entry->value);
	}
}

static int
effective_number(const HaRendering *rendering, const char *name, int fallback)
{
	const char *text = pgha_rendering_effective(rendering, name);
	double		number;

	/* the server reads hexadecimal and fractions, too; what it refuses is 0 */
	number = text ? strtod(text, NULL) : fallback;
	if (!(number > 0))
		return 0;
	return number < INT_MAX ? (int) rint(number) : INT_MAX;
}

static int
least_allowed(const char *name)
{
	for (size_t i = 0; i < LENGTH(floors); i++)
		if (strcmp(floors[i].name, name) == 0)
			return floors[i].least;
	return 0;
}

/* max(configured, what was asked for, what the cluster can't do without) */
static void
print_critical(const HaRendering *rendering, HaBuffer *buffer)
{
	HaControlSettings asked = {0};

	if (rendering->critical)
		asked = *rendering->critical;
	for (int i = 0; i < HA_CRITICALS; i++)
	{
		const char *name = pgha_critical_name(i);
		int			configured = effective_number(rendering, name,
												  critical_defaults[i]);
		int			needed = *pgha_critical(&asked, i);

		if (configured < least_allowed(name))
		{
			pgha_render_left_out(rendering, name, "the cluster needs more");
			configured = least_allowed(name);
		}
		else if (needed <= configured)
			continue;
		pgha_buffer_printf(buffer, "%s = %d\n", name,
						   needed > configured ? needed : configured);
	}
}

static void
print_minimum(const HaRendering *rendering, HaBuffer *buffer)
{
	const char *level = pgha_rendering_effective(rendering, "wal_level");
	int			slots = least_allowed("max_replication_slots");

	if (level && strcasecmp(level, "minimal") == 0)
	{
		pgha_render_left_out(rendering, "wal_level",
							 "standbys need at least replica");
		print_setting(buffer, "wal_level", "replica");
	}
	if (effective_number(rendering, "max_replication_slots", slots) < slots)
	{
		pgha_render_left_out(rendering, "max_replication_slots",
							 "the cluster needs more");
		pgha_buffer_printf(buffer, "max_replication_slots = %d\n", slots);
	}
}

static void
print_libraries(const HaRendering *rendering, HaBuffer *buffer)
{
	const char *name = "shared_preload_libraries";
	const char *list = pgha_rendering_effective(rendering, name);
	bool		bad;
	char	   *libraries = pgha_conf_libraries_with(list ? list : "", &bad);

	if (bad)
		pgha_render_left_out(rendering, name, "the list is malformed");
	if (libraries)
		print_setting(buffer, name, libraries);
	else
		buffer->failed = true;
	free(libraries);
}

static void
print_node_settings(const HaRendering *rendering, HaBuffer *buffer)
{
	int			n;
	const HaSetting *settings = pgha_settings(&n);

	for (int i = 0; i < n; i++)
	{
		const char *value = rendering->node->values[i];

		if (strcmp(settings[i].name, "pg_ha.managed") == 0)
			value = "on";
		if (*value)
			print_setting(buffer, settings[i].name, value);
	}
}

static void
print_owned(void *arg, const char *name, const char *value)
{
	print_setting(arg, name, value);
}

void
pgha_rendering_settings(HaRendering *rendering, HaBuffer *buffer)
{
	pgha_buffer_add(buffer,
					"# Written by pg_ha_launcher; changes are overwritten.\n"
					"\n# defaults of pg_ha\n");
	for (size_t i = 0; i < LENGTH(defaults); i++)
		print_setting(buffer, defaults[i].name, defaults[i].value);
	if (rendering->user_file[0])
	{
		pgha_buffer_add(buffer, "\n# your own file\ninclude ");
		pgha_conf_quote(buffer, rendering->user_file);
		pgha_buffer_add(buffer, "\n");
	}
	pgha_buffer_add(buffer, "\n# cluster settings\n");
	print_entries(rendering, HA_RENDER_CLUSTER, buffer);
	pgha_buffer_add(buffer, "\n# node settings\n");
	print_entries(rendering, HA_RENDER_NODE, buffer);
	pgha_buffer_add(buffer, "\n# owned by pg_ha\n");
	print_critical(rendering, buffer);
	print_minimum(rendering, buffer);
	print_libraries(rendering, buffer);
	for (size_t i = 0; i < LENGTH(fixed); i++)
		print_setting(buffer, fixed[i].name, fixed[i].value);
	print_node_settings(rendering, buffer);
	/* on the command line, too; a reload would complain of the user's own */
	pgha_render_owned(rendering->node, print_owned, buffer);
	pgha_buffer_add(buffer, "include_if_exists 'follow.conf'\n");
}
