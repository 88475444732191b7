/*
 * brain_member.c
 *	  The node's session, its name, and its member key.
 *
 * members/<name> is locked with the node's session: holding it is holding the
 * name.  The session's id is kept in the term file, so that a restarted process
 * has the name at once; a twin without it waits for the session's TTL.
 */
#include "dcs/brain_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* servers refuse a smaller TTL unless session_ttl_min was lowered */
#define BRAIN_SESSION_TTL_MS 10000

/* after a failed request that says no time itself */
#define BRAIN_MEMBER_RETRY_MS 250

static HaTime
member_retry_at(const HaConsulAnswer *answer)
{
	int			ms = answer->retry_after_ms;

	if (ms < BRAIN_MEMBER_RETRY_MS)
		ms = BRAIN_MEMBER_RETRY_MS;
	return pgha_now() + ms * HA_NS_PER_MS;
}

/* ------------------------------------------------------------------------
 * Session
 * ------------------------------------------------------------------------
 */

/*
 * A server that has just become leader may not know a session yet that it will
 * know in a moment, and that holds our name.  So what is said to be gone is
 * destroyed before another is made: that goes through Consul's log.
 */
void
brain_session_lost(HaBrain *brain)
{
	if (brain->session[0] != '\0')
	{
		brain_report(brain, HA_REPORT_WARNING,
					 "session %s is gone, making a new one", brain->session);
		memcpy(brain->lost_session, brain->session, sizeof(brain->session));
	}
	brain->session[0] = '\0';
	brain->session_held = false;
	brain->member_landed = false;
	brain->renewal.due = 0;
	if (brain->name_lock == HA_NAME_HELD)
		brain->name_lock = HA_NAME_NOT_HELD;
}

/*
 * Every loop_wait, or every fifth of the TTL where that is longer: Consul keeps
 * a session for at least its TTL, and losing it is not losing the lease.
 */
static HaTime
member_renewal_due(const HaBrain *brain, const HaConsulAnswer *answer)
{
	int64_t		ms = brain->timeouts.loop_wait_ms;

	if (brain->session_ttl_ms / 5 > ms)
		ms = brain->session_ttl_ms / 5;
	return answer->sent_at + ms * HA_NS_PER_MS;
}

static void
member_session_created(void *arg, const HaConsulAnswer *answer)
{
	HaBrain    *brain = arg;

	brain->renewal.id = 0;
	brain->renewal.due = member_retry_at(answer);
	brain_answered(brain, answer);
	if (answer->result == HA_CONSUL_BAD_TTL)
	{
		brain->session_ttl_ms *= 2;
		brain_report(brain, HA_REPORT_INFO,
					 "Consul refuses the session TTL, trying %d ms",
					 brain->session_ttl_ms);
		return;
	}
	if (answer->result != HA_CONSUL_OK || answer->text == NULL ||
		strlen(answer->text) > HA_SESSION_MAX)
		return;
	snprintf(brain->session, sizeof(brain->session), "%s", answer->text);
	brain->session_held = true;
	brain->renewal.due = member_renewal_due(brain, answer);
	brain_store_term(brain, HA_TERM_STORE);
}

static void
member_create_session(HaBrain *brain)
{
	char		name[2 * HA_NAME_MAX + 2];

	/* a TTL the servers refused was doubled: keep that */
	if (brain->session_ttl_ms < brain->timeouts.ttl_ms)
		brain->session_ttl_ms = (int) brain->timeouts.ttl_ms;
	if (brain->session_ttl_ms < BRAIN_SESSION_TTL_MS)
		brain->session_ttl_ms = BRAIN_SESSION_TTL_MS;
	snprintf(name, sizeof(name), "%s-%s", brain->config.scope, brain->name);
	brain->renewal.id = pgha_consul_session_create(brain->config.consul, name,
												   brain->session_ttl_ms, 0,
												   brain_timeout_ms(brain),
												   member_session_created,
												   brain);
}

