/*
 * launcher_test_node.c
 *	  The node settings file: what is taken, what is refused and how.
 */
#include "launcher_test.h"

#include "launcher/conf.h"
#include "launcher/node_private.h"

static HaNodeError error;

/* The usual file with this as its line 6. */
static void
refused(const char *line, const char *message, const char *hint)
{
	HaNode	   *node = test_node(line, &error);

	ok(node == NULL && strstr(error.message, message) != NULL &&
	   strstr(error.hint, hint) != NULL, "refused: %s", line);
	if (node || !strstr(error.message, message) || !strstr(error.hint, hint))
		printf("# got: %s\n# hint: %s\n", error.message, error.hint);
	pgha_node_free(node);
}

static void
accepted(const char *line, const char *name, const char *value)
{
	HaNode	   *node = test_node(line, &error);

	if (ok(node != NULL, "accepted: %s", line))
		is_str(pgha_node_get(node, name), value, "its value is %s", value);
	else
		printf("# got: %s\n", error.message);
	pgha_node_free(node);
}

static void
test_refused(void)
{
	refused("pg_ha.scop = x", "conf:6: unrecognized", "\"pg_ha.scope\"");
	refused("pg_ha.consul_url = x", "conf:6:", "\"pg_ha.consul_urls\"");
	refused("pg_ha.zzzzzzzzzzzzz = x", "conf:6:", "--settings-table");
	refused("pg_ha.managed = on", "conf:6:", "Remove");
	refused("pg_ha.fence_wait = '-1'", "conf:6: -1 is outside", "0 to 3600000");
	refused("pg_ha.fence_wait = '61min'", "conf:6:", "0 to 3600000 ms");
	refused("pg_ha.fence_wait = 'soon'", "conf:6:", "units");
	refused("pg_ha.fence_wait = '1 parsec'", "conf:6:", "units");
	refused("pg_ha.fence_wait = 'nan'", "conf:6:", "units");
	refused("pg_ha.fence_wait = '1e400'", "conf:6:", "units");
	refused("pg_ha.log_level = 'loud'", "conf:6:", "debug, info, warning, e");
	refused("pg_ha.fence_reads = 'o'", "conf:6:", "on and off");
	refused("pg_ha.scope = ''", "\"pg_ha.scope\" is not set", "cluster");
	refused("pg_ha.name = 'a/b'", "conf:6:", "printable");
	refused("pg_ha.name = ' a'", "conf:6:", "blank");
	refused("pg_ha.name = '..'", "conf:6:", "printable");
	refused("pg_ha.name = 'm\xc3\xbcller'", "conf:6:", "ASCII");
	refused("pg_ha.name = 'a\\nb'", "control character", "");
	refused("pg_ha.connect_address = 'db1'", "conf:6:", "db1.example.com");
	refused("pg_ha.connect_address = '::1:5432'", "conf:6:", "[2001:db8::1]");
	refused("pg_ha.connect_address = 'a:+1'", "conf:6:", "For example");
	refused("pg_ha.connect_address = 'a:65536'", "conf:6:", "For example");
	refused("pg_ha.connect_address = '*:5432'", "conf:6:", "other members");
	refused("pg_ha.restapi_listen = '8008'", "conf:6:", "For example");
	refused("pg_ha.restapi_cert_file = 'x'", "together", "");
	refused("pg_ha.consul_urls = 'localhost:8500'", "conf:6:", "http://");
	refused("pg_ha.consul_urls = 'http://a:1,'", "conf:6:", "http://");
	refused("pg_ha.tags = '[1]'", "conf:6:", "nofailover");
	refused("pg_ha.tags = '{\"a\": {}}'", "conf:6:", "nofailover");
	refused("pg_ha.state_directory = 'data/x'", "conf:6:", "pg_rewind");
	refused("pg_ha.data_directory = '/'", "conf:6:", "");
	refused("pg_ha.namespace = 'a//b'", "conf:6:", "single");
	refused("pg_ha.consul_token_file = 'absent'", "conf:6:", "");
	refused("primary_conninfo = ''", "conf:6:", "owns");
	refused("RECOVERY_TARGET_TIME = 'now'", "conf:6:", "owns");
	refused("data_directory = 'x'", "conf:6:", "pg_ha.data_directory");
	refused("include 'other.conf'", "conf:6:", "this file");
	refused("x = 'unterminated", "conf:6: unterminated", "name = 'value'");
	refused("x = 10.0.0.1:1", "conf:6: syntax error", "name = 'value'");
	refused("= 1", "conf:6: syntax error in name", "name = 'value'");
	refused("x", "conf:6: value is missing", "name = 'value'");
	refused("x = 1 2", "conf:6:", "name = 'value'");
}

