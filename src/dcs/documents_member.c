/*
 * documents_member.c
 *	  members/<name>: what a node says of itself.
 *
 * It describes, so it is read as far as it can be: a field that makes no sense
 * counts as absent.  A ballot decides, and is whole or not there.
 *
 * Source: Patroni's ha.touch_member, versions 3.0 to 4.1.
 */
#include <string.h>

#include "dcs/documents.h"
#include "dcs/json.h"

/* A ballot counts only if it is whole. */
static void
ballot_parse(const json_t *object, HaBallot *ballot)
{
	uint64_t	tli;

	ballot->present = json_is_object(object) &&
		pgha_json_number(json_object_get(object, "term"), &ballot->term) &&
		pgha_json_number(json_object_get(object, "seq"), &ballot->seq) &&
		pgha_json_number(json_object_get(object, "timeline"), &tli) &&
		pgha_json_number(json_object_get(object, "lsn"), &ballot->lsn) &&
		tli > 0 && tli <= UINT32_MAX;
	if (ballot->present)
		ballot->tli = (uint32_t) tli;
	else
		memset(ballot, 0, sizeof(*ballot));
}

static void
tags_parse(const json_t *tags, HaMember *member)
{
	uint64_t	priority = 1;
	const json_t *value = json_object_get(tags, "failover_priority");

	pgha_json_get_bool(tags, "nofailover", &member->nofailover);
	if (json_is_integer(value) && json_integer_value(value) < 0)
		priority = 0;
	else if (!pgha_json_get_number(tags, "failover_priority", &priority))
		priority = 1;
	member->failover_priority = priority < INT32_MAX ? (int) priority :
		INT32_MAX;
	if (member->failover_priority == 0)
		member->nofailover = true;
}

static HaRole
role_parse(const char *role)
{
	/* Patroni before 4.0 writes "master" */
	if (strcmp(role, "primary") == 0 || strcmp(role, "master") == 0)
		return HA_ROLE_PRIMARY;
	if (strcmp(role, "replica") == 0)
		return HA_ROLE_STANDBY;
	return HA_ROLE_UNKNOWN;
}

/* What does not fit is left out: that there is something is said all the same. */
static void
pending_parse(json_t *reason, HaMember *member)
{
	size_t		len = 0;

	if (json_is_object(reason) && json_object_size(reason) > 0)
		len = json_dumpb(reason, member->pending, HA_PENDING_MAX,
						 JSON_COMPACT);
	if (len > HA_PENDING_MAX)
		len = 0;
	member->pending[len] = '\0';
}

static void
settings_parse(const json_t *object, HaControlSettings *settings)
{
	for (int i = 0; i < HA_CRITICALS; i++)
	{
		uint64_t	value = 0;

		if (pgha_json_get_number(object, pgha_critical_name(i), &value) &&
			value <= INT32_MAX)
			*pgha_critical(settings, i) = (int) value;
	}
}

static void
member_read(const json_t *document, HaMember *member)
{
	const json_t *mark = json_object_get(document, "pg_ha");
	char		role[HA_NAME_MAX + 1] = "";
	uint64_t	tli = 0;
	uint64_t	version = 0;

	pgha_json_get_text(document, "conn_url", member->conn_url,
					   sizeof(member->conn_url));
	pgha_json_get_text(document, "api_url", member->api_url,
					   sizeof(member->api_url));
	pgha_json_get_text(document, "state", member->state,
					   sizeof(member->state));
	pgha_json_get_text(document, "replication_state",
					   member->replication_state,
					   sizeof(member->replication_state));
	pgha_json_get_text(document, "role", role, sizeof(role));
	member->role = role_parse(role);
	member->running = strcmp(member->state, "running") == 0;
	member->streaming = strcmp(member->replication_state, "streaming") == 0;
	pgha_json_get_bool(document, "pending_restart", &member->pending_restart);
	pending_parse(json_object_get(document, "pending_restart_reason"), member);
	pgha_json_get_number(document, "xlog_location", &member->lsn);
	if (pgha_json_get_number(document, "timeline", &tli) && tli <= UINT32_MAX)
		member->tli = (uint32_t) tli;
	tags_parse(json_object_get(document, "tags"), member);

	member->pgha = json_is_object(mark);
	if (member->pgha)
	{
		pgha_json_get_bool(mark, "launcher", &member->launcher);
		pgha_json_get_number(mark, "started", &member->started);
		pgha_json_get_bool(mark, "fell_back", &member->fell_back);
		if (pgha_json_get_number(mark, "server_version", &version) &&
			version <= INT32_MAX)
			member->server_version = (int) version;
		ballot_parse(json_object_get(mark, "ballot"), &member->ballot);
		settings_parse(json_object_get(mark, "settings"), &member->settings);
	}
}

