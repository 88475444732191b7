/*
 * condition.c
 *	  What an administrator may wait for: facts in, what is missing out.
 */
#include "core/condition.h"

#include <string.h>

static const struct
{
	const char *name;
	HaConditionKind kind;
	bool		takes_member;
	bool		needs_member;
}			conditions[] = {
	{"leader", HA_CONDITION_LEADER, true, false},
	{"member_streaming", HA_CONDITION_MEMBER_STREAMING, true, true},
	{"nothing_pending", HA_CONDITION_NOTHING_PENDING, false, false},
	{"healthy", HA_CONDITION_HEALTHY, false, false},
};

/* "NAME" of "word(NAME)"; false if there is more, less or too much of it. */
static bool
parse_member(const char *text, char *member)
{
	size_t		len = strlen(text);

	if (len < 3 || text[0] != '(' || text[len - 1] != ')' ||
		len - 2 > HA_NAME_MAX)
		return false;
	memcpy(member, text + 1, len - 2);
	member[len - 2] = '\0';
	return true;
}

bool
pgha_condition_parse(const char *text, HaCondition *condition)
{
	size_t		len = strcspn(text, "(");
	size_t		i;

	memset(condition, 0, sizeof(*condition));
	for (i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
	{
		if (strlen(conditions[i].name) != len ||
			memcmp(conditions[i].name, text, len) != 0)
			continue;
		condition->kind = conditions[i].kind;
		if (text[len] == '\0')
			return !conditions[i].needs_member;
		return conditions[i].takes_member &&
			parse_member(text + len, condition->member);
	}
	return false;
}

static HaMissing
missing(const char *what, const char *member)
{
	HaMissing	result;

	memset(&result, 0, sizeof(result));
	result.what = what;
	memcpy(result.member, member, strlen(member));
	return result;
}

/* The member that leads, as a primary; NULL: nobody does. */
static const HaMember *
leading(const HaView *v)
{
	const HaMember *leader = NULL;

	if (v->cluster_known && v->leader[0] != '\0' &&
		(v->standing == HA_STANDING_OURS || v->standing == HA_STANDING_HELD ||
		 v->standing == HA_STANDING_PAUSED))
		leader = pgha_view_member(v, v->leader);
	if (leader == NULL || !leader->running ||
		leader->role != HA_ROLE_PRIMARY)
		return NULL;
	return leader;
}

static HaMissing
missing_leader(const HaView *v, const char *name)
{
	const HaMember *leader = leading(v);

	if (leader == NULL)
		return missing("no member leads", "");
	if (name[0] != '\0' && strcmp(leader->name, name) != 0)
		return missing("another member leads:", leader->name);
	return missing(NULL, "");
}

static HaMissing
missing_stream(const HaView *v, const HaMember *leader, const HaMember *m)
{
	if (leader == m)
		return missing("it leads and does not stream:", m->name);
	if (!m->running)
		return missing("the instance does not run:", m->name);
	if (!m->streaming)
		return missing("it does not stream:", m->name);
	if (leader == NULL)
		return missing("no member leads", "");
	if (m->tli != leader->tli)
		return missing("it is not on the leader's timeline:", m->name);
	return missing(NULL, "");
}

static HaMissing
missing_member(const HaView *v, const char *name)
{
	const HaMember *m = pgha_view_member(v, name);

	if (m == NULL)
		return missing("there is no such member:", name);
	return missing_stream(v, leading(v), m);
}

static HaMissing
missing_restarts(const HaView *v)
{
	for (int i = 0; i < v->nmembers; i++)
	{
		if (v->members[i].pending_restart)
			return missing("settings wait for a restart:", v->members[i].name);
	}
	return missing(NULL, "");
}

static HaMissing
missing_health(const HaView *v)
{
	const HaMember *leader = leading(v);

	if (leader == NULL)
		return missing("no member leads", "");
	for (int i = 0; i < v->nmembers; i++)
	{
		HaMissing	result;

		if (&v->members[i] == leader)
			continue;
		result = missing_stream(v, leader, &v->members[i]);
		if (result.what != NULL)
			return result;
	}
	return missing(NULL, "");
}

HaMissing
pgha_condition_missing(const HaView *view, const HaCondition *condition)
{
	switch (condition->kind)
	{
		case HA_CONDITION_LEADER:
			return missing_leader(view, condition->member);
		case HA_CONDITION_MEMBER_STREAMING:
			return missing_member(view, condition->member);
		case HA_CONDITION_NOTHING_PENDING:
			return missing_restarts(view);
		case HA_CONDITION_HEALTHY:
			break;
	}
	return missing_health(view);
}
