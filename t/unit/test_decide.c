/*
 * test_decide.c
 *	  The table of rules as a table, and each boundary in it.
 *
 * What the rules say together is in t/scenario, run by test_scenarios.c.
 */
#include "core/decide.h"
#include "core/election.h"
#include "tap.h"

#define MS(n) ((n) * HA_NS_PER_MS)
#define NOW MS(1000000)

/* ------------------------------------------------------------------------
 * The table
 * ------------------------------------------------------------------------
 */

static void
test_table(void)
{
	int			nrules;
	const HaRule *rules = pgha_rules(&nrules);
	bool		used[HA_ACTION_LAST + 1] = {false};
	HaView		empty;
	int			i;

	memset(&empty, 0, sizeof(empty));
	for (i = 0; i < nrules; i++)
	{
		const HaRule *rule = &rules[i];

		ok(rule->id >= 100 && rule->id <= 699 &&
		   (i == 0 || rule->id > rules[i - 1].id),
		   "rule %d: ids ascend within their sections", rule->id);
		ok(rule->why != NULL && rule->why[0] != '\0', "rule %d says why",
		   rule->id);
		ok(pgha_rule(rule->id) == rule, "rule %d is found by its id",
		   rule->id);
		if (rule->action >= 0 && rule->action <= HA_ACTION_LAST)
			used[rule->action] = true;
	}
	for (i = 0; i <= HA_ACTION_LAST; i++)
		ok(used[i] && strcmp(pgha_action_name((HaAction) i), "unknown") != 0,
		   "action \"%s\" has a name and a rule",
		   pgha_action_name((HaAction) i));
	ok(rules[nrules - 1].when(&empty), "the last rule matches all");
	ok(pgha_rule(199) == NULL, "there is no rule 199");
	is_str(pgha_action_name((HaAction) (HA_ACTION_LAST + 1)), "unknown",
		   "an action that does not exist has no name");
}

/* Two rules that say the same can't be told apart in a log. */
static void
test_reasons_differ(void)
{
	int			nrules;
	const HaRule *rules = pgha_rules(&nrules);
	int			same = 0;

	for (int i = 0; i < nrules; i++)
		for (int j = i + 1; j < nrules; j++)
			if (rules[i].action == rules[j].action &&
				strcmp(rules[i].why, rules[j].why) == 0)
				same++;
	is_int(same, 0, "no two rules have the same action and reason");
}

/* The same view, the same decision; an empty one decides, too. */
static void
test_pure(void)
{
	HaView		view;
	HaDecision	first;
	HaDecision	second;

	memset(&view, 0, sizeof(view));
	first = pgha_decide(&view);
	second = pgha_decide(&view);
	ok(memcmp(&first, &second, sizeof(first)) == 0,
	   "a decision depends on the view alone");
	is_int(first.rule, 107, "knowing nothing is waiting for Consul");
	is_int(first.deadline, HA_TIME_NEVER, "... with no deadline");
}

/* ------------------------------------------------------------------------
 * Boundaries
 * ------------------------------------------------------------------------
 */

static HaMember *
add_member(HaView *view, const char *name, HaRole role)
{
	HaMember   *member = &view->members[view->nmembers++];

	memset(member, 0, sizeof(*member));
	snprintf(member->name, sizeof(member->name), "%s", name);
	member->pgha = member->launcher = member->running = true;
	member->role = role;
	member->tli = 1;
	member->failover_priority = 1;
	return member;
}

/* pg1, whose instance runs; the lease is held by somebody */
static void
set_up(HaView *view)
{
	memset(view, 0, sizeof(*view));
	snprintf(view->self, sizeof(view->self), "pg1");
	view->now = NOW;
	view->timeouts = (HaTimeouts) {10000, 1000, 3000, 300000, 30000, 1800000,
	10000, 1048576};
	view->cluster_known = view->session_held = true;
	view->name_lock = HA_NAME_HELD;
	view->initialize_present = true;
	view->initialize_sysid = view->sysid = 4711;
	view->history_known = true;
	view->tli = 1;
	view->lsn = view->optime = 0x5000000;
	view->standing = HA_STANDING_HELD;
	view->lease_term = 7;
	view->lease_seq = 12;
	view->launcher_present = true;
	view->consistent = true;
	view->instance = HA_INSTANCE_RUNNING;
	view->instance_since = view->served_at = NOW;
	view->heartbeat_due = HA_TIME_NEVER;
	add_member(view, "pg1", HA_ROLE_STANDBY);
}

