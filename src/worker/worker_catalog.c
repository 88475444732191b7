/*
 * worker_catalog.c
 *	  The optional second worker: roles, grants and the extension.
 *
 * One transaction that creates what is missing and changes nothing else: no
 * password of a role that exists, no attribute that is there.  It runs as the
 * bootstrap superuser, the one role that is always there.
 *
 * A password never becomes part of a statement's text, because that would
 * reach the log through an error's context, and pg_stat_statements.
 */
#include "postgres.h"

#include "compat.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "commands/user.h"
#include "executor/spi.h"
#include "gucs.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "postmaster/bgworker.h"
#include "shmem.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker_catalog.h"

#define CATALOG_LINE_MAX 1024

/* rather try again than stand in a queue with DDL */
#define CATALOG_LOCK_TIMEOUT "5s"

/* ------------------------------------------------------------------------
 * The passfile
 * ------------------------------------------------------------------------
 */

/*
 * One field of a line "host:port:db:user:password", unescaped in place; NULL
 * at the end.  The last one has colons in it as they are.
 */
static char *
catalog_passfile_field(char **cursor, bool last)
{
	char	   *from = *cursor;
	char	   *to = *cursor;
	char	   *field = *cursor;

	if (from == NULL)
		return NULL;
	while (*from != '\0' && (last || *from != ':'))
	{
		if (*from == '\\' && from[1] != '\0')
			from++;
		*to++ = *from++;
	}
	*cursor = *from == ':' ? from + 1 : NULL;
	*to = '\0';
	return field;
}

/* The password if the line is for this user, as libpq would match it. */
static char *
catalog_passfile_match(char *line, const char *user)
{
	char	   *cursor = line;
	char	   *fields[5];

	if (line[0] == '#')
		return NULL;
	for (int i = 0; i < 5; i++)
		fields[i] = catalog_passfile_field(&cursor, i == 4);
	if (fields[4] == NULL || fields[4][0] == '\0' ||
		(strcmp(fields[3], user) != 0 && strcmp(fields[3], "*") != 0))
		return NULL;
	return fields[4];
}

/* Open, and as private as libpq wants it; NULL = there is none. */
static FILE *
catalog_open_passfile(void)
{
	char		path[MAXPGPATH] = "";
	struct stat st;
	FILE	   *file;

	if (pgha_guc_passfile[0] != '\0')
		strlcpy(path, pgha_guc_passfile, sizeof(path));
	else if (get_home_path(path))
		strlcat(path, "/.pgpass", sizeof(path));
	file = path[0] != '\0' ? AllocateFile(path, "r") : NULL;
	if (file == NULL)
		return NULL;
	if (fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) &&
		(st.st_mode & (S_IRWXG | S_IRWXO)) == 0)
		return file;
	ereport(WARNING,
			(errmsg("pg_ha: password file \"%s\" is ignored", path),
			 errhint("It must be a plain file that only its owner can read (mode 0600).")));
	FreeFile(file);
	return NULL;
}

/* The password of the first line for this user; NULL = none. */
static char *
catalog_password(const char *user)
{
	char		line[CATALOG_LINE_MAX];
	char	   *password = NULL;
	FILE	   *file = catalog_open_passfile();

	if (file == NULL)
		return NULL;
	while (password == NULL && fgets(line, sizeof(line), file) != NULL)
	{
		line[strcspn(line, "\r\n")] = '\0';
		password = catalog_passfile_match(line, user);
	}
	if (password != NULL)
		password = pstrdup(password);
	explicit_bzero(line, sizeof(line));
	FreeFile(file);
	return password;
}

/* ------------------------------------------------------------------------
 * SQL
 * ------------------------------------------------------------------------
 */

static void
catalog_run(const char *sql)
{
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "SPI failed");
}

