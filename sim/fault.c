/*
 * fault.c
 *	  What may go wrong, one thing on top of another, and how it ends.
 */
#include "sim.h"

#include <string.h>

typedef enum SimFault
{
	FAULT_KILL_POSTMASTER,
	FAULT_RESTART_WORKER,
	FAULT_CRASH_BACKEND,
	FAULT_KILL_LAUNCHER,
	FAULT_POWER_OFF,
	FAULT_FREEZE_NODE,
	FAULT_FREEZE_WORKER,
	FAULT_FREEZE_LAUNCHER,
	FAULT_CUT_TO_CONSUL,
	FAULT_CUT_FROM_CONSUL,
	FAULT_CUT_CONSUL,
	FAULT_CUT_PEERS,
	FAULT_CONSUL_DOWN,
	FAULT_END_SESSION,
	FAULT_DELETE_LEADER,
	FAULT_TTL,
	FAULT_PAUSE,
	FAULT_STOP_NODE,
	FAULT_RESTORE,
	FAULT_WIPE,
	FAULT_SLOW,
	FAULT_UNLINK,
	FAULT_ELECTION,
	FAULT_USURP,
	FAULT_HANG,
} SimFault;
#define FAULTS (FAULT_HANG + 1)

static const char *const fault_names[FAULTS] = {
	"the postmaster is killed", "the worker restarts", "a backend crashes",
	"the launcher is killed", "power off", "the node freezes",
	"the worker freezes", "the launcher freezes", "cut off to Consul",
	"cut off from Consul", "cut off from and to Consul",
	"cut off from the other members", "Consul is down",
	"the session is destroyed", "the leader key is deleted",
	"another ttl", "pause", "the operator stops the node",
	"restore", "wipe", "the network is slow",
	"worker and launcher are disconnected", "Consul elects a leader",
	"the leader key is overwritten", "shutdowns and starts hang"
};

/* what scripts call those that begin and are lifted */
static const char *const fault_words[FAULTS] = {
	[FAULT_KILL_POSTMASTER] = "kill-postmaster",
	[FAULT_RESTART_WORKER] = "restart-worker",
	[FAULT_CRASH_BACKEND] = "crash-backend",
	[FAULT_KILL_LAUNCHER] = "kill-launcher",
	[FAULT_POWER_OFF] = "power-off",
	[FAULT_FREEZE_NODE] = "freeze",
	[FAULT_FREEZE_WORKER] = "freeze-worker",
	[FAULT_FREEZE_LAUNCHER] = "freeze-launcher",
	[FAULT_CUT_TO_CONSUL] = "cut-to-consul",
	[FAULT_CUT_FROM_CONSUL] = "cut-from-consul",
	[FAULT_CUT_CONSUL] = "cut-consul",
	[FAULT_CUT_PEERS] = "cut-peers",
	[FAULT_CONSUL_DOWN] = "consul-down",
	[FAULT_END_SESSION] = "end-session",
	[FAULT_DELETE_LEADER] = "delete-leader",
	[FAULT_TTL] = "ttl",
	[FAULT_PAUSE] = "pause",
	[FAULT_STOP_NODE] = "stop",
	[FAULT_RESTORE] = "restore",
	[FAULT_WIPE] = "wipe",
	[FAULT_SLOW] = "slow",
	[FAULT_UNLINK] = "unlink",
	[FAULT_ELECTION] = "consul-elects",
	[FAULT_USURP] = "usurp",
	[FAULT_HANG] = "hang",
};

/* ------------------------------------------------------------------------
 * Single faults
 * ------------------------------------------------------------------------
 */

static void
fault_power_off(Sim *sim, SimMember *member)
{
	HaInstance	left = member->instance;

	if (!member->up)
		return;
	if (left == HA_INSTANCE_BUSY)
		left = member->wal_end_known ? HA_INSTANCE_CRASHED :
			member->cloning ? HA_INSTANCE_HALF_DONE : HA_INSTANCE_DOWN;
	else if (left == HA_INSTANCE_STOPPING && member->clean_end)
		left = HA_INSTANCE_DOWN;
	else if (left != HA_INSTANCE_DOWN && left != HA_INSTANCE_HALF_DONE)
		left = HA_INSTANCE_CRASHED;
	member->wal_end_known = left == HA_INSTANCE_DOWN && member->clean_end;
	member->up = false;
	member->served_at = 0;
	member->retry_at = 0;
	member->rejoin_requested = false;
	sim_instance_close(member);
	sim_instance_set(sim, member, left);
}

