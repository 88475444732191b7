/*
 * network.c
 *	  The way to Consul and back: it takes its time, and scripts may hold things
 *	  on it.
 */
#include "sim.h"

#include <string.h>

SimMessage *
sim_message(Sim *sim, SimBrain *brain, SimMember *member, SimRequest request)
{
	for (int i = 0; i < SIM_MESSAGES; i++)
	{
		SimMessage *message = &sim->messages[i];

		if (message->used)
			continue;
		memset(message, 0, offsetof(SimMessage, folder));
		message->used = true;
		message->request = request;
		message->member = member->number;
		message->kind = brain->kind;
		message->life = brain->life;
		message->id = ++sim->ids;
		message->sent_at = sim_local(sim, member);
		message->session = brain->session;
		brain->outstanding[request] = message->id;
		return message;
	}
	return NULL;
}

/* What a script calls it: a bit for each kind of request and of write. */
unsigned
sim_message_bit(const SimMessage *message)
{
	return message->request == SIM_WRITE ?
		1U << (SIM_REQUESTS + (int) message->write.kind) :
		1U << (int) message->request;
}

bool
sim_holds(const Sim *sim, const SimMessage *message, bool answer)
{
	for (int i = 0; i < sim->nholds; i++)
	{
		const SimHold *hold = &sim->holds[i];

		if (hold->member == message->member && hold->answers == answer &&
			(hold->kinds & sim_message_bit(message)) != 0)
			return true;
	}
	return false;
}

/* What was held goes on its way. */
void
sim_deliver(Sim *sim, SimMessage *message)
{
	message->held = false;
	sim_event(sim, sim->now, message->answered ? SIM_EVENT_ANSWER :
			  SIM_EVENT_ARRIVE, (int) (message - sim->messages), 0,
			  message->id);
}

HaTime
sim_delay(Sim *sim)
{
	if (sim_chance(sim, 10))
		return sim_between(sim, 50, 8000);
	if (sim->slow && !sim->healed)
		return sim_between(sim, 5, 900);
	return sim_between(sim, 0, 4) + 100000;
}

void
sim_send(Sim *sim, SimMessage *message)
{
	const SimMember *member = &sim->members[message->member];
	HaTime		timeout =
		MS(sim->consul.folder.timeouts.retry_timeout_ms / 2) + message->wait;

	message->twice = message->request == SIM_WRITE && sim_chance(sim, 10);
	sim_event(sim, sim->now + timeout, SIM_EVENT_TIMEOUT, member->number,
			  (int) message->kind, message->id);
	message->held = sim_holds(sim, message, false);
	if (message->held)
		return;
	sim_event(sim, sim->now + sim_delay(sim), SIM_EVENT_ARRIVE,
			  (int) (message - sim->messages), 0, message->id);
}
