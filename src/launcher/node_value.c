/*
 * node_value.c
 *	  One value of a node setting against the table.
 */
#ifndef _GNU_SOURCE
#endif

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "launcher/node_private.h"

/* an unknown name that differs by more letters is nobody's misspelling */
#define SUGGEST_DISTANCE_MAX 4
#define SUGGEST_NAME_MAX 64

typedef struct Unit
{
	const char *name;
	double		ms;
} Unit;

static const Unit units[] = {
	{"us", 0.001}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000},
	{"d", 86400000}
};

bool
pgha_node_fail(HaNodeError *error, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	return false;
}

bool
pgha_node_hint(HaNodeError *error, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(error->hint, sizeof(error->hint), format, args);
	va_end(args);
	return false;
}

static char *
duplicate(const char *text, HaNodeError *error)
{
	char	   *copy = strdup(text);

	if (!copy)
		pgha_node_fail(error, "out of memory");
	return copy;
}

/* As the server takes booleans: unique prefixes, any case. */
static char *
value_bool(const HaSetting *setting, const char *text, HaNodeError *error)
{
	size_t		len = strlen(text);

	if (len > 0 && (strncasecmp(text, "true", len) == 0 ||
					strncasecmp(text, "yes", len) == 0 ||
					strcasecmp(text, "on") == 0 || strcmp(text, "1") == 0))
		return duplicate("on", error);
	if (len > 0 && (strncasecmp(text, "false", len) == 0 ||
					strncasecmp(text, "no", len) == 0 ||
					(len > 1 && strncasecmp(text, "off", len) == 0) ||
					strcmp(text, "0") == 0))
		return duplicate("off", error);
	pgha_node_fail(error, "parameter \"%s\" requires a Boolean value, "
				   "not \"%.80s\"", setting->name, text);
	pgha_node_hint(error, "Allowed are on and off.");
	return NULL;
}

static char *
value_enum(const HaSetting *setting, const char *text, HaNodeError *error)
{
	size_t		len = 0;

	for (int i = 0; setting->values[i]; i++)
		if (strcasecmp(setting->values[i], text) == 0)
			return duplicate(setting->values[i], error);
	pgha_node_fail(error, "invalid value for parameter \"%s\": \"%.80s\"",
				   setting->name, text);
	pgha_node_hint(error, "Allowed are ");
	for (int i = 0; setting->values[i]; i++)
	{
		len = strlen(error->hint);
		snprintf(error->hint + len, sizeof(error->hint) - len, "%s%s",
				 setting->values[i], setting->values[i + 1] ? ", " : ".");
	}
	return NULL;
}

/* The factor of what follows a number; false: no unit that is known. */
static bool
unit_factor(const HaSetting *setting, const char *unit, double *factor)
{
	size_t		len;

	while (isspace((unsigned char) *unit))
		unit++;
	len = strlen(unit);
	while (len > 0 && isspace((unsigned char) unit[len - 1]))
		len--;
	*factor = 1;
	if (len == 0)
		return true;
	for (size_t i = 0; setting->unit && i < sizeof(units) / sizeof(units[0]);
		 i++)
		if (strlen(units[i].name) == len &&
			memcmp(units[i].name, unit, len) == 0)
		{
			*factor = units[i].ms;
			return true;
		}
	return false;
}

static char *
value_int(const HaSetting *setting, const char *text, HaNodeError *error)
{
	char	   *rest;
	double		number = strtod(text, &rest);
	double		factor;
	char		result[32];

	if (rest == text || !isfinite(number) ||
		!unit_factor(setting, rest, &factor))
	{
		pgha_node_fail(error, "invalid value for parameter \"%s\": \"%.80s\"",
					   setting->name, text);
		if (setting->unit)
			pgha_node_hint(error, "A number is expected, with one of the "
						   "units us, ms, s, min, h, d (default: %s).",
						   setting->unit);
		else
			pgha_node_hint(error, "A number is expected.");
		return NULL;
	}
	number = rint(number * factor);
	if (number < (double) setting->min || number > (double) setting->max)
	{
		pgha_node_fail(error, "%.80s is outside the valid range for parameter "
					   "\"%s\"", text, setting->name);
		pgha_node_hint(error, "Allowed is %" PRId64 " to %" PRId64 "%s%s.",
					   setting->min, setting->max, setting->unit ? " " : "",
					   setting->unit ? setting->unit : "");
		return NULL;
	}
	snprintf(result, sizeof(result), "%" PRId64, (int64_t) number);
	return duplicate(result, error);
}

static char *
value_string(const HaSetting *setting, const char *text, HaNodeError *error)
{
	for (const char *c = text; *c; c++)
	{
		if ((unsigned char) *c >= ' ' && *c != 0x7f)
			continue;
		pgha_node_fail(error, "parameter \"%s\" contains a control character",
					   setting->name);
		return NULL;
	}
	return duplicate(text, error);
}

char *
pgha_node_value(const HaSetting *setting, const char *text, HaNodeError *error)
{
	switch (setting->type)
	{
		case HA_SETTING_BOOL:
			return value_bool(setting, text, error);
		case HA_SETTING_INT:
			return value_int(setting, text, error);
		case HA_SETTING_ENUM:
			return value_enum(setting, text, error);
		case HA_SETTING_STRING:
			break;
	}
	return value_string(setting, text, error);
}

static int
min3(int a, int b, int c)
{
	int			least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance, without regard to case; b is at most 64 long. */
static int
edit_distance(const char *a, const char *b)
{
	int			row[SUGGEST_NAME_MAX + 1];
	size_t		len = strlen(b);

	if (len > SUGGEST_NAME_MAX)
		return INT16_MAX;
	for (size_t j = 0; j <= len; j++)
		row[j] = (int) j;
	for (size_t i = 0; a[i]; i++)
	{
		int			diagonal = row[0];

		row[0] = (int) i + 1;
		for (size_t j = 1; j <= len; j++)
		{
			int			above = row[j];
			int			change = tolower((unsigned char) a[i]) !=
				tolower((unsigned char) b[j - 1]);

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + change);
			diagonal = above;
		}
	}
	return row[len];
}

void
pgha_node_unknown(const char *name, HaNodeError *error)
{
	int			n;
	const HaSetting *settings = pgha_settings(&n);
	const char *nearest = NULL;
	int			best = SUGGEST_DISTANCE_MAX + 1;

	for (int i = 0; i < n; i++)
	{
		int			distance = strlen(name) > SUGGEST_NAME_MAX ? INT16_MAX :
			edit_distance(name, settings[i].name);

		if (distance < best)
		{
			best = distance;
			nearest = settings[i].name;
		}
	}
	pgha_node_fail(error, "unrecognized setting \"%.100s\"", name);
	if (nearest)
		pgha_node_hint(error, "Perhaps you meant \"%s\".", nearest);
	else
		pgha_node_hint(error,
					   "pg_ha_launcher --settings-table lists all settings.");
}
