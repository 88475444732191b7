/*
 * launcher.h
 *	  The launcher's own state, shared by its loop's files.
 *
 *		main.c		command line
 *		loop.c		the one poll, signals, messages of the worker
 *		gather.c	facts about the instance and its directory into a view
 *		act.c		carries a decision out: processes, jobs, files
 *		needed.c	what a standby must have at least, because others have it
 *		asked.c		what others ask of this node by REST
 *		offline.c	--status, --show-config, --edit-config
 *
 * The launcher is the hands always, and a brain only while no worker is
 * connected: then `brain` is not NULL and its decisions are carried out.
 */
#ifndef PGHA_LAUNCHER_H
#define PGHA_LAUNCHER_H

#include "core/decide.h"
#include "dcs/brain.h"
#include "dcs/state.h"
#include "launcher/control.h"
#include "launcher/job.h"
#include "launcher/jobs.h"
#include "launcher/node.h"
#include "launcher/postmaster.h"
#include "launcher/render.h"
#include "launcher/rest.h"

typedef struct HaLauncher
{
	HaNode	   *node;
	HaPostmaster postmaster;
	HaControlServer *server;
	HaRest	   *rest;
	HaRestState rest_state;
	HaJob	   *job;
	char		job_phrase[64]; /* the member's state while a job runs */

	/* the brain, while no worker is connected */
	HaConsul   *consul;
	HaBrain    *brain;
	HaTime		brain_retry_at;
	HaView		view;
	HaDecision	decision;
	HaDecision	reported;
	HaMemberDoc member;

	/* the worker */
	json_t	   *worker_state;	/* its last state message; NULL = none yet */
	bool		state_fresh;	/* ... is of the one that is connected */
	HaConfigDoc config;			/* last one it sent or we read */
	bool		config_known;
	uint64_t	config_index;

	/* the instance */
	HaInstance	instance;
	HaTime		instance_since;
	HaTime		served_at;		/* it accepted connections last */
	HaTime		looked_at;		/* at all this, last */
	HaTime		heard_at;		/* the worker spoke */
	HaTime		stuck_since;	/* the postmaster is stopped; 0 = isn't */
	HaTime		spoke_at;		/* to the worker */
	int			crashes;		/* of the view */
	HaControl	control;
	bool		stopping;		/* SIGINT was sent */
	bool		start_pending;	/* started, no worker has come yet */
	bool		started_primary;
	bool		files_worked;	/* the rendered files started the last instance */
	uint64_t	files_index;	/* ... and are of this configuration */
	bool		fell_back;		/* to files that worked, from those of bad_index */
	uint64_t	bad_index;
	HaControlSettings leaders;	/* the leader runs with, as last known */
	HaControlSettings needed;	/* the files were rendered for */
	HaTime		needed_at;		/* looked at */
	HaWalEnd	wal_end;
	HaLsn		wal_end_lsn;
	HaTime		wal_clean_since;	/* of the view */
	bool		fresh;
	uint64_t	settled_sysid;	/* in the node's file */
	bool		old_copy;		/* there may be one to be removed */
	int			rewinds_failed;
	int			starts_failed;
	HaTime		retry_at;

	/* requests */
	bool		stop_requested;
	HaTime		stop_at;
	HaStop		stop;			/* of the view, as is handover */
	char		handover[HA_NAME_MAX + 1];
	int			restart_ask;	/* a POST that waits for a restart; 0 = none */
	bool		restart_ended;	/* ... the old postmaster has */
	bool		kill_requested; /* by the worker */
	bool		reload_requested;
	bool		child_ended;
	bool		release_noted;	/* its event was written */
} HaLauncher;

/* loop.c */
extern int	launcher_run(HaLauncher *launcher);
extern bool launcher_begin_brain(HaLauncher *launcher);
extern void launcher_end_brain(HaLauncher *launcher);

/* log.c */
extern void launcher_log_open(const char *name, const char *level);
extern void launcher_log(HaReportLevel level, const char *format,...)
			__attribute__((format(printf, 2, 3)));
extern void launcher_report(void *arg, HaReportLevel level, const char *text);
extern void launcher_event(const HaLauncher *launcher, int rule,
						   const char *action, const char *what);

/* gather.c */
extern void launcher_look(HaLauncher *launcher, HaTime now);
extern void launcher_gather(HaLauncher *launcher, HaTime now);
extern void launcher_describe(HaLauncher *launcher);

/* act.c */
extern void launcher_act(HaLauncher *launcher);
extern bool launcher_render(HaLauncher *launcher, bool as_primary, char *why);
extern const HaTimeouts *launcher_first_timeouts(HaLauncher *launcher);
extern void launcher_apply_config(HaLauncher *launcher, json_t *document,
								  uint64_t index);

/* asked.c */
extern void launcher_asked(void *arg, HaRestAsk *ask, HaRestReply *reply);
extern void launcher_restarted(HaLauncher *launcher, bool well);
extern void launcher_waits(HaLauncher *launcher, int ask, bool accepted);

/* needed.c */
extern const HaControlSettings *launcher_needed(HaLauncher *launcher,
												bool as_primary);
extern void launcher_look_needed(HaLauncher *launcher, HaTime now);
extern bool launcher_is_primary(const HaLauncher *launcher);

/* offline.c */
extern int	launcher_status(const HaNode *node);
extern int	launcher_show_config(const HaNode *node);
extern int	launcher_edit_config(const HaNode *node, const char *file);
extern HaConsul *launcher_open_consul(const HaNode *node, char *why);

#endif							/* PGHA_LAUNCHER_H */
