/*
 * fence_probe.c
 *	  Moves the fence without Consul, and stops a backend where it hurts.
 *
 * A module for PgHa::Fence, preloaded before pg_ha so that its
 * callback runs after pg_ha's at the same event.  SIGSTOP stands for a machine
 * that stands still; the test continues the process when the lease is over.
 */
#include "postgres.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "worker/shmem.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

PG_FUNCTION_INFO_V1(probe_extend);
PG_FUNCTION_INFO_V1(probe_without_end);
PG_FUNCTION_INFO_V1(probe_committing);
PG_FUNCTION_INFO_V1(probe_stop);
PG_FUNCTION_INFO_V1(probe_shorten);
PG_FUNCTION_INFO_V1(probe_block_timer);
PG_FUNCTION_INFO_V1(probe_leader);

static char probe_where[16];

/* transactions that pass before it, that of probe_stop() itself for one */
static int	probe_skip;

static void
probe_reach(const char *where)
{
	if (strcmp(probe_where, where) != 0 || probe_skip-- > 0)
		return;
	probe_where[0] = '\0';
	kill(getpid(), SIGSTOP);
}

static void
probe_xact(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		probe_reach("checked");
	else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		probe_reach("committed");
}

static void *
probe_symbol(const char *name)
{
	return (void *) load_external_function("pg_ha", name, true, NULL);
}

/* The lease is valid for so many ms from now. */
Datum
probe_extend(PG_FUNCTION_ARGS)
{
	void		(*extend) (int64) = probe_symbol("pgha_fence_extend");
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	extend(now.tv_sec * INT64CONST(1000000000) + now.tv_nsec +
		   PG_GETARG_INT32(0) * INT64CONST(1000000));
	PG_RETURN_VOID();
}

/*
 * The lease ends so many ms from now although a later end was promised: what
 * pgha_fence_extend() never does.
 */
Datum
probe_shorten(PG_FUNCTION_ARGS)
{
	HaShmem    *shmem = *(HaShmem **) probe_symbol("pgha_shmem");
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	pg_atomic_write_u64(&shmem->deadline,
						now.tv_sec * UINT64CONST(1000000000) + now.tv_nsec +
						PG_GETARG_INT32(0) * INT64CONST(1000000));
	PG_RETURN_VOID();
}

/* Who leads, as far as this instance knows. */
Datum
probe_leader(PG_FUNCTION_ARGS)
{
	HaShmem    *shmem = *(HaShmem **) probe_symbol("pgha_shmem");

	LWLockAcquire(&shmem->lock, LW_EXCLUSIVE);
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(0), shmem->leader,
						   sizeof(shmem->leader));
	LWLockRelease(&shmem->lock);
	PG_RETURN_VOID();
}

/*
 * This session's timers come late from now on, as those of a machine that is
 * waking up may.
 */
Datum
probe_block_timer(PG_FUNCTION_ARGS)
{
	sigset_t	late;

	sigemptyset(&late);
	for (int signal_number = SIGRTMIN; signal_number <= SIGRTMAX; signal_number++)
		sigaddset(&late, signal_number);
	sigprocmask(SIG_BLOCK, &late, NULL);
	PG_RETURN_VOID();
}

Datum
probe_without_end(PG_FUNCTION_ARGS)
{
	void		(*set) (bool) = probe_symbol("pgha_fence_set_without_end");

	set(PG_GETARG_BOOL(0));
	PG_RETURN_VOID();
}

Datum
probe_committing(PG_FUNCTION_ARGS)
{
	uint32		(*committing) (void) = probe_symbol("pgha_fence_committing");

	PG_RETURN_INT32((int32) committing());
}

/* A transaction of this session stops there, once: the first after this. */
Datum
probe_stop(PG_FUNCTION_ARGS)
{
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(0), probe_where,
						   sizeof(probe_where));
	probe_skip = 1;
	PG_RETURN_VOID();
}

void
_PG_init(void)
{
	RegisterXactCallback(probe_xact, NULL);
}
