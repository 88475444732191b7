/*
 * worker_publish.c
 *	  What the worker tells others: the member key, the launcher, SQL.
 */
#include "worker_private.h"

#include <time.h>

#include "access/xlogrecovery.h"
#include "core/tolerance.h"
#include "fence.h"
#include "gucs.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "replication/walreceiver.h"
#include "shmem.h"
#include "storage/spin.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"

/* SQL documents are made anew at least so often */
#define PUBLISH_MS 1000

/* how often Consul is asked for its servers */
#define PUBLISH_SERVERS_MS 15000

/* what Patroni's tools shall take this for: formats of its 4.0 */
#define PUBLISH_PATRONI_VERSION "4.0.0"

#define PUBLISH_TIME_MAX 40

/* As Patroni prints times: ISO 8601, UTC, whatever the server's zone. */
static void
publish_time(TimestampTz when, char text[PUBLISH_TIME_MAX])
{
	pg_time_t	seconds = timestamptz_to_time_t(when);
	int64		us = when % USECS_PER_SEC;
	size_t		len = pg_strftime(text, PUBLISH_TIME_MAX, "%Y-%m-%d %H:%M:%S",
								  pg_gmtime(&seconds));

	snprintf(text + len, PUBLISH_TIME_MAX - len, ".%06d+00:00",
			 (int) (us < 0 ? us + USECS_PER_SEC : us));
}

static bool
publish_streaming(void)
{
	bool		streaming;

	SpinLockAcquire(&WalRcv->mutex);
	streaming = WalRcv->walRcvState == WALRCV_STREAMING;
	SpinLockRelease(&WalRcv->mutex);
	return streaming;
}

static const char *
publish_state(const HaView *view)
{
	return view->consistent ? "running" : "starting";
}

/* Of the postmaster: it tells one life of the instance from the next. */
static uint64_t
publish_started_us(void)
{
	return (uint64_t) (PgStartTime + (POSTGRES_EPOCH_JDATE -
									  UNIX_EPOCH_JDATE) * USECS_PER_DAY);
}

static void
publish_member(HaWorker *worker)
{
	const HaView *view = &worker->view;
	HaMemberDoc doc;
	HaMember   *member = &doc.member;

	memset(&doc, 0, sizeof(doc));
	strlcpy(member->name, pgha_guc_name, sizeof(member->name));
	strlcpy(member->conn_url, worker->conn_url, sizeof(member->conn_url));
	strlcpy(member->api_url, worker->api_url, sizeof(member->api_url));
	strlcpy(member->state, publish_state(view), sizeof(member->state));
	member->running = view->consistent;
	member->role = view->role == HA_ROLE_PRIMARY ?
		HA_ROLE_PRIMARY : HA_ROLE_STANDBY;
	member->pgha = true;
	member->launcher = view->launcher_present;
	member->nofailover = view->nofailover;
	member->failover_priority = worker->failover_priority;
	member->pending_restart = worker->pending != NULL;
	member->tli = view->tli;
	member->lsn = view->lsn;
	member->ballot = worker->ballot;
	worker_settings(&member->settings);
	member->started = publish_started_us();
	member->server_version = PG_VERSION_NUM;
	member->fell_back = worker->fell_back;
	if (view->role == HA_ROLE_STANDBY)
	{
		doc.replay_lsn = GetXLogReplayRecPtr(NULL);
		doc.receive_lsn = view->lsn;
		if (publish_streaming())
			strlcpy(member->replication_state, "streaming",
					sizeof(member->replication_state));
		member->streaming = member->replication_state[0] != '\0';
	}
	strlcpy(doc.version, PUBLISH_PATRONI_VERSION, sizeof(doc.version));
	doc.pause = view->paused;
	doc.awaited = worker_is_awaited(worker);
	doc.tags = worker->tags;
	doc.pending_restart_reason = worker->pending;
	pgha_brain_set_member(worker->brain, &doc);
}

/* ------------------------------------------------------------------------
 * The launcher
 * ------------------------------------------------------------------------
 */

/* What the leader runs with: a standby needs as much. */
static json_t *
publish_settings(const HaMember *leader)
{
	HaControlSettings settings;
	json_t	   *object;

	if (leader == NULL || leader->settings.max_connections <= 0)
		return NULL;
	settings = leader->settings;
	object = json_pack("{}");
	for (int i = 0; i < HA_CRITICALS; i++)
		json_object_set_new(object, pgha_critical_name(i),
							json_integer(*pgha_critical(&settings, i)));
	return object;
}

