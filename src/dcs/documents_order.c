/*
 * documents_order.c
 *	  What operators ask for: the failover key, and the documents of jobs.
 *
 * Source of the former: Patroni's ha.manual_failover, versions 3.0 to 4.1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dcs/documents.h"
#include "dcs/json.h"

/* of a checkpoint, or of a member that restarts */
#define ORDER_TIMEOUT_MS 300000

/* ------------------------------------------------------------------------
 * Times
 * ------------------------------------------------------------------------
 */

/* "+02", "-0330", "+01:00", "Z"; a time without a zone can mean anything */
static bool
time_zone(const char *text, int64_t *ms)
{
	int			hours;
	int			minutes = 0;
	int			len = 0;

	if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
		return true;
	if ((text[0] != '+' && text[0] != '-') ||
		(sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &len) != 2 &&
		 sscanf(text + 1, "%2d%2d%n", &hours, &minutes, &len) != 2 &&
		 sscanf(text + 1, "%2d%n", &hours, &len) != 1) ||
		text[1 + len] != '\0' || hours < 0 || hours > 15 || minutes < 0 ||
		minutes > 59)
		return false;
	*ms -= (text[0] == '-' ? -1 : 1) *
		((int64_t) hours * 60 + minutes) * INT64_C(60000);
	return true;
}

bool
pgha_time_parse(const char *text, int64_t *ms)
{
	struct tm	tm = {0};
	const char *rest = strptime(text, "%Y-%m-%d", &tm);
	int64_t		fraction = 0;

	if (rest == NULL || (*rest != 'T' && *rest != ' '))
		return false;
	rest = strptime(rest + 1, "%H:%M:%S", &tm);
	if (rest == NULL)
		return false;
	if (*rest == '.')
	{
		int64_t		weight = 100;

		for (rest++; *rest >= '0' && *rest <= '9'; rest++, weight /= 10)
			fraction += (*rest - '0') * weight;
	}
	while (*rest == ' ')
		rest++;
	*ms = (int64_t) timegm(&tm) * 1000 + fraction;
	return time_zone(rest, ms);
}

void
pgha_time_print(int64_t ms, char *text, size_t size)
{
	time_t		seconds = (time_t) (ms / 1000);
	struct tm	tm;
	size_t		len = strftime(text, size, "%Y-%m-%dT%H:%M:%S",
							   gmtime_r(&seconds, &tm));

	snprintf(text + len, size - len, ".%03d+00:00", (int) (ms % 1000));
}

/* ------------------------------------------------------------------------
 * failover
 * ------------------------------------------------------------------------
 */

/* What Patroni wrote before it wrote JSON: "leader:candidate". */
static bool
order_read_legacy(const char *text, size_t len, HaOrder *order, char *why)
{
	const char *colon = memchr(text, ':', len);
	size_t		leader_len = colon ? (size_t) (colon - text) : 0;
	size_t		member_len = colon ? len - leader_len - 1 : 0;

	for (size_t i = 0; i < len; i++)
	{
		if (text + i != colon && !(text[i] >= 'a' && text[i] <= 'z') &&
			!(text[i] >= 'A' && text[i] <= 'Z') &&
			!(text[i] >= '0' && text[i] <= '9') &&
			(text[i] == '\0' || strchr("_-.", text[i]) == NULL))
			colon = NULL;
		if (colon == NULL)
			return pgha_why(why, "is neither JSON nor leader:candidate");
	}
	if (leader_len > HA_NAME_MAX || member_len > HA_NAME_MAX)
		return pgha_why(why, "names a member that cannot be");
	memcpy(order->leader, text, leader_len);
	memcpy(order->member, colon + 1, member_len);
	return true;
}

/* A field of what is to be done is right, or nothing is done. */
static bool
order_read(const json_t *document, HaOrder *order, char *why)
{
	const json_t *own = json_object_get(document, "pg_ha");
	char		when[40] = "";
	uint64_t	timeout_ms = ORDER_TIMEOUT_MS;

	if (!json_is_object(document))
		return pgha_why(why, "is not an object");
	if (!pgha_json_get_name(document, "leader", order->leader,
							sizeof(order->leader)) ||
		!pgha_json_get_name(document, "member", order->member,
							sizeof(order->member)))
		return pgha_why(why, "names a member that cannot be");
	if (!pgha_json_get_name(document, "scheduled_at", when, sizeof(when)) ||
		(when[0] != '\0' && !pgha_time_parse(when, &order->scheduled_ms)))
		return pgha_why(why, "scheduled_at is not a time with a zone");
	if (!pgha_json_get_name(own, "job", order->job, sizeof(order->job)) ||
		!pgha_json_get_name(own, "asked_by", order->asked_by,
							sizeof(order->asked_by)) ||
		!pgha_json_get_number(own, "timeout_ms", &timeout_ms) ||
		!pgha_json_get_bool(own, "force", &order->force) ||
		!pgha_json_get_number(own, "begun", &order->begun_term))
		return pgha_why(why, "has a malformed \"pg_ha\"");
	order->timeout_ms = timeout_ms <= INT32_MAX ? (int64_t) timeout_ms :
		INT32_MAX;
	return true;
}

