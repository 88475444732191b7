/*
 * worker_restart.c
 *	  A restart job: its facts, and what the leader does for it.
 *
 *		mark the next member as asked --> tell its launcher --> mark it as back
 *
 * Which member is next, and what ends a job, is said by core/restart.c and the
 * rules 52x.  A leader that is new goes on with what its predecessor marked.
 */
#include "worker_private.h"

#include "dcs/peer.h"

/* ------------------------------------------------------------------------
 * Facts
 * ------------------------------------------------------------------------
 */

/* The job at hand: the oldest that is due, else the one that is next. */
static const HaJobKey *
restart_current(HaWorker *worker, HaRestart *restart)
{
	int			njobs;
	const HaJobKey *jobs = pgha_brain_jobs(worker->brain, &njobs);
	const HaJobKey *current = NULL;
	HaRestart	candidate;

	for (int i = 0; i < njobs; i++)
	{
		if (!pgha_restart_parse(jobs[i].id, jobs[i].document, &candidate))
			continue;
		candidate.seen_at = jobs[i].seen_at;
		candidate.index = jobs[i].index;
		if (current != NULL && !pgha_restart_is_due(&worker->view, &candidate))
			continue;
		if (current != NULL && pgha_restart_is_due(&worker->view, restart))
			break;
		current = &jobs[i];
		*restart = candidate;
	}
	return current;
}

void
worker_gather_restart(HaWorker *worker)
{
	HaView	   *view = &worker->view;
	HaRestartMemory *memory = &worker->restart;
	HaRestart  *restart = &view->restart;
	const HaRestartEntry *asked;

	if (restart_current(worker, restart) == NULL)
		return;
	view->restart_pending = memory->write_id != 0 ||
		restart->index == memory->written || view->now < memory->retry_at;
	asked = pgha_restart_asked(restart);
	if (asked == NULL)
		return;
	if (strcmp(memory->id, restart->id) != 0 ||
		strcmp(memory->member, asked->member) != 0)
	{
		pgha_http_cancel(pgha_consul_http(worker->consul), memory->post_id);
		memory->post_id = 0;
		memory->told = false;
		memory->refusal[0] = '\0';
		memory->asked_at = view->now;
		strlcpy(memory->id, restart->id, sizeof(memory->id));
		strlcpy(memory->member, asked->member, sizeof(memory->member));
	}
	restart->asked_at = memory->asked_at;
	restart->told = memory->told;
	memcpy(restart->refusal, memory->refusal, sizeof(restart->refusal));
}

/* ------------------------------------------------------------------------
 * The job's document
 * ------------------------------------------------------------------------
 */

static void
restart_written(void *arg, const HaConsulAnswer *answer)
{
	HaWorker   *worker = arg;

	worker->restart.write_id = 0;
	worker->round_due = 0;
	if (answer->result == HA_CONSUL_OK)
		return;
	worker->restart.written = 0;
	worker->restart.retry_at = pgha_now() +
		WORKER_CHANGE_RETRY_MS * HA_NS_PER_MS;
	if (answer->result == HA_CONSUL_REFUSED)
		return;
	worker_report(NULL, HA_REPORT_WARNING,
				  "a restart job could not be written down");
}

static void
restart_change(HaWorker *worker, json_t *changes)
{
	HaJobWrite	write;

	worker_job_change(worker, worker->view.restart.id, changes, &write);
	worker->restart.written = worker->view.restart.index;
	if (write.op.key != NULL)
		worker->restart.write_id =
			pgha_consul_txn(worker->consul, &write.op, 1, (int)
							worker->view.timeouts.retry_timeout_ms,
							restart_written, worker);
	worker_job_release(&write);
}

static json_t *
restart_entries(const HaRestart *restart)
{
	json_t	   *members = json_array();

	for (int i = 0; i < restart->nentries; i++)
	{
		const HaRestartEntry *entry = &restart->entries[i];

		json_array_append_new(members,
							  json_pack("{s:s, s:s, s:I, s:i}",
										"name", entry->member, "state",
										pgha_entry_state_name(entry->state),
										"before", (json_int_t) entry->before,
										"rounds", entry->rounds));
	}
	return members;
}

