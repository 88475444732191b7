/*
 * slots.h
 *	  Physical replication slots of members: their names, and which to keep.
 */
#ifndef PGHA_SLOTS_H
#define PGHA_SLOTS_H

#include "core/view.h"

/* A slot as the server has it. */
typedef struct HaSlot
{
	char		name[HA_NAME_MAX + 1];
	bool		active;
	bool		known;			/* `status` lists it: made for a member */
	HaTime		unwanted_since; /* 0 = wanted */
} HaSlot;

typedef struct HaSlotPlan
{
	int			ncreate;
	char		create[HA_MEMBERS_MAX][HA_NAME_MAX + 1];
	int			ndrop;
	char		drop[HA_MEMBERS_MAX][HA_NAME_MAX + 1];
} HaSlotPlan;

/*
 * The slot of a member: lower case; '-', '.' and blanks become '_'; any other
 * character outside [a-z0-9_] becomes uNNNN, its code in decimal (Patroni's
 * rule).
 */
extern void pgha_slot_name(const char *member, char *slot);

/*
 * On a primary each other member has one; one made for a member that has been
 * gone for member_slots_ttl goes, if it is not in use.  A standby keeps none:
 * nothing would ever advance it.
 */
extern void pgha_slots_plan(const HaView *view, const HaSlot *slots,
							int nslots, HaSlotPlan *plan);

#endif							/* PGHA_SLOTS_H */
