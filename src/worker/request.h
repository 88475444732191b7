/*
 * request.h
 *	  Requests of backends to the worker, and its answers.
 *
 * A backend claims a slot, leaves a JSON object in it, wakes the worker and
 * waits; the worker leaves its answer in the same place.  Either may end at any
 * time: a slot whose backend has gone is the worker's to free, and one that a
 * worker took and did not answer is answered by the next worker.
 *
 *		FREE -> CLAIMED -> POSTED -> TAKEN -> ANSWERED -> FREE
 *		                     `--------'--> ABANDONED ----^
 *
 * An answer is {"answer": ..., "notices": ["..."]} or {"error": {"sqlstate",
 * "message", "detail", "hint"}}.
 */
#ifndef PGHA_REQUEST_H
#define PGHA_REQUEST_H

#include "postgres.h"

#include "storage/condition_variable.h"

#define HA_REQUESTS 4

/* a configuration of 256 kB, escaped where it must be, and its answer */
#define HA_REQUEST_MAX (640 * 1024)

typedef enum HaRequestState
{
	HA_REQUEST_FREE,
	HA_REQUEST_CLAIMED,
	HA_REQUEST_POSTED,
	HA_REQUEST_TAKEN,
	HA_REQUEST_ANSWERED,
	HA_REQUEST_ABANDONED,
} HaRequestState;

/* All but text is under pgha_shmem->lock; text belongs to whose turn it is. */
typedef struct HaRequest
{
	HaRequestState state;
	pid_t		worker_pid;		/* who took it */
	ConditionVariable answered;
	uint32		len;
	char		text[HA_REQUEST_MAX];
} HaRequest;

extern PGDLLEXPORT HaRequest *pgha_requests;	/* HA_REQUESTS of them */

extern Size pgha_requests_size(void);
extern void pgha_requests_init(void);

/*
 * Have the worker carry out a request; returns the answer's JSON text,
 * palloc'd.  Raises what the worker answered as an error, and errors of its own
 * when no worker runs, all slots are in use, or timeout_ms has passed.
 */
extern char *pgha_command(const char *request, long timeout_ms);

#endif							/* PGHA_REQUEST_H */
