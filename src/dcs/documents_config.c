/*
 * documents_config.c
 *	  The cluster configuration: the `config` document and its rule.
 *
 * Names, units and tolerance are Patroni's, so that a cluster can move either
 * way; the ranges are pg_ha's.  A value that makes no sense is reported and
 * its default stands; a cluster never stops over one.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/documents.h"
#include "dcs/json.h"

#define DAY_MS (INT64_C(86400) * 1000)

/* the least that leaves a network round trip and a scheduler some room */
#define RETRY_TIMEOUT_MIN_MS 500
#define HEALTH_TIMEOUT_MIN_MS 2000
#define LOOP_WAIT_MIN_MS 100

typedef struct Unit
{
	const char *name;
	double		factor;
} Unit;

/* of PostgreSQL's; in milliseconds */
static const Unit time_units[] = {
	{"us", 0.001}, {"ms", 1}, {"s", 1000}, {"min", 60000},
	{"h", 3600000}, {"d", 86400000}, {NULL, 0}
};

static const Unit byte_units[] = {
	{"B", 1}, {"kB", 1024.0}, {"MB", 1048576.0}, {"GB", 1073741824.0},
	{"TB", 1099511627776.0}, {NULL, 0}
};

typedef struct Quantity
{
	const char *name;
	const char *old_name;		/* Patroni's before 3.0, or NULL */
	size_t		offset;			/* in HaTimeouts */
	int64_t		fallback;
	int64_t		min;
	int64_t		max;
	const Unit *units;
	double		factor;			/* of a number without unit */
} Quantity;

enum
{
	QUANTITY_TTL,
	QUANTITY_LOOP_WAIT,
	QUANTITY_RETRY_TIMEOUT,
	QUANTITY_START_TIMEOUT,
	QUANTITY_STOP_TIMEOUT,
	QUANTITY_SLOTS_TTL,
	QUANTITY_HEALTH_TIMEOUT,
	QUANTITY_MAXIMUM_LAG,
	QUANTITIES
};

static const Quantity quantities[QUANTITIES] = {
	[QUANTITY_TTL] = {"ttl", NULL, offsetof(HaTimeouts, ttl_ms),
	10000, 2000, DAY_MS, time_units, 1000},
	[QUANTITY_LOOP_WAIT] = {"loop_wait", NULL,
		offsetof(HaTimeouts, loop_wait_ms),
	1000, LOOP_WAIT_MIN_MS, DAY_MS, time_units, 1000},
	[QUANTITY_RETRY_TIMEOUT] = {"retry_timeout", NULL,
		offsetof(HaTimeouts, retry_timeout_ms),
	3000, RETRY_TIMEOUT_MIN_MS, DAY_MS, time_units, 1000},
	[QUANTITY_START_TIMEOUT] = {"primary_start_timeout",
		"master_start_timeout", offsetof(HaTimeouts, primary_start_timeout_ms),
	300000, 0, 30 * DAY_MS, time_units, 1000},
	[QUANTITY_STOP_TIMEOUT] = {"primary_stop_timeout",
		"master_stop_timeout", offsetof(HaTimeouts, primary_stop_timeout_ms),
	30000, 0, 30 * DAY_MS, time_units, 1000},
	[QUANTITY_SLOTS_TTL] = {"member_slots_ttl", NULL,
		offsetof(HaTimeouts, member_slots_ttl_ms),
	30 * 60000, 0, 3650 * DAY_MS, time_units, 1000},
	[QUANTITY_HEALTH_TIMEOUT] = {"health_timeout", NULL,
		offsetof(HaTimeouts, health_timeout_ms),
	10000, HEALTH_TIMEOUT_MIN_MS, DAY_MS, time_units, 1000},
	[QUANTITY_MAXIMUM_LAG] = {"maximum_lag_on_failover", NULL,
		offsetof(HaTimeouts, maximum_lag_on_failover),
	1048576, 0, INT64_C(1) << 62, byte_units, 1},
};

/*
 * Quantities
 */

static int64_t *
quantity_slot(HaTimeouts *timeouts, const Quantity *quantity)
{
	return (int64_t *) ((char *) timeouts + quantity->offset);
}

/* Remember the first thing that is wrong. */
#define complain(why, ...) \
	do { if ((why)[0] == '\0') pgha_why(why, __VA_ARGS__); } while (0)

static double
unit_factor(const Unit *units, const char *name, double otherwise)
{
	if (name[0] == '\0')
		return otherwise;
	for (; units->name != NULL; units++)
	{
		if (strcmp(units->name, name) == 0)
			return units->factor;
	}
	return -1;
}

