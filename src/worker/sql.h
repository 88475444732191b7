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

#endif							/* PGHA_SQL_H */
