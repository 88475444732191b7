/*
 * brain.h
 *	  One process's life as a member of the cluster: what it read from Consul,
 *	  what it holds there, and what it writes.
 *
 * Used by the worker while the instance runs and by the launcher while no
 * worker does.  A brain starts empty: its clock is its own and is never handed
 * on (core/lease.h).  It keeps the node's session and member key alive, watches
 * the cluster's folder, and carries out the writes a decision asks for.  It
 * decides nothing.
 *
 *		tick ------> session, name lock, member key, watch ----> Consul
 *		view <------ the last read, the lease, the members <----'
 *		heartbeat, takeover, release, initialize: one transaction each
 *
 * Nothing here blocks, except fsync of the term file before a takeover.
 */
#ifndef PGHA_BRAIN_H
#define PGHA_BRAIN_H

#include "core/view.h"
#include "dcs/consul.h"
#include "dcs/documents.h"

typedef struct HaBrain HaBrain;

typedef enum HaReportLevel
{
	HA_REPORT_DEBUG,
	HA_REPORT_INFO,
	HA_REPORT_WARNING,
} HaReportLevel;

typedef void (*HaReport) (void *arg, HaReportLevel level, const char *text);

typedef struct HaBrainConfig
{
	HaBrainKind kind;
	const char *prefix;			/* "service/<scope>/" */
	const char *scope;
	const char *name;
	const char *state_dir;
	HaConsul   *consul;			/* borrowed */
	const HaTimeouts *timeouts; /* until `config` is read; NULL = defaults */
	const char *credentials;	/* for other members' launchers; NULL = none */
	HaReport	report;
	void	   *arg;
} HaBrainConfig;

/* What a leader adds to its writes. */
typedef struct HaLeaderWrite
{
	HaLsn		optime;
	uint32_t	timeline;		/* 0 = not known */
	bool		promotes;		/* a takeover: the instance is a standby */
	bool		ordered;		/* a takeover: an operator wants it */
	bool		paused;
	uint64_t	sysid;			/* restores `initialize` if it is absent */
	char	   *history;		/* the caller's; NULL = leave the key alone */
	int			nslots;			/* -1 = keep what status has */
	const HaSlotPosition *slots;
} HaLeaderWrite;

/* NULL with why set: the term file can't be read or written. */
extern HaBrain *pgha_brain_create(const HaBrainConfig *config, char *why);
extern void pgha_brain_free(HaBrain *brain);

/* Start what is due; call after pgha_http_process and when `next` has come. */
extern void pgha_brain_tick(HaBrain *brain, HaTime now);
extern HaTime pgha_brain_next(const HaBrain *brain, HaTime now);

/* Fill everything of a view that comes from Consul and the lease. */
extern void pgha_brain_view(HaBrain *brain, HaTime now, HaView *view);

/* What the member key shall say; written when it differs. */
extern void pgha_brain_set_member(HaBrain *brain, const HaMemberDoc *doc);

/* The actions of decisions.  False: not possible now, decide again. */
extern bool pgha_brain_confirm(HaBrain *brain);
extern bool pgha_brain_heartbeat(HaBrain *brain, const HaLeaderWrite *write);
extern bool pgha_brain_takeover(HaBrain *brain, const HaLeaderWrite *write);
extern bool pgha_brain_release(HaBrain *brain, const char *successor,
							   const HaLeaderWrite *write, bool end_known);
/* config: text for the key; NULL = leave it alone */
extern bool pgha_brain_initialize(HaBrain *brain, const HaLeaderWrite *write,
								  const char *config);

/*
 * Failsafe: ask the electorate to wait; and the word of this member when it is
 * asked itself.  No answer of Consul is needed for either.
 */
extern bool pgha_brain_failsafe(HaBrain *brain);
extern bool pgha_brain_accept(HaBrain *brain, uint64_t term, uint64_t seq,
							  int64_t ttl_ms);

/* What was read last; pointers are valid until the next process. */
extern const HaLease *pgha_brain_lease(const HaBrain *brain);
/* what is in force, NULL = not read yet; index 0: the key is absent */
extern const HaConfigDoc *pgha_brain_config(const HaBrain *brain,
											uint64_t *index);
extern const HaHistoryDoc *pgha_brain_history(const HaBrain *brain);
extern const HaStatusDoc *pgha_brain_status(const HaBrain *brain);

/* The `failover` key and the folder of jobs, as they were read last. */
typedef struct HaJobKey
{
	char		id[HA_JOB_ID_MAX + 1];
	uint64_t	index;
	HaTime		seen_at;		/* when this process read it first */
	json_t	   *document;		/* an object */
} HaJobKey;

extern const HaOrder *pgha_brain_order(const HaBrain *brain);
extern uint64_t pgha_brain_order_index(const HaBrain *brain);	/* 0 = absent */
extern const HaJobKey *pgha_brain_jobs(const HaBrain *brain, int *njobs);
extern uint64_t pgha_brain_answers(const HaBrain *brain);	/* ever got */
extern const char *pgha_brain_session(const HaBrain *brain);
extern const char *pgha_brain_trouble(const HaBrain *brain);	/* "" = none */

#endif							/* PGHA_BRAIN_H */
