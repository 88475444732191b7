/*
 * brain_config.c
 *	  The config key, written again after somebody deleted it.
 *
 * A leader that finds it absent puts back what is in force: what it read last,
 * else what this node kept of it, else an empty object, which means the
 * defaults.  Only if it is still absent: whoever writes one meanwhile wins.
 */
#include "dcs/brain_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* a failed write is tried again after at least so long */
#define BRAIN_CONFIG_RETRY_MS 1000

static void
brain_config_written(void *arg, const HaConsulAnswer *answer)
{
	HaBrain    *brain = arg;

	brain->config_write.id = 0;
	brain->config_write.due = pgha_now() +
		BRAIN_CONFIG_RETRY_MS * HA_NS_PER_MS;
	brain_answered(brain, answer);
	if (answer->result == HA_CONSUL_OK)
		brain_report(brain, HA_REPORT_INFO, "the config key was written again");
}

/* malloc'd; NULL: it is there and can't be read, or no memory */
static char *
brain_config_kept(const HaBrain *brain)
{
	char		path[sizeof(brain->state_dir) + 16];
	char		why[HA_WHY_MAX];
	bool		missing;
	size_t		len;
	char	   *text;

	snprintf(path, sizeof(path), "%s/config.json", brain->state_dir);
	text = pgha_file_read(path, HA_DOCUMENT_MAX, &len, &missing, why);
	return text == NULL && missing ? strdup("{}") : text;
}

void
brain_restore_config(HaBrain *brain)
{
	char		key[BRAIN_KEY_MAX];
	char	   *text;

	if (!brain->known || brain->config_index != 0 ||
		brain->config_write.id != 0 || pgha_now() < brain->config_write.due)
		return;
	text = brain->config_valid ?
		json_dumps(brain->configuration.document, JSON_COMPACT) :
		brain_config_kept(brain);
	brain_key(brain, "config", key);
	if (text != NULL)
		brain->config_write.id =
			pgha_consul_put(brain->config.consul, key, text, strlen(text), 0,
							brain_timeout_ms(brain), brain_config_written,
							brain);
	free(text);
	if (brain->config_write.id == 0)
		brain->config_write.due = pgha_now() +
			BRAIN_CONFIG_RETRY_MS * HA_NS_PER_MS;
}
