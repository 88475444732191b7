/*
 * decide.c
 *	  The rules: facts in, one decision out.
 *
 * The table at the end of this file is the product.  A rule's condition may
 * rely on every rule before it not having matched.
 */
#include "core/decide.h"

#include <string.h>

#include "core/election.h"

/* how long a crashed leader waits for standbys to say what they received */
#define DECIDE_SUCCESSOR_WAIT_MS 150

/* how often a rewind may fail before the directory is cloned anew */
#define DECIDE_REWINDS_MAX 2

/* how often a server may start its processes anew without serving once */
#define DECIDE_CRASHES_MAX 2

/* how long a crashed server may be without a worker */
#define DECIDE_WORKER_GONE_MS 4000

/* how often a standby may fail to start before its directory is cloned anew */
#define DECIDE_STARTS_MAX 5

/* how long a leader that was shut down for a switchover waits for its successor */
#define DECIDE_HANDOVER_MS 2000

/* how many there are before a switchover */
#define DECIDE_CHECKPOINTS 2

/* how often a checkpoint under way is looked at */
#define DECIDE_CHECKPOINT_MS 5

/* how long the others leave a free lease to whom an operator named */
#define DECIDE_NAMED_MS 10000

static inline HaTime
decide_after(HaTime since, int64_t ms)
{
	return since + ms * HA_NS_PER_MS;
}

/* ------------------------------------------------------------------------
 * Facts by the names the rules use
 * ------------------------------------------------------------------------
 */

static bool
is_launcher(const HaView *v)
{
	return v->brain == HA_BRAIN_LAUNCHER;
}

static bool
is_running(const HaView *v)
{
	return v->instance == HA_INSTANCE_RUNNING;
}

static bool
is_standby(const HaView *v)
{
	return is_running(v) && v->role == HA_ROLE_STANDBY;
}

static bool
is_primary(const HaView *v)
{
	return is_running(v) && v->role == HA_ROLE_PRIMARY;
}

/* no process is left and the directory is whole */
static bool
is_down(const HaView *v)
{
	return v->instance == HA_INSTANCE_DOWN ||
		v->instance == HA_INSTANCE_CRASHED;
}

static bool
is_ours(const HaView *v)
{
	return v->standing == HA_STANDING_OURS;
}

static bool
is_free(const HaView *v)
{
	return v->standing == HA_STANDING_EXPIRED ||
		v->standing == HA_STANDING_RELEASED;
}

/* not ours, and nobody may take it */
static bool
is_held(const HaView *v)
{
	return v->standing == HA_STANDING_HELD ||
		v->standing == HA_STANDING_PAUSED;
}

/*
 * Another member leads, and can be followed: not one that a restored Consul
 * names, whose leadership was over before.
 */
static const HaMember *
leading_primary(const HaView *v)
{
	const HaMember *leader = NULL;

	if (is_held(v) && v->lease_term >= v->highest_shown &&
		v->leader[0] != '\0' && strcmp(v->leader, v->self) != 0)
		leader = pgha_view_member(v, v->leader);
	if (leader == NULL || leader->role != HA_ROLE_PRIMARY || !leader->running)
		return NULL;
	return leader;
}

static HaKinship
own_kinship(const HaView *v)
{
	if (!v->history_known)
		return HA_KIN_UNKNOWN;
	if (v->own_history_known && v->tli != 0 &&
		pgha_timelines_foreign(&v->own_history, v->tli, &v->history))
		return HA_KIN_FOREIGN;
	return pgha_timelines_kinship(&v->history, v->tli, v->lsn);
}

/* Diverged from a primary whose history is the one that was read. */
static bool
is_diverged(const HaView *v)
{
	const HaMember *leader = leading_primary(v);

	return leader != NULL &&
		leader->tli == pgha_timelines_current(&v->history) &&
		(own_kinship(v) == HA_KIN_DIVERGED ||
		 own_kinship(v) == HA_KIN_FOREIGN);
}

/* ------------------------------------------------------------------------
 * 0xx and 1xx: what comes before everything
 * ------------------------------------------------------------------------
 */

static bool
health_timeout_over(const HaView *v, HaTime since)
{
	return since != 0 &&
		v->now >= decide_after(since, v->timeouts.health_timeout_ms);
}

/*
 * A postmaster whose worker never came has primary_start_timeout; one that
 * starts its processes anew brings a worker at once, or can't.
 */
static bool
worker_is_silent(const HaView *v)
{
	if (v->instance == HA_INSTANCE_STARTING)
		return v->crashes > 0 && v->heard_at != 0 &&
			v->now >= decide_after(v->heard_at, DECIDE_WORKER_GONE_MS);
	return is_running(v) && health_timeout_over(v, v->heard_at);
}

static bool
when_instance_hangs(const HaView *v)
{
	return is_launcher(v) && !v->paused &&
		(v->instance == HA_INSTANCE_STARTING || is_running(v) ||
		 v->instance == HA_INSTANCE_STOPPING) &&
		(v->kill_requested || v->crashes >= DECIDE_CRASHES_MAX ||
		 health_timeout_over(v, v->stuck_since) || worker_is_silent(v));
}

static bool
when_operator_stops(const HaView *v)
{
	return is_launcher(v) && v->stop_requested &&
		(is_running(v) || v->instance == HA_INSTANCE_STARTING);
}

static bool
when_instance_is_to_stop(const HaView *v)
{
	return is_launcher(v) && v->stop != HA_STOP_NONE && is_running(v);
}

