/*
 * json.h
 *	  Reading JSON that others wrote, and writing ours.
 *
 * Private to src/dcs.  Fields are read one by one, each bounded; a field that
 * is absent or null leaves what stood there before.
 */
#ifndef PGHA_JSON_H
#define PGHA_JSON_H

#include <jansson.h>
#include <stdarg.h>

#include "dcs/documents.h"

/* *why gets at most HA_WHY_MAX bytes; false always, for `return`. */
extern bool pgha_why(char *why, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/* A document within HA_DOCUMENT_MAX; NULL with why set if it isn't JSON. */
extern json_t *pgha_json_load(const char *text, size_t len, char *why);

/*
 * Number as Patroni takes it: an integer, a real without fraction, or either
 * as a string.  False: something else, negative, or over INT64_MAX.
 */
extern bool pgha_json_number(const json_t *value, uint64_t *number);

/* Boolean as Patroni's parse_bool: true, "on", "yes", "true", 1, ... */
extern bool pgha_json_bool(const json_t *value, bool *flag);

/*
 * The field of an object, where `to` keeps its value if the field is absent or
 * null.  False: it is there and of another type (or, for a name, too long).
 */
extern bool pgha_json_get_number(const json_t *object, const char *field,
								 uint64_t *to);
extern bool pgha_json_get_bool(const json_t *object, const char *field,
							   bool *to);
/* a name is an identity: one that does not fit is an error */
extern bool pgha_json_get_name(const json_t *object, const char *field,
							   char *to, size_t size);
/* other text is cut off, between characters */
extern bool pgha_json_get_text(const json_t *object, const char *field,
							   char *to, size_t size);

/* Copy as much as fits, without cutting a UTF-8 character in two. */
extern void pgha_text_cut(char *to, size_t size, const char *from);

/*
 * Set a field; nonzero: no memory, not UTF-8, or a number beyond what JSON
 * readers take.  The "known" ones leave out 0 and "", which mean unknown.
 */
extern int	pgha_json_set_number(json_t *object, const char *field,
								 uint64_t number);
extern int	pgha_json_set_known_number(json_t *object, const char *field,
									   uint64_t number);
extern int	pgha_json_set_text(json_t *object, const char *field,
							   const char *text);
extern int	pgha_json_set_known_text(json_t *object, const char *field,
									 const char *text);
extern int	pgha_json_set_bool(json_t *object, const char *field, bool flag);

/* The compact text, malloc'd; takes the reference.  NULL: no memory. */
extern char *pgha_json_print(json_t *document);

/*
 * A new object.  jansson's own json_object() can't be called in the server:
 * PostgreSQL has a function of that name, and the executable's comes first.
 */
static inline json_t *
pgha_json_object(void)
{
	return json_pack("{}");
}

#endif							/* PGHA_JSON_H */
