/*
 * worker_steer.c
 *	  The commands that steer the cluster.
 *
 *		{"command": "switchover", "candidate", "scheduled_ms", "timeout_ms"}
 *		{"command": "failover", "candidate", "force", "timeout_ms"}
 *		{"command": "restart", "member", "pending_only", "role",
 *		 "version_below", "scheduled_ms", "timeout_ms"}
 *			answered with {"job": id, "own": whether this instance is stopped}
 *		{"command": "job", "job": id}		its document
 *		{"command": "cancel", "job": id}	true
 *		{"command": "reload"|"reinit", "member", "force"}	the launcher's words
 *
 * What is asked for is written to Consul or given to a member's launcher; what
 * is refused changes nothing.
 */
#include "worker_private.h"

#include "common/pg_prng.h"
#include "dcs/json.h"
#include "dcs/peer.h"
#include "pgtime.h"

typedef enum SteerStep
{
	STEER_BEGIN,
	STEER_ASKED,				/* the answer's callback ends the command */
	STEER_SEEN,					/* until this member has read what it wrote */
} SteerStep;

static const char *
steer_text(const HaCommand *command, const char *name)
{
	const char *text = json_string_value(json_object_get(command->request,
														 name));

	return text != NULL ? text : "";
}

static int64_t
steer_number(const HaCommand *command, const char *name)
{
	return json_integer_value(json_object_get(command->request, name));
}

static bool
steer_cluster_known(HaWorker *worker, HaCommand *command)
{
	if (worker->view.cluster_known)
		return true;
	worker_command_fail(command, "55000", "See \"consul\" in pg_ha_status().",
						"this member has not read the cluster's state yet");
	return false;
}

/* Ids ascend with time, so that a listing does. */
static void
steer_make_id(const HaWorker *worker, char *id)
{
	pg_time_t	seconds = worker->view.wall_ms / 1000;
	size_t		len = pg_strftime(id, HA_JOB_ID_MAX, "%Y%m%d-%H%M%S",
								  pg_gmtime(&seconds));

	snprintf(id + len, HA_JOB_ID_MAX + 1 - len, "%03d-%04x",
			 (int) (worker->view.wall_ms % 1000),
			 (unsigned) (pg_prng_uint64(&pg_global_prng_state) & 0xffff));
}

/* ------------------------------------------------------------------------
 * Writing down what is asked for
 * ------------------------------------------------------------------------
 */

static void
steer_written(void *arg, const HaConsulAnswer *answer)
{
	HaCommand  *command = arg;

	command->http_id = 0;
	command->worker->round_due = 0;
	if (answer->result == HA_CONSUL_OK)
		command->step = STEER_SEEN;
	else if (answer->result == HA_CONSUL_REFUSED)
		worker_command_fail(command, "40001", "Nothing was changed; try again.",
							"somebody else asks for something at the same time");
	else if (answer->result == HA_CONSUL_DENIED)
		worker_command_fail(command, "42501",
							"Its policy must allow to write the keys below \"service/<scope>/\"; nothing was changed.",
							"Consul denies access to this node's token");
	else
		worker_command_fail(command, "08006",
							"See pg_ha_jobs when Consul answers again.",
							"Consul did not answer: whether this was asked for is not known");
}

static void
steer_write(HaCommand *command, HaTxnOp *ops, int nops)
{
	HaWorker   *worker = command->worker;
	HaJobWrite	old[4];
	HaTxnOp		all[8];
	int			n = worker_jobs_old(worker, old, lengthof(old));

	memcpy(all, ops, sizeof(HaTxnOp) * nops);
	for (int i = 0; i < n; i++)
		all[nops++] = old[i].op;
	command->step = STEER_ASKED;
	command->http_id =
		pgha_consul_txn(worker->consul, all, nops, (int)
						worker->view.timeouts.retry_timeout_ms, steer_written,
						command);
	if (command->http_id == 0)
		worker_command_fail(command, "53000", "Try again.",
							"too many requests to Consul are under way; nothing was changed");
}

static json_t *
steer_document(const HaWorker *worker, const char *kind, int64_t scheduled_ms,
			   int64_t timeout_ms)
{
	json_t	   *document;
	char		when[40];

	pgha_time_print(worker->view.wall_ms, when, sizeof(when));
	document = json_pack("{s:s, s:s, s:s, s:s, s:I}", "kind", kind,
						 "state", scheduled_ms != 0 ? "scheduled" : "running",
						 "asked_by", worker->view.self, "asked_at", when,
						 "timeout_ms", (json_int_t) timeout_ms);
	if (scheduled_ms != 0)
	{
		pgha_time_print(scheduled_ms, when, sizeof(when));
		json_object_set_new(document, "scheduled_at", json_string(when));
	}
	return document;
}

