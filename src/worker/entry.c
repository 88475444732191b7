/*
 * entry.c
 *	  Loading the module: settings, hooks, and the worker's registration.
 *
 * In single-user mode and binary upgrade it defines its settings and does
 * nothing else: pg_rewind and pg_upgrade run the server that way.
 */
#include "postgres.h"

#include "fence.h"
#include "fmgr.h"
#include "gucs.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "shmem.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

/* the worker is started again so soon after it ended */
#define ENTRY_RESTART_S 1

static void
entry_register_worker(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	strlcpy(worker.bgw_name, "pg_ha worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_ha worker", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "pg_ha_worker", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pgha_worker_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_PostmasterStart;
	worker.bgw_restart_time = ENTRY_RESTART_S;
	RegisterBackgroundWorker(&worker);
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	pgha_gucs_define();
	if (!IsPostmasterEnvironment || IsBinaryUpgrade)
		return;
	pgha_shmem_install_hooks();
	pgha_fence_install_hooks();
	if (pgha_guc_scope[0] != '\0')
		entry_register_worker();
}
