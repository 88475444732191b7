/*
 * sqlsteer.c
 *	  The SQL functions that steer the cluster: switchover, failover, restart,
 *	  reload, reinit, and the jobs that these begin.
 *
 * What ends the calling session is a job that goes on without it; everything
 * else is waited for.
 */
#include "postgres.h"

#include "fence_private.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "request.h"
#include "sql.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* how often a session that waits for a job asks for it */
#define STEER_ASK_MS 50

/* a job may take so much longer than what it was given for one step */
#define STEER_GRACE_MS 60000

PG_FUNCTION_INFO_V1(pg_ha_switchover_sql);
PG_FUNCTION_INFO_V1(pg_ha_failover_sql);
PG_FUNCTION_INFO_V1(pg_ha_restart_sql);
PG_FUNCTION_INFO_V1(pg_ha_reload_sql);
PG_FUNCTION_INFO_V1(pg_ha_reinit_sql);
PG_FUNCTION_INFO_V1(pg_ha_cancel_sql);
PG_FUNCTION_INFO_V1(pg_ha_wait_for_job_sql);

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

static void
steer_begin(StringInfo request, const char *command)
{
	initStringInfo(request);
	appendStringInfo(request, "{\"command\": \"%s\"", command);
}

static void
steer_add_text(FunctionCallInfo fcinfo, int n, StringInfo request,
			   const char *name)
{
	if (PG_ARGISNULL(n))
		return;
	appendStringInfo(request, ", \"%s\": ", name);
	escape_json(request, text_to_cstring(PG_GETARG_TEXT_PP(n)));
}

static void
steer_add_bool(FunctionCallInfo fcinfo, int n, StringInfo request,
			   const char *name)
{
	if (!PG_ARGISNULL(n))
		appendStringInfo(request, ", \"%s\": %s", name,
						 PG_GETARG_BOOL(n) ? "true" : "false");
}

static void
steer_add_time(FunctionCallInfo fcinfo, int n, StringInfo request)
{
	TimestampTz when;

	if (PG_ARGISNULL(n))
		return;
	when = PG_GETARG_TIMESTAMPTZ(n);
	if (TIMESTAMP_NOT_FINITE(when))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("scheduled_at must be a finite time")));
	appendStringInfo(request, ", \"scheduled_ms\": " INT64_FORMAT,
					 when / 1000 + (int64) (POSTGRES_EPOCH_JDATE -
											UNIX_EPOCH_JDATE) *
					 SECS_PER_DAY * 1000);
}

/* the timeout in ms, which is in the request as well */
static int64
steer_add_timeout(FunctionCallInfo fcinfo, int n, StringInfo request)
{
	int64		ms = PG_ARGISNULL(n) ? 300000 :
		pgha_sql_interval_ms(PG_GETARG_INTERVAL_P(n));

	if (ms > PG_INT32_MAX)
		ms = PG_INT32_MAX;
	appendStringInfo(request, ", \"timeout_ms\": " INT64_FORMAT, ms);
	return ms;
}

static char *
steer_send(StringInfo request)
{
	appendStringInfoChar(request, '}');
	return pgha_command(request->data, HA_COMMAND_TIMEOUT_MS);
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

static Datum
steer_field(Datum object, const char *name, bool *isnull)
{
	LOCAL_FCINFO(field, 2);
	Datum		value;

	InitFunctionCallInfoData(*field, NULL, 2, InvalidOid, NULL, NULL);
	field->args[0].value = object;
	field->args[0].isnull = false;
	field->args[1].value = CStringGetTextDatum(name);
	field->args[1].isnull = false;
	value = jsonb_object_field_text(field);
	*isnull = field->isnull;
	return value;
}

/* "" if it is absent or null */
static char *
steer_text(const char *object, const char *name)
{
	bool		isnull;
	Datum		value = steer_field(pgha_sql_jsonb(object), name, &isnull);

	return isnull ? pstrdup("") : TextDatumGetCString(value);
}

static bool
steer_flag(const char *object, const char *name)
{
	return strcmp(steer_text(object, name), "true") == 0;
}

static char *
steer_look(const char *job)
{
	StringInfoData request;

	steer_begin(&request, "job");
	appendStringInfoString(&request, ", \"job\": ");
	escape_json(&request, job);
	return steer_send(&request);
}

/* What became of it; an error if it did not end well, or not in time. */
static char *
steer_await(const char *job, int64 timeout_ms)
{
	HaTime		until = fence_now() + timeout_ms * HA_NS_PER_MS;
	char	   *document;

	while (steer_flag(document = steer_look(job), "open"))
	{
		if (fence_now() >= until)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("job \"%s\" has not ended in time and goes on",
							job),
					 errdetail_internal("%s", steer_text(document, "message")),
					 errhint("See pg_ha_jobs; pg_ha_wait_for_job(job) waits for it, pg_ha_cancel(job) takes it back.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, STEER_ASK_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		pfree(document);
	}
	if (strcmp(steer_text(document, "state"), "done") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s %s: %s", steer_text(document, "kind"),
						steer_text(document, "state"),
						steer_text(document, "message")),
				 errhint("See pg_ha_jobs and pg_ha_events.")));
	return document;
}

