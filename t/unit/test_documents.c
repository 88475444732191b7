/*
 * test_documents.c
 *	  The JSON documents in Consul, both directions.
 *
 * Speaks TAP.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/base64.h"
#include "dcs/documents.h"

static int	tests;
static int	failures;

static void ok(bool passed, const char *format,...)
			__attribute__((format(printf, 2, 3)));

static void
ok(bool passed, const char *format,...)
{
	va_list		args;

	tests++;
	failures += !passed;
	printf("%sok %d - ", passed ? "" : "not ", tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* A copy that ends where the allocation does, for the address sanitizer. */
static char *
exact_copy(const char *text, size_t len)
{
	char	   *copy = malloc(len + (len == 0));

	memcpy(copy, text, len);
	return copy;
}

static const char status_text[] =
	"{\"optime\":67395656,\"slots\":{\"pg1\":67395656,\"pg2\":67395000},"
	"\"retain_slots\":[\"pg1\"],\"lease\":{\"holder\":\"pg1\",\"session\":"
	"\"8a1b\",\"term\":7,\"seq\":1000012,\"ttl_ms\":10000,\"paused\":false,"
	"\"released\":true,\"end_known\":true,\"successor\":\"pg2\"}}";

static const char member_text[] =
	"{\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"api_url\":"
	"\"http://10.0.0.2:8008/patroni\",\"state\":\"running\",\"role\":"
	"\"replica\",\"version\":\"4.1.0\",\"tags\":{\"clonefrom\":true,"
	"\"failover_priority\":3},\"pending_restart\":true,"
	"\"pending_restart_reason\":{\"max_connections\":{\"old_value\":\"100\","
	"\"new_value\":\"200\"}},\"xlog_location\":67395656,"
	"\"receive_lsn\":67395656,\"replay_lsn\":67395600,"
	"\"replication_state\":\"streaming\",\"timeline\":3,\"pause\":true,"
	"\"pg_ha\":{\"launcher\":true,\"ballot\":{\"term\":7,\"seq\":12,"
	"\"timeline\":3,\"lsn\":67395656}}}";

static const char history_text[] =
	"[[1,25623960,\"no recovery target specified\","
	"\"2026-11-23T03:40:00.123456+00:00\",\"pg1\"],"
	"[2,77395656,\"no recovery target specified\"]]";

static const char failover_text[] =
	"{\"leader\":\"pg1\",\"member\":\"pg2\","
	"\"scheduled_at\":\"2026-12-01T03:00:00+00:00\"}";

static const char config_text[] =
	"{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":9.5,"
	"\"maximum_lag_on_failover\":\"16MB\",\"pause\":true,"
	"\"postgresql\":{\"use_slots\":\"off\",\"parameters\":"
	"{\"max_connections\":\"101\"},\"pg_hba\":[\"local all all peer\"]}}";

/*
 * status
 */

static void
test_status(void)
{
	HaStatusDoc status;
	char		why[HA_WHY_MAX];
	char	   *text;

	ok(pgha_status_parse(status_text, strlen(status_text), &status, why) &&
	   status.optime == 67395656 && status.nslots == 2 &&
	   strcmp(status.slots[1].name, "pg2") == 0 &&
	   status.slots[1].lsn == 67395000, "status: optime and slots are read");
	ok(status.lease.present && status.lease.term == 7 &&
	   status.lease.seq == 1000012 && status.lease.ttl_ms == 10000 &&
	   !status.lease.paused && status.lease.released &&
	   status.lease.end_known && strcmp(status.lease.holder, "pg1") == 0 &&
	   strcmp(status.lease.session, "8a1b") == 0 &&
	   strcmp(status.lease.successor, "pg2") == 0, "status: lease is read");

	text = pgha_status_print(&status, status_text, strlen(status_text));
	ok(text && strcmp(text, status_text) == 0,
	   "status: printing gives what was read, unknown fields kept");
	free(text);
	text = pgha_status_print(&status, NULL, 0);
	ok(text && strstr(text, "retain_slots") == NULL &&
	   strstr(text, "\"term\":7") != NULL, "status: printed without previous");
	free(text);
	text = pgha_status_print(&status, "[gar", 4);
	ok(text && text[0] == '{', "status: a previous garbage is replaced");
	free(text);

	memset(&status, 0, sizeof(status));
	text = pgha_status_print(&status, status_text, strlen(status_text));
	ok(text && strcmp(text, "{\"retain_slots\":[\"pg1\"]}") == 0,
	   "status: an unknown position does not keep the old one");
	free(text);

	ok(pgha_status_parse("", 0, &status, why) && status.optime == 0 &&
	   !status.lease.present, "status: an empty value is an empty document");
	ok(pgha_status_parse(NULL, 0, &status, why) && status.optime == 0,
	   "status: an absent value is an empty document");
	ok(pgha_status_parse("67395656", 8, &status, why) &&
	   status.optime == 67395656, "status: a bare integer is the position");
	ok(pgha_status_parse(" { \"optime\" : \"5\" }\n", 20, &status, why) &&
	   status.optime == 5, "status: any whitespace, numbers as strings");
	ok(pgha_status_parse("{\"lease\":null}", 14, &status, why) &&
	   !status.lease.present, "status: a null lease is none");
}

