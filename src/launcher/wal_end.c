/*
 * wal_end.c
 *	  Arithmetic of WAL positions, for jobs_wal.c and its test.
 */
#include <stdio.h>
#include <string.h>

#include "launcher/wal_end.h"

#define WAL_ALIGN 8
#define WAL_LEN_FIELD "len (rec/tot):"
#define WAL_LSN_FIELD ", lsn: "

bool
pgha_wal_parse_line(const char *line, HaWalRecord *record)
{
	const char *len = strstr(line, WAL_LEN_FIELD);
	const char *lsn = len ? strstr(len, WAL_LSN_FIELD) : NULL;
	unsigned int main_len;
	unsigned int total_len;
	unsigned int high;
	unsigned int low;

	if (strncmp(line, "rmgr: ", 6) != 0 || !lsn ||
		sscanf(len + strlen(WAL_LEN_FIELD), " %u/ %u", &main_len,
			   &total_len) != 2 ||
		sscanf(lsn + strlen(WAL_LSN_FIELD), "%X/%X", &high, &low) != 2)
		return false;
	record->lsn = ((HaLsn) high << 32) | low;
	record->total_len = total_len;
	record->is_switch = strncmp(line, "rmgr: XLOG ", 11) == 0 &&
		strstr(lsn, "desc: SWITCH") != NULL;
	return true;
}

HaLsn
pgha_wal_record_end(const HaWalRecord *record, uint32_t segment_size)
{
	HaLsn		pos = record->lsn;
	uint64_t	left = record->total_len;

	if (record->is_switch)
		return pos - pos % segment_size + segment_size;
	for (;;)
	{
		HaLsn		page_end = pos - pos % HA_WAL_PAGE + HA_WAL_PAGE;

		if (left <= page_end - pos)
			break;
		left -= page_end - pos;
		pos = page_end + (page_end % segment_size == 0 ?
						  HA_WAL_LONG_HEADER : HA_WAL_SHORT_HEADER);
	}
	pos += left;
	return (pos + WAL_ALIGN - 1) / WAL_ALIGN * WAL_ALIGN;
}

void
pgha_wal_file_name(char name[HA_WAL_FILE_NAME_SIZE], uint32_t tli,
				   uint64_t segment, uint32_t segment_size)
{
	uint64_t	per_id = (UINT64_C(1) << 32) / segment_size;

	snprintf(name, HA_WAL_FILE_NAME_SIZE, "%08X%08X%08X", tli,
			 (unsigned int) (segment / per_id),
			 (unsigned int) (segment % per_id));
}
