/*
 * main.c
 *	  The simulator's command line.
 *
 *	  pg_ha_sim [--jobs N] [--without NAME] --seeds A..B
 *			run them; at a violation, print the end of its trace
 *	  pg_ha_sim [--without NAME] --seed N
 *			run one and print all that happens
 *	  pg_ha_sim [--jobs N] --mutations A..B
 *			each mutation must be caught by one of the seeds
 *	  pg_ha_sim [--without NAME] --scenario FILE
 *			run it and print all that happens
 *	  pg_ha_sim [--jobs N] [--quiet yes] --scenarios FILE...
 *			all must end well, and each of their mutants must be caught
 *
 * A range may be N for 1..N.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* seeds of one job */
#define MAIN_CHUNK 250

/* scenarios, and their mutants with them */
#define MAIN_SCRIPTS 128
#define MAIN_TASKS 512

typedef struct Options
{
	const char *program;
	const char *without;		/* name of a mutation, or NULL */
	unsigned	mutations;
	int			nprocs;
	bool		quiet;			/* only what is not as it must be */
	uint64_t	first;
	uint64_t	last;
	int			nfiles;
	char	  **files;
} Options;

typedef struct Task
{
	const char *path;
	const SimScript *script;
	const SimMutation *mutant;	/* NULL = it must end well */
} Task;

static Sim	sim;

static int
usage(void)
{
	fprintf(stderr, "usage: pg_ha_sim [--jobs N] [--without MUTATION] "
			"--seeds A..B | --seed N | --mutations A..B |\n"
			"                 --scenario FILE | --scenarios FILE...\n"
			"mutations:\n");
	for (int i = 0; i < sim_nmutations; i++)
		fprintf(stderr, "  %-16s %s\n", sim_mutations[i].name,
				sim_mutations[i].safeguard);
	return 2;
}

static double
main_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static bool
parse_range(const char *text, uint64_t *first, uint64_t *last)
{
	char	   *end;

	*first = 1;
	*last = strtoull(text, &end, 10);
	if (end != text && strncmp(end, "..", 2) == 0)
	{
		*first = *last;
		text = end + 2;
		*last = strtoull(text, &end, 10);
	}
	return end != text && *end == '\0' && *first <= *last;
}

/* ------------------------------------------------------------------------
 * Seeds
 * ------------------------------------------------------------------------
 */

static void
run_seeds(uint64_t first, uint64_t last, unsigned mutations,
		  SimOutcome *outcome)
{
	for (uint64_t seed = first; seed <= last && !outcome->failed; seed++)
	{
		HaTime		healing;

		sim_init(&sim, seed, mutations, SIM_TRACE_NONE);
		healing = sim_run(&sim);
		outcome->runs++;
		outcome->acked += sim.acked;
		if (healing > outcome->slowest)
			outcome->slowest = healing;
		outcome->failed = sim.violation[0] != '\0';
		outcome->seed = seed;
		memcpy(outcome->violation, sim.violation, sizeof(sim.violation));
	}
}

static void
seeds_job(int number, SimOutcome *outcome, void *data)
{
	const Options *options = data;
	uint64_t	first = options->first + (uint64_t) number * MAIN_CHUNK;
	uint64_t	last = first + MAIN_CHUNK - 1;

	run_seeds(first, last < options->last ? last : options->last,
			  options->mutations, outcome);
}

/* The end of what happened, and how to see all of it. */
static void
print_failed_seed(const Options *options, const SimOutcome *outcome)
{
	unsigned long long seed = outcome->seed;

	sim_init(&sim, outcome->seed, options->mutations, SIM_TRACE_KEEP);
	sim_run(&sim);
	sim_trace_tail();
	printf("seed %llu: %s\nreplay: %s%s%s --seed %llu\n", seed,
		   outcome->violation, options->program,
		   options->without != NULL ? " --without " : "",
		   options->without != NULL ? options->without : "", seed);
}