static bool
when_worker_decides(const HaView *v)
{
	return is_launcher(v) && is_running(v);
}

static bool
when_processes_left(const HaView *v)
{
	return v->instance == HA_INSTANCE_DYING;
}

static bool
when_job_runs(const HaView *v)
{
	return v->instance == HA_INSTANCE_BUSY;
}

static bool
when_consul_unknown(const HaView *v)
{
	return !v->cluster_known;
}

static bool
when_foreign(const HaView *v)
{
	return v->initialize_sysid != 0 && v->sysid != 0 && !v->fresh &&
		v->sysid != v->initialize_sysid &&
		v->instance != HA_INSTANCE_EMPTY &&
		v->instance != HA_INSTANCE_HALF_DONE;
}

static bool
when_name_taken(const HaView *v)
{
	return v->name_lock == HA_NAME_TAKEN;
}

static bool
when_stranger(const HaView *v)
{
	return v->stranger;
}

/* Consul is silent: writes and reads under way may wait, the lease can't. */
static bool
when_failsafe_due(const HaView *v)
{
	return is_ours(v) && is_primary(v) && !is_launcher(v) &&
		v->failsafe_mode && v->failsafe_possible && v->consul_at != 0 &&
		v->now >= decide_after(v->consul_at, v->timeouts.retry_timeout_ms) &&
		v->now >= v->failsafe_due;
}

static bool
when_write_pending(const HaView *v)
{
	return v->write_pending && !when_failsafe_due(v);
}

static bool
when_write_unresolved(const HaView *v)
{
	return v->write_unresolved && !v->takeover_unresolved &&
		!when_failsafe_due(v);
}

static bool
when_taken_over(const HaView *v)
{
	return is_primary(v) && v->other_term_confirmed && is_held(v);
}

/* our lease runs and status does not show it, or it shows another's */
static bool
when_maybe_taken_over(const HaView *v)
{
	return is_primary(v) && is_held(v) &&
		(v->lease_valid ||
		 (v->leader[0] != '\0' && strcmp(v->leader, v->self) != 0));
}

static bool
when_pause_ends(const HaView *v)
{
	return is_running(v) && v->fence_without_end && !v->paused;
}

/* a client that does not read, or is gone unnoticed */
static bool
when_permits_overdue(const HaView *v)
{
	return is_running(v) && !v->fence_without_end && v->permits > 0 &&
		v->now >= decide_after(v->permits_since, v->timeouts.retry_timeout_ms);
}

/* somebody who could lead instead */
static bool
has_stand_in(const HaView *v)
{
	for (int i = 0; i < v->nmembers; i++)
	{
		const HaMember *m = &v->members[i];

		if (strcmp(m->name, v->self) != 0 && m->pgha && m->launcher &&
			m->running && m->role == HA_ROLE_STANDBY && !m->nofailover)
			return true;
	}
	return false;
}

/* a disk that hangs hangs everybody who commits */
static bool
when_wal_hangs(const HaView *v)
{
	return is_ours(v) && is_primary(v) && !v->paused &&
		has_stand_in(v) && health_timeout_over(v, v->wal_moved_at);
}

/* ------------------------------------------------------------------------
 * 2xx: the lease is ours
 * ------------------------------------------------------------------------
 */

static bool
when_restored(const HaView *v)
{
	return v->standing == HA_STANDING_RESTORED && is_primary(v) &&
		v->session_held;
}

/*
 * Not a release: the launcher, or an earlier life of the worker, may have begun
 * a promotion that ends behind an open fence.  The lease runs out.
 */
static bool
when_nobody_promotes(const HaView *v)
{
	return is_ours(v) && is_standby(v) && !v->launcher_present;
}

static bool
when_stop_takes_too_long(const HaView *v)
{
	return v->instance == HA_INSTANCE_STOPPING &&
		v->now >= decide_after(v->instance_since,
							   v->timeouts.primary_stop_timeout_ms);
}

/* How long a leader whose instance does not run may renew its lease. */
static bool
start_timeout_over(const HaView *v)
{
	HaTime		since = v->served_at > v->ours_since ? v->served_at :
		v->ours_since;

	return v->now >= decide_after(since, v->timeouts.primary_start_timeout_ms);
}

static bool
when_start_takes_too_long(const HaView *v)
{
	return is_ours(v) && v->instance == HA_INSTANCE_STARTING &&
		start_timeout_over(v);
}

static bool
when_leader_cannot_start(const HaView *v)
{
	return is_ours(v) && ((v->instance == HA_INSTANCE_CRASHED &&
						   v->wal_end == HA_WAL_END_UNREADABLE) ||
						  (is_down(v) && start_timeout_over(v)));
}

/* a clean shutdown wrote its last record; processes may still be left */
static bool
has_ended_cleanly(const HaView *v)
{
	return is_ours(v) && is_launcher(v) && v->wal_clean_end &&
		(v->instance == HA_INSTANCE_STOPPING ||
		 v->instance == HA_INSTANCE_DOWN);
}

static bool
when_heartbeat_due(const HaView *v)
{
	return is_ours(v) && v->session_held && v->now >= v->heartbeat_due &&
		v->name_lock == HA_NAME_HELD &&
		v->instance != HA_INSTANCE_UNKNOWN &&
		v->instance != HA_INSTANCE_EMPTY &&
		v->instance != HA_INSTANCE_HALF_DONE;
}

