/*
 * act.c
 *	  The launcher carries decisions out: processes, jobs, files.
 */
#include "launcher/launcher.h"

#include "dcs/json.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/slots.h"
#include "dcs/conninfo.h"
#include "dcs/history_file.h"

/* back-off after a failed start or job: doubled up to the maximum */
#define ACT_RETRY_MS 500
#define ACT_RETRY_MAX_MS 30000
#define ACT_JOB_RETRY_MS 1000

/* ------------------------------------------------------------------------
 * Configuration
 * ------------------------------------------------------------------------
 */

static void
act_left_out(void *arg, const char *name, const char *why)
{
	HaLauncher *launcher = arg;
	static char said[4096];
	char		what[512];

	/* each once: files are rendered again and again */
	snprintf(what, sizeof(what), "setting %s: %s", name, why);
	if (strstr(said, what) != NULL)
		return;
	if (strlen(said) + strlen(what) + 2 > sizeof(said))
		said[0] = '\0';
	strcat(strcat(said, what), "\n");
	launcher_log(HA_REPORT_WARNING, "%s", what);
	launcher_event(launcher, 0, "setting left out", what);
}

bool
launcher_render(HaLauncher *launcher, bool as_primary, char *why)
{
	return pgha_render_verified(launcher->node, launcher->config_known ?
								&launcher->config : NULL,
								launcher_needed(launcher, as_primary),
								act_left_out, launcher, why);
}

/* The copy a start finds when Consul is away. */
static void
act_keep_config(const HaLauncher *launcher)
{
	char		path[1200];
	char		why[HA_WHY_MAX];
	char	   *text = json_dumps(launcher->config.document, JSON_INDENT(2));

	snprintf(path, sizeof(path), "%s/config.json",
			 launcher->node->state_directory);
	if (text == NULL || !pgha_file_replace(path, text, strlen(text), why))
		launcher_log(HA_REPORT_WARNING, "could not keep the configuration: %s",
					 text == NULL ? "out of memory" : why);
	free(text);
}

/* A configuration the worker read, or our own brain: keep it and use it. */
void
launcher_apply_config(HaLauncher *launcher, json_t *document, uint64_t index)
{
	char	   *text;
	char		why[HA_WHY_MAX] = "";
	HaConfigDoc config;

	if (launcher->config_known && index == launcher->config_index)
		return;
	text = json_dumps(document, JSON_COMPACT);
	if (text == NULL || !pgha_config_parse(text, strlen(text), &config, why))
	{
		launcher_log(HA_REPORT_WARNING, "configuration %llu is not used: %s",
					 (unsigned long long) index, why);
		free(text);
		return;
	}
	free(text);
	if (launcher->config_known)
		pgha_config_free(&launcher->config);
	launcher->config = config;
	launcher->config_known = true;
	launcher->config_index = index;
	act_keep_config(launcher);
}

/* ------------------------------------------------------------------------
 * Starting and stopping
 * ------------------------------------------------------------------------
 */

static void
act_back_off(HaLauncher *launcher, int failures, int64_t base_ms)
{
	int64_t		ms = base_ms;

	while (failures-- > 1 && ms < ACT_RETRY_MAX_MS)
		ms *= 2;
	if (ms > ACT_RETRY_MAX_MS)
		ms = ACT_RETRY_MAX_MS;
	launcher->retry_at = pgha_now() + ms * HA_NS_PER_MS;
}

static void
act_failed(HaLauncher *launcher, const char *what, const char *why,
		   const char *hint)
{
	char		text[512];

	snprintf(text, sizeof(text), "%s: %s%s%s", what, why,
			 hint != NULL && hint[0] != '\0' ? "; hint: " : "",
			 hint != NULL ? hint : "");
	launcher_log(HA_REPORT_WARNING, "%s", text);
	launcher_event(launcher, launcher->decision.rule, "failed", text);
}

