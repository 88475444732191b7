/*
 * consul.c
 *	  A model of Consul: one serialized state with a raft index; transactions
 *	  check and set; sessions expire.
 */
#include "sim.h"

#include <string.h>

/* sessions live so long without renewal, or up to twice as long */
#define CONSUL_SESSION_MS 5000

void
sim_consul_init(Sim *sim, int64_t ttl_ms)
{
	SimFolder  *folder = &sim->consul.folder;

	folder->leader = SIM_NOBODY;
	sim->consul.raft = folder->index = 10;
	folder->timeouts.ttl_ms = ttl_ms;
	folder->timeouts.loop_wait_ms = ttl_ms / 6;
	folder->timeouts.retry_timeout_ms = ttl_ms / 3;
	folder->timeouts.primary_start_timeout_ms = 20000;
	folder->timeouts.primary_stop_timeout_ms = 5000;
	folder->timeouts.member_slots_ttl_ms = 1800000;
	folder->timeouts.maximum_lag_on_failover = 100000;
}

static void
consul_answer(Sim *sim, SimMessage *message)
{
	message->folder = sim->consul.folder;
	if (message->request == SIM_WATCH && sim->stale != NULL &&
		message->member == sim->stale_member)
	{
		message->folder = *sim->stale;
		sim->stale = NULL;
	}
	else if (message->request == SIM_WATCH && sim->consul.nsnapshots > 0 &&
		sim_chance(sim, 5))
	{
		int			back = 1 + (int) (sim_random(sim) % 4);

		/* a server that no longer leads answers from what it knew */
		if (back <= sim->consul.nsnapshots)
			message->folder = sim->consul.snapshots
				[(sim->consul.nsnapshots - back) % SIM_SNAPSHOTS];
	}
	message->answered = true;
	message->held = sim_holds(sim, message, true);
	if (message->held)
		return;
	sim_event(sim, sim->now + sim_delay(sim), SIM_EVENT_ANSWER,
			  (int) (message - sim->messages), 0, message->id);
}

/* ------------------------------------------------------------------------
 * State
 * ------------------------------------------------------------------------
 */

/* Watches that wait are answered: the folder is newer than what they know. */
void
sim_consul_changed(Sim *sim)
{
	SimConsul  *consul = &sim->consul;

	consul->folder.index = consul->raft;
	if (consul->nsnapshots == 0 || consul->folder.status_index !=
		consul->snapshots[(consul->nsnapshots - 1) %
						  SIM_SNAPSHOTS].status_index)
		consul->nsnapshots++;
	consul->snapshots[(consul->nsnapshots - 1) % SIM_SNAPSHOTS] =
		consul->folder;
	for (int i = 0; i < SIM_MESSAGES; i++)
	{
		SimMessage *message = &sim->messages[i];

		if (message->used && message->request == SIM_WATCH &&
			message->result == SIM_NO_ANSWER)
		{
			message->result = SIM_OK;
			consul_answer(sim, message);
		}
	}
}

static bool
consul_alive(const Sim *sim, int session)
{
	return session > 0 && session < SIM_SESSIONS &&
		sim->consul.sessions[session].alive;
}

/* The session's keys go with it: behavior delete. */
void
sim_consul_end_session(Sim *sim, int session)
{
	SimFolder  *folder = &sim->consul.folder;

	sim->consul.sessions[session].alive = false;
	sim->consul.raft++;
	if (folder->leader_index != 0 && folder->leader_session == session)
	{
		folder->leader_index = 0;
		folder->leader = SIM_NOBODY;
	}
	for (int i = 0; i < sim->nmembers; i++)
	{
		if (folder->members[i].session == session)
			memset(&folder->members[i], 0, sizeof(SimKey));
	}
	sim_consul_changed(sim);
}

void
sim_consul_expire(Sim *sim)
{
	SimConsul  *consul = &sim->consul;

	for (int i = 1; i <= consul->nsessions; i++)
	{
		if (consul->sessions[i].alive &&
			consul->sessions[i].expires <= sim->now)
			sim_consul_end_session(sim, i);
	}
}