static void
set_up_leader_crashed(HaView *view)
{
	set_up(view);
	view->brain = HA_BRAIN_LAUNCHER;
	view->standing = HA_STANDING_OURS;
	view->instance = HA_INSTANCE_CRASHED;
	view->was_primary = true;
	view->wal_end = HA_WAL_END_KNOWN;
}

static void
set_up_election(HaView *view)
{
	set_up(view);
	view->role = HA_ROLE_STANDBY;
	view->standing = HA_STANDING_EXPIRED;
	view->election_since = NOW;
	view->ballot = (HaBallot) {true, 7, 12, 1, 0x5000000};
}

/* A nanosecond before `after_ms` one rule, then and later another. */
static void
boundary(HaView *view, int64_t after_ms, int before, int then,
		 const char *name)
{
	static const int64_t offsets[] = {-1, 0, 1};

	for (int i = 0; i < 3; i++)
	{
		view->now = NOW + MS(after_ms) + offsets[i];
		is_int(pgha_decide(view).rule, i == 0 ? before : then,
			   "%s, %+d ns", name, (int) offsets[i]);
	}
}

static void
test_heartbeat_due(void)
{
	HaView		view;

	set_up(&view);
	view.role = HA_ROLE_PRIMARY;
	view.standing = HA_STANDING_OURS;
	view.lease_valid = true;
	view.heartbeat_due = NOW + MS(1000);
	boundary(&view, 1000, 219, 207, "heartbeat due");
}

static void
test_stop_timeout(void)
{
	HaView		view;

	set_up(&view);
	view.brain = HA_BRAIN_LAUNCHER;
	view.instance = HA_INSTANCE_STOPPING;
	boundary(&view, 30000, 699, 105, "primary_stop_timeout");
	set_up(&view);
	view.brain = HA_BRAIN_LAUNCHER;
	view.standing = HA_STANDING_OURS;
	view.instance = HA_INSTANCE_STOPPING;
	boundary(&view, 30000, 219, 105, "primary_stop_timeout of a leader");
}

static void
test_start_timeout(void)
{
	HaView		view;

	set_up(&view);
	view.brain = HA_BRAIN_LAUNCHER;
	view.standing = HA_STANDING_OURS;
	view.instance = HA_INSTANCE_STARTING;
	boundary(&view, 300000, 219, 203, "primary_start_timeout, starting");
	view.instance_since = NOW + MS(290000);
	boundary(&view, 300000, 219, 203,
			 "primary_start_timeout counts from when it last served");
	view.served_at = 0;
	view.ours_since = NOW + MS(10000);
	boundary(&view, 310000, 219, 203,
			 "... or from when a launcher that never saw it serve found the lease ours");

	set_up_leader_crashed(&view);
	boundary(&view, 300000, 211, 204, "primary_start_timeout, crashed");
	view.wal_end = HA_WAL_END_UNKNOWN;
	boundary(&view, 300000, 208, 204,
			 "primary_start_timeout, the end of WAL not found yet");
	view.instance = HA_INSTANCE_DOWN;
	boundary(&view, 300000, 211, 204,
			 "primary_start_timeout, shut down and failing to start");
}

static void
test_successor_wait(void)
{
	HaView		view;

	set_up_leader_crashed(&view);
	add_member(&view, "pg2", HA_ROLE_STANDBY)->streaming = true;
	boundary(&view, 150, 209, 211, "waiting for what standbys received");
	view.members[1].lsn = view.lsn - 1;
	boundary(&view, 150, 209, 211, "... one that lacks a byte");
	view.members[1].lsn = view.lsn;
	boundary(&view, 150, 206, 206, "... none for one that has it all");
}

static void
test_retry(void)
{
	HaView		view;

	set_up_leader_crashed(&view);
	view.retry_at = NOW + MS(500);
	boundary(&view, 500, 210, 211, "retry of a start");
	set_up(&view);
	view.instance = HA_INSTANCE_EMPTY;
	view.retry_at = NOW + MS(500);
	boundary(&view, 500, 210, 607, "retry of a job on an empty directory");
	view.instance = HA_INSTANCE_HALF_DONE;
	boundary(&view, 500, 210, 607, "retry of a job that was half done");
	view.instance = HA_INSTANCE_DOWN;
	boundary(&view, 500, 210, 612, "retry of a standby's start");
}