static void
test_status_refused(void)
{
	static const char *const bad[] = {
		"[]", "true", "\"x\"", "{\"optime\":-1}", "{\"optime\":1.5}",
		"{\"lease\":7}",
		"{\"lease\":{}}",
		"{\"lease\":{\"holder\":\"a\",\"term\":1,\"ttl_ms\":1}}",
		"{\"lease\":{\"holder\":\"a\",\"term\":0,\"seq\":1,\"ttl_ms\":1}}",
		"{\"lease\":{\"holder\":\"a\",\"term\":-1,\"seq\":1,\"ttl_ms\":1}}",
		"{\"lease\":{\"holder\":\"a\",\"term\":1,\"seq\":1,\"ttl_ms\":0}}",
		"{\"lease\":{\"holder\":\"a\",\"term\":1,\"seq\":1,\"ttl_ms\":1e300}}",
		"{\"lease\":{\"holder\":\"\",\"term\":1,\"seq\":1,\"ttl_ms\":1}}",
		"{\"lease\":{\"holder\":5,\"term\":1,\"seq\":1,\"ttl_ms\":1}}",
		"{\"lease\":{\"holder\":\"a\",\"term\":1,\"seq\":1,\"ttl_ms\":1,"
		"\"released\":\"perhaps\"}}",
		"{\"lease\":{\"holder\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaa\",\"term\":1,\"seq\":1,\"ttl_ms\":1}}",
		"{\"optime\":1} x", "{\"optime\":99999999999999999999}",
	};
	HaStatusDoc status;
	char		why[HA_WHY_MAX];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!pgha_status_parse(bad[i], strlen(bad[i]), &status, why) &&
		   why[0] != '\0' && !status.lease.present,
		   "status: refused: %.60s", bad[i]);
}

/*
 * members
 */

/* A list too long to keep: it is said that something waits, not what. */
static void
ok_pending_cut(void)
{
	char		text[4096];
	char		why[HA_WHY_MAX];
	HaMember	member;
	size_t		len = (size_t) snprintf(text, sizeof(text),
										"{\"pending_restart\":true,"
										"\"pending_restart_reason\":{\"a\":\"%0*d\"}}",
										HA_PENDING_MAX, 0);

	ok(pgha_member_parse("n1", text, len, &member, why) &&
	   member.pending_restart && member.pending[0] == '\0',
	   "member: a list of what waits that is too long is left out");
}

/* What it runs with: the five are said and read together. */
static void
ok_settings(void)
{
	HaMemberDoc doc = {.member = {.pgha = true,.settings = {120, 8, 10, 0, 64}}};
	HaMember	read;
	char		why[HA_WHY_MAX];
	char	   *text = pgha_member_print(&doc);

	ok(text && strstr(text, "\"settings\":{\"max_connections\":120,") &&
	   pgha_member_parse("n1", text, strlen(text), &read, why) &&
	   memcmp(&read.settings, &doc.member.settings,
			  sizeof(read.settings)) == 0,
	   "member: the settings it runs with are written and read");
	free(text);
	text = strdup("{\"pg_ha\":{\"settings\":{\"max_connections\":-5,"
				  "\"max_wal_senders\":4294967296,"
				  "\"max_worker_processes\":\"x\"}}}");
	ok(text && pgha_member_parse("n1", text, strlen(text), &read, why) &&
	   read.settings.max_connections == 0 &&
	   read.settings.max_wal_senders == 0 &&
	   read.settings.max_worker_processes == 0,
	   "member: settings out of range are not known");
	free(text);
}

