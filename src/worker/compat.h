/*
 * compat.h
 *	  What differs between the PostgreSQL versions this module is built for.
 *
 * Include it right after postgres.h.
 */
#ifndef PGHA_COMPAT_H
#define PGHA_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "pg_ha supports PostgreSQL 15 to 18"
#endif

/*
 * libpq-be.h would include Kerberos' headers, which need not be installed.
 * Port has the same members without them.
 */
#undef ENABLE_GSS

#include "lib/ilist.h"
#include "libpq/hba.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker_internals.h"
#include "utils/guc_tables.h"

/* 18 keeps the postmaster's list of workers doubly linked. */
#if PG_VERSION_NUM >= 180000
#define pgha_foreach_worker(iter) \
	dlist_foreach(iter, &BackgroundWorkerList)
#define pgha_worker_of(iter) \
	dlist_container(RegisteredBgWorker, rw_lnode, (iter).cur)
typedef dlist_iter HaWorkerIter;
#else
#define pgha_foreach_worker(iter) \
	slist_foreach(iter, &BackgroundWorkerList)
#define pgha_worker_of(iter) \
	slist_container(RegisteredBgWorker, rw_lnode, (iter).cur)
typedef slist_iter HaWorkerIter;
#endif

#if PG_VERSION_NUM >= 170000
#define pgha_is_autovacuum_worker() AmAutoVacuumWorkerProcess()
#else
#define pgha_is_autovacuum_worker() IsAutoVacuumWorkerProcess()
#endif

/* 18 runs each query once and has no flag for that. */
#if PG_VERSION_NUM >= 180000
#define PGHA_EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define PGHA_EXECUTOR_RUN_ARGUMENTS queryDesc, direction, count
#else
#define PGHA_EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count, \
	bool execute_once
#define PGHA_EXECUTOR_RUN_ARGUMENTS queryDesc, direction, count, execute_once
#endif

/* The server's record of a setting, or NULL; 15 keeps the look-up to itself. */
static inline const struct config_generic *
pgha_guc_find(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, 0);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
	{
		if (pg_strcasecmp(settings[i]->name, name) == 0)
			return settings[i];
	}
	return NULL;
#endif
}

/*
 * Tokens of a text in the syntax of pg_hba.conf and pg_ident.conf.  They live
 * until pgha_auth_end; 16 keeps them in a context that only the opening of a
 * real file makes.
 */
static inline FILE *
pgha_auth_begin(void)
{
#if PG_VERSION_NUM >= 160000
	char	   *ignored = NULL;

	return open_auth_file("/dev/null", DEBUG3, 0, &ignored);
#else
	return NULL;
#endif
}

static inline void
pgha_auth_tokens(const char *filename, FILE *text, List **lines)
{
#if PG_VERSION_NUM >= 160000
	tokenize_auth_file(filename, text, lines, DEBUG3, 0);
#else
	(void) tokenize_auth_file(filename, text, lines, DEBUG3);
#endif
}

static inline void
pgha_auth_end(FILE *opened)
{
#if PG_VERSION_NUM >= 160000
	if (opened != NULL)
		free_auth_file(opened, 0);
#else
	(void) opened;
#endif
}

/* 15 compiles the pattern of an ident line outside of memory contexts. */
static inline void
pgha_ident_free(IdentLine *line)
{
#if PG_VERSION_NUM < 160000
	if (line != NULL && line->ident_user[0] == '/')
		pg_regfree(&line->re);
#else
	(void) line;
#endif
}

#endif							/* PGHA_COMPAT_H */
