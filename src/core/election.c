/*
 * election.c
 *	  Who should lead next.
 */
#include "core/election.h"

#include <string.h>

HaCandidacy
pgha_election_candidacy(const HaView *view)
{
	if (!view->launcher_present)
		return HA_CANDIDATE_NO_LAUNCHER;
	if (view->nofailover)
		return HA_CANDIDATE_NOFAILOVER;
	if (view->initialize_sysid != 0 && view->sysid != view->initialize_sysid)
		return HA_CANDIDATE_FOREIGN;
	if (view->role == HA_ROLE_STANDBY && !view->consistent)
		return HA_CANDIDATE_NOT_CONSISTENT;
	if (view->replay_paused)
		return HA_CANDIDATE_REPLAY_PAUSED;
	if (view->tli == 0 || view->lsn == 0)
		return HA_CANDIDATE_POSITION;
	if (!view->history_known ||
		pgha_timelines_current(&view->history) > view->tli)
		return HA_CANDIDATE_TIMELINE;
	if (view->optime > view->lsn &&
		view->optime - view->lsn >
		(HaLsn) view->timeouts.maximum_lag_on_failover)
		return HA_CANDIDATE_LAG;
	return HA_CANDIDATE_YES;
}

const char *
pgha_candidacy_reason(HaCandidacy candidacy)
{
	switch (candidacy)
	{
		case HA_CANDIDATE_YES:
			return "is a candidate";
		case HA_CANDIDATE_NO_LAUNCHER:
			return "its launcher is not running";
		case HA_CANDIDATE_NOFAILOVER:
			return "it is tagged nofailover";
		case HA_CANDIDATE_NOT_CONSISTENT:
			return "its recovery has not reached consistency";
		case HA_CANDIDATE_REPLAY_PAUSED:
			return "its replay is paused";
		case HA_CANDIDATE_FOREIGN:
			return "its data directory belongs to another cluster";
		case HA_CANDIDATE_TIMELINE:
			return "it lacks the cluster's last timeline";
		case HA_CANDIDATE_LAG:
			return "it lags by more than maximum_lag_on_failover";
		case HA_CANDIDATE_POSITION:
			return "its own WAL position is not known";
	}
	return "unknown";
}

/* A ballot that saw the lease later than the reader, or as late, counts. */
static bool
election_ballot_counts(const HaView *view, const HaMember *member)
{
	const HaBallot *ballot = &member->ballot;

	if (!ballot->present || !member->launcher || member->nofailover)
		return false;
	if (ballot->tli < pgha_timelines_current(&view->history))
		return false;
	if (ballot->term != view->lease_term)
		return ballot->term > view->lease_term;
	return ballot->seq >= view->lease_seq;
}

/* Whether a member that is there may still publish a ballot. */
static bool
election_ballot_expected(const HaView *view, const HaMember *member)
{
	return member->pgha && member->launcher && member->running &&
		!member->nofailover && member->role == HA_ROLE_STANDBY &&
		strcmp(member->name, view->leader) != 0;
}

/* (timeline, position, failover_priority, name): whether a ranks before us */
static bool
election_ranks_before(const HaView *view, const HaMember *other)
{
	const HaMember *own = pgha_view_member(view, view->self);
	int			priority = own != NULL ? own->failover_priority : 1;

	if (other->ballot.tli != view->ballot.tli)
		return other->ballot.tli > view->ballot.tli;
	if (other->ballot.lsn != view->ballot.lsn)
		return other->ballot.lsn > view->ballot.lsn;
	if (other->failover_priority != priority)
		return other->failover_priority > priority;
	return strcmp(other->name, view->self) < 0;
}

HaElection
pgha_election_count(const HaView *view)
{
	HaElection	election = {0, 0, view->election_since};
	int			i;

	for (i = 0; i < view->nmembers; i++)
	{
		const HaMember *member = &view->members[i];

		if (strcmp(member->name, view->self) == 0)
			continue;
		if (election_ballot_counts(view, member))
			election.ahead += election_ranks_before(view, member) ? 1 : 0;
		else if (election_ballot_expected(view, member))
			election.missing++;
	}
	if (election.missing > 0)
		election.turn += HA_BALLOT_WAIT_MS * HA_NS_PER_MS;
	election.turn += election.ahead * HA_TURN_WAIT_MS * HA_NS_PER_MS;
	return election;
}
