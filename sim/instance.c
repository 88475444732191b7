/*
 * instance.c
 *	  The instance, its WAL and its fence; the launcher's hands.
 */
#include "sim.h"

#include <string.h>

/* a byte count that stands for one record of WAL */
#define INSTANCE_RECORD 100

/* a standby receives at most so much at a time */
#define INSTANCE_CHUNK 20000

uint32_t
sim_wal_tli(const SimWal *wal)
{
	return wal->stretches[wal->n - 1].tli;
}

static bool
instance_serves(const SimMember *member)
{
	return member->up && member->role == HA_ROLE_PRIMARY &&
		(member->instance == HA_INSTANCE_RUNNING ||
		 member->instance == HA_INSTANCE_DYING ||
		 (member->instance == HA_INSTANCE_STOPPING && !member->clean_end));
}

/* Whether a backend may acknowledge a commit now, as the fence has it. */
bool
sim_fence_open(const Sim *sim, const SimMember *member)
{
	return instance_serves(member) &&
		(member->without_end || sim_local(sim, member) < member->fence ||
		 (sim->mutations & SIM_MUTATE_FENCE) != 0);
}

/* ... or one will, whatever happens to the fence. */
bool
sim_acknowledges(const Sim *sim, const SimMember *member)
{
	return sim_fence_open(sim, member) ||
		(instance_serves(member) && member->permits + member->stuck > 0);
}

/* Their sessions are cut. */
void
sim_instance_end_permits(SimMember *member)
{
	member->permits = member->stuck = 0;
}

/* ------------------------------------------------------------------------
 * States
 * ------------------------------------------------------------------------
 */

void
sim_instance_close(SimMember *member)
{
	member->fence = 0;
	member->without_end = false;
	sim_instance_end_permits(member);
	member->role = HA_ROLE_UNKNOWN;
	member->streaming = false;
	member->committing = 0;
}

static const char *
instance_word(HaInstance instance)
{
	static const char *const words[] = {
		"unknown", "empty", "half-done", "down", "crashed", "dying",
		"starting", "running", "stopping", "busy"
	};

	return words[instance];
}

/* How long the instance stays in a state; 0 = until somebody acts. */
static HaTime
instance_lasts(Sim *sim, HaInstance instance)
{
	switch (instance)
	{
		case HA_INSTANCE_STARTING:
			return sim_between(sim, 50, sim->healed ? 300 : 1500);
		case HA_INSTANCE_STOPPING:
			return sim_between(sim, 20, 300);
		case HA_INSTANCE_BUSY:
			return sim_between(sim, 10, 500);
		case HA_INSTANCE_DYING:
			return sim_between(sim, 5, 100);
		case HA_INSTANCE_UNKNOWN:
		case HA_INSTANCE_EMPTY:
		case HA_INSTANCE_HALF_DONE:
		case HA_INSTANCE_DOWN:
		case HA_INSTANCE_CRASHED:
		case HA_INSTANCE_RUNNING:
			break;
	}
	return 0;
}

/* The launcher has a brain while it hears of no worker. */
void
sim_instance_sync(Sim *sim, SimMember *member)
{
	bool		worker = member->up && member->instance == HA_INSTANCE_RUNNING;
	SimBrain   *brains = member->brains;
	bool		launcher;

	if (worker && !brains[HA_BRAIN_WORKER].alive)
		sim_brain_begin(sim, member, HA_BRAIN_WORKER);
	else if (!worker)
		sim_brain_end(member, HA_BRAIN_WORKER);
	launcher = member->up && member->launcher && !sim_brain_connected(member);
	if (launcher && !brains[HA_BRAIN_LAUNCHER].alive)
		sim_brain_begin(sim, member, HA_BRAIN_LAUNCHER);
	else if (!launcher)
		sim_brain_end(member, HA_BRAIN_LAUNCHER);
}

