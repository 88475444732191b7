/*
 * launcher_test_render.c
 *	  The rendered files: what is in them, what is left out, what is merged.
 */
#include "launcher_test.h"

#include "launcher/conf.h"
#include "launcher/render.h"

static HaNodeError error;
static char reports[8192];

static void
report(void *arg, const char *name, const char *reason)
{
	size_t		len = strlen(reports);

	snprintf(reports + len, sizeof(reports) - len, "%s: %s\n", name, reason);
}

static HaConfigDoc
config_of(const char *text)
{
	HaConfigDoc config;

	if (!pgha_config_parse(text, strlen(text), &config, why))
	{
		printf("Bail out! %s\n", why);
		exit(1);
	}
	return config;
}

/* Render with these cluster parameters. */
static bool
render(const HaNode *node, const char *postgresql,
	   const HaControlSettings *critical)
{
	char		text[4096];
	HaConfigDoc config;
	bool		done;

	snprintf(text, sizeof(text), "{\"postgresql\": %s}", postgresql);
	config = config_of(text);
	reports[0] = '\0';
	done = pgha_render(node, &config, critical, report, NULL, why);
	pgha_config_free(&config);
	if (!done)
		printf("# why: %s\n", why);
	return done;
}

/* The value in force in the rendered file. */
static void
rendered(const char *name, const char *expected)
{
	HaConf		conf = {0};
	const char *value;

	if (!pgha_conf_load(test_path("state/postgresql.conf"), &conf, why))
		printf("# why: %s\n", why);
	value = pgha_conf_get(&conf, name);
	is_str(value ? value : "(absent)", expected, "%s = %s", name, expected);
	pgha_conf_free(&conf);
}

static void
reported(const char *text)
{
	if (!ok(strstr(reports, text) != NULL, "reported: %s", text))
		printf("# got: %s\n", reports);
}

static void
test_precedence(void)
{
	HaNode	   *node = test_node("work_mem = '3MB'\nport = 77\n"
								 "pg_ha.name = 'it''s n1'\n", &error);

	test_write("data/postgresql.conf", "work_mem = 1MB\nport = 1\n"
			   "maintenance_work_mem = 1MB\nwal_keep_size = 2GB\n"
			   "include_dir 'conf.d'\ninclude_if_exists 'absent'\n"
			   "recovery_target_time = 'now'\n");
	mkdir(test_path("data/conf.d"), 0700);
	test_write("data/conf.d/b.conf", "temp_buffers = '2MB'\n");
	test_write("data/conf.d/a.conf", "temp_buffers = '1MB'\n");
	test_write("data/conf.d/.c.conf", "temp_buffers = '3MB'\n");
	ok(render(node, "{\"parameters\": {\"work_mem\": \"2MB\", \"x.y\": null, "
			  "\"maintenance_work_mem\": \"2MB\", \"jit\": false, "
			  "\"random_page_cost\": 1.1, \"max_connections\": 50, "
			  "\"app.text\": \"it's\\n\\\\\"}}", NULL), "rendered");
	is_str(reports, "", "nothing to report");
	rendered("work_mem", "3MB");
	rendered("maintenance_work_mem", "2MB");
	rendered("temp_buffers", "2MB");
	rendered("wal_keep_size", "2GB");
	rendered("jit", "off");
	rendered("random_page_cost", "1.1");
	rendered("max_connections", "50");
	ok(test_contains("state/postgresql.conf", "app.text = 'it''s\\n\\\\'\n"),
	   "values are quoted");
	rendered("recovery_target_time", "");
	rendered("recovery_target_timeline", "latest");
	rendered("pg_ha.name", "it's n1");
	rendered("pg_ha.managed", "on");
	rendered("shared_preload_libraries", "pg_ha");
	rendered("wal_level", "replica");
	rendered("x.y", "(absent)");
	pgha_node_free(node);
	unlink(test_path("data/postgresql.conf"));
}

