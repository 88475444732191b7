/*
 * fence.h
 *	  What refuses commits without a lease, in every backend.
 */
#ifndef PGHA_FENCE_H
#define PGHA_FENCE_H

#include "postgres.h"

#include "core/types.h"

extern void pgha_fence_install_hooks(void);

/* For backends. */
extern PGDLLEXPORT bool pgha_fence_open(void);	/* a commit would pass now */
extern PGDLLEXPORT bool pgha_fence_active(void);	/* configured, and in a real server */

/*
 * For the worker.  extend only ever moves the deadline forward and wakes those
 * who wait; without_end is the paused cluster's open fence.
 */
extern PGDLLEXPORT void pgha_fence_extend(HaTime deadline);
extern PGDLLEXPORT void pgha_fence_set_without_end(bool open);
extern PGDLLEXPORT bool pgha_fence_without_end(void);

/*
 * Commits that passed an open-without-end fence and whose client was not told
 * yet; and the end of their sessions, by SIGTERM.
 */
extern PGDLLEXPORT uint32 pgha_fence_committing(void);
extern PGDLLEXPORT void pgha_fence_end_committing(void);

#endif							/* PGHA_FENCE_H */
