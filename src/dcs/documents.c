/*
 * documents.c
 *	  The documents of the cluster: status, history, initialize.
 *
 * They decide who leads and are read strictly: a document with a part that
 * makes no sense is refused whole.
 *
 * Source: Patroni's dcs module, versions 3.0 to 4.1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/documents.h"
#include "dcs/json.h"

/* longest ttl a configuration may have, see documents_config.c */
#define LEASE_TTL_MAX_MS (INT64_C(86400) * 1000)
#define SYSID_DIGITS_MIN 10
#define SYSID_DIGITS_MAX 20

/*
 * status
 */

static bool
electorate_parse(const json_t *array, HaElectorate *electorate)
{
	const char *name;
	size_t		i;

	if (array == NULL)
		return true;
	if (!json_is_array(array) || json_array_size(array) > HA_MEMBERS_MAX)
		return false;
	for (i = 0; i < json_array_size(array); i++)
	{
		name = json_string_value(json_array_get(array, i));
		if (name == NULL || name[0] == '\0' || strlen(name) > HA_NAME_MAX)
			return false;
		pgha_electorate_add(electorate, name);
	}
	return true;
}

/* All of a lease or nothing: half a lease is more dangerous than none. */
static bool
lease_parse(const json_t *object, HaLeaseRecord *lease, char *why)
{
	uint64_t	ttl_ms = 0;
	uint64_t	timeline = 0;
	uint64_t	claimed = 0;

	if (!json_is_object(object))
		return pgha_why(why, "lease is not an object");
	if (!pgha_json_get_name(object, "holder", lease->holder,
							sizeof(lease->holder)) ||
		lease->holder[0] == '\0')
		return pgha_why(why, "lease has no valid holder");
	if (!pgha_json_get_name(object, "session", lease->session,
							sizeof(lease->session)) ||
		!pgha_json_get_name(object, "successor", lease->successor,
							sizeof(lease->successor)))
		return pgha_why(why, "lease has no valid session or successor");
	if (!pgha_json_get_number(object, "term", &lease->term) ||
		lease->term == 0)
		return pgha_why(why, "lease has no valid term");
	if (json_object_get(object, "seq") == NULL ||
		!pgha_json_number(json_object_get(object, "seq"), &lease->seq))
		return pgha_why(why, "lease has no valid seq");
	if (!pgha_json_get_number(object, "ttl_ms", &ttl_ms) || ttl_ms == 0 ||
		ttl_ms > LEASE_TTL_MAX_MS)
		return pgha_why(why, "lease has no valid ttl_ms");
	if (!pgha_json_get_bool(object, "paused", &lease->paused) ||
		!pgha_json_get_bool(object, "released", &lease->released) ||
		!pgha_json_get_bool(object, "end_known", &lease->end_known))
		return pgha_why(why, "lease has a flag that is neither true nor false");
	if (!pgha_json_get_number(object, "timeline", &timeline) ||
		timeline > UINT32_MAX)
		return pgha_why(why, "lease has no valid timeline");
	if (!pgha_json_get_number(object, "claimed_timeline", &claimed) ||
		claimed > UINT32_MAX)
		return pgha_why(why, "lease has no valid claimed_timeline");
	if (!electorate_parse(json_object_get(object, "electorate"),
						  &lease->electorate))
		return pgha_why(why, "lease has no valid electorate");
	lease->timeline = (uint32_t) timeline;
	lease->claimed = (uint32_t) claimed;
	lease->ttl_ms = (int64_t) ttl_ms;
	lease->present = true;
	return true;
}

/* Positions of slots; those that don't fit or make no sense are left out. */
static void
slots_parse(json_t *object, HaStatusDoc *status)
{
	const char *name;
	json_t	   *value;
	uint64_t	lsn;

	json_object_foreach(object, name, value)
	{
		HaSlotPosition *slot;

		if (status->nslots == HA_MEMBERS_MAX)
			break;
		if (strlen(name) > HA_NAME_MAX || !pgha_json_number(value, &lsn))
			continue;
		slot = &status->slots[status->nslots++];
		strcpy(slot->name, name);
		slot->lsn = lsn;
	}
}