static void
test_left_out(void)
{
	HaNode	   *node = test_node("", &error);

	ok(render(node, "{\"parameters\": {\"primary_conninfo\": \"x\", "
			  "\"port\": 1, \"pg_ha.scope\": \"y\", \"include\": \"/x\", "
			  "\"bad name\": 1, \"a = 1\\nb\": 1, \"work_mem\": [1], "
			  "\"hot_standby\": \"on\", \"wal_log_hints\": false, "
			  "\"wal_keep_segments\": 8, \"wal_level\": \"hot_standby\"}}",
			  NULL), "rendered");
	reported("primary_conninfo: ");
	reported("port: it belongs to the node settings");
	reported("pg_ha.scope: ");
	reported("include: ");
	reported("bad name: ");
	reported("b: this is no setting's name");
	reported("work_mem: its value is no string");
	reported("wal_log_hints: ");
	reported("wal_keep_segments: read as wal_keep_size = 128MB");
	ok(!strstr(reports, "hot_standby: "), "what holds anyway is not reported");
	rendered("wal_keep_size", "128MB");
	rendered("wal_level", "replica");
	rendered("b", "(absent)");
	rendered("port", "6001");

	ok(render(node, "{\"parameters\": {\"wal_level\": \"minimal\", "
			  "\"max_wal_senders\": 0, \"max_replication_slots\": 1}}", NULL),
	   "rendered with less than the cluster needs");
	reported("wal_level: ");
	reported("max_wal_senders: ");
	rendered("wal_level", "replica");
	rendered("max_wal_senders", "4");
	rendered("max_replication_slots", "4");
	pgha_node_free(node);
}

static void
test_critical(void)
{
	HaNode	   *node = test_node("", &error);
	HaControlSettings critical = {200, 8, 10, 5, -1};

	test_write("data/postgresql.conf", "max_connections = 100\n"
			   "max_prepared_transactions = 10\n");
	ok(render(node, "{\"parameters\": {\"max_locks_per_transaction\": 10}}",
			  &critical), "rendered");
	rendered("max_connections", "200");
	rendered("max_prepared_transactions", "10");
	rendered("max_locks_per_transaction", "10");
	rendered("max_worker_processes", "(absent)");
	ok(render(node, "{}", NULL), "rendered as a primary");
	rendered("max_connections", "100");
	pgha_node_free(node);
	unlink(test_path("data/postgresql.conf"));
}

static void
libraries(const char *list, const char *expected)
{
	bool		bad;
	char	   *merged = pgha_conf_libraries_with(list, &bad);

	is_str(merged, expected, "\"%s\" with pg_ha", list);
	free(merged);
}

static void
without(const char *list, const char *expected)
{
	bool		found;
	char	   *rest = pgha_conf_libraries_without(list, &found);

	is_str(rest, expected, "\"%s\" without pg_ha", list);
	free(rest);
}

static void
test_libraries(void)
{
	HaNode	   *node = test_node("", &error);

	libraries("", "pg_ha");
	libraries("  ", "pg_ha");
	libraries("a", "a, pg_ha");
	libraries("citus , \"b c\",x", "citus, \"b c\", x, pg_ha");
	libraries("pg_ha", "pg_ha");
	libraries("a,\"$libdir/pg_ha\"", "a,\"$libdir/pg_ha\"");
	libraries("/x/pg_ha.so, b", "/x/pg_ha.so, b");
	libraries("pg_ha2", "pg_ha2, pg_ha");
	libraries("a,", "pg_ha");
	libraries("\"a", "pg_ha");
	libraries("\"a\"b", "pg_ha");
	libraries(",a", "pg_ha");
	without("a, pg_ha, b", "a, b");
	without("pg_ha", "");
	without("a", "a");

	test_write("data/postgresql.conf", "shared_preload_libraries = 'u1, u2'\n");
	ok(render(node, "{}", NULL), "rendered");
	rendered("shared_preload_libraries", "u1, u2, pg_ha");
	ok(render(node, "{\"parameters\": {\"shared_preload_libraries\": "
			  "\"pg_stat_statements\"}}", NULL), "rendered");
	rendered("shared_preload_libraries", "pg_stat_statements, pg_ha");
	ok(render(node, "{\"parameters\": {\"shared_preload_libraries\": "
			  "\"a,,b\"}}", NULL), "rendered");
	rendered("shared_preload_libraries", "pg_ha");
	reported("shared_preload_libraries: the list is malformed");
	pgha_node_free(node);
	unlink(test_path("data/postgresql.conf"));
}

