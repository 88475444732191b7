/*
 * owned.h
 *	  Settings of PostgreSQL that pg_ha decides on by itself.
 *
 * The launcher keeps them out of what it renders from cluster and node
 * settings and strips them from postgresql.auto.conf; the worker refuses ALTER
 * SYSTEM on them.  Names are compared without regard to case.
 */
#ifndef PGHA_OWNED_H
#define PGHA_OWNED_H

#include "core/types.h"

typedef enum HaOwner
{
	HA_OWNER_USER,				/* not owned */
	HA_OWNER_COMMAND_LINE,		/* said on the server's command line */
	HA_OWNER_FILE,				/* said in the rendered file or follow.conf */
	HA_OWNER_NODE,				/* pg_ha's own, or a place: node settings */
} HaOwner;

extern HaOwner pgha_owner(const char *name);

/*
 * The standby-critical five: cluster and node may set them, each member runs
 * with the maximum of that and what its pg_control needs; not for ALTER SYSTEM.
 */
extern bool pgha_owned_critical(const char *name);

/* The values of these five: of a running server, or in a pg_control. */
#define HA_CRITICALS 5

typedef struct HaControlSettings
{
	int			max_connections;	/* all: 0 or less = not known */
	int			max_worker_processes;
	int			max_wal_senders;
	int			max_prepared_xacts;
	int			max_locks_per_xact;
} HaControlSettings;

extern const char *pgha_critical_name(int which);
extern int *pgha_critical(HaControlSettings *settings, int which);

/* Raise each value to that of `least`. */
extern void pgha_critical_raise(HaControlSettings *settings,
								const HaControlSettings *least);

/* Why a setting is owned and what to do instead; NULL if it isn't. */
extern const char *pgha_owned_why(const char *name);

#endif							/* PGHA_OWNED_H */
