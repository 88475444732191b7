/*
 * brain.c
 *	  A brain's life and what it reads.
 */
#include "dcs/brain_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* a failed read is tried again after at least so long */
#define BRAIN_RETRY_MS 100

/* what is denied is complained of again after so long */
#define BRAIN_DENIED_MS 60000

void
brain_report(HaBrain *brain, HaReportLevel level, const char *format,...)
{
	char		text[512];
	va_list		args;

	if (brain->config.report == NULL)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	brain->config.report(brain->config.arg, level, text);
}

void
brain_key(const HaBrain *brain, const char *name, char *key)
{
	snprintf(key, BRAIN_KEY_MAX, "%s%s", brain->prefix, name);
}

/* A request gets half of the time after which Consul counts as away. */
int
brain_timeout_ms(const HaBrain *brain)
{
	return (int) (brain->timeouts.retry_timeout_ms / 2);
}

/* A policy may allow one request and deny the next: not said each time. */
static void
brain_denied(HaBrain *brain, const HaConsulAnswer *answer, const char *text)
{
	if (brain->denied_at != 0 && answer->received_at <
		brain->denied_at + BRAIN_DENIED_MS * HA_NS_PER_MS)
		return;
	brain->denied_at = answer->received_at;
	brain_report(brain, HA_REPORT_WARNING,
				 "Consul denies access: %s; hint: the token's policy must "
				 "allow key_prefix \"%.100s\" and session_prefix \"\" to write",
				 text, brain->config.prefix);
}

/* Keep in words what is wrong with Consul, and say so once. */
void
brain_answered(HaBrain *brain, const HaConsulAnswer *answer)
{
	const char *text = "";

	brain->answers++;
	if (answer->result == HA_CONSUL_NO_ANSWER ||
		answer->result == HA_CONSUL_DENIED)
		text = answer->text != NULL ? answer->text : "no answer";
	if (answer->result == HA_CONSUL_DENIED)
		brain_denied(brain, answer, text);
	if (answer->result == HA_CONSUL_NO_ANSWER && !brain->unanswered)
		brain_report(brain, HA_REPORT_WARNING, "Consul does not answer: %s",
					 text);
	else if (answer->result != HA_CONSUL_NO_ANSWER && brain->unanswered)
		brain_report(brain, HA_REPORT_INFO, "Consul answers again");
	brain->unanswered = answer->result == HA_CONSUL_NO_ANSWER;
	snprintf(brain->trouble, sizeof(brain->trouble), "%s", text);
}

/* ------------------------------------------------------------------------
 * Life
 * ------------------------------------------------------------------------
 */

/*
 * Store what this brain knows; see HaTermWish.  False leaves the brain as it
 * was.
 */
bool
brain_store_term(HaBrain *brain, HaTermWish wish)
{
	HaTermFile	file = brain->file;
	uint64_t	block_end = brain->seq_reserved;
	char		why[HA_WHY_MAX];

	file.term = brain->lease.my_term;
	file.highest_term = brain->lease.highest_term;
	if (file.claimed < brain->lease.highest_claimed)
		file.claimed = brain->lease.highest_claimed;
	if (brain->lease.last_ttl_ms > 0)
		file.ttl_ms = (uint64_t) brain->lease.last_ttl_ms;
	memcpy(file.session, brain->session, sizeof(file.session));
	if (!pgha_state_merge_term(brain->state_dir, &file, wish, why))
	{
		brain_report(brain, HA_REPORT_WARNING,
					 "could not store the term: %s", why);
		return false;
	}
	brain->file = file;
	if (wish & HA_TERM_RESERVE)
	{
		brain->seq_reserved = file.seq_reserved;
		/* the other brain has the numbers in between */
		if (file.seq_reserved != block_end + HA_SEQ_BLOCK)
			pgha_lease_start_seq(&brain->lease,
								 file.seq_reserved - HA_SEQ_BLOCK + 1);
	}
	if (wish & HA_TERM_CLAIM)
		pgha_lease_term_stored(&brain->lease, file.term);
	return true;
}

