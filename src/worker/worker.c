/*
 * worker.c
 *	  The background worker: the brain while the instance runs.
 *
 * One process without a database connection, alive from postmaster start
 * through crash recovery and on a standby that is not consistent yet.  It waits
 * in one place for four things: its latch, the postmaster's death, Consul, and
 * the launcher.  Each round it gathers a view, asks pgha_decide, and carries
 * the decision out.
 *
 * An ERROR is caught here: it costs one round and a pause, never the process
 * (whose restart would lose the clock of the lease).
 */
#include "worker_private.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "dcs/peer.h"
#include "fence.h"
#include "fmgr.h"
#include "gucs.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/slot.h"
#include "shmem.h"
#include "storage/condition_variable.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"

PG_MODULE_MAGIC;

/* an idle worker looks again at least so often */
#define WORKER_IDLE_MS 1000

/* how often a promotion under way is looked at */
#define WORKER_PROMOTION_MS 10

/* ... and the WAL's end, by who is to be handed the lead */
#define WORKER_AWAITED_MS 5

/* after a caught error */
#define WORKER_ERROR_PAUSE_MS 500

static HaWorker worker_state;

void
worker_report(void *arg, HaReportLevel level, const char *text)
{
	(void) arg;
	switch (level)
	{
		case HA_REPORT_DEBUG:
			elog(DEBUG1, "pg_ha: %s", text);
			break;
		case HA_REPORT_INFO:
			ereport(LOG, (errmsg("pg_ha: %s", text), errhidestmt(true)));
			break;
		case HA_REPORT_WARNING:
			ereport(LOG, (errmsg("pg_ha: warning: %s", text),
						  errhidestmt(true)));
			break;
	}
}

void
worker_event(HaWorker *worker, int rule, const char *action, const char *what,
			 bool durable)
{
	const HaView *view = &worker->view;
	HaEvent		event = {pgha_guc_name, rule, action, what, NULL, durable};
	char		why[HA_WHY_MAX];

	event.facts = json_pack("{s:I, s:I, s:s, s:i, s:I, s:I}",
							"term", (json_int_t) view->lease_term,
							"seq", (json_int_t) view->lease_seq,
							"leader", view->leader,
							"timeline", (int) view->tli,
							"lsn", (json_int_t) view->lsn,
							"optime", (json_int_t) view->optime);
	if (!pgha_event_append(pgha_guc_state_directory, &event, why))
		worker_report(NULL, HA_REPORT_WARNING, why);
	json_decref(event.facts);
}

/* ------------------------------------------------------------------------
 * Set-up
 * ------------------------------------------------------------------------
 */

/* The token, without the newline at its end; NULL if there is none. */
static char *
worker_token(void)
{
	char		why[HA_WHY_MAX];
	bool		missing;
	size_t		len;
	char	   *token;

	if (pgha_guc_consul_token_file[0] == '\0')
		return NULL;
	token = pgha_file_read(pgha_guc_consul_token_file, 4096, &len, &missing,
						   why);
	if (token == NULL)
		ereport(ERROR,
				(errmsg("could not read the Consul token: %s", why)));
	token[strcspn(token, " \t\r\n")] = '\0';
	return token;
}

static const char *
worker_optional(const char *value)
{
	return value != NULL && value[0] != '\0' ? value : NULL;
}

static void
worker_open_consul(HaWorker *worker)
{
	HaConsulConfig config;
	const char *error = NULL;
	char	   *token = worker_token();

	memset(&config, 0, sizeof(config));
	config.urls = pgha_guc_consul_urls;
	config.token = token;
	config.datacenter = worker_optional(pgha_guc_consul_datacenter);
	config.tls.ca_file = worker_optional(pgha_guc_consul_ca_file);
	config.tls.cert_file = worker_optional(pgha_guc_consul_cert_file);
	config.tls.key_file = worker_optional(pgha_guc_consul_key_file);
	worker->consul = pgha_consul_create(&config, &error);
	free(token);
	if (worker->consul == NULL)
		ereport(ERROR, (errmsg("could not set up the Consul client: %s",
							   error != NULL ? error : "unknown")));
}

