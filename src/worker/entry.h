/*
 * entry.h
 *	  How the module was loaded.
 */
#ifndef PGHA_ENTRY_H
#define PGHA_ENTRY_H

#include "postgres.h"

/*
 * Why no worker can be expected to run; HA_ENTRY_WORKER if one can.  Decided
 * once, in the postmaster, and inherited by its children.
 */
typedef enum HaEntry
{
	HA_ENTRY_NOT_PRELOADED,
	HA_ENTRY_INERT,				/* single-user mode or binary upgrade */
	HA_ENTRY_NOT_CONFIGURED,	/* pg_ha.scope is empty */
	HA_ENTRY_NO_SLOT,			/* max_worker_processes is used up */
	HA_ENTRY_WORKER,
} HaEntry;

extern HaEntry pgha_entry(void);

#endif							/* PGHA_ENTRY_H */
