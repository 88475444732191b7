/*
 * request.c
 *	  The backends' side of requests to the worker.
 */
#include "postgres.h"

#include "compat.h"

#include "core/types.h"
#include "entry.h"
#include "fence_private.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "request.h"
#include "shmem.h"
#include "sql.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

HaRequest  *pgha_requests = NULL;

/* how often a waiting backend looks whether its worker is still there */
#define REQUEST_LOOK_MS 200

/* how long a backend waits for a free slot */
#define REQUEST_CLAIM_MS 5000

Size
pgha_requests_size(void)
{
	return mul_size(HA_REQUESTS, sizeof(HaRequest));
}

/* The texts are left untouched: memory nobody used costs nothing. */
void
pgha_requests_init(void)
{
	bool		found;

	pgha_requests = ShmemInitStruct("pg_ha requests", pgha_requests_size(),
									&found);
	if (found)
		return;
	for (int i = 0; i < HA_REQUESTS; i++)
	{
		pgha_requests[i].state = HA_REQUEST_FREE;
		pgha_requests[i].len = 0;
		ConditionVariableInit(&pgha_requests[i].answered);
	}
}

/* ------------------------------------------------------------------------
 * A slot
 * ------------------------------------------------------------------------
 */

static HaRequest *
request_try_claim(void)
{
	HaRequest  *request = NULL;

	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	for (int i = 0; i < HA_REQUESTS && request == NULL; i++)
	{
		if (pgha_requests[i].state != HA_REQUEST_FREE)
			continue;
		request = &pgha_requests[i];
		request->state = HA_REQUEST_CLAIMED;
	}
	LWLockRelease(&pgha_shmem->lock);
	return request;
}

static void
request_sleep(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static HaRequest *
request_claim(void)
{
	HaTime		until = fence_now() + REQUEST_CLAIM_MS * HA_NS_PER_MS;
	HaRequest  *request;

	while ((request = request_try_claim()) == NULL)
	{
		if (fence_now() > until)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("pg_ha is busy with %d other commands",
							HA_REQUESTS),
					 errhint("Try again when one of them has ended.")));
		request_sleep(REQUEST_LOOK_MS / 2);
	}
	return request;
}

/* Give it up, wherever it is: what is not answered is the worker's to free. */
static void
request_give_up(int code, Datum arg)
{
	HaRequest  *request = (HaRequest *) DatumGetPointer(arg);

	(void) code;
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	if (request->state == HA_REQUEST_ANSWERED ||
		request->state == HA_REQUEST_CLAIMED)
		request->state = HA_REQUEST_FREE;
	else
		request->state = HA_REQUEST_ABANDONED;
	LWLockRelease(&pgha_shmem->lock);
}

/* The worker, or 0; wakes it. */
static pid_t
request_wake_worker(void)
{
	pid_t		pid;
	int			procno;

	LWLockAcquire(&pgha_shmem->lock, LW_SHARED);
	pid = pgha_shmem->worker_pid;
	procno = pgha_shmem->worker_procno;
	LWLockRelease(&pgha_shmem->lock);
	if (pid != 0)
		ProcSendSignal(procno);
	return pid;
}

static void
request_post(HaRequest *request, const char *text)
{
	request->len = (uint32) strlen(text);
	memcpy(request->text, text, request->len);
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	request->state = HA_REQUEST_POSTED;
	LWLockRelease(&pgha_shmem->lock);
	(void) request_wake_worker();
}

static bool
request_is_answered(HaRequest *request)
{
	bool		answered;

	LWLockAcquire(&pgha_shmem->lock, LW_SHARED);
	answered = request->state == HA_REQUEST_ANSWERED;
	LWLockRelease(&pgha_shmem->lock);
	return answered;
}