/* The lease stays paused while a commit that needs no deadline is under way. */
static void
fill_pause(const HaView *v, HaDecision *d)
{
	d->paused = v->paused || v->permits > 0;
}

static bool
when_wal_end_unknown(const HaView *v)
{
	return is_ours(v) && v->instance == HA_INSTANCE_CRASHED &&
		v->was_primary && v->wal_end == HA_WAL_END_UNKNOWN;
}

/* a member that received all this instance ever wrote */
static const HaMember *
complete_successor(const HaView *v)
{
	const HaMember *best = NULL;
	int			i;

	for (i = 0; i < v->nmembers; i++)
	{
		const HaMember *m = &v->members[i];

		if (strcmp(m->name, v->self) == 0 || !m->pgha || !m->launcher ||
			!m->running || m->nofailover || m->role != HA_ROLE_STANDBY ||
			m->tli != v->tli || m->lsn < v->lsn ||
			(v->handover[0] != '\0' && strcmp(m->name, v->handover) != 0))
			continue;
		if (best == NULL || m->failover_priority > best->failover_priority)
			best = m;
	}
	return best;
}

/* a member that has not said yet where its receiver ended */
static bool
successor_still_streams(const HaView *v)
{
	int			i;

	for (i = 0; i < v->nmembers; i++)
	{
		const HaMember *m = &v->members[i];

		if (strcmp(m->name, v->self) != 0 && m->pgha && m->streaming &&
			m->running && m->role == HA_ROLE_STANDBY)
			return true;
	}
	return false;
}

/* the node stops, or who is to lead has the last record */
static bool
when_leader_shut_down(const HaView *v)
{
	return has_ended_cleanly(v) &&
		(v->stop_requested || (v->stop == HA_STOP_HANDOVER &&
							   complete_successor(v) != NULL));
}

/* in a pause nobody else leads, whatever he has */
static bool
when_successor_complete(const HaView *v)
{
	return is_ours(v) && !v->paused && v->instance == HA_INSTANCE_CRASHED &&
		v->wal_end == HA_WAL_END_KNOWN && complete_successor(v) != NULL;
}

/*
 * Whoever leads next should have all that was written.  A leader that was never
 * promoted wrote nothing: the end is what it had when it took over, as status
 * says.
 */
static void
fill_end(const HaView *v, HaDecision *d)
{
	d->end_known = v->wal_end == HA_WAL_END_KNOWN || !v->was_primary;
	if (d->end_known)
		d->end = v->was_primary ? v->lsn : v->optime;
}

static void
fill_successor(const HaView *v, HaDecision *d)
{
	const HaMember *successor = complete_successor(v);

	fill_end(v, d);

	if (successor != NULL)
		memcpy(d->target, successor->name, sizeof(d->target));
}

/* When a standby that has not said what it received is given up. */
static HaTime
successor_wait_until(const HaView *v)
{
	return v->instance == HA_INSTANCE_CRASHED ?
		decide_after(v->instance_since, DECIDE_SUCCESSOR_WAIT_MS) :
		decide_after(v->wal_clean_since, DECIDE_HANDOVER_MS);
}

static bool
hands_over(const HaView *v)
{
	return has_ended_cleanly(v) && v->stop == HA_STOP_HANDOVER;
}

static bool
when_successor_awaited(const HaView *v)
{
	bool		crashed = is_ours(v) && !v->paused &&
		v->instance == HA_INSTANCE_CRASHED &&
		v->wal_end == HA_WAL_END_KNOWN && successor_still_streams(v);

	return (crashed || hands_over(v)) && v->now < successor_wait_until(v);
}

static void
fill_successor_wait(const HaView *v, HaDecision *d)
{
	d->deadline = successor_wait_until(v);
	if (v->heartbeat_due < d->deadline)
		d->deadline = v->heartbeat_due;
}

/* what hangs then sends the last record to somebody who does not take it */
static bool
when_handover_failed(const HaView *v)
{
	return hands_over(v) && v->instance == HA_INSTANCE_STOPPING;
}

static bool
when_retry_later(const HaView *v)
{
	return v->now < v->retry_at &&
		(is_down(v) || v->instance == HA_INSTANCE_EMPTY ||
		 v->instance == HA_INSTANCE_HALF_DONE);
}

static void
fill_retry(const HaView *v, HaDecision *d)
{
	d->deadline = v->retry_at;
}

static bool
when_leader_is_down(const HaView *v)
{
	return is_ours(v) && is_launcher(v) && is_down(v) && !v->stop_requested &&
		v->name_lock == HA_NAME_HELD && v->was_primary;
}

/*
 * It took over and went down before it was promoted: started as a primary it
 * would write a second history under its old timeline.
 */
static bool
when_unpromoted_leader_is_down(const HaView *v)
{
	return is_ours(v) && is_launcher(v) && is_down(v) && !v->stop_requested &&
		v->name_lock == HA_NAME_HELD;
}

static bool
when_crashed_leader_stops(const HaView *v)
{
	return is_ours(v) && is_launcher(v) && is_down(v) && v->stop_requested;
}

static bool
when_leader_to_promote(const HaView *v)
{
	return is_ours(v) && is_standby(v) && !v->promoting && v->lease_valid;
}

/* An operator's request is what a serving leader looks at last (5xx). */
static bool
has_request(const HaView *v)
{
	return is_ours(v) && is_primary(v) && !is_launcher(v) &&
		(v->order.present || v->restart.present);
}