/* A new leader among the servers: it does not know how old sessions are. */
void
sim_consul_elect(Sim *sim)
{
	SimConsul  *consul = &sim->consul;

	for (int i = 1; i <= consul->nsessions; i++)
		consul->sessions[i].expires = sim->now +
			sim_between(sim, CONSUL_SESSION_MS, 2 * CONSUL_SESSION_MS);
	sim_event(sim, sim->now + MS(2 * CONSUL_SESSION_MS), SIM_EVENT_SESSIONS,
			  0, 0, 0);
}

static void
consul_forget_leader(Sim *sim)
{
	sim->consul.folder.leader_index = 0;
	sim->consul.folder.leader = SIM_NOBODY;
}

static bool
consul_same_electorate(const HaElectorate *a, const HaElectorate *b)
{
	for (int i = 0; i < a->n; i++)
	{
		if (!pgha_electorate_has(b, a->names[i]))
			return false;
	}
	return a->n == b->n;
}

/*
 * What "stop the members first" is for.  A snapshot of an older leadership
 * under somebody who has not heard of the last one, and would take its term and
 * its timeline for free; one with a shorter L; any
 * under somebody who missed the last writes, but not for as long as L, for
 * whom an index that comes back looks as if it had never moved; and any while
 * a write that was sent when the index was the same is still on its way.
 */
static bool
consul_may_restore(const Sim *sim, const SimFolder *old)
{
	const SimConsul *consul = &sim->consul;
	bool		older = old->lease.term != consul->folder.lease.term ||
		strcmp(old->lease.holder, consul->folder.lease.holder) != 0;

	if (old->lease.ttl_ms < consul->folder.lease.ttl_ms)
		return false;
	/* whom it would let take over, a leader on failsafe has not asked */
	if (sim->failsafe &&
		!consul_same_electorate(&old->lease.electorate,
								&consul->folder.lease.electorate))
		return false;
	for (int i = 0; i < SIM_MESSAGES; i++)
	{
		const SimMessage *message = &sim->messages[i];

		if (message->used && message->request == SIM_WRITE &&
			message->write.check_status_index == old->status_index)
			return false;
	}
	for (int i = 0; i < sim->nmembers; i++)
	{
		const SimMember *member = &sim->members[i];

		if (older && member->heard_term < consul->highest_term)
			return false;
		for (int kind = 0; kind < 2; kind++)
		{
			const HaLease *lease = &member->brains[kind].lease;

			if (member->brains[kind].alive && older &&
				lease->highest_term <= old->lease.term)
				return false;
			if (member->brains[kind].alive && lease->observed &&
				lease->seen.status_index != consul->folder.status_index &&
				sim_local(sim, member) - lease->seen.received_at <=
				MS(lease->last_ttl_ms))
				return false;
		}
	}
	return true;
}

/* A snapshot to go back to: by preference what somebody saw last. */
static const SimFolder *
consul_choose_snapshot(Sim *sim)
{
	SimConsul  *consul = &sim->consul;
	const SimMember *member =
		&sim->members[sim_random(sim) % (uint64_t) sim->nmembers];
	const HaLease *lease = &member->brains[sim_random(sim) % 2].lease;
	int			n = consul->nsnapshots < SIM_SNAPSHOTS ? consul->nsnapshots :
		SIM_SNAPSHOTS;

	if (n < 2)
		return NULL;
	for (int back = 2; back <= n && lease->observed; back++)
	{
		const SimFolder *old =
			&consul->snapshots[(consul->nsnapshots - back) % SIM_SNAPSHOTS];

		if (old->status_index == lease->seen.status_index)
			return old;
	}
	return &consul->snapshots[(consul->nsnapshots - 2 -
							   (int) (sim_random(sim) % (uint64_t) (n - 1))) %
							  SIM_SNAPSHOTS];
}

bool
sim_consul_restore(Sim *sim)
{
	const SimFolder *old = consul_choose_snapshot(sim);

	return old != NULL && consul_may_restore(sim, old) &&
		sim_consul_restore_from(sim, old);
}

