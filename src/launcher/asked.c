/*
 * asked.c
 *	  What leaders and operators ask of this node by REST.
 *
 *	POST /failsafe			a leader asks this member to wait (core/lease.h)
 *	POST /restart			restart the instance: {"timeout": s, "started": us,
 *							"restart_pending": bool, "role": "primary"|"replica",
 *							"wait": bool}; answered when it is done, or at once
 *	POST /reload			read the node settings anew
 *	POST /reinitialize		copy the leader anew: {"force": bool}
 *
 * Texts and status codes are those of Patroni's REST API.
 */
#include "launcher/launcher.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/json.h"

#define ASKED_OK 200
#define ASKED_LATER 202
#define ASKED_BAD 400
#define ASKED_REFUSED 500
#define ASKED_NOT_NOW 503

/* how long a restart may take, if the request does not say */
#define ASKED_RESTART_S 300

static void
__attribute__((format(printf, 3, 4)))
asked_reply(HaRestReply *reply, int status, const char *format,...)
{
	va_list		args;

	reply->status = status;
	va_start(args, format);
	vsnprintf(reply->text, sizeof(reply->text), format, args);
	va_end(args);
}

/* ------------------------------------------------------------------------
 * Failsafe
 * ------------------------------------------------------------------------
 */

static const char *const failsafe_refused =
"Refused: this member knows of a later leadership";

void
launcher_waits(HaLauncher *launcher, int ask, bool accepted)
{
	pgha_rest_reply(launcher->rest, ask, accepted ? ASKED_OK : ASKED_REFUSED,
					accepted ? "Accepted" : failsafe_refused);
}

/* The brain's word counts, and that is the worker's most of the time. */
static void
asked_failsafe(HaLauncher *launcher, HaRestAsk *ask, HaRestReply *reply)
{
	const char *scope = json_string_value(json_object_get(ask->body, "scope"));
	uint64_t	term;
	uint64_t	seq;
	uint64_t	ttl_ms;

	if (scope == NULL || strcmp(scope, launcher->node->scope) != 0 ||
		!pgha_json_number(json_object_get(ask->body, "term"), &term) ||
		!pgha_json_number(json_object_get(ask->body, "seq"), &seq) ||
		!pgha_json_number(json_object_get(ask->body, "ttl_ms"), &ttl_ms) ||
		ttl_ms == 0 || ttl_ms > INT32_MAX)
		asked_reply(reply, ASKED_BAD,
					"Not a request of a leader of this cluster");
	else if (pgha_control_connected(launcher->server))
	{
		if (!pgha_control_send(launcher->server,
							   json_pack("{s:s, s:i, s:I, s:I, s:I}",
										 "type", "failsafe", "id", ask->id,
										 "term", (json_int_t) term,
										 "seq", (json_int_t) seq,
										 "ttl_ms", (json_int_t) ttl_ms)))
			asked_reply(reply, ASKED_NOT_NOW, "Nobody to ask");
	}
	else if (launcher->brain == NULL)
		asked_reply(reply, ASKED_NOT_NOW, "Nobody to ask");
	else if (pgha_brain_accept(launcher->brain, term, seq, (int64_t) ttl_ms))
		asked_reply(reply, ASKED_OK, "Accepted");
	else
		asked_reply(reply, ASKED_REFUSED, "%s", failsafe_refused);
}

/* ------------------------------------------------------------------------
 * Restart and reload
 * ------------------------------------------------------------------------
 */

static const char *
asked_busy_with(const HaLauncher *launcher)
{
	if (launcher->stop_requested)
		return "stop";
	if (launcher->job != NULL)
		return launcher->job_phrase;
	if (launcher->stop == HA_STOP_REINIT)
		return "reinitialize";
	if (launcher->stop == HA_STOP_HANDOVER)
		return "switchover";
	return launcher->stop != HA_STOP_NONE || launcher->stopping ? "restart" :
		NULL;
}

/* Whether what the request makes its condition is so. */
static bool
asked_condition_holds(const HaLauncher *launcher, const json_t *body)
{
	const json_t *state = launcher->worker_state;
	const char *role = json_string_value(json_object_get(body, "role"));
	const char *own = json_string_value(json_object_get(state, "role"));

	if (role != NULL && strcmp(role, own != NULL &&
							   strcmp(own, "primary") == 0 ? "primary" :
							   "replica") != 0)
		return false;
	return !json_is_true(json_object_get(body, "restart_pending")) ||
		json_is_true(json_object_get(state, "pending_restart"));
}

/* False: the request says something that it must not. */
static bool
asked_read_restart(const json_t *body, uint64_t *timeout_s, HaRestReply *reply)
{
	static const char *const known[] = {
		"timeout", "started", "role", "restart_pending", "wait"
	};
	const char *name;
	json_t	   *value;

	json_object_foreach((json_t *) (uintptr_t) body, name, value)
	{
		bool		found = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			found |= strcmp(known[i], name) == 0;
		if (!found)
		{
			asked_reply(reply, ASKED_BAD,
						"Unknown filter for the scheduled restart: %.60s", name);
			return false;
		}
	}
	if (pgha_json_get_number(body, "timeout", timeout_s) && *timeout_s > 0 &&
		*timeout_s <= INT32_MAX / 1000)
		return true;
	asked_reply(reply, ASKED_BAD,
				"Timeout should be a positive number of seconds");
	return false;
}