static void
fault_power_on(Sim *sim, SimMember *member)
{
	if (member->up)
		return;
	member->up = member->launcher = true;
	member->boot++;
	member->offset = MS(1000) - sim->now - sim->now / 1000000 * member->ppm;
	member->instance_since = sim_local(sim, member);
	sim_instance_sync(sim, member);
}

static void
fault_kill_postmaster(Sim *sim, SimMember *member)
{
	if (member->instance == HA_INSTANCE_RUNNING ||
		(member->instance == HA_INSTANCE_STOPPING && !member->clean_end))
		sim_instance_set(sim, member, HA_INSTANCE_DYING);
	else if (member->instance == HA_INSTANCE_STARTING)
		sim_instance_kill(sim, member);
}

/* With it goes shared memory, or not. */
static void
fault_restart_worker(Sim *sim, SimMember *member, bool crash)
{
	if (member->instance != HA_INSTANCE_RUNNING)
		return;
	sim_brain_end(member, HA_BRAIN_WORKER);
	if (crash)
	{
		member->fence = 0;
		member->without_end = false;
		sim_instance_end_permits(member);
	}
	sim_instance_sync(sim, member);
}

static void
fault_stop_node(Sim *sim, SimMember *member)
{
	member->stop_requested = true;
	if (sim_brain_connected(member))
		sim_instance_set(sim, member, HA_INSTANCE_STOPPING);
}

/* What the worker has asked of a launcher it no longer hears. */
static void
fault_forget_requests(SimMember *member)
{
	member->brains[HA_BRAIN_WORKER].promoting = false;
	member->brains[HA_BRAIN_WORKER].rejoining = false;
}

static void
fault_set_launcher(Sim *sim, SimMember *member, bool present)
{
	member->launcher = present;
	if (!present)
	{
		member->rejoin_requested = false;
		member->stop_requested = false;
		member->served_at = 0;
		fault_forget_requests(member);
	}
	member->instance_since = sim_local(sim, member);
	sim_instance_sync(sim, member);
}

static void
fault_set_unlinked(Sim *sim, SimMember *member, bool unlinked)
{
	member->unlinked = unlinked;
	if (member->instance == HA_INSTANCE_RUNNING && unlinked)
		member->instance_since = member->served_at = sim_local(sim, member);
	fault_forget_requests(member);
	sim_instance_sync(sim, member);
}

static void
fault_set_cuts(Sim *sim, int number, bool cut)
{
	for (int i = 0; i < sim->nmembers; i++)
	{
		sim->cut[number][i] = cut;
		if (!cut || sim_chance(sim, 700))
			sim->cut[i][number] = cut;
	}
}

static void
fault_set_ttl(Sim *sim)
{
	HaTimeouts *timeouts = &sim->consul.folder.timeouts;

	timeouts->ttl_ms = 2000 + (int64_t) (sim_random(sim) % 5) * 1000;
	timeouts->loop_wait_ms = timeouts->ttl_ms / 6;
	timeouts->retry_timeout_ms = timeouts->ttl_ms / 3;
	sim_trace(sim, NULL, "ttl is %d ms now", (int) timeouts->ttl_ms);
	sim->consul.raft++;
	sim_consul_changed(sim);
}

static void
fault_set_pause(Sim *sim, bool pause)
{
	sim->consul.folder.pause = pause;
	sim->consul.raft++;
	sim_consul_changed(sim);
}

static void
fault_delete_leader(Sim *sim)
{
	sim->consul.folder.leader_index = 0;
	sim->consul.folder.leader = SIM_NOBODY;
	sim->consul.raft++;
	sim_consul_changed(sim);
}

/* Somebody writes the leader key, without a session. */
static void
fault_usurp(Sim *sim)
{
	SimFolder  *folder = &sim->consul.folder;

	folder->leader_index = ++sim->consul.raft;
	folder->leader = (int) (sim_random(sim) % (uint64_t) sim->nmembers);
	folder->leader_session = 0;
	sim_consul_changed(sim);
}

