/*
 * test_scenarios.c
 *	  Runs the files of t/scenario against the real pgha_decide.
 *
 * usage: test_scenarios [DIRECTORY | FILE...]
 *
 * The language is in t/scenario/README.md: one fact a line, and what is
 * expected of the decision.  Facts stay until a later line changes them.
 * Speaks TAP; fails if a rule of the table is reached by no scenario.
 */
#include <dirent.h>
#include <stdlib.h>

#include "core/decide.h"
#include "tap.h"

#define SCENARIO_DIRECTORY "t/scenario"
#define SCENARIO_LINE_MAX 512
#define SCENARIO_WORDS_MAX 32
#define SCENARIO_DEPTH_MAX 4

/* the moment a scenario begins */
#define SCENARIO_NOW (1000000 * HA_NS_PER_MS)

typedef enum FactType
{
	FACT_BOOL,
	FACT_INT,					/* int */
	FACT_MS,					/* int64_t, a duration */
	FACT_U32,
	FACT_U64,
	FACT_LSN,
	FACT_TIME,					/* relative to now */
	FACT_NAME,
	FACT_WORD,					/* an enum, by its words */
} FactType;

typedef struct Fact
{
	const char *name;
	FactType	type;
	size_t		offset;
	const char *const *words;	/* FACT_WORD only, NULL-terminated */
} Fact;

static const char *const brain_words[] = {"worker", "launcher", NULL};
static const char *const role_words[] = {
	"unknown", "primary", "standby", NULL
};
static const char *const instance_words[] = {
	"unknown", "empty", "half-done", "down", "crashed", "dying", "starting",
	"running", "stopping", "busy", NULL
};
static const char *const standing_words[] = {
	"unknown", "ours", "paused", "held", "gap", "named", "released",
	"expired", "restored", "outside", NULL
};
static const char *const name_lock_words[] = {"free", "held", "taken", NULL};
static const char *const stop_words[] = {
	"none", "rejoin", "restart", "handover", "reinit", NULL
};
static const char *const wal_end_words[] = {
	"unknown", "known", "unreadable", NULL
};