static void
test_accepted(void)
{
	char		long_name[200];
	HaNode	   *node;

	accepted("PG_HA.Fence_Wait 2s # a comment", "pg_ha.fence_wait", "2000");
	accepted("pg_ha.fence_wait = '0.5 s'", "pg_ha.fence_wait", "500");
	accepted("pg_ha.fence_wait = 250", "pg_ha.fence_wait", "250");
	accepted("pg_ha.fence_wait=1h\r", "pg_ha.fence_wait", "3600000");
	accepted("pg_ha.log_level = WARNING", "pg_ha.log_level", "warning");
	accepted("pg_ha.fence_reads = 'tr'", "pg_ha.fence_reads", "on");
	accepted("pg_ha.name = 'it''s \"n\\\\1\"'", "pg_ha.name",
			 "it's \"n\\1\"");
	accepted("pg_ha.name = '\\156'", "pg_ha.name", "n");
	accepted("pg_ha.scope = s", "pg_ha.scope", "s");
	accepted("pg_ha.passfile = '/a//b/./c/'", "pg_ha.passfile", "/a/b/c");
	accepted("pg_ha.connect_address = '[2001:db8::1]:5433'",
			 "pg_ha.restapi_connect_address", "[2001:db8::1]:8008");
	snprintf(long_name, sizeof(long_name), "pg_ha.run_directory = '/r'\n"
			 "pg_ha.name = '%063d'", 7);
	node = test_node(long_name, &error);
	ok(node != NULL, "a name of 63 bytes is taken");
	pgha_node_free(node);
	snprintf(long_name, sizeof(long_name), "pg_ha.run_directory = '/r'\n"
			 "pg_ha.name = '%064d'", 7);
	ok(test_node(long_name, &error) == NULL, "one of 64 bytes is not");
}

static void
test_resolved(void)
{
	HaNode	   *node = test_node("pg_ha.namespace = '/a/b/'\n"
								 "pg_ha.connect_address = '[::1]:99'\n"
								 "pg_ha.run_directory = '/run/x'\n"
								 "work_mem = '8MB'\n", &error);

	is_str(node->consul_prefix, "a/b/demo/", "prefix");
	is_str(node->host, "::1", "host without brackets");
	is_int(node->port, 99, "port");
	is_str(node->conn_url, "postgres://[::1]:99/postgres", "conn_url");
	is_str(node->api_url, "http://[::1]:8008/patroni", "api_url");
	is_str(node->data_directory, test_path("data"), "data directory");
	is_str(node->run_directory, "/run/x", "run directory");
	is_int(node->nserver, 1, "one setting is the server's");
	is_str(node->server[0].value, "8MB", "its value");
	pgha_node_free(node);

	test_write("token", " 12-ab\n");
	refused("pg_ha.consul_token_file = 'token'", "does not hold a token", "");
	test_write("token", "12-ab\r\n");
	node = test_node("pg_ha.consul_token_file = 'token'", &error);
	ok(node && strcmp(node->consul_token, "12-ab") == 0, "token is trimmed");
	pgha_node_free(node);
}

