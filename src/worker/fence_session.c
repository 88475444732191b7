/*
 * fence_session.c
 *	  What a session is told of a closed fence before it commits anything.
 *
 * A session that begins while the fence is closed is announced as read-only:
 * default_transaction_read_only is on, which the server reports to the client,
 * so that target_session_attrs=read-write goes on to the next host.
 *
 *		session begins,				statement that		fence is open
 *		fence is closed				would write			at a statement
 *		--+-----------------------------+------------------+------------->
 *		  default_transaction_		25006, or waits		as if it had never
 *		  read_only = on			for the lease		been set
 *
 * The announcement is a convenience and guards nothing: the commit is what is
 * checked.  It gives way to what the user said: in the connection's options,
 * or with SET in the session.
 *
 * With pg_ha.fence_reads, what reads tables is refused too, in all sessions of
 * a primary.  Catalogs are no such tables, nor are the views of pg_ha, so that
 * an administrator can see what is going on.
 */
#include "postgres.h"

#include "compat.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "fence.h"
#include "fence_private.h"
#include "gucs.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "tcop/utility.h"
#include "utils/guc_tables.h"
#include "utils/snapmgr.h"

#define SESSION_DEFAULT "default_transaction_read_only"
#define SESSION_CURRENT "transaction_read_only"

static ExecutorStart_hook_type session_previous_start = NULL;
static ExecutorRun_hook_type session_previous_run = NULL;

/* where the server keeps who set the two settings, looked up once */
static const struct config_generic *session_default = NULL;
static const struct config_generic *session_current = NULL;

/* this session was announced as read-only, and not withdrawn yet */
static bool session_announced = false;

/* the current transaction began so, and the announcement was withdrawn in it */
static bool session_was_announced = false;

/* ------------------------------------------------------------------------
 * The announcement
 * ------------------------------------------------------------------------
 */

/*
 * In the transaction that starts a session all settings of roles, databases
 * and the client are in place at its commit, and nothing was reported yet.
 */
void
fence_session_begin(void)
{
	if (MyProcPort == NULL || am_walsender || DefaultXactReadOnly ||
		RecoveryInProgress() || pgha_fence_open())
		return;
	session_default = pgha_guc_find(SESSION_DEFAULT);
	session_current = pgha_guc_find(SESSION_CURRENT);
	if (session_default == NULL || session_current == NULL ||
		session_default->source == PGC_S_CLIENT)
		return;
	SetConfigOption(SESSION_DEFAULT, "on", PGC_USERSET, PGC_S_OVERRIDE);
	session_announced = true;
}

void
fence_session_end_transaction(void)
{
	session_was_announced = false;
}

/* The value that a user's SET hides is changed, too; RESET finds it. */
static void
session_withdraw(void)
{
	SetConfigOption(SESSION_DEFAULT, "off", PGC_USERSET, PGC_S_OVERRIDE);
	session_announced = false;
	session_was_announced = !DefaultXactReadOnly;
}

/* Is the transaction read-only, and not because the user wants it so? */
static bool
session_only_announced(void)
{
	return XactReadOnly && session_current->source != PGC_S_SESSION &&
		session_default->source != PGC_S_SESSION;
}

/*
 * This transaction began before the announcement was withdrawn.  A serializable
 * one with a snapshot was promised to others as read-only and stays so; the
 * next will not be.
 */
static void
session_make_writable(void)
{
	if (session_only_announced() && !IsInParallelMode() &&
		!(IsolationIsSerializable() && FirstSnapshotSet))
		XactReadOnly = false;
}

/* Before any statement; `tag` names one that would write, or is NULL. */
static void
session_statement(const char *tag)
{
	if (session_announced && tag != NULL && session_only_announced() &&
		!pgha_fence_open())
		fence_check(psprintf("execute %s", tag));
	if (session_announced && pgha_fence_open() && !IsInParallelMode())
		session_withdraw();
	if (session_was_announced)
		session_make_writable();
}

static bool
session_is_announced(void)
{
	return session_announced || session_was_announced;
}

/*
 * By what they log as.  The excepted ones are allowed in a transaction that is
 * read-only, or run another statement that is looked at in its turn.
 */
void
fence_session_utility(Node *statement)
{
	bool		writes;

	if (!session_is_announced())
		return;
	writes = !IsA(statement, AlterSystemStmt) &&
		!IsA(statement, PrepareStmt) && !IsA(statement, ExecuteStmt) &&
		!IsA(statement, ExplainStmt) &&
		GetCommandLogLevel(statement) <= LOGSTMT_MOD;
	session_statement(writes ? CreateCommandName(statement) : NULL);
}

static bool
session_plan_writes(const PlannedStmt *plan)
{
	return plan->commandType != CMD_SELECT || plan->hasModifyingCTE ||
		plan->rowMarks != NIL;
}

static void
session_executor_start(QueryDesc *query, int eflags)
{
	if (session_is_announced())
		session_statement(!(eflags & EXEC_FLAG_EXPLAIN_ONLY) &&
						  session_plan_writes(query->plannedstmt) ?
						  CreateCommandName((Node *) query->plannedstmt) : NULL);
	if (session_previous_start)
		session_previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

/* ------------------------------------------------------------------------
 * Reads
 * ------------------------------------------------------------------------
 */

static bool
session_plan_reads(const PlannedStmt *plan)
{
	ListCell   *cell;

	foreach(cell, plan->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_RELATION &&
			entry->relkind != RELKIND_VIEW &&
			!IsCatalogRelationOid(entry->relid))
			return true;
	}
	return false;
}

static bool
session_reads_are_fenced(void)
{
	return pgha_guc_fence_reads && MyProcPort != NULL &&
		pgha_fence_active() && !RecoveryInProgress() && !pgha_fence_open();
}

/*
 * COPY of a table reads it without the executor; COPY of a query does not, but
 * is not told apart.
 */
void
fence_session_check_copy(Node *statement)
{
	if (IsA(statement, CopyStmt) && !((CopyStmt *) statement)->is_from &&
		session_reads_are_fenced())
		fence_check_read("execute COPY");
}

static void
session_check_read(PlannedStmt *plan)
{
	const char *what;

	if (!session_plan_reads(plan))
		return;
	what = psprintf("execute %s", CreateCommandName((Node *) plan));
	if (plan->commandType == CMD_SELECT)
		fence_check_read(what);
	else
		fence_check(what);
}

/* Run and not Start: a cursor may have been opened under a lease. */
static void
session_executor_run(PGHA_EXECUTOR_RUN_PARAMETERS)
{
	if (session_reads_are_fenced())
		session_check_read(queryDesc->plannedstmt);
	if (session_previous_run)
		session_previous_run(PGHA_EXECUTOR_RUN_ARGUMENTS);
	else
		standard_ExecutorRun(PGHA_EXECUTOR_RUN_ARGUMENTS);
}

void
fence_session_install_hooks(void)
{
	session_previous_start = ExecutorStart_hook;
	ExecutorStart_hook = session_executor_start;
	session_previous_run = ExecutorRun_hook;
	ExecutorRun_hook = session_executor_run;
}
