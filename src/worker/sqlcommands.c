/*
 * sqlcommands.c
 *	  The SQL functions that have the worker do something (request.h).
 *
 * They may be called on any member, primary or standby.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "request.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

/* what is written to Consul, with all retries, takes no longer */
#define COMMAND_TIMEOUT_MS 30000

PG_FUNCTION_INFO_V1(pg_ha_show_config_sql);
PG_FUNCTION_INFO_V1(pg_ha_edit_config_sql);
PG_FUNCTION_INFO_V1(pg_ha_set_config_sql);
PG_FUNCTION_INFO_V1(pg_ha_pause_sql);
PG_FUNCTION_INFO_V1(pg_ha_resume_sql);

static Datum
command_jsonb(const char *text)
{
	text = pg_any_to_server(text, (int) strlen(text), PG_UTF8);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

/* An array of objects as rows of the calling function's OUT parameters. */
static Datum
command_rows(FunctionCallInfo fcinfo, const char *answer)
{
	LOCAL_FCINFO(rows, 1);
	Datum		result;

	InitFunctionCallInfoData(*rows, fcinfo->flinfo, 1, fcinfo->fncollation,
							 fcinfo->context, fcinfo->resultinfo);
	rows->args[0].value = command_jsonb(answer);
	rows->args[0].isnull = false;
	result = jsonb_to_recordset(rows);
	fcinfo->isnull = rows->isnull;
	return result;
}

Datum
pg_ha_show_config_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(command_jsonb(pgha_command("{\"command\": \"show_config\"}",
											   COMMAND_TIMEOUT_MS)));
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
	return command_rows(fcinfo, pgha_command(request.data,
											 COMMAND_TIMEOUT_MS));
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
									   COMMAND_TIMEOUT_MS), "true") == 0);
}

Datum
pg_ha_resume_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(strcmp(pgha_command("{\"command\": \"resume\"}",
									   COMMAND_TIMEOUT_MS), "true") == 0);
}
