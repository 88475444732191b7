/*
 * worker_config.c
 *	  The commands that show and change the cluster's configuration: the
 *	  `config` key, a JSON object with Patroni's names.
 *
 *		{"command": "show_config"}
 *		{"command": "edit_config", "patch": ..., "dry_run": bool}	RFC 7396
 *		{"command": "set_config", "config": ..., "dry_run": bool}
 *		{"command": "pause"}, {"command": "resume"}
 *
 * A change is checked against what this server knows of its settings, and
 * written only if the key is still the one it was made from; when somebody else
 * was faster, it is made again from what they wrote.
 */
#include "worker_private.h"

#include "compat.h"

#include "core/owned.h"
#include "dcs/json.h"
#include "dcs/parameters.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* how often a change is made again because others write as well */
#define CONFIG_ATTEMPTS 5

/* a pause is in force, or is over, when the leader's next heartbeat has landed */
#define CONFIG_PAUSE_MS 10000

#define CONFIG_PATH_MAX 256

typedef enum ConfigStep
{
	CONFIG_MAKE,
	CONFIG_WRITING,
	CONFIG_WRITTEN,				/* until this member has read it */
	CONFIG_OVERTAKEN,			/* until it has read what the others wrote */
	CONFIG_EFFECT,				/* of a pause */
} ConfigStep;

/* ------------------------------------------------------------------------
 * The key itself
 * ------------------------------------------------------------------------
 */

/* Write down, once, that somebody deleted the key. */
void
worker_config_look(HaWorker *worker)
{
	uint64_t	index;

	(void) pgha_brain_config(worker->brain, &index);
	if (index == 0 && worker->config_seen != 0)
		worker_event(worker, 0, "configuration deleted",
					 "the config key is gone from Consul; what it said stays "
					 "in force, and the leader writes it again", false);
	worker->config_seen = index;
}

/* ------------------------------------------------------------------------
 * What a change changes
 * ------------------------------------------------------------------------
 */

static bool
config_needs_restart(const char *path)
{
	static const char prefix[] = "postgresql.parameters.";
	const struct config_generic *setting;

	if (strncmp(path, prefix, strlen(prefix)) != 0)
		return false;
	setting = pgha_guc_find(path + strlen(prefix));
	return setting != NULL && setting->context == PGC_POSTMASTER;
}

static void
config_diff(const char *path, json_t *old, json_t *new, json_t *rows)
{
	const char *name;
	json_t	   *value;
	char		below[CONFIG_PATH_MAX];

	if (json_equal(old, new))
		return;
	if (!json_is_object(old) && !json_is_object(new))
	{
		json_array_append_new(rows,
							  json_pack("{s:s, s:O*, s:O*, s:b}", "path", path,
										"old", old, "new", new,
										"needs_restart",
										config_needs_restart(path)));
		return;
	}
	json_object_foreach(old, name, value)
	{
		snprintf(below, sizeof(below), "%s%s%s", path,
				 path[0] != '\0' ? "." : "", name);
		config_diff(below, value, json_object_get(new, name), rows);
	}
	json_object_foreach(new, name, value)
	{
		if (json_object_get(old, name) != NULL)
			continue;
		snprintf(below, sizeof(below), "%s%s%s", path,
				 path[0] != '\0' ? "." : "", name);
		config_diff(below, NULL, value, rows);
	}
}

/* ------------------------------------------------------------------------
 * Checking a parameter against this server
 * ------------------------------------------------------------------------
 */

/* What the server itself would say; it changes nothing. */
static void
config_ask_server(HaCommand *command, const char *name, const char *value)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *error;

	PG_TRY();
	{
		(void) set_config_option(name, value, PGC_POSTMASTER, PGC_S_FILE,
								 GUC_ACTION_SET, false, ERROR, false);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		worker_command_fail(command, unpack_sql_state(error->sqlerrcode),
							error->hint != NULL ? error->hint :
							"Nothing was changed.",
							"postgresql.parameters: %s%s%s", error->message,
							error->detail != NULL ? ": " : "",
							error->detail != NULL ? error->detail : "");
	}
	PG_END_TRY();
}

