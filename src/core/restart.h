/*
 * restart.h
 *	  A job that the leader drives: restarts, one member after the other.
 *
 * Its document is in the cluster's folder (dcs/documents.h), so that whoever
 * leads goes on with it.  Standbys come first, the leader last; each is awaited
 * healthy before the next; a member that does not come back healthy ends the
 * restart.
 */
#ifndef PGHA_RESTART_H
#define PGHA_RESTART_H

#include "core/types.h"

typedef enum HaEntryState
{
	HA_ENTRY_TODO,
	HA_ENTRY_ASKED,				/* its launcher is to restart it */
	HA_ENTRY_DONE,
	HA_ENTRY_SKIPPED,			/* a condition of the job does not hold */
} HaEntryState;

typedef struct HaRestartEntry
{
	char		member[HA_NAME_MAX + 1];
	HaEntryState state;
	uint64_t	before;			/* asked: when its postmaster had started */
	int			rounds;			/* how often it was restarted */
} HaRestartEntry;

typedef struct HaRestart
{
	bool		present;
	char		id[HA_JOB_ID_MAX + 1];
	char		asked_by[HA_NAME_MAX + 1];
	uint64_t	index;			/* of its key */
	HaTime		seen_at;		/* when this process read it first */
	int64_t		scheduled_ms;	/* ms since the epoch; 0 = at once */
	int64_t		timeout_ms;		/* for each member to come back */
	bool		pending_only;
	HaRole		role;			/* only members of that; unknown = all */
	int			version_below;	/* only older servers, as 150006; 0 = all */
	int			nentries;
	HaRestartEntry	entries[HA_MEMBERS_MAX];

	/* what this process knows besides */
	HaTime		asked_at;		/* the entry asked was seen so first */
	bool		told;			/* its launcher was told by this process */
	char		refusal[HA_REFUSAL_MAX];	/* what it said instead of yes */
} HaRestart;

/* How a job ended that did not end well. */
typedef enum HaRestartFault
{
	HA_RESTART_FINE,
	HA_RESTART_REFUSED,				/* the member's launcher says no, or nothing */
	HA_RESTART_NOT_BACK,			/* in time */
	HA_RESTART_FELL_BACK,			/* to its last configuration that worked */
	HA_RESTART_LATE,
	HA_RESTART_GONE,				/* the member has no key any more */
} HaRestartFault;

struct HaView;

/* The entry that was asked and is not back, or NULL. */
extern const HaRestartEntry *pgha_restart_asked(const HaRestart *restart);

/* The entry to be restarted next, or skipped; NULL: none. */
extern const HaRestartEntry *pgha_restart_next(const struct HaView *view,
									   const HaRestart *restart);

/* Whether a condition of the job leaves an entry out, now. */
extern bool pgha_restart_skips(const struct HaView *view, const HaRestart *restart,
						   const HaRestartEntry *entry);

/* Whether an entry that was asked runs anew and is healthy. */
extern bool pgha_restart_is_back(const struct HaView *view,
							 const HaRestartEntry *entry);

/* Whether standbys may still say that they need another restart. */
extern bool pgha_restart_settles(const struct HaView *view,
								 const HaRestart *restart);

/* What ends the job early. */
extern HaRestartFault pgha_restart_check(const struct HaView *view,
								 const HaRestart *restart);

extern bool pgha_restart_is_due(const struct HaView *view, const HaRestart *restart);
extern const char *pgha_restart_fault_text(HaRestartFault fault);

#endif							/* PGHA_RESTART_H */
