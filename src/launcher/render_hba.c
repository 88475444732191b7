/*
 * render_hba.c
 *	  The rendered pg_hba.conf and pg_ident.conf.
 *
 * pg_ha's own lines come first, so that no rule of others keeps a member from
 * streaming or rewinding.  Then the cluster's list; a member that has none uses
 * the user's own file, and without that a cautious default.  Instead of a list
 * with a bad line in it the rules that were rendered last stay.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "dcs/json.h"
#include "dcs/state.h"
#include "launcher/hba_line.h"
#include "launcher/render_private.h"

/* A name that is one and nothing else: no keyword, no list, no file. */
static void
add_name(HaBuffer *buffer, const char *name)
{
	pgha_buffer_add(buffer, "\"");
	for (const char *c = name; *c; c++)
		pgha_buffer_printf(buffer, *c == '"' ? "\"%c" : "%c", *c);
	pgha_buffer_add(buffer, "\"");
}

/*
 * "@file" is relative to the file it stands in, which becomes another one.
 * A directory that would need quotes is left alone: then only absolute names
 * work.
 */
static void
add_line(HaBuffer *buffer, const char *line, size_t len, const char *directory)
{
	bool		start = true;
	bool		quoted = false;
	bool		absolute = strpbrk(directory, " \t,\"#") == NULL;

	for (size_t i = 0; i < len; i++)
	{
		char		c = line[i];

		if (c == '#' && !quoted)
			absolute = false;
		pgha_buffer_add_bytes(buffer, &c, 1);
		if (start && c == '@' && absolute && i + 1 < len &&
			line[i + 1] != '/' && !isspace((unsigned char) line[i + 1]))
			pgha_buffer_printf(buffer, "%s/", directory);
		quoted = quoted != (c == '"');
		start = !quoted && (c == ',' || c == ' ' || c == '\t');
	}
	pgha_buffer_add(buffer, "\n");
}

/* hba_file or ident_file of the user's configuration, or its usual place. */
static bool
user_auth_file(const HaRendering *rendering, const char *setting,
			   const char *name, char path[PATH_MAX], char *why)
{
	const HaNode *node = rendering->node;
	const char *value = pgha_conf_get(&rendering->user, setting);

	if (value && value[0] == '/')
		return pgha_render_path(path, "", value + 1, why);
	if (node->config_directory[0] &&
		!pgha_render_path(path, node->config_directory, name, why))
		return false;
	if (node->config_directory[0] && access(path, R_OK) == 0)
		return true;
	return pgha_render_path(path, node->data_directory, name, why);
}

static bool
add_user_file(const HaRendering *rendering, const char *setting,
			  const char *name, HaBuffer *buffer, bool *found, char *why)
{
	char		path[PATH_MAX];
	char		directory[PATH_MAX];
	bool		missing;
	size_t		len;
	char	   *text;

	*found = false;
	if (!user_auth_file(rendering, setting, name, path, why))
		return false;
	text = pgha_file_read(path, HA_CONF_FILE_MAX, &len, &missing, why);
	if (!text)
		return missing;
	strcpy(directory, path);
	*strrchr(directory, '/') = '\0';
	pgha_buffer_printf(buffer, "# from %s\n", path);
	for (char *at = text, *line; (line = strsep(&at, "\n")) != NULL;)
		if (at || *line)
			add_line(buffer, line, strlen(line), directory);
	*found = true;
	free(text);
	return true;
}

typedef enum ListUse
{
	LIST_ABSENT,
	LIST_GOOD,
	LIST_BAD,
} ListUse;

/* The whole list or nothing: a missing line may let somebody in. */
static ListUse
list_use(const HaRendering *rendering, const char *name, json_t *list,
		 bool (*check) (const char *line, char *why))
{
	size_t		i;
	json_t	   *line;
	char		wrong[HA_WHY_MAX] = "it is no string";
	char		why[HA_WHY_MAX];

	if (json_is_null(list) || !list ||
		(json_is_array(list) && json_array_size(list) == 0))
		return LIST_ABSENT;
	if (!json_is_array(list))
	{
		pgha_render_left_out(rendering, name, "it is no list");
		return LIST_BAD;
	}
	json_array_foreach(list, i, line)
	{
		const char *text = json_string_value(line);

		if (text && check(text, wrong))
			continue;
		pgha_why(why, "line %zu is malformed (\"%.40s\": %.60s), so the whole "
				 "list is not used", i + 1, text ? text : "", wrong);
		pgha_render_left_out(rendering, name, why);
		return LIST_BAD;
	}
	return LIST_GOOD;
}

