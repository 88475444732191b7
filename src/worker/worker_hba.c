/*
 * worker_hba.c
 *	  Rules of postgresql.pg_hba and pg_ident, checked before they are written.
 *
 * The server's own parser reads each; nothing of what it reads is put in force.
 */
#include "worker_private.h"

#include "compat.h"

#include "utils/guc.h"

typedef bool (*HbaParse) (TokenizedAuthLine *tokens);

static bool
hba_parse_rule(TokenizedAuthLine *tokens)
{
	return parse_hba_line(tokens, DEBUG3) != NULL;
}

static bool
hba_parse_mapping(TokenizedAuthLine *tokens)
{
	IdentLine  *line = parse_ident_line(tokens, DEBUG3);

	pgha_ident_free(line);
	return line != NULL;
}

/* What the parser says; NULL = nothing. */
static const char *
hba_parse_text(const char *filename, FILE *text, HbaParse parse)
{
	List	   *lines = NIL;
	ListCell   *cell;

	pgha_auth_tokens(filename, text, &lines);
	foreach(cell, lines)
	{
		TokenizedAuthLine *tokens = lfirst(cell);

		if (tokens->err_msg == NULL && parse(tokens))
			continue;
		return tokens->err_msg != NULL ? pstrdup(tokens->err_msg) :
			"the server does not accept it";
	}
	return NULL;
}

/* What is wrong with a line; NULL = nothing. */
static const char *
hba_objection(const char *line, const char *filename, HbaParse parse)
{
	size_t		len = strlen(line);
	const char *objection;
	FILE	   *text;
	FILE	   *opened;

	if (len == 0)
		return NULL;
	if (strpbrk(line, "\r\n") != NULL)
		return "it contains a line break";
	if (line[len - 1] == '\\')
		return "it ends in a backslash, and would go on on the next line";
	text = fmemopen(unconstify(char *, line), len, "r");
	if (text == NULL)
		return "out of memory";
	opened = pgha_auth_begin();
	objection = hba_parse_text(filename, text, parse);
	pgha_auth_end(opened);
	fclose(text);
	return objection;
}

static void
hba_check_list(HaCommand *command, const char *field, const json_t *list,
			   const char *filename, HbaParse parse)
{
	size_t		i;
	json_t	   *line;

	json_array_foreach(list, i, line)
	{
		const char *text = json_string_value(line);
		const char *objection = hba_objection(text, filename, parse);
		char		hint[512];

		if (objection == NULL)
			continue;
		snprintf(hint, sizeof(hint), "The line is: %.400s", text);
		worker_command_fail(command, "F0000", hint,
							"postgresql.%s, line %d: %s", field, (int) i + 1,
							objection);
		return;
	}
}

/* old and new: the configuration's postgresql; all lines are strings */
void
worker_check_rules(HaCommand *command, const json_t *old, const json_t *new)
{
	json_t	   *rules = json_object_get(new, "pg_hba");
	json_t	   *mappings = json_object_get(new, "pg_ident");

	if (!json_equal(rules, json_object_get(old, "pg_hba")))
		hba_check_list(command, "pg_hba", rules, HbaFileName, hba_parse_rule);
	if (!json_equal(mappings, json_object_get(old, "pg_ident")))
		hba_check_list(command, "pg_ident", mappings, IdentFileName,
					   hba_parse_mapping);
}
