/*
 * brain.c
 *	  A member's brain: the real lease and rules, fed from the model of Consul.
 *
 * It does what src/dcs/brain*.c, src/worker and src/launcher do around them:
 * sessions, member keys, watches, views, and the writes a decision asks for.
 */
#include "sim.h"

#include <string.h>

#include "core/election.h"

#define BRAIN_RETRY_MS 100
#define BRAIN_IDLE_MS 1000

/* a receiver is gone after, and the worker looks at it */
#define BRAIN_RECEIVER_MS 10

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
	HaLease		other = member->brains[1 - kind].lease;
	bool		same_boot = file->boot == member->boot;

	if (brain->lease.seen.received_at > other.seen.received_at)
		other = brain->lease;
	if (kind == HA_BRAIN_LAUNCHER)
		member->idle_since = sim->now;
	memset(brain, 0, sizeof(*brain));
	brain->alive = true;
	if (kind == HA_BRAIN_WORKER)
		member->permits_since = sim_local(sim, member);
	brain->kind = kind;
	brain->life = ++sim->ids;
	brain->session = file->session;
	if (!same_boot)
		file->term = 0;
	file->boot = member->boot;
	pgha_lease_init(&brain->lease, member->name, file->term,
					file->highest_term, file->seq_reserved + 1);
	file->seq_reserved += SIM_SEQ_BLOCK;
	brain->seq_reserved = file->seq_reserved;
	brain->lease.highest_claimed = file->claimed;
	brain->lease.last_ttl_ms = file->ttl_ms;
	brain->lease.mutations = sim->mutations;
	if ((sim->mutations & SIM_MUTATE_CLOCK) && same_boot &&
		other.observed && other.seen.received_at <= sim_local(sim, member))
	{
		brain->lease.observed = other.observed;
		brain->lease.seen = other.seen;
		brain->lease.index_since = other.index_since;
		brain->lease.steady_since = other.steady_since;
		brain->lease.last_ttl_ms = other.last_ttl_ms;
	}
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
	if (sim_history_news(member, brain))
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
act_heartbeat(Sim *sim, SimMember *member, SimBrain *brain, const HaView *view,
			  const HaDecision *decision)
{
	HaLeaseWrite write;
	bool		worker = brain->kind == HA_BRAIN_WORKER;
	bool		paused = worker ? decision->paused :
		brain->lease.seen.lease.paused;

	if (worker && (sim->mutations & SIM_MUTATE_PERMITS))
		paused = view->paused;
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
	bool		end_known = decision->end_known &&
		!(sim->mutations & SIM_MUTATE_RELEASE_END);

	if (brain->session_held &&
		pgha_lease_prepare_release(&brain->lease, view->now, member->name, "",
								   decision->target, end_known, &write))
		brain_send_write(sim, member, brain, &write,
						 end_known ? decision->end : 0);
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
	sim_check_rejoin(sim, member, brain->lease.my_term);
	brain->rejoining = true;
	member->rejoin_requested = sim_brain_connected(member);
	sim_instance_set(sim, member, HA_INSTANCE_STOPPING);
}

/* What every write to the lease says. */
static void
act_describe(Sim *sim, SimBrain *brain, const HaView *view)
{
	brain->lease.timeline = view->tli;
	brain->lease.promotes = view->role != HA_ROLE_PRIMARY;
	sim_failsafe_list(sim, brain);
}

static void
brain_act(Sim *sim, SimMember *member, SimBrain *brain, const HaView *view,
		  const HaDecision *decision)
{
	act_describe(sim, brain, view);
	switch (decision->action)
	{
		case HA_ACTION_CONFIRM:
			act_confirm(sim, member, brain);
			break;
		case HA_ACTION_FAILSAFE:
			sim_failsafe(sim, member, brain);
			break;
		case HA_ACTION_HEARTBEAT:
			act_heartbeat(sim, member, brain, view, decision);
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
			member->following = sim_number(decision->target);
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
		case HA_ACTION_END_PAUSE:
			member->without_end = false;
			member->permits_since = view->now;
			break;
		case HA_ACTION_END_PERMITS:
			sim_instance_end_permits(member);
			member->permits_since = view->now;
			break;
		case HA_ACTION_WAIT:
		case HA_ACTION_END_ORDER:
		case HA_ACTION_CHECKPOINT:
		case HA_ACTION_BEGIN_ORDER:
		case HA_ACTION_HAND_OVER:
		case HA_ACTION_END_RESTART:
		case HA_ACTION_MARK_BACK:
		case HA_ACTION_MARK_SKIPPED:
		case HA_ACTION_MARK_ASKED:
		case HA_ACTION_TELL_RESTART:
		case HA_ACTION_REFUSE:
		case HA_ACTION_CLOSE:
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

/* But for the position: that alone is told once per loop_wait. */
static bool
key_same(const SimKey *a, const SimKey *b)
{
	const HaBallot *mine = &a->ballot;
	const HaBallot *other = &b->ballot;

	return a->role == b->role && a->running == b->running &&
		a->streaming == b->streaming && a->launcher == b->launcher &&
		a->tli == b->tli && mine->present == other->present &&
		mine->term == other->term && mine->seq == other->seq &&
		mine->tli == other->tli && mine->lsn == other->lsn;
}

static bool
key_due(const SimBrain *brain, const SimKey *key, HaTime now)
{
	if (!brain->key_landed || now < brain->due[SIM_KEY])
		return now >= brain->due[SIM_KEY];
	if (!key_same(&brain->key_sent, key))
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
	if (!member->without_end &&
		((lease->paused_in_force && (brain->folder.pause ||
									 (sim->mutations &
									  SIM_MUTATE_PAUSE_LATE))) ||
		 ((sim->mutations & SIM_MUTATE_PAUSE_CONFIG) != 0 &&
		  brain->folder.pause && pgha_lease_ours(lease))))
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
	if (decision->action == HA_ACTION_STOP_RECEIVER)
		wake = now + MS(BRAIN_RECEIVER_MS);
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
	sim_gather(sim, member, brain, &view);
	decision = pgha_decide(&view);
	if ((sim->mutations & SIM_MUTATE_TIMELINE) && decision.rule == 304 &&
		pgha_election_candidacy(&view) == HA_CANDIDATE_TIMELINE)
	{
		view.history.nforks = 0;
		view.history.known = view.tli;
		decision = pgha_decide(&view);
	}
	/* no two nodes have one name here */
	if (decision.action == HA_ACTION_CLOSE && view.stranger)
		sim_violation(sim, "%s takes its own writes for a stranger's",
					  member->name);
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
	if (outcome == HA_OUTCOME_DONE && !brain->lease.last.lease.paused &&
		brain->lease.last.kind == HA_WRITE_HEARTBEAT &&
		brain->kind == HA_BRAIN_WORKER)
		member->without_end = false;
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
	if ((sim->mutations & SIM_MUTATE_PAUSE_LATE) && brain->alive &&
		brain->life == message->life && message->request == SIM_WRITE &&
		message->result == SIM_OK && message->write.lease.paused &&
		message->write.kind == HA_WRITE_HEARTBEAT && !member->cut_from_consul)
		brain->lease.paused_in_force = true;
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