static bool
status_read(json_t *document, HaStatusDoc *status, char *why)
{
	json_t	   *lease;

	if (pgha_json_number(document, &status->optime))
		return true;
	if (!json_is_object(document))
		return pgha_why(why, "is neither an object nor a position");
	if (!pgha_json_get_number(document, "optime", &status->optime))
		return pgha_why(why, "optime is not a position");
	slots_parse(json_object_get(document, "slots"), status);
	lease = json_object_get(document, "lease");
	if (lease == NULL || json_is_null(lease))
		return true;
	return lease_parse(lease, &status->lease, why);
}

bool
pgha_status_parse(const char *text, size_t len, HaStatusDoc *status,
				  char *why)
{
	json_t	   *document;
	bool		ok;

	memset(status, 0, sizeof(*status));
	why[0] = '\0';
	if (len == 0)
		return true;
	document = pgha_json_load(text, len, why);
	if (document == NULL)
		return false;
	ok = status_read(document, status, why);
	json_decref(document);
	if (!ok)
		memset(status, 0, sizeof(*status));
	return ok;
}

static int
set_electorate(json_t *object, const HaElectorate *electorate)
{
	json_t	   *array = json_array();
	int			failed = 0;

	for (int i = 0; i < electorate->n; i++)
		failed |= json_array_append_new(array,
										json_string(electorate->names[i]));
	return failed | json_object_set_new(object, "electorate", array);
}

static int
set_lease(json_t *document, const HaLeaseRecord *lease)
{
	json_t	   *object;
	int			failed = 0;

	if (!lease->present)
	{
		json_object_del(document, "lease");
		return 0;
	}
	object = pgha_json_object();
	failed |= pgha_json_set_text(object, "holder", lease->holder);
	failed |= pgha_json_set_text(object, "session", lease->session);
	failed |= pgha_json_set_number(object, "term", lease->term);
	failed |= pgha_json_set_number(object, "seq", lease->seq);
	failed |= pgha_json_set_number(object, "ttl_ms", (uint64_t) lease->ttl_ms);
	if (lease->timeline != 0)
		failed |= pgha_json_set_number(object, "timeline", lease->timeline);
	if (lease->claimed != 0)
		failed |= pgha_json_set_number(object, "claimed_timeline",
									   lease->claimed);
	failed |= pgha_json_set_bool(object, "paused", lease->paused);
	failed |= pgha_json_set_bool(object, "released", lease->released);
	if (lease->end_known)
		failed |= pgha_json_set_bool(object, "end_known", true);
	failed |= pgha_json_set_known_text(object, "successor", lease->successor);
	if (lease->electorate.n > 0)
		failed |= set_electorate(object, &lease->electorate);
	return failed | json_object_set_new(document, "lease", object);
}

static int
set_slots(json_t *document, const HaStatusDoc *status)
{
	json_t	   *object;
	int			failed = 0;

	if (status->nslots == 0)
	{
		json_object_del(document, "slots");
		return 0;
	}
	object = pgha_json_object();
	for (int i = 0; i < status->nslots; i++)
		failed |= pgha_json_set_number(object, status->slots[i].name,
							 status->slots[i].lsn);
	return failed | json_object_set_new(document, "slots", object);
}

char *
pgha_status_print(const HaStatusDoc *status, const char *previous,
				  size_t previous_len)
{
	char		why[HA_WHY_MAX];
	json_t	   *document = NULL;
	int			failed = 0;

	if (previous != NULL)
		document = pgha_json_load(previous, previous_len, why);
	if (!json_is_object(document))
	{
		json_decref(document);
		document = pgha_json_object();
	}

	/* an old position beside a new lease would be a lie */
	if (status->optime == 0)
		json_object_del(document, "optime");
	failed |= pgha_json_set_known_number(document, "optime", status->optime);
	failed |= set_slots(document, status);
	failed |= set_lease(document, &status->lease);
	if (failed)
	{
		json_decref(document);
		return NULL;
	}
	return pgha_json_print(document);
}

