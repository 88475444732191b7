/*
 * dcs_client.c
 *	  The Consul client by hand, for tests: a command a line in, a JSON object
 *	  a line out.
 *
 * usage: dcs_client URLS [TOKEN [DATACENTER]]
 *
 *		["read", PREFIX, CONSISTENT, TIMEOUT_MS]
 *		["key", KEY, CONSISTENT, TIMEOUT_MS]
 *		["watch", PREFIX, INDEX, WAIT_MS, TIMEOUT_MS]
 *		["put", KEY, VALUE, CAS, TIMEOUT_MS]
 *		["delete", KEY, CAS, TIMEOUT_MS]
 *		["txn", [[VERB, KEY, VALUE, SESSION, INDEX], ...], TIMEOUT_MS]
 *		["create", NAME, TTL_MS, LOCK_DELAY_MS, TIMEOUT_MS]
 *		["renew", SESSION, TIMEOUT_MS]
 *		["destroy", SESSION, TIMEOUT_MS]
 *		["memory"]			largest size of this process, in KB
 *
 * An array of such commands under ["both", ...] is started together; the
 * answers come as they come.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "dcs/consul.h"

#define DRAIN_MS 60000
#define LINE_BYTES (1024 * 1024)

static HaConsul *consul;

static const char *const result_names[] = {
	[HA_CONSUL_OK] = "OK",
	[HA_CONSUL_NOT_FOUND] = "NOT_FOUND",
	[HA_CONSUL_REFUSED] = "REFUSED",
	[HA_CONSUL_BAD_SESSION] = "BAD_SESSION",
	[HA_CONSUL_BAD_TTL] = "BAD_TTL",
	[HA_CONSUL_DENIED] = "DENIED",
	[HA_CONSUL_NO_ANSWER] = "NO_ANSWER",
};

static const char *const verb_names[] = {
	[HA_TXN_SET] = "set",
	[HA_TXN_CAS] = "cas",
	[HA_TXN_LOCK] = "lock",
	[HA_TXN_UNLOCK] = "unlock",
	[HA_TXN_DELETE] = "delete",
	[HA_TXN_DELETE_CAS] = "delete-cas",
	[HA_TXN_CHECK_INDEX] = "check-index",
	[HA_TXN_CHECK_SESSION] = "check-session",
	[HA_TXN_CHECK_NOT_EXISTS] = "check-not-exists",
	[HA_TXN_GET] = "get",
};

static void
say(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT);
	printf("\n");
	fflush(stdout);
	json_decref(object);
}

static void
answered(void *arg, const HaConsulAnswer *answer)
{
	json_t	   *keys = json_array();

	for (int i = 0; i < answer->nkeys; i++)
	{
		const HaConsulKey *key = &answer->keys[i];

		json_array_append_new(keys, json_pack("{s:s, s:o, s:s, s:I, s:I}",
											  "key", key->key, "value",
											  json_stringn_nocheck(key->value,
																   key->value_len),
											  "session", key->session,
											  "modify_index",
											  (json_int_t) key->modify_index,
											  "length",
											  (json_int_t) key->value_len));
	}
	say(json_pack("{s:s, s:o, s:I, s:s, s:i, s:s, s:I}",
				  "result", result_names[answer->result], "keys", keys,
				  "index", (json_int_t) answer->index,
				  "text", answer->text, "retry", answer->retry_after_ms,
				  "endpoint", pgha_consul_endpoint(consul), "ms",
				  (json_int_t) ((answer->received_at - answer->sent_at) /
								HA_NS_PER_MS)));
}

/* Argument i of a command; 0 or NULL if it isn't of that type. */
static const char *
text_of(json_t *command, size_t i)
{
	return json_string_value(json_array_get(command, i));
}

static long long
number_of(json_t *command, size_t i)
{
	return json_integer_value(json_array_get(command, i));
}