static void
config_check_setting(HaCommand *command, const char *name, const char *value)
{
	if (pgha_owner(name) != HA_OWNER_USER)
		worker_command_fail(command, "42501",
							"Leave it out; nothing was changed.",
							"\"%s\" can't be set for the cluster: %s", name,
							pgha_owned_why(name));
	else if (strchr(name, '.') == NULL && pgha_guc_find(name) == NULL)
		worker_command_fail(command, "42704",
							"Nothing was changed; see pg_settings for what this server knows.",
							"unrecognized configuration parameter \"%s\"",
							name);
	else
		config_ask_server(command, name, value);
}

/* What is no single value was refused before. */
static void
config_check_parameter(HaCommand *command, const json_t *parameters,
					   const char *name, const json_t *value)
{
	const char *now = name;
	char	   *text = pgha_parameter_text(value);
	char		note[HA_WHY_MAX];
	HaParameterKind kind;

	if (text == NULL)
		return;
	kind = pgha_parameter_translate(PG_VERSION_NUM, parameters, &now, &text,
									note);
	if (note[0] != '\0')
		worker_command_notice(command, "%s: %s", name, note);
	if (kind == HA_PARAMETER_AS_IS || kind == HA_PARAMETER_TRANSLATED)
		config_check_setting(command, now, text);
	free(text);
}

/* Only what is new: what an older server accepted does not bar a change. */
static void
config_check(HaCommand *command, json_t *old, json_t *new)
{
	json_t	   *old_server = json_object_get(old, "postgresql");
	json_t	   *new_server = json_object_get(new, "postgresql");
	json_t	   *before = json_object_get(old_server, "parameters");
	json_t	   *after = json_object_get(new_server, "parameters");
	const char *name;
	json_t	   *value;
	char		why[HA_WHY_MAX];

	if (!pgha_config_check(new, why))
	{
		worker_command_fail(command, "22023", "Nothing was changed.", "%s", why);
		return;
	}
	json_object_foreach(after, name, value)
	{
		if (!json_equal(value, json_object_get(before, name)))
			config_check_parameter(command, after, name, value);
	}
	worker_check_rules(command, old_server, new_server);
}

/* ------------------------------------------------------------------------
 * The change
 * ------------------------------------------------------------------------
 */

static bool
config_is(const HaCommand *command, const char *name)
{
	return strcmp(command->kind->name, name) == 0;
}

/* The document that is to be, or NULL after a failure. */
static json_t *
config_wanted(HaCommand *command, json_t *old)
{
	json_t	   *given = json_object_get(command->request,
										config_is(command, "set_config") ?
										"config" : "patch");
	json_t	   *patch;
	json_t	   *new;

	if (config_is(command, "pause") || config_is(command, "resume"))
		patch = config_is(command, "pause") ?
			json_pack("{s:b}", "pause", 1) : json_pack("{s:n}", "pause");
	else if (json_is_object(given))
		patch = json_incref(given);
	else
	{
		worker_command_fail(command, "22023",
							"For example: '{\"postgresql\": {\"parameters\": {\"work_mem\": \"8MB\"}}}'",
							"the configuration must be a JSON object");
		return NULL;
	}
	new = config_is(command, "set_config") ? json_incref(patch) :
		pgha_json_merge_patch(old, patch);
	json_decref(patch);
	return new;
}

static void
config_written(void *arg, const HaConsulAnswer *answer)
{
	HaCommand  *command = arg;

	command->http_id = 0;
	command->worker->round_due = 0;
	if (answer->result == HA_CONSUL_OK)
		command->step = CONFIG_WRITTEN;
	else if (answer->result == HA_CONSUL_REFUSED)
		command->step = CONFIG_OVERTAKEN;
	else if (answer->result == HA_CONSUL_DENIED)
		worker_command_fail(command, "42501",
							"Its policy must allow to write the key \"config\"; nothing was changed.",
							"Consul denies access to this node's token");
	else
		worker_command_fail(command, "08006",
							"See pg_ha_show_config() when Consul answers again.",
							"Consul did not answer: whether the configuration was changed is not known");
}

