/*
 * sql.h
 *	  What the files of the SQL functions share.
 */
#ifndef PGHA_SQL_H
#define PGHA_SQL_H

#include "postgres.h"

/*
 * JSON text as jsonb.  Everything pg_ha writes is UTF-8, whatever this
 * database's encoding is; what it can't hold is an error.
 */
extern Datum pgha_sql_jsonb(const char *text);

/*
 * An answer as what the calling function returns: an array of objects as rows,
 * an object as a record of its OUT parameters.
 */
extern Datum pgha_sql_rows(FunctionCallInfo fcinfo, const char *answer);
extern Datum pgha_sql_record(FunctionCallInfo fcinfo, const char *answer);

/* Of a timeout; months have 30 days.  Raises an error if it is negative. */
extern int64 pgha_sql_interval_ms(const Interval *interval);

/* what an ordinary command takes at most, with all retries in Consul */
#define HA_COMMAND_TIMEOUT_MS 30000

#endif							/* PGHA_SQL_H */