/* Restore a snapshot: indexes go back, sessions do not. */
bool
sim_consul_restore_from(Sim *sim, const SimFolder *old)
{
	SimConsul  *consul = &sim->consul;

	sim_trace(sim, NULL, "Consul is restored: index %llu to %llu",
			  (unsigned long long) consul->folder.status_index,
			  (unsigned long long) old->status_index);
	consul->folder = *old;
	consul->raft++;
	if (!consul_alive(sim, old->leader_session))
		consul_forget_leader(sim);
	for (int i = 0; i < sim->nmembers; i++)
	{
		if (!consul_alive(sim, old->members[i].session))
			consul->folder.members[i].present = false;
	}
	consul->nsnapshots = 0;
	sim->released_at = 0;
	sim_consul_changed(sim);
	return true;
}

/*
 * Somebody deletes the keys of leadership; not twice in such a short time that
 * somebody has missed what was there in between.
 */
void
sim_consul_wipe(Sim *sim)
{
	SimFolder  *folder = &sim->consul.folder;

	for (int i = 0; i < 2 * sim->nmembers; i++)
	{
		const SimBrain *brain = &sim->members[i / 2].brains[i % 2];

		if (brain->alive && brain->known && brain->folder.status_index == 0 &&
			folder->status_index != 0)
			return;
	}
	sim_trace(sim, NULL, "status and leader are deleted");
	sim->consul.raft++;
	folder->status_index = 0;
	memset(&folder->lease, 0, sizeof(folder->lease));
	folder->optime = 0;
	sim->released_at = 0;
	consul_forget_leader(sim);
	sim_consul_changed(sim);
}

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

static bool
consul_mutated(const Sim *sim, HaWriteKind kind)
{
	static const unsigned by_kind[] = {
		[HA_WRITE_NONE] = 0,
		[HA_WRITE_HEARTBEAT] = HA_MUTATE_HEARTBEAT_INDEX,
		[HA_WRITE_TAKEOVER] = HA_MUTATE_TAKEOVER_INDEX,
		[HA_WRITE_RELEASE] = HA_MUTATE_RELEASE_INDEX,
	};

	return (sim->mutations & by_kind[kind]) != 0;
}

/* The checks of a leader's transaction, in its order. */
static SimResult
consul_check(const Sim *sim, const SimMessage *message)
{
	const SimFolder *folder = &sim->consul.folder;
	const HaLeaseWrite *write = &message->write;
	bool		there = folder->leader_index != 0;

	if (folder->status_index != write->check_status_index &&
		!consul_mutated(sim, write->kind))
		return SIM_REFUSED;
	if (message->delete_leader)
	{
		if (there && folder->leader_index != write->check_leader_index)
			return SIM_REFUSED;
		there = false;
	}
	else if (write->kind == HA_WRITE_TAKEOVER && there)
		return SIM_REFUSED;
	if (!consul_alive(sim, message->session))
		return SIM_NO_SESSION;
	if (there && folder->leader_session != message->session)
		return SIM_REFUSED;
	return SIM_OK;
}