/* The job is there for all to see: its id is the answer. */
static void
steer_answer_when_seen(HaWorker *worker, HaCommand *command)
{
	const char *id = json_string_value(json_object_get(command->memory,
													   "job"));

	if (id != NULL && worker_job(worker, id) != NULL)
		worker_command_answer(command, json_incref(command->memory));
}

static bool
steer_time_is_ahead(HaWorker *worker, HaCommand *command, int64_t scheduled_ms)
{
	if (scheduled_ms == 0 || scheduled_ms > worker->view.wall_ms)
		return true;
	worker_command_fail(command, "22023", "Nothing was changed.",
						"what is scheduled must be in the future");
	return false;
}

/* ------------------------------------------------------------------------
 * Switchover and failover
 * ------------------------------------------------------------------------
 */

static void
steer_refuse_order(HaWorker *worker, HaCommand *command, const HaOrder *order,
				   HaOrderFault fault)
{
	char	   *candidates = worker_candidates(&worker->view, order);
	char	   *hint = candidates != NULL ?
		psprintf("Possible candidates: %s.  Nothing was changed.", candidates) :
		pstrdup("There is no other candidate now; see pg_ha_members.  Nothing was changed.");

	if (order->member[0] != '\0')
		worker_command_fail(command, "55000", hint,
							"member \"%s\" can't be made the leader: %s",
							order->member, pgha_order_fault_text(fault));
	else
		worker_command_fail(command, "55000", hint,
							"the leader can't be changed: %s",
							pgha_order_fault_text(fault));
}

/* What a member would take over without; a leader it streams from hands over. */
static HaLsn
steer_loss(const HaView *view, const HaOrder *order)
{
	const HaMember *member = pgha_view_member(view, order->member);

	if (order->leader[0] != '\0' || member == NULL || member->streaming)
		return 0;
	return view->optime > member->lsn ? view->optime - member->lsn : 0;
}

/* Whether nothing is in the way; else the command has failed. */
static bool
steer_check_order(HaWorker *worker, HaCommand *command, const HaOrder *order)
{
	HaOrderFault fault = pgha_order_check(&worker->view, order);
	HaLsn		loss = steer_loss(&worker->view, order);

	/* a fault of now says nothing of later, but who leads and is known does */
	if (worker->view.order.present)
		worker_command_fail(command, "55006",
							"See pg_ha_jobs; pg_ha_cancel(job) takes back what has not begun.",
							"the leader is being changed already, or will be");
	else if (fault == HA_ORDER_LAG && worker->view.role != HA_ROLE_PRIMARY)
		return true;			/* the leader knows better */
	else if (fault == HA_ORDER_DONE)
		steer_refuse_order(worker, command, order, HA_ORDER_SAME);
	else if (fault != HA_ORDER_FINE)
		steer_refuse_order(worker, command, order, fault);
	else if (loss > 0 && !order->force)
		worker_command_fail(command, "55000",
							"Call it with force => true to accept that.  Nothing was changed.",
							"member \"%s\" lacks up to %llu bytes that the last leader had written",
							order->member, (unsigned long long) loss);
	return command->outcome == NULL;
}

static bool
steer_fill_order(HaWorker *worker, HaCommand *command, HaOrder *order)
{
	const char *candidate = steer_text(command, "candidate");
	bool		planned = strcmp(command->kind->name, "switchover") == 0;

	memset(order, 0, sizeof(*order));
	order->present = true;
	if (strlen(candidate) > HA_NAME_MAX)
	{
		worker_command_fail(command, "22023", "See pg_ha_members.",
							"there is no member of that name");
		return false;
	}
	if (planned && worker->view.leader[0] == '\0')
	{
		worker_command_fail(command, "55000",
							"pg_ha_failover(candidate) makes one lead.",
							"no member leads");
		return false;
	}
	strcpy(order->member, candidate);
	if (planned)
		memcpy(order->leader, worker->view.leader, sizeof(order->leader));
	memcpy(order->asked_by, worker->view.self, sizeof(order->asked_by));
	order->scheduled_ms = steer_number(command, "scheduled_ms");
	order->timeout_ms = steer_number(command, "timeout_ms");
	order->force = json_is_true(json_object_get(command->request, "force"));
	order->seen_at = worker->view.now;
	return steer_time_is_ahead(worker, command, order->scheduled_ms);
}

