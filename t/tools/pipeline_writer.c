/*
 * pipeline_writer.c
 *	  A client that has many inserts under way on one connection.
 *
 * usage: pipeline_writer DSN DEPTH FIRST-ID LOG
 *
 * Keeps DEPTH inserts into pg_ha_writer in a pipeline, each a transaction of
 * its own, until SIGTERM.  LOG gets a line "id milliseconds timeline" for each
 * that is acknowledged, as that of pg_ha_writer.  After a failure it connects
 * again every 100 ms; what was under way is given up.
 */
#include <libpq-fe.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIPELINE_RECONNECT_US 100000

static const char *const insert =
"INSERT INTO pg_ha_writer(id) VALUES ($1) RETURNING "
"substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";

static volatile sig_atomic_t stop = 0;

static void
pipeline_stop(int signo)
{
	(void) signo;
	stop = 1;
}

static long long
pipeline_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static bool
pipeline_send(PGconn *conn, long long id)
{
	char		text[24];
	const char *values[1] = {text};

	snprintf(text, sizeof(text), "%lld", id);
	return PQsendQueryParams(conn, insert, 1, NULL, values, NULL, NULL, 0) &&
		PQpipelineSync(conn);
}

/* The next insert's result, and the sync behind it; false: the pipeline broke. */
static bool
pipeline_receive(PGconn *conn, long long id, FILE *log)
{
	PGresult   *result = PQgetResult(conn);
	bool		ok = PQresultStatus(result) == PGRES_TUPLES_OK;

	if (ok)
	{
		fprintf(log, "%lld %lld %s\n", id, pipeline_now_ms(),
				PQgetvalue(result, 0, 0));
		fflush(log);
	}
	PQclear(result);
	if (!ok)
		return false;
	PQclear(PQgetResult(conn)); /* the end of the insert's results */
	result = PQgetResult(conn);
	ok = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
	PQclear(result);
	return ok;
}

/* Until something fails; the id to go on with. */
static long long
pipeline_run(PGconn *conn, int depth, long long first, FILE *log)
{
	long long	sent = first;
	long long	received = first;

	while (!stop)
	{
		while (sent - received < depth)
		{
			if (!pipeline_send(conn, sent++))
				return sent;
		}
		if (!pipeline_receive(conn, received++, log))
			return sent;
	}
	return sent;
}

int
main(int argc, char **argv)
{
	long long	id;
	FILE	   *log;

	if (argc != 5 || (log = fopen(argv[4], "w")) == NULL)
	{
		fprintf(stderr, "usage: pipeline_writer DSN DEPTH FIRST-ID LOG\n");
		return 1;
	}
	id = atoll(argv[3]);
	signal(SIGTERM, pipeline_stop);
	while (!stop)
	{
		PGconn	   *conn = PQconnectdb(argv[1]);

		if (PQstatus(conn) == CONNECTION_OK && PQenterPipelineMode(conn))
			id = pipeline_run(conn, atoi(argv[2]), id, log);
		PQfinish(conn);
		usleep(PIPELINE_RECONNECT_US);
	}
	return 0;
}
