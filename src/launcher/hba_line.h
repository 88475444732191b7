/*
 * hba_line.h
 *	  A line of pg_hba.conf or pg_ident.conf: whether the server would take it.
 *
 * A server that finds one bad line refuses the whole file, and does not start.
 * The launcher can't ask it, so this looks at what PostgreSQL's hba.c looks at:
 * the kind of connection, the number of fields, address, mask, method, and that
 * options are name=value.  It knows methods, not what each needs.
 */
#ifndef PGHA_HBA_LINE_H
#define PGHA_HBA_LINE_H

#include <stdbool.h>

extern int	pgha_hba_fields(const char *line);

/* False with why (HA_WHY_MAX bytes).  Empty lines and comments are fine. */
extern bool pgha_hba_line_check(const char *line, char *why);
extern bool pgha_ident_line_check(const char *line, char *why);

#endif							/* PGHA_HBA_LINE_H */
