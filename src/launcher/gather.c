/*
 * gather.c
 *	  What the launcher knows of its instance, into a view.
 */
#include "launcher/launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/history_file.h"
#include "launcher/directory.h"
#include "launcher/instance.h"
#include "launcher/wal_end.h"

/* the shutdown checkpoint's record: header 24, data header 2, CheckPoint 88 */
#define GATHER_CHECKPOINT_LEN 114

/* a postmaster's worker connects when it starts, before any recovery */
#define GATHER_WORKER_MS 10000

/* the loop comes round more often, unless this process was stopped */
#define GATHER_AWAKE_MS 5000

/* Say once that the server we started runs without us. */
static void
gather_worker_missing(const HaLauncher *launcher, HaTime now)
{
	static HaTime said;

	if (launcher->instance != HA_INSTANCE_STARTING ||
		said == launcher->instance_since ||
		now < launcher->instance_since + GATHER_WORKER_MS * HA_NS_PER_MS)
		return;
	said = launcher->instance_since;
	launcher_log(HA_REPORT_WARNING,
				 "the server has run for %d s and its pg_ha worker has not "
				 "connected; hint: the server's log says why the worker does "
				 "not start; raise max_worker_processes if others use all of it",
				 GATHER_WORKER_MS / 1000);
	launcher_event(launcher, 0, "worker missing",
				   "the server runs, but its pg_ha worker does not connect");
}

/* A server that we did not start uses the directory. */
static bool
gather_foreign(const HaLauncher *launcher, char *why)
{
	HaPidFile	file;
	char		ignored[HA_WHY_MAX];

	if (pgha_instance_locked(launcher->node) ||
		!pgha_instance_read_pid_file(launcher->node, &file, ignored) ||
		!file.present || file.pid <= 0 ||
		!pgha_instance_works_in(launcher->node, file.pid))
		return false;
	snprintf(why, HA_WHY_MAX, "data directory is in use by another "
			 "postmaster, pid %d; hint: stop it", (int) file.pid);
	return true;
}

static HaInstance
gather_processes(const HaLauncher *launcher, char *why)
{
	if (launcher->job != NULL)
		return HA_INSTANCE_BUSY;
	if (launcher->postmaster.pid != 0)
	{
		if (launcher->stopping)
			return HA_INSTANCE_STOPPING;
		return pgha_control_connected(launcher->server) ?
			HA_INSTANCE_RUNNING : HA_INSTANCE_STARTING;
	}
	if (pgha_instance_gone(launcher->node) || gather_foreign(launcher, why))
		return HA_INSTANCE_UNKNOWN;
	return HA_INSTANCE_DYING;
}

/*
 * Signs of life.  Time that passed while this process did not run counts for
 * nobody: the whole node was stopped or suspended.
 */
static void
gather_health(HaLauncher *launcher, HaTime now)
{
	if (launcher->looked_at != 0 &&
		now > launcher->looked_at + GATHER_AWAKE_MS * HA_NS_PER_MS)
	{
		launcher->heard_at = now;
		launcher->stuck_since = 0;
	}
	launcher->looked_at = now;
	if (!pgha_postmaster_stuck(&launcher->postmaster))
		launcher->stuck_since = 0;
	else if (launcher->stuck_since == 0)
		launcher->stuck_since = now;
}

/* Find out what the instance is doing; notes when that changed. */
void
launcher_look(HaLauncher *launcher, HaTime now)
{
	static char said[HA_WHY_MAX];
	char		why[HA_WHY_MAX] = "";
	HaInstance	instance = gather_processes(launcher, why);

	gather_health(launcher, now);
	if (instance == HA_INSTANCE_UNKNOWN && why[0] == '\0')
		instance = pgha_directory_state(launcher->node, &launcher->control,
										why);
	else if (instance == HA_INSTANCE_STOPPING)
		(void) pgha_directory_read_control(launcher->node, &launcher->control,
										   why);
	if (!launcher->control.valid ||
		launcher->control.state != HA_CONTROL_SHUT_DOWN)
		launcher->wal_clean_since = 0;
	else if (launcher->wal_clean_since == 0)
		launcher->wal_clean_since = now;
	if (instance != HA_INSTANCE_UNKNOWN)
		said[0] = '\0';
	else if (strcmp(said, why) != 0)
	{
		launcher_log(HA_REPORT_WARNING, "the data directory can't be used: %s",
					 why);
		memcpy(said, why, sizeof(said));
	}
	gather_worker_missing(launcher, now);
	if (instance == launcher->instance)
		return;
	if (instance == HA_INSTANCE_HALF_DONE)
		launcher_log(HA_REPORT_WARNING,
					 "the data directory must be copied anew: %s", why);
	launcher->instance = instance;
	launcher->instance_since = now;
}

