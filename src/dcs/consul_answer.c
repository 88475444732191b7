/*
 * consul_answer.c
 *	  What an HTTP answer of Consul means.
 *
 *		200		as the request's kind has it; any other shape is no answer
 *		404		no such key (only with X-Consul-Index, which a proxy's own
 *				404 lacks: "no key" may start a bootstrap), no such session
 *		409		a transaction's check failed
 *		403		refused by an ACL
 *		400/500	known by text: invalid session, session TTL too low
 *		else	no answer
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/base64.h"
#include "dcs/consul_answer.h"

/* Keep a text for the answer: one line, printable, cut off. */
static void
answer_say(HaConsulParsed *parsed, const char *text)
{
	size_t		len = strnlen(text, HA_CONSUL_TEXT_MAX);

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		parsed->text[i] = c < 0x20 || c == 0x7f ? ' ' : (char) c;
	}
	while (len > 0 && parsed->text[len - 1] == ' ')
		len--;
	parsed->text[len] = '\0';
}

static HaConsulResult
answer_unusable(HaConsulParsed *parsed, const char *text)
{
	answer_say(parsed, text);
	return HA_CONSUL_NO_ANSWER;
}

static bool
json_index(const json_t *object, const char *field, uint64_t *number)
{
	const json_t *value = json_object_get(object, field);

	if (!json_is_integer(value) || json_integer_value(value) <= 0)
		return false;
	*number = (uint64_t) json_integer_value(value);
	return true;
}

/* An absent value is "". */
static bool
json_text(const json_t *object, const char *field, const char **text)
{
	const json_t *value = json_object_get(object, field);

	*text = json_is_string(value) ? json_string_value(value) : "";
	return value == NULL || json_is_null(value) || json_is_string(value);
}

/* One key; its value is decoded to *room, which moves on. */
static bool
parse_key(const json_t *entry, HaConsulKey *key, char **room)
{
	const char *encoded;

	if (!json_is_object(entry) ||
		!json_text(entry, "Key", &key->key) || key->key[0] == '\0' ||
		!json_text(entry, "Session", &key->session) ||
		!json_text(entry, "Value", &encoded) ||
		!json_index(entry, "ModifyIndex", &key->modify_index) ||
		!json_index(entry, "CreateIndex", &key->create_index) ||
		!pgha_base64_decode(encoded, strlen(encoded), *room, &key->value_len))
		return false;
	key->value = *room;
	*room += key->value_len + 1;
	return true;
}

/*
 * An array of keys.  In a transaction's results each is wrapped in {"KV": ...}.
 */