static int
start_txn(json_t *command)
{
	json_t	   *list = json_array_get(command, 1);
	HaTxnOp		ops[HA_CONSUL_TXN_MAX + 1] = {0};
	int			nops = (int) json_array_size(list);

	for (int i = 0; i < nops && i <= HA_CONSUL_TXN_MAX; i++)
	{
		json_t	   *op = json_array_get(list, (size_t) i);

		while (strcmp(verb_names[ops[i].verb], text_of(op, 0)) != 0)
			ops[i].verb++;
		ops[i].key = text_of(op, 1);
		ops[i].value = text_of(op, 2);
		ops[i].session = text_of(op, 3);
		ops[i].index = (uint64_t) number_of(op, 4);
	}
	return pgha_consul_txn(consul, ops, nops, (int) number_of(command, 2),
						   answered, NULL);
}

static int
start_key_command(const char *name, json_t *c)
{
	const char *key = text_of(c, 1);
	const char *value = text_of(c, 2);

	if (strcmp(name, "read") == 0)
		return pgha_consul_read_prefix(consul, key,
									   json_is_true(json_array_get(c, 2)),
									   (int) number_of(c, 3), answered, NULL);
	if (strcmp(name, "key") == 0)
		return pgha_consul_read_key(consul, key,
									json_is_true(json_array_get(c, 2)),
									(int) number_of(c, 3), answered, NULL);
	if (strcmp(name, "watch") == 0)
		return pgha_consul_watch_prefix(consul, key,
										(uint64_t) number_of(c, 2),
										(int) number_of(c, 3),
										(int) number_of(c, 4), answered, NULL);
	if (strcmp(name, "put") == 0)
		return pgha_consul_put(consul, key, value, strlen(value),
							   number_of(c, 3), (int) number_of(c, 4),
							   answered, NULL);
	return pgha_consul_delete(consul, key, number_of(c, 2),
							  (int) number_of(c, 3), answered, NULL);
}

static int
start(json_t *c)
{
	const char *name = text_of(c, 0);

	if (strcmp(name, "txn") == 0)
		return start_txn(c);
	if (strcmp(name, "create") == 0)
		return pgha_consul_session_create(consul, text_of(c, 1),
										  (int) number_of(c, 2),
										  (int) number_of(c, 3),
										  (int) number_of(c, 4),
										  answered, NULL);
	if (strcmp(name, "renew") == 0)
		return pgha_consul_session_renew(consul, text_of(c, 1),
										 (int) number_of(c, 2), answered,
										 NULL);
	if (strcmp(name, "destroy") == 0)
		return pgha_consul_session_destroy(consul, text_of(c, 1),
										   (int) number_of(c, 2), answered,
										   NULL);
	return start_key_command(name, c);
}

static void
run(json_t *command)
{
	const char *name = text_of(command, 0);
	struct rusage usage;

	if (strcmp(name, "memory") == 0)
	{
		getrusage(RUSAGE_SELF, &usage);
		say(json_pack("{s:I}", "memory", (json_int_t) usage.ru_maxrss));
		return;
	}
	if (strcmp(name, "both") == 0)
	{
		for (size_t i = 1; i < json_array_size(command); i++)
			start(json_array_get(command, i));
	}
	else if (start(command) == 0)
		say(json_pack("{s:s}", "result", "NOT_STARTED"));
	if (!pgha_http_drain(pgha_consul_http(consul), DRAIN_MS))
		say(json_pack("{s:s}", "result", "NOT_DRAINED"));
}

int
main(int argc, char **argv)
{
	HaConsulConfig config = {0};
	const char *error;
	char	   *line = malloc(LINE_BYTES);

	config.urls = argc > 1 ? argv[1] : NULL;
	config.token = argc > 2 ? argv[2] : NULL;
	config.datacenter = argc > 3 ? argv[3] : NULL;
	consul = pgha_consul_create(&config, &error);
	if (consul == NULL)
	{
		say(json_pack("{s:s}", "error", error));
		free(line);
		return 1;
	}
	while (fgets(line, LINE_BYTES, stdin) != NULL)
	{
		json_t	   *command = json_loads(line, 0, NULL);

		run(command);
		json_decref(command);
	}
	pgha_consul_free(consul);
	free(line);
	return 0;
}
