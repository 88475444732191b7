/*
 * worker_catalog.c
 *	  The optional second worker: roles, grants and the extension.
 *
 * One transaction that creates what is missing and changes nothing else.
 * Passwords come from the passfile and never reach the log: SPI statements of
 * a background worker are not logged, and debug_query_string stays unset.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "gucs.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "shmem.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "worker_catalog.h"

#define CATALOG_LINE_MAX 1024

/* ------------------------------------------------------------------------
 * The passfile
 * ------------------------------------------------------------------------
 */

/* One field of a line "host:port:db:user:password", unescaped; NULL at end. */
static char *
catalog_passfile_field(char **cursor)
{
	char	   *from = *cursor;
	char	   *to = *cursor;
	char	   *field = *cursor;

	if (from == NULL)
		return NULL;
	while (*from != '\0' && *from != ':')
	{
		if (*from == '\\' && from[1] != '\0')
			from++;
		*to++ = *from++;
	}
	*cursor = *from == ':' ? from + 1 : NULL;
	*to = '\0';
	return field;
}

/* The password of the first line for this user; NULL = none. */
static char *
catalog_password(const char *user)
{
	char		line[CATALOG_LINE_MAX];
	char	   *password = NULL;
	FILE	   *file;

	if (pgha_guc_passfile[0] == '\0')
		return NULL;
	file = AllocateFile(pgha_guc_passfile, "r");
	if (file == NULL)
		return NULL;
	while (password == NULL && fgets(line, sizeof(line), file) != NULL)
	{
		char	   *cursor = line;
		char	   *fields[5];
		int			i;

		line[strcspn(line, "\r\n")] = '\0';
		for (i = 0; i < 5; i++)
			fields[i] = catalog_passfile_field(&cursor);
		if (line[0] != '#' && fields[4] != NULL &&
			strcmp(fields[3], user) == 0)
			password = pstrdup(fields[4]);
	}
	FreeFile(file);
	explicit_bzero(line, sizeof(line));
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
catalog_role_exists(const char *role)
{
	return catalog_is_true(psprintf("SELECT count(*) > 0 FROM pg_catalog.pg_roles WHERE rolname = %s",
									quote_literal_cstr(role)));
}

static void
catalog_make_role(const char *role, const char *attributes)
{
	char	   *password;

	if (catalog_role_exists(role))
	{
		if (strcmp(attributes, "REPLICATION") == 0 &&
			!catalog_is_true(psprintf("SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = %s",
									  quote_literal_cstr(role))))
			catalog_run(psprintf("ALTER ROLE %s REPLICATION",
								 quote_identifier(role)));
		return;
	}
	password = catalog_password(role);
	if (password == NULL)
	{
		ereport(LOG,
				(errmsg("pg_ha: role \"%s\" is created without a password",
						role),
				 errhint("Add a line for it to pg_ha.passfile (\"%s\") and set the same with ALTER ROLE.",
						 pgha_guc_passfile)));
		catalog_run(psprintf("CREATE ROLE %s LOGIN %s", quote_identifier(role),
							 attributes));
	}
	else
		catalog_run(psprintf("CREATE ROLE %s LOGIN %s PASSWORD %s",
							 quote_identifier(role), attributes,
							 quote_literal_cstr(password)));
	ereport(LOG, (errmsg("pg_ha: created role \"%s\"", role)));
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
	int			i;

	for (i = 0; i < (int) lengthof(functions); i++)
	{
		if (!catalog_is_true(psprintf("SELECT has_function_privilege(%s, 'pg_catalog.%s', 'execute')",
									  quote_literal_cstr(role), functions[i])))
			catalog_run(psprintf("GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s",
								 functions[i], quote_identifier(role)));
	}
#if PG_VERSION_NUM >= 150000
	if (!catalog_is_true(psprintf("SELECT pg_has_role(%s, 'pg_checkpoint', 'member')",
								  quote_literal_cstr(role))))
		catalog_run(psprintf("GRANT pg_checkpoint TO %s",
							 quote_identifier(role)));
#endif
}

static void
catalog_create_missing(void)
{
	catalog_make_role(pgha_guc_replication_user, "REPLICATION");
	catalog_make_role(pgha_guc_rewind_user, "");
	catalog_grant_rewind(pgha_guc_rewind_user);
	if (!catalog_is_true("SELECT count(*) > 0 FROM pg_catalog.pg_extension WHERE extname = 'pg_ha'"))
		catalog_run("CREATE EXTENSION pg_ha");
}

/* ------------------------------------------------------------------------
 * The process
 * ------------------------------------------------------------------------
 */

static void
catalog_set_running(bool running, bool done)
{
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	pgha_shmem->catalog_running = running;
	if (done)
		pgha_shmem->catalog_done = true;
	LWLockRelease(&pgha_shmem->lock);
}

static void
catalog_ended(int code, Datum arg)
{
	catalog_set_running(false, false);
}

void
pgha_catalog_main(Datum arg)
{
	before_shmem_exit(catalog_ended, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	/* the bootstrap superuser: the one role that is always there */
	BackgroundWorkerInitializeConnection("postgres", NULL, 0);
	SetConfigOption("log_statement", "none", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("log_min_duration_statement", "-1", PGC_SUSET,
					PGC_S_OVERRIDE);
	SetConfigOption("log_min_error_statement", "panic", PGC_SUSET,
					PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	catalog_create_missing();
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	catalog_set_running(true, true);
	proc_exit(0);
}

bool
pgha_catalog_start(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	strlcpy(worker.bgw_name, "pg_ha catalog worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_ha catalog worker", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "pg_ha_worker", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pgha_catalog_main", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	catalog_set_running(true, false);
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return true;
	catalog_set_running(false, false);
	return false;
}
