/*
 * test_election.c
 *	  Who is a candidate, and whose turn it is.
 */
#include "core/election.h"
#include "tap.h"

#define MS(n) ((n) * HA_NS_PER_MS)
#define SINCE MS(50000)

static HaMember *
add_member(HaView *view, const char *name)
{
	HaMember   *member = &view->members[view->nmembers++];

	memset(member, 0, sizeof(*member));
	snprintf(member->name, sizeof(member->name), "%s", name);
	member->pgha = true;
	member->launcher = true;
	member->running = true;
	member->role = HA_ROLE_STANDBY;
	member->failover_priority = 1;
	return member;
}

/* pg2, a standby on timeline 2 that saw the lease (7, 12) run out */
static void
set_up(HaView *view)
{
	memset(view, 0, sizeof(*view));
	snprintf(view->self, sizeof(view->self), "pg2");
	view->initialize_sysid = 4711;
	view->sysid = 4711;
	view->launcher_present = true;
	view->consistent = true;
	view->role = HA_ROLE_STANDBY;
	view->tli = 2;
	view->lsn = 0x5000000;
	view->optime = 0x5000000;
	view->history_known = true;
	view->history.nforks = 1;
	view->history.forks[0].tli = 1;
	view->history.forks[0].end = 0x3000;
	view->timeouts.maximum_lag_on_failover = 1048576;
	view->lease_term = 7;
	view->lease_seq = 12;
	view->election_since = SINCE;
	view->ballot = (HaBallot) {true, 7, 12, 2, 0x5000000};
	add_member(view, "pg2");
}

static void
test_candidacy(void)
{
	HaView		view;

	set_up(&view);
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_YES, "a candidate");
	view.launcher_present = false;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_NO_LAUNCHER,
		   "no launcher: it could not be promoted");
	set_up(&view);
	view.nofailover = true;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_NOFAILOVER,
		   "tagged nofailover");
	set_up(&view);
	view.sysid = 4712;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_FOREIGN,
		   "another cluster's data directory");
	set_up(&view);
	view.consistent = false;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_NOT_CONSISTENT,
		   "recovery is not consistent yet");
	set_up(&view);
	view.replay_paused = true;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_REPLAY_PAUSED,
		   "replay is paused by too small settings");
	set_up(&view);
	view.lsn = 0;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_POSITION,
		   "its own position is not known");
}

static void
test_candidacy_of_history(void)
{
	HaView		view;

	set_up(&view);
	view.tli = 1;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_TIMELINE,
		   "a member that lacks the last timeline is no candidate");
	set_up(&view);
	view.history_known = false;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_TIMELINE,
		   "nor is one that cannot read the history");
	set_up(&view);
	view.tli = 3;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_YES,
		   "a member on a later timeline is one");
	set_up(&view);
	view.initialize_sysid = 0;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_YES,
		   "an absent initialize key disqualifies nobody");
}

static void
test_candidacy_of_lag(void)
{
	HaView		view;

	set_up(&view);
	view.optime = view.lsn + 1048576;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_YES,
		   "lag of maximum_lag_on_failover is allowed");
	view.optime++;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_LAG,
		   "one byte more is not");
	view.optime = view.lsn - 1;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_YES,
		   "being ahead of the last heartbeat is allowed");
	view.timeouts.maximum_lag_on_failover = 0;
	view.optime = view.lsn;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_YES,
		   "a limit of 0 allows no lag: none there");
	view.optime++;
	is_int(pgha_election_candidacy(&view), HA_CANDIDATE_LAG,
		   "a limit of 0 allows no lag: one byte");
}

static void
test_reasons(void)
{
	int			i;

	for (i = HA_CANDIDATE_YES; i <= HA_CANDIDATE_POSITION; i++)
		ok(strcmp(pgha_candidacy_reason((HaCandidacy) i), "unknown") != 0,
		   "reason %d has words: %s", i,
		   pgha_candidacy_reason((HaCandidacy) i));
}

/* What another's ballot does to our turn. */
static void
check_ballot(HaBallot ballot, int ahead, int missing, const char *name)
{
	HaView		view;
	HaElection	election;

	set_up(&view);
	add_member(&view, "pg3")->ballot = ballot;
	election = pgha_election_count(&view);
	is_int(election.ahead, ahead, "%s: candidates ahead", name);
	is_int(election.missing, missing, "%s: ballots missing", name);
	is_int(election.turn, SINCE + MS(ahead * HA_TURN_WAIT_MS) +
		   MS(missing * HA_BALLOT_WAIT_MS), "%s: our turn", name);
}

