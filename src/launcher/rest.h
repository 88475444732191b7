/*
 * rest.h
 *	  The REST endpoints, on libmicrohttpd inside the launcher's poll loop.
 *
 * Answers come from one HaRestState the loop keeps current; nothing here asks
 * anybody.  /primary is 200 only while the launcher's own copy of the lease's
 * deadline is ahead.  A POST needs the node's REST credentials, if it has any.
 * Formats: Patroni's REST API.
 */
#ifndef PGHA_REST_H
#define PGHA_REST_H

#include <jansson.h>

#include "core/types.h"
#include "dcs/documents.h"
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

/* how long a POST waits for its answer, unless whoever answers says more */
#define HA_REST_REPLY_MS 1000

/* What a POST asks of this node: its path and its body, {} if it has none. */
typedef struct HaRestAsk
{
	int			id;
	const char *path;			/* "/failsafe", "/restart", ... */
	const json_t *body;			/* an object; borrowed */
	int64_t		wait_ms;		/* for pgha_rest_reply; may be changed */
} HaRestAsk;

typedef struct HaRestReply
{
	int			status;			/* of HTTP; 0 = pgha_rest_reply will say */
	char		text[HA_WHY_MAX];
} HaRestReply;

typedef void (*HaRestAsked) (void *arg, HaRestAsk *ask, HaRestReply *reply);

extern void pgha_rest_on_post(HaRest *rest, HaRestAsked asked, void *arg);
extern void pgha_rest_reply(HaRest *rest, int id, int status, const char *text);

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
