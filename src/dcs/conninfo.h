/*
 * conninfo.h
 *	  How a node connects to another one.
 */
#ifndef PGHA_CONNINFO_H
#define PGHA_CONNINFO_H

#include "core/types.h"

#define HA_CONNINFO_MAX 1024

/* Split "host:port", "[v6]:port"; false if it is malformed. */
extern bool pgha_address_split(const char *address, char *host, size_t size,
							   int *port);

/* Host and port of "postgres://host:port/..."; false if it is malformed. */
extern bool pgha_conn_url_split(const char *conn_url, char *host, size_t size,
								int *port);

/*
 * A libpq conninfo string for `user` of the member at conn_url, passwords from
 * passfile.  dbname NULL: for streaming.  False: malformed URL or too long.
 * A dead peer is noticed within seconds (tcp_user_timeout, keepalives).
 */
extern bool pgha_conninfo(const char *conn_url, const char *user,
						  const char *passfile, const char *application_name,
						  const char *dbname, char *conninfo);

#endif							/* PGHA_CONNINFO_H */
