/*
 * consul_request.c
 *	  How a request to Consul is spelt: its URL, a transaction's operations.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/base64.h"
#include "dcs/consul_request.h"
#include "dcs/json.h"

/*
 * URLs
 */

void
pgha_url_add(UrlText *url, const char *format,...)
{
	size_t		room = sizeof(url->data) - url->len;
	va_list		args;
	int			n;

	va_start(args, format);
	n = vsnprintf(url->data + url->len, room, format, args);
	va_end(args);
	if (n < 0 || (size_t) n >= room)
		url->overflow = true;
	else
		url->len += (size_t) n;
}

void
pgha_url_add_escaped(UrlText *url, const char *text, char keep)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *text != '\0' && !url->overflow; text++)
	{
		if (*text == keep || strchr(plain, *text) != NULL)
			pgha_url_add(url, "%c", *text);
		else
			pgha_url_add(url, "%%%02X", (unsigned char) *text);
	}
}

bool
pgha_url_is_valid(const char *url)
{
	const char *host;

	if (strncmp(url, "http://", 7) == 0)
		host = url + 7;
	else if (strncmp(url, "https://", 8) == 0)
		host = url + 8;
	else
		return false;
	return host[0] != '\0' && strchr("/:?#", host[0]) == NULL &&
		strpbrk(host, "?#\"<>\\^`{|}") == NULL &&
		strlen(url) <= HA_ADDRESS_MAX;
}

/*
 * Transactions
 */

static const char *
verb_name(HaTxnVerb verb)
{
	switch (verb)
	{
		case HA_TXN_SET:
			return "set";
		case HA_TXN_CAS:
			return "cas";
		case HA_TXN_LOCK:
			return "lock";
		case HA_TXN_UNLOCK:
			return "unlock";
		case HA_TXN_DELETE:
			return "delete";
		case HA_TXN_DELETE_CAS:
			return "delete-cas";
		case HA_TXN_CHECK_INDEX:
			return "check-index";
		case HA_TXN_CHECK_SESSION:
			return "check-session";
		case HA_TXN_CHECK_NOT_EXISTS:
			return "check-not-exists";
		case HA_TXN_GET:
			return "get";
	}
	return NULL;
}

bool
pgha_consul_has_result(HaTxnVerb verb)
{
	return verb == HA_TXN_SET || verb == HA_TXN_CAS || verb == HA_TXN_LOCK ||
		verb == HA_TXN_UNLOCK || verb == HA_TXN_GET;
}

static bool
verb_has_index(HaTxnVerb verb)
{
	return verb == HA_TXN_CAS || verb == HA_TXN_DELETE_CAS ||
		verb == HA_TXN_CHECK_INDEX;
}

json_t *
pgha_consul_operation(const HaTxnOp *op)
{
	json_t	   *kv = pgha_json_object();
	char	   *value;
	int			failed = 0;

	failed |= json_object_set_new(kv, "Verb",
								  json_string(verb_name(op->verb)));
	failed |= json_object_set_new(kv, "Key", json_string(op->key));
	if (op->value != NULL)
	{
		value = pgha_base64_encode(op->value, op->value_len > 0 ?
								   op->value_len : strlen(op->value));
		failed |= json_object_set_new(kv, "Value", json_string(value));
		free(value);
	}
	if (op->session != NULL)
		failed |= json_object_set_new(kv, "Session", json_string(op->session));
	if (verb_has_index(op->verb))
		failed |= json_object_set_new(kv, "Index",
									  json_integer((json_int_t) op->index));
	if (failed)
	{
		json_decref(kv);
		return NULL;
	}
	return json_pack("{s:o}", "KV", kv);
}