/* Without them other members refuse what this one asks; it can lead all the same. */
static void
worker_read_credentials(HaWorker *worker)
{
	char		why[HA_WHY_MAX];

	worker->credentials = pgha_credentials(pgha_guc_restapi_username,
										   pgha_guc_restapi_password_file, why);
	if (worker->credentials == NULL)
		ereport(LOG, (errmsg("pg_ha: warning: could not read the REST credentials: %s",
							 why),
					  errhidestmt(true)));
}

static void
worker_open_brain(HaWorker *worker)
{
	HaBrainConfig config;
	char		why[HA_WHY_MAX];

	memset(&config, 0, sizeof(config));
	config.kind = HA_BRAIN_WORKER;
	config.prefix = worker->prefix;
	config.scope = pgha_guc_scope;
	config.name = pgha_guc_name;
	config.state_dir = pgha_guc_state_directory;
	config.consul = worker->consul;
	config.credentials = worker->credentials;
	config.report = worker_report;
	config.arg = worker;
	worker->brain = pgha_brain_create(&config, why);
	if (worker->brain == NULL)
		ereport(ERROR,
				(errmsg("could not read this node's state: %s", why),
				 errhint("Check pg_ha.state_directory (\"%s\").",
						 pgha_guc_state_directory)));
}

static void
worker_read_tags(HaWorker *worker)
{
	json_t	   *value;

	worker->failover_priority = 1;
	if (pgha_guc_tags == NULL || pgha_guc_tags[0] == '\0')
		return;
	worker->tags = json_loads(pgha_guc_tags, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(worker->tags))
	{
		worker_report(NULL, HA_REPORT_WARNING,
					  "pg_ha.tags is not a JSON object and is ignored");
		json_decref(worker->tags);
		worker->tags = NULL;
		return;
	}
	value = json_object_get(worker->tags, "failover_priority");
	if (json_is_integer(value))
		worker->failover_priority = (int) json_integer_value(value);
	worker->nofailover = worker->failover_priority <= 0 ||
		json_is_true(json_object_get(worker->tags, "nofailover"));
}

static void
worker_name_self(HaWorker *worker)
{
	const char *listen = pgha_guc_restapi_listen;
	const char *scheme = pgha_guc_restapi_cert_file[0] != '\0' ? "https" :
		"http";
	char		host[HA_ADDRESS_MAX + 1];
	int			port;
	int			api_port = 8008;

	if (!pgha_address_split(pgha_guc_connect_address, host, sizeof(host),
							&port))
		ereport(ERROR, (errmsg("pg_ha.connect_address is not host:port: \"%s\"",
							   pgha_guc_connect_address)));
	snprintf(worker->prefix, sizeof(worker->prefix), "%s/%s/",
			 pgha_guc_namespace, pgha_guc_scope);
	snprintf(worker->conn_url, sizeof(worker->conn_url),
			 "postgres://%s/postgres", pgha_guc_connect_address);
	snprintf(worker->socket_path, sizeof(worker->socket_path), "%s/%s.sock",
			 pgha_guc_run_directory, pgha_guc_name);
	if (pgha_guc_restapi_connect_address[0] != '\0')
		snprintf(worker->api_url, sizeof(worker->api_url),
				 "%s://%s/patroni", scheme, pgha_guc_restapi_connect_address);
	else
	{
		char		unused[HA_ADDRESS_MAX + 1];

		pgha_address_split(listen, unused, sizeof(unused), &api_port);
		snprintf(worker->api_url, sizeof(worker->api_url),
				 "%s://%s:%d/patroni", scheme, host, api_port);
	}
}

static void
worker_open(HaWorker *worker)
{
	struct epoll_event event;

	memset(worker, 0, sizeof(*worker));
	worker_name_self(worker);
	worker_read_tags(worker);
	worker_read_credentials(worker);
	worker_open_consul(worker);
	worker_open_brain(worker);
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll_fd < 0)
		ereport(ERROR, (errmsg("could not create an epoll fd: %m")));
	memset(&event, 0, sizeof(event));
	event.events = EPOLLIN;
	event.data.fd = pgha_http_fd(pgha_consul_http(worker->consul));
	if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event) != 0)
		ereport(ERROR, (errmsg("could not watch Consul's fd: %m")));
	worker_link_init(worker);
	worker->reloaded = true;
}

