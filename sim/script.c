/*
 * script.c
 *	  Scenarios: schedules written down, of which no step is left to chance.
 *
 * sim/README.md has the language.  A scenario ends like a run of a seed: faults
 * are lifted and the cluster must be whole again.  A mutant of it must trip an
 * oracle; what it expects or waits for on the way then counts for nothing,
 * because without the safeguard things may go another way.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT_LINES 128
#define SCRIPT_WORDS 6
#define SCRIPT_WIDTH 128
#define SCRIPT_MUTANTS 8

/* how long something may be waited for */
#define SCRIPT_UNTIL_MS 40000

typedef struct ScriptLine
{
	int			number;			/* in the file */
	int			nwords;
	char	   *words[SCRIPT_WORDS];
	char		text[SCRIPT_WIDTH];
} ScriptLine;

struct SimScript
{
	const char *path;
	int			nmembers;
	int64_t		ttl_ms;
	bool		failsafe;
	int			nmutants;
	const SimMutation *mutants[SCRIPT_MUTANTS];
	int			nlines;
	ScriptLine	lines[SCRIPT_LINES];
};

/* ------------------------------------------------------------------------
 * Reading
 * ------------------------------------------------------------------------
 */

static bool
script_bad(const SimScript *script, int number, const char *why)
{
	fprintf(stderr, "%s:%d: %s\n", script->path, number, why);
	return false;
}

static void
script_split(ScriptLine *line)
{
	char	   *rest = line->text;
	char	   *word;

	line->text[strcspn(line->text, "#\n")] = '\0';
	while ((word = strtok_r(rest, " \t", &rest)) != NULL &&
		   line->nwords < SCRIPT_WORDS)
		line->words[line->nwords++] = word;
}

/* What is said of the whole; true if the line is of that kind. */
static bool
script_header(SimScript *script, const ScriptLine *line, bool *good)
{
	const SimMutation *mutant;

	if (line->nwords != 2)
		return false;
	if (strcmp(line->words[0], "members") == 0)
		script->nmembers = atoi(line->words[1]);
	else if (strcmp(line->words[0], "begin-ttl") == 0)
		script->ttl_ms = atoi(line->words[1]);
	else if (strcmp(line->words[0], "failsafe") == 0)
		script->failsafe = strcmp(line->words[1], "on") == 0;
	else if (strcmp(line->words[0], "mutant") == 0)
	{
		mutant = sim_mutation(line->words[1]);
		if (mutant == NULL || script->nmutants >= SCRIPT_MUTANTS)
			*good = script_bad(script, line->number, "no such mutation");
		else
			script->mutants[script->nmutants++] = mutant;
	}
	else
		return false;
	if (script->nmembers < 1 || script->nmembers > SIM_MEMBERS ||
		script->ttl_ms < 1000)
		*good = script_bad(script, line->number, "out of range");
	return true;
}

SimScript *
sim_script_read(const char *path)
{
	SimScript  *script = calloc(1, sizeof(SimScript));
	FILE	   *file = fopen(path, "r");
	bool		good = script != NULL && file != NULL;
	ScriptLine	line = {0};

	if (!good)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	else
	{
		script->path = path;
		script->nmembers = 2;
		script->ttl_ms = 3000;
	}
	while (good && fgets(line.text, sizeof(line.text), file) != NULL)
	{
		ScriptLine *to = &script->lines[script->nlines];

		*to = (ScriptLine) {.number = ++line.number};
		memcpy(to->text, line.text, sizeof(to->text));
		script_split(to);
		if (to->nwords == 0 || script_header(script, to, &good))
			continue;
		if (++script->nlines == SCRIPT_LINES)
			good = script_bad(script, line.number, "too many lines");
	}
	if (file != NULL)
		fclose(file);
	if (good)
		return script;
	free(script);
	return NULL;
}

/* Its i-th mutant, or NULL. */
const SimMutation *
sim_script_mutant(const SimScript *script, int i)
{
	return i < script->nmutants ? script->mutants[i] : NULL;
}

/* ------------------------------------------------------------------------
 * Conditions
 * ------------------------------------------------------------------------
 */

static int
script_member(const Sim *sim, const char *word)
{
	int			number = word[0] == 'm' ? word[1] - '0' : -1;

	return number >= 0 && number < sim->nmembers && word[2] == '\0' ?
		number : SIM_NOBODY;
}

/* The bits of what a hold calls it; 0 = nothing is called so. */
static unsigned
script_kinds(const char *word)
{
	static const struct
	{
		const char *word;
		unsigned	kinds;
	}			kinds[] = {
		{"watch", 1U << SIM_WATCH}, {"confirm", 1U << SIM_CONFIRM},
		{"read", 1U << SIM_WATCH | 1U << SIM_CONFIRM},
		{"renew", 1U << SIM_RENEW}, {"key", 1U << SIM_KEY},
		{"heartbeat", 1U << (SIM_REQUESTS + (int) HA_WRITE_HEARTBEAT)},
		{"takeover", 1U << (SIM_REQUESTS + (int) HA_WRITE_TAKEOVER)},
		{"release", 1U << (SIM_REQUESTS + (int) HA_WRITE_RELEASE)},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		if (strcmp(kinds[i].word, word) == 0)
			return kinds[i].kinds;
	}
	return 0;
}

