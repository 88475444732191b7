/*
 * fence_ack.c
 *	  What keeps an acknowledgement from leaving after the lease ran out.
 *
 * A commit that passed the check is pending until its client has been told,
 * that is, until a flush that follows ReadyForQuery.  Meanwhile the lease may
 * run out, because this process was frozen, or its commit waited for a disk or
 * a synchronous standby:
 *
 *		check		commit		commit	 'C' 'Z' put	flush	send()
 *		passes		record		event	 in buffer
 *		--+------------+----------+----------+-----------+--------+--->
 *		  |			   			layer 2	  layer 3	  layer 3
 *		  +--- layer 4: a timer at the deadline ------------------+
 *
 * Whoever finds the lease expired shuts the socket down.  A process that was
 * stopped between two of the checks finds the timer's signal delivered before
 * its next instruction, so not even a send() that it was about to make gets
 * anything out.  Nothing here throws: past the commit record an error would
 * become a PANIC.
 *
 * With a permit (fence_private.h) no deadline counts: the leader waits for it.
 *
 * A process without a client has nobody to tell; its commit is done at the
 * commit event.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "compat.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "fence.h"
#include "fence_private.h"
#include "libpq/auth.h"
#include "libpq/libpq.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "shmem.h"
#include "storage/ipc.h"

/* PostgreSQL uses none of the real-time signals */
#define ACK_SIGNAL (SIGRTMIN + 5)

/*
 * While the fence is open without end the deadline of a commit that began
 * before means nothing, but may again; the timer looks in so often.  Shorter
 * than the shortest ttl, so that no lease can run out in between.
 */
#define ACK_RECHECK_MS 100

static ClientAuthentication_hook_type ack_prev_authentication = NULL;

/* the server's own methods; NULL in a process without a client */
static const PQcommMethods *ack_server_methods = NULL;
static PQcommMethods ack_methods;

/* a commit of this session passed the check, its client was not told yet */
static volatile sig_atomic_t ack_pending = 0;

/* it became pending in the current transaction, which can still abort */
static bool ack_can_abort = false;

/* ReadyForQuery was put into the buffer since */
static bool ack_ready = false;

/* what is, or was, pending here are changes for a logical subscriber */
static bool ack_changes = false;

static timer_t ack_timer;
static volatile sig_atomic_t ack_armed = 0;
static volatile sig_atomic_t ack_was_cut = 0;

/* ------------------------------------------------------------------------
 * Cutting
 * ------------------------------------------------------------------------
 */

/* Async-signal-safe.  The session ends at its next check for interrupts. */
static void
ack_cut(void)
{
	if (ack_was_cut || ack_server_methods == NULL)
		return;
	ack_was_cut = 1;
	shutdown(MyProcPort->sock, SHUT_RDWR);
	pg_atomic_fetch_add_u64(&pgha_shmem->cut, 1);
	ClientConnectionLost = 1;
	InterruptPending = 1;
}

static bool
ack_may_leave(void)
{
	return fence_has_permit() || fence_now() < fence_deadline() ||
		(pgha_fence_without_end() && fence_take_permit());
}

/*
 * A subscriber must not have changes that the next leader never had.  Of a
 * physical standby the same is true, but that one can be rewound.  On a standby
 * itself there is nothing to fence: what it has, the leader sent.
 */
static bool
ack_sends_changes(void)
{
	return am_walsender && MyReplicationSlot != NULL &&
		SlotIsLogical(MyReplicationSlot) && !RecoveryInProgress();
}

static void
ack_explain(int code, Datum arg)
{
	if (!ack_was_cut)
		return;
	if (ack_changes)
		ereport(LOG,
				(errmsg("pg_ha: ended a logical replication connection"),
				 errdetail("The leader lease ran out before changes could be sent."),
				 errhidestmt(true)));
	else
		ereport(LOG,
				(errmsg("pg_ha: ended a connection instead of acknowledging its commit"),
				 errdetail("The leader lease ran out before the client could be told. The transaction is in the WAL of this instance, and may be lost if another instance leads."),
				 errhidestmt(true)));
}

/* ------------------------------------------------------------------------
 * Layer 4: the timer
 * ------------------------------------------------------------------------
 */

/* Async-signal-safe. */
static void
ack_arm(HaTime at)
{
	struct itimerspec when;

	memset(&when, 0, sizeof(when));
	when.it_value.tv_sec = at / INT64CONST(1000000000);
	when.it_value.tv_nsec = at % INT64CONST(1000000000);
	/* all zeroes would disarm it */
	if (at == 0)
		when.it_value.tv_nsec = 1;
	ack_armed = 1;
	timer_settime(ack_timer, TIMER_ABSTIME, &when, NULL);
}

/*
 * The time for which the timer was armed has come.  With nothing pending, or a
 * permit, it stays off; fence_ack_expect arms it when it is needed again.
 */
