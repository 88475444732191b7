/*
 * lease.h
 *	  The lease as arithmetic: one rule, no I/O, no clock of its own.
 *
 * The ModifyIndex of the `status` key is the lease's clock.  Everything the
 * leader writes moves it; whoever sees it stand still for L + margin, counted
 * from when it *received* it, knows that the holder's deadline (counted from
 * when the holder *sent* it) is over.  Only clock rates matter, never clock
 * agreement, session TTLs or lock delays.
 *
 *		holder:  sent ----------- L ----------> deadline
 *		other:        received ------- L + margin -------> may take over
 *
 * A takeover that ends in a promotion claims the number of its timeline before
 * there is one: a leader may die between its promotion and its next heartbeat,
 * and two timelines of one number could not be told apart.
 *
 * An HaLease is one process's knowledge.  It starts empty with every life of a
 * worker or launcher and is never handed from one process to another.  The
 * owner feeds it what Consul said (observe, answer) and asks it what to write
 * (prepare_*); one write is in flight at a time.
 *
 * Every safeguard below has a schedule that breaks without it; the simulator
 * keeps them as mutations (HaMutation), which production code never sets.
 */
#ifndef PGHA_LEASE_H
#define PGHA_LEASE_H

#include "core/types.h"

/*
 * Who may succeed a holder, and so who is asked to wait while Consul is away;
 * n = 0: anybody may, and nobody can be asked.
 */
typedef struct HaElectorate
{
	int			n;
	char		names[HA_MEMBERS_MAX][HA_NAME_MAX + 1];
} HaElectorate;

/* the `lease` object of the status document */
typedef struct HaLeaseRecord
{
	bool		present;
	char		holder[HA_NAME_MAX + 1];
	char		session[HA_SESSION_MAX + 1];
	char		successor[HA_NAME_MAX + 1]; /* named by a release; "" = anybody */
	uint64_t	term;
	uint64_t	seq;
	uint32_t	timeline;		/* of the leader's WAL; 0 = not said */
	uint32_t	claimed;		/* the highest number a promotion may have taken */
	int64_t		ttl_ms;			/* L */
	bool		paused;
	bool		released;
	bool		end_known;		/* a release: optime is the very end of WAL */
	HaElectorate electorate;
} HaLeaseRecord;

/* What one successful read of the cluster's folder said about leadership. */
typedef struct HaObservation
{
	HaTime		sent_at;
	HaTime		received_at;
	bool		consistent;		/* read with Consul's `consistent` mode */
	uint64_t	status_index;	/* 0 = the key is absent */
	HaLeaseRecord lease;
	HaLsn		optime;			/* the leader's last WAL position */
	uint64_t	leader_index;	/* 0 = the key is absent */
	char		leader[HA_NAME_MAX + 1];
	char		leader_session[HA_SESSION_MAX + 1]; /* "" = not locked */
} HaObservation;

typedef enum HaWriteKind
{
	HA_WRITE_NONE,
	HA_WRITE_HEARTBEAT,
	HA_WRITE_TAKEOVER,
	HA_WRITE_RELEASE,
} HaWriteKind;

/* One transaction a leader (to be) sends: what to check and what to set. */
typedef struct HaLeaseWrite
{
	HaWriteKind kind;
	HaTime		sent_at;
	uint64_t	check_status_index; /* 0 = check that status is absent */
	uint64_t	check_leader_index; /* takeover: 0 = check that it is absent */
	HaLeaseRecord lease;		/* what status will say */
} HaLeaseWrite;

typedef enum HaWriteOutcome
{
	HA_OUTCOME_DONE,			/* committed; the new index is known */
	HA_OUTCOME_REFUSED,			/* a check failed (409): not proof, read */
	HA_OUTCOME_UNKNOWN,			/* no answer, or one that says nothing */
} HaWriteOutcome;

/* How the lease stands for somebody who might take it over. */
typedef enum HaStanding
{
	HA_STANDING_UNKNOWN,		/* nothing read yet, or not for a long time */
	HA_STANDING_OURS,			/* status carries our term of this boot */
	HA_STANDING_PAUSED,			/* nobody may take it */
	HA_STANDING_HELD,			/* its index has not stood for L + margin */
	HA_STANDING_GAP,			/* expired, but Consul answered with gaps */
	HA_STANDING_NAMED,			/* released to another member, within 1 s */
	HA_STANDING_RELEASED,		/* released and free */
	HA_STANDING_EXPIRED,		/* stood for L + margin: free */
	HA_STANDING_RESTORED,		/* status went back to a lower term */
	HA_STANDING_OUTSIDE,		/* free, but not to us: another electorate's */
} HaStanding;