static bool
when_leads_idly(const HaView *v)
{
	return is_ours(v) && !has_request(v);
}

static void
fill_heartbeat(const HaView *v, HaDecision *d)
{
	d->deadline = v->heartbeat_due;
}

/* ------------------------------------------------------------------------
 * 3xx: the lease is free
 * ------------------------------------------------------------------------
 */

/* a failover by hand, while nobody leads */
static bool
is_named(const HaView *v)
{
	return v->order.present && v->order.leader[0] == '\0' &&
		strcmp(v->order.member, v->self) == 0 &&
		pgha_order_is_due(v, &v->order);
}

/* free to be taken by whom an operator names, also from a pause */
static bool
is_vacant(const HaView *v)
{
	return is_free(v) ||
		(v->standing == HA_STANDING_PAUSED && is_named(v) &&
		 leading_primary(v) == NULL && v->now >= v->stood_until);
}

static bool
when_paused(const HaView *v)
{
	return is_running(v) && v->standing == HA_STANDING_PAUSED &&
		leading_primary(v) == NULL && !is_vacant(v);
}

static bool
when_gap(const HaView *v)
{
	return is_running(v) && v->standing == HA_STANDING_GAP;
}

static void
fill_standing(const HaView *v, HaDecision *d)
{
	d->deadline = v->standing_until;
}

static bool
when_no_session(const HaView *v)
{
	return is_running(v) && is_vacant(v) &&
		(!v->session_held || v->name_lock != HA_NAME_HELD);
}

/* whom an operator names may lack what others would lose with it */
static bool
when_no_candidate(const HaView *v)
{
	HaCandidacy candidacy = pgha_election_candidacy(v);

	return is_running(v) && is_vacant(v) && candidacy != HA_CANDIDATE_YES &&
		!(is_named(v) && (candidacy == HA_CANDIDATE_LAG ||
						  candidacy == HA_CANDIDATE_TIMELINE));
}

static bool
when_another_is_named(const HaView *v)
{
	return is_running(v) && v->standing == HA_STANDING_NAMED;
}

static bool
when_end_received(const HaView *v)
{
	return is_running(v) && v->standing == HA_STANDING_RELEASED &&
		v->end_known && v->lsn >= v->optime;
}

/* somebody has more than we do: that member comes first, for as long as L */
static bool
when_end_missing(const HaView *v)
{
	return is_running(v) && v->standing == HA_STANDING_RELEASED &&
		v->end_known && v->now < v->stood_until && !is_named(v);
}

static void
fill_stood(const HaView *v, HaDecision *d)
{
	d->deadline = v->stood_until;
}

static bool
when_receiver_on(const HaView *v)
{
	return is_standby(v) && is_vacant(v) && v->receiver_on;
}

static bool
when_named_by_operator(const HaView *v)
{
	return is_running(v) && is_vacant(v) && is_named(v);
}

static void
fill_ordered(const HaView *v, HaDecision *d)
{
	(void) v;
	d->ordered = true;
}

/* as long as that member may be about to take over */
static bool
when_operator_named_another(const HaView *v)
{
	const HaMember *named = pgha_view_member(v, v->order.member);

	return is_running(v) && is_free(v) && v->order.present &&
		v->order.leader[0] == '\0' && named != NULL && named->running &&
		v->now < decide_after(v->order.seen_at, DECIDE_NAMED_MS);
}

static void
fill_named(const HaView *v, HaDecision *d)
{
	d->deadline = decide_after(v->order.seen_at, DECIDE_NAMED_MS);
}

static bool
when_no_ballot(const HaView *v)
{
	return is_running(v) && is_free(v) &&
		(!v->ballot.present || v->ballot.term != v->lease_term ||
		 v->ballot.seq != v->lease_seq || v->ballot.tli != v->tli);
}

static bool
when_not_our_turn(const HaView *v)
{
	return is_running(v) && is_free(v) &&
		v->now < pgha_election_count(v).turn;
}

static void
fill_turn(const HaView *v, HaDecision *d)
{
	d->deadline = pgha_election_count(v).turn;
}

static bool
when_outside_electorate(const HaView *v)
{
	return is_running(v) && v->standing == HA_STANDING_OUTSIDE;
}

static bool
when_our_turn(const HaView *v)
{
	return is_running(v) && is_free(v);
}

/* ------------------------------------------------------------------------
 * 4xx: another member leads
 * ------------------------------------------------------------------------
 */

static bool
when_running_diverged(const HaView *v)
{
	return is_standby(v) && v->launcher_present && is_diverged(v);
}

static bool
when_replay_paused(const HaView *v)
{
	return is_standby(v) && v->replay_paused && v->launcher_present;
}

static bool
when_follows_another(const HaView *v)
{
	return is_standby(v) && leading_primary(v) != NULL &&
		strcmp(v->following, v->leader) != 0;
}

static void
fill_leader(const HaView *v, HaDecision *d)
{
	memcpy(d->target, v->leader, sizeof(d->target));
}

static bool
when_follows(const HaView *v)
{
	return is_standby(v) && leading_primary(v) != NULL;
}

/* When the lease may be free: nothing but time tells. */
static void
fill_held(const HaView *v, HaDecision *d)
{
	if (v->standing == HA_STANDING_HELD && v->standing_until > v->now)
		d->deadline = v->standing_until;
}

static bool
when_running(const HaView *v)
{
	return is_running(v) && !has_request(v);
}