/* Where a starting standby streams from: the target, or nobody. */
static bool
act_write_follow(HaLauncher *launcher, char *why)
{
	const HaMember *leader = pgha_view_member(&launcher->view,
											  launcher->decision.target);
	char		conninfo[HA_CONNINFO_MAX] = "";
	char		slot[HA_NAME_MAX + 1] = "";
	const HaNode *node = launcher->node;

	if (leader != NULL && strcmp(leader->name, node->name) != 0 &&
		pgha_conninfo(leader->conn_url, node->replication_user,
					  node->passfile, node->name, NULL, conninfo) &&
		(!launcher->config_known || launcher->config.use_slots))
		pgha_slot_name(node->name, slot);
	return pgha_state_write_follow(node->state_directory, conninfo, slot, why);
}

/*
 * Asking the server whether it likes the files takes longer than starting it:
 * a crashed leader starts again with those it ran with.
 */
static bool
act_render_for_start(HaLauncher *launcher, bool as_primary, char *why)
{
	if (launcher->files_worked && as_primary && launcher->started_primary &&
		launcher->files_index == launcher->config_index)
		return true;
	/* those of the configuration that did not start are not tried again */
	if (launcher->fell_back && launcher->bad_index == launcher->config_index)
		return true;
	launcher->fell_back = false;
	launcher->files_worked = false;
	launcher->files_index = launcher->config_index;
	return launcher_render(launcher, as_primary, why) &&
		pgha_render_mark_plain(launcher->node, why);
}

static void
act_start(HaLauncher *launcher, bool as_primary)
{
	char		why[HA_WHY_MAX] = "";
	uint64_t	index;
	const HaConfigDoc *config = pgha_brain_config(launcher->brain, &index);

	if (config != NULL)
		launcher_apply_config(launcher, config->document, index);
	if (act_write_follow(launcher, why) &&
		pgha_render_strip_auto_conf(launcher->node, act_left_out, launcher,
									why) &&
		act_render_for_start(launcher, as_primary, why) &&
		pgha_postmaster_start(&launcher->postmaster, launcher->node,
							  as_primary, why))
	{
		launcher->start_pending = true;
		launcher->started_primary = as_primary;
		launcher->stopping = false;
		launcher->stop = HA_STOP_NONE;
		launcher->handover[0] = '\0';
		launcher->wal_end = HA_WAL_END_UNKNOWN;
		launcher_event(launcher, launcher->decision.rule,
					   pgha_action_name(launcher->decision.action),
					   pgha_rule(launcher->decision.rule)->why);
		return;
	}
	launcher->starts_failed++;
	act_back_off(launcher, launcher->starts_failed, ACT_RETRY_MS);
	act_failed(launcher, "could not start the instance", why, NULL);
}

