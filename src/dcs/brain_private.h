/*
 * brain_private.h
 *	  The brain's own state, shared by its files.
 */
#ifndef PGHA_BRAIN_PRIVATE_H
#define PGHA_BRAIN_PRIVATE_H

#include "dcs/brain.h"
#include "dcs/state.h"

#define BRAIN_KEY_MAX 512

/* an absent, unanswered or answered request and when to start the next */
typedef struct BrainRequest
{
	int			id;				/* 0 = none outstanding */
	HaTime		due;			/* not before */
} BrainRequest;

/* a member that had a member key, and when last */
typedef struct BrainElector
{
	char		name[HA_NAME_MAX + 1];	/* "" = free */
	HaTime		seen_at;
} BrainElector;

/* a member that was asked to wait */
typedef struct BrainAsk
{
	struct HaBrain *brain;
	int			id;				/* 0 = none outstanding */
	uint64_t	seq;
	char		name[HA_NAME_MAX + 1];
} BrainAsk;

struct HaBrain
{
	HaBrainConfig config;
	char		prefix[BRAIN_KEY_MAX];
	char		member_key[BRAIN_KEY_MAX];
	char		name[HA_NAME_MAX + 1];
	char		state_dir[1024];
	char		trouble[HA_WHY_MAX];
	bool		unanswered;		/* the last request was not answered */
	HaTime		denied_at;		/* said last; 0 = never */
	uint64_t	answers;

	HaLease		lease;
	HaTermFile	file;
	uint64_t	seq_reserved;

	/* the session and the name */
	char		session[HA_SESSION_MAX + 1];
	char		lost_session[HA_SESSION_MAX + 1];	/* to be destroyed */
	bool		session_held;
	int			session_ttl_ms;
	BrainRequest renewal;
	HaNameLock	name_lock;
	BrainRequest member_write;
	HaMemberDoc member;			/* wanted */
	bool		member_wanted;
	HaMemberDoc member_sent;	/* sent last */
	bool		member_landed;	/* ... and acknowledged, under this session */
	HaTime		member_sent_at;
	HaTime		member_landed_at;

	/* the last read */
	BrainRequest watch;
	BrainRequest confirm;
	uint64_t	watch_index;
	bool		known;
	HaTime		read_at;
	int			nmembers;
	HaMember	members[HA_MEMBERS_MAX];
	HaStatusDoc status;
	char	   *status_text;
	uint64_t	config_index;	/* 0 = absent */
	bool		config_valid;
	HaConfigDoc configuration;	/* in force, whatever became of the key */
	BrainRequest config_write;
	uint64_t	history_index;
	bool		history_known;
	HaHistoryDoc history;
	HaTimelines timelines;
	bool		initialize_present;
	uint64_t	initialize_sysid;
	HaTime		scope_empty_since;
	HaTime		election_since;
	HaTime		ours_since;
	HaTimeouts	timeouts;

	/* what operators ask for */
	uint64_t	order_index;	/* 0 = absent */
	HaOrder		order;
	int			njobs;
	HaJobKey	jobs[HA_JOBS_MAX];

	/* lease writes */
	BrainRequest write;
	HaTime		heartbeat_due;

	/* failsafe */
	BrainElector electors[HA_MEMBERS_MAX];
	BrainAsk	asks[HA_MEMBERS_MAX];
	HaTime		failsafe_due;
	bool		failsafe_said;	/* since Consul answered last */
	char	   *failsafe_key;	/* as it was read; NULL = absent */
};

extern void brain_report(HaBrain *brain, HaReportLevel level,
						 const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern void brain_key(const HaBrain *brain, const char *name, char *key);
extern bool brain_store_term(HaBrain *brain, HaTermWish wish);
extern int	brain_timeout_ms(const HaBrain *brain);
extern void brain_answered(HaBrain *brain, const HaConsulAnswer *answer);

/* brain_write.c */
extern bool brain_reserve_seq(HaBrain *brain);

/* brain_config.c */
extern void brain_restore_config(HaBrain *brain);

/* brain_failsafe.c */
extern bool brain_failsafe_mode(const HaBrain *brain);
extern void brain_list_electorate(HaBrain *brain);
extern char *brain_failsafe_text(const HaBrain *brain);
extern void brain_failsafe_cancel(HaBrain *brain);

/* brain_order.c */
extern void brain_read_orders(HaBrain *brain, const HaConsulAnswer *answer,
							  const HaConsulKey *failover);
extern void brain_forget_jobs(HaBrain *brain);

/* brain_member.c */
extern void brain_session_lost(HaBrain *brain);
extern void brain_tick_member(HaBrain *brain, HaTime now);
extern HaTime brain_member_next(const HaBrain *brain);

#endif							/* PGHA_BRAIN_PRIVATE_H */
