/*
 * worker_slots.c
 *	  Members' physical replication slots: created, dropped, reported.
 *
 * What to do is planned in core/slots.c; this does it.
 */
#include "worker_private.h"

#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/lwlock.h"

/* Physical, persistent slots of this server. */
static int
slots_read(HaSlot *slots, HaSlotPosition *positions, int max)
{
	int			n = 0;
	int			i;

	if (max_replication_slots <= 0)
		return 0;
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (i = 0; i < max_replication_slots && n < max; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use || OidIsValid(slot->data.database) ||
			slot->data.persistency != RS_PERSISTENT)
			continue;
		memset(&slots[n], 0, sizeof(slots[n]));
		strlcpy(slots[n].name, NameStr(slot->data.name),
				sizeof(slots[n].name));
		slots[n].active = slot->active_pid != 0;
		if (positions != NULL)
		{
			strlcpy(positions[n].name, slots[n].name,
					sizeof(positions[n].name));
			positions[n].lsn = slot->data.restart_lsn;
		}
		n++;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return n;
}

int
worker_slot_positions(HaSlotPosition *positions)
{
	HaSlot		slots[HA_MEMBERS_MAX];

	return slots_read(slots, positions, HA_MEMBERS_MAX);
}

static bool
slots_name_of_member(const HaWorker *worker, const char *name)
{
	char		slot[HA_NAME_MAX + 1];
	int			i;

	for (i = 0; i < worker->view.nmembers; i++)
	{
		pgha_slot_name(worker->view.members[i].name, slot);
		if (strcmp(slot, name) == 0)
			return true;
	}
	return false;
}

/* Which slots `status` knows, and since when their members are gone. */
static void
slots_annotate(HaWorker *worker, HaSlot *slots, int n)
{
	const HaStatusDoc *status = pgha_brain_status(worker->brain);
	HaSlot		gone[HA_MEMBERS_MAX];
	int			ngone = 0;
	int			i;
	int			j;

	for (i = 0; i < n; i++)
	{
		for (j = 0; j < status->nslots; j++)
		{
			if (strcmp(status->slots[j].name, slots[i].name) == 0)
				slots[i].known = true;
		}
		if (slots_name_of_member(worker, slots[i].name))
			continue;
		slots[i].unwanted_since = worker->view.now;
		for (j = 0; j < worker->ngone; j++)
		{
			if (strcmp(worker->gone[j].name, slots[i].name) == 0)
				slots[i].unwanted_since = worker->gone[j].unwanted_since;
		}
		gone[ngone++] = slots[i];
	}
	memcpy(worker->gone, gone, sizeof(HaSlot) * (size_t) ngone);
	worker->ngone = ngone;
}

static void
slots_create(const char *name)
{
	ReplicationSlotCreate(name, false, RS_PERSISTENT, false);
	ReplicationSlotReserveWal();
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
	ReplicationSlotRelease();
}

void
worker_slots(HaWorker *worker)
{
	const HaView *view = &worker->view;
	HaSlot		slots[HA_MEMBERS_MAX];
	HaSlotPlan	plan;
	uint64_t	index;
	const HaConfigDoc *config = pgha_brain_config(worker->brain, &index);
	int			n;
	int			i;

	if (!view->cluster_known || max_replication_slots <= 0 ||
		(config != NULL && !config->use_slots) ||
		view->role == HA_ROLE_UNKNOWN ||
		(view->role == HA_ROLE_STANDBY && !view->consistent) ||
		view->now < worker->slots_at)
		return;
	worker->slots_at = view->now + view->timeouts.loop_wait_ms * HA_NS_PER_MS;
	n = slots_read(slots, NULL, HA_MEMBERS_MAX);
	slots_annotate(worker, slots, n);
	pgha_slots_plan(view, slots, n, &plan);
	for (i = 0; i < plan.ndrop; i++)
		ReplicationSlotDrop(plan.drop[i], true);
	for (i = 0; i < plan.ncreate; i++)
		slots_create(plan.create[i]);
}