/* ------------------------------------------------------------------------
 * 5xx: what an operator asked for, seen by the leader
 * ------------------------------------------------------------------------
 */

static bool
when_order_pending(const HaView *v)
{
	return has_request(v) && v->order_pending;
}

static bool
has_order(const HaView *v)
{
	return has_request(v) && v->order.present;
}

static bool
when_order_done(const HaView *v)
{
	return has_order(v) && pgha_order_check(v, &v->order) == HA_ORDER_DONE;
}

static bool
when_order_impossible(const HaView *v)
{
	return has_order(v) && pgha_order_check(v, &v->order) != HA_ORDER_FINE;
}

static void
fill_order(const HaView *v, HaDecision *d)
{
	d->order_fault = pgha_order_check(v, &v->order);
}

static bool
when_order_due(const HaView *v)
{
	return has_order(v) && pgha_order_is_due(v, &v->order);
}

/* the second is short, and leaves the shutdown little of its own to write */
static bool
when_checkpoint_wanted(const HaView *v)
{
	return when_order_due(v) && v->order.begun_term == 0 &&
		v->checkpoints < DECIDE_CHECKPOINTS &&
		(v->checkpoints == 0 || v->checkpoint_done);
}

static bool
when_checkpoint_runs(const HaView *v)
{
	return when_order_due(v) && v->order.begun_term == 0 &&
		!v->checkpoint_done;
}

static void
fill_soon(const HaView *v, HaDecision *d)
{
	d->deadline = decide_after(v->now, DECIDE_CHECKPOINT_MS);
	if (v->heartbeat_due < d->deadline)
		d->deadline = v->heartbeat_due;
}

static bool
when_order_to_begin(const HaView *v)
{
	return when_order_due(v) && v->order.begun_term == 0;
}

static bool
when_handing_over(const HaView *v)
{
	return when_order_due(v) && v->handing_over;
}

static void
fill_order_member(const HaView *v, HaDecision *d)
{
	memcpy(d->target, v->order.member, sizeof(d->target));
}

static bool
when_job_pending(const HaView *v)
{
	return has_request(v) && v->restart_pending;
}

static bool
has_job(const HaView *v)
{
	return has_request(v) && v->restart.present && pgha_restart_is_due(v, &v->restart);
}

static bool
when_job_fails(const HaView *v)
{
	return has_job(v) && pgha_restart_check(v, &v->restart) != HA_RESTART_FINE;
}

static void
fill_restart_fault(const HaView *v, HaDecision *d)
{
	const HaRestartEntry *entry = pgha_restart_asked(&v->restart);

	d->restart_fault = pgha_restart_check(v, &v->restart);
	if (entry != NULL)
		memcpy(d->target, entry->member, sizeof(d->target));
}

static void
fill_job_asked(const HaView *v, HaDecision *d)
{
	memcpy(d->target, pgha_restart_asked(&v->restart)->member, sizeof(d->target));
}

static bool
when_job_member_back(const HaView *v)
{
	return has_job(v) && pgha_restart_asked(&v->restart) != NULL &&
		pgha_restart_is_back(v, pgha_restart_asked(&v->restart));
}

/* asked before: a launcher that has restarted it since does not do so again */
static bool
when_job_to_tell(const HaView *v)
{
	return has_job(v) && pgha_restart_asked(&v->restart) != NULL && !v->restart.told;
}

static bool
when_job_awaits(const HaView *v)
{
	return has_job(v) && pgha_restart_asked(&v->restart) != NULL;
}

static bool
when_job_skips(const HaView *v)
{
	const HaRestartEntry *next;

	if (!has_job(v))
		return false;
	next = pgha_restart_next(v, &v->restart);
	return next != NULL && pgha_restart_skips(v, &v->restart, next);
}

static bool
when_job_goes_on(const HaView *v)
{
	return has_job(v) && pgha_restart_next(v, &v->restart) != NULL;
}

static bool
when_job_settles(const HaView *v)
{
	return has_job(v) && pgha_restart_settles(v, &v->restart);
}

static void
fill_job_next(const HaView *v, HaDecision *d)
{
	memcpy(d->target, pgha_restart_next(v, &v->restart)->member, sizeof(d->target));
}

/* ------------------------------------------------------------------------
 * 6xx: the instance does not run, and the lease is not ours
 * ------------------------------------------------------------------------
 */

static bool
when_stop_requested(const HaView *v)
{
	return v->stop_requested;
}

static bool
when_name_not_held(const HaView *v)
{
	return v->name_lock != HA_NAME_HELD;
}

static bool
scope_is_empty(const HaView *v)
{
	return !v->initialize_present && v->scope_empty_since != 0;
}

static HaTime
scope_won_at(const HaView *v)
{
	return decide_after(v->scope_empty_since, v->timeouts.ttl_ms +
						pgha_lease_margin_ms(v->timeouts.ttl_ms));
}

static bool
when_empty_scope_and_directory(const HaView *v)
{
	return v->instance == HA_INSTANCE_EMPTY && scope_is_empty(v);
}

/* a directory that may become the cluster's first */
static bool
may_found_cluster(const HaView *v)
{
	return is_down(v) && scope_is_empty(v) && !v->standby_signal;
}

static bool
when_scope_too_young(const HaView *v)
{
	return may_found_cluster(v) && v->now < scope_won_at(v);
}

static void
fill_scope(const HaView *v, HaDecision *d)
{
	d->deadline = scope_won_at(v);
}