static void
member_session_renewed(void *arg, const HaConsulAnswer *answer)
{
	HaBrain    *brain = arg;

	brain->renewal.id = 0;
	brain->renewal.due = member_retry_at(answer);
	brain_answered(brain, answer);
	if (answer->result == HA_CONSUL_NOT_FOUND)
		brain_session_lost(brain);
	else if (answer->result == HA_CONSUL_OK)
	{
		brain->session_held = true;
		brain->renewal.due = member_renewal_due(brain, answer);
	}
}

static void
member_session_destroyed(void *arg, const HaConsulAnswer *answer)
{
	HaBrain    *brain = arg;

	brain->renewal.id = 0;
	brain->renewal.due = member_retry_at(answer);
	brain_answered(brain, answer);
	if (answer->result != HA_CONSUL_OK &&
		answer->result != HA_CONSUL_NOT_FOUND)
		return;
	brain->lost_session[0] = '\0';
	brain->renewal.due = 0;
}

static void
member_tick_session(HaBrain *brain, HaTime now)
{
	if (brain->renewal.id != 0 || now < brain->renewal.due)
		return;
	if (brain->session[0] == '\0' && brain->lost_session[0] != '\0')
		brain->renewal.id = pgha_consul_session_destroy(brain->config.consul,
														brain->lost_session,
														brain_timeout_ms(brain),
														member_session_destroyed,
														brain);
	else if (brain->session[0] == '\0')
		member_create_session(brain);
	else
		brain->renewal.id = pgha_consul_session_renew(brain->config.consul,
													  brain->session,
													  brain_timeout_ms(brain),
													  member_session_renewed,
													  brain);
	if (brain->renewal.id == 0)
		brain->renewal.due = now + BRAIN_MEMBER_RETRY_MS * HA_NS_PER_MS;
}

/* ------------------------------------------------------------------------
 * Member key
 * ------------------------------------------------------------------------
 */

void
pgha_brain_set_member(HaBrain *brain, const HaMemberDoc *doc)
{
	json_t	   *tags = json_incref(doc->tags);
	json_t	   *reason = json_incref(doc->pending_restart_reason);

	json_decref(brain->member.tags);
	json_decref(brain->member.pending_restart_reason);
	brain->member = *doc;
	brain->member.tags = tags;
	brain->member.pending_restart_reason = reason;
	brain->member_wanted = true;
}

static bool
member_same_ballot(const HaBallot *a, const HaBallot *b)
{
	return a->present == b->present && a->term == b->term &&
		a->seq == b->seq && a->tli == b->tli && a->lsn == b->lsn;
}

static bool
member_same_object(json_t *a, json_t *b)
{
	return a == b || json_equal(a, b);
}

/* Whether others must learn of the difference at once. */
static bool
member_urgent(const HaMemberDoc *sent, const HaMemberDoc *wanted)
{
	const HaMember *a = &sent->member;
	const HaMember *b = &wanted->member;

	return a->role != b->role || a->tli != b->tli ||
		a->launcher != b->launcher || a->nofailover != b->nofailover ||
		a->pending_restart != b->pending_restart ||
		a->fell_back != b->fell_back ||
		(wanted->awaited && a->lsn != b->lsn) ||
		!member_same_object(sent->pending_restart_reason,
							wanted->pending_restart_reason) ||
		sent->pause != wanted->pause ||
		strcmp(a->state, b->state) != 0 ||
		strcmp(a->replication_state, b->replication_state) != 0 ||
		strcmp(a->conn_url, b->conn_url) != 0 ||
		strcmp(a->api_url, b->api_url) != 0 ||
		!member_same_ballot(&a->ballot, &b->ballot);
}

static bool
member_moved(const HaMemberDoc *sent, const HaMemberDoc *wanted)
{
	return sent->member.lsn != wanted->member.lsn ||
		sent->receive_lsn != wanted->receive_lsn ||
		sent->replay_lsn != wanted->replay_lsn;
}