bool
pgha_order_parse(const char *text, size_t len, HaOrder *order, char *why)
{
	json_t	   *document;
	bool		ok;

	memset(order, 0, sizeof(*order));
	order->timeout_ms = ORDER_TIMEOUT_MS;
	why[0] = '\0';
	if (len == 0)
		return true;
	document = pgha_json_load(text, len, why);
	if (document != NULL)
	{
		ok = order_read(document, order, why);
		json_decref(document);
	}
	else
		ok = len <= HA_DOCUMENT_MAX &&
			order_read_legacy(text, len, order, why);
	if (!ok)
		memset(order, 0, sizeof(*order));
	order->present = order->leader[0] != '\0' || order->member[0] != '\0';
	return ok;
}

char *
pgha_order_print(const HaOrder *order)
{
	json_t	   *document = pgha_json_object();
	json_t	   *own = pgha_json_object();
	char		when[40];
	int			failed = 0;

	failed |= pgha_json_set_known_text(document, "leader", order->leader);
	failed |= pgha_json_set_known_text(document, "member", order->member);
	if (order->scheduled_ms != 0)
	{
		pgha_time_print(order->scheduled_ms, when, sizeof(when));
		failed |= pgha_json_set_text(document, "scheduled_at", when);
	}
	failed |= pgha_json_set_known_text(own, "job", order->job);
	failed |= pgha_json_set_known_text(own, "asked_by", order->asked_by);
	failed |= pgha_json_set_known_number(own, "timeout_ms",
										 (uint64_t) order->timeout_ms);
	if (order->force)
		failed |= pgha_json_set_bool(own, "force", true);
	failed |= pgha_json_set_known_number(own, "begun", order->begun_term);
	failed |= json_object_set_new(document, "pg_ha", own);
	if (failed)
	{
		json_decref(document);
		return NULL;
	}
	return pgha_json_print(document);
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

static const char *const entry_states[] = {
	[HA_ENTRY_TODO] = "todo",
	[HA_ENTRY_ASKED] = "asked",
	[HA_ENTRY_DONE] = "done",
	[HA_ENTRY_SKIPPED] = "skipped",
};

const char *
pgha_entry_state_name(HaEntryState state)
{
	return entry_states[state];
}

bool
pgha_job_is_open(const json_t *document)
{
	const char *state = json_string_value(json_object_get(document, "state"));

	return state != NULL && (strcmp(state, "running") == 0 ||
							 strcmp(state, "scheduled") == 0);
}

static bool
entry_parse(const json_t *object, HaRestartEntry *entry)
{
	char		state[16] = "";
	uint64_t	rounds = 0;

	memset(entry, 0, sizeof(*entry));
	if (!pgha_json_get_name(object, "name", entry->member,
							sizeof(entry->member)) ||
		!pgha_json_get_name(object, "state", state, sizeof(state)) ||
		!pgha_json_get_number(object, "before", &entry->before) ||
		!pgha_json_get_number(object, "rounds", &rounds) ||
		entry->member[0] == '\0' || rounds > INT32_MAX)
		return false;
	entry->rounds = (int) rounds;
	for (size_t i = 0; i < sizeof(entry_states) / sizeof(entry_states[0]); i++)
	{
		if (strcmp(state, entry_states[i]) == 0)
		{
			entry->state = (HaEntryState) i;
			return true;
		}
	}
	return false;
}

static bool
entries_parse(const json_t *members, HaRestart *restart)
{
	size_t		n = json_array_size(members);

	if (n == 0 || n > HA_MEMBERS_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
	{
		if (!entry_parse(json_array_get(members, i), &restart->entries[i]))
			return false;
	}
	restart->nentries = (int) n;
	return true;
}

/* False: not a restart, over, or not to be understood. */
bool
pgha_restart_parse(const char *id, const json_t *document, HaRestart *restart)
{
	const char *kind = json_string_value(json_object_get(document, "kind"));
	char		when[40] = "";
	char		role[16] = "";
	uint64_t	timeout_ms = ORDER_TIMEOUT_MS;
	uint64_t	below = 0;

	memset(restart, 0, sizeof(*restart));
	if (kind == NULL || strcmp(kind, "restart") != 0 ||
		!pgha_job_is_open(document) || strlen(id) > HA_JOB_ID_MAX)
		return false;
	strcpy(restart->id, id);
	if (!pgha_json_get_name(document, "asked_by", restart->asked_by,
							sizeof(restart->asked_by)) ||
		!pgha_json_get_name(document, "scheduled_at", when, sizeof(when)) ||
		!pgha_json_get_name(document, "role", role, sizeof(role)) ||
		!pgha_json_get_bool(document, "pending_only", &restart->pending_only) ||
		!pgha_json_get_number(document, "timeout_ms", &timeout_ms) ||
		!pgha_json_get_number(document, "version_below", &below) ||
		timeout_ms > INT32_MAX || below > INT32_MAX ||
		(when[0] != '\0' && !pgha_time_parse(when, &restart->scheduled_ms)) ||
		!entries_parse(json_object_get(document, "members"), restart))
		return false;
	restart->timeout_ms = (int64_t) timeout_ms;
	restart->version_below = (int) below;
	if (strcmp(role, "primary") == 0)
		restart->role = HA_ROLE_PRIMARY;
	else if (strcmp(role, "replica") == 0)
		restart->role = HA_ROLE_STANDBY;
	restart->present = true;
	return true;
}
