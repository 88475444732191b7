/*
 * worker_order.c
 *	  An order to change the leader: its facts, and what the leader does.
 *
 *		checkpoints --> mark it as begun --> the launcher hands over
 *		               (compare-and-set)     (stops, releases to the candidate)
 *		the new leader, or the old one if nobody took over: clear the key, and
 *		write into its job how it ended
 *
 * What is in the way is said by core/order.c, what comes next by the rules 50x.
 */
#include "worker_private.h"

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "dcs/json.h"
#include "gucs.h"
#include "miscadmin.h"
#include "postmaster/bgwriter.h"
#include "utils/timestamp.h"

/* ------------------------------------------------------------------------
 * Facts
 * ------------------------------------------------------------------------
 */

/* Where the last whole checkpoint began: what came before it is on disk. */
static uint64_t
order_last_checkpoint(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);
	uint64_t	redo = crc_ok ? control->checkPointCopy.redo : 0;

	pfree(control);
	return redo;
}

/* What the members' slots here say they have received. */
static void
order_gather_confirmed(HaView *view)
{
	HaSlotPosition positions[HA_MEMBERS_MAX];
	int			n = worker_slot_positions(positions);

	for (int i = 0; i < view->nmembers; i++)
	{
		char		slot[HA_NAME_MAX + 1];

		pgha_slot_name(view->members[i].name, slot);
		for (int j = 0; j < n; j++)
		{
			if (strcmp(positions[j].name, slot) == 0)
				view->members[i].confirmed = positions[j].lsn;
		}
	}
}

void
worker_gather_order(HaWorker *worker)
{
	HaView	   *view = &worker->view;
	HaOrderMemory *memory = &worker->order;

	view->wall_ms = GetCurrentTimestamp() / 1000 +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
	if (view->role != HA_ROLE_PRIMARY)
		worker->primary_since = 0;
	else if (worker->primary_since == 0)
		worker->primary_since = view->now;
	/* a new order, or none */
	if (memory->write_id == 0 && view->order.begun_term == 0 &&
		view->order.index != memory->index)
		*memory = (HaOrderMemory) {.index = view->order.index};
	if (view->order.begun_term != 0 && memory->begun_seen_at == 0)
		memory->begun_seen_at = view->now;
	if (!view->order.present)
		return;
	view->order_pending = memory->write_id != 0 ||
		view->order.index == memory->written || view->now < memory->retry_at;
	view->order_begun_here = memory->begun_here;
	view->handing_over = memory->handing_over;
	view->checkpoint_asked_at = memory->checkpoint_asked_at;
	view->checkpoints = memory->checkpoints;
	view->checkpoint_done = memory->checkpoints > 0 &&
		order_last_checkpoint() >= memory->checkpoint_from;
	if (view->role == HA_ROLE_PRIMARY)
		order_gather_confirmed(view);
}

/* "n2, n3": who could be handed the lead; palloc'd, NULL: nobody */
char *
worker_candidates(const HaView *view, const HaOrder *order)
{
	HaOrder		any = *order;
	char	   *names = NULL;

	any.member[0] = '\0';
	for (int i = 0; i < view->nmembers; i++)
	{
		const HaMember *member = &view->members[i];

		if (strcmp(member->name, view->leader) == 0 ||
			pgha_order_fitness(view, &any, member) != HA_ORDER_FINE)
			continue;
		names = names == NULL ? pstrdup(member->name) :
			psprintf("%s, %s", names, member->name);
	}
	return names;
}

/* ------------------------------------------------------------------------
 * Changes of the key
 * ------------------------------------------------------------------------
 */

static void
order_written(void *arg, const HaConsulAnswer *answer)
{
	HaWorker   *worker = arg;

	worker->order.write_id = 0;
	worker->round_due = 0;
	if (answer->result == HA_CONSUL_OK)
		return;
	/* it was changed, or its job was: by then that is read */
	worker->order.written = 0;
	worker->order.retry_at = pgha_now() +
		WORKER_CHANGE_RETRY_MS * HA_NS_PER_MS;
	ereport(LOG, (errmsg("pg_ha: the order to change the leader could not be changed: %s",
						 answer->result == HA_CONSUL_REFUSED ?
						 "somebody else has changed it" :
						 answer->text != NULL ? answer->text : "no answer"),
				  errhidestmt(true)));
}

static void
order_begun(void *arg, const HaConsulAnswer *answer)
{
	HaWorker   *worker = arg;

	worker->order.begun_here = answer->result == HA_CONSUL_OK;
	order_written(arg, answer);
}