static bool
member_write_due(const HaBrain *brain, HaTime now)
{
	if (!brain->member_landed ||
		member_urgent(&brain->member_sent, &brain->member))
		return true;
	return member_moved(&brain->member_sent, &brain->member) &&
		now >= brain->member_sent_at +
		brain->timeouts.loop_wait_ms * HA_NS_PER_MS;
}

static void
member_written(void *arg, const HaConsulAnswer *answer)
{
	HaBrain    *brain = arg;

	brain->member_write.id = 0;
	brain_answered(brain, answer);
	if (answer->result == HA_CONSUL_OK)
	{
		brain->member_landed = true;
		brain->member_landed_at = answer->received_at;
		brain->name_lock = HA_NAME_HELD;
		return;
	}
	brain->member_landed = false;
	brain->member_write.due = member_retry_at(answer);
	if (answer->result == HA_CONSUL_BAD_SESSION)
		brain_session_lost(brain);
	else if (answer->result == HA_CONSUL_REFUSED)
	{
		if (brain->name_lock != HA_NAME_TAKEN)
			brain_report(brain, HA_REPORT_WARNING,
						 "member \"%s\" is alive elsewhere, or its session "
						 "has not expired yet: %s", brain->name,
						 answer->text != NULL ? answer->text : "");
		brain->name_lock = HA_NAME_TAKEN;
	}
}

static void
member_write(HaBrain *brain, HaTime now)
{
	char	   *text = pgha_member_print(&brain->member);
	HaTxnOp		op;

	if (text == NULL)
		return;
	memset(&op, 0, sizeof(op));
	op.verb = HA_TXN_LOCK;
	op.key = brain->member_key;
	op.value = text;
	op.session = brain->session;
	brain->member_write.id = pgha_consul_txn(brain->config.consul, &op, 1,
											 brain_timeout_ms(brain),
											 member_written, brain);
	free(text);
	json_decref(brain->member_sent.pending_restart_reason);
	brain->member_sent = brain->member;
	brain->member_sent.tags = NULL;
	json_incref(brain->member_sent.pending_restart_reason);
	brain->member_sent_at = now;
	brain->member_landed = false;
	if (brain->member_write.id == 0)
		brain->member_write.due = now + BRAIN_MEMBER_RETRY_MS * HA_NS_PER_MS;
}

/* A read made after our write must show the key under our session. */
static void
member_check_name(HaBrain *brain)
{
	int			i;

	if (!brain->known || brain->name_lock != HA_NAME_HELD ||
		!brain->member_landed ||
		brain->lease.seen.sent_at <= brain->member_landed_at ||
		brain->read_at != brain->lease.seen.received_at)
		return;
	for (i = 0; i < brain->nmembers; i++)
	{
		if (strcmp(brain->members[i].name, brain->name) == 0 &&
			strcmp(brain->members[i].session, brain->session) == 0)
			return;
	}
	brain_report(brain, HA_REPORT_WARNING,
				 "the member key was deleted or overwritten, writing it again");
	brain->member_landed = false;
	brain->name_lock = HA_NAME_NOT_HELD;
}

void
brain_tick_member(HaBrain *brain, HaTime now)
{
	member_tick_session(brain, now);
	member_check_name(brain);
	if (brain->session_held && brain->member_wanted &&
		brain->member_write.id == 0 && now >= brain->member_write.due &&
		member_write_due(brain, now))
		member_write(brain, now);
}

HaTime
brain_member_next(const HaBrain *brain)
{
	HaTime		next = HA_TIME_NEVER;

	if (brain->renewal.id == 0)
		next = brain->renewal.due;
	if (brain->session_held && brain->member_wanted &&
		brain->member_write.id == 0)
	{
		HaTime		due = brain->member_write.due;

		if (brain->member_landed && member_moved(&brain->member_sent,
												 &brain->member))
			due = brain->member_sent_at +
				brain->timeouts.loop_wait_ms * HA_NS_PER_MS;
		if ((!brain->member_landed ||
			 member_moved(&brain->member_sent, &brain->member)) && due < next)
			next = due;
	}
	return next;
}
