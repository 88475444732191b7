/*
 * consul_request.h
 *	  How a request to Consul is spelt: its URL, a transaction's operations.
 *
 * Private to the Consul client.
 */
#ifndef PGHA_CONSUL_REQUEST_H
#define PGHA_CONSUL_REQUEST_H

#include "dcs/consul.h"

#define HA_URL_MAX 4096

/* A text that grows up to HA_URL_MAX; too long marks it unusable. */
typedef struct UrlText
{
	char		data[HA_URL_MAX];
	size_t		len;
	bool		overflow;
} UrlText;

extern void pgha_url_add(UrlText *url, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/* `keep` is a character left as it is besides those that always are. */
extern void pgha_url_add_escaped(UrlText *url, const char *text, char keep);

/* scheme://host[:port][/path], as far as it must be right to be sent to */
extern bool pgha_url_is_valid(const char *url);

/* {"KV": {...}}; NULL: no memory, or a key that is not UTF-8. */
extern json_t *pgha_consul_operation(const HaTxnOp *op);

/* Operations that write or read a key answer with it; others need not. */
extern bool pgha_consul_has_result(HaTxnVerb verb);

#endif							/* PGHA_CONSUL_REQUEST_H */
