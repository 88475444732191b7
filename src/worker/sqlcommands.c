/*
 * sqlcommands.c
 *	  The SQL functions that have the worker do something (request.h).
 *
 * They may be called on any member, primary or standby.
 */
#include "postgres.h"

#include "common/int.h"
#include "datatype/timestamp.h"
#include "fence_private.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "request.h"
#include "sql.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* how often a waiting session asks */
#define COMMAND_ASK_MS 200

/* nobody waits longer than a year */
#define COMMAND_WAIT_MAX_MS INT64CONST(31536000000)

PG_FUNCTION_INFO_V1(pg_ha_show_config_sql);
PG_FUNCTION_INFO_V1(pg_ha_edit_config_sql);
PG_FUNCTION_INFO_V1(pg_ha_set_config_sql);
PG_FUNCTION_INFO_V1(pg_ha_pause_sql);
PG_FUNCTION_INFO_V1(pg_ha_resume_sql);
PG_FUNCTION_INFO_V1(pg_ha_wait_for_sql);

static Datum
sql_populate(FunctionCallInfo fcinfo, const char *answer,
			 Datum (*populate) (FunctionCallInfo))
{
	LOCAL_FCINFO(document, 1);
	Datum		result;

	InitFunctionCallInfoData(*document, fcinfo->flinfo, 1,
							 fcinfo->fncollation, fcinfo->context,
							 fcinfo->resultinfo);
	document->args[0].value = pgha_sql_jsonb(answer);
	document->args[0].isnull = false;
	result = populate(document);
	fcinfo->isnull = document->isnull;
	return result;
}

Datum
pgha_sql_rows(FunctionCallInfo fcinfo, const char *answer)
{
	return sql_populate(fcinfo, answer, jsonb_to_recordset);
}

Datum
pgha_sql_record(FunctionCallInfo fcinfo, const char *answer)
{
	return sql_populate(fcinfo, answer, jsonb_to_record);
}

Datum
pg_ha_show_config_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(pgha_sql_jsonb(pgha_command("{\"command\": \"show_config\"}",
											   HA_COMMAND_TIMEOUT_MS)));
}

static Datum
command_change_config(FunctionCallInfo fcinfo, const char *command,
					  const char *argument)
{
	Jsonb	   *document = PG_GETARG_JSONB_P(0);
	StringInfoData request;

	initStringInfo(&request);
	appendStringInfo(&request, "{\"command\": \"%s\", \"dry_run\": %s, \"%s\": ",
					 command, PG_GETARG_BOOL(1) ? "true" : "false", argument);
	(void) JsonbToCString(&request, &document->root, VARSIZE(document));
	appendStringInfoChar(&request, '}');
	return pgha_sql_rows(fcinfo, pgha_command(request.data,
											 HA_COMMAND_TIMEOUT_MS));
}

Datum
pg_ha_edit_config_sql(PG_FUNCTION_ARGS)
{
	return command_change_config(fcinfo, "edit_config", "patch");
}

Datum
pg_ha_set_config_sql(PG_FUNCTION_ARGS)
{
	return command_change_config(fcinfo, "set_config", "config");
}

Datum
pg_ha_pause_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(strcmp(pgha_command("{\"command\": \"pause\"}",
									   HA_COMMAND_TIMEOUT_MS), "true") == 0);
}

Datum
pg_ha_resume_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(strcmp(pgha_command("{\"command\": \"resume\"}",
									   HA_COMMAND_TIMEOUT_MS), "true") == 0);
}

/* Months have 30 days here, as everywhere where an interval becomes a number. */
int64
pgha_sql_interval_ms(const Interval *interval)
{
	int64		days = (int64) interval->month * DAYS_PER_MONTH + interval->day;
	int64		ms;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY / 1000, &ms) ||
		pg_add_s64_overflow(ms, interval->time / 1000, &ms) ||
		ms > COMMAND_WAIT_MAX_MS)
		ms = COMMAND_WAIT_MAX_MS;
	if (ms < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a timeout can't be negative")));
	return ms;
}

static char *
command_missing(const char *condition)
{
	StringInfoData request;

	initStringInfo(&request);
	appendStringInfoString(&request,
						   "{\"command\": \"condition\", \"condition\": ");
	escape_json(&request, condition);
	appendStringInfoChar(&request, '}');
	return pgha_command(request.data, HA_COMMAND_TIMEOUT_MS);
}

Datum
pg_ha_wait_for_sql(PG_FUNCTION_ARGS)
{
	char	   *condition = text_to_cstring(PG_GETARG_TEXT_PP(0));
	HaTime		begun_at = fence_now();
	HaTime		until = begun_at + pgha_sql_interval_ms(PG_GETARG_INTERVAL_P(1)) *
		HA_NS_PER_MS;
	char	   *missing;

	while (strcmp(missing = command_missing(condition), "null") != 0)
	{
		if (fence_now() >= until)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("condition \"%s\" was not met in time", condition),
					 errdetail_internal("%s", missing),
					 errhint("See pg_ha_members and pg_ha_events.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, COMMAND_ASK_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		pfree(missing);
	}
	PG_RETURN_BOOL(true);
}
