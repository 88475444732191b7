/*
 * failsafe.c
 *	  Leaders that ask the other members to wait while Consul is silent.
 */
#include "sim.h"

#include <string.h>

#define FAILSAFE_LINGER_TTLS 2

/* Mostly at once, sometimes much later; in one direction or not at all. */
static void
failsafe_send(Sim *sim, int ask, int from, int to, SimEventKind kind)
{
	HaTime		delay = sim_between(sim, 1, 20);

	if (sim_chance(sim, sim->slow ? 200 : 30))
		delay = sim_between(sim, 20, 4000);
	if (!sim->cut[from][to] && !sim_chance(sim, 10))
		sim_event(sim, sim->now + delay, kind, ask, 0, sim->asks[ask].id);
}

/* Who has, or had until lately, a member key. */
void
sim_failsafe_list(Sim *sim, SimBrain *brain)
{
	HaElectorate *electorate = &brain->lease.electorate;
	const SimFolder *folder = &brain->folder;

	if (brain->kind != HA_BRAIN_WORKER)
	{
		*electorate = brain->lease.seen.lease.electorate;
		return;
	}
	electorate->n = 0;
	if (!sim->failsafe)
		return;
	for (int i = 0; i < sim->nmembers; i++)
	{
		if (folder->members[i].present)
			brain->elector_seen[i] = brain->read_at;
		if (&sim->members[i].brains[brain->kind] == brain ||
			(brain->elector_seen[i] != 0 &&
			 brain->read_at - brain->elector_seen[i] <=
			 FAILSAFE_LINGER_TTLS * MS(folder->timeouts.ttl_ms)))
			pgha_electorate_add(electorate, sim->members[i].name);
	}
}

void
sim_failsafe(Sim *sim, SimMember *member, SimBrain *brain)
{
	HaTime		now = sim_local(sim, member);

	brain->failsafe_due = now + MS(brain->folder.timeouts.loop_wait_ms);
	if (!pgha_lease_failsafe_begin(&brain->lease, now))
		return;
	for (int i = 0; i < sim->nmembers; i++)
	{
		int			ask;

		if (i == member->number ||
			!pgha_electorate_has(&brain->lease.failsafe.asked,
								 sim->members[i].name))
			continue;
		ask = (int) (sim->nasks++ % SIM_ASKS);
		sim->asks[ask] = (SimAsk)
		{
			++sim->ids, member->number, i, brain->life,
				brain->lease.my_term, brain->lease.failsafe.seq,
				brain->lease.failsafe.ttl_ms, false
		};
		failsafe_send(sim, ask, member->number, i, SIM_EVENT_ASKED);
	}
	sim_trace(sim, member, "asks %d to wait, term %llu seq %llu",
			  brain->lease.failsafe.asked.n,
			  (unsigned long long) brain->lease.my_term,
			  (unsigned long long) brain->lease.failsafe.seq);
}

/* The brain that has the word: the worker's if one lives. */
SimBrain *
sim_failsafe_brain(SimMember *member)
{
	SimBrain   *brains = member->brains;

	if (member->up && brains[HA_BRAIN_WORKER].alive)
		return sim_brain_connected(member) ? &brains[HA_BRAIN_WORKER] : NULL;
	if (member->up && brains[HA_BRAIN_LAUNCHER].alive)
		return &brains[HA_BRAIN_LAUNCHER];
	return NULL;
}

void
sim_failsafe_asked(Sim *sim, int number, unsigned id)
{
	SimAsk	   *ask = &sim->asks[number];
	SimMember  *member = &sim->members[ask->to];
	SimBrain   *brain = sim_failsafe_brain(member);

	if (ask->id != id || brain == NULL)
		return;
	ask->accepted = pgha_lease_failsafe_accept(&brain->lease,
											   sim_local(sim, member),
											   ask->term, ask->seq,
											   ask->ttl_ms);
	failsafe_send(sim, number, ask->to, ask->from, SIM_EVENT_WORD);
}

void
sim_failsafe_word(Sim *sim, int number, unsigned id)
{
	const SimAsk *ask = &sim->asks[number];
	SimMember  *member = &sim->members[ask->from];
	SimBrain   *brain = &member->brains[HA_BRAIN_WORKER];
	HaTime		deadline = brain->lease.deadline;

	if (ask->id != id || !brain->alive || brain->life != ask->life)
		return;
	pgha_lease_failsafe_answer(&brain->lease, ask->seq,
							   sim->members[ask->to].name, ask->accepted);
	if (brain->lease.deadline > deadline)
	{
		sim_trace(sim, member, "all have agreed to wait");
		sim->failsafes++;
	}
	sim_brain_round(sim, member, brain);
}
