/*
 * peer.h
 *	  Requests of a member to another's launcher: POSTs, with the node's REST
 *	  credentials (HTTP basic authentication).
 */
#ifndef PGHA_PEER_H
#define PGHA_PEER_H

#include <jansson.h>

#include "dcs/http.h"

/*
 * The value of the Authorization header for a user whose password is the first
 * line of a file; malloc'd, "" if there is no user.  NULL with why set: the
 * file can't be read, or no memory.
 */
extern char *pgha_credentials(const char *user, const char *password_file,
							  char *why);

/* Compare in a time that says nothing of where they differ. */
extern bool pgha_credentials_match(const char *expected, const char *given);

/*
 * POST a JSON object (stolen; NULL = no body) to `path` of the member whose
 * api_url is given.  An id of pgha_http_start, or 0: could not be started.
 */
extern int	pgha_peer_post(HaHttp *http, const char *api_url, const char *path,
						   json_t *body, const char *credentials,
						   int timeout_ms, HaHttpCallback callback, void *arg);

#endif							/* PGHA_PEER_H */
