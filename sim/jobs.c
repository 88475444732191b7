/*
 * jobs.c
 *	  Numbered jobs, shared by processes that take the next one each.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs in the child; `next` is shared. */
static void
jobs_work(int njobs, int *next, SimOutcome *outcomes, SimJob job, void *data)
{
	int			number;

	while ((number = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < njobs)
		job(number, &outcomes[number], data);
}

/* The outcomes by job, or NULL; whoever calls ends soon and keeps them. */
SimOutcome *
sim_jobs(int njobs, int nprocs, SimJob job, void *data)
{
	size_t		size = sizeof(SimOutcome) * (size_t) njobs + sizeof(int);
	SimOutcome *outcomes = mmap(NULL, size, PROT_READ | PROT_WRITE,
								MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int		   *next;
	bool		failed = false;

	if (outcomes == MAP_FAILED)
		return NULL;
	next = (int *) (outcomes + njobs);
	fflush(NULL);
	for (int i = 0; i < nprocs; i++)
	{
		pid_t		pid = fork();

		if (pid < 0)
			failed = true;
		if (pid != 0)
			continue;
		jobs_work(njobs, next, outcomes, job, data);
		fflush(NULL);
		_exit(0);
	}
	for (int i = 0; i < nprocs; i++)
	{
		int			status;

		if (wait(&status) > 0 && status != 0)
			failed = true;
	}
	return failed ? NULL : outcomes;
}
