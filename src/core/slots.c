/*
 * slots.c
 *	  Physical replication slots of members: their names, and which to keep.
 */
#include "core/slots.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void
pgha_slot_name(const char *member, char *slot)
{
	size_t		len = 0;

	for (; *member != '\0' && len + 6 < HA_NAME_MAX; member++)
	{
		unsigned char c = (unsigned char) *member;

		if (isalnum(c) || c == '_')
			slot[len++] = (char) tolower(c);
		else if (c == '-' || c == '.' || c == ' ')
			slot[len++] = '_';
		else
			len += (size_t) snprintf(slot + len, 6, "u%04d", c);
	}
	slot[len] = '\0';
}

static bool
slot_is_of_member(const HaView *view, const char *slot)
{
	char		name[HA_NAME_MAX + 1];
	int			i;

	for (i = 0; i < view->nmembers; i++)
	{
		pgha_slot_name(view->members[i].name, name);
		if (strcmp(view->members[i].name, view->self) != 0 &&
			strcmp(name, slot) == 0)
			return true;
	}
	return false;
}

static bool
slot_exists(const HaSlot *slots, int nslots, const char *name)
{
	int			i;

	for (i = 0; i < nslots; i++)
	{
		if (strcmp(slots[i].name, name) == 0)
			return true;
	}
	return false;
}

static bool
slot_may_go(const HaView *view, const HaSlot *slot)
{
	bool		of_member = slot_is_of_member(view, slot->name);

	if (slot->active || (!slot->known && !of_member))
		return false;
	if (view->role == HA_ROLE_STANDBY)
		return true;
	return !of_member && slot->unwanted_since != 0 &&
		view->now >= slot->unwanted_since +
		view->timeouts.member_slots_ttl_ms * HA_NS_PER_MS;
}

void
pgha_slots_plan(const HaView *view, const HaSlot *slots, int nslots,
				HaSlotPlan *plan)
{
	char		name[HA_NAME_MAX + 1];
	int			i;

	memset(plan, 0, sizeof(*plan));
	for (i = 0; i < view->nmembers && view->role == HA_ROLE_PRIMARY; i++)
	{
		if (strcmp(view->members[i].name, view->self) == 0)
			continue;
		pgha_slot_name(view->members[i].name, name);
		if (!slot_exists(slots, nslots, name))
			memcpy(plan->create[plan->ncreate++], name, sizeof(name));
	}
	for (i = 0; i < nslots && plan->ndrop < HA_MEMBERS_MAX; i++)
	{
		if (slot_may_go(view, &slots[i]))
			memcpy(plan->drop[plan->ndrop++], slots[i].name,
				   sizeof(slots[i].name));
	}
}
