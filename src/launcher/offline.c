/*
 * offline.c
 *	  What works from Consul alone, also when no PostgreSQL runs.
 */
#include "launcher/launcher.h"

#include "dcs/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFFLINE_TIMEOUT_MS 5000

typedef struct OfflineRead
{
	bool		done;
	bool		ok;
	char		why[HA_WHY_MAX];
	int			nmembers;
	HaMember	members[HA_MEMBERS_MAX];
	HaStatusDoc status;
	char		leader[HA_NAME_MAX + 1];
	char	   *config;			/* NULL = absent */
	size_t		config_len;
	uint64_t	config_index;
} OfflineRead;

HaConsul *
launcher_open_consul(const HaNode *node, char *why)
{
	HaConsulConfig config;
	const char *error = NULL;
	const char *ca = pgha_node_get(node, "pg_ha.consul_ca_file");
	const char *cert = pgha_node_get(node, "pg_ha.consul_cert_file");
	const char *key = pgha_node_get(node, "pg_ha.consul_key_file");
	const char *datacenter = pgha_node_get(node, "pg_ha.consul_datacenter");
	HaConsul   *consul;

	memset(&config, 0, sizeof(config));
	config.urls = node->consul_urls;
	config.token = node->consul_token;
	config.datacenter = datacenter[0] != '\0' ? datacenter : NULL;
	config.tls.ca_file = ca[0] != '\0' ? ca : NULL;
	config.tls.cert_file = cert[0] != '\0' ? cert : NULL;
	config.tls.key_file = key[0] != '\0' ? key : NULL;
	consul = pgha_consul_create(&config, &error);
	if (consul == NULL)
		snprintf(why, HA_WHY_MAX, "could not set up the Consul client: %s",
				 error != NULL ? error : "unknown");
	return consul;
}

static void
offline_take_key(OfflineRead *read, const char *name, const HaConsulKey *key)
{
	char		why[HA_WHY_MAX];

	if (strcmp(name, "leader") == 0)
		snprintf(read->leader, sizeof(read->leader), "%s", key->value);
	else if (strcmp(name, "status") == 0)
		(void) pgha_status_parse(key->value, key->value_len, &read->status,
								 why);
	else if (strcmp(name, "config") == 0)
	{
		read->config = strdup(key->value);
		read->config_len = key->value_len;
		read->config_index = key->modify_index;
	}
	else if (strncmp(name, "members/", 8) == 0 &&
			 read->nmembers < HA_MEMBERS_MAX &&
			 pgha_member_parse(name + 8, key->value, key->value_len,
							   &read->members[read->nmembers], why))
		read->nmembers++;
}

typedef struct OfflineRequest
{
	OfflineRead *read;
	const char *prefix;
} OfflineRequest;

static void
offline_answered(void *arg, const HaConsulAnswer *answer)
{
	OfflineRequest *request = arg;
	OfflineRead *read = request->read;
	size_t		len = strlen(request->prefix);
	int			i;

	read->done = true;
	read->ok = answer->result == HA_CONSUL_OK ||
		answer->result == HA_CONSUL_NOT_FOUND;
	snprintf(read->why, sizeof(read->why), "%s",
			 answer->text != NULL ? answer->text : "no answer");
	for (i = 0; read->ok && i < answer->nkeys; i++)
		offline_take_key(read, answer->keys[i].key + len, &answer->keys[i]);
}

/* Read the folder; false after saying what is wrong. */
static bool
offline_read(const HaNode *node, HaConsul **consul, OfflineRead *read)
{
	OfflineRequest request = {read, node->consul_prefix};
	char		why[HA_WHY_MAX];

	memset(read, 0, sizeof(*read));
	*consul = launcher_open_consul(node, why);
	if (*consul == NULL)
	{
		fprintf(stderr, "pg_ha_launcher: %s\n", why);
		return false;
	}
	(void) pgha_consul_read_prefix(*consul, node->consul_prefix, true,
								   OFFLINE_TIMEOUT_MS, offline_answered,
								   &request);
	(void) pgha_http_drain(pgha_consul_http(*consul), OFFLINE_TIMEOUT_MS + 500);
	if (read->ok)
		return true;
	fprintf(stderr, "pg_ha_launcher: Consul does not answer: %s\n"
			"hint: check pg_ha.consul_urls (\"%s\") and the token\n",
			read->why, node->consul_urls);
	return false;
}

static bool
offline_member_well(const OfflineRead *read, const HaMember *member)
{
	if (strcmp(member->name, read->leader) == 0)
		return member->running && member->role == HA_ROLE_PRIMARY;
	return member->running && member->streaming;
}

