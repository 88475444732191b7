/*
 * sim.h
 *	  A cluster in one process: members with the real src/core, a model of
 *	  Consul, a network that may do anything, and one seed that decides it all.
 *
 *		fault ---> member ---> brain (pgha_lease, pgha_decide) ---> request
 *		             |                                                 |
 *		          instance, WAL, fence <--- answer <--- network <--- Consul
 *		             |
 *		          oracles: looked at after every write and every commit
 *
 * Simulated time is in ns.  Each member's clock has an offset and a rate of its
 * own; "local" times are on it.  Nothing here waits, and nothing but the seed
 * makes two runs differ.
 */
#ifndef PGHA_SIM_H
#define PGHA_SIM_H

#include "core/decide.h"

#define SIM_MEMBERS 4
#define SIM_FORKS 32
#define SIM_MESSAGES 256
#define SIM_EVENTS 1024
#define SIM_SESSIONS 512
#define SIM_SNAPSHOTS 32
#define SIM_LEADERSHIPS 128
#define SIM_NOBODY (-1)
#define SIM_SEQ_BLOCK 1000
#define MS(n) ((HaTime) (n) * HA_NS_PER_MS)

/*
 * Mutations of the simulator's own, beside those of HaMutation: safeguards of
 * what surrounds src/core.  mutation.c has the words for all of them.
 */
#define SIM_MUTATE_FILE (1U << 18)
#define SIM_MUTATE_FENCE (1U << 19)
#define SIM_MUTATE_REMEMBER (1U << 20)
#define SIM_MUTATE_CLOCK (1U << 21)
#define SIM_MUTATE_PAUSE_CONFIG (1U << 22)
#define SIM_MUTATE_PAUSE_LATE (1U << 23)
#define SIM_MUTATE_PAUSE_END (1U << 24)
#define SIM_MUTATE_KILL (1U << 25)
#define SIM_MUTATE_RELEASE_END (1U << 26)
#define SIM_MUTATE_DEMOTE (1U << 27)
#define SIM_MUTATE_TIMELINE (1U << 28)
#define SIM_MUTATE_ACK (1U << 29)
#define SIM_MUTATE_STOP (1U << 30)
#define SIM_MUTATE_PERMITS (1U << 31)

/* ------------------------------------------------------------------------
 * Consul
 * ------------------------------------------------------------------------
 */

/* a member key */
typedef struct SimKey
{
	bool		present;
	uint64_t	index;
	int			session;
	HaRole		role;
	bool		running;
	bool		streaming;
	bool		launcher;
	uint32_t	tli;
	HaLsn		lsn;
	HaBallot	ballot;
} SimKey;

/* everything a read returns */
typedef struct SimFolder
{
	uint64_t	index;			/* the highest in it */
	uint64_t	status_index;	/* 0 = absent */
	HaLeaseRecord lease;
	HaLsn		optime;
	uint64_t	leader_index;
	int			leader;
	int			leader_session;
	int			nforks;
	HaFork		forks[SIM_FORKS];
	SimKey		members[SIM_MEMBERS];
	HaTimeouts	timeouts;
	bool		pause;			/* of config */
} SimFolder;

typedef enum SimRequest
{
	SIM_WATCH,
	SIM_CONFIRM,
	SIM_WRITE,
	SIM_RENEW,
	SIM_KEY,
} SimRequest;
#define SIM_REQUESTS (SIM_KEY + 1)

typedef enum SimResult
{
	SIM_OK,
	SIM_REFUSED,
	SIM_NO_SESSION,
	SIM_NO_ANSWER,
} SimResult;

/* a request, and later its answer */
typedef struct SimMessage
{
	bool		used;
	SimRequest	request;
	int			member;
	HaBrainKind kind;
	unsigned	life;			/* of the brain that sent it */
	unsigned	id;
	HaTime		sent_at;		/* local */
	int			session;
	bool		twice;			/* an agent sends it again by itself */
	bool		held;			/* a script keeps it on its way */
	bool		answered;		/* ... or its answer */

	uint64_t	index;			/* SIM_WATCH: of what is known */
	HaTime		wait;
	HaLeaseWrite write;			/* SIM_WRITE */
	bool		delete_leader;
	HaLsn		optime;
	int			nforks;			/* history to be set; 0 = leave it alone */
	HaFork		forks[SIM_FORKS];
	SimKey		key;			/* SIM_KEY */

	SimResult	result;
	uint64_t	status_index;
	uint64_t	leader_index;
	SimFolder	folder;
} SimMessage;

typedef struct SimSession
{
	bool		alive;
	HaTime		expires;
} SimSession;

