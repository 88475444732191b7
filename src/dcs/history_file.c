/*
 * history_file.c
 *	  The instance's own history file, as the `history` key wants it.
 */
#include "dcs/history_file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "dcs/state.h"

#define HISTORY_FILE_MAX (1024 * 1024)

/* The end of a line after the position: why the timeline ended. */
static void
history_reason(const char *line, char *reason, size_t size)
{
	const char *tab = strchr(line, '\t');
	size_t		len;

	reason[0] = '\0';
	tab = tab != NULL ? strchr(tab + 1, '\t') : NULL;
	if (tab == NULL)
		return;
	len = strcspn(tab + 1, "\n");
	if (len >= size)
		len = size - 1;
	memcpy(reason, tab + 1, len);
	reason[len] = '\0';
}

/* Keep what Consul already says of a timeline: its time, its leader. */
static void
history_enrich(HaHistoryLine *line, const HaHistoryDoc *known)
{
	int			i;

	for (i = 0; i < known->nlines; i++)
	{
		if (known->lines[i].tli == line->tli &&
			known->lines[i].end == line->end)
		{
			memcpy(line->when, known->lines[i].when, sizeof(line->when));
			memcpy(line->leader, known->lines[i].leader,
				   sizeof(line->leader));
		}
	}
}

static void
history_parse(const char *text, const HaTimelines *forks,
			  const HaHistoryDoc *known, HaHistoryDoc *doc)
{
	const char *line = text;

	memset(doc, 0, sizeof(*doc));
	while (line != NULL && doc->nlines < forks->nforks)
	{
		const HaFork *fork = &forks->forks[doc->nlines];
		HaHistoryLine *out = &doc->lines[doc->nlines];
		char	   *end;

		if (strtoul(line, &end, 10) == fork->tli && end != line)
		{
			out->tli = fork->tli;
			out->end = fork->end;
			history_reason(line, out->reason, sizeof(out->reason));
			history_enrich(out, known);
			doc->nlines++;
		}
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
}

static void
history_sign(HaHistoryLine *line, time_t when, const char *self)
{
	struct tm	utc;

	gmtime_r(&when, &utc);
	strftime(line->when, sizeof(line->when), "%Y-%m-%dT%H:%M:%S+00:00", &utc);
	snprintf(line->leader, sizeof(line->leader), "%s", self);
}

static bool
history_is_news(const HaHistoryDoc *doc, const HaHistoryDoc *known)
{
	const HaHistoryLine *last;
	const HaHistoryLine *known_last;

	if (doc->nlines == 0)
		return false;
	if (known->nlines == 0)
		return true;
	last = &doc->lines[doc->nlines - 1];
	known_last = &known->lines[known->nlines - 1];
	return last->tli != known_last->tli || last->end != known_last->end;
}

/* The file's text, malloc'd; NULL if there is none. */
static char *
history_read(const char *pgdata, uint32_t tli, struct stat *st)
{
	char		path[PATH_MAX];
	char		why[HA_WHY_MAX];
	size_t		len;
	bool		missing;

	if (tli <= 1 ||
		snprintf(path, sizeof(path), "%s/pg_wal/%08X.history", pgdata,
				 tli) >= (int) sizeof(path) ||
		stat(path, st) != 0)
		return NULL;
	return pgha_file_read(path, HISTORY_FILE_MAX, &len, &missing, why);
}

bool
pgha_history_own(const char *pgdata, uint32_t tli, HaTimelines *own)
{
	struct stat st;
	char	   *text;
	bool		known;

	own->nforks = 0;
	own->known = 0;
	if (tli == 1)
		return true;
	text = history_read(pgdata, tli, &st);
	known = text != NULL && pgha_timelines_parse(text, own) && own->nforks > 0;
	free(text);
	return known;
}

char *
pgha_history_news(const char *pgdata, uint32_t tli, const HaHistoryDoc *known,
				  const char *self)
{
	static HaHistoryDoc doc;
	static HaTimelines forks;
	struct stat st;
	char	   *text = history_read(pgdata, tli, &st);

	if (text == NULL)
		return NULL;
	doc.nlines = 0;
	if (pgha_timelines_parse(text, &forks))
		history_parse(text, &forks, known, &doc);
	free(text);
	if (!history_is_news(&doc, known))
		return NULL;
	if (doc.lines[doc.nlines - 1].when[0] == '\0')
		history_sign(&doc.lines[doc.nlines - 1], st.st_mtime, self);
	return pgha_history_print(&doc);
}