int
launcher_status(const HaNode *node)
{
	static OfflineRead read;
	HaConsul   *consul;
	int			well = 0;
	bool		led = false;
	int			i;

	if (!offline_read(node, &consul, &read))
		return 2;
	printf("cluster %s, leader %s, term %llu\n", node->scope,
		   read.leader[0] != '\0' ? read.leader : "none",
		   (unsigned long long) read.status.lease.term);
	printf("%-16s %-8s %-20s %8s %16s %s\n", "member", "role", "state",
		   "timeline", "lsn", "address");
	for (i = 0; i < read.nmembers; i++)
	{
		const HaMember *member = &read.members[i];
		bool		leads = strcmp(member->name, read.leader) == 0;

		printf("%-16s %-8s %-20s %8u %7X/%08X %s\n", member->name,
			   leads ? "leader" : "replica",
			   member->streaming ? "streaming" : member->state, member->tli,
			   (unsigned) (member->lsn >> 32), (unsigned) member->lsn,
			   member->conn_url);
		led |= leads && member->running;
		well += offline_member_well(&read, member) ? 1 : 0;
	}
	pgha_consul_free(consul);
	if (!led)
		return 2;
	return well == read.nmembers ? 0 : 1;
}

int
launcher_show_config(const HaNode *node)
{
	static OfflineRead read;
	HaConsul   *consul;
	json_t	   *document;

	if (!offline_read(node, &consul, &read))
		return 2;
	pgha_consul_free(consul);
	document = read.config != NULL ?
		json_loadb(read.config, read.config_len, 0, NULL) : NULL;
	if (document == NULL)
	{
		fprintf(stderr, "pg_ha_launcher: the cluster has no %s configuration\n",
				read.config != NULL ? "readable" : "");
		return 1;
	}
	json_dumpf(document, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(document);
	return 0;
}

static void
offline_written(void *arg, const HaConsulAnswer *answer)
{
	OfflineRead *read = arg;

	read->done = true;
	read->ok = answer->result == HA_CONSUL_OK;
	snprintf(read->why, sizeof(read->why), "%s",
			 answer->result == HA_CONSUL_REFUSED ?
			 "somebody else changed it meanwhile, try again" :
			 answer->text != NULL ? answer->text : "no answer");
}

/* The patch applied and checked; NULL after saying what is wrong. */
static json_t *
offline_patched(const OfflineRead *read, const char *file)
{
	json_error_t error;
	json_t	   *patch = strcmp(file, "-") == 0 ?
		json_loadf(stdin, JSON_REJECT_DUPLICATES, &error) :
		json_load_file(file, JSON_REJECT_DUPLICATES, &error);
	json_t	   *old = read->config != NULL ?
		json_loadb(read->config, read->config_len, 0, NULL) : NULL;
	json_t	   *document;
	char		why[HA_WHY_MAX] = "";

	if (!json_is_object(patch))
	{
		fprintf(stderr, "pg_ha_launcher: %s: line %d: %s\n", file,
				patch != NULL ? 1 : error.line,
				patch != NULL ? "not a JSON object" : error.text);
		return NULL;
	}
	if (old == NULL)
		old = pgha_json_object();
	document = pgha_json_merge_patch(old, patch);
	json_decref(old);
	json_decref(patch);
	if (document == NULL || !pgha_config_check(document, why))
	{
		fprintf(stderr, "pg_ha_launcher: not written: %s\n", why);
		json_decref(document);
		return NULL;
	}
	return document;
}

int
launcher_edit_config(const HaNode *node, const char *file)
{
	static OfflineRead read;
	HaConsul   *consul;
	json_t	   *document;
	char	   *text;
	char		key[512];

	if (!offline_read(node, &consul, &read))
		return 2;
	document = offline_patched(&read, file);
	if (document == NULL)
		return 1;
	text = json_dumps(document, JSON_COMPACT);
	snprintf(key, sizeof(key), "%sconfig", node->consul_prefix);
	(void) pgha_consul_put(consul, key, text, strlen(text),
						   (int64_t) read.config_index, OFFLINE_TIMEOUT_MS,
						   offline_written, &read);
	read.ok = false;
	(void) pgha_http_drain(pgha_consul_http(consul), OFFLINE_TIMEOUT_MS + 500);
	free(text);
	pgha_consul_free(consul);
	if (!read.ok)
	{
		fprintf(stderr, "pg_ha_launcher: could not write the configuration: %s\n",
				read.why);
		return 1;
	}
	json_dumpf(document, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(document);
	return 0;
}