/*
 * The file's term is ours only in the boot it was written in; its session is
 * the node's whatever the boot, so that a restart need not wait for a TTL.
 */
static bool
brain_begin(HaBrain *brain, char *why)
{
	HaTermFile *file = &brain->file;

	if (!pgha_state_read_term(brain->state_dir, file, why))
		return false;
	memcpy(brain->session, file->session, sizeof(brain->session));
	if (!file->same_boot)
		file->term = 0;
	if (!pgha_state_merge_term(brain->state_dir, file, HA_TERM_RESERVE, why))
		return false;
	brain->seq_reserved = file->seq_reserved;
	pgha_lease_init(&brain->lease, brain->name, file->term,
					file->highest_term,
					file->seq_reserved - HA_SEQ_BLOCK + 1);
	brain->lease.highest_claimed = (uint32_t) file->claimed;
	brain->lease.last_ttl_ms = (int64_t) file->ttl_ms;
	return true;
}

HaBrain *
pgha_brain_create(const HaBrainConfig *config, char *why)
{
	HaBrain    *brain = calloc(1, sizeof(HaBrain));

	if (brain == NULL)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		return NULL;
	}
	brain->config = *config;
	snprintf(brain->prefix, sizeof(brain->prefix), "%s", config->prefix);
	snprintf(brain->name, sizeof(brain->name), "%s", config->name);
	snprintf(brain->state_dir, sizeof(brain->state_dir), "%s",
			 config->state_dir);
	snprintf(brain->member_key, sizeof(brain->member_key), "%smembers/%s",
			 config->prefix, config->name);
	pgha_timeouts_default(&brain->timeouts);
	if (config->timeouts != NULL)
		brain->timeouts = *config->timeouts;
	if (!brain_begin(brain, why))
	{
		free(brain);
		return NULL;
	}
	pgha_lease_set_timeouts(&brain->lease, brain->timeouts.ttl_ms,
							brain->timeouts.retry_timeout_ms);
	return brain;
}

void
pgha_brain_free(HaBrain *brain)
{
	if (brain == NULL)
		return;
	pgha_consul_cancel(brain->config.consul, brain->watch.id);
	pgha_consul_cancel(brain->config.consul, brain->confirm.id);
	pgha_consul_cancel(brain->config.consul, brain->renewal.id);
	pgha_consul_cancel(brain->config.consul, brain->member_write.id);
	pgha_consul_cancel(brain->config.consul, brain->write.id);
	pgha_consul_cancel(brain->config.consul, brain->config_write.id);
	brain_failsafe_cancel(brain);
	free(brain->failsafe_key);
	if (brain->config_valid)
		pgha_config_free(&brain->configuration);
	json_decref(brain->member.tags);
	json_decref(brain->member.pending_restart_reason);
	json_decref(brain->member_sent.pending_restart_reason);
	brain_forget_jobs(brain);
	free(brain->status_text);
	free(brain);
}

/* ------------------------------------------------------------------------
 * Reading the cluster's folder
 * ------------------------------------------------------------------------
 */

static const HaConsulKey *
brain_find(const HaBrain *brain, const HaConsulAnswer *answer,
		   const char *name)
{
	size_t		len = strlen(brain->prefix);
	int			i;

	for (i = 0; i < answer->nkeys; i++)
	{
		if (strncmp(answer->keys[i].key, brain->prefix, len) == 0 &&
			strcmp(answer->keys[i].key + len, name) == 0)
			return &answer->keys[i];
	}
	return NULL;
}