static json_t *
publish_state_message(HaWorker *worker)
{
	const HaView *view = &worker->view;
	const HaMember *leader = pgha_view_member(view, view->leader);
	json_t	   *state;
	char		sysid[24];
	char		started[PUBLISH_TIME_MAX];

	publish_time(PgStartTime, started);
	snprintf(sysid, sizeof(sysid), UINT64_FORMAT, (uint64) view->sysid);
	state = json_pack("{s:s, s:s, s:b, s:i, s:I, s:I, s:I, s:b, s:s}",
					  "type", "state",
					  "role", view->role == HA_ROLE_PRIMARY ? "primary" :
					  "standby",
					  "accepts_reads", view->consistent,
					  "timeline", (int) view->tli,
					  "lsn", (json_int_t) view->lsn,
					  "received", (json_int_t) view->lsn,
					  "replayed", (json_int_t)
					  (view->role == HA_ROLE_STANDBY ?
					   GetXLogReplayRecPtr(NULL) : 0),
					  "replay_paused", view->replay_paused,
					  "replication_state",
					  view->role == HA_ROLE_STANDBY && publish_streaming() ?
					  "streaming" : "");
	json_object_update_new(state,
						   json_pack("{s:I, s:I, s:b, s:b, s:b, s:s, s:s, s:i, s:I, s:I}",
									 "term", (json_int_t) view->lease_term,
									 "deadline", (json_int_t)
									 view->lease_deadline,
									 "open_without_end",
									 pgha_fence_without_end(),
									 "paused", view->paused,
									 "failsafe_active", view->failsafe_active,
									 "session",
									 pgha_brain_session(worker->brain),
									 "leader", view->leader,
									 "leader_timeline",
									 leader != NULL ? (int) leader->tli : 0,
									 "ttl_ms", (json_int_t)
									 view->timeouts.ttl_ms,
									 "optime", (json_int_t) view->optime));
	json_object_update_new(state,
						   json_pack("{s:I, s:b, s:s, s:s, s:i, s:i}",
									 "started_us", (json_int_t)
									 publish_started_us(),
									 "pending_restart",
									 worker->pending != NULL,
									 "sysid", sysid,
									 "started",
									 started,
									 "server_version", PG_VERSION_NUM,
									 "rule", worker->reported.rule));
	json_object_update_new(state, json_pack("{s:o*}", "leader_settings",
											publish_settings(leader)));
	return state;
}

static void
publish_to_launcher(HaWorker *worker)
{
	json_t	   *state;

	if (!worker->link.greeted)
		return;
	state = publish_state_message(worker);
	if (worker->state_sent != NULL && json_equal(state, worker->state_sent) &&
		worker->view.now < worker->state_sent_at + PUBLISH_MS * HA_NS_PER_MS)
	{
		json_decref(state);
		return;
	}
	json_decref(worker->state_sent);
	worker->state_sent = json_copy(state);
	worker->state_sent_at = worker->view.now;
	json_object_set_new(state, "consul_seen",
						json_integer((json_int_t) time(NULL)));
	worker_link_send(worker, state);
}

/* ------------------------------------------------------------------------
 * SQL
 * ------------------------------------------------------------------------
 */

static void
publish_document(HaDocument which, json_t *document)
{
	char	   *text = document != NULL ?
		json_dumps(document, JSON_COMPACT) : NULL;

	json_decref(document);
	if (text == NULL || !pgha_shmem_publish(which, text, strlen(text)))
		worker_report(NULL, HA_REPORT_WARNING,
					  "a document for SQL is too large and was not replaced");
	free(text);
}

static json_t *
publish_lsn(HaLsn lsn)
{
	return lsn == 0 ? json_null() :
		json_sprintf("%X/%X", LSN_FORMAT_ARGS((XLogRecPtr) lsn));
}

/* The settings that wait for a restart: their names, and what they become. */
static void
publish_pending(const HaMember *member, json_t *row)
{
	json_t	   *pending = json_loads(member->pending, 0, NULL);
	json_t	   *names = json_array();
	const char *name;
	json_t	   *value;

	json_object_foreach(pending, name, value)
		json_array_append_new(names, json_string(name));
	json_object_set_new(row, "pending_restart_settings", names);
	if (pending != NULL)
		json_object_set_new(row, "pending", pending);
}