static void
test_member(void)
{
	HaMemberDoc doc = {0};
	HaMember   *m = &doc.member;
	char		why[HA_WHY_MAX];
	char	   *text;

	ok(pgha_member_parse("pg 2", member_text, strlen(member_text), m, why) &&
	   strcmp(m->name, "pg 2") == 0 && m->role == HA_ROLE_STANDBY &&
	   m->running && m->streaming && m->tli == 3 && m->lsn == 67395656 &&
	   m->pending_restart && m->failover_priority == 3 && !m->nofailover,
	   "member: Patroni's fields are read");
	ok(m->pgha && m->launcher && m->ballot.present && m->ballot.term == 7 &&
	   m->ballot.seq == 12 && m->ballot.tli == 3 &&
	   m->ballot.lsn == 67395656, "member: pg_ha's mark is read");
	ok(strcmp(m->pending, "{\"max_connections\":{\"old_value\":\"100\","
			  "\"new_value\":\"200\"}}") == 0,
	   "member: what waits for a restart is read");
	ok_pending_cut();
	ok_settings();

	strcpy(doc.version, "4.1.0");
	doc.receive_lsn = 67395656;
	doc.replay_lsn = 67395600;
	doc.pause = true;
	doc.tags = json_pack("{s:b, s:i}", "clonefrom", 1, "failover_priority", 3);
	doc.pending_restart_reason =
		json_pack("{s:{s:s, s:s}}", "max_connections", "old_value", "100",
				  "new_value", "200");
	text = pgha_member_print(&doc);
	ok(text && strcmp(text, member_text) == 0,
	   "member: printing gives what was read, fields in Patroni's order");
	free(text);
	json_decref(doc.tags);
	json_decref(doc.pending_restart_reason);

	memset(&doc, 0, sizeof(doc));
	doc.member.role = HA_ROLE_PRIMARY;
	strcpy(doc.member.state, "running");
	text = pgha_member_print(&doc);
	ok(text && strcmp(text, "{\"conn_url\":\"\",\"api_url\":\"\",\"state\":"
					  "\"running\",\"role\":\"primary\",\"version\":\"\"}")
	   == 0, "member: what is unknown is left out");
	free(text);
}

static bool
member_is(const char *text, HaRole role, bool nofailover, int priority,
		  bool pgha)
{
	HaMember	member;
	char		why[HA_WHY_MAX];

	return pgha_member_parse("m", text, strlen(text), &member, why) &&
		member.role == role && member.nofailover == nofailover &&
		member.failover_priority == priority && member.pgha == pgha &&
		!member.ballot.present;
}

static void
test_member_tolerance(void)
{
	HaMember	member;
	char		why[HA_WHY_MAX];
	char		name[HA_NAME_MAX + 2];
	char	   *text;

	ok(member_is("{}", HA_ROLE_UNKNOWN, false, 1, false),
	   "member: an empty object says nothing");
	ok(member_is("{\"role\":\"master\"}", HA_ROLE_PRIMARY, false, 1, false),
	   "member: master is primary");
	ok(member_is("{\"role\":\"standby_leader\"}", HA_ROLE_UNKNOWN, false, 1,
				 false), "member: another role is unknown");
	ok(member_is("{\"tags\":{\"nofailover\":\"true\"}}", HA_ROLE_UNKNOWN,
				 true, 1, false), "member: nofailover as a string");
	ok(member_is("{\"tags\":{\"failover_priority\":\"0\"}}", HA_ROLE_UNKNOWN,
				 true, 0, false), "member: failover_priority 0 is nofailover");
	ok(member_is("{\"tags\":{\"failover_priority\":-4}}", HA_ROLE_UNKNOWN,
				 true, 0, false), "member: a negative one too");
	ok(member_is("{\"tags\":[1],\"state\":5,\"timeline\":-1}",
				 HA_ROLE_UNKNOWN, false, 1, false),
	   "member: fields of a wrong type count as absent");
	ok(member_is("{\"pg_ha\":{\"ballot\":{\"term\":1,\"seq\":1,"
				 "\"timeline\":1}}}", HA_ROLE_UNKNOWN, false, 1, true),
	   "member: half a ballot is none");
	ok(member_is("{\"pg_ha\":{\"ballot\":{\"term\":1,\"seq\":1,"
				 "\"timeline\":4294967296,\"lsn\":1}}}", HA_ROLE_UNKNOWN,
				 false, 1, true), "member: nor one of an impossible timeline");
	ok(!pgha_member_parse("m", "[]", 2, &member, why) &&
	   !pgha_member_parse("m", "", 0, &member, why) &&
	   !pgha_member_parse("", "{}", 2, &member, why),
	   "member: no object, no value, no name are refused");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ok(!pgha_member_parse(name, "{}", 2, &member, why),
	   "member: a name that is too long is refused, not cut");
	text = strdup("{\"state\":\"................................................"
				  "..............................\"}");
	for (char *c = strchr(text, '.'); c[0] == '.'; c += 2)
	{
		c[0] = '\303';
		c[1] = '\251';
	}
	ok(pgha_member_parse("m", text, strlen(text), &member, why) &&
	   strlen(member.state) == 62,
	   "member: text is cut between characters");
	free(text);
}