/* The decision's member goes on to another state. */
static void
restart_mark(HaWorker *worker, HaEntryState state)
{
	const char *name = worker->decision.target;
	const HaMember *member = pgha_view_member(&worker->view, name);
	HaRestart	restart = worker->view.restart;
	char		message[HA_NAME_MAX + 64];

	for (int i = 0; i < restart.nentries; i++)
	{
		HaRestartEntry *entry = &restart.entries[i];

		if (strcmp(entry->member, name) != 0)
			continue;
		entry->state = state;
		if (state == HA_ENTRY_ASKED)
			entry->before = member != NULL ? member->started : 0;
		if (state == HA_ENTRY_DONE)
			entry->rounds++;
	}
	worker->restart.id[0] = '\0';	/* what is known is of the last entry */
	snprintf(message, sizeof(message), "%s: %s", name,
			 pgha_rule(worker->decision.rule)->why);
	worker_event(worker, worker->decision.rule,
				 pgha_action_name(worker->decision.action), message, false);
	restart_change(worker, json_pack("{s:s, s:o, s:s}", "state", "running",
									 "members", restart_entries(&restart),
									 "message", message));
}

static void
restart_end(HaWorker *worker)
{
	const HaRestart *restart = &worker->view.restart;
	HaRestartFault fault = worker->decision.restart_fault;
	bool		well = fault == HA_RESTART_FINE;
	char	   *outcome = pstrdup("all members are restarted and healthy");

	if (!well)
		outcome = psprintf("%s%s%s%s%s", worker->decision.target,
						   worker->decision.target[0] != '\0' ? ": " : "",
						   pgha_restart_fault_text(fault),
						   restart->refusal[0] != '\0' ? ": " : "",
						   restart->refusal);
	worker_event(worker, worker->decision.rule, "end restart", outcome, true);
	restart_change(worker, json_pack("{s:s, s:s}", "state",
									 well ? "done" : "failed",
									 "message", outcome));
}

/* ------------------------------------------------------------------------
 * Telling a launcher
 * ------------------------------------------------------------------------
 */

/* It answers when it begins; that the member is back is seen in its key. */
static void
restart_told(void *arg, const HaHttpAnswer *answer)
{
	HaWorker   *worker = arg;
	HaRestartMemory *memory = &worker->restart;

	memory->post_id = 0;
	worker->round_due = 0;
	if (!answer->ok || (answer->status != 200 && answer->status != 202))
		strlcpy(memory->refusal, answer->ok ? answer->body : answer->error,
				sizeof(memory->refusal));
}

static void
restart_tell(HaWorker *worker)
{
	const char *name = worker->decision.target;
	const HaMember *member = pgha_view_member(&worker->view, name);
	const HaRestartEntry *entry = pgha_restart_asked(&worker->view.restart);
	HaRestartMemory *memory = &worker->restart;

	memory->told = true;
	if (strcmp(name, worker->view.self) == 0)
	{
		if (!worker_ask_launcher(worker, "restart"))
			strlcpy(memory->refusal, "its launcher does not answer",
					sizeof(memory->refusal));
		return;
	}
	if (member != NULL)
		memory->post_id =
			pgha_peer_post(pgha_consul_http(worker->consul), member->api_url,
						   "/restart",
						   json_pack("{s:I, s:b}", "started",
									 (json_int_t) entry->before, "wait", 0),
						   worker->credentials, (int)
						   worker->view.timeouts.retry_timeout_ms,
						   restart_told, worker);
	if (memory->post_id == 0)
		strlcpy(memory->refusal, "its launcher can't be asked",
				sizeof(memory->refusal));
}

void
worker_act_restart(HaWorker *worker)
{
	HaAction	action = worker->decision.action;

	if (action == HA_ACTION_MARK_ASKED)
		restart_mark(worker, HA_ENTRY_ASKED);
	else if (action == HA_ACTION_MARK_BACK)
		restart_mark(worker, HA_ENTRY_DONE);
	else if (action == HA_ACTION_MARK_SKIPPED)
		restart_mark(worker, HA_ENTRY_SKIPPED);
	else if (action == HA_ACTION_TELL_RESTART)
		restart_tell(worker);
	else
		restart_end(worker);
}
