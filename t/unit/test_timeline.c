/*
 * test_timeline.c
 *	  Timelines: current one, kinship, and PostgreSQL's .history files.
 */
#include "core/timeline.h"
#include "tap.h"

/* timeline 1 ended at 0x1000, 2 at 0x3000; 3 is the current one */
static const HaTimelines forked_twice = {2, 0, {{1, 0x1000}, {2, 0x3000}}};

/* timeline 2 was abandoned: 3 forked off 1 */
static const HaTimelines abandoned = {2, 0, {{1, 0x1000}, {3, 0x3000}}};

/* timeline 2 is known to be taken, so 3 is what forked off 1 */
static const HaTimelines skipped = {1, 3, {{1, 0x1000}}};

static void
test_current(void)
{
	static const HaTimelines none = {0, 0, {{0, 0}}};

	is_int(pgha_timelines_current(&none), 1, "no fork: timeline 1");
	is_int(pgha_timelines_current(&forked_twice), 3,
		   "the current timeline follows the last fork");
	is_int(pgha_timelines_current(&skipped), 3,
		   "unless a later one is known: numbers may be left out");
}

static void
test_kinship(void)
{
	static const struct
	{
		uint32_t	tli;
		HaLsn		lsn;
		HaKinship	kinship;
		const char *name;
	}			cases[] = {
		{0, 0x1000, HA_KIN_UNKNOWN, "an unknown timeline"},
		{1, 0, HA_KIN_UNKNOWN, "an unknown position"},
		{3, 0x9000, HA_KIN_SAME, "the current timeline, anywhere"},
		{2, 0x2fff, HA_KIN_BEHIND, "an ancestor, a byte before its end"},
		{2, 0x3000, HA_KIN_BEHIND, "an ancestor, at its very end"},
		{2, 0x3001, HA_KIN_DIVERGED, "an ancestor, a byte past its end"},
		{1, 0x1000, HA_KIN_BEHIND, "the oldest ancestor, at its end"},
		{1, 0x1001, HA_KIN_DIVERGED, "the oldest ancestor, past its end"},
		{4, 0x100, HA_KIN_DIVERGED, "a timeline that is not in the history"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_int(pgha_timelines_kinship(&forked_twice, cases[i].tli,
									  cases[i].lsn),
			   cases[i].kinship, "kinship of %s", cases[i].name);
	is_int(pgha_timelines_kinship(&abandoned, 2, 0x500), HA_KIN_DIVERGED,
		   "an abandoned timeline is diverged, wherever it ends");
	is_int(pgha_timelines_kinship(&skipped, 2, 0x500), HA_KIN_DIVERGED,
		   "so is one whose number was left out");
	is_int(pgha_timelines_kinship(&skipped, 3, 0x9000), HA_KIN_SAME,
		   "a known timeline is the current one");
}

static void
test_foreign(void)
{
	static const HaTimelines theirs = {2, 0, {{1, 0x1000}, {2, 0x3000}}};
	static const HaTimelines other_end = {2, 0, {{1, 0x1000}, {2, 0x3001}}};
	static const HaTimelines other_start = {1, 0, {{1, 0x1001}}};
	static const HaTimelines left_out = {1, 0, {{1, 0x1000}}};
	static const HaTimelines more = {3, 0, {{1, 0x1000}, {2, 0x3000}, {3, 0x4000}}};
	static const HaTimelines trimmed = {1, 0, {{2, 0x3000}}};
	static const HaTimelines between = {2, 0, {{1, 0x1000}, {4, 0x5000}}};
	static const HaTimelines none = {0, 0, {{0, 0}}};

	ok(!pgha_timelines_foreign(&theirs, 3, &theirs), "the same history");
	ok(pgha_timelines_foreign(&other_end, 3, &theirs),
	   "one that began a byte later is another timeline");
	ok(pgha_timelines_foreign(&other_start, 2, &theirs),
	   "so is an ancestor that did");
	ok(!pgha_timelines_foreign(&left_out, 2, &theirs), "a true ancestor");
	ok(pgha_timelines_foreign(&left_out, 3, &theirs),
	   "one that lacks an ancestor");
	ok(!pgha_timelines_foreign(&more, 4, &theirs),
	   "a history that ends early proves nothing");
	ok(!pgha_timelines_foreign(&theirs, 3, &trimmed),
	   "nor does one that lost its oldest forks");
	ok(pgha_timelines_foreign(&more, 5, &between),
	   "an ancestor that the other skipped");
	ok(!pgha_timelines_foreign(&none, 1, &theirs),
	   "the first timeline is the same everywhere");
}

static void
test_parse(void)
{
	HaTimelines history;

	ok(pgha_timelines_parse("", &history) && history.nforks == 0,
	   "an empty file has no fork");
	ok(pgha_timelines_parse("1\t0/3000\tno recovery target specified\n"
							"\n"
							"# a comment\n"
							"  2\t1A/FF\treason\n", &history) &&
	   history.nforks == 2 && history.forks[0].tli == 1 &&
	   history.forks[0].end == 0x3000 && history.forks[1].tli == 2 &&
	   history.forks[1].end == (UINT64_C(0x1A) << 32 | 0xFF),
	   "forks are read; comments, blank lines and indentation are skipped");
	ok(pgha_timelines_parse("1\t0/3000", &history) && history.nforks == 1,
	   "neither a reason nor a last newline is needed");
	ok(pgha_timelines_parse("1\tFFFFFFFF/FFFFFFFF\t\n", &history) &&
	   history.forks[0].end == UINT64_MAX, "the highest position is read");
}

static void
test_parse_refuses(void)
{
	static const struct
	{
		const char *text;
		const char *name;
	}			cases[] = {
		{"one\t0/3000\n", "a timeline that is no number"},
		{"0\t0/3000\n", "timeline 0"},
		{"-1\t0/3000\n", "a negative timeline"},
		{"4294967296\t0/3000\n", "a timeline beyond 32 bits"},
		{"1\n", "a line without a position"},
		{"1\t3000\n", "a position without a slash"},
		{"1\t0/\n", "half a position"},
		{"1\t100000000/0\n", "a position beyond 32 bits"},
		{"1\t0/3000x\n", "garbage behind the position"},
		{"1\t0/3000\t\n1\t0/4000\t\n", "the same timeline twice"},
		{"2\t0/3000\t\n1\t0/4000\t\n", "timelines that descend"},
	};
	HaTimelines history;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(!pgha_timelines_parse(cases[i].text, &history),
		   "%s is refused", cases[i].name);
}

static void
test_parse_limit(void)
{
	static char text[(HA_HISTORY_MAX + 1) * 32];
	HaTimelines history;
	size_t		len = 0;
	int			i;

	for (i = 1; i <= HA_HISTORY_MAX; i++)
		len += (size_t) snprintf(text + len, sizeof(text) - len,
								 "%d\t0/%X\t\n", i, i);
	ok(pgha_timelines_parse(text, &history) &&
	   history.nforks == HA_HISTORY_MAX, "%d forks are kept", HA_HISTORY_MAX);
	snprintf(text + len, sizeof(text) - len, "%d\t0/%X\t\n", i, i);
	ok(!pgha_timelines_parse(text, &history), "one more is refused");
}

int
main(void)
{
	test_current();
	test_kinship();
	test_foreign();
	test_parse();
	test_parse_refuses();
	test_parse_limit();
	return done_testing();
}
