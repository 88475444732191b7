/*
 * writer.c
 *	  A client that inserts row after row and never trusts what was not
 *	  acknowledged.
 *
 * usage: pg_ha_writer [-r MS] [-t MS] DSN ROWS-PER-SECOND FIRST-ID [LOG]
 *
 * Inserts ids into pg_ha_writer (created if absent) until SIGTERM or SIGINT.  An
 * insert that fails is not repeated: its outcome is unknown, the next id is
 * used.  After a failure it connects again, at once and then every 2 ms, or
 * every MS of -r.  With -t, an answer that takes longer than MS is a failure.
 * LOG gets a line "id milliseconds timeline" for each acknowledged row.  At the
 * end one line on stdout: acknowledged=N failed=N gap_ms=N, gap being the
 * longest time between two acknowledgements that a failure lay between.
 */
#include <libpq-fe.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define WRITER_RECONNECT_US 2000

/* told to stop, it waits so long for the answer that it awaits */
#define WRITER_LAST_ANSWER_S 5

static volatile sig_atomic_t stop = 0;
static volatile sig_atomic_t waiting_on = -1;
static int	answer_ms = 0;

static void
writer_stop(int signo)
{
	(void) signo;
	stop = 1;
	if (waiting_on >= 0)
		alarm(WRITER_LAST_ANSWER_S);
}

/* The answer took too long. */
static void
writer_give_up(int signo)
{
	(void) signo;
	if (waiting_on >= 0)
		shutdown(waiting_on, SHUT_RDWR);
}

static void
writer_await(PGconn *conn)
{
	struct itimerval timer = {{0, 0}, {answer_ms / 1000, answer_ms % 1000 * 1000}};

	waiting_on = PQsocket(conn);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void
writer_answered(void)
{
	struct itimerval timer = {{0, 0}, {0, 0}};

	setitimer(ITIMER_REAL, &timer, NULL);
	waiting_on = -1;
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
	writer_await(conn);
	result = PQexec(conn, "CREATE TABLE IF NOT EXISTS pg_ha_writer"
					" (id bigint PRIMARY KEY, at timestamptz DEFAULT now())");
	writer_answered();
	PQclear(result);
	return conn;
}

/* Insert a row and say on which timeline it is. */
static bool
writer_insert(PGconn *conn, int64_t id, char *timeline, size_t size)
{
	char		text[24];
	const char *values[1] = {text};
	PGresult   *result;
	bool		ok;

	snprintf(text, sizeof(text), "%lld", (long long) id);
	writer_await(conn);
	result = PQexecParams(conn, "INSERT INTO pg_ha_writer(id) VALUES ($1)"
						  " RETURNING substr(pg_walfile_name("
						  "pg_current_wal_insert_lsn()), 1, 8)",
						  1, NULL, values, NULL, NULL, 0);
	writer_answered();
	ok = PQresultStatus(result) == PGRES_TUPLES_OK;
	if (ok)
		snprintf(timeline, size, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return ok;
}

static bool
writer_options(int argc, char **argv, int64_t *reconnect_us)
{
	int			option;

	while ((option = getopt(argc, argv, "+r:t:")) == 'r' || option == 't')
	{
		if (option == 'r')
			*reconnect_us = atoi(optarg) * INT64_C(1000);
		else
			answer_ms = atoi(optarg);
	}
	return option == -1;
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
	int64_t		reconnect_us = WRITER_RECONNECT_US;
	char		timeline[16];

	if (!writer_options(argc, argv, &reconnect_us) || argc - optind < 3)
	{
		fprintf(stderr, "usage: pg_ha_writer [-r MS] [-t MS]"
				" DSN ROWS-PER-SECOND FIRST-ID [LOG]\n");
		return 1;
	}
	argc -= optind - 1;
	argv += optind - 1;
	pause_us = 1000000 / (atoi(argv[2]) > 0 ? atoi(argv[2]) : 1);
	id = atoll(argv[3]);
	if (argc > 4 && (log = fopen(argv[4], "w")) == NULL)
	{
		perror(argv[4]);
		return 1;
	}
	signal(SIGTERM, writer_stop);
	signal(SIGINT, writer_stop);
	signal(SIGALRM, writer_give_up);
	while (!stop)
	{
		int64_t		begun = writer_now_us();
		int64_t		now;

		if (conn == NULL && (conn = writer_connect(argv[1])) == NULL)
		{
			broken = true;
			usleep((useconds_t) reconnect_us);
			continue;
		}
		if (!writer_insert(conn, id++, timeline, sizeof(timeline)))
		{
			failed++;
			broken = true;
			PQfinish(conn);
			conn = NULL;
			if (reconnect_us > WRITER_RECONNECT_US && !stop)
				usleep((useconds_t) reconnect_us);
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
			fprintf(log, "%lld %lld %s\n", (long long) id - 1,
					(long long) now / 1000, timeline);
			fflush(log);
		}
		if (now - begun < pause_us)
			usleep((useconds_t) (pause_us - (now - begun)));
	}
	printf("acknowledged=%lld failed=%lld gap_ms=%.1f\n",
		   (long long) acknowledged, (long long) failed, (double) gap / 1000);
	return 0;
}