/* Where the WAL of an instance that does not run ends, as far as is known. */
static void
gather_position(const HaLauncher *launcher, HaView *view)
{
	const HaControl *control = &launcher->control;
	HaWalRecord checkpoint = {control->checkpoint, GATHER_CHECKPOINT_LEN, false};

	if (!control->valid)
		return;
	view->sysid = control->sysid;
	view->tli = control->tli;
	if (control->min_recovery_tli > view->tli)
		view->tli = control->min_recovery_tli;
	switch (control->state)
	{
		case HA_CONTROL_SHUT_DOWN:
			view->lsn = pgha_wal_record_end(&checkpoint,
											control->segment_size);
			view->wal_clean_end = view->was_primary;
			view->wal_clean_since = launcher->wal_clean_since;
			view->wal_end = HA_WAL_END_KNOWN;
			break;
		case HA_CONTROL_SHUT_DOWN_IN_RECOVERY:
		case HA_CONTROL_ARCHIVE_RECOVERY:
			view->lsn = control->min_recovery;
			break;
		case HA_CONTROL_UNKNOWN:
		case HA_CONTROL_SHUTTING_DOWN:
		case HA_CONTROL_CRASH_RECOVERY:
		case HA_CONTROL_IN_PRODUCTION:
			break;
	}
	view->own_history_known = pgha_history_own(launcher->node->data_directory,
											   view->tli, &view->own_history);
	if (launcher->wal_end != HA_WAL_END_UNKNOWN)
	{
		view->wal_end = launcher->wal_end;
		view->lsn = launcher->wal_end_lsn;
	}
}

static void
gather_instance(const HaLauncher *launcher, HaView *view)
{
	view->instance = launcher->instance;
	view->instance_since = launcher->instance_since;
	view->served_at = launcher->served_at;
	view->launcher_present = true;
	view->heard_at = launcher->heard_at;
	view->stuck_since = launcher->stuck_since;
	view->kill_requested = launcher->kill_requested;
	view->crashes = launcher->crashes;
	view->standby_signal = pgha_directory_has(launcher->node,
											  "standby.signal");
	view->was_primary = !view->standby_signal;
	view->fresh = launcher->fresh;
	view->rewinds_failed = launcher->rewinds_failed;
	view->starts_failed = launcher->starts_failed;
	view->retry_at = launcher->retry_at;
	view->stop_requested = launcher->stop_requested;
	view->stop = launcher->stop;
	memcpy(view->handover, launcher->handover, sizeof(view->handover));
	if (launcher->instance == HA_INSTANCE_DOWN ||
		launcher->instance == HA_INSTANCE_CRASHED ||
		launcher->instance == HA_INSTANCE_STOPPING)
		gather_position(launcher, view);
}

void
launcher_gather(HaLauncher *launcher, HaTime now)
{
	HaView	   *view = &launcher->view;

	memset(view, 0, sizeof(*view));
	if (launcher->brain != NULL)
		pgha_brain_view(launcher->brain, now, view);
	else
	{
		/* the worker's cluster, as far as the launcher was told */
		view->paused = launcher->config_known && launcher->config.pause;
		view->timeouts = *launcher_first_timeouts(launcher);
	}
	view->brain = HA_BRAIN_LAUNCHER;
	view->now = now;
	gather_instance(launcher, view);
}

/* ------------------------------------------------------------------------
 * What others are told while no worker speaks
 * ------------------------------------------------------------------------
 */