static json_t *
publish_one_member(const HaWorker *worker, const HaMember *member,
				   const char *seen_at)
{
	const HaView *view = &worker->view;
	bool		leads = strcmp(member->name, view->leader) == 0;
	HaLsn		end = view->role == HA_ROLE_PRIMARY ? view->lsn : view->optime;
	char		host[HA_ADDRESS_MAX + 1] = "";
	int			port = 0;
	json_t	   *lag = json_null();
	json_t	   *row;

	(void) pgha_conn_url_split(member->conn_url, host, sizeof(host), &port);
	if (!leads && member->lsn != 0)
		lag = json_integer(end > member->lsn ?
						   (json_int_t) (end - member->lsn) : 0);
	row = json_pack("{s:s, s:s, s:i, s:s, s:s, s:i, s:o, s:o}",
					"name", member->name, "host", host, "port", port,
					"role", leads ? "leader" : "replica",
					"state", member->streaming ? "streaming" : member->state,
					"timeline", (int) member->tli,
					"lsn", publish_lsn(member->lsn), "lag_bytes", lag);
	json_object_update_new(row,
						   json_pack("{s:s*, s:s*, s:b, s:s, s:s}",
									 "replication_state",
									 member->streaming ? "streaming" : NULL,
									 "sync_state",
									 member->streaming ? "async" : NULL,
									 "pending_restart",
									 member->pending_restart,
									 "api_url", member->api_url,
									 "seen_at", seen_at));
	publish_pending(member, row);
	if (strcmp(member->name, view->self) == 0 && worker->tags != NULL)
		json_object_set(row, "tags", worker->tags);
	return row;
}

static void
publish_members(HaWorker *worker)
{
	const HaView *view = &worker->view;
	json_t	   *rows = json_array();
	char		seen_at[PUBLISH_TIME_MAX];
	TimestampTz when = GetCurrentTimestamp();
	int			i;

	when -= (pgha_now() - view->read_at) / 1000;
	publish_time(when, seen_at);
	for (i = 0; i < view->nmembers; i++)
		json_array_append_new(rows, publish_one_member(worker,
													   &view->members[i],
													   seen_at));
	publish_document(HA_DOCUMENT_MEMBERS, rows);
}

static void
publish_history(HaWorker *worker)
{
	const HaHistoryDoc *history = pgha_brain_history(worker->brain);
	json_t	   *rows = json_array();
	int			i;

	for (i = 0; i < history->nlines; i++)
	{
		const HaHistoryLine *line = &history->lines[i];

		json_array_append_new(rows,
							  json_pack("{s:i, s:o, s:s, s:s*, s:s*}",
										"timeline", (int) line->tli,
										"lsn", publish_lsn(line->end),
										"reason", line->reason,
										"at", line->when[0] != '\0' ?
										line->when : NULL,
										"leader", line->leader[0] != '\0' ?
										line->leader : NULL));
	}
	publish_document(HA_DOCUMENT_HISTORY, rows);
}

static void
publish_jobs(HaWorker *worker)
{
	int			njobs;
	const HaJobKey *jobs = pgha_brain_jobs(worker->brain, &njobs);
	json_t	   *rows = json_array();

	for (int i = 0; i < njobs; i++)
	{
		json_t	   *row = json_copy(jobs[i].document);

		json_object_set_new(row, "id", json_string(jobs[i].id));
		json_array_append_new(rows, row);
	}
	publish_document(HA_DOCUMENT_JOBS, rows);
}

/* ------------------------------------------------------------------------
 * What the cluster can lose
 * ------------------------------------------------------------------------
 */

static void
publish_servers_known(void *arg, const HaConsulAnswer *answer)
{
	HaWorker   *worker = arg;

	worker->servers_id = 0;
	worker->servers = answer->result == HA_CONSUL_OK ? answer->servers : 0;
	worker->servers_passing = answer->servers_passing;
}

static void
publish_ask_for_servers(HaWorker *worker)
{
	const HaView *view = &worker->view;

	if (worker->servers_id != 0 || (worker->servers_at != 0 && view->now <
									worker->servers_at + PUBLISH_SERVERS_MS * HA_NS_PER_MS))
		return;
	worker->servers_at = view->now;
	worker->servers_id =
		pgha_consul_servers(worker->consul,
							(int) view->timeouts.retry_timeout_ms,
							publish_servers_known, worker);
}

