/*
 * fence_private.h
 *	  What the files of the fence share.
 *
 *		fence.c			the deadline, the check before a commit, the counts
 *		fence_ack.c		what keeps an acknowledgement from leaving late
 *		fence_utility.c	commands that need a check of their own
 *		fence_session.c	what a session is told before it commits anything
 */
#ifndef PGHA_FENCE_PRIVATE_H
#define PGHA_FENCE_PRIVATE_H

#include "postgres.h"

#include "core/types.h"
#include "nodes/nodes.h"

/* fence.c; fence_now and fence_deadline are async-signal-safe */
extern HaTime fence_now(void);
extern HaTime fence_deadline(void);

/* Wait, then ERROR 25006 "cannot <what>: ...", unless the fence is open. */
extern void fence_check(const char *what);

/* The same for a statement that only reads. */
extern void fence_check_read(const char *what);

/*
 * Before changes are sent to a logical subscriber: wait, and return if the
 * fence is open.  Never throws but for an interrupt.
 */
extern bool fence_wait_for_change(void);

/*
 * The same for what is about to commit: its acknowledgement is watched from
 * here until it has left, and counted while the fence is open without end.
 */
extern void fence_check_commit(const char *what);

/*
 * A permit: this backend is counted in `committing`, and the leader does not
 * end a pause before it gave that back.  Taking one fails when the fence is
 * not, or no longer, open without end.
 */
extern bool fence_take_permit(void);
extern bool fence_has_permit(void);
extern void fence_return_permit(void);

/* fence_ack.c */
extern void fence_ack_install_hooks(void);
extern void fence_ack_expect(void); /* a commit passed the check */
extern void fence_ack_committed(void);	/* may the client know? */
extern void fence_ack_aborted(void);

/* fence_utility.c */
extern void fence_utility_install_hooks(void);

/* fence_session.c */
extern void fence_session_install_hooks(void);
extern void fence_session_begin(void);	/* its first transaction commits */
extern void fence_session_end_transaction(void);
extern void fence_session_utility(Node *statement); /* before it runs */
extern void fence_session_check_copy(Node *statement);

#endif							/* PGHA_FENCE_PRIVATE_H */
