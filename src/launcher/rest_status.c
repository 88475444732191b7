/*
 * rest_status.c
 *	  What the endpoints say: who is healthy, and the status document.
 *
 * Source: Patroni's REST API, api.do_GET and api.get_postgresql_status.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/http.h"
#include "dcs/json.h"
#include "launcher/rest_private.h"

/* What Patroni's tools shall take this for. */
#define PATRONI_VERSION "4.0.0"

bool
pgha_rest_view_init(HaRestView *view, const HaNode *node,
					const HaRestState *state, char *why)
{
	*view = (HaRestView) {.node = node,.state = state};
	view->tags = json_loads(pgha_node_get(node, "pg_ha.tags"), 0, NULL);
	return json_is_object(view->tags) ||
		pgha_why(why, "pg_ha.tags is no JSON object");
}

void
pgha_rest_view_release(HaRestView *view)
{
	json_decref(view->tags);
	view->tags = NULL;
}

/*
 * Facts
 */

static uint64_t
worker_number(const HaRestView *view, const char *field)
{
	const json_t *value = json_object_get(view->state->worker, field);

	return json_is_integer(value) && json_integer_value(value) > 0 ?
		(uint64_t) json_integer_value(value) : 0;
}

static const char *
worker_text(const HaRestView *view, const char *field)
{
	const char *text = json_string_value(json_object_get(view->state->worker,
														 field));

	return text ? text : "";
}

static bool
worker_flag(const HaRestView *view, const char *field)
{
	return json_is_true(json_object_get(view->state->worker, field));
}

static bool
is_running(const HaRestView *view)
{
	return view->state->worker && view->state->state &&
		strcmp(view->state->state, "running") == 0;
}

static bool
holds_lease(const HaRestView *view)
{
	return view->state->open_without_end ||
		pgha_now() < view->state->deadline;
}

static bool
tag_is_true(const HaRestView *view, const char *name)
{
	bool		flag = false;

	return pgha_json_bool(json_object_get(view->tags, name), &flag) && flag;
}

/* The leader's position as far as this node knows it. */
static HaLsn
leader_lsn(const HaRestView *view)
{
	HaLsn		optime = worker_number(view, "optime");

	return optime > view->state->optime ? optime : view->state->optime;
}

static bool
within_lag(const HaRestView *view, HaLsn position, uint64_t lag)
{
	HaLsn		leader = leader_lsn(view);

	return leader <= position || leader - position <= lag;
}

/*
 * Predicates
 */

bool
pgha_rest_always(const HaRestView *view, const HaRestQuery *query)
{
	return true;
}

bool
pgha_rest_never(const HaRestView *view, const HaRestQuery *query)
{
	return false;
}

bool
pgha_rest_primary(const HaRestView *view, const HaRestQuery *query)
{
	return is_running(view) && view->state->role == HA_ROLE_PRIMARY &&
		holds_lease(view);
}

bool
pgha_rest_leader(const HaRestView *view, const HaRestQuery *query)
{
	return is_running(view) && holds_lease(view);
}

static bool
is_replica(const HaRestView *view, const HaRestQuery *query)
{
	if (!is_running(view) || view->state->role != HA_ROLE_STANDBY ||
		!worker_flag(view, "accepts_reads") ||
		tag_is_true(view, "noloadbalance"))
		return false;
	if (query->replication_state &&
		strcmp(query->replication_state,
			   worker_text(view, "replication_state")) != 0)
		return false;
	return query->lag == HA_REST_NO_LAG ||
		within_lag(view, worker_number(view, "replayed"), query->lag);
}

bool
pgha_rest_replica(const HaRestView *view, const HaRestQuery *query)
{
	return is_replica(view, query) && query->tags_match;
}

bool
pgha_rest_read_only(const HaRestView *view, const HaRestQuery *query)
{
	return (pgha_rest_primary(view, query) || is_replica(view, query)) &&
		query->tags_match;
}

bool
pgha_rest_health(const HaRestView *view, const HaRestQuery *query)
{
	return is_running(view) && query->tags_match;
}

bool
pgha_rest_liveness(const HaRestView *view, const HaRestQuery *query)
{
	return view->state->paused ||
		pgha_now() - view->state->alive_at <
		view->state->liveness_ms * HA_NS_PER_MS;
}

bool
pgha_rest_readiness(const HaRestView *view, const HaRestQuery *query)
{
	bool		write = query->mode && strcmp(query->mode, "write") == 0;
	uint64_t	lag = query->lag;

	if (pgha_rest_leader(view, query))
		return true;
	if (lag == HA_REST_NO_LAG)
		lag = (uint64_t) view->state->maximum_lag;
	return is_running(view) && view->state->role == HA_ROLE_STANDBY &&
		strcmp(worker_text(view, "replication_state"), "streaming") == 0 &&
		within_lag(view, worker_number(view, write ? "received" : "replayed"),
				   lag);
}

/*
 * Query parameters
 */

