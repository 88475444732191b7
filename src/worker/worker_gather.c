/*
 * worker_gather.c
 *	  The facts of this instance, into a view.
 */
#include "worker_private.h"

#include "dcs/json.h"

#include "access/twophase.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "fence.h"
#include "gucs.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"
#include "storage/condition_variable.h"
#include "storage/lock.h"
#include "storage/spin.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

/* rounds come more often, unless this process was stopped */
#define GATHER_AWAKE_MS 5000

/* Be woken when the receiver stops: that position is news to others. */
static void
gather_watch_receiver(void)
{
	ConditionVariablePrepareToSleep(&WalRcv->walRcvStoppedCV);
}

static bool
gather_receiver_state(bool *streaming)
{
	WalRcvState state;

	SpinLockAcquire(&WalRcv->mutex);
	state = WalRcv->walRcvState;
	SpinLockRelease(&WalRcv->mutex);
	*streaming = state == WALRCV_STREAMING;
	return state != WALRCV_STOPPED;
}

/*
 * Replay stops itself when the primary's settings outgrow ours; pg_control
 * then holds the primary's.  An operator's pause is not that.
 */
static bool
gather_settings_too_small(void)
{
	ControlFileData *control;
	bool		crc_ok;
	bool		small;

	if (GetRecoveryPauseState() != RECOVERY_PAUSED)
		return false;
	control = get_controlfile(DataDir, &crc_ok);
	small = crc_ok && (control->MaxConnections > MaxConnections ||
					   control->max_worker_processes > max_worker_processes ||
					   control->max_wal_senders > max_wal_senders ||
					   control->max_prepared_xacts > max_prepared_xacts ||
					   control->max_locks_per_xact > max_locks_per_xact);
	pfree(control);
	return small;
}

static void
gather_standby(HaView *view)
{
	TimeLineID	replay_tli = 0;
	TimeLineID	receive_tli = 0;
	XLogRecPtr	replayed = GetXLogReplayRecPtr(&replay_tli);
	XLogRecPtr	received = GetWalRcvFlushRecPtr(NULL, &receive_tli);
	bool		streaming;

	/* at its start the receiver's position is rounded down to a segment */
	if (received > replayed)
	{
		view->lsn = received;
		view->tli = receive_tli;
	}
	else
	{
		view->lsn = replayed;
		view->tli = replay_tli;
	}
	view->role = HA_ROLE_STANDBY;
	view->consistent = HotStandbyActive();
	view->receiver_on = gather_receiver_state(&streaming) ||
		(PrimaryConnInfo != NULL && PrimaryConnInfo[0] != '\0');
	view->replay_paused = gather_settings_too_small();
	view->standby_signal = true;
}

/*
 * Where the last record ends.  At a page's border the server counts the next
 * page's header in, which is not there to be flushed yet.
 */
static XLogRecPtr
gather_wal_end(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		return end - SizeOfXLogLongPHD;
	if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return end - SizeOfXLogShortPHD;
	return end;
}

/*
 * Ask the WAL writer for what was written last and see when it is there; the
 * worker itself must not wait for a disk.
 */
static void
gather_wal(HaWorker *worker, HaView *view)
{
	XLogRecPtr	inserted = gather_wal_end();

	if (view->lsn >= worker->wal_awaited)
	{
		worker->wal_awaited = 0;
		worker->wal_moved_at = view->now;
		if (inserted > view->lsn)
		{
			worker->wal_awaited = inserted;
			XLogSetAsyncXactLSN(inserted);
		}
	}
	view->wal_moved_at = worker->wal_moved_at;
}

static void
gather_primary(HaWorker *worker, HaView *view)
{
	TimeLineID	tli = 0;

	view->lsn = GetFlushRecPtr(&tli);
	gather_wal(worker, view);
	view->tli = tli;
	view->role = HA_ROLE_PRIMARY;
	view->was_primary = true;
	view->consistent = true;
}