static void
test_scope_wait(void)
{
	HaView		view;

	set_up(&view);
	view.brain = HA_BRAIN_LAUNCHER;
	view.instance = HA_INSTANCE_DOWN;
	view.initialize_present = false;
	view.initialize_sysid = 0;
	view.scope_empty_since = NOW;
	boundary(&view, 10150, 604, 605, "an empty scope stands for ttl + margin");
	view.timeouts.ttl_ms = 30000;
	boundary(&view, 30350, 604, 605, "... whatever the ttl");
}

static void
test_ballot_wait(void)
{
	HaView		view;

	set_up_election(&view);
	add_member(&view, "pg2", HA_ROLE_STANDBY);
	boundary(&view, HA_BALLOT_WAIT_MS, 320, 321, "ballot wait");
	is_int(HA_BALLOT_WAIT_MS, 300, "the ballot wait is 300 ms");
}

static void
test_turn_wait(void)
{
	HaView		view;

	set_up_election(&view);
	add_member(&view, "pg2", HA_ROLE_STANDBY)->ballot =
		(HaBallot) {true, 7, 12, 1, 0x5000001};
	boundary(&view, HA_TURN_WAIT_MS, 320, 321, "turn wait");
	is_int(HA_TURN_WAIT_MS, 1000, "a turn lasts 1 s");
	view.members[1].ballot.lsn = view.ballot.lsn - 1;
	boundary(&view, 1, 321, 321, "no wait for one that ranks behind us");
}

static void
test_lag(void)
{
	HaView		view;

	set_up_election(&view);
	view.optime = view.lsn + 1048576;
	is_int(pgha_decide(&view).rule, 321, "maximum_lag_on_failover: allowed");
	view.optime++;
	is_int(pgha_decide(&view).rule, 304, "one byte more: no candidate");
}

static void
test_released_end(void)
{
	HaView		view;

	set_up_election(&view);
	view.standing = HA_STANDING_RELEASED;
	view.end_known = true;
	view.ballot.present = false;
	is_int(pgha_decide(&view).rule, 306, "a member with the released end acts");
	view.optime = view.lsn + 1;
	view.stood_until = NOW + MS(10150);
	boundary(&view, 10150, 307, 309,
			 "one that lacks a byte of it waits for L, then stands");
}

static void
test_fork(void)
{
	HaView		view;
	HaMember   *leader;

	set_up(&view);
	view.brain = HA_BRAIN_LAUNCHER;
	view.instance = HA_INSTANCE_DOWN;
	view.use_pg_rewind = true;
	view.history.nforks = 1;
	view.history.forks[0] = (HaFork) {1, 0x5000000};
	leader = add_member(&view, "pg2", HA_ROLE_PRIMARY);
	leader->tli = 2;
	memcpy(view.leader, leader->name, sizeof(view.leader));
	view.lsn = 0x5000000;
	is_int(pgha_decide(&view).rule, 612, "at the fork: start and follow");
	view.lsn++;
	is_int(pgha_decide(&view).rule, 610, "a byte past it: rewind");
	view.rewinds_failed = 1;
	is_int(pgha_decide(&view).rule, 610, "one rewind failed: again");
	view.rewinds_failed = 2;
	is_int(pgha_decide(&view).rule, 611, "two failed: clone");
	view.rewinds_failed = 0;
	view.wal_end = HA_WAL_END_UNREADABLE;
	view.was_primary = true;
	view.instance = HA_INSTANCE_CRASHED;
	is_int(pgha_decide(&view).rule, 609, "crashed and its WAL unreadable: clone");
}

int
main(void)
{
	test_table();
	test_reasons_differ();
	test_pure();
	test_heartbeat_due();
	test_stop_timeout();
	test_start_timeout();
	test_successor_wait();
	test_retry();
	test_scope_wait();
	test_ballot_wait();
	test_turn_wait();
	test_lag();
	test_released_end();
	test_fork();
	return done_testing();
}
