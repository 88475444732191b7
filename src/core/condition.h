/*
 * condition.h
 *	  What an administrator may wait for.
 *
 *		leader					a member leads, and its instance is a primary
 *		leader(NAME)			that member
 *		member_streaming(NAME)	it streams, on the leader's timeline
 *		nothing_pending			no setting of any member waits for a restart
 *		healthy					a member leads, all others stream
 */
#ifndef PGHA_CONDITION_H
#define PGHA_CONDITION_H

#include "core/view.h"

typedef enum HaConditionKind
{
	HA_CONDITION_LEADER,
	HA_CONDITION_MEMBER_STREAMING,
	HA_CONDITION_NOTHING_PENDING,
	HA_CONDITION_HEALTHY,
} HaConditionKind;

typedef struct HaCondition
{
	HaConditionKind kind;
	char		member[HA_NAME_MAX + 1];	/* "" = any */
} HaCondition;

/* What is missing to it, and of which member ("" = of none). */
typedef struct HaMissing
{
	const char *what;			/* NULL = nothing: the condition is met */
	char		member[HA_NAME_MAX + 1];
} HaMissing;

/* False: no condition has this form. */
extern bool pgha_condition_parse(const char *text, HaCondition *condition);

extern HaMissing pgha_condition_missing(const HaView *view,
										const HaCondition *condition);

#endif							/* PGHA_CONDITION_H */