static void
consul_write(Sim *sim, SimMessage *message)
{
	SimConsul  *consul = &sim->consul;
	SimFolder  *folder = &consul->folder;
	const HaLeaseWrite *write = &message->write;

	message->result = consul_check(sim, message);
	if (message->result == SIM_OK && write->kind == HA_WRITE_TAKEOVER)
		sim_check_takeover(sim, message);
	/* landed heartbeats would fill what is kept of a trace */
	if (sim->trace != SIM_TRACE_KEEP || message->result != SIM_OK ||
		write->kind != HA_WRITE_HEARTBEAT)
		sim_trace(sim, &sim->members[message->member],
				  "write %d term %llu seq %llu on %llu: %s", (int) write->kind,
				  (unsigned long long) write->lease.term,
				  (unsigned long long) write->lease.seq,
				  (unsigned long long) write->check_status_index,
				  message->result == SIM_OK ? "done" : "refused");
	if (message->result != SIM_OK)
		return;
	sim_note_release(sim, message);
	folder->status_index = ++consul->raft;
	folder->lease = write->lease;
	if (message->optime != 0)
		folder->optime = message->optime;
	if (folder->leader_index == 0 || message->delete_leader)
		folder->leader_index = consul->raft;
	folder->leader = message->member;
	folder->leader_session = message->session;
	if (message->nforks > 0)
	{
		folder->nforks = message->nforks;
		memcpy(folder->forks, message->forks, sizeof(folder->forks));
	}
	if (write->kind == HA_WRITE_RELEASE)
		consul_forget_leader(sim);
	if (write->lease.term > consul->highest_term)
		consul->highest_term = write->lease.term;
	if (write->kind == HA_WRITE_TAKEOVER)
	{
		sim_note_leadership(sim, message->member, write->lease.term);
		sim->members[message->member].idle_since = sim->now;
	}
	else if (write->kind == HA_WRITE_HEARTBEAT)
		sim_check_heartbeat(sim, &sim->members[message->member]);
	message->status_index = folder->status_index;
	message->leader_index = folder->leader_index;
	sim_consul_changed(sim);
	sim_check_fences(sim, "a write to the lease");
}

static void
consul_renew(Sim *sim, SimMessage *message)
{
	SimConsul  *consul = &sim->consul;

	message->result = SIM_OK;
	if (message->session == 0 && consul->nsessions + 1 < SIM_SESSIONS)
	{
		message->session = ++consul->nsessions;
		consul->sessions[message->session].alive = true;
	}
	else if (!consul_alive(sim, message->session))
	{
		message->result = SIM_NO_SESSION;
		return;
	}
	consul->sessions[message->session].expires = sim->now +
		sim_between(sim, CONSUL_SESSION_MS, 2 * CONSUL_SESSION_MS);
	sim_event(sim, consul->sessions[message->session].expires,
			  SIM_EVENT_SESSIONS, 0, 0, 0);
}

static void
consul_key(Sim *sim, SimMessage *message)
{
	SimKey	   *key = &sim->consul.folder.members[message->member];

	message->result = SIM_NO_SESSION;
	if (!consul_alive(sim, message->session))
		return;
	message->result = SIM_REFUSED;
	if (key->present && key->session != message->session)
		return;
	message->result = SIM_OK;
	*key = message->key;
	key->present = true;
	key->session = message->session;
	key->index = ++sim->consul.raft;
	sim_consul_changed(sim);
}

static void
consul_watch(Sim *sim, SimMessage *message)
{
	if (sim->consul.folder.index > message->index || message->index == 0)
	{
		message->result = SIM_OK;
		return;
	}
	message->result = SIM_NO_ANSWER;
	sim_event(sim, sim->now + message->wait, SIM_EVENT_WAIT_OVER,
			  (int) (message - sim->messages), 0, message->id);
}

void
sim_consul_arrive(Sim *sim, int number)
{
	SimMessage *message = &sim->messages[number];
	const SimMember *member = &sim->members[message->member];

	if (sim->consul.down || member->cut_to_consul || sim_chance(sim, 3))
	{
		message->used = false;
		return;
	}
	switch (message->request)
	{
		case SIM_WATCH:
			consul_watch(sim, message);
			break;
		case SIM_CONFIRM:
			message->result = SIM_OK;
			break;
		case SIM_WRITE:
			consul_write(sim, message);
			break;
		case SIM_RENEW:
			consul_renew(sim, message);
			break;
		case SIM_KEY:
			consul_key(sim, message);
			break;
	}
	if (message->twice)
	{
		message->twice = false;
		sim_event(sim, sim->now + sim_delay(sim), SIM_EVENT_ARRIVE, number,
				  0, message->id);
	}
	else if (message->result != SIM_NO_ANSWER)
		consul_answer(sim, message);
}

void
sim_consul_wait_over(Sim *sim, int number, unsigned id)
{
	SimMessage *message = &sim->messages[number];

	if (!message->used || message->id != id ||
		message->result != SIM_NO_ANSWER)
		return;
	message->result = SIM_OK;
	consul_answer(sim, message);
}
