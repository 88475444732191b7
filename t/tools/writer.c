/*
 * writer.c
 *	  A client that inserts row after row and never trusts what was not
 *	  acknowledged.
 *
 * usage: pg_ha_writer DSN ROWS-PER-SECOND FIRST-ID [LOG]
 *
 * Inserts ids into pg_ha_writer (created if absent) until SIGTERM or SIGINT.  An
 * insert that fails is not repeated: its outcome is unknown, the next id is
 * used.  After a failure it connects again, at once and then every 2 ms.  LOG
 * gets a line "id milliseconds" for each acknowledged row.  At the end one line
 * on stdout: acknowledged=N failed=N gap_ms=N, gap being the longest time
 * between two acknowledgements that a failure lay between.
 */
#include <libpq-fe.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WRITER_RECONNECT_US 2000

static volatile sig_atomic_t stop = 0;

static void
writer_stop(int signo)
{
	(void) signo;
	stop = 1;
}

static int64_t
writer_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void
writer_ignore(void *arg, const PGresult *res)
{
	(void) arg;
	(void) res;
}

static PGconn *
writer_connect(const char *dsn)
{
	PGconn	   *conn = PQconnectdb(dsn);
	PGresult   *result;

	if (PQstatus(conn) != CONNECTION_OK)
	{
		PQfinish(conn);
		return NULL;
	}
	PQsetNoticeReceiver(conn, writer_ignore, NULL);
	result = PQexec(conn, "CREATE TABLE IF NOT EXISTS pg_ha_writer"
					" (id bigint PRIMARY KEY, at timestamptz DEFAULT now())");
	PQclear(result);
	return conn;
}

static bool
writer_insert(PGconn *conn, int64_t id)
{
	char		text[24];
	const char *values[1] = {text};
	PGresult   *result;
	bool		ok;

	snprintf(text, sizeof(text), "%lld", (long long) id);
	result = PQexecParams(conn, "INSERT INTO pg_ha_writer(id) VALUES ($1)", 1,
						  NULL, values, NULL, NULL, 0);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	return ok;
}

int
main(int argc, char **argv)
{
	PGconn	   *conn = NULL;
	FILE	   *log = NULL;
	int64_t		acknowledged = 0;
	int64_t		failed = 0;
	int64_t		last = 0;
	int64_t		gap = 0;
	bool		broken = false;
	int64_t		id;
	int64_t		pause_us;

	if (argc < 4)
	{
		fprintf(stderr, "usage: pg_ha_writer DSN ROWS-PER-SECOND FIRST-ID [LOG]\n");
		return 1;
	}
	pause_us = 1000000 / (atoi(argv[2]) > 0 ? atoi(argv[2]) : 1);
	id = atoll(argv[3]);
	if (argc > 4 && (log = fopen(argv[4], "w")) == NULL)
	{
		perror(argv[4]);
		return 1;
	}
	signal(SIGTERM, writer_stop);
	signal(SIGINT, writer_stop);
	while (!stop)
	{
		int64_t		begun = writer_now_us();
		int64_t		now;

		if (conn == NULL && (conn = writer_connect(argv[1])) == NULL)
		{
			broken = true;
			usleep(WRITER_RECONNECT_US);
			continue;
		}
		if (!writer_insert(conn, id++))
		{
			failed++;
			broken = true;
			PQfinish(conn);
			conn = NULL;
			continue;
		}
		now = writer_now_us();
		acknowledged++;
		if (broken && last != 0 && now - last > gap)
			gap = now - last;
		broken = false;
		last = now;
		if (log != NULL)
		{
			fprintf(log, "%lld %lld\n", (long long) id - 1,
					(long long) now / 1000);
			fflush(log);
		}
		if (now - begun < pause_us)
			usleep((useconds_t) (pause_us - (now - begun)));
	}
	printf("acknowledged=%lld failed=%lld gap_ms=%.1f\n",
		   (long long) acknowledged, (long long) failed, (double) gap / 1000);
	return 0;
}
