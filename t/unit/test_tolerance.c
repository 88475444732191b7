/*
 * test_tolerance.c
 *	  What the cluster can lose, and why not more.
 */
#include "core/tolerance.h"
#include "tap.h"

static HaView view;

static HaMember *
add(const char *name, HaRole role)
{
	HaMember   *member = &view.members[view.nmembers++];

	snprintf(member->name, sizeof(member->name), "%s", name);
	member->pgha = member->launcher = member->running = true;
	member->role = role;
	member->streaming = role == HA_ROLE_STANDBY;
	member->tli = 3;
	member->lsn = 1000;
	return member;
}

int
main(void)
{
	HaMember   *leader = add("pg1", HA_ROLE_PRIMARY);
	HaMember   *standby = add("pg2", HA_ROLE_STANDBY);
	HaTolerance t;

	add("pg3", HA_ROLE_STANDBY);
	view.standing = HA_STANDING_HELD;
	view.optime = 1000;
	snprintf(view.leader, sizeof(view.leader), "pg1");
	t = pgha_tolerance(&view, 3, 3);
	is_int(t.members, 2, "two standbys that stream: two members");
	is_int(t.servers, 1, "three Consul servers: one");
	is_int(pgha_tolerance(&view, 3, 2).servers, 0, "one of them down: none");
	is_int(pgha_tolerance(&view, 5, 5).servers, 2, "five: two");
	is_int(pgha_tolerance(&view, 1, 1).servers, 0, "one: none");
	is_int(pgha_tolerance(&view, 0, 0).servers, -1, "not known");
	standby->streaming = false;
	t = pgha_tolerance(&view, 3, 3);
	is_int(t.members, 1, "one does not stream");
	is_int(t.faults[1], HA_ORDER_NOT_STREAMING, "and that is said");
	standby->streaming = true;
	standby->nofailover = true;
	t = pgha_tolerance(&view, 3, 3);
	is_int(t.faults[1], HA_ORDER_NOFAILOVER, "one is tagged nofailover");
	leader->running = false;
	is_int(pgha_tolerance(&view, 3, 3).members, -1, "the leader does not run");
	view.leader[0] = '\0';
	is_int(pgha_tolerance(&view, 3, 3).members, -1, "nobody leads");
	done_testing();
	return 0;
}
