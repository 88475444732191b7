/*
 * brain.c
 *	  A member's brain: the real lease and rules, fed from the model of Consul.
 *
 * It does what src/dcs/brain*.c, src/worker and src/launcher do around them:
 * sessions, member keys, watches, views, and the writes a decision asks for.
 */
#include "sim.h"

#include <string.h>

#define BRAIN_RETRY_MS 100
#define BRAIN_IDLE_MS 1000

/* ------------------------------------------------------------------------
 * Life, and what outlives it
 * ------------------------------------------------------------------------
 */

/*
 * The file never goes back, whoever of the node's two brains writes it; the
 * mutation is a brain that writes what it remembers over the other's.
 */
static void
brain_store(Sim *sim, SimMember *member, const SimBrain *brain)
{
	SimFile    *file = &member->file;
	bool		overwrite = (sim->mutations & SIM_MUTATE_FILE) != 0;

	if (file->term < brain->lease.my_term || overwrite ||
		file->boot != member->boot)
		file->term = brain->lease.my_term;
	if ((file->highest_term < brain->lease.highest_term || overwrite) &&
		!(sim->mutations & SIM_MUTATE_REMEMBER))
		file->highest_term = brain->lease.highest_term;
	if (file->seq_reserved < brain->seq_reserved || overwrite)
		file->seq_reserved = brain->seq_reserved;
	if (file->claimed < brain->lease.highest_claimed)
		file->claimed = brain->lease.highest_claimed;
	file->ttl_ms = brain->lease.last_ttl_ms;
	file->session = brain->session;
	file->boot = member->boot;
}

bool
sim_brain_connected(const SimMember *member)
{
	return member->up && member->launcher && !member->unlinked &&
		member->brains[HA_BRAIN_WORKER].alive;
}

void
sim_brain_begin(Sim *sim, SimMember *member, HaBrainKind kind)
{
	SimBrain   *brain = &member->brains[kind];
	SimFile    *file = &member->file;

	memset(brain, 0, sizeof(*brain));
	brain->alive = true;
	brain->kind = kind;
	brain->life = ++sim->ids;
	brain->session = file->session;
	if (file->boot != member->boot)
		file->term = 0;
	file->boot = member->boot;
	pgha_lease_init(&brain->lease, member->name, file->term,
					file->highest_term, file->seq_reserved + 1);
	file->seq_reserved += SIM_SEQ_BLOCK;
	brain->seq_reserved = file->seq_reserved;
	brain->lease.highest_claimed = file->claimed;
	brain->lease.last_ttl_ms = file->ttl_ms;
	brain->lease.mutations = sim->mutations;
	brain->folder.timeouts = sim->consul.folder.timeouts;
	pgha_lease_set_timeouts(&brain->lease, brain->folder.timeouts.ttl_ms,
							brain->folder.timeouts.retry_timeout_ms);
	sim_event(sim, sim->now, SIM_EVENT_WAKE, member->number, (int) kind,
			  ++brain->wake);
}

void
sim_brain_end(SimMember *member, HaBrainKind kind)
{
	member->brains[kind].alive = false;
}

/* ------------------------------------------------------------------------
 * The view
 * ------------------------------------------------------------------------
 */

