/*
 * main.c
 *	  The simulator's command line.
 *
 *	  pgha_sim --seeds A..B [--mutate NAME]	run them, stop at a violation
 *	  pgha_sim --seed N [--mutate NAME]		run one and print what happens
 *	  pgha_sim --mutations A..B				each mutation must be caught by one
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct SimMutation
{
	const char *name;
	unsigned	flag;
} SimMutation;

static const SimMutation mutations[] = {
	{"takeover-index", HA_MUTATE_TAKEOVER_INDEX},
	{"heartbeat-index", HA_MUTATE_HEARTBEAT_INDEX},
	{"release-index", HA_MUTATE_RELEASE_INDEX},
	{"margin", HA_MUTATE_MARGIN},
	{"send-time", HA_MUTATE_SEND_TIME},
	{"durable-term", HA_MUTATE_DURABLE_TERM},
	{"ttl-promise", HA_MUTATE_TTL_PROMISE},
	{"empty-clock", HA_MUTATE_EMPTY_CLOCK},
	{"pause", HA_MUTATE_PAUSE},
	{"file", SIM_MUTATE_FILE},
	{"fence", SIM_MUTATE_FENCE},
	{"remember", SIM_MUTATE_REMEMBER},
	{"claim", HA_MUTATE_CLAIM},
	{"electorate", HA_MUTATE_ELECTORATE},
	{"promise", HA_MUTATE_PROMISE},
	{"refusal", HA_MUTATE_REFUSAL},
	{"list-change", HA_MUTATE_LIST_CHANGE},
};

#define NMUTATIONS ((int) (sizeof(mutations) / sizeof(mutations[0])))

static Sim	sim;

static int
usage(void)
{
	fprintf(stderr, "usage: pgha_sim --seeds A..B | --seed N | "
			"--mutations A..B  [--mutate NAME]\n");
	return 2;
}

static bool
parse_mutation(const char *name, unsigned *flags)
{
	for (int i = 0; i < NMUTATIONS; i++)
	{
		if (strcmp(mutations[i].name, name) == 0)
		{
			*flags |= mutations[i].flag;
			return true;
		}
	}
	return false;
}

static bool
parse_range(const char *text, uint64_t *first, uint64_t *last)
{
	char	   *end;

	*first = *last = strtoull(text, &end, 10);
	if (end != text && strncmp(end, "..", 2) == 0)
	{
		text = end + 2;
		*last = strtoull(text, &end, 10);
	}
	return end != text && *end == '\0' && *first <= *last;
}

/* The first seed that ends in a violation; 0 = none. */
static uint64_t
run_seeds(uint64_t first, uint64_t last, unsigned flags, HaTime *slowest,
		  long *acked)
{
	for (uint64_t seed = first; seed <= last; seed++)
	{
		HaTime		healing;

		sim_init(&sim, seed, flags, false);
		healing = sim_run(&sim);
		*acked += sim.acked;
		if (sim.violation[0] != '\0')
			return seed;
		if (healing > *slowest)
			*slowest = healing;
	}
	return 0;
}

static int
run_range(uint64_t first, uint64_t last, unsigned flags)
{
	HaTime		slowest = 0;
	long		acked = 0;
	uint64_t	seed = run_seeds(first, last, flags, &slowest, &acked);

	if (seed != 0)
	{
		printf("seed %llu: %s\n", (unsigned long long) seed, sim.violation);
		return 1;
	}
	printf("seeds %llu..%llu: no violation, %ld commits acknowledged, "
		   "healed within %.1f s\n", (unsigned long long) first,
		   (unsigned long long) last, acked, (double) slowest / 1e9);
	return 0;
}

static int
run_one(uint64_t seed, unsigned flags)
{
	HaTime		healing;

	sim_init(&sim, seed, flags, true);
	healing = sim_run(&sim);
	if (sim.violation[0] != '\0')
	{
		printf("seed %llu: %s\n", (unsigned long long) seed, sim.violation);
		return 1;
	}
	printf("seed %llu: no violation, %ld commits acknowledged, healed within "
		   "%.1f s\n", (unsigned long long) seed, sim.acked,
		   (double) healing / 1e9);
	return 0;
}

static int
run_mutations(uint64_t first, uint64_t last)
{
	int			missed = 0;

	for (int i = 0; i < NMUTATIONS; i++)
	{
		HaTime		slowest = 0;
		long		acked = 0;
		uint64_t	seed = run_seeds(first, last, mutations[i].flag, &slowest,
									 &acked);

		if (seed == 0)
			missed++;
		printf("without %-16s %s", mutations[i].name,
			   seed == 0 ? "not caught\n" : "caught by seed ");
		if (seed != 0)
			printf("%llu: %s\n", (unsigned long long) seed, sim.violation);
		fflush(stdout);
	}
	return missed > 0 ? 1 : 0;
}

int
main(int argc, char **argv)
{
	uint64_t	first = 0;
	uint64_t	last = 0;
	unsigned	flags = 0;
	const char *mode = NULL;

	for (int i = 1; i + 1 < argc; i += 2)
	{
		if (strcmp(argv[i], "--mutate") == 0)
		{
			if (!parse_mutation(argv[i + 1], &flags))
				return usage();
			continue;
		}
		mode = argv[i];
		if (!parse_range(argv[i + 1], &first, &last))
			return usage();
	}
	if (mode == NULL || argc % 2 == 0)
		return usage();
	if (strcmp(mode, "--seeds") == 0)
		return run_range(first, last, flags);
	if (strcmp(mode, "--seed") == 0)
		return run_one(first, flags);
	if (strcmp(mode, "--mutations") == 0)
		return run_mutations(first, last);
	return usage();
}
