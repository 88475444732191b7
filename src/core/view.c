/*
 * view.c
 *	  Look-ups in a view.
 */
#include "core/view.h"

#include <string.h>

const HaMember *
pgha_view_member(const HaView *view, const char *name)
{
	int			i;

	for (i = 0; i < view->nmembers; i++)
	{
		if (strcmp(view->members[i].name, name) == 0)
			return &view->members[i];
	}
	return NULL;
}