static void
test_mark(void)
{
	static const char text[] = "a = 1\nshared_preload_libraries = 'u'\nb = 2";
	HaNode	   *node = test_node("", &error);
	struct stat st;
	char	   *once;
	char	   *twice;

	ok(pgha_render_mark_plain(node, why), "without a file there is no mark");
	test_write("data/postgresql.conf", text);
	chmod(test_path("data/postgresql.conf"), 0640);
	ok(pgha_render_mark_plain(node, why), "marked");
	once = test_read("data/postgresql.conf");
	ok(strstr(once, "\nshared_preload_libraries = 'u, pg_ha'\n"
			  "pg_ha.managed = on\n# pg_ha end\n") != NULL, "with libraries");
	ok(pgha_render_mark_plain(node, why), "marked again");
	twice = test_read("data/postgresql.conf");
	is_str(twice, once, "which changes nothing");
	stat(test_path("data/postgresql.conf"), &st);
	is_int(st.st_mode & 07777, 0640, "the mode is kept");
	free(once);
	free(twice);
	ok(render(node, "{}", NULL), "rendered");
	rendered("shared_preload_libraries", "u, pg_ha");
	ok(pgha_render_unmark_plain(node, why), "unmarked");
	once = test_read("data/postgresql.conf");
	is_str(once, "a = 1\nshared_preload_libraries = 'u'\nb = 2\n",
		   "as it was");
	free(once);

	test_write("data/postgresql.conf", "# pg_ha begin\na = 1\n");
	ok(!pgha_render_mark_plain(node, why) && strstr(why, "line 1") != NULL,
	   "a begin without an end is refused");
	ok(test_contains("data/postgresql.conf", "a = 1"), "and left alone");
	pgha_node_free(node);
	unlink(test_path("data/postgresql.conf"));
}

static void
test_auto_conf(void)
{
	HaNode	   *node = test_node("", &error);
	char	   *text;

	test_write("data/postgresql.auto.conf", "# Do not edit\nwork_mem = '5MB'\n"
			   "primary_conninfo = 'host=x'\nPORT = '1'\n"
			   "max_connections = '5'\npg_ha.fence_wait = '1s'\n"
			   "pg_ha.scope = 'other'\nwal_level = 'minimal'\n"
			   "shared_preload_libraries = 'x'\n? unreadable\nlast = 1");
	reports[0] = '\0';
	ok(pgha_render_strip_auto_conf(node, report, NULL, why), "stripped");
	text = test_read("data/postgresql.auto.conf");
	is_str(text, "# Do not edit\nwork_mem = '5MB'\npg_ha.fence_wait = '1s'\n"
		   "shared_preload_libraries = 'x, pg_ha'\n? unreadable\nlast = 1",
		   "of what pg_ha owns");
	free(text);
	reported("primary_conninfo: ");
	reported("max_connections: ");
	ok(pgha_render_unmark_plain(node, why), "detached");
	ok(test_contains("data/postgresql.auto.conf",
					 "shared_preload_libraries = 'x'\n"),
	   "pg_ha leaves the list of ALTER SYSTEM");
	pgha_node_free(node);
	unlink(test_path("data/postgresql.auto.conf"));
}

static void
text_absent(const char *name, const char *text)
{
	char	   *content = test_read(name);

	ok(!strstr(content, text), "%s has no \"%s\"", name, text);
	free(content);
}