/* The first that is held, in the order they were sent. */
static SimMessage *
script_held(Sim *sim, int member, unsigned kinds)
{
	SimMessage *first = NULL;

	for (int i = 0; i < SIM_MESSAGES; i++)
	{
		SimMessage *message = &sim->messages[i];

		if (message->used && message->held && message->member == member &&
			(sim_message_bit(message) & kinds) != 0 &&
			(first == NULL || message->id < first->id))
			first = message;
	}
	return first;
}

static bool
script_lease_is(const Sim *sim, const char *word)
{
	const SimFolder *folder = &sim->consul.folder;
	const HaLeaseRecord *lease = &folder->lease;

	if (strcmp(word, "absent") == 0)
		return folder->status_index == 0;
	if (strcmp(word, "released") == 0)
		return lease->released;
	if (strcmp(word, "paused") == 0)
		return lease->paused;
	return folder->status_index != 0 && !lease->released &&
		strcmp(lease->holder, word) == 0;
}

/* -1: it is no condition of a member */
static int
script_member_is(Sim *sim, SimMember *member, const char *word,
				 const char *object)
{
	static const char *const instances[] = {
		"unknown", "empty", "half-done", "down", "crashed", "dying",
		"starting", "running", "stopping", "busy"
	};
	const SimBrain *brain = &member->brains[HA_BRAIN_WORKER];

	for (int i = 0; i <= (int) HA_INSTANCE_BUSY; i++)
	{
		if (strcmp(instances[i], word) == 0)
			return member->instance == (HaInstance) i;
	}
	if (!brain->alive)
		brain = &member->brains[HA_BRAIN_LAUNCHER];
	if (strcmp(word, "leads") == 0)
		return script_lease_is(sim, member->name) &&
			sim_fence_open(sim, member);
	if (strcmp(word, "open") == 0)
		return sim_fence_open(sim, member);
	if (strcmp(word, "paused") == 0)
		return member->without_end;
	if (strcmp(word, "primary") == 0)
		return member->role == HA_ROLE_PRIMARY;
	if (strcmp(word, "standby") == 0)
		return member->role == HA_ROLE_STANDBY;
	if (object == NULL)
		return -1;
	if (strcmp(word, "holds") == 0)
		return script_held(sim, member->number, script_kinds(object)) != NULL;
	if (strcmp(word, "streams-from") == 0)
		return member->streaming &&
			member->following == script_member(sim, object);
	if (strcmp(word, "rule") == 0)
		return brain->alive && brain->rule == atoi(object);
	if (strcmp(word, "timeline") == 0)
		return sim_wal_tli(&member->wal) == (uint32_t) atoi(object);
	return -1;
}

static int
script_is(Sim *sim, const ScriptLine *line)
{
	int			i = 1;
	bool		wanted = true;
	int			member;
	int			is;

	if (line->nwords > 1 && strcmp(line->words[1], "not") == 0)
	{
		wanted = false;
		i++;
	}
	if (i + 1 >= line->nwords)
		return -1;
	if (strcmp(line->words[i], "lease") == 0)
		return script_lease_is(sim, line->words[i + 1]) == wanted;
	member = script_member(sim, line->words[i]);
	if (member == SIM_NOBODY)
		return -1;
	is = script_member_is(sim, &sim->members[member], line->words[i + 1],
						  i + 2 < line->nwords ? line->words[i + 2] : NULL);
	return is < 0 ? -1 : (is != 0) == wanted;
}

static bool
script_until(Sim *sim, const ScriptLine *line)
{
	HaTime		limit = sim->now + MS(SCRIPT_UNTIL_MS);
	int			is;

	while ((is = script_is(sim, line)) == 0 && sim->now < limit &&
		   sim->violation[0] == '\0')
		sim_run_until(sim, sim->now + MS(1));
	return is > 0;
}

/* ------------------------------------------------------------------------
 * Steps
 * ------------------------------------------------------------------------
 */

static bool
step_fault(Sim *sim, const ScriptLine *line, int member, bool lift)
{
	int			fault = line->nwords > 2 ? sim_fault_named(line->words[2]) : -1;
	int			lasts = line->nwords > 3 ? atoi(line->words[3]) : 0;

	if (fault < 0)
		return false;
	if (lift)
		sim_fault_lift(sim, fault, member);
	else
		sim_fault_apply(sim, fault, member, sim->now + MS(lasts));
	if (!lift && lasts > 0)
		sim_event(sim, sim->now + MS(lasts), SIM_EVENT_LIFT, member, fault, 0);
	return true;
}

