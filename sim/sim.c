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

/* of a trace that is kept */
#define TRACE_LINES 60
#define TRACE_WIDTH 160

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
	if (sim->scripted)
		return permille > 500;
	return sim_random(sim) % 1000 < (uint64_t) permille;
}

HaTime
sim_between(Sim *sim, int64_t low_ms, int64_t high_ms)
{
	if (sim->scripted)
		return MS(low_ms);
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

static char trace_lines[TRACE_LINES][TRACE_WIDTH];
static unsigned trace_next;

void
sim_trace(const Sim *sim, const SimMember *member, const char *format,...)
{
	va_list		args;
	char	   *line;
	int			len;

	if (sim->trace == SIM_TRACE_NONE)
		return;
	line = trace_lines[trace_next++ % TRACE_LINES];
	len = snprintf(line, TRACE_WIDTH, "%10.4f %-3s ", (double) sim->now / 1e9,
				   member != NULL ? member->name : "");
	va_start(args, format);
	vsnprintf(line + len, TRACE_WIDTH - (size_t) len, format, args);
	va_end(args);
	if (sim->trace == SIM_TRACE_PRINT)
		printf("%s\n", line);
}

/* The last lines that were kept, and none of them again. */
void
sim_trace_tail(void)
{
	unsigned	first = trace_next > TRACE_LINES ? trace_next - TRACE_LINES : 0;

	for (unsigned i = first; i < trace_next; i++)
		printf("%s\n", trace_lines[i % TRACE_LINES]);
	trace_next = 0;
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
	if (sim->scripted)
		member->ppm = 0;
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
static void
sim_init_cluster(Sim *sim)
{
	SimFolder  *folder = &sim->consul.folder;

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
}

void
sim_init(Sim *sim, uint64_t seed, unsigned mutations, SimTrace trace)
{
	memset(sim, 0, sizeof(*sim));
	sim->random = seed * UINT64_C(0x2545f4914f6cdd1d);
	sim->mutations = mutations;
	sim->trace = trace;
	sim_consul_init(sim, 2000 + (int64_t) (sim_random(sim) % 3) * 1000);
	sim->failsafe = sim_chance(sim, 750);
	sim->nmembers = 2 + (int) (sim_random(sim) % (SIM_MEMBERS - 1));
	sim_init_cluster(sim);
	sim_event(sim, sim_between(sim, 2000, 4000), SIM_EVENT_FAULT, 0, 0, 0);
}

/* Nothing happens but what a script says, and clocks run alike. */
void
sim_init_script(Sim *sim, int nmembers, int64_t ttl_ms, unsigned mutations,
				SimTrace trace)
{
	memset(sim, 0, sizeof(*sim));
	sim->random = 1;
	sim->mutations = mutations;
	sim->trace = trace;
	sim->scripted = true;
	sim_consul_init(sim, ttl_ms);
	sim->nmembers = nmembers;
	sim_init_cluster(sim);
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

void
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

/* No faults from now on; returns how long it took to be whole again. */
HaTime
sim_heal(Sim *sim)
{
	HaTime		since = sim->now;
	HaTime		healthy_since = 0;
	bool		looked = false;

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
			return healthy_since - since;
		if (!looked && sim->now >= since + MS(SIM_OPERATOR_MS))
		{
			looked = true;
			sim_fault_operator(sim);
		}
		if (sim->now >= since + MS(SIM_HEAL_MS))
			sim_violation(sim, "not whole again within %d s",
						  SIM_HEAL_MS / 1000);
	}
	return 0;
}

HaTime
sim_run(Sim *sim)
{
	sim_run_until(sim, sim_between(sim, 8000, 30000));
	return sim_heal(sim);
}