/* The list as it was written, good or bad. */
static json_t *
given_list(const HaRendering *rendering, const char *name)
{
	return rendering->config ?
		json_object_get(json_object_get(rendering->config->document,
										"postgresql"), name) : NULL;
}

/* Rules that were in force stay so; false: there are none yet. */
static bool
add_present_file(const HaRendering *rendering, const char *name,
				 HaBuffer *buffer)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	bool		missing;
	size_t		len;
	char	   *text = NULL;

	if (pgha_render_path(path, rendering->node->state_directory, name, why))
		text = pgha_file_read(path, HA_CONF_FILE_MAX, &len, &missing, why);
	if (text)
		pgha_buffer_add_bytes(buffer, text, len);
	free(text);
	return text != NULL;
}

static void
add_list(json_t *list, HaBuffer *buffer)
{
	size_t		i;
	json_t	   *line;

	pgha_buffer_add(buffer, "# cluster settings\n");
	json_array_foreach(list, i, line)
		pgha_buffer_printf(buffer, "%s\n", json_string_value(line));
}

static void
add_default_rules(const HaRendering *rendering, HaBuffer *buffer)
{
	pgha_buffer_add(buffer, "# no rules were given\nlocal all ");
	add_name(buffer, rendering->node->superuser);
	pgha_buffer_add(buffer, " peer\n"
					"local all all peer\n"
					"host all all all scram-sha-256\n");
}

bool
pgha_rendering_hba(const HaRendering *rendering, HaBuffer *buffer, char *why)
{
	const HaNode *node = rendering->node;
	json_t	   *list = given_list(rendering, "pg_hba");
	ListUse		use = list_use(rendering, "pg_hba", list, pgha_hba_line_check);
	bool		found;

	if (use == LIST_BAD && add_present_file(rendering, "pg_hba.conf", buffer))
		return true;
	pgha_buffer_add(buffer,
					"# Written by pg_ha_launcher; changes are overwritten.\n"
					"\n# pg_ha's own\nhost replication ");
	add_name(buffer, node->replication_user);
	pgha_buffer_add(buffer, " all scram-sha-256\nhost all ");
	add_name(buffer, node->rewind_user);
	pgha_buffer_add(buffer, " all scram-sha-256\n\n");
	if (use == LIST_GOOD)
	{
		add_list(list, buffer);
		return true;
	}
	if (!add_user_file(rendering, "hba_file", "pg_hba.conf", buffer, &found,
					   why))
		return false;
	if (!found)
		add_default_rules(rendering, buffer);
	return true;
}

bool
pgha_rendering_ident(const HaRendering *rendering, HaBuffer *buffer, char *why)
{
	json_t	   *list = given_list(rendering, "pg_ident");
	ListUse		use = list_use(rendering, "pg_ident", list,
							   pgha_ident_line_check);
	bool		found;

	if (use == LIST_BAD &&
		add_present_file(rendering, "pg_ident.conf", buffer))
		return true;
	pgha_buffer_add(buffer,
					"# Written by pg_ha_launcher; changes are overwritten.\n");
	if (use == LIST_GOOD)
	{
		add_list(list, buffer);
		return true;
	}
	return add_user_file(rendering, "ident_file", "pg_ident.conf", buffer,
						 &found, why);
}

/*
 * Adoption
 */

/* A line may go on on the next one after a "\" at its end. */
static void
append_rule(json_t *rules, HaBuffer *line)
{
	if (line->data && pgha_hba_fields(line->data) > 0)
		json_array_append_new(rules, json_string(line->data));
	pgha_buffer_release(line);
}

static json_t *
rules_of_text(const char *text)
{
	json_t	   *rules = json_array();
	HaBuffer	line = {0};

	for (const char *next; *text; text = next)
	{
		size_t		len = strcspn(text, "\n");
		bool		more;

		next = text + len + (text[len] == '\n');
		while (len > 0 && text[len - 1] == '\r')
			len--;
		more = len > 0 && text[len - 1] == '\\';
		pgha_buffer_add_bytes(&line, text, len - more);
		if (!more)
			append_rule(rules, &line);
	}
	append_rule(rules, &line);
	return rules;
}

json_t *
pgha_render_adopted_hba(const HaNode *node)
{
	HaRendering rendering = {.node = node};
	HaBuffer	text = {0};
	char		why[HA_WHY_MAX];
	json_t	   *rules = NULL;
	bool		found = false;

	if (pgha_rendering_init(&rendering, why) &&
		add_user_file(&rendering, "hba_file", "pg_hba.conf", &text, &found,
					  why) && found && !text.failed)
		rules = rules_of_text(text.data);
	pgha_buffer_release(&text);
	pgha_rendering_release(&rendering);
	return rules;
}