/* Safeguards the simulator may switch off; production leaves this at 0. */
typedef enum HaMutation
{
	HA_MUTATE_NONE = 0,
	HA_MUTATE_TAKEOVER_INDEX = 1 << 0,
	HA_MUTATE_HEARTBEAT_INDEX = 1 << 1,
	HA_MUTATE_RELEASE_INDEX = 1 << 2,
	HA_MUTATE_MARGIN = 1 << 3,
	HA_MUTATE_SEND_TIME = 1 << 4,
	HA_MUTATE_DURABLE_TERM = 1 << 5,
	HA_MUTATE_TTL_PROMISE = 1 << 6,
	HA_MUTATE_EMPTY_CLOCK = 1 << 7,
	HA_MUTATE_PAUSE = 1 << 8,
	HA_MUTATE_CLAIM = 1 << 9,
	HA_MUTATE_ELECTORATE = 1 << 10,
	HA_MUTATE_PROMISE = 1 << 11,
	HA_MUTATE_REFUSAL = 1 << 12,
	HA_MUTATE_LIST_CHANGE = 1 << 13,
	HA_MUTATE_WAIT = 1 << 14,
	HA_MUTATE_ABSENT = 1 << 15,
	HA_MUTATE_NAME = 1 << 16,
	HA_MUTATE_RESUME = 1 << 17,
} HaMutation;

/* The members are asked to restart their wait: Consul does not answer. */
typedef struct HaFailsafe
{
	bool		running;
	HaTime		sent_at;
	uint64_t	seq;
	int64_t		ttl_ms;
	HaElectorate asked;
	bool		accepted[HA_MEMBERS_MAX];	/* in the order of asked */
} HaFailsafe;

typedef struct HaLease
{
	unsigned	mutations;
	char		self[HA_NAME_MAX + 1];
	uint32_t	timeline;		/* of our WAL, said in every write */
	bool		promotes;		/* a takeover of ours begins a timeline */
	bool		ordered;		/* an operator wants it, also from a pause */
	uint32_t	highest_claimed;	/* of timelines, ever known to this node */

	/* what this process promised durably: valid in this boot only */
	uint64_t	my_term;		/* 0 = none, or from before a reboot */
	uint64_t	highest_term;	/* the highest seen or written, ever */
	uint64_t	highest_seen;	/* the highest that status carried, or the file had */
	uint64_t	highest_shown;	/* the highest that status carried in this life */
	HaTime		lower_since;	/* status carries a lower one since; 0 = doesn't */
	uint64_t	first_seq;		/* of this life's current block */
	uint64_t	next_seq;		/* from a reserved block, never sent twice */

	/* the latest read, and since when it says the same */
	bool		observed;
	HaObservation seen;
	HaTime		index_since;	/* received_at of the first read of it */
	HaTime		steady_since;	/* answers came without a gap since then */
	int64_t		last_ttl_ms;	/* the last L seen in a lease, or the file's; 0 = none */
	bool		last_paused;	/* the last lease seen said paused */
	HaElectorate last_electorate;	/* ... and listed them */
	uint64_t	accepted_term;	/* of the holder we last promised to wait for */
	uint64_t	accepted_seq;
	int64_t		retry_timeout_ms;
	int64_t		own_ttl_ms;		/* of the configuration */
	int64_t		absent_ttl_ms;	/* L where no lease was ever seen: the highest
								 * own ttl since this life observed */

	/* what this process sent */
	HaLeaseWrite last;			/* latest write; kind NONE = none yet */
	bool		in_flight;		/* its answer has not come */
	bool		unresolved;		/* answered badly: a read must tell */
	bool		release_sent;	/* leads again only by a landed heartbeat */
	HaTime		promise_until;	/* max of sent_at + ttl_ms of every write */
	HaElectorate electorate;	/* the owner's wish for the next write */
	HaElectorate in_force;		/* of the latest write sent, since it landed */
	int64_t		in_force_ttl_ms;	/* 0 = none has in this life */
	HaFailsafe	failsafe;

	/* what this process may do */
	HaTime		deadline;		/* the lease runs until then; only grows */
	bool		paused_in_force;	/* the latest heartbeat said so and landed */
} HaLease;