static void
order_begin(HaWorker *worker)
{
	HaOrder		order = worker->view.order;
	char		key[300];
	char	   *text;

	order.begun_term = worker->view.lease_term;
	memcpy(order.leader, worker->view.self, sizeof(order.leader));
	worker->order.written = order.index;
	text = pgha_order_print(&order);
	snprintf(key, sizeof(key), "%sfailover", worker->prefix);
	if (text != NULL)
		worker->order.write_id =
			pgha_consul_put(worker->consul, key, text, strlen(text),
							(int64_t) order.index, (int)
							worker->view.timeouts.retry_timeout_ms,
							order_begun, worker);
	free(text);
}

/* How it ended, in words; palloc'd. */
static char *
order_outcome(const HaView *view, HaOrderFault fault)
{
	const HaOrder *order = &view->order;
	char	   *others = worker_candidates(view, order);

	if (fault == HA_ORDER_DONE)
		return order->member[0] == '\0' ||
			strcmp(order->member, view->self) == 0 ?
			psprintf("%s leads", view->self) :
			psprintf("%s leads instead of %s", view->self, order->member);
	if (fault < HA_ORDER_UNKNOWN)
		return psprintf("%s (leader: %s)", pgha_order_fault_text(fault),
						view->leader);
	return psprintf("%s: %s; possible candidates: %s", order->member,
					pgha_order_fault_text(fault),
					others != NULL ? others : "none");
}

static json_t *
order_result(const HaWorker *worker)
{
	const HaView *view = &worker->view;
	const HaTimelines *own = &view->own_history;
	HaLsn		fork = own->nforks > 0 ? own->forks[own->nforks - 1].end : 0;
	json_t	   *result;

	result = json_pack("{s:s, s:s, s:i, s:o}",
					   "old_leader", view->order.leader,
					   "new_leader", view->self,
					   "timeline", (int) view->tli,
					   "lsn", json_sprintf("%X/%X", LSN_FORMAT_ARGS(fork)));
	/* on one clock: this member saw it begin, and became a primary */
	if (worker->order.begun_seen_at != 0 &&
		worker->primary_since > worker->order.begun_seen_at)
		json_object_set_new(result, "ms_without_writes",
							json_real((double) (worker->primary_since -
												worker->order.begun_seen_at) /
									  HA_NS_PER_MS));
	return result;
}

static void
order_end(HaWorker *worker)
{
	const HaView *view = &worker->view;
	HaOrderFault fault = worker->decision.order_fault;
	bool		done = fault == HA_ORDER_DONE;
	char	   *outcome = order_outcome(view, fault);
	json_t	   *changes = json_pack("{s:s, s:s}", "state",
									done ? "done" : "failed",
									"message", outcome);
	HaTxnOp		ops[2];
	char		key[300];
	HaJobWrite	job;
	int			nops = 1;

	if (done)
		json_object_set_new(changes, "result", order_result(worker));
	snprintf(key, sizeof(key), "%sfailover", worker->prefix);
	ops[0] = (HaTxnOp) {.verb = HA_TXN_CAS,.key = key,.value = "{}",
		.index = view->order.index};
	worker_job_change(worker, view->order.job, changes, &job);
	if (job.op.key != NULL)
		ops[nops++] = job.op;
	worker->order.written = view->order.index;
	worker->order.write_id =
		pgha_consul_txn(worker->consul, ops, nops, (int)
						view->timeouts.retry_timeout_ms, order_written,
						worker);
	worker_job_release(&job);
	worker_event(worker, worker->decision.rule, "end order", outcome, true);
	ereport(LOG, (errmsg("pg_ha: the order to change the leader has ended: %s",
						 outcome),
				  errhidestmt(true)));
}

static void
order_checkpoint(HaWorker *worker)
{
	worker->order.checkpoint_from = GetXLogInsertRecPtr();
	worker->order.checkpoints++;
	if (worker->order.checkpoint_asked_at == 0)
		worker->order.checkpoint_asked_at = worker->view.now;
	worker_event(worker, worker->decision.rule, "checkpoint",
				 pgha_rule(worker->decision.rule)->why, false);
	RequestCheckpoint(CHECKPOINT_IMMEDIATE | CHECKPOINT_FORCE);
}

void
worker_act_order(HaWorker *worker)
{
	HaAction	action = worker->decision.action;

	if (action == HA_ACTION_CHECKPOINT)
		order_checkpoint(worker);
	else if (action == HA_ACTION_BEGIN_ORDER)
		order_begin(worker);
	else if (action == HA_ACTION_HAND_OVER)
		worker->order.handing_over = worker_ask_launcher(worker, "hand over");
	else
		order_end(worker);
}
