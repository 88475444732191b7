/*
 * wal_end.h
 *	  Arithmetic of WAL positions, for jobs_wal.c and its test.
 */
#ifndef PGHA_WAL_END_H
#define PGHA_WAL_END_H

#include "core/types.h"

/*
 * A page begins with a header, the first one of a segment with a longer one;
 * access/xlog_internal.h, the same from 15 to 18.  jobs_wal.c asserts it.
 */
#define HA_WAL_PAGE 8192
#define HA_WAL_SHORT_HEADER 24
#define HA_WAL_LONG_HEADER 40

/* One line of pg_waldump's output. */
typedef struct HaWalRecord
{
	HaLsn		lsn;
	uint32_t	total_len;		/* xl_tot_len: without page headers */
	bool		is_switch;		/* the rest of its segment is padding */
} HaWalRecord;

/* False: not the line of a record. */
extern bool pgha_wal_parse_line(const char *line, HaWalRecord *record);

/*
 * Where the record ends, which is where the next one begins: aligned to 8
 * bytes, and at the end of a page without the header of the next, as
 * pg_current_wal_flush_lsn() has it.
 */
extern HaLsn pgha_wal_record_end(const HaWalRecord *record,
								 uint32_t segment_size);

/* The segment's file name; XLogFileName of the server. */
#define HA_WAL_FILE_NAME_SIZE 32
extern void pgha_wal_file_name(char name[HA_WAL_FILE_NAME_SIZE], uint32_t tli,
							   uint64_t segment, uint32_t segment_size);

#endif							/* PGHA_WAL_END_H */