typedef struct SimConsul
{
	uint64_t	raft;
	SimFolder	folder;
	int			nsessions;
	SimSession	sessions[SIM_SESSIONS];
	bool		down;
	uint64_t	highest_term;	/* that status ever carried */

	/* what stale reads and restores go back to: a ring, one per status */
	int			nsnapshots;
	SimFolder	snapshots[SIM_SNAPSHOTS];
} SimConsul;

/* ------------------------------------------------------------------------
 * Members
 * ------------------------------------------------------------------------
 */

typedef struct SimBrain
{
	bool		alive;
	HaBrainKind kind;
	unsigned	life;
	HaLease		lease;
	uint64_t	seq_reserved;
	uint64_t	file_highest;	/* what it last stored or read */
	unsigned	outstanding[SIM_REQUESTS];	/* id; 0 = none */
	HaTime		due[SIM_REQUESTS];
	int			session;
	bool		session_held;
	bool		known;
	HaTime		read_at;
	SimFolder	folder;
	HaTime		election_since;
	HaTime		ours_since;
	HaTime		heartbeat_due;
	SimKey		key_sent;
	bool		key_landed;
	HaTime		key_sent_at;
	HaBallot	ballot;
	HaTime		elector_seen[SIM_MEMBERS];
	HaTime		failsafe_due;
	bool		promoting;
	bool		rejoining;
	int			rule;			/* the last one, for the trace */
	unsigned	wake;			/* number of the wake-up that counts */
} SimBrain;

/* the durable file */
typedef struct SimFile
{
	uint64_t	term;
	uint64_t	highest_term;
	uint64_t	seq_reserved;
	uint32_t	claimed;
	int64_t		ttl_ms;
	int			session;
	int			boot;
} SimFile;

/* A stretch of WAL; `branch` tells timelines of one number apart. */
typedef struct SimStretch
{
	unsigned	branch;
	uint32_t	tli;
	HaLsn		start;
} SimStretch;

typedef struct SimWal
{
	int			n;
	SimStretch	stretches[SIM_FORKS];
	HaLsn		end;
} SimWal;

typedef struct SimMember
{
	int			number;
	char		name[HA_NAME_MAX + 1];
	int			ppm;			/* clock rate */
	HaTime		offset;
	bool		up;				/* the node has power */
	int			boot;
	HaTime		frozen_until;	/* the whole node; real time */
	HaTime		deaf_until[2];	/* one brain is frozen; by HaBrainKind */
	bool		cut_to_consul;
	bool		cut_from_consul;
	bool		launcher;
	bool		unlinked;		/* worker and launcher do not hear each other */
	SimFile		file;
	uint64_t	heard_term;		/* the highest, whatever the file says */
	SimBrain	brains[2];		/* by HaBrainKind */

	HaInstance	instance;
	unsigned	turn;			/* number of the state change that counts */
	HaTime		instance_since; /* local */
	HaTime		served_at;
	HaTime		idle_since;		/* real; it did not run since then, or led */
	HaRole		role;
	bool		standby_signal;
	uint32_t	claimed;		/* what the promotion asked for takes at least */
	bool		clean_end;
	bool		wal_end_known;
	int			following;
	bool		streaming;
	bool		cloning;
	int			rewinds_failed;
	HaTime		retry_at;
	bool		stop_requested;
	bool		rejoin_requested;
	bool		hangs;			/* a shutdown or a start does not end */
	SimWal		wal;
	HaLsn		committing;		/* end of a commit not acknowledged; 0 = none */

	/* shared memory */
	HaTime		fence;			/* local; 0 = closed */
	bool		without_end;
	int			fence_leadership;	/* whose deadline it is */
	int			permits;		/* commits let through without one ... */
	int			stuck;			/* ... of clients that do not read */
	HaTime		permits_since;	/* local */
	int			permit_leadership;
} SimMember;

/* ------------------------------------------------------------------------
 * The world
 * ------------------------------------------------------------------------
 */

typedef enum SimEventKind
{
	SIM_EVENT_ARRIVE,			/* a request, at Consul */
	SIM_EVENT_WAIT_OVER,		/* a watch's wait */
	SIM_EVENT_ANSWER,			/* at the member */
	SIM_EVENT_TIMEOUT,			/* of a request, at the member */
	SIM_EVENT_WAKE,				/* a brain looks again */
	SIM_EVENT_INSTANCE,			/* the instance gets to its next state */
	SIM_EVENT_PROMOTED,
	SIM_EVENT_BEAT,				/* commits and streaming, everywhere */
	SIM_EVENT_SESSIONS,			/* some may have expired */
	SIM_EVENT_FAULT,			/* the next one begins */
	SIM_EVENT_LIFT,				/* one ends */
	SIM_EVENT_ASKED,			/* to wait, at the member */
	SIM_EVENT_WORD,				/* its answer, at the leader */
} SimEventKind;

