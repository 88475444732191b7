/*
 * directory.h
 *	  The data directory as files: signal files, entries, what pg_control says.
 *
 * Nothing here looks at processes; the caller knows that none is left, or only
 * reads.
 */
#ifndef PGHA_DIRECTORY_H
#define PGHA_DIRECTORY_H

#include <limits.h>

#include "core/types.h"
#include "launcher/postmaster.h"

/* False with why: missing, unreadable, of another version, or a wrong CRC. */
extern bool pgha_directory_read_control(const HaNode *node, HaControl *control,
										char *why);

/* Make standby.signal, or take it away, durably. */
extern bool pgha_directory_set_standby(const HaNode *node, bool standby,
									   char *why);

/* Whether a file of this name is in the data directory. */
extern bool pgha_directory_has(const HaNode *node, const char *name);

/* DATADIR/name; why is set if it doesn't fit */
extern bool pgha_directory_path(const HaNode *node, const char *name,
								char path[PATH_MAX], char *why);

/*
 * The names in a directory, but lost+found, as a NULL-terminated array to be
 * freed with pgha_directory_free_names; at most max, *more tells whether there
 * are others.  An absent directory is an empty one.  NULL: why.
 */
extern char **pgha_directory_names(const char *path, int max, bool *more,
								   char *why);
extern void pgha_directory_free_names(char **names);

/*
 * See to it that a promotion from timeline tli takes the number claimed or a
 * higher one: PostgreSQL takes the next number that no history file has, so
 * those between get an empty one.  They stay: a standby that comes from an
 * older timeline asks the primary for the history of every number since, and
 * can't stream where one is missing.  So do the lower numbers that a clone
 * doesn't have.
 *
 * An empty history above all others would hide the real one of its number, and
 * keep a standby from starting: before a start, forget_skipped takes those
 * away.
 */
extern bool pgha_directory_skip_timelines(const HaNode *node, uint32_t tli,
										  uint32_t claimed, char *why);
extern void pgha_directory_forget_skipped(const HaNode *node);

extern bool pgha_directory_fsync(const char *path, char *why);

#endif							/* PGHA_DIRECTORY_H */
