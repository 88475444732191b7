/*
 * render.h
 *	  The configuration files the server starts with.
 *
 *		STATE/postgresql.conf	include of the user's own file (its data
 *								directory's, or config_directory's); cluster
 *								settings; node settings; pg_ha's owned ones;
 *								include of follow.conf
 *		STATE/pg_hba.conf		pg_ha's replication and rewind lines, then the
 *								cluster's list, else the user's own file
 *		STATE/pg_ident.conf
 *		STATE/postgresql.good.conf	the last one that worked
 *
 * Precedence: command line (owned) > ALTER SYSTEM > node > cluster > the
 * user's file.  Files are replaced whole.
 */
#ifndef PGHA_RENDER_H
#define PGHA_RENDER_H

#include "core/owned.h"
#include "dcs/documents.h"
#include "launcher/node.h"

/* An entry of the cluster's parameters that was left out, and why. */
typedef void (*HaRenderReport) (void *arg, const char *name, const char *why);

/*
 * Write the files.  config may be NULL (not known yet: the copy of the last
 * known one in STATE/config.json is used if there is one).  Owned settings and
 * names the server is known to refuse are left out and reported.  critical:
 * each of the five is rendered as the maximum of the configured value and
 * this, unless it is NULL (a primary that may shrink).
 */
extern bool pgha_render(const HaNode *node, const HaConfigDoc *config,
						const HaControlSettings *critical,
						HaRenderReport report, void *arg, char *why);

/*
 * Ask the server binary itself (postgres -C) whether it accepts the rendered
 * file; entries it refuses are left out one by one, each reported, and the
 * file rendered again.  If none of this helps, the last good file is put in
 * place.  Blocks for some 20 ms per try: for start, not for the loop.
 */
extern bool pgha_render_verified(const HaNode *node, const HaConfigDoc *config,
								 const HaControlSettings *critical,
								 HaRenderReport report, void *arg, char *why);

/* The rendered file worked: keep it as the one to fall back to. */
extern void pgha_render_worked(const HaNode *node);
extern bool pgha_render_fall_back(const HaNode *node, char *why);

/* Command-line arguments of the server; NULL-terminated, malloc'd. */
extern char **pgha_render_argv(const HaNode *node);

/*
 * At adoption and after a clone: the file a plain start would read (the
 * config_directory's or the data directory's postgresql.conf) gets the library
 * and pg_ha.managed = on in marked lines; detach takes them out.
 */
extern bool pgha_render_mark_plain(const HaNode *node, char *why);
extern bool pgha_render_unmark_plain(const HaNode *node, char *why);

/* Lines pg_ha owns are taken out of postgresql.auto.conf before a start. */
extern bool pgha_render_strip_auto_conf(const HaNode *node,
										HaRenderReport report, void *arg,
										char *why);

/* conninfo of a member for streaming, as `user`; malloc'd */
extern char *pgha_render_conninfo(const HaNode *node, const char *conn_url,
								  const char *user, const char *dbname);

/* The rules of an existing server's hba file, as a JSON array of lines. */
extern json_t *pgha_render_adopted_hba(const HaNode *node);

#endif							/* PGHA_RENDER_H */
