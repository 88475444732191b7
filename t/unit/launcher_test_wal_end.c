/*
 * launcher_test_wal_end.c
 *	  Where a WAL record ends, from pg_waldump's line for it.
 */
#include "tap.h"

#include "launcher/wal_end.h"

#define SEGMENT (16 * 1024 * 1024)

static HaLsn
end_of(HaLsn lsn, uint32_t total_len)
{
	HaWalRecord record = {.lsn = lsn,.total_len = total_len};

	return pgha_wal_record_end(&record, SEGMENT);
}

static void
test_lines(void)
{
	HaWalRecord record = {0};

	ok(pgha_wal_parse_line("rmgr: Heap        len (rec/tot):     54/  8150, "
						   "tx:        731, lsn: 1A/01532A58, prev 1A/01532A20, "
						   "desc: INSERT off 1 flags 0x08", &record) &&
	   record.lsn == UINT64_C(0x1A01532A58) && record.total_len == 8150 &&
	   !record.is_switch, "a record's line gives its position and whole length");
	ok(pgha_wal_parse_line("rmgr: XLOG        len (rec/tot):     24/    24, "
						   "tx:          0, lsn: 0/0F5FDDC8, prev 0/0F5FDD90, "
						   "desc: SWITCH ", &record) && record.is_switch,
	   "a switch is told from other records");
	ok(!pgha_wal_parse_line("  blkref #0: rel 1663/5/1259 fork main blk 0",
							&record), "other lines are no records");
	ok(!pgha_wal_parse_line("rmgr: Heap        len (rec/tot):     54/", &record),
	   "a line cut off is no record");
}

static void
test_ends(void)
{
	HaWalRecord switched = {.lsn = 0xF5FDDC8,.total_len = 24,
		.is_switch = true
	};

	is_int((int64_t) end_of(0x1000028, 114), 0x10000A0,
		   "the end is aligned to 8 bytes");
	is_int((int64_t) end_of(0x1000028, 8192 - 40), 0x1002000,
		   "a record that fills its page ends without the next one's header");
	is_int((int64_t) end_of(0x1000028, 8192 - 40 + 8),
		   0x1002000 + HA_WAL_SHORT_HEADER + 8,
		   "a page crossed adds a header");
	is_int((int64_t) end_of(0x1FFFFF0, 24), 0x2000000 + HA_WAL_LONG_HEADER + 8,
		   "a segment crossed adds a long header");
	is_int((int64_t) end_of(0x1FFFFF8, 8 + 2 * (8192 - 24) - 16 + 1),
		   0x2004000 + HA_WAL_SHORT_HEADER + 8,
		   "a record over three pages crosses three headers");
	is_int((int64_t) pgha_wal_record_end(&switched, SEGMENT), 0x10000000,
		   "a switch ends with its segment");
}

static void
test_names(void)
{
	char		name[HA_WAL_FILE_NAME_SIZE];

	pgha_wal_file_name(name, 0x2A, 0x1FF, SEGMENT);
	is_str(name, "0000002A00000001000000FF", "a segment's file name");
	pgha_wal_file_name(name, 1, 5, 1024 * 1024 * 1024);
	is_str(name, "000000010000000100000001", "with segments of 1 GB");
}

int
main(void)
{
	test_lines();
	test_ends();
	test_names();
	return done_testing();
}
