/*
 * fence.c
 *	  What refuses commits without a lease, in every backend.
 *
 * The deadline is an atomic of CLOCK_BOOTTIME nanoseconds that only grows.  It
 * is read here and written by the worker.  Four layers stand between a lost
 * lease and an acknowledged commit; each closes the gap the one before leaves
 * to a process that is frozen at the wrong moment:
 *
 *		1	before the commit		ERROR 25006, or a wait		fence.c
 *		2	after its record		cut the client				fence_ack.c
 *		3	before each message		cut the client				fence_ack.c
 *		4	a timer at the deadline	cut the client				fence_ack.c
 *
 * After layer 1 the row may be on disk, so an error would be a lie: the
 * connection ends, and the client knows that it does not know.  A transaction
 * without an id writes nothing and passes.
 */
#include "postgres.h"

#include <signal.h>
#include <time.h>

#include "compat.h"

#include "access/xact.h"
#include "fence.h"
#include "fence_private.h"
#include "gucs.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "shmem.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* a wait that nobody wakes at the worker's end looks so often for it */
#define FENCE_LOOK_AGAIN_MS 200

/* hooks are installed: a real server, not single-user, not an upgrade */
static bool fence_installed = false;

/* this backend holds a permit */
static volatile sig_atomic_t fence_permit = 0;

HaTime
fence_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * INT64CONST(1000000000) + now.tv_nsec;
}

HaTime
fence_deadline(void)
{
	return (HaTime) pg_atomic_read_u64(&pgha_shmem->deadline);
}

bool
pgha_fence_without_end(void)
{
	return pg_atomic_read_u32(&pgha_shmem->open_without_end) != 0;
}

bool
pgha_fence_active(void)
{
	return fence_installed && pgha_shmem != NULL &&
		(pgha_guc_scope[0] != '\0' || pgha_guc_managed);
}

bool
pgha_fence_open(void)
{
	return !pgha_fence_active() || pgha_fence_without_end() ||
		fence_now() < fence_deadline();
}

/* ------------------------------------------------------------------------
 * The check
 * ------------------------------------------------------------------------
 */

static int
fence_errdetail(void)
{
	char		leader[HA_NAME_MAX + 1];

	LWLockAcquire(&pgha_shmem->lock, LW_SHARED);
	strlcpy(leader, pgha_shmem->leader, sizeof(leader));
	LWLockRelease(&pgha_shmem->lock);
	if (leader[0] == '\0')
		return 0;
	if (strcmp(leader, pgha_guc_name) == 0)
		return errdetail("Its lease ran out, and no other leader is known.");
	return errdetail("The last known leader is \"%s\".", leader);
}

static int
fence_errhint(bool read)
{
	if (pgha_guc_scope[0] == '\0')
		return errhint("This data directory belongs to a pg_ha cluster: start it with pg_ha_launcher, or make it a plain one with pg_ha_launcher --detach.");
	if (read)
		return errhint("Reads are refused because pg_ha.fence_reads is on. Connect to the leader, or see pg_ha_status().");
	return errhint("Connect to the leader (target_session_attrs=read-write), or see pg_ha_status().");
}

static void
fence_refuse(const char *what, bool read)
{
	pg_atomic_fetch_add_u64(&pgha_shmem->refused, 1);
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot %s: this instance does not hold the leader lease",
					what),
			 fence_errdetail(), fence_errhint(read)));
}

/*
 * Nobody waits for the commit of a process without a client, and without a
 * scope no worker will ever move the deadline.
 */
static bool
fence_may_wait(void)
{
	return MyProcPort != NULL && pgha_guc_fence_wait_ms > 0 &&
		pgha_guc_scope[0] != '\0';
}

/*
 * What statement_timeout leaves of this statement, in ms; the timer itself is
 * off by the time a transaction commits.  PG_INT32_MAX without a timeout.
 */
static int
fence_statement_ms_left(void)
{
	TimestampTz end;

	if (StatementTimeout <= 0)
		return PG_INT32_MAX;
	end = TimestampTzPlusMilliseconds(GetCurrentStatementStartTimestamp(),
									  StatementTimeout);
	return (int) TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
}

/* Until the fence opens, or for fence_wait; throws on cancel and timeout. */
static void
fence_wait(void)
{
	int			statement_ms = fence_statement_ms_left();
	int			wait_ms = Min(pgha_guc_fence_wait_ms, statement_ms);
	HaTime		until = fence_now() + wait_ms * HA_NS_PER_MS;
	HaTime		now;

	pg_atomic_fetch_add_u64(&pgha_shmem->waited, 1);
	ConditionVariablePrepareToSleep(&pgha_shmem->deadline_moved);
	while (!pgha_fence_open() && (now = fence_now()) < until)
		(void) ConditionVariableTimedSleep(&pgha_shmem->deadline_moved,
										   (long) ((until - now) /
												   HA_NS_PER_MS) + 1,
										   PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	if (statement_ms < pgha_guc_fence_wait_ms && !pgha_fence_open())
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to statement timeout"),
				 errdetail("The commit waited for the leader lease.")));
}

static void
fence_check_or_refuse(const char *what, bool read)
{
	if (pgha_fence_open())
		return;
	if (fence_may_wait())
		fence_wait();
	if (!pgha_fence_open())
		fence_refuse(what, read);
}

void
fence_check(const char *what)
{
	fence_check_or_refuse(what, false);
}

