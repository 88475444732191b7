/*
 * order.c
 *	  Whether an operator's order can be carried out: facts in, a fault out.
 */
#include "core/order.h"

#include <string.h>

#include "core/view.h"

/* a leader's own session gets its answer before it is cut */
#define ORDER_OWN_SESSION_MS 250

/* Somebody leads, as a primary; a lease that runs or is paused. */
static const HaMember *
order_leader(const HaView *view)
{
	const HaMember *leader = NULL;

	if (view->leader[0] != '\0' && (view->standing == HA_STANDING_OURS ||
									view->standing == HA_STANDING_HELD ||
									view->standing == HA_STANDING_PAUSED))
		leader = pgha_view_member(view, view->leader);
	return leader;
}

/* Bytes of the leader's WAL that a member is known not to have. */
static HaLsn
order_lag(const HaView *view, const HaMember *member)
{
	HaLsn		end = view->optime;
	HaLsn		has = member->lsn > member->confirmed ? member->lsn :
		member->confirmed;

	/* a primary knows its own end, and what its slots confirm, by now */
	if (member->confirmed != 0 && view->role == HA_ROLE_PRIMARY)
		end = view->lsn;
	return end > has ? end - has : 0;
}

HaOrderFault
pgha_order_fitness(const HaView *view, const HaOrder *order,
				   const HaMember *member)
{
	const HaMember *leader = order_leader(view);
	bool		by_force = order->leader[0] == '\0';

	if (!member->pgha)
		return HA_ORDER_FOREIGN;
	if (!member->launcher)
		return HA_ORDER_NO_LAUNCHER;
	if (!member->running || member->role != HA_ROLE_STANDBY)
		return HA_ORDER_NOT_RUNNING;
	if (member->nofailover)
		return HA_ORDER_NOFAILOVER;
	/* who leads, if it does, must hand over; else an operator's word counts */
	if (leader == NULL ||
		(order->force && view->standing != HA_STANDING_OURS))
		return HA_ORDER_FINE;
	if (!member->streaming)
		return HA_ORDER_NOT_STREAMING;
	if (member->tli != leader->tli)
		return HA_ORDER_TIMELINE;
	if (!by_force && order_lag(view, member) >
		(HaLsn) view->timeouts.maximum_lag_on_failover)
		return HA_ORDER_LAG;
	return HA_ORDER_FINE;
}

/* (what it has, failover_priority, name), as in an election */
static bool
order_fitter(const HaView *view, const HaMember *a, const HaMember *b)
{
	HaLsn		lag_a = order_lag(view, a);
	HaLsn		lag_b = order_lag(view, b);

	if (a->failover_priority != b->failover_priority)
		return a->failover_priority > b->failover_priority;
	if (lag_a != lag_b)
		return lag_a < lag_b;
	return strcmp(a->name, b->name) < 0;
}

const HaMember *
pgha_order_candidate(const HaView *view, const HaOrder *order)
{
	const HaMember *best = NULL;

	for (int i = 0; i < view->nmembers; i++)
	{
		const HaMember *member = &view->members[i];

		if (strcmp(member->name, view->leader) == 0 ||
			(order->member[0] != '\0' &&
			 strcmp(order->member, member->name) != 0) ||
			pgha_order_fitness(view, order, member) != HA_ORDER_FINE)
			continue;
		if (best == NULL || order_fitter(view, member, best))
			best = member;
	}
	return best;
}

bool
pgha_order_is_due(const HaView *view, const HaOrder *order)
{
	if (order->scheduled_ms != 0)
		return view->wall_ms >= order->scheduled_ms;
	return strcmp(order->asked_by, view->self) != 0 ||
		view->now >= order->seen_at + ORDER_OWN_SESSION_MS * HA_NS_PER_MS;
}