/*
 * history, failover, initialize
 */

static void
test_history(void)
{
	static HaHistoryDoc history;
	static HaTimelines timelines;
	char		why[HA_WHY_MAX];
	char	   *text;
	json_t	   *many = json_array();

	ok(pgha_history_parse(history_text, strlen(history_text), &history, why) &&
	   history.nlines == 2 && history.lines[0].tli == 1 &&
	   history.lines[1].end == 77395656 &&
	   strcmp(history.lines[0].leader, "pg1") == 0 &&
	   history.lines[1].when[0] == '\0', "history: lines of 3 and 5 fields");
	text = pgha_history_print(&history);
	ok(text && strcmp(text, history_text) == 0, "history: round trip");
	free(text);
	pgha_history_timelines(&history, &timelines);
	ok(timelines.nforks == 2 && timelines.forks[1].tli == 2 &&
	   timelines.forks[1].end == 77395656, "history: as timelines");
	ok(pgha_history_parse("[]", 2, &history, why) && history.nlines == 0 &&
	   pgha_history_parse("", 0, &history, why) && history.nlines == 0,
	   "history: empty");

	for (int i = 1; i <= HA_HISTORY_MAX + 10; i++)
		json_array_append_new(many, json_pack("[i,i,s]", i, i * 100, "why"));
	text = json_dumps(many, 0);
	json_decref(many);
	ok(pgha_history_parse(text, strlen(text), &history, why) &&
	   history.nlines == HA_HISTORY_MAX && history.lines[0].tli == 11 &&
	   history.lines[HA_HISTORY_MAX - 1].tli == HA_HISTORY_MAX + 10,
	   "history: of too many the newest are kept");
	free(text);
	ok(!pgha_history_parse("[[2,1,\"\"],[1,1,\"\"]]", 19, &history, why) &&
	   !pgha_history_parse("[[0,1,\"\"]]", 10, &history, why) &&
	   !pgha_history_parse("[[1]]", 5, &history, why) &&
	   !pgha_history_parse("[7]", 3, &history, why) &&
	   !pgha_history_parse("{}", 2, &history, why) && history.nlines == 0,
	   "history: out of order, malformed: refused whole");
}

static void
test_failover(void)
{
	HaOrder		f;
	char		why[HA_WHY_MAX];

	ok(pgha_order_parse(failover_text, strlen(failover_text), &f, why) &&
	   f.present && strcmp(f.leader, "pg1") == 0 &&
	   strcmp(f.member, "pg2") == 0 &&
	   f.scheduled_ms == INT64_C(1796094000000) && f.begun_term == 0,
	   "failover: read");
	ok(pgha_order_parse("{}", 2, &f, why) && !f.present &&
	   pgha_order_parse("", 0, &f, why) && !f.present,
	   "failover: {} and an empty value are none");
	ok(pgha_order_parse("pg1:pg-2", 8, &f, why) && f.present &&
	   strcmp(f.leader, "pg1") == 0 && strcmp(f.member, "pg-2") == 0 &&
	   pgha_order_parse(":pg2", 4, &f, why) && f.leader[0] == '\0',
	   "failover: leader:candidate");
	ok(!pgha_order_parse("{\"member\":5}", 12, &f, why) &&
	   !pgha_order_parse("<a>:b", 5, &f, why) &&
	   !pgha_order_parse("pg1", 3, &f, why) &&
	   !pgha_order_parse("[]", 2, &f, why) && !f.present,
	   "failover: anything else is refused");
}