/*
 * history
 */

/* [tli, end, reason, when, leader], of which the last two may be missing */
static bool
history_line_parse(const json_t *entry, HaHistoryLine *line)
{
	const json_t *reason = json_array_get(entry, 2);
	const json_t *when = json_array_get(entry, 3);
	const json_t *leader = json_array_get(entry, 4);
	uint64_t	tli;

	memset(line, 0, sizeof(*line));
	if (!pgha_json_number(json_array_get(entry, 0), &tli) ||
		tli == 0 || tli >= UINT32_MAX ||
		!pgha_json_number(json_array_get(entry, 1), &line->end))
		return false;
	line->tli = (uint32_t) tli;
	if (json_is_string(reason))
		pgha_text_cut(line->reason, sizeof(line->reason),
					  json_string_value(reason));
	if (json_is_string(when))
		pgha_text_cut(line->when, sizeof(line->when),
					  json_string_value(when));
	if (json_is_string(leader) && json_string_length(leader) <= HA_NAME_MAX)
		strcpy(line->leader, json_string_value(leader));
	return true;
}

static bool
history_read(const json_t *document, HaHistoryDoc *history, char *why)
{
	size_t		n = json_array_size(document);
	size_t		first = n > HA_HISTORY_MAX ? n - HA_HISTORY_MAX : 0;
	uint32_t	last_tli = 0;

	if (!json_is_array(document))
		return pgha_why(why, "is not an array");
	for (size_t i = 0; i < n; i++)
	{
		HaHistoryLine line;

		if (!history_line_parse(json_array_get(document, i), &line))
			return pgha_why(why, "entry %zu is not a timeline", i);
		if (line.tli <= last_tli)
			return pgha_why(why, "entry %zu is not in order", i);
		last_tli = line.tli;
		if (i >= first)
			history->lines[history->nlines++] = line;
	}
	return true;
}

bool
pgha_history_parse(const char *text, size_t len, HaHistoryDoc *history,
				   char *why)
{
	json_t	   *document;
	bool		ok;

	history->nlines = 0;
	why[0] = '\0';
	if (len == 0)
		return true;
	document = pgha_json_load(text, len, why);
	if (document == NULL)
		return false;
	ok = history_read(document, history, why);
	json_decref(document);
	if (!ok)
		history->nlines = 0;
	return ok;
}

char *
pgha_history_print(const HaHistoryDoc *history)
{
	json_t	   *document = json_array();
	int			failed = 0;

	for (int i = 0; i < history->nlines; i++)
	{
		const HaHistoryLine *line = &history->lines[i];
		json_t	   *entry = json_pack("[I, I, s]", (json_int_t) line->tli,
									  (json_int_t) line->end, line->reason);

		/* a leader without a time has no place: fields are by position */
		if (line->when[0] != '\0')
			failed |= json_array_append_new(entry, json_string(line->when));
		if (line->when[0] != '\0' && line->leader[0] != '\0')
			failed |= json_array_append_new(entry, json_string(line->leader));
		failed |= json_array_append_new(document, entry);
	}
	if (failed)
	{
		json_decref(document);
		return NULL;
	}
	return pgha_json_print(document);
}

void
pgha_history_timelines(const HaHistoryDoc *history, HaTimelines *timelines)
{
	memset(timelines, 0, sizeof(*timelines));
	for (int i = 0; i < history->nlines; i++)
	{
		timelines->forks[i].tli = history->lines[i].tli;
		timelines->forks[i].end = history->lines[i].end;
	}
	timelines->nforks = history->nlines;
}

/*
 * initialize
 */

uint64_t
pgha_initialize_parse(const char *text, size_t len)
{
	uint64_t	sysid = 0;

	if (len < SYSID_DIGITS_MIN || len > SYSID_DIGITS_MAX)
		return 0;
	for (size_t i = 0; i < len; i++)
	{
		unsigned	digit = (unsigned) text[i] - '0';

		if (digit > 9 || sysid > (UINT64_MAX - digit) / 10)
			return 0;
		sysid = sysid * 10 + digit;
	}
	return sysid;
}