static void
asked_restart(HaLauncher *launcher, HaRestAsk *ask, HaRestReply *reply)
{
	const char *busy = asked_busy_with(launcher);
	uint64_t	timeout_s = ASKED_RESTART_S;
	uint64_t	started = 0;
	uint64_t	own = 0;

	if (!asked_read_restart(ask->body, &timeout_s, reply))
		return;
	(void) pgha_json_get_number(ask->body, "started", &started);
	(void) pgha_json_get_number(launcher->worker_state, "started_us", &own);
	if (started != 0 && own != 0 && started != own)
		asked_reply(reply, ASKED_OK, "restarted successfully");
	else if (busy != NULL)
		asked_reply(reply, ASKED_NOT_NOW, "%s already in progress", busy);
	else if (launcher->instance == HA_INSTANCE_STARTING)
		asked_reply(reply, ASKED_NOT_NOW, "postgres is still starting");
	else if (launcher->instance != HA_INSTANCE_RUNNING)
		asked_reply(reply, ASKED_NOT_NOW, "postgres does not run");
	else if (!asked_condition_holds(launcher, ask->body))
		asked_reply(reply, ASKED_NOT_NOW,
					"restart conditions are not satisfied");
	else
	{
		launcher->stop = HA_STOP_RESTART;
		launcher->restart_ended = false;
		if (json_is_false(json_object_get(ask->body, "wait")))
			asked_reply(reply, ASKED_LATER, "restart started");
		else
			launcher->restart_ask = ask->id;
		ask->wait_ms = (int64_t) timeout_s * 1000;
		launcher_event(launcher, 0, "restart asked for",
					   "an operator or the leader wants a restart");
	}
}

void
launcher_restarted(HaLauncher *launcher, bool well)
{
	if (launcher->restart_ask == 0 || !launcher->restart_ended)
		return;
	pgha_rest_reply(launcher->rest, launcher->restart_ask,
					well ? ASKED_OK : ASKED_NOT_NOW,
					well ? "restarted successfully" : "restart failed");
	launcher->restart_ask = 0;
}

static void
asked_reload(HaLauncher *launcher, HaRestAsk *ask, HaRestReply *reply)
{
	(void) ask;
	launcher->reload_requested = true;
	asked_reply(reply, ASKED_LATER, "reload scheduled");
}

/* ------------------------------------------------------------------------
 * Reinit
 * ------------------------------------------------------------------------
 */

/* Who leads, and has a member key to be copied from; "" = nobody. */
static const char *
asked_leader(const HaLauncher *launcher)
{
	const json_t *state = launcher->worker_state;
	const char *leader = json_string_value(json_object_get(state, "leader"));

	if (launcher->brain != NULL)
		return pgha_view_member(&launcher->view, launcher->view.leader) ?
			launcher->view.leader : "";
	return leader != NULL &&
		json_integer_value(json_object_get(state, "leader_timeline")) > 0 ?
		leader : "";
}

static bool
asked_is_leader(const HaLauncher *launcher, const char *leader)
{
	return strcmp(leader, launcher->node->name) == 0 ||
		launcher->view.standing == HA_STANDING_OURS;
}

static void
asked_reinitialize(HaLauncher *launcher, HaRestAsk *ask, HaRestReply *reply)
{
	bool		force = json_is_true(json_object_get(ask->body, "force"));
	const char *busy = asked_busy_with(launcher);
	const char *leader = asked_leader(launcher);

	if (leader[0] == '\0')
		asked_reply(reply, ASKED_NOT_NOW,
					"Cluster has no leader, can not reinitialize");
	else if (asked_is_leader(launcher, leader))
		asked_reply(reply, ASKED_NOT_NOW,
					"I am the leader, can not reinitialize");
	else if (busy != NULL && (!force || launcher->stop_requested))
		asked_reply(reply, ASKED_NOT_NOW, "%s already in progress", busy);
	else
	{
		if (launcher->job != NULL)
			pgha_job_kill(launcher->job, SIGTERM);
		launcher->stop = HA_STOP_REINIT;
		launcher_event(launcher, 0, "reinit asked for",
					   "an operator wants this member to be copied anew");
		asked_reply(reply, ASKED_OK, "reinitialize started");
	}
}

void
launcher_asked(void *arg, HaRestAsk *ask, HaRestReply *reply)
{
	static const struct
	{
		const char *path;
		void		(*answer) (HaLauncher *launcher, HaRestAsk *ask,
							   HaRestReply *reply);
	}			asked[] = {
		{"/failsafe", asked_failsafe},
		{"/restart", asked_restart},
		{"/reload", asked_reload},
		{"/reinitialize", asked_reinitialize},
	};

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
	{
		if (strcmp(asked[i].path, ask->path) == 0)
			asked[i].answer(arg, ask, reply);
	}
}