static void
test_hba(void)
{
	HaNode	   *node = test_node("pg_ha.replication_user = 'all \"x\"'\n",
								 &error);
	json_t	   *rules;
	char		text[PATH_MAX + 64];

	ok(render(node, "{}", NULL), "rendered");
	ok(test_contains("state/pg_hba.conf",
					 "host replication \"all \"\"x\"\"\" all scram-sha-256"),
	   "a role's name is no keyword");
	ok(test_contains("state/pg_hba.conf", "local all \"postgres\" peer"),
	   "without rules there is a default");
	ok(render(node, "{\"pg_hba\": [\"local all all trust\", \"# remark\", "
			  "\"host all all 10.0.0.0/8 md5\"]}", NULL), "rendered a list");
	ok(test_contains("state/pg_hba.conf",
					 "local all all trust\n# remark\nhost all all"), "in order");
	ok(render(node, "{\"pg_hba\": [\"local all all trust\", \"hots all\"]}",
			  NULL), "rendered a list with a bad line");
	reported("pg_hba: line 2 is malformed");
	ok(test_contains("state/pg_hba.conf", "# remark\nhost all all 10.0.0.0/8"),
	   "the rules rendered last stay");
	ok(render(node, "{\"pg_hba\": {\"local\": \"all\"}}", NULL),
	   "rendered what is no list");
	reported("pg_hba: it is no list");
	ok(test_contains("state/pg_hba.conf", "# remark\nhost all all 10.0.0.0/8"),
	   "the rules rendered last stay");
	unlink(test_path("state/pg_hba.conf"));
	ok(render(node, "{\"pg_hba\": [\"local all all trust\", 7]}", NULL),
	   "rendered a bad list first");
	reported("pg_hba: line 2 is malformed");
	text_absent("state/pg_hba.conf", "trust");
	ok(test_contains("state/pg_hba.conf", "local all \"postgres\" peer"),
	   "the default stands in for it");
	ok(render(node, "{\"pg_hba\": [\"local all all trust\\nhost x\"]}", NULL),
	   "rendered a list with two lines in one");
	reported("pg_hba: line 1 is malformed");

	test_write("data/pg_hba.conf", "local all @users,+g peer # @x\n"
			   "\nhost all \"@q\" samenet \\\r\n md5\n# remark");
	ok(render(node, "{}", NULL), "rendered the user's own file");
	snprintf(text, sizeof(text), "local all @%s/users,+g peer # @x\n",
			 test_path("data"));
	ok(test_contains("state/pg_hba.conf", text), "with absolute references");
	rules = pgha_render_adopted_hba(node);
	is_int((int64_t) json_array_size(rules), 2, "two rules are adopted");
	is_str(json_string_value(json_array_get(rules, 1)),
		   "host all \"@q\" samenet  md5", "a continued one is one");
	json_decref(rules);
	pgha_node_free(node);
	unlink(test_path("data/pg_hba.conf"));
}

static void
test_kept_config(void)
{
	HaNode	   *node = test_node("", &error);

	test_write("state/config.json",
			   "{\"postgresql\": {\"parameters\": {\"work_mem\": 7}}}");
	ok(pgha_render(node, NULL, NULL, report, NULL, why), "rendered");
	rendered("work_mem", "7");
	test_write("state/config.json", "{\"postgresql\": {\"para");
	reports[0] = '\0';
	ok(pgha_render(node, NULL, NULL, report, NULL, why),
	   "rendered without a config.json that can't be read");
	reported("config.json: ");
	unlink(test_path("state/config.json"));

	pgha_render_worked(node);
	test_write("state/postgresql.conf", "broken");
	ok(pgha_render_fall_back(node, why), "fell back");
	rendered("pg_ha.scope", "demo");
	test_write("data/postgresql.conf", "include 'postgresql.conf'\n");
	ok(!pgha_render(node, NULL, NULL, report, NULL, why) &&
	   strstr(why, "too deeply"), "endless inclusion is noticed");
	test_write("data/postgresql.conf", "a = 1\nb = 'x\n");
	ok(!pgha_render(node, NULL, NULL, report, NULL, why) &&
	   strstr(why, "postgresql.conf:2: unterminated"), "place of an error");
	pgha_node_free(node);
	unlink(test_path("data/postgresql.conf"));
}

