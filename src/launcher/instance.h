/*
 * instance.h
 *	  The instance's lock and processes; for postmaster.c and the jobs.
 */
#ifndef PGHA_INSTANCE_H
#define PGHA_INSTANCE_H

#include <limits.h>
#include <sys/types.h>

#include "launcher/node.h"

/* What postmaster.pid says; a stale one is told from a true one by others. */
typedef struct HaPidFile
{
	bool		present;
	pid_t		pid;			/* negative: a single-user server */
	unsigned long shm_key;		/* 0 = not there (yet) */
	long		shm_id;
	char		socket_lock[PATH_MAX];	/* the first socket's; "" = none */
} HaPidFile;

extern void pgha_instance_lock_path(const HaNode *node, char path[PATH_MAX]);
extern bool pgha_instance_read_pid_file(const HaNode *node, HaPidFile *file,
										char *why);
/* The pid a lock file of PostgreSQL begins with; 0 = no such file. */
extern pid_t pgha_instance_lock_file_pid(const char *path);
/* Whether the lock is held at all; true if that can't be found out. */
extern bool pgha_instance_locked(const HaNode *node);
/* Whether this process holds the lock's open file. */
extern bool pgha_instance_holds_lock(const HaNode *node, pid_t pid);
/* Whether a process with this pid is alive and has DATADIR as its directory. */
extern bool pgha_instance_works_in(const HaNode *node, pid_t pid);

/*
 * Whether a program may be started on the data directory: no process of an
 * instance is left, a postmaster.pid that is in the way is removed.
 */
extern bool pgha_instance_ready(const HaNode *node, char *why);

#endif							/* PGHA_INSTANCE_H */
