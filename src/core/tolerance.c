/*
 * tolerance.c
 *	  How much more the cluster can lose: facts in, numbers out.
 */
#include "core/tolerance.h"

#include <string.h>

HaTolerance
pgha_tolerance(const HaView *view, int servers, int passing)
{
	static const HaOrder order = {.leader = "any"};
	HaTolerance tolerance = {.members = 0,.servers = -1};
	const HaMember *leader = NULL;

	if (view->leader[0] != '\0')
		leader = pgha_view_member(view, view->leader);
	for (int i = 0; i < view->nmembers; i++)
	{
		const HaMember *member = &view->members[i];

		if (member == leader)
			continue;
		tolerance.faults[i] = pgha_order_fitness(view, &order, member);
		if (tolerance.faults[i] == HA_ORDER_FINE)
			tolerance.members++;
	}
	if (leader == NULL || !leader->running ||
		leader->role != HA_ROLE_PRIMARY)
		tolerance.members = -1;
	if (servers > 0)
		tolerance.servers = passing - (servers / 2 + 1);
	return tolerance;
}
