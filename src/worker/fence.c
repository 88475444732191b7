/*
 * fence.c
 *	  What refuses commits without a lease, in every backend.
 *
 * Layer 1: before a commit or prepare, and before the utility commands that
 * change something no commit record guards (COMMIT PREPARED, CREATE DATABASE,
 * tablespaces).  A transaction without an id writes nothing and passes.
 *
 *		now < deadline, or open without end ----> pass
 *		else wait for the deadline to move, up to pg_ha.fence_wait
 *		else ERROR 25006
 *
 * The deadline is an atomic of CLOCK_BOOTTIME nanoseconds that only grows.  It
 * is read here and written by the worker.
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "core/owned.h"
#include "fence.h"
#include "gucs.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "shmem.h"
#include "storage/condition_variable.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"

static ProcessUtility_hook_type fence_prev_utility = NULL;

/* hooks are installed: a real server, not single-user, not an upgrade */
static bool fence_installed = false;

/* this backend's commit passed an open-without-end fence and is not done */
static bool fence_counted = false;

static HaTime
fence_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * INT64CONST(1000000000) + now.tv_nsec;
}

bool
pgha_fence_active(void)
{
	return fence_installed && pgha_shmem != NULL &&
		(pgha_guc_scope[0] != '\0' || pgha_guc_managed);
}

bool
pgha_fence_open(void)
{
	if (!pgha_fence_active())
		return true;
	if (pg_atomic_read_u32(&pgha_shmem->open_without_end) != 0)
		return true;
	return fence_now() < (HaTime) pg_atomic_read_u64(&pgha_shmem->deadline);
}

/* ------------------------------------------------------------------------
 * The check
 * ------------------------------------------------------------------------
 */

static void
fence_refuse(const char *what)
{
	char		leader[HA_NAME_MAX + 1];

	LWLockAcquire(&pgha_shmem->lock, LW_SHARED);
	strlcpy(leader, pgha_shmem->leader, sizeof(leader));
	LWLockRelease(&pgha_shmem->lock);
	pg_atomic_fetch_add_u64(&pgha_shmem->refused, 1);
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot %s: this instance does not hold the leader lease",
					what),
			 leader[0] != '\0' ?
			 errdetail("The last known leader is \"%s\".", leader) : 0,
			 pgha_guc_scope[0] == '\0' ?
			 errhint("This data directory belongs to a pg_ha cluster; start it with pg_ha_launcher, or make it a plain one with pg_ha_launcher --detach.") :
			 errhint("Connect to the leader (target_session_attrs=read-write), or see pg_ha_status().")));
}

/* Nobody waits for these: an error at once is right. */
static bool
fence_may_wait(void)
{
	return MyProcPort != NULL && pgha_guc_fence_wait_ms > 0 &&
		pgha_guc_scope[0] != '\0';
}

/*
 * The server stops its statement timer before it commits, so that this wait
 * has to look at statement_timeout itself.  ms left; -1 = no limit.
 */
static int64
fence_statement_ms_left(void)
{
	int64		spent;

	if (StatementTimeout <= 0)
		return -1;
	spent = (GetCurrentTimestamp() - GetCurrentStatementStartTimestamp()) /
		1000;
	return spent < StatementTimeout ? StatementTimeout - spent : 0;
}

static void
fence_wait(void)
{
	int64		left_ms = fence_statement_ms_left();
	bool		by_statement = left_ms >= 0 &&
		left_ms < pgha_guc_fence_wait_ms;
	HaTime		until = fence_now() +
		(by_statement ? left_ms : pgha_guc_fence_wait_ms) * HA_NS_PER_MS;

	pg_atomic_fetch_add_u64(&pgha_shmem->waited, 1);
	ConditionVariablePrepareToSleep(&pgha_shmem->deadline_moved);
	while (!pgha_fence_open() && fence_now() < until)
		(void) ConditionVariableTimedSleep(&pgha_shmem->deadline_moved,
										   (long) ((until - fence_now()) /
												   HA_NS_PER_MS) + 1,
										   PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	if (by_statement && !pgha_fence_open())
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to statement timeout"),
				 errdetail("The commit waited for the leader lease.")));
}

static void
fence_check(const char *what)
{
	if (pgha_fence_open())
		return;
	if (fence_may_wait())
		fence_wait();
	if (!pgha_fence_open())
		fence_refuse(what);
}

/*
 * While the fence has no end, commits under way are counted: the leader closes
 * it only when none is left.  The flag is read again after counting, or the
 * worker could look between the two.
 */