#define FACT(name, type) {#name, type, offsetof(HaView, name), NULL}
#define FACT_OF(name, words) {#name, FACT_WORD, offsetof(HaView, name), words}
#define FACT_TIMEOUT(name, type) \
	{#name, type, offsetof(HaView, timeouts.name), NULL}

static const Fact facts[] = {
	FACT_OF(brain, brain_words),
	FACT(now, FACT_TIME),
	FACT(self, FACT_NAME),
	FACT_TIMEOUT(ttl_ms, FACT_MS),
	FACT_TIMEOUT(loop_wait_ms, FACT_MS),
	FACT_TIMEOUT(retry_timeout_ms, FACT_MS),
	FACT_TIMEOUT(primary_start_timeout_ms, FACT_MS),
	FACT_TIMEOUT(primary_stop_timeout_ms, FACT_MS),
	FACT_TIMEOUT(member_slots_ttl_ms, FACT_MS),
	FACT_TIMEOUT(health_timeout_ms, FACT_MS),
	FACT_TIMEOUT(maximum_lag_on_failover, FACT_MS),
	FACT(cluster_known, FACT_BOOL),
	FACT(read_at, FACT_TIME),
	FACT(session_held, FACT_BOOL),
	FACT_OF(name_lock, name_lock_words),
	FACT(paused, FACT_BOOL),
	FACT(initialize_present, FACT_BOOL),
	FACT(initialize_sysid, FACT_U64),
	FACT(scope_empty_since, FACT_TIME),
	FACT_OF(standing, standing_words),
	FACT(standing_until, FACT_TIME),
	FACT(ours_since, FACT_TIME),
	FACT(stood_until, FACT_TIME),
	FACT(lease_valid, FACT_BOOL),
	FACT(lease_deadline, FACT_TIME),
	FACT(consul_at, FACT_TIME),
	FACT(failsafe_mode, FACT_BOOL),
	FACT(failsafe_possible, FACT_BOOL),
	FACT(failsafe_due, FACT_TIME),
	FACT(heartbeat_due, FACT_TIME),
	FACT(write_pending, FACT_BOOL),
	FACT(write_unresolved, FACT_BOOL),
	FACT(takeover_unresolved, FACT_BOOL),
	FACT(paused_in_force, FACT_BOOL),
	FACT(other_term_confirmed, FACT_BOOL),
	FACT(stranger, FACT_BOOL),
	FACT(lease_term, FACT_U64),
	FACT(highest_shown, FACT_U64),
	FACT(lease_seq, FACT_U64),
	FACT(optime, FACT_LSN),
	FACT(end_known, FACT_BOOL),
	FACT(leader, FACT_NAME),
	FACT(successor, FACT_NAME),
	FACT(history_known, FACT_BOOL),
	FACT_OF(instance, instance_words),
	FACT(instance_since, FACT_TIME),
	FACT_OF(role, role_words),
	FACT(promoting, FACT_BOOL),
	FACT(receiver_on, FACT_BOOL),
	FACT(replay_paused, FACT_BOOL),
	FACT(consistent, FACT_BOOL),
	FACT(sysid, FACT_U64),
	FACT(tli, FACT_U32),
	FACT(lsn, FACT_LSN),
	FACT_OF(wal_end, wal_end_words),
	FACT(wal_clean_end, FACT_BOOL),
	FACT(wal_clean_since, FACT_TIME),
	FACT(was_primary, FACT_BOOL),
	FACT(standby_signal, FACT_BOOL),
	FACT(following, FACT_NAME),
	FACT(launcher_present, FACT_BOOL),
	FACT(nofailover, FACT_BOOL),
	FACT(wal_moved_at, FACT_TIME),
	FACT(heard_at, FACT_TIME),
	FACT(stuck_since, FACT_TIME),
	FACT(kill_requested, FACT_BOOL),
	FACT(crashes, FACT_INT),
	FACT(fresh, FACT_BOOL),
	FACT(fence_without_end, FACT_BOOL),
	FACT(permits, FACT_INT),
	FACT(permits_since, FACT_TIME),
	FACT(served_at, FACT_TIME),
	FACT(use_pg_rewind, FACT_BOOL),
	FACT(rewinds_failed, FACT_INT),
	FACT(starts_failed, FACT_INT),
	FACT(retry_at, FACT_TIME),
	FACT(stop_requested, FACT_BOOL),
	FACT_OF(stop, stop_words),
	FACT(handover, FACT_NAME),
	FACT(election_since, FACT_TIME),
	FACT(wall_ms, FACT_MS),
	FACT(order_pending, FACT_BOOL),
	FACT(order_begun_here, FACT_BOOL),
	FACT(handing_over, FACT_BOOL),
	FACT(checkpoint_asked_at, FACT_TIME),
	FACT(checkpoints, FACT_INT),
	FACT(checkpoint_done, FACT_BOOL),
	FACT(restart_pending, FACT_BOOL),
};

#define NFACTS (sizeof(facts) / sizeof(facts[0]))

typedef struct Scenario
{
	const char *path;
	int			line;
	int			expectations;
	HaView		view;
} Scenario;

/* how often each rule was reached, by position in the table */
static int	reached[256];

static void
complain(const Scenario *scenario, const char *what, const char *word)
{
	ok(false, "%s:%d: %s: %s", scenario->path, scenario->line, what, word);
}

/* ------------------------------------------------------------------------
 * Values
 * ------------------------------------------------------------------------
 */

static bool
parse_number(const char *text, int64_t *value)
{
	char	   *end;

	*value = strtoll(text, &end, 10);
	return end != text && *end == '\0';
}

static bool
parse_lsn(const char *text, HaLsn *lsn)
{
	unsigned int high;
	unsigned int low;
	char		rest;

	if (sscanf(text, "%X/%X%c", &high, &low, &rest) != 2)
		return false;
	*lsn = (HaLsn) high << 32 | low;
	return true;
}

/* "now", "+1.5s", "-300ms", "-1ns", "never" (= 0), "forever" */
static bool
parse_time(const char *text, HaTime now, HaTime *value)
{
	static const struct
	{
		const char *unit;
		double		ns;
	}			units[] = {{"ns", 1}, {"ms", 1e6}, {"s", 1e9}};
	char	   *end;
	double		amount;

	if (strcmp(text, "never") == 0)
		return *value = 0, true;
	if (strcmp(text, "forever") == 0)
		return *value = HA_TIME_NEVER, true;
	if (strcmp(text, "now") == 0)
		return *value = now, true;
	if (text[0] != '+' && text[0] != '-')
		return false;
	amount = strtod(text, &end);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
	{
		if (strcmp(end, units[i].unit) == 0)
			return *value = now + (HaTime) (amount * units[i].ns), true;
	}
	return false;
}

static bool
parse_word(const char *text, const char *const *words, void *value)
{
	unsigned int i;

	for (i = 0; words[i] != NULL; i++)
	{
		if (strcmp(words[i], text) == 0)
		{
			memcpy(value, &i, sizeof(i));
			return true;
		}
	}
	return false;
}

static bool
parse_bool(const char *text, bool *value)
{
	*value = strcmp(text, "yes") == 0;
	return *value || strcmp(text, "no") == 0;
}

static bool
parse_name(const char *text, char *name)
{
	if (strcmp(text, "nobody") == 0)
		text = "";
	if (strlen(text) > HA_NAME_MAX)
		return false;
	memset(name, 0, HA_NAME_MAX + 1);
	memcpy(name, text, strlen(text));
	return true;
}

static bool
set_fact(const Fact *fact, HaView *view, const char *text)
{
	void	   *to = (char *) view + fact->offset;
	int64_t		number = 0;

	switch (fact->type)
	{
		case FACT_BOOL:
			return parse_bool(text, to);
		case FACT_LSN:
			return parse_lsn(text, to);
		case FACT_TIME:
			return parse_time(text, view->now, to);
		case FACT_NAME:
			return parse_name(text, to);
		case FACT_WORD:
			return parse_word(text, fact->words, to);
		case FACT_INT:
		case FACT_MS:
		case FACT_U32:
		case FACT_U64:
			break;
	}
	if (!parse_number(text, &number))
		return false;
	if (fact->type == FACT_INT)
		*(int *) to = (int) number;
	else if (fact->type == FACT_U32)
		*(uint32_t *) to = (uint32_t) number;
	else
		*(int64_t *) to = number;
	return true;
}

/* ------------------------------------------------------------------------
 * Statements
 * ------------------------------------------------------------------------
 */

/* "history = 1@0/3000 2@0/5000": where each timeline ended; "none" */
static bool
set_history(HaView *view, char **words, int nwords)
{
	HaTimelines *history = &view->history;
	int			i;

	history->nforks = 0;
	for (i = 0; i < nwords && strcmp(words[i], "none") != 0; i++)
	{
		HaFork	   *fork = &history->forks[history->nforks++];
		char	   *at = strchr(words[i], '@');

		if (at == NULL || !parse_lsn(at + 1, &fork->end))
			return false;
		fork->tli = (uint32_t) atoi(words[i]);
	}
	return true;
}

/* "ballot TERM SEQ TLI LSN" or "ballot none" */
static int
set_ballot(HaBallot *ballot, char **words, int nwords)
{
	memset(ballot, 0, sizeof(*ballot));
	if (nwords >= 1 && strcmp(words[0], "none") == 0)
		return 1;
	if (nwords < 4 || !parse_lsn(words[3], &ballot->lsn))
		return -1;
	ballot->present = true;
	ballot->term = (uint64_t) atoll(words[0]);
	ballot->seq = (uint64_t) atoll(words[1]);
	ballot->tli = (uint32_t) atoi(words[2]);
	return 4;
}

/* A flag of a member: "launcher" sets it, "-launcher" clears it. */
static bool
set_member_flag(HaMember *member, const char *word)
{
	bool		value = word[0] != '-';
	const char *name = value ? word : word + 1;

	if (strcmp(name, "running") == 0)
		member->running = value;
	else if (strcmp(name, "streaming") == 0)
		member->streaming = value;
	else if (strcmp(name, "pg_ha") == 0)
		member->pgha = value;
	else if (strcmp(name, "launcher") == 0)
		member->launcher = value;
	else if (strcmp(name, "nofailover") == 0)
		member->nofailover = value;
	else if (strcmp(name, "pending") == 0)
		member->pending_restart = value;
	else if (strcmp(name, "fell_back") == 0)
		member->fell_back = value;
	else
		return parse_word(word, role_words, &member->role);
	return true;
}

static HaMember *
find_or_add_member(HaView *view, const char *name)
{
	HaMember   *member;
	int			i;

	for (i = 0; i < view->nmembers; i++)
	{
		if (strcmp(view->members[i].name, name) == 0)
			return &view->members[i];
	}
	if (view->nmembers >= HA_MEMBERS_MAX)
		return NULL;
	member = &view->members[view->nmembers];
	memset(member, 0, sizeof(*member));
	if (!parse_name(name, member->name))
		return NULL;
	view->nmembers++;
	member->failover_priority = 1;
	member->pgha = member->launcher = member->running = true;
	return member;
}

/* "member NAME word...": see README.md */
static bool
set_member(HaView *view, char **words, int nwords)
{
	HaMember   *member;
	int			i;

	if (nwords < 1)
		return false;
	member = find_or_add_member(view, words[0]);
	if (member == NULL)
		return false;
	for (i = 1; i < nwords; i++)
	{
		bool		more = i + 1 < nwords;

		if (strcmp(words[i], "gone") == 0)
			*member = view->members[--view->nmembers];
		else if (strcmp(words[i], "tli") == 0 && more)
			member->tli = (uint32_t) atoi(words[++i]);
		else if (strcmp(words[i], "priority") == 0 && more)
			member->failover_priority = atoi(words[++i]);
		else if (strcmp(words[i], "started") == 0 && more)
			member->started = (uint64_t) atoll(words[++i]);
		else if (strcmp(words[i], "version") == 0 && more)
			member->server_version = atoi(words[++i]);
		else if (strcmp(words[i], "lsn") == 0 && more)
		{
			if (!parse_lsn(words[++i], &member->lsn))
				return false;
		}
		else if (strcmp(words[i], "ballot") == 0)
		{
			int			used = set_ballot(&member->ballot, words + i + 1,
										  nwords - i - 1);

			if (used < 0)
				return false;
			i += used;
		}
		else if (!set_member_flag(member, words[i]))
			return false;
	}
	return true;
}

/* "order = [from NAME] [to NAME] [by NAME] [at MS] [timeout MS] [begun TERM]" */
static bool
set_order(HaView *view, char **words, int nwords)
{
	HaOrder    *order = &view->order;

	memset(order, 0, sizeof(*order));
	if (nwords == 1 && strcmp(words[0], "none") == 0)
		return true;
	order->present = true;
	order->seen_at = view->now;
	order->timeout_ms = 300000;
	for (int i = 0; i + 1 < nwords; i += 2)
	{
		const char *value = words[i + 1];

		if (strcmp(words[i], "from") == 0)
			parse_name(value, order->leader);
		else if (strcmp(words[i], "to") == 0)
			parse_name(value, order->member);
		else if (strcmp(words[i], "by") == 0)
			parse_name(value, order->asked_by);
		else if (strcmp(words[i], "at") == 0)
			order->scheduled_ms = atoll(value);
		else if (strcmp(words[i], "timeout") == 0)
			order->timeout_ms = atoll(value);
		else if (strcmp(words[i], "begun") == 0)
			order->begun_term = (uint64_t) atoll(value);
		else
			return false;
	}
	return nwords % 2 == 0;
}

/* "NAME:STATE[:BEFORE[:ROUNDS]]" */
static bool
set_entry(HaRestart *restart, const char *word)
{
	static const char *const state_words[] = {
		"todo", "asked", "done", "skipped", NULL
	};
	HaRestartEntry *entry = &restart->entries[restart->nentries++];
	char		name[64] = "";
	char		state[16] = "";
	unsigned long before = 0;

	if (sscanf(word, "%63[^:]:%15[^:]:%lu:%d", name, state, &before,
			   &entry->rounds) < 2)
		return false;
	entry->before = before;
	return parse_name(name, entry->member) &&
		parse_word(state, state_words, &entry->state);
}

/* "restart = ENTRY... [by NAME] [at MS] [asked TIME] [told] [refused WHY] ..." */
static bool
set_restart(HaView *view, char **words, int nwords)
{
	HaRestart  *restart = &view->restart;

	memset(restart, 0, sizeof(*restart));
	if (nwords == 1 && strcmp(words[0], "none") == 0)
		return true;
	restart->present = true;
	restart->seen_at = restart->asked_at = view->now;
	restart->timeout_ms = 300000;
	for (int i = 0; i < nwords; i++)
	{
		const char *value = i + 1 < nwords ? words[i + 1] : "";

		if (strchr(words[i], ':') != NULL)
		{
			if (!set_entry(restart, words[i]))
				return false;
			continue;
		}
		if (strcmp(words[i], "told") == 0)
			restart->told = true;
		else if (strcmp(words[i], "pending_only") == 0)
			restart->pending_only = true;
		else if (strcmp(words[i], "by") == 0)
			parse_name(value, restart->asked_by);
		else if (strcmp(words[i], "at") == 0)
			restart->scheduled_ms = atoll(value);
		else if (strcmp(words[i], "asked") == 0)
			parse_time(value, view->now, &restart->asked_at);
		else if (strcmp(words[i], "below") == 0)
			restart->version_below = atoi(value);
		else if (strcmp(words[i], "refused") == 0)
			snprintf(restart->refusal, sizeof(restart->refusal), "%s", value);
		else if (strcmp(words[i], "role") == 0)
			parse_word(value, role_words, &restart->role);
		else
			return false;
		i += strcmp(words[i], "told") != 0 &&
			strcmp(words[i], "pending_only") != 0;
	}
	return true;
}

static void
note_reached(int id)
{
	int			nrules;
	const HaRule *rules = pgha_rules(&nrules);

	for (int i = 0; i < nrules; i++)
	{
		if (rules[i].id == id)
			reached[i]++;
	}
}

/* The decision in the words an expectation is written in. */
static void
describe(const HaDecision *decision, char *text, size_t size)
{
	const char *because = "";

	if (decision->action == HA_ACTION_END_ORDER)
		because = pgha_order_fault_text(decision->order_fault);
	if (decision->action == HA_ACTION_END_RESTART)
		because = pgha_restart_fault_text(decision->restart_fault);
	snprintf(text, size, "%d %s%s%s%s%s%s%s%s", decision->rule,
			 pgha_action_name(decision->action),
			 decision->target[0] != '\0' ? " " : "", decision->target,
			 decision->paused ? " paused" : "",
			 decision->end_known ? " end known" : "",
			 decision->ordered ? " ordered" : "",
			 because[0] != '\0' ? " because " : "", because);
}

/* "expect RULE ACTION [TARGET] [paused] [because WHY] [until TIME]" */
static void
expect(Scenario *scenario, char **words, int nwords)
{
	HaDecision	decision = pgha_decide(&scenario->view);
	char		got[256];
	char		expected[256] = "";
	size_t		len = 0;
	HaTime		until;

	describe(&decision, got, sizeof(got));
	for (int i = 0; i < nwords && strcmp(words[i], "until") != 0; i++)
		len += (size_t) snprintf(expected + len, sizeof(expected) - len,
								 "%s%s", i == 0 ? "" : " ", words[i]);
	is_str(got, expected, "%s:%d: expect %s", scenario->path, scenario->line,
		   expected);
	if (nwords >= 2 && strcmp(words[nwords - 2], "until") == 0)
	{
		if (parse_time(words[nwords - 1], scenario->view.now, &until))
			is_int(decision.deadline, until, "%s:%d: until %s",
				   scenario->path, scenario->line, words[nwords - 1]);
		else
			complain(scenario, "not a time", words[nwords - 1]);
	}
	scenario->expectations++;
	note_reached(decision.rule);
}

/* ------------------------------------------------------------------------
 * Files
 * ------------------------------------------------------------------------
 */

static void run_file(Scenario *scenario, const char *path, int depth);

/* "given NAME": the facts of NAME.given beside the scenario */
static void
run_given(Scenario *scenario, const char *name, int depth)
{
	char		path[1024];
	const char *slash = strrchr(scenario->path, '/');
	const char *old_path = scenario->path;
	int			old_line = scenario->line;

	snprintf(path, sizeof(path), "%.*s%s.given",
			 slash != NULL ? (int) (slash - old_path + 1) : 0, old_path, name);
	if (depth >= SCENARIO_DEPTH_MAX)
		complain(scenario, "given goes too deep", name);
	else
		run_file(scenario, path, depth + 1);
	scenario->path = old_path;
	scenario->line = old_line;
}

static bool
assign(Scenario *scenario, char **words, int nwords)
{
	if (strcmp(words[0], "history") == 0)
		return set_history(&scenario->view, words + 2, nwords - 2);
	if (strcmp(words[0], "order") == 0)
		return set_order(&scenario->view, words + 2, nwords - 2);
	if (strcmp(words[0], "restart") == 0)
		return set_restart(&scenario->view, words + 2, nwords - 2);
	if (strcmp(words[0], "ballot") == 0)
		return set_ballot(&scenario->view.ballot, words + 2,
						  nwords - 2) == nwords - 2;
	for (size_t i = 0; i < NFACTS && nwords == 3; i++)
	{
		if (strcmp(facts[i].name, words[0]) == 0)
			return set_fact(&facts[i], &scenario->view, words[2]);
	}
	return false;
}

static void
run_statement(Scenario *scenario, char **words, int nwords, int depth)
{
	bool		understood = true;

	if (strcmp(words[0], "expect") == 0)
		expect(scenario, words + 1, nwords - 1);
	else if (strcmp(words[0], "given") == 0 && nwords == 2)
		run_given(scenario, words[1], depth);
	else if (strcmp(words[0], "member") == 0)
		understood = set_member(&scenario->view, words + 1, nwords - 1);
	else
		understood = nwords >= 3 && strcmp(words[1], "=") == 0 &&
			assign(scenario, words, nwords);
	if (!understood)
		complain(scenario, "not understood", words[0]);
}

static int
split(char *line, char **words)
{
	int			nwords = 0;
	char	   *word;
	char	   *rest = NULL;

	line[strcspn(line, "#\n")] = '\0';
	for (word = strtok_r(line, " \t", &rest);
		 word != NULL && nwords < SCENARIO_WORDS_MAX;
		 word = strtok_r(NULL, " \t", &rest))
		words[nwords++] = word;
	return nwords;
}

static void
run_file(Scenario *scenario, const char *path, int depth)
{
	char		line[SCENARIO_LINE_MAX];
	char	   *words[SCENARIO_WORDS_MAX];
	FILE	   *file = fopen(path, "r");

	if (file == NULL)
	{
		complain(scenario, "cannot be read", path);
		return;
	}
	scenario->path = path;
	scenario->line = 0;
	while (fgets(line, sizeof(line), file) != NULL)
	{
		int			nwords = split(line, words);

		scenario->line++;
		if (nwords > 0)
			run_statement(scenario, words, nwords, depth);
	}
	fclose(file);
}

static void
run_scenario(const char *path)
{
	static Scenario scenario;

	memset(&scenario, 0, sizeof(scenario));
	scenario.path = path;
	scenario.view.now = SCENARIO_NOW;
	run_file(&scenario, path, 0);
	ok(scenario.expectations > 0, "%s expects something", path);
}

static int
is_scenario(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot != NULL && strcmp(dot, ".scenario") == 0;
}

static void
run_directory(const char *directory)
{
	struct dirent **entries = NULL;
	int			n = scandir(directory, &entries, is_scenario, alphasort);

	ok(n > 0, "%s has scenarios", directory);
	for (int i = 0; i < n; i++)
	{
		char		path[1024];

		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		run_scenario(path);
		free(entries[i]);
	}
	free(entries);
}

static void
check_coverage(void)
{
	int			nrules;
	const HaRule *rules = pgha_rules(&nrules);

	for (int i = 0; i < nrules; i++)
		ok(reached[i] > 0, "rule %d (%s) is reached by a scenario",
		   rules[i].id, rules[i].why);
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strstr(argv[1], ".scenario") != NULL)
	{
		for (int i = 1; i < argc; i++)
			run_scenario(argv[i]);
		return done_testing();
	}
	run_directory(argc > 1 ? argv[1] : SCENARIO_DIRECTORY);
	check_coverage();
	return done_testing();
}
