/*
 * view.h
 *	  The facts a decision is made from.
 *
 * A view is filled by a gather function (worker or launcher) from one moment's
 * knowledge and handed to pgha_decide.  It holds values only.  Unknown is a
 * value of its own everywhere; nothing defaults to something that looks known.
 */
#ifndef PGHA_VIEW_H
#define PGHA_VIEW_H

#include "core/restart.h"
#include "core/lease.h"
#include "core/order.h"
#include "core/owned.h"
#include "core/timeline.h"
#include "core/types.h"

/* A candidate's word, published in its member key once its receiver is off. */
typedef struct HaBallot
{
	bool		present;
	uint64_t	term;			/* (term, seq) of the lease it last saw */
	uint64_t	seq;
	uint32_t	tli;
	HaLsn		lsn;
} HaBallot;

/* A member as its key in Consul describes it. */
typedef struct HaMember
{
	char		name[HA_NAME_MAX + 1];
	char		conn_url[HA_ADDRESS_MAX + 1];
	char		api_url[HA_ADDRESS_MAX + 1];
	char		state[HA_NAME_MAX + 1]; /* Patroni's words: running, ... */
	char		replication_state[HA_NAME_MAX + 1];
	char		session[HA_SESSION_MAX + 1];
	uint64_t	modify_index;
	HaRole		role;
	bool		running;		/* state is "running" */
	bool		streaming;
	bool		pgha;			/* carries pg_ha's mark */
	bool		launcher;		/* its launcher is there */
	bool		nofailover;
	bool		pending_restart;
	char		pending[HA_PENDING_MAX + 1];	/* why, if that is not too long */
	int			failover_priority;	/* 1 unless tagged */
	uint32_t	tli;
	HaLsn		lsn;			/* xlog_location */
	HaLsn		confirmed;		/* leader: received, as its slot says; 0 = unknown */
	uint64_t	started;		/* its postmaster, us since the epoch; 0 = unknown */
	int			server_version; /* as 150006; 0 = unknown */
	bool		fell_back;		/* runs with an older configuration that worked */
	HaBallot	ballot;
	HaControlSettings settings; /* it runs with */
} HaMember;

/* The cluster configuration's numbers, in force or default. */
typedef struct HaTimeouts
{
	int64_t		ttl_ms;
	int64_t		loop_wait_ms;
	int64_t		retry_timeout_ms;
	int64_t		primary_start_timeout_ms;
	int64_t		primary_stop_timeout_ms;
	int64_t		member_slots_ttl_ms;
	int64_t		health_timeout_ms;
	int64_t		maximum_lag_on_failover;	/* bytes */
} HaTimeouts;

/* How a process of the brain's life stands with its name. */
typedef enum HaNameLock
{
	HA_NAME_NOT_HELD,			/* not tried or lost: being locked again */
	HA_NAME_HELD,
	HA_NAME_TAKEN,				/* another live session holds it */
} HaNameLock;

/* What the launcher stops its instance for. */
typedef enum HaStop
{
	HA_STOP_NONE,
	HA_STOP_REJOIN,				/* to be rewound or cloned */
	HA_STOP_RESTART,
	HA_STOP_HANDOVER,			/* a switchover: another member is to lead */
	HA_STOP_REINIT,				/* to be cloned anew, at an operator's wish */
} HaStop;

/* What is known of the end of the WAL of an instance that is not running. */
typedef enum HaWalEnd
{
	HA_WAL_END_UNKNOWN,			/* not looked for yet */
	HA_WAL_END_KNOWN,			/* own.lsn is it */
	HA_WAL_END_UNREADABLE,
} HaWalEnd;