/* What is written is read again; what makes no sense is refused whole. */
static void
test_order(void)
{
	HaOrder		order = {.leader = "pg1",.member = "pg2",.job = "j-1",
		.asked_by = "pg3",.scheduled_ms = INT64_C(1796094000500),
		.timeout_ms = 5000,.force = true,.begun_term = 7
	};
	HaOrder		read;
	char		why[HA_WHY_MAX];
	char	   *text = pgha_order_print(&order);

	ok(text != NULL && pgha_order_parse(text, strlen(text), &read, why) &&
	   read.present && strcmp(read.job, "j-1") == 0 &&
	   strcmp(read.asked_by, "pg3") == 0 && read.force &&
	   read.scheduled_ms == order.scheduled_ms && read.timeout_ms == 5000 &&
	   read.begun_term == 7, "order: what is written is read");
	free(text);
	ok(pgha_order_parse("{\"member\":\"a\"}", 14, &read, why) &&
	   read.timeout_ms == 300000, "order: five minutes if it does not say");
	ok(!pgha_order_parse("{\"member\":\"a\",\"scheduled_at\":\"2026-12-01T03:00:00\"}", 53, &read, why) &&
	   !read.present, "order: a time without a zone is refused");
	ok(!pgha_order_parse("{\"member\":\"a\",\"pg_ha\":{\"begun\":-1}}", 38, &read, why),
	   "order: a malformed term is refused");
}

static void
test_times(void)
{
	char		text[40];
	int64_t		ms;

	ok(pgha_time_parse("1970-01-01 00:00:01Z", &ms) && ms == 1000 &&
	   pgha_time_parse("1970-01-01T01:00:00.25+01:00", &ms) && ms == 250 &&
	   pgha_time_parse("1970-01-01T00:00:00-0030", &ms) && ms == 1800000 &&
	   pgha_time_parse("1970-01-01T02:00:00 +02", &ms) && ms == 0,
	   "time: with any zone");
	ok(!pgha_time_parse("1970-01-01 00:00:01", &ms) &&
	   !pgha_time_parse("1970-01-01T00:00:00+01:60", &ms) &&
	   !pgha_time_parse("1970-01-01T00:00:00Z and more", &ms) &&
	   !pgha_time_parse("tomorrow", &ms) && !pgha_time_parse("", &ms),
	   "time: nothing else");
	pgha_time_print(INT64_C(1796094000500), text, sizeof(text));
	ok(strcmp(text, "2026-12-01T03:00:00.500+00:00") == 0,
	   "time: printed in UTC");
}

static bool
parse_restart(const char *text, HaRestart *restart)
{
	json_t	   *document = json_loads(text, 0, NULL);
	bool		done = pgha_restart_parse("id", document, restart);

	json_decref(document);
	return done;
}

static void
test_restart(void)
{
	HaRestart	restart;

	ok(parse_restart("{\"kind\":\"restart\",\"state\":\"running\",\"role\":\"replica\",\"pending_only\":true,"
					 "\"version_below\":150006,\"members\":[{\"name\":\"a\",\"state\":\"asked\",\"before\":5,\"rounds\":1},"
					 "{\"name\":\"b\",\"state\":\"todo\"}]}", &restart) &&
	   restart.nentries == 2 && restart.entries[0].state == HA_ENTRY_ASKED &&
	   restart.entries[0].before == 5 && restart.entries[0].rounds == 1 &&
	   restart.role == HA_ROLE_STANDBY && restart.pending_only &&
	   restart.version_below == 150006 && restart.timeout_ms == 300000,
	   "restart: read");
	ok(!parse_restart("{\"kind\":\"restart\",\"state\":\"done\",\"members\":[{\"name\":\"a\",\"state\":\"done\"}]}", &restart),
	   "restart: one that has ended is none");
	ok(!parse_restart("{\"kind\":\"switchover\",\"state\":\"running\"}", &restart),
	   "restart: nor is another job");
	ok(!parse_restart("{\"kind\":\"restart\",\"state\":\"running\",\"members\":[{\"name\":\"a\",\"state\":\"lost\"}]}", &restart) &&
	   !parse_restart("{\"kind\":\"restart\",\"state\":\"running\",\"members\":[]}", &restart) &&
	   !parse_restart("{\"kind\":\"restart\",\"state\":\"running\"}", &restart) &&
	   !parse_restart("[]", &restart),
	   "restart: what makes no sense is left alone");
}

