/*
 * render_private.h
 *	  What the parts of rendering share.
 *
 * Private to render*.c: render.c makes the files, render_settings.c collects
 * what goes into postgresql.conf, render_hba.c the rules, render_verify.c asks
 * the server, render_plain.c changes files that are the user's.
 */
#ifndef PGHA_RENDER_PRIVATE_H
#define PGHA_RENDER_PRIVATE_H

#include <limits.h>

#include "launcher/conf.h"
#include "launcher/render.h"

typedef enum HaRenderSource
{
	HA_RENDER_CLUSTER,
	HA_RENDER_NODE,
} HaRenderSource;

typedef struct HaRenderEntry
{
	HaRenderSource source;
	char	   *name;
	char	   *value;
	int			line;			/* in the rendered file */
	bool		refused;		/* by the server: left out */
} HaRenderEntry;

typedef struct HaRendering
{
	const HaNode *node;
	const HaConfigDoc *config;	/* what was given, or what was kept, or NULL */
	HaConfigDoc kept;			/* of STATE/config.json */
	const HaControlSettings *critical;
	HaRenderReport report;
	void	   *arg;

	HaConf		user;			/* the user's own file, with all it includes */
	char		user_file[PATH_MAX];	/* "" = there is none */
	int			nentries;
	HaRenderEntry *entries;
} HaRendering;

/* DIR/name; false with why: too long */
extern bool pgha_render_path(char path[PATH_MAX], const char *directory,
							 const char *name, char *why);

/* The user's own file (it may be absent): config_directory's, or the data's. */
extern bool pgha_render_user_file(const HaNode *node, char path[PATH_MAX],
								  char *why);

/* Leaving a setting out, said. */
extern void pgha_render_left_out(const HaRendering *rendering,
								 const char *name, const char *why);

/* Collect everything; false with why: the user's file can't be read. */
extern bool pgha_rendering_init(HaRendering *rendering, char *why);
extern void pgha_rendering_release(HaRendering *rendering);

/* The value in force before pg_ha's own lines; NULL = the server's default. */
extern const char *pgha_rendering_effective(const HaRendering *rendering,
											const char *name);

/* The text of postgresql.conf; sets the entries' lines. */
extern void pgha_rendering_settings(HaRendering *rendering, HaBuffer *buffer);

extern bool pgha_rendering_hba(const HaRendering *rendering, HaBuffer *buffer,
							   char *why);
extern bool pgha_rendering_ident(const HaRendering *rendering,
								 HaBuffer *buffer, char *why);

/* Settings of the command line, which no file may contradict. */
typedef void (*HaOwnedSetting) (void *arg, const char *name,
								const char *value);
extern void pgha_render_owned(const HaNode *node, HaOwnedSetting print,
							  void *arg);

/* Write the files. */
extern bool pgha_rendering_write(HaRendering *rendering, char *why);

/* Replace a file unless it has that content already. */
extern bool pgha_render_replace(const char *path, const HaBuffer *text,
								char *why);

#endif							/* PGHA_RENDER_PRIVATE_H */