/* one member is asked by another to wait */
#define SIM_ASKS 256
typedef struct SimAsk
{
	unsigned	id;
	int			from;
	int			to;
	unsigned	life;			/* of the brain that asks */
	uint64_t	term;
	uint64_t	seq;
	int64_t		ttl_ms;
	bool		accepted;
} SimAsk;

typedef struct SimEvent
{
	HaTime		at;
	uint64_t	order;
	SimEventKind kind;
	int			a;				/* message, member or fault */
	int			b;
	unsigned	c;
} SimEvent;

/* What a script keeps on its way: to Consul, or the answers from there. */
typedef struct SimHold
{
	int			member;
	unsigned	kinds;			/* bits of sim_message_bit */
	bool		answers;
} SimHold;

#define SIM_HOLDS 8

typedef enum SimTrace
{
	SIM_TRACE_NONE,
	SIM_TRACE_PRINT,
	SIM_TRACE_KEEP,				/* the last lines, for sim_trace_tail */
} SimTrace;

typedef struct SimLeadership
{
	int			member;
	uint64_t	term;
} SimLeadership;

typedef struct Sim
{
	uint64_t	random;
	unsigned	mutations;
	SimTrace	trace;
	bool		scripted;		/* nothing happens by chance */
	int			nholds;
	SimHold		holds[SIM_HOLDS];
	int			stale_member;	/* gets the next watch's answer from ... */
	const SimFolder *stale;		/* ... here; NULL = nobody */
	HaTime		now;
	uint64_t	order;
	int			nevents;
	SimEvent	events[SIM_EVENTS];
	SimMessage	messages[SIM_MESSAGES];
	unsigned	ids;
	SimConsul	consul;
	int			nmembers;
	SimMember	members[SIM_MEMBERS];
	bool		cut[SIM_MEMBERS][SIM_MEMBERS];	/* from, to */
	bool		slow;			/* the network */
	bool		failsafe;		/* failsafe_mode */
	unsigned	nasks;
	SimAsk		asks[SIM_ASKS];
	long		failsafes;		/* rounds that all agreed to */
	bool		healed;
	unsigned	branches;
	int			nleaderships;	/* in the order they began */
	SimLeadership leaderships[SIM_LEADERSHIPS];
	int			acked_leadership;	/* of the latest commit acknowledged */
	HaLsn		acked_end;		/* ... and where it ends */
	HaTime		released_at;	/* since then nobody leads, end known; 0 = no */
	long		acked;
	char		violation[256]; /* "" = none */
} Sim;

/* sim.c */
extern void sim_init(Sim *sim, uint64_t seed, unsigned mutations,
					 SimTrace trace);
extern void sim_init_script(Sim *sim, int nmembers, int64_t ttl_ms,
							unsigned mutations, SimTrace trace);
extern HaTime sim_run(Sim *sim);
extern void sim_run_until(Sim *sim, HaTime until);
extern HaTime sim_heal(Sim *sim);
extern uint64_t sim_random(Sim *sim);
extern bool sim_chance(Sim *sim, int permille);
extern HaTime sim_between(Sim *sim, int64_t low_ms, int64_t high_ms);
extern void sim_event(Sim *sim, HaTime at, SimEventKind kind, int a, int b,
					  unsigned c);