static void
test_initialize(void)
{
	ok(pgha_initialize_parse("7268616322854375442", 19) ==
	   UINT64_C(7268616322854375442) &&
	   pgha_initialize_parse("18446744073709551615", 20) == UINT64_MAX,
	   "initialize: a system identifier");
	ok(pgha_initialize_parse("", 0) == 0 &&
	   pgha_initialize_parse("123456789", 9) == 0 &&
	   pgha_initialize_parse("18446744073709551616", 20) == 0 &&
	   pgha_initialize_parse("72686163228x4375442", 19) == 0 &&
	   pgha_initialize_parse("-268616322854375442", 19) == 0,
	   "initialize: anything else is 0");
}

/*
 * config
 */

static bool
config_is(const char *text, int64_t ttl, int64_t loop_wait,
		  int64_t retry_timeout, bool complains)
{
	HaConfigDoc config;
	char		why[HA_WHY_MAX];
	bool		same;

	if (!pgha_config_parse(text, strlen(text), &config, why))
		return false;
	same = config.timeouts.ttl_ms == ttl &&
		config.timeouts.loop_wait_ms == loop_wait &&
		config.timeouts.retry_timeout_ms == retry_timeout &&
		(why[0] != '\0') == complains;
	if (!same)
		printf("# %lld %lld %lld %s\n", (long long) config.timeouts.ttl_ms,
			   (long long) config.timeouts.loop_wait_ms,
			   (long long) config.timeouts.retry_timeout_ms, why);
	pgha_config_free(&config);
	return same;
}

static void
test_config(void)
{
	static const char old_text[] =
		"{\"master_start_timeout\":\"5min\",\"primary_stop_timeout\":0,"
		"\"member_slots_ttl\":\"1500ms\",\"ttl\":null}";
	HaConfigDoc config;
	HaTimeouts *t = &config.timeouts;
	char		why[HA_WHY_MAX];

	ok(pgha_config_parse(config_text, strlen(config_text), &config, why) &&
	   why[0] == '\0' && t->ttl_ms == 30000 && t->loop_wait_ms == 10000 &&
	   t->retry_timeout_ms == 9500 &&
	   t->maximum_lag_on_failover == 16 * 1048576 && config.pause &&
	   !config.use_slots && config.use_pg_rewind,
	   "config: values, units, flags");
	ok(json_object_size(config.parameters) == 1 &&
	   json_array_size(config.pg_hba) == 1 && config.pg_ident == NULL,
	   "config: parameters and rules");
	pgha_config_free(&config);
	ok(pgha_config_parse("{}", 2, &config, why) && why[0] == '\0' &&
	   t->ttl_ms == 10000 && t->loop_wait_ms == 1000 &&
	   t->retry_timeout_ms == 3000 && t->primary_start_timeout_ms == 300000 &&
	   t->primary_stop_timeout_ms == 30000 &&
	   t->member_slots_ttl_ms == 1800000 &&
	   t->maximum_lag_on_failover == 1048576 && config.use_slots &&
	   config.use_pg_rewind && !config.pause, "config: defaults");
	pgha_config_free(&config);
	ok(pgha_config_parse(old_text, strlen(old_text), &config, why) &&
	   why[0] == '\0' && t->primary_start_timeout_ms == 300000 &&
	   t->primary_stop_timeout_ms == 30000 &&
	   t->member_slots_ttl_ms == 1500,
	   "config: old names, Patroni's 0, units, null");
	pgha_config_free(&config);
	ok(!pgha_config_parse("", 0, &config, why) &&
	   !pgha_config_parse("[]", 2, &config, why) &&
	   !pgha_config_parse("{\"a\":", 5, &config, why) &&
	   config.document == NULL && why[0] != '\0',
	   "config: no object is no configuration");
}