static void
test_argv(void)
{
	HaNode	   *node = test_node("port = 5555\nlisten_addresses = 'a, b'\n",
								 &error);
	char	  **argv = pgha_render_argv(node);
	char		all[4096] = "";
	char	   *conninfo;

	for (int i = 0; argv[i]; i++)
	{
		size_t		len = strlen(all);

		snprintf(all + len, sizeof(all) - len, "%s|", argv[i]);
		free(argv[i]);
	}
	free(argv);
	ok(strstr(all, "|-c|port=5555|") && strstr(all, "=a, b|") &&
	   strstr(all, "|cluster_name=n1|"), "the command line: %s", all);
	conninfo = pgha_render_conninfo(node, "postgres://[::1]:5/postgres", "u'",
									"postgres");
	ok(strstr(conninfo, "host='::1' port='5' user='u\\''") &&
	   strstr(conninfo, "application_name='n1'"), "%s", conninfo);
	free(conninfo);
	ok(!pgha_render_conninfo(node, "nonsense", "u", NULL), "bad URL");
	pgha_node_free(node);
}

/* The server itself judges; skipped where there is none. */
static void
test_verified(void)
{
	char		line[PATH_MAX];
	FILE	   *pipe = popen("pg_config --bindir", "r");
	bool		known = pipe && fgets(line, sizeof(line), pipe) != NULL;
	char		more[PATH_MAX + 64];
	HaNode	   *node;
	HaConfigDoc config;

	if (pipe)
		pclose(pipe);
	line[known ? strcspn(line, "\n") : 0] = '\0';
	snprintf(more, sizeof(more), "%s/postgres", line);
	if (!known || access(more, X_OK) < 0)
	{
		ok(true, "# SKIP no server here");
		return;
	}
	snprintf(more, sizeof(more), "pg_ha.bin_directory = '%.4000s'\n"
			 "bogus_of_node = 1\n", line);
	node = test_node(more, &error);
	test_write("data/PG_VERSION", "15\n");
	config = config_of("{\"postgresql\": {\"parameters\": {"
					   "\"work_mem\": \"5MB\", \"max_connections\": \"many\", "
					   "\"bogus\": 1, \"wal_level\": \"nonsense\", "
					   "\"fsync\": \"perhaps\", \"max_wal_size\": \"5 parsec\", "
					   "\"port_x\": 3, \"lc_messages\": \"xx_YY\", "
					   "\"log_min_messages\": \"panic\", "
					   "\"log_destination\": \"csvlog\", "
					   "\"shared_buffers\": -5, \"app.x\": \"y\"}}}");
	reports[0] = '\0';
	ok(pgha_render_verified(node, &config, NULL, report, NULL, why),
	   "rendered and verified");
	reported("max_connections: the server refuses it");
	reported("bogus: the server refuses it");
	reported("bogus_of_node: the server refuses it");
	reported("port_x: ");
	reported("wal_level: ");
	reported("fsync: ");
	reported("max_wal_size: ");
	reported("shared_buffers: ");
	rendered("work_mem", "5MB");
	rendered("log_min_messages", "panic");
	rendered("app.x", "y");
	rendered("bogus", "(absent)");
	rendered("wal_level", "replica");
	pgha_render_worked(node);

	test_write("data/postgresql.conf", "max_connections = none\n");
	reports[0] = '\0';
	ok(pgha_render_verified(node, &config, NULL, report, NULL, why),
	   "what is wrong in the user's own file is not ours to leave out");
	reported("postgresql.conf: the server refuses the configuration");
	pgha_config_free(&config);
	pgha_node_free(node);
	unlink(test_path("data/postgresql.conf"));
}

int
main(void)
{
	test_begin();
	test_precedence();
	test_left_out();
	test_critical();
	test_libraries();
	test_mark();
	test_auto_conf();
	test_hba();
	test_kept_config();
	test_argv();
	test_verified();
	return test_end();
}