static void
brain_read_config(HaBrain *brain, const HaConsulKey *key)
{
	HaConfigDoc config;
	char		why[HA_WHY_MAX] = "";

	if (key == NULL && brain->config_index != 0)
		brain_report(brain, HA_REPORT_WARNING,
					 "the config key was deleted; what it said stays in force");
	if (key == NULL || key->modify_index == brain->config_index)
	{
		brain->config_index = key == NULL ? 0 : brain->config_index;
		return;
	}
	brain->config_index = key->modify_index;
	if (!pgha_config_parse(key->value, key->value_len, &config, why))
	{
		brain_report(brain, HA_REPORT_WARNING,
					 "the config key can't be used, the last good one stays: %s",
					 why);
		return;
	}
	if (why[0] != '\0')
		brain_report(brain, HA_REPORT_WARNING,
					 "a value of the config key is not used: %s", why);
	if (brain->config_valid)
		pgha_config_free(&brain->configuration);
	brain->configuration = config;
	brain->config_valid = true;
	brain->timeouts = config.timeouts;
	pgha_lease_set_timeouts(&brain->lease, brain->timeouts.ttl_ms,
							brain->timeouts.retry_timeout_ms);
}

static void
brain_read_history(HaBrain *brain, const HaConsulKey *key)
{
	char		why[HA_WHY_MAX];
	uint64_t	index = key != NULL ? key->modify_index : 0;

	if (brain->history_known && index == brain->history_index)
		return;
	brain->history_index = index;
	memset(&brain->history, 0, sizeof(brain->history));
	memset(&brain->timelines, 0, sizeof(brain->timelines));
	brain->history_known = key == NULL ||
		pgha_history_parse(key->value, key->value_len, &brain->history, why);
	if (!brain->history_known)
		brain_report(brain, HA_REPORT_WARNING,
					 "the history key can't be read: %s", why);
	else
		pgha_history_timelines(&brain->history, &brain->timelines);
}

static void
brain_read_status(HaBrain *brain, const HaConsulKey *key)
{
	char		why[HA_WHY_MAX];

	free(brain->status_text);
	brain->status_text = NULL;
	memset(&brain->status, 0, sizeof(brain->status));
	if (key == NULL)
		return;
	if (!pgha_status_parse(key->value, key->value_len, &brain->status, why))
	{
		/* no lease can be read from it: its index still is the clock */
		memset(&brain->status, 0, sizeof(brain->status));
		brain_report(brain, HA_REPORT_WARNING,
					 "the status key can't be read: %s", why);
		return;
	}
	brain->status_text = strdup(key->value);
}

/* The member of a key read before, if the key has not changed since. */
static bool
brain_member_unchanged(const HaMember *old, int nold, const HaConsulKey *key,
					   const char *name, HaMember *member)
{
	int			i;

	for (i = 0; i < nold; i++)
	{
		if (old[i].modify_index == key->modify_index &&
			strcmp(old[i].name, name) == 0)
		{
			*member = old[i];
			return true;
		}
	}
	return false;
}

static void
brain_read_members(HaBrain *brain, const HaConsulAnswer *answer)
{
	static HaMember old[HA_MEMBERS_MAX];
	int			nold = brain->nmembers;
	size_t		prefix_len = strlen(brain->prefix);
	int			i;

	memcpy(old, brain->members, sizeof(HaMember) * (size_t) nold);
	brain->nmembers = 0;
	for (i = 0; i < answer->nkeys && brain->nmembers < HA_MEMBERS_MAX; i++)
	{
		const HaConsulKey *key = &answer->keys[i];
		HaMember   *member = &brain->members[brain->nmembers];
		const char *name;
		char		why[HA_WHY_MAX];

		if (strncmp(key->key + prefix_len, "members/", 8) != 0)
			continue;
		name = key->key + prefix_len + 8;
		if (name[0] == '\0' || strchr(name, '/') != NULL ||
			strlen(name) > HA_NAME_MAX)
			continue;
		if (!brain_member_unchanged(old, nold, key, name, member) &&
			!pgha_member_parse(name, key->value, key->value_len, member, why))
			continue;
		member->modify_index = key->modify_index;
		snprintf(member->session, sizeof(member->session), "%s", key->session);
		pgha_lease_note_timeline(&brain->lease, member->tli);
		brain->nmembers++;
	}
}

