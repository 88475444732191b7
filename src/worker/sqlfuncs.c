/*
 * sqlfuncs.c
 *	  The functions behind the SQL interface: shared memory, the rule table,
 *	  and this member's event file.  No network, no waiting.
 *
 * They work on standbys, in a server that is not configured, and where the
 * library was not preloaded (no rows, and a status that says so).
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "core/decide.h"
#include "fence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "gucs.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "access/xlog.h"
#include "shmem.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/tuplestore.h"

#include <time.h>

/* a line of the event file is cut off here by its writer */
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

static Datum
sql_jsonb(const char *text)
{
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

/* Why there is nothing to tell; NULL if there is. */
static const char *
sql_no_status(void)
{
	if (pgha_shmem == NULL)
		return "{\"configured\": false, "
			"\"reason\": \"the library is not preloaded\", "
			"\"hint\": \"Add pg_ha to shared_preload_libraries and restart.\"}";
	if (pgha_guc_scope[0] == '\0')
		return "{\"configured\": false, "
			"\"reason\": \"pg_ha.scope is empty\", "
			"\"hint\": \"Start the server with pg_ha_launcher.\"}";
	return NULL;
}

static char *
sql_fence_document(void)
{
	struct timespec now;
	int64		remaining = 0;
	uint64		deadline;
	const char *state;

	if (!pgha_fence_active())
		return pstrdup("{\"fence\": {\"state\": \"inactive\"}}");
	deadline = pg_atomic_read_u64(&pgha_shmem->deadline);
	clock_gettime(CLOCK_BOOTTIME, &now);
	remaining = ((int64) deadline -
				 (now.tv_sec * INT64CONST(1000000000) + now.tv_nsec)) /
		INT64CONST(1000000);
	state = pgha_fence_open() ? "open" : "closed";
	return psprintf("{\"fence\": {\"state\": \"%s\", \"remaining_ms\": "
					INT64_FORMAT ", \"open_without_end\": %s, \"refused\": "
					UINT64_FORMAT ", \"waited\": " UINT64_FORMAT "}}",
					state, deadline == 0 || remaining < 0 ? 0 : remaining,
					pg_atomic_read_u32(&pgha_shmem->open_without_end) ?
					"true" : "false",
					pg_atomic_read_u64(&pgha_shmem->refused),
					pg_atomic_read_u64(&pgha_shmem->waited));
}

Datum
pg_ha_status_sql(PG_FUNCTION_ARGS)
{
	const char *nothing = sql_no_status();
	char	   *document;
	Datum		status;
	pid_t		worker;

	if (nothing != NULL)
		status = sql_jsonb(nothing);
	else
	{
		LWLockAcquire(&pgha_shmem->lock, LW_SHARED);
		worker = pgha_shmem->worker_pid;
		LWLockRelease(&pgha_shmem->lock);
		document = pgha_shmem_read(HA_DOCUMENT_STATUS);
		status = sql_jsonb(document != NULL ? document :
						   "{\"configured\": true}");
		status = sql_jsonb_merge(status,
								 sql_jsonb(psprintf("{\"worker_pid\": %d}",
													(int) worker)));
		if (worker == 0)
			status = sql_jsonb_merge(status,
									 sql_jsonb("{\"hint\": "
											   "\"No worker runs: see the server's log, "
											   "and max_worker_processes.\"}"));
	}
	status = sql_jsonb_merge(status,
							 sql_jsonb(psprintf("{\"role\": \"%s\"}",
												RecoveryInProgress() ?
												"standby" : "primary")));
	PG_RETURN_DATUM(sql_jsonb_merge(status, sql_jsonb(sql_fence_document())));
}

/* members or history: the array the worker published */
Datum
pg_ha_document_sql(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	HaDocument	which = HA_DOCUMENT_MEMBERS;
	char	   *document = NULL;

	if (strcmp(name, "history") == 0)
		which = HA_DOCUMENT_HISTORY;
	else if (strcmp(name, "members") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown document \"%s\"", name),
				 errhint("Documents are \"members\" and \"history\".")));
	if (sql_configured())
		document = pgha_shmem_read(which);
	PG_RETURN_DATUM(sql_jsonb(document != NULL ? document : "[]"));
}

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */

/* A torn or damaged line is no event. */
static bool
sql_event_is_whole(char *line, int len)
{
	JsonLexContext *lex;
	JsonSemAction sem;

	if (len < 2 || line[0] != '{' || line[len - 1] != '}' ||
		!pg_verifymbstr(line, len, true))
		return false;
	memset(&sem, 0, sizeof(sem));
	lex = makeJsonLexContextCstringLen(line, len, PG_UTF8, false);
	return pg_parse_json(lex, &sem) == JSON_SUCCESS;
}

static void
sql_read_events(ReturnSetInfo *result, const char *name)
{
	char		path[MAXPGPATH];
	char		line[SQL_EVENT_MAX];
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%s", pgha_guc_state_directory, name);
	file = AllocateFile(path, "r");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL)
	{
		int			len = (int) strcspn(line, "\n");
		Datum		value;
		bool		null = false;

		line[len] = '\0';
		if (!sql_event_is_whole(line, len))
			continue;
		value = sql_jsonb(line);
		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &null);
	}
	FreeFile(file);
}

Datum
pg_ha_events_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (sql_configured())
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
	switch (id / 100)
	{
		case 1:
			return "safety";
		case 2:
			return "leader";
		case 3:
			return "no leader: election";
		case 4:
			return "follow";
		case 5:
			return "operator's requests";
		default:
			return "instance not running";
	}
}

Datum
pg_ha_rules_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			nrules;
	const HaRule *rules = pgha_rules(&nrules);
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	for (i = 0; i < nrules; i++)
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
