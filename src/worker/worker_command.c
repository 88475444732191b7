/*
 * worker_command.c
 *	  What backends ask the worker for, until it is done (request.h).
 *
 * Each slot of shared memory has one HaCommand here.  What a command is, is in
 * the table of its kinds; what it decides from facts of the cluster it asks
 * src/core.
 */
#include "worker_private.h"

#include "miscadmin.h"
#include "request.h"
#include "shmem.h"

static HaCommand commands[HA_REQUESTS];

static const HaCommandKind kinds[] = {
	{"show_config", worker_config_show},
	{"edit_config", worker_config_run},
	{"set_config", worker_config_run},
	{"pause", worker_config_run},
	{"resume", worker_config_run},
	{"condition", worker_condition_run},
	{"switchover", worker_switchover_run},
	{"failover", worker_switchover_run},
	{"restart", worker_restart_run},
	{"cancel", worker_cancel_run},
	{"job", worker_job_run},
	{"reload", worker_member_run},
	{"reinit", worker_member_run},
};

static const HaCommandKind *
command_kind(const char *name)
{
	for (int i = 0; name != NULL && i < (int) lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	}
	return NULL;
}

/* ------------------------------------------------------------------------
 * Outcomes
 * ------------------------------------------------------------------------
 */

void
worker_command_notice(HaCommand *command, const char *format,...)
{
	char		text[1024];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (command->notices == NULL)
		command->notices = json_array();
	json_array_append_new(command->notices, json_string(text));
}

void
worker_command_answer(HaCommand *command, json_t *answer)
{
	if (command->outcome != NULL)
	{
		json_decref(answer);
		return;
	}
	command->outcome = json_pack("{s:o, s:O*}", "answer",
								 answer != NULL ? answer : json_null(),
								 "notices", command->notices);
}

/* hint may be NULL */
void
worker_command_fail(HaCommand *command, const char *sqlstate, const char *hint,
					const char *format,...)
{
	char		text[1024];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (command->outcome == NULL)
		command->outcome = json_pack("{s:{s:s, s:s, s:s*}}", "error",
									 "sqlstate", sqlstate, "message", text,
									 "hint", hint);
}

/* ------------------------------------------------------------------------
 * Slots
 * ------------------------------------------------------------------------
 */

static void
command_end(HaWorker *worker, HaCommand *command)
{
	if (command->http_id != 0)
		pgha_consul_cancel(worker->consul, command->http_id);
	pgha_http_cancel(pgha_consul_http(worker->consul), command->http_id);
	json_decref(command->request);
	json_decref(command->memory);
	json_decref(command->notices);
	json_decref(command->outcome);
	memset(command, 0, sizeof(*command));
}

static void
command_begin(HaWorker *worker, HaCommand *command,
			  const HaRequest *request)
{
	static const HaCommandKind unknown = {"unknown", NULL};
	const char *name;

	command->request = json_loadb(request->text, request->len, 0, NULL);
	name = json_string_value(json_object_get(command->request, "command"));
	command->begun_at = pgha_now();
	command->worker = worker;
	command->kind = command_kind(name);
	if (command->kind != NULL)
		return;
	command->kind = &unknown;
	worker_command_fail(command, "0A000",
						"The server runs another version of pg_ha than the extension's SQL; restart it.",
						"this pg_ha worker does not know the command \"%s\"",
						name != NULL ? name : "");
}

/* Under the lock: what the slot's text is to be, and who waits for it. */
static void
command_deliver(HaRequest *request, HaCommand *command)
{
	size_t		len = json_dumpb(command->outcome, request->text,
								 HA_REQUEST_MAX, JSON_COMPACT);
	static const char too_long[] = "{\"error\": {\"sqlstate\": \"54000\", "
		"\"message\": \"the answer is too long\"}}";

	if (len == 0 || len > HA_REQUEST_MAX)
	{
		len = strlen(too_long);
		memcpy(request->text, too_long, len);
	}
	request->len = (uint32) len;
	request->state = HA_REQUEST_ANSWERED;
	ConditionVariableBroadcast(&request->answered);
}

static bool
command_taken_by_another(const HaRequest *request)
{
	return request->state == HA_REQUEST_TAKEN &&
		request->worker_pid != MyProcPid;
}

/* The slot's state, and what follows from it for the command in it. */
static void
command_look(HaWorker *worker, HaRequest *request, HaCommand *command)
{
	HaRequestState state;

	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	state = request->state;
	if (command_taken_by_another(request))
		worker_command_fail(command, "57P01",
							"What was asked for may still be done; see pg_ha_events.",
							"the pg_ha worker was restarted meanwhile");
	if (state == HA_REQUEST_POSTED)
	{
		request->state = HA_REQUEST_TAKEN;
		request->worker_pid = MyProcPid;
	}
	LWLockRelease(&pgha_shmem->lock);
	if (state == HA_REQUEST_POSTED)
		command_begin(worker, command, request);
	else if (state == HA_REQUEST_ABANDONED && command->kind != NULL)
	{
		command_end(worker, command);
		LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
		request->state = HA_REQUEST_FREE;
		LWLockRelease(&pgha_shmem->lock);
	}
}

/* An error is not made again each round: it would cost the worker them all. */
static void
command_run(HaWorker *worker, HaCommand *command)
{
	if (command->running)
	{
		worker_command_fail(command, "XX000", "See the server's log.",
							"the command ended with an internal error");
		return;
	}
	command->running = true;
	command->kind->run(worker, command);
	command->running = false;
}

static void
command_round(HaWorker *worker, HaRequest *request, HaCommand *command)
{
	command_look(worker, request, command);
	if (command->kind != NULL && command->outcome == NULL)
		command_run(worker, command);
	if (command->outcome == NULL)
		return;
	/* who is answered and looks sees what the answer was made from */
	worker->published_at = 0;
	worker_publish(worker);
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	if (request->state == HA_REQUEST_TAKEN)
		command_deliver(request, command);
	else
		request->state = HA_REQUEST_FREE;
	LWLockRelease(&pgha_shmem->lock);
	command_end(worker, command);
}

void
worker_commands(HaWorker *worker)
{
	for (int i = 0; i < HA_REQUESTS; i++)
		command_round(worker, &pgha_requests[i], &commands[i]);
}