static void
brain_read_failsafe(HaBrain *brain, const HaConsulKey *key)
{
	free(brain->failsafe_key);
	brain->failsafe_key = key != NULL ? strdup(key->value) : NULL;
	if (brain->failsafe_said)
		brain_report(brain, HA_REPORT_INFO,
					 "the lease is Consul's again, not the members' word");
	brain->failsafe_said = false;
}

/* The scope is empty while initialize, status and leader are all absent. */
static void
brain_read_initialize(HaBrain *brain, const HaConsulAnswer *answer)
{
	const HaConsulKey *key = brain_find(brain, answer, "initialize");
	HaTime		gap = answer->received_at - brain->read_at;

	brain->initialize_present = key != NULL;
	brain->initialize_sysid = key == NULL ? 0 :
		pgha_initialize_parse(key->value, key->value_len);
	if (key != NULL || brain_find(brain, answer, "status") != NULL ||
		brain_find(brain, answer, "leader") != NULL)
		brain->scope_empty_since = 0;
	else if (brain->scope_empty_since == 0 ||
			 gap > brain->timeouts.ttl_ms * HA_NS_PER_MS)
		brain->scope_empty_since = answer->received_at;
}

static void
brain_observe(HaBrain *brain, const HaConsulAnswer *answer, bool consistent)
{
	const HaConsulKey *status = brain_find(brain, answer, "status");
	const HaConsulKey *leader = brain_find(brain, answer, "leader");
	HaObservation seen;

	memset(&seen, 0, sizeof(seen));
	seen.sent_at = answer->sent_at;
	seen.received_at = answer->received_at;
	seen.consistent = consistent;
	if (status != NULL)
		seen.status_index = status->modify_index;
	seen.lease = brain->status.lease;
	seen.optime = brain->status.optime;
	if (leader != NULL)
	{
		seen.leader_index = leader->modify_index;
		snprintf(seen.leader, sizeof(seen.leader), "%s", leader->value);
		snprintf(seen.leader_session, sizeof(seen.leader_session), "%s",
				 leader->session);
	}
	pgha_lease_observe(&brain->lease, &seen);
}

static void
brain_read(HaBrain *brain, const HaConsulAnswer *answer, bool consistent)
{
	brain_read_config(brain, brain_find(brain, answer, "config"));
	brain_read_history(brain, brain_find(brain, answer, "history"));
	brain_read_status(brain, brain_find(brain, answer, "status"));
	brain_read_members(brain, answer);
	brain_read_initialize(brain, answer);
	brain_read_failsafe(brain, brain_find(brain, answer, "failsafe"));
	brain_read_orders(brain, answer, brain_find(brain, answer, "failover"));
	brain_observe(brain, answer, consistent);
	brain->known = true;
	brain->read_at = answer->received_at;

	/* a restored Consul must not make this node forget what it has seen */
	if (brain->lease.highest_term > brain->file.highest_term ||
		brain->lease.highest_claimed > brain->file.claimed ||
		(uint64_t) brain->lease.last_ttl_ms != brain->file.ttl_ms)
		brain_store_term(brain, HA_TERM_STORE);
}

static bool
brain_is_folder(const HaConsulAnswer *answer)
{
	return answer->result == HA_CONSUL_OK ||
		answer->result == HA_CONSUL_NOT_FOUND;
}

static HaTime
brain_retry_at(const HaConsulAnswer *answer)
{
	int			ms = answer->retry_after_ms;

	if (ms < BRAIN_RETRY_MS)
		ms = BRAIN_RETRY_MS;
	return pgha_now() + ms * HA_NS_PER_MS;
}

static void
brain_watched(void *arg, const HaConsulAnswer *answer)
{
	HaBrain    *brain = arg;

	brain->watch.id = 0;
	brain->watch.due = 0;
	brain_answered(brain, answer);
	if (!brain_is_folder(answer))
	{
		brain->watch_index = 0;
		brain->watch.due = brain_retry_at(answer);
		return;
	}
	brain->watch_index = answer->index;
	if (answer->index == 0)
		brain->watch.due = brain_retry_at(answer);
	brain_read(brain, answer, false);
}