static const char *
describe_state(const HaLauncher *launcher)
{
	switch (launcher->instance)
	{
		case HA_INSTANCE_BUSY:
			return launcher->job_phrase;
		case HA_INSTANCE_STARTING:
			return "starting";
		case HA_INSTANCE_RUNNING:
			return "running";
		case HA_INSTANCE_STOPPING:
			return "stopping";
		case HA_INSTANCE_CRASHED:
		case HA_INSTANCE_DYING:
			return "crashed";
		case HA_INSTANCE_EMPTY:
		case HA_INSTANCE_HALF_DONE:
			return "uninitialized";
		case HA_INSTANCE_UNKNOWN:
		case HA_INSTANCE_DOWN:
			break;
	}
	return launcher->starts_failed > 0 ? "start failed" : "stopped";
}

static void
describe_to_consul(HaLauncher *launcher)
{
	HaMemberDoc *doc = &launcher->member;
	const HaNode *node = launcher->node;
	HaMember   *member = &doc->member;
	json_t	   *tags = json_loads(pgha_node_get(node, "pg_ha.tags"), 0, NULL);

	memset(doc, 0, sizeof(*doc));
	snprintf(member->name, sizeof(member->name), "%s", node->name);
	snprintf(member->conn_url, sizeof(member->conn_url), "%s", node->conn_url);
	snprintf(member->api_url, sizeof(member->api_url), "%s", node->api_url);
	snprintf(member->state, sizeof(member->state), "%.62s",
			 describe_state(launcher));
	member->role = HA_ROLE_STANDBY;
	if (launcher->view.standing == HA_STANDING_OURS)
		member->role = HA_ROLE_PRIMARY;
	member->pgha = true;
	member->launcher = true;
	member->failover_priority = 1;
	member->tli = launcher->view.tli;
	member->lsn = launcher->view.lsn;
	snprintf(doc->version, sizeof(doc->version), "4.0.0");
	doc->pause = launcher->view.paused;
	doc->tags = tags;
	pgha_brain_set_member(launcher->brain, doc);
	json_decref(tags);
	doc->tags = NULL;
}

static void
describe_to_rest(HaLauncher *launcher)
{
	HaRestState *rest = &launcher->rest_state;
	json_t	   *worker = launcher->worker_state;
	const HaView *view = &launcher->view;

	rest->state = describe_state(launcher);
	rest->alive_at = view->now;
	rest->liveness_ms = 30000;
	rest->worker = NULL;
	rest->deadline = 0;
	rest->open_without_end = false;
	rest->failsafe_active = false;
	if (launcher->instance != HA_INSTANCE_RUNNING || worker == NULL)
	{
		rest->cluster_unlocked = view->leader[0] == '\0';
		rest->paused = view->paused;
		return;
	}
	rest->worker = worker;
	rest->role = strcmp(json_string_value(json_object_get(worker, "role")),
						"primary") == 0 ? HA_ROLE_PRIMARY : HA_ROLE_STANDBY;
	rest->failsafe_active =
		json_is_true(json_object_get(worker, "failsafe_active"));
	rest->open_without_end =
		json_is_true(json_object_get(worker, "open_without_end"));
	rest->deadline =
		(HaTime) json_integer_value(json_object_get(worker, "deadline"));
	rest->paused = json_is_true(json_object_get(worker, "paused"));
	rest->cluster_unlocked = json_string_length(json_object_get(worker,
																"leader")) == 0;
	rest->consul_seen = json_integer_value(json_object_get(worker,
														   "consul_seen"));
	rest->optime = (HaLsn) json_integer_value(json_object_get(worker,
															  "optime"));
	rest->sysid = strtoull(json_string_value(json_object_get(worker, "sysid")),
						   NULL, 10);
	rest->maximum_lag = launcher->config_known ?
		launcher->config.timeouts.maximum_lag_on_failover : 1048576;
}

void
launcher_describe(HaLauncher *launcher)
{
	if (launcher->brain != NULL)
		describe_to_consul(launcher);
	describe_to_rest(launcher);
}
