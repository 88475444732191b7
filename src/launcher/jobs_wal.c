/*
 * jobs_wal.c
 *	  The end of valid WAL on disk.
 *
 * pg_waldump prints a line for each record it can read; the end is where the
 * last one ends.  It is computed from that record's position and length, not
 * taken from pg_waldump's error message, which has many forms.
 *
 * The last record may begin before the page of `from`: then the dump starts
 * further back, at the page before, eight pages before, the segment's beginning
 * and that of the segment before it.
 */
#include "postgres_fe.h"

#include <sys/wait.h>
#include <unistd.h>

#include "access/xlog_internal.h"

#include "dcs/documents.h"
#include "launcher/directory.h"
#include "launcher/job.h"
#include "launcher/jobs.h"
#include "launcher/wal_end.h"

StaticAssertDecl(XLOG_BLCKSZ == HA_WAL_PAGE &&
				 SizeOfXLogShortPHD == HA_WAL_SHORT_HEADER &&
				 SizeOfXLogLongPHD == HA_WAL_LONG_HEADER,
				 "layout of WAL pages is not what wal_end.h says");

#define WAL_LINE_MAX 1024
#define WAL_SEGMENTS_MAX 65536	/* looked at, a terabyte of the usual size */
#define WAL_OLDER_MAX 64		/* older timelines looked for in a segment */
#define WAL_MANY_PAGES (8 * HA_WAL_PAGE)

typedef struct HaWalSearch
{
	HaJob	   *job;
	HaWalEndDone done;
	void	   *arg;
	uint32_t	tli;
	uint32_t	segment_size;
	HaLsn		from;
	HaLsn		start;			/* of the dump that runs */
	HaLsn		lowest;			/* further back there is no file */
	HaLsn		limit;			/* the first segment that isn't there */
	char		program[PATH_MAX];
	char		directory[PATH_MAX];	/* pg_wal */
	char		last[WAL_LINE_MAX + 1]; /* the last record's line */
	char		error[HA_WHY_MAX];
} HaWalSearch;

static bool
segment_exists(const HaWalSearch *wal, uint32_t tli, uint64_t segment)
{
	char		name[HA_WAL_FILE_NAME_SIZE];
	char		path[PATH_MAX];

	pgha_wal_file_name(name, tli, segment, wal->segment_size);
	return snprintf(path, sizeof(path), "%s/%s", wal->directory, name) <
		(int) sizeof(path) && access(path, R_OK) == 0;
}

static bool
segment_exists_older(const HaWalSearch *wal, uint64_t segment)
{
	uint32_t	tli = wal->tli;

	for (int i = 0; i < WAL_OLDER_MAX && tli > 1; i++)
		if (segment_exists(wal, --tli, segment))
			return true;
	return false;
}

/*
 * Which files there are: a timeline's first segment may come after `from`, if
 * all before it are there of older ones.  The end of what is there is passed to
 * pg_waldump, which would wait five seconds for a segment to appear.
 */
static bool
wal_find_segments(HaWalSearch *wal, char *why)
{
	uint64_t	first = wal->from / wal->segment_size;
	uint64_t	next;

	/* a position that ends a segment is in that segment */
	if (wal->from % wal->segment_size == 0 &&
		!segment_exists(wal, wal->tli, first))
		first--;
	next = first;
	while (!segment_exists(wal, wal->tli, next) && next - first < 64 &&
		   segment_exists_older(wal, next))
		next++;
	if (!segment_exists(wal, wal->tli, next))
	{
		char		name[HA_WAL_FILE_NAME_SIZE];

		pgha_wal_file_name(name, wal->tli, next, wal->segment_size);
		snprintf(why, HA_WHY_MAX, "WAL segment %s is missing", name);
		return false;
	}
	wal->lowest = next * wal->segment_size;
	if (next == first && next > 0 &&
		segment_exists(wal, wal->tli, next - 1))
		wal->lowest -= wal->segment_size;
	wal->start = next * wal->segment_size;	/* at least */
	while (next - first < WAL_SEGMENTS_MAX &&
		   segment_exists(wal, wal->tli, next))
		next++;
	wal->limit = next * wal->segment_size;
	return true;
}

/* The next place to start at; false: there is none. */
static bool
wal_start_further_back(HaWalSearch *wal)
{
	HaLsn		page = (wal->from - 1) / HA_WAL_PAGE * HA_WAL_PAGE;
	HaLsn		segment = page - page % wal->segment_size;
	HaLsn		starts[] = {
		page, page - HA_WAL_PAGE, page - WAL_MANY_PAGES, segment,
		segment - wal->segment_size
	};

	for (size_t i = 0; i < lengthof(starts); i++)
		if (starts[i] < wal->start && starts[i] >= wal->lowest)
		{
			wal->start = starts[i];
			return true;
		}
	return false;
}

static void wal_line(void *arg, bool is_stderr, const char *line);
static void wal_dumped(void *arg, int status);

