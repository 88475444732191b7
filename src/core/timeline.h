/*
 * timeline.h
 *	  Timelines: where one forked off another, and who can follow whom.
 *
 * The history of a cluster is the list of its forks, oldest first, as the
 * `history` key and PostgreSQL's .history files hold it: timeline `tli` ended
 * at `end`, where the next one began.
 */
#ifndef PGHA_TIMELINE_H
#define PGHA_TIMELINE_H

#include "core/types.h"

typedef struct HaFork
{
	uint32_t	tli;
	HaLsn		end;
} HaFork;

typedef struct HaTimelines
{
	int			nforks;
	uint32_t	known;			/* a timeline there is beyond the forks; or 0 */
	HaFork		forks[HA_HISTORY_MAX];
} HaTimelines;

typedef enum HaKinship
{
	HA_KIN_UNKNOWN,				/* own position or timeline is not known */
	HA_KIN_SAME,				/* on the cluster's current timeline */
	HA_KIN_BEHIND,				/* on an ancestor, not past its end: follow */
	HA_KIN_DIVERGED,			/* past the fork, or on a foreign timeline */
	HA_KIN_FOREIGN,				/* on a number that means another timeline here */
} HaKinship;

/*
 * The current timeline of a history: the one after the last fork (1 if there is
 * none), or `known` where PostgreSQL left numbers out.
 */
extern uint32_t pgha_timelines_current(const HaTimelines *history);

/* How a copy of the data whose WAL ends at (tli, lsn) relates to a history. */
extern HaKinship pgha_timelines_kinship(const HaTimelines *history,
										uint32_t tli, HaLsn lsn);

/*
 * Whether timeline tli, which began as `own` says, is another one than the
 * history's of that number, or of its future.  A history that ends early, or
 * that lost its oldest forks, proves nothing.
 */
extern bool pgha_timelines_foreign(const HaTimelines *own, uint32_t tli,
								   const HaTimelines *history);

/*
 * Parse the text of a PostgreSQL .history file ("tli<TAB>X/X<TAB>reason").
 * Returns false, with nothing usable in *history, on a malformed line or more
 * than HA_HISTORY_MAX forks.
 */
extern bool pgha_timelines_parse(const char *text, HaTimelines *history);

#endif							/* PGHA_TIMELINE_H */
