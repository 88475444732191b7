/*
 * entry.c
 *	  Loading the module: settings, hooks, and the worker's registration.
 *
 * In single-user mode and binary upgrade it defines its settings and does
 * nothing else: pg_rewind and pg_upgrade run the server that way.  Loaded by a
 * single session (CREATE EXTENSION where the library is not preloaded) it does
 * not even that; the SQL functions then say so.
 */
#include "postgres.h"

#include "compat.h"
#include "entry.h"
#include "fence.h"
#include "fmgr.h"
#include "gucs.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "shmem.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

#define ENTRY_WORKER_NAME "pg_ha worker"

/* the worker is started again so soon after it ended */
#define ENTRY_RESTART_S 1

static HaEntry entry = HA_ENTRY_NOT_PRELOADED;

HaEntry
pgha_entry(void)
{
	return entry;
}

/*
 * When max_worker_processes is used up, RegisterBackgroundWorker only logs;
 * the postmaster's list tells.
 */
static bool
entry_is_registered(void)
{
	HaWorkerIter iter;

	pgha_foreach_worker(iter)
	{
		if (strcmp(pgha_worker_of(iter)->rw_worker.bgw_name,
				   ENTRY_WORKER_NAME) == 0)
			return true;
	}
	return false;
}

static HaEntry
entry_register_worker(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	strlcpy(worker.bgw_name, ENTRY_WORKER_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_type, ENTRY_WORKER_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "pg_ha_worker", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pgha_worker_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_PostmasterStart;
	worker.bgw_restart_time = ENTRY_RESTART_S;
	RegisterBackgroundWorker(&worker);
	if (entry_is_registered())
		return HA_ENTRY_WORKER;
	ereport(WARNING,
			(errmsg("pg_ha has no worker: max_worker_processes is used up"),
			 errdetail("Commits are refused until a worker runs."),
			 errhint("Raise max_worker_processes and restart.")));
	return HA_ENTRY_NO_SLOT;
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	pgha_gucs_define();
	entry = HA_ENTRY_INERT;
	if (!IsPostmasterEnvironment || IsBinaryUpgrade)
		return;
	pgha_shmem_install_hooks();
	pgha_fence_install_hooks();
	entry = pgha_guc_scope[0] == '\0' ? HA_ENTRY_NOT_CONFIGURED :
		entry_register_worker();
}
