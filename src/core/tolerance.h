/*
 * tolerance.h
 *	  How much more the cluster can lose before nobody leads.
 */
#ifndef PGHA_TOLERANCE_H
#define PGHA_TOLERANCE_H

#include "core/order.h"
#include "core/view.h"

typedef struct HaTolerance
{
	int			members;		/* further members; -1: nobody leads now */
	int			servers;		/* further Consul servers; -1 = not known */
	/* by place in the view: why a member could not take over */
	HaOrderFault faults[HA_MEMBERS_MAX];
} HaTolerance;

/*
 * servers: those that Consul knows, passing: those it finds well; 0 = not known.
 * Members are lost one after the other, the leader first: each that is fit to
 * take over is one loss.
 */
extern HaTolerance pgha_tolerance(const HaView *view, int servers,
								  int passing);

#endif							/* PGHA_TOLERANCE_H */