static void
config_write(HaCommand *command, json_t *new, uint64_t index)
{
	HaWorker   *worker = command->worker;
	char		key[300];
	char	   *text = json_dumps(new, JSON_COMPACT);

	snprintf(key, sizeof(key), "%sconfig", worker->prefix);
	json_object_set_new(command->memory, "index",
						json_integer((json_int_t) index));
	command->step = CONFIG_WRITING;
	if (text != NULL)
		command->http_id =
			pgha_consul_put(worker->consul, key, text, strlen(text),
							(int64_t) index, (int)
							worker->view.timeouts.retry_timeout_ms,
							config_written, command);
	free(text);
	if (command->http_id == 0)
		worker_command_fail(command, "53000", "Try again.",
							"too many requests to Consul are under way; nothing was changed");
}

static void
config_make(HaCommand *command)
{
	uint64_t	index;
	const HaConfigDoc *config = pgha_brain_config(command->worker->brain,
												  &index);
	json_t	   *new;
	json_t	   *rows = json_array();

	new = config_wanted(command, config->document);
	if (new != NULL)
	{
		config_check(command, config->document, new);
		config_diff("", config->document, new, rows);
	}
	json_decref(command->memory);
	command->memory = json_pack("{s:o}", "rows", rows);
	if (command->outcome != NULL)
		 /* refused */ ;
	else if (json_array_size(rows) == 0)
		command->step = CONFIG_EFFECT;
	else if (json_is_true(json_object_get(command->request, "dry_run")))
		worker_command_answer(command, json_incref(rows));
	else
	{
		if (index == 0)
			worker_command_notice(command, "the configuration was deleted in "
								  "Consul; what was in force is written again, "
								  "with this change");
		config_write(command, new, index);
	}
	json_decref(new);
}

/* This member has read something newer than what the change was made from. */
static bool
config_moved_on(const HaCommand *command)
{
	uint64_t	index;

	(void) pgha_brain_config(command->worker->brain, &index);
	return (json_int_t) index !=
		json_integer_value(json_object_get(command->memory, "index"));
}

static void
config_overtaken(HaCommand *command)
{
	if (!config_moved_on(command))
		return;
	if (++command->attempts >= CONFIG_ATTEMPTS)
		worker_command_fail(command, "40001", "Nothing was changed; try again.",
							"others change the configuration at the same time");
	command->step = CONFIG_MAKE;
}

/* A pause is the leader's word in its lease, not that of the configuration. */
static void
config_effect(HaCommand *command)
{
	HaWorker   *worker = command->worker;
	bool		wanted = config_is(command, "pause");
	bool		paused = pgha_brain_lease(worker->brain)->seen.lease.paused;
	bool		late = pgha_now() > command->begun_at +
		CONFIG_PAUSE_MS * HA_NS_PER_MS;

	if (!wanted && !config_is(command, "resume"))
		worker_command_answer(command, json_incref(json_object_get(command->memory, "rows")));
	else if (paused == wanted)
		worker_command_answer(command, json_true());
	else if (late)
	{
		worker_command_notice(command, "the configuration says so; the leader has not confirmed it yet");
		worker_command_answer(command, json_false());
	}
}

void
worker_config_run(HaWorker *worker, HaCommand *command)
{
	uint64_t	index;

	if (pgha_brain_config(worker->brain, &index) == NULL)
	{
		worker_command_fail(command, "55000",
							"See \"consul\" in pg_ha_status().",
							"this member has not read the cluster's configuration yet");
		return;
	}
	switch ((ConfigStep) command->step)
	{
		case CONFIG_MAKE:
			config_make(command);
			break;
		case CONFIG_WRITING:
			break;
		case CONFIG_WRITTEN:
			if (config_moved_on(command))
				command->step = CONFIG_EFFECT;
			break;
		case CONFIG_OVERTAKEN:
			config_overtaken(command);
			break;
		case CONFIG_EFFECT:
			config_effect(command);
			break;
	}
}

void
worker_config_show(HaWorker *worker, HaCommand *command)
{
	uint64_t	index;
	const HaConfigDoc *config = pgha_brain_config(worker->brain, &index);

	if (config == NULL)
		worker_command_fail(command, "55000",
							"See \"consul\" in pg_ha_status().",
							"this member has not read the cluster's configuration yet");
	else
		worker_command_answer(command, json_incref(config->document));
}