/* What hangs goes on. */
static void
fault_end_hang(Sim *sim, SimMember *member)
{
	if (!member->hangs)
		return;
	member->hangs = false;
	if (member->instance == HA_INSTANCE_STARTING ||
		member->instance == HA_INSTANCE_STOPPING)
		sim_instance_set(sim, member, member->instance);
}

/* Not while a fence is open without end: say so to users, too. */
static bool
fault_anybody_without_end(const Sim *sim)
{
	for (int i = 0; i < sim->nmembers; i++)
	{
		if (sim->members[i].without_end || sim->members[i].permits > 0 ||
			sim->members[i].stuck > 0 || sim->consul.folder.lease.paused)
			return true;
	}
	return false;
}

/* The leader may be cut off from then on, and say nothing about it. */
static void
fault_restore(Sim *sim)
{
	const char *holder = sim->consul.folder.lease.holder;
	SimMember  *leader = &sim->members[holder[0] == 'm' ? holder[1] - '0' : 0];

	if (sim_consul_restore(sim) && sim_chance(sim, 500))
		leader->cut_to_consul = leader->cut_from_consul = true;
}

/* ------------------------------------------------------------------------
 * Begin and lift
 * ------------------------------------------------------------------------
 */

static void
fault_consul(Sim *sim, SimFault fault, const SimMember *member)
{
	if (fault == FAULT_CONSUL_DOWN)
		sim->consul.down = true;
	else if (fault == FAULT_END_SESSION && member->file.session > 0)
		sim_consul_end_session(sim, member->file.session);
	else if (fault == FAULT_DELETE_LEADER)
		fault_delete_leader(sim);
	else if (fault == FAULT_TTL)
		fault_set_ttl(sim);
	else if (fault == FAULT_PAUSE)
		fault_set_pause(sim, true);
	else if (fault == FAULT_RESTORE && !fault_anybody_without_end(sim))
		fault_restore(sim);
	else if (fault == FAULT_WIPE && !fault_anybody_without_end(sim))
		sim_consul_wipe(sim);
	else if (fault == FAULT_SLOW)
		sim->slow = true;
	else if (fault == FAULT_ELECTION)
		sim->consul.down = true;
	else if (fault == FAULT_USURP)
		fault_usurp(sim);
}

static void
fault_member(Sim *sim, SimFault fault, SimMember *member, HaTime until)
{
	if (fault == FAULT_KILL_POSTMASTER)
		fault_kill_postmaster(sim, member);
	else if (fault == FAULT_RESTART_WORKER)
		fault_restart_worker(sim, member, false);
	else if (fault == FAULT_CRASH_BACKEND)
		fault_restart_worker(sim, member, true);
	else if (fault == FAULT_KILL_LAUNCHER)
		fault_set_launcher(sim, member, false);
	else if (fault == FAULT_POWER_OFF)
		fault_power_off(sim, member);
	else if (fault == FAULT_FREEZE_NODE)
		member->frozen_until = until;
	else if (fault == FAULT_FREEZE_WORKER)
		member->deaf_until[HA_BRAIN_WORKER] = until;
	else if (fault == FAULT_FREEZE_LAUNCHER)
		member->deaf_until[HA_BRAIN_LAUNCHER] = until;
	else if (fault == FAULT_CUT_PEERS)
		fault_set_cuts(sim, member->number, true);
	else if (fault == FAULT_STOP_NODE)
		fault_stop_node(sim, member);
	else if (fault == FAULT_UNLINK)
		fault_set_unlinked(sim, member, true);
	else if (fault == FAULT_HANG)
		member->hangs = true;
	if (fault == FAULT_CUT_TO_CONSUL || fault == FAULT_CUT_CONSUL)
		member->cut_to_consul = true;
	if (fault == FAULT_CUT_FROM_CONSUL || fault == FAULT_CUT_CONSUL)
		member->cut_from_consul = true;
}

/* The leader is hit as often as all others together. */
static int
fault_victim(Sim *sim)
{
	const char *holder = sim->consul.folder.lease.holder;

	if (sim_chance(sim, 500) && holder[0] == 'm')
		return holder[1] - '0';
	return (int) (sim_random(sim) % (uint64_t) sim->nmembers);
}