static json_t *
publish_tolerance(const HaWorker *worker)
{
	const HaView *view = &worker->view;
	HaTolerance tolerance = pgha_tolerance(view, worker->servers,
										   worker->servers_passing);
	json_t	   *why = json_array();
	json_t	   *result;

	for (int i = 0; i < view->nmembers; i++)
	{
		if (tolerance.faults[i] != HA_ORDER_FINE)
			json_array_append_new(why,
								  json_sprintf("%s can't take over: %s",
											   view->members[i].name,
											   pgha_order_fault_text(tolerance.faults[i])));
	}
	if (tolerance.members < 0)
		json_array_append_new(why, json_string("no member leads now"));
	if (worker->servers > 0)
		json_array_append_new(why,
							  json_sprintf("%d of %d Consul servers are well, %d are needed",
										   worker->servers_passing,
										   worker->servers,
										   worker->servers / 2 + 1));
	result = json_pack("{s:o, s:o, s:o}",
					   "members", tolerance.members < 0 ? json_null() :
					   json_integer(tolerance.members),
					   "consul_servers", tolerance.servers == -1 &&
					   worker->servers == 0 ? json_null() :
					   json_integer(tolerance.servers),
					   "why", why);
	return result;
}

static void
publish_status(HaWorker *worker)
{
	const HaView *view = &worker->view;
	const HaRule *rule = pgha_rule(worker->reported.rule);
	json_t	   *consul;
	json_t	   *status;

	consul = json_pack("{s:s, s:s, s:b, s:s}",
					   "endpoint", pgha_consul_endpoint(worker->consul),
					   "session", pgha_brain_session(worker->brain),
					   "answers", pgha_brain_trouble(worker->brain)[0] == '\0',
					   "trouble", pgha_brain_trouble(worker->brain));
	status = json_pack("{s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:o}",
					   "configured", true,
					   "scope", pgha_guc_scope,
					   "name", pgha_guc_name,
					   "state", publish_state(view),
					   "leader", view->leader,
					   "term", (json_int_t) view->lease_term,
					   "seq", (json_int_t) view->lease_seq,
					   "ttl_ms", (json_int_t) view->timeouts.ttl_ms,
					   "timeline", (int) view->tli,
					   "lsn", publish_lsn(view->lsn));
	json_object_update_new(status,
						   json_pack("{s:b, s:b, s:i, s:b, s:b, s:b, s:o, s:i, s:s, s:s}",
									 "failsafe_mode", view->failsafe_mode,
									 "failsafe_active", view->failsafe_active,
									 "members", view->nmembers,
									 "launcher", view->launcher_present,
									 "paused", view->paused,
									 "pending_restart",
									 worker->pending != NULL,
									 "consul", consul,
									 "rule", worker->reported.rule,
									 "action",
									 pgha_action_name(worker->reported.action),
									 "why", rule != NULL ? rule->why : ""));
	json_object_set_new(status, "can_lose", publish_tolerance(worker));
	publish_document(HA_DOCUMENT_STATUS, status);
	publish_ask_for_servers(worker);
}

static void
publish_title(const HaWorker *worker)
{
	static char last[NAMEDATALEN + 96];
	const HaView *view = &worker->view;
	char		title[NAMEDATALEN + 96];

	snprintf(title, sizeof(title), "%s, leader %s",
			 view->role == HA_ROLE_PRIMARY ? "primary" :
			 view->role == HA_ROLE_STANDBY ? "standby" : "recovering",
			 view->leader[0] != '\0' ? view->leader : "unknown");
	if (strcmp(title, last) == 0)
		return;
	strlcpy(last, title, sizeof(last));
	set_ps_display(title);
}

/* A number that is another one when a job was written. */
static uint64_t
publish_jobs_index(const HaWorker *worker)
{
	int			njobs;
	const HaJobKey *jobs = pgha_brain_jobs(worker->brain, &njobs);
	uint64_t	index = (uint64_t) njobs;

	for (int i = 0; i < njobs; i++)
		index = Max(index, jobs[i].index);
	return index;
}

void
worker_publish(HaWorker *worker)
{
	static int	last_rule = 0;
	static uint64_t last_job = 0;
	const HaView *view = &worker->view;

	if (worker->reloaded)
	{
		worker->reloaded = false;
		json_decref(worker->pending);
		worker->pending = worker_pending_restart();
	}
	publish_member(worker);
	publish_to_launcher(worker);
	publish_title(worker);
	if (view->now < worker->published_at + PUBLISH_MS * HA_NS_PER_MS &&
		worker->reported.rule == last_rule &&
		publish_jobs_index(worker) == last_job)
		return;
	last_rule = worker->reported.rule;
	last_job = publish_jobs_index(worker);
	worker->published_at = view->now;
	publish_status(worker);
	publish_members(worker);
	publish_history(worker);
	publish_jobs(worker);
}
