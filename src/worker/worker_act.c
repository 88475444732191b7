/*
 * worker_act.c
 *	  Carries a decision out.  No ifs about the cluster here.
 */
#include "worker_private.h"

#include <signal.h>

#include "fence.h"
#include "gucs.h"
#include "miscadmin.h"
#include "shmem.h"
#include "worker_catalog.h"

/* a catalog worker that failed is tried again after so long */
#define ACT_CATALOG_RETRY_MS 10000

static void
act_leader_write(HaWorker *worker, HaLeaderWrite *write,
				 HaSlotPosition *positions)
{
	const HaView *view = &worker->view;

	memset(write, 0, sizeof(*write));
	write->optime = view->lsn;
	write->timeline = view->tli;
	write->promotes = view->role != HA_ROLE_PRIMARY;
	write->ordered = worker->decision.ordered;
	write->sysid = view->sysid;
	write->paused = worker->decision.paused;
	write->nslots = -1;
	if (view->role == HA_ROLE_PRIMARY)
	{
		write->nslots = worker_slot_positions(positions);
		write->slots = positions;
	}
}

static void
act_heartbeat(HaWorker *worker)
{
	HaSlotPosition positions[HA_MEMBERS_MAX];
	HaLeaderWrite write;
	char	   *history;

	act_leader_write(worker, &write, positions);
	history = worker_new_history(worker);
	write.history = history;
	if (pgha_brain_heartbeat(worker->brain, &write) && history != NULL)
		worker->told_tli = worker->view.tli;
	free(history);
}

static void
act_takeover(HaWorker *worker)
{
	HaSlotPosition positions[HA_MEMBERS_MAX];
	HaLeaderWrite write;

	act_leader_write(worker, &write, positions);
	if (pgha_brain_takeover(worker->brain, &write))
		worker_event(worker, worker->decision.rule, "takeover",
					 pgha_rule(worker->decision.rule)->why, true);
}

static void
act_release(HaWorker *worker)
{
	HaSlotPosition positions[HA_MEMBERS_MAX];
	HaLeaderWrite write;

	act_leader_write(worker, &write, positions);
	write.optime = 0;			/* the end is not known: leave what was said */
	if (pgha_brain_release(worker->brain, worker->decision.target, &write,
						   false))
		worker_event(worker, worker->decision.rule, "release",
					 pgha_rule(worker->decision.rule)->why, true);
}

/*
 * In this order: shut, then count.  Until the last of those let through is
 * done, heartbeats go on saying paused.
 */
static void
act_end_pause(HaWorker *worker)
{
	pgha_fence_set_without_end(false);
	worker->permits_since = worker->view.now;
	worker_event(worker, worker->decision.rule, "end pause",
				 pgha_rule(worker->decision.rule)->why, true);
}

static void
act_end_permits(HaWorker *worker)
{
	pgha_fence_end_committing();
	worker->permits_since = worker->view.now;
	worker_event(worker, worker->decision.rule, "end permits",
				 pgha_rule(worker->decision.rule)->why, false);
}

/* The message first: writing the event down takes as long as the disk does. */
bool
worker_ask_launcher(HaWorker *worker, const char *action)
{
	const HaRule *rule = pgha_rule(worker->decision.rule);
	bool		sent;

	sent = worker_link_send(worker,
							json_pack("{s:s, s:s, s:i, s:s, s:s, s:i, s:i}",
									  "type", "act", "action", action,
									  "rule", rule->id, "why", rule->why,
									  "target", worker->decision.target,
									  "timeline", (int) worker->view.tli,
									  "claimed", (int) worker->view.claimed));
	worker_event(worker, rule->id, action, rule->why, true);
	return sent;
}

static void
act_promote(HaWorker *worker)
{
	worker->promoting = true;
	(void) worker_ask_launcher(worker, "promote");
}

/* Without a launcher nobody else would stop it. */
static void
act_rejoin(HaWorker *worker)
{
	if (worker->rejoining)
		return;
	worker->rejoining = true;
	if (worker->view.launcher_present)
		(void) worker_ask_launcher(worker, "rejoin");
	else
		kill(PostmasterPid, SIGINT);
}

/* Without a launcher it is enough that nothing renews the lease. */
static void
act_kill(HaWorker *worker)
{
	if (worker->killing || !worker->view.launcher_present)
		return;
	worker->killing = true;
	(void) worker_ask_launcher(worker, "kill");
}

/* Point the receiver at a member; "" stops it. */
static void
act_follow(HaWorker *worker, const char *name)
{
	const HaMember *member = pgha_view_member(&worker->view, name);
	char		conninfo[HA_CONNINFO_MAX] = "";
	char		slot[HA_NAME_MAX + 1] = "";
	char		why[HA_WHY_MAX];
	uint64_t	index;
	const HaConfigDoc *config = pgha_brain_config(worker->brain, &index);

	if (member != NULL &&
		!pgha_conninfo(member->conn_url, pgha_guc_replication_user,
					   pgha_guc_passfile, pgha_guc_name, NULL, conninfo))
		return;
	if (member != NULL && (config == NULL || config->use_slots))
		pgha_slot_name(pgha_guc_name, slot);
	if (!pgha_state_write_follow(pgha_guc_state_directory, conninfo, slot, why))
	{
		worker_report(NULL, HA_REPORT_WARNING, why);
		return;
	}
	worker_event(worker, worker->decision.rule,
				 pgha_action_name(worker->decision.action),
				 pgha_rule(worker->decision.rule)->why, false);
	kill(PostmasterPid, SIGHUP);
}

