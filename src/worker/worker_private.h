/*
 * worker_private.h
 *	  The worker's own state, shared by its files.
 *
 *		worker.c			life: signals, the one wait, error recovery
 *		worker_gather.c		facts of this instance into a view
 *		worker_act.c		carries a decision out
 *		worker_slots.c		members' replication slots
 *		worker_publish.c	member key, launcher's state message, SQL documents
 *		worker_link.c		the socket to the launcher
 *		worker_command.c	what backends ask for, until it is done
 *		worker_config.c		the cluster's configuration, shown and changed
 *		worker_hba.c		rules of pg_hba and pg_ident, checked
 *		worker_pending.c	what the next start will do differently
 *		worker_wait.c		what an administrator may wait for
 *		worker_job.c		documents of jobs
 *		worker_order.c		an order to change the leader, carried out
 *		worker_restart.c	a restart job, driven by the leader
 *		worker_steer.c		switchover, restart, reinit, ... asked for by SQL
 */
#ifndef PGHA_WORKER_PRIVATE_H
#define PGHA_WORKER_PRIVATE_H

#include "postgres.h"

#include <jansson.h>

#include "core/decide.h"
#include "core/slots.h"
#include "dcs/brain.h"
#include "dcs/conninfo.h"
#include "dcs/history_file.h"
#include "dcs/state.h"

#define WORKER_LINE_MAX (256 * 1024)

/* an order or a job that could not be changed is tried again after so long */
#define WORKER_CHANGE_RETRY_MS 200

typedef struct HaLink
{
	int			fd;				/* -1 = not connected */
	bool		greeted;		/* the launcher's hello came */
	HaTime		retry_at;
	size_t		in_len;
	char	   *in;				/* WORKER_LINE_MAX bytes */
	HaTime		heard_at;		/* the launcher spoke last */
	size_t		out_len;
	char	   *out;
} HaLink;

/* What this process knows of an order besides its key. */
typedef struct HaOrderMemory
{
	uint64_t	index;			/* of the key, before it was begun */
	int			write_id;		/* a change of it under way; 0 = none */
	uint64_t	written;		/* the index it was made from: to be read anew */
	HaTime		retry_at;		/* a change that failed is not made before */
	bool		begun_here;
	bool		handing_over;
	HaTime		checkpoint_asked_at;	/* the first */
	int			checkpoints;	/* asked for */
	uint64_t	checkpoint_from;	/* the last is to begin there, or later */
	HaTime		begun_seen_at;	/* its begin, by whomever */
} HaOrderMemory;

/* ... and of a restart job. */
typedef struct HaRestartMemory
{
	char		id[HA_JOB_ID_MAX + 1];
	char		member[HA_NAME_MAX + 1];	/* the entry asked */
	int			write_id;		/* a change of the job under way; 0 = none */
	uint64_t	written;		/* the index it was made from: to be read anew */
	HaTime		retry_at;		/* a change that failed is not made before */
	int			post_id;		/* the request to its launcher; 0 = none */
	HaTime		asked_at;
	bool		told;
	char		refusal[HA_REFUSAL_MAX];
} HaRestartMemory;

typedef struct HaWorker
{
	int			epoll_fd;		/* Consul's fd and the launcher's */
	HaConsul   *consul;
	HaBrain    *brain;
	HaLink		link;
	char		prefix[256];
	char		conn_url[HA_ADDRESS_MAX + 1];
	char		api_url[HA_ADDRESS_MAX + 1];
	char		socket_path[1024];
	char	   *credentials;	/* for other members' launchers; NULL = none */
	json_t	   *tags;
	bool		nofailover;
	int			failover_priority;

	/* the latest round */
	uint64_t	answers;		/* Consul's, when it began */
	HaTime		round_due;		/* the next, if nothing happens before */
	HaView		view;
	HaDecision	decision;
	HaDecision	reported;		/* the decision last logged */

	HaOrderMemory order;
	HaRestartMemory restart;
	HaTime		primary_since;	/* could be written to; 0 = not in this life */
	bool		fell_back;		/* its launcher says so (HaMember) */

	/* told to the launcher, and not yet seen to have happened */
	bool		promoting;
	bool		rejoining;

	HaBallot	ballot;			/* wanted in the member key */
	uint64_t	config_sent;	/* index of the config the launcher was sent */
	uint64_t	config_seen;	/* the key's index in the last round */
	char		seen_leader[HA_NAME_MAX + 1];	/* for the event of a change */
	uint64_t	seen_term;
	HaTime		permits_since;	/* of the view */
	HaTime		gathered_at;	/* the last time */
	uint64_t	wal_awaited;	/* what is to reach the disk; 0 = nothing */
	HaTime		wal_moved_at;	/* of the view */
	bool		killing;		/* the launcher was asked to */
	HaTime		state_sent_at;
	uint32_t	own_tli;		/* whose beginning own_history tells; 0 = none */
	HaTimelines own_history;
	uint32_t	told_tli;		/* whose history a heartbeat was sent with */

	/* slots of members gone: since when */
	int			ngone;
	HaSlot		gone[HA_MEMBERS_MAX];
	HaTime		slots_at;

	/* restart needed for these */
	json_t	   *pending;		/* {guc: {old_value, new_value}} or NULL */
	bool		reloaded;

	/* Consul's servers, looked at now and then */
	int			servers;
	int			servers_passing;
	HaTime		servers_at;
	int			servers_id;		/* of the request; 0 = none */

	HaTime		catalog_at;		/* when the catalog worker may be tried */
	json_t	   *state_sent;		/* the state message last sent */
	HaTime		published_at;
} HaWorker;

