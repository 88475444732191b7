/*
 * aside.h
 *	  The old copy of a member that is cloned anew, kept until the new one
 *	  streams: in DATADIR/pg_ha.old, since the directory itself may be a mount
 *	  point.
 */
#ifndef PGHA_ASIDE_H
#define PGHA_ASIDE_H

#include "launcher/node.h"

/*
 * Whether the directory is whole, has all its contents on one file system and
 * no tablespaces, and leaves room for a second copy; false: why not.
 */
extern bool pgha_aside_possible(const HaNode *node, char *why);

/* Move everything into pg_ha.old, or back; a false leaves a mixture. */
extern bool pgha_aside_move(const HaNode *node, char *why);
extern bool pgha_aside_restore(const HaNode *node, char *why);

extern bool pgha_aside_exists(const HaNode *node);
/* Have it removed, in the background. */
extern void pgha_aside_remove(const HaNode *node);

#endif							/* PGHA_ASIDE_H */