static bool
when_scope_free(const HaView *v)
{
	return may_found_cluster(v) && v->session_held;
}

/* nothing in the directory is worth keeping */
static bool
when_nothing_to_clone_from(const HaView *v)
{
	bool		lost_race = v->fresh && v->initialize_present &&
		v->initialize_sysid != v->sysid;

	return v->instance == HA_INSTANCE_EMPTY ||
		v->instance == HA_INSTANCE_HALF_DONE || (is_down(v) && lost_race);
}

static bool
when_clone_wanted(const HaView *v)
{
	return leading_primary(v) != NULL &&
		(when_nothing_to_clone_from(v) ||
		 (is_down(v) && v->stop == HA_STOP_REINIT));
}

static bool
when_old_primary_end_unknown(const HaView *v)
{
	return v->instance == HA_INSTANCE_CRASHED && v->was_primary &&
		leading_primary(v) != NULL && v->wal_end == HA_WAL_END_UNKNOWN;
}

/* what is in the directory can't be brought up: a whole copy is the way out */
static bool
when_directory_hopeless(const HaView *v)
{
	return is_down(v) && leading_primary(v) != NULL &&
		((v->was_primary && v->wal_end == HA_WAL_END_UNREADABLE) ||
		 v->starts_failed >= DECIDE_STARTS_MAX);
}

/*
 * pg_rewind looks for the fork in both histories, but not if both are on a
 * timeline of the same number: then it would see nothing to do.
 */
static bool
can_be_rewound(const HaView *v)
{
	return v->use_pg_rewind && v->rewinds_failed < DECIDE_REWINDS_MAX &&
		(own_kinship(v) != HA_KIN_FOREIGN ||
		 v->tli != pgha_timelines_current(&v->history));
}

static bool
when_rewind_wanted(const HaView *v)
{
	return is_down(v) && is_diverged(v) && can_be_rewound(v);
}

static bool
when_rewind_impossible(const HaView *v)
{
	return is_down(v) && is_diverged(v);
}

static bool
when_down(const HaView *v)
{
	return is_down(v);
}

static bool
always(const HaView *v)
{
	(void) v;
	return true;
}

/* ------------------------------------------------------------------------
 * The table
 * ------------------------------------------------------------------------
 */