static void
fence_check_commit(const char *what)
{
	/*
	 * Without a postmaster no standby is fed any more: what is committed now
	 * would be on this node alone, and the instance is about to be killed.
	 */
	if (pgha_fence_active() && !PostmasterIsAlive())
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("cannot %s: the postmaster is gone", what)));

	for (;;)
	{
		fence_check(what);
		if (!pgha_fence_active() ||
			pg_atomic_read_u32(&pgha_shmem->open_without_end) == 0)
			return;
		pg_atomic_fetch_add_u32(&pgha_shmem->committing, 1);
		fence_counted = true;
		if (pg_atomic_read_u32(&pgha_shmem->open_without_end) != 0)
			return;
		pg_atomic_fetch_sub_u32(&pgha_shmem->committing, 1);
		fence_counted = false;
	}
}

static void
fence_uncount(void)
{
	if (!fence_counted)
		return;
	fence_counted = false;
	pg_atomic_fetch_sub_u32(&pgha_shmem->committing, 1);
}

/* ------------------------------------------------------------------------
 * Hooks
 * ------------------------------------------------------------------------
 */

static void
fence_xact(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
				fence_check_commit("commit");
			break;
		case XACT_EVENT_PRE_PREPARE:
			fence_check_commit("prepare a transaction");
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			fence_uncount();
			break;
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}

/* The command's name if it writes what no later commit check guards. */
static const char *
fence_guarded_command(Node *statement)
{
	if (IsA(statement, TransactionStmt))
	{
		TransactionStmtKind kind = ((TransactionStmt *) statement)->kind;

		if (kind == TRANS_STMT_COMMIT_PREPARED)
			return "commit a prepared transaction";
		if (kind == TRANS_STMT_ROLLBACK_PREPARED)
			return "roll back a prepared transaction";
		return NULL;
	}
	if (IsA(statement, CreatedbStmt))
		return "create a database";
	if (IsA(statement, DropdbStmt))
		return "drop a database";
	if (IsA(statement, CreateTableSpaceStmt))
		return "create a tablespace";
	if (IsA(statement, DropTableSpaceStmt))
		return "drop a tablespace";
	if (IsA(statement, AlterDatabaseStmt))
		return "alter a database";
	return NULL;
}

static void
fence_check_alter_system(Node *statement)
{
	VariableSetStmt *set;
	const char *why;

	if (!IsA(statement, AlterSystemStmt))
		return;
	set = ((AlterSystemStmt *) statement)->setstmt;
	if (set->kind == VAR_RESET || set->kind == VAR_RESET_ALL ||
		set->name == NULL ||
		(pgha_owner(set->name) == HA_OWNER_USER &&
		 !pgha_owned_critical(set->name)))
		return;
	why = pgha_owned_why(set->name);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("parameter \"%s\" is set by pg_ha", set->name),
			 why != NULL ? errdetail_internal("%s", why) : 0,
			 errhint("Change it in the cluster's configuration, or in this node's settings file.")));
}

static void
fence_utility(PlannedStmt *planned, const char *query, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *environment, DestReceiver *receiver,
			  QueryCompletion *completion)
{
	if (pgha_fence_active() && !RecoveryInProgress())
	{
		const char *what = fence_guarded_command(planned->utilityStmt);

		if (what != NULL)
			fence_check(what);
	}
	if (pgha_fence_active())
		fence_check_alter_system(planned->utilityStmt);
	if (fence_prev_utility)
		fence_prev_utility(planned, query, read_only_tree, context, params,
						   environment, receiver, completion);
	else
		standard_ProcessUtility(planned, query, read_only_tree, context,
								params, environment, receiver, completion);
}

void
pgha_fence_install_hooks(void)
{
	fence_installed = true;
	RegisterXactCallback(fence_xact, NULL);
	fence_prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = fence_utility;
}

/* ------------------------------------------------------------------------
 * For the worker
 * ------------------------------------------------------------------------
 */

void
pgha_fence_extend(HaTime deadline)
{
	uint64		current = pg_atomic_read_u64(&pgha_shmem->deadline);

	while (current < (uint64) deadline)
	{
		if (pg_atomic_compare_exchange_u64(&pgha_shmem->deadline, &current,
										   (uint64) deadline))
		{
			ConditionVariableBroadcast(&pgha_shmem->deadline_moved);
			return;
		}
	}
}

void
pgha_fence_set_without_end(bool open)
{
	pg_atomic_write_u32(&pgha_shmem->open_without_end, open ? 1 : 0);
	pg_memory_barrier();
	if (open)
		ConditionVariableBroadcast(&pgha_shmem->deadline_moved);
}

uint32
pgha_fence_committing(void)
{
	return pg_atomic_read_u32(&pgha_shmem->committing);
}
