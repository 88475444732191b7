/*
 * What cppcheck must know of PostgreSQL, whose headers it does not read: at
 * ERROR and above, ereport and elog do not return, and an LSN is printed as
 * two numbers.
 */
#define ERROR 21
#define FATAL 22
#define PANIC 23
#define ereport(elevel, ...) do { if ((elevel) >= ERROR) abort(); } while (0)
#define elog(elevel, ...) do { if ((elevel) >= ERROR) abort(); } while (0)
#define PG_MODULE_MAGIC
#define PG_FUNCTION_INFO_V1(function)
#define LSN_FORMAT_ARGS(lsn) (unsigned) ((lsn) >> 32), (unsigned) (lsn)