void
sim_instance_set(Sim *sim, SimMember *member, HaInstance instance)
{
	HaTime		lasts = instance_lasts(sim, instance);

	if (instance != member->instance)
	{
		sim_trace(sim, member, "%s -> %s", instance_word(member->instance),
				  instance_word(instance));
		member->instance_since = sim_local(sim, member);
		if (member->instance == HA_INSTANCE_RUNNING)
		{
			member->served_at = member->instance_since;
			member->idle_since = sim->now;
		}
		if (instance == HA_INSTANCE_STOPPING)
			member->committing = 0;
		if (instance == HA_INSTANCE_STOPPING ||
			instance == HA_INSTANCE_STARTING)
			member->clean_end = false;
	}
	member->instance = instance;
	member->turn++;
	if (lasts != 0)
		sim_event(sim, sim->now + lasts, SIM_EVENT_INSTANCE, member->number,
				  0, member->turn);
	sim_instance_sync(sim, member);
}

/* A shutdown's last record; then whatever hangs goes on hanging a while. */
static void
instance_stopped(Sim *sim, SimMember *member)
{
	if (!member->clean_end && member->role == HA_ROLE_PRIMARY)
	{
		sim_instance_beat(sim);
		member->wal.end += INSTANCE_RECORD;
		sim_instance_beat(sim);
		member->clean_end = true;
		sim_instance_close(member);
		member->wal_end_known = true;
		if (member->hangs || sim_chance(sim, 300))
		{
			sim_instance_set(sim, member, HA_INSTANCE_STOPPING);
			return;
		}
	}
	sim_instance_close(member);
	member->rejoin_requested = false;
	member->wal_end_known = member->clean_end;
	sim_instance_set(sim, member, HA_INSTANCE_DOWN);
}

static void
instance_started(Sim *sim, SimMember *member)
{
	sim_instance_close(member);
	member->role = member->standby_signal ? HA_ROLE_STANDBY : HA_ROLE_PRIMARY;
	member->wal_end_known = false;
	sim_instance_set(sim, member, HA_INSTANCE_RUNNING);
}

static bool
instance_reaches(const Sim *sim, const SimMember *member, int source)
{
	const SimMember *from = &sim->members[source];

	return from->up && !sim->cut[member->number][source] &&
		!sim->cut[source][member->number] &&
		from->instance == HA_INSTANCE_RUNNING &&
		from->role == HA_ROLE_PRIMARY;
}

/* A rewind or clone: the leader must be there until it is done. */
static void
instance_copied(Sim *sim, SimMember *member)
{
	int			source = member->following;
	SimMember  *from = source == SIM_NOBODY ? NULL : &sim->members[source];

	if (from == NULL || !instance_reaches(sim, member, source) ||
		sim_chance(sim, 50))
	{
		member->rewinds_failed++;
		member->retry_at = sim_local(sim, member) + MS(500);
		if (member->cloning)
		{
			sim_instance_set(sim, member, HA_INSTANCE_HALF_DONE);
			return;
		}
	}
	else
	{
		member->wal = from->wal;
		member->standby_signal = true;
		member->rewinds_failed = 0;
	}
	sim_instance_set(sim, member, HA_INSTANCE_DOWN);
}

void
sim_instance_next(Sim *sim, int number, unsigned turn)
{
	SimMember  *member = &sim->members[number];

	if (!member->up || member->turn != turn)
		return;
	if (member->hangs && (member->instance == HA_INSTANCE_STARTING ||
						  member->instance == HA_INSTANCE_DYING ||
						  (member->instance == HA_INSTANCE_STOPPING &&
						   member->clean_end)))
		return;
	if (member->instance == HA_INSTANCE_STARTING)
		instance_started(sim, member);
	else if (member->instance == HA_INSTANCE_STOPPING)
		instance_stopped(sim, member);
	else if (member->instance == HA_INSTANCE_DYING)
		sim_instance_kill(sim, member);
	else if (member->instance == HA_INSTANCE_BUSY && member->wal_end_known)
		sim_instance_set(sim, member, HA_INSTANCE_CRASHED);
	else if (member->instance == HA_INSTANCE_BUSY)
		instance_copied(sim, member);
}

