/*
 * loop.c
 *	  The launcher's one poll: signals, the instance, a job, the worker, REST,
 *	  and Consul while no worker is connected.
 */
#include "launcher/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/aside.h"
#include "launcher/directory.h"
#include "launcher/notify.h"

/* an idle launcher looks again, and speaks to its worker, at least so often */
#define LOOP_IDLE_MS 1000

/* while processes are being stopped or killed */
#define LOOP_WATCH_MS 5

/* after a brain could not begin */
#define LOOP_BRAIN_MS 1000

/* a stopping node waits so long for its last words to reach Consul */
#define LOOP_FAREWELL_MS 2000

#define LOOP_FDS (HA_CONTROL_FDS + HA_JOB_FDS + 4)

/* ------------------------------------------------------------------------
 * The brain comes and goes with the worker
 * ------------------------------------------------------------------------
 */

void
launcher_end_brain(HaLauncher *launcher)
{
	if (launcher->brain == NULL)
		return;
	pgha_brain_free(launcher->brain);
	pgha_consul_free(launcher->consul);
	launcher->brain = NULL;
	launcher->consul = NULL;
}

bool
launcher_begin_brain(HaLauncher *launcher)
{
	HaBrainConfig config;
	char		why[HA_WHY_MAX];

	if (launcher->brain != NULL)
		return true;
	launcher->consul = launcher_open_consul(launcher->node, why);
	if (launcher->consul == NULL)
	{
		launcher_log(HA_REPORT_WARNING, "%s", why);
		return false;
	}
	memset(&config, 0, sizeof(config));
	config.kind = HA_BRAIN_LAUNCHER;
	config.prefix = launcher->node->consul_prefix;
	config.scope = launcher->node->scope;
	config.name = launcher->node->name;
	config.state_dir = launcher->node->state_directory;
	config.consul = launcher->consul;
	config.timeouts = launcher_first_timeouts(launcher);
	config.report = launcher_report;
	config.arg = launcher;
	launcher->brain = pgha_brain_create(&config, why);
	if (launcher->brain != NULL)
		return true;
	launcher_log(HA_REPORT_WARNING,
				 "could not read or write this node's state: %s "
				 "(check pg_ha.state_directory)", why);
	pgha_consul_free(launcher->consul);
	launcher->consul = NULL;
	return false;
}

/* ------------------------------------------------------------------------
 * The worker's messages
 * ------------------------------------------------------------------------
 */

static void
loop_answer(HaLauncher *launcher, const char *action, const char *error)
{
	json_t	   *message = json_pack("{s:s, s:s, s:s*}", "type", "done",
									"action", action, "error", error);

	(void) pgha_control_send(launcher->server, message);
	json_decref(message);
}

/* What stops it already goes on; a rejoin comes before everything. */
static bool
loop_stop_for(HaLauncher *launcher, HaStop stop, const char *to, char *why)
{
	if (stop != HA_STOP_REJOIN && launcher->stop != HA_STOP_NONE)
	{
		snprintf(why, HA_WHY_MAX, "the instance is being stopped already");
		return false;
	}
	launcher->stop = stop;
	snprintf(launcher->handover, sizeof(launcher->handover), "%s",
			 to != NULL ? to : "");
	return true;
}

static void
loop_worker_acts(HaLauncher *launcher, json_t *message)
{
	uint32_t	tli = (uint32_t)
		json_integer_value(json_object_get(message, "timeline"));
	uint32_t	claimed = (uint32_t)
		json_integer_value(json_object_get(message, "claimed"));
	const char *action = json_string_value(json_object_get(message, "action"));
	const char *why = json_string_value(json_object_get(message, "why"));
	char		error[HA_WHY_MAX] = "unknown action";
	bool		done = false;

	if (action == NULL)
		return;
	launcher_log(HA_REPORT_INFO, "the worker asks to %s: rule %d: %s", action,
				 (int) json_integer_value(json_object_get(message, "rule")),
				 why != NULL ? why : "");
	if (strcmp(action, "promote") == 0)
		done = pgha_directory_skip_timelines(launcher->node, tli, claimed,
											 error) &&
			pgha_postmaster_promote(&launcher->postmaster, launcher->node,
									error);
	else if (strcmp(action, "rejoin") == 0)
		done = loop_stop_for(launcher, HA_STOP_REJOIN, "", error);
	else if (strcmp(action, "restart") == 0)
		done = loop_stop_for(launcher, HA_STOP_RESTART, "", error);
	else if (strcmp(action, "hand over") == 0)
		done = loop_stop_for(launcher, HA_STOP_HANDOVER,
							 json_string_value(json_object_get(message,
															   "target")),
							 error);
	else if (strcmp(action, "kill") == 0)
		done = launcher->kill_requested = true;
	loop_answer(launcher, action, done ? NULL : error);
}