/* time the others add to L: it covers the difference of two clocks' rates */
static inline int64_t
pgha_lease_margin_ms(int64_t ttl_ms)
{
	return ttl_ms / 100 + 50;
}

/*
 * Begin the life of a brain.  file_term is the term of the durable file if it
 * was written in this boot, else 0; highest_term is the file's term whatever
 * the boot; first_seq begins a block that no other life ever used.
 */
extern void pgha_lease_init(HaLease *lease, const char *self,
							uint64_t file_term, uint64_t highest_term,
							uint64_t first_seq);

/* Another block of numbers, not adjoining the one before. */
extern void pgha_lease_start_seq(HaLease *lease, uint64_t first_seq);

/* Timeouts of the cluster configuration, whenever they change. */
extern void pgha_lease_set_timeouts(HaLease *lease, int64_t ttl_ms,
									int64_t retry_timeout_ms);

/* A timeline of that number exists somewhere. */
extern void pgha_lease_note_timeline(HaLease *lease, uint32_t tli);

/* A successful read arrived. */
extern void pgha_lease_observe(HaLease *lease, const HaObservation *seen);

/* The right to acknowledge, as this process may claim it now. */
extern bool pgha_lease_valid(const HaLease *lease, HaTime now);

/*
 * Whether status carries our term of this boot and we did not release it.  Two
 * candidates of one vacancy both store the same next term: the one that lost
 * must not take the other's lease for its own, so the holder counts too.
 */
extern bool pgha_lease_ours(const HaLease *lease);

/* Whether a record is of our own current leadership. */
extern bool pgha_lease_is_own(const HaLease *lease,
							  const HaLeaseRecord *record);

/*
 * How the lease stands for `self`.  *until is when that may change by time
 * alone (HA_TIME_NEVER if it can't).
 */
extern HaStanding pgha_lease_standing(const HaLease *lease, const char *self,
									  HaTime now, HaTime *until);

/* When the index, as it is, has stood for L + margin. */
extern HaTime pgha_lease_stood_until(const HaLease *lease);

/*
 * Fill the next write.  The caller sends it as one transaction and reports the
 * outcome.  They return false where the write would not be allowed (one in
 * flight, unresolved, not ours, nothing observed).
 *
 * A takeover's term must be durable (fsync) before the write is sent: call
 * pgha_lease_takeover_term (our own again, or one above all known), store it or
 * a higher one, tell pgha_lease_term_stored, then prepare.
 */
extern bool pgha_lease_prepare_heartbeat(HaLease *lease, HaTime now,
										 const char *self, const char *session,
										 bool paused, HaLeaseWrite *write);
extern uint64_t pgha_lease_takeover_term(const HaLease *lease);
extern void pgha_lease_term_stored(HaLease *lease, uint64_t term);
extern bool pgha_lease_prepare_takeover(HaLease *lease, HaTime now,
										const char *self, const char *session,
										HaLeaseWrite *write);
extern bool pgha_lease_prepare_release(HaLease *lease, HaTime now,
									   const char *self, const char *session,
									   const char *successor, bool end_known,
									   HaLeaseWrite *write);

/*
 * Failsafe.  While Consul does not answer, the holder asks every member of the
 * electorate in force to restart its wait; when all have, its lease runs to the
 * asking and ttl_ms, also if it had run out.  begin takes a sequence number;
 * accepted is false for a refusal and for no answer in time.
 *
 * The other side, accept, refuses when it knows of a higher term: it led, leads,
 * or has a takeover of its own under way.  Its promise needs no memory: the
 * clock of its next life starts empty.
 */
extern bool pgha_lease_failsafe_possible(const HaLease *lease);
extern bool pgha_lease_failsafe_begin(HaLease *lease, HaTime now);
extern void pgha_lease_failsafe_answer(HaLease *lease, uint64_t seq,
									   const char *name, bool accepted);
extern bool pgha_lease_failsafe_accept(HaLease *lease, HaTime now,
									   uint64_t term, uint64_t seq,
									   int64_t ttl_ms);
extern bool pgha_electorate_has(const HaElectorate *electorate,
								const char *name);
extern void pgha_electorate_add(HaElectorate *electorate, const char *name);

/* The write's answer, or that none will come.  new_index: of status. */
extern void pgha_lease_answer(HaLease *lease, HaWriteOutcome outcome,
							  uint64_t new_status_index,
							  uint64_t new_leader_index, HaTime now);

#endif							/* PGHA_LEASE_H */