static void
test_diff(void)
{
	HaNode	   *a = test_node("work_mem = 1\nport = 1\n", &error);
	HaNode	   *b = test_node("work_mem = 2\nport = 2\n"
							  "pg_ha.fence_wait = 3\n"
							  "pg_ha.superuser = x\n", &error);
	char		restart[100];
	char		small[8];

	pgha_node_diff(a, a, restart, sizeof(restart));
	is_str(restart, "", "nothing changed");
	pgha_node_diff(a, b, restart, sizeof(restart));
	is_str(restart, "pg_ha.superuser, port", "what needs a restart");
	pgha_node_diff(a, b, small, sizeof(small));
	is_int((int64_t) strlen(small), sizeof(small) - 1, "cut off, not over");
	pgha_node_free(a);
	pgha_node_free(b);
}

static void
test_prefixes(void)
{
	static const char text[] = TEST_NODE "pg_ha.tags = '{\"a\": \"it''s\"}'\n"
		"pg_ha.fence_wait = '1.5e3 ms' # x\nport 5\nx.y = '\\101\\n'\n";

	for (size_t len = 0; len < sizeof(text); len++)
	{
		HaNode	   *node;

		test_write_bytes("node.conf", text, len);
		node = pgha_node_load(test_path("node.conf"), &error);
		if (!node && error.message[0] == '\0')
			ok(false, "a prefix of %zu bytes fails without a message", len);
		pgha_node_free(node);
	}
	for (size_t i = 0; i < sizeof(text) - 1; i++)
	{
		char		broken[sizeof(text)];
		HaNode	   *node;

		memcpy(broken, text, sizeof(text));
		broken[i] = (char) (i % 3 == 0 ? '\'' : i % 3 == 1 ? '\\' : '\0');
		test_write_bytes("node.conf", broken, sizeof(text) - 1);
		node = pgha_node_load(test_path("node.conf"), &error);
		pgha_node_free(node);
	}
	ok(true, "every prefix and every broken byte is survived");
	ok(pgha_node_load(test_path("absent"), &error) == NULL &&
	   strstr(error.message, "absent") != NULL, "an absent file is named");
}

static void
test_passwords(void)
{
	static const char text[] = "# comment:*:*:*:no\n"
		"h1:5432:replication:r:one\n"
		"*:*:postgres:r\\:x:t\\:w\\\\o\n"
		"*:*:*:r:last:with:colons\r\n"
		"short:line\n*:*:*:empty:";
	HaNode	   *node;
	char	   *password;

	test_write("pass", text);
	chmod(test_path("pass"), 0600);
	node = test_node("pg_ha.passfile = 'pass'", &error);
#define PASSWORD(h, p, d, u, expected) \
	password = pgha_node_password(node, h, p, d, u); \
	is_str(password ? password : "(none)", expected, "%s:%d:%s:%s", h, p, d, u); \
	free(password)
	PASSWORD("h1", 5432, "replication", "r", "one");
	PASSWORD("h1", 5433, "replication", "r", "last:with:colons");
	PASSWORD("h2", 5432, "postgres", "r:x", "t:w\\o");
	PASSWORD("h", 1, "postgres", "rr", "(none)");
	PASSWORD("h", 1, "postgres", "empty", "(none)");
	chmod(test_path("pass"), 0640);
	PASSWORD("h1", 5432, "replication", "r", "(none)");
	pgha_node_free(node);
}