bool
pgha_member_parse(const char *name, const char *text, size_t len,
				  HaMember *member, char *why)
{
	json_t	   *document;
	bool		is_object;

	memset(member, 0, sizeof(*member));
	why[0] = '\0';
	if (name[0] == '\0' || strlen(name) > HA_NAME_MAX)
		return pgha_why(why, "a member's name has 1 to %d bytes", HA_NAME_MAX);
	document = pgha_json_load(text, len, why);
	if (document == NULL)
		return false;
	is_object = json_is_object(document);
	if (is_object)
	{
		strcpy(member->name, name);
		member_read(document, member);
	}
	json_decref(document);
	return is_object ? true : pgha_why(why, "is not an object");
}

static const char *
role_name(HaRole role)
{
	switch (role)
	{
		case HA_ROLE_PRIMARY:
			return "primary";
		case HA_ROLE_STANDBY:
			return "replica";
		case HA_ROLE_UNKNOWN:
			break;
	}
	return "uninitialized";
}

static int
set_settings(json_t *mark, HaControlSettings settings)
{
	json_t	   *object;
	int			failed = 0;

	if (settings.max_connections <= 0)
		return 0;
	object = pgha_json_object();
	for (int i = 0; i < HA_CRITICALS; i++)
		failed |= json_object_set_new(object, pgha_critical_name(i),
									  json_integer(*pgha_critical(&settings,
																  i)));
	return failed | json_object_set_new(mark, "settings", object);
}

/* pg_ha's mark: Patroni's tools ignore it, pg_ha tells its own by it. */
static int
set_mark(json_t *document, const HaMember *member)
{
	json_t	   *mark;
	json_t	   *ballot;
	int			failed = 0;

	if (!member->pgha)
		return 0;
	mark = pgha_json_object();
	failed |= pgha_json_set_bool(mark, "launcher", member->launcher);
	failed |= pgha_json_set_known_number(mark, "started", member->started);
	failed |= pgha_json_set_known_number(mark, "server_version",
										 (uint64_t) member->server_version);
	if (member->fell_back)
		failed |= pgha_json_set_bool(mark, "fell_back", true);
	if (member->ballot.present)
	{
		ballot = pgha_json_object();
		failed |= pgha_json_set_number(ballot, "term", member->ballot.term);
		failed |= pgha_json_set_number(ballot, "seq", member->ballot.seq);
		failed |= pgha_json_set_number(ballot, "timeline", member->ballot.tli);
		failed |= pgha_json_set_number(ballot, "lsn", member->ballot.lsn);
		failed |= json_object_set_new(mark, "ballot", ballot);
	}
	failed |= set_settings(mark, member->settings);
	return failed | json_object_set_new(document, "pg_ha", mark);
}

char *
pgha_member_print(const HaMemberDoc *doc)
{
	const HaMember *member = &doc->member;
	json_t	   *document = pgha_json_object();
	int			failed = 0;

	failed |= pgha_json_set_text(document, "conn_url", member->conn_url);
	failed |= pgha_json_set_text(document, "api_url", member->api_url);
	failed |= pgha_json_set_text(document, "state", member->state);
	failed |= pgha_json_set_text(document, "role", role_name(member->role));
	failed |= pgha_json_set_text(document, "version", doc->version);
	if (json_object_size(doc->tags) > 0)
		failed |= json_object_set(document, "tags", doc->tags);
	if (member->pending_restart)
		failed |= pgha_json_set_bool(document, "pending_restart", true);
	if (json_object_size(doc->pending_restart_reason) > 0)
		failed |= json_object_set(document, "pending_restart_reason",
								  doc->pending_restart_reason);
	failed |= pgha_json_set_known_number(document, "xlog_location", member->lsn);
	failed |= pgha_json_set_known_number(document, "receive_lsn", doc->receive_lsn);
	failed |= pgha_json_set_known_number(document, "replay_lsn", doc->replay_lsn);
	failed |= pgha_json_set_known_text(document, "replication_state",
							 member->replication_state);
	failed |= pgha_json_set_known_number(document, "timeline", member->tli);
	if (doc->pause)
		failed |= pgha_json_set_bool(document, "pause", true);
	failed |= set_mark(document, member);
	if (failed)
	{
		json_decref(document);
		return NULL;
	}
	return pgha_json_print(document);
}
