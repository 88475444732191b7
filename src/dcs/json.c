/*
 * json.c
 *	  Reading JSON that others wrote, and writing ours.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dcs/json.h"

bool
pgha_why(char *why, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(why, HA_WHY_MAX, format, args);
	va_end(args);
	return false;
}

json_t *
pgha_json_load(const char *text, size_t len, char *why)
{
	json_error_t error;
	json_t	   *root;

	if (len > HA_DOCUMENT_MAX)
	{
		pgha_why(why, "is larger than %d bytes", HA_DOCUMENT_MAX);
		return NULL;
	}
	root = json_loadb(text ? text : "", text ? len : 0, JSON_DECODE_ANY,
					  &error);
	if (root == NULL)
		pgha_why(why, "is not JSON: %.120s at byte %d", error.text,
				 error.position);
	return root;
}

/* The whole string is one decimal number. */
static bool
text_number(const char *text, uint64_t *number)
{
	char	   *end;
	long long	value;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*number = (uint64_t) value;
	return true;
}

bool
pgha_json_number(const json_t *value, uint64_t *number)
{
	double		real;

	if (json_is_integer(value) && json_integer_value(value) >= 0)
	{
		*number = (uint64_t) json_integer_value(value);
		return true;
	}
	if (json_is_string(value))
		return text_number(json_string_value(value), number);
	if (!json_is_real(value))
		return false;

	/* a double is exact up to 2^53 */
	real = json_real_value(value);
	if (!(real >= 0 && real <= 9007199254740992.0))
		return false;
	*number = (uint64_t) real;
	return (double) *number == real;
}

static bool
text_bool(const char *text, bool *flag)
{
	static const char *const yes[] = {"on", "true", "yes", "1"};
	static const char *const no[] = {"off", "false", "no", "0"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
	{
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0)
		{
			*flag = strcasecmp(text, yes[i]) == 0;
			return true;
		}
	}
	return false;
}

bool
pgha_json_bool(const json_t *value, bool *flag)
{
	if (json_is_boolean(value))
		*flag = json_is_true(value);
	else if (json_is_string(value))
		return text_bool(json_string_value(value), flag);
	else if (json_is_integer(value) && json_integer_value(value) >= 0 &&
			 json_integer_value(value) <= 1)
		*flag = json_integer_value(value) == 1;
	else
		return false;
	return true;
}

bool
pgha_json_get_number(const json_t *object, const char *field, uint64_t *to)
{
	const json_t *value = json_object_get(object, field);

	return value == NULL || json_is_null(value) ||
		pgha_json_number(value, to);
}

bool
pgha_json_get_bool(const json_t *object, const char *field, bool *to)
{
	const json_t *value = json_object_get(object, field);

	return value == NULL || json_is_null(value) || pgha_json_bool(value, to);
}

bool
pgha_json_get_name(const json_t *object, const char *field, char *to,
				   size_t size)
{
	const json_t *value = json_object_get(object, field);

	if (value == NULL || json_is_null(value))
		return true;
	if (!json_is_string(value) || json_string_length(value) >= size)
		return false;
	strcpy(to, json_string_value(value));
	return true;
}

bool
pgha_json_get_text(const json_t *object, const char *field, char *to,
				   size_t size)
{
	const json_t *value = json_object_get(object, field);

	if (value == NULL || json_is_null(value))
		return true;
	if (!json_is_string(value))
		return false;
	pgha_text_cut(to, size, json_string_value(value));
	return true;
}

void
pgha_text_cut(char *to, size_t size, const char *from)
{
	size_t		len = strnlen(from, size);

	if (len == size)
	{
		/* the byte that would come next must begin a character */
		len = size - 1;
		while (len > 0 && ((unsigned char) from[len] & 0xC0) == 0x80)
			len--;
	}
	memcpy(to, from, len);
	to[len] = '\0';
}

/*
 * Writing
 */

int
pgha_json_set_known_number(json_t *object, const char *field, uint64_t number)
{
	if (number == 0)
		return 0;
	if (number > INT64_MAX)
		return -1;
	return json_object_set_new(object, field,
							   json_integer((json_int_t) number));
}

int
pgha_json_set_number(json_t *object, const char *field, uint64_t number)
{
	if (number > INT64_MAX)
		return -1;
	return json_object_set_new(object, field,
							   json_integer((json_int_t) number));
}

int
pgha_json_set_text(json_t *object, const char *field, const char *text)
{
	return json_object_set_new(object, field, json_string(text));
}

int
pgha_json_set_known_text(json_t *object, const char *field, const char *text)
{
	return text[0] == '\0' ? 0 : pgha_json_set_text(object, field, text);
}

int
pgha_json_set_bool(json_t *object, const char *field, bool flag)
{
	return json_object_set_new(object, field, json_boolean(flag));
}

char *
pgha_json_print(json_t *document)
{
	char	   *text = document ? json_dumps(document, JSON_COMPACT) : NULL;

	json_decref(document);
	return text;
}
