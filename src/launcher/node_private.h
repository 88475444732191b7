/*
 * node_private.h
 *	  What the parts of the node settings share.
 *
 * Private to node*.c: node.c reads the file, node_value.c checks one value,
 * node_resolve.c makes what follows from the values, node_check.c looks at the
 * machine.
 */
#ifndef PGHA_NODE_PRIVATE_H
#define PGHA_NODE_PRIVATE_H

#include "launcher/conf.h"
#include "launcher/node.h"

/* Set a message without a place; false always, for `return`. */
extern bool pgha_node_fail(HaNodeError *error, const char *format,...)
			__attribute__((format(printf, 2, 3)));
/* Put the place in front of the message (line 0: unknown); false always. */
extern bool pgha_node_fail_at(HaNodeError *error, const char *file, int line);
/* Add the hint; false always. */
extern bool pgha_node_hint(HaNodeError *error, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/*
 * The value in its canonical form (on/off, a number in the setting's unit, an
 * enum's own spelling), malloc'd; NULL with *error.
 */
extern char *pgha_node_value(const HaSetting *setting, const char *text,
							 HaNodeError *error);

/* An unknown pg_ha name: sets *error, with the nearest name as its hint. */
extern void pgha_node_unknown(const char *name, HaNodeError *error);

/* Replace a value; takes the malloc'd text.  False: it is NULL (no memory). */
extern bool pgha_node_set(HaNode *node, const char *setting, char *value);

/* Fill what follows from node->values and the file's place. */
extern bool pgha_node_resolve(HaNode *node, HaNodeError *error);

/* A directory or file name relative to dir made absolute and tidy; malloc'd */
extern char *pgha_node_absolute(const char *dir, const char *path);

/* As pgha_node_password; host NULL: on whatever host and port. */
extern char *pgha_node_find_password(const HaNode *node, const char *host,
									 int port, const char *database,
									 const char *user);
/* The passfile in force, libpq's default if none is set; malloc'd. */
extern char *pgha_node_passfile(const HaNode *node);

typedef struct HaProblems
{
	HaProblemReport report;
	void	   *arg;
	int			n;
} HaProblems;

extern void pgha_node_problem(HaProblems *problems, const char *hint,
							  const char *format,...)
			__attribute__((format(printf, 3, 4)));

/* Debian's own management of the same data directory; etc: /etc/postgresql */
extern void pgha_node_check_debian(const HaNode *node, const char *etc,
								   HaProblems *problems);

#endif							/* PGHA_NODE_PRIVATE_H */
