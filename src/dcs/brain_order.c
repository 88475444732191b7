/*
 * brain_order.c
 *	  What operators ask for, as it is in Consul: the failover key and the jobs.
 */
#include "dcs/brain_private.h"
#include "dcs/json.h"

#include <stdio.h>
#include <string.h>

#define ORDER_JOBS "pg_ha/jobs/"

static void
order_read(HaBrain *brain, const HaConsulKey *key, HaTime now)
{
	uint64_t	index = key != NULL ? key->modify_index : 0;
	char		why[HA_WHY_MAX];

	if (index == brain->order_index)
		return;
	brain->order_index = index;
	memset(&brain->order, 0, sizeof(brain->order));
	if (key == NULL)
		return;
	if (!pgha_order_parse(key->value, key->value_len, &brain->order, why))
		brain_report(brain, HA_REPORT_WARNING,
					 "the failover key can't be read: %s", why);
	brain->order.index = index;
	brain->order.seen_at = now;
}

/* The job of a key, as it was read before if it is still that. */
static bool
job_read(const HaJobKey *old, int nold, const HaConsulKey *key, const char *id,
		 HaTime now, HaJobKey *job)
{
	char		why[HA_WHY_MAX];

	memset(job, 0, sizeof(*job));
	snprintf(job->id, sizeof(job->id), "%s", id);
	job->index = key->modify_index;
	job->seen_at = now;
	for (int i = 0; i < nold; i++)
	{
		if (strcmp(old[i].id, id) != 0)
			continue;
		job->seen_at = old[i].seen_at;
		if (old[i].index == key->modify_index)
			job->document = json_incref(old[i].document);
	}
	if (job->document == NULL)
		job->document = pgha_json_load(key->value, key->value_len, why);
	if (json_is_object(job->document))
		return true;
	json_decref(job->document);
	return false;
}

static void
jobs_read(HaBrain *brain, const HaConsulAnswer *answer)
{
	HaJobKey	old[HA_JOBS_MAX];
	int			nold = brain->njobs;
	size_t		prefix_len = strlen(brain->prefix);

	memcpy(old, brain->jobs, sizeof(HaJobKey) * (size_t) nold);
	brain->njobs = 0;
	for (int i = 0; i < answer->nkeys && brain->njobs < HA_JOBS_MAX; i++)
	{
		const HaConsulKey *key = &answer->keys[i];
		const char *id = key->key + prefix_len + strlen(ORDER_JOBS);

		if (strncmp(key->key + prefix_len, ORDER_JOBS,
					strlen(ORDER_JOBS)) != 0 || id[0] == '\0' ||
			strchr(id, '/') != NULL || strlen(id) > HA_JOB_ID_MAX)
			continue;
		if (job_read(old, nold, key, id, answer->received_at,
					 &brain->jobs[brain->njobs]))
			brain->njobs++;
	}
	for (int i = 0; i < nold; i++)
		json_decref(old[i].document);
}

void
brain_read_orders(HaBrain *brain, const HaConsulAnswer *answer,
				  const HaConsulKey *failover)
{
	order_read(brain, failover, answer->received_at);
	jobs_read(brain, answer);
}

void
brain_forget_jobs(HaBrain *brain)
{
	for (int i = 0; i < brain->njobs; i++)
		json_decref(brain->jobs[i].document);
	brain->njobs = 0;
}

const HaOrder *
pgha_brain_order(const HaBrain *brain)
{
	return &brain->order;
}

uint64_t
pgha_brain_order_index(const HaBrain *brain)
{
	return brain->order_index;
}

const HaJobKey *
pgha_brain_jobs(const HaBrain *brain, int *njobs)
{
	*njobs = brain->njobs;
	return brain->jobs;
}
