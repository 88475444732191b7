/*
 * spawn.h
 *	  fork and exec as the launcher wants them for every child.
 *
 * A child is a session of its own (a ^C at the terminal is the launcher's to
 * act on), has no descriptors but its standard ones and the lock, default
 * signal handling and an environment without what would lead libpq or the
 * server astray (PGPORT, PGSERVICE, NOTIFY_SOCKET, ...).
 */
#ifndef PGHA_SPAWN_H
#define PGHA_SPAWN_H

#include <sys/types.h>

#include "core/types.h"

/*
 * Where a child finds the lock's open file: a number that neither PostgreSQL,
 * which takes the lowest free ones, nor shell scripts (10 and up, 200 and 255
 * by custom) would put something else on.
 */
#define HA_LOCK_FD 97

typedef struct HaSpawn
{
	const char *const *argv;	/* [0] is the program's path */
	const char *const *env;		/* "NAME=value" to be added; NULL = none */
	int			stdin_fd;		/* -1 = /dev/null */
	int			stdout_fd;		/* -1 = the launcher's own */
	int			stderr_fd;
	const char *lock_file;		/* it and all its children hold its lock */
	bool		ends_with_launcher; /* SIGKILL when the launcher dies */
} HaSpawn;

/* The pid, with *pidfd open; 0 with why set. */
extern pid_t pgha_spawn(const HaSpawn *spawn, int *pidfd, char *why);
extern int	pgha_pidfd_open(pid_t pid);
extern int	pgha_pidfd_signal(int pidfd, int signo);

#endif							/* PGHA_SPAWN_H */