void
fence_check_read(const char *what)
{
	fence_check_or_refuse(what, true);
}

/*
 * No statement_timeout: replication is no statement.  Once the worker is gone
 * the server is being stopped, which waits for its walsenders.
 */
bool
fence_wait_for_change(void)
{
	HaTime		until = fence_now() + pgha_guc_fence_wait_ms * HA_NS_PER_MS;

	if (!fence_may_wait())
		return pgha_fence_open();
	ConditionVariablePrepareToSleep(&pgha_shmem->deadline_moved);
	while (!pgha_fence_open() && fence_now() < until &&
		   pgha_shmem->worker_pid != 0)
		(void) ConditionVariableTimedSleep(&pgha_shmem->deadline_moved,
										   FENCE_LOOK_AGAIN_MS,
										   PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	/* the caller's loop may have been woken for something else */
	SetLatch(MyLatch);
	return pgha_fence_open();
}

void
fence_check_commit(const char *what)
{
	if (!pgha_fence_active())
		return;

	/*
	 * Without a postmaster no standby is fed any more: what is committed now
	 * would be on this node alone, and the instance is about to be killed.
	 */
	if (!PostmasterIsAlive())
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("cannot %s: the postmaster is gone", what)));
	if (fence_permit && !pgha_fence_without_end())
	{
		/*
		 * A commit of the same round trip passed under a permit and the pause
		 * is ending.  Waiting would keep the worker from ending it.
		 */
		if (fence_now() >= fence_deadline())
			fence_refuse(what, false);
		fence_return_permit();
	}
	else
	{
		do
			fence_check(what);
		while (pgha_fence_without_end() && !fence_take_permit());
	}
	fence_ack_expect();
}

/* ------------------------------------------------------------------------
 * Permits
 * ------------------------------------------------------------------------
 */

bool
fence_has_permit(void)
{
	return fence_permit != 0;
}

/*
 * The flag is read again after counting: the worker clears it first and then
 * looks at the count, so one of the two sees the other.
 */
bool
fence_take_permit(void)
{
	if (fence_permit)
		return true;
	pg_atomic_fetch_add_u32(&pgha_shmem->committing, 1);
	pgha_shmem->permits[MyBackendId - 1] = MyProcPid;
	fence_permit = 1;
	if (pgha_fence_without_end())
		return true;
	fence_return_permit();
	return false;
}

void
fence_return_permit(void)
{
	if (!fence_permit)
		return;
	fence_permit = 0;
	pgha_shmem->permits[MyBackendId - 1] = 0;
	pg_atomic_fetch_sub_u32(&pgha_shmem->committing, 1);
}

static void
fence_exit(int code, Datum arg)
{
	fence_return_permit();
}

/* ------------------------------------------------------------------------
 * Hooks
 * ------------------------------------------------------------------------
 */

/*
 * At the end of a process's first transaction, which is the one that starts a
 * session and commits nothing, so that nothing later has to.
 */
static void
fence_begin_process(void)
{
	static bool begun = false;

	if (begun)
		return;
	begun = true;
	before_shmem_exit(fence_exit, (Datum) 0);
	fence_session_begin();
}

/*
 * Vacuum would fail at each table's commit, with an ERROR in the log.  Nobody
 * waits for this process, so it goes, as at the end of its work.
 */
static void
fence_end_autovacuum(void)
{
	ereport(DEBUG1,
			(errmsg_internal("autovacuum worker ends without the leader lease")));
	proc_exit(0);
}

static void
fence_xact(XactEvent event, void *arg)
{
	if (!pgha_fence_active())
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			fence_begin_process();
			if (pgha_is_autovacuum_worker() && !pgha_fence_open())
				fence_end_autovacuum();
			if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
				fence_check_commit("commit");
			break;
		case XACT_EVENT_PRE_PREPARE:
			fence_check_commit("prepare a transaction");
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			fence_ack_committed();
			fence_session_end_transaction();
			break;
		case XACT_EVENT_ABORT:
			fence_ack_aborted();
			fence_session_end_transaction();
			break;
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			/* the leader of the parallel workers decides */
			break;
	}
}

void
pgha_fence_install_hooks(void)
{
	fence_installed = true;
	RegisterXactCallback(fence_xact, NULL);
	fence_utility_install_hooks();
	fence_session_install_hooks();
	fence_ack_install_hooks();
}

/* ------------------------------------------------------------------------
 * For the worker
 * ------------------------------------------------------------------------
 */

void
pgha_fence_extend(HaTime deadline)
{
	uint64		current = pg_atomic_read_u64(&pgha_shmem->deadline);

	while (current < (uint64) deadline)
	{
		if (pg_atomic_compare_exchange_u64(&pgha_shmem->deadline, &current,
										   (uint64) deadline))
		{
			ConditionVariableBroadcast(&pgha_shmem->deadline_moved);
			return;
		}
	}
}

void
pgha_fence_set_without_end(bool open)
{
	pg_atomic_write_u32(&pgha_shmem->open_without_end, open ? 1 : 0);
	pg_memory_barrier();
	if (open)
		ConditionVariableBroadcast(&pgha_shmem->deadline_moved);
}

void
pgha_fence_end_committing(void)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		pid_t		pid = pgha_shmem->permits[i];

		if (pid != 0)
			kill(pid, SIGTERM);
	}
}

uint32
pgha_fence_committing(void)
{
	return pg_atomic_read_u32(&pgha_shmem->committing);
}
