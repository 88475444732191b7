/*
 * view.c
 *	  The facts that a brain decides from.
 */
#include "sim.h"

#include <string.h>

int
sim_number(const char *name)
{
	return name[0] == 'm' ? name[1] - '0' : SIM_NOBODY;
}

/*
 * All but the lists, which are long and filled by their counts.  What of a
 * member is not set here never is.
 */
static void
view_clear(HaView *view)
{
	memset(view, 0, offsetof(HaView, history));
	memset(&view->history_known, 0,
		   offsetof(HaView, members) - offsetof(HaView, history_known));
	memset(&view->instance, 0,
		   offsetof(HaView, own_history) - offsetof(HaView, instance));
	memset(&view->wal_end, 0, sizeof(*view) - offsetof(HaView, wal_end));
}

static void
view_members(const SimBrain *brain, int nmembers, HaView *view)
{
	for (int i = 0; i < nmembers; i++)
	{
		const SimKey *key = &brain->folder.members[i];
		HaMember   *to = &view->members[view->nmembers];

		if (!key->present)
			continue;
		to->name[0] = 'm';
		to->name[1] = (char) ('0' + i);
		to->role = key->role;
		to->running = key->running;
		to->streaming = key->streaming;
		to->pgha = true;
		to->launcher = key->launcher;
		to->failover_priority = 1;
		to->tli = key->tli;
		to->lsn = key->lsn;
		to->ballot = key->ballot;
		view->nmembers++;
	}
}

static void
view_lease(const Sim *sim, const SimMember *member, SimBrain *brain,
		   HaView *view)
{
	const HaLease *lease = &brain->lease;
	const HaLeaseRecord *record = &lease->seen.lease;

	view->standing = pgha_lease_standing(lease, member->name, view->now,
										 &view->standing_until);
	view->stood_until = pgha_lease_stood_until(lease);
	view->lease_valid = pgha_lease_valid(lease, view->now);
	view->lease_deadline = lease->deadline;
	view->heartbeat_due = brain->heartbeat_due;
	view->write_pending = lease->in_flight;
	view->write_unresolved = lease->unresolved;
	view->takeover_unresolved = lease->unresolved &&
		lease->last.kind == HA_WRITE_TAKEOVER &&
		lease->seen.sent_at >= lease->last.sent_at && lease->seen.consistent;
	view->paused_in_force = lease->paused_in_force;
	view->other_term_confirmed = record->present &&
		(lease->seen.consistent || (sim->mutations & SIM_MUTATE_DEMOTE)) &&
		!pgha_lease_is_own(lease, record);
	view->stranger = pgha_lease_ours(lease) &&
		record->seq > member->file.seq_reserved;
	view->lease_term = record->present ? record->term : 0;
	view->claimed = record->claimed;
	view->consul_at = lease->seen.received_at;
	view->failsafe_possible = pgha_lease_failsafe_possible(lease) &&
		(!lease->failsafe.running || view->now >= lease->failsafe.sent_at +
		 MS(brain->folder.timeouts.retry_timeout_ms / 2));
	view->failsafe_due = brain->failsafe_due;
	view->highest_shown = lease->highest_shown;
	view->lease_seq = record->present ? record->seq : 0;
	if (lease->accepted_term == view->lease_term &&
		lease->accepted_seq > view->lease_seq)
		view->lease_seq = lease->accepted_seq;
	view->optime = lease->seen.optime;
	view->end_known = record->released && record->end_known;
	memcpy(view->successor, record->successor, sizeof(view->successor));
	if (record->present && !record->released)
		memcpy(view->leader, record->holder, sizeof(view->leader));
	else if (lease->seen.leader_index != 0)
		memcpy(view->leader, lease->seen.leader, sizeof(view->leader));

	if (view->standing != HA_STANDING_EXPIRED &&
		view->standing != HA_STANDING_RELEASED)
		brain->election_since = 0;
	else if (brain->election_since == 0)
		brain->election_since = view->now;
	view->election_since = brain->election_since;
	if (view->standing != HA_STANDING_OURS)
		brain->ours_since = 0;
	else if (brain->ours_since == 0)
		brain->ours_since = view->now;
	view->ours_since = brain->ours_since;
}

/* Without the safeguard the worker does not look whether its fence has an end. */
static void
view_fence(const Sim *sim, const SimMember *member, const SimBrain *brain,
		   HaView *view)
{
	if (brain->kind != HA_BRAIN_WORKER)
		return;
	view->fence_without_end = member->without_end &&
		!(sim->mutations & SIM_MUTATE_PAUSE_END);
	view->permits = member->permits + member->stuck;
	view->permits_since = member->permits_since;
}

