/*
 * launcher_test_directory.c
 *	  Which numbers of timelines a promotion skips, and what is left of that.
 */
#include "launcher_test.h"

#include "launcher/directory.h"

#define REAL "1\t0/3000000\tno recovery target specified\n"

static bool
has(const char *name)
{
	return access(test_path(name), F_OK) == 0;
}

int
main(void)
{
	HaNodeError error;
	HaNode	   *node;

	test_begin();
	mkdir(test_path("data/pg_wal"), 0700);
	node = test_node("", &error);
	ok(node != NULL, "a node");

	test_write("data/pg_wal/00000003.history", REAL);
	ok(pgha_directory_skip_timelines(node, 3, 6, why),
	   "timeline 3 is to be promoted to 6");
	ok(has("data/pg_wal/00000004.history") && has("data/pg_wal/00000005.history"),
	   "4 and 5 are skipped");
	ok(!has("data/pg_wal/00000006.history"), "6 is free");
	ok(has("data/pg_wal/00000002.history"),
	   "2, which a clone lacks, can be asked for");
	ok(test_contains("data/pg_wal/00000003.history", "0/3000000"),
	   "a history that is there stays as it is");

	pgha_directory_forget_skipped(node);
	ok(!has("data/pg_wal/00000004.history") && !has("data/pg_wal/00000005.history"),
	   "without a promotion, what was skipped is forgotten before a start");
	ok(has("data/pg_wal/00000002.history"), "but not below the own timeline");

	pgha_directory_skip_timelines(node, 3, 6, why);
	test_write("data/pg_wal/00000006.history", REAL);
	test_write("data/pg_wal/000000060000000000000003.partial", "x");
	pgha_directory_forget_skipped(node);
	ok(has("data/pg_wal/00000004.history") && has("data/pg_wal/00000005.history"),
	   "after a promotion it stays: standbys ask for it");

	ok(!pgha_directory_skip_timelines(node, 6, 4000000000U, why),
	   "no number far ahead is believed: %s", why);
	pgha_node_free(node);
	return test_end();
}