static void
test_config_rule(void)
{
	ok(config_is("{\"ttl\":3}", 3000, 500, 1210, false),
	   "config: defaults give way to a low ttl, silently");
	ok(config_is("{\"ttl\":2}", 2000, 333, 798, false),
	   "config: down to the lowest ttl");
	ok(config_is("{\"ttl\":\"3s\",\"retry_timeout\":1}", 3000, 920, 1000,
				 false), "config: a default gives way to what was asked for");
	ok(config_is("{\"ttl\":5,\"loop_wait\":2}", 5000, 2000, 1450, false),
	   "config: whichever it is");
	ok(config_is("{\"loop_wait\":10,\"retry_timeout\":10}", 10000, 1666, 4092,
				 true), "config: a broken rule lowers both, and says so");
	ok(config_is("{\"ttl\":30,\"loop_wait\":20,\"retry_timeout\":10}", 30000,
				 9650, 10000, true), "config: loop_wait before retry_timeout");
	ok(config_is("{\"ttl\":1}", 10000, 1000, 3000, true) &&
	   config_is("{\"ttl\":86401}", 10000, 1000, 3000, true) &&
	   config_is("{\"ttl\":\"ten\"}", 10000, 1000, 3000, true) &&
	   config_is("{\"ttl\":\"0x20\"}", 10000, 1000, 3000, true) &&
	   config_is("{\"ttl\":\"10 parsecs\"}", 10000, 1000, 3000, true) &&
	   config_is("{\"ttl\":[]}", 10000, 1000, 3000, true) &&
	   config_is("{\"ttl\":1e308}", 10000, 1000, 3000, true) &&
	   config_is("{\"loop_wait\":0.01}", 10000, 1000, 3000, true) &&
	   config_is("{\"retry_timeout\":0.4}", 10000, 1000, 3000, true),
	   "config: a value out of range leaves the default, and says so");

	for (int64_t ttl = 2000; ttl <= 120000; ttl += 17)
	{
		char		text[100];
		HaConfigDoc config;
		HaTimeouts *t = &config.timeouts;
		char		why[HA_WHY_MAX];

		snprintf(text, sizeof(text), "{\"ttl\":\"%lldms\",\"loop_wait\":60,"
				 "\"retry_timeout\":60}", (long long) ttl);
		if (!pgha_config_parse(text, strlen(text), &config, why) ||
			t->ttl_ms != ttl || t->loop_wait_ms < 100 ||
			t->retry_timeout_ms < 500 ||
			t->loop_wait_ms + 2 * t->retry_timeout_ms +
			pgha_lease_margin_ms(ttl) > ttl)
		{
			ok(false, "config: the rule holds for ttl %lld", (long long) ttl);
			return;
		}
		pgha_config_free(&config);
	}
	ok(true, "config: the rule holds for every ttl");
}

static bool
check_says(const char *text, const char *part)
{
	json_t	   *document = json_loads(text, 0, NULL);
	char		why[HA_WHY_MAX];
	bool		passed = pgha_config_check(document, why);

	json_decref(document);
	if (part == NULL)
		return passed && why[0] == '\0';
	return !passed && strstr(why, part) != NULL;
}

static void
test_config_check(void)
{
	ok(check_says(config_text, NULL) && check_says("{}", NULL) &&
	   check_says("{\"ttl\":3,\"foo\":{\"bar\":1}}", NULL),
	   "check: a good configuration, unknown keys included");
	ok(check_says("{\"ttl\":5,\"loop_wait\":1,\"retry_timeout\":3}",
				  "must not exceed ttl 5 s"), "check: the rule");
	ok(check_says("{\"ttl\":1}", "ttl must be between 2 and 86400 seconds"),
	   "check: a range, named with its unit");
	ok(check_says("{\"maximum_lag_on_failover\":\"1XB\"}", "bytes"),
	   "check: a unit");
	ok(check_says("[]", "object") &&
	   check_says("{\"postgresql\":5}", "postgresql must be") &&
	   check_says("{\"postgresql\":{\"parameters\":[]}}", "parameters") &&
	   check_says("{\"postgresql\":{\"parameters\":{\"a\":{}}}}", "single") &&
	   check_says("{\"postgresql\":{\"pg_hba\":\"x\"}}", "pg_hba") &&
	   check_says("{\"postgresql\":{\"pg_ident\":[1]}}", "pg_ident") &&
	   check_says("{\"pause\":\"maybe\"}", "pause"), "check: types");
}