static void
brain_confirmed(void *arg, const HaConsulAnswer *answer)
{
	HaBrain    *brain = arg;

	brain->confirm.id = 0;
	brain->confirm.due = 0;
	brain_answered(brain, answer);
	if (brain_is_folder(answer))
		brain_read(brain, answer, true);
	else
		brain->confirm.due = brain_retry_at(answer);
}

bool
pgha_brain_confirm(HaBrain *brain)
{
	if (brain->confirm.id != 0 || pgha_now() < brain->confirm.due)
		return true;
	brain->confirm.id = pgha_consul_read_prefix(brain->config.consul,
												brain->prefix, true,
												brain_timeout_ms(brain),
												brain_confirmed, brain);
	if (brain->confirm.id == 0)
		brain->confirm.due = pgha_now() + BRAIN_RETRY_MS * HA_NS_PER_MS;
	return brain->confirm.id != 0;
}

/*
 * An answer comes at least this often, changed or not: the gap rule counts on
 * it (core/lease.h).
 */
static int
brain_watch_wait_ms(const HaBrain *brain)
{
	int64_t		half = brain->timeouts.retry_timeout_ms / 2;

	if (brain->timeouts.loop_wait_ms < half)
		return (int) brain->timeouts.loop_wait_ms;
	return (int) half;
}

static void
brain_tick_watch(HaBrain *brain, HaTime now)
{
	int			wait_ms = brain_watch_wait_ms(brain);

	if (brain->watch.id != 0 || now < brain->watch.due)
		return;
	brain->watch.id = pgha_consul_watch_prefix(brain->config.consul,
											   brain->prefix,
											   brain->watch_index, wait_ms,
											   wait_ms + wait_ms / 8 +
											   brain_timeout_ms(brain),
											   brain_watched, brain);
	if (brain->watch.id == 0)
		brain->watch.due = now + BRAIN_RETRY_MS * HA_NS_PER_MS;
}

void
pgha_brain_tick(HaBrain *brain, HaTime now)
{
	brain_tick_member(brain, now);
	brain_tick_watch(brain, now);
}

HaTime
pgha_brain_next(const HaBrain *brain, HaTime now)
{
	HaTime		next = brain_member_next(brain);

	(void) now;
	if (brain->watch.id == 0 && brain->watch.due < next)
		next = brain->watch.due;
	if (brain->confirm.id == 0 && brain->confirm.due != 0 &&
		brain->confirm.due < next)
		next = brain->confirm.due;
	return next;
}

/* ------------------------------------------------------------------------
 * The view
 * ------------------------------------------------------------------------
 */

/* Somebody else's write under our term: a seq we never reserved. */
static bool
brain_stranger(HaBrain *brain)
{
	HaTermFile	file;
	char		why[HA_WHY_MAX];

	if (!pgha_lease_ours(&brain->lease) ||
		brain->lease.seen.lease.seq <= brain->seq_reserved)
		return false;
	/* the other brain of this node may have reserved since */
	if (!pgha_state_read_term(brain->state_dir, &file, why))
		return true;
	return brain->lease.seen.lease.seq > file.seq_reserved;
}