static void
loop_worker_config(HaLauncher *launcher, json_t *message)
{
	json_t	   *config = json_object_get(message, "config");
	uint64_t	index = (uint64_t)
		json_integer_value(json_object_get(message, "index"));
	char		why[HA_WHY_MAX] = "";

	if (!json_is_object(config))
		return;
	launcher_apply_config(launcher, config, index);
	launcher->files_index = index;
	if (!launcher_render(launcher, launcher_is_primary(launcher), why))
	{
		launcher_log(HA_REPORT_WARNING, "could not render configuration: %s",
					 why);
		return;
	}
	pgha_postmaster_signal(&launcher->postmaster, SIGHUP);
}

/* The new copy streams: the old one is not needed any more. */
static void
loop_drop_old_copy(HaLauncher *launcher, const json_t *state)
{
	const char *replication =
		json_string_value(json_object_get(state, "replication_state"));

	if (!launcher->old_copy || replication == NULL ||
		strcmp(replication, "streaming") != 0)
		return;
	launcher->old_copy = false;
	if (!pgha_aside_exists(launcher->node))
		return;
	launcher_event(launcher, 0, "old copy removed",
				   "the member streams with the new one");
	pgha_aside_remove(launcher->node);
}

static void
loop_message(void *arg, const char *type, json_t *message)
{
	HaLauncher *launcher = arg;

	launcher->heard_at = pgha_now();
	if (strcmp(type, "state") == 0)
	{
		json_decref(launcher->worker_state);
		launcher->worker_state = json_incref(message);
		loop_drop_old_copy(launcher, message);
		launcher->state_fresh = true;
		if (json_is_true(json_object_get(message, "accepts_reads")))
		{
			launcher->served_at = launcher->heard_at;
			launcher->crashes = 0;
			launcher_restarted(launcher, true);
		}
	}
	else if (strcmp(type, "failsafe") == 0)
		launcher_waits(launcher, (int)
					   json_integer_value(json_object_get(message, "id")),
					   json_is_true(json_object_get(message, "accepted")));
	else if (strcmp(type, "act") == 0)
		loop_worker_acts(launcher, message);
	else if (strcmp(type, "config") == 0)
		loop_worker_config(launcher, message);
}

static void
loop_presence(void *arg, bool present)
{
	HaLauncher *launcher = arg;

	launcher->heard_at = pgha_now();
	launcher->old_copy = true;	/* there may be one */
	if (present)
	{
		launcher_log(HA_REPORT_INFO, "a worker is connected");
		launcher->state_fresh = false;
		launcher_end_brain(launcher);
		if (launcher->start_pending)
			pgha_render_worked(launcher->node);
		launcher->files_worked = launcher->start_pending;
		launcher->start_pending = false;
		launcher->starts_failed = 0;
		launcher->retry_at = 0;
		return;
	}
	launcher_log(HA_REPORT_INFO, "no worker is connected");
	launcher->state_fresh = false;
	if (!launcher->stopping)
		launcher->crashes++;
}

/* ------------------------------------------------------------------------
 * The instance's end
 * ------------------------------------------------------------------------
 */