extern void sim_trace(const Sim *sim, const SimMember *member,
					  const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern void sim_trace_tail(void);
extern void sim_violation(Sim *sim, const char *format,...)
			__attribute__((format(printf, 2, 3)));
extern HaTime sim_local(const Sim *sim, const SimMember *member);
extern HaTime sim_real(const Sim *sim, const SimMember *member, HaTime local);

/* oracle.c */
extern void sim_note_leadership(Sim *sim, int member, uint64_t term);
extern int	sim_leadership(const Sim *sim, int member, uint64_t term);
extern void sim_note_release(Sim *sim, const SimMessage *message);
extern void sim_check_fences(Sim *sim, const char *when);
extern void sim_check_takeover(Sim *sim, const SimMessage *message);
extern void sim_check_heartbeat(Sim *sim, const SimMember *member);
extern void sim_check_rejoin(Sim *sim, const SimMember *member, uint64_t term);
extern bool sim_healthy(const Sim *sim);

/* consul.c */
extern void sim_consul_init(Sim *sim, int64_t ttl_ms);
extern void sim_consul_changed(Sim *sim);
extern void sim_consul_arrive(Sim *sim, int message);
extern void sim_consul_wait_over(Sim *sim, int message, unsigned id);
extern void sim_consul_expire(Sim *sim);
extern void sim_consul_end_session(Sim *sim, int session);
extern bool sim_consul_restore(Sim *sim);
extern void sim_consul_wipe(Sim *sim);
extern bool sim_consul_restore_from(Sim *sim, const SimFolder *old);
extern void sim_consul_elect(Sim *sim);

/* network.c */
extern SimMessage *sim_message(Sim *sim, SimBrain *brain, SimMember *member,
							   SimRequest request);
extern unsigned sim_message_bit(const SimMessage *message);
extern bool sim_holds(const Sim *sim, const SimMessage *message, bool answer);
extern HaTime sim_delay(Sim *sim);
extern void sim_send(Sim *sim, SimMessage *message);
extern void sim_deliver(Sim *sim, SimMessage *message);

/* view.c */
extern int	sim_number(const char *name);
extern bool sim_history_news(const SimMember *member, const SimBrain *brain);
extern void sim_gather(const Sim *sim, const SimMember *member,
					   SimBrain *brain, HaView *view);

/* brain.c */
extern void sim_brain_begin(Sim *sim, SimMember *member, HaBrainKind kind);
extern void sim_brain_end(SimMember *member, HaBrainKind kind);
extern void sim_brain_round(Sim *sim, SimMember *member, SimBrain *brain);
extern void sim_brain_wake(Sim *sim, int member, int kind, unsigned wake);
extern void sim_brain_answer(Sim *sim, int message);
extern void sim_brain_timeout(Sim *sim, int member, int kind, unsigned id);
extern bool sim_brain_connected(const SimMember *member);

/* failsafe.c */
extern void sim_failsafe_list(Sim *sim, SimBrain *brain);
extern void sim_failsafe(Sim *sim, SimMember *member, SimBrain *brain);
extern SimBrain *sim_failsafe_brain(SimMember *member);
extern void sim_failsafe_asked(Sim *sim, int ask, unsigned id);
extern void sim_failsafe_word(Sim *sim, int ask, unsigned id);

/* instance.c */
extern void sim_instance_set(Sim *sim, SimMember *member, HaInstance instance);
extern void sim_instance_next(Sim *sim, int member, unsigned turn);
extern void sim_instance_act(Sim *sim, SimMember *member,
							 const HaDecision *decision);
extern void sim_instance_promote(Sim *sim, SimMember *member,
								 uint32_t claimed);
extern void sim_instance_promoted(Sim *sim, int member, unsigned turn);
extern void sim_instance_kill(Sim *sim, SimMember *member);
extern void sim_instance_sync(Sim *sim, SimMember *member);
extern void sim_instance_close(SimMember *member);
extern void sim_instance_beat(Sim *sim);
extern bool sim_fence_open(const Sim *sim, const SimMember *member);
extern bool sim_acknowledges(const Sim *sim, const SimMember *member);
extern void sim_instance_end_permits(SimMember *member);
extern uint32_t sim_wal_tli(const SimWal *wal);

/* fault.c */
extern int	sim_fault_named(const char *name);
extern void sim_fault_apply(Sim *sim, int fault, int member, HaTime until);
extern void sim_fault_begin(Sim *sim);
extern void sim_fault_lift(Sim *sim, int fault, int member);
extern void sim_fault_lift_all(Sim *sim);
extern void sim_fault_operator(Sim *sim);

/* mutation.c */
typedef struct SimMutation
{
	const char *name;
	unsigned	flag;
	const char *safeguard;		/* what is switched off */
	bool		scenario;		/* rare: only a scenario is asked to catch it */
} SimMutation;

extern const SimMutation sim_mutations[];
extern const int sim_nmutations;
extern const SimMutation *sim_mutation(const char *name);

/* script.c */
typedef struct SimScript SimScript;

extern SimScript *sim_script_read(const char *path);
extern const SimMutation *sim_script_mutant(const SimScript *script, int i);
extern HaTime sim_script_run(Sim *sim, const SimScript *script,
							 unsigned mutations, SimTrace trace);

/* jobs.c */
typedef struct SimOutcome
{
	bool		failed;
	uint64_t	seed;
	long		acked;
	HaTime		slowest;
	uint64_t	runs;
	char		violation[256];
} SimOutcome;

typedef void (*SimJob) (int number, SimOutcome *outcome, void *data);
extern SimOutcome *sim_jobs(int njobs, int nprocs, SimJob job, void *data);

#endif							/* PGHA_SIM_H */
