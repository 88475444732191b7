/*
 * sqlfuncs.c
 *	  The functions behind the SQL interface: shared memory, the rule table,
 *	  and this member's event file.  No network, no waiting.
 *
 * They work on standbys, in a server that is not configured, and where the
 * library was not preloaded (no rows, and a status that says so).
 */
#include "postgres.h"

#include "compat.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "core/decide.h"
#include "entry.h"
#include "fence.h"
#include "fence_private.h"
#include "fmgr.h"
#include "funcapi.h"
#include "gucs.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "shmem.h"
#include "sql.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

/* the writer cuts a line off at half of this; a longer one is damaged */
#define SQL_EVENT_MAX 4096

PG_FUNCTION_INFO_V1(pg_ha_status_sql);
PG_FUNCTION_INFO_V1(pg_ha_document_sql);
PG_FUNCTION_INFO_V1(pg_ha_events_sql);
PG_FUNCTION_INFO_V1(pg_ha_rules_sql);

static bool
sql_configured(void)
{
	return pgha_shmem != NULL && pgha_guc_scope[0] != '\0';
}

Datum
pgha_sql_jsonb(const char *text)
{
	text = pg_any_to_server(text, (int) strlen(text), PG_UTF8);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

/* Merge two objects, the second wins. */
static Datum
sql_jsonb_merge(Datum a, Datum b)
{
	return DirectFunctionCall2(jsonb_concat, a, b);
}

/* ------------------------------------------------------------------------
 * Status
 * ------------------------------------------------------------------------
 */

/* What there is to say when no worker has anything to tell. */
static const char *
sql_no_worker(void)
{
	switch (pgha_entry())
	{
		case HA_ENTRY_NOT_PRELOADED:
			return "{\"configured\": false, "
				"\"reason\": \"the library is not preloaded\", "
				"\"hint\": \"Add pg_ha to shared_preload_libraries and restart.\"}";
		case HA_ENTRY_INERT:
			return "{\"configured\": false, "
				"\"reason\": \"single-user mode or binary upgrade\"}";
		case HA_ENTRY_NOT_CONFIGURED:
			if (pgha_guc_managed)
				return "{\"configured\": false, "
					"\"reason\": \"this instance belongs to a cluster, but was not started by pg_ha_launcher\", "
					"\"hint\": \"Start it with pg_ha_launcher, or make it a plain one with pg_ha_launcher --detach.\"}";
			return "{\"configured\": false, "
				"\"reason\": \"pg_ha.scope is empty\", "
				"\"hint\": \"Start the server with pg_ha_launcher.\"}";
		case HA_ENTRY_NO_SLOT:
			return "{\"configured\": true, \"worker_pid\": 0, "
				"\"reason\": \"no worker: max_worker_processes is used up\", "
				"\"hint\": \"Raise max_worker_processes and restart.\"}";
		case HA_ENTRY_WORKER:
			break;
	}
	return "{\"configured\": true, \"worker_pid\": 0, "
		"\"reason\": \"no worker: it ended, or has not started yet\", "
		"\"hint\": \"See the server's log; it is started again every second.\"}";
}

static pid_t
sql_worker_pid(void)
{
	pid_t		pid;

	if (!sql_configured())
		return 0;
	LWLockAcquire(&pgha_shmem->lock, LW_SHARED);
	pid = pgha_shmem->worker_pid;
	LWLockRelease(&pgha_shmem->lock);
	return pid;
}

/* What this process knows better than the worker's last round. */
static char *
sql_live_document(void)
{
	const char *role = RecoveryInProgress() ? "standby" : "primary";
	HaTime		remaining;

	if (!pgha_fence_active())
		return psprintf("{\"role\": \"%s\", \"fence\": {\"state\": \"inactive\"}}",
						role);
	remaining = fence_deadline() - fence_now();
	return psprintf("{\"role\": \"%s\", \"fence\": {\"state\": \"%s\", "
					"\"remaining_ms\": " INT64_FORMAT ", "
					"\"open_without_end\": %s, "
					"\"refused\": " UINT64_FORMAT ", "
					"\"waited\": " UINT64_FORMAT ", "
					"\"cut\": " UINT64_FORMAT "}}",
					role, pgha_fence_open() ? "open" : "closed",
					(int64) (Max(remaining, 0) / HA_NS_PER_MS),
					pgha_fence_without_end() ? "true" : "false",
					pg_atomic_read_u64(&pgha_shmem->refused),
					pg_atomic_read_u64(&pgha_shmem->waited),
					pg_atomic_read_u64(&pgha_shmem->cut));
}

/* The last document stays readable while the worker is away. */
Datum
pg_ha_status_sql(PG_FUNCTION_ARGS)
{
	char	   *document = pgha_shmem_read(HA_DOCUMENT_STATUS);
	Datum		status = pgha_sql_jsonb(document != NULL ? document : "{}");
	pid_t		pid = sql_worker_pid();
	const char *worker = pid == 0 ? sql_no_worker() :
		psprintf("{\"configured\": true, \"worker_pid\": %d}", (int) pid);

	status = sql_jsonb_merge(status, pgha_sql_jsonb(worker));
	PG_RETURN_DATUM(sql_jsonb_merge(status, pgha_sql_jsonb(sql_live_document())));
}

/* members or history: the array the worker published */
Datum
pg_ha_document_sql(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *document = NULL;
	HaDocument	which;

	if (strcmp(name, "members") == 0)
		which = HA_DOCUMENT_MEMBERS;
	else if (strcmp(name, "history") == 0)
		which = HA_DOCUMENT_HISTORY;
	else if (strcmp(name, "jobs") == 0)
		which = HA_DOCUMENT_JOBS;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown document \"%s\"", name),
				 errhint("Documents are \"members\", \"history\" and \"jobs\".")));
	if (sql_configured())
		document = pgha_shmem_read(which);
	PG_RETURN_DATUM(pgha_sql_jsonb(document != NULL ? document : "[]"));
}

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */

