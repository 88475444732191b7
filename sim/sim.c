/*
 * sim.c
 *	  Time, chance, events, and what must be true.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* after the last fault a cluster must be whole again within */
#define SIM_HEAL_MS 60000

/* ... and an operator has a look at a paused one after */
#define SIM_OPERATOR_MS 12000

/* it must stay whole for */
#define SIM_STEADY_MS 2000

/* commits and streaming happen so often */
#define SIM_BEAT_MS 20

/* ------------------------------------------------------------------------
 * Chance
 * ------------------------------------------------------------------------
 */

/* splitmix64 */
uint64_t
sim_random(Sim *sim)
{
	uint64_t	z = sim->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

bool
sim_chance(Sim *sim, int permille)
{
	return sim_random(sim) % 1000 < (uint64_t) permille;
}

HaTime
sim_between(Sim *sim, int64_t low_ms, int64_t high_ms)
{
	return MS(low_ms) + (HaTime) (sim_random(sim) %
								  (uint64_t) MS(high_ms - low_ms + 1));
}

/* ------------------------------------------------------------------------
 * Time
 * ------------------------------------------------------------------------
 */

HaTime
sim_local(const Sim *sim, const SimMember *member)
{
	return member->offset + sim->now + sim->now / 1000000 * member->ppm;
}

/* The first moment at which the member's clock has reached `local`. */
HaTime
sim_real(const Sim *sim, const SimMember *member, HaTime local)
{
	HaTime		left = local - sim_local(sim, member);

	return sim->now + left + left / 1000000 * -member->ppm +
		(left / 1000000) / 10000 + 1;
}

void
sim_trace(const Sim *sim, const SimMember *member, const char *format,...)
{
	va_list		args;

	if (!sim->trace)
		return;
	printf("%10.4f %-3s ", (double) sim->now / 1e9,
		   member != NULL ? member->name : "");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

void
sim_violation(Sim *sim, const char *format,...)
{
	va_list		args;

	if (sim->violation[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(sim->violation, sizeof(sim->violation), format, args);
	va_end(args);
	sim_trace(sim, NULL, "VIOLATION: %s", sim->violation);
}

/* ------------------------------------------------------------------------
 * Events: a heap by (at, order)
 * ------------------------------------------------------------------------
 */

static bool
event_before(const SimEvent *a, const SimEvent *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void
sim_event(Sim *sim, HaTime at, SimEventKind kind, int a, int b, unsigned c)
{
	SimEvent	event = {at, ++sim->order, kind, a, b, c};
	int			i = sim->nevents;

	if (sim->nevents >= SIM_EVENTS)
	{
		sim_violation(sim, "too many events");
		return;
	}
	sim->nevents++;
	while (i > 0 && event_before(&event, &sim->events[(i - 1) / 2]))
	{
		sim->events[i] = sim->events[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	sim->events[i] = event;
}

static SimEvent
event_next(Sim *sim)
{
	SimEvent	first = sim->events[0];
	SimEvent	last = sim->events[--sim->nevents];
	int			i = 0;

	for (;;)
	{
		int			child = 2 * i + 1;

		if (child >= sim->nevents)
			break;
		if (child + 1 < sim->nevents &&
			event_before(&sim->events[child + 1], &sim->events[child]))
			child++;
		if (!event_before(&sim->events[child], &last))
			break;
		sim->events[i] = sim->events[child];
		i = child;
	}
	sim->events[i] = last;
	return first;
}

/* ------------------------------------------------------------------------
 * What must be true
 * ------------------------------------------------------------------------
 */

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

		if (!sim_fence_open(sim, member))
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

/* ------------------------------------------------------------------------
 * A run
 * ------------------------------------------------------------------------
 */

static void
sim_init_member(Sim *sim, int number)
{
	static const int extremes[] = {-5000, 5000, 0};
	SimMember  *member = &sim->members[number];
	uint64_t	chance = sim_random(sim) % 4;

	member->number = number;
	snprintf(member->name, sizeof(member->name), "m%d", number);
	member->ppm = chance < 3 ? extremes[chance] :
		(int) (sim_random(sim) % 10001) - 5000;
	member->offset = sim_between(sim, 1000, 1000000);
	member->up = member->launcher = true;
	member->instance = HA_INSTANCE_DOWN;
	member->role = HA_ROLE_UNKNOWN;
	member->standby_signal = true;
	member->following = SIM_NOBODY;
	member->wal.n = 1;
	member->wal.stretches[0] = (SimStretch) {0, 1, 1};
	member->wal.end = 10000;
}

/* A cluster that was shut down: the lease is released, all are standbys. */
void
sim_init(Sim *sim, uint64_t seed, unsigned mutations, bool trace)
{
	SimFolder  *folder = &sim->consul.folder;

	memset(sim, 0, sizeof(*sim));
	sim->random = seed * UINT64_C(0x2545f4914f6cdd1d);
	sim->mutations = mutations;
	sim->trace = trace;
	sim_consul_init(sim);
	sim->failsafe = sim_chance(sim, 750);
	sim->nmembers = 2 + (int) (sim_random(sim) % (SIM_MEMBERS - 1));
	for (int i = 0; i < sim->nmembers; i++)
		sim_init_member(sim, i);
	folder->status_index = folder->index;
	folder->optime = sim->members[0].wal.end;
	folder->lease.present = folder->lease.released = true;
	folder->lease.term = sim->consul.highest_term = 1;
	folder->lease.ttl_ms = folder->timeouts.ttl_ms;
	memcpy(folder->lease.holder, sim->members[0].name,
		   sizeof(folder->lease.holder));
	for (int i = 0; i < sim->nmembers; i++)
		sim_instance_sync(sim, &sim->members[i]);
	sim_event(sim, 0, SIM_EVENT_BEAT, 0, 0, 0);
	sim_event(sim, sim_between(sim, 2000, 4000), SIM_EVENT_FAULT, 0, 0, 0);
}

/* Which frozen thing an event waits for; 0 = none. */
static HaTime
sim_frozen_until(const Sim *sim, const SimEvent *event)
{
	const SimMember *member;
	HaTime		until;
	int			kind = event->b;

	switch (event->kind)
	{
		case SIM_EVENT_ANSWER:
			member = &sim->members[sim->messages[event->a].member];
			kind = (int) sim->messages[event->a].kind;
			break;
		case SIM_EVENT_TIMEOUT:
		case SIM_EVENT_WAKE:
			member = &sim->members[event->a];
			break;
		case SIM_EVENT_INSTANCE:
		case SIM_EVENT_PROMOTED:
			return sim->members[event->a].frozen_until;
		case SIM_EVENT_ASKED:
			member = &sim->members[sim->asks[event->a].to];
			kind = member->brains[HA_BRAIN_WORKER].alive ? HA_BRAIN_WORKER :
				HA_BRAIN_LAUNCHER;
			break;
		case SIM_EVENT_WORD:
			member = &sim->members[sim->asks[event->a].from];
			kind = HA_BRAIN_WORKER;
			break;
		case SIM_EVENT_ARRIVE:
		case SIM_EVENT_WAIT_OVER:
		case SIM_EVENT_BEAT:
		case SIM_EVENT_SESSIONS:
		case SIM_EVENT_FAULT:
		case SIM_EVENT_LIFT:
		default:
			return 0;
	}
	until = member->deaf_until[kind];
	return member->frozen_until > until ? member->frozen_until : until;
}

static bool
sim_message_is(const Sim *sim, const SimEvent *event)
{
	return sim->messages[event->a].used &&
		sim->messages[event->a].id == event->c;
}

static void
sim_dispatch(Sim *sim, const SimEvent *event)
{
	HaTime		until = sim_frozen_until(sim, event);

	if (until > sim->now)
	{
		sim_event(sim, until, event->kind, event->a, event->b, event->c);
		return;
	}
	switch (event->kind)
	{
		case SIM_EVENT_ARRIVE:
			if (sim_message_is(sim, event))
				sim_consul_arrive(sim, event->a);
			break;
		case SIM_EVENT_WAIT_OVER:
			sim_consul_wait_over(sim, event->a, event->c);
			break;
		case SIM_EVENT_ANSWER:
			if (sim_message_is(sim, event))
				sim_brain_answer(sim, event->a);
			break;
		case SIM_EVENT_TIMEOUT:
			sim_brain_timeout(sim, event->a, event->b, event->c);
			break;
		case SIM_EVENT_WAKE:
			sim_brain_wake(sim, event->a, event->b, event->c);
			break;
		case SIM_EVENT_INSTANCE:
			sim_instance_next(sim, event->a, event->c);
			break;
		case SIM_EVENT_PROMOTED:
			sim_instance_promoted(sim, event->a, event->c);
			break;
		case SIM_EVENT_ASKED:
			sim_failsafe_asked(sim, event->a, event->c);
			break;
		case SIM_EVENT_WORD:
			sim_failsafe_word(sim, event->a, event->c);
			break;
		case SIM_EVENT_BEAT:
			sim_instance_beat(sim);
			sim_event(sim, sim->now + MS(SIM_BEAT_MS), SIM_EVENT_BEAT, 0, 0,
					  0);
			break;
		case SIM_EVENT_SESSIONS:
			sim_consul_expire(sim);
			break;
		case SIM_EVENT_FAULT:
			if (!sim->healed)
				sim_fault_begin(sim);
			break;
		case SIM_EVENT_LIFT:
			if (!sim->healed)
				sim_fault_lift(sim, event->b, event->a);
			break;
	}
}

static void
sim_run_until(Sim *sim, HaTime until)
{
	while (sim->violation[0] == '\0' && sim->nevents > 0 &&
		   sim->events[0].at <= until)
	{
		SimEvent	event = event_next(sim);

		if (event.at > sim->now)
			sim->now = event.at;
		sim_dispatch(sim, &event);
	}
	if (sim->violation[0] == '\0')
		sim->now = until;
}

/* Faults, then none; returns how long the cluster took to be whole again. */
HaTime
sim_run(Sim *sim)
{
	HaTime		chaos = sim_between(sim, 8000, 30000);
	HaTime		healthy_since = 0;
	bool		looked = false;

	sim_run_until(sim, chaos);
	sim_trace(sim, NULL, "all faults are lifted");
	sim->healed = true;
	sim_fault_lift_all(sim);
	while (sim->violation[0] == '\0')
	{
		long		acked = sim->acked;

		sim_run_until(sim, sim->now + MS(200));
		if (!sim_healthy(sim))
			healthy_since = 0;
		else if (healthy_since == 0 && sim->acked > acked)
			healthy_since = sim->now;
		if (healthy_since != 0 &&
			sim->now >= healthy_since + MS(SIM_STEADY_MS))
			return healthy_since - chaos;
		if (!looked && sim->now >= chaos + MS(SIM_OPERATOR_MS))
		{
			looked = true;
			sim_fault_operator(sim);
		}
		if (sim->now >= chaos + MS(SIM_HEAL_MS))
			sim_violation(sim, "not whole again within %d s",
						  SIM_HEAL_MS / 1000);
	}
	return 0;
}