/* The member that primary_conninfo points at; "" = nobody known. */
static void
gather_following(const HaWorker *worker, HaView *view)
{
	char		conninfo[HA_CONNINFO_MAX];
	int			i;

	if (PrimaryConnInfo == NULL || PrimaryConnInfo[0] == '\0')
		return;
	for (i = 0; i < view->nmembers; i++)
	{
		if (pgha_conninfo(view->members[i].conn_url, pgha_guc_replication_user,
						  pgha_guc_passfile, pgha_guc_name, NULL, conninfo) &&
			strcmp(conninfo, PrimaryConnInfo) == 0)
			memcpy(view->following, view->members[i].name,
				   sizeof(view->following));
	}
}

/* It can't change while the timeline is the same. */
static void
gather_own_history(HaWorker *worker, HaView *view)
{
	if (worker->own_tli != view->tli &&
		pgha_history_own(DataDir, view->tli, &worker->own_history))
		worker->own_tli = view->tli;
	view->own_history_known = view->tli != 0 && worker->own_tli == view->tli;
	if (view->own_history_known)
		view->own_history = worker->own_history;
}

/* Crash recovery of a primary is neither role; it has no lease to use. */
static bool
gather_in_crash_recovery(void)
{
	return RecoveryInProgress() &&
		GetRecoveryState() == RECOVERY_STATE_CRASH;
}

/* Time that passed while this process was stopped counts for nobody. */
static void
gather_awake(HaWorker *worker, HaTime now)
{
	if (worker->gathered_at != 0 &&
		now > worker->gathered_at + GATHER_AWAKE_MS * HA_NS_PER_MS)
		worker->wal_moved_at = worker->link.heard_at = now;
	worker->gathered_at = now;
}

/* The flag before the count: who commits looks at them the other way round. */
static void
gather_fence(HaWorker *worker, HaView *view)
{
	view->fence_without_end = pgha_fence_without_end();
	view->permits = (int) pgha_fence_committing();
	if (worker->permits_since == 0)
		worker->permits_since = view->now;
	view->permits_since = worker->permits_since;
}

void
worker_gather(HaWorker *worker, HaTime now)
{
	HaView	   *view = &worker->view;
	char	   *history;

	memset(view, 0, sizeof(*view));
	pgha_brain_view(worker->brain, now, view);
	view->instance = HA_INSTANCE_RUNNING;
	view->sysid = GetSystemIdentifier();
	gather_awake(worker, now);
	view->launcher_present = worker->link.fd >= 0 && worker->link.greeted &&
		now < worker->link.heard_at +
		view->timeouts.health_timeout_ms * HA_NS_PER_MS;
	view->nofailover = worker->nofailover;
	view->wal_end = HA_WAL_END_UNKNOWN;
	gather_fence(worker, view);
	if (!RecoveryInProgress())
	{
		if (worker->promoting)
			worker->slots_at = 0;	/* the others are about to ask for theirs */
		worker->promoting = false;
		gather_primary(worker, view);
	}
	else if (!gather_in_crash_recovery())
	{
		gather_standby(view);
		gather_watch_receiver();
	}
	view->promoting = worker->promoting;
	/* startup may sleep before its next try to stream, deaf to the promotion */
	if (worker->promoting)
		WakeupRecovery();
	worker_gather_order(worker);
	worker_gather_restart(worker);
	gather_own_history(worker, view);
	gather_following(worker, view);

	/* a ballot is a promise about one vacancy: over when that is */
	if (view->standing != HA_STANDING_EXPIRED &&
		view->standing != HA_STANDING_RELEASED)
		memset(&worker->ballot, 0, sizeof(worker->ballot));
	if (!worker->ballot.present)
		memset(&view->ballot, 0, sizeof(view->ballot));

	/* a new timeline is told at once */
	history = worker_new_history(worker);
	if (history != NULL && worker->told_tli != view->tli &&
		view->heartbeat_due > now)
		view->heartbeat_due = now;
	free(history);
}

/* ------------------------------------------------------------------------
 * History
 * ------------------------------------------------------------------------
 */

char *
worker_new_history(HaWorker *worker)
{
	const HaView *view = &worker->view;

	if (view->role != HA_ROLE_PRIMARY || !view->history_known)
		return NULL;
	return pgha_history_news(DataDir, view->tli,
							 pgha_brain_history(worker->brain), pgha_guc_name);
}
