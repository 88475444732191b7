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
#include "postmaster/bgworker_internals.h"

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

#endif							/* PGHA_COMPAT_H */