/* What is wrong with who is to lead, or that nobody can. */
static HaOrderFault
order_check_member(const HaView *view, const HaOrder *order)
{
	const HaMember *member;

	if (order->member[0] == '\0')
		return pgha_order_candidate(view, order) != NULL ? HA_ORDER_FINE :
			HA_ORDER_NO_CANDIDATE;
	if (strcmp(order->member, view->leader) == 0)
		return HA_ORDER_SAME;
	member = pgha_view_member(view, order->member);
	return member == NULL ? HA_ORDER_UNKNOWN :
		pgha_order_fitness(view, order, member);
}

/* One that this leadership has begun. */
static HaOrderFault
order_check_begun(const HaView *view, const HaOrder *order)
{
	if (order->begun_term < view->lease_term)
		return HA_ORDER_DONE;
	return view->order_begun_here ? HA_ORDER_FINE : HA_ORDER_FELL_BACK;
}

HaOrderFault
pgha_order_check(const HaView *view, const HaOrder *order)
{
	bool		due = pgha_order_is_due(view, order);

	if (order->begun_term != 0)
		return order_check_begun(view, order);
	if (order->leader[0] != '\0' && order_leader(view) == NULL)
		return HA_ORDER_NO_LEADER;
	if (order->leader[0] != '\0' && strcmp(order->leader, view->leader) != 0)
		return HA_ORDER_NOT_LEADER;
	/* by hand, without a leader: it took over */
	if (order->leader[0] == '\0' && strcmp(order->member, view->self) == 0 &&
		view->standing == HA_STANDING_OURS)
		return HA_ORDER_DONE;
	if (view->paused && order->member[0] == '\0')
		return HA_ORDER_PAUSED;
	if (order->scheduled_ms != 0 &&
		view->wall_ms > order->scheduled_ms + HA_ORDER_LATE_MS)
		return HA_ORDER_LATE;
	if (!due && order->scheduled_ms != 0)
		return HA_ORDER_FINE;
	if (view->checkpoint_asked_at != 0 && !view->checkpoint_done &&
		view->now >= view->checkpoint_asked_at +
		order->timeout_ms * HA_NS_PER_MS)
		return HA_ORDER_TIMED_OUT;
	if (view->standing == HA_STANDING_OURS && !view->launcher_present)
		return HA_ORDER_NO_HANDS;
	return order_check_member(view, order);
}

const char *
pgha_order_fault_text(HaOrderFault fault)
{
	static const char *const texts[] = {
		[HA_ORDER_FINE] = "nothing is in the way",
		[HA_ORDER_DONE] = "done",
		[HA_ORDER_NOT_LEADER] = "another member leads than the one named",
		[HA_ORDER_NO_LEADER] = "no member leads",
		[HA_ORDER_SAME] = "it leads already",
		[HA_ORDER_NO_CANDIDATE] = "no member is fit to lead",
		[HA_ORDER_LATE] = "its time has passed unmet",
		[HA_ORDER_TIMED_OUT] = "the checkpoint was not done in time",
		[HA_ORDER_FELL_BACK] =
		"nobody took over in time, and the old leader leads again",
		[HA_ORDER_NO_HANDS] = "the leader's launcher is not running",
		[HA_ORDER_PAUSED] =
		"in a pause the member to lead must be named",
		[HA_ORDER_UNKNOWN] = "there is no such member",
		[HA_ORDER_FOREIGN] = "it is not a pg_ha member",
		[HA_ORDER_NO_LAUNCHER] = "its launcher is not running",
		[HA_ORDER_NOT_RUNNING] = "it is not a running standby",
		[HA_ORDER_NOFAILOVER] = "it is tagged nofailover",
		[HA_ORDER_NOT_STREAMING] = "it does not stream from the leader",
		[HA_ORDER_TIMELINE] = "it is not on the leader's timeline",
		[HA_ORDER_LAG] = "it lags by more than maximum_lag_on_failover",
	};

	if (fault < 0 || fault > HA_ORDER_LAG)
		return "unknown";
	return texts[fault];
}