static void
ack_signal(int signal_number)
{
	int			save_errno = errno;
	HaTime		now = fence_now();
	HaTime		deadline = fence_deadline();

	ack_armed = 0;
	if (ack_pending && !fence_has_permit())
	{
		if (now < deadline)
			ack_arm(deadline);
		else if (pgha_fence_without_end())
			ack_arm(now + ACK_RECHECK_MS * HA_NS_PER_MS);
		else
			ack_cut();
	}
	errno = save_errno;
}

/*
 * sigaction and not pqsignal, which is for the signals PostgreSQL knows.
 */
static void
ack_make_timer(void)
{
	struct sigevent event;
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = ack_signal;
	action.sa_flags = SA_RESTART;
	sigfillset(&action.sa_mask);
	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = ACK_SIGNAL;
	if (sigaction(ACK_SIGNAL, &action, NULL) != 0 ||
		timer_create(CLOCK_BOOTTIME, &event, &ack_timer) != 0)
		ereport(FATAL,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not create a timer for the leader lease: %m")));
}

/* ------------------------------------------------------------------------
 * Layer 3: messages
 * ------------------------------------------------------------------------
 */

static void
ack_done(void)
{
	ack_pending = 0;
	ack_can_abort = false;
	ack_ready = false;
	fence_return_permit();
}

/* True if there is nothing to keep back. */
static bool
ack_message_may_leave(void)
{
	if (!ack_pending || ack_may_leave())
		return true;
	ack_cut();
	return false;
}

static int
ack_flush(void)
{
	int			result;

	if (!ack_message_may_leave())
		return EOF;
	result = ack_server_methods->flush();
	if (result == 0 && ack_pending && ack_ready)
		ack_done();
	return result;
}

/* Only for a process that sends without waiting: a walsender. */

static int
ack_flush_if_writable(void)
{
	int			result;

	if (!ack_message_may_leave())
		return EOF;
	result = ack_server_methods->flush_if_writable();
	if (result == 0 && ack_pending && ack_ready &&
		!ack_server_methods->is_send_pending())
		ack_done();
	return result;
}

static int
ack_putmessage(char type, const char *body, size_t len)
{
	if (!ack_message_may_leave())
		return EOF;
	if (ack_pending && type == 'Z')
		ack_ready = true;
	return ack_server_methods->putmessage(type, body, len);
}

/*
 * What a logical walsender sends is pending like an acknowledgement, until it
 * has left.  Keepalives too: they tell the subscriber how far it has got.
 */
static void
ack_expect_change(void)
{
	ack_changes = true;
	if (!pgha_fence_open() && !fence_wait_for_change())
		ack_cut();
	fence_ack_expect();
	ack_can_abort = false;
	ack_ready = true;
}

static void
ack_putmessage_noblock(char type, const char *body, size_t len)
{
	if (type == 'd' && !ack_was_cut && ack_sends_changes())
		ack_expect_change();
	if (ack_message_may_leave())
		ack_server_methods->putmessage_noblock(type, body, len);
}

static void
ack_authentication(Port *port, int status)
{
	if (ack_prev_authentication)
		ack_prev_authentication(port, status);
	if (status != STATUS_OK || !pgha_fence_active() ||
		ack_server_methods != NULL)
		return;
	ack_make_timer();
	on_proc_exit(ack_explain, (Datum) 0);
	ack_methods = *PqCommMethods;
	ack_methods.flush = ack_flush;
	ack_methods.flush_if_writable = ack_flush_if_writable;
	ack_methods.putmessage = ack_putmessage;
	ack_methods.putmessage_noblock = ack_putmessage_noblock;
	ack_server_methods = PqCommMethods;
	PqCommMethods = &ack_methods;
}

/* ------------------------------------------------------------------------
 * For the rest of the fence
 * ------------------------------------------------------------------------
 */

/*
 * Pending first, then the timer: in between nothing is sent, and a timer armed
 * for a time that has passed fires at once.
 */
void
fence_ack_expect(void)
{
	if (!ack_pending)
		ack_can_abort = true;
	ack_ready = false;
	ack_pending = 1;
	if (ack_server_methods != NULL && !fence_has_permit() && !ack_armed)
		ack_arm(fence_deadline());
}

/* Layer 2.  No client is told before this returns. */
void
fence_ack_committed(void)
{
	if (!ack_pending)
	{
		if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
			return;
		/* the id was assigned after the check, as pg_notify() does */
		fence_ack_expect();
	}
	ack_can_abort = false;
	if (ack_server_methods == NULL)
		ack_done();
	else if (!ack_may_leave())
		ack_cut();
}

/* What earlier transactions of the same round trip committed stays pending. */
void
fence_ack_aborted(void)
{
	if (ack_can_abort)
		ack_done();
}

void
fence_ack_install_hooks(void)
{
	ack_prev_authentication = ClientAuthentication_hook;
	ClientAuthentication_hook = ack_authentication;
}