static void
act_stop(HaLauncher *launcher)
{
	if (launcher->stopping)
		return;
	launcher->stopping = true;
	pgha_postmaster_signal(&launcher->postmaster, SIGINT);
	launcher_event(launcher, launcher->decision.rule, "stop",
				   pgha_rule(launcher->decision.rule)->why);
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

static void
act_progress(void *arg, const char *phrase, int percent)
{
	static char last[64];

	(void) arg;
	if (strcmp(last, phrase) != 0)
		launcher_log(HA_REPORT_INFO, "%s", phrase);
	snprintf(last, sizeof(last), "%s", phrase);
	if (percent >= 0)
		launcher_log(HA_REPORT_DEBUG, "%s: %d %%", phrase, percent);
}

static void
act_job_failed(HaLauncher *launcher, const char *what, const char *why,
			   const char *hint)
{
	launcher->starts_failed++;
	act_back_off(launcher, launcher->starts_failed, ACT_JOB_RETRY_MS);
	act_failed(launcher, what, why, hint);
}

static bool
act_mark_fresh(const HaLauncher *launcher, bool fresh)
{
	HaNodeFile	file;
	char		why[HA_WHY_MAX];

	if (pgha_state_read_node(launcher->node->state_directory, &file, why))
	{
		file.present = true;
		file.fresh = fresh;
		if (pgha_state_write_node(launcher->node->state_directory, &file, why))
			return true;
	}
	launcher_log(HA_REPORT_WARNING, "could not write the node's state: %s", why);
	return false;
}

static void
act_initdb_done(void *arg, const char *why, const char *hint)
{
	HaLauncher *launcher = arg;

	launcher->job = NULL;
	if (why != NULL)
	{
		act_job_failed(launcher, "could not make the data directory", why,
					   hint);
		return;
	}
	launcher->fresh = act_mark_fresh(launcher, true);
}

static void
act_clone_done(void *arg, const char *why, const char *hint)
{
	HaLauncher *launcher = arg;

	launcher->job = NULL;
	/* if nothing is lost yet, what is there is started again */
	launcher->stop = HA_STOP_NONE;
	if (why != NULL)
	{
		act_job_failed(launcher, "could not clone the leader", why, hint);
		return;
	}
	launcher->rewinds_failed = 0;
	launcher->starts_failed = 0;
	launcher->fresh = false;
	act_mark_fresh(launcher, false);
	launcher_event(launcher, launcher->decision.rule, "cloned",
				   "the data directory is a copy of the leader's");
}

static void
act_rewind_done(void *arg, const char *why, const char *hint)
{
	HaLauncher *launcher = arg;

	launcher->job = NULL;
	launcher->wal_end = HA_WAL_END_UNKNOWN;
	if (why != NULL)
	{
		if (!pgha_job_source_away(why))
			launcher->rewinds_failed++;
		act_job_failed(launcher, "could not rewind to the leader", why, hint);
		return;
	}
	launcher->starts_failed = 0;
	launcher_event(launcher, launcher->decision.rule, "rewound",
				   "the data directory was rewound to the leader's history");
}

static void
act_wal_end_done(void *arg, HaLsn end, const char *why)
{
	HaLauncher *launcher = arg;

	launcher->job = NULL;
	launcher->wal_end = end != 0 ? HA_WAL_END_KNOWN : HA_WAL_END_UNREADABLE;
	launcher->wal_end_lsn = end;
	if (end == 0)
		launcher_log(HA_REPORT_WARNING,
					 "could not find the end of the WAL: %s", why);
	else
		launcher_log(HA_REPORT_INFO, "the WAL ends at %X/%X",
					 (unsigned) (end >> 32), (unsigned) end);
}

/* From the last flush the worker told of, else from the last checkpoint. */
static HaJob *
act_find_wal_end(HaLauncher *launcher, char *why)
{
	json_t	   *state = launcher->worker_state;
	HaLsn		from = launcher->control.checkpoint;
	uint32_t	tli = launcher->view.tli;
	HaLsn		known = 0;

	if (state != NULL && json_string_length(json_object_get(state, "role")) &&
		strcmp(json_string_value(json_object_get(state, "role")),
			   "primary") == 0)
	{
		known = (HaLsn) json_integer_value(json_object_get(state, "lsn"));
		tli = (uint32_t) json_integer_value(json_object_get(state,
															"timeline"));
	}
	if (known > from)
		from = known;
	return pgha_job_wal_end(launcher->node, tli, from, act_wal_end_done,
							launcher, why);
}

static HaJob *
act_copy_job(HaLauncher *launcher, char *why)
{
	const HaMember *leader = pgha_view_member(&launcher->view,
											  launcher->decision.target);

	if (leader == NULL)
	{
		snprintf(why, HA_WHY_MAX, "the leader has no member key");
		return NULL;
	}
	if (launcher->decision.action == HA_ACTION_CLONE)
		return pgha_job_clone(launcher->node, leader->conn_url,
							  launcher->stop == HA_STOP_REINIT, act_progress,
							  act_clone_done, launcher, why);
	/* pg_rewind reads the file the server would start with */
	if (!launcher_render(launcher, false, why))
		return NULL;
	return pgha_job_rewind(launcher->node, leader->conn_url, act_progress,
						   act_rewind_done, launcher, why);
}

static void
act_start_job(HaLauncher *launcher)
{
	char		why[HA_WHY_MAX] = "";
	const char *phrase = "";

	if (launcher->decision.action == HA_ACTION_INITDB)
	{
		phrase = "initializing new cluster";
		launcher->job = pgha_job_initdb(launcher->node, act_progress,
										act_initdb_done, launcher, why);
	}
	else if (launcher->decision.action == HA_ACTION_FIND_WAL_END)
	{
		phrase = "crashed";
		launcher->job = act_find_wal_end(launcher, why);
	}
	else
	{
		phrase = launcher->decision.action == HA_ACTION_CLONE ?
			"creating replica" : "rewinding";
		launcher->job = act_copy_job(launcher, why);
	}
	snprintf(launcher->job_phrase, sizeof(launcher->job_phrase), "%s", phrase);
	if (launcher->job == NULL && launcher->decision.action == HA_ACTION_FIND_WAL_END)
		act_wal_end_done(launcher, 0, why);
	else if (launcher->job == NULL)
		act_job_failed(launcher, phrase, why, NULL);
	else if (launcher->decision.action != HA_ACTION_FIND_WAL_END)
		launcher_event(launcher, launcher->decision.rule,
					   pgha_action_name(launcher->decision.action),
					   pgha_rule(launcher->decision.rule)->why);
}

/* ------------------------------------------------------------------------
 * Lease
 * ------------------------------------------------------------------------
 */

/* The caller frees write->history. */
static void
act_leader_write(const HaLauncher *launcher, HaLeaderWrite *write)
{
	memset(write, 0, sizeof(*write));
	write->timeline = launcher->view.tli;
	write->history = pgha_history_news(launcher->node->data_directory,
									   launcher->view.tli,
									   pgha_brain_history(launcher->brain),
									   launcher->node->name);
	write->nslots = -1;
	write->sysid = launcher->view.sysid;
	write->paused = pgha_brain_lease(launcher->brain)->seen.lease.paused;
}

static void
act_release(HaLauncher *launcher)
{
	HaLeaderWrite write;
	char		what[256];
	bool		sent;

	act_leader_write(launcher, &write);
	if (launcher->decision.end_known)
		write.optime = launcher->decision.end;
	sent = pgha_brain_release(launcher->brain, launcher->decision.target,
							  &write, launcher->decision.end_known);
	free(write.history);
	if (!sent)
		return;
	snprintf(what, sizeof(what), "%s; %s%s",
			 pgha_rule(launcher->decision.rule)->why,
			 launcher->decision.target[0] != '\0' ? "to " : "to anybody",
			 launcher->decision.target);
	launcher_event(launcher, launcher->decision.rule, "release", what);
}

/* The node's file of the first configuration, checked; NULL: why. */
static json_t *
act_bootstrap_document(const HaLauncher *launcher, char *why)
{
	const char *file = pgha_node_get(launcher->node, "pg_ha.bootstrap_config");
	json_t	   *document;
	json_error_t error;

	if (file[0] == '\0')
		return pgha_json_object();
	document = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(document) && pgha_config_check(document, why))
		return document;
	if (!json_is_object(document))
		snprintf(why, HA_WHY_MAX, "%.100s: line %d: %.80s", file, error.line,
				 document != NULL ? "not a JSON object" : error.text);
	json_decref(document);
	return NULL;
}

