/*
 * worker_catalog.h
 *	  The optional second worker: what needs catalogs.
 *
 * A dynamic background worker with a database connection (`postgres`), started
 * by the main worker when the instance is primary and the fence is open.  It
 * creates what is missing (replication and rewind roles, grants, extension)
 * and ends.  It may fail freely: it is started again later.
 */
#ifndef PGHA_WORKER_CATALOG_H
#define PGHA_WORKER_CATALOG_H

#include "postgres.h"

/*
 * Does nothing while one is at work.  False if no worker slot is free;
 * pgha_shmem->catalog_done tells success.
 */
extern bool pgha_catalog_start(void);

extern PGDLLEXPORT void pgha_catalog_main(Datum arg);

#endif							/* PGHA_WORKER_CATALOG_H */