/* A job was begun: waited for, unless it ends this session or begins later. */
static Datum
steer_follow(FunctionCallInfo fcinfo, const char *begun, int64 timeout_ms)
{
	char	   *job = steer_text(begun, "job");
	bool		own = steer_flag(begun, "own");

	if (!own && !steer_flag(begun, "scheduled"))
		return pgha_sql_record(fcinfo, steer_await(job, timeout_ms));
	if (own)
		ereport(NOTICE,
				(errmsg("this session is about to be cut: job \"%s\" goes on without it",
						job),
				 errhint("pg_ha_wait_for_job('%s') on any member waits for it.",
						 job)));
	return pgha_sql_record(fcinfo, steer_look(job));
}

/* ------------------------------------------------------------------------
 * The functions
 * ------------------------------------------------------------------------
 */

Datum
pg_ha_switchover_sql(PG_FUNCTION_ARGS)
{
	StringInfoData request;
	int64		timeout_ms;

	steer_begin(&request, "switchover");
	steer_add_text(fcinfo, 0, &request, "candidate");
	steer_add_time(fcinfo, 1, &request);
	timeout_ms = steer_add_timeout(fcinfo, 2, &request);
	return steer_follow(fcinfo, steer_send(&request),
						timeout_ms + STEER_GRACE_MS);
}

Datum
pg_ha_failover_sql(PG_FUNCTION_ARGS)
{
	StringInfoData request;
	int64		timeout_ms;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a failover by hand needs a candidate"),
				 errhint("See pg_ha_members; pg_ha_switchover() chooses by itself.")));
	steer_begin(&request, "failover");
	steer_add_text(fcinfo, 0, &request, "candidate");
	steer_add_bool(fcinfo, 1, &request, "force");
	timeout_ms = steer_add_timeout(fcinfo, 2, &request);
	return steer_follow(fcinfo, steer_send(&request),
						timeout_ms + STEER_GRACE_MS);
}

/* "15", "15.6": as server_version_num has it */
static int
steer_version(const char *text)
{
	int			major;
	int			minor = 0;
	int			len = 0;

	if (sscanf(text, "%4d%n.%4d%n", &major, &len, &minor, &len) < 1 ||
		text[len] != '\0' || major < 10 || minor < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a server version", text),
				 errhint("For example 15.6.")));
	return major * 10000 + minor;
}

static void
steer_add_role(StringInfo request, const char *role)
{
	bool		primary = strcmp(role, "primary") == 0 ||
		strcmp(role, "leader") == 0;

	if (!primary && strcmp(role, "replica") != 0 &&
		strcmp(role, "standby") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown role \"%s\"", role),
				 errhint("Roles are primary (or leader) and replica (or standby).")));
	appendStringInfo(request, ", \"role\": \"%s\"",
					 primary ? "primary" : "replica");
}

/* (member, pending_only, role, server_version_below, scheduled_at, timeout) */
Datum
pg_ha_restart_sql(PG_FUNCTION_ARGS)
{
	StringInfoData request;
	int64		timeout_ms;

	steer_begin(&request, "restart");
	steer_add_text(fcinfo, 0, &request, "member");
	steer_add_bool(fcinfo, 1, &request, "pending_only");
	if (!PG_ARGISNULL(2))
		steer_add_role(&request, text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (!PG_ARGISNULL(3))
		appendStringInfo(&request, ", \"version_below\": %d",
						 steer_version(text_to_cstring(PG_GETARG_TEXT_PP(3))));
	steer_add_time(fcinfo, 4, &request);
	timeout_ms = steer_add_timeout(fcinfo, 5, &request);
	/* of each member: all of them take as often as long */
	return steer_follow(fcinfo, steer_send(&request),
						(timeout_ms + STEER_GRACE_MS) *
						(PG_ARGISNULL(0) ? HA_MEMBERS_MAX : 1));
}

static char *
steer_member(FunctionCallInfo fcinfo, const char *command)
{
	StringInfoData request;

	steer_begin(&request, command);
	steer_add_text(fcinfo, 0, &request, "member");
	if (PG_NARGS() > 1)
		steer_add_bool(fcinfo, 1, &request, "force");
	return steer_send(&request);
}

Datum
pg_ha_reload_sql(PG_FUNCTION_ARGS)
{
	(void) steer_member(fcinfo, "reload");
	PG_RETURN_BOOL(true);
}

Datum
pg_ha_reinit_sql(PG_FUNCTION_ARGS)
{
	(void) steer_member(fcinfo, "reinit");
	PG_RETURN_BOOL(true);
}

Datum
pg_ha_cancel_sql(PG_FUNCTION_ARGS)
{
	StringInfoData request;

	steer_begin(&request, "cancel");
	steer_add_text(fcinfo, 0, &request, "job");
	(void) steer_send(&request);
	PG_RETURN_BOOL(true);
}

Datum
pg_ha_wait_for_job_sql(PG_FUNCTION_ARGS)
{
	char	   *job = text_to_cstring(PG_GETARG_TEXT_PP(0));

	return pgha_sql_record(fcinfo,
						   steer_await(job, pgha_sql_interval_ms(PG_GETARG_INTERVAL_P(1))));
}