static const HaRule rules[] = {
	/* 1xx: safety, and the launcher beside a worker */
	{100, when_instance_hangs, HA_ACTION_KILL,
	"the instance has shown no life for health_timeout, or crashes each time it recovers",
	NULL},
	{101, when_operator_stops, HA_ACTION_STOP,
	"the node is to be stopped", NULL},
	{102, when_instance_is_to_stop, HA_ACTION_STOP,
	"a rejoin, restart, switchover or reinit was asked for", NULL},
	{103, when_worker_decides, HA_ACTION_WAIT,
	"the worker decides while the instance runs", NULL},
	{104, when_processes_left, HA_ACTION_KILL,
	"the postmaster is gone and processes of the instance are left", NULL},
	{105, when_stop_takes_too_long, HA_ACTION_KILL,
	"stopping has taken longer than primary_stop_timeout", NULL},
	{106, when_job_runs, HA_ACTION_WAIT,
	"a job is at work on the data directory", NULL},
	{107, when_consul_unknown, HA_ACTION_WAIT,
	"Consul has not answered in this life", NULL},
	{108, when_foreign, HA_ACTION_REFUSE,
	"the data directory belongs to another cluster", NULL},
	{109, when_stranger, HA_ACTION_CLOSE,
	"somebody else writes under our term", NULL},
	{110, when_write_pending, HA_ACTION_WAIT,
	"a write to the lease awaits its answer", NULL},
	{111, when_name_taken, HA_ACTION_CLOSE,
	"another member of the same name is alive", NULL},
	{112, when_write_unresolved, HA_ACTION_CONFIRM,
	"the outcome of a write to the lease is not known", NULL},
	{113, when_taken_over, HA_ACTION_REJOIN,
	"another member has taken over", NULL},
	{114, when_maybe_taken_over, HA_ACTION_CONFIRM,
	"another member seems to have taken over", NULL},
	{115, when_wal_hangs, HA_ACTION_KILL,
	"the leader's WAL has not reached the disk for health_timeout", NULL},
	{116, when_pause_ends, HA_ACTION_END_PAUSE,
	"the pause is over: new commits need a running lease", NULL},
	{117, when_permits_overdue, HA_ACTION_END_PERMITS,
	"commits of the pause are not acknowledged in time", NULL},
	{118, when_failsafe_due, HA_ACTION_FAILSAFE,
	"Consul does not answer: the members are asked to wait", NULL},

	/* 2xx: leader */
	{201, when_restored, HA_ACTION_TAKEOVER,
	"status was lost or went back while our lease runs", NULL},
	{202, when_nobody_promotes, HA_ACTION_CLOSE,
	"the lease is ours and there is no launcher to promote", NULL},
	{203, when_start_takes_too_long, HA_ACTION_KILL,
	"starting has taken longer than primary_start_timeout", NULL},
	{204, when_leader_cannot_start, HA_ACTION_RELEASE,
	"the leader can't be started again in time", fill_end},
	{205, when_leader_shut_down, HA_ACTION_RELEASE,
	"the leader was shut down and its last record is written", fill_successor},
	{206, when_successor_complete, HA_ACTION_RELEASE,
	"the leader crashed and a standby has all of its WAL", fill_successor},
	{207, when_heartbeat_due, HA_ACTION_HEARTBEAT,
	"the lease is ours and a heartbeat is due", fill_pause},
	{208, when_wal_end_unknown, HA_ACTION_FIND_WAL_END,
	"the leader crashed and the end of its WAL is not known", NULL},
	{209, when_successor_awaited, HA_ACTION_WAIT,
	"the leader is down and standbys have not said what they received",
	fill_successor_wait},
	{210, when_retry_later, HA_ACTION_WAIT,
	"the last attempt failed; the next one is due later", fill_retry},
	{211, when_leader_is_down, HA_ACTION_START_PRIMARY,
	"the lease is ours and the instance does not run", NULL},
	{212, when_unpromoted_leader_is_down, HA_ACTION_START_STANDBY,
	"the lease is ours and the directory was not promoted yet", NULL},
	{213, when_crashed_leader_stops, HA_ACTION_RELEASE,
	"the node stops and the lease is ours", fill_end},
	{214, when_handover_failed, HA_ACTION_KILL,
	"the leader was to hand over, and who was to lead has not got its last record",
	NULL},
	{215, when_leader_to_promote, HA_ACTION_PROMOTE,
	"the lease is ours and the instance is a standby", NULL},
	{219, when_leads_idly, HA_ACTION_WAIT,
	"the lease is ours", fill_heartbeat},

	/* 3xx: no leader */
	{301, when_paused, HA_ACTION_WAIT,
	"the lease is paused: nobody takes over", NULL},
	{302, when_gap, HA_ACTION_WAIT,
	"Consul answered with gaps: the holder has the first word", fill_standing},
	{303, when_no_session, HA_ACTION_WAIT,
	"this member has no session or not its name", NULL},
	{304, when_no_candidate, HA_ACTION_WAIT,
	"the lease is free and this member is no candidate", NULL},
	{305, when_another_is_named, HA_ACTION_WAIT,
	"the lease was released to another member", fill_standing},
	{306, when_end_received, HA_ACTION_TAKEOVER,
	"the lease was released and this member has the last record", NULL},
	{307, when_end_missing, HA_ACTION_WAIT,
	"the lease was released and this member lacks the last record", fill_stood},
	{308, when_receiver_on, HA_ACTION_STOP_RECEIVER,
	"the lease is free and the receiver may still be fed", NULL},
	{309, when_no_ballot, HA_ACTION_PUBLISH_BALLOT,
	"the lease is free and our ballot is not published", NULL},
	{310, when_named_by_operator, HA_ACTION_TAKEOVER,
	"an operator named this member, and the old lease is over", fill_ordered},
	{311, when_operator_named_another, HA_ACTION_WAIT,
	"an operator named another member", fill_named},
	{320, when_not_our_turn, HA_ACTION_WAIT,
	"another candidate ranks before us, or its ballot is awaited", fill_turn},
	{321, when_our_turn, HA_ACTION_TAKEOVER,
	"the lease is free and no candidate ranks before us", NULL},
	{322, when_outside_electorate, HA_ACTION_WAIT,
	"the lease is free, but this member may not succeed its holder", NULL},

	/* 4xx: another member leads */
	{401, when_running_diverged, HA_ACTION_REJOIN,
	"our WAL is not part of the leader's history", NULL},
	{402, when_replay_paused, HA_ACTION_REJOIN,
	"replay is paused by settings smaller than the primary's", NULL},
	{403, when_follows_another, HA_ACTION_FOLLOW,
	"the leader is not the one we stream from", fill_leader},
	{404, when_follows, HA_ACTION_WAIT,
	"following the leader", fill_held},
	{409, when_running, HA_ACTION_WAIT,
	"no leader is known that could be followed", fill_held},

	/* 5xx: what an operator asked for */
	{501, when_order_pending, HA_ACTION_WAIT,
	"a change of the order awaits its answer", fill_heartbeat},
	{502, when_order_done, HA_ACTION_END_ORDER,
	"the order to change the leader is done", fill_order},
	{503, when_order_impossible, HA_ACTION_END_ORDER,
	"the order to change the leader can't be carried out", fill_order},
	{504, when_checkpoint_wanted, HA_ACTION_CHECKPOINT,
	"a switchover was ordered: a checkpoint first", NULL},
	{505, when_checkpoint_runs, HA_ACTION_WAIT,
	"the checkpoint before a switchover is not done", fill_soon},
	{506, when_order_to_begin, HA_ACTION_BEGIN_ORDER,
	"the order to change the leader begins", fill_order_member},
	{507, when_handing_over, HA_ACTION_WAIT,
	"the launcher was told to hand over", fill_heartbeat},
	{508, when_order_due, HA_ACTION_HAND_OVER,
	"a switchover was ordered and has begun", fill_order_member},
	{520, when_job_pending, HA_ACTION_WAIT,
	"a change of the job awaits its answer", fill_heartbeat},
	{521, when_job_fails, HA_ACTION_END_RESTART,
	"a member was not restarted as the job asks for", fill_restart_fault},
	{522, when_job_member_back, HA_ACTION_MARK_BACK,
	"the member was restarted and is healthy", fill_job_asked},
	{523, when_job_to_tell, HA_ACTION_TELL_RESTART,
	"the member is to be restarted", fill_job_asked},
	{524, when_job_awaits, HA_ACTION_WAIT,
	"the member's restart is awaited", fill_heartbeat},
	{525, when_job_skips, HA_ACTION_MARK_SKIPPED,
	"a condition of the job does not hold for the member", fill_job_next},
	{526, when_job_goes_on, HA_ACTION_MARK_ASKED,
	"the member is the job's next", fill_job_next},
	{527, when_job_settles, HA_ACTION_WAIT,
	"the leader was restarted, and standbys may need it once more",
	fill_heartbeat},
	{528, has_job, HA_ACTION_END_RESTART,
	"all members of the job are restarted", fill_restart_fault},
	{549, has_request, HA_ACTION_WAIT,
	"the lease is ours, and what was asked for is not due", fill_heartbeat},

	/* 6xx: instance not running */
	{601, when_stop_requested, HA_ACTION_WAIT,
	"the node is stopped", NULL},
	{602, when_name_not_held, HA_ACTION_WAIT,
	"the member's name is not locked yet", NULL},
	{603, when_empty_scope_and_directory, HA_ACTION_INITDB,
	"neither the cluster nor the data directory exists", NULL},
	{604, when_scope_too_young, HA_ACTION_WAIT,
	"the scope has not been empty for ttl and margin", fill_scope},
	{605, when_scope_free, HA_ACTION_INITIALIZE,
	"the scope is empty: this directory founds the cluster", NULL},
	{606, when_clone_wanted, HA_ACTION_CLONE,
	"a whole copy of the leader is needed", fill_leader},
	{607, when_nothing_to_clone_from, HA_ACTION_WAIT,
	"no leader is there to clone from", NULL},
	{608, when_old_primary_end_unknown, HA_ACTION_FIND_WAL_END,
	"an old primary crashed and the end of its WAL is not known", NULL},
	{609, when_directory_hopeless, HA_ACTION_CLONE,
	"the directory can't be started: its WAL is unreadable, or it failed often",
	fill_leader},
	{610, when_rewind_wanted, HA_ACTION_REWIND,
	"our WAL is not part of the leader's history", fill_leader},
	{611, when_rewind_impossible, HA_ACTION_CLONE,
	"our WAL is not part of the leader's history and can't be rewound",
	fill_leader},
	{612, when_down, HA_ACTION_START_STANDBY,
	"the instance is down and the lease is not ours", fill_leader},
	{699, always, HA_ACTION_WAIT,
	"nothing to do", NULL},
};

