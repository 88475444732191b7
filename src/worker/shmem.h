/*
 * shmem.h
 *	  What the worker and the backends share: values only, no pointers, no fds.
 *
 * The fence's deadline is an atomic that only grows; only the worker writes
 * it, from answers to its own requests.  A crash restart makes this memory new
 * and the fence closed.
 */
#ifndef PGHA_SHMEM_H
#define PGHA_SHMEM_H

#include "postgres.h"

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "core/types.h"

#define HA_SHMEM_VERSION 3
#define HA_SHMEM_DOCUMENT_MAX (128 * 1024)

/* JSON documents the worker publishes for the SQL functions */
typedef enum HaDocument
{
	HA_DOCUMENT_STATUS,			/* one object */
	HA_DOCUMENT_MEMBERS,		/* array of objects: columns of pg_ha_members */
	HA_DOCUMENT_HISTORY,		/* array: columns of pg_ha_history */
	HA_DOCUMENT_JOBS,			/* array: columns of pg_ha_jobs */
	HA_DOCUMENTS,
} HaDocument;

typedef struct HaShmem
{
	uint32		version;

	/* the fence */
	pg_atomic_uint64 deadline;	/* CLOCK_BOOTTIME ns; 0 = closed */
	pg_atomic_uint32 open_without_end;	/* paused: no deadline at all */
	pg_atomic_uint32 committing;	/* commits let through while so, see permits */
	pg_atomic_uint64 refused;	/* commits refused since start */
	pg_atomic_uint64 waited;	/* commits that waited */
	pg_atomic_uint64 cut;		/* connections ended instead of acknowledged */
	ConditionVariable deadline_moved;

	/* the rest is under the lock */
	LWLock		lock;
	char		leader[HA_NAME_MAX + 1];	/* last known, for messages */
	pid_t		worker_pid;
	int			worker_procno;	/* of its latch */
	bool		catalog_done;	/* roles and extension were seen to */
	uint32		document_len[HA_DOCUMENTS];
	char		documents[HA_DOCUMENTS][HA_SHMEM_DOCUMENT_MAX];

	/* by backend id - 1: who is counted in `committing`; 0 = nobody */
	volatile pid_t permits[FLEXIBLE_ARRAY_MEMBER];
} HaShmem;

extern PGDLLEXPORT HaShmem *pgha_shmem;

extern void pgha_shmem_install_hooks(void);

/* Replace a document; one too long is refused (false) and the old one stays. */
extern PGDLLEXPORT bool pgha_shmem_publish(HaDocument which, const char *text, Size len);

/* palloc'd copy; NULL = none yet */
extern PGDLLEXPORT char *pgha_shmem_read(HaDocument which);

#endif							/* PGHA_SHMEM_H */
