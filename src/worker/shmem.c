/*
 * shmem.c
 *	  The shared memory of the worker and the backends.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "request.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

HaShmem    *pgha_shmem = NULL;

static shmem_request_hook_type shmem_prev_request = NULL;
static shmem_startup_hook_type shmem_prev_startup = NULL;

static Size
shmem_size(void)
{
	return add_size(offsetof(HaShmem, permits),
					mul_size(MaxBackends, sizeof(pid_t)));
}

static void
shmem_request(void)
{
	if (shmem_prev_request)
		shmem_prev_request();
	RequestAddinShmemSpace(MAXALIGN(shmem_size()));
	RequestAddinShmemSpace(MAXALIGN(pgha_requests_size()));
	RequestNamedLWLockTranche("pg_ha", 1);
}

static void
shmem_startup(void)
{
	bool		found;

	if (shmem_prev_startup)
		shmem_prev_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	pgha_shmem = ShmemInitStruct("pg_ha", shmem_size(), &found);
	if (!found)
	{
		memset(pgha_shmem, 0, shmem_size());
		pgha_shmem->version = HA_SHMEM_VERSION;
		pg_atomic_init_u64(&pgha_shmem->deadline, 0);
		pg_atomic_init_u32(&pgha_shmem->open_without_end, 0);
		pg_atomic_init_u32(&pgha_shmem->committing, 0);
		pg_atomic_init_u64(&pgha_shmem->refused, 0);
		pg_atomic_init_u64(&pgha_shmem->waited, 0);
		pg_atomic_init_u64(&pgha_shmem->cut, 0);
		ConditionVariableInit(&pgha_shmem->deadline_moved);
		LWLockInitialize(&pgha_shmem->lock,
						 GetNamedLWLockTranche("pg_ha")->lock.tranche);
	}
	pgha_requests_init();
	LWLockRelease(AddinShmemInitLock);
}

void
pgha_shmem_install_hooks(void)
{
	shmem_prev_request = shmem_request_hook;
	shmem_request_hook = shmem_request;
	shmem_prev_startup = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
pgha_shmem_publish(HaDocument which, const char *text, Size len)
{
	if (len >= HA_SHMEM_DOCUMENT_MAX)
		return false;
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	memcpy(pgha_shmem->documents[which], text, len);
	pgha_shmem->document_len[which] = (uint32) len;
	LWLockRelease(&pgha_shmem->lock);
	return true;
}

char *
pgha_shmem_read(HaDocument which)
{
	char	   *copy;
	uint32		len;

	if (pgha_shmem == NULL)
		return NULL;
	copy = palloc(HA_SHMEM_DOCUMENT_MAX);
	LWLockAcquire(&pgha_shmem->lock, LW_SHARED);
	len = pgha_shmem->document_len[which];
	memcpy(copy, pgha_shmem->documents[which], len);
	LWLockRelease(&pgha_shmem->lock);
	copy[len] = '\0';
	if (len > 0)
		return copy;
	pfree(copy);
	return NULL;
}