static bool
parse_keys(const json_t *array, const char *wrapper, size_t body_len,
		   HaConsulParsed *parsed, HaConsulAnswer *answer)
{
	size_t		n = json_array_size(array);
	char	   *room;

	parsed->keys = calloc(n + 1, sizeof(HaConsulKey));
	/* values are part of the body, and decoded shorter than encoded */
	parsed->values = room = malloc(pgha_base64_room(body_len) + n + 1);
	if (parsed->keys == NULL || room == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
	{
		const json_t *entry = json_array_get(array, i);

		if (wrapper != NULL)
			entry = json_object_get(entry, wrapper);
		if (!parse_key(entry, &parsed->keys[i], &room))
			return false;
	}
	answer->keys = parsed->keys;
	answer->nkeys = (int) n;
	return true;
}

/*
 * Each key once, as the transaction left it: a check answers with the key as it
 * found it, a later set with the same key and its new index.
 */
static void
keep_last_results(HaConsulParsed *parsed, HaConsulAnswer *answer)
{
	int			kept = 0;

	for (int i = 0; i < answer->nkeys; i++)
	{
		bool		again = false;

		for (int j = i + 1; j < answer->nkeys && !again; j++)
			again = strcmp(parsed->keys[i].key, parsed->keys[j].key) == 0;
		if (!again)
			parsed->keys[kept++] = parsed->keys[i];
	}
	answer->nkeys = kept;
}

static HaConsulResult
interpret_read(const HaHttpAnswer *http, HaConsulParsed *parsed,
			   HaConsulAnswer *answer)
{
	if (http->index == 0)
		return answer_unusable(parsed, "a read without X-Consul-Index");
	answer->index = http->index;
	if (http->status == 404)
		return HA_CONSUL_NOT_FOUND;
	if (!json_is_array(parsed->root) || json_array_size(parsed->root) == 0 ||
		!parse_keys(parsed->root, NULL, http->body_len, parsed, answer))
		return answer_unusable(parsed, "a read that is not a list of keys");
	return HA_CONSUL_OK;
}

/* "true" or "false" */
static HaConsulResult
interpret_flag(HaConsulParsed *parsed)
{
	if (json_is_true(parsed->root))
		return HA_CONSUL_OK;
	if (json_is_false(parsed->root))
		return HA_CONSUL_REFUSED;
	return answer_unusable(parsed, "an answer that is neither true nor false");
}

/* 409: {"Errors": [{"OpIndex": 0, "What": "..."}]} */
static HaConsulResult
interpret_txn_errors(HaConsulParsed *parsed)
{
	const json_t *errors = json_object_get(parsed->root, "Errors");
	const char *what;

	if (json_array_size(errors) == 0 ||
		!json_text(json_array_get(errors, 0), "What", &what))
		return answer_unusable(parsed, "a refusal that names no error");
	answer_say(parsed, what);
	return strstr(what, "invalid session") != NULL ? HA_CONSUL_BAD_SESSION :
		HA_CONSUL_REFUSED;
}

static HaConsulResult
interpret_txn(const HaHttpAnswer *http, int results_min,
			  HaConsulParsed *parsed, HaConsulAnswer *answer)
{
	const json_t *results = json_object_get(parsed->root, "Results");
	const json_t *errors = json_object_get(parsed->root, "Errors");

	if (http->status == 409 || json_array_size(errors) > 0)
		return interpret_txn_errors(parsed);
	if ((!json_is_array(results) && !json_is_null(results)) ||
		json_array_size(results) < (size_t) results_min ||
		json_array_size(results) > HA_CONSUL_TXN_MAX ||
		!parse_keys(results, "KV", http->body_len, parsed, answer))
		return answer_unusable(parsed, "not a transaction's results");
	keep_last_results(parsed, answer);
	return HA_CONSUL_OK;
}

/* {"ID": "..."}; a renewal has it in an array of one. */
static HaConsulResult
interpret_session(HaConsulParsed *parsed)
{
	const json_t *session = parsed->root;
	const char *id;

	if (json_is_array(session))
		session = json_array_get(session, 0);
	if (!json_is_object(session) || !json_text(session, "ID", &id) ||
		id[0] == '\0' || strlen(id) > HA_SESSION_MAX)
		return answer_unusable(parsed, "a session without ID");
	answer_say(parsed, id);
	return HA_CONSUL_OK;
}

/* Nodes of the service "consul", with their checks: all must pass. */
static HaConsulResult
interpret_servers(HaConsulParsed *parsed, HaConsulAnswer *answer)
{
	size_t		i;
	json_t	   *server;

	if (!json_is_array(parsed->root))
		return answer_unusable(parsed, "a list of servers that is none");
	json_array_foreach(parsed->root, i, server)
	{
		bool		passing = true;
		size_t		j;
		json_t	   *check;

		json_array_foreach(json_object_get(server, "Checks"), j, check)
		{
			const char *status =
				json_string_value(json_object_get(check, "Status"));

			passing &= status != NULL && strcmp(status, "passing") == 0;
		}
		answer->servers++;
		answer->servers_passing += passing;
	}
	return HA_CONSUL_OK;
}

/* An answer of a status that says success, or failure in a known shape. */
static HaConsulResult
interpret_json(HaConsulKind kind, int results_min, const HaHttpAnswer *http,
			   HaConsulParsed *parsed, HaConsulAnswer *answer)
{
	json_error_t error;

	if (http->status == 404)
		return kind == HA_CONSUL_READ ?
			interpret_read(http, parsed, answer) : HA_CONSUL_NOT_FOUND;

	parsed->root = json_loadb(http->body, http->body_len, JSON_DECODE_ANY,
							  &error);
	if (parsed->root == NULL)
		return answer_unusable(parsed, "an answer that is not JSON");
	switch (kind)
	{
		case HA_CONSUL_READ:
			return interpret_read(http, parsed, answer);
		case HA_CONSUL_PUT:
		case HA_CONSUL_DELETE:
		case HA_CONSUL_SESSION_DESTROY:
			return interpret_flag(parsed);
		case HA_CONSUL_TXN:
			return interpret_txn(http, results_min, parsed, answer);
		case HA_CONSUL_SESSION_CREATE:
		case HA_CONSUL_SESSION_RENEW:
			return interpret_session(parsed);
		case HA_CONSUL_SERVERS:
			return interpret_servers(parsed, answer);
	}
	return answer_unusable(parsed, "an unknown kind of request");
}

static HaConsulResult
interpret_failure(const HaHttpAnswer *http, HaConsulParsed *parsed)
{
	char		text[HA_CONSUL_TEXT_MAX + 1];

	if (http->status == 403)
	{
		answer_say(parsed, http->body);
		return HA_CONSUL_DENIED;
	}
	if (http->status == 400 || http->status == 500)
	{
		answer_say(parsed, http->body);
		if (strstr(http->body, "invalid session") != NULL)
			return HA_CONSUL_BAD_SESSION;
		if (strstr(http->body, "Invalid Session TTL") != NULL)
			return HA_CONSUL_BAD_TTL;
	}
	snprintf(text, sizeof(text), "HTTP status %d%s%.200s", http->status,
			 http->body_len > 0 ? ": " : "", http->body);
	return answer_unusable(parsed, text);
}

void
pgha_consul_interpret(HaConsulKind kind, int results_min,
					  const HaHttpAnswer *http, HaConsulParsed *parsed,
					  HaConsulAnswer *answer)
{
	bool		known;

	memset(answer, 0, sizeof(*answer));
	answer->sent_at = http->sent_at;
	answer->received_at = http->received_at;
	parsed->text[0] = '\0';
	answer->text = parsed->text;

	known = http->status == 200 ||
		(http->status == 409 && kind == HA_CONSUL_TXN) ||
		(http->status == 404 &&
		 (kind == HA_CONSUL_READ || kind == HA_CONSUL_SESSION_RENEW));
	if (!http->ok)
		answer->result = answer_unusable(parsed, http->error);
	else if (known)
		answer->result = interpret_json(kind, results_min, http, parsed,
										answer);
	else
		answer->result = interpret_failure(http, parsed);

	/* nothing of an answer that was not understood */
	if (answer->result == HA_CONSUL_NO_ANSWER)
	{
		answer->keys = NULL;
		answer->nkeys = 0;
		answer->index = 0;
	}
}

void
pgha_consul_parsed_clear(HaConsulParsed *parsed)
{
	json_decref(parsed->root);
	parsed->root = NULL;
	free(parsed->keys);
	parsed->keys = NULL;
	free(parsed->values);
	parsed->values = NULL;
}
