/*
 * election.h
 *	  Who should lead next.
 *
 * Candidates rank by (timeline, position, failover_priority, name).  A
 * candidate stops its receiver only after the lease is over, then publishes
 * its ballot; only ballots that saw the same (term, seq) as the reader, or a
 * later one, count.  Nothing waits for a member without a bound.
 */
#ifndef PGHA_ELECTION_H
#define PGHA_ELECTION_H

#include "core/view.h"

/* how long the best candidate waits for ballots that are missing */
#define HA_BALLOT_WAIT_MS 300

/* how long each further candidate leaves to the one ranked before it */
#define HA_TURN_WAIT_MS 1000

/* Why this member can't be elected; HA_CANDIDATE_YES if it can. */
typedef enum HaCandidacy
{
	HA_CANDIDATE_YES,
	HA_CANDIDATE_NO_LAUNCHER,
	HA_CANDIDATE_NOFAILOVER,
	HA_CANDIDATE_NOT_CONSISTENT,
	HA_CANDIDATE_REPLAY_PAUSED,
	HA_CANDIDATE_FOREIGN,		/* wrong system identifier */
	HA_CANDIDATE_TIMELINE,		/* lacks the cluster's last timeline */
	HA_CANDIDATE_LAG,			/* beyond maximum_lag_on_failover */
	HA_CANDIDATE_POSITION,		/* own position is not known */
} HaCandidacy;

typedef struct HaElection
{
	int			ahead;			/* counted ballots that rank before ours */
	int			missing;		/* ballots expected and not there */
	HaTime		turn;			/* when we may take over at the latest */
} HaElection;

extern HaCandidacy pgha_election_candidacy(const HaView *view);
extern const char *pgha_candidacy_reason(HaCandidacy candidacy);

/* Rank our published ballot among those that count. */
extern HaElection pgha_election_count(const HaView *view);

#endif							/* PGHA_ELECTION_H */