static void
steer_order(HaWorker *worker, HaCommand *command, HaOrder *order)
{
	HaTxnOp		ops[2];
	HaJobWrite	job;
	char		key[300];
	char	   *text;
	json_t	   *document = steer_document(worker, command->kind->name,
										  order->scheduled_ms,
										  order->timeout_ms);

	steer_make_id(worker, order->job);
	json_object_set_new(document, "candidate", json_string(order->member));
	worker_job_create(worker, order->job, document, &job);
	text = pgha_order_print(order);
	snprintf(key, sizeof(key), "%sfailover", worker->prefix);
	ops[0] = (HaTxnOp) {.verb = HA_TXN_CAS,.key = key,.value = text,
		.index = pgha_brain_order_index(worker->brain)};
	ops[1] = job.op;
	command->memory = json_pack("{s:s, s:b, s:b}", "job", order->job, "own",
								order->scheduled_ms == 0 &&
								strcmp(worker->view.leader,
									   worker->view.self) == 0,
								"scheduled", order->scheduled_ms != 0);
	if (text != NULL && job.op.key != NULL)
		steer_write(command, ops, 2);
	worker_job_release(&job);
	free(text);
}

void
worker_switchover_run(HaWorker *worker, HaCommand *command)
{
	HaOrder		order;

	if (command->step == STEER_SEEN)
		steer_answer_when_seen(worker, command);
	if (command->step != STEER_BEGIN)
		return;
	if (steer_cluster_known(worker, command) &&
		steer_fill_order(worker, command, &order) &&
		steer_check_order(worker, command, &order))
		steer_order(worker, command, &order);
}

/* ------------------------------------------------------------------------
 * Restart
 * ------------------------------------------------------------------------
 */

static bool
steer_known_member(HaWorker *worker, HaCommand *command, const char *name)
{
	if (pgha_view_member(&worker->view, name) != NULL)
		return true;
	worker_command_fail(command, "42704",
						"See pg_ha_members.  Nothing was changed.",
						"there is no member \"%s\"", name);
	return false;
}

/* NULL: nobody is meant, and the command has failed. */
static json_t *
steer_restart_entries(HaWorker *worker, HaCommand *command, bool *own)
{
	const char *name = steer_text(command, "member");
	json_t	   *members = json_array();

	*own = false;
	for (int i = 0; i < worker->view.nmembers; i++)
	{
		const HaMember *member = &worker->view.members[i];

		if (name[0] != '\0' && strcmp(name, member->name) != 0)
			continue;
		*own |= strcmp(member->name, worker->view.self) == 0;
		json_array_append_new(members, json_pack("{s:s, s:s}", "name",
												 member->name, "state",
												 "todo"));
	}
	return members;
}

static void
steer_restart(HaWorker *worker, HaCommand *command)
{
	int64_t		scheduled_ms = steer_number(command, "scheduled_ms");
	json_t	   *document = steer_document(worker, "restart", scheduled_ms,
										  steer_number(command,
													   "timeout_ms"));
	char		id[HA_JOB_ID_MAX + 1];
	HaJobWrite	job;
	bool		own;

	json_object_set_new(document, "members",
						steer_restart_entries(worker, command, &own));
	json_object_update_new(document,
						   json_pack("{s:O*, s:O*, s:O*}", "pending_only",
									 json_object_get(command->request,
													 "pending_only"),
									 "role", json_object_get(command->request,
															 "role"),
									 "version_below",
									 json_object_get(command->request,
													 "version_below")));
	steer_make_id(worker, id);
	worker_job_create(worker, id, document, &job);
	command->memory = json_pack("{s:s, s:b, s:b}", "job", id, "own",
								own && scheduled_ms == 0,
								"scheduled", scheduled_ms != 0);
	if (job.op.key != NULL)
		steer_write(command, &job.op, 1);
	worker_job_release(&job);
}