static void
act_publish_ballot(HaWorker *worker)
{
	const HaView *view = &worker->view;

	worker->ballot.present = true;
	worker->ballot.term = view->lease_term;
	worker->ballot.seq = view->lease_seq;
	worker->ballot.tli = view->tli;
	worker->ballot.lsn = view->lsn;
}

/* The same conninfo is not written twice: the reload takes a moment. */
static void
act_follow_once(HaWorker *worker, const char *name)
{
	static char last[HA_NAME_MAX + 1];
	static HaTime last_at;

	if (last_at != 0 && strcmp(last, name) == 0 &&
		worker->view.now < last_at + 500 * HA_NS_PER_MS)
		return;
	strlcpy(last, name, sizeof(last));
	last_at = worker->view.now;
	act_follow(worker, name);
}

/* Roles and the extension, once per life of a primary. */
static void
act_catalog(HaWorker *worker)
{
	bool		wanted;

	if (worker->view.role != HA_ROLE_PRIMARY || !worker->view.lease_valid ||
		worker->view.now < worker->catalog_at)
		return;
	LWLockAcquire(&pgha_shmem->lock, LW_SHARED);
	wanted = !pgha_shmem->catalog_done;
	LWLockRelease(&pgha_shmem->lock);
	worker->catalog_at = worker->view.now +
		ACT_CATALOG_RETRY_MS * HA_NS_PER_MS;
	if (wanted && !pgha_catalog_start())
		worker_report(NULL, HA_REPORT_WARNING,
					  "no worker slot is left for roles and the extension "
					  "(raise max_worker_processes)");
}

/* A configuration the launcher has not been sent is sent. */
static void
act_config(HaWorker *worker)
{
	uint64_t	index;
	const HaConfigDoc *config = pgha_brain_config(worker->brain, &index);

	if (config == NULL || index == 0 || !worker->link.greeted ||
		index == worker->config_sent)
		return;
	if (worker_link_send(worker, json_pack("{s:s, s:O, s:I}",
										   "type", "config", "config",
										   config->document, "index",
										   (json_int_t) index)))
		worker->config_sent = index;
}

/* A change of leader, whoever saw it, is written down once. */
static void
act_note_leader(HaWorker *worker)
{
	const HaView *view = &worker->view;
	char		what[3 * HA_NAME_MAX];

	if (!view->cluster_known || view->lease_term == worker->seen_term ||
		view->leader[0] == '\0')
		return;
	snprintf(what, sizeof(what), "%s leads (before: %s)", view->leader,
			 worker->seen_leader[0] != '\0' ? worker->seen_leader : "unknown");
	worker->seen_term = view->lease_term;
	strlcpy(worker->seen_leader, view->leader, sizeof(worker->seen_leader));
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	strlcpy(pgha_shmem->leader, view->leader, sizeof(pgha_shmem->leader));
	LWLockRelease(&pgha_shmem->lock);
	worker_event(worker, worker->decision.rule, "leader", what, true);
}

static void
act_decision(HaWorker *worker)
{
	switch (worker->decision.action)
	{
		case HA_ACTION_CONFIRM:
			(void) pgha_brain_confirm(worker->brain);
			break;
		case HA_ACTION_END_PAUSE:
			act_end_pause(worker);
			break;
		case HA_ACTION_END_PERMITS:
			act_end_permits(worker);
			break;
		case HA_ACTION_FAILSAFE:
			(void) pgha_brain_failsafe(worker->brain);
			break;
		case HA_ACTION_HEARTBEAT:
			act_heartbeat(worker);
			break;
		case HA_ACTION_TAKEOVER:
			act_takeover(worker);
			break;
		case HA_ACTION_RELEASE:
			act_release(worker);
			break;
		case HA_ACTION_PROMOTE:
			act_promote(worker);
			break;
		case HA_ACTION_STOP_RECEIVER:
			act_follow_once(worker, "");
			break;
		case HA_ACTION_FOLLOW:
			act_follow_once(worker, worker->decision.target);
			break;
		case HA_ACTION_PUBLISH_BALLOT:
			act_publish_ballot(worker);
			break;
		case HA_ACTION_REJOIN:
		case HA_ACTION_STOP:
			act_rejoin(worker);
			break;
		case HA_ACTION_KILL:
			act_kill(worker);
			break;
		case HA_ACTION_END_ORDER:
		case HA_ACTION_CHECKPOINT:
		case HA_ACTION_BEGIN_ORDER:
		case HA_ACTION_HAND_OVER:
			worker_act_order(worker);
			break;
		case HA_ACTION_END_RESTART:
		case HA_ACTION_MARK_BACK:
		case HA_ACTION_MARK_SKIPPED:
		case HA_ACTION_MARK_ASKED:
		case HA_ACTION_TELL_RESTART:
			worker_act_restart(worker);
			break;
		case HA_ACTION_WAIT:
		case HA_ACTION_REFUSE:
		case HA_ACTION_CLOSE:
		case HA_ACTION_FIND_WAL_END:
		case HA_ACTION_INITDB:
		case HA_ACTION_INITIALIZE:
		case HA_ACTION_CLONE:
		case HA_ACTION_REWIND:
		case HA_ACTION_START_PRIMARY:
		case HA_ACTION_START_STANDBY:
			break;
	}
	worker_config_look(worker);
}

void
worker_act(HaWorker *worker)
{
	act_decision(worker);
	act_note_leader(worker);
	act_config(worker);
	act_catalog(worker);
}