static void
test_ballots(void)
{
	check_ballot((HaBallot) {false, 0, 0, 0, 0}, 0, 1, "no ballot yet");
	check_ballot((HaBallot) {true, 7, 12, 2, 0x5000001}, 1, 0,
				 "a later position");
	check_ballot((HaBallot) {true, 7, 12, 2, 0x4ffffff}, 0, 0,
				 "an earlier position");
	check_ballot((HaBallot) {true, 7, 12, 2, 0x5000000}, 0, 0,
				 "the same position, a later name");
	check_ballot((HaBallot) {true, 7, 12, 3, 0x1}, 1, 0, "a later timeline");
	check_ballot((HaBallot) {true, 7, 12, 1, 0x6000000}, 0, 1,
				 "a timeline the cluster has left");
	check_ballot((HaBallot) {true, 7, 11, 2, 0x6000000}, 0, 1,
				 "a ballot of an earlier heartbeat");
	check_ballot((HaBallot) {true, 6, 99, 2, 0x6000000}, 0, 1,
				 "a ballot of an earlier term");
	check_ballot((HaBallot) {true, 7, 13, 2, 0x6000000}, 1, 0,
				 "a ballot of a later heartbeat");
	check_ballot((HaBallot) {true, 8, 0, 2, 0x6000000}, 1, 0,
				 "a ballot of a later term");
}

static void
test_ties(void)
{
	HaView		view;
	HaMember   *other;

	set_up(&view);
	other = add_member(&view, "pg1");
	other->ballot = view.ballot;
	is_int(pgha_election_count(&view).ahead, 1,
		   "of equals the first by name goes first");
	view.members[0].failover_priority = 2;
	is_int(pgha_election_count(&view).ahead, 0,
		   "our priority counts before the name");
	other->failover_priority = 3;
	is_int(pgha_election_count(&view).ahead, 1,
		   "so does the other's");
	other->ballot.lsn--;
	is_int(pgha_election_count(&view).ahead, 0,
		   "the position counts before the priority");
	view.nmembers = 0;
	add_member(&view, "pg3")->ballot = view.ballot;
	is_int(pgha_election_count(&view).ahead, 0,
		   "without a key of our own our priority is 1");
}

/* Nobody waits for a member that will not stand. */
static void
test_not_awaited(void)
{
	static const char *const names[] = {
		"no mark of pg_ha", "no launcher", "not running", "nofailover",
		"a primary", "the former leader", "ourselves"
	};

	for (int i = 0; i < 7; i++)
	{
		HaView		view;
		HaMember   *other;

		set_up(&view);
		other = add_member(&view, i == 6 ? "pg2" : "pg3");
		other->pgha = i != 0;
		other->launcher = i != 1;
		other->running = i != 2;
		other->nofailover = i == 3;
		other->role = i == 4 ? HA_ROLE_PRIMARY : HA_ROLE_STANDBY;
		if (i == 5)
			snprintf(view.leader, sizeof(view.leader), "pg3");
		is_int(pgha_election_count(&view).missing, 0, "not awaited: %s",
			   names[i]);
	}
}

static void
test_not_counted(void)
{
	HaView		view;
	HaMember   *other;

	set_up(&view);
	other = add_member(&view, "pg3");
	other->ballot = (HaBallot) {true, 7, 12, 2, 0x6000000};
	other->nofailover = true;
	is_int(pgha_election_count(&view).ahead, 0,
		   "the ballot of a member that may not lead does not count");
	other->nofailover = false;
	other->launcher = false;
	is_int(pgha_election_count(&view).ahead, 0,
		   "nor that of one without a launcher");
}

static void
test_turns_add_up(void)
{
	HaView		view;

	set_up(&view);
	add_member(&view, "pg3")->ballot =
		(HaBallot) {true, 7, 12, 2, 0x6000000};
	add_member(&view, "pg4")->ballot =
		(HaBallot) {true, 7, 12, 2, 0x6000000};
	add_member(&view, "pg5");
	add_member(&view, "pg6");
	is_int(pgha_election_count(&view).turn,
		   SINCE + MS(2 * HA_TURN_WAIT_MS + HA_BALLOT_WAIT_MS),
		   "a turn for each ahead, one wait for all that is missing");
}

int
main(void)
{
	test_candidacy();
	test_candidacy_of_history();
	test_candidacy_of_lag();
	test_reasons();
	test_ballots();
	test_ties();
	test_not_awaited();
	test_not_counted();
	test_turns_add_up();
	return done_testing();
}