/* Run pg_waldump, as the job's first program or its next. */
static bool
wal_dump(HaWalSearch *wal, char *why)
{
	char		tli[16];
	char		start[24];
	char		limit[24];
	const char *argv[] = {
		wal->program, "-p", wal->directory, "-t", tli, "-s", start,
		"-e", limit, NULL
	};
	const char *const env[] = {"LC_ALL=C", NULL};
	HaJobOptions options = {0};

	snprintf(tli, sizeof(tli), "%u", wal->tli);
	snprintf(start, sizeof(start), "%X/%X", LSN_FORMAT_ARGS(wal->start));
	snprintf(limit, sizeof(limit), "%X/%X", LSN_FORMAT_ARGS(wal->limit));
	wal->last[0] = '\0';
	wal->error[0] = '\0';
	if (wal->job)
		return pgha_job_next(wal->job, &options, argv, env, why);
	wal->job = pgha_job_start(argv, env, wal_line, wal_dumped, wal, why);
	return wal->job != NULL;
}

static void
wal_line(void *arg, bool is_stderr, const char *line)
{
	HaWalSearch   *wal = arg;

	if (is_stderr)
		snprintf(wal->error, sizeof(wal->error), "%s", line);
	else if (strncmp(line, "rmgr: ", 6) == 0)
		strlcpy(wal->last, line, sizeof(wal->last));
}

static void
wal_finish(HaWalSearch *wal, HaLsn end, const char *why)
{
	wal->done(wal->arg, end, why);
	free(wal);
}

/*
 * `from` had been flushed, so the end can't be before it; unless the flush
 * ended at a page's border inside of a record, whose rest never came.
 */
static void
wal_judge_end(HaWalSearch *wal)
{
	HaWalRecord record;
	HaLsn		end;
	char		why[HA_WHY_MAX];

	if (!pgha_wal_parse_line(wal->last, &record))
	{
		snprintf(why, sizeof(why), "pg_waldump printed \"%.100s\"", wal->last);
		wal_finish(wal, 0, why);
		return;
	}
	end = pgha_wal_record_end(&record, wal->segment_size);
	if (end >= wal->from || wal->from % HA_WAL_PAGE == 0)
	{
		wal_finish(wal, end, NULL);
		return;
	}
	snprintf(why, sizeof(why), "WAL is valid up to %X/%X only, but %X/%X had "
			 "been flushed", LSN_FORMAT_ARGS(end), LSN_FORMAT_ARGS(wal->from));
	wal_finish(wal, 0, why);
}

/* Did the dump end because there is no more, or because it couldn't read? */
static bool
wal_error_is_end(const char *error)
{
	return strstr(error, "error in WAL record at") != NULL ||
		strstr(error, "could not find file") != NULL;
}

static void
wal_dumped(void *arg, int status)
{
	HaWalSearch   *wal = arg;
	char		why[HA_WHY_MAX];

	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "pg_waldump was terminated by signal %d",
				 WTERMSIG(status));
	else if (wal->last[0] != '\0' &&
			 (status == 0 || wal_error_is_end(wal->error)))
	{
		wal_judge_end(wal);
		return;
	}
	else if (wal->last[0] == '\0' && wal_start_further_back(wal))
	{
		if (wal_dump(wal, why))
			return;
	}
	else if (wal->error[0] != '\0')
		snprintf(why, sizeof(why), "%.190s", wal->error);
	else
		snprintf(why, sizeof(why), "pg_waldump ended with status %d",
				 WEXITSTATUS(status));
	wal_finish(wal, 0, why);
}

static bool
wal_init(HaWalSearch *wal, const HaNode *node, char *why)
{
	HaControl	control;
	HaLsn		page;

	if (!pgha_directory_read_control(node, &control, why) ||
		!pgha_directory_path(node, "pg_wal", wal->directory, why))
		return false;
	wal->segment_size = control.segment_size;
	snprintf(wal->program, sizeof(wal->program), "%s/pg_waldump",
			 node->bin_directory);
	if (wal->tli == 0 || wal->from < wal->segment_size)
	{
		snprintf(why, HA_WHY_MAX, "no WAL position is known to start from");
		return false;
	}
	if (!wal_find_segments(wal, why))
		return false;
	page = (wal->from - 1) / HA_WAL_PAGE * HA_WAL_PAGE;
	if (page >= wal->lowest)
		wal->start = page;
	return true;
}

HaJob *
pgha_job_wal_end(const HaNode *node, uint32_t tli, HaLsn from,
				 HaWalEndDone done, void *arg, char *why)
{
	HaWalSearch   *wal = calloc(1, sizeof(HaWalSearch));

	if (!wal)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		return NULL;
	}
	wal->done = done;
	wal->arg = arg;
	wal->tli = tli;
	wal->from = from;
	if (wal_init(wal, node, why) && wal_dump(wal, why))
		return wal->job;
	free(wal);
	return NULL;
}
