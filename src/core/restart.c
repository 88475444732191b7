/*
 * restart.c
 *	  What a restart job does next: facts in, an entry or a fault out.
 */
#include "core/restart.h"

#include <string.h>

#include "core/order.h"
#include "core/view.h"

/* the leader's own session gets its answer before it is cut */
#define RESTART_OWN_SESSION_MS 250

/*
 * What a standby must not have smaller than its primary shrinks there only
 * after the primary was restarted: once more, then.
 */
#define RESTART_ROUNDS_MAX 2

/* ... which they see when they have replayed that, and looked */
#define RESTART_SETTLE_MS 3000

const HaRestartEntry *
pgha_restart_asked(const HaRestart *restart)
{
	for (int i = 0; i < restart->nentries; i++)
	{
		if (restart->entries[i].state == HA_ENTRY_ASKED)
			return &restart->entries[i];
	}
	return NULL;
}

bool
pgha_restart_skips(const HaView *view, const HaRestart *restart,
			   const HaRestartEntry *entry)
{
	const HaMember *member = pgha_view_member(view, entry->member);
	HaRole		role = strcmp(entry->member, view->leader) == 0 ?
		HA_ROLE_PRIMARY : HA_ROLE_STANDBY;

	if (restart->role != HA_ROLE_UNKNOWN && restart->role != role)
		return true;
	if (member == NULL)
		return false;
	if (restart->pending_only && !member->pending_restart)
		return true;
	return restart->version_below != 0 &&
		member->server_version >= restart->version_below;
}

/* Restarted, or left out because nothing of it waited for a restart then. */
static bool
restart_was_looked_at(const HaRestart *restart, const HaRestartEntry *entry)
{
	return entry->state == HA_ENTRY_DONE ||
		(entry->state == HA_ENTRY_SKIPPED && restart->pending_only &&
		 restart->role == HA_ROLE_UNKNOWN && restart->version_below == 0);
}

/* A standby that still waits for a restart after the leader had its own. */
static bool
restart_once_more(const HaView *view, const HaRestart *restart,
			  const HaRestartEntry *entry)
{
	const HaMember *member = pgha_view_member(view, entry->member);

	return restart_was_looked_at(restart, entry) &&
		entry->rounds < RESTART_ROUNDS_MAX &&
		restart->nentries > 1 && strcmp(entry->member, view->leader) != 0 &&
		member != NULL && member->pending_restart;
}

const HaRestartEntry *
pgha_restart_next(const HaView *view, const HaRestart *restart)
{
	const HaRestartEntry *leader = NULL;

	for (int i = 0; i < restart->nentries; i++)
	{
		const HaRestartEntry *entry = &restart->entries[i];

		if (entry->state != HA_ENTRY_TODO)
			continue;
		if (strcmp(entry->member, view->leader) != 0)
			return entry;
		leader = entry;
	}
	for (int i = 0; leader == NULL && i < restart->nentries; i++)
	{
		if (restart_once_more(view, restart, &restart->entries[i]))
			return &restart->entries[i];
	}
	return leader;
}

bool
pgha_restart_settles(const HaView *view, const HaRestart *restart)
{
	bool		led = false;
	bool		others = false;

	for (int i = 0; i < restart->nentries; i++)
	{
		const HaRestartEntry *entry = &restart->entries[i];

		if (strcmp(entry->member, view->leader) == 0)
			led = entry->state == HA_ENTRY_DONE;
		else
			others |= restart_was_looked_at(restart, entry);
	}
	return led && others &&
		view->now < view->ours_since + RESTART_SETTLE_MS * HA_NS_PER_MS;
}

bool
pgha_restart_is_back(const HaView *view, const HaRestartEntry *entry)
{
	const HaMember *member = pgha_view_member(view, entry->member);

	if (member == NULL || member->started == 0 ||
		member->started == entry->before || !member->running)
		return false;
	if (strcmp(entry->member, view->leader) == 0)
		return member->role == HA_ROLE_PRIMARY;
	return member->streaming && member->tli == view->tli;
}

HaRestartFault
pgha_restart_check(const HaView *view, const HaRestart *restart)
{
	const HaRestartEntry *entry = pgha_restart_asked(restart);
	const HaMember *member;

	if (entry == NULL)
		return restart->scheduled_ms != 0 && restart->nentries > 0 &&
			restart->entries[0].state == HA_ENTRY_TODO &&
			view->wall_ms > restart->scheduled_ms + HA_ORDER_LATE_MS ?
			HA_RESTART_LATE : HA_RESTART_FINE;
	if (restart->refusal[0] != '\0')
		return HA_RESTART_REFUSED;
	member = pgha_view_member(view, entry->member);
	if (pgha_restart_is_back(view, entry))
		return member->fell_back ? HA_RESTART_FELL_BACK : HA_RESTART_FINE;
	if (restart->asked_at == 0 ||
		view->now < restart->asked_at + restart->timeout_ms * HA_NS_PER_MS)
		return HA_RESTART_FINE;
	return member == NULL ? HA_RESTART_GONE : HA_RESTART_NOT_BACK;
}

bool
pgha_restart_is_due(const HaView *view, const HaRestart *restart)
{
	if (restart->scheduled_ms != 0)
		return view->wall_ms >= restart->scheduled_ms;
	return strcmp(restart->asked_by, view->self) != 0 ||
		view->now >= restart->seen_at + RESTART_OWN_SESSION_MS * HA_NS_PER_MS;
}

const char *
pgha_restart_fault_text(HaRestartFault fault)
{
	switch (fault)
	{
		case HA_RESTART_FINE:
			return "nothing is in the way";
		case HA_RESTART_REFUSED:
			return "its launcher did not restart it";
		case HA_RESTART_NOT_BACK:
			return "it did not come back healthy in time";
		case HA_RESTART_FELL_BACK:
			return "it did not start with its new configuration and runs with the last one that worked";
		case HA_RESTART_LATE:
			return "its time has passed unmet";
		case HA_RESTART_GONE:
			return "it is not there any more";
	}
	return "unknown";
}