/*
 * A torn or damaged line is no event.  What makes it unfit may be its JSON, a
 * number's range or a character that this database's encoding lacks, so only
 * trying tells; the subtransaction takes back what the error left behind.
 */
static bool
sql_event(const char *line, Datum *value)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool whole = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*value = pgha_sql_jsonb(line);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		whole = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return whole;
}

/* The next line that looks like an object, without its end. */
static bool
sql_next_line(FILE *file, char *line, int size)
{
	while (fgets(line, size, file) != NULL)
	{
		int			len = (int) strlen(line);
		bool		complete = len > 0 && line[len - 1] == '\n';

		if (complete)
			line[--len] = '\0';
		else
		{
			int			c;

			while ((c = getc(file)) != EOF && c != '\n')
				 /* skip the rest of it */ ;
		}
		if (complete && len >= 2 && line[0] == '{' && line[len - 1] == '}')
			return true;
	}
	return false;
}

static void
sql_read_events(ReturnSetInfo *result, const char *name)
{
	MemoryContext context;
	MemoryContext before;
	char		path[MAXPGPATH];
	char		line[SQL_EVENT_MAX];
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%s", pgha_guc_state_directory, name);
	file = AllocateFile(path, "r");
	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(WARNING,
					(errcode_for_file_access(),
					 errmsg("could not open file \"%s\": %m", path)));
		return;
	}
	context = AllocSetContextCreate(CurrentMemoryContext, "pg_ha event",
									ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(context);
	while (sql_next_line(file, line, sizeof(line)))
	{
		Datum		value;
		bool		null = false;

		CHECK_FOR_INTERRUPTS();
		if (sql_event(line, &value))
			tuplestore_putvalues(result->setResult, result->setDesc, &value,
								 &null);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	FreeFile(file);
}

Datum
pg_ha_events_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (sql_configured() && pgha_guc_state_directory[0] != '\0')
	{
		sql_read_events(result, "events.old.jsonl");
		sql_read_events(result, "events.jsonl");
	}
	return (Datum) 0;
}

/* ------------------------------------------------------------------------
 * Rules
 * ------------------------------------------------------------------------
 */

static const char *
sql_section(int id)
{
	static const char *const sections[] = {
		NULL, "safety", "leader", "election", "follow", "operator",
		"instance not running"
	};
	int			section = id / 100;

	if (section < 1 || section >= (int) lengthof(sections))
		return "unknown";
	return sections[section];
}

Datum
pg_ha_rules_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			nrules;
	const HaRule *rules = pgha_rules(&nrules);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < nrules; i++)
	{
		Datum		values[4];
		bool		nulls[4] = {false, false, false, false};

		values[0] = Int32GetDatum(rules[i].id);
		values[1] = CStringGetTextDatum(sql_section(rules[i].id));
		values[2] = CStringGetTextDatum(pgha_action_name(rules[i].action));
		values[3] = CStringGetTextDatum(rules[i].why);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}