/* ------------------------------------------------------------------------
 * The launcher's hands
 * ------------------------------------------------------------------------
 */

void
sim_instance_kill(Sim *sim, SimMember *member)
{
	sim_instance_close(member);
	member->rejoin_requested = false;
	member->wal_end_known = member->clean_end;
	sim_instance_set(sim, member, member->clean_end ? HA_INSTANCE_DOWN :
					 HA_INSTANCE_CRASHED);
}

void
sim_instance_act(Sim *sim, SimMember *member, const HaDecision *decision)
{
	HaAction	action = decision->action;

	member->following = decision->target[0] == 'm' ?
		decision->target[1] - '0' : SIM_NOBODY;
	if (member->following == member->number)
		member->following = SIM_NOBODY;
	if (action == HA_ACTION_STOP)
		sim_instance_set(sim, member, HA_INSTANCE_STOPPING);
	else if (action == HA_ACTION_KILL)
		sim_instance_kill(sim, member);
	else if (action == HA_ACTION_START_PRIMARY ||
			 action == HA_ACTION_START_STANDBY)
	{
		member->standby_signal = action == HA_ACTION_START_STANDBY;
		sim_instance_set(sim, member, HA_INSTANCE_STARTING);
	}
	else
	{
		member->wal_end_known = action == HA_ACTION_FIND_WAL_END;
		/* nothing is lost before the source has answered */
		member->cloning = member->instance == HA_INSTANCE_HALF_DONE ||
			(action == HA_ACTION_CLONE && member->following != SIM_NOBODY &&
			 instance_reaches(sim, member, member->following));
		sim_instance_set(sim, member, HA_INSTANCE_BUSY);
	}
}

/* The worker's word to the launcher; what follows is PostgreSQL's. */
void
sim_instance_promote(Sim *sim, SimMember *member, uint32_t claimed)
{
	member->claimed = claimed;
	sim_event(sim, sim->now + sim_between(sim, 5, 200), SIM_EVENT_PROMOTED,
			  member->number, 0, member->turn);
}

void
sim_instance_promoted(Sim *sim, int number, unsigned turn)
{
	SimMember  *member = &sim->members[number];
	SimWal	   *wal = &member->wal;
	uint32_t	tli = sim_wal_tli(wal) + 1;

	/* the next number, unless the launcher bars it */
	if (tli < member->claimed)
		tli = member->claimed;
	if (!member->up || member->turn != turn ||
		member->role != HA_ROLE_STANDBY)
		return;
	if (wal->n >= SIM_FORKS)
	{
		sim_violation(sim, "too many promotions");
		return;
	}
	sim_trace(sim, member, "promoted to timeline %u at %llu", tli,
			  (unsigned long long) wal->end);
	wal->stretches[wal->n++] = (SimStretch) {++sim->branches, tli, wal->end};
	wal->end += INSTANCE_RECORD;
	member->role = HA_ROLE_PRIMARY;
	member->standby_signal = false;
	member->following = SIM_NOBODY;
	member->streaming = false;
	member->brains[HA_BRAIN_WORKER].promoting = false;
	sim_check_fences(sim, "promoted");
}

/* ------------------------------------------------------------------------
 * WAL
 * ------------------------------------------------------------------------
 */

static HaLsn
wal_stretch_end(const SimWal *wal, int i)
{
	return i + 1 < wal->n ? wal->stretches[i + 1].start : wal->end;
}

/* As a walsender sees it: by numbers.  The oracle looks at the branches. */
static bool
wal_can_follow(Sim *sim, const SimMember *member, const SimMember *from)
{
	const SimWal *own = &member->wal;
	const SimWal *wal = &from->wal;
	int			last = own->n - 1;
	int			i;

	for (i = 0; i < wal->n; i++)
	{
		if (wal->stretches[i].tli == own->stretches[last].tli)
			break;
	}
	if (i == wal->n || own->end > wal_stretch_end(wal, i))
		return false;
	if (own->stretches[last].branch != wal->stretches[i].branch)
	{
		sim_violation(sim, "%s follows %s on another timeline %u than its own",
					  member->name, from->name, own->stretches[last].tli);
		return false;
	}
	return true;
}

