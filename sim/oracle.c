/*
 * oracle.c
 *	  What must be true, whatever goes wrong.
 */
#include "sim.h"

#include <string.h>

/* a leader that has no instance may lead so much longer than is allowed */
#define IDLE_SLACK_MS 10000

void
sim_note_leadership(Sim *sim, int member, uint64_t term)
{
	if (sim->nleaderships >= SIM_LEADERSHIPS)
	{
		sim_violation(sim, "too many leaderships");
		return;
	}
	sim->leaderships[sim->nleaderships++] = (SimLeadership) {member, term};
}

/* The latest leadership of that member and term: 1, 2, ... */
int
sim_leadership(const Sim *sim, int member, uint64_t term)
{
	for (int i = sim->nleaderships; i > 0; i--)
	{
		if (sim->leaderships[i - 1].member == member &&
			sim->leaderships[i - 1].term == term)
			return i;
	}
	return 0;
}

/*
 * An open fence says that the lease in Consul is that member's and not
 * released; and never are two of them open.  While Consul says less than it
 * once did (wiped, restored) only the latter can hold.
 */
void
sim_check_fences(Sim *sim, const char *when)
{
	const SimFolder *folder = &sim->consul.folder;
	const HaLeaseRecord *lease = &folder->lease;
	bool		regular = folder->status_index != 0 &&
		lease->term >= sim->consul.highest_term;
	const SimMember *open = NULL;

	for (int i = 0; i < sim->nmembers; i++)
	{
		const SimMember *member = &sim->members[i];

		if (!sim_acknowledges(sim, member))
			continue;
		if (open != NULL)
			sim_violation(sim, "%s: the fences of %s and %s are open", when,
						  open->name, member->name);
		else if (regular && (lease->released ||
							 strcmp(lease->holder, member->name) != 0))
			sim_violation(sim, "%s: the fence of %s is open, the lease is "
						  "%s's, term %llu%s", when, member->name,
						  lease->holder, (unsigned long long) lease->term,
						  lease->released ? ", released" : "");
		open = member;
	}
}

/* Who takes over has what the last heartbeat told of, up to the limit. */
static void
oracle_check_lag(Sim *sim, const SimMessage *message)
{
	const SimFolder *folder = &sim->consul.folder;
	const SimMember *member = &sim->members[message->member];

	if (folder->optime > member->wal.end +
		(HaLsn) folder->timeouts.maximum_lag_on_failover)
		sim_violation(sim, "%s takes over without %llu bytes", member->name,
					  (unsigned long long) (folder->optime - member->wal.end));
	if (folder->lease.timeline > sim_wal_tli(&member->wal))
		sim_violation(sim, "%s takes over on timeline %u, the cluster is on "
					  "%u", member->name, sim_wal_tli(&member->wal),
					  folder->lease.timeline);
}

/*
 * A release that tells the end of WAL: whoever acts on it within L has all
 * that was ever acknowledged; who lacks it leaves that time to the others.
 */
static void
oracle_check_end(Sim *sim, const SimMessage *message)
{
	const SimFolder *folder = &sim->consul.folder;
	const SimMember *member = &sim->members[message->member];

	if (sim->released_at != 0 && member->wal.end < sim->acked_end &&
		sim->now < sim->released_at + MS(folder->lease.ttl_ms))
		sim_violation(sim, "%s takes over from a release at once, without "
					  "%llu bytes that were acknowledged", member->name,
					  (unsigned long long) (sim->acked_end - member->wal.end));
}

/* A heartbeat is no proof of life: without an instance it must end. */
void
sim_check_heartbeat(Sim *sim, const SimMember *member)
{
	const HaTimeouts *timeouts = &sim->consul.folder.timeouts;
	HaTime		limit = MS(timeouts->primary_start_timeout_ms +
						   timeouts->primary_stop_timeout_ms + IDLE_SLACK_MS);

	if (member->instance != HA_INSTANCE_RUNNING &&
		sim->now > member->idle_since + limit)
		sim_violation(sim, "%s has kept the lease for %d s without an instance",
					  member->name,
					  (int) ((sim->now - member->idle_since) / MS(1000)));
}

void
sim_check_takeover(Sim *sim, const SimMessage *message)
{
	oracle_check_lag(sim, message);
	oracle_check_end(sim, message);
}

/* What the leader had when it gave the lease up, it had on disk. */
void
sim_note_release(Sim *sim, const SimMessage *message)
{
	const SimMember *member = &sim->members[message->member];

	sim->released_at = 0;
	if (message->write.kind == HA_WRITE_RELEASE && member->wal_end_known &&
		member->wal.end >= sim->acked_end)
		sim->released_at = sim->now;
}

/* Nobody who leads steps down as if another one did. */
void
sim_check_rejoin(Sim *sim, const SimMember *member, uint64_t term)
{
	const SimFolder *folder = &sim->consul.folder;

	if (member->role == HA_ROLE_PRIMARY && sim_fence_open(sim, member) &&
		!member->without_end && folder->status_index != 0 &&
		!folder->lease.released && folder->lease.term == term &&
		strcmp(folder->lease.holder, member->name) == 0)
		sim_violation(sim, "%s gives up while it leads", member->name);
}

/* One leader acknowledges commits, and all others stream from it. */
bool
sim_healthy(const Sim *sim)
{
	const SimMember *leader = NULL;

	for (int i = 0; i < sim->nmembers; i++)
	{
		const SimMember *member = &sim->members[i];

		if (member->instance != HA_INSTANCE_RUNNING || !member->launcher)
			return false;
		if (member->role != HA_ROLE_PRIMARY)
			continue;
		if (leader != NULL || !sim_fence_open(sim, member))
			return false;
		leader = member;
	}
	for (int i = 0; i < sim->nmembers && leader != NULL; i++)
	{
		const SimMember *member = &sim->members[i];

		if (member != leader &&
			(!member->streaming || member->following != leader->number ||
			 sim_wal_tli(&member->wal) != sim_wal_tli(&leader->wal)))
			return false;
	}
	return leader != NULL;
}
