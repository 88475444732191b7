/*
 * types.h
 *	  Words and limits that every part of pg_ha shares.
 *
 * Plain C: no PostgreSQL header is included here or anywhere else in src/core
 * and src/dcs, because the background worker and the launcher compile the
 * same objects.
 *
 * Times are nanoseconds of CLOCK_BOOTTIME (HaTime): that clock counts the time
 * a machine is suspended and never steps.  Durations are milliseconds and say
 * so in their names.
 */
#ifndef PGHA_TYPES_H
#define PGHA_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* a point on CLOCK_BOOTTIME in ns; 0 = never */
typedef int64_t HaTime;

/* a WAL position in bytes, as PostgreSQL's XLogRecPtr; 0 = unknown */
typedef uint64_t HaLsn;

#define HA_NS_PER_MS INT64_C(1000000)
#define HA_TIME_NEVER INT64_MAX

/* limits: everything that arrives from outside is cut off at one of these */
#define HA_NAME_MAX 63			/* a member's or scope's name */
#define HA_SESSION_MAX 63		/* a Consul session id is 36 characters */
#define HA_ADDRESS_MAX 255		/* host:port, a URL of an endpoint */
#define HA_MEMBERS_MAX 32
#define HA_PENDING_MAX 1023		/* settings that wait for a restart, as JSON */
#define HA_JOB_ID_MAX 31
#define HA_JOBS_MAX 64			/* read; older ones are cleared away */
#define HA_REFUSAL_MAX 127		/* what a member's launcher answered, cut off */
#define HA_HISTORY_MAX 256		/* timelines kept; older ones are dropped */

typedef enum HaRole
{
	HA_ROLE_UNKNOWN,
	HA_ROLE_PRIMARY,
	HA_ROLE_STANDBY,
} HaRole;

/* What a PostgreSQL instance's data directory or processes are doing. */
typedef enum HaInstance
{
	HA_INSTANCE_UNKNOWN,		/* not looked at yet */
	HA_INSTANCE_EMPTY,			/* the data directory is missing or empty */
	HA_INSTANCE_HALF_DONE,		/* a clone or rewind did not finish */
	HA_INSTANCE_DOWN,			/* shut down cleanly, as pg_control says */
	HA_INSTANCE_CRASHED,		/* no process is left, pg_control says running */
	HA_INSTANCE_DYING,			/* the postmaster is gone, processes are left */
	HA_INSTANCE_STARTING,		/* the postmaster runs, no worker answers yet */
	HA_INSTANCE_RUNNING,		/* a worker answers */
	HA_INSTANCE_STOPPING,		/* asked to stop, processes are left */
	HA_INSTANCE_BUSY,			/* a job (initdb, clone, rewind) is at work */
} HaInstance;

/* Which process looks at the world. */
typedef enum HaBrainKind
{
	HA_BRAIN_WORKER,
	HA_BRAIN_LAUNCHER,
} HaBrainKind;

#endif							/* PGHA_TYPES_H */