/* What counts until `config` is read: the last known, else the first. */
const HaTimeouts *
launcher_first_timeouts(HaLauncher *launcher)
{
	static HaTimeouts timeouts;
	char		why[HA_WHY_MAX] = "";
	json_t	   *document;
	char	   *text;
	HaConfigDoc config;

	if (launcher->config_known)
		return &launcher->config.timeouts;
	pgha_timeouts_default(&timeouts);
	document = act_bootstrap_document(launcher, why);
	text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
	if (text != NULL && pgha_config_parse(text, strlen(text), &config, why))
	{
		timeouts = config.timeouts;
		pgha_config_free(&config);
	}
	json_decref(document);
	free(text);
	return &timeouts;
}

/* The first dynamic configuration: the node's file, else the defaults. */
static char *
act_first_config(const HaLauncher *launcher, char *why)
{
	json_t	   *document = act_bootstrap_document(launcher, why);
	json_t	   *postgresql;
	json_t	   *hba;
	char	   *text;

	if (document == NULL)
		return NULL;
	postgresql = json_object_get(document, "postgresql");
	if (postgresql == NULL)
	{
		postgresql = pgha_json_object();
		json_object_set_new(document, "postgresql", postgresql);
	}
	/* clones shall have the rules of the adopted server */
	hba = launcher->fresh || json_object_get(postgresql, "pg_hba") != NULL ?
		NULL : pgha_render_adopted_hba(launcher->node);
	if (hba != NULL)
		json_object_set_new(postgresql, "pg_hba", hba);
	text = json_dumps(document, JSON_COMPACT);
	json_decref(document);
	return text;
}