/* "10s", " 1.5 min", "1MB"; decimal only: strtod takes hex and "inf" too */
static bool
quantity_text(const Quantity *quantity, const char *text, double *value)
{
	char		unit[8];
	size_t		len;
	char	   *end;
	double		factor;

	text += strspn(text, " \t");
	len = strspn(text, "0123456789.");
	if (len == 0 || len > 20)
		return false;
	*value = strtod(text, &end);
	if (end != text + len)
		return false;
	end += strspn(end, " \t");
	len = strcspn(end, " \t");
	if (len >= sizeof(unit) || end[len + strspn(end + len, " \t")] != '\0')
		return false;
	memcpy(unit, end, len);
	unit[len] = '\0';
	factor = unit_factor(quantity->units, unit, quantity->factor);
	*value *= factor;
	return factor > 0;
}

static bool
quantity_value(const Quantity *quantity, const json_t *json, int64_t *to)
{
	double		value;

	if (json_is_number(json))
		value = json_number_value(json) * quantity->factor;
	else if (!json_is_string(json) ||
			 !quantity_text(quantity, json_string_value(json), &value))
		return false;
	if (!(value >= (double) quantity->min && value <= (double) quantity->max))
		return false;
	*to = (int64_t) (value + 0.5);
	return true;
}

static const json_t *
quantity_find(const json_t *document, const Quantity *quantity)
{
	const json_t *value = json_object_get(document, quantity->name);

	if ((value == NULL || json_is_null(value)) && quantity->old_name != NULL)
		value = json_object_get(document, quantity->old_name);
	return json_is_null(value) ? NULL : value;
}

/* Whether the document says something usable. */
static bool
quantity_read(const json_t *document, const Quantity *quantity,
			  HaTimeouts *timeouts, char *why)
{
	const json_t *value = quantity_find(document, quantity);

	if (value == NULL)
		return false;
	if (quantity_value(quantity, value, quantity_slot(timeouts, quantity)))
		return true;
	complain(why, quantity->units == time_units ?
			 "%s must be between %g and %g seconds" :
			 "%s must be between %g and %g bytes",
			 quantity->name, (double) quantity->min / quantity->factor,
			 (double) quantity->max / quantity->factor);
	return false;
}

/*
 * The rule: loop_wait + 2 * retry_timeout + margin <= ttl
 *
 * A leader that misses one heartbeat for retry_timeout, and once more, must be
 * able to land the next before its lease is over.
 */

static bool
rule_holds(const HaTimeouts *t)
{
	return t->loop_wait_ms + 2 * t->retry_timeout_ms +
		pgha_lease_margin_ms(t->ttl_ms) <= t->ttl_ms;
}

static int64_t
at_least(int64_t value, int64_t least)
{
	return value > least ? value : least;
}

/* Lower loop_wait to what is left of ttl, but not under `least`. */
static void
lower_loop_wait(HaTimeouts *t, int64_t least)
{
	int64_t		left = t->ttl_ms - pgha_lease_margin_ms(t->ttl_ms) -
		2 * t->retry_timeout_ms;

	if (t->loop_wait_ms > left && t->loop_wait_ms > least)
		t->loop_wait_ms = at_least(left, least);
}

static void
lower_retry_timeout(HaTimeouts *t, int64_t least)
{
	int64_t		left = (t->ttl_ms - pgha_lease_margin_ms(t->ttl_ms) -
						t->loop_wait_ms) / 2;

	if (t->retry_timeout_ms > left && t->retry_timeout_ms > least)
		t->retry_timeout_ms = at_least(left, least);
}

/*
 * Keep ttl and fit the others under it.  A default gives way before what
 * somebody asked for, and silently; loop_wait before retry_timeout, down to a
 * sixth of ttl.  Within the ranges this always succeeds: at ttl 2 s there is
 * room for 333 ms and twice 798 ms.
 */
static void
rule_apply(HaTimeouts *t, bool loop_wait_asked, bool retry_timeout_asked,
		   char *why)
{
	int64_t		loop_least = at_least(t->ttl_ms / 6, LOOP_WAIT_MIN_MS);
	HaTimeouts	asked = *t;

	if (rule_holds(t))
		return;
	if (!retry_timeout_asked && loop_wait_asked)
		lower_retry_timeout(t, RETRY_TIMEOUT_MIN_MS);
	lower_loop_wait(t, loop_least);
	lower_retry_timeout(t, RETRY_TIMEOUT_MIN_MS);

	if ((loop_wait_asked && t->loop_wait_ms != asked.loop_wait_ms) ||
		(retry_timeout_asked && t->retry_timeout_ms != asked.retry_timeout_ms))
		complain(why, "loop_wait + 2 * retry_timeout + %g s must not exceed "
				 "ttl %g s; loop_wait %g s and retry_timeout %g s are used",
				 (double) pgha_lease_margin_ms(t->ttl_ms) / 1000,
				 (double) t->ttl_ms / 1000, (double) t->loop_wait_ms / 1000,
				 (double) t->retry_timeout_ms / 1000);
}

/*
 * The document
 */

