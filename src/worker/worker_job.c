/*
 * worker_job.c
 *	  The documents of jobs, changed by compare-and-set (dcs/documents.h).
 */
#include "worker_private.h"

#include "dcs/json.h"
#include "utils/timestamp.h"

/* ended jobs that are kept for pg_ha_jobs */
#define JOBS_KEPT 20

const HaJobKey *
worker_job(const HaWorker *worker, const char *id)
{
	int			njobs;
	const HaJobKey *jobs = pgha_brain_jobs(worker->brain, &njobs);

	for (int i = 0; i < njobs; i++)
	{
		if (strcmp(jobs[i].id, id) == 0)
			return &jobs[i];
	}
	return NULL;
}

static void
job_key(const HaWorker *worker, const char *id, HaJobWrite *write)
{
	snprintf(write->key, sizeof(write->key), "%spg_ha/jobs/%s",
			 worker->prefix, id);
	write->op.key = write->key;
}

static void
job_print(json_t *document, HaJobWrite *write)
{
	write->text = json_dumps(document, JSON_COMPACT);
	write->op.value = write->text;
	if (write->text == NULL)
		write->op.key = NULL;
	json_decref(document);
}

/* The operation that makes a document; its key is NULL if there is no memory. */
void
worker_job_create(const HaWorker *worker, const char *id, json_t *document,
				  HaJobWrite *write)
{
	memset(write, 0, sizeof(*write));
	job_key(worker, id, write);
	write->op.verb = HA_TXN_CAS;	/* index 0: if it is absent */
	job_print(document, write);
}

/*
 * The operation that changes fields of a document (stolen): `key` is NULL if
 * there is no such job.  What has ended says when.
 */
void
worker_job_change(const HaWorker *worker, const char *id, json_t *changes,
				  HaJobWrite *write)
{
	const HaJobKey *job = worker_job(worker, id);
	json_t	   *document;
	char		when[40];

	memset(write, 0, sizeof(*write));
	if (job == NULL)
	{
		json_decref(changes);
		return;
	}
	document = json_copy(job->document);
	json_object_update_new(document, changes);
	if (!pgha_job_is_open(document))
	{
		pgha_time_print(worker->view.wall_ms, when, sizeof(when));
		json_object_set_new(document, "finished_at", json_string(when));
	}
	job_key(worker, id, write);
	write->op.verb = HA_TXN_CAS;
	write->op.index = job->index;
	job_print(document, write);
}

void
worker_job_release(HaJobWrite *write)
{
	free(write->text);
}

/* The oldest ended jobs beyond those kept; ids begin with their time. */
int
worker_jobs_old(const HaWorker *worker, HaJobWrite *writes, int max)
{
	int			njobs;
	const HaJobKey *jobs = pgha_brain_jobs(worker->brain, &njobs);
	int			n = 0;

	for (int i = 0; i < njobs - JOBS_KEPT && n < max; i++)
	{
		if (pgha_job_is_open(jobs[i].document))
			continue;
		memset(&writes[n], 0, sizeof(writes[n]));
		job_key(worker, jobs[i].id, &writes[n]);
		writes[n++].op.verb = HA_TXN_DELETE;
	}
	return n;
}
