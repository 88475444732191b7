/*
 * history_file.h
 *	  The instance's own history file, as the `history` key wants it.
 */
#ifndef PGHA_HISTORY_FILE_H
#define PGHA_HISTORY_FILE_H

#include "dcs/documents.h"

/*
 * Text for the key if the history of timeline `tli` in pgdata says something
 * the known one does not; malloc'd.  NULL: it doesn't, or can't be read.  What
 * is known of older timelines (time, leader) is kept; the newest one is told to
 * have begun under `self`, when the file was written.
 */
extern char *pgha_history_news(const char *pgdata, uint32_t tli,
							   const HaHistoryDoc *known, const char *self);

/*
 * Where the timelines before `tli` ended, as its history in pgdata says.
 * False: it has none there (timeline 1 needs none).
 */
extern bool pgha_history_own(const char *pgdata, uint32_t tli,
							 HaTimelines *own);

#endif							/* PGHA_HISTORY_FILE_H */
