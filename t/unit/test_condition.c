/*
 * test_condition.c
 *	  What an administrator may wait for, and what is said to be missing.
 */
#include "core/condition.h"
#include "tap.h"

static HaMember *
add_member(HaView *view, const char *name)
{
	HaMember   *member = &view->members[view->nmembers++];

	memset(member, 0, sizeof(*member));
	snprintf(member->name, sizeof(member->name), "%s", name);
	member->running = true;
	member->role = HA_ROLE_STANDBY;
	member->streaming = true;
	member->tli = 3;
	return member;
}

/* n1 leads, n2 and n3 stream; seen by n2 */
static void
set_up(HaView *view)
{
	memset(view, 0, sizeof(*view));
	snprintf(view->self, sizeof(view->self), "n2");
	snprintf(view->leader, sizeof(view->leader), "n1");
	view->cluster_known = true;
	view->standing = HA_STANDING_HELD;
	add_member(view, "n1")->role = HA_ROLE_PRIMARY;
	view->members[0].streaming = false;
	add_member(view, "n2");
	add_member(view, "n3");
}

/* "" = nothing is missing */
static void
missing(const HaView *view, const char *text, const char *expected,
		const char *name)
{
	HaCondition condition;
	HaMissing	result = {"unreadable", ""};
	char		said[256];

	if (pgha_condition_parse(text, &condition))
		result = pgha_condition_missing(view, &condition);
	snprintf(said, sizeof(said), "%s%s%s", result.what ? result.what : "",
			 result.member[0] ? " " : "", result.member);
	if (!ok(strcmp(said, expected) == 0, "%s: %s", text, name))
		printf("# %s\n", said);
}

static void
test_forms(void)
{
	HaCondition condition;
	char		text[128];
	static const char *const bad[] = {
		"", "lead", "leaders", "leader()", "leader(n1", "leader(n1) ",
		"member_streaming", "member_streaming()", "healthy(n1)",
		"nothing_pending(n1)", "LEADER", "(n1)"
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!pgha_condition_parse(bad[i], &condition), "no condition: \"%s\"",
		   bad[i]);
	ok(pgha_condition_parse("leader(a \"b\" (c))", &condition) &&
	   strcmp(condition.member, "a \"b\" (c)") == 0, "a name may hold anything");
	snprintf(text, sizeof(text), "leader(%063d)", 0);
	ok(pgha_condition_parse(text, &condition) &&
	   strlen(condition.member) == HA_NAME_MAX, "the longest name");
	snprintf(text, sizeof(text), "leader(%064d)", 0);
	ok(!pgha_condition_parse(text, &condition), "one longer");
}

static void
test_leader(void)
{
	HaView		view;

	set_up(&view);
	missing(&view, "leader", "", "met");
	missing(&view, "leader(n1)", "", "met");
	missing(&view, "leader(n2)", "another member leads: n1", "another one");
	view.members[0].role = HA_ROLE_STANDBY;
	missing(&view, "leader", "no member leads", "not promoted yet");
	set_up(&view);
	view.standing = HA_STANDING_PAUSED;
	missing(&view, "leader", "", "paused");
	view.standing = HA_STANDING_EXPIRED;
	missing(&view, "leader", "no member leads", "its lease is over");
	missing(&view, "healthy", "no member leads", "its lease is over");
	set_up(&view);
	view.cluster_known = false;
	missing(&view, "leader", "no member leads", "nothing was read yet");
}

static void
test_members(void)
{
	HaView		view;

	set_up(&view);
	missing(&view, "member_streaming(n3)", "", "met");
	missing(&view, "member_streaming(n1)",
			"it leads and does not stream: n1", "the leader");
	missing(&view, "member_streaming(n4)",
			"there is no such member: n4", "nobody");
	missing(&view, "healthy", "", "met");
	view.members[2].tli = 2;
	missing(&view, "member_streaming(n3)",
			"it is not on the leader's timeline: n3", "the old timeline");
	view.members[2].streaming = false;
	missing(&view, "healthy", "it does not stream: n3", "one does not stream");
	view.members[2].running = false;
	missing(&view, "healthy", "the instance does not run: n3", "one is down");
	missing(&view, "nothing_pending", "", "met");
	view.members[1].pending_restart = true;
	missing(&view, "nothing_pending", "settings wait for a restart: n2",
			"one is pending");
}

int
main(void)
{
	test_forms();
	test_leader();
	test_members();
	return done_testing();
}
