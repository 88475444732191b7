/*
 * conf.c
 *	  postgresql.conf's syntax: reading it, and writing values into it.
 *
 * Source: PostgreSQL's guc-file.l.
 *
 *		line	= [ name [ "=" ] value ] [ comment ]
 *		name	= id { "." id }
 *		value	= 'string' | number[unit] | word
 */
#ifndef _GNU_SOURCE
#endif

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dcs/json.h"
#include "launcher/conf.h"

/* the rest of a line */
typedef struct ConfInput
{
	const char *at;
	const char *end;
} ConfInput;

static bool
is_letter(char c)
{
	return isalpha((unsigned char) c) || c == '_' || (unsigned char) c >= 0x80;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_id(char c)
{
	return is_letter(c) || is_digit(c) || c == '$';
}

static bool
is_word(char c)
{
	return is_letter(c) || is_digit(c) || (c != '\0' && strchr("-._:/$", c));
}

static void
skip_blanks(ConfInput *input)
{
	while (input->at < input->end && strchr(" \t\r", *input->at) &&
		   *input->at != '\0')
		input->at++;
}

static bool
at_end(const ConfInput *input)
{
	return input->at == input->end || *input->at == '#';
}

static char
peek(const ConfInput *input, size_t ahead)
{
	return (size_t) (input->end - input->at) > ahead ? input->at[ahead] : '\0';
}

/* The length of a name at the input's begin; 0 = there is none. */
static size_t
scan_name(const ConfInput *input)
{
	size_t		len = 0;

	for (;;)
	{
		if (!is_letter(peek(input, len)))
			return 0;
		while (is_id(peek(input, len)))
			len++;
		if (peek(input, len) != '.')
			return len;
		len++;
	}
}

static size_t
scan_digits(const ConfInput *input, size_t from)
{
	size_t		len = from;

	while (is_digit(peek(input, len)))
		len++;
	return len - from;
}

/* [+-]digits[unit], [+-]0xhex[unit], [+-]digits.digits[e[+-]digits][unit] */
static size_t
scan_number(const ConfInput *input)
{
	size_t		len = peek(input, 0) == '-' || peek(input, 0) == '+';
	size_t		digits;

	if (peek(input, len) == '0' && peek(input, len + 1) == 'x')
	{
		for (len += 2; isxdigit((unsigned char) peek(input, len)); len++)
			;
	}
	else
	{
		digits = scan_digits(input, len);
		len += digits;
		if (peek(input, len) == '.')
		{
			digits += scan_digits(input, len + 1);
			len += 1 + scan_digits(input, len + 1);
		}
		if (digits == 0)
			return 0;
		if (toupper((unsigned char) peek(input, len)) == 'E')
		{
			size_t		sign = peek(input, len + 1) == '-' ||
				peek(input, len + 1) == '+';

			if (scan_digits(input, len + 1 + sign) > 0)
				len += 1 + sign + scan_digits(input, len + 1 + sign);
		}
	}
	while (isalpha((unsigned char) peek(input, len)))
		len++;
	return len;
}

static size_t
scan_plain_value(const ConfInput *input)
{
	size_t		len = 0;

	if (!is_letter(peek(input, 0)))
		return scan_number(input);
	while (is_word(peek(input, len)))
		len++;
	return len;
}

/* The length of '...' with its quotes; 0 = its end is missing. */
static size_t
scan_string(const ConfInput *input)
{
	size_t		max = (size_t) (input->end - input->at);

	for (size_t len = 1; len < max; len++)
	{
		if (input->at[len] == '\\')
		{
			if (++len == max)
				return 0;
		}
		else if (input->at[len] == '\'')
		{
			if (peek(input, len + 1) != '\'')
				return len + 1;
			len++;
		}
	}
	return 0;
}

/* One \-escape at *at, behind the backslash; returns the character. */
static char
unescape(const char **at)
{
	int			octal = 0;
	int			n;

	switch (**at)
	{
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			break;
	}
	for (n = 0; n < 3 && (*at)[n] >= '0' && (*at)[n] <= '7'; n++)
		octal = octal * 8 + ((*at)[n] - '0');
	if (n == 0)
		return **at;
	*at += n - 1;
	return (char) octal;
}

/* The inside of a string that scan_string accepted. */
static char *
unquote(const char *string, size_t len)
{
	const char *end = string + len - 1;
	char	   *value = malloc(len);
	char	   *to = value;

	if (!value)
		return NULL;
	for (const char *at = string + 1; at < end; at++)
	{
		if (*at == '\\')
		{
			at++;
			*to++ = unescape(&at);
		}
		else
		{
			*to++ = *at;
			at += *at == '\'';
		}
	}
	*to = '\0';
	return value;
}

static HaConfKind
bad(char *why, const char *what, const ConfInput *input)
{
	int			len = (int) (input->end - input->at);

	if (len > 40)
		len = 40;
	pgha_why(why, "%s near \"%.*s\"", what, len, input->at);
	return HA_CONF_BAD;
}

static HaConfKind
conf_value(ConfInput *input, char **value, char *why)
{
	bool		quoted = peek(input, 0) == '\'';
	size_t		len = quoted ? scan_string(input) : scan_plain_value(input);
	ConfInput	rest = {input->at + len, input->end};

	if (quoted && len == 0)
		return bad(why, "unterminated string", input);
	if (at_end(input))
	{
		pgha_why(why, "value is missing");
		return HA_CONF_BAD;
	}
	skip_blanks(&rest);
	if (len == 0 || !at_end(&rest))
		return bad(why, quoted ? "text after the value" :
				   "syntax error in value (it may need single quotes)",
				   quoted ? &rest : input);
	*value = quoted ? unquote(input->at, len) : strndup(input->at, len);
	return HA_CONF_SETTING;
}

HaConfKind
pgha_conf_line(const char *line, size_t len, HaConfEntry *entry, char *why)
{
	ConfInput	input = {line, line + len};
	const char *name;
	size_t		name_len;
	HaConfKind	kind;

	entry->name = NULL;
	entry->value = NULL;
	if (memchr(line, '\0', len))
	{
		pgha_why(why, "line contains a zero byte");
		return HA_CONF_BAD;
	}
	skip_blanks(&input);
	if (at_end(&input))
		return HA_CONF_EMPTY;
	name = input.at;
	name_len = scan_name(&input);
	if (name_len == 0)
		return bad(why, "syntax error in name", &input);
	input.at += name_len;
	skip_blanks(&input);
	if (peek(&input, 0) == '=')
		input.at++;
	else if (input.at == name + name_len && !at_end(&input) &&
			 *input.at != '\'')
		return bad(why, "syntax error in name", &input);
	skip_blanks(&input);
	kind = conf_value(&input, &entry->value, why);
	if (kind != HA_CONF_SETTING)
		return kind;
	entry->name = strndup(name, name_len);
	if (entry->name && entry->value)
		return kind;
	free(entry->name);
	free(entry->value);
	entry->name = entry->value = NULL;
	pgha_why(why, "out of memory");
	return HA_CONF_BAD;
}

static bool
conf_append(HaConf *conf, const HaConfEntry *entry)
{
	HaConfEntry *entries = conf->entries;

	if (conf->nentries == conf->size)
	{
		int			size = conf->size ? conf->size * 2 : 32;

		entries = realloc(entries, (size_t) size * sizeof(*entries));
		if (!entries)
			return false;
		conf->entries = entries;
		conf->size = size;
	}
	entries[conf->nentries++] = *entry;
	return true;
}

bool
pgha_conf_parse(const char *text, size_t len, HaConf *conf, int *line,
				char *why)
{
	const char *end = text + len;
	HaConfEntry entry;

	*line = 0;
	for (const char *at = text; at < end; at++)
	{
		const char *eol = memchr(at, '\n', (size_t) (end - at));
		HaConfKind	kind;

		if (!eol)
			eol = end;
		entry.line = ++*line;
		kind = pgha_conf_line(at, (size_t) (eol - at), &entry, why);
		if (kind == HA_CONF_BAD)
			return false;
		if (kind == HA_CONF_SETTING && !conf_append(conf, &entry))
		{
			free(entry.name);
			free(entry.value);
			return pgha_why(why, "out of memory");
		}
		at = eol;
	}
	return true;
}

void
pgha_conf_free(HaConf *conf)
{
	for (int i = 0; i < conf->nentries; i++)
	{
		free(conf->entries[i].name);
		free(conf->entries[i].value);
	}
	free(conf->entries);
	memset(conf, 0, sizeof(*conf));
}

const char *
pgha_conf_get(const HaConf *conf, const char *name)
{
	for (int i = conf->nentries - 1; i >= 0; i--)
		if (strcasecmp(conf->entries[i].name, name) == 0)
			return conf->entries[i].value;
	return NULL;
}

bool
pgha_conf_name_valid(const char *name)
{
	ConfInput	input = {name, name + strlen(name)};

	return input.at < input.end && scan_name(&input) == strlen(name);
}

void
pgha_conf_quote(HaBuffer *buffer, const char *value)
{
	pgha_buffer_add(buffer, "'");
	for (const char *c = value; *c; c++)
	{
		switch (*c)
		{
			case '\'':
				pgha_buffer_add(buffer, "''");
				break;
			case '\\':
				pgha_buffer_add(buffer, "\\\\");
				break;
			case '\n':
				pgha_buffer_add(buffer, "\\n");
				break;
			default:
				pgha_buffer_add_bytes(buffer, c, 1);
				break;
		}
	}
	pgha_buffer_add(buffer, "'");
}