static int
main_seeds(Options *options)
{
	int			njobs = (int) ((options->last - options->first) / MAIN_CHUNK) + 1;
	double		began = main_seconds();
	SimOutcome *outcomes = sim_jobs(njobs, options->nprocs, seeds_job, options);
	SimOutcome	all = {0};
	int			failed = 0;

	for (int i = 0; i < njobs && outcomes != NULL; i++)
	{
		all.runs += outcomes[i].runs;
		all.acked += outcomes[i].acked;
		if (outcomes[i].slowest > all.slowest)
			all.slowest = outcomes[i].slowest;
		if (outcomes[i].failed && failed++ == 0)
			print_failed_seed(options, &outcomes[i]);
	}
	printf("%llu runs in %.1f s, %s: %ld commits acknowledged, healed within "
		   "%.1f s\n", (unsigned long long) all.runs, main_seconds() - began,
		   failed == 0 ? "no violation" : "FAILED", all.acked,
		   (double) all.slowest / 1e9);
	if (failed > 1)
		printf("%d other seeds failed, too\n", failed - 1);
	return outcomes == NULL || failed > 0 ? 1 : 0;
}

static int
print_end(HaTime healing)
{
	if (sim.violation[0] != '\0')
	{
		printf("violation: %s\n", sim.violation);
		return 1;
	}
	printf("no violation, %ld commits acknowledged, healed within %.1f s\n",
		   sim.acked, (double) healing / 1e9);
	return 0;
}

static int
main_seed(Options *options)
{
	sim_init(&sim, options->last, options->mutations, SIM_TRACE_PRINT);
	return print_end(sim_run(&sim));
}

/* ------------------------------------------------------------------------
 * Mutations
 * ------------------------------------------------------------------------
 */

static void
mutations_job(int number, SimOutcome *outcome, void *data)
{
	const Options *options = data;

	if (!sim_mutations[number].scenario)
		run_seeds(options->first, options->last, sim_mutations[number].flag,
				  outcome);
}

static int
main_mutations(Options *options)
{
	double		began = main_seconds();
	SimOutcome *outcomes = sim_jobs(sim_nmutations, options->nprocs,
									mutations_job, options);
	int			missed = 0;

	for (int i = 0; i < sim_nmutations && outcomes != NULL; i++)
	{
		if (sim_mutations[i].scenario)
			continue;
		printf("without %-16s ", sim_mutations[i].name);
		if (outcomes[i].failed)
			printf("caught by seed %llu: %s\n",
				   (unsigned long long) outcomes[i].seed,
				   outcomes[i].violation);
		else
			printf("NOT CAUGHT by %llu seeds\n",
				   (unsigned long long) outcomes[i].runs);
		missed += outcomes[i].failed ? 0 : 1;
	}
	printf("mutations: %.1f s\n", main_seconds() - began);
	return outcomes == NULL || missed > 0 ? 1 : 0;
}

/* ------------------------------------------------------------------------
 * Scenarios
 * ------------------------------------------------------------------------
 */

static void
script_job(int number, SimOutcome *outcome, void *data)
{
	const Task *task = &((const Task *) data)[number];

	(void) sim_script_run(&sim, task->script, task->mutant != NULL ?
						  task->mutant->flag : 0, SIM_TRACE_NONE);
	outcome->failed = sim.violation[0] != '\0';
	memcpy(outcome->violation, sim.violation, sizeof(sim.violation));
}

static const char *
script_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* Prints one line a task; returns the number of those not as they must be. */
static int
print_scripts(const Options *options, const Task *tasks, int ntasks,
			  const SimOutcome *outcomes)
{
	int			bad = 0;

	for (int i = 0; i < ntasks; i++)
	{
		const SimMutation *mutant = tasks[i].mutant;
		bool		good = outcomes[i].failed == (mutant != NULL);

		if (good && options->quiet)
			continue;
		printf("%-40s %s%-16s %s%s\n", script_name(tasks[i].path),
			   mutant != NULL ? "without " : "", mutant != NULL ?
			   mutant->name : "ends well", good ? "" : "FAILED: ",
			   mutant != NULL && !outcomes[i].failed ? "not caught" :
			   outcomes[i].violation);
		if (good)
			continue;
		bad++;
		sim_script_run(&sim, tasks[i].script, mutant != NULL ? mutant->flag :
					   0, SIM_TRACE_KEEP);
		sim_trace_tail();
		printf("replay: %s%s%s --scenario %s\n", options->program,
			   mutant != NULL ? " --without " : "",
			   mutant != NULL ? mutant->name : "", tasks[i].path);
	}
	return bad;
}