/* ------------------------------------------------------------------------
 * The loop
 * ------------------------------------------------------------------------
 */

/*
 * The fence follows the lease: extended by whatever the last answers allow,
 * opened without end only by a landed lease that says paused, while the
 * cluster is to be.
 */
static void
worker_move_fence(HaWorker *worker)
{
	const HaLease *lease = pgha_brain_lease(worker->brain);

	if (lease->deadline > 0 && !lease->release_sent)
		pgha_fence_extend(lease->deadline);
	if (lease->paused_in_force && worker->view.paused &&
		!pgha_fence_without_end())
		pgha_fence_set_without_end(true);
}

/* A switchover has begun: its leader waits for what this standby receives. */
bool
worker_is_awaited(const HaWorker *worker)
{
	return worker->view.role == HA_ROLE_STANDBY &&
		worker->view.order.present && worker->view.order.begun_term != 0 &&
		worker->view.receiver_on;
}

static HaTime
worker_wake_at(const HaWorker *worker, HaTime now)
{
	HaTime		wake = pgha_brain_next(worker->brain, now);

	if (worker->decision.deadline < wake)
		wake = worker->decision.deadline;
	if (worker->link.fd < 0 && worker->link.retry_at < wake)
		wake = worker->link.retry_at;
	/* nothing tells when a promotion is done: everybody waits to hear of it */
	if (worker->promoting && now + WORKER_PROMOTION_MS * HA_NS_PER_MS < wake)
		wake = now + WORKER_PROMOTION_MS * HA_NS_PER_MS;
	if (worker_is_awaited(worker) &&
		now + WORKER_AWAITED_MS * HA_NS_PER_MS < wake)
		wake = now + WORKER_AWAITED_MS * HA_NS_PER_MS;
	return wake;
}

static long
worker_wait_ms(const HaWorker *worker)
{
	HaTime		now = pgha_now();

	if (worker->round_due <= now)
		return 1;
	return (long) ((worker->round_due - now + HA_NS_PER_MS - 1) /
				   HA_NS_PER_MS);
}

static void
worker_log_decision(HaWorker *worker)
{
	const HaDecision *decision = &worker->decision;
	const HaRule *rule = pgha_rule(decision->rule);

	if (decision->rule == worker->reported.rule &&
		strcmp(decision->target, worker->reported.target) == 0)
		return;
	/* a heartbeat and the waiting for its answer are not news */
	if (decision->rule == 110 || decision->action == HA_ACTION_HEARTBEAT)
		return;
	worker->reported = *decision;
	ereport(LOG,
			(errmsg("pg_ha: rule %d: %s%s%s: %s", decision->rule,
					pgha_action_name(decision->action),
					decision->target[0] != '\0' ? " " : "",
					decision->target, rule->why),
			 errhidestmt(true)));
}

/*
 * Most wake-ups are a request's progress: nothing is new then, and the rest of
 * a round is not worth its time.
 */
static bool
worker_has_news(HaWorker *worker, bool woken)
{
	uint64_t	answers = pgha_brain_answers(worker->brain);
	HaTime		now = pgha_now();

	if (!woken && answers == worker->answers && now < worker->round_due)
		return false;
	worker->answers = answers;
	return true;
}

static void
worker_round(HaWorker *worker, bool woken)
{
	HaTime		now;

	pgha_http_process(pgha_consul_http(worker->consul));
	worker_move_fence(worker);
	if (!worker_has_news(worker, woken))
		return;
	now = pgha_now();
	worker_link_process(worker, now);
	worker_gather(worker, now);
	worker->decision = pgha_decide(&worker->view);
	worker_log_decision(worker);
	worker_act(worker);
	worker_commands(worker);
	worker_publish(worker);
	worker_slots(worker);
	pgha_brain_tick(worker->brain, pgha_now());
	now = pgha_now();
	worker->round_due = worker_wake_at(worker, now);
	if (worker->round_due > now + WORKER_IDLE_MS * HA_NS_PER_MS)
		worker->round_due = now + WORKER_IDLE_MS * HA_NS_PER_MS;
}