static int
brain_number(const char *name)
{
	return name[0] == 'm' ? name[1] - '0' : SIM_NOBODY;
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
		memset(to, 0, sizeof(*to));
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
	view->other_term_confirmed = lease->seen.consistent && record->present &&
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

static void
view_instance(const SimMember *member, SimBrain *brain, HaView *view)
{
	bool		worker = brain->kind == HA_BRAIN_WORKER;

	view->instance = worker ? HA_INSTANCE_RUNNING : member->instance;
	if (!worker && member->instance == HA_INSTANCE_RUNNING)
		view->instance = HA_INSTANCE_STARTING;
	view->instance_since = member->instance_since;
	view->served_at = member->served_at;
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
	if (!worker && member->wal_end_known)
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
	view->rejoin_requested = !worker && member->rejoin_requested;
}

static bool
brain_history_news(const SimMember *member, const SimBrain *brain)
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

static void
brain_gather(const Sim *sim, const SimMember *member, SimBrain *brain,
			 HaView *view)
{
	const SimFolder *folder = &brain->folder;

	memset(view, 0, offsetof(HaView, members));
	memset(&view->instance, 0, sizeof(*view) - offsetof(HaView, instance));
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
	view_instance(member, brain, view);
	if (view->standing != HA_STANDING_EXPIRED &&
		view->standing != HA_STANDING_RELEASED)
		brain->ballot.present = false;
	if (brain->ballot.present && brain->key_landed)
		view->ballot = brain->key_sent.ballot;
	if (brain_history_news(member, brain) && !view->write_pending &&
		view->heartbeat_due > view->now && member->role == HA_ROLE_PRIMARY)
		view->heartbeat_due = view->now;
}

/* ------------------------------------------------------------------------
 * Acting
 * ------------------------------------------------------------------------
 */

static void
brain_send_write(Sim *sim, SimMember *member, SimBrain *brain,
				 const HaLeaseWrite *write, HaLsn optime)
{
	const HaObservation *seen = &brain->lease.seen;
	SimMessage *message = sim_message(sim, brain, member, SIM_WRITE);

	if (message == NULL)
		return;
	message->write = *write;
	message->sent_at = write->sent_at;
	message->optime = optime;
	message->delete_leader = write->check_leader_index != 0 &&
		(write->kind == HA_WRITE_TAKEOVER ||
		 brain->folder.leader_session != brain->session ||
		 strcmp(seen->leader, member->name) != 0);
	if (brain_history_news(member, brain))
	{
		message->nforks = member->wal.n - 1;
		for (int i = 0; i < message->nforks; i++)
			message->forks[i] = (HaFork)
		{
			member->wal.stretches[i].tli, member->wal.stretches[i + 1].start
		};
	}
	sim_send(sim, message);
}

static void
act_heartbeat(Sim *sim, SimMember *member, SimBrain *brain, const HaView *view)
{
	HaLeaseWrite write;
	bool		worker = brain->kind == HA_BRAIN_WORKER;
	bool		paused = worker ? view->paused :
		brain->lease.seen.lease.paused;

	if (worker && !paused)
		member->without_end = false;
	if (brain->session_held &&
		pgha_lease_prepare_heartbeat(&brain->lease, view->now, member->name,
									 "", paused, &write))
		brain_send_write(sim, member, brain, &write, worker ? view->lsn : 0);
}

static void
act_takeover(Sim *sim, SimMember *member, SimBrain *brain, const HaView *view)
{
	HaLeaseWrite write;

	if (!brain->session_held)
		return;
	pgha_lease_term_stored(&brain->lease,
						   pgha_lease_takeover_term(&brain->lease));
	if (!(sim->mutations & HA_MUTATE_DURABLE_TERM))
		brain_store(sim, member, brain);
	if (pgha_lease_prepare_takeover(&brain->lease, view->now, member->name,
									"", &write))
		brain_send_write(sim, member, brain, &write, view->lsn);
}

static void
act_release(Sim *sim, SimMember *member, SimBrain *brain, const HaView *view,
			const HaDecision *decision)
{
	HaLeaseWrite write;

	if (brain->session_held &&
		pgha_lease_prepare_release(&brain->lease, view->now, member->name, "",
								   decision->target, decision->end_known,
								   &write))
		brain_send_write(sim, member, brain, &write,
						 decision->end_known ? decision->end : 0);
}

static void
act_confirm(Sim *sim, SimMember *member, SimBrain *brain)
{
	SimMessage *message;

	if (brain->outstanding[SIM_CONFIRM] != 0 ||
		sim_local(sim, member) < brain->due[SIM_CONFIRM])
		return;
	message = sim_message(sim, brain, member, SIM_CONFIRM);
	if (message != NULL)
		sim_send(sim, message);
}

static void
act_rejoin(Sim *sim, SimMember *member, SimBrain *brain)
{
	if (brain->rejoining)
		return;
	brain->rejoining = true;
	member->rejoin_requested = sim_brain_connected(member);
	sim_instance_set(sim, member, HA_INSTANCE_STOPPING);
}

static void
brain_act(Sim *sim, SimMember *member, SimBrain *brain, const HaView *view,
		  const HaDecision *decision)
{
	brain->lease.timeline = view->tli;
	brain->lease.promotes = view->role != HA_ROLE_PRIMARY;
	sim_failsafe_list(sim, brain);
	switch (decision->action)
	{
		case HA_ACTION_CONFIRM:
			act_confirm(sim, member, brain);
			break;
		case HA_ACTION_FAILSAFE:
			sim_failsafe(sim, member, brain);
			break;
		case HA_ACTION_HEARTBEAT:
			act_heartbeat(sim, member, brain, view);
			break;
		case HA_ACTION_TAKEOVER:
			act_takeover(sim, member, brain, view);
			break;
		case HA_ACTION_RELEASE:
			act_release(sim, member, brain, view, decision);
			break;
		case HA_ACTION_PROMOTE:
			brain->promoting = true;
			sim_instance_promote(sim, member, view->claimed);
			break;
		case HA_ACTION_STOP_RECEIVER:
			member->following = SIM_NOBODY;
			member->streaming = false;
			break;
		case HA_ACTION_FOLLOW:
			member->following = brain_number(decision->target);
			break;
		case HA_ACTION_PUBLISH_BALLOT:
			brain->ballot = (HaBallot) {true, view->lease_term,
			view->lease_seq, view->tli, view->lsn};
			break;
		case HA_ACTION_REJOIN:
			act_rejoin(sim, member, brain);
			break;
		case HA_ACTION_STOP:
		case HA_ACTION_KILL:
		case HA_ACTION_FIND_WAL_END:
		case HA_ACTION_CLONE:
		case HA_ACTION_REWIND:
		case HA_ACTION_START_PRIMARY:
		case HA_ACTION_START_STANDBY:
			sim_instance_act(sim, member, decision);
			break;
		case HA_ACTION_WAIT:
		case HA_ACTION_REFUSE:
		case HA_ACTION_CLOSE:
		case HA_ACTION_END_PAUSE:
		case HA_ACTION_END_PERMITS:
		case HA_ACTION_INITDB:
		case HA_ACTION_INITIALIZE:
			break;
	}
}

/* ------------------------------------------------------------------------
 * Session, key and watch
 * ------------------------------------------------------------------------
 */

static void
key_describe(const SimMember *member, const SimBrain *brain, SimKey *key)
{
	bool		worker = brain->kind == HA_BRAIN_WORKER;

	memset(key, 0, sizeof(*key));
	key->role = worker ? member->role : HA_ROLE_STANDBY;
	if (!worker && pgha_lease_ours(&brain->lease))
		key->role = HA_ROLE_PRIMARY;
	key->running = worker;
	key->streaming = worker && member->streaming;
	key->launcher = !worker || sim_brain_connected(member);
	key->tli = sim_wal_tli(&member->wal);
	key->lsn = member->wal.end;
	key->ballot = brain->ballot;
}

static bool
key_due(const SimBrain *brain, const SimKey *key, HaTime now)
{
	SimKey		moved = brain->key_sent;

	if (!brain->key_landed || now < brain->due[SIM_KEY])
		return now >= brain->due[SIM_KEY];
	moved.lsn = key->lsn;
	if (memcmp(&moved, key, sizeof(moved)) != 0)
		return true;
	return key->lsn != brain->key_sent.lsn &&
		now >= brain->key_sent_at + MS(brain->folder.timeouts.loop_wait_ms);
}

static void
brain_tick(Sim *sim, SimMember *member, SimBrain *brain)
{
	HaTime		now = sim_local(sim, member);
	const HaTimeouts *timeouts = &brain->folder.timeouts;
	SimMessage *message;
	SimKey		key;

	if (brain->outstanding[SIM_RENEW] == 0 && now >= brain->due[SIM_RENEW] &&
		(message = sim_message(sim, brain, member, SIM_RENEW)) != NULL)
		sim_send(sim, message);
	if (brain->outstanding[SIM_WATCH] == 0 && now >= brain->due[SIM_WATCH] &&
		(message = sim_message(sim, brain, member, SIM_WATCH)) != NULL)
	{
		message->index = brain->folder.index;
		message->wait = MS(timeouts->loop_wait_ms <
						   timeouts->retry_timeout_ms / 2 ?
						   timeouts->loop_wait_ms :
						   timeouts->retry_timeout_ms / 2);
		sim_send(sim, message);
	}
	key_describe(member, brain, &key);
	if (brain->session_held && brain->outstanding[SIM_KEY] == 0 &&
		key_due(brain, &key, now) &&
		(message = sim_message(sim, brain, member, SIM_KEY)) != NULL)
	{
		message->key = brain->key_sent = key;
		brain->key_sent_at = now;
		brain->key_landed = false;
		sim_send(sim, message);
	}
}

/* ------------------------------------------------------------------------
 * One round
 * ------------------------------------------------------------------------
 */

static void
brain_move_fence(Sim *sim, SimMember *member, const SimBrain *brain)
{
	const HaLease *lease = &brain->lease;
	bool		moved = false;

	if (!lease->release_sent && lease->deadline > member->fence)
	{
		member->fence = lease->deadline;
		member->fence_leadership = sim_leadership(sim, member->number,
												  lease->my_term);
		moved = true;
	}
	if (lease->paused_in_force && !member->without_end)
	{
		member->without_end = true;
		member->fence_leadership = sim_leadership(sim, member->number,
												  lease->my_term);
		moved = true;
	}
	if (moved)
		sim_check_fences(sim, "the fence moved");
}

static void
brain_schedule(Sim *sim, SimMember *member, SimBrain *brain,
			   const HaDecision *decision)
{
	HaTime		now = sim_local(sim, member);
	HaTime		wake = now + MS(BRAIN_IDLE_MS);

	if (decision->deadline < wake)
		wake = decision->deadline;
	for (int i = 0; i < SIM_REQUESTS; i++)
	{
		if (brain->outstanding[i] == 0 && i != SIM_WRITE &&
			brain->due[i] > now && brain->due[i] < wake)
			wake = brain->due[i];
	}
	if (wake < now + MS(1))
		wake = now + MS(1);
	sim_event(sim, sim_real(sim, member, wake), SIM_EVENT_WAKE,
			  member->number, (int) brain->kind, ++brain->wake);
}

void
sim_brain_round(Sim *sim, SimMember *member, SimBrain *brain)
{
	static HaView view;
	HaDecision	decision;

	if (brain->kind == HA_BRAIN_WORKER)
		brain_move_fence(sim, member, brain);
	brain_gather(sim, member, brain, &view);
	decision = pgha_decide(&view);
	if (decision.rule != brain->rule && decision.rule != 110 &&
		decision.rule != 219 && decision.rule != 207)
		sim_trace(sim, member, "%s: rule %d: %s %s: %s",
				  brain->kind == HA_BRAIN_WORKER ? "worker" : "launcher",
				  decision.rule, pgha_action_name(decision.action),
				  decision.target, pgha_rule(decision.rule)->why);
	brain->rule = decision.rule;
	brain_act(sim, member, brain, &view, &decision);
	if (!brain->alive)
		return;
	brain_tick(sim, member, brain);
	brain_schedule(sim, member, brain, &decision);
}

void
sim_brain_wake(Sim *sim, int number, int kind, unsigned wake)
{
	SimMember  *member = &sim->members[number];
	SimBrain   *brain = &member->brains[kind];

	if (brain->alive && brain->wake == wake)
		sim_brain_round(sim, member, brain);
}

/* ------------------------------------------------------------------------
 * Answers
 * ------------------------------------------------------------------------
 */

static void
answer_read(Sim *sim, SimMember *member, SimBrain *brain,
			const SimMessage *message)
{
	const SimFolder *folder = &message->folder;
	HaObservation seen;

	memset(&seen, 0, sizeof(seen));
	seen.sent_at = message->sent_at;
	seen.received_at = sim_local(sim, member);
	seen.consistent = message->request == SIM_CONFIRM;
	seen.status_index = folder->status_index;
	seen.lease = folder->lease;
	seen.optime = folder->optime;
	seen.leader_index = folder->leader_index;
	if (folder->leader_index != 0)
		memcpy(seen.leader, sim->members[folder->leader].name,
			   sizeof(seen.leader));
	brain->folder = *folder;
	pgha_lease_set_timeouts(&brain->lease, folder->timeouts.ttl_ms,
							folder->timeouts.retry_timeout_ms);
	for (int i = 0; i < SIM_MEMBERS; i++)
		pgha_lease_note_timeline(&brain->lease, folder->members[i].tli);
	pgha_lease_observe(&brain->lease, &seen);
	brain->known = true;
	brain->read_at = seen.received_at;
	if (folder->lease.term > member->heard_term)
		member->heard_term = folder->lease.term;
	if ((brain->lease.highest_term > member->file.highest_term ||
		 brain->lease.highest_claimed > member->file.claimed ||
		 brain->lease.last_ttl_ms != member->file.ttl_ms) &&
		!(sim->mutations & HA_MUTATE_DURABLE_TERM))
		brain_store(sim, member, brain);
}

static void
brain_lost_session(SimBrain *brain)
{
	brain->session = 0;
	brain->session_held = false;
	brain->key_landed = false;
	brain->due[SIM_RENEW] = 0;
}

static void
answer_write(Sim *sim, SimMember *member, SimBrain *brain,
			 const SimMessage *message, SimResult result)
{
	HaTime		now = sim_local(sim, member);
	HaWriteOutcome outcome = result == SIM_OK ? HA_OUTCOME_DONE :
		result == SIM_NO_ANSWER ? HA_OUTCOME_UNKNOWN : HA_OUTCOME_REFUSED;

	brain->heartbeat_due = now + MS(BRAIN_RETRY_MS);
	if (outcome == HA_OUTCOME_DONE)
		brain->heartbeat_due = brain->lease.last.sent_at +
			MS(brain->folder.timeouts.loop_wait_ms);
	if (result == SIM_NO_SESSION)
		brain_lost_session(brain);
	pgha_lease_answer(&brain->lease, outcome,
					  message != NULL ? message->status_index : 0,
					  message != NULL ? message->leader_index : 0, now);
	if ((sim->mutations & HA_MUTATE_DURABLE_TERM) &&
		outcome == HA_OUTCOME_DONE)
		brain_store(sim, member, brain);
}

static void
answer_renew(Sim *sim, SimMember *member, SimBrain *brain,
			 const SimMessage *message, SimResult result)
{
	brain->due[SIM_RENEW] = sim_local(sim, member) + MS(250);
	if (result == SIM_NO_SESSION)
		brain_lost_session(brain);
	if (result != SIM_OK)
		return;
	brain->session = message->session;
	brain->session_held = true;
	brain->due[SIM_RENEW] = sim_local(sim, member) + MS(2000);
	if (member->file.session != brain->session)
		brain_store(sim, member, brain);
}

/* An answer, or that none came (message NULL). */
static void
brain_answered(Sim *sim, SimMember *member, SimBrain *brain,
			   SimRequest request, const SimMessage *message)
{
	SimResult	result = message != NULL ? message->result : SIM_NO_ANSWER;

	brain->outstanding[request] = 0;
	brain->due[request] = 0;
	switch (request)
	{
		case SIM_WATCH:
		case SIM_CONFIRM:
			if (result == SIM_OK)
				answer_read(sim, member, brain, message);
			else
				brain->due[request] = sim_local(sim, member) +
					MS(BRAIN_RETRY_MS);
			break;
		case SIM_WRITE:
			answer_write(sim, member, brain, message, result);
			break;
		case SIM_RENEW:
			answer_renew(sim, member, brain, message, result);
			break;
		case SIM_KEY:
			brain->key_landed = result == SIM_OK;
			if (result == SIM_NO_SESSION)
				brain_lost_session(brain);
			if (result != SIM_OK)
				brain->due[SIM_KEY] = sim_local(sim, member) + MS(250);
			break;
	}
	sim_brain_round(sim, member, brain);
}

void
sim_brain_answer(Sim *sim, int number)
{
	SimMessage *message = &sim->messages[number];
	SimMember  *member = &sim->members[message->member];
	SimBrain   *brain = &member->brains[message->kind];

	message->used = false;
	if (member->cut_from_consul || sim->consul.down || !brain->alive ||
		brain->life != message->life ||
		brain->outstanding[message->request] != message->id ||
		sim_chance(sim, 3))
		return;
	brain_answered(sim, member, brain, message->request, message);
}

void
sim_brain_timeout(Sim *sim, int number, int kind, unsigned id)
{
	SimMember  *member = &sim->members[number];
	SimBrain   *brain = &member->brains[kind];

	for (int i = 0; i < SIM_REQUESTS; i++)
	{
		if (brain->alive && brain->outstanding[i] == id)
			brain_answered(sim, member, brain, (SimRequest) i, NULL);
	}
}