static void
brain_view_lease(HaBrain *brain, HaTime now, HaView *view)
{
	const HaLease *lease = &brain->lease;
	const HaLeaseRecord *record = &lease->seen.lease;
	bool		free_lease;

	view->standing = pgha_lease_standing(lease, brain->name, now,
										 &view->standing_until);
	view->stood_until = pgha_lease_stood_until(lease);
	view->lease_valid = pgha_lease_valid(lease, now);
	view->lease_deadline = lease->deadline;
	view->heartbeat_due = brain->heartbeat_due;
	view->write_pending = lease->in_flight;
	view->write_unresolved = lease->unresolved;
	view->takeover_unresolved = lease->unresolved &&
		lease->last.kind == HA_WRITE_TAKEOVER &&
		lease->seen.sent_at >= lease->last.sent_at && lease->seen.consistent;
	view->paused_in_force = lease->paused_in_force;
	view->other_term_confirmed = lease->seen.consistent && record->present &&
		!pgha_lease_is_own(lease, record);
	view->stranger = brain_stranger(brain);
	view->lease_term = record->present ? record->term : 0;
	view->lease_seq = record->present ? record->seq : 0;
	if (lease->accepted_term == view->lease_term &&
		lease->accepted_seq > view->lease_seq)
		view->lease_seq = lease->accepted_seq;
	view->highest_shown = lease->highest_shown;
	view->consul_at = lease->seen.received_at;
	view->failsafe_mode = brain_failsafe_mode(brain);
	view->failsafe_possible = pgha_lease_failsafe_possible(lease) &&
		!lease->failsafe.running;
	view->failsafe_due = brain->failsafe_due;
	view->failsafe_active = view->lease_valid &&
		lease->failsafe.sent_at > lease->seen.received_at;
	view->claimed = record->claimed;
	view->optime = lease->seen.optime;
	view->end_known = record->released && record->end_known;
	memcpy(view->successor, record->successor, sizeof(view->successor));
	if (record->present && !record->released)
		memcpy(view->leader, record->holder, sizeof(view->leader));
	else if (lease->seen.leader_index != 0)
		memcpy(view->leader, lease->seen.leader, sizeof(view->leader));

	if (view->standing != HA_STANDING_OURS)
		brain->ours_since = 0;
	else if (brain->ours_since == 0)
		brain->ours_since = now;
	view->ours_since = brain->ours_since;

	free_lease = view->standing == HA_STANDING_EXPIRED ||
		view->standing == HA_STANDING_RELEASED;
	if (!free_lease)
		brain->election_since = 0;
	else if (brain->election_since == 0)
		brain->election_since = now;
	view->election_since = brain->election_since;
}

void
pgha_brain_view(HaBrain *brain, HaTime now, HaView *view)
{
	view->brain = brain->config.kind;
	view->now = now;
	memcpy(view->self, brain->name, sizeof(view->self));
	view->timeouts = brain->timeouts;
	view->cluster_known = brain->known;
	view->read_at = brain->read_at;
	view->session_held = brain->session_held;
	view->name_lock = brain->name_lock;
	view->paused = brain->config_valid && brain->configuration.pause;
	view->use_pg_rewind = !brain->config_valid ||
		brain->configuration.use_pg_rewind;
	view->initialize_present = brain->initialize_present;
	view->initialize_sysid = brain->initialize_sysid;
	view->scope_empty_since = brain->scope_empty_since;
	view->history = brain->timelines;
	view->history.known = brain->status.lease.timeline;
	view->history_known = brain->history_known;
	view->nmembers = brain->nmembers;
	memcpy(view->members, brain->members,
		   sizeof(HaMember) * (size_t) brain->nmembers);
	if (brain->member_landed)
		view->ballot = brain->member_sent.member.ballot;
	view->order = brain->order;
	brain_view_lease(brain, now, view);
}

const HaLease *
pgha_brain_lease(const HaBrain *brain)
{
	return &brain->lease;
}

const HaConfigDoc *
pgha_brain_config(const HaBrain *brain, uint64_t *index)
{
	*index = brain->config_index;
	return brain->config_valid ? &brain->configuration : NULL;
}

const HaHistoryDoc *
pgha_brain_history(const HaBrain *brain)
{
	return &brain->history;
}

const HaStatusDoc *
pgha_brain_status(const HaBrain *brain)
{
	return &brain->status;
}

uint64_t
pgha_brain_answers(const HaBrain *brain)
{
	return brain->answers;
}

const char *
pgha_brain_session(const HaBrain *brain)
{
	return brain->session;
}

const char *
pgha_brain_trouble(const HaBrain *brain)
{
	return brain->trouble;
}
