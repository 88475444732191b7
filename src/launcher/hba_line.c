/*
 * hba_line.c
 *	  A line of pg_hba.conf or pg_ident.conf: whether the server would take it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pg_config.h"

#include "dcs/json.h"
#include "launcher/hba_line.h"

#define FIELD_MAX 256
#define FIELDS_IDENT 3

typedef enum LineKind
{
	LINE_LOCAL,
	LINE_HOST,
	LINE_HOSTSSL,
} LineKind;

static const struct
{
	const char *name;
	LineKind	kind;
}			kinds[] =
{
	{"local", LINE_LOCAL}, {"host", LINE_HOST}, {"hostssl", LINE_HOSTSSL},
	{"hostnossl", LINE_HOST}, {"hostgssenc", LINE_HOST},
	{"hostnogssenc", LINE_HOST},
};

static const char *const methods[] = {
	"trust", "reject", "scram-sha-256", "md5", "password", "peer", "ident",
	"gss", "pam", "ldap", "radius", "cert",
#if PG_VERSION_NUM >= 180000
	"oauth",
#endif
};

#define LENGTH(array) (sizeof(array) / sizeof(array[0]))

static const char *
field_end(const char *at)
{
	bool		quoted = false;

	for (; *at && *at != '\n'; at++)
	{
		if (*at == '"')
			quoted = !quoted;
		else if (!quoted && (*at == '#' || *at == ' ' || *at == '\t' ||
							 *at == '\r'))
			break;
	}
	return at;
}

static const char *
skip_blanks(const char *at)
{
	return at + strspn(at, " \t\r");
}

static bool
at_end(const char *at)
{
	return *at == '\0' || *at == '#' || *at == '\n';
}

/*
 * The next field without its quotes; false: there is none.  A comma at the end
 * of a word makes the next one part of the field.
 */
static bool
next_field(const char **at, char field[FIELD_MAX])
{
	const char *start = skip_blanks(*at);
	const char *end = start;
	size_t		len = 0;

	field[0] = '\0';
	if (at_end(start))
		return false;
	do
	{
		end = field_end(start);
		for (const char *c = start; c < end && len < FIELD_MAX - 1; c++)
			if (*c != '"')
				field[len++] = *c;
		start = skip_blanks(end);
	} while (end[-1] == ',' && !at_end(start));
	field[len] = '\0';
	*at = end;
	return true;
}

int
pgha_hba_fields(const char *line)
{
	char		field[FIELD_MAX];
	int			n = 0;

	while (next_field(&line, field))
		n++;
	return n;
}

static bool
whole_line(const char *line, char *why)
{
	size_t		len = strlen(line);

	if (strpbrk(line, "\r\n"))
		return pgha_why(why, "it contains a line break");
	if (len > 0 && line[len - 1] == '\\')
		return pgha_why(why, "it ends in a backslash");
	return true;
}

/* 0: not a numeric address */
static int
address_bits(const char *text)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
	struct addrinfo *found = NULL;
	int			bits = 0;

	if (*text && getaddrinfo(text, NULL, &hints, &found) == 0)
		bits = found->ai_family == AF_INET ? 32 : 128;
	if (found)
		freeaddrinfo(found);
	return bits;
}

/* *mask: the mask is a field of its own, and must be an address */
static bool
check_address(char *address, int *mask, char *why)
{
	char	   *slash = strchr(address, '/');
	char	   *end;
	long		length;
	int			bits;

	*mask = 0;
	if (strchr(address, ','))
		return pgha_why(why, "it has more than one address");
	if (!slash)
	{
		*mask = address_bits(address);
		return true;			/* a keyword or a host's name */
	}
	*slash = '\0';
	bits = address_bits(address);
	*slash = '/';
	length = strtol(slash + 1, &end, 10);
	if (bits == 0 || end == slash + 1 || *end || length < 0 || length > bits)
		return pgha_why(why, "\"%.60s\" is no network", address);
	return true;
}

static bool
check_method(LineKind kind, const char *method, char *why)
{
	bool		known = false;

	for (size_t i = 0; i < LENGTH(methods); i++)
		known |= strcmp(methods[i], method) == 0;
	if (!known)
		return pgha_why(why, "\"%.60s\" is no authentication method", method);
	if (kind != LINE_LOCAL && strcmp(method, "peer") == 0)
		return pgha_why(why, "peer is for local connections only");
	if (kind == LINE_LOCAL && strcmp(method, "gss") == 0)
		return pgha_why(why, "gss is not for local connections");
	if (kind != LINE_HOSTSSL && strcmp(method, "cert") == 0)
		return pgha_why(why, "cert is for hostssl connections only");
	return true;
}

/* After the kind: database, user, address, mask, method, options. */
static bool
check_rule(LineKind kind, const char *at, char *why)
{
	char		field[FIELD_MAX];
	int			mask = 0;

	if (!next_field(&at, field))
		return pgha_why(why, "it ends before the database");
	if (!next_field(&at, field))
		return pgha_why(why, "it ends before the user");
	if (kind != LINE_LOCAL)
	{
		if (!next_field(&at, field))
			return pgha_why(why, "it ends before the address");
		if (!check_address(field, &mask, why))
			return false;
		if (mask != 0 && !next_field(&at, field))
			return pgha_why(why, "it ends before the mask");
		if (mask != 0 && address_bits(field) != mask)
			return pgha_why(why, "\"%.60s\" is no mask", field);
	}
	if (!next_field(&at, field))
		return pgha_why(why, "it ends before the method");
	if (!check_method(kind, field, why))
		return false;
	while (next_field(&at, field))
		if (!strchr(field, '='))
			return pgha_why(why, "the option \"%.60s\" is not name=value",
							field);
	return true;
}

bool
pgha_hba_line_check(const char *line, char *why)
{
	const char *at = line;
	char		field[FIELD_MAX];

	if (!whole_line(line, why))
		return false;
	if (!next_field(&at, field))
		return true;
	if (PG_VERSION_NUM >= 160000 && strncmp(field, "include", 7) == 0)
		return pgha_hba_fields(line) == 2 ||
			pgha_why(why, "it must name one file");
	for (size_t i = 0; i < LENGTH(kinds); i++)
		if (strcmp(kinds[i].name, field) == 0)
			return check_rule(kinds[i].kind, at, why);
	return pgha_why(why, "\"%.60s\" is no kind of connection", field);
}

bool
pgha_ident_line_check(const char *line, char *why)
{
	int			fields = pgha_hba_fields(line);

	if (!whole_line(line, why))
		return false;
	return fields == 0 || fields == FIELDS_IDENT ||
		pgha_why(why, "it must have %d fields", FIELDS_IDENT);
}
