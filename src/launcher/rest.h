/*
 * rest.h
 *	  The REST endpoints, on libmicrohttpd inside the launcher's poll loop.
 *
 * Answers come from one HaRestState the loop keeps current; nothing here asks
 * anybody.  /primary is 200 only while the launcher's own copy of the lease's
 * deadline is ahead.  Formats: Patroni's REST API.
 */
#ifndef PGHA_REST_H
#define PGHA_REST_H

#include <jansson.h>

#include "core/types.h"
#include "launcher/node.h"

typedef struct HaRest HaRest;

typedef struct HaRestState
{
	json_t	   *worker;			/* the worker's last state message, or NULL */
	const char *state;			/* Patroni's word: running, stopped, ... */
	HaRole		role;			/* last known */
	HaTime		deadline;		/* of our lease; 0 = none */
	bool		open_without_end;
	bool		paused;
	bool		cluster_unlocked;
	bool		failsafe_active;
	int64_t		consul_seen;	/* s since the epoch */
	HaTime		alive_at;		/* when the brain last completed a round */
	int64_t		liveness_ms;	/* alive_at may be that old */
	int64_t		maximum_lag;
	uint64_t	sysid;
	HaLsn		optime;
} HaRestState;

/* POST /failsafe: what a leader asks of this member, and the brain's word. */
typedef struct HaRestAsk
{
	int			id;
	uint64_t	term;
	uint64_t	seq;
	int64_t		ttl_ms;
} HaRestAsk;

typedef enum HaRestWord
{
	HA_REST_ACCEPTED,
	HA_REST_REFUSED,
	HA_REST_NOBODY,				/* there is no brain to ask */
	HA_REST_UNREADABLE,
	HA_REST_LATER,				/* pgha_rest_reply will say */
} HaRestWord;

typedef HaRestWord (*HaRestAsked) (void *arg, const HaRestAsk *ask);

extern void pgha_rest_on_failsafe(HaRest *rest, HaRestAsked asked, void *arg);
extern void pgha_rest_reply(HaRest *rest, int id, bool accepted);

extern HaRest *pgha_rest_start(const HaNode *node, const HaRestState *state,
							   char *why);
extern void pgha_rest_stop(HaRest *rest);
/* The node settings were reloaded: its tags count from now on. */
extern void pgha_rest_reload(HaRest *rest, const HaNode *node);
/* libmicrohttpd's epoll fd, and its timeout in ms (-1 = none) */
extern int	pgha_rest_fd(const HaRest *rest);
extern int	pgha_rest_timeout_ms(const HaRest *rest);
extern void pgha_rest_process(HaRest *rest);

#endif							/* PGHA_REST_H */
