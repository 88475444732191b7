/*
 * postmaster.h
 *	  The instance's processes: started, watched, stopped, proven gone.
 *
 * The postmaster is a direct child (or, after a launcher's restart, an adopted
 * process watched by its pidfd).  Between fork and exec it gets an open file
 * description of RUN/<name>.lock, flocked: every process of the instance
 * inherits it, so the lock is free exactly when all of them are gone.  The
 * launcher is a subreaper, so orphans become its children and can be killed
 * and reaped.  The launcher itself never keeps that descriptor open.
 */
#ifndef PGHA_POSTMASTER_H
#define PGHA_POSTMASTER_H

#include <sys/types.h>

#include "core/types.h"
#include "launcher/node.h"
#include "launcher/render.h"

typedef enum HaControlState
{
	HA_CONTROL_UNKNOWN,
	HA_CONTROL_SHUT_DOWN,
	HA_CONTROL_SHUT_DOWN_IN_RECOVERY,
	HA_CONTROL_SHUTTING_DOWN,
	HA_CONTROL_CRASH_RECOVERY,
	HA_CONTROL_ARCHIVE_RECOVERY,
	HA_CONTROL_IN_PRODUCTION,
} HaControlState;

/* What pg_control says. */
typedef struct HaControl
{
	bool		valid;			/* present and its CRC is right */
	bool		damaged;		/* it isn't: nothing can be started from it */
	uint64_t	sysid;
	HaControlState state;
	uint32_t	tli;			/* of the latest checkpoint */
	HaLsn		checkpoint;		/* its record's position */
	HaLsn		redo;
	uint32_t	min_recovery_tli;
	HaLsn		min_recovery;
	bool		checksums;
	bool		wal_log_hints;
	uint32_t	segment_size;
	HaControlSettings settings;
	int			version;		/* PG_VERSION's major */
} HaControl;

/*
 * A directory's state without a postmaster: EMPTY, HALF_DONE (the mark in
 * node.json, or pg_control is damaged in a directory that was the cluster's,
 * and so can be copied anew), DOWN, CRASHED; UNKNOWN with why: not a data directory of this
 * version, or unreadable.  A fresh base backup is CRASHED too: pg_control is a
 * running server's.  Remains of an initdb that did not finish are EMPTY.
 */
extern HaInstance pgha_directory_state(const HaNode *node, HaControl *control,
									   char *why);

typedef struct HaPostmaster
{
	pid_t		pid;			/* 0 = none */
	int			pidfd;			/* -1 = none; in the poll set */
	bool		child;			/* ours by fork, not adopted */
	HaTime		started_at;
	int			exit_status;	/* of the last one, as of waitpid; -1 unknown */
} HaPostmaster;

extern void pgha_postmaster_init(HaPostmaster *postmaster);

/* Become a subreaper; take the launcher's own lock so that one runs per node. */
extern bool pgha_postmaster_prepare(const HaNode *node, char *why);

/*
 * Start `postgres`.  as_primary removes standby.signal, else it is created.
 * Refused when the directory has the mark of a job that did not finish, when
 * the lock is held or postmaster.pid names a live process.
 */
extern bool pgha_postmaster_start(HaPostmaster *postmaster, const HaNode *node,
								  bool as_primary, char *why);
/* A running instance found at start: pid from postmaster.pid, lock held. */
extern bool pgha_postmaster_adopt(HaPostmaster *postmaster, const HaNode *node,
								  char *why);
/*
 * True, once, when it has ended; exit_status is set (reaps it if it is a child)
 * and pid is 0 again.  False when there is none.
 */
extern bool pgha_postmaster_ended(HaPostmaster *postmaster);
extern void pgha_postmaster_signal(const HaPostmaster *postmaster, int signo);
/* Stopped by a signal, or in a wait that nothing interrupts. */
extern bool pgha_postmaster_stuck(const HaPostmaster *postmaster);

extern bool pgha_postmaster_promote(const HaPostmaster *postmaster,
									const HaNode *node, char *why);

/* Whether any process still holds the instance's lock. */
extern bool pgha_instance_gone(const HaNode *node);
/*
 * SIGKILL every process that holds the instance's lock or is a child of the
 * launcher but no job's (by /proc/<pid>/fd and the subreaper's children), a
 * running postmaster among them.  Returns how many were signalled; call again
 * until pgha_instance_gone.  Reaping is left to pgha_postmaster_ended and
 * pgha_reap_orphans; a zombie holds no lock.  A job that writes the data
 * directory holds the lock too, and is killed: don't call it while one runs.
 */
extern int	pgha_instance_kill(const HaNode *node);
/* Reap orphans (never the postmaster or a job); call on SIGCHLD. */
extern void pgha_reap_orphans(const HaPostmaster *postmaster, pid_t job);

#endif							/* PGHA_POSTMASTER_H */