/* hold M [answers] KIND */
static bool
step_hold(Sim *sim, const ScriptLine *line, int member)
{
	bool		answers = line->nwords == 4 &&
		strcmp(line->words[2], "answers") == 0;
	unsigned	kinds = script_kinds(line->words[line->nwords - 1]);

	if (kinds == 0 || sim->nholds >= SIM_HOLDS)
		return false;
	sim->holds[sim->nholds++] = (SimHold) {member, kinds, answers};
	return true;
}

/* deliver M KIND, drop M KIND: the first of them; pass M: hold no more */
static bool
step_held(Sim *sim, const ScriptLine *line, int member)
{
	SimMessage *message;
	unsigned	kinds;

	if (strcmp(line->words[0], "pass") == 0)
	{
		for (int i = sim->nholds - 1; i >= 0; i--)
		{
			if (sim->holds[i].member == member)
				sim->holds[i] = sim->holds[--sim->nholds];
		}
		return true;
	}
	kinds = line->nwords == 3 ? script_kinds(line->words[2]) : 0;
	message = script_held(sim, member, kinds);
	if (message != NULL && strcmp(line->words[0], "drop") == 0)
		message->used = false;
	else if (message != NULL)
		sim_deliver(sim, message);
	return message != NULL;
}

static bool
step_consul(Sim *sim, const ScriptLine *line, SimFolder *snapshot)
{
	const char *word = line->words[0];

	if (strcmp(word, "snapshot") == 0)
		*snapshot = sim->consul.folder;
	else if (strcmp(word, "restore") == 0)
		sim_consul_restore_from(sim, snapshot);
	else if (strcmp(word, "ttl") == 0 && line->nwords == 2)
	{
		HaTimeouts *timeouts = &sim->consul.folder.timeouts;

		timeouts->ttl_ms = atoi(line->words[1]);
		timeouts->loop_wait_ms = timeouts->ttl_ms / 6;
		timeouts->retry_timeout_ms = timeouts->ttl_ms / 3;
		sim->consul.raft++;
		sim_consul_changed(sim);
	}
	else
		return false;
	return true;
}

/* False: what the line says can't be done, or is not so. */
static bool
script_step(Sim *sim, const ScriptLine *line, SimFolder *snapshot)
{
	const char *word = line->words[0];
	int			member;

	if (strcmp(word, "until") == 0)
		return script_until(sim, line);
	if (strcmp(word, "expect") == 0)
		return script_is(sim, line) > 0;
	if (strcmp(word, "run") == 0 && line->nwords == 2)
	{
		sim_run_until(sim, sim->now + MS(atoi(line->words[1])));
		return true;
	}
	if (step_consul(sim, line, snapshot))
		return true;
	member = line->nwords > 1 ? script_member(sim, line->words[1]) :
		SIM_NOBODY;
	if (member == SIM_NOBODY)
		return false;
	if (strcmp(word, "fault") == 0 || strcmp(word, "lift") == 0)
		return step_fault(sim, line, member, word[0] == 'l');
	if (strcmp(word, "hold") == 0 && line->nwords > 2)
		return step_hold(sim, line, member);
	if (strcmp(word, "stale") == 0)
	{
		sim->stale_member = member;
		sim->stale = snapshot;
		return true;
	}
	if (strcmp(word, "clock") == 0 && line->nwords == 3)
	{
		sim->members[member].ppm = atoi(line->words[2]);
		return true;
	}
	if (strcmp(word, "pass") == 0 || strcmp(word, "deliver") == 0 ||
		strcmp(word, "drop") == 0)
		return step_held(sim, line, member);
	return false;
}

static void
script_trace(const Sim *sim, const ScriptLine *line)
{
	char		text[SCRIPT_WIDTH] = "";

	for (int i = 0; i < line->nwords; i++)
	{
		strncat(text, " ", sizeof(text) - strlen(text) - 1);
		strncat(text, line->words[i], sizeof(text) - strlen(text) - 1);
	}
	sim_trace(sim, NULL, "--- line %d:%s", line->number, text);
}

HaTime
sim_script_run(Sim *sim, const SimScript *script, unsigned mutations,
			   SimTrace trace)
{
	static SimFolder snapshot;

	sim_init_script(sim, script->nmembers, script->ttl_ms, mutations, trace);
	sim->failsafe = script->failsafe;
	snapshot = sim->consul.folder;
	for (int i = 0; i < script->nlines && sim->violation[0] == '\0'; i++)
	{
		const ScriptLine *line = &script->lines[i];

		script_trace(sim, line);
		if (!script_step(sim, line, &snapshot) && mutations == 0)
			sim_violation(sim, "line %d of the scenario: \"%s\" can't be done "
						  "or does not come true", line->number,
						  line->words[0]);
	}
	sim->nholds = 0;
	for (int i = 0; i < SIM_MESSAGES; i++)
	{
		if (sim->messages[i].used && sim->messages[i].held)
			sim_deliver(sim, &sim->messages[i]);
	}
	return sim->violation[0] == '\0' ? sim_heal(sim) : 0;
}
