/*
 * conf.h
 *	  postgresql.conf's syntax: reading it, and writing values into it.
 *
 * A string ends on the line it begins on, so a line can be read by itself.
 * What is accepted here is what the server accepts, no more.
 */
#ifndef PGHA_CONF_H
#define PGHA_CONF_H

#include "dcs/documents.h"
#include "launcher/buffer.h"

#define HA_CONF_FILE_MAX (4 * 1024 * 1024)	/* bytes; larger is a mistake */
#define HA_CONF_DEPTH_MAX 10	/* of includes, as in the server */

typedef enum HaConfKind
{
	HA_CONF_EMPTY,				/* blank, or a comment */
	HA_CONF_SETTING,
	HA_CONF_BAD,				/* why tells */
} HaConfKind;

typedef struct HaConfEntry
{
	char	   *name;			/* as written */
	char	   *value;			/* unquoted */
	int			line;
} HaConfEntry;

/* Settings in the order read.  All zero is empty. */
typedef struct HaConf
{
	int			nentries;
	HaConfEntry *entries;
	int			size;			/* allocated */
} HaConf;

/* One line without its newline.  entry->line is left alone. */
extern HaConfKind pgha_conf_line(const char *line, size_t len,
								 HaConfEntry *entry, char *why);

/*
 * A whole text.  False with *line and why at the first bad line; what was read
 * until there is in *conf.
 */
extern bool pgha_conf_parse(const char *text, size_t len, HaConf *conf,
							int *line, char *why);

/*
 * A file with all it includes, appended to *conf.  Lines that pg_ha marked are
 * passed over.  False with why ("file:line: ...").
 */
extern bool pgha_conf_load(const char *path, HaConf *conf, char *why);

extern void pgha_conf_free(HaConf *conf);

/* The value in force (the last one), or NULL. */
extern const char *pgha_conf_get(const HaConf *conf, const char *name);

/* Whether the server takes it as the name of a setting. */
extern bool pgha_conf_name_valid(const char *name);

/* Append 'value', quoted so that the server reads back the same bytes. */
extern void pgha_conf_quote(HaBuffer *buffer, const char *value);

/*
 * A list of libraries, with pg_ha in it (once); malloc'd.  *bad: the server
 * would not take the list, so the result is pg_ha alone.
 */
extern char *pgha_conf_libraries_with(const char *list, bool *bad);
/* The list without pg_ha; *found tells whether it was there. */
extern char *pgha_conf_libraries_without(const char *list, bool *found);

/* The lines that pg_ha adds to a user's file lie between these. */
#define HA_CONF_BEGIN "# pg_ha begin"
#define HA_CONF_END "# pg_ha end"

/*
 * Append the text without the marked lines.  False with why: a begin without
 * an end.
 */
extern bool pgha_conf_unmarked(const char *text, size_t len, HaBuffer *buffer,
							   char *why);

#endif							/* PGHA_CONF_H */