static void
wal_receive(Sim *sim, SimMember *member)
{
	const SimMember *from;
	HaLsn		end;

	member->streaming = false;
	if (member->following == SIM_NOBODY)
		return;
	from = &sim->members[member->following];
	if (!from->up || from->role != HA_ROLE_PRIMARY ||
		(from->instance != HA_INSTANCE_RUNNING &&
		 from->instance != HA_INSTANCE_STOPPING) ||
		from->frozen_until > sim->now ||
		sim->cut[member->number][from->number] ||
		sim->cut[from->number][member->number] ||
		!wal_can_follow(sim, member, from))
		return;
	end = member->wal.end + INSTANCE_CHUNK;
	if (end > from->wal.end)
		end = from->wal.end;
	member->wal = from->wal;
	member->wal.end = end;
	while (member->wal.n > 1 &&
		   member->wal.stretches[member->wal.n - 1].start >= end)
		member->wal.n--;
	member->streaming = true;
}

static void
instance_acknowledged(Sim *sim, const SimMember *member, int leadership,
					  HaLsn end)
{
	if (leadership < sim->acked_leadership)
		sim_violation(sim, "%s acknowledges a commit of leadership %d after "
					  "one of leadership %d", member->name, leadership,
					  sim->acked_leadership);
	sim->acked_leadership = leadership;
	sim->acked_end = end;
	sim->acked++;
}

/*
 * A commit that began is acknowledged.  Anything may have happened in between,
 * so the fence is looked at once more.
 */
static void
instance_acknowledge(Sim *sim, SimMember *member)
{
	HaLsn		end = member->committing;

	member->committing = 0;
	if (end != 0 && (sim_fence_open(sim, member) ||
					 (sim->mutations & SIM_MUTATE_ACK)))
		instance_acknowledged(sim, member, member->fence_leadership, end);
}

/* Those that a fence without end let through look at nothing any more. */
static void
instance_finish_permits(Sim *sim, SimMember *member)
{
	for (int n = member->permits; n > 0 && instance_serves(member); n--)
	{
		if (sim_chance(sim, 900))
			continue;
		member->permits--;
		instance_acknowledged(sim, member, member->permit_leadership,
							  member->wal.end);
	}
}

/* A client commits: the fence, then WAL, and then the acknowledgement. */
static void
instance_commit(Sim *sim, SimMember *member)
{
	bool		open = sim_fence_open(sim, member);

	member->wal.end += INSTANCE_RECORD;
	if (open && member->without_end && sim_chance(sim, 100))
	{
		member->permit_leadership = member->fence_leadership;
		if (sim_chance(sim, 100))
			member->stuck++;
		else
			member->permits++;
		return;
	}
	member->committing = open ? member->wal.end : 0;
	if (sim_chance(sim, 400))
		instance_acknowledge(sim, member);
}

void
sim_instance_beat(Sim *sim)
{
	for (int i = 0; i < sim->nmembers; i++)
	{
		SimMember  *member = &sim->members[i];

		if (!member->up || member->frozen_until > sim->now)
			continue;
		instance_finish_permits(sim, member);
		if (member->role == HA_ROLE_PRIMARY &&
			(member->instance == HA_INSTANCE_RUNNING ||
			 member->instance == HA_INSTANCE_DYING))
		{
			instance_acknowledge(sim, member);
			if (sim_chance(sim, 700))
				instance_commit(sim, member);
		}
		else if (member->role == HA_ROLE_STANDBY &&
				 member->instance == HA_INSTANCE_RUNNING)
			wal_receive(sim, member);
	}
}