extern PGDLLEXPORT void pgha_worker_main(Datum arg);

extern bool worker_is_awaited(const HaWorker *worker);
extern void worker_report(void *arg, HaReportLevel level, const char *text);
extern void worker_event(HaWorker *worker, int rule, const char *action,
						 const char *what, bool durable);

/* worker_gather.c */
extern void worker_gather(HaWorker *worker, HaTime now);
extern char *worker_new_history(HaWorker *worker);	/* malloc'd; NULL = same */

/* worker_pending.c */
extern json_t *worker_pending_restart(void);	/* NULL = nothing is pending */
extern void worker_settings(HaControlSettings *settings);

/* worker_act.c */
extern void worker_act(HaWorker *worker);

/* worker_slots.c */
extern void worker_slots(HaWorker *worker);
extern int	worker_slot_positions(HaSlotPosition *positions);

/* worker_publish.c */
extern void worker_publish(HaWorker *worker);

/*
 * worker_command.c.  A command is run once in each round of the worker until it
 * has answered or failed; it must not block.
 */
typedef struct HaCommand HaCommand;
typedef struct HaCommandKind
{
	const char *name;			/* the request's "command" */
	void		(*run) (HaWorker *worker, HaCommand *command);
} HaCommandKind;

struct HaCommand
{
	const HaCommandKind *kind;	/* NULL = free */
	HaWorker   *worker;			/* whose round callbacks bring about */
	json_t	   *request;
	HaTime		begun_at;
	bool		running;		/* else an error ended its last round */
	int			step;			/* the command's own; 0 at first */
	int			attempts;		/* the command's own */
	int			http_id;		/* of a request of its own; 0 = none */
	json_t	   *memory;			/* the command's own; NULL at first */
	json_t	   *notices;		/* strings; NULL = none */
	json_t	   *outcome;		/* what the backend gets; NULL = not yet */
};

extern void worker_commands(HaWorker *worker);
extern void worker_command_notice(HaCommand *command, const char *format,...)
			pg_attribute_printf(2, 3);
extern void worker_command_answer(HaCommand *command, json_t *answer);	/* steals */
extern void worker_command_fail(HaCommand *command, const char *sqlstate,
								const char *hint, const char *format,...)
			pg_attribute_printf(4, 5);

/* worker_config.c */
extern void worker_config_look(HaWorker *worker);
extern void worker_config_run(HaWorker *worker, HaCommand *command);
extern void worker_config_show(HaWorker *worker, HaCommand *command);

/* worker_hba.c */
extern void worker_check_rules(HaCommand *command, const json_t *old,
							   const json_t *new);

/* worker_wait.c */
extern void worker_condition_run(HaWorker *worker, HaCommand *command);

/* worker_job.c */
typedef struct HaJobWrite
{
	HaTxnOp		op;				/* key NULL: there is nothing to write */
	char		key[320];
	char	   *text;			/* malloc'd */
} HaJobWrite;

extern const HaJobKey *worker_job(const HaWorker *worker, const char *id);
extern void worker_job_create(const HaWorker *worker, const char *id,
							  json_t *document, HaJobWrite *write);
extern void worker_job_change(const HaWorker *worker, const char *id,
							  json_t *changes, HaJobWrite *write);
extern void worker_job_release(HaJobWrite *write);
extern int	worker_jobs_old(const HaWorker *worker, HaJobWrite *writes, int max);

/* worker_order.c */
extern void worker_gather_order(HaWorker *worker);
extern void worker_act_order(HaWorker *worker);
extern char *worker_candidates(const HaView *view, const HaOrder *order);

/* worker_restart.c */
extern void worker_gather_restart(HaWorker *worker);
extern void worker_act_restart(HaWorker *worker);

/* worker_steer.c */
extern void worker_switchover_run(HaWorker *worker, HaCommand *command);
extern void worker_restart_run(HaWorker *worker, HaCommand *command);
extern void worker_cancel_run(HaWorker *worker, HaCommand *command);
extern void worker_job_run(HaWorker *worker, HaCommand *command);
extern void worker_member_run(HaWorker *worker, HaCommand *command);

/* worker_act.c */
extern bool worker_ask_launcher(HaWorker *worker, const char *action);

/* worker_link.c */
extern void worker_link_init(HaWorker *worker);
extern void worker_link_process(HaWorker *worker, HaTime now);
extern bool worker_link_send(HaWorker *worker, json_t *message);	/* steals */

#endif							/* PGHA_WORKER_PRIVATE_H */