uint64_t
pgha_rest_parse_size(const char *text)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	unsigned long long number;
	char	   *rest;

	if (!text || !isdigit((unsigned char) *text))
		return HA_REST_NO_LAG;
	errno = 0;
	number = strtoull(text, &rest, 10);
	if (errno != 0)
		return HA_REST_NO_LAG;
	rest += strspn(rest, " ");
	if (*rest == '\0')
		return number;
	for (int i = 0; i < 5; i++)
		if (strcmp(rest, units[i]) == 0)
			return number <= (UINT64_MAX - 1) >> (10 * i) ?
				number << (10 * i) : HA_REST_NO_LAG;
	return HA_REST_NO_LAG;
}

/* Numbers and booleans as they are written: true, 1.5 */
bool
pgha_rest_tag_matches(const HaRestView *view, const char *name,
					  const char *value)
{
	json_t	   *tag = json_object_get(view->tags, name);
	char	   *text;
	bool		matches;

	if (!tag)
		return false;
	if (json_is_string(tag))
		return strcmp(json_string_value(tag), value) == 0;
	text = json_dumps(tag, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	matches = text && strcmp(text, value) == 0;
	free(text);
	return matches;
}

/*
 * The document.  Absent facts are absent fields; json_object_set_new takes
 * NULL for an error and frees nothing, so a lack of memory only shortens it.
 */

static void
put(json_t *document, const char *field, json_t *value)
{
	(void) json_object_set_new(document, field, value);
}

static void
put_number(json_t *document, const char *field, uint64_t number)
{
	put(document, field, json_integer((json_int_t) number));
}

static json_t *
status_xlog(const HaRestView *view)
{
	json_t	   *xlog = json_object();

	if (view->state->role == HA_ROLE_PRIMARY)
	{
		put_number(xlog, "location", worker_number(view, "lsn"));
		return xlog;
	}
	put_number(xlog, "received_location", worker_number(view, "received"));
	put_number(xlog, "replayed_location", worker_number(view, "replayed"));
	put(xlog, "replayed_timestamp",
		*worker_text(view, "replayed_timestamp") ?
		json_string(worker_text(view, "replayed_timestamp")) : json_null());
	put(xlog, "paused", json_boolean(worker_flag(view, "replay_paused")));
	return xlog;
}

/* What only a running server can say. */
static void
put_server(const HaRestView *view, json_t *document)
{
	json_t	   *replication = json_object_get(view->state->worker,
											  "replication");

	put(document, "server_version",
		json_integer((json_int_t) worker_number(view, "server_version")));
	put(document, "xlog", status_xlog(view));
	if (worker_number(view, "timeline") > 0)
		put_number(document, "timeline", worker_number(view, "timeline"));
	if (*worker_text(view, "replication_state"))
		put(document, "replication_state",
			json_string(worker_text(view, "replication_state")));
	if (json_is_array(replication) && json_array_size(replication) > 0)
		(void) json_object_set(document, "replication", replication);
}

static void
put_cluster(const HaRestView *view, json_t *document)
{
	const HaRestState *state = view->state;
	char		sysid[24];

	if (state->paused)
		put(document, "pause", json_true());
	if (state->failsafe_active)
		put(document, "failsafe_mode_is_active", json_true());
	if (state->cluster_unlocked)
		put(document, "cluster_unlocked", json_true());
	put(document, "dcs_last_seen", json_integer(state->consul_seen));
	if (json_object_size(view->tags) > 0)
		(void) json_object_set(document, "tags", view->tags);
	if (state->sysid != 0)
	{
		snprintf(sysid, sizeof(sysid), "%" PRIu64, state->sysid);
		put(document, "database_system_identifier", json_string(sysid));
	}
	if (worker_flag(view, "pending_restart"))
		put(document, "pending_restart", json_true());
	put(document, "patroni",
		json_pack("{s:s, s:s, s:s}", "version", PATRONI_VERSION,
				  "scope", view->node->scope, "name", view->node->name));
}

/* Beyond Patroni's fields: why the node is what it is. */
static void
put_own(const HaRestView *view, json_t *document)
{
	HaTime		left = view->state->deadline - pgha_now();

	put(document, "pg_ha",
		json_pack("{s:I, s:I, s:I, s:b}",
				  "rule", (json_int_t) worker_number(view, "rule"),
				  "term", (json_int_t) worker_number(view, "term"),
				  "lease_ms",
				  (json_int_t) (left > 0 ? left / HA_NS_PER_MS : 0),
				  "open_without_end", view->state->open_without_end));
}

char *
pgha_rest_status_text(const HaRestView *view)
{
	json_t	   *document = json_object();
	const char *state = view->state->state ? view->state->state : "unknown";
	char	   *text;

	put(document, "state", json_string(state));
	if (is_running(view) && *worker_text(view, "started"))
		put(document, "postmaster_start_time",
			json_string(worker_text(view, "started")));
	put(document, "role",
		json_string(view->state->role == HA_ROLE_PRIMARY ? "primary" :
					"replica"));
	if (is_running(view))
		put_server(view, document);
	put_cluster(view, document);
	put_own(view, document);
	text = json_dumps(document, JSON_REAL_PRECISION(15));
	json_decref(document);
	return text;
}