static void
read_timeouts(const json_t *document, HaTimeouts *timeouts, char *why)
{
	bool		asked[QUANTITIES];

	pgha_timeouts_default(timeouts);
	for (int i = 0; i < QUANTITIES; i++)
		asked[i] = quantity_read(document, &quantities[i], timeouts, why);

	/* 0 is Patroni's "wait for ever", which nothing does here */
	if (timeouts->primary_stop_timeout_ms == 0)
		timeouts->primary_stop_timeout_ms =
			quantities[QUANTITY_STOP_TIMEOUT].fallback;
	rule_apply(timeouts, asked[QUANTITY_LOOP_WAIT],
			   asked[QUANTITY_RETRY_TIMEOUT], why);
}

static void
read_flag(const json_t *object, const char *field, bool *flag, char *why)
{
	if (!pgha_json_get_bool(object, field, flag))
		complain(why, "%s must be true or false", field);
}

/* An object whose values are scalars: settings of the server. */
static json_t *
read_parameters(const json_t *postgresql, char *why)
{
	json_t	   *parameters = json_object_get(postgresql, "parameters");
	const char *name;
	json_t	   *value;

	if (parameters == NULL || json_is_null(parameters))
		return NULL;
	if (!json_is_object(parameters))
	{
		complain(why, "postgresql.parameters must be an object");
		return NULL;
	}
	json_object_foreach(parameters, name, value)
	{
		if (json_is_object(value) || json_is_array(value))
			complain(why, "postgresql.parameters.%.63s must be a single value",
					 name);
	}
	return parameters;
}

static json_t *
read_lines(const json_t *postgresql, const char *field, char *why)
{
	json_t	   *lines = json_object_get(postgresql, field);
	json_t	   *line;
	size_t		i;
	bool		ok;

	if (lines == NULL || json_is_null(lines))
		return NULL;
	ok = json_is_array(lines);
	json_array_foreach(lines, i, line)
		ok &= json_is_string(line);
	if (ok)
		return lines;
	complain(why, "postgresql.%s must be an array of strings", field);
	return NULL;
}

/* Everything of a document that is an object; borrows from it. */
static void
read_config(json_t *document, HaConfigDoc *config, char *why)
{
	json_t	   *postgresql = json_object_get(document, "postgresql");

	read_timeouts(document, &config->timeouts, why);
	read_flag(document, "pause", &config->pause, why);
	config->failsafe_mode = true;
	read_flag(document, "failsafe_mode", &config->failsafe_mode, why);
	config->use_slots = true;
	config->use_pg_rewind = true;
	if (postgresql == NULL || json_is_null(postgresql))
		return;
	if (!json_is_object(postgresql))
	{
		complain(why, "postgresql must be an object");
		return;
	}
	read_flag(postgresql, "use_slots", &config->use_slots, why);
	read_flag(postgresql, "use_pg_rewind", &config->use_pg_rewind, why);
	config->parameters = read_parameters(postgresql, why);
	config->pg_hba = read_lines(postgresql, "pg_hba", why);
	config->pg_ident = read_lines(postgresql, "pg_ident", why);
}

void
pgha_timeouts_default(HaTimeouts *timeouts)
{
	memset(timeouts, 0, sizeof(*timeouts));
	for (int i = 0; i < QUANTITIES; i++)
		*quantity_slot(timeouts, &quantities[i]) = quantities[i].fallback;
}

bool
pgha_config_parse(const char *text, size_t len, HaConfigDoc *config,
				  char *why)
{
	memset(config, 0, sizeof(*config));
	why[0] = '\0';
	config->document = pgha_json_load(text, len, why);
	if (config->document == NULL)
		return false;
	if (!json_is_object(config->document))
	{
		pgha_config_free(config);
		return pgha_why(why, "is not an object");
	}
	read_config(config->document, config, why);
	return true;
}

void
pgha_config_free(HaConfigDoc *config)
{
	json_decref(config->document);
	config->document = NULL;
	config->parameters = config->pg_hba = config->pg_ident = NULL;
}

bool
pgha_config_check(json_t *document, char *why)
{
	HaConfigDoc config = {0};
	char	   *text;
	size_t		len;

	why[0] = '\0';
	if (!json_is_object(document))
		return pgha_why(why, "the configuration must be an object");
	text = json_dumps(document, JSON_COMPACT);
	len = text ? strlen(text) : 0;
	free(text);
	if (len == 0 || len > HA_DOCUMENT_MAX)
		return pgha_why(why, "the configuration is larger than %d bytes",
						HA_DOCUMENT_MAX);
	read_config(document, &config, why);
	return why[0] == '\0';
}

json_t *
pgha_json_merge_patch(json_t *target, json_t *patch)
{
	json_t	   *merged;
	const char *name;
	json_t	   *value;

	if (!json_is_object(patch))
		return json_incref(patch);
	merged = json_is_object(target) ? json_copy(target) : pgha_json_object();
	json_object_foreach(patch, name, value)
	{
		if (json_is_null(value))
			json_object_del(merged, name);
		else
			json_object_set_new(merged, name,
								pgha_json_merge_patch(json_object_get(merged,
																	  name),
													  value));
	}
	return merged;
}