/* RFC 7396, appendix A */
static void
test_merge_patch(void)
{
	static const char *const cases[][3] = {
		{"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
		{"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
		{"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
		{"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
		"{\"a\":{\"b\":\"d\"}}"},
		{"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
		{"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
		{"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
		{"{\"a\":\"foo\"}", "null", "null"},
		{"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
		{"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
		{"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
		{"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		json_t	   *target = json_loads(cases[i][0], JSON_DECODE_ANY, NULL);
		json_t	   *before = json_deep_copy(target);
		json_t	   *patch = json_loads(cases[i][1], JSON_DECODE_ANY, NULL);
		json_t	   *wanted = json_loads(cases[i][2], JSON_DECODE_ANY, NULL);
		json_t	   *merged = pgha_json_merge_patch(target, patch);

		ok(json_equal(merged, wanted) && json_equal(target, before),
		   "merge patch: %s with %s", cases[i][0], cases[i][1]);
		json_decref(target);
		json_decref(before);
		json_decref(patch);
		json_decref(wanted);
		json_decref(merged);
	}
}

/*
 * Hostile input
 */

/* How many of the parsers take it. */
static int
accepted(const char *text, size_t len)
{
	static HaHistoryDoc history;
	char	   *copy = exact_copy(text, len);
	HaStatusDoc status;
	HaMember	member;
	HaConfigDoc config;
	HaOrder failover;
	char		why[HA_WHY_MAX];
	int			n = 0;

	n += pgha_status_parse(copy, len, &status, why);
	n += pgha_member_parse("m", copy, len, &member, why);
	n += pgha_history_parse(copy, len, &history, why);
	n += pgha_order_parse(copy, len, &failover, why);
	if (pgha_config_parse(copy, len, &config, why))
	{
		pgha_config_free(&config);
		n++;
	}
	n += pgha_initialize_parse(copy, len) != 0;
	free(copy);
	return n;
}

static void
test_truncated(void)
{
	static const char *const whole[] = {
		status_text, member_text, history_text, failover_text, config_text
	};

	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
	{
		int			taken = 0;

		for (size_t len = 1; len < strlen(whole[i]); len++)
			taken += accepted(whole[i], len);
		ok(taken == 0, "no truncation of document %zu is accepted", i);
	}
}

static void
test_garbage(void)
{
	size_t		big_len = HA_DOCUMENT_MAX + 1;
	char	   *big = malloc(big_len);
	unsigned	seed = 1;
	int			taken = 0;

	memset(big, ' ', big_len);
	memcpy(big, "{}", 2);
	ok(accepted(big, big_len) == 0, "a document over the limit is refused");
	ok(accepted(big, big_len - 1) > 0, "one of the limit is not");
	memset(big, '[', big_len);
	ok(accepted(big, big_len - 1) == 0, "a deep document is refused");
	ok(accepted("{\"a\":\"\\u0000\"}", 14) == 0 && accepted("\0\0", 2) == 0 &&
	   accepted("{\"a\":\"\377\"}", 9) == 0, "NUL and broken UTF-8 are refused");

	/* what is not valid must not crash; what is, may be taken */
	for (int round = 0; round < 3000; round++)
	{
		char		text[sizeof(member_text)];

		strcpy(text, round % 2 ? member_text : status_text);
		for (int i = 0; i < 1 + round % 4; i++)
		{
			seed = seed * 1103515245 + 12345;
			text[(seed >> 8) % strlen(status_text)] = (char) (seed >> 24);
		}
		taken += accepted(text, strlen(status_text));
	}
	ok(taken >= 0, "damaged documents don't crash");
	free(big);
}

static void
test_base64(void)
{
	static const char *const bad[] = {
		"Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n",
		"Zm 9", "Zm9v=", "-_==", "=Zg="
	};
	char		data[64];
	size_t		len;
	bool		same = true;
	int			taken = 0;

	for (size_t n = 0; n < 40; n++)
	{
		char		in[40];
		char	   *text;

		for (size_t i = 0; i < n; i++)
			in[i] = (char) (i * 37 + n * 11);
		text = pgha_base64_encode(in, n);
		same &= pgha_base64_decode(text, strlen(text), data, &len) &&
			len == n && memcmp(in, data, n) == 0 && data[n] == '\0' &&
			pgha_base64_room(strlen(text)) > n;
		free(text);
	}
	ok(same, "base64: round trip of every length");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		taken += pgha_base64_decode(bad[i], strlen(bad[i]), data, &len);
	ok(taken == 0, "base64: what no strict encoder writes is refused");
}

int
main(void)
{
	test_status();
	test_status_refused();
	test_member();
	test_member_tolerance();
	test_history();
	test_failover();
	test_order();
	test_times();
	test_restart();
	test_initialize();
	test_config();
	test_config_rule();
	test_config_check();
	test_merge_patch();
	test_truncated();
	test_garbage();
	test_base64();
	printf("1..%d\n", tests);
	return failures > 0;
}
