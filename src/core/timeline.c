/*
 * timeline.c
 *	  Timelines: where one forked off another, and who can follow whom.
 */
#include "core/timeline.h"

#include <stdlib.h>
#include <string.h>

uint32_t
pgha_timelines_current(const HaTimelines *history)
{
	uint32_t	next = 1;

	if (history->nforks > 0)
		next = history->forks[history->nforks - 1].tli + 1;
	return history->known > next ? history->known : next;
}

HaKinship
pgha_timelines_kinship(const HaTimelines *history, uint32_t tli, HaLsn lsn)
{
	int			i;

	if (tli == 0 || lsn == 0)
		return HA_KIN_UNKNOWN;
	if (tli == pgha_timelines_current(history))
		return HA_KIN_SAME;
	for (i = 0; i < history->nforks; i++)
	{
		if (history->forks[i].tli == tli)
			return lsn <= history->forks[i].end ?
				HA_KIN_BEHIND : HA_KIN_DIVERGED;
	}
	return HA_KIN_DIVERGED;
}

bool
pgha_timelines_foreign(const HaTimelines *own, uint32_t tli,
					   const HaTimelines *history)
{
	int			i = 0;
	int			j = 0;

	while (j < history->nforks && history->forks[j].tli < tli)
	{
		const HaFork *theirs = &history->forks[j];

		if (i >= own->nforks || own->forks[i].tli > theirs->tli)
			return true;
		if (own->forks[i].tli == theirs->tli)
		{
			if (own->forks[i].end != theirs->end)
				return true;
			j++;
		}
		else if (j > 0)
			return true;
		i++;
	}
	return false;
}

/* One "X/X" position; returns the character after it, or NULL. */
static const char *
timeline_lsn(const char *text, HaLsn *lsn)
{
	char	   *end;
	unsigned long long high;
	unsigned long long low;

	high = strtoull(text, &end, 16);
	if (end == text || *end != '/' || high > UINT32_MAX)
		return NULL;
	text = end + 1;
	low = strtoull(text, &end, 16);
	if (end == text || low > UINT32_MAX)
		return NULL;
	*lsn = high << 32 | low;
	return end;
}

/* One line "tli<TAB>X/X..."; false if it is malformed. */
static bool
timeline_line(const char *line, HaFork *fork)
{
	char	   *end;
	const char *rest;
	unsigned long tli = strtoul(line, &end, 10);

	if (end == line || tli == 0 || tli > UINT32_MAX)
		return false;
	if (*end != '\t' && *end != ' ')
		return false;
	rest = timeline_lsn(end + 1, &fork->end);
	if (rest == NULL)
		return false;
	if (*rest != '\t' && *rest != ' ' && *rest != '\n' && *rest != '\0')
		return false;
	fork->tli = (uint32_t) tli;
	return true;
}

bool
pgha_timelines_parse(const char *text, HaTimelines *history)
{
	history->nforks = 0;
	history->known = 0;
	while (*text != '\0')
	{
		const char *newline = strchr(text, '\n');

		text += strspn(text, " \t");
		if (*text != '#' && *text != '\n' && *text != '\0')
		{
			HaFork	   *fork;

			if (history->nforks >= HA_HISTORY_MAX)
				return false;
			fork = &history->forks[history->nforks];
			if (!timeline_line(text, fork))
				return false;
			if (history->nforks > 0 && fork->tli <= fork[-1].tli)
				return false;
			history->nforks++;
		}
		if (newline == NULL)
			break;
		text = newline + 1;
	}
	return true;
}
