/*
 * decide.h
 *	  One decision from one view.
 *
 * The rules are an ordered table; the first that matches wins and the last
 * matches all.  Sections: 1xx safety, 2xx leader, 3xx no leader, 4xx follow,
 * 5xx operator, 6xx instance not running.  The same table serves the worker
 * and the launcher; `brain` in the view says who asks.
 */
#ifndef PGHA_DECIDE_H
#define PGHA_DECIDE_H

#include "core/view.h"

typedef enum HaAction
{
	HA_ACTION_WAIT,				/* until the deadline, or news */
	HA_ACTION_REFUSE,			/* stay down and say why; an operator must act */
	HA_ACTION_CLOSE,			/* shut the fence and send no heartbeat */
	HA_ACTION_CONFIRM,			/* read consistently before anything else */
	HA_ACTION_END_PAUSE,		/* the fence goes by the deadline again */
	HA_ACTION_END_PERMITS,		/* end sessions that commit without one */
	HA_ACTION_FAILSAFE,			/* ask the electorate to restart its wait */
	HA_ACTION_HEARTBEAT,		/* renew, take a lost key again */
	HA_ACTION_TAKEOVER,
	HA_ACTION_RELEASE,			/* to target, or to anybody */
	HA_ACTION_PROMOTE,
	HA_ACTION_STOP_RECEIVER,
	HA_ACTION_PUBLISH_BALLOT,
	HA_ACTION_FOLLOW,			/* stream from target; "" = from nobody */
	HA_ACTION_STOP,				/* fast stop */
	HA_ACTION_REJOIN,			/* fast stop, then rewind or clone */
	HA_ACTION_KILL,				/* SIGKILL what is left of the instance */
	HA_ACTION_FIND_WAL_END,
	HA_ACTION_INITDB,
	HA_ACTION_INITIALIZE,		/* win the scope: initialize, status, leader */
	HA_ACTION_CLONE,
	HA_ACTION_REWIND,
	HA_ACTION_START_PRIMARY,
	HA_ACTION_START_STANDBY,
	HA_ACTION_END_ORDER,		/* clear it, and say how it ended */
	HA_ACTION_CHECKPOINT,		/* so that the shutdown has little to write */
	HA_ACTION_BEGIN_ORDER,		/* mark it as begun by this leadership */
	HA_ACTION_HAND_OVER,		/* stop, and release to target or anybody */
	HA_ACTION_END_RESTART,			/* say how it ended */
	HA_ACTION_MARK_BACK,		/* target was restarted, and is healthy */
	HA_ACTION_MARK_SKIPPED,		/* target is left out */
	HA_ACTION_MARK_ASKED,		/* target is next */
	HA_ACTION_TELL_RESTART,		/* target's launcher is to restart it */
} HaAction;
#define HA_ACTION_LAST HA_ACTION_TELL_RESTART

typedef struct HaDecision
{
	int			rule;
	HaAction	action;
	char		target[HA_NAME_MAX + 1];	/* a member; "" = none */
	HaTime		deadline;		/* decide again at the latest then */
	bool		paused;			/* heartbeat: what it says of a pause */
	bool		ordered;		/* takeover: an operator wants it */
	bool		end_known;		/* release: `end` is the very end of WAL */
	HaLsn		end;
	HaOrderFault order_fault;	/* end order: why */
	HaRestartFault	restart_fault;		/* end job: why */
} HaDecision;

typedef struct HaRule
{
	int			id;
	bool		(*when) (const HaView *view);
	HaAction	action;
	const char *why;
	/* optional: who the action is about, and when to look again */
	void		(*fill) (const HaView *view, HaDecision *decision);
} HaRule;

extern HaDecision pgha_decide(const HaView *view);

/* The table, for pg_ha_rules, documentation and tests. */
extern const HaRule *pgha_rules(int *nrules);
extern const HaRule *pgha_rule(int id);
extern const char *pgha_action_name(HaAction action);

#endif							/* PGHA_DECIDE_H */