static void
loop_describe_exit(int status, char *text, size_t size)
{
	if (status < 0)
		snprintf(text, size, "exit status not known");
	else if (WIFSIGNALED(status))
		snprintf(text, size, "killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, size, "exit code %d", WEXITSTATUS(status));
}

/* A first start that fails has nothing to do with what was changed. */
static void
loop_fell_back(HaLauncher *launcher, const char *how)
{
	char		what[256];

	snprintf(what, sizeof(what), "the instance did not start (%s): it is "
			 "started with the last configuration that worked", how);
	launcher->fell_back = true;
	launcher->bad_index = launcher->config_index;
	launcher_log(HA_REPORT_WARNING, "%s", what);
	launcher_event(launcher, 0, "fell back", what);
}

static void
loop_postmaster_ended(HaLauncher *launcher)
{
	char		how[64];
	char		why[HA_WHY_MAX];

	loop_describe_exit(launcher->postmaster.exit_status, how, sizeof(how));
	launcher_log(HA_REPORT_INFO, "the postmaster has ended: %s", how);
	launcher_event(launcher, 0, "postmaster ended", how);
	if (launcher->start_pending && !launcher->stopping)
	{
		/* it ended before a worker came: the start failed */
		launcher->starts_failed++;
		launcher->files_worked = false;
		launcher->retry_at = pgha_now() +
			(int64_t) launcher->starts_failed * 1000 * HA_NS_PER_MS;
		launcher_restarted(launcher, false);
		if (!pgha_render_fall_back(launcher->node, why))
			launcher_log(HA_REPORT_DEBUG, "no configuration to fall back to: %s",
						 why);
		else
			loop_fell_back(launcher, how);
	}
	launcher->restart_ended = true;
	launcher->start_pending = false;
	launcher->stopping = false;
	launcher->kill_requested = false;
	launcher->crashes = 0;
	launcher->wal_end = HA_WAL_END_UNKNOWN;
}

static void
loop_reap(HaLauncher *launcher)
{
	if (pgha_postmaster_ended(&launcher->postmaster))
		loop_postmaster_ended(launcher);
	if (!launcher->child_ended)
		return;
	launcher->child_ended = false;
	pgha_reap_orphans(&launcher->postmaster, launcher->job != NULL ?
					  pgha_job_pid(launcher->job) : 0);
}

/* ------------------------------------------------------------------------
 * Signals
 * ------------------------------------------------------------------------
 */

static int
loop_open_signals(void)
{
	sigset_t	set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void
loop_signals(HaLauncher *launcher, int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == (ssize_t) sizeof(info))
	{
		if (info.ssi_signo == SIGCHLD)
			launcher->child_ended = true;
		else if (info.ssi_signo == SIGHUP)
			launcher->reload_requested = true;
		else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
		{
			if (!launcher->stop_requested)
			{
				launcher_log(HA_REPORT_INFO, "stopping this node");
				(void) pgha_notify("STOPPING=1");
			}
			launcher->stop_requested = true;
		}
	}
}

/* Take over what can change without a restart; name what can't. */
static void
loop_reload(HaLauncher *launcher)
{
	HaNodeError error;
	HaNode	   *updated = pgha_node_load(launcher->node->file, &error);
	char		restart[512];
	char		why[HA_WHY_MAX];

	launcher->reload_requested = false;
	if (updated == NULL)
	{
		launcher_log(HA_REPORT_WARNING,
					 "the settings stay as they were: %s; hint: %s",
					 error.message, error.hint);
		return;
	}
	pgha_node_diff(launcher->node, updated, restart, sizeof(restart));
	if (restart[0] != '\0')
	{
		launcher_log(HA_REPORT_WARNING,
					 "the settings stay as they were; these need a restart of "
					 "the launcher: %s", restart);
		pgha_node_free(updated);
		return;
	}
	/* others keep pointers into the old one: it lives as long as we do */
	launcher->node = updated;
	pgha_rest_reload(launcher->rest, updated);
	if (!launcher_render(launcher, launcher_is_primary(launcher), why))
		launcher_log(HA_REPORT_WARNING, "could not render configuration: %s",
					 why);
	else
		pgha_postmaster_signal(&launcher->postmaster, SIGHUP);
	launcher_log(HA_REPORT_INFO, "settings were reloaded");
}

/* ------------------------------------------------------------------------
 * One round
 * ------------------------------------------------------------------------
 */

static void
loop_log_decision(HaLauncher *launcher)
{
	const HaDecision *decision = &launcher->decision;
	const HaRule *rule = pgha_rule(decision->rule);

	if (decision->rule == launcher->reported.rule &&
		strcmp(decision->target, launcher->reported.target) == 0)
		return;
	if (decision->rule == 110 || decision->action == HA_ACTION_HEARTBEAT)
		return;
	launcher->reported = *decision;
	launcher_log(HA_REPORT_INFO, "rule=%d action=\"%s%s%s\" %s",
				 decision->rule, pgha_action_name(decision->action),
				 decision->target[0] != '\0' ? " " : "", decision->target,
				 rule->why);
	if (decision->action == HA_ACTION_REFUSE)
		launcher_event(launcher, decision->rule, "refuse", rule->why);
}

/* The worker counts on a launcher only while it hears of it. */
static void
loop_speak(HaLauncher *launcher, HaTime now)
{
	if (!pgha_control_connected(launcher->server) ||
		now < launcher->spoke_at + LOOP_IDLE_MS * HA_NS_PER_MS)
		return;
	launcher->spoke_at = now;
	(void) pgha_control_send(launcher->server,
							 json_pack("{s:s, s:b}", "type", "alive",
									   "fell_back", launcher->fell_back));
}

/* What `systemctl status` shows: role, leader, timeline. */
static void
loop_tell_manager(const HaLauncher *launcher)
{
	static char said[256];
	const HaRestState *rest = &launcher->rest_state;
	const char *leader = launcher->view.leader;
	json_int_t	timeline = launcher->view.tli;
	char		state[256];

	if (rest->worker != NULL)
	{
		leader = json_string_value(json_object_get(rest->worker, "leader"));
		timeline = json_integer_value(json_object_get(rest->worker,
													  "timeline"));
	}
	snprintf(state, sizeof(state), "STATUS=%s: %s, leader %s, timeline %lld",
			 launcher->node->name, rest->worker == NULL ? rest->state :
			 rest->role == HA_ROLE_PRIMARY ? "primary" : "standby",
			 leader != NULL && leader[0] != '\0' ? leader : "unknown",
			 (long long) timeline);
	if (strcmp(state, said) == 0 || !pgha_notify(state))
		return;
	strcpy(said, state);
}

static void
loop_decide(HaLauncher *launcher)
{
	HaTime		now = pgha_now();

	launcher_look(launcher, now);
	loop_speak(launcher, now);
	if (!pgha_control_connected(launcher->server) &&
		launcher->brain == NULL && now >= launcher->brain_retry_at &&
		!launcher_begin_brain(launcher))
		launcher->brain_retry_at = now + LOOP_BRAIN_MS * HA_NS_PER_MS;
	launcher_gather(launcher, now);
	launcher_look_needed(launcher, now);
	launcher->decision = pgha_decide(&launcher->view);
	loop_log_decision(launcher);
	/* without a brain only what needs none may be done: stop and kill */
	if (launcher->brain != NULL ||
		launcher->decision.action == HA_ACTION_STOP ||
		launcher->decision.action == HA_ACTION_KILL)
		launcher_act(launcher);
	launcher_describe(launcher);
	loop_tell_manager(launcher);
	if (launcher->brain != NULL)
		pgha_brain_tick(launcher->brain, pgha_now());
}

/* The node is down, and what it had to say was said (or can't be). */
static bool
loop_finished(HaLauncher *launcher)
{
	HaTime		now = pgha_now();

	if (!launcher->stop_requested)
		return false;
	if (launcher->job != NULL)
	{
		pgha_job_kill(launcher->job, SIGTERM);
		return false;
	}
	if (launcher->postmaster.pid != 0 ||
		launcher->instance == HA_INSTANCE_DYING)
	{
		launcher->stop_at = now;
		return false;
	}
	if (launcher->stop_at == 0)
		launcher->stop_at = now;
	if (launcher->brain == NULL || !launcher->view.cluster_known)
		return now > launcher->stop_at + LOOP_FAREWELL_MS * HA_NS_PER_MS;
	if (launcher->view.standing == HA_STANDING_OURS ||
		launcher->view.write_pending || launcher->view.write_unresolved)
		return now > launcher->stop_at + launcher->view.timeouts.ttl_ms *
			HA_NS_PER_MS;
	return pgha_brain_next(launcher->brain, now) > now;
}

static int
loop_timeout_ms(const HaLauncher *launcher)
{
	HaTime		now = pgha_now();
	HaTime		wake = now + LOOP_IDLE_MS * HA_NS_PER_MS;
	int			rest_ms = pgha_rest_timeout_ms(launcher->rest);

	if (launcher->instance == HA_INSTANCE_DYING ||
		launcher->instance == HA_INSTANCE_STOPPING)
		wake = now + LOOP_WATCH_MS * HA_NS_PER_MS;
	if (launcher->stop_requested && launcher->instance != HA_INSTANCE_RUNNING)
		wake = now + LOOP_WATCH_MS * HA_NS_PER_MS;
	if (launcher->brain != NULL &&
		pgha_brain_next(launcher->brain, now) < wake)
		wake = pgha_brain_next(launcher->brain, now);
	if (launcher->decision.deadline < wake)
		wake = launcher->decision.deadline;
	if (rest_ms >= 0 && now + rest_ms * HA_NS_PER_MS < wake)
		wake = now + rest_ms * HA_NS_PER_MS;
	if (wake <= now)
		return 1;
	return (int) ((wake - now + HA_NS_PER_MS - 1) / HA_NS_PER_MS);
}

static int
loop_fds(HaLauncher *launcher, int signal_fd, struct pollfd *fds)
{
	int			n = 0;

	fds[n++] = (struct pollfd) {signal_fd, POLLIN, 0};
	fds[n++] = (struct pollfd) {pgha_rest_fd(launcher->rest), POLLIN, 0};
	if (launcher->postmaster.pid != 0 && launcher->postmaster.pidfd >= 0)
		fds[n++] = (struct pollfd) {launcher->postmaster.pidfd, POLLIN, 0};
	if (launcher->consul != NULL)
		fds[n++] = (struct pollfd) {
			pgha_http_fd(pgha_consul_http(launcher->consul)), POLLIN, 0};
	n += pgha_control_fds(launcher->server, fds + n);
	if (launcher->job != NULL)
		n += pgha_job_fds(launcher->job, fds + n);
	return n;
}

static void
loop_round(HaLauncher *launcher, int signal_fd)
{
	loop_signals(launcher, signal_fd);
	loop_reap(launcher);
	if (launcher->job != NULL)
		(void) pgha_job_process(launcher->job);
	pgha_control_process(launcher->server);
	if (launcher->consul != NULL)
		pgha_http_process(pgha_consul_http(launcher->consul));
	if (launcher->reload_requested)
		loop_reload(launcher);
	loop_decide(launcher);
	pgha_rest_process(launcher->rest);
}

/* An instance that already runs is adopted: its processes hold the lock. */
static bool
loop_adopt(HaLauncher *launcher, char *why)
{
	HaNodeFile	file;

	if (pgha_state_read_node(launcher->node->state_directory, &file, why))
		launcher->fresh = file.present && file.fresh;
	if (pgha_instance_gone(launcher->node))
		return true;
	if (!pgha_postmaster_adopt(&launcher->postmaster, launcher->node, why))
	{
		/* remains without a postmaster: they are killed by rule */
		launcher_log(HA_REPORT_WARNING, "not adopted: %s", why);
		return true;
	}
	launcher_log(HA_REPORT_INFO, "adopted the running instance, pid %d",
				 (int) launcher->postmaster.pid);
	return true;
}

static bool
loop_open(HaLauncher *launcher, char *why)
{
	char		path[1200];

	snprintf(path, sizeof(path), "%s/%s.sock", launcher->node->run_directory,
			 launcher->node->name);
	pgha_postmaster_init(&launcher->postmaster);
	if (!pgha_postmaster_prepare(launcher->node, why))
		return false;
	launcher->server = pgha_control_listen(path, loop_message, loop_presence,
										   launcher, why);
	if (launcher->server == NULL)
		return false;
	launcher->rest = pgha_rest_start(launcher->node, &launcher->rest_state,
									 why);
	if (launcher->rest == NULL)
		return false;
	pgha_rest_on_post(launcher->rest, launcher_asked, launcher);
	return loop_adopt(launcher, why);
}

int
launcher_run(HaLauncher *launcher)
{
	char		why[HA_WHY_MAX] = "";
	int			signal_fd = loop_open_signals();

	if (signal_fd < 0 || !loop_open(launcher, why))
	{
		launcher_log(HA_REPORT_WARNING, "could not start: %s", why);
		return 1;
	}
	launcher_log(HA_REPORT_INFO, "started, REST on %s:%d",
				 launcher->node->restapi_host, launcher->node->restapi_port);
	(void) pgha_notify("READY=1");
	for (;;)
	{
		struct pollfd fds[LOOP_FDS];
		int			n = loop_fds(launcher, signal_fd, fds);

		(void) poll(fds, (nfds_t) n, loop_timeout_ms(launcher));
		loop_round(launcher, signal_fd);
		if (loop_finished(launcher))
			break;
	}
	launcher_event(launcher, 0, "stopped", "the node was stopped");
	launcher_log(HA_REPORT_INFO, "stopped");
	launcher_end_brain(launcher);
	pgha_rest_stop(launcher->rest);
	pgha_control_free(launcher->server);
	return 0;
}