typedef struct HaView
{
	/* who looks, and when */
	HaBrainKind brain;
	HaTime		now;
	char		self[HA_NAME_MAX + 1];
	HaTimeouts	timeouts;

	/* Consul */
	bool		cluster_known;	/* the folder was read in this life */
	HaTime		read_at;		/* when the last answer came; 0 = never */
	bool		session_held;	/* this node has a live session */
	HaNameLock	name_lock;
	bool		paused;			/* `config` asks for pause */
	bool		initialize_present;
	uint64_t	initialize_sysid;	/* 0 = absent, empty or unreadable */
	HaTime		scope_empty_since;	/* initialize, status, leader absent */

	/* the lease */
	HaStanding	standing;
	HaTime		standing_until; /* when it changes by time alone */
	HaTime		ours_since;		/* since when it is ours in this life; 0 = isn't */
	HaTime		stood_until;	/* when its index has stood for L + margin */
	bool		lease_valid;	/* ours, and the deadline is ahead */
	HaTime		lease_deadline;
	HaTime		consul_at;		/* Consul answered last; 0 = never */
	bool		failsafe_mode;	/* `config` allows it */
	bool		failsafe_possible;	/* there is an electorate to ask */
	HaTime		failsafe_due;	/* not before */
	bool		failsafe_active;	/* the lease runs by the members' word */
	HaTime		heartbeat_due;	/* when the next one is to be sent */
	bool		write_pending;	/* a lease write awaits its answer */
	bool		write_unresolved;	/* a lease write's outcome is not known */
	bool		takeover_unresolved;	/* ... and it was a takeover */
	bool		paused_in_force;
	bool		other_term_confirmed;	/* consistent read: another's term */
	bool		stranger;		/* my term with a seq I never sent */
	uint64_t	lease_term;		/* what status says; 0 = no lease */
	uint64_t	highest_shown;	/* the highest term it said in this life */
	uint64_t	lease_seq;
	uint32_t	claimed;		/* the lease's: what a promotion may take at least */
	HaLsn		optime;			/* the leader's last position in status */
	bool		end_known;		/* released, and optime is the end of WAL */
	char		leader[HA_NAME_MAX + 1];	/* holder of a lease not released */
	char		successor[HA_NAME_MAX + 1];
	HaTimelines history;
	bool		history_known;	/* the key is absent or was readable */

	/* members, this one among them if it has a key */
	int			nmembers;
	HaMember	members[HA_MEMBERS_MAX];

	/* the instance of this node */
	HaInstance	instance;
	HaTime		instance_since;
	HaRole		role;
	bool		promoting;		/* told to promote, still in recovery */
	bool		receiver_on;	/* a walreceiver runs or may start again */
	bool		replay_paused;	/* by too small settings */
	bool		consistent;		/* recovery reached consistency */
	uint64_t	sysid;			/* 0 = unknown */
	uint32_t	tli;			/* of the last WAL on disk; 0 = unknown */
	HaLsn		lsn;			/* primary: flushed; standby: received; down: end */
	bool		own_history_known;
	HaTimelines own_history;	/* where the timelines before ours ended */
	HaWalEnd	wal_end;
	bool		wal_clean_end;	/* shut down as primary, lsn is the very end */
	HaTime		wal_clean_since;	/* ... seen first; 0 = isn't */
	bool		was_primary;	/* pg_control: a primary's directory */
	bool		standby_signal; /* the directory holds standby.signal */
	char		following[HA_NAME_MAX + 1]; /* the member conninfo points at */
	bool		launcher_present;
	bool		nofailover;
	HaTime		wal_moved_at;	/* primary: WAL last reached the disk, or had not to */
	HaTime		heard_at;		/* launcher: the worker spoke last; 0 = never */
	HaTime		stuck_since;	/* launcher: the postmaster is stopped; 0 = isn't */
	bool		kill_requested; /* launcher: the worker asked for it */
	int			crashes;		/* launcher: under one postmaster, since it last served */
	bool		fresh;			/* made by our initdb, the scope is not won yet */
	HaTime		served_at;		/* when the instance last ran; 0 = not in this life */
	bool		use_pg_rewind;
	int			rewinds_failed; /* since the last success */
	int			starts_failed;	/* since the last success */
	HaTime		retry_at;		/* of the job that failed last; 0 = at once */
	bool		stop_requested; /* an operator stops this node */
	HaStop		stop;			/* launcher: what the instance is to stop for */
	char		handover[HA_NAME_MAX + 1];	/* ... HA_STOP_HANDOVER: to whom; "" = anybody */
	bool		fence_without_end;	/* worker: open for a pause, no deadline */
	int			permits;		/* commits let through so, not acknowledged yet */
	HaTime		permits_since;	/* when that fence was shut, or they were told to end */
	HaBallot	ballot;			/* own, as published */
	HaTime		election_since; /* since when the lease is free; 0 = isn't */

	/* what operators ask for */
	int64_t		wall_ms;		/* ms since the epoch, for what is scheduled */
	HaOrder		order;
	bool		order_pending;	/* a change of it awaits its answer */
	bool		order_begun_here;	/* begun in this life of the worker */
	bool		handing_over;	/* the launcher was told to */
	HaTime		checkpoint_asked_at;	/* for this order, first; 0 = not yet */
	int			checkpoints;	/* asked for */
	bool		checkpoint_done;	/* the last one asked for */
	HaRestart	restart;
	bool		restart_pending;	/* a change of it awaits its answer */
} HaView;

/* The member of that name, or NULL. */
extern const HaMember *pgha_view_member(const HaView *view, const char *name);

#endif							/* PGHA_VIEW_H */
