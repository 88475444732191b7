/*
 * fence_utility.c
 *	  Commands that need a check of their own.
 *
 * What writes something that the check before a commit does not guard, or
 * guards too late, is checked first.  ALTER SYSTEM is refused on settings that
 * pg_ha decides on.
 */
#include "postgres.h"

#include "compat.h"

#include "access/xlog.h"
#include "core/owned.h"
#include "fence.h"
#include "fence_private.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#define UTILITY_LIBRARIES "shared_preload_libraries"
#define UTILITY_LIBRARY "pg_ha"

static ProcessUtility_hook_type utility_previous = NULL;

/* ------------------------------------------------------------------------
 * Commands under the lease
 * ------------------------------------------------------------------------
 */

/*
 * The record of COMMIT PREPARED is written before any callback is called, and
 * that transaction has no id of its own.
 */
static const char *
utility_prepared(TransactionStmtKind kind)
{
	if (kind == TRANS_STMT_COMMIT_PREPARED)
		return "commit a prepared transaction";
	if (kind == TRANS_STMT_ROLLBACK_PREPARED)
		return "roll back a prepared transaction";
	return NULL;
}

static bool
utility_moves_database(const AlterDatabaseStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->options)
	{
		if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
			return true;
	}
	return false;
}

/*
 * These change files before they commit; NOTIFY gets its transaction id after
 * the check, so that its connection would be cut.
 */
static const char *
utility_guarded(Node *statement)
{
	if (IsA(statement, CreatedbStmt))
		return "create a database";
	if (IsA(statement, DropdbStmt))
		return "drop a database";
	if (IsA(statement, CreateTableSpaceStmt))
		return "create a tablespace";
	if (IsA(statement, DropTableSpaceStmt))
		return "drop a tablespace";
	if (IsA(statement, AlterDatabaseStmt) &&
		utility_moves_database((AlterDatabaseStmt *) statement))
		return "move a database";
	if (IsA(statement, NotifyStmt))
		return "notify";
	return NULL;
}

static void
utility_check_lease(Node *statement)
{
	const char *what;

	if (IsA(statement, TransactionStmt))
	{
		what = utility_prepared(((TransactionStmt *) statement)->kind);
		if (what != NULL && !RecoveryInProgress())
			fence_check_commit(what);
		return;
	}
	what = utility_guarded(statement);
	if (what != NULL && !RecoveryInProgress())
		fence_check(what);
}

/* ------------------------------------------------------------------------
 * ALTER SYSTEM
 * ------------------------------------------------------------------------
 */

/* Without the library a server that is started by hand is not fenced. */
static bool
utility_drops_library(VariableSetStmt *set)
{
	char	   *value;
	List	   *libraries;
	ListCell   *cell;

	if (pg_strcasecmp(set->name, UTILITY_LIBRARIES) != 0)
		return false;
	value = ExtractSetVariableArgs(set);
	if (!SplitDirectoriesString(pstrdup(value), ',', &libraries))
		return false;			/* the server says what is wrong with it */
	foreach(cell, libraries)
	{
		const char *library = lfirst(cell);
		const char *slash = strrchr(library, '/');

		if (strcmp(slash ? slash + 1 : library, UTILITY_LIBRARY) == 0)
			return false;
	}
	return true;
}

/* Taking a local override back is always allowed. */
static void
utility_check_alter_system(AlterSystemStmt *statement)
{
	VariableSetStmt *set = statement->setstmt;
	const char *why;

	if (set->kind != VAR_SET_VALUE && set->kind != VAR_SET_CURRENT)
		return;
	if (utility_drops_library(set))
		ereport(ERROR,
				(errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM),
				 errmsg("parameter \"%s\" must contain \"%s\"",
						UTILITY_LIBRARIES, UTILITY_LIBRARY),
				 errhint("Add it to the list.")));
	if (pgha_owner(set->name) == HA_OWNER_USER &&
		!pgha_owned_critical(set->name))
		return;
	why = pgha_owned_why(set->name);
	ereport(ERROR,
			(errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM),
			 errmsg("parameter \"%s\" is set by pg_ha", set->name),
			 why != NULL ? errdetail("The reason is: %s.", why) :
			 errdetail("All members must agree on it."),
			 pgha_owned_critical(set->name) ?
			 errhint("Change it in the cluster's configuration, with pg_ha_launcher --edit-config.") :
			 errhint("Change it in the cluster's configuration, with pg_ha_launcher --edit-config, or in the file of this node's settings.")));
}

/* ------------------------------------------------------------------------
 * The hook
 * ------------------------------------------------------------------------
 */

static void
utility_process(PlannedStmt *planned, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver,
				QueryCompletion *completion)
{
	if (pgha_fence_active())
	{
		utility_check_lease(planned->utilityStmt);
		fence_session_utility(planned->utilityStmt);
		fence_session_check_copy(planned->utilityStmt);
		if (IsA(planned->utilityStmt, AlterSystemStmt))
			utility_check_alter_system((AlterSystemStmt *)
									   planned->utilityStmt);
	}
	if (utility_previous)
		utility_previous(planned, query, read_only_tree, context, params,
						 environment, receiver, completion);
	else
		standard_ProcessUtility(planned, query, read_only_tree, context,
								params, environment, receiver, completion);
}

void
fence_utility_install_hooks(void)
{
	utility_previous = ProcessUtility_hook;
	ProcessUtility_hook = utility_process;
}