/* Level-triggered: only to see whether it is more than Consul's fd. */
static bool
worker_launcher_speaks(const HaWorker *worker)
{
	struct epoll_event events[4];
	int			n = epoll_wait(worker->epoll_fd, events, 4, 0);
	int			i;

	for (i = 0; i < n; i++)
	{
		if (events[i].data.fd == worker->link.fd)
			return true;
	}
	return false;
}

/* The error was thrown somewhere in a round: give back what it held. */
static void
worker_recover(void)
{
	error_context_stack = NULL;
	HOLD_INTERRUPTS();
	EmitErrorReport();
	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	pgstat_report_wait_end();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	AtEOXact_Files(false);
	FlushErrorState();
	RESUME_INTERRUPTS();
}

static void
worker_loop(HaWorker *worker, MemoryContext round_context)
{
	static WaitEventSet *set = NULL;

	if (set == NULL)
	{
		set = CreateWaitEventSet(TopMemoryContext, 3);
		AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL,
						  NULL);
		AddWaitEventToSet(set, WL_SOCKET_READABLE, worker->epoll_fd, NULL,
						  NULL);
	}
	for (;;)
	{
		WaitEvent	events[3];
		bool		woken = false;
		int			n = WaitEventSetWait(set, worker_wait_ms(worker), events,
										 3, PG_WAIT_EXTENSION);
		int			i;

		for (i = 0; i < n; i++)
			woken |= (events[i].events & WL_LATCH_SET) != 0;
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ShutdownRequestPending)
			proc_exit(1);	/* 0 would end it for good */
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			worker->reloaded = true;
		}
		woken |= worker_launcher_speaks(worker);
		MemoryContextReset(round_context);
		worker_round(worker, woken);
	}
}

static void
worker_forget(int code, Datum arg)
{
	(void) code;
	(void) arg;
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	pgha_shmem->worker_pid = 0;
	LWLockRelease(&pgha_shmem->lock);
}

/*
 * What the process shared is given back by now.  The libraries would tidy up
 * their own memory for tens of milliseconds, and a primary that hands over
 * waits for this process to end.
 */
static void
worker_end(int code, Datum arg)
{
	(void) arg;
	_exit(code);
}

static void
worker_introduce(void)
{
	LWLockAcquire(&pgha_shmem->lock, LW_EXCLUSIVE);
	pgha_shmem->worker_pid = MyProcPid;
	pgha_shmem->worker_procno = MyProc->pgprocno;
	LWLockRelease(&pgha_shmem->lock);
	before_shmem_exit(worker_forget, (Datum) 0);
	on_proc_exit(worker_end, (Datum) 0);
}

void
pgha_worker_main(Datum arg)
{
	static MemoryContext round_context;
	static bool opened = false;
	sigjmp_buf	on_error;

	(void) arg;
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();

	/* slot work needs an entry of its own in the proc array */
	InitProcessPhase2();
	worker_introduce();
	round_context = AllocSetContextCreate(TopMemoryContext, "pg_ha round",
										  ALLOCSET_DEFAULT_SIZES);
	if (sigsetjmp(on_error, 1) != 0)
	{
		worker_recover();
		MemoryContextSwitchTo(round_context);
		MemoryContextReset(round_context);
		/* deaf to nothing: a shutdown is seen right after */
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 WORKER_ERROR_PAUSE_MS, PG_WAIT_EXTENSION);
		if (ShutdownRequestPending)
			proc_exit(1);	/* 0 would end it for good */
	}
	PG_exception_stack = &on_error;
	MemoryContextSwitchTo(round_context);
	if (!opened)
	{
		worker_open(&worker_state);
		opened = true;
	}
	worker_loop(&worker_state, round_context);
}