static bool
catalog_is_true(const char *sql)
{
	bool		null = true;
	Datum		value;

	if (SPI_execute(sql, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		return false;
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						  &null);
	return !null && DatumGetBool(value);
}

static bool
catalog_role_has(const char *role, const char *condition)
{
	return catalog_is_true(psprintf("SELECT count(*) > 0 FROM pg_catalog.pg_roles WHERE rolname = %s AND (%s)",
									quote_literal_cstr(role), condition));
}

static List *
catalog_add_flag(List *options, const char *name)
{
	return lappend(options, makeDefElem(pstrdup(name),
										(Node *) makeBoolean(true), -1));
}

static void
catalog_create_role(const char *role, bool replication)
{
	CreateRoleStmt *statement = makeNode(CreateRoleStmt);
	char	   *password = catalog_password(role);

	statement->stmt_type = ROLESTMT_ROLE;
	statement->role = pstrdup(role);
	statement->options = catalog_add_flag(NIL, "canlogin");
	if (replication)
		statement->options = catalog_add_flag(statement->options,
											  "isreplication");
	if (password != NULL)
		statement->options = lappend(statement->options,
									 makeDefElem("password",
												 (Node *) makeString(password),
												 -1));
	CreateRole(NULL, statement);
	CommandCounterIncrement();
	if (password != NULL)
	{
		explicit_bzero(password, strlen(password));
		ereport(LOG, (errmsg("pg_ha: created role \"%s\"", role)));
	}
	else
		ereport(WARNING,
				(errmsg("pg_ha: created role \"%s\" without a password", role),
				 errhint("Set one with ALTER ROLE, and add a line for the role to the password file (pg_ha.passfile) of every member.")));
}

static void
catalog_make_role(const char *role, bool replication)
{
	if (!catalog_role_has(role, "true"))
	{
		catalog_create_role(role, replication);
		return;
	}
	if (!catalog_role_has(role, "rolcanlogin"))
		catalog_run(psprintf("ALTER ROLE %s LOGIN", quote_identifier(role)));
	if (replication && !catalog_role_has(role, "rolreplication OR rolsuper"))
		catalog_run(psprintf("ALTER ROLE %s REPLICATION",
							 quote_identifier(role)));
}

/* What pg_rewind needs of its source, without being superuser. */
static void
catalog_grant_rewind(const char *role)
{
	static const char *const functions[] = {
		"pg_ls_dir(text, boolean, boolean)",
		"pg_stat_file(text, boolean)",
		"pg_read_binary_file(text)",
		"pg_read_binary_file(text, bigint, bigint, boolean)",
	};

	for (int i = 0; i < (int) lengthof(functions); i++)
	{
		if (!catalog_is_true(psprintf("SELECT pg_catalog.has_function_privilege(%s, 'pg_catalog.%s', 'execute')",
									  quote_literal_cstr(role), functions[i])))
			catalog_run(psprintf("GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s",
								 functions[i], quote_identifier(role)));
	}
	/* a leader that was promoted a moment ago must checkpoint first */
	if (!catalog_is_true(psprintf("SELECT pg_catalog.pg_has_role(%s, 'pg_checkpoint', 'member')",
								  quote_literal_cstr(role))))
		catalog_run(psprintf("GRANT pg_checkpoint TO %s",
							 quote_identifier(role)));
}

/* In public, where everybody finds it, unless that was dropped. */
static void
catalog_create_extension(void)
{
	const char *schema = "public";

	if (catalog_is_true("SELECT count(*) > 0 FROM pg_catalog.pg_extension WHERE extname = 'pg_ha'"))
		return;
	if (!catalog_is_true("SELECT count(*) > 0 FROM pg_catalog.pg_namespace WHERE nspname = 'public'"))
	{
		schema = "pgha";
		catalog_run("CREATE SCHEMA IF NOT EXISTS pgha");
	}
	catalog_run(psprintf("CREATE EXTENSION pg_ha SCHEMA %s", schema));
}

static void
catalog_create_missing(void)
{
	catalog_make_role(pgha_guc_replication_user, true);
	catalog_make_role(pgha_guc_rewind_user, false);
	catalog_grant_rewind(pgha_guc_rewind_user);
	catalog_create_extension();
}

/* ------------------------------------------------------------------------
 * The process
 * ------------------------------------------------------------------------
 */

/* An error ends the process; the worker tries again later. */
void
pgha_catalog_main(Datum arg)
{
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection("postgres", NULL, 0);

	/*
	 * It waits for nobody, neither standbys nor locks, and finds nothing that
	 * others left for a superuser to trip over.
	 */
	SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", CATALOG_LOCK_TIMEOUT, PGC_SUSET,
					PGC_S_OVERRIDE);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET,
					PGC_S_OVERRIDE);
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	catalog_create_missing();
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	pgha_shmem->catalog_done = true;
	LWLockRelease(&pgha_shmem->lock);
	proc_exit(0);
}

bool
pgha_catalog_start(void)
{
	static BackgroundWorkerHandle *handle = NULL;
	MemoryContext caller = CurrentMemoryContext;
	bool		started;
	pid_t		pid;
	BackgroundWorker worker;

	if (handle != NULL && GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
		return true;
	if (handle != NULL)
		pfree(handle);
	handle = NULL;
	memset(&worker, 0, sizeof(worker));
	strlcpy(worker.bgw_name, "pg_ha catalog worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_ha catalog worker", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "pg_ha_worker", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pgha_catalog_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &handle);
	MemoryContextSwitchTo(caller);
	return started;
}
