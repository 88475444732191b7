/*
 * conf_file.c
 *	  Configuration files: what they include, and the lines pg_ha marked.
 */
#ifndef _GNU_SOURCE
#endif

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dcs/json.h"
#include "dcs/state.h"
#include "launcher/conf.h"

static bool load_file(const char *path, bool optional, int depth,
					  HaConf *conf, char *why);

static bool
line_is(const char *line, size_t len, const char *text)
{
	while (len > 0 && strchr(" \t\r", line[len - 1]))
		len--;
	return len == strlen(text) && memcmp(line, text, len) == 0;
}

bool
pgha_conf_unmarked(const char *text, size_t len, HaBuffer *buffer, char *why)
{
	const char *end = text + len;
	const char *next;
	int			begin = 0;
	int			line = 0;

	pgha_buffer_add(buffer, "");
	for (const char *at = text; at < end; at = next)
	{
		const char *eol = memchr(at, '\n', (size_t) (end - at));
		size_t		line_len = (size_t) ((eol ? eol : end) - at);

		line++;
		next = eol ? eol + 1 : end;
		if (begin == 0 && line_is(at, line_len, HA_CONF_BEGIN))
			begin = line;
		if (begin == 0)
			pgha_buffer_add_bytes(buffer, at, (size_t) (next - at));
		else if (line_is(at, line_len, HA_CONF_END))
			begin = 0;
	}
	if (buffer->failed)
		return pgha_why(why, "out of memory");
	if (begin == 0)
		return true;
	return pgha_why(why, "line %d says \"%s\", but no line \"%s\" follows",
					begin, HA_CONF_BEGIN, HA_CONF_END);
}

/* Relative to the directory of the file that names it. */
static bool
include_path(char *path, const char *name, const char *from, char *why)
{
	const char *slash = strrchr(from, '/');
	int			dir = name[0] == '/' || !slash ? 0 : (int) (slash - from) + 1;

	if (snprintf(path, PATH_MAX, "%.*s%s", dir, from, name) < PATH_MAX)
		return true;
	return pgha_why(why, "the path of an included file is too long");
}

static int
include_dir_filter(const struct dirent *entry)
{
	size_t		len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len >= 6 &&
		strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int
include_dir_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static bool
load_directory(const char *path, int depth, HaConf *conf, char *why)
{
	struct dirent **names;
	int			n = scandir(path, &names, include_dir_filter,
							include_dir_order);
	bool		ok = true;

	if (n < 0)
		return pgha_why(why, "could not read directory \"%.120s\"", path);
	for (int i = 0; i < n; i++)
	{
		char		file[PATH_MAX];

		if (ok && snprintf(file, sizeof(file), "%s/%s", path,
						   names[i]->d_name) < PATH_MAX)
			ok = load_file(file, false, depth, conf, why);
		free(names[i]);
	}
	free(names);
	return ok;
}

/* Follow one include directive, or keep the setting.  Takes the entry. */
static bool
load_entry(HaConfEntry *entry, const char *from, int depth, HaConf *conf,
		   char *why)
{
	char		path[PATH_MAX];
	bool		directory = strcasecmp(entry->name, "include_dir") == 0;
	bool		optional = strcasecmp(entry->name, "include_if_exists") == 0;
	bool		ok;

	if (!directory && !optional && strcasecmp(entry->name, "include") != 0)
	{
		HaConfEntry *entries = realloc(conf->entries,
									   (size_t) (conf->nentries + 1) *
									   sizeof(*entries));

		if (!entries)
			return pgha_why(why, "out of memory");
		conf->entries = entries;
		conf->entries[conf->nentries++] = *entry;
		conf->size = conf->nentries;
		entry->name = entry->value = NULL;
		return true;
	}
	ok = include_path(path, entry->value, from, why);
	if (ok && directory)
		ok = load_directory(path, depth + 1, conf, why);
	else if (ok)
		ok = load_file(path, optional, depth + 1, conf, why);
	return ok;
}

static bool
load_text(const char *path, const char *text, size_t len, int depth,
		  HaConf *conf, char *why)
{
	HaConf		file = {0};
	char		reason[HA_WHY_MAX];
	int			line;
	bool		ok = pgha_conf_parse(text, len, &file, &line, reason);

	if (!ok)
		pgha_why(why, "%.100s:%d: %s", path, line, reason);
	for (int i = 0; ok && i < file.nentries; i++)
		ok = load_entry(&file.entries[i], path, depth, conf, why);
	pgha_conf_free(&file);
	return ok;
}

static bool
load_file(const char *path, bool optional, int depth, HaConf *conf, char *why)
{
	HaBuffer	text = {0};
	bool		missing;
	size_t		len;
	char	   *data;
	bool		ok;

	if (depth > HA_CONF_DEPTH_MAX)
		return pgha_why(why, "files include each other too deeply at "
						"\"%.100s\"", path);
	data = pgha_file_read(path, HA_CONF_FILE_MAX, &len, &missing, why);
	if (!data)
		return optional && missing;
	ok = pgha_conf_unmarked(data, len, &text, why) &&
		load_text(path, text.data, text.len, depth, conf, why);
	pgha_buffer_release(&text);
	free(data);
	return ok;
}

bool
pgha_conf_load(const char *path, HaConf *conf, char *why)
{
	return load_file(path, false, 0, conf, why);
}
