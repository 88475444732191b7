/*
 * jobs.h
 *	  The programs of PostgreSQL that make, copy and mend a data directory.
 *
 * Each starts one HaJob and ends in a callback with success or a reason.  Those
 * that leave a directory half-done write the mark in node.json before and take
 * it out after; a directory with the mark is never started.
 */
#ifndef PGHA_JOBS_H
#define PGHA_JOBS_H

#include "launcher/job.h"
#include "launcher/node.h"
#include "launcher/postmaster.h"

/* progress: a phrase for the member's state and the log; percent -1 = unknown */
typedef void (*HaJobProgress) (void *arg, const char *phrase, int percent);
/* why is NULL on success */
typedef void (*HaJobDone) (void *arg, const char *why, const char *hint);

/*
 * initdb with pg_ha.initdb_options (default UTF8, C.UTF-8, checksums, scram),
 * and the superuser's password if the passfile has one.  Its remains are
 * removed if it fails.
 */
extern HaJob *pgha_job_initdb(const HaNode *node, HaJobProgress progress,
							  HaJobDone done, void *arg, char *why);

/*
 * pg_basebackup from conn_url into the data directory: contents are emptied
 * first (the directory may be a mount point, pg_wal a link that is kept), but not
 * before the source answered.  A tablespace whose directory is not empty on
 * this machine is refused by name.  Leaves standby.signal.  keep: if it can be,
 * the old contents are kept aside (aside.h), and are back after a failure.
 */
extern HaJob *pgha_job_clone(const HaNode *node, const char *conn_url,
							 bool keep, HaJobProgress progress, HaJobDone done, void *arg,
							 char *why);

/*
 * pg_rewind against conn_url with --config-file STATE/postgresql.conf, after a
 * checkpoint there.  A failure before pg_rewind wrote anything leaves no mark.
 * Leaves standby.signal.
 */
extern HaJob *pgha_job_rewind(const HaNode *node, const char *conn_url,
							  HaJobProgress progress, HaJobDone done,
							  void *arg, char *why);

/* Whether a failure says that the source was away, and nothing about us. */
extern bool pgha_job_source_away(const char *why);

/*
 * The end of valid WAL on disk, by pg_waldump from `from` (a position known to
 * have been flushed; the search starts at the beginning of its page, or further
 * back when no record begins there).  end: where the last valid record ends,
 * aligned as the next one's beginning would be (without a page header that
 * nothing follows); 0 with why if it can't be read, or if valid WAL ends before
 * `from` without the excuse that `from` is a page's border inside of a record.
 */
typedef void (*HaWalEndDone) (void *arg, HaLsn end, const char *why);
extern HaJob *pgha_job_wal_end(const HaNode *node, uint32_t tli, HaLsn from,
							   HaWalEndDone done, void *arg, char *why);

#endif							/* PGHA_JOBS_H */