#define NRULES ((int) (sizeof(rules) / sizeof(rules[0])))

HaDecision
pgha_decide(const HaView *view)
{
	HaDecision	decision;
	int			i;

	memset(&decision, 0, sizeof(decision));
	decision.deadline = HA_TIME_NEVER;
	for (i = 0; i < NRULES - 1; i++)
	{
		if (rules[i].when(view))
			break;
	}
	decision.rule = rules[i].id;
	decision.action = rules[i].action;
	if (rules[i].fill != NULL)
		rules[i].fill(view, &decision);
	return decision;
}

const HaRule *
pgha_rules(int *nrules)
{
	*nrules = NRULES;
	return rules;
}

const HaRule *
pgha_rule(int id)
{
	int			i;

	for (i = 0; i < NRULES; i++)
	{
		if (rules[i].id == id)
			return &rules[i];
	}
	return NULL;
}

const char *
pgha_action_name(HaAction action)
{
	static const char *const names[] = {
		[HA_ACTION_WAIT] = "wait",
		[HA_ACTION_REFUSE] = "refuse",
		[HA_ACTION_CLOSE] = "close",
		[HA_ACTION_CONFIRM] = "confirm",
		[HA_ACTION_END_PAUSE] = "end pause",
		[HA_ACTION_END_PERMITS] = "end permits",
		[HA_ACTION_FAILSAFE] = "failsafe",
		[HA_ACTION_HEARTBEAT] = "heartbeat",
		[HA_ACTION_TAKEOVER] = "takeover",
		[HA_ACTION_RELEASE] = "release",
		[HA_ACTION_PROMOTE] = "promote",
		[HA_ACTION_STOP_RECEIVER] = "stop receiver",
		[HA_ACTION_PUBLISH_BALLOT] = "publish ballot",
		[HA_ACTION_FOLLOW] = "follow",
		[HA_ACTION_STOP] = "stop",
		[HA_ACTION_REJOIN] = "rejoin",
		[HA_ACTION_KILL] = "kill",
		[HA_ACTION_FIND_WAL_END] = "find WAL end",
		[HA_ACTION_INITDB] = "initdb",
		[HA_ACTION_INITIALIZE] = "initialize",
		[HA_ACTION_CLONE] = "clone",
		[HA_ACTION_REWIND] = "rewind",
		[HA_ACTION_START_PRIMARY] = "start primary",
		[HA_ACTION_START_STANDBY] = "start standby",
		[HA_ACTION_END_ORDER] = "end order",
		[HA_ACTION_CHECKPOINT] = "checkpoint",
		[HA_ACTION_BEGIN_ORDER] = "begin order",
		[HA_ACTION_HAND_OVER] = "hand over",
		[HA_ACTION_END_RESTART] = "end restart",
		[HA_ACTION_MARK_BACK] = "mark as back",
		[HA_ACTION_MARK_SKIPPED] = "skip",
		[HA_ACTION_MARK_ASKED] = "mark as asked",
		[HA_ACTION_TELL_RESTART] = "restart",
	};

	if (action < 0 || action > HA_ACTION_LAST)
		return "unknown";
	return names[action];
}