static void
request_await(HaRequest *request, HaTime until)
{
	ConditionVariablePrepareToSleep(&request->answered);
	while (!request_is_answered(request))
	{
		if (fence_now() > until)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("the pg_ha worker has not answered in time"),
					 errdetail("What was asked for may still be done."),
					 errhint("See pg_ha_status(), pg_ha_events and the server's log.")));
		(void) ConditionVariableTimedSleep(&request->answered, REQUEST_LOOK_MS,
										   PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* ------------------------------------------------------------------------
 * The answer
 * ------------------------------------------------------------------------
 */

/* A field of an object as text; NULL = absent or null. */
static char *
request_field(Datum object, const char *name)
{
	LOCAL_FCINFO(fcinfo, 2);
	Datum		value;

	InitFunctionCallInfoData(*fcinfo, NULL, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = object;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = CStringGetTextDatum(name);
	fcinfo->args[1].isnull = false;
	value = jsonb_object_field_text(fcinfo);
	return fcinfo->isnull ? NULL : TextDatumGetCString(value);
}

static void
request_raise(const char *error)
{
	Datum		object = pgha_sql_jsonb(error);
	char	   *sqlstate = request_field(object, "sqlstate");
	char	   *message = request_field(object, "message");
	char	   *detail = request_field(object, "detail");
	char	   *hint = request_field(object, "hint");
	int			code = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;

	if (sqlstate != NULL && strlen(sqlstate) == 5)
		code = MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2],
							 sqlstate[3], sqlstate[4]);
	ereport(ERROR,
			(errcode(code),
			 errmsg_internal("%s", message != NULL ? message : "unknown error"),
			 detail != NULL ? errdetail_internal("%s", detail) : 0,
			 hint != NULL ? errhint("%s", hint) : 0));
}

static void
request_notices(const char *notices)
{
	Jsonb	   *array = DatumGetJsonbP(pgha_sql_jsonb(notices));

	for (uint32 i = 0; i < JB_ROOT_COUNT(array); i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(&array->root, i);

		if (value != NULL && value->type == jbvString)
			ereport(NOTICE,
					(errmsg_internal("%.*s", value->val.string.len,
									 value->val.string.val)));
	}
}

static char *
request_read_answer(const char *text)
{
	Datum		object = pgha_sql_jsonb(text);
	char	   *notices;
	char	   *answer;
	char	   *error = request_field(object, "error");

	if (error != NULL)
		request_raise(error);
	notices = request_field(object, "notices");
	if (notices != NULL)
		request_notices(notices);
	answer = request_field(object, "answer");
	return answer != NULL ? answer : pstrdup("null");
}

static void
request_check_worker(void)
{
	if (pgha_shmem == NULL || pgha_entry() != HA_ENTRY_WORKER)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server is not a member of a pg_ha cluster"),
				 errhint("pg_ha_status() says what is missing.")));
	if (pgha_shmem->worker_pid == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no pg_ha worker is running"),
				 errhint("See the server's log; it is started again every second.")));
}

/* Post a request and wait; the slot is given back whatever happens. */
static char *
request_carry_out(const char *text, HaTime until)
{
	HaRequest  *request = request_claim();
	char	   *answer;

	PG_ENSURE_ERROR_CLEANUP(request_give_up, PointerGetDatum(request));
	{
		request_post(request, text);
		request_await(request, until);
		answer = pnstrdup(request->text, request->len);
	}
	PG_END_ENSURE_ERROR_CLEANUP(request_give_up, PointerGetDatum(request));
	request_give_up(0, PointerGetDatum(request));
	return answer;
}

char *
pgha_command(const char *request, long timeout_ms)
{
	char	   *text;

	request_check_worker();
	text = pg_server_to_any(request, (int) strlen(request), PG_UTF8);
	if (strlen(text) >= HA_REQUEST_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the command is longer than %d kB",
						HA_REQUEST_MAX / 1024)));
	return request_read_answer(request_carry_out(text, fence_now() +
												 timeout_ms * HA_NS_PER_MS));
}
