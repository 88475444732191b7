/*
 * parameters.h
 *	  An entry of postgresql.parameters as the server is to read it.
 *
 * The worker checks what is entered with this, and the launcher renders with
 * it; the configuration itself stays as it was entered.
 */
#ifndef PGHA_PARAMETERS_H
#define PGHA_PARAMETERS_H

#include <jansson.h>

#include "dcs/documents.h"

/* Printed as in postgresql.conf; malloc'd.  NULL: no single value, no memory. */
extern char *pgha_parameter_text(const json_t *value);

typedef enum HaParameterKind
{
	HA_PARAMETER_AS_IS,
	HA_PARAMETER_TRANSLATED,	/* name and value are others now */
	HA_PARAMETER_HOLDS,			/* says what pg_ha does anyway: left out */
	HA_PARAMETER_DROPPED,		/* means nothing to this server: left out */
} HaParameterKind;

/*
 * Names and values that older servers and their users' tools have.
 * server_version as in PG_VERSION_NUM.  *name points to a constant and *value
 * is another malloc'd text (the old one is freed) when translated.  note: a
 * sentence about it without the name, "" when there is nothing to say; of
 * HA_WHY_MAX bytes.  parameters: all of them, for where both names are given.
 */
extern HaParameterKind pgha_parameter_translate(int server_version,
												const json_t *parameters,
												const char **name,
												char **value, char *note);

#endif							/* PGHA_PARAMETERS_H */
