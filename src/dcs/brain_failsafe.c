/*
 * brain_failsafe.c
 *	  The electorate, and asking it to wait while Consul does not answer.
 *
 * POST <api_url of a member>/failsafe {"scope", "name", "term", "seq", "ttl_ms"}
 * is answered 200 by a member that has restarted its wait.  Source of the path:
 * Patroni's REST API; what the body means is pg_ha's own (core/lease.h).
 */
#include "dcs/brain_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/json.h"
#include "dcs/peer.h"

/*
 * A member whose key has been away for so many ttl is no longer counted on: not
 * at once, because after a restart of Consul all keys are away for a moment, and
 * a leader that dies then must have a successor.
 */
#define FAILSAFE_LINGER_TTLS 2

bool
brain_failsafe_mode(const HaBrain *brain)
{
	return brain->config.kind == HA_BRAIN_WORKER &&
		(!brain->config_valid || brain->configuration.failsafe_mode);
}

/* ------------------------------------------------------------------------
 * The electorate
 * ------------------------------------------------------------------------
 */

/* A key away is remembered with the time it was there last. */
static void
failsafe_note(HaBrain *brain, const char *name)
{
	BrainElector *free_slot = NULL;

	for (int i = 0; i < HA_MEMBERS_MAX; i++)
	{
		BrainElector *elector = &brain->electors[i];

		if (strcmp(elector->name, name) == 0)
		{
			elector->seen_at = brain->read_at;
			return;
		}
		if (free_slot == NULL && elector->name[0] == '\0')
			free_slot = elector;
	}
	if (free_slot == NULL)
		return;
	snprintf(free_slot->name, sizeof(free_slot->name), "%s", name);
	free_slot->seen_at = brain->read_at;
}

/* Whom the next write lists: who has, or had until lately, a member key. */
void
brain_list_electorate(HaBrain *brain)
{
	HaElectorate *electorate = &brain->lease.electorate;
	HaTime		linger = FAILSAFE_LINGER_TTLS * brain->timeouts.ttl_ms *
		HA_NS_PER_MS;

	if (brain->config.kind != HA_BRAIN_WORKER)
	{
		/* asks nobody, and so must not change who was told that it may be */
		*electorate = brain->lease.seen.lease.electorate;
		return;
	}
	electorate->n = 0;
	if (!brain_failsafe_mode(brain))
		return;
	for (int i = 0; i < brain->nmembers; i++)
		if (brain->members[i].pgha)
			failsafe_note(brain, brain->members[i].name);
	pgha_electorate_add(electorate, brain->name);
	for (int i = 0; i < HA_MEMBERS_MAX; i++)
	{
		BrainElector *elector = &brain->electors[i];

		if (elector->name[0] == '\0')
			continue;
		if (brain->read_at - elector->seen_at <= linger)
			pgha_electorate_add(electorate, elector->name);
		else
			elector->name[0] = '\0';
	}
}

/* The key that Patroni's tools read; NULL: it says that already.  malloc'd */
char *
brain_failsafe_text(const HaBrain *brain)
{
	const HaElectorate *electorate = &brain->lease.electorate;
	json_t	   *object;
	char	   *text;

	if (electorate->n == 0 || brain->config.kind != HA_BRAIN_WORKER)
		return NULL;
	object = pgha_json_object();
	for (int i = 0; i < brain->nmembers; i++)
		if (pgha_electorate_has(electorate, brain->members[i].name))
			pgha_json_set_text(object, brain->members[i].name,
							   brain->members[i].api_url);
	text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(object);
	if (text != NULL && brain->failsafe_key != NULL &&
		strcmp(text, brain->failsafe_key) == 0)
	{
		free(text);
		return NULL;
	}
	return text;
}

/* ------------------------------------------------------------------------
 * Asking
 * ------------------------------------------------------------------------
 */

static void
failsafe_answered(void *arg, const HaHttpAnswer *answer)
{
	BrainAsk   *ask = arg;
	HaBrain    *brain = ask->brain;
	HaTime		deadline = brain->lease.deadline;

	ask->id = 0;
	pgha_lease_failsafe_answer(&brain->lease, ask->seq, ask->name,
							   answer->ok && answer->status == 200);
	brain->answers++;
	if (answer->ok && answer->status == 200)
	{
		if (brain->lease.deadline > deadline && !brain->failsafe_said)
			brain_report(brain, HA_REPORT_WARNING,
						 "Consul does not answer; all members agreed to wait, "
						 "so this one leads on");
		brain->failsafe_said |= brain->lease.deadline > deadline;
		return;
	}
	brain_report(brain, HA_REPORT_DEBUG, "member \"%s\" did not agree to wait: %s",
				 ask->name, answer->ok ? answer->body : answer->error);
}

static const char *
failsafe_api_url(const HaBrain *brain, const char *name)
{
	for (int i = 0; i < brain->nmembers; i++)
	{
		if (strcmp(brain->members[i].name, name) == 0)
			return brain->members[i].api_url;
	}
	return "";
}

static void
failsafe_ask(HaBrain *brain, BrainAsk *ask, const char *name)
{
	HaHttp	   *http = pgha_consul_http(brain->config.consul);
	const HaFailsafe *failsafe = &brain->lease.failsafe;

	pgha_http_cancel(http, ask->id);
	memset(ask, 0, sizeof(*ask));
	ask->brain = brain;
	ask->seq = failsafe->seq;
	snprintf(ask->name, sizeof(ask->name), "%s", name);
	ask->id = pgha_peer_post(http, failsafe_api_url(brain, name), "/failsafe",
							 json_pack("{s:s, s:s, s:I, s:I, s:I}",
									   "scope", brain->config.scope,
									   "name", brain->name,
									   "term", (json_int_t) brain->lease.my_term,
									   "seq", (json_int_t) failsafe->seq,
									   "ttl_ms", (json_int_t) failsafe->ttl_ms),
							 brain->config.credentials, brain_timeout_ms(brain),
							 failsafe_answered, ask);
	if (ask->id == 0)
		pgha_lease_failsafe_answer(&brain->lease, ask->seq, name, false);
}

bool
pgha_brain_failsafe(HaBrain *brain)
{
	HaTime		now = pgha_now();
	HaElectorate asked;

	brain->failsafe_due = now + brain->timeouts.loop_wait_ms * HA_NS_PER_MS;
	if (!brain_reserve_seq(brain) ||
		!pgha_lease_failsafe_begin(&brain->lease, now))
		return false;
	asked = brain->lease.failsafe.asked;
	for (int i = 0; i < asked.n; i++)
		if (strcmp(asked.names[i], brain->name) != 0)
			failsafe_ask(brain, &brain->asks[i], asked.names[i]);
	return true;
}

bool
pgha_brain_accept(HaBrain *brain, uint64_t term, uint64_t seq, int64_t ttl_ms)
{
	return pgha_lease_failsafe_accept(&brain->lease, pgha_now(), term, seq,
									  ttl_ms);
}

void
brain_failsafe_cancel(HaBrain *brain)
{
	for (int i = 0; i < HA_MEMBERS_MAX; i++)
		pgha_http_cancel(pgha_consul_http(brain->config.consul),
						 brain->asks[i].id);
}