static void
act_initialize(HaLauncher *launcher)
{
	HaLeaderWrite write;
	char		why[HA_WHY_MAX] = "";
	char	   *config = act_first_config(launcher, why);

	if (config == NULL)
	{
		act_job_failed(launcher, "could not use pg_ha.bootstrap_config", why,
					   "correct the file; it is read again");
		return;
	}
	act_leader_write(launcher, &write);
	write.paused = false;
	write.optime = launcher->view.lsn;
	if (pgha_brain_initialize(launcher->brain, &write, config))
		launcher_event(launcher, launcher->decision.rule, "initialize",
					   launcher->fresh ? "a new cluster begins" :
					   "an existing data directory founds the cluster");
	free(write.history);
	free(config);
}

static void
act_heartbeat(HaLauncher *launcher)
{
	HaLeaderWrite write;

	act_leader_write(launcher, &write);
	(void) pgha_brain_heartbeat(launcher->brain, &write);
	free(write.history);
}

/* The directory is the cluster's: kept, since a damaged one does not say it. */
static void
act_settle_directory(HaLauncher *launcher)
{
	uint64_t	sysid = launcher->view.sysid;
	HaNodeFile	file;
	char		why[HA_WHY_MAX];

	if (sysid == 0 || launcher->view.initialize_sysid != sysid ||
		(!launcher->fresh && launcher->settled_sysid == sysid) ||
		!pgha_state_read_node(launcher->node->state_directory, &file, why))
		return;
	file.present = true;
	file.fresh = false;
	file.sysid = sysid;
	if (!pgha_state_write_node(launcher->node->state_directory, &file, why))
		return;
	launcher->fresh = false;
	launcher->settled_sysid = sysid;
}

void
launcher_act(HaLauncher *launcher)
{
	act_settle_directory(launcher);
	switch (launcher->decision.action)
	{
		case HA_ACTION_CONFIRM:
			(void) pgha_brain_confirm(launcher->brain);
			break;
		case HA_ACTION_HEARTBEAT:
			act_heartbeat(launcher);
			break;
		case HA_ACTION_RELEASE:
			act_release(launcher);
			break;
		case HA_ACTION_INITIALIZE:
			act_initialize(launcher);
			break;
		case HA_ACTION_STOP:
			act_stop(launcher);
			break;
		case HA_ACTION_KILL:
			if (launcher->postmaster.pid != 0)
				launcher_event(launcher, launcher->decision.rule, "kill",
							   pgha_rule(launcher->decision.rule)->why);
			(void) pgha_instance_kill(launcher->node);
			break;
		case HA_ACTION_FIND_WAL_END:
		case HA_ACTION_INITDB:
		case HA_ACTION_CLONE:
		case HA_ACTION_REWIND:
			act_start_job(launcher);
			break;
		case HA_ACTION_START_PRIMARY:
			act_start(launcher, true);
			break;
		case HA_ACTION_START_STANDBY:
			act_start(launcher, false);
			break;
		case HA_ACTION_WAIT:
		case HA_ACTION_REFUSE:
		case HA_ACTION_CLOSE:
		case HA_ACTION_END_PAUSE:
		case HA_ACTION_END_PERMITS:
		case HA_ACTION_FAILSAFE:
		case HA_ACTION_TAKEOVER:
		case HA_ACTION_PROMOTE:
		case HA_ACTION_STOP_RECEIVER:
		case HA_ACTION_PUBLISH_BALLOT:
		case HA_ACTION_FOLLOW:
		case HA_ACTION_REJOIN:
		case HA_ACTION_END_ORDER:
		case HA_ACTION_CHECKPOINT:
		case HA_ACTION_BEGIN_ORDER:
		case HA_ACTION_HAND_OVER:
		case HA_ACTION_END_RESTART:
		case HA_ACTION_MARK_BACK:
		case HA_ACTION_MARK_SKIPPED:
		case HA_ACTION_MARK_ASKED:
		case HA_ACTION_TELL_RESTART:
			break;
	}
}
