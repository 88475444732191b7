/*
 * order.h
 *	  An operator's order that another member lead: the `failover` key.
 *
 * {"leader", "member", "scheduled_at"} is Patroni's.  With a leader it is a
 * switchover, to `member` or to whoever is fit; without one it is a failover by
 * hand.  The leader looks at it, marks it as begun, and hands over; whoever
 * leads then clears the key.  pgha_order_check says what is in the way, to the
 * leader as to whoever is about to give the order.
 */
#ifndef PGHA_ORDER_H
#define PGHA_ORDER_H

#include "core/types.h"

/* an order whose time has passed by so much is not carried out any more */
#define HA_ORDER_LATE_MS 60000

typedef struct HaOrder
{
	bool		present;
	uint64_t	index;			/* of the key */
	HaTime		seen_at;		/* when this process read it first */
	char		leader[HA_NAME_MAX + 1];	/* who is to give up; "" = anybody */
	char		member[HA_NAME_MAX + 1];	/* who is to lead; "" = anybody fit */
	char		job[HA_JOB_ID_MAX + 1]; /* its document; "" = none */
	char		asked_by[HA_NAME_MAX + 1];
	int64_t		scheduled_ms;	/* ms since the epoch; 0 = at once */
	int64_t		timeout_ms;		/* for the checkpoint */
	bool		force;			/* by hand: what is lost is accepted */
	uint64_t	begun_term;		/* the leadership that began it; 0 = not yet */
} HaOrder;

/* What is in the way of an order, and how one ended. */
typedef enum HaOrderFault
{
	HA_ORDER_FINE,
	HA_ORDER_DONE,				/* the leadership it began is over */
	HA_ORDER_NOT_LEADER,		/* who was to give up does not lead */
	HA_ORDER_NO_LEADER,			/* a switchover, and nobody leads */
	HA_ORDER_SAME,				/* who is to lead leads */
	HA_ORDER_NO_CANDIDATE,		/* nobody is fit */
	HA_ORDER_LATE,				/* its time has passed */
	HA_ORDER_TIMED_OUT,			/* the checkpoint took too long */
	HA_ORDER_FELL_BACK,			/* begun, and the old leader leads again */
	HA_ORDER_NO_HANDS,			/* the leader's launcher is not there */
	HA_ORDER_PAUSED,			/* a pause: who is to lead must be named */
	/* of the member named */
	HA_ORDER_UNKNOWN,
	HA_ORDER_FOREIGN,			/* a member of another kind (Patroni) */
	HA_ORDER_NO_LAUNCHER,
	HA_ORDER_NOT_RUNNING,
	HA_ORDER_NOFAILOVER,
	HA_ORDER_NOT_STREAMING,
	HA_ORDER_TIMELINE,
	HA_ORDER_LAG,
} HaOrderFault;

struct HaView;
struct HaMember;

/* Whether a member can be handed the lead now. */
extern HaOrderFault pgha_order_fitness(const struct HaView *view,
									   const HaOrder *order,
									   const struct HaMember *member);

/* What is in the way of an order now, whoever asks. */
extern HaOrderFault pgha_order_check(const struct HaView *view,
									 const HaOrder *order);

/* The member to hand over to: the one named, else the fittest; or NULL. */
extern const struct HaMember *pgha_order_candidate(const struct HaView *view,
												   const HaOrder *order);

/* Whether its time has come. */
extern bool pgha_order_is_due(const struct HaView *view, const HaOrder *order);

/* "it does not stream from the leader", ... */
extern const char *pgha_order_fault_text(HaOrderFault fault);

#endif							/* PGHA_ORDER_H */