/* What only scenarios are asked to catch, one of them must name. */
static int
count_unnamed(const Task *tasks, int ntasks)
{
	int			unnamed = 0;

	for (int i = 0; i < sim_nmutations; i++)
	{
		bool		named = !sim_mutations[i].scenario;

		for (int j = 0; j < ntasks && !named; j++)
			named = tasks[j].mutant == &sim_mutations[i];
		if (named)
			continue;
		printf("without %s: no scenario\n", sim_mutations[i].name);
		unnamed++;
	}
	return unnamed;
}

static int
main_scenarios(Options *options)
{
	static Task tasks[MAIN_TASKS];
	double		began = main_seconds();
	SimOutcome *outcomes;
	int			ntasks = 0;
	int			bad;

	for (int i = 0; i < options->nfiles; i++)
	{
		SimScript  *script = sim_script_read(options->files[i]);
		const SimMutation *mutant = NULL;
		int			m = 0;

		if (script == NULL)
			return 1;
		do
		{
			if (ntasks == MAIN_TASKS)
				return usage();
			tasks[ntasks++] = (Task) {options->files[i], script, mutant};
		} while ((mutant = sim_script_mutant(script, m++)) != NULL);
	}
	outcomes = sim_jobs(ntasks, options->nprocs, script_job, tasks);
	if (outcomes == NULL)
		return 1;
	bad = print_scripts(options, tasks, ntasks, outcomes) +
		count_unnamed(tasks, ntasks);
	printf("%d scenarios, %d mutants of them: %.1f s\n", options->nfiles,
		   ntasks - options->nfiles, main_seconds() - began);
	return bad > 0 ? 1 : 0;
}

static int
main_scenario(Options *options)
{
	SimScript  *script = sim_script_read(options->files[0]);

	return script == NULL ? 1 :
		print_end(sim_script_run(&sim, script, options->mutations,
								 SIM_TRACE_PRINT));
}

/* ------------------------------------------------------------------------
 * Command line
 * ------------------------------------------------------------------------
 */

static bool
parse_option(Options *options, const char *name, const char *value)
{
	const SimMutation *mutation;

	if (strcmp(name, "--jobs") == 0)
	{
		options->nprocs = atoi(value);
		return options->nprocs > 0;
	}
	if (strcmp(name, "--quiet") == 0)
	{
		options->quiet = strcmp(value, "yes") == 0;
		return true;
	}
	if (strcmp(name, "--without") != 0)
		return false;
	mutation = sim_mutation(value);
	if (mutation == NULL)
		return false;
	options->without = value;
	options->mutations = mutation->flag;
	return true;
}

int
main(int argc, char **argv)
{
	static const struct
	{
		const char *name;
		bool		files;
		int			(*run) (Options *options);
	}			modes[] = {
		{"--seeds", false, main_seeds}, {"--seed", false, main_seed},
		{"--mutations", false, main_mutations},
		{"--scenario", true, main_scenario},
		{"--scenarios", true, main_scenarios},
	};
	Options		options = {.program = argv[0],.nprocs = 1};
	int			i = 1;

	while (i + 1 < argc && parse_option(&options, argv[i], argv[i + 1]))
		i += 2;
	if (i + 1 >= argc)
		return usage();
	options.files = argv + i + 1;
	options.nfiles = argc - i - 1;
	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++)
	{
		if (strcmp(argv[i], modes[m].name) != 0)
			continue;
		if (!modes[m].files &&
			!parse_range(options.files[0], &options.first, &options.last))
			break;
		return modes[m].run(&options);
	}
	return usage();
}