static void
view_instance(const Sim *sim, const SimMember *member, SimBrain *brain,
			  HaView *view)
{
	bool		worker = brain->kind == HA_BRAIN_WORKER;

	view->instance = worker ? HA_INSTANCE_RUNNING : member->instance;
	if (!worker && member->instance == HA_INSTANCE_RUNNING)
		view->instance = HA_INSTANCE_STARTING;
	if ((sim->mutations & SIM_MUTATE_KILL) && !worker &&
		member->instance == HA_INSTANCE_DYING)
		view->instance = HA_INSTANCE_CRASHED;
	view->instance_since = member->instance_since;
	view->served_at = member->served_at;
	if ((sim->mutations & SIM_MUTATE_STOP) && !worker)
		view->instance_since = view->served_at = view->now;
	view->role = worker ? member->role : HA_ROLE_UNKNOWN;
	view->promoting = brain->promoting;
	view->receiver_on = worker && member->following != SIM_NOBODY;
	view->consistent = worker;
	view->sysid = view->initialize_sysid;
	view->standby_signal = member->standby_signal;
	view->was_primary = !member->standby_signal;
	view->tli = sim_wal_tli(&member->wal);
	view->own_history_known = true;
	view->own_history.nforks = member->wal.n - 1;
	for (int i = 0; i < member->wal.n - 1; i++)
		view->own_history.forks[i] = (HaFork)
	{
		member->wal.stretches[i].tli, member->wal.stretches[i + 1].start
	};
	view->lsn = member->wal.end;
	if (!worker && (member->wal_end_known ||
					view->instance != member->instance))
		view->wal_end = HA_WAL_END_KNOWN;
	view->wal_clean_end = member->clean_end && view->was_primary;
	if (member->following != SIM_NOBODY)
		memcpy(view->following, (char[3]) {'m', (char)
				   ('0' + member->following), 0}, 3);
	view->launcher_present = !worker || sim_brain_connected(member);
	view->use_pg_rewind = true;
	view->rewinds_failed = member->rewinds_failed;
	view->retry_at = member->retry_at;
	view->stop_requested = !worker && member->stop_requested;
	if (!worker && member->rejoin_requested)
		view->stop = HA_STOP_REJOIN;
}

bool
sim_history_news(const SimMember *member, const SimBrain *brain)
{
	const SimFolder *folder = &brain->folder;
	const SimWal *wal = &member->wal;

	return brain->known && !member->standby_signal &&
		(folder->nforks != wal->n - 1 ||
		 (wal->n > 1 && (folder->forks[wal->n - 2].tli !=
						 wal->stretches[wal->n - 2].tli ||
						 folder->forks[wal->n - 2].end !=
						 wal->stretches[wal->n - 1].start)));
}

void
sim_gather(const Sim *sim, const SimMember *member, SimBrain *brain,
			 HaView *view)
{
	const SimFolder *folder = &brain->folder;

	view_clear(view);
	view->brain = brain->kind;
	view->now = sim_local(sim, member);
	memcpy(view->self, member->name, sizeof(view->self));
	view->timeouts = folder->timeouts;
	view->cluster_known = brain->known;
	view->read_at = brain->read_at;
	view->session_held = brain->session_held;
	view->name_lock = brain->key_landed ? HA_NAME_HELD : HA_NAME_NOT_HELD;
	view->paused = folder->pause;
	view->failsafe_mode = sim->failsafe;
	view->initialize_present = true;
	view->initialize_sysid = 1;
	view->history_known = brain->known;
	view->history.nforks = folder->nforks;
	view->history.known = brain->lease.seen.lease.timeline;
	memcpy(view->history.forks, folder->forks,
		   sizeof(HaFork) * (size_t) folder->nforks);
	view_members(brain, sim->nmembers, view);
	view_lease(sim, member, brain, view);
	view_instance(sim, member, brain, view);
	view_fence(sim, member, brain, view);
	if (view->standing != HA_STANDING_EXPIRED &&
		view->standing != HA_STANDING_RELEASED)
		brain->ballot.present = false;
	if (brain->ballot.present && brain->key_landed)
		view->ballot = brain->key_sent.ballot;
	if (sim_history_news(member, brain) && !view->write_pending &&
		view->heartbeat_due > view->now && member->role == HA_ROLE_PRIMARY)
		view->heartbeat_due = view->now;
}