/* The fault that scripts call so, or -1. */
int
sim_fault_named(const char *name)
{
	for (int i = 0; i < FAULTS; i++)
	{
		if (strcmp(fault_words[i], name) == 0)
			return i;
	}
	return -1;
}

void
sim_fault_apply(Sim *sim, int fault, int number, HaTime until)
{
	SimMember  *member = &sim->members[number];

	fault_consul(sim, (SimFault) fault, member);
	if (member->up)
		fault_member(sim, (SimFault) fault, member, until);
}

void
sim_fault_begin(Sim *sim)
{
	SimFault	fault = (SimFault) (sim_random(sim) % FAULTS);
	int			number = fault_victim(sim);
	HaTime		lasts = sim_between(sim, 50, sim_chance(sim, 500) ? 2000 :
									8000);

	sim_trace(sim, &sim->members[number], "FAULT for %.3f s: %s",
			  (double) lasts / 1e9, fault_names[fault]);
	sim_fault_apply(sim, (int) fault, number, sim->now + lasts);
	sim_event(sim, sim->now + lasts, SIM_EVENT_LIFT, number, (int) fault, 0);
	sim_event(sim, sim->now + sim_between(sim, 0, 2500), SIM_EVENT_FAULT, 0, 0,
			  0);
}

void
sim_fault_lift(Sim *sim, int fault, int number)
{
	SimMember  *member = &sim->members[number];

	if (fault == FAULT_POWER_OFF)
		fault_power_on(sim, member);
	else if (fault == FAULT_KILL_LAUNCHER && !member->launcher)
		fault_set_launcher(sim, member, true);
	else if (fault == FAULT_CUT_PEERS)
		fault_set_cuts(sim, number, false);
	else if (fault == FAULT_CONSUL_DOWN)
		sim->consul.down = false;
	else if (fault == FAULT_PAUSE)
		fault_set_pause(sim, false);
	else if (fault == FAULT_STOP_NODE)
		member->stop_requested = false;
	else if (fault == FAULT_ELECTION && sim->consul.down)
	{
		sim->consul.down = false;
		sim_consul_elect(sim);
	}
	else if (fault == FAULT_SLOW)
		sim->slow = false;
	else if (fault == FAULT_HANG)
		fault_end_hang(sim, member);
	else if (fault == FAULT_UNLINK && member->unlinked)
		fault_set_unlinked(sim, member, false);
	else if (fault == FAULT_RESTORE)
	{
		for (int i = 0; i < sim->nmembers; i++)
			sim->members[i].cut_to_consul =
				sim->members[i].cut_from_consul = false;
	}
	if (fault == FAULT_CUT_TO_CONSUL || fault == FAULT_CUT_CONSUL)
		member->cut_to_consul = false;
	if (fault == FAULT_CUT_FROM_CONSUL || fault == FAULT_CUT_CONSUL)
		member->cut_from_consul = false;
}

void
sim_fault_lift_all(Sim *sim)
{
	for (int number = 0; number < sim->nmembers; number++)
	{
		SimMember  *member = &sim->members[number];

		for (int fault = 0; fault < FAULTS; fault++)
			sim_fault_lift(sim, fault, number);
		member->frozen_until = 0;
		memset(member->deaf_until, 0, sizeof(member->deaf_until));
	}
}

/*
 * A leader that was lost while paused is replaced by an operator only.  He
 * looks once, and says that it is gone if nobody leads.
 */
void
sim_fault_operator(Sim *sim)
{
	SimFolder  *folder = &sim->consul.folder;

	if (sim_healthy(sim))
		return;
	for (int i = 0; i < sim->nmembers; i++)
	{
		const SimMember *member = &sim->members[i];

		if (sim_fence_open(sim, member))
			return;
		if (!folder->lease.paused && folder->status_index != 0)
			return;
	}
	sim_trace(sim, NULL, "the operator declares the paused leader gone");
	folder->status_index = ++sim->consul.raft;
	folder->lease.present = folder->lease.released = true;
	folder->lease.paused = folder->lease.end_known = false;
	folder->lease.successor[0] = '\0';
	if (folder->lease.ttl_ms == 0)
		folder->lease.ttl_ms = folder->timeouts.ttl_ms;
	fault_delete_leader(sim);
}