/* What the server reads back is what was quoted. */
static void
test_quoting(void)
{
	static const char *const values[] = {
		"", "'", "''", "\\", "\\'", "a'b\\c", "two\nlines", "# no comment",
		"\"double\"", "tab\there", "\xc3\xbc", "=", "\\n", "\\101"
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
	{
		HaBuffer	buffer = {0};
		HaConfEntry entry;
		HaConfKind	kind;

		pgha_buffer_add(&buffer, "a.b = ");
		pgha_conf_quote(&buffer, values[i]);
		kind = pgha_conf_line(buffer.data, buffer.len, &entry, why);
		if (ok(kind == HA_CONF_SETTING, "quoted value %zu is read", i))
		{
			is_str(entry.value, values[i], "and is the same");
			free(entry.name);
			free(entry.value);
		}
		pgha_buffer_release(&buffer);
	}
}

static int	problems;
static char problem[4096];

static void
report(void *arg, const char *text, const char *hint)
{
	problems++;
	snprintf(problem + strlen(problem), sizeof(problem) - strlen(problem),
			 "%s [%s]\n", text, hint ? hint : "");
}

/* In the folders of all versions: only the launcher's own is looked at. */
static void
write_debian(const char *name, const char *text)
{
	char		path[64];

	mkdir(test_path("etc"), 0700);
	for (int major = 15; major < 25; major++)
	{
		snprintf(path, sizeof(path), "etc/%d", major);
		mkdir(test_path(path), 0700);
		snprintf(path, sizeof(path), "etc/%d/main", major);
		mkdir(test_path(path), 0700);
		snprintf(path, sizeof(path), "etc/%d/main/%s", major, name);
		test_write(path, text);
	}
}

static void
test_debian(void)
{
	HaNode	   *node = test_node("", &error);
	HaProblems	found = {.report = report};
	char		text[PATH_MAX + 64];

	write_debian("environment", "");
	pgha_node_check_debian(node, test_path("etc"), &found);
	is_int(found.n, 0, "a cluster without a configuration is not ours");

	snprintf(text, sizeof(text), "data_directory = '%s'\n",
			 node->data_directory);
	write_debian("postgresql.conf", text);
	pgha_node_check_debian(node, test_path("etc"), &found);
	is_int(found.n, 2, "one with our directory is: start.conf and place");
	ok(strstr(problem, "says \"auto\"") && strstr(problem, "echo disabled"),
	   "an absent start.conf means auto; the hint is a command");

	write_debian("start.conf", "# comment\n  disabled # really\n");
	found.n = 0;
	problem[0] = '\0';
	pgha_node_check_debian(node, test_path("etc"), &found);
	is_int(found.n, 1, "disabled is no problem");
	ok(strstr(problem, "pg_ha.config_directory = '") != NULL,
	   "its directory is told");
	pgha_node_free(node);
}

static void
test_check(void)
{
	HaNode	   *node;
	int			found;

	test_write("key", "k");
	chmod(test_path("key"), 0644);
	node = test_node("pg_ha.bin_directory = 'nowhere'\n"
					 "pg_ha.passfile = 'key'\n"
					 "pg_ha.consul_key_file = 'key'\n"
					 "pg_ha.config_directory = 'none'\n"
					 "pg_ha.bootstrap_config = 'key'\n", &error);
	problem[0] = '\0';
	problems = 0;
	chmod(test_path("data"), 0755);
	found = pgha_node_check(node, report, NULL);
	is_int(found, problems, "the number of problems is that of the reports");
	ok(strstr(problem, "nowhere/postgres"), "missing program");
	ok(strstr(problem, "mode 0755"), "data directory's mode");
	ok(strstr(problem, "libpq ignores it"), "passfile's mode");
	ok(strstr(problem, "\"pg_ha.consul_key_file\" is accessible"), "key's mode");
	ok(strstr(problem, "none/postgresql.conf"), "missing configuration");
	(void) pgha_node_check_passing(node, report, NULL);
	ok(strstr(problem, "key:1:"), "bootstrap_config that is no JSON");
	chmod(test_path("data"), 0700);
	pgha_node_free(node);
}

int
main(void)
{
	test_begin();
	test_accepted();
	test_refused();
	test_resolved();
	test_diff();
	test_prefixes();
	test_passwords();
	test_quoting();
	test_debian();
	test_check();
	return test_end();
}