void
worker_restart_run(HaWorker *worker, HaCommand *command)
{
	const char *name = steer_text(command, "member");

	if (command->step == STEER_SEEN)
		steer_answer_when_seen(worker, command);
	if (command->step != STEER_BEGIN ||
		!steer_cluster_known(worker, command) ||
		(name[0] != '\0' && !steer_known_member(worker, command, name)) ||
		!steer_time_is_ahead(worker, command,
							 steer_number(command, "scheduled_ms")))
		return;
	steer_restart(worker, command);
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

static const HaJobKey *
steer_job(HaWorker *worker, HaCommand *command)
{
	const char *id = steer_text(command, "job");
	const HaJobKey *job = worker_job(worker, id);

	if (job == NULL)
		worker_command_fail(command, "42704", "See pg_ha_jobs.",
							"there is no job \"%s\"", id);
	return job;
}

void
worker_job_run(HaWorker *worker, HaCommand *command)
{
	const HaJobKey *job = steer_job(worker, command);
	json_t	   *answer;

	if (job == NULL)
		return;
	answer = json_copy(job->document);
	json_object_update(answer, json_object_get(answer, "result"));
	json_object_set_new(answer, "job", json_string(job->id));
	json_object_set_new(answer, "id", json_string(job->id));
	json_object_set_new(answer, "open",
						json_boolean(pgha_job_is_open(job->document)));
	worker_command_answer(command, answer);
}

static void
steer_cancel(HaWorker *worker, HaCommand *command, const HaJobKey *job)
{
	const HaOrder *order = &worker->view.order;
	bool		ordered = order->present && strcmp(order->job, job->id) == 0;
	HaTxnOp		ops[2];
	HaJobWrite	write;
	char		key[300];
	int			nops = 0;

	if (!pgha_job_is_open(job->document) || (ordered && order->begun_term != 0))
	{
		worker_command_fail(command, "55000", "See pg_ha_jobs.",
							"job \"%s\" %s", job->id, ordered ?
							"has begun and can't be taken back" :
							"has ended already");
		return;
	}
	worker_job_change(worker, job->id,
					  json_pack("{s:s, s:s}", "state", "cancelled",
								"message", "cancelled by an operator"), &write);
	if (write.op.key != NULL)
		ops[nops++] = write.op;
	snprintf(key, sizeof(key), "%sfailover", worker->prefix);
	if (ordered)
		ops[nops++] = (HaTxnOp) {.verb = HA_TXN_CAS,.key = key,.value = "{}",
			.index = order->index};
	worker_event(worker, 0, "cancel", job->id, true);
	if (nops > 0)
		steer_write(command, ops, nops);
	worker_job_release(&write);
}

void
worker_cancel_run(HaWorker *worker, HaCommand *command)
{
	const HaJobKey *job = steer_job(worker, command);

	if (job == NULL)
		return;
	if (command->step == STEER_BEGIN)
		steer_cancel(worker, command, job);
	else if (command->step == STEER_SEEN && !pgha_job_is_open(job->document))
		worker_command_answer(command, json_true());
}

/* ------------------------------------------------------------------------
 * What one member's launcher does
 * ------------------------------------------------------------------------
 */

static void
steer_member_answered(void *arg, const HaHttpAnswer *answer)
{
	HaCommand  *command = arg;
	const char *name = steer_text(command, "member");

	command->http_id = 0;
	command->worker->round_due = 0;
	if (!answer->ok)
		worker_command_fail(command, "08006",
							"Is its launcher running, and can this node reach it?",
							"member \"%s\" does not answer: %s", name,
							answer->error);
	else if (answer->status == 401)
		worker_command_fail(command, "28000",
							"pg_ha.restapi_username and the password must be the same on all nodes.",
							"member \"%s\" refuses this node's REST credentials",
							name);
	else if (answer->status != 200 && answer->status != 202)
		worker_command_fail(command, "55000", "Nothing was changed.",
							"member \"%s\" says: %s", name, answer->body);
	else
		worker_command_answer(command, json_string(answer->body));
}

void
worker_member_run(HaWorker *worker, HaCommand *command)
{
	const char *name = steer_text(command, "member");
	bool		reinit = strcmp(command->kind->name, "reinit") == 0;
	json_t	   *body = NULL;

	if (command->step != STEER_BEGIN ||
		!steer_cluster_known(worker, command) ||
		!steer_known_member(worker, command, name))
		return;
	command->step = STEER_ASKED;
	if (reinit)
		body = json_pack("{s:O*}", "force",
						 json_object_get(command->request, "force"));
	command->http_id =
		pgha_peer_post(pgha_consul_http(worker->consul),
					   pgha_view_member(&worker->view, name)->api_url,
					   reinit ? "/reinitialize" : "/reload", body,
					   worker->credentials, (int)
					   worker->view.timeouts.retry_timeout_ms,
					   steer_member_answered, command);
	if (command->http_id == 0)
		worker_command_fail(command, "08006", "See api_url in pg_ha_members.",
							"member \"%s\" can't be asked", name);
}
